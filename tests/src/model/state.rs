//! What the model's world consists of, and what can happen in it.

use super::{
    participant::{Barrier, Said},
    print,
};
use amends_saga::{
    CallKey, Coordinator, Op, Saga, SagaId, Timestamp,
    coordinator::{Append, Limits, Written},
};
use std::{collections::BTreeSet, sync::Arc};

/// Coordinators.
pub(super) const NODES: usize = 2;

/// The saga.
pub(super) const ID: SagaId = SagaId::from_u128(1);

/// What bounds the search.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Claims after the start; the last owner stays.
    pub claims: u64,
    /// Crashes that lose a coordinator's memory.
    pub crashes: u8,
    /// Actions refused by the participant.
    pub refusals: u8,
    /// Requests stopped with a contract error before the participant.
    pub gates: u8,
    /// Compensations refused.
    pub undo_refusals: u8,
    /// Cancels.
    pub cancels: u8,
    /// Signals.
    pub signals: u8,
    /// What operators do about stuck steps.
    pub verbs: u8,
    /// Branches of an open saga.
    pub branches: u8,
    /// Commits of it, where all its branches have done their work.
    pub commits: u8,
    /// Reverts of a completed saga.
    pub reverts: u8,
    /// Whether a write of a crashed coordinator may still arrive.
    pub zombies: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            claims: 2,
            crashes: 1,
            refusals: 1,
            gates: 0,
            undo_refusals: 0,
            cancels: 0,
            signals: 0,
            verbs: 0,
            branches: 0,
            commits: 0,
            reverts: 0,
            zombies: true,
        }
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The store applies a coordinator's write.
    Apply(usize),
    /// A coordinator learns how its write ended.
    Report(usize),
    /// A coordinator learns nothing of its write, which took effect or arrives late or never.
    Lose(usize),
    /// A coordinator loses its memory; its write may still arrive.
    Crash(usize),
    /// The late write of a crashed coordinator arrives.
    Zombie,
    /// A coordinator claims the saga.
    Claim(usize),
    /// A request arrives and is answered as usual.
    Deliver(usize, CallKey),
    /// A request arrives and is refused.
    Refuse(usize, CallKey),
    /// A request is stopped on its way with a contract error.
    Gate(usize, CallKey),
    /// An answer arrives.
    Answer(usize, CallKey),
    /// No answer arrives in time.
    Timeout(usize, CallKey),
    /// A request that nobody waits for arrives.
    Loose(u16, Op, u8),
    /// Somebody cancels, or rolls an open saga back.
    Cancel(usize),
    /// The next branch of an open saga is registered.
    Register(usize),
    /// A participant does the work of a branch that it has seen registered.
    Work(u16),
    /// An open saga is committed.
    Commit(usize),
    /// A completed saga is sent back.
    Revert(usize),
    /// The signal arrives.
    Signal(usize),
    /// Time passes until a coordinator's next timer.
    Wake(usize),
    /// Somebody does something about a stuck step, through a coordinator.
    Repair(usize, u16, Word),
}

/// What operators can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Try it again.
    Retry,
    /// Say that it is made good by hand.
    Resolve,
    /// Leave it undone.
    Skip,
    /// Give the saga up.
    Abandon,
    /// Say that the participant has undone it, as it has.
    Prove,
}

/// Every word.
pub(super) const WORDS: [Word; 5] = [Word::Retry, Word::Resolve, Word::Skip, Word::Abandon, Word::Prove];

/// A coordinator process.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) coordinator: Arc<Coordinator>,
    /// The write on its way to the store.
    pub(super) write: Option<Arc<Append>>,
    /// How the store ended it.
    pub(super) result: Option<Written>,
    pub(super) print: u64,
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct State {
    /// The durable saga, once it is.
    pub(super) row: Option<Arc<Saga>>,
    pub(super) row_print: u64,
    pub(super) owner: usize,
    pub(super) epoch: u64,
    pub(super) nodes: [Arc<Node>; NODES],
    pub(super) zombie: Option<Arc<Append>>,
    pub(super) barriers: Vec<Barrier>,
    /// Requests still on their way that nobody waits for.
    pub(super) loose: BTreeSet<(u16, Op, u8)>,
    pub(super) answers: BTreeSet<(usize, CallKey, Said)>,
    /// Requests that were stopped; no copy of them arrives either.
    pub(super) gated: BTreeSet<(usize, CallKey)>,
    pub(super) left: Left,
    /// Which way the saga was decided, once it durably was.
    pub(super) winner: Option<Winner>,
    pub(super) now: Timestamp,
    pub(super) broken: Option<&'static str>,
}

/// What decided a saga that waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Winner {
    /// The payment, or the commit.
    Taken,
    /// The time was up.
    Expired,
    /// Somebody cancelled, or rolled back.
    Cancelled,
}

/// How often what is bounded can still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) crashes: u8,
    pub(super) refusals: u8,
    pub(super) gates: u8,
    pub(super) undo_refusals: u8,
    pub(super) cancels: u8,
    pub(super) signals: u8,
    pub(super) verbs: u8,
    pub(super) branches: u8,
    pub(super) commits: u8,
    pub(super) reverts: u8,
}

impl State {
    pub(super) fn node(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    pub(super) fn set_row(&mut self, saga: Saga) {
        self.row_print = print::of_saga(&saga);
        self.row = Some(Arc::new(saga));
    }

    pub(super) fn holds(&self, node: usize) -> Option<&Saga> {
        self.nodes[node].coordinator.get(ID)
    }

    /// The round of a call that a coordinator has in flight.
    pub(super) fn round(&self, node: usize, key: CallKey) -> u8 {
        self.holds(node).map_or(0, |saga| saga.step(key.step).call(key.op).round as u8)
    }

    /// Whether the saga would be driven on if this coordinator lost it: somebody may claim it still.
    pub(super) fn can_be_lost(&self, node: usize, claims: u64) -> bool {
        self.owner != node || self.epoch <= claims
    }
}

impl Node {
    pub(super) fn new() -> Node {
        let coordinator =
            Coordinator::new(Limits { sagas_max: 1, batch_max: 1, gates: None, ..Limits::default() });
        let mut node = Node { coordinator: Arc::new(coordinator), write: None, result: None, print: 0 };
        node.print = print::of_node(&node);
        node
    }

    pub(super) fn coordinator(&mut self) -> &mut Coordinator {
        Arc::make_mut(&mut self.coordinator)
    }
}
