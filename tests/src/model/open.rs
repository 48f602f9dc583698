//! What is decided about sagas that wait for somebody, and about completed ones: payment or expiry or cancel, commit
//! or rollback, and sending back.

use super::{
    space::Model,
    state::{State, Winner},
};
use amends_saga::{
    BranchTerms, CauseKind, Direction, Input, Json, Millis, Name, Saga, StepPhase,
    definition::Kind,
    schedule::{Schedule, UndoSchedule},
    sketch,
};

/// How long an open saga has to be decided.
pub(super) const OPEN_FOR: Millis = Millis(60_000);

/// Longer than anybody lives here.
const FOR_EVER: Millis = Millis(3_600_000_000_000_000);

impl Model {
    /// What decided a saga: the law is that this never changes, and that what stands agrees with it.
    pub(super) fn winner(&self, saga: &Saga) -> Option<Winner> {
        let back = saga.direction == Direction::Backward;
        let expired = saga.error.as_ref().is_some_and(|error| error.kind == CauseKind::Timeout);
        let turned = back.then_some(if expired { Winner::Expired } else { Winner::Cancelled });
        if self.definition.is_open() {
            return saga.committed_at.map(|_| Winner::Taken).or(turned);
        }
        let waits = |kind: &Kind| matches!(kind, Kind::Await(_));
        let (ix, _) = self.definition.steps().find(|(_, step)| waits(&step.kind))?;
        match saga.step(ix).phase {
            StepPhase::Done => Some(Winner::Taken),
            StepPhase::Refused => Some(Winner::Expired),
            StepPhase::Skipped => Some(Winner::Cancelled),
            _ => turned,
        }
    }

    /// Registers the next branch of an open saga.
    pub(super) fn register(&self, state: &mut State, node: usize) {
        let number = self.bounds.branches - state.left.branches;
        state.left.branches -= 1;
        let retry = UndoSchedule {
            quick: 1,
            slow: Schedule { attempts: 0, ..Schedule::QUICK },
            ..UndoSchedule::DEFAULT
        };
        let terms = BranchTerms {
            compensation: sketch::operation_of("p.undo"),
            undo_retry: UndoSchedule { within: FOR_EVER, ..retry },
            confirm: Some(sketch::operation_of("p.confirm")),
            retry: UndoSchedule { within: FOR_EVER, ..retry },
            input: Json::default(),
        };
        let name = Name::parse(&format!("b{number}")).expect("a name");
        self.input(state, node, Input::Branch { name, terms: Box::new(terms) });
    }
}

/// Takes a completed saga from the store, to undo it.
pub(super) fn revert(state: &mut State, node: usize) {
    state.left.reverts -= 1;
    state.epoch += 1;
    state.owner = node;
    let (row, epoch, now) = (state.row.clone().expect("a completed row"), state.epoch, state.now);
    let coordinator = state.node(node).coordinator();
    let _ = coordinator.revert(Saga::clone(&row), [0; 32], (epoch, "another"), String::new(), now);
}
