//! A coordinator, the four services behind their lines, and some stock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amends_client::wire::api::SagaView;
use amends_client::{Client, SagaId, Start};
use amends_server::{Config, Server};
use amends_store::memory::MemoryStore;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Row};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::AbortHandle;

use crate::line::Line;
use crate::process::{Role, Service, free_port, install_tls, open_files};

/// The longest anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Units of each SKU at the beginning.
const STOCK: i64 = 10_000;

/// One of these worlds at a time: each wants both cores, and its ports.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is placed, its goods are confirmed and it is paid.
    Done,
    /// It is as if it had never been.
    MadeGood,
}

pub(crate) struct World {
    pub(crate) client: Client,
    http: reqwest::Client,
    server: Server,
    lines: Vec<Arc<Line>>,
    serving: Vec<AbortHandle>,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    pub(crate) async fn start() -> World {
        let alone = ONE_AT_A_TIME.lock().await;
        install_tls();
        let folder = TempDir::new().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Server::start(Config::default(), Arc::new(MemoryStore::new()), listener).await;
        let server = server.expect("the coordinator starts");
        let coordinator = format!("http://{}", server.address());
        let (mut lines, mut serving) = (Vec::new(), Vec::new());
        let mut port = 22_000 + u16::try_from(std::process::id() % 8_000).expect("below 8,000");
        for service in Service::ALL {
            port = free_port(port + 1);
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let advertised = format!("http://{}", listener.local_addr().expect("an address"));
            let (folder, coordinator) = (folder.path().to_owned(), coordinator.clone());
            let role = Role { service, port, folder, coordinator, advertised };
            let (line, handle) = Line::start(role, listener).await;
            lines.push(line);
            serving.push(handle);
        }
        let client = Client::new(coordinator).expect("a client");
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        let world = World { client, http, server, lines, serving, folder, _alone: alone };
        world.stock_up().await;
        world
    }

    async fn stock_up(&self) {
        let item = |sku: i64, price: i64| json!({ "sku": sku, "name": "a thing", "price_minor": price, "currency": "EUR" });
        let items = json!({ "items": [item(1, 1000), item(2, 250)] });
        self.ask(self.http.put(self.at(Service::Product, "/catalogue")).json(&items)).await;
        let lines = json!([{ "sku": 1, "qty": STOCK }, { "sku": 2, "qty": STOCK }]);
        let delivery = json!({ "biz_no": "delivery-1", "lines": lines });
        self.ask(self.http.post(self.at(Service::Inventory, "/replenish")).json(&delivery)).await;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas/place-and-pay.yaml");
        let definition = std::fs::read_to_string(path).expect("a definition");
        self.client.put_definition("place-and-pay", 1, definition).await.expect("it is registered");
        self.until("all have registered", async || {
            self.client.participants().await.is_ok_and(|all| all.len() == 4)
        })
        .await;
    }

    /// The line of a service.
    pub(crate) fn line(&self, service: Service) -> &Arc<Line> {
        self.lines.iter().find(|line| line.role.service == service).expect("every service has a line")
    }

    /// An address of a service itself, past its line.
    fn at(&self, service: Service, path: &str) -> String {
        format!("{}{path}", self.line(service).role.url())
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.send().await.expect("an answer");
        let (status, url) = (response.status(), response.url().clone());
        let body: Value = response.json().await.unwrap_or_default();
        assert!(status.is_success() || status == 404, "{url} answered {status}: {body}");
        body
    }

    async fn get(&self, service: Service, path: &str) -> Value {
        self.ask(self.http.get(self.at(service, path))).await
    }

    pub(crate) async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        for _ in 0..600 {
            if so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came about that {what}");
    }

    fn start_of(order: &str, mode: &str) -> Start {
        let lines = json!([{ "sku": 1, "qty": 2 }, { "sku": 2, "qty": 1 }]);
        Start::of("place-and-pay").input(&json!({ "order": order, "mode": mode, "lines": lines }))
    }

    /// Places an order whose payment behaves as the mode says, and waits for its end.
    pub(crate) async fn order(&self, order: &str, mode: &str) -> SagaView {
        self.client.run(World::start_of(order, mode), PATIENCE).await.expect("it ends")
    }

    /// Places an order and waits for nothing.
    pub(crate) async fn begin(&self, order: &str, mode: &str) -> SagaId {
        self.client.start(World::start_of(order, mode)).await.expect("it starts").saga.id
    }

    /// Runs a saga that is written down here and now.
    pub(crate) async fn whole(&self, definition: &Value) -> SagaView {
        self.client.run(Start::whole(definition), PATIENCE).await.expect("it ends")
    }

    /// The tables of a service's database.
    pub(crate) async fn tables(&self, service: Service) -> BTreeSet<String> {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(self.line(service).role.file())
            .read_only(true);
        let mut connection = options.connect().await.expect("the database opens");
        let names = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'";
        let rows = sqlx::query(names).fetch_all(&mut connection).await.expect("it can be read");
        connection.close().await.expect("it closes");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The databases that the process of a service has open.
    pub(crate) fn open_databases(&self, service: Service) -> BTreeSet<String> {
        let open = open_files(self.line(service).process(), self.folder.path());
        open.into_iter().filter(|name| name.ends_with(".db")).collect()
    }

    /// Holds what three services say of every order against how it ended, and the stock against all of them.
    pub(crate) async fn books_hold(&self, orders: &[(String, End)]) {
        for (order, end) in orders {
            let placed = self.get(Service::Order, &format!("/orders/{order}")).await;
            let paid = self.get(Service::Payment, &format!("/payments/{order}")).await;
            match end {
                End::Done => {
                    assert_eq!(
                        (&placed["state"], &paid["state"]),
                        (&json!("paid"), &json!("paid")),
                        "{order}"
                    );
                    assert_eq!(paid["refunded_minor"].as_i64().unwrap_or(0), 0, "{order}: {paid}");
                }
                End::MadeGood => {
                    assert_eq!(placed["state"], "cancelled", "{order}: {placed}");
                    assert_ne!(paid["state"], "paid", "{order}: {paid}");
                }
            }
        }
        let done = orders.iter().filter(|(_, end)| *end == End::Done).count() as i64;
        let stock = self.get(Service::Inventory, "/stock?sku=1,2").await;
        let held: Vec<i64> =
            (0..2).map(|at| stock["items"][at]["held"].as_i64().expect("a number")).collect();
        // One more of the first is the test's own, where it holds one.
        let own =
            self.get(Service::Inventory, "/orders?after=owm&limit=1").await["items"][0]["order"] == "own";
        assert_eq!(held, [2 * done + i64::from(own), done], "{stock}");
    }

    /// Checks every service's books by its own laws and by what sagas say, and stops everything.
    pub(crate) async fn end(self) {
        for service in [Service::Inventory, Service::Order, Service::Payment] {
            let audit = self.get(service, "/audit").await;
            assert_eq!(audit["kept"], true, "{service:?}: {audit}");
            let told = self.get(service, "/saga-audit?since=0&limit=500").await;
            assert_eq!(told["findings"], json!([]), "{service:?}: {told}");
        }
        self.serving.iter().for_each(AbortHandle::abort);
        self.server.stop().await;
    }
}
