//! What a batch has to write, and the flow of changes that explains it.

use std::sync::Arc;

use super::Noted;
use crate::balance::{Balance, Delta};
use crate::cart::OrderNo;
use crate::hold::{BucketKey, Cause, Hold};

/// What kind of change a flow row tells of. The numbers are those of the column `op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub enum FlowOp {
    /// Goods came in.
    Replenish = 1,
    /// Set aside for an unpaid order.
    Hold = 2,
    /// Taken for a paid order.
    Deduct = 3,
    /// A hold was paid for; no counter moves.
    Confirm = 4,
    /// A hold was freed.
    Release = 5,
    /// What was confirmed was freed.
    Restore = 6,
    /// A confirmation was undone: held again; no counter moves.
    Reinstate = 7,
    /// What was confirmed left the house.
    Ship = 8,
    /// Some of what was confirmed came back, under the ceiling of what was taken.
    Refund = 9,
    /// Somebody counted and put the number right.
    Adjust = 10,
    /// Stock moved from a record to an activity's.
    ActivityAllocate = 11,
    /// What an activity left over moved back.
    ActivityReturn = 12,
    /// The warehouse's count arrived.
    Sync = 13,
    /// More of a record is kept back; no counter moves.
    KeepBack = 14,
    /// Less of a record is kept back; no counter moves.
    LetGo = 15,
    /// A record is low at another number; no counter moves.
    Threshold = 16,
}

/// One change of one hold or bucket, for the append-only book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// What kind.
    pub op: FlowOp,
    /// The order, or the number of a delivery.
    pub biz_no: OrderNo,
    /// The line of it.
    pub line_no: i64,
    /// Where.
    pub bucket: BucketKey,
    /// How many it is about.
    pub qty: i64,
    /// How the counters moved.
    pub delta: Delta,
    /// The hold, unless goods came in.
    pub hold_id: Option<i64>,
    /// The step that caused it, unless it was no saga.
    pub cause: Option<Arc<Cause>>,
}

/// A bucket's counters as a batch leaves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Which bucket.
    pub key: BucketKey,
    /// How they stand at the end of the batch.
    pub balance: Balance,
    /// The version of the row that they were loaded from; they may be written only over that one.
    pub version: i64,
}

/// What a batch has to write.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The counters of each bucket that moved, ascending by key.
    pub buckets: Vec<Counters>,
    /// Holds that are new, ascending by id, as they stand at the end of the batch.
    pub made: Vec<Hold>,
    /// Holds that were loaded and stand differently now.
    pub changed: Vec<Hold>,
    /// Every change, in the order it happened.
    pub flows: Vec<Flow>,
    /// What took effect under a business number for the first time.
    pub numbers: Vec<Noted>,
}

impl Flow {
    /// A change of a hold.
    pub(super) fn of(hold: &Hold, op: FlowOp, qty: i64, delta: Delta, cause: &Arc<Cause>) -> Flow {
        Flow {
            op,
            biz_no: hold.order.clone(),
            line_no: hold.line_no,
            bucket: hold.bucket,
            qty,
            delta,
            hold_id: Some(hold.id),
            cause: Some(Arc::clone(cause)),
        }
    }
}
