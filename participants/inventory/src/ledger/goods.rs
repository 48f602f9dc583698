//! What changes a record's stock without an order: deliveries, counts, transfers.

use std::sync::Arc;

use super::{Flow, FlowOp, Ledger, Record, first};
use crate::balance::Delta;
use crate::cart::{Delivery, OrderNo};
use crate::hold::{BucketKey, Cause};
use crate::record::RecordKey;

/// One change of what is usable in a record.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What kind.
    pub op: FlowOp,
    /// The number it comes under. A step of a saga, or no saga, may use a number once for each line and kind.
    pub biz_no: &'a OrderNo,
    /// The line of it, from 1.
    pub line_no: i64,
    /// The change, not 0.
    pub delta: i64,
    /// The step that caused it, unless it was no saga.
    pub cause: Option<&'a Arc<Cause>>,
}

/// Why a record's stock cannot be changed; nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The record was not loaded, or is not kept here.
    #[error("the record is not kept here")]
    Unknown,
    /// A bucket would hold more than it may, or less than nothing.
    #[error("the record has {usable} usable, which does not allow the change")]
    Bounds {
        /// What is usable.
        usable: i64,
    },
}

impl Ledger {
    /// A record, if it was loaded.
    pub fn record(&self, record: &RecordKey) -> Option<Record> {
        self.records.get(record).copied()
    }

    /// What is usable of a record, if it was loaded.
    pub fn usable(&self, record: &RecordKey) -> Option<i64> {
        let key = first(*self.records.get(record)?);
        self.buckets.get(&key).map(|bucket| bucket.balance.usable)
    }

    /// What may be taken of a record, if it was loaded: what is usable beyond what is kept back.
    pub fn available(&self, record: &RecordKey) -> Option<i64> {
        let stock_id = self.records.get(record)?.stock_id;
        let kept_back = self.kept_back.get(&stock_id).copied().unwrap_or(0);
        Some((self.usable(record)? - kept_back).max(0))
    }

    /// Changes what is usable of a record and writes the flow that says so.
    ///
    /// # Errors
    /// [`Unfit`]; nothing was changed.
    pub fn enter(&mut self, record: &RecordKey, entry: &Entry<'_>) -> Result<(), Unfit> {
        let key = self.entrance(record)?;
        let delta = Delta::bring(entry.delta);
        let bucket = self.buckets.get(&key).ok_or(Unfit::Unknown)?;
        let usable = bucket.balance.usable;
        self.shift(key, record.sku, delta).map_err(|_| Unfit::Bounds { usable })?;
        if entry.delta != 0 {
            self.flows.push(Flow {
                op: entry.op,
                biz_no: entry.biz_no.clone(),
                line_no: entry.line_no,
                bucket: key,
                qty: entry.delta.saturating_abs(),
                delta,
                hold_id: None,
                cause: entry.cause.cloned(),
            });
        }
        Ok(())
    }

    /// Brings goods in; every record must be loaded. `false` if a bucket would hold more than it may.
    pub fn replenish(&mut self, delivery: &Delivery) -> bool {
        let fits = delivery.lines().iter().all(|line| {
            let bucket = self.entrance(&line.record).ok().and_then(|key| self.buckets.get(&key));
            bucket.is_some_and(|bucket| bucket.balance.moved(Delta::bring(line.qty)).is_some())
        });
        if !fits {
            return false;
        }
        for (line_no, line) in (1..).zip(delivery.lines()) {
            let entry = Entry {
                op: FlowOp::Replenish,
                biz_no: delivery.biz_no(),
                line_no,
                delta: line.qty,
                cause: None,
            };
            // Checked for every line just above, and each record stands in one line only.
            let entered = self.enter(&line.record, &entry);
            assert!(entered.is_ok(), "a delivery that fits is brought in");
        }
        true
    }

    fn entrance(&self, record: &RecordKey) -> Result<BucketKey, Unfit> {
        self.records.get(record).map(|record| first(*record)).ok_or(Unfit::Unknown)
    }
}
