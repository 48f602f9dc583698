//! What operators send about repair items: one verb each, and what all of them have in common.

use crate::problem::{Problem, Slug};
use amends_saga::{Json, repair::MONITOR};
use serde::{Deserialize, Serialize};

/// The longest note in bytes.
pub const NOTE_BYTES_MAX: usize = 4096;
/// The longest name of a person in bytes: an assignee, or whoever asks.
pub const PERSON_BYTES_MAX: usize = 256;

/// What may be done about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairAction {
    /// One more round of quick attempts.
    Retry,
    /// It was made good by hand.
    Resolve,
    /// It stays undone; the other steps are undone.
    Skip,
    /// The saga ends as it stands.
    Abandon,
    /// Somebody looks after it.
    Assign,
}

/// `POST /v1/repairs/{id}/retry`; the body may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// The body to send instead of the one captured; null or absent sends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who asks, where no token says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /v1/repairs/{id}/resolve`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// What was done by hand. Required, not blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the call is to be taken to have answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Who asks, where no token says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /v1/repairs/{id}/skip` and `/abandon`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveUpRequest {
    /// Why. Required, not blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who asks, where no token says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /v1/repairs/{id}/assign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignRequest {
    /// Who looks after it.
    pub assignee: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who asks, where no token says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Reads a note that may be absent; a blank one is none.
///
/// # Errors
/// `malformed_body` when it is longer than [`NOTE_BYTES_MAX`].
pub fn note(text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.len() > NOTE_BYTES_MAX {
        let detail = format!("\"note\" has {} bytes; it has at most {NOTE_BYTES_MAX}", text.len());
        return Err(Problem::new(Slug::MalformedBody, detail));
    }
    Ok(Some(text))
}

/// Reads a note that has to be there.
///
/// # Errors
/// `note_required` when it is absent or blank, else as [`note`].
pub fn required_note(text: Option<String>, action: RepairAction) -> Result<String, Problem> {
    note(text)?.ok_or_else(|| {
        let what = match action {
            RepairAction::Resolve => "what was done by hand",
            RepairAction::Retry | RepairAction::Skip | RepairAction::Abandon | RepairAction::Assign => "why",
        };
        let verb = action.as_str();
        let detail = format!("{verb} is kept with a reason: say {what} in \"note\"; it was absent or blank");
        Problem::new(Slug::NoteRequired, detail)
    })
}

/// Reads the name of a person, from the member `member`.
///
/// # Errors
/// `malformed_body` when it is empty, longer than [`PERSON_BYTES_MAX`], has control characters, or is the name
/// under which the coordinator itself acts.
pub fn person(text: String, member: &str) -> Result<String, Problem> {
    let (bytes, trimmed) = (text.len(), text.trim());
    if trimmed.is_empty() || bytes > PERSON_BYTES_MAX || text.chars().any(char::is_control) {
        let detail = format!(
            "\"{member}\" has {bytes} bytes; a name has 1 to {PERSON_BYTES_MAX}, no control characters, and is \
             not blank"
        );
        return Err(Problem::new(Slug::MalformedBody, detail));
    }
    if trimmed == MONITOR {
        let detail = format!("\"{member}\" is \"{MONITOR}\", which is the coordinator's own name in audits");
        return Err(Problem::new(Slug::MalformedBody, detail));
    }
    Ok(trimmed.to_owned())
}

impl RepairAction {
    /// The word used in paths and bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            RepairAction::Retry => "retry",
            RepairAction::Resolve => "resolve",
            RepairAction::Skip => "skip",
            RepairAction::Abandon => "abandon",
            RepairAction::Assign => "assign",
        }
    }

    /// Whether it is kept with a reason.
    pub fn needs_note(self) -> bool {
        match self {
            RepairAction::Resolve | RepairAction::Skip | RepairAction::Abandon => true,
            RepairAction::Retry | RepairAction::Assign => false,
        }
    }

    /// Whether it can be done about an anomaly, behind which no call stands.
    pub fn suits_anomalies(self) -> bool {
        match self {
            RepairAction::Resolve | RepairAction::Skip | RepairAction::Assign => true,
            RepairAction::Retry | RepairAction::Abandon => false,
        }
    }
}

impl std::fmt::Display for RepairAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
