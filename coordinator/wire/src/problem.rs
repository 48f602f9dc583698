//! Problems: what a caller is told when a request is not carried out (RFC 9457).
//!
//! ```json
//! { "type": "/problems/key_reused", "title": "the key belongs to another start", "status": 409,
//!   "detail": "key \"order-1001\" started saga 0193… with another body", "slug": "key_reused" }
//! ```
//!
//! The set of slugs is closed: every problem the coordinator can answer with is a [`Slug`], and every
//! slug has a paragraph, served under its `type`, that says what happened, what the coordinator will do
//! and what the caller can do. Slugs never change their meaning; a new situation gets a new one.

mod slug;

pub use slug::Slug;

use serde::{Deserialize, Serialize, ser::SerializeMap};
use serde_json::{Map, Value};
use std::fmt;

/// The media type of a problem body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One answer that says no.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What kind of problem it is; decides the status, the type and the title.
    pub slug: Slug,
    /// This occurrence, in a sentence: the value met, the value expected.
    pub detail: String,
    /// Whole seconds to wait before trying again; also sent as `Retry-After`.
    pub retry_after: Option<u64>,
    /// Members beside the standard ones, such as `errors`.
    pub extra: Map<String, Value>,
}

/// One thing in a body that does not fit, for the member `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// Where, as a JSON Pointer (RFC 6901): `/lines/3/qty`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Problem {
    /// Makes a problem.
    pub fn new(slug: Slug, detail: impl Into<String>) -> Problem {
        Problem { slug, detail: detail.into(), retry_after: None, extra: Map::new() }
    }

    /// Adds a member; a value that is not JSON is left out.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Problem {
        if let Ok(value) = serde_json::to_value(value) {
            self.extra.insert(member.to_owned(), value);
        }
        self
    }

    /// Says when trying again is worth while.
    #[must_use]
    pub fn retry_after(mut self, secs: u64) -> Problem {
        self.retry_after = Some(secs);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.slug.status()
    }

    /// The body, as JSON text.
    pub fn to_json(&self) -> String {
        // A problem is made of texts, numbers and JSON values: writing it cannot fail.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.slug.title(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.slug.uri())?;
        map.serialize_entry("title", self.slug.title())?;
        map.serialize_entry("status", &self.slug.status())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("slug", self.slug.as_str())?;
        if let Some(secs) = self.retry_after {
            map.serialize_entry("retry_after", &secs)?;
        }
        for (member, value) in &self.extra {
            map.serialize_entry(member, value)?;
        }
        map.end()
    }
}

/// A problem as a client reads it, from any version of the coordinator or from a proxy before it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReadProblem {
    /// The slug, if the sender gave one.
    #[serde(default)]
    pub slug: Option<String>,
    /// The HTTP status, if the sender gave one.
    #[serde(default)]
    pub status: Option<u16>,
    /// The kind of problem in a few words.
    #[serde(default)]
    pub title: String,
    /// This occurrence.
    #[serde(default)]
    pub detail: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl fmt::Display for ReadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => f.write_str("a problem without a description"),
            (title, "") => f.write_str(title),
            ("", detail) => f.write_str(detail),
            (title, detail) => write!(f, "{title}: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests;
