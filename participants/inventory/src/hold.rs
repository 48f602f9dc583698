//! What an order line has set aside in a bucket.
//!
//! ```text
//!            hold                     confirm
//!   (none) --------> held ------------------------> confirmed <-------- (none)
//!                     | ^------------------------------'  |      deduct
//!                     |      restore undoes confirm       |
//!                     |  release    restore, refund, ship |
//!                     '--------------> closed <-----------'
//! ```
//!
//! A hold remembers the step that made it and the step that confirmed it, so that a compensation undoes what its own
//! step did and nothing else. Only what is open can be given back: `released + shipped` never exceeds `qty`.

use std::sync::Arc;

use uuid::Uuid;

use crate::cart::{OrderNo, Sku};

/// The step of a saga that caused a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// The saga.
    pub saga: Uuid,
    /// The step.
    pub step: Arc<str>,
}

/// A bucket of a stock record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketKey {
    /// The stock record.
    pub stock_id: i64,
    /// The bucket within it, from 0.
    pub bucket_no: i64,
}

/// Where a hold stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Set aside for an unpaid order, until somebody releases or confirms it.
    Held {
        /// When the order should have been paid, in unix milliseconds.
        expires_at: i64,
    },
    /// Paid for.
    Confirmed {
        /// The step that confirmed it; of a deduction, the step that made it.
        by: Arc<Cause>,
    },
    /// Nothing of it is open any more.
    Closed {
        /// The step that had confirmed it, if one had.
        confirmed_by: Option<Arc<Cause>>,
    },
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its number, given to the caller.
    pub id: i64,
    /// The order it is for.
    pub order: OrderNo,
    /// The line within the order, from 1; later holds of the same order count on.
    pub line_no: i64,
    /// The SKU.
    pub sku: Sku,
    /// Where it lies.
    pub bucket: BucketKey,
    /// The stock record's epoch when it was made.
    pub epoch: i64,
    /// How many it set aside.
    pub qty: i64,
    /// How many of them came back.
    pub released: i64,
    /// How many of them left the house.
    pub shipped: i64,
    /// Where it stands.
    pub standing: Standing,
    /// The step that made it.
    pub made_by: Arc<Cause>,
    /// When it was made, in unix milliseconds.
    pub created_at: i64,
}

impl Hold {
    /// How many are still set aside.
    pub fn open(&self) -> i64 {
        self.qty - self.released - self.shipped
    }

    /// Whether it waits for its order to be paid.
    pub fn is_held(&self) -> bool {
        matches!(self.standing, Standing::Held { .. })
    }

    /// Whether it is paid for and not yet closed.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.standing, Standing::Confirmed { .. })
    }

    /// The step that confirmed it, if one did.
    pub fn confirmed_by(&self) -> Option<&Arc<Cause>> {
        match &self.standing {
            Standing::Held { .. } => None,
            Standing::Confirmed { by } => Some(by),
            Standing::Closed { confirmed_by } => confirmed_by.as_ref(),
        }
    }

    /// Gives back as much as is open, at most `qty`, and says how much that was.
    pub fn give_back(&mut self, qty: i64) -> i64 {
        let back = self.open().min(qty);
        self.released += back;
        self.close_if_empty();
        back
    }

    /// Sends out as much as is open, at most `qty`, and says how much that was.
    pub fn send_out(&mut self, qty: i64) -> i64 {
        let out = self.open().min(qty);
        self.shipped += out;
        self.close_if_empty();
        out
    }

    fn close_if_empty(&mut self) {
        assert!(self.open() >= 0, "no more leaves a hold than it took");
        if self.open() == 0 {
            self.standing = Standing::Closed { confirmed_by: self.confirmed_by().cloned() };
        }
    }
}
