//! A coordinator on a store in memory, with a participant `shop` and a client.

use crate::stub::Stub;
use amends_server::{Config, ListenLimits, SagaLimits, Server, Timing, Tokens};
use amends_store::{Filter, Store, memory::MemoryStore};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// The longest anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Two calls, each with an undo, and few, quick attempts.
pub(crate) const ORDER: &str = r#"
saga: order
version: 1
input:
  type: object
  required: [order]
  additionalProperties: false
  properties:
    order: { type: string, minLength: 1 }
    qty: { type: integer, minimum: 1 }
steps:
  - hold:
      action: shop.hold
      compensation: { operation: shop.release, retry: { quick: 3, attempts: 3, first: 20ms, max: 20ms } }
      with: { order: "${{ input.order }}" }
      retry: { attempts: 3, first: 10ms, max: 20ms }
      timeout: 300ms
  - charge:
      action: shop.charge
      compensation: { operation: shop.refund, retry: { quick: 3, attempts: 3, first: 20ms, max: 20ms } }
      with: { order: "${{ input.order }}" }
      retry: { attempts: 3, first: 10ms, max: 20ms }
      timeout: 300ms
output: { charged: "${{ steps.charge.output }}" }
"#;

/// A call, then a wait for `payment`, then a call.
pub(crate) const PAID: &str = r#"
saga: paid
version: 1
steps:
  - hold:
      action: shop.hold
      compensation: { operation: shop.release, retry: { quick: 3, attempts: 3, first: 20ms, max: 20ms } }
      with: {}
      timeout: 5s
  - payment: { await: payment, timeout: 15m }
  - charge:
      action: shop.charge
      compensation: shop.refund
      with: { paid: "${{ steps.payment.output }}" }
output: "${{ steps.payment.output }}"
"#;

/// A coordinator and what surrounds it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) store: MemoryStore,
    pub(crate) stub: Stub,
    pub(crate) url: String,
    pub(crate) http: Client,
}

/// An answer, read.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// How a coordinator is set up unless a test says otherwise.
pub(crate) fn config() -> Config {
    Config {
        name: "test".to_owned(),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing: Timing {
            claim_every: Duration::from_millis(100),
            drain: Duration::from_secs(1),
            ..Timing::default()
        },
        defaults: amends_wire::definition::Defaults::default(),
        traces: None,
        ..Config::default()
    }
}

/// Starts a coordinator on a free port.
pub(crate) async fn serve(config: Config, store: Arc<dyn Store>) -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Server::start(config, store, listener).await.expect("the coordinator starts")
}

impl World {
    /// A coordinator that knows `shop`, `order@1` and `paid@1`.
    pub(crate) async fn new() -> World {
        World::with(config()).await
    }

    /// As [`World::new`], set up as told.
    pub(crate) async fn with(config: Config) -> World {
        let world = World::bare(config).await;
        world.register_shop(json!({})).await;
        for (name, text) in [("order", ORDER), ("paid", PAID)] {
            world.define(name, text).await;
        }
        world
    }

    /// A coordinator that knows nothing.
    pub(crate) async fn bare(config: Config) -> World {
        let store = MemoryStore::new();
        let server = serve(config, Arc::new(store.clone())).await;
        let url = format!("http://{}", server.address());
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        World { server, store, stub: Stub::start().await, url, http }
    }

    /// Registers `shop`; `terms` are those of `charge`.
    pub(crate) async fn register_shop(&self, terms: Value) -> Answer {
        let mut operations = json!({ "hold": {}, "release": {}, "refund": {} });
        operations["charge"] = terms;
        let body = json!({ "instances": [self.stub.url], "operations": operations });
        self.put("/v1/participants/shop", &body).await
    }

    /// Registers `shop` with operations of these names and terms.
    pub(crate) async fn offer(&self, operations: Value) -> Answer {
        let body = json!({ "instances": [self.stub.url], "operations": operations });
        self.put("/v1/participants/shop", &body).await
    }

    /// Registers version 1 of a definition.
    pub(crate) async fn define(&self, name: &str, text: &str) -> Answer {
        let request = self.request(Method::PUT, &format!("/v1/definitions/{name}/1"));
        send(request.header("content-type", "application/yaml").body(text.to_owned())).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Starts `order@1` under a key and waits for its end.
    pub(crate) async fn order(&self, key: &str) -> Answer {
        self.post("/v1/sagas?wait=10s", &start_order(key)).await
    }

    /// How many sagas the store holds.
    pub(crate) async fn sagas(&self) -> usize {
        self.store.list(&Filter::default(), None, 10_000).await.expect("the store answers").len()
    }

    /// A saga's journal, one word per event: `call_done hold action`.
    pub(crate) async fn journal(&self, id: &str) -> Vec<String> {
        let page = self.get(&format!("/v1/sagas/{id}/journal?limit=500")).await;
        page.body["items"].as_array().expect("items").iter().map(in_short).collect()
    }

    /// Waits until a saga has this status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        let begin = Instant::now();
        loop {
            let saga = self.get(&format!("/v1/sagas/{id}")).await.body;
            if saga["status"] == status {
                return saga;
            }
            assert!(begin.elapsed() < PATIENCE, "saga {id} is not {status}: {saga:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the coordinator and starts another one on the same store.
    pub(crate) async fn restart(&mut self) {
        let store = Arc::new(self.store.clone());
        let new = serve(config(), store).await;
        self.url = format!("http://{}", new.address());
        std::mem::replace(&mut self.server, new).stop().await;
    }

    /// Waits until a step of a saga has this status.
    pub(crate) async fn until_step(&self, id: &str, step: usize, status: &str) -> Value {
        let begin = Instant::now();
        loop {
            let saga = self.get(&format!("/v1/sagas/{id}")).await.body;
            if saga["steps"][step]["status"] == status {
                return saga;
            }
            assert!(begin.elapsed() < PATIENCE, "step {step} is not {status}: {saga:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A member that is a text.
    pub(crate) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text \"{member}\" in {self:?}"))
    }

    pub(crate) fn id(&self) -> String {
        self.text("id").to_owned()
    }

    /// That this is a problem of this kind, well formed.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!((self.status, self.body["slug"].as_str()), (status, Some(slug)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.text("type"), format!("/problems/{slug}"), "{self:?}");
        let detail = self.text("detail");
        assert!(detail.len() > 10 && !detail.ends_with('.'), "{self:?}");
    }
}

/// The body of a start of `order@1`.
pub(crate) fn start_order(key: &str) -> Value {
    json!({ "definition": "order", "input": { "order": key }, "key": key })
}

/// Sends a request and reads the answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the coordinator answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}

/// An event in a few words.
fn in_short(item: &Value) -> String {
    let members = ["type", "step", "op"].map(|member| item[member].as_str().unwrap_or_default());
    members.join(" ").trim().to_owned()
}
