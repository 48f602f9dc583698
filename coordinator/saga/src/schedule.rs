//! When the next attempt is made: a pure function of the schedule, the attempt and the saga.
//!
//! The result is written to the journal as an absolute time, so a restart neither forgets a wait nor
//! begins it again. No crate serves here: they all iterate inside one process and cannot be resumed
//! from an attempt count.

use crate::{hash::Mix, time::Millis};
use serde::{Deserialize, Serialize};

/// How often and how patiently something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The number of attempts, the first included; at least 1.
    pub attempts: u32,
    /// The wait before the second attempt, before jitter.
    pub first: Millis,
    /// What each further wait is multiplied by; at least 1.
    pub factor: f64,
    /// No wait is longer than this.
    pub max: Millis,
}

/// How a compensation is tried: quickly in line first, then on a slow durable schedule, then never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UndoSchedule {
    /// Attempts made in line, the first included.
    pub quick: u32,
    /// The asynchronous attempts that follow.
    pub slow: Schedule,
    /// The age at which no further attempt is made.
    pub within: Millis,
}

/// A factor is a plain number, so a schedule equals itself.
impl Eq for Schedule {}

impl std::hash::Hash for Schedule {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.attempts, self.first, self.factor.to_bits(), self.max).hash(state);
    }
}

impl Schedule {
    /// An action's attempts where nothing else is said: 5, from 100 ms doubling to 5 s.
    pub const ACTION: Schedule =
        Schedule { attempts: 5, first: Millis(100), factor: 2.0, max: Millis::from_secs(5) };

    /// The waits between the quick attempts of a compensation and between polls of a pending call.
    pub const QUICK: Schedule =
        Schedule { attempts: 3, first: Millis(100), factor: 2.0, max: Millis::from_secs(5) };

    /// The polls of a pending call: from 500 ms doubling to 10 s.
    pub const POLL: Schedule =
        Schedule { attempts: u32::MAX, first: Millis(500), factor: 2.0, max: Millis::from_secs(10) };

    /// The questions about a child saga, whose end is told without being asked for: from 500 ms doubling to 5 min.
    pub const CHILD: Schedule =
        Schedule { attempts: u32::MAX, first: Millis(500), factor: 2.0, max: Millis::from_secs(300) };

    /// The shortest wait between two polls, whatever a participant's `Retry-After` says.
    pub const POLL_MIN: Millis = Millis(100);

    /// Returns how long to wait after attempt `attempt` (from 1) has failed, within `[first / 2, max]`.
    ///
    /// Full jitter over the upper half: the floor keeps a throttled participant from being met with
    /// near-zero waits. `seed` names the saga and the step, so the same attempt always waits the same time.
    pub fn delay(&self, attempt: u32, seed: Mix) -> Millis {
        assert!(attempt >= 1, "attempts are numbered from 1");
        let exponent = f64::from(attempt - 1);
        let full = (self.first.0 as f64 * self.factor.max(1.0).powf(exponent)).min(self.max.0 as f64) as u64;
        let floor = full / 2;
        let jitter = seed.add(u64::from(attempt)).finish() % (full - floor + 1);
        Millis(floor + jitter)
    }
}

impl UndoSchedule {
    /// A compensation's attempts where nothing else is said: 3 quick, 12 from 1 s doubling to 5 min, 24 h.
    pub const DEFAULT: UndoSchedule = UndoSchedule {
        quick: 3,
        slow: Schedule {
            attempts: 12,
            first: Millis::from_secs(1),
            factor: 2.0,
            max: Millis::from_secs(300),
        },
        within: Millis::from_secs(24 * 3600),
    };

    /// The number of attempts before the step is parked.
    pub fn attempts_max(&self) -> u32 {
        self.quick.saturating_add(self.slow.attempts).max(1)
    }

    /// Returns how long to wait after attempt `attempt` (from 1) has failed.
    pub fn delay(&self, attempt: u32, seed: Mix) -> Millis {
        if attempt < self.quick {
            Schedule::QUICK.delay(attempt, seed)
        } else {
            self.slow.delay((attempt + 1 - self.quick).max(1), seed)
        }
    }
}

#[cfg(test)]
mod tests;
