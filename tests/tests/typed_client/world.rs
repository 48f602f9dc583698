//! A participant that does as the body of a call says, and coordinators that share one store.

use amends_client::Client;
use amends_sdk::{Operation, Participant, Registering, Reply};
use amends_server::{Config, Server, Timing};
use amends_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The longest anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator, and the participant `shop`.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) store: MemoryStore,
    pub(crate) client: Client,
    stop: CancellationToken,
    participant: JoinHandle<()>,
}

/// Starts a coordinator over a store.
pub(crate) async fn coordinator(name: &str, store: &MemoryStore) -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let timing = Timing {
        claim_every: Duration::from_millis(100),
        drain: Duration::from_millis(200),
        ..Timing::default()
    };
    let config = Config { name: name.to_owned(), timing, ..Config::default() };
    Server::start(config, Arc::new(store.clone()), listener).await.expect("the coordinator starts")
}

/// Where a coordinator listens.
pub(crate) fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

impl World {
    /// Starts both, and a client of the coordinator.
    pub(crate) async fn start() -> World {
        let store = MemoryStore::new();
        let server = coordinator("one", &store).await;
        let client = Client::new(url(&server)).expect("a client");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let registering = Registering { coordinator: url(&server), ..Registering::default() };
        let stop = CancellationToken::new();
        let until = stop.clone();
        let participant = tokio::spawn(async move {
            amends_sdk::run(&shop(), listener, Some(registering), until).await.expect("the participant runs");
        });
        let world = World { server, store, client, stop, participant };
        world.until_registered().await;
        world
    }

    async fn until_registered(&self) {
        for _ in 0..1_000 {
            if !self.client.participants().await.expect("a list").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the participant is not registered");
    }

    /// Stops both.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.participant.await.expect("the participant ends well");
        self.server.stop().await;
    }
}

fn shop() -> Participant {
    let told = |name: &'static str| {
        move |call: amends_sdk::Call| async move { as_told(call.body[name].as_str(), name) }
    };
    Participant::new("shop")
        .plain(Operation::new("take").compensation("give"), told("take"))
        .plain(Operation::new("give"), told("give"))
        .plain(Operation::new("keep"), told("keep"))
        .plain(Operation::new("decide"), told("decide"))
}

fn as_told(word: Option<&str>, operation: &str) -> Reply {
    match word {
        Some("refuse") => Reply::refused(format!("{operation} is told to refuse"), json!({})),
        _ => Reply::done(json!({ "operation": operation })),
    }
}

/// What leads to an undo that is refused.
pub(crate) fn stuck() -> Value {
    json!({ "decide": "refuse", "give": "refuse" })
}
