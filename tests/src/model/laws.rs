//! The laws every state keeps: what is durable, against what the participant holds.

use super::{space::Model, state::State};
use amends_saga::{Direction, OpPhase, ParkReason, Saga, StepIx, StepPhase};
use std::sync::Arc;

/// The law that a state breaks.
pub(super) fn broken(model: &Model, state: &State) -> Option<&'static str> {
    if state.broken.is_some() {
        return state.broken;
    }
    for barrier in &state.barriers {
        if barrier.effects > 1 || barrier.undo_effects > 1 {
            return Some("I8: a call took effect twice");
        }
        if barrier.undo_effects > barrier.effects {
            return Some("I9: a step was undone that was never done");
        }
    }
    let row = state.row.as_ref()?;
    row.steps().find_map(|(ix, _)| model.step_broken(state, row, ix))
}

impl Model {
    pub(super) fn check_undo_order(&self, state: &mut State, step: u16) {
        let Some(row) = &state.row else { return };
        let early = self.later[usize::from(step)].iter().any(|later| {
            let barrier = state.barriers[usize::from(*later)];
            let stands = barrier.effects > barrier.undo_effects && self.has_undo(*later);
            let parked = row.step(StepIx(*later)).phase == StepPhase::Parked && self.is_eager(*later);
            stands && !parked
        });
        if early {
            state.broken = Some("I10: a step was undone while one after it stood");
        }
    }

    pub(super) fn check_action_order(&self, state: &mut State, step: u16) {
        // A parked step that was passed over is known to be in doubt: a repair item holds it.
        let parked =
            |row: &Arc<Saga>| row.step(StepIx(step)).phase == StepPhase::Parked && self.is_eager(step);
        if state.row.as_ref().is_some_and(parked) {
            return;
        }
        let undone =
            |before: usize| self.later[before].contains(&step) && state.barriers[before].undo_effects > 0;
        if (0..self.later.len()).any(undone) && self.has_undo(step) {
            state.broken = Some("I10: a step took effect after one before it was undone");
        }
    }

    /// What the durable journal says of a step, against what the participant holds.
    fn step_broken(&self, state: &State, row: &Saga, ix: StepIx) -> Option<&'static str> {
        let (step, barrier) = (row.step(ix), state.barriers[usize::from(ix.0)]);
        let is_call = self.definition.step(ix).call().is_some();
        let ended = row.outcome.is_some();
        if ended
            && row.direction == Direction::Forward
            && is_call
            && (barrier.effects, barrier.undo_effects) != (1, 0)
        {
            return Some("I6: a saga completed with a step not done exactly once");
        }
        if ended && row.direction == Direction::Backward && barrier.effects != barrier.undo_effects {
            return Some("I7: a saga is called compensated with a step standing");
        }
        if step.phase == StepPhase::Done && is_call && barrier.effects != 1 {
            return Some("I12: a step is called done that is not");
        }
        if step.phase == StepPhase::Compensated && barrier.effects != barrier.undo_effects {
            return Some("I12: a step is called undone that is not");
        }
        if step.phase == StepPhase::Refused && !step.action.doubt && barrier.effects != 0 {
            return Some("I12: a step is called refused that was done");
        }
        let undo = self.definition.step(ix).undo()?;
        let spent = step.compensation.spent >= undo.retry.attempts_max();
        let refused = step.compensation.phase == OpPhase::Refused;
        let parked = step.phase == StepPhase::Parked;
        if parked != (spent || refused) {
            return Some("I22: a step is parked if and only if its undo is spent or refused");
        }
        (parked && step.compensation.parked() == Some(ParkReason::Refused) && !refused)
            .then_some("I22: a step is parked for the wrong reason")
    }
}
