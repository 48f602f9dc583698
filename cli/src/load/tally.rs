//! What is counted while the load runs: how many carts are where, and how long things took.
//!
//! Latencies are counted from the moment at which something was *due*, not from when it was sent: a system that makes
//! its callers wait cannot hide that by being asked less.

use serde::Serialize;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Something counted.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Latencies, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Latencies(Mutex<Vec<u32>>);

/// Latencies in milliseconds, from the moment at which something was due.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) p50_ms: f64,
    pub(super) p90_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Latencies {
    pub(super) fn add(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn spread(&self) -> Spread {
        Spread::of(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// That of the last `count`.
    pub(super) fn recent(&self, count: usize) -> Spread {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Spread::of(all[all.len().saturating_sub(count)..].to_vec())
    }
}

impl Spread {
    fn of(mut micros: Vec<u32>) -> Spread {
        micros.sort_unstable();
        let Some(last) = micros.last().copied() else { return Spread::default() };
        let at = |share: f64| {
            let at = ((micros.len() - 1) as f64 * share).round() as usize;
            f64::from(micros[at]) / 1000.0
        };
        Spread {
            count: micros.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: f64::from(last) / 1000.0,
        }
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Carts that have arrived.
    pub(super) arrived: Count,
    /// Carts that the coordinator has accepted.
    pub(super) accepted: Count,
    /// Sagas of carts that completed.
    pub(super) completed: Count,
    /// Sagas of carts that were undone, or will be when nobody pays.
    pub(super) undone: Count,
    /// Carts whose end nobody would say.
    pub(super) lost: Count,
    /// From when a cart was due until it was accepted.
    pub(super) accepting: Latencies,
    /// From when a payment was due until its order was paid, all steps done.
    pub(super) paying: Latencies,
    /// From when a refund was due until it was done.
    pub(super) refunding: Latencies,
    /// From when a parcel was due until it had left.
    pub(super) shipping: Latencies,
    /// From when a look at the catalogue was due until it was answered.
    pub(super) reading: Latencies,
    /// From when a question to the inventory about a cart was due until it was answered.
    pub(super) quoting: Latencies,
    /// Looks and questions that were never answered.
    pub(super) unanswered: Count,
    /// How long ago the catalogue knew all changes of the stock, whenever it was asked.
    pub(super) behind: Latencies,
    /// How long the hold that was longest past its time was past it, whenever the inventory was asked.
    pub(super) overdue: Latencies,
    /// How often catalogue and inventory were asked about the same SKU one after the other.
    pub(super) compared: Count,
    /// How often they said the same.
    pub(super) agreed: Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_read_off_the_sorted_values() {
        let latencies = Latencies::default();
        (1..=1_000).rev().for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let all = latencies.spread();
        assert_eq!((all.count, all.p50_ms, all.p99_ms, all.max_ms), (1_000, 501.0, 990.0, 1_000.0));
        assert_eq!(latencies.recent(10).max_ms, 10.0);
        assert_eq!(Latencies::default().spread(), Spread::default());
    }
}
