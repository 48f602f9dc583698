//! How fast calls come, and how fast they may go.

use crate::{
    planted::{Bug, planted},
    time::{Millis, Timestamp},
};

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

/// Seconds that are remembered.
const SECONDS: usize = 32;

/// Seconds of which the average is made, at most.
const AVERAGED: i64 = 10;

/// Seconds that must have been counted before their average says anything.
const KNOWN: i64 = 5;

/// Seconds for which a rate stands against a lower one.
///
/// Whoever is called less because somebody else is down would otherwise be paced by that when his own turn comes, and
/// outages one after the other would wear the load down.
const STANDS: i64 = 600;

/// How many come in a second.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    seconds: [u32; SECONDS],
    at: i64,
    /// Since when it counts, as a second.
    since: i64,
    /// The highest rate of late, where it was counted for long enough, and the second it is of.
    high: Option<(u64, i64)>,
    /// The rate as it was when it was last kept.
    held: Option<u64>,
    is_held: bool,
}

impl Rate {
    pub(super) fn new(now: Timestamp) -> Rate {
        let at = now.0.div_euclid(1000);
        Rate { seconds: [0; SECONDS], at, since: at, high: None, held: None, is_held: false }
    }

    pub(super) fn note(&mut self, now: Timestamp) {
        self.roll(now);
        let count = &mut self.seconds[slot(self.at)];
        *count = count.saturating_add(1);
    }

    /// Keeps the rate of when the participant was last well, or a higher one of late, and counts no further.
    ///
    /// What was sent after it was well was sent in vain, and less and less as the calls in flight came to their limit.
    pub(super) fn hold(&mut self, well_at: Option<Timestamp>, now: Timestamp) {
        if self.is_held {
            return;
        }
        self.is_held = true;
        self.roll(now);
        let well = well_at.map_or(self.at, |at| at.0.div_euclid(1000));
        self.reach(well);
        if self.high.is_none() {
            self.reach(self.at);
        }
        self.held = self.high.map(|(rate, _)| rate).or(self.held);
    }

    /// Takes note of the fresh calls that came to wait while nothing could go: at least so many a second are asked for.
    ///
    /// It rather says too little, since of a saga one call waits that others follow. Retries would say too much: they are
    /// calls from before that come again, and all at once.
    pub(super) fn asked(&mut self, waiting: usize, during: Millis, now: Timestamp) {
        let rate = waiting as u64 * 1000 / during.0.max(1000);
        if self.held.is_some_and(|held| held < rate) {
            self.held = Some(rate);
            self.high = Some((rate, now.0.div_euclid(1000)));
        }
    }

    /// Takes note of the average before a second, where it is the highest of late.
    fn reach(&mut self, second: i64) {
        let Some(rate) = self.average_before(second) else { return };
        let stands = if planted(Bug::PaceWornDown) { 0 } else { STANDS };
        if self.high.is_none_or(|(high, of)| rate >= high || second - of > stands) {
            self.high = Some((rate, second));
        }
    }

    /// Counts anew.
    pub(super) fn resume(&mut self, now: Timestamp) {
        *self = Rate { held: self.held, high: self.high, ..Rate::new(now) };
    }

    /// The rate that was kept.
    pub(super) fn held(&self) -> Option<u64> {
        self.held
    }

    /// The average of the whole seconds before one, where enough of them are known.
    fn average_before(&self, second: i64) -> Option<u64> {
        let oldest = self.since.max(self.at + 1 - SECONDS as i64);
        let first = oldest.max(second - AVERAGED);
        let sum: u64 = (first..second).map(|at| u64::from(self.seconds[slot(at)])).sum();
        (second - first >= KNOWN).then(|| sum / (second - first).unsigned_abs())
    }

    fn roll(&mut self, now: Timestamp) {
        let second = now.0.div_euclid(1000);
        if second > self.at && !self.is_held {
            self.reach(self.at);
        }
        for at in (self.at + 1..=second).take(SECONDS) {
            self.seconds[slot(at)] = 0;
        }
        self.at = self.at.max(second);
    }
}

fn slot(second: i64) -> usize {
    second.rem_euclid(SECONDS as i64) as usize
}

/// How long what waits is watched before it is said to grow, in milliseconds.
const WATCHED_MS: u64 = 5_000;

/// How many times the pace may be raised by half; more than a thousandfold.
const RAISES_MAX: u32 = 20;

/// A pace that is raised because demand has grown.
///
/// At a pace a little over the load before, what waits becomes less. Where it becomes more although the participant takes
/// all that it is given, more is asked for than before, and at the old pace it would wait for ever.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Raise {
    times: u32,
    /// When the watch began, and how much waited then.
    since: Option<(Timestamp, usize)>,
    /// Whether something had to wait for the pace, and for nothing else, since then.
    is_short: bool,
    /// Whether the pace was too low the last time; the one that is not yet has to make good what came to wait.
    was_low: bool,
}

impl Raise {
    /// Something had to wait for the pace.
    pub(super) fn short(&mut self) {
        self.is_short = true;
    }

    /// The pace to keep, where `rate` is a little over the load before and so much waits.
    pub(super) fn rate(&mut self, rate: u64, waiting: usize, now: Timestamp) -> u64 {
        let (since, before) = *self.since.get_or_insert((now, waiting));
        if now.since(since).0 >= WATCHED_MS {
            // A twentieth of what has gone meanwhile is no more than a ripple.
            let ripple = self.raised(rate) * WATCHED_MS / 20_000;
            let grows = waiting as u64 > before as u64 + ripple && !planted(Bug::PaceStuck);
            let is_low = self.is_short && grows;
            self.times = (self.times + u32::from(is_low || self.was_low)).min(RAISES_MAX);
            *self = Raise { since: Some((now, waiting)), is_short: false, was_low: is_low, ..*self };
        }
        self.raised(rate)
    }

    /// The participant is gone again, having been well for so long: it was not too much for it, unless it was quick.
    pub(super) fn gone(self, well_for: u64) -> Raise {
        let times = if well_for >= WATCHED_MS { self.times } else { 0 };
        Raise { times, ..Raise::default() }
    }

    fn raised(&self, rate: u64) -> u64 {
        (0..self.times).fold(rate, |rate, _| rate.saturating_add(rate / 2))
    }
}

/// Half seconds after which retries are as many as they like.
const HALVES_MAX: u64 = 20;

/// The retries sent since the first one, to a participant that was not called before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlowStart {
    began: Option<Timestamp>,
    sent: u64,
}

impl SlowStart {
    /// How many more may go now, where `at_once` may go at once.
    pub(super) fn left(&mut self, at_once: u64, now: Timestamp) -> u64 {
        let began = *self.began.get_or_insert(now);
        let halves = now.since(began).0 / 500;
        if halves >= HALVES_MAX {
            return u64::MAX;
        }
        at_once.saturating_mul(1 << halves).saturating_sub(self.sent)
    }

    /// After one more has gone; `None` when it is over.
    pub(super) fn sent(mut self, now: Timestamp) -> Option<SlowStart> {
        let began = *self.began.get_or_insert(now);
        self.sent += 1;
        (now.since(began).0 / 500 < HALVES_MAX).then_some(self)
    }
}
