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
    pub(super) shipments: Shipments,
    /// How fresh the catalogue was.
    pub(super) freshness: Freshness,
    /// How long the hold that was longest past its time was past it, asked four times a second.
    pub(super) overdue: Spread,
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

/// Parcels, and what came of asking for the money back after they had left.
#[derive(Debug, Serialize)]
pub(super) struct Shipments {
    pub(super) sent: usize,
    pub(super) left: usize,
    /// Customers who wanted their money back when all had left, and were told no.
    pub(super) told_no: usize,
}

/// How fresh what the catalogue shows was.
#[derive(Debug, Serialize)]
pub(super) struct Freshness {
    /// How often catalogue and inventory were asked about one SKU, one after the other.
    pub(super) compared: u64,
    /// How often they said the same.
    pub(super) agreed: u64,
    /// How long ago the catalogue knew every change, asked four times a second.
    pub(super) behind: Spread,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    /// Of accepting a cart.
    pub(super) accepted: Spread,
    /// Of a payment, until its order is paid and every step done.
    pub(super) paid: Spread,
    /// Of a refund.
    pub(super) refunded: Spread,
    /// Of a parcel.
    pub(super) shipped: Spread,
    /// Of a look at a SKU in the catalogue.
    pub(super) read: Spread,
    /// Of a question to the inventory about a cart.
    pub(super) quoted: Spread,
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
        let (sent, left, told_no) = super::books::parcels(told);
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
            shipments: Shipments { sent, left, told_no },
            freshness: Freshness {
                compared: tally.compared.now(),
                agreed: tally.agreed.now(),
                behind: tally.behind.spread(),
            },
            overdue: tally.overdue.spread(),
            latency: Latency {
                accepted: tally.accepting.spread(),
                paid: tally.paying.spread(),
                refunded: tally.refunding.spread(),
                shipped: tally.shipping.spread(),
                read: tally.reading.spread(),
                quoted: tally.quoting.spread(),
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
        let Shipments { sent, left, told_no } = self.shipments;
        say!(
            "parcels: {sent} sent, {left} left; {told_no} wanted their money back after that and were told no"
        );
        self.latency.print();
        self.freshness.print();
        let Spread { count, p99_ms, max_ms, .. } = self.overdue;
        if count > 0 {
            say!("holds: the longest past its time was {p99_ms:.0} ms past it (p99), {max_ms:.0} ms (max)");
        }
        if !self.kills.is_empty() {
            let kills: Vec<String> =
                self.kills.iter().map(|(name, count)| format!("{name} {count}")).collect();
            say!("killed: {}", kills.join(", "));
        }
        self.books.print();
    }
}

impl Latency {
    fn print(&self) {
        say!(
            "latency from when it was due  {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "count",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max"
        );
        for (what, spread) in [
            ("cart accepted", self.accepted),
            ("order paid, all steps done", self.paid),
            ("refunded", self.refunded),
            ("shipped", self.shipped),
            ("catalogue read", self.read),
            ("stock quoted", self.quoted),
        ] {
            let Spread { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = spread;
            say!(
                "  {what:<28}{count:>8} {p50_ms:>6.1} ms {p90_ms:>6.1} ms {p99_ms:>6.1} ms {p999_ms:>6.1} ms {max_ms:>6.1} ms"
            );
        }
    }
}

impl Freshness {
    fn print(&self) {
        let Freshness { compared, agreed, behind } = self;
        if *compared > 0 {
            let share = 100.0 * *agreed as f64 / *compared as f64;
            say!("catalogue: showed what the inventory had in {share:.1} % of {compared} comparisons");
        }
        if behind.count > 0 {
            let Spread { p50_ms, p99_ms, max_ms, .. } = behind;
            say!(
                "catalogue: knew every change of {p50_ms:.0} ms before (p50), {p99_ms:.0} ms (p99), {max_ms:.0} ms (max)"
            );
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
