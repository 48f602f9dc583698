//! A fanned-out step as callers see it: it calls nobody itself, so it shows how its items stand.

use super::{LastError, OpStatus, OpView, StepStatus, StepView, kind};
use amends_saga::{
    Direction, Saga, StepIx, StepPhase, StepState,
    definition::{CallStep, Operation},
    state::FanState,
};

/// Shows a step that is done item by item.
pub(super) fn view(saga: &Saga, ix: StepIx, call: &CallStep, state: &StepState) -> StepView {
    let fan = saga.fan(ix);
    let status = status(saga, fan, state.phase);
    let undo = saga.spec(ix).undo();
    StepView {
        status,
        action: Some(action(&call.action, state)),
        compensation: undo.map(|undo| compensation(&undo.operation, saga.direction, status)),
        items: fan.map(|fan| u32::from(fan.count)),
        ..StepView::plain(saga, ix, kind(call), state)
    }
}

/// How the step stands by its items: one of them parked parks it, and all of them undone undo it.
fn status(saga: &Saga, fan: Option<FanState>, phase: StepPhase) -> StepStatus {
    let any =
        |wanted: StepPhase| fan.is_some_and(|fan| fan.items().any(|item| saga.step(item).phase == wanted));
    let owes = || fan.is_some_and(|fan| fan.items().any(|item| saga.owes_undo(item)));
    if any(StepPhase::Parked) {
        return StepStatus::Parked;
    }
    match saga.direction {
        Direction::Backward if any(StepPhase::Compensating) => StepStatus::Compensating,
        Direction::Backward if any(StepPhase::Compensated) && owes() => StepStatus::Compensating,
        Direction::Backward if any(StepPhase::Compensated) => StepStatus::Compensated,
        Direction::Backward | Direction::Forward => phase.into(),
    }
}

fn action(operation: &Operation, state: &StepState) -> OpView {
    let status = match state.phase {
        StepPhase::Pending | StepPhase::Skipped => OpStatus::Pending,
        StepPhase::Running | StepPhase::Waiting { .. } | StepPhase::Registered => OpStatus::Running,
        StepPhase::Done | StepPhase::Compensating | StepPhase::Compensated => OpStatus::Done,
        StepPhase::Refused => OpStatus::Refused,
        StepPhase::Unknown => OpStatus::Unknown,
        StepPhase::Parked => OpStatus::Parked,
    };
    // What its own expressions met, where they failed.
    let last_error = state.action.last_error().map(LastError::of);
    OpView { output: state.output.clone(), last_error, ..told(operation, status) }
}

fn compensation(operation: &Operation, direction: Direction, step: StepStatus) -> OpView {
    let status = match step {
        _ if direction == Direction::Forward => OpStatus::Pending,
        StepStatus::Compensating => OpStatus::Running,
        StepStatus::Compensated => OpStatus::Done,
        StepStatus::Parked => OpStatus::Parked,
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Waiting
        | StepStatus::Done
        | StepStatus::Refused
        | StepStatus::Unknown
        | StepStatus::Skipped => OpStatus::Pending,
    };
    told(operation, status)
}

/// A call that is made for each item and not for the step: it has no attempts of its own.
fn told(operation: &Operation, status: OpStatus) -> OpView {
    OpView {
        operation: format!("{}.{}", operation.participant, operation.name),
        status,
        attempts: 0,
        output: None,
        last_error: None,
        next_attempt_at: None,
    }
}
