//! Anomalies: items that no saga keeps, so that their row is their truth and every change is noted in it.

use super::{App, find, unavailable, verb, view};
use crate::{
    clock::now,
    http::{Failure, problem},
};
use amends_saga::{
    Json, Timestamp,
    repair::{Audit, How, NOTES_MAX, RepairStatus, Verb},
};
use amends_store::repairs::Item;
use amends_wire::{
    api::{FindingView, NoteView},
    problem::{Problem, Slug},
};
use serde::{Deserialize, Serialize};

/// How often a change is tried when others change the same row at the same time.
const TRIES: usize = 64;

/// What an anomaly's row holds as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AnomalyText {
    name: String,
    message: String,
    #[serde(default)]
    detail: Json,
    #[serde(default)]
    notes: Vec<Entry>,
}

/// One change of an anomaly: its audit record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    at: Timestamp,
    by: String,
    note: String,
    /// The verb; absent in what the audit itself noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    /// The address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl AnomalyText {
    pub(super) fn read(text: &str) -> Result<AnomalyText, Failure> {
        serde_json::from_str(text)
            .map_err(|error| problem(Slug::Internal, format!("an anomaly's row cannot be read: {error}")))
    }

    pub(super) fn finding(self) -> FindingView {
        FindingView { name: self.name, message: self.message, detail: self.detail }
    }

    pub(super) fn note_views(&self) -> Vec<NoteView> {
        let view =
            |entry: &Entry| NoteView { at: entry.at.into(), by: entry.by.clone(), note: entry.note.clone() };
        self.notes.iter().map(view).collect()
    }

    fn note(&mut self, entry: Entry) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(1);
        }
        self.notes.push(entry);
    }
}

/// Gives a verb to an anomaly; of several at once each is applied to what the one before has left.
///
/// # Errors
/// `not_retryable`, `repair_settled`, or `store_unavailable`.
pub(super) async fn give(app: &App, row: &Item, verb: Verb, audit: Audit) -> Result<(), Failure> {
    let mut row = row.clone();
    for _ in 0..TRIES {
        let Some(after) = changed(&row, &verb, &audit)? else { return Ok(()) };
        if app.store.change_anomaly(&after, row.updated_at).await.map_err(unavailable)? {
            tracing::info!(item = %row.item, participant = row.participant, by = audit.by, "an anomaly is {}", word(&verb));
            return Ok(());
        }
        row = find(app, row.item).await?;
    }
    let detail = format!("too many change item {} at the same time; try again", row.item);
    Err(Problem::new(Slug::StoreUnavailable, detail).retry_after(1).into())
}

/// The row as it is after a verb; `None` when the verb changes nothing.
fn changed(row: &Item, verb: &Verb, audit: &Audit) -> Result<Option<Item>, Failure> {
    let settles = match verb {
        Verb::Resolve { .. } => Some(How::Resolved),
        Verb::Prove { .. } => Some(How::Proven),
        Verb::Skip => Some(How::Skipped),
        Verb::Assign { .. } => None,
        Verb::Retry { .. } | Verb::Abandon => return Err(not_retryable(row, verb)),
    };
    if row.status == RepairStatus::Settled {
        let same =
            settles.is_some() && row.settled_how == settles && row.settled_by.as_ref() == Some(&audit.by);
        return if same { Ok(None) } else { Err(verb::settled(row.item, view::settled(row), None)) };
    }
    let mut after = row.clone();
    match verb {
        Verb::Assign { assignee } if row.assignee.as_ref() == Some(assignee) => return Ok(None),
        Verb::Assign { assignee } => {
            after.assignee = Some(assignee.clone());
            after.status = RepairStatus::Assigned;
        }
        Verb::Resolve { .. } | Verb::Prove { .. } | Verb::Skip | Verb::Retry { .. } | Verb::Abandon => {
            after.status = RepairStatus::Settled;
            after.settled_by = Some(audit.by.clone());
            after.settled_how = settles;
        }
    }
    // Strictly later than before, so that of two changes at the same moment one is told of the other.
    after.updated_at = Timestamp(now().0.max(row.updated_at.0 + 1));
    let mut text = AnomalyText::read(row.anomaly.as_deref().unwrap_or_default())?;
    text.note(entry(verb, audit, after.updated_at));
    let text = serde_json::to_string(&text)
        .map_err(|error| problem(Slug::Internal, format!("an anomaly's row cannot be written: {error}")))?;
    after.anomaly = Some(text);
    Ok(Some(after))
}

fn entry(verb: &Verb, audit: &Audit, at: Timestamp) -> Entry {
    let note = audit.note.clone().unwrap_or_else(|| match verb {
        Verb::Assign { assignee } => format!("assigned to {assignee}"),
        Verb::Resolve { .. } | Verb::Prove { .. } | Verb::Skip | Verb::Retry { .. } | Verb::Abandon => {
            word(verb).to_owned()
        }
    });
    Entry { at, by: audit.by.clone(), note, verb: Some(word(verb).to_owned()), from: audit.from.clone() }
}

fn word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Retry { .. } => "retried",
        Verb::Resolve { .. } => "resolved",
        Verb::Prove { .. } => "proven",
        Verb::Skip => "skipped",
        Verb::Abandon => "abandoned",
        Verb::Assign { .. } => "assigned",
    }
}

fn not_retryable(row: &Item, verb: &Verb) -> Failure {
    let why = match verb {
        Verb::Abandon => "there is no saga to give up",
        Verb::Retry { .. } | Verb::Resolve { .. } | Verb::Prove { .. } | Verb::Skip | Verb::Assign { .. } => {
            "there is no call to send again"
        }
    };
    let detail = format!(
        "item {} stands for an anomaly in the books of {}: {why}; correct the books, then resolve it",
        row.item, row.participant
    );
    problem(Slug::NotRetryable, detail)
}
