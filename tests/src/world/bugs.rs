//! Bugs planted outside the core: in the participants, the store and the driving of a coordinator.

/// A bug of the simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A participant repeats an action that it has done before.
    NoDedupe,
    /// A participant keeps nothing of a compensation that came before its action.
    NoTombstone,
    /// A participant forgets that it refused an action.
    RefusalForgotten,
    /// A participant repeats a compensation that it has done before.
    UndoRepeated,
    /// A participant undoes what it never did.
    NullUndoTakesEffect,
    /// Only the first line of a cart is checked against the stock.
    FirstLineDecides,
    /// A release gives back only the first line of a cart.
    PartialRelease,
    /// A compensation is answered before it is done, and then forgotten.
    UndoOnlyPromised,
    /// The store writes whatever it is given, whoever owns the saga.
    NoCondition,
    /// The store accepts a key twice.
    KeysRepeat,
    /// The store forgets some of what it has acknowledged.
    CommitForgotten,
    /// Sagas that are being undone are not taken over.
    UndoingNotClaimed,
    /// A coordinator takes a write that may have failed for done.
    UnknownCommitTrusted,
    /// A coordinator acknowledges a start before it is durable.
    EarlyAck,
    /// A coordinator does not read again what a failed write has left in doubt.
    DoubtfulNotReclaimed,
    /// A coordinator goes on after a claim whose answer was lost, and never learns what it owns.
    LostClaimIgnored,
    /// "Never seen" is taken for done.
    NotSeenMeansDone,
    /// An unreadable answer is taken for a refusal.
    GarbageRefuses,
    /// A timeout is taken for a refusal.
    TimeoutRefuses,
    /// A participant does what it has undone before, because the call comes late.
    LateWorkDone,
    /// A participant does the work of a branch before it registers it.
    WorkBeforeBranch,
    /// A participant answers by itself before its work is done, and then forgets it.
    CallbackTooEarly,
}

/// Every bug.
pub const ALL: &[Bug] = &[
    Bug::NoDedupe,
    Bug::NoTombstone,
    Bug::RefusalForgotten,
    Bug::UndoRepeated,
    Bug::NullUndoTakesEffect,
    Bug::FirstLineDecides,
    Bug::PartialRelease,
    Bug::UndoOnlyPromised,
    Bug::NoCondition,
    Bug::KeysRepeat,
    Bug::CommitForgotten,
    Bug::UndoingNotClaimed,
    Bug::UnknownCommitTrusted,
    Bug::EarlyAck,
    Bug::DoubtfulNotReclaimed,
    Bug::LostClaimIgnored,
    Bug::NotSeenMeansDone,
    Bug::GarbageRefuses,
    Bug::TimeoutRefuses,
    Bug::LateWorkDone,
    Bug::WorkBeforeBranch,
    Bug::CallbackTooEarly,
];
