//! A saga as the audit looks at it: what each of its calls and branches asked for, and how it ended.
//!
//! Only what calls somebody by its own name is here. A step that is done for each item of a list calls nobody itself:
//! its items do, and each is a call. A child saga's calls carry the child's id, so its step is no call either.

use crate::api::{JournalItem, SagaView, StepKind, StepStatus, StepView};
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
    /// Its calls, the items of fanned-out steps among them, and its branches; ascending by name.
    pub steps: Vec<StepRecord>,
}

/// One call of a saga, or one branch of an open one.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// The step's name; an item's is `name[0]`.
    pub name: String,
    /// Whom it calls; of a branch, whom its compensation calls.
    pub participant: String,
    /// What it calls there; of a branch, its compensation.
    pub operation: String,
    /// What is different where it is a branch of an open saga; `None` for a call.
    pub branch: Option<BranchRecord>,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether it can be undone.
    pub is_compensable: bool,
    /// Whether an operator has settled it in the participant's place, or given it up.
    pub is_by_hand: bool,
    /// The body that was sent: of the action, or of a branch's confirm; `None` when neither was.
    pub sent: Option<Value>,
}

/// A branch of an open saga: its work is the participant's own, and only what follows is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchRecord {
    /// What makes it final, as participant and operation; `None` where nothing does.
    pub confirm: Option<(String, String)>,
}

impl SagaRecord {
    /// Brings together how a saga is shown and what its journal says was sent.
    ///
    /// A view without steps gives a record without calls.
    pub fn read(view: &SagaView, journal: &[JournalItem]) -> SagaRecord {
        let sent = Sent::of(journal);
        let steps = view.steps.iter().flatten().filter_map(|step| StepRecord::read(step, &sent));
        let mut steps: Vec<StepRecord> = steps.collect();
        steps.sort_by(|one, other| one.name.cmp(&other.name));
        SagaRecord {
            id: view.id,
            status: view.status,
            created_at: view.created_at.0.0,
            updated_at: view.updated_at.0.0,
            steps,
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

    /// The call or the branch of this name.
    pub(super) fn step(&self, name: &str) -> Option<&StepRecord> {
        let at = self.steps.binary_search_by(|step| step.name.as_str().cmp(name)).ok()?;
        self.steps.get(at)
    }
}

impl StepRecord {
    /// Reads a step; `None` when it calls nobody by its own name.
    fn read(step: &StepView, sent: &Sent<'_>) -> Option<StepRecord> {
        let branch = match step.kind {
            StepKind::Call if step.items.is_none() => None,
            StepKind::Branch => {
                Some(BranchRecord { confirm: step.confirm.as_ref().and_then(|op| target(&op.operation)) })
            }
            StepKind::Call | StepKind::Await | StepKind::Saga => return None,
        };
        let called = if branch.is_some() { &step.compensation } else { &step.action };
        let (participant, operation) = target(&called.as_ref()?.operation)?;
        Some(StepRecord {
            name: step.name.to_string(),
            participant,
            operation,
            branch,
            status: step.status,
            is_compensable: step.compensation.is_some(),
            is_by_hand: sent.by_hand.contains(step.name.as_str()),
            sent: sent.bodies.get(step.name.as_str()).map(|body| (*body).clone()),
        })
    }

    /// Whether it may have left something at a participant.
    pub(super) fn is_at(&self, participant: &str) -> bool {
        let confirm = self.branch.as_ref().and_then(|branch| branch.confirm.as_ref());
        self.participant == participant || confirm.is_some_and(|(name, _)| name == participant)
    }

    /// The operation that must have left a trace at a participant once the step is done: the call's own, or the
    /// branch's confirm. What a branch that has none has done, its participant alone knows.
    pub(super) fn trace_at(&self, participant: &str) -> Option<&str> {
        let (name, operation) = match &self.branch {
            None => (&self.participant, &self.operation),
            Some(BranchRecord { confirm }) => confirm.as_ref().map(|(name, operation)| (name, operation))?,
        };
        (name == participant).then_some(operation)
    }
}

/// Whom an operation belongs to, and its name there.
fn target(operation: &str) -> Option<(String, String)> {
    let (participant, operation) = operation.split_once('.')?;
    Some((participant.to_owned(), operation.to_owned()))
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
            let op = item.rest.get("op").and_then(Value::as_str);
            match item.kind.as_str() {
                // A call that is asked for again after a definite no has the same body, or the operator's.
                "call_started" | "repair_retried" if matches!(op, Some("action" | "confirm")) => {
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
