//! Payments against orders: money that is kept was paid for an order that there is. What it comes to is asked the other way
//! round, order by order, which does not meet a payment whose order is gone.

use super::{Error, Given, Page, Side, Standing, one_accounts_for_it, page_of, segment};
use crate::client::Client;
use crate::verify::gather::Asked;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const LAW: &str = "payments_have_an_order";

/// A payment as a list shows it.
#[derive(Debug, Deserialize)]
struct Payment {
    payment: String,
    order: String,
    state: String,
    amount_minor: i64,
    refunded_minor: i64,
    /// What happened to it; only where it is shown by itself.
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    saga: String,
}

/// The payments of one service.
pub(super) struct Kept<'a> {
    client: &'a Client,
    of: &'a Asked,
}

impl<'a> Kept<'a> {
    pub(super) fn new(client: &'a Client, of: &'a Asked) -> Kept<'a> {
        Kept { client, of }
    }
}

impl Payment {
    fn given(&self) -> Given<String> {
        let is_in = matches!(self.state.as_str(), "paid" | "part_refunded" | "refunded");
        let kept = if is_in { self.amount_minor - self.refunded_minor } else { 0 };
        let given = json!({ "payment": self.payment, "order": self.order, "kept_minor": kept });
        Given { key: self.payment.clone(), given: Some(given) }
    }
}

impl Side for Kept<'_> {
    type Key = String;

    const LAW: &'static str = LAW;
    const LIST: &'static str = "payments";
    const COLUMN: &'static str = "payment";

    async fn page(&mut self, after: &str) -> Result<(Vec<Given<String>>, Option<String>), Error> {
        let Page { items, next } = page_of::<Payment>(self.of, "/payments", after).await?;
        Ok((items.iter().map(Payment::given).collect(), next))
    }

    async fn again(&mut self, payment: &String) -> Result<Standing<String>, Error> {
        let payment: Payment = self.of.site.get(&format!("/payments/{}", segment(payment)), &()).await?;
        let sagas = payment.events.iter().filter_map(|event| event.saga.parse().ok());
        if one_accounts_for_it(self.client, sagas).await? {
            return Ok(Standing::InMotion);
        }
        Ok(Standing::Judge(payment.given()))
    }

    fn terms(&self) -> Value {
        json!({})
    }

    fn message(&self, row: &Value) -> String {
        let text = |column: &str| row[column].as_str().unwrap_or_default();
        let (payment, order, of) = (text("payment"), text("order"), &self.of.name);
        format!(
            "{of} keeps {} in minor units of payment {payment}, and there is no order {order}",
            row["kept_minor"]
        )
    }
}
