//! What a book leaves to be written beside the orders: their events, refunds and shipments, as rows.

use serde::{Serialize, Serializer};

use super::{Cause, Order};
use crate::command::{OrderNo, Part};
use crate::money::Minor;
use crate::state::State;

/// A step that an order took, as a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    pub(super) order_no: OrderNo,
    version: i64,
    pub(super) from_state: Option<State>,
    pub(super) to_state: State,
    operation: &'static str,
    op: &'static str,
    note: Option<String>,
    saga: String,
    step: String,
}

impl Event {
    pub(super) fn new(cause: &Cause<'_>, order: &Order, from: Option<State>, note: Option<String>) -> Event {
        Event {
            order_no: order.number.clone(),
            version: order.version,
            from_state: from,
            to_state: order.state,
            operation: cause.operation.as_str(),
            op: cause.op.as_str(),
            note,
            saga: cause.saga.to_owned(),
            step: cause.step.to_owned(),
        }
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundState {
    /// Its pieces are set aside, and its money is on its way.
    Begun,
    /// The money was given back.
    Done,
    /// It came to nothing.
    CalledOff,
}

impl RefundState {
    /// Every state.
    pub const ALL: [RefundState; 3] = [RefundState::Begun, RefundState::Done, RefundState::CalledOff];

    /// The name, as bodies and rows carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundState::Begun => "begun",
            RefundState::Done => "done",
            RefundState::CalledOff => "called_off",
        }
    }

    /// Reads a name.
    pub fn named(name: &str) -> Option<RefundState> {
        RefundState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl Serialize for RefundState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Money given back, or on its way, as a row with its lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefundRow {
    pub(crate) refund_no: String,
    pub(crate) order_no: OrderNo,
    pub(crate) state: RefundState,
    pub(crate) amount_minor: Minor,
    pub(crate) reason: Option<String>,
    pub(crate) saga: String,
    pub(crate) step: String,
    #[serde(skip)]
    pub(crate) parts: Vec<Part>,
    /// Where it stands in the database; `None` for one that is not there yet.
    #[serde(skip)]
    pub(crate) stored: Option<RefundState>,
}

impl RefundRow {
    /// Its number.
    pub fn number(&self) -> &str {
        &self.refund_no
    }

    /// How much it is.
    pub fn amount(&self) -> Minor {
        self.amount_minor
    }

    /// Where it stands.
    pub fn state(&self) -> RefundState {
        self.state
    }

    /// What it is for.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn is_new(&self) -> bool {
        self.stored.is_none()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stored == Some(RefundState::Begun) && self.state != RefundState::Begun
    }
}

/// Goods that left together, as a row with its lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShipmentRow {
    pub(super) ship_no: String,
    pub(super) order_no: OrderNo,
    pub(super) saga: String,
    pub(super) step: String,
    #[serde(skip)]
    pub(super) parts: Vec<Part>,
}

impl ShipmentRow {
    /// Its number.
    pub fn number(&self) -> &str {
        &self.ship_no
    }

    /// What left.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}
