//! The audit: what participants say of their own tables, and how that is held against the sagas.
//!
//! A participant answers `GET {base}/saga-audit?since=…&limit=…&cursor=…` with [`Page`]s: for every step that it has
//! seen since then, what its tables say was done, and what it found wrong with them by itself. It only reads.
//! [`read_all`] gathers the pages, [`compare()`] holds them against [`SagaRecord`]s and says which [laws](LAWS) are kept.
//!
//! The invariant it keeps: **what is still in motion proves nothing.** Only sagas that have ended, and effects that
//! are older than the settling time, are judged; what an operator has decided to leave is a debt, not a fault.

mod compare;
mod comparison;
mod differ;
mod law;
mod read;
mod record;

pub use compare::{Sagas, Terms, compare};
pub use comparison::{Comparison, Debt, Finding, LawResult};
pub use law::{LAWS, Law, names};
pub use read::{Audited, ReadError, read_all};
pub use record::{BranchRecord, SagaRecord, StepRecord};

use crate::problem::{Problem, Slug};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The address of the audit below a participant's base URL.
pub const PATH: &str = "/saga-audit";

/// Effects on a page where nobody says how many.
pub const LIMIT_DEFAULT: u32 = 200;

/// The most effects on a page.
pub const LIMIT_MAX: u32 = 500;

/// The longest cursor, in bytes.
pub const CURSOR_BYTES_MAX: usize = 512;

/// One page of a participant's audit.
///
/// ```json
/// { "effects": [ { "saga": "0193…", "step": "reserve", "op_state": "applied", "at": 1795197600000,
///                  "effect": {"order": "1001", "lines": [{"sku": 7, "qty": 2}]}, "expires_at": 1795198500000 } ],
///   "findings": [ { "name": "doubled_effect", "saga": "0193…", "step": "reserve", "message": "…", "detail": {} } ],
///   "next": "…" }
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Page {
    /// What became of steps, ascending by `at`. A step that changes while the pages are read may come twice; the
    /// later one counts.
    pub effects: Vec<Effect>,
    /// What the participant found wrong with its own tables.
    #[serde(default)]
    pub findings: Vec<Reported>,
    /// What to send as `cursor` for the next page; null after the last.
    #[serde(default)]
    pub next: Option<String>,
}

/// What a participant's tables say of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The saga.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// What became of it here.
    pub op_state: EffectState,
    /// When that last changed, in unix milliseconds by the participant's clock.
    pub at: i64,
    /// What was done, in the words of the action's body: each member that the body has as well must be the same there.
    /// Null where the participant does not say.
    #[serde(default)]
    pub effect: Option<Value>,
    /// Until when it stands, in unix milliseconds; null when it does not end by itself.
    #[serde(default)]
    pub expires_at: Option<i64>,
}

/// What became of a step at a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectState {
    /// The action took effect and is not undone.
    Applied,
    /// The action took effect and was undone.
    Undone,
    /// Nothing was done, and nothing will be: the action was refused, or its compensation came first.
    Barred,
    /// The participant is still working on it.
    Pending,
}

impl EffectState {
    /// The word, as pages carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            EffectState::Applied => "applied",
            EffectState::Undone => "undone",
            EffectState::Barred => "barred",
            EffectState::Pending => "pending",
        }
    }
}

/// Something that a participant found wrong with its own tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// What it is, in a word that never changes its meaning; one of [`names`] where it is one of those.
    pub name: String,
    /// The saga it is about, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga: Option<Uuid>,
    /// The step it is about, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// The rows it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// What is asked of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Only what changed at or after this moment, in unix milliseconds.
    pub since: i64,
    /// The most effects on the page, from 1 to [`LIMIT_MAX`].
    pub limit: u32,
    /// Where to go on: what the page before said in `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Query {
    /// The first page of everything that changed since a moment, in unix milliseconds.
    pub fn since(since: i64) -> Query {
        Query { since, limit: LIMIT_MAX, cursor: None }
    }

    /// Reads the parameters of an address, decoded, in their order: `since`, `limit` and `cursor`, each at most once.
    ///
    /// # Errors
    /// `bad_query` with the parameter and what would be right.
    pub fn read(parameters: &[(String, String)]) -> Result<Query, Problem> {
        let bad = |detail: String| Problem::new(Slug::BadQuery, detail);
        let mut query = Query { since: 0, limit: LIMIT_DEFAULT, cursor: None };
        for (at, (name, value)) in parameters.iter().enumerate() {
            if parameters[..at].iter().any(|(other, _)| other == name) {
                return Err(bad(format!("\"{}\" is given twice", shown(name))));
            }
            match name.as_str() {
                "since" => {
                    query.since = value.parse().ok().filter(|since| *since >= 0).ok_or_else(|| {
                        bad(format!(
                            "\"since\" is a moment in unix milliseconds, from 0; not \"{}\"",
                            shown(value)
                        ))
                    })?;
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    query.limit = limit.ok_or_else(|| {
                        bad(format!("\"limit\" is a number from 1 to {LIMIT_MAX}, not \"{}\"", shown(value)))
                    })?;
                }
                "cursor" if (1..=CURSOR_BYTES_MAX).contains(&value.len()) => {
                    query.cursor = Some(value.clone())
                }
                "cursor" => return Err(bad_cursor()),
                other => {
                    let other = shown(other);
                    return Err(bad(format!(
                        "\"{other}\" is not a parameter here; there are since, limit, cursor"
                    )));
                }
            }
        }
        Ok(query)
    }
}

/// What is said to a cursor that no page has given.
pub fn bad_cursor() -> Problem {
    Problem::new(Slug::BadQuery, "\"cursor\" is what a page's \"next\" said; start again without it")
}

/// A text from elsewhere, short enough to be repeated.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(40).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
