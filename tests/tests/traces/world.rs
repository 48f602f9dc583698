//! A coordinator and a participant that send traces to one collector.

use amends_sdk::{Operation, Participant, Registering, Reply, Tracer};
use amends_server::{Config, ListenLimits, SagaLimits, Sample, Server, Timing, Tokens, Traces};
use amends_store::memory::MemoryStore;
use amends_wire::definition::Defaults;
use reqwest::Client;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The longest anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const ORDER: &str = r#"
saga: order
version: 1
steps:
  - hold:
      action: shop.hold
      compensation: shop.release
      with: { order: "${{ input.order }}", release: "${{ input.release }}" }
  - charge:
      action: shop.charge
      compensation: shop.refund
      with: { order: "${{ input.order }}", charge: "${{ input.charge }}" }
      retry: { attempts: 3, first: 10ms, max: 20ms }
"#;

/// A coordinator, a participant `shop` and what they are asked with.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) tracer: Tracer,
    url: String,
    http: Client,
    stop: CancellationToken,
    participant: JoinHandle<()>,
}

impl World {
    /// Starts both; of the sagas that go well this share is traced.
    pub(crate) async fn start(collector: &str, sample: &str) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let sample: Sample = sample.parse().expect("a share");
        let traces = Some(Traces { url: collector.to_owned(), sample });
        let server = Server::start(config(traces), Arc::new(MemoryStore::new()), listener).await;
        let server = server.expect("the coordinator starts");
        let url = format!("http://{}", server.address());
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");

        let tracer = Tracer::start(collector, "shop").expect("a tracer");
        let shop = shop().traces(&tracer);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let registering = Registering { coordinator: url.clone(), ..Registering::default() };
        let stop = CancellationToken::new();
        let until = stop.clone();
        let participant = tokio::spawn(async move {
            amends_sdk::run(&shop, listener, Some(registering), until).await.expect("the participant runs");
        });
        let world = World { server, tracer, url, http, stop, participant };
        world.until_ready().await;
        world
    }

    async fn until_ready(&self) {
        let begin = Instant::now();
        while self.get("/v1/participants").await["items"][0]["instances"][0].is_null() {
            assert!(begin.elapsed() < PATIENCE, "the participant is not registered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let put = self.http.put(format!("{}/v1/definitions/order/1", self.url));
        let put = put.header("content-type", "application/yaml").body(ORDER).send().await.expect("an answer");
        assert!(put.status().is_success(), "{put:?}");
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Starts a saga whose charge and release are answered like this, and waits for its end for a while.
    pub(crate) async fn order(&self, charge: &str, release: &str, wait: &str) -> Value {
        let input = json!({ "order": "secret-input", "charge": charge, "release": release });
        let body = json!({ "definition": "order", "input": input, "labels": { "who": "secret-label" } });
        let post = self.http.post(format!("{}/v1/sagas?wait={wait}", self.url)).json(&body);
        post.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Stops both, so that everything that waits has been sent.
    pub(crate) async fn end(self) {
        self.server.stop().await;
        self.stop.cancel();
        self.participant.await.expect("the participant ends well");
    }

    /// One metric of the coordinator.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await.expect("an answer");
        metric(&text.text().await.expect("a text"), name)
    }
}

/// One metric in Prometheus text.
pub(crate) fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

fn config(traces: Option<Traces>) -> Config {
    Config {
        name: "test".to_owned(),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing: Timing { drain: Duration::from_secs(1), ..Timing::default() },
        defaults: Defaults::default(),
        traces,
        ..Config::default()
    }
}

/// A participant that answers as the body says; what it says of a refusal quotes the body.
fn shop() -> Participant {
    let offer = |name: &str| Operation::new(name).batch(64);
    Participant::new("shop")
        .plain(offer("hold").compensation("release"), |_| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Reply::done(json!({}))
        })
        .plain(offer("release"), |call| async move { as_told(&call.body["release"], &call.body) })
        .plain(Operation::new("charge").compensation("refund"), |call| async move {
            match call.body["charge"].as_str() {
                Some("late") if call.caller.attempt == 1 => Reply::unavailable("secret-trouble", None),
                _ => as_told(&call.body["charge"], &call.body),
            }
        })
        .plain(Operation::new("refund"), |_| async { Reply::done(json!({})) })
}

fn as_told(word: &Value, body: &Value) -> Reply {
    match word.as_str() {
        Some("no") => Reply::refused(format!("not for {}", body["order"]), json!({})),
        _ => Reply::done(json!({ "receipt": "secret-output" })),
    }
}
