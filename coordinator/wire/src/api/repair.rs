//! Repair items: steps whose undo waits for an operator.

use super::Time;
use amends_saga::{
    Json, Name, Op, ParkReason, Saga, SagaId, StepIx, StepPhase, definition::UndoCall, hash::Mix,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One stuck step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairView {
    /// Its id: the same for the same step of the same saga, on every coordinator.
    pub id: Uuid,
    /// The saga.
    pub saga: SagaId,
    /// The name of the saga's definition.
    pub definition: Name,
    /// The step.
    pub step: Name,
    /// Which of its calls is stuck.
    pub op: Op,
    /// The participant called.
    pub participant: Name,
    /// The operation called, as `inventory.release`.
    pub operation: String,
    /// How far the repair is.
    pub status: RepairStatus,
    /// Why it is here.
    pub reason: ParkReason,
    /// When it was parked.
    pub opened_at: Time,
    /// The attempts made.
    pub attempts: u32,
    /// What the attempts met, oldest first: the first and the newest, at most 32.
    pub errors: Vec<RepairError>,
    /// The body that was sent; null when none could be made.
    pub payload: Option<Json>,
    /// The steps whose undo waits behind this one.
    pub holds: Vec<Name>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// What operators have noted.
    pub notes: Vec<String>,
    /// The item of an earlier time at which the step was parked.
    pub previous: Option<Uuid>,
}

/// How far a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairStatus {
    /// Nobody looks after it.
    Open,
    /// Somebody does.
    Assigned,
    /// It is being tried again.
    Retrying,
    /// It is done with.
    Settled,
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

impl RepairView {
    /// The open items of a saga, in the order of its steps.
    pub fn all(saga: &Saga) -> Vec<RepairView> {
        let parked = saga.steps().filter(|(_, state)| state.phase == StepPhase::Parked);
        parked.filter_map(|(ix, _)| RepairView::of(saga, ix)).collect()
    }

    /// The item of one step, `None` when the step is not parked.
    pub fn of(saga: &Saga, ix: StepIx) -> Option<RepairView> {
        let step = saga.definition.step(ix);
        let undo = step.undo()?;
        let call = &saga.step(ix).compensation;
        let reason = call.parked?;
        let errors: Vec<RepairError> = call
            .failures
            .iter()
            .map(|failure| RepairError {
                attempt: failure.attempt,
                at: failure.at.into(),
                status: failure.report.status,
                message: failure.report.message.clone(),
                latency_ms: failure.report.latency_ms,
            })
            .collect();
        Some(RepairView {
            id: repair_id(saga.id, ix, Op::Compensation),
            saga: saga.id,
            definition: saga.definition.name.clone(),
            step: step.name.clone(),
            op: Op::Compensation,
            participant: undo.operation.participant.clone(),
            operation: format!("{}.{}", undo.operation.participant, undo.operation.name),
            status: RepairStatus::Open,
            reason,
            opened_at: errors.last().map_or(Time(saga.updated_at), |error| error.at),
            attempts: call.attempts,
            errors,
            payload: call.input.clone(),
            holds: held(saga, ix, undo),
            assignee: None,
            notes: Vec::new(),
            previous: None,
        })
    }
}

/// The steps before `ix` that owe an undo and may not begin it while `ix` is parked.
fn held(saga: &Saga, ix: StepIx, undo: &UndoCall) -> Vec<Name> {
    if undo.eager {
        return Vec::new();
    }
    let before = saga.steps().filter(|(other, state)| {
        let begun = matches!(state.phase, StepPhase::Compensating | StepPhase::Parked);
        !begun && saga.owes_undo(*other) && saga.definition.descendants(*other).contains(&ix)
    });
    before.map(|(other, _)| saga.definition.step(other).name.clone()).collect()
}

/// Derives a repair item's id, so that every coordinator and every restart names it alike.
pub fn repair_id(saga: SagaId, ix: StepIx, op: Op) -> Uuid {
    let (high, low) = saga.as_u64_pair();
    // The seed is the word "repair!!": ids of other kinds derived from the same values differ.
    let mix = Mix::new(u64::from_le_bytes(*b"repair!!")).add(high).add(low);
    let mix = mix.add(u64::from(ix.0)).add(op as u64);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix.add(1).finish().to_be_bytes());
    bytes[8..].copy_from_slice(&mix.add(2).finish().to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
