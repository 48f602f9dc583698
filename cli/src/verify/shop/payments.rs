//! Orders against payments: of every order, what was paid and not given back is what its lines come to less its refunds.
//!
//! An order proves nothing while it is refunded, when it changed less than the settling time ago, or when a saga that has
//! touched it has not ended: then the money has been told to one of the two and not yet to the other. An order that names
//! no payment, and has none, was paid elsewhere.

use super::orders::{Order, Reading};
use super::{Error, Given, Side, Standing};
use crate::client::Client;
use crate::verify::gather::{Asked, Wanted};
use serde_json::{Value, json};

pub(super) const LAW: &str = "payments_are_those_of_the_orders";

/// The orders of one service, held against the payments.
pub(super) struct Payments<'a>(Reading<'a>);

impl<'a> Payments<'a> {
    pub(super) fn new(
        client: &'a Client,
        wanted: &Wanted,
        of: &'a Asked,
        payments: &'a Asked,
    ) -> Payments<'a> {
        Payments(Reading::new(client, wanted, of, payments))
    }
}

/// What is to be kept of an order's payment; nothing where that is being changed.
fn due(order: &Order) -> Option<Value> {
    let due = match order.state.as_str() {
        "refunding" => return None,
        "created" | "reserved" | "cancelled" => 0,
        _ => order.total_minor - order.refunded_minor,
    };
    Some(json!({ "order": order.order, "due_minor": due, "payment": order.payment }))
}

impl Side for Payments<'_> {
    type Key = String;

    const LAW: &'static str = LAW;
    const LIST: &'static str = "orders";
    const COLUMN: &'static str = "order";

    async fn page(&mut self, after: &str) -> Result<(Vec<Given<String>>, Option<String>), Error> {
        self.0.page(after, due).await
    }

    async fn again(&mut self, order: &String) -> Result<Standing<String>, Error> {
        self.0.again(order, due).await
    }

    fn terms(&self) -> Value {
        json!({})
    }

    fn message(&self, row: &Value) -> String {
        let (order, of) = (row["order"].as_str().unwrap_or_default(), &self.0.of.name);
        let paid_by =
            row["payment"].as_str().map(|payment| format!(", paid by {payment}")).unwrap_or_default();
        format!(
            "order {order} comes to {} in minor units by {of}{paid_by}, and {} of its payments is kept",
            row["due_minor"], row["kept_minor"]
        )
    }
}
