//! What a caller is told when a call does not bring what it should: one variant for each decision to take.

use crate::problem::Problem;
use amends_wire::api::SagaView;
use reqwest::StatusCode;
use std::{fmt, time::Duration};

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No coordinator takes a connection, so nothing was sent: try again later, or look at the addresses.
    #[error("no coordinator answers: {}", joined(.tried))]
    Unreachable {
        /// Each address that was tried, and what the network said.
        tried: Vec<Tried>,
    },
    /// The call was sent and no answer came: it may have been carried out or not. Read the saga, or repeat the
    /// call where that is harmless.
    #[error("{at} was asked and did not answer: {why}; it may have done what was asked")]
    Unanswered {
        /// The address.
        at: String,
        /// What the network said.
        why: String,
    },
    /// The coordinator said no; [`Problem::detail`] says why in types.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The time given is up before the saga's end. It goes on by itself; nothing is undone by waiting less.
    #[error("{}", too_late(.known, *.waited, .last))]
    Timeout {
        /// How the saga stood when it was last seen; `None` when it never was.
        known: Option<Box<SagaView>>,
        /// How long was waited.
        waited: Duration,
        /// What the last look at it met, where it met an error.
        last: Option<Box<Error>>,
    },
    /// Something answered that is no coordinator, or one that speaks another language: look at the address.
    #[error("{at} answered {status}, but not as a coordinator does: {why}")]
    Foreign {
        /// The address.
        at: String,
        /// The HTTP status.
        status: StatusCode,
        /// What does not fit.
        why: String,
    },
    /// What was to be sent cannot be written as JSON. Nothing was sent.
    #[error("{what} cannot be written as JSON: {why}")]
    Unwritable {
        /// Which part.
        what: &'static str,
        /// Why.
        why: serde_json::Error,
    },
    /// A definition that was written in code has faults. Nothing was sent.
    #[cfg(feature = "definition")]
    #[error("the definition has faults:\n{0}")]
    Definition(#[from] amends_wire::definition::Diagnostics),
    /// The client's settings do not make a client.
    #[error("{0}")]
    Setup(String),
}

/// One address that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub at: String,
    /// What the network said.
    pub why: String,
}

impl Error {
    /// The problem, when the coordinator said no.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::Unanswered { .. } | Error::Timeout { .. } => true,
            Error::Problem(problem) => matches!(problem.status, 408 | 429 | 503),
            Error::Foreign { status, .. } => matches!(status.as_u16(), 502..=504),
            Error::Unwritable { .. } | Error::Setup(_) => false,
            #[cfg(feature = "definition")]
            Error::Definition(_) => false,
        }
    }

    /// Whether what was asked was certainly not done.
    pub fn is_definite(&self) -> bool {
        match self {
            Error::Unanswered { .. } | Error::Timeout { .. } => false,
            Error::Foreign { status, .. } => status.is_client_error(),
            Error::Problem(problem) => problem.status < 500,
            Error::Unreachable { .. } | Error::Unwritable { .. } | Error::Setup(_) => true,
            #[cfg(feature = "definition")]
            Error::Definition(_) => true,
        }
    }

    /// How long the coordinator asks to wait before the next try.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.problem().and_then(|problem| problem.retry_after)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Problem(Box::new(problem))
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.at, self.why)
    }
}

fn joined(tried: &[Tried]) -> String {
    tried.iter().map(Tried::to_string).collect::<Vec<_>>().join(", ")
}

fn too_late(known: &Option<Box<SagaView>>, waited: Duration, last: &Option<Box<Error>>) -> String {
    let span = format!("{:.1} s", waited.as_secs_f64());
    let mut text = match known {
        Some(saga) => format!("saga {} is {} after {span} and goes on", saga.id, saga.status.as_str()),
        None => format!("the saga was not seen within {span}"),
    };
    if let Some(last) = last {
        text.push_str(&format!("; the last look at it: {last}"));
    }
    text
}
