//! Orders against stock: of every line of a standing order there is as much set aside, or gone, as it says, less what was
//! refunded; of a cancelled one nothing is.
//!
//! An order proves nothing while it is being placed or refunded, when it changed less than the settling time ago, or when
//! a saga that has touched it has not ended: then one of the two has been told and the other not yet.

use super::{Error, Given, Page, Side, Standing, one_accounts_for_it, page_of, segment};
use crate::{
    client::Client,
    verify::gather::{Asked, Audit, Wanted, now_ms},
};
use amends_saga::SagaId;
use amends_wire::api::Time;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const LAW: &str = "orders_have_what_they_reserved";

/// States in which nobody says yet, or any more, how much is set aside.
const UNDECIDED: [&str; 2] = ["created", "refunding"];

/// An order as a list shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) order: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) total_minor: i64,
    #[serde(default)]
    pub(super) refunded_minor: i64,
    #[serde(default)]
    pub(super) payment: Option<String>,
    #[serde(default)]
    updated_at: Option<Time>,
    lines: Vec<Line>,
    /// What happened to it; only where it is shown by itself.
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Line {
    sku: i64,
    qty: i64,
    #[serde(default)]
    refunded: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default)]
    saga: String,
}

/// The orders of one service, held against the stock.
pub(super) struct Orders<'a>(Reading<'a>);

impl<'a> Orders<'a> {
    pub(super) fn new(client: &'a Client, wanted: &Wanted, of: &'a Asked, stock: &'a Asked) -> Orders<'a> {
        Orders(Reading::new(client, wanted, of, stock))
    }
}

/// What an order is to have set aside; nothing where nobody says yet, or any more.
fn set_aside(order: &Order) -> Option<Value> {
    let line = |line: &Line| json!({ "sku": line.sku, "qty": line.qty - line.refunded });
    match order.state.as_str() {
        undecided if UNDECIDED.contains(&undecided) => None,
        "cancelled" => Some(json!({ "order": order.order, "cancelled": true })),
        _ => Some(
            json!({ "order": order.order, "lines": order.lines.iter().map(line).collect::<Vec<Value>>() }),
        ),
    }
}

/// What is given of an order, or nothing where it proves nothing now.
type Says = fn(&Order) -> Option<Value>;

/// The list of orders, for whoever's books it is held against.
pub(super) struct Reading<'a> {
    client: &'a Client,
    pub(super) of: &'a Asked,
    settle_ms: i64,
    /// What the one with the books has done for which order, as far as it was asked.
    touched: BTreeMap<&'a str, BTreeSet<SagaId>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(client: &'a Client, wanted: &Wanted, of: &'a Asked, books: &'a Asked) -> Reading<'a> {
        let mut touched: BTreeMap<&str, BTreeSet<SagaId>> = BTreeMap::new();
        if let Audit::Read(audited) = &books.audit {
            for effect in &audited.effects {
                if let Some(order) = effect.effect.as_ref().and_then(|effect| effect["order"].as_str()) {
                    touched.entry(order).or_default().insert(effect.saga);
                }
            }
        }
        Reading { client, of, settle_ms: wanted.settle_ms, touched }
    }

    fn given(&self, order: &Order, says: Says) -> Given<String> {
        let changed = order.updated_at.map_or(i64::MIN, |at| at.0.0);
        let is_settled = changed <= now_ms().saturating_sub(self.settle_ms);
        Given { key: order.order.clone(), given: is_settled.then(|| says(order)).flatten() }
    }

    /// The orders after a place in the list, and the next place.
    pub(super) async fn page(
        &self,
        after: &str,
        says: Says,
    ) -> Result<(Vec<Given<String>>, Option<String>), Error> {
        let Page { items, next } = page_of::<Order>(self.of, "/orders", after).await?;
        Ok((items.iter().map(|order| self.given(order, says)).collect(), next))
    }

    /// An order as it stands now.
    pub(super) async fn again(&self, order: &str, says: Says) -> Result<Standing<String>, Error> {
        let order: Order = self.of.site.get(&format!("/orders/{}", segment(order)), &()).await?;
        let given = self.given(&order, says);
        if given.given.is_none() || self.is_in_motion(&order).await? {
            return Ok(Standing::InMotion);
        }
        Ok(Standing::Judge(given))
    }

    /// Whether a saga that has touched this order accounts for how it stands.
    async fn is_in_motion(&self, order: &Order) -> Result<bool, Error> {
        let mut sagas: BTreeSet<SagaId> =
            order.events.iter().filter_map(|event| event.saga.parse().ok()).collect();
        sagas.extend(self.touched.get(order.order.as_str()).into_iter().flatten());
        one_accounts_for_it(self.client, sagas).await
    }
}

impl Side for Orders<'_> {
    type Key = String;

    const LAW: &'static str = LAW;
    const LIST: &'static str = "orders";
    const COLUMN: &'static str = "order";

    async fn page(&mut self, after: &str) -> Result<(Vec<Given<String>>, Option<String>), Error> {
        self.0.page(after, set_aside).await
    }

    async fn again(&mut self, order: &String) -> Result<Standing<String>, Error> {
        self.0.again(order, set_aside).await
    }

    fn terms(&self) -> Value {
        json!({})
    }

    fn message(&self, row: &Value) -> String {
        let (order, of) = (row["order"].as_str().unwrap_or_default(), &self.0.of.name);
        let count = |column: &str| row[column].as_i64().unwrap_or(0);
        let missing = match count("missing") {
            0 => String::new(),
            missing => format!(", and is known to miss {missing}"),
        };
        let (wanted, reserved) = (count("wanted"), count("reserved"));
        format!(
            "order {order} is to have {wanted} of sku {} by {of}, and has {reserved}{missing}",
            row["sku"]
        )
    }
}
