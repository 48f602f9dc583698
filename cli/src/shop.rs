//! The shop's participants as others see them: where they are, what goes into them, what can be read out of them.

use crate::{client::Client, settings::BaseUrl};
use amends_wire::api::{List, ParticipantView};
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// How long a participant may take to answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The most items that a participant takes in one load.
const LOAD_ITEMS_MAX: usize = 1000;

/// Where the shop's three participants answer.
#[derive(Debug, Clone)]
pub struct ShopUrls {
    /// The stock.
    pub inventory: BaseUrl,
    /// The orders.
    pub order: BaseUrl,
    /// The catalogue.
    pub product: BaseUrl,
}

/// A product to be sold, and how many of it come in.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The SKU, from 1.
    pub sku: i64,
    /// Its name.
    pub name: String,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What the price is in, three upper-case letters.
    pub currency: String,
}

/// What an audit says of one database.
#[derive(Debug, Clone, Deserialize)]
pub struct Audit {
    /// Whether every law is kept.
    pub kept: bool,
    /// Each law.
    pub invariants: Vec<Law>,
}

/// One law of an audit.
#[derive(Debug, Clone, Deserialize)]
pub struct Law {
    /// Its name.
    pub name: String,
    /// Whether it is kept.
    pub kept: bool,
    /// What breaks it.
    #[serde(default)]
    pub violations: Vec<Value>,
}

/// The stock of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Stock {
    /// The SKU.
    pub sku: i64,
    /// Free to be set aside.
    pub usable: i64,
    /// Set aside, paid for or not.
    pub held: i64,
    /// Left the house.
    pub shipped: i64,
    /// Everything that ever came in.
    pub inbound: i64,
    /// How many a line that names nothing but the SKU can take, where it is said: all that is free, where it is not.
    #[serde(default)]
    pub available: Option<i64>,
}

impl Stock {
    /// How many the catalogue should show.
    pub fn for_sale(&self) -> i64 {
        self.available.unwrap_or(self.usable)
    }
}

/// What one order has set aside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct SetAside {
    /// The order.
    pub order: String,
    /// Every SKU it ever set aside.
    pub lines: Vec<SetAsideLine>,
}

/// What one order has set aside of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct SetAsideLine {
    /// The SKU.
    pub sku: i64,
    /// Waiting to be paid.
    pub held: i64,
    /// Paid for.
    pub confirmed: i64,
    /// Came back.
    pub released: i64,
    /// Left the house.
    pub shipped: i64,
}

/// An order as the order service has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Order {
    /// Its number.
    pub order: String,
    /// Where it stands.
    pub state: String,
    /// The saga that placed it.
    pub saga: String,
    /// What its lines come to.
    pub total_minor: i64,
    /// How much was given back.
    pub refunded_minor: i64,
    /// What its money is in.
    pub currency: String,
    /// Its lines.
    pub lines: Vec<OrderLine>,
}

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct OrderLine {
    /// The SKU.
    pub sku: i64,
    /// How many were ordered.
    pub qty: i64,
    /// How many were refunded.
    pub refunded: i64,
    /// How many have left.
    pub shipped: i64,
}

/// A SKU of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    /// The SKU.
    pub sku: i64,
    /// Its name.
    pub name: String,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What the price is in.
    pub currency: String,
}

/// What the catalogue shows of a SKU's stock.
#[derive(Debug, Clone, Deserialize)]
pub struct Shown {
    /// The SKU.
    pub sku: i64,
    /// What the inventory last told it, if it told anything.
    #[serde(default)]
    pub availability: Option<Availability>,
}

/// What the inventory last told the catalogue.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Availability {
    /// How many could be set aside.
    pub usable: i64,
}

/// A payment as the payment service has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Payment {
    /// Its number.
    pub payment: String,
    /// The order it is for.
    pub order: String,
    /// Where it stands.
    pub state: String,
    /// What was asked for.
    pub amount_minor: i64,
    /// How much was given back.
    pub refunded_minor: i64,
}

impl ShopUrls {
    /// Finds the participants as they are registered with a coordinator.
    ///
    /// # Errors
    /// When one of them is not registered, with how to start it, or the coordinator does not answer.
    pub async fn registered(coordinator: &Client) -> anyhow::Result<ShopUrls> {
        let list: List<ParticipantView> = coordinator.get("/v1/participants", &[]).await?;
        let find = |name: &str| address_in(&list, name);
        Ok(ShopUrls { inventory: find("inventory")?, order: find("order")?, product: find("product")? })
    }

    /// Finds one participant as it is registered with a coordinator.
    ///
    /// # Errors
    /// When it is not registered, with how to start it, or the coordinator does not answer.
    pub async fn address_of(coordinator: &Client, name: &str) -> anyhow::Result<BaseUrl> {
        address_in(&coordinator.get("/v1/participants", &[]).await?, name)
    }
}

fn address_in(list: &List<ParticipantView>, name: &str) -> anyhow::Result<BaseUrl> {
    let view = list.items.iter().find(|view| view.name.as_str() == name);
    let instance = view.and_then(|view| view.instances.first()).with_context(|| {
        format!("no participant \"{name}\" is registered; start it with `amends participant {name}`")
    })?;
    let url: Result<BaseUrl, String> = instance.url.parse();
    url.map_err(|why| anyhow::anyhow!("participant \"{name}\" is registered at {}: {why}", instance.url))
}

/// A client of the shop's participants. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Shop {
    http: reqwest::Client,
    urls: ShopUrls,
}

impl Shop {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub fn new(urls: ShopUrls) -> anyhow::Result<Shop> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let http = builder.timeout(TIMEOUT).build().context("the HTTP client could not be made")?;
        Ok(Shop { http, urls })
    }

    /// Puts SKUs into the catalogue, as many as there are.
    ///
    /// # Errors
    /// When the catalogue says no or does not answer.
    pub async fn load(&self, items: &[Item]) -> anyhow::Result<()> {
        for items in items.chunks(LOAD_ITEMS_MAX) {
            let request =
                self.http.put(self.urls.product.join("/catalogue")).json(&json!({ "items": items }));
            send::<Value>(request).await?;
        }
        Ok(())
    }

    /// Brings stock in, once under the number `biz_no`.
    ///
    /// # Errors
    /// When the inventory says no or does not answer.
    pub async fn replenish(&self, biz_no: &str, stock: &BTreeMap<i64, i64>) -> anyhow::Result<()> {
        let lines: Vec<Value> = stock.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        for (number, lines) in (1..).zip(lines.chunks(LOAD_ITEMS_MAX)) {
            let biz_no = if number == 1 { biz_no.to_owned() } else { format!("{biz_no}-{number}") };
            let body = json!({ "biz_no": biz_no, "lines": lines });
            send::<Value>(self.http.post(self.urls.inventory.join("/replenish")).json(&body)).await?;
        }
        Ok(())
    }

    /// The audits of inventory, order and product, in this order.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub async fn audits(&self) -> anyhow::Result<[Audit; 3]> {
        let audit = |base: &BaseUrl| send::<Audit>(self.http.get(base.join("/audit")));
        let urls = &self.urls;
        Ok([audit(&urls.inventory).await?, audit(&urls.order).await?, audit(&urls.product).await?])
    }

    /// All stock.
    ///
    /// # Errors
    /// When the inventory does not answer.
    pub async fn stock(&self) -> anyhow::Result<Vec<Stock>> {
        self.pages(&self.urls.inventory.join("/stock")).await
    }

    /// What every order has set aside.
    ///
    /// # Errors
    /// When the inventory does not answer.
    pub async fn set_aside(&self) -> anyhow::Result<Vec<SetAside>> {
        self.pages(&self.urls.inventory.join("/orders")).await
    }

    /// Every order.
    ///
    /// # Errors
    /// When the order service does not answer.
    pub async fn orders(&self) -> anyhow::Result<Vec<Order>> {
        self.pages(&self.urls.order.join("/orders")).await
    }

    /// What the catalogue shows of all stock.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn shown(&self) -> anyhow::Result<Vec<Shown>> {
        self.pages(&self.urls.product.join("/products")).await
    }

    /// Every payment of the payment service at `base`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn payments(&self, base: &BaseUrl) -> anyhow::Result<Vec<Payment>> {
        self.pages(&base.join("/payments")).await
    }

    /// The audit of the service at `base`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn audit_of(&self, base: &BaseUrl) -> anyhow::Result<Audit> {
        send(self.http.get(base.join("/audit"))).await
    }

    /// The whole catalogue.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn products(&self) -> anyhow::Result<Vec<Product>> {
        self.pages(&self.urls.product.join("/products")).await
    }

    async fn pages<T: DeserializeOwned>(&self, address: &str) -> anyhow::Result<Vec<T>> {
        /// A page, whose cursor is a text or a number.
        #[derive(Deserialize)]
        struct Page<T> {
            items: Vec<T>,
            next: Option<Value>,
        }
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut request = self.http.get(address).query(&[("limit", "500")]);
            if let Some(after) = &after {
                request = request.query(&[("after", after)]);
            }
            let page: Page<T> = send(request).await?;
            all.extend(page.items);
            after = match page.next {
                None => return Ok(all),
                Some(Value::String(next)) => Some(next),
                Some(next) => Some(next.to_string()),
            };
        }
    }
}

/// Sends a request and reads the answer.
async fn send<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    let response = request.send().await.context("a participant does not answer")?;
    let (status, url) = (response.status(), response.url().clone());
    let body = response.bytes().await.with_context(|| format!("the answer of {url} broke off"))?;
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        bail!("{url} answered {status}: {said}");
    }
    serde_json::from_slice(&body).with_context(|| format!("the answer of {url} cannot be read"))
}
