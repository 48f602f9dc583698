//! The answers of the last ten seconds, counted by second.

use crate::time::Timestamp;

const SECONDS: usize = 10;

/// The answers needed before half of them being unknown opens the breaker.
const MANY: u32 = 20;

/// The answers needed before a participant counts as failing.
const SOME: u32 = 10;

#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Definite and unknown answers of each second, at the second modulo [`SECONDS`].
    seconds: [(u32, u32); SECONDS],
    at: i64,
}

impl Window {
    pub(super) fn new(now: Timestamp) -> Window {
        Window { seconds: [(0, 0); SECONDS], at: now.0.div_euclid(1000) }
    }

    pub(super) fn note(&mut self, is_unknown: bool, now: Timestamp) {
        self.roll(now);
        let (definite, unknown) = &mut self.seconds[slot(self.at)];
        *(if is_unknown { unknown } else { definite }) += 1;
    }

    /// Forgets everything, as what was before an outage says nothing of what comes after.
    pub(super) fn forget(&mut self, now: Timestamp) {
        *self = Window::new(now);
    }

    /// Whether at least half of many answers are unknown.
    pub(super) fn is_half_unknown(&mut self, now: Timestamp) -> bool {
        let (definite, unknown) = self.sum(now);
        definite + unknown >= MANY && unknown >= definite
    }

    /// Whether more than a tenth of the answers are unknown.
    pub(super) fn is_failing(&mut self, now: Timestamp) -> bool {
        let (definite, unknown) = self.sum(now);
        definite + unknown >= SOME && unknown * 10 > definite + unknown
    }

    fn sum(&mut self, now: Timestamp) -> (u32, u32) {
        self.roll(now);
        self.seconds.iter().fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1))
    }

    fn roll(&mut self, now: Timestamp) {
        let second = now.0.div_euclid(1000);
        for at in (self.at + 1..=second).take(SECONDS) {
            self.seconds[slot(at)] = (0, 0);
        }
        if second > self.at + SECONDS as i64 {
            self.seconds = [(0, 0); SECONDS];
        }
        self.at = self.at.max(second);
    }
}

fn slot(second: i64) -> usize {
    second.rem_euclid(SECONDS as i64) as usize
}
