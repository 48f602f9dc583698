//! The counters of one bucket, and how far they have moved.
//!
//! Every movement is checked: nothing falls below zero, and the whole stays within [`INBOUND_MAX`], which every
//! JSON reader can hold exactly. Since `usable + held + shipped = inbound`, no sum of them can overflow.

use std::ops::AddAssign;

/// The most that may ever come into one bucket: 2^53 - 1.
pub const INBOUND_MAX: i64 = 9_007_199_254_740_991;

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Free to be set aside.
    pub usable: i64,
    /// Set aside for orders that have not shipped.
    pub held: i64,
    /// Left the house.
    pub shipped: i64,
}

/// How far the counters moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta {
    /// Change of what is usable.
    pub usable: i64,
    /// Change of what is held.
    pub held: i64,
    /// Change of what has shipped.
    pub shipped: i64,
}

impl Delta {
    /// Nothing moves.
    pub const NONE: Delta = Delta { usable: 0, held: 0, shipped: 0 };

    /// Sets `qty` aside.
    pub fn take(qty: i64) -> Delta {
        Delta { usable: -qty, held: qty, shipped: 0 }
    }

    /// Gives `qty` back.
    pub fn free(qty: i64) -> Delta {
        Delta { usable: qty, held: -qty, shipped: 0 }
    }

    /// Sends `qty` out.
    pub fn ship(qty: i64) -> Delta {
        Delta { usable: 0, held: -qty, shipped: qty }
    }

    /// Brings `qty` in.
    pub fn bring(qty: i64) -> Delta {
        Delta { usable: qty, held: 0, shipped: 0 }
    }
}

impl AddAssign for Delta {
    fn add_assign(&mut self, other: Delta) {
        self.usable += other.usable;
        self.held += other.held;
        self.shipped += other.shipped;
    }
}

impl Balance {
    /// Everything that ever came in.
    pub fn inbound(self) -> i64 {
        self.usable + self.held + self.shipped
    }

    /// The balance after a movement; `None` if a counter would fall below zero or the whole exceed [`INBOUND_MAX`].
    pub fn moved(self, delta: Delta) -> Option<Balance> {
        let moved = Balance {
            usable: self.usable.checked_add(delta.usable)?,
            held: self.held.checked_add(delta.held)?,
            shipped: self.shipped.checked_add(delta.shipped)?,
        };
        let inbound = moved.usable.checked_add(moved.held)?.checked_add(moved.shipped)?;
        let fits = moved.usable >= 0 && moved.held >= 0 && moved.shipped >= 0 && inbound <= INBOUND_MAX;
        fits.then_some(moved)
    }
}
