//! A saga as callers see it.

use super::{RepairView, Time};
use amends_saga::{
    CauseKind, Json, Name, OpPhase, OpState, Saga, SagaId, Status, Step, StepName, StepIx, StepPhase, StepState,
    definition::{AwaitStep, Kind, Operation},
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
    /// Its steps in the order they are written; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepView>>,
    /// Whether an operator has settled some step in place of its participant.
    #[serde(default)]
    pub settled_by_hand: bool,
    /// Its repair items that are not settled.
    pub repairs: Vec<RepairView>,
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
    /// Its forward call; null for a step that waits.
    pub action: Option<OpView>,
    /// Its undo; null where it has none.
    pub compensation: Option<OpView>,
    /// Whether an operator has settled it in place of its participant.
    #[serde(default)]
    pub settled_by_hand: bool,
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
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Its action is being called.
    Running,
    /// It waits for a signal.
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
    /// Its undo waits for an operator.
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
        SagaView {
            steps: Some(saga.steps().map(|(ix, state)| StepView::of(saga, ix, state)).collect()),
            ..SagaView::brief(saga)
        }
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

impl StepView {
    fn of(saga: &Saga, ix: StepIx, state: &StepState) -> StepView {
        let (step, name) = (saga.spec(ix), saga.step_name(ix));
        match &step.kind {
            Kind::Await(awaited) => StepView::awaiting(name, awaited, state),
            Kind::Call(_) | Kind::Branch(_) => StepView::call(name, step, state),
        }
    }

    fn call(name: StepName, step: &Step, state: &StepState) -> StepView {
        StepView {
            name,
            kind: StepKind::Call,
            status: state.phase.into(),
            action: step.forward().map(|operation| OpView::of(operation, &state.action)),
            compensation: step.undo().map(|undo| OpView::of(&undo.operation, &state.compensation)),
            settled_by_hand: state.is_settled_by_hand(),
            awaits: None,
        }
    }

    fn awaiting(name: StepName, awaited: &AwaitStep, state: &StepState) -> StepView {
        let timeout_at = match state.phase {
            StepPhase::Waiting { timeout_at } => Some(Time(timeout_at)),
            _ => None,
        };
        StepView {
            name,
            kind: StepKind::Await,
            status: state.phase.into(),
            action: None,
            compensation: None,
            settled_by_hand: false,
            awaits: Some(AwaitView {
                signal: awaited.signal.clone(),
                output: state.output.clone(),
                timeout_at,
            }),
        }
    }
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
            last_error: call.last_error().map(|failure| LastError {
                status: failure.report.status,
                message: failure.report.message.clone(),
                at: failure.at.into(),
            }),
            next_attempt_at: next_at.map(Time),
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
    fn of(call: &OpState) -> OpStatus {
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
