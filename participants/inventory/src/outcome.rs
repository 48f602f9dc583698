//! What became of a call, and the words in which its caller hears of it.
//!
//! A refusal is a definite no: nothing was changed, and asking again changes nothing about it.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::cart::{OrderNo, Sku};
use crate::record::RecordKey;

/// A line of an answer: a SKU, how many, and the hold they lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The SKU.
    pub sku: Sku,
    /// How many were set aside, confirmed or given back.
    pub qty: i64,
    /// The hold's number.
    pub hold: i64,
}

/// A line that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The record.
    pub record: RecordKey,
    /// How many were wanted.
    pub wanted: i64,
    /// How many there are; `None` when the record is not kept here.
    pub available: Option<i64>,
}

/// What a call changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The cart is set aside until a time, in unix milliseconds.
    Held {
        /// The order.
        order: OrderNo,
        /// When the order should have been paid.
        until: i64,
        /// Every line, ascending by SKU.
        lines: Vec<Moved>,
    },
    /// The cart is taken and paid for.
    Deducted {
        /// The order.
        order: OrderNo,
        /// Every line, ascending by SKU.
        lines: Vec<Moved>,
    },
    /// What was held is paid for.
    Confirmed {
        /// The order.
        order: OrderNo,
        /// Every line that was held.
        lines: Vec<Moved>,
    },
    /// What was confirmed left the house.
    Shipped {
        /// The order.
        order: OrderNo,
        /// Every line that left.
        lines: Vec<Moved>,
    },
    /// Something was undone, or there was nothing left to undo.
    Undone {
        /// The order.
        order: OrderNo,
        /// What is usable again.
        freed: Vec<Moved>,
        /// What is no longer confirmed but held again.
        held: Vec<Moved>,
    },
    /// The refund or shipment took effect before, under the same number; nothing moved now.
    Again {
        /// The order.
        order: OrderNo,
        /// The number.
        number: OrderNo,
        /// What moved then: the lines as they were answered.
        earlier: Arc<str>,
    },
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Some lines cannot be had, so none was taken.
    #[error("{}", short_message(.0))]
    Short(Vec<Shortage>),
    /// The activity is not sold now.
    #[error("{why}")]
    NotOnSale {
        /// The activity.
        activity: i64,
        /// Why not.
        why: String,
    },
    /// The customer's share of an activity does not cover it.
    #[error(
        "{wanted} of activity {activity} are wanted and {left} are left of the share that this saga has taken for its \
         customer; take the share first (quota_take)"
    )]
    NoShare {
        /// The activity.
        activity: i64,
        /// How many are wanted.
        wanted: i64,
        /// How many the saga may still take.
        left: i64,
    },
    /// Another saga holds stock for the same order.
    #[error(
        "order {order} already has stock set aside by saga {by}; release that first or use another order number"
    )]
    AlreadyHeld {
        /// The order.
        order: OrderNo,
        /// The saga that holds it.
        by: Uuid,
    },
    /// The order has used up its lines.
    #[error(
        "order {order} has been held so often that its {max} lines are used up; use another order number"
    )]
    LinesUsedUp {
        /// The order.
        order: OrderNo,
        /// How many lines an order may use.
        max: i64,
    },
    /// Nothing was ever set aside for the order.
    #[error("order {order} has no stock set aside here")]
    Unknown {
        /// The order.
        order: OrderNo,
    },
    /// What was set aside is no longer.
    #[error("the stock of order {order} has been given back; hold it again")]
    GivenBack {
        /// The order.
        order: OrderNo,
    },
    /// It is confirmed already, or still.
    #[error("order {order} is confirmed by saga {by}; {advice}")]
    Confirmed {
        /// The order.
        order: OrderNo,
        /// The saga that confirmed it.
        by: Uuid,
        /// What to do about it.
        advice: &'static str,
    },
    /// More is wanted back than is left.
    #[error("order {order} has less left than is to be given back")]
    Exceeds {
        /// The order.
        order: OrderNo,
        /// The lines that exceed what is left.
        lines: Vec<Shortage>,
    },
    /// Something else took effect under this number.
    #[error("number {number} stands for something else already; use a number of its own")]
    NumberTaken {
        /// The order.
        order: OrderNo,
        /// The number.
        number: OrderNo,
    },
    /// It is held, not confirmed.
    #[error("order {order} is held but not confirmed; confirm or release it")]
    OnlyHeld {
        /// The order.
        order: OrderNo,
    },
    /// It left the house.
    #[error("order {order} has shipped; what has left the house is not given back")]
    Shipped {
        /// The order.
        order: OrderNo,
    },
    /// The step that is being undone did nothing to this order.
    #[error("step {step} of this saga set nothing aside for order {order}; check the order number")]
    NotMine {
        /// The order.
        order: OrderNo,
        /// The step.
        step: Arc<str>,
    },
}

impl Done {
    /// The answer's body.
    pub fn body(&self) -> Value {
        match self {
            Done::Held { order, until, lines } => {
                json!({ "order": order, "hold_until": timestamp(*until), "lines": bodies(lines) })
            }
            Done::Deducted { order, lines }
            | Done::Confirmed { order, lines }
            | Done::Shipped { order, lines } => {
                json!({ "order": order, "lines": bodies(lines) })
            }
            Done::Undone { order, freed, held } => {
                let mut body = json!({ "order": order, "lines": bodies(freed) });
                if !held.is_empty() {
                    body["held"] = bodies(held);
                }
                body
            }
            Done::Again { order, number, earlier } => {
                // The text was written by this program; if it cannot be read, what matters is that nothing moved now.
                let earlier: Value = serde_json::from_str(earlier).unwrap_or_default();
                json!({ "order": order, "lines": [], "number": number, "earlier": earlier })
            }
        }
    }
}

impl Refusal {
    /// The members beside the message.
    pub fn details(&self) -> Value {
        match self {
            Refusal::Short(lines) => json!({ "lines": lines.iter().map(Shortage::body).collect::<Vec<_>>() }),
            Refusal::Exceeds { order, lines } => {
                json!({ "order": order, "lines": lines.iter().map(Shortage::body).collect::<Vec<_>>() })
            }
            Refusal::NotOnSale { activity, .. } => json!({ "activity": activity }),
            Refusal::NoShare { activity, wanted, left } => {
                json!({ "activity": activity, "wanted": wanted, "left": left })
            }
            Refusal::AlreadyHeld { order, by } | Refusal::Confirmed { order, by, .. } => {
                json!({ "order": order, "saga": by })
            }
            Refusal::LinesUsedUp { order, .. }
            | Refusal::Unknown { order }
            | Refusal::GivenBack { order }
            | Refusal::OnlyHeld { order }
            | Refusal::Shipped { order }
            | Refusal::NumberTaken { order, .. }
            | Refusal::NotMine { order, .. } => json!({ "order": order }),
        }
    }
}

impl Shortage {
    fn body(&self) -> Value {
        let mut body = self.record.members();
        body.insert("wanted".into(), json!(self.wanted));
        body.insert("available".into(), json!(self.available.unwrap_or(0)));
        if self.available.is_none() {
            body.insert("unknown".into(), json!(true));
        }
        Value::Object(body)
    }
}

/// Lines as an answer shows them.
pub(crate) fn bodies(lines: &[Moved]) -> Value {
    lines.iter().map(|line| json!({ "sku": line.sku, "qty": line.qty, "hold": line.hold })).collect()
}

fn short_message(lines: &[Shortage]) -> String {
    let Some(first) = lines.first() else { return "not enough stock".into() };
    let what = match first.available {
        Some(available) => {
            format!(
                "not enough stock of sku {}: wanted {}, available {available}",
                first.record, first.wanted
            )
        }
        None => format!("sku {} is not kept here", first.record),
    };
    match lines.len() - 1 {
        0 => what,
        others => format!("{what}; and {others} more lines"),
    }
}

/// A time as the API writes it: RFC 3339 in UTC with milliseconds.
pub fn timestamp(unix_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(unix_ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => unix_ms.to_string(),
    }
}
