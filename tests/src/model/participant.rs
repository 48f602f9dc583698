//! The model's participant: one barrier for every step, and answers that stay the same.

use super::{Bug, space::Model, state::State};
use amends_saga::{CallKey, Op, StepIx};

/// What the participant's barrier knows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Barrier {
    pub(super) action: Mark,
    pub(super) undo: Mark,
    pub(super) effects: u8,
    pub(super) undo_effects: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Mark {
    #[default]
    None,
    Done,
    Refused,
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Said {
    Done,
    Refused,
    Contract,
    NotSeen,
}

impl Model {
    /// Whether a request could still change something at the participant.
    pub(super) fn is_live(&self, barrier: Barrier, op: Op) -> bool {
        match op {
            Op::Action | Op::Confirm => match barrier.action {
                Mark::None => true,
                Mark::Done => self.has(Bug::NoDedupe),
                Mark::Refused => self.has(Bug::RefusalForgotten),
                Mark::Tombstone => false,
            },
            Op::Compensation => match barrier.undo {
                Mark::None => true,
                Mark::Done => self.has(Bug::UndoRepeated),
                Mark::Refused | Mark::Tombstone => false,
            },
        }
    }

    /// The participant takes a call.
    pub(super) fn handle(&self, state: &mut State, step: u16, op: Op, refuse: bool) -> Said {
        let at = usize::from(step);
        let barrier = state.barriers[at];
        if !self.is_live(barrier, op) {
            let mark = if op != Op::Compensation { barrier.action } else { barrier.undo };
            return if mark == Mark::Done { Said::Done } else { Said::Refused };
        }
        let intended = state.row.as_ref().is_some_and(|row| {
            let calls = row.step(StepIx(step));
            let call = if op != Op::Compensation { &calls.action } else { &calls.compensation };
            call.input.is_some()
        });
        if !intended {
            state.broken = Some("I11: a call arrived whose intent is not durable");
        }
        let it = &mut state.barriers[at];
        match (op, refuse) {
            (Op::Action | Op::Confirm, true) => it.action = Mark::Refused,
            (Op::Compensation, true) => it.undo = Mark::Refused,
            (Op::Action | Op::Confirm, false) => {
                it.action = Mark::Done;
                it.effects += 1;
                self.check_action_order(state, step);
            }
            (Op::Compensation, false) => {
                let forget = self.has(Bug::NoTombstone) && barrier.action == Mark::None;
                if barrier.action == Mark::Done {
                    it.undo_effects += 1;
                    it.undo = Mark::Done;
                } else if !forget {
                    it.action = Mark::Tombstone;
                    it.undo = Mark::Done;
                }
                self.check_undo_order(state, step);
            }
        }
        if refuse { Said::Refused } else { Said::Done }
    }

    pub(super) fn status(&self, state: &State, key: CallKey) -> Said {
        let barrier = state.barriers[usize::from(key.step.0)];
        match if key.op == Op::Action { barrier.action } else { barrier.undo } {
            Mark::None => Said::NotSeen,
            Mark::Done => Said::Done,
            Mark::Refused | Mark::Tombstone => Said::Refused,
        }
    }
}
