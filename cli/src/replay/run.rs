//! One replay: what it is called, where it runs, and how each invoice is brought to its end.
//!
//! Everything a replay sends has a name that follows from the file: a saga's key, an order's number, a delivery's
//! number. So a replay that was interrupted may be run again and only does what is missing.

use super::{
    patience::{Transient, keep_at},
    read::{Cart, Event, Orders, Return, Sku},
    site::Site,
};
use crate::client::{Client, ClientError, Start};
use amends_saga::SagaId;
use anyhow::{Context, bail};
use futures::StreamExt;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The definition that is run, and its text.
const DEFINITION: (&str, u32, &str) = ("order", 1, include_str!("../../../sagas/order.yaml"));

/// The currency of the data set's prices.
const CURRENCY: &str = "GBP";

/// How long one question after a saga's end waits for it.
const WAIT: Duration = Duration::from_secs(20);

/// Lines of one delivery, at most.
const DELIVERY_LINES: usize = 5_000;

/// Pieces of one line of a delivery, at most.
const DELIVERY_QTY: i64 = 1_000_000_000;

/// SKUs in one load of the catalogue.
const CATALOGUE_ITEMS: usize = 500;

/// How often a cart is ordered anew when nobody knows why it failed.
const ORDERS_MAX: u32 = 50;

impl Transient for ClientError {
    /// Beside what may pass by itself: a coordinator or proxy that is failing, an answer that was cut off, and a
    /// participant that has not registered yet.
    fn is_transient(&self) -> bool {
        match self {
            ClientError::Foreign { status, .. } => status.is_server_error() || status.is_success(),
            ClientError::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(status.as_u16(), 408 | 425 | 429)
                    || self.slug() == Some("unknown_operation")
            }
            other => other.is_transient(),
        }
    }
}

/// How much of every SKU there is before the first cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// As much as all carts of the file together take.
    Ample,
    /// So many of each.
    Each(i64),
}

impl Stock {
    /// The pieces of a SKU of which `ordered` are ordered in all.
    pub fn of(self, ordered: i64) -> i64 {
        match self {
            Stock::Ample => ordered,
            Stock::Each(pieces) => pieces,
        }
    }
}

impl std::str::FromStr for Stock {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Stock, &'static str> {
        let each = || text.parse().ok().filter(|pieces| (0..=DELIVERY_QTY).contains(pieces)).map(Stock::Each);
        match text {
            "ample" => Ok(Stock::Ample),
            _ => each().ok_or("expected \"ample\" or a number of pieces from 0 to 1000000000"),
        }
    }
}

impl std::fmt::Display for Stock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stock::Ample => f.write_str("ample"),
            Stock::Each(pieces) => pieces.fmt(f),
        }
    }
}

/// What is replayed against.
#[derive(Debug, Clone)]
pub(super) struct House {
    pub(super) coordinator: Client,
    pub(super) inventory: Site,
    pub(super) product: Site,
}

/// A replay under way.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    pub(super) house: &'a House,
    /// What tells this replay's sagas and orders from others.
    pub(super) run: &'a str,
    pub(super) stock: Stock,
    pub(super) patience: Duration,
}

/// How an invoice ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// Which of the events it was.
    pub(super) index: usize,
    pub(super) end: End,
    /// From its start to its end, all tries together.
    pub(super) took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    /// Why it was given up.
    Compensated(String),
    /// The goods are back in stock.
    Returned,
    /// It has no end, because of this.
    Failed(String),
}

/// What a replay looks at in a saga.
#[derive(Debug, Deserialize)]
struct Saga {
    id: SagaId,
    status: String,
    error: Option<Cause>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    step: Option<String>,
    kind: String,
    #[serde(default)]
    message: String,
}

impl Cause {
    /// The reason in reports: that stock is short is what a shop expects, everything else is named by kind and step.
    fn reason(&self) -> String {
        let says_so = self.message.contains("not enough stock") || self.message.contains("is not kept here");
        let is_short = self.kind == "refused" && self.step.as_deref() == Some("deduct") && says_so;
        match (&self.step, is_short) {
            (_, true) => "out_of_stock".to_owned(),
            (Some(step), false) => format!("{}_at_{step}", self.kind),
            (None, false) => self.kind.clone(),
        }
    }

    /// Whether it says nothing about the cart, only that somebody could not be reached in time.
    fn is_about_the_way(&self) -> bool {
        matches!(self.kind.as_str(), "unknown" | "timeout")
    }
}

impl Replay<'_> {
    /// Registers the definition, fills the catalogue, brings the goods in.
    pub(super) async fn prepare(&self, orders: &Orders) -> anyhow::Result<()> {
        let (name, version, text) = DEFINITION;
        let register =
            || self.house.coordinator.register::<serde_json::Value>(name, version, text.to_owned());
        let registered = keep_at(Instant::now() + self.patience, register).await;
        registered.with_context(|| format!("the definition {name}@{version} cannot be registered"))?;
        let goods: Vec<_> = orders.goods.iter().collect();
        for items in goods.chunks(CATALOGUE_ITEMS) {
            let items = items.iter().map(|(sku, of)| {
                let (name, price_minor) = (&of.name, of.price_minor);
                json!({ "sku": sku, "name": name, "price_minor": price_minor, "currency": CURRENCY, "version": 1 })
            });
            let body = json!({ "items": items.collect::<Vec<_>>() });
            self.house
                .product
                .send(Method::PUT, "/catalogue", &body)
                .await
                .context("the catalogue cannot be filled")?;
        }
        let mut stock: Vec<(Sku, i64)> =
            goods.iter().map(|(sku, of)| (**sku, self.stock.of(of.ordered))).collect();
        let mut delivery = 0;
        loop {
            stock.retain(|(_, pieces)| *pieces > 0);
            if stock.is_empty() {
                return Ok(());
            }
            for lines in stock.chunks_mut(DELIVERY_LINES) {
                let part: Vec<_> =
                    lines.iter().map(|(sku, pieces)| (*sku, (*pieces).min(DELIVERY_QTY))).collect();
                delivery += 1;
                self.bring(&format!("{}-stock-{delivery}", self.run), &part).await?;
                lines.iter_mut().for_each(|(_, pieces)| *pieces -= (*pieces).min(DELIVERY_QTY));
            }
        }
    }

    /// Brings goods in, once under their number.
    async fn bring(&self, number: &str, lines: &[(Sku, i64)]) -> anyhow::Result<()> {
        let lines: Vec<_> = lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        let body = json!({ "biz_no": number, "lines": lines });
        let brought = self.house.inventory.send(Method::POST, "/replenish", &body).await;
        brought.with_context(|| format!("the goods of {number} cannot be brought in"))?;
        Ok(())
    }

    /// Brings every invoice to its end, `concurrency` at a time, beginning in the file's order; in the order of
    /// ending.
    pub(super) async fn drive(&self, events: &[Event], concurrency: usize, bar: &ProgressBar) -> Vec<Ended> {
        let all = events.iter().enumerate().map(|(index, event)| self.finish(index, event, bar));
        futures::stream::iter(all).buffer_unordered(concurrency).collect().await
    }

    /// Brings one invoice to its end.
    async fn finish(&self, index: usize, event: &Event, bar: &ProgressBar) -> Ended {
        let begun = Instant::now();
        let end = match event {
            Event::Cart(cart) => self.order(cart, begun + self.patience).await,
            Event::Return(back) => self.give_back(back).await,
        };
        let end = end.unwrap_or_else(|error| End::Failed(crate::client::chain(error.as_ref())));
        bar.inc(1);
        Ended { index, end, took: begun.elapsed() }
    }

    async fn give_back(&self, back: &Return) -> anyhow::Result<End> {
        self.bring(&format!("{}-{}", self.run, back.invoice), &back.lines).await?;
        Ok(End::Returned)
    }

    /// Orders a cart. A saga that was given up because somebody could not be reached says nothing about the cart:
    /// it is ordered again, under the next number.
    async fn order(&self, cart: &Cart, until: Instant) -> anyhow::Result<End> {
        let mut pause = Duration::from_millis(200);
        for number in 1..ORDERS_MAX {
            let saga = self.one_order(cart, &order_number(self.run, &cart.invoice, number), until).await?;
            let cause = match (saga.status.as_str(), saga.error) {
                ("completed", _) => return Ok(End::Completed),
                ("compensated", Some(cause)) => cause,
                ("compensated", None) => bail!("saga {} does not say why it was compensated", saga.id),
                (status, _) => bail!("saga {} ended {status}; see `amends saga show {}`", saga.id, saga.id),
            };
            if !cause.is_about_the_way() || Instant::now() + pause >= until {
                return Ok(End::Compensated(cause.reason()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        bail!("the cart was ordered {ORDERS_MAX} times, and each time somebody could not be reached")
    }

    /// Starts the saga of one order, or finds the one that was started, and follows it to its end.
    async fn one_order(&self, cart: &Cart, order: &str, until: Instant) -> anyhow::Result<Saga> {
        let mut input = json!({ "order": order, "currency": CURRENCY, "lines": cart.lines });
        if let Some(customer) = &cart.customer {
            input["customer"] = json!(customer);
        }
        let input = RawValue::from_string(input.to_string())?;
        let key = format!("replay-{order}");
        let (name, version, _) = DEFINITION;
        let definition = format!("{name}@{version}");
        let labels = BTreeMap::from([("replay".to_owned(), self.run.to_owned())]);
        let start = Start { definition: &definition, input: &input, key: Some(&key), labels };
        let coordinator = &self.house.coordinator;
        let (_, mut saga): (_, Saga) = keep_at(until, || coordinator.start(&start, Some(WAIT))).await?;
        while !matches!(saga.status.as_str(), "completed" | "compensated" | "abandoned") {
            if Instant::now() >= until {
                bail!("saga {} is still {} when patience is over (see --patience)", saga.id, saga.status);
            }
            saga = keep_at(until, || coordinator.saga(saga.id, Some(WAIT))).await?;
        }
        Ok(saga)
    }
}

/// The number of the order of an invoice, or of the `number`th order when the ones before came to nothing.
pub(super) fn order_number(run: &str, invoice: &str, number: u32) -> String {
    if number == 1 { format!("{run}-{invoice}") } else { format!("{run}-{invoice}-{number}") }
}

#[cfg(test)]
mod tests;
