//! A coordinator's no, with its reasons in types.

#[cfg(feature = "definition")]
use amends_wire::definition::Diagnostic;
use amends_wire::{
    SagaId,
    api::SettledView,
    problem::{Misfit, ReadProblem, Slug},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{fmt, time::Duration};

/// A coordinator's no (RFC 9457).
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem; `None` for one that this client does not know, such as a newer coordinator's.
    pub slug: Option<Slug>,
    /// The kind of problem as the coordinator wrote it; empty where it wrote none, as a proxy may.
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// This occurrence, in a sentence.
    pub message: String,
    /// How long the coordinator asks to wait before the next try.
    pub retry_after: Option<Duration>,
    /// The reasons, as far as a caller can act on them.
    pub detail: Detail,
}

/// What a caller can act on.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// An input does not fit its schema, or a body its call: each place, and why.
    Misfits(Vec<Misfit>),
    /// A definition has faults: each with its line, its column and what to do.
    #[cfg(feature = "definition")]
    Faults(Vec<Diagnostic>),
    /// The key started another saga.
    KeyReused {
        /// Which.
        saga: SagaId,
    },
    /// Operations that nobody offers.
    UnknownOperations(Vec<String>),
    /// A child saga that cannot be run: its definition is not registered, or contains itself, or is nested too
    /// deeply.
    Children {
        /// The definitions on the way there.
        path: Vec<String>,
    },
    /// The version is registered with other content.
    Registered {
        /// The hash of that content.
        hash: String,
    },
    /// The repair item is settled already.
    Settled {
        /// By whom, how and when, where that is known.
        settled: Option<SettledView>,
        /// The item that stands for the step now.
        newer: Option<SagaId>,
    },
    /// The repair item is being tried again.
    Retrying {
        /// For whom.
        by: String,
    },
    /// Nothing more than the sentence; what else came is here as it came.
    Plain(Map<String, Value>),
}

impl Problem {
    /// Takes over what was read; `retry_after` is the header's.
    pub(crate) fn of(status: u16, read: ReadProblem, retry_after: Option<Duration>) -> Problem {
        let kind = read.slug.unwrap_or_default();
        let slug = Slug::find(&kind);
        let in_body = read.extra.get("retry_after").and_then(Value::as_u64).map(Duration::from_secs);
        Problem {
            status,
            slug,
            kind,
            title: read.title,
            message: read.detail,
            retry_after: retry_after.or(in_body),
            detail: Detail::of(slug, read.extra),
        }
    }

    /// Whether it is of this kind.
    pub fn is(&self, slug: Slug) -> bool {
        self.slug == Some(slug)
    }
}

impl Detail {
    fn of(slug: Option<Slug>, extra: Map<String, Value>) -> Detail {
        let typed = match slug {
            Some(Slug::InputDoesNotFit | Slug::OutputDoesNotFit | Slug::MalformedBody) => {
                member(&extra, "errors").map(Detail::Misfits)
            }
            #[cfg(feature = "definition")]
            Some(Slug::DefinitionInvalid) => member(&extra, "diagnostics").map(Detail::Faults),
            Some(Slug::KeyReused) => member(&extra, "saga").map(|saga| Detail::KeyReused { saga }),
            Some(Slug::UnknownOperation) => member(&extra, "operations").map(Detail::UnknownOperations),
            Some(Slug::UnknownChild | Slug::ChildCircle | Slug::ChildrenTooDeep) => {
                member(&extra, "path").map(|path| Detail::Children { path })
            }
            Some(Slug::DefinitionExists) => member(&extra, "hash").map(|hash| Detail::Registered { hash }),
            Some(Slug::RepairSettled) => {
                Some(Detail::Settled { settled: member(&extra, "settled"), newer: member(&extra, "newer") })
            }
            Some(Slug::RepairRetrying) => member(&extra, "by").map(|by| Detail::Retrying { by }),
            _ => None,
        };
        typed.unwrap_or(Detail::Plain(extra))
    }
}

fn member<T: DeserializeOwned>(extra: &Map<String, Value>, name: &str) -> Option<T> {
    serde_json::from_value(extra.get(name)?.clone()).ok()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), self.message.as_str()) {
            ("", "") => write!(f, "a problem without a description, status {}", self.status),
            (title, "") => f.write_str(title),
            ("", message) => f.write_str(message),
            (title, message) if title == message => f.write_str(title),
            (title, message) => write!(f, "{title}: {message}"),
        }?;
        if let Detail::Misfits(misfits) = &self.detail {
            for misfit in misfits {
                write!(f, "\n  {} {}", misfit.path, misfit.message)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests;
