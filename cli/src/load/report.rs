//! What came of it, for people and for programs.

use super::{
    drive::{End, Load, Told},
    fleet::Kills,
    tally::Spread,
};
use crate::{
    books::Books,
    output::say,
    table::{Tone, painted},
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What a run was, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) run: String,
    pub(super) skus: i64,
    pub(super) took_ms: u64,
    /// From the last customer's leaving until all was at rest.
    pub(super) settled_ms: u64,
    pub(super) carts: Carts,
    pub(super) refunds: Refunds,
    /// Latencies from when something was due.
    pub(super) latency: Latency,
    /// How often each process was killed.
    pub(super) kills: Kills,
    pub(super) books: Books,
}

/// Carts and how they ended.
#[derive(Debug, Serialize)]
pub(super) struct Carts {
    pub(super) arrived: usize,
    pub(super) a_second: f64,
    pub(super) flash: usize,
    pub(super) submitted_twice: usize,
    /// `completed`, `left_unpaid`, `lost`, and a reason for every other.
    pub(super) ended: BTreeMap<String, usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Refunds {
    pub(super) begun: usize,
    pub(super) done: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    /// Of accepting a cart.
    pub(super) accepted: Spread,
    /// Of a payment, until its order is paid and every step done.
    pub(super) paid: Spread,
    /// Of a refund.
    pub(super) refunded: Spread,
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) carts: Duration,
    pub(super) settling: Duration,
}

impl Report {
    pub(super) fn new(
        seed: u64,
        load: &Load,
        told: &[Told],
        took: Took,
        kills: Kills,
        books: Books,
    ) -> Report {
        let mut ended: BTreeMap<String, usize> = BTreeMap::new();
        for told in told {
            let word = match &told.end {
                End::Completed => "completed",
                End::Compensated(reason) => reason,
                End::Left => "left_unpaid",
                End::Lost(_) => "lost",
            };
            *ended.entry(word.to_owned()).or_default() += 1;
        }
        let (begun, done) = super::books::refunds(told);
        let tally = &load.tally;
        Report {
            seed,
            run: load.run.clone(),
            skus: load.plan.catalogue().ordinary(),
            took_ms: millis(took.carts),
            settled_ms: millis(took.settling),
            carts: Carts {
                arrived: told.len(),
                a_second: told.len() as f64 / took.carts.as_secs_f64().max(0.001),
                flash: told.iter().filter(|told| told.arrival.flash).count(),
                submitted_twice: told.iter().filter(|told| told.again.is_some()).count(),
                ended,
            },
            refunds: Refunds { begun, done },
            latency: Latency {
                accepted: tally.accepting.spread(),
                paid: tally.paying.spread(),
                refunded: tally.refunding.spread(),
            },
            kills,
            books,
        }
    }

    pub(super) fn print(&self) {
        let Carts { arrived, a_second, flash, submitted_twice, ended } = &self.carts;
        say!("seed {}, run {}, {} SKUs", self.seed, self.run, self.skus);
        let (secs, settled) = (seconds(self.took_ms), seconds(self.settled_ms));
        say!(
            "{arrived} carts in {secs:.1} s, {a_second:.0} a second; {settled:.1} s more until all was at rest"
        );
        say!("  {flash} of the flash sale, {submitted_twice} submitted twice");
        for (word, count) in ended {
            let tone = match word.as_str() {
                "completed" => Tone::Good,
                "lost" => Tone::Bad,
                _ => Tone::Plain,
            };
            say!("  {count:>8}  {}", painted(word, tone));
        }
        say!("refunds: {} begun, {} done", self.refunds.begun, self.refunds.done);
        say!(
            "latency from when it was due  {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "count",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max"
        );
        let latency = &self.latency;
        for (what, spread) in [
            ("cart accepted", latency.accepted),
            ("order paid, all steps done", latency.paid),
            ("refunded", latency.refunded),
        ] {
            let Spread { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = spread;
            say!(
                "  {what:<28}{count:>8} {p50_ms:>6.1} ms {p90_ms:>6.1} ms {p99_ms:>6.1} ms {p999_ms:>6.1} ms {max_ms:>6.1} ms"
            );
        }
        if !self.kills.is_empty() {
            let kills: Vec<String> =
                self.kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
            say!("killed: {}", kills.join(", "));
        }
        self.books.print();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
