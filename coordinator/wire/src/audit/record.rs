//! A saga as the audit looks at it: what each of its calls asked for, and how it ended.

use crate::api::{JournalItem, SagaView, StepStatus};
use amends_saga::{SagaId, Status};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A saga.
#[derive(Debug, Clone, PartialEq)]
pub struct SagaRecord {
    /// Its id.
    pub id: SagaId,
    /// Where it stands.
    pub status: Status,
    /// When it was accepted, in unix milliseconds.
    pub created_at: i64,
    /// When something last happened to it, in unix milliseconds.
    pub updated_at: i64,
    /// Its calls.
    pub steps: Vec<StepRecord>,
}

/// One call of a saga.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// Whom it calls.
    pub participant: String,
    /// What it calls there.
    pub operation: String,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether it can be undone.
    pub is_compensable: bool,
    /// Whether an operator has settled it in the participant's place, or given it up.
    pub is_by_hand: bool,
    /// The body that was sent; `None` when nothing was.
    pub sent: Option<Value>,
}

impl SagaRecord {
    /// Brings together how a saga is shown and what its journal says was sent.
    ///
    /// A view without steps gives a record without calls.
    pub fn read(view: &SagaView, journal: &[JournalItem]) -> SagaRecord {
        let sent = Sent::of(journal);
        let steps = view.steps.iter().flatten().filter_map(|step| {
            let action = step.action.as_ref()?;
            let (participant, operation) = action.operation.split_once('.')?;
            Some(StepRecord {
                name: step.name.to_string(),
                participant: participant.to_owned(),
                operation: operation.to_owned(),
                status: step.status,
                is_compensable: step.compensation.is_some(),
                is_by_hand: step.settled_by_hand || sent.by_hand.contains(step.name.as_str()),
                sent: sent.bodies.get(step.name.as_str()).map(|body| (*body).clone()),
            })
        });
        SagaRecord {
            id: view.id,
            status: view.status,
            created_at: view.created_at.0.0,
            updated_at: view.updated_at.0.0,
            steps: steps.collect(),
        }
    }

    /// Whether nothing happens to it any more, and nothing has for `settle_ms`.
    pub(super) fn is_at_rest(&self, now: i64, settle_ms: i64) -> bool {
        let has_ended = match self.status {
            Status::Completed | Status::Compensated | Status::Abandoned => true,
            Status::Running | Status::Compensating | Status::Repair => false,
        };
        has_ended && self.updated_at.saturating_add(settle_ms) <= now
    }

    /// The call of this name.
    pub(super) fn step(&self, name: &str) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.name == name)
    }
}

/// What a journal says was sent, and what was settled in a participant's place.
struct Sent<'a> {
    bodies: BTreeMap<&'a str, &'a Value>,
    by_hand: BTreeSet<&'a str>,
}

impl Sent<'_> {
    fn of(journal: &[JournalItem]) -> Sent<'_> {
        let mut sent = Sent { bodies: BTreeMap::new(), by_hand: BTreeSet::new() };
        for item in journal {
            let Some(step) = item.step.as_ref().map(|step| step.as_str()) else { continue };
            let is_action = item.rest.get("op").and_then(Value::as_str) == Some("action");
            match item.kind.as_str() {
                "call_started" | "repair_retried" if is_action => {
                    if let Some(body) = item.rest.get("input") {
                        sent.bodies.insert(step, body);
                    }
                }
                "repair_resolved" | "repair_skipped" | "repair_abandoned" => {
                    sent.by_hand.insert(step);
                }
                _ => {}
            }
        }
        sent
    }
}
