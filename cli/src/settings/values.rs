//! The types of settings: each reads its text once and cannot be wrong afterwards.

use reqwest::Url;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

/// The address of a coordinator or participant: `http` or `https`, a host, and perhaps a path before `/v1`.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The address of a listener of this process.
    pub fn of(address: SocketAddr) -> BaseUrl {
        let url = format!("http://{address}").parse();
        BaseUrl(url.expect("a socket address makes a URL"))
    }

    /// The address of `path` below it; `path` begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }

    /// The address itself.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<BaseUrl, String> {
        let expected = "expected an address such as http://127.0.0.1:7070";
        let url: Url = text.parse().map_err(|error| format!("{expected} ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(expected.to_owned());
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(format!("{expected}, without user, query or fragment"));
        }
        Ok(BaseUrl(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A bearer token; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;
    fn from_str(text: &str) -> Result<Token, String> {
        match text {
            "" => Err("a token has at least one character".to_owned()),
            _ if text.len() > 1024 => Err("a token has at most 1024 characters".to_owned()),
            _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Token(text.to_owned())),
            _ => Err("a token has no spaces and only plain letters, digits and signs".to_owned()),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// An address to listen on; port 0 picks a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Listen, String> {
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        if let Some(port) = local {
            return Ok(Listen((Ipv4Addr::LOCALHOST, port).into()));
        }
        let expected = "expected an address and a port such as 127.0.0.1:7070; port 0 picks a free one";
        text.parse().map(Listen).map_err(|_| expected.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A database file: `sqlite:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store(PathBuf);

impl Store {
    /// The database file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Store {
        Store(path.into())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory it lies in where there is none.
    ///
    /// # Errors
    /// When that cannot be done, with the directory's name.
    pub fn make_directory(&self) -> std::io::Result<()> {
        let Some(parent) = self.0.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return Ok(());
        };
        std::fs::create_dir_all(parent).map_err(|error| {
            let what = format!("the directory {} cannot be made: {error}", parent.display());
            std::io::Error::new(error.kind(), what)
        })
    }
}

impl FromStr for Store {
    type Err = String;
    fn from_str(text: &str) -> Result<Store, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        match scheme {
            Some("sqlite") => {}
            Some(other @ ("postgres" | "postgresql" | "mysql" | "mariadb")) => {
                return Err(format!(
                    "this version keeps its data in SQLite, not behind {other}://; write sqlite:PATH, such as \
                     sqlite:./amends-data/amends.db"
                ));
            }
            _ => return Err("expected sqlite:PATH, such as sqlite:./amends-data/amends.db".to_owned()),
        }
        let path = text.trim_start_matches("sqlite:");
        let path = path.strip_prefix("//").unwrap_or(path);
        match path {
            "" | ":memory:" => {
                Err("expected a file after \"sqlite:\"; data must outlive the process".to_owned())
            }
            _ if path.contains('?') => {
                Err("expected a file after \"sqlite:\", without parameters".to_owned())
            }
            _ => Ok(Store(path.into())),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<LogFormat, &'static str> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// A truth value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch(pub bool);

impl FromStr for Switch {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Switch, &'static str> {
        match text {
            "true" | "1" => Ok(Switch(true)),
            "false" | "0" => Ok(Switch(false)),
            _ => Err("expected true or false"),
        }
    }
}
