//! Reading a request's body: UTF-8, bounded nesting, one JSON value of the expected shape, or a problem.

use crate::{
    canonical::{self, Fault},
    problem::{Misfit, Problem, Slug},
};
use amends_saga::Json;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;
use std::sync::Arc;

/// Reads a JSON body.
///
/// # Errors
/// `bad_utf8`, `too_deep` or `malformed_body`, each with where and what; a member that does not fit is named by its
/// path in `errors`.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = text(body)?;
    if canonical::depth(body) > canonical::DEPTH_MAX {
        return Err(Fault::TooDeep.into());
    }
    serde_json::from_str(text).map_err(|error| match path_of::<T>(text) {
        Some(path) => malformed(&error).with("errors", [Misfit { path, message: error.to_string() }]),
        None => malformed(&error),
    })
}

/// Reads a JSON value whose numbers are all kept as they are written.
///
/// # Errors
/// `number_not_exact` and what else stands against a canonical form.
pub fn exact(raw: &RawValue) -> Result<Json, Problem> {
    canonical::exact_numbers(raw)?;
    serde_json::from_str(raw.get()).map(Arc::new).map_err(|error| malformed(&error))
}

/// A member that does not fit for a reason of its own, told with its path.
pub fn misfit(slug: Slug, path: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    let problem = Problem::new(slug, format!("at \"{path}\": {message}"));
    problem.with("errors", [Misfit { path: path.to_owned(), message }])
}

/// Where a text first does not fit a type, as a JSON Pointer; `None` where that is the whole of it.
fn path_of<'a, T: Deserialize<'a>>(text: &'a str) -> Option<String> {
    let error =
        serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text)).err()?;
    let segments = error.path().iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    Some(segments.collect::<String>()).filter(|path| !path.is_empty())
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
