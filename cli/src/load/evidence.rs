//! What the databases have to show when all is at rest: read page by page, and only what the books need is kept.

use super::{drive::Load, sale::SaleEnd, watch::Telling};
use crate::{
    books::Ledgers,
    client::Client,
    replay::patience::keep_at,
    settings::BaseUrl,
    shop::{Audit, Availability, Order, Payment, Product, SetAside, Shop, Shown, Stock},
};
use amends_wire::api::{List, SagaView};
use anyhow::Context;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long after the last hold's end sagas may take to end.
const SETTLING_MAX: Duration = Duration::from_secs(90);

/// How long the catalogue may take to learn of the last change.
const CATCHING_UP_MAX: Duration = Duration::from_secs(15);

/// What has not ended.
const UNDER_WAY: &str = "running,compensating";

/// Items of one page.
const PAGE: &str = "500";

/// What the databases have to show when all is at rest.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The ledgers; stock is that of ordinary sales, and of the catalogue only what was ordered is kept.
    pub(super) ledgers: Ledgers,
    /// The payments, where there is a payment service.
    pub(super) payments: Option<Vec<Payment>>,
    /// What the catalogue shows, where it follows the inventory.
    pub(super) shown: Option<Vec<Shown>>,
    /// The flash sale, where there was one.
    pub(super) sale: Option<SaleEnd>,
    /// Whether nobody else uses the shop.
    pub(super) own: bool,
}

/// A SKU of the catalogue with what it shows of its stock.
#[derive(Debug, Deserialize)]
struct Goods {
    sku: i64,
    name: String,
    price_minor: i64,
    currency: String,
    #[serde(default)]
    availability: Option<Availability>,
}

/// A page, whose cursor is a text or a number.
#[derive(Debug, Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<Value>,
}

/// Waits until no saga is under way, or until it is too late for one to be.
pub(super) async fn settle(load: &Load) {
    let site = &load.site;
    let until = Instant::now() + site.hold + SETTLING_MAX;
    loop {
        let query = [("status", UNDER_WAY.to_owned()), ("limit", "1".to_owned())];
        let open = site.coordinator.get::<List<SagaView>>("/v1/sagas", &query).await;
        let at_rest = open.is_ok_and(|open| open.items.is_empty());
        if at_rest || Instant::now() >= until {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Reads everything. `follows` says that the catalogue follows the inventory, and is waited for as well.
///
/// # Errors
/// When coordinator or shop cannot be read.
pub(super) async fn read(load: &Load, follows: bool, telling: &mut Telling) -> anyhow::Result<Evidence> {
    let (site, urls) = (&load.site, &load.site.urls);
    let audits = audits(load).await?;
    let mut reading = Reading { until: Instant::now() + site.patience, telling };
    let sagas = reading.sagas(&site.coordinator).await.context("the sagas cannot be read")?;
    let mut orders: Vec<Order> = Vec::new();
    reading.each(&urls.order, "/orders", "orders", |order| orders.push(order)).await?;
    let mut stock: Vec<Stock> = Vec::new();
    reading.each(&urls.inventory, "/stock", "SKUs of the stock", |of_sku| stock.push(of_sku)).await?;
    let mut set_aside: Vec<SetAside> = Vec::new();
    reading.each(&urls.inventory, "/orders", "orders in the stock", |order| set_aside.push(order)).await?;
    let mut payments = None;
    if let Some(base) = &site.payments {
        let payments = payments.insert(Vec::new());
        reading.each(base, "/payments", "payments", |payment| payments.push(payment)).await?;
    }
    let ordered: BTreeSet<i64> = orders.iter().flat_map(|order| &order.lines).map(|line| line.sku).collect();
    let (mut products, mut shown) = (Vec::new(), Vec::new());
    reading
        .each(&urls.product, "/products", "SKUs of the catalogue", |goods: Goods| {
            let Goods { sku, name, price_minor, currency, availability } = goods;
            shown.push(Shown { sku, availability });
            if ordered.contains(&sku) {
                products.push(Product { sku, name, price_minor, currency });
            }
        })
        .await?;
    if follows {
        catch_up(&urls.product, &mut shown, &stock).await?;
    }
    let ledgers = Ledgers { sagas, orders, stock, set_aside, products, audits };
    Ok(Evidence { ledgers, payments, shown: follows.then_some(shown), sale: None, own: follows })
}

async fn audits(load: &Load) -> anyhow::Result<Vec<(&'static str, Audit)>> {
    let urls = &load.site.urls;
    let shop = Shop::new(urls.clone())?;
    let mut services =
        vec![("inventory", &urls.inventory), ("order", &urls.order), ("product", &urls.product)];
    services.extend(load.site.payments.as_ref().map(|base| ("payment", base)));
    let mut audits = Vec::new();
    for (name, base) in services {
        audits.push((name, shop.audit_of(base).await.with_context(|| format!("the audit of {name}"))?));
    }
    Ok(audits)
}

/// The reading of one book after the other.
struct Reading<'a> {
    until: Instant,
    telling: &'a mut Telling,
}

impl Reading<'_> {
    /// Reads a list page by page, and hands over what is on it.
    async fn each<T: DeserializeOwned>(
        &mut self,
        base: &BaseUrl,
        path: &str,
        what: &str,
        mut each: impl FnMut(T),
    ) -> anyhow::Result<()> {
        let client = Client::new(base.clone(), None)?;
        let mut query = vec![("limit", PAGE.to_owned())];
        let mut count = 0;
        loop {
            let page: Page<T> = keep_at(self.until, || client.get(path, &query))
                .await
                .with_context(|| format!("the {what} cannot be read"))?;
            count += page.items.len();
            page.items.into_iter().for_each(&mut each);
            self.telling.tell(&format!("the books are read: {count} {what}"));
            query.truncate(1);
            match page.next {
                None => return Ok(()),
                Some(Value::String(next)) => query.push(("after", next)),
                Some(next) => query.push(("after", next.to_string())),
            }
        }
    }

    /// Reads all sagas and keeps of each what the books look at.
    async fn sagas(&mut self, coordinator: &Client) -> anyhow::Result<Vec<SagaView>> {
        let mut query = vec![("limit", PAGE.to_owned())];
        let mut sagas = Vec::new();
        loop {
            let page: List<SagaView> = keep_at(self.until, || coordinator.get("/v1/sagas", &query)).await?;
            sagas.extend(page.items.into_iter().map(kept));
            self.telling.tell(&format!("the books are read: {} sagas", sagas.len()));
            let Some(next) = page.next else { return Ok(sagas) };
            query.truncate(1);
            query.push(("cursor", next));
        }
    }
}

/// A saga with the members of input and output that the books look at: the order, and what it came to.
fn kept(mut saga: SagaView) -> SagaView {
    let order = saga.input.get("order").cloned();
    saga.input = Arc::new(order.map_or(Value::Null, |order| json!({ "order": order })));
    let total = saga.output.as_ref().and_then(|output| output.get("total")).cloned();
    saga.output = total.map(|total| Arc::new(json!({ "total": total })));
    saga.labels.clear();
    saga.key = None;
    saga
}

/// Reads again what does not agree with the stock, until all does or there was time enough for it.
async fn catch_up(product: &BaseUrl, shown: &mut [Shown], stock: &[Stock]) -> anyhow::Result<()> {
    let client = Client::new(product.clone(), None)?;
    let until = Instant::now() + CATCHING_UP_MAX;
    let usable: BTreeMap<i64, i64> = stock.iter().map(|stock| (stock.sku, stock.for_sale())).collect();
    let has = |shown: &Shown| usable.get(&shown.sku).copied().unwrap_or(0);
    let shows = |shown: &Shown| shown.availability.map_or(0, |told| told.usable);
    loop {
        let mut differing = 0;
        for shown in shown.iter_mut().filter(|shown| shows(shown) != has(shown)) {
            let address = format!("/products/{}", shown.sku);
            let goods: Goods = keep_at(until, || client.get(&address, &[])).await?;
            shown.availability = goods.availability;
            differing += usize::from(shows(shown) != has(shown));
            if Instant::now() >= until {
                return Ok(());
            }
        }
        if differing == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_saga_only_what_the_books_look_at_is_kept() {
        let at = "2026-11-20T18:00:00.000Z";
        let told = json!({
            "id": "00000000-0000-7000-8000-00000000000a", "definition": "checkout", "version": 1, "key": "k",
            "labels": { "load": "t" }, "status": "completed", "input": { "order": "A", "lines": [{ "sku": 1 }] },
            "output": { "total": 5, "order": "A" }, "error": null, "created_at": at, "updated_at": at,
            "ended_at": at, "deadline_at": null, "repairs": [],
        });
        let saga = kept(serde_json::from_value(told).expect("a saga"));
        assert_eq!(*saga.input, json!({ "order": "A" }));
        assert_eq!(saga.output.as_deref(), Some(&json!({ "total": 5 })));
        assert_eq!((saga.labels.len(), saga.key), (0, None));
    }
}
