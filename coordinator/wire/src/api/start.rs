//! `POST /v1/sagas`: what starts a saga, and the fingerprint that tells a repeat from a reuse.

use super::body;
use crate::{
    canonical::{canonical, fingerprint},
    problem::{Problem, Slug},
};
use amends_saga::{Json, Name};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// The largest number of labels.
pub const LABELS_MAX: usize = 16;
/// The longest name of a label in bytes.
pub const LABEL_NAME_BYTES_MAX: usize = 64;
/// The longest text of a label in bytes.
pub const LABEL_TEXT_BYTES_MAX: usize = 256;

/// A request to start a saga, read and checked.
///
/// ```json
/// { "definition": "checkout", "input": {}, "key": "order-1001", "labels": {"order": "1001"} }
/// ```
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// What is to run.
    pub definition: DefinitionRef,
    /// The saga's input; every number in it is kept exactly.
    pub input: Json,
    /// The caller's key: the body's, or the `Idempotency-Key` header's.
    pub key: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// SHA-256 over definition as written, input and labels in canonical form; the key is no part of it.
    pub fingerprint: [u8; 32],
}

/// The definition a start names or brings along.
#[derive(Debug, Clone)]
pub enum DefinitionRef {
    /// A registered one: `checkout` for its highest version, or `checkout@1`.
    Named {
        /// Its name.
        name: Name,
        /// Its version; the highest where there is none.
        version: Option<u32>,
    },
    /// A whole definition, as JSON text.
    Whole(Box<RawValue>),
}

/// The body as it arrives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    definition: &'a RawValue,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
}

impl StartRequest {
    /// Reads the body of a start.
    ///
    /// `header_key` is the `Idempotency-Key` header's text.
    ///
    /// # Errors
    /// `bad_utf8`, `too_deep`, `malformed_body`, `number_not_exact`, `bad_name`, `bad_key`,
    /// `key_conflict` or `bad_label`.
    pub fn read(bytes: &[u8], header_key: Option<&str>) -> Result<StartRequest, Problem> {
        let body: Body<'_> = body::read(bytes)?;
        let labels_text = body.labels.map_or(Ok(b"{}".to_vec()), canonical)?;
        let fingerprint =
            fingerprint([&canonical(body.definition)?[..], &canonical(body.input)?, &labels_text]);
        Ok(StartRequest {
            definition: DefinitionRef::read(body.definition)?,
            input: Arc::new(serde_json::from_str(body.input.get()).map_err(|e| body::malformed(&e))?),
            key: one_key(body.key.as_deref(), header_key)?,
            labels: body.labels.map_or(Ok(BTreeMap::new()), read_labels)?,
            fingerprint,
        })
    }
}

impl DefinitionRef {
    fn read(raw: &RawValue) -> Result<DefinitionRef, Problem> {
        let text = raw.get();
        if text.starts_with('{') {
            return Ok(DefinitionRef::Whole(raw.to_owned()));
        }
        let name: Cow<'_, str> = serde_json::from_str(text).map_err(|_| {
            let detail = "\"definition\" is a name, \"name@version\", or a whole definition as an object";
            Problem::new(Slug::MalformedBody, detail)
        })?;
        name.parse()
    }
}

impl FromStr for DefinitionRef {
    type Err = Problem;

    /// Reads `name` or `name@version`.
    fn from_str(text: &str) -> Result<DefinitionRef, Problem> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(read_version(version)?)),
            None => (text, None),
        };
        let name = Name::parse(name).map_err(|e| Problem::new(Slug::BadName, e.to_string()))?;
        Ok(DefinitionRef::Named { name, version })
    }
}

impl fmt::Display for DefinitionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DefinitionRef::Named { name, version: Some(version) } => write!(f, "{name}@{version}"),
            DefinitionRef::Named { name, version: None } => write!(f, "{name}"),
            DefinitionRef::Whole(_) => f.write_str("a whole definition"),
        }
    }
}

fn read_version(text: &str) -> Result<u32, Problem> {
    let version = text.parse().ok().filter(|version| *version >= 1 && !text.starts_with(['+', '0']));
    version.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Problem::new(Slug::BadName, format!("\"{shown}\" is not a version: use a number from 1"))
    })
}

/// Brings the two places a key may stand in together.
pub(super) fn one_key(body: Option<&str>, header: Option<&str>) -> Result<Option<String>, Problem> {
    if let (Some(body), Some(header)) = (body, header)
        && body != header
    {
        let detail = "the Idempotency-Key header and the body's \"key\" differ; send one, or the same twice";
        return Err(Problem::new(Slug::KeyConflict, detail));
    }
    let Some(key) = body.or(header) else { return Ok(None) };
    check_key(key).map_err(|why| Problem::new(Slug::BadKey, why))?;
    Ok(Some(key.to_owned()))
}

/// Checks that a text can be a key, or the id of a signal.
///
/// # Errors
/// What a key is, and what this is instead.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let bytes = key.len();
    match bytes == 0 || bytes > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        true => {
            Err(format!("a key has 1 to {KEY_BYTES_MAX} bytes and no control characters; this has {bytes}"))
        }
        false => Ok(()),
    }
}

pub(super) fn read_labels(raw: &RawValue) -> Result<BTreeMap<String, String>, Problem> {
    let bad = |detail: String| Problem::new(Slug::BadLabel, detail);
    let labels: BTreeMap<String, String> = serde_json::from_str(raw.get()).map_err(|e| {
        bad(format!("\"labels\" is an object of texts, such as {{\"order\": \"1001\"}}: {e}"))
    })?;
    if labels.len() > LABELS_MAX {
        return Err(bad(format!("{} labels exceed the limit of {LABELS_MAX}", labels.len())));
    }
    for (name, text) in &labels {
        let shown: String = name.chars().take(64).collect();
        if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(bad(format!(
                "label \"{}\" is {} bytes long; a name has 1 to {LABEL_NAME_BYTES_MAX} and no control characters",
                shown.escape_debug(),
                name.len()
            )));
        }
        if text.len() > LABEL_TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(bad(format!(
                "the text of label \"{shown}\" is {} bytes long; it has at most {LABEL_TEXT_BYTES_MAX} and no \
                 control characters",
                text.len()
            )));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests;
