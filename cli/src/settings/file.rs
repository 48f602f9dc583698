//! The one TOML file, read strictly: an unknown name is refused with the nearest known one.

use super::{Key, SettingsError, hooks, keys, near::nearest};
use amends_server::hooks::Hook;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The longest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
    values: BTreeMap<String, String>,
    hooks: Vec<Hook>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`], and [`SettingsError::File`] when it is not TOML or holds something unknown.
    pub fn read(path: &Path) -> Result<File, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > BYTES_MAX {
            return Err(wrong(path, format!("is longer than {BYTES_MAX} bytes; settings need far less")));
        }
        File::parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`SettingsError::File`].
    pub fn parse(path: &Path, text: &str) -> Result<File, SettingsError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(path, error.to_string()))?;
        let (mut values, mut hooks) = (BTreeMap::new(), Vec::new());
        for (name, value) in table {
            match value {
                value if name == "hooks" => {
                    hooks = hooks::read(&value).map_err(|message| wrong(path, message))?;
                }
                Value::Table(inner) => read_table(path, &name, inner, &mut values)?,
                value => read_value(path, "", &name, &value, &mut values)?,
            }
        }
        Ok(File { path: path.to_owned(), values, hooks })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its hooks, in their order.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// What it says about a setting.
    pub fn get(&self, key: &Key) -> Option<&str> {
        self.values.get(&key.to_string()).map(String::as_str)
    }
}

fn read_table(
    path: &Path,
    table: &str,
    inner: Table,
    values: &mut BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    let tables = || keys::ALL.iter().map(|key| key.table).filter(|table| !table.is_empty());
    if !tables().any(|known| known == table) {
        return Err(unknown(path, &format!("the table [{table}]"), nearest(table, tables()), "table"));
    }
    inner.iter().try_for_each(|(name, value)| read_value(path, table, name, value, values))
}

fn read_value(
    path: &Path,
    table: &str,
    name: &str,
    value: &Value,
    values: &mut BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    let Some(key) = keys::find(table, name) else {
        let known = keys::ALL.iter().filter(|key| key.table == table).map(|key| key.name);
        let place = if table.is_empty() { format!("\"{name}\"") } else { format!("\"{name}\" in [{table}]") };
        return Err(unknown(path, &place, nearest(name, known), "setting"));
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            return Err(wrong(
                path,
                format!("{key} is one text, number or truth value, not {}", value.type_str()),
            ));
        }
    };
    values.insert(key.to_string(), text);
    Ok(())
}

fn unknown(path: &Path, what: &str, near: Option<&str>, kind: &str) -> SettingsError {
    let advice = match near {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("`amends config` lists every {kind}"),
    };
    wrong(path, format!("{what} is not a known {kind}; {advice}"))
}

fn wrong(path: &Path, message: String) -> SettingsError {
    SettingsError::File { path: path.display().to_string(), message: message.trim_end().to_owned() }
}
