//! How fast calls come, and how fast they may go.

use crate::time::Timestamp;

/// Thousandths of a token: a rate of one a second earns one of these each millisecond.
const TOKEN: u64 = 1000;

/// Tokens that come at a rate and are spent one by one.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: u64,
    rate: u64,
    most: u64,
    at: Timestamp,
}

impl Bucket {
    pub(super) fn empty(now: Timestamp) -> Bucket {
        Bucket { tokens: 0, rate: 0, most: TOKEN, at: now }
    }

    pub(super) fn full(most: u64, now: Timestamp) -> Bucket {
        Bucket { tokens: most * TOKEN, rate: 0, most: most.max(1) * TOKEN, at: now }
    }

    /// Earns what has come since the last time, at `rate` tokens a second, up to `most` tokens.
    pub(super) fn refill(&mut self, rate: u64, most: u64, now: Timestamp) {
        self.rate = rate;
        self.most = most.max(1) * TOKEN;
        self.tokens = (self.tokens + now.since(self.at).0 * rate).min(self.most);
        self.at = now;
    }

    /// Earns `of` hundredths, or whatever `whole` says, of a token.
    pub(super) fn earn(&mut self, of: u64, whole: u64) {
        self.tokens = (self.tokens + of * TOKEN / whole).min(self.most);
    }

    pub(super) fn has(&self, _now: Timestamp) -> bool {
        self.tokens >= TOKEN
    }

    pub(super) fn spend(&mut self, _now: Timestamp) {
        self.tokens = self.tokens.saturating_sub(TOKEN);
    }

    /// In how many milliseconds the next token is there, at the last rate and at least at `floor` a second.
    pub(super) fn next_in(&self, floor: u64) -> u64 {
        (TOKEN.saturating_sub(self.tokens) / self.rate.max(floor).max(1)).clamp(1, 1000)
    }
}

const SECONDS: usize = 10;

/// How many come in a second, over the last ten.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    seconds: [u64; SECONDS],
    at: i64,
    /// Since when it counts, as a second.
    since: i64,
    /// The rate as it was when it was last kept, where it had been counted for long enough.
    held: Option<u64>,
    is_held: bool,
}

/// Whole seconds that must have been counted before their average says anything.
const KNOWN: i64 = 5;

impl Rate {
    pub(super) fn new(now: Timestamp) -> Rate {
        let at = now.0.div_euclid(1000);
        Rate { seconds: [0; SECONDS], at, since: at, held: None, is_held: false }
    }

    pub(super) fn note(&mut self, now: Timestamp) {
        self.roll(now);
        self.seconds[self.at.rem_euclid(SECONDS as i64) as usize] += 1;
    }

    /// The average over the whole seconds seen, the present one left out where there are others.
    fn per_second(&mut self, now: Timestamp) -> u64 {
        self.roll(now);
        let whole = (self.at - self.since).clamp(0, SECONDS as i64 - 1) as u64;
        let present = self.seconds[self.at.rem_euclid(SECONDS as i64) as usize];
        match whole {
            0 => present,
            n => (self.seconds.iter().sum::<u64>() - present) / n,
        }
    }

    /// Keeps the present rate and counts no further.
    pub(super) fn hold(&mut self, now: Timestamp) {
        if !self.is_held {
            let rate = self.per_second(now);
            if self.at - self.since >= KNOWN {
                self.held = Some(rate);
            }
            self.is_held = true;
        }
    }

    /// Counts anew.
    pub(super) fn resume(&mut self, now: Timestamp) {
        *self = Rate { held: self.held, ..Rate::new(now) };
    }

    /// The rate that was kept.
    pub(super) fn held(&self) -> Option<u64> {
        self.held
    }

    fn roll(&mut self, now: Timestamp) {
        let second = now.0.div_euclid(1000);
        for at in (self.at + 1..=second).take(SECONDS) {
            self.seconds[at.rem_euclid(SECONDS as i64) as usize] = 0;
        }
        self.at = self.at.max(second);
    }
}
