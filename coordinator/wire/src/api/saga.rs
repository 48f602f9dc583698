//! A saga as callers see it.

mod fan;

use super::{RepairView, Time};
use amends_saga::{
    CauseKind, Failure, Json, Name, OpPhase, OpState, Parent, Saga, SagaId, Status, StepIx, StepName,
    StepPhase, StepState,
    definition::{AwaitStep, BranchStep, CallStep, Kind, Operation},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A saga, as `GET /v1/sagas/{id}` and every start, wait, cancel and revert return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaView {
    /// Its id.
    pub id: SagaId,
    /// The name of its definition.
    pub definition: Name,
    /// The version of its definition.
    pub version: u32,
    /// The caller's key.
    pub key: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub status: Status,
    /// What it was started with.
    pub input: Json,
    /// What it yielded; null unless it is completed.
    pub output: Option<Json>,
    /// Why it turned round; null unless it did.
    pub error: Option<ErrorView>,
    /// When it was accepted.
    pub created_at: Time,
    /// When something last happened to it.
    pub updated_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When it turns round if it is still running.
    pub deadline_at: Option<Time>,
    /// Whether it is an open saga; absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// When an open saga was committed; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Time>,
    /// The saga it is run for; absent where it is nobody's child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentView>,
    /// Its steps in the order they are written, the items of a fanned-out step right behind it; an open saga's
    /// branches in the order in which they were registered. Absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepView>>,
    /// Whether an operator has settled some step in place of its participant.
    #[serde(default)]
    pub settled_by_hand: bool,
    /// Its repair items that are not settled, and those of the child sagas it waits for.
    pub repairs: Vec<RepairView>,
}

/// The saga that a child saga is run for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Its id.
    pub saga: SagaId,
    /// Its step.
    pub step: StepName,
}

/// Why a saga turned round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// The step at which it happened; null for a deadline or a cancellation.
    pub step: Option<StepName>,
    /// The kind.
    pub kind: CauseKind,
    /// A sentence for people.
    pub message: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its name.
    pub name: StepName,
    /// What it does.
    pub kind: StepKind,
    /// Where it stands.
    pub status: StepStatus,
    /// Its forward call; null for a step that waits, and for a branch, whose work is the participant's own.
    pub action: Option<OpView>,
    /// The call that makes a branch final; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<OpView>,
    /// Its undo; null where it has none.
    pub compensation: Option<OpView>,
    /// Whether an operator has settled it in place of its participant.
    #[serde(default)]
    pub settled_by_hand: bool,
    /// The child saga it runs; absent for other steps, and before it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<SagaId>,
    /// How many items it is done for, each of them a step of its own; absent for other steps, and before it has
    /// begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    /// What it waits for; these members are there for a step that waits only.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<AwaitView>,
}

/// The kinds of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Calls an operation.
    Call,
    /// Waits for a signal.
    Await,
    /// Runs another saga.
    Saga,
    /// Is a branch of an open saga.
    Branch,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Its action is being called.
    Running,
    /// It waits for a signal; or it is a branch of an open saga that is not decided.
    Waiting,
    /// It took effect.
    Done,
    /// It was refused.
    Refused,
    /// Nobody knows whether it took effect.
    Unknown,
    /// It was not needed.
    Skipped,
    /// It is being undone.
    Compensating,
    /// It is undone.
    Compensated,
    /// Its undo, or past the point of no return its action, waits for an operator.
    Parked,
}

/// One of a step's calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpView {
    /// The operation, as `inventory.hold`.
    pub operation: String,
    /// Where it stands.
    pub status: OpStatus,
    /// The attempts made so far, the one in flight included.
    pub attempts: u32,
    /// The answer's body; null until it is done.
    pub output: Option<Json>,
    /// What the last attempt that did not succeed met.
    pub last_error: Option<LastError>,
    /// When the next attempt, or the next question about a pending one, is due.
    pub next_attempt_at: Option<Time>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpStatus {
    /// Not sent.
    Pending,
    /// In flight, waiting to be tried again, or being worked on by the participant.
    Running,
    /// It took effect.
    Done,
    /// A definite no.
    Refused,
    /// Given up without a definite answer.
    Unknown,
    /// It waits for an operator.
    Parked,
}

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// The HTTP status; null where no answer came.
    pub status: Option<u16>,
    /// What was said.
    pub message: String,
    /// When.
    pub at: Time,
}

/// What a step that waits shows beside what every step shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AwaitView {
    /// The signal's name.
    pub signal: Name,
    /// The signal's payload, or the default taken instead.
    pub output: Option<Json>,
    /// Until when it waits; null when it does not wait now.
    pub timeout_at: Option<Time>,
}

impl SagaView {
    /// Shows a saga.
    pub fn of(saga: &Saga) -> SagaView {
        SagaView { steps: Some(steps(saga)), ..SagaView::brief(saga) }
    }

    /// Shows a saga without its steps, as lists do.
    pub fn brief(saga: &Saga) -> SagaView {
        SagaView {
            id: saga.id,
            definition: saga.definition.name.clone(),
            version: saga.definition.version,
            key: saga.key.clone(),
            labels: saga.labels.clone(),
            status: saga.status(),
            input: saga.input.clone(),
            output: saga.output.clone(),
            error: saga.error.as_ref().map(|cause| ErrorView {
                step: cause.step.clone(),
                kind: cause.kind,
                message: cause.message.clone(),
            }),
            created_at: saga.created_at.into(),
            updated_at: saga.updated_at.into(),
            ended_at: saga.ended_at.map(Time),
            deadline_at: saga.deadline_at.map(Time),
            open: saga.definition.is_open(),
            committed_at: saga.committed_at.map(Time),
            parent: saga.parent.clone().map(|Parent { saga, step, .. }| ParentView { saga, step }),
            steps: None,
            settled_by_hand: saga.is_settled_by_hand(),
            repairs: RepairView::all(saga),
        }
    }

    /// Drops the steps, as lists do.
    #[must_use]
    pub fn without_steps(self) -> SagaView {
        SagaView { steps: None, ..self }
    }
}

/// The steps as they are shown: each item stands behind the step that it is an item of.
fn steps(saga: &Saga) -> Vec<StepView> {
    let own = saga.steps().map(|(ix, _)| ix).filter(|ix| saga.base(*ix) == *ix);
    let with_items = own.flat_map(|ix| {
        let items = saga.fan(ix).into_iter().flat_map(|fan| fan.items());
        std::iter::once(ix).chain(items)
    });
    with_items.map(|ix| StepView::of(saga, ix)).collect()
}

/// The id of the child saga that a step runs, once it has begun to.
pub fn child(saga: &Saga, ix: StepIx) -> Option<SagaId> {
    saga.spec(ix).call().filter(|call| call.action.is_child())?;
    let state = &saga.step(ix).action;
    let has_begun = !saga.is_fanned(ix) && state.phase != OpPhase::Idle;
    has_begun.then(|| amends_saga::child_id(saga.id, &saga.step_name(ix), state.round))
}

/// The children that stand in repair, for which the saga stands in repair too.
pub fn children_in_repair(saga: &Saga) -> Vec<SagaId> {
    let waits = |call: &OpState| call.child_in_repair && matches!(call.phase, OpPhase::Pending { .. });
    let in_repair = saga.steps().filter(|(_, state)| waits(&state.action) || waits(&state.compensation));
    in_repair.filter_map(|(ix, _)| child(saga, ix)).collect()
}

impl StepView {
    fn of(saga: &Saga, ix: StepIx) -> StepView {
        let state = saga.step(ix);
        match &saga.spec(ix).kind {
            Kind::Await(awaited) => StepView::awaiting(saga, ix, awaited, state),
            Kind::Branch(branch) => StepView::branch(saga, ix, branch, state),
            Kind::Call(call) if saga.is_fanned(ix) => fan::view(saga, ix, call, state),
            Kind::Call(call) => StepView::call(saga, ix, call, state),
        }
    }

    /// What every step shows.
    fn plain(saga: &Saga, ix: StepIx, kind: StepKind, state: &StepState) -> StepView {
        StepView {
            name: saga.step_name(ix),
            kind,
            status: state.phase.into(),
            action: None,
            confirm: None,
            compensation: None,
            settled_by_hand: state.is_settled_by_hand(),
            child: None,
            items: None,
            awaits: None,
        }
    }

    fn call(saga: &Saga, ix: StepIx, call: &CallStep, state: &StepState) -> StepView {
        let undo = saga.spec(ix).undo();
        StepView {
            action: Some(OpView::of(&call.action, &state.action)),
            compensation: undo.map(|undo| OpView::of(&undo.operation, &state.compensation)),
            child: child(saga, ix),
            ..StepView::plain(saga, ix, kind(call), state)
        }
    }

    fn branch(saga: &Saga, ix: StepIx, branch: &BranchStep, state: &StepState) -> StepView {
        StepView {
            confirm: branch.confirm.as_ref().map(|confirm| OpView::of(confirm, &state.action)),
            compensation: Some(OpView::of(&branch.undo.operation, &state.compensation)),
            ..StepView::plain(saga, ix, StepKind::Branch, state)
        }
    }

    fn awaiting(saga: &Saga, ix: StepIx, awaited: &AwaitStep, state: &StepState) -> StepView {
        let timeout_at = match state.phase {
            StepPhase::Waiting { timeout_at } => Some(Time(timeout_at)),
            _ => None,
        };
        let signal = awaited.signal.clone();
        StepView {
            awaits: Some(AwaitView { signal, output: state.output.clone(), timeout_at }),
            ..StepView::plain(saga, ix, StepKind::Await, state)
        }
    }
}

fn kind(call: &CallStep) -> StepKind {
    if call.action.is_child() { StepKind::Saga } else { StepKind::Call }
}

impl From<StepPhase> for StepStatus {
    fn from(phase: StepPhase) -> StepStatus {
        match phase {
            StepPhase::Pending => StepStatus::Pending,
            StepPhase::Running => StepStatus::Running,
            StepPhase::Waiting { .. } | StepPhase::Registered => StepStatus::Waiting,
            StepPhase::Done => StepStatus::Done,
            StepPhase::Refused => StepStatus::Refused,
            StepPhase::Unknown => StepStatus::Unknown,
            StepPhase::Skipped => StepStatus::Skipped,
            StepPhase::Compensating => StepStatus::Compensating,
            StepPhase::Compensated => StepStatus::Compensated,
            StepPhase::Parked => StepStatus::Parked,
        }
    }
}

impl OpView {
    fn of(operation: &Operation, call: &OpState) -> OpView {
        let next_at = next_at(call);
        let waiting = next_at.is_some() && matches!(call.phase, OpPhase::Due { .. });
        OpView {
            operation: format!("{}.{}", operation.participant, operation.name),
            status: OpStatus::of(call),
            // The core has handed out the number of the attempt that is still to be made.
            attempts: call.attempts - u32::from(waiting),
            output: call.output.clone(),
            last_error: call.last_error().map(LastError::of),
            next_attempt_at: next_at.map(Time),
        }
    }
}

impl LastError {
    fn of(failure: &Failure) -> LastError {
        LastError {
            status: failure.report.status,
            message: failure.report.message.clone(),
            at: failure.at.into(),
        }
    }
}

/// When something is due that the journal does not yet know to be in flight.
fn next_at(call: &OpState) -> Option<amends_saga::Timestamp> {
    match call.phase {
        OpPhase::Pending { at } => Some(at),
        OpPhase::Due { at, .. } => {
            let failure = call.last_error()?;
            (failure.attempt < call.attempts && failure.at < at).then_some(at)
        }
        OpPhase::Idle | OpPhase::Done | OpPhase::Refused | OpPhase::Open => None,
    }
}

impl OpStatus {
    pub(super) fn of(call: &OpState) -> OpStatus {
        match call.phase {
            _ if call.parked().is_some() => OpStatus::Parked,
            OpPhase::Idle => OpStatus::Pending,
            OpPhase::Due { .. } | OpPhase::Pending { .. } => OpStatus::Running,
            OpPhase::Done => OpStatus::Done,
            OpPhase::Refused => OpStatus::Refused,
            OpPhase::Open => OpStatus::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
