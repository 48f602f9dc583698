//! Where a definition's text comes from: a file, standard input, or a coordinator.

use super::escaped;
use crate::{client::Client, globals::Globals};
use amends_saga::Name;
use amends_wire::{
    api::{DefinitionView, List},
    definition::{Diagnostics, Text},
};
use anyhow::Context;
use serde_json::Value;
use std::{
    io::Read,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The longest definition that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// A definition's text and where it came from.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// Reads a file; `-` is standard input.
    pub(super) fn read(path: &Path) -> anyhow::Result<Source> {
        let is_input = path == Path::new("-");
        let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
        let mut text = String::new();
        let read = if is_input {
            std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
        };
        read.with_context(|| format!("{name} cannot be read"))?;
        anyhow::ensure!(text.len() as u64 <= BYTES_MAX, "{name} is longer than {BYTES_MAX} bytes");
        Ok(Source { name, text })
    }

    pub(super) fn parse(&self) -> Result<Text, Diagnostics> {
        Text::read(&self.text)
    }
}

/// Where to look for a definition: what is a name, or a name and a version, is registered somewhere; anything else is
/// a file, so that a file called `checkout` is named as `./checkout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, or standard input.
    File(PathBuf),
    /// On the coordinator; the highest version where none is named.
    Registered {
        /// Its name.
        name: String,
        /// Its version.
        version: Option<u32>,
    },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if Name::parse(name).is_err() {
            return Ok(Place::File(PathBuf::from(text)));
        }
        let version = version.map(|version| {
            let number = version.parse::<u32>().ok().filter(|version| *version >= 1);
            number.ok_or_else(|| format!("\"{version}\" is not a version: use a number from 1"))
        });
        Ok(Place::Registered { name: name.to_owned(), version: version.transpose()? })
    }
}

/// A definition that was found.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// What to call it: the file, or name@version.
    pub(super) label: String,
    /// Its name@version.
    pub(super) version: String,
    /// The hash of its content.
    pub(super) hash: String,
    /// It, as JSON.
    pub(super) json: Value,
}

impl Place {
    /// Whether it is standard input, which can be read once.
    pub(super) fn is_input(&self) -> bool {
        matches!(self, Place::File(path) if path == Path::new("-"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is none, or it has faults; all of them are told.
    pub(super) async fn content(&self, globals: &Globals) -> anyhow::Result<Content> {
        match self {
            Place::File(path) => {
                let source = Source::read(path)?;
                let text = source.parse().map_err(|faults| {
                    let told = faults.render(&source.name, &source.text);
                    anyhow::anyhow!("{} has faults\n{}", source.name, told.trim_end())
                })?;
                let version = format!("{}@{}", text.name, text.version);
                let hash = text.hash.clone();
                Ok(Content { label: source.name, version, hash, json: text.to_json().clone() })
            }
            Place::Registered { name, version } => {
                let view = registered(&globals.client()?, name, *version).await?;
                let label = format!("{}@{}", view.name, view.version);
                let json = view.content.context("the coordinator's answer holds no definition")?;
                Ok(Content { version: label.clone(), label, hash: view.hash, json })
            }
        }
    }
}

/// What the coordinator has under a name; the highest version where none is named.
pub(super) async fn registered(
    client: &Client,
    name: &str,
    version: Option<u32>,
) -> anyhow::Result<DefinitionView> {
    let version = match version {
        Some(version) => version,
        None => {
            let versions: List<DefinitionView> =
                client.get(&format!("/v1/definitions/{}", escaped(name)), &[]).await?;
            let highest = versions.items.iter().map(|view| view.version).max();
            highest.with_context(|| format!("no version of {name} is registered"))?
        }
    };
    Ok(client.get(&format!("/v1/definitions/{}/{version}", escaped(name)), &[]).await?)
}
