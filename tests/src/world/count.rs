//! Which situations a run has reached, so that no run passes because nothing happened in it.

use std::fmt;

macro_rules! situations {
    ($($name:ident $text:literal)*) => {
        /// Something that must happen sometimes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Situation { $($name),* }

        /// Every situation, with the words for it.
        pub const SITUATIONS: &[(Situation, &str)] = &[$((Situation::$name, $text)),*];
    };
}

situations! {
    Acknowledged "a start was acknowledged"
    Completed "a saga completed"
    Compensated "a saga was compensated"
    TakeOverRunning "a running saga was taken over"
    TakeOverCompensating "a saga being undone was taken over"
    FencedWrite "a write was fenced"
    ZombieWrite "a write of a coordinator that was gone took effect"
    StaleReply "a stale reply was dropped"
    LateReply "a reply came after its timeout"
    Woken "a sleeping saga was woken"
    LateAction "a late action met the tombstone of its compensation"
    NullUndo "a compensation met nothing to undo"
    RepeatedCall "a repeated call was answered from the barrier"
    CommitLostApplied "a write took effect and was reported as failed"
    CommitLostNotApplied "a write failed"
    ParkedExhausted "a step was parked because its attempts were spent"
    ParkedRefused "a step was parked because its compensation was refused"
    ParkedContract "a step was parked because its compensation was not accepted"
    PassedOver "a step was undone although one after it was parked"
    TakenBack "a saga that waited for an operator was taken back"
    OperatorTold "an operator was told that somebody else was first"
    RetriedWell "a step that was retried is compensated"
    ParkedAgain "a step that was retried was parked again"
    ResolvedByHand "a step was resolved by hand"
    ProvenUndone "a parked step was proven to be undone"
    LeftUndone "a step was left undone and the others were undone"
    GivenUp "a saga was given up"
    RetriedAcrossTakeOver "a retry went on at another coordinator"
    ParticipantBusy "a start was refused because too much waited for a participant"
    BreakerOpened "a breaker opened"
    BreakerClosed "a breaker closed again"
    DeferredByLimit "a call waited because too many were in flight"
    DeferredByBreaker "a call waited because a breaker was open"
    DeferredByBudget "a retry waited because there were too many"
    DeferredByPace "a call waited because its participant had just come back"
    CancelWon "a cancelled saga was compensated"
    CancelLost "a cancelled saga completed"
    PaymentInTime "a payment came in time"
    PaymentTooLate "a payment was too late"
    PaymentDefault "a payment's default was taken"
    PaymentRepeated "a payment was repeated"
    PaymentConflict "a second, different payment was refused"
    DeadlinePassed "a saga's deadline passed"
    Overdue "a step's time was up"
    NeverSent "a call that never left was not undone"
    AdmissionRefused "a start was refused because there were too many sagas"
    KeyRepeated "a start was repeated under its key"
    KeyReused "a key was used for another start"
    ParallelAtTurn "a call was in flight when its saga turned round"
    RefusedInDoubt "a step was refused and undone, because an earlier attempt was in doubt"
    Pending "a call was pending"
    NotSeen "a participant had never seen the call asked about"
    OutOfStock "a cart was refused for want of stock"
    Duplicated "a request arrived twice"
    Crashed "a coordinator crashed"
    NeverReturned "a coordinator crashed for ever"
    PausedBeyondLease "a coordinator was paused beyond its lease"
    LeaseLost "a coordinator learned that its lease was lost"
    NotNeeded "a step was not needed"
    ItemsDone "a step was done for each item"
    ItemsUndone "an item was undone"
    ParkedForward "a step after its pivot was parked"
    RetriedForward "a step after its pivot was retried"
    DoneWithout "a step after its pivot was done without"
    ProvenDone "a parked step was proven to be done"
    CancelTooLate "a cancel came after the pivot"
    Reverted "a completed saga was reverted"
    RevertRefused "a revert came after the pivot"
    Asleep "a sleeping saga was let go"
    FoundAsleep "a sleeping saga was woken in place of whoever let it go"
    SignalWoke "a signal woke a saga that nobody held"
    CallbackTaken "a participant answered by itself"
    CallbackRepeated "a callback came again"
    CallbackContradicted "a callback with another answer was refused"
    BranchRegistered "a branch was registered"
    BranchTooLate "a branch came after the decision"
    BranchLate "the work of a branch came after its undoing"
    Renewed "an open saga got more time"
    Committed "an open saga was committed"
    CommitTooLate "a commit came after the decision"
    RolledBack "an open saga was rolled back"
    OpenTimedOut "an open saga was not decided in time"
    ConfirmSent "a branch was made final"
    SelfFenced "a coordinator stopped because its lease had run out"
}

/// How often each situation was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; SITUATIONS.len()]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; SITUATIONS.len()])
    }
}

impl Counts {
    /// Counts one more.
    pub fn note(&mut self, situation: Situation) {
        self.0[situation as usize] += 1;
    }

    /// How often a situation was reached.
    pub fn get(&self, situation: Situation) -> u64 {
        self.0[situation as usize]
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Counts) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The situations that were never reached.
    pub fn missing(&self) -> Vec<&'static str> {
        SITUATIONS.iter().filter(|(s, _)| self.get(*s) == 0).map(|(_, text)| *text).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (situation, text) in SITUATIONS {
            writeln!(f, "{:>10}  {text}", self.get(*situation))?;
        }
        Ok(())
    }
}
