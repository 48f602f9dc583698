//! How an instance fares: what is on its way to it, whether its calls are answered, and what its health check says.
//!
//! Three things take an instance out while there are others. A connection that breaks does so at once, and answers
//! that say nothing definite do so after [`MISSES_MAX`] in a row; either for a short while, twice as long each time.
//! [`BAD_MAX`] failed checks in a row do so until [`GOOD_MIN`] have succeeded. The invariant: none of them ever leaves
//! a participant without an instance to call; where all are out all are in, and the participant's breaker decides.

use amends_saga::{Millis, Timestamp, hash::Mix};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Calls in a row without a definite answer that take an instance out.
const MISSES_MAX: u32 = 5;

/// How long an instance is passed over at first.
const REST_FIRST: Millis = Millis::from_secs(2);

/// How often that doubles, at most: to 32 s.
const REST_DOUBLINGS: u32 = 4;

/// Failed checks in a row that take an instance out.
const BAD_MAX: u32 = 2;

/// Good checks in a row that bring it back.
const GOOD_MIN: u32 = 2;

/// Between two checks of one instance, at least, in milliseconds.
const CHECK_EVERY_MS: u64 = 2000;

/// What is added to that by chance, less than this, so that instances are not all checked at once.
const CHECK_JITTER_MS: u64 = 2000;

/// What is known of one instance; it outlives being registered again.
#[derive(Debug, Default)]
pub(super) struct Condition {
    in_flight: AtomicU32,
    /// Calls in a row without a definite answer.
    misses: AtomicU32,
    resting_until: AtomicI64,
    is_ill: AtomicBool,
    checks: Mutex<Checks>,
    /// Whether it has answered since this coordinator knows it.
    has_answered: AtomicBool,
    /// Whether it takes no connection; `refused_since` says since when.
    is_refused: AtomicBool,
    refused_since: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Checks {
    made: u64,
    bad: u32,
    good: u32,
    next_at: Option<Timestamp>,
}

/// One request on its way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Condition>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request tells of the instance that was to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It answered, be it with a no.
    Answered,
    /// It said nothing definite in time.
    Missed,
    /// No connection to it held.
    Broken,
}

impl Condition {
    /// Counts a request until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Requests on their way.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether nothing speaks against sending it a call.
    pub(super) fn is_well(&self, at: Timestamp) -> bool {
        !self.is_ill.load(Ordering::Relaxed) && self.resting_until.load(Ordering::Relaxed) <= at.0
    }

    /// What its last checks said, `None` before the first.
    pub(super) fn checked(&self) -> Option<bool> {
        let made = self.checks().made;
        (made > 0).then(|| !self.is_ill.load(Ordering::Relaxed))
    }

    /// Takes note of what a call told.
    pub(super) fn note(&self, sign: Sign, at: Timestamp) {
        if sign == Sign::Answered {
            // A line of cache that is read by many is written only when it changes.
            if !self.has_answered.load(Ordering::Relaxed) {
                self.has_answered.store(true, Ordering::Relaxed);
            }
            if self.is_refused.load(Ordering::Relaxed) {
                self.is_refused.store(false, Ordering::Relaxed);
                *self.refused() = None;
            }
            if self.misses.load(Ordering::Relaxed) > 0 {
                self.misses.store(0, Ordering::Relaxed);
                self.resting_until.store(0, Ordering::Relaxed);
            }
            return;
        }
        let misses = self.misses.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let rests = if sign == Sign::Broken { misses } else { misses.saturating_sub(MISSES_MAX - 1) };
        if rests > 0 {
            let rest = Millis(REST_FIRST.0 << (rests - 1).min(REST_DOUBLINGS));
            self.resting_until.store(at.after(rest).0, Ordering::Relaxed);
        }
    }

    /// Whether it, which has just refused a connection, may be back within `patience` of the first that it refused.
    ///
    /// A process that is started again looks like this for a moment. One that never answered is not waited for, and an outage
    /// is waited for once, not by each call anew.
    pub(super) fn may_come_back(&self, patience: Duration) -> bool {
        if !self.has_answered.load(Ordering::Relaxed) {
            return false;
        }
        self.is_refused.store(true, Ordering::Relaxed);
        self.refused().get_or_insert_with(Instant::now).elapsed() < patience
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next check made at once, as when the instance says that it is there.
    pub(super) fn check_soon(&self) {
        self.checks().next_at = None;
    }

    /// When a check is due: always where there are `others` to call instead, else only after failures.
    pub(super) fn check_at(&self, others: bool, at: Timestamp) -> Option<Timestamp> {
        let checks = self.checks();
        let has_failed = self.misses.load(Ordering::Relaxed) > 0 && checks.good < GOOD_MIN;
        let is_wanted = others || has_failed || self.is_ill.load(Ordering::Relaxed);
        is_wanted.then(|| checks.next_at.unwrap_or(at))
    }

    /// Notes that a check is being made and when the next one will be.
    pub(super) fn checking(&self, id: &str, at: Timestamp) {
        let mut checks = self.checks();
        checks.made = checks.made.saturating_add(1);
        let jitter = Mix::new(checks.made).bytes(id.as_bytes()).finish() % CHECK_JITTER_MS;
        checks.next_at = Some(at.after(Millis(CHECK_EVERY_MS + jitter)));
    }

    /// Takes note of a check's outcome; says whether the instance is now in (`true`) or out where that has changed.
    pub(super) fn check(&self, is_good: bool) -> Option<bool> {
        let mut checks = self.checks();
        if is_good {
            (checks.bad, checks.good) = (0, checks.good.saturating_add(1));
        } else {
            (checks.bad, checks.good) = (checks.bad.saturating_add(1), 0);
        }
        let was_ill = self.is_ill.load(Ordering::Relaxed);
        if !was_ill && checks.bad >= BAD_MAX {
            self.is_ill.store(true, Ordering::Relaxed);
            return Some(false);
        }
        if was_ill && checks.good >= GOOD_MIN {
            self.is_ill.store(false, Ordering::Relaxed);
            self.misses.store(0, Ordering::Relaxed);
            self.resting_until.store(0, Ordering::Relaxed);
            return Some(true);
        }
        None
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
