//! Bugs planted on purpose, to prove that the model and the simulator would find them.
//!
//! Without the feature `planted-bugs` every question here is a constant `false` and costs nothing. With
//! it, a bug is chosen at run time, for the current thread only; none is chosen unless a test does.

/// A bug that can be planted in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A refusal is taken as proof that nothing was done, whatever earlier attempts may have done.
    RefusalTrusted,
    /// An attempt without a definite answer leaves no doubt behind.
    DoubtForgotten,
    /// Undoing goes in the order of doing.
    ForwardUndo,
    /// The compensation of a step starts while a step after it is still being undone.
    UndoDoesNotWait,
    /// A compensation that has run out of attempts counts as done.
    ExhaustedCountsAsCompensated,
    /// A saga is called compensated while a step is parked.
    ParkedCountsAsCompensated,
    /// A step whose outcome is unknown is not compensated.
    UnknownNotUndone,
    /// A step cut short by the turn is not compensated.
    InFlightNotUndone,
    /// A compensation is never parked for want of attempts.
    RetriesUnbounded,
    /// A call that waits counts as never sent, although an attempt before it is in doubt.
    WaitingTrusted,
    /// A call that its participant has had and then does not know counts as never sent while it waits to go again.
    LeftForgotten,
    /// A call that never left its participant's queue is undone all the same.
    UnsentUndone,
    /// A take-over puts no call in doubt.
    TakeOverTrusts,
    /// A saga held under an old epoch cannot be taken over again.
    HeldBlocksAdoption,
    /// A fenced saga is driven on as if its write had succeeded.
    FencedIgnored,
    /// What follows from events still being written is sent at once.
    EffectsBeforeCommit,
    /// Timers are never set.
    TimersForgotten,
    /// A step that an operator left undone counts as compensated.
    SkipCountsAsDone,
    /// A parked saga is never given back to the store.
    ParkedIsHeld,
    /// An item that opens is not handed to the store with the event that opens it.
    ItemNotWritten,
    /// An open breaker lets everything through.
    BreakerIgnored,
    /// Whoever returns from an outage is met with everything that waits.
    PaceIgnored,
    /// The pace after an outage stays what it was although ever more waits.
    PaceStuck,
    /// The pace after an outage goes by the load just before it, however low somebody else's outage had made that.
    PaceWornDown,
    /// An answer frees no place among the calls in flight.
    GateLeaksSlot,
    /// What waits at a gate is forgotten when it could go.
    QueueForgotten,
    /// A call that has to wait counts as one without an answer.
    BreakerSpendsAttempts,
    /// A breaker that is half open lets everything through.
    ProbeFloods,
    /// A breaker tries again with the like of what has just failed.
    ProbesAlike,
    /// A participant that fails is met with as many retries as there are.
    RetriesUnbudgeted,
    /// A round of attempts that an operator asked for opens no new item when it fails.
    RetriedForEver,
    /// A saga turns back although its pivot is passed.
    TurnsPastPivot,
    /// A completed saga is reverted although its pivot is passed.
    RevertsPastPivot,
    /// Every item of a fanned-out step is under way at once.
    FanUnbounded,
    /// The first items of a fanned-out step are undone first.
    ItemsUndoneInOrder,
    /// A branch is registered although the saga's time is up.
    BranchAfterTimeout,
    /// Nobody remembers when a sleeping saga wakes.
    SleeperForgotten,
    /// An answer is taken whatever the step says it returns.
    ReturnsUnchecked,
}

/// Every bug.
pub const ALL: &[Bug] = &[
    Bug::RefusalTrusted,
    Bug::DoubtForgotten,
    Bug::ForwardUndo,
    Bug::UndoDoesNotWait,
    Bug::ExhaustedCountsAsCompensated,
    Bug::ParkedCountsAsCompensated,
    Bug::UnknownNotUndone,
    Bug::InFlightNotUndone,
    Bug::RetriesUnbounded,
    Bug::WaitingTrusted,
    Bug::LeftForgotten,
    Bug::UnsentUndone,
    Bug::TakeOverTrusts,
    Bug::HeldBlocksAdoption,
    Bug::FencedIgnored,
    Bug::EffectsBeforeCommit,
    Bug::TimersForgotten,
    Bug::SkipCountsAsDone,
    Bug::ParkedIsHeld,
    Bug::ItemNotWritten,
    Bug::BreakerIgnored,
    Bug::PaceIgnored,
    Bug::PaceStuck,
    Bug::PaceWornDown,
    Bug::GateLeaksSlot,
    Bug::QueueForgotten,
    Bug::BreakerSpendsAttempts,
    Bug::ProbeFloods,
    Bug::ProbesAlike,
    Bug::RetriesUnbudgeted,
    Bug::RetriedForEver,
    Bug::TurnsPastPivot,
    Bug::RevertsPastPivot,
    Bug::FanUnbounded,
    Bug::ItemsUndoneInOrder,
    Bug::BranchAfterTimeout,
    Bug::SleeperForgotten,
    Bug::ReturnsUnchecked,
];

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or digs it out again.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod chosen {
    use super::Bug;

    pub(crate) const fn planted(_: Bug) -> bool {
        false
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::plant;
pub(crate) use chosen::planted;
