//! Bodies that a command is given: in a file, on standard input, or on the command line itself.
//!
//! The text is passed on as it is, so that no number changes.

use anyhow::{Context, bail};
use serde_json::value::RawValue;
use std::{io::Read, path::Path};

/// The longest body that is read, in bytes.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Reads a body from a file; `-` is standard input, and where no file is named it is an empty object.
pub(crate) fn read_json(path: Option<&Path>) -> anyhow::Result<Box<RawValue>> {
    let Some(path) = path else { return Ok(RawValue::from_string("{}".to_owned())?) };
    let mut text = String::new();
    let is_input = path == Path::new("-");
    let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
    let read = match is_input {
        true => std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_string(&mut text),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(BODY_BYTES_MAX + 1).read_to_string(&mut text))
        }
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    if text.len() as u64 > BODY_BYTES_MAX {
        bail!("{name} is longer than {BODY_BYTES_MAX} bytes");
    }
    RawValue::from_string(text.trim().to_owned()).with_context(|| format!("{name} is not JSON"))
}

/// Reads a flag's value: JSON, or `@` and the file in which it stands.
pub(super) fn read_value(text: &str, flag: &str) -> anyhow::Result<Box<RawValue>> {
    match text.strip_prefix('@') {
        Some(path) => read_json(Some(Path::new(path))),
        None => RawValue::from_string(text.trim().to_owned()).with_context(|| {
            format!("{flag} is not JSON; a text needs quotes of its own: {flag} '\"paid\"'; a file an @: {flag} @body.json")
        }),
    }
}
