//! What an answer to a call means, decided in one table.
//!
//! The table tells four things apart that are easily confused: done, a definite no, a contract error
//! (the call itself is wrong, so repeating it is useless), and unknown (it may have been done).

use crate::{Json, Op, time::Millis};
use serde::{Deserialize, Serialize};

/// What came back from a participant, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It took effect; the output is any JSON value, `null` for an empty body.
    Done(Json),
    /// It is being worked on; ask again, not before `retry_after` when there is one.
    Pending {
        /// The participant's own wish for the next question.
        retry_after: Option<Millis>,
        /// Whether it is a child saga that stands in repair.
        repair: bool,
    },
    /// A definite no: nothing was done.
    Refused(Report),
    /// The call is wrong in itself; it is not repeated.
    Contract(Report),
    /// To a status question: never seen here, so the call is sent (again).
    NotSeen,
    /// No definite answer: it may have been done.
    Unknown {
        /// What happened instead of an answer.
        report: Report,
        /// The participant's own wish for the next attempt.
        retry_after: Option<Millis>,
    },
}

/// What a participant or the network said, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// One line, at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// How long the attempt took.
    #[serde(default)]
    pub latency_ms: u64,
}

/// The body of an answer as the shell has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// No byte came.
    Empty,
    /// Well-formed JSON.
    Json(Json),
    /// Something else, too long, or cut short; the text says what.
    Bad(String),
}

/// The longest message kept from a participant's answer, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 512;

/// The longest `Retry-After` that is honoured; a longer one counts as this.
pub const RETRY_AFTER_MAX: Millis = Millis::from_secs(3600);

impl Report {
    /// Makes a report, cutting the message to [`MESSAGE_BYTES_MAX`].
    pub fn new(status: Option<u16>, message: impl Into<String>, latency_ms: u64) -> Report {
        let mut message: String = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX - 3).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        Report { status, message, latency_ms }
    }
}

/// What was asked: the operation itself, or its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The call was sent.
    Call,
    /// The operation's status was asked.
    Status,
}

/// Reads an HTTP answer by the table.
///
/// `op` matters because 410 to a compensation means that the participant has forgotten what there
/// was to undo, and because 404 to a status question means "never seen".
pub fn read(
    op: Op,
    asked: Asked,
    status: u16,
    retry_after: Option<Millis>,
    body: Body,
    latency_ms: u64,
) -> Answer {
    let retry_after = retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
    let report = |body: &Body| Report::new(Some(status), describe(status, body), latency_ms);
    match status {
        202 | 425 => Answer::Pending { retry_after, repair: false },
        200..=299 => match body {
            Body::Empty => Answer::Done(Json::default()),
            Body::Json(value) => Answer::Done(value),
            Body::Bad(_) => Answer::Unknown { report: report(&body), retry_after },
        },
        404 if asked == Asked::Status => Answer::NotSeen,
        409 => Answer::Refused(report(&body)),
        410 if op == Op::Compensation => Answer::Done(Json::default()),
        410 => Answer::Refused(report(&body)),
        408 | 429 => Answer::Unknown { report: report(&body), retry_after },
        300..=499 => Answer::Contract(report(&body)),
        _ => Answer::Unknown { report: report(&body), retry_after },
    }
}

/// Finds the sentence a person wants to read in an error body.
fn describe(status: u16, body: &Body) -> String {
    match body {
        Body::Empty => format!("status {status} with an empty body"),
        Body::Bad(what) => format!("status {status}: {what}"),
        Body::Json(value) => ["message", "detail", "error", "title"]
            .iter()
            .find_map(|field| value.get(field).and_then(|v| v.as_str()))
            .map_or_else(|| format!("status {status}: {value}"), str::to_owned),
    }
}

#[cfg(test)]
mod tests;
