//! The laws every state keeps: what is durable, against what the participant holds.

use super::{
    participant::Barrier,
    space::Model,
    state::{ID, Node, State, Winner},
};
use amends_saga::{
    Direction, How, Op, OpPhase, Outcome, ParkReason, Saga, StepIx, StepPhase, schedule::Schedule,
};
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
        if barrier.confirm_effects > 1 {
            return Some("I8: a branch was confirmed twice");
        }
    }
    let any = |did: fn(&Barrier) -> bool| state.barriers.iter().any(did);
    if any(|barrier| barrier.confirm_effects > 0) && any(|barrier| barrier.undo_effects > 0) {
        return Some("I40: branches of one saga were confirmed and undone");
    }
    let idle = |node: &Arc<Node>| {
        node.coordinator.is_durable(ID) && node.coordinator.get(ID).is_some_and(Saga::is_shelved)
    };
    if state.nodes.iter().any(idle) {
        return Some("I25: a saga that waits for an operator only is held");
    }
    let row = state.row.as_ref()?;
    model
        .saga_broken(state, row)
        .or_else(|| row.steps().find_map(|(ix, _)| model.step_broken(state, row, ix)))
}

impl Model {
    /// What the durable journal says of the whole saga, against what the participants hold.
    fn saga_broken(&self, state: &State, row: &Saga) -> Option<&'static str> {
        let back = row.direction == Direction::Backward;
        let stands = |step: StepIx| state.barriers[usize::from(step.0)].effects > 0;
        if back && self.definition.pivot().is_some_and(|pivot| stands(pivot) && !self.has_undo(pivot.0)) {
            return Some("I37: a saga turned back past its point of no return");
        }
        let confirmed = state.barriers.iter().any(|barrier| barrier.confirm_effects > 0);
        if confirmed && row.committed_at.is_none() {
            return Some("I35: a branch was confirmed in a saga that is not committed");
        }
        let paid = !row.signals.is_empty();
        if paid && state.winner == Some(Winner::Expired) && row.outcome.is_some() && !self.has_taken(row) {
            return Some("I40: a payment was taken and its time was up");
        }
        let wide =
            row.steps().filter(|(ix, step)| row.item(*ix).is_some() && step.phase == StepPhase::Running);
        (wide.count() > 1).then_some("I33: two items are under way, and one may be")
    }

    /// Whether some step of a saga has taken its signal.
    fn has_taken(&self, row: &Saga) -> bool {
        row.steps().any(|(ix, step)| {
            let waits = row.spec(ix).call().is_none();
            waits && !row.definition.is_open() && step.phase == StepPhase::Done
        })
    }

    pub(super) fn check_undo_order(&self, state: &mut State, step: u16) {
        let Some(row) = &state.row else { return };
        let early = self.later[usize::from(step)].iter().any(|later| {
            let barrier = state.barriers[usize::from(*later)];
            let stands = barrier.effects > barrier.undo_effects && self.has_undo(*later);
            stands && !self.is_passed_over(row, *later)
        });
        if early {
            state.broken = Some("I10: a step was undone while one after it stood");
        }
    }

    pub(super) fn check_action_order(&self, state: &mut State, step: u16) {
        // A parked step that was passed over is known to be in doubt: a repair item holds it.
        if state.row.as_ref().is_some_and(|row| self.is_passed_over(row, step)) {
            return;
        }
        let undone =
            |before: usize| self.later[before].contains(&step) && state.barriers[before].undo_effects > 0;
        if (0..self.later.len()).any(undone) && self.has_undo(step) {
            state.broken = Some("I10: a step took effect after one before it was undone");
        }
    }

    /// Whether a step was parked, and either need not be waited for or is settled by now.
    fn is_passed_over(&self, row: &Saga, step: u16) -> bool {
        let repair = row.step(StepIx(step)).compensation.repair.as_ref();
        repair.is_some_and(|repair| self.is_eager(step) || !repair.is_unsettled())
    }

    /// What the durable journal says of a step, against what the participant holds.
    fn step_broken(&self, state: &State, row: &Saga, ix: StepIx) -> Option<&'static str> {
        let (step, barrier) = (row.step(ix), state.barriers[usize::from(ix.0)]);
        let is_call = row.spec(ix).call().is_some() && !row.is_fanned(ix);
        let is_branch = row.definition.is_open();
        let forward = row.forward_op(ix);
        let ended = row.outcome.is_some();
        let by_hand = step.is_settled_by_hand();
        let wanted = if step.phase == StepPhase::Skipped { 0 } else { 1 };
        if row.outcome == Some(Outcome::Completed)
            && (is_call || is_branch)
            && !by_hand
            && (barrier.effects, barrier.undo_effects) != (wanted, 0)
        {
            return Some("I6: a saga completed with a step not done exactly once");
        }
        if row.outcome == Some(Outcome::Completed) && is_branch && !by_hand && barrier.confirm_effects != 1 {
            return Some("I35: a saga completed with a branch that is not confirmed");
        }
        let given_up = row.items().any(|(_, _, repair)| {
            repair.settled.as_ref().is_some_and(|settled| settled.how == How::Abandoned)
        });
        let undone = barrier.effects == barrier.undo_effects;
        if ended && row.direction == Direction::Backward && !undone && !by_hand && !given_up {
            return Some("I7: a saga is called compensated with a step standing");
        }
        if row.outcome == Some(Outcome::Compensated) && (step.is_left_undone() || given_up) {
            return Some("I7: a saga is called compensated with a step left undone");
        }
        if step.phase == StepPhase::Done && is_call && !by_hand && barrier.effects != 1 {
            return Some("I12: a step is called done that is not");
        }
        if step.phase == StepPhase::Compensated && !undone && !by_hand {
            return Some("I12: a step is called undone that is not");
        }
        if step.phase == StepPhase::Refused && !step.action.doubt && barrier.effects != 0 {
            return Some("I12: a step is called refused that was done");
        }
        if row.direction == Direction::Forward {
            return self.forward_broken(row, ix, forward);
        }
        let undo = row.spec(ix).undo()?;
        let repair = step.compensation.repair.as_deref();
        // After its first time in the queue a step has one round of quick attempts each time.
        let first_time = repair.is_none_or(|repair| repair.number == 1) && !step.compensation.is_retrying();
        let budget = if first_time { undo.retry.attempts_max() } else { undo.retry.quick.max(1) };
        let spent = step.compensation.spent >= budget;
        let refused = step.compensation.phase == OpPhase::Refused;
        // One that cannot be made is given up by its age, whatever is left of its attempts.
        let began = step.compensation.started_at;
        let aged = began.is_some_and(|began| began.after(undo.retry.within) <= row.updated_at);
        let parked = step.phase == StepPhase::Parked;
        let settled = repair.is_some_and(|repair| !repair.is_unsettled());
        if parked && !ended && (!(spent || refused || aged) || step.compensation.parked().is_none()) {
            return Some(
                "I22: a step is parked whose undo is neither spent nor refused nor old, or without an item",
            );
        }
        if !parked && !settled && (spent || refused) {
            return Some("I22: a step whose undo is spent or refused is not parked");
        }
        (parked && !ended && step.compensation.parked() == Some(ParkReason::Refused) && !refused)
            .then_some("I22: a step is parked for the wrong reason")
    }

    /// Past the point of no return: what cannot be done is parked, with an item, and for a reason.
    fn forward_broken(&self, row: &Saga, ix: StepIx, op: Op) -> Option<&'static str> {
        let (step, call) = (row.step(ix), row.step(ix).call(op));
        if row.outcome.is_none() && matches!(step.phase, StepPhase::Refused | StepPhase::Unknown) {
            return Some("I38: a step cannot be done, and the saga neither turns nor waits for an operator");
        }
        if step.phase != StepPhase::Parked || row.outcome.is_some() {
            return None;
        }
        let Some(reason) = call.parked() else {
            return Some("I38: a step past the point of no return is parked without an item");
        };
        let attempts = row.spec(ix).call().map_or(1, |call| call.retry.attempts);
        let budget = if step.call(op).repair.as_ref().is_some_and(|repair| repair.number > 1) {
            Schedule::QUICK.attempts
        } else {
            attempts
        };
        let refused = call.phase == OpPhase::Refused;
        if !refused && call.spent < budget.min(attempts) {
            return Some("I38: a step is parked whose call is neither spent nor refused");
        }
        (reason == ParkReason::Refused && !refused).then_some("I38: a step is parked for the wrong reason")
    }
}
