//! A coordinator and the four services of a shop, with three SKUs in stock; the third is free.

use std::future::Future;
use std::time::Duration;
use std::{fs, path::Path, sync::Arc};

use amends_client::Status;
use amends_client::wire::api::{RepairFilter, RepairStatus, SagaView};
use amends_client::{Client, SagaId, Sagas as Listed, Start};
use amends_inventory::sweep::HttpOrders;
use amends_payment::{Behaviour, Mode};
use amends_sdk::{Participant, Registering, Sagas, faults::Faults};
use amends_server::{Config, Server};
use amends_store::memory::MemoryStore;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The longest anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The definitions that are registered.
const DEFINITIONS: [&str; 13] = [
    "checkout",
    "pay-then-deduct",
    "cancel-order",
    "refund",
    "ship",
    "place-and-pay",
    "charge-then-deduct",
    "time-out",
    "call-off",
    "cancel-paid",
    "refund-in-parts",
    "ship-parts",
    "flash-sale",
];

/// How fast time goes by in a world.
pub(crate) struct Pace {
    /// How long the inventory holds stock.
    pub(crate) hold: Duration,
    /// How long money takes that comes late.
    pub(crate) late: Duration,
    /// How often inventory and order service look for what is overdue.
    pub(crate) look: Duration,
}

impl Pace {
    /// A hold outlasts every test.
    pub(crate) const CALM: Pace =
        Pace { hold: Duration::from_secs(900), late: PATIENCE, look: Duration::from_millis(50) };
}

pub(crate) struct World {
    pub(crate) inventory_faults: Faults,
    pub(crate) order_faults: Faults,
    pub(crate) client: Client,
    http: reqwest::Client,
    server: Server,
    inventory: String,
    order: String,
    payment: String,
    services: JoinSet<()>,
    watches: [AbortHandle; 2],
    stop: CancellationToken,
    _folder: TempDir,
}

fn definition(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../sagas/{name}.yaml"));
    fs::read_to_string(path).expect("a definition")
}

impl World {
    /// Starts all of it, with so many of each SKU.
    pub(crate) async fn start(stock: i64) -> World {
        World::at(Pace::CALM, stock).await
    }

    /// Starts all of it, with so many of each SKU, at such a pace.
    pub(crate) async fn at(pace: Pace, stock: i64) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().expect("a folder");
        let store = |name: &str| format!("sqlite:{}", folder.path().join(format!("{name}.db")).display());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Server::start(Config::default(), Arc::new(MemoryStore::new()), listener).await;
        let server = server.expect("the coordinator starts");
        let coordinator = format!("http://{}", server.address());
        let (inventory_faults, order_faults) = (Faults::new(), Faults::new());
        let inventory = amends_inventory::open(amends_inventory::Config {
            hold_for: pace.hold,
            faults: Some(inventory_faults.clone()),
            ..amends_inventory::Config::new(store("inventory"))
        });
        let order = amends_order::open(amends_order::Config {
            faults: order_faults.clone(),
            ..amends_order::Config::new(store("order"))
        });
        let (inventory, order) = (inventory.await.expect("inventory"), order.await.expect("order"));
        let product =
            amends_product::open(amends_product::Config::new(store("product"))).await.expect("product");
        let behaviour = Behaviour::always(Mode::AtOnce).taking(Duration::from_millis(50), pace.late);
        let payment = amends_payment::open(amends_payment::Config::new(store("payment")), behaviour).await;
        let sagas = Sagas::at(&coordinator, None).expect("an address");
        let unpaid = order.call_off_unpaid(sagas, pace.look);
        let (mut services, stop) = (JoinSet::new(), CancellationToken::new());
        let mut serve = async |participant: &Participant| {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let registering = Registering { coordinator: coordinator.clone(), ..Registering::default() };
            let (participant, until) = (participant.clone(), stop.clone());
            services.spawn(async move {
                amends_sdk::run(&participant, listener, Some(registering), until).await.expect("it runs");
            });
            url
        };
        let stock_of = inventory.clone();
        let (inventory, order) = (serve(inventory.participant()).await, serve(order.participant()).await);
        let overdue = stock_of.sweep_holds(HttpOrders::at(&order).expect("an address"), pace.look);
        let unpaid = tokio::spawn(async move {
            unpaid.await;
        });
        let overdue = tokio::spawn(async move {
            overdue.await;
        });
        let (product, payment) =
            (serve(product.participant()).await, serve(payment.expect("payment").participant()).await);
        let client = Client::new(coordinator).expect("a client");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let watches = [unpaid.abort_handle(), overdue.abort_handle()];
        let world = World {
            client,
            http,
            server,
            inventory,
            order,
            payment,
            services,
            watches,
            stop,
            inventory_faults,
            order_faults,
            _folder: folder,
        };
        world.stock_up(&product, stock).await;
        world
    }

    async fn stock_up(&self, product: &str, stock: i64) {
        let item = |sku: i64, price: i64| json!({ "sku": sku, "name": "a thing", "price_minor": price, "currency": "EUR" });
        let items = json!({ "items": [item(1, 1000), item(2, 250), item(3, 0)] });
        self.ask(self.http.put(format!("{product}/catalogue")).json(&items)).await;
        let lines =
            json!([{ "sku": 1, "qty": stock }, { "sku": 2, "qty": stock }, { "sku": 3, "qty": stock }]);
        let delivery = json!({ "biz_no": "delivery-1", "lines": lines });
        self.ask(self.http.post(format!("{}/replenish", self.inventory)).json(&delivery)).await;
        for name in DEFINITIONS {
            self.client.put_definition(name, 1, definition(name)).await.expect(name);
        }
        self.until(|| async { self.client.participants().await.is_ok_and(|all| all.len() == 4) }).await;
    }

    pub(crate) async fn until<F: Future<Output = bool>>(&self, mut so: impl FnMut() -> F) {
        for _ in 0..600 {
            if so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came about");
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.send().await.expect("an answer");
        let (status, url) = (response.status(), response.url().clone());
        let body: Value = response.json().await.unwrap_or_default();
        assert!(status.is_success() || status == 404, "{url} answered {status}: {body}");
        body
    }

    async fn get(&self, address: String) -> Value {
        self.ask(self.http.get(address)).await
    }

    pub(crate) async fn run(&self, name: &str, input: &Value) -> SagaView {
        self.client.run(Start::of(name).input(input), PATIENCE).await.expect("it ends")
    }

    pub(crate) async fn completes(&self, name: &str, input: &Value) {
        let saga = self.run(name, input).await;
        assert_eq!(saga.status, Status::Completed, "{name}: {:?}", saga.error);
    }

    pub(crate) async fn start_saga(&self, name: &str, input: &Value) -> SagaId {
        self.client.start(Start::of(name).input(input)).await.expect("it starts").saga.id
    }

    /// Registers a definition with parts of its text replaced, and says what it is called.
    pub(crate) async fn hurried(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let hurried = format!("{name}-hurried");
        let text = definition(name).replace(&format!("saga: {name}"), &format!("saga: {hurried}"));
        let text = changes.iter().fold(text, |text, (part, by)| {
            assert!(text.contains(part), "{name} has no {part:?}");
            text.replace(part, by)
        });
        self.client.put_definition(&hurried, 1, text).await.expect("a definition");
        hurried
    }

    pub(crate) async fn order(&self, number: &str) -> Value {
        self.get(format!("{}/orders/{number}", self.order)).await
    }

    pub(crate) async fn payment(&self, number: &str) -> Value {
        self.get(format!("{}/payments/{number}", self.payment)).await
    }

    /// How many of a SKU are free in ordinary sales.
    pub(crate) async fn usable(&self, sku: i64) -> i64 {
        let stock = self.get(format!("{}/stock?sku={sku}", self.inventory)).await;
        stock["items"][0]["usable"].as_i64().unwrap_or_else(|| panic!("no stock in {stock}"))
    }

    pub(crate) async fn token(&self, customer: &str) -> String {
        let body = json!({ "customer": customer });
        let issued = self.ask(self.http.post(format!("{}/tokens", self.order)).json(&body)).await;
        issued["token"].as_str().expect("a token").to_owned()
    }

    /// Opens an activity on SKU 1: so many for each customer, so many in all.
    pub(crate) async fn activity(&self, activity: i64, each: i64, all: i64) {
        let open = json!({ "activity": activity, "name": "a flash sale", "starts_at": "2020-01-01T00:00:00Z",
            "ends_at": "2100-01-01T00:00:00Z", "per_user_limit": each });
        self.ask(self.http.post(format!("{}/activities", self.inventory)).json(&open)).await;
        let with = json!({ "activity": activity, "lines": [{ "sku": 1, "qty": all }] });
        let allocate = json!({ "saga": "allocate", "steps": [{ "move": {
            "action": "inventory.activity_allocate", "compensation": "inventory.activity_return", "with": with,
        } }] });
        let saga = self.client.run(Start::whole(&allocate), PATIENCE).await.expect("it ends");
        assert_eq!(saga.status, Status::Completed, "{:?}", saga.error);
    }

    /// Waits until every saga there is has ended by itself, those that services started as well: none stands in repair.
    pub(crate) async fn quiet(&self) {
        let live = || async {
            let sagas: Vec<SagaView> =
                self.client.list(&Listed::default()).try_collect().await.expect("the sagas");
            let stuck = sagas.iter().find(|saga| [Status::Repair, Status::Abandoned].contains(&saga.status));
            assert!(stuck.is_none(), "{stuck:?}");
            sagas.iter().all(amends_client::has_ended)
        };
        self.until(live).await;
        // Settled ones as well: nothing ever waited for a person.
        use RepairStatus::{Assigned, Open, Retrying, Settled};
        let ever =
            RepairFilter { status: vec![Open, Assigned, Retrying, Settled], ..RepairFilter::default() };
        let items: Vec<_> = self.client.repairs(&ever).try_collect().await.expect("the repair queue");
        assert!(items.is_empty(), "{items:?}");
    }

    /// Checks every service's books by its own laws and what they say of the sagas, and stops everything.
    pub(crate) async fn end(mut self) {
        for service in [&self.inventory, &self.order, &self.payment] {
            let audit = self.get(format!("{service}/audit")).await;
            assert_eq!(audit["kept"], true, "{audit}");
            let told = self.get(format!("{service}/saga-audit?since=0&limit=200")).await;
            assert_eq!(told["findings"], json!([]), "{told}");
        }
        self.watches.iter().for_each(AbortHandle::abort);
        self.stop.cancel();
        while let Some(ended) = self.services.join_next().await {
            ended.expect("a service ends well");
        }
        self.server.stop().await;
    }
}
