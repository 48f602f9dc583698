//! The figures of cache and feed, and their text as Prometheus reads it.
//!
//! | name | kind | says |
//! |---|---|---|
//! | `amends_product_cache_total{outcome}` | counter | SKUs looked up: `hit`, `missed`; of the missed, `unknown` ones, those served `stale` and those that `failed` |
//! | `amends_product_feed_lag_flows` | gauge | how many flows of inventory are not known here |
//! | `amends_product_feed_lag_seconds` | gauge | how old the oldest change of the last answer was when it was written here |
//! | `amends_product_feed_known_seconds` | gauge | how long ago everything was last known; it grows while inventory cannot be reached |
//! | `amends_product_feed_events_total{outcome}` | counter | states that were `newer` than what was known, and that were `older` or the same |
//! | `amends_product_feed_failures_total` | counter | answers that did not come, or could not be used |
//! | `amends_product_feed_restarts_total` | counter | how often everything was read anew |
//!
//! What concerns the feed is left out where none is followed. They stand in `GET /metrics` below those of every participant
//! ([`amends_sdk::metrics`]).

use std::fmt::Display;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use amends_sdk::metrics::Text;

use crate::gather::now_ms;

/// All figures of a catalogue, counted since it was opened.
#[derive(Debug, Default)]
pub struct Figures {
    hits: AtomicU64,
    missed: AtomicU64,
    unknown: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    lag_flows: AtomicU64,
    lag_ms: AtomicU64,
    /// When everything was last known, in unix milliseconds; 0 while nothing is followed.
    known_at: AtomicI64,
    newer: AtomicU64,
    older: AtomicU64,
    failures: AtomicU64,
    restarts: AtomicU64,
}

/// How far inventory's feed is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// How many flows are not known here.
    pub flows: u64,
    /// How old the oldest change of the last answer was when it was written here, in milliseconds.
    pub ms: u64,
    /// When everything was last known, in unix milliseconds; 0 while nothing is followed.
    pub known_at: i64,
}

impl Figures {
    pub(crate) fn cached(&self, hits: usize, missed: usize) {
        self.hits.fetch_add(hits as u64, Relaxed);
        self.missed.fetch_add(missed as u64, Relaxed);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.fetch_add(1, Relaxed);
    }

    pub(crate) fn unread(&self, served_stale: bool) {
        if served_stale { &self.stale } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// Following begins, with nothing known.
    pub(crate) fn following(&self, now: i64) {
        self.known_at.store(now, Relaxed);
    }

    /// States were written: `newer` of `events` counted.
    pub(crate) fn applied(&self, events: usize, newer: u64) {
        self.newer.fetch_add(newer, Relaxed);
        self.older.fetch_add((events as u64).saturating_sub(newer), Relaxed);
    }

    /// What is known after an answer was written: `flows` of inventory are not, and the oldest change was `ms` old.
    pub(crate) fn known(&self, flows: u64, ms: u64, now: i64) {
        self.lag_flows.store(flows, Relaxed);
        self.lag_ms.store(ms, Relaxed);
        if flows == 0 {
            self.known_at.store(now, Relaxed);
        }
    }

    pub(crate) fn feed_failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// How far the feed is known.
    pub fn lag(&self) -> Lag {
        let known_at = self.known_at.load(Relaxed);
        Lag { flows: self.lag_flows.load(Relaxed), ms: self.lag_ms.load(Relaxed), known_at }
    }

    /// Writes what concerns the feed, at `now` (unix milliseconds).
    fn write_feed(&self, text: &mut Text, now: i64) {
        let lag = self.lag();
        let secs = |ms: u64| ms as f64 / 1000.0;
        let known = secs(u64::try_from(now - lag.known_at).unwrap_or(0));
        let gauges: [(&str, &str, &dyn Display); 3] = [
            ("amends_product_feed_lag_flows", "flows of inventory that are not known here", &lag.flows),
            (
                "amends_product_feed_lag_seconds",
                "age of the oldest change when it was written",
                &secs(lag.ms),
            ),
            ("amends_product_feed_known_seconds", "how long ago everything was last known", &known),
        ];
        for (name, help, value) in gauges {
            text.one(name, "gauge", help, value);
        }
        let events = [("newer", self.newer.load(Relaxed)), ("older", self.older.load(Relaxed))];
        text.each("amends_product_feed_events_total", "states that the feed told", "outcome", &events);
        let counters = [
            (
                "amends_product_feed_failures_total",
                "answers that did not come or were of no use",
                &self.failures,
            ),
            ("amends_product_feed_restarts_total", "how often everything was read anew", &self.restarts),
        ];
        for (name, help, value) in counters {
            text.one(name, "counter", help, &value.load(Relaxed));
        }
    }
}

impl amends_sdk::metrics::Figures for Figures {
    fn write(&self, text: &mut Text) {
        let cache = [
            ("hit", &self.hits),
            ("missed", &self.missed),
            ("unknown", &self.unknown),
            ("stale", &self.stale),
            ("failed", &self.failed),
        ];
        let cache = cache.map(|(outcome, count)| (outcome, count.load(Relaxed)));
        text.each("amends_product_cache_total", "SKUs looked up in the cache", "outcome", &cache);
        if self.lag().known_at != 0 {
            self.write_feed(text, now_ms());
        }
    }
}
