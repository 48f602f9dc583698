//! Where values come from: flags over environment over one TOML file over defaults.
//!
//! Every setting is a [`Key`] in the table [`keys`]; nothing is read from the environment or the file that has no
//! key. A value is a text until somebody asks for it with its type, and a text that does not fit is refused with
//! the place it came from, so that nobody has to guess which of four layers is to blame.

mod bounded;
pub mod file;
mod hooks;
pub mod keys;
mod near;
mod values;

pub use bounded::{Attempts, Factor, HookSecret, HookUrl, Period, Quick, Within};
pub use file::File;
pub use keys::Key;
pub use values::{BaseUrl, Listen, LogFormat, Store, Switch, Token};

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "amends.toml";

/// The environment variable that names the file.
pub const FILE_ENV: &str = "AMENDS_CONFIG";

/// Where a value comes from, strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// An environment variable.
    Env(&'static str),
    /// The TOML file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

/// Why a setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings in {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or holds something unknown.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
    /// A value does not fit its setting.
    #[error("{place} is \"{value}\": {message}")]
    Value {
        /// Where it stands.
        place: String,
        /// What stands there; hidden when it is a secret.
        value: String,
        /// What is expected.
        message: String,
    },
}

/// The layers below the command line.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    env: Vec<(&'static str, String)>,
    file: Option<File>,
}

impl Settings {
    /// Reads the environment and the file: the one named by `flag`, else by AMENDS_CONFIG, else `./amends.toml`
    /// where there is one.
    ///
    /// An environment variable that is set to nothing counts as not set.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`] and [`SettingsError::File`].
    pub fn read(
        flag: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, SettingsError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let named = flag.map(Path::to_owned).or_else(|| env(FILE_ENV).map(PathBuf::from));
        let file = match named {
            Some(path) => Some(File::read(&path)?),
            None if Path::new(DEFAULT_FILE).is_file() => Some(File::read(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for key in keys::ALL {
            if let Some(value) = env(key.env)
                && !found.iter().any(|(name, _)| *name == key.env)
            {
                found.push((key.env, value));
            }
        }
        Ok(Settings { env: found, file })
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// The hooks of the file.
    pub fn hooks(&self) -> &[amends_server::hooks::Hook] {
        self.file.as_ref().map(File::hooks).unwrap_or_default()
    }

    /// The text of a setting and its source, without the command line; `None` when nobody says anything.
    pub fn text(&self, key: &Key) -> Option<(&str, Source)> {
        if let Some((name, value)) = self.env.iter().find(|(name, _)| *name == key.env) {
            return Some((value, Source::Env(name)));
        }
        if let Some(file) = &self.file
            && let Some(value) = file.get(key)
        {
            return Some((value, Source::File(file.path().to_owned())));
        }
        key.default.map(|value| (value, Source::Default))
    }

    /// The value of a setting: the flag's, or what the layers below say.
    ///
    /// # Errors
    /// [`SettingsError::Value`] when the text does not fit the type.
    pub fn get<T>(&self, key: &Key, flag: Option<T>) -> Result<Option<T>, SettingsError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        if flag.is_some() {
            return Ok(flag);
        }
        let Some((text, source)) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| SettingsError::Value {
            place: source.place(key),
            value: if key.secret { "…".to_owned() } else { text.to_owned() },
            message: error.to_string(),
        })
    }

    /// As [`Settings::get`], for a setting that has a default.
    ///
    /// # Errors
    /// As [`Settings::get`].
    ///
    /// # Panics
    /// When the key has no default.
    pub fn require<T>(&self, key: &Key, flag: Option<T>) -> Result<T, SettingsError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let value = self.get(key, flag)?;
        Ok(value.unwrap_or_else(|| panic!("the setting {key} has a default")))
    }
}

impl Source {
    /// Where exactly a value stands, for messages.
    fn place(&self, key: &Key) -> String {
        match self {
            Source::Flag => key.flag(),
            Source::Env(name) => (*name).to_owned(),
            Source::File(path) => format!("{key} in {}", path.display()),
            Source::Default => format!("the default of {key}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag => f.write_str("flag"),
            Source::Env(name) => write!(f, "env {name}"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests;
