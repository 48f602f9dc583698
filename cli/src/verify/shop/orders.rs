//! Orders against stock: of every line of a standing order there is as much set aside, or gone, as it says, less what was
//! refunded; of a cancelled one nothing is.
//!
//! An order proves nothing while it is being placed or refunded, when it changed less than the settling time ago, or when
//! a saga that has touched it has not ended: then one of the two has been told and the other not yet.

use super::{Error, Given, Page, Side, Standing, accounts_for_it, page_of};
use crate::{
    client::{Client, ClientError},
    verify::gather::{Asked, Audit, Wanted, now_ms},
};
use amends_saga::SagaId;
use amends_wire::api::{SagaView, Time};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const LAW: &str = "orders_have_what_they_reserved";

/// States in which nobody says yet, or any more, how much is set aside.
const UNDECIDED: [&str; 2] = ["created", "refunding"];

/// An order as a list shows it.
#[derive(Debug, Deserialize)]
struct Order {
    order: String,
    state: String,
    #[serde(default)]
    updated_at: Option<Time>,
    lines: Vec<Line>,
    /// What happened to it; only where it is shown by itself.
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Line {
    sku: i64,
    qty: i64,
    #[serde(default)]
    refunded: i64,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    saga: String,
}

/// The orders of one service.
pub(super) struct Orders<'a> {
    client: &'a Client,
    of: &'a Asked,
    settle_ms: i64,
    /// What the one with the stock has done for which order, as far as it was asked.
    touched: BTreeMap<&'a str, BTreeSet<SagaId>>,
}

impl<'a> Orders<'a> {
    pub(super) fn new(client: &'a Client, wanted: &Wanted, of: &'a Asked, stock: &'a Asked) -> Orders<'a> {
        let mut touched: BTreeMap<&str, BTreeSet<SagaId>> = BTreeMap::new();
        if let Audit::Read(audited) = &stock.audit {
            for effect in &audited.effects {
                if let Some(order) = effect.effect.as_ref().and_then(|effect| effect["order"].as_str()) {
                    touched.entry(order).or_default().insert(effect.saga);
                }
            }
        }
        Orders { client, of, settle_ms: wanted.settle_ms, touched }
    }

    fn given(&self, order: &Order) -> Given<String> {
        let changed = order.updated_at.map_or(i64::MIN, |at| at.0.0);
        let is_settled = changed <= now_ms().saturating_sub(self.settle_ms);
        let given = (is_settled && !UNDECIDED.contains(&order.state.as_str())).then(|| {
            let line = |line: &Line| json!({ "sku": line.sku, "qty": line.qty - line.refunded });
            let lines: Vec<Value> = order.lines.iter().map(line).collect();
            match order.state.as_str() {
                "cancelled" => json!({ "order": order.order, "cancelled": true }),
                _ => json!({ "order": order.order, "lines": lines }),
            }
        });
        Given { key: order.order.clone(), given }
    }

    /// Whether a saga that has touched this order accounts for how it stands.
    async fn is_in_motion(&self, order: &Order) -> Result<bool, Error> {
        let mut sagas: BTreeSet<SagaId> =
            order.events.iter().filter_map(|event| event.saga.parse().ok()).collect();
        sagas.extend(self.touched.get(order.order.as_str()).into_iter().flatten());
        for saga in sagas {
            match self.client.saga::<SagaView>(saga, None).await {
                Ok(view) if accounts_for_it(view.status) => return Ok(true),
                // Of a saga that nobody knows the comparison of effects tells.
                Ok(_) => {}
                Err(ClientError::Refused { status, .. }) if status.as_u16() == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// A number as a part of a path.
fn segment(number: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    number.bytes().map(byte).collect()
}

impl Side for Orders<'_> {
    type Key = String;

    const LAW: &'static str = LAW;
    const LIST: &'static str = "orders";
    const COLUMN: &'static str = "order";

    async fn page(&mut self, after: &str) -> Result<(Vec<Given<String>>, Option<String>), Error> {
        let Page { items, next } = page_of::<Order>(self.of, "/orders", after).await?;
        Ok((items.iter().map(|order| self.given(order)).collect(), next))
    }

    async fn again(&mut self, order: &String) -> Result<Standing<String>, Error> {
        let order: Order = self.of.site.get(&format!("/orders/{}", segment(order)), &()).await?;
        let given = self.given(&order);
        if given.given.is_none() || self.is_in_motion(&order).await? {
            return Ok(Standing::InMotion);
        }
        Ok(Standing::Judge(given))
    }

    fn terms(&self) -> Value {
        json!({})
    }

    fn message(&self, row: &Value) -> String {
        let (order, of) = (row["order"].as_str().unwrap_or_default(), &self.of.name);
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
