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
    /// What makes it final, of a branch.
    pub(super) confirm: Mark,
    pub(super) confirm_effects: u8,
    /// The round in which the forward call was refused.
    pub(super) round: u8,
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

/// A step, one of its calls, and the round in which that is asked for.
pub(super) type Asked = (u16, Op, u8);

impl Barrier {
    fn mark(self, op: Op) -> Mark {
        match op {
            Op::Action => self.action,
            Op::Confirm => self.confirm,
            Op::Compensation => self.undo,
        }
    }

    /// Whether the participant says that a call has taken effect.
    pub(super) fn has_done(self, op: Op) -> bool {
        self.mark(op) == Mark::Done
    }
}

impl Model {
    /// A participant does the work of a branch, unless it was undone before.
    pub(super) fn work(&self, state: &mut State, unit: u16) {
        let it = &mut state.barriers[usize::from(unit)];
        if self.is_live(*it, Op::Action, 0) {
            it.action = Mark::Done;
            it.effects += 1;
        }
    }

    /// Whether a request could still change something at the participant.
    pub(super) fn is_live(&self, barrier: Barrier, op: Op, round: u8) -> bool {
        match op {
            Op::Action => match barrier.action {
                Mark::None => true,
                Mark::Done => self.has(Bug::NoDedupe),
                Mark::Refused => self.has(Bug::RefusalForgotten) || round > barrier.round,
                Mark::Tombstone => self.has(Bug::LateWorkDone),
            },
            Op::Confirm => match barrier.confirm {
                Mark::None => true,
                Mark::Done => self.has(Bug::NoDedupe),
                Mark::Refused => round > barrier.round,
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
    pub(super) fn handle(&self, state: &mut State, (step, op, round): Asked, refuse: bool) -> Said {
        let at = usize::from(step);
        let barrier = state.barriers[at];
        if !self.is_live(barrier, op, round) {
            let mark = barrier.mark(op);
            return if mark == Mark::Done { Said::Done } else { Said::Refused };
        }
        let intended = state.row.as_ref().is_some_and(|row| {
            usize::from(step) < row.len() && row.step(StepIx(step)).call(op).input.is_some()
        });
        if !intended {
            state.broken = Some("I11: a call arrived whose intent is not durable");
        }
        let it = &mut state.barriers[at];
        match (op, refuse) {
            (Op::Action, true) => (it.action, it.round) = (Mark::Refused, round),
            (Op::Confirm, true) => (it.confirm, it.round) = (Mark::Refused, round),
            (Op::Compensation, true) => it.undo = Mark::Refused,
            (Op::Confirm, false) => {
                let stands = it.action == Mark::Done && it.undo == Mark::None;
                if !stands {
                    (it.confirm, it.round) = (Mark::Refused, round);
                    return Said::Refused;
                }
                it.confirm = Mark::Done;
                it.confirm_effects += 1;
            }
            (Op::Action, false) => {
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
        match barrier.mark(key.op) {
            Mark::None => Said::NotSeen,
            Mark::Done => Said::Done,
            Mark::Refused | Mark::Tombstone => Said::Refused,
        }
    }
}
