//! What is counted of a database's writer: how many calls share a transaction, and how they meet the barrier.

use super::text::{Histogram, Text};
use crate::{Writer, barrier::Entered};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Up to how many calls a transaction may have had, bucket by bucket.
const SIZES: [u64; 6] = [1, 4, 16, 64, 256, 1024];

/// What a call can be when it meets the barrier.
const MET: [&str; 5] = ["first", "repeat", "late", "null", "mismatch"];

/// The figures of one database's writing.
#[derive(Debug, Default)]
pub(crate) struct WriterFigures {
    committed: Histogram<6>,
    halved: AtomicU64,
    failed: AtomicU64,
    met: [AtomicU64; MET.len()],
}

impl WriterFigures {
    /// A transaction with so many calls was committed.
    pub(crate) fn committed(&self, calls: usize) {
        self.committed.observe(&SIZES, calls as u64, 1);
    }

    /// A transaction failed, and its halves are run on their own.
    pub(crate) fn halved(&self) {
        self.halved.fetch_add(1, Relaxed);
    }

    /// So many calls could not be carried out.
    pub(crate) fn failed(&self, calls: usize) {
        self.failed.fetch_add(calls as u64, Relaxed);
    }

    /// Calls met the barrier.
    pub(crate) fn met(&self, entered: &[Entered]) {
        let mut counts = [0; MET.len()];
        for one in entered {
            counts[match one {
                Entered::First => 0,
                Entered::Repeat(_) => 1,
                Entered::Late(_) => 2,
                Entered::Null(_) => 3,
                Entered::Mismatch(_) => 4,
            }] += 1;
        }
        for (met, count) in self.met.iter().zip(counts) {
            if count > 0 {
                met.fetch_add(count, Relaxed);
            }
        }
    }
}

/// Writes the figures of the writers, if there are any: a participant has one database, and mostly one queue to it.
pub(super) fn write(writers: &[Writer], text: &mut Text) {
    let Some(figures) = writers.first().map(|writer| writer.database().figures()) else { return };
    let name = "amends_participant_writer_transaction_calls";
    text.begin(name, "histogram", "calls that were committed together");
    text.histogram(name, &[], (&figures.committed, &SIZES, 1.0));
    let halved = "transactions that failed and were run again in halves";
    text.one("amends_participant_writer_halved_total", "counter", halved, &figures.halved.load(Relaxed));
    let failed = "calls that could not be carried out";
    text.one("amends_participant_writer_failed_total", "counter", failed, &figures.failed.load(Relaxed));
    let waiting: usize = writers.iter().map(Writer::waiting).sum();
    text.one(
        "amends_participant_writer_waiting",
        "gauge",
        "calls and tasks that wait for the writer",
        &waiting,
    );
    let met: Vec<(&str, u64)> =
        MET.iter().zip(&figures.met).map(|(word, count)| (*word, count.load(Relaxed))).collect();
    let says = "what calls were when they met the barrier";
    text.each("amends_participant_barrier_total", says, "outcome", &met);
}
