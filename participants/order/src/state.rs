//! Where an order stands, and which change leads where.
//!
//! The table is total: [`State::after`] answers every state and every change, and what it does not name is a conflict.
//! The database keeps the same law: each change is one update conditional on the state it comes from.

use std::fmt;

use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// Where an order stands.
///
/// ```text
///                    reserve                 pay
///        created ──────────────► reserved ────────► paid        (created ── pay ──► paid)
///           │                       │                │
///           │ cancel                │ cancel         ├── refund part ─► part_refunded ─┐ ◄┐ refund part
///           ▼                       ▼                │                    │  └─────────┼──┘
///       cancelled ◄── cancel ── refunded ◄───────────┴── refund rest ─────┘            │
///                                                    │                                 │
///                                                    ├── ship part ──► part_shipped ◄──┤ (part_shipped ── ship part,
///                                                    │                    │            │  refund part)
///                                                    │                    │ ship rest, │
///                                                    │                    │ refund rest│
///            done ◄── complete ── shipped ◄──────────┴── ship rest ───────┴────────────┘
/// ```
///
/// Undoing a placed and paid order runs `refund`, then `cancel`: paid → refunded → cancelled. What has left is not
/// refunded here any more: a return is another matter than a refund. What of a part-shipped order has not left may be, and
/// when nothing is open any more the order is shipped, whichever of the two came last.
///
/// A refund in several steps is begun and ends. While at least one is begun, the order is refunding and goods stay
/// where they are; when the last one ends, the order stands where what was given back and what has left lead:
///
/// ```text
///        paid, part_refunded ── begin ──► refunding ── end ──► paid, part_refunded, refunded
///        part_shipped                     └───────┘            part_shipped, shipped
///                                  begin or end, others under way
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Placed.
    Created,
    /// Placed, and its stock is known to be set aside.
    Reserved,
    /// Paid in full.
    Paid,
    /// Some of the goods have left.
    PartShipped,
    /// Everything that was not refunded has left.
    Shipped,
    /// Arrived, and nothing is open.
    Done,
    /// Paid, and some of the money is being given back.
    Refunding,
    /// Paid, and the money for some of the goods was given back.
    PartRefunded,
    /// Paid, and all the money was given back.
    Refunded,
    /// Called off; no money is kept.
    Cancelled,
}

/// What can happen to an order that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Its stock is set aside.
    Reserve,
    /// It is paid in full.
    Pay,
    /// Some goods leave, others stay open.
    ShipPart,
    /// The last open goods leave.
    ShipRest,
    /// It has arrived.
    Complete,
    /// The money for some goods is given back, others stay open.
    RefundPart,
    /// The money for all open goods is given back.
    RefundRest,
    /// A refund in several steps is begun.
    RefundBegin,
    /// A refund ends, others are under way.
    RefundsGoOn,
    /// The last refund under way ends, and nothing was given back.
    RefundsEndInNone,
    /// The last refund under way ends, and some money was given back.
    RefundsEndInPart,
    /// The last refund under way ends, and all the money was given back.
    RefundsEndInAll,
    /// The last refund under way ends; some goods have left, and some are open.
    RefundsEndPartShipped,
    /// The last refund under way ends; some goods have left, and nothing is open any more.
    RefundsEndShipped,
    /// It is called off.
    Cancel,
    /// Nobody has paid for it in time.
    TimeOut,
}

impl State {
    /// Every state.
    pub const ALL: [State; 10] = [
        State::Created,
        State::Reserved,
        State::Paid,
        State::PartShipped,
        State::Shipped,
        State::Done,
        State::Refunding,
        State::PartRefunded,
        State::Refunded,
        State::Cancelled,
    ];

    /// The state that `change` leads to, or `None` where it conflicts with this one.
    pub fn after(self, change: Change) -> Option<State> {
        use State::{
            Cancelled, Created, Done, Paid, PartRefunded, PartShipped, Refunded, Refunding, Reserved, Shipped,
        };
        match (self, change) {
            (Created, Change::Reserve) => Some(Reserved),
            (Created | Reserved, Change::Pay) => Some(Paid),
            (Paid | PartRefunded | PartShipped, Change::ShipPart) => Some(PartShipped),
            (Paid | PartRefunded | PartShipped, Change::ShipRest) => Some(Shipped),
            (Shipped, Change::Complete) => Some(Done),
            (Paid | PartRefunded, Change::RefundPart) => Some(PartRefunded),
            (Paid | PartRefunded, Change::RefundRest) => Some(Refunded),
            (PartShipped, Change::RefundPart) => Some(PartShipped),
            (PartShipped, Change::RefundRest) => Some(Shipped),
            (Paid | PartRefunded | PartShipped | Refunding, Change::RefundBegin) => Some(Refunding),
            (Refunding, Change::RefundsGoOn) => Some(Refunding),
            (Refunding, Change::RefundsEndInNone) => Some(Paid),
            (Refunding, Change::RefundsEndInPart) => Some(PartRefunded),
            (Refunding, Change::RefundsEndInAll) => Some(Refunded),
            (Refunding, Change::RefundsEndPartShipped) => Some(PartShipped),
            (Refunding, Change::RefundsEndShipped) => Some(Shipped),
            (Created | Reserved | Refunded, Change::Cancel) => Some(Cancelled),
            (Created | Reserved, Change::TimeOut) => Some(Cancelled),
            (
                Created | Reserved | Paid | PartShipped | Shipped | Done | Refunding | PartRefunded
                | Refunded | Cancelled,
                _,
            ) => None,
        }
    }

    /// The name, as bodies and rows carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Reserved => "reserved",
            State::Paid => "paid",
            State::PartShipped => "part_shipped",
            State::Shipped => "shipped",
            State::Done => "done",
            State::Refunding => "refunding",
            State::PartRefunded => "part_refunded",
            State::Refunded => "refunded",
            State::Cancelled => "cancelled",
        }
    }

    /// Reads a name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl Change {
    /// Every change.
    pub const ALL: [Change; 16] = [
        Change::Reserve,
        Change::Pay,
        Change::ShipPart,
        Change::ShipRest,
        Change::Complete,
        Change::RefundPart,
        Change::RefundRest,
        Change::RefundBegin,
        Change::RefundsGoOn,
        Change::RefundsEndInNone,
        Change::RefundsEndInPart,
        Change::RefundsEndInAll,
        Change::RefundsEndPartShipped,
        Change::RefundsEndShipped,
        Change::Cancel,
        Change::TimeOut,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
