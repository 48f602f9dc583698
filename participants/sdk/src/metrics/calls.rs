//! What is counted of one operation: its calls by what they were and what became of them, how long they took, and how
//! many came together.

use super::text::{Histogram, Text};
use amends_wire::participant::CallOp;
use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a call is to its step; the last is one that could not be read so far.
const OPS: [&str; 5] = ["action", "compensation", "confirm", "status", "unread"];
const UNREAD: usize = 4;

/// What became of it, by the status of its answer.
const OUTCOMES: [&str; 7] = ["done", "pending", "refused", "early", "gone", "invalid", "unavailable"];

/// Up to how many microseconds a call may have taken, bucket by bucket.
const MICROS: [u64; 7] = [1_000, 5_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// Up to how many calls a batch may have had, bucket by bucket.
const SIZES: [u64; 5] = [1, 4, 16, 64, 256];

/// The figures of one operation.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    counts: [[AtomicU64; OUTCOMES.len()]; OPS.len()],
    micros: Histogram<7>,
    batches: Histogram<5>,
}

fn op_of(op: CallOp) -> usize {
    match op {
        CallOp::Action => 0,
        CallOp::Compensation => 1,
        CallOp::Confirm => 2,
        CallOp::Status => 3,
    }
}

fn outcome_of(status: u16) -> usize {
    match status {
        202 => 1,
        200..=299 => 0,
        409 => 2,
        425 => 3,
        410 => 4,
        408 | 429 => 6,
        300..=499 => 5,
        _ => 6,
    }
}

impl Calls {
    /// A call was answered with this status; nobody knows which op it was where it could not be read.
    pub(crate) fn answered(&self, op: Option<CallOp>, status: u16) {
        self.counts[op.map_or(UNREAD, op_of)][outcome_of(status)].fetch_add(1, Relaxed);
    }

    /// So many calls of one request took so long.
    pub(crate) fn took(&self, time: Duration, calls: usize) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.observe(&MICROS, micros, calls as u64);
    }

    /// A request of the batch form had so many calls.
    pub(crate) fn batch(&self, calls: usize) {
        self.batches.observe(&SIZES, calls as u64, 1);
    }
}

/// Writes the figures of all operations. What never happened is left out, but for what becomes of actions.
pub(super) fn write(operations: &BTreeMap<String, Arc<Calls>>, text: &mut Text) {
    let name = "amends_participant_calls_total";
    text.begin(name, "counter", "calls by what they were and what became of them");
    for (operation, calls) in operations {
        for (op, (word, outcomes)) in OPS.iter().zip(&calls.counts).enumerate() {
            for (outcome, count) in OUTCOMES.iter().zip(outcomes) {
                let count = count.load(Relaxed);
                if count > 0 || op == 0 {
                    let labels = [("operation", operation.as_str()), ("op", word), ("outcome", outcome)];
                    text.value(name, &labels, &count);
                }
            }
        }
    }
    let name = "amends_participant_call_seconds";
    text.begin(name, "histogram", "how long a call took");
    for (operation, calls) in operations {
        text.histogram(name, &[("operation", operation)], (&calls.micros, &MICROS, 1e6));
    }
    let name = "amends_participant_batch_calls";
    text.begin(name, "histogram", "calls in a request of the batch form");
    for (operation, calls) in operations {
        text.histogram(name, &[("operation", operation)], (&calls.batches, &SIZES, 1.0));
    }
}
