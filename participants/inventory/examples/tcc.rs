//! Try, confirm, cancel: two carts that are ordered together or not at all, as an open saga over the inventory's `hold`,
//! `confirm` and `release`.
//!
//! ```text
//! amends demo --listen 127.0.0.1:7070          # a coordinator and a shop; in another terminal:
//! cargo run -p amends-inventory --example tcc
//! ```
//!
//! The caller begins an open saga and asks the inventory to *try* each cart within it: `POST /hold` with `Saga-Id` and
//! `Saga-Branch`. The inventory registers the branch, whose compensation is `release` and whose confirm is `confirm`,
//! and only then holds the cart. Then the caller decides. Commit: the coordinator has each cart *confirmed*, and asks
//! again until it is. Roll back: it has each cart *cancelled*, in reverse order, also one whose try is still on its way,
//! which is then refused. A caller that dies decides nothing, and is rolled back when its time is up.
//!
//! Everything here is plain HTTP, so that it reads the same in any language.

use amends_sdk::carry::Carried;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// How often something that is safe to repeat is asked before the caller gives up.
const ATTEMPTS: u32 = 5;

/// Where the coordinator and the inventory are.
pub struct Shop {
    /// What asks them.
    pub http: Client,
    /// The coordinator's base URL.
    pub coordinator: String,
    /// The base URL of one of the inventory's instances.
    pub inventory: String,
}

/// What became of an order.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Every cart is paid for.
    Confirmed,
    /// Nothing is set aside; why.
    Cancelled(String),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let coordinator = std::env::var("AMENDS_COORDINATOR").unwrap_or("http://127.0.0.1:7070".to_owned());
    let http = Shop::client()?;
    let found: Value =
        http.get(format!("{coordinator}/v1/participants/inventory")).send().await?.json().await?;
    let inventory =
        found["instances"][0]["url"].as_str().ok_or("no inventory is registered there")?.to_owned();
    let shop = Shop { http, coordinator, inventory };

    let order = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let cart = |part: &str, qty: u64| json!({ "order": format!("{order}-{part}"), "lines": [{ "sku": 1, "qty": qty }] });
    for (key, carts) in [
        (format!("tcc-{order}-fits"), [cart("mine", 1), cart("gift", 2)]),
        (format!("tcc-{order}-too-much"), [cart("ours", 1), cart("hoard", 999_999)]),
    ] {
        println!("before: {}", shop.stock(1).await?);
        println!("{key}: {:?}", shop.order(&key, &carts).await?);
        println!("after:  {}", shop.stock(1).await?);
    }
    Ok(())
}

impl Shop {
    /// A client that gives up in time.
    pub fn client() -> Result<Client, Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Client::builder().no_proxy().timeout(Duration::from_secs(15)).build()?)
    }

    /// Orders carts together or not at all. Ordering again under the same key goes on where the first caller stopped.
    pub async fn order(&self, key: &str, carts: &[Value]) -> Result<Outcome, Failure> {
        let saga = self.begin(key).await?;
        for (number, cart) in carts.iter().enumerate() {
            if let Err(why) = self.hold(saga, &format!("cart-{number}"), cart).await {
                self.decide(saga, "rollback").await?;
                return Ok(Outcome::Cancelled(why));
            }
        }
        self.decide(saga, "commit").await?;
        Ok(Outcome::Confirmed)
    }

    /// Begins the saga; it rolls back unless it is decided within a minute.
    async fn begin(&self, key: &str) -> Result<Uuid, Failure> {
        let body = json!({ "timeout": "1m", "key": key });
        let (_, saga) = self.ask(None, &format!("{}/v1/sagas/open", self.coordinator), "", &body).await?;
        Ok(saga["id"].as_str().unwrap_or_default().parse()?)
    }

    /// Tries a cart: the inventory registers the branch with the coordinator, then sets the cart aside.
    async fn hold(&self, saga: Uuid, branch: &str, cart: &Value) -> Result<(), String> {
        let held = self.ask(Some(saga), &format!("{}/hold", self.inventory), branch, cart).await;
        match held.map_err(|error| error.to_string())? {
            (StatusCode::OK, _) => Ok(()),
            (status, said) => Err(format!("{branch}: {status}, {}", said["message"])),
        }
    }

    /// Decides the saga and waits until its branches are confirmed or cancelled.
    async fn decide(&self, saga: Uuid, decision: &str) -> Result<(), Failure> {
        let url = format!("{}/v1/sagas/{saga}", self.coordinator);
        let (status, said) = self.ask(None, &format!("{url}/{decision}"), "", &json!({})).await?;
        if !status.is_success() {
            return Err(format!("{decision}: {status}, {}", said["detail"]).into());
        }
        for _ in 0..ATTEMPTS {
            let saga: Value = self.http.get(format!("{url}?wait=10s")).send().await?.json().await?;
            if let Some("completed" | "compensated") = saga["status"].as_str() {
                return Ok(());
            }
        }
        Err(format!(
            "saga {saga} is decided ({decision}) and still at it; an operator will see to what is stuck"
        )
        .into())
    }

    /// Asks for something that may be asked for again, until somebody answers.
    async fn ask(
        &self,
        saga: Option<Uuid>,
        url: &str,
        branch: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut last: Failure = "nobody was asked".into();
        for attempt in 0..ATTEMPTS {
            tokio::time::sleep(Duration::from_millis(100) * attempt).await;
            let mut request = self.http.post(url).json(body);
            if let Some(saga) = saga {
                request = request.in_saga(saga).header("saga-branch", branch);
            }
            match request.send().await {
                Ok(response) if response.status().is_server_error() => {
                    last = format!("{url}: {}", response.status()).into();
                }
                Ok(response) => return Ok((response.status(), response.json().await.unwrap_or_default())),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// What the inventory has of a SKU: usable and set aside.
    pub async fn stock(&self, sku: i64) -> Result<Value, Failure> {
        let stock: Value =
            self.http.get(format!("{}/stock?sku={sku}", self.inventory)).send().await?.json().await?;
        Ok(stock["items"][0].clone())
    }
}
