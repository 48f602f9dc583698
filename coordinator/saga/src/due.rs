//! What should be in flight now: derived from a saga, never accumulated.

use crate::{
    Json, StepName,
    definition::{Operation, StepIx, UndoCall},
    event::Op,
    state::{Direction, OpPhase, OpState, Saga, StepPhase},
    time::Timestamp,
};

/// Everything a saga wants of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The calls that should be in flight, some of them from a later time on.
    pub calls: Vec<Call>,
    /// The next time at which the saga itself has something to decide.
    pub wake_at: Option<Timestamp>,
    /// The steps that wait for an operator.
    pub parked: Vec<StepIx>,
}

/// What makes one call on the wire distinct from every other of the same saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The step.
    pub step: StepIx,
    /// Which of its calls.
    pub op: Op,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The question about that attempt; 0 for the call itself and for a question asked first.
    pub poll: u32,
    /// What is asked.
    pub question: Question,
}

/// Whether the call is sent or its status asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// The call itself.
    Call,
    /// Its status.
    Status,
}

/// A call that should be in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What makes it distinct.
    pub key: CallKey,
    /// The step's name.
    pub step: StepName,
    /// The operation.
    pub operation: Operation,
    /// The body.
    pub body: Json,
    /// How often the call was asked for again after a definite no. Of each round the participant is to think
    /// afresh, so each has an idempotency key of its own.
    pub round: u32,
    /// From when on.
    pub at: Timestamp,
}

/// Derives what should be in flight.
pub fn due(saga: &Saga) -> Due {
    let mut due = Due::default();
    if saga.is_terminal() {
        return due;
    }
    let mut wake = |at: Timestamp| due.wake_at = Some(due.wake_at.map_or(at, |w| w.min(at)));
    if saga.direction == Direction::Forward
        && !saga.is_past_pivot()
        && let Some(at) = saga.deadline_at
    {
        wake(at);
    }
    for (ix, state) in saga.steps() {
        match state.phase {
            StepPhase::Waiting { timeout_at } => wake(timeout_at),
            StepPhase::Running if !saga.is_fanned(ix) => {
                if let (Some(within), Some(started)) = (saga.spec(ix).within(), state.action.started_at)
                    && saga.direction == Direction::Forward
                {
                    wake(started.after(within));
                }
                due.calls.extend(wanted(saga, ix, saga.forward_op(ix)));
            }
            StepPhase::Compensating => {
                let undo = saga.spec(ix).undo().expect("a step being undone has a compensation");
                if let Some(at) = undo_ends_at(&state.compensation, undo) {
                    wake(at);
                }
                due.calls.extend(wanted(saga, ix, Op::Compensation));
            }
            StepPhase::Parked => due.parked.push(ix),
            _ => {}
        }
    }
    due
}

/// Whether this very call is one the saga waits for.
pub(crate) fn is_in_flight(saga: &Saga, key: CallKey) -> bool {
    usize::from(key.step.0) < saga.len() && current(saga, key.step, key.op) == Some(key)
}

/// The call that one of a step's operations waits for.
pub(crate) fn current(saga: &Saga, step: StepIx, op: Op) -> Option<CallKey> {
    let call = saga.step(step).call(op);
    let (_, question) = asks(call, saga.spec(step).operation(op)?)?;
    Some(CallKey { step, op, attempt: call.attempts, poll: call.polls, question })
}

/// When a compensation that brings no answer is given up, by its age.
///
/// One that is due may be in flight, or held back by the participant's gate: it has the time of one more attempt.
pub(crate) fn undo_ends_at(call: &OpState, undo: &UndoCall) -> Option<Timestamp> {
    let ends_at = call.started_at?.after(undo.retry.within);
    match call.phase {
        OpPhase::Pending { .. } => Some(ends_at),
        OpPhase::Due { at, .. } => Some(ends_at.max(at).after(undo.operation.timeout)),
        OpPhase::Idle | OpPhase::Done | OpPhase::Refused | OpPhase::Open => None,
    }
}

fn asks(call: &OpState, operation: &Operation) -> Option<(Timestamp, Question)> {
    match call.phase {
        OpPhase::Due { at, ask: false } => Some((at, Question::Call)),
        OpPhase::Due { at, ask: true } => Some((at, Question::Status)),
        // Where no status is offered the call itself is repeated: its key makes that harmless.
        OpPhase::Pending { at } if operation.status || operation.is_child() => Some((at, Question::Status)),
        OpPhase::Pending { at } => Some((at, Question::Call)),
        OpPhase::Idle | OpPhase::Done | OpPhase::Refused | OpPhase::Open => None,
    }
}

fn wanted(saga: &Saga, step: StepIx, op: Op) -> Option<Call> {
    let call = saga.step(step).call(op);
    let operation = saga.spec(step).operation(op).expect("a call in flight has its operation");
    let (at, question) = asks(call, operation)?;
    let key = CallKey { step, op, attempt: call.attempts, poll: call.polls, question };
    let body = call.input.clone().expect("a call in flight has its body captured");
    let (step, round) = (saga.step_name(step), call.round);
    Some(Call { key, step, operation: operation.clone(), body, round, at })
}
