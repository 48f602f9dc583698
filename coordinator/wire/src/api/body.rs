//! Reading a request's body: UTF-8, bounded nesting, one JSON value of the expected shape, or a problem.

use crate::{
    canonical::{self, Fault},
    problem::{Problem, Slug},
};
use serde::Deserialize;

/// Reads a JSON body.
///
/// # Errors
/// `bad_utf8`, `too_deep` or `malformed_body`, each with where and what.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = text(body)?;
    if canonical::depth(body) > canonical::DEPTH_MAX {
        return Err(Fault::TooDeep.into());
    }
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// Reads a JSON body that may be absent: no byte at all gives the default.
///
/// # Errors
/// As [`read`].
pub fn read_or_default<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { read(body) }
}

/// Reads a body as text.
///
/// # Errors
/// `bad_utf8` with the place of the first bad byte.
pub fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(Slug::BadUtf8, format!("byte {at} begins no UTF-8 character"))
    })
}

/// Turns a parser's complaint into a problem.
pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the body ends too early",
        serde_json::error::Category::Syntax => "the body is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "the body does not fit",
    };
    Problem::new(Slug::MalformedBody, format!("{what}: {error}"))
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        let slug = match fault {
            Fault::RepeatedKey { .. } => Slug::MalformedBody,
            Fault::TooDeep => Slug::TooDeep,
            Fault::BadString { .. } => Slug::BadUtf8,
            Fault::InexactNumber { .. } => Slug::NumberNotExact,
        };
        Problem::new(slug, fault.to_string())
    }
}
