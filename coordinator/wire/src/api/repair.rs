//! Repair items: steps that wait for an operator, and anomalies that no saga reports.

use super::Time;
use amends_saga::{
    Json, Name, Op, ParkReason, Repair, Saga, SagaId, StepIx, StepName, StepPhase,
    definition::CHILD_PARTICIPANT,
    repair::{How, RepairStatus},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One stuck step, or one anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairView {
    /// Its id: the same for the same stuck step of the same saga, on every coordinator.
    pub id: Uuid,
    /// What it stands for.
    pub kind: RepairKind,
    /// The saga; null for an anomaly that belongs to none.
    pub saga: Option<SagaId>,
    /// The name of the saga's definition; null where the saga is not known.
    pub definition: Option<Name>,
    /// The step; null for an anomaly that belongs to none.
    pub step: Option<StepName>,
    /// Which of its calls is stuck.
    pub op: Op,
    /// The participant called, or the one whose books are wrong. `saga` where it is the coordinator itself: for a
    /// child saga, and for a step that calls nobody and is stuck because of its own expressions.
    pub participant: Name,
    /// The operation called, as `inventory.release`; null for an anomaly and for a step that calls nobody.
    pub operation: Option<String>,
    /// How far the repair is.
    pub status: RepairStatus,
    /// Why it is here.
    pub reason: RepairReason,
    /// When it was opened.
    pub opened_at: Time,
    /// When the step was parked for the first time; its age counts from here.
    pub first_opened_at: Time,
    /// The attempts made.
    pub attempts: u32,
    /// What the attempts met, oldest first: the first and the newest, at most 32.
    pub errors: Vec<RepairError>,
    /// The body that was sent; null when none could be made.
    pub payload: Option<Json>,
    /// The steps whose undo waits behind this one.
    pub holds: Vec<StepName>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// What operators have noted, oldest first.
    pub notes: Vec<NoteView>,
    /// The item of an earlier time at which the step was parked.
    pub previous: Option<Uuid>,
    /// How it was settled; null until it is.
    pub settled: Option<SettledView>,
    /// A command that is likely to help, ready to be run; null once the item is settled, and while it is tried
    /// again.
    #[serde(default)]
    pub proposed: Option<String>,
    /// What the audit found; null for a stuck step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingView>,
}

/// What an item stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairKind {
    /// A step that cannot go on by itself.
    Step,
    /// A participant's books that say something else than the saga.
    Anomaly,
}

/// Why an item is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairReason {
    /// The budget of attempts or time is spent.
    Exhausted,
    /// The participant said a definite no.
    Refused,
    /// The call itself is wrong.
    Contract,
    /// The audit found it.
    Anomaly,
}

/// A remark that came with a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteView {
    /// When.
    pub at: Time,
    /// By whom.
    pub by: String,
    /// What.
    pub note: String,
}

/// How an item was settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledView {
    /// When.
    pub at: Time,
    /// By whom; null where nobody in particular did.
    pub by: Option<String>,
    /// How.
    pub how: How,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingView {
    /// The kind of finding, one of a closed set such as `effect_without_a_saga`.
    pub name: String,
    /// A sentence for people.
    pub message: String,
    /// What was compared.
    #[serde(default)]
    pub detail: Json,
}

/// What one attempt met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairError {
    /// Which attempt, from 1; 0 when none could be made.
    pub attempt: u32,
    /// When.
    pub at: Time,
    /// The HTTP status; null where no answer came.
    pub status: Option<u16>,
    /// What was said.
    pub message: String,
    /// How long the attempt took.
    pub latency_ms: u64,
}

impl From<ParkReason> for RepairReason {
    fn from(reason: ParkReason) -> RepairReason {
        match reason {
            ParkReason::Exhausted => RepairReason::Exhausted,
            ParkReason::Refused => RepairReason::Refused,
            ParkReason::Contract => RepairReason::Contract,
        }
    }
}

impl RepairView {
    /// The items of a saga that are not settled, in the order of its steps.
    pub fn all(saga: &Saga) -> Vec<RepairView> {
        let open = saga.items().filter(|(_, _, repair)| repair.is_unsettled());
        open.filter_map(|(ix, op, _)| RepairView::of(saga, ix, op)).collect()
    }

    /// The newest item of one of a step's calls, settled or not; `None` when it was never parked.
    pub fn of(saga: &Saga, ix: StepIx, op: Op) -> Option<RepairView> {
        let operation = saga.spec(ix).operation(op);
        let call = saga.step(ix).call(op);
        let repair: &Repair = call.repair.as_deref()?;
        let errors = call.failures.iter().map(|failure| RepairError {
            attempt: failure.attempt,
            at: failure.at.into(),
            status: failure.report.status,
            message: failure.report.message.clone(),
            latency_ms: failure.report.latency_ms,
        });
        let notes = repair.notes.iter().map(|note| NoteView {
            at: note.at.into(),
            by: note.by.clone(),
            note: note.note.clone(),
        });
        Some(RepairView {
            id: repair.item,
            kind: RepairKind::Step,
            saga: Some(saga.id),
            definition: Some(saga.definition.name.clone()),
            step: Some(saga.step_name(ix)),
            op,
            participant: operation.map_or_else(itself, |operation| operation.participant.clone()),
            operation: operation.map(|operation| format!("{}.{}", operation.participant, operation.name)),
            status: repair.status,
            reason: repair.reason.into(),
            opened_at: repair.opened_at.into(),
            first_opened_at: repair.first_opened_at.into(),
            attempts: call.attempts,
            errors: errors.collect(),
            payload: call.input.clone(),
            holds: if repair.is_unsettled() { held(saga, ix, op) } else { Vec::new() },
            assignee: repair.assignee.clone(),
            notes: notes.collect(),
            previous: repair.previous,
            settled: repair.settled.as_ref().map(|settled| SettledView {
                at: settled.at.into(),
                by: settled.by.clone(),
                how: settled.how,
            }),
            proposed: proposed(repair.item, repair.status, repair.reason.into(), repair.number),
            finding: None,
        })
    }
}

/// The participant's name where the coordinator itself stands in its place.
pub fn itself() -> Name {
    Name::parse(CHILD_PARTICIPANT).expect("a constant name is one")
}

/// The number of times a step may be parked before trying it once more is no longer what is proposed.
const RETRIES_PROPOSED: u32 = 3;

/// A command that is likely to help with an item that was parked for the `number`th time.
///
/// One whose budget is spent is worth another try while that has not failed again and again; a refusal or a
/// call that is wrong repeats itself, so somebody has to change something first: the body, or the books by
/// hand. Words in capitals are for the operator to fill in.
pub fn proposed(item: Uuid, status: RepairStatus, reason: RepairReason, number: u32) -> Option<String> {
    if matches!(status, RepairStatus::Retrying | RepairStatus::Settled) {
        return None;
    }
    Some(match reason {
        RepairReason::Exhausted if number <= RETRIES_PROPOSED => {
            format!("amends repair retry {item} --wait 30s")
        }
        RepairReason::Contract => format!("amends repair retry {item} --input FILE --wait 30s"),
        RepairReason::Exhausted | RepairReason::Refused | RepairReason::Anomaly => {
            format!("amends repair resolve {item} --note 'WHAT YOU DID BY HAND'")
        }
    })
}

/// The steps that may not go on while `ix` is parked: of those before it the ones that owe an undo, or past the
/// point of no return the ones after it.
fn held(saga: &Saga, ix: StepIx, op: Op) -> Vec<StepName> {
    if op != Op::Compensation {
        let later = saga.definition.pivot().map(|_| saga.undone_before(ix)).unwrap_or_default();
        return later.into_iter().map(|later| saga.step_name(later)).collect();
    }
    if saga.spec(ix).undo().is_some_and(|undo| undo.eager) {
        return Vec::new();
    }
    let before = saga.steps().filter(|(other, state)| {
        let begun = matches!(state.phase, StepPhase::Compensating | StepPhase::Parked);
        !begun && saga.owes_undo(*other) && saga.undone_before(*other).contains(&ix)
    });
    before.map(|(other, _)| saga.step_name(other)).collect()
}
