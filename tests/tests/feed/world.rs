//! An inventory, a catalogue, and the line between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amends_inventory::Inventory;
use amends_product::{Following, Product};
use amends_tests::random::Random;
use amends_wire::listen::{self, Limits};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long catalogue and inventory may differ.
const AGREED_WITHIN: Duration = Duration::from_secs(20);

/// A router on an address of its own.
async fn serve(router: Router) -> (String, CancellationToken, JoinHandle<bool>) {
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let listener = TcpListener::bind(address).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    let task = tokio::spawn(listen::serve(listener, router, Limits::default(), stop.clone()));
    (url, stop, task)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// An inventory that is served.
pub(crate) struct Stock {
    inventory: Inventory,
    pub(crate) url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<bool>,
    _folder: TempDir,
}

impl Stock {
    pub(crate) async fn open(stock: &[(i64, i64)]) -> Stock {
        let folder = TempDir::new().expect("a folder");
        let store = format!("sqlite:{}", folder.path().join("inventory.db").display());
        let inventory = amends_inventory::open(amends_inventory::Config::new(store)).await.expect("it opens");
        let (url, stop, task) = serve(inventory.router()).await;
        let opened = Stock { inventory, url, client: client(), stop, task, _folder: folder };
        opened.replenish("opening", stock).await;
        opened
    }

    pub(crate) async fn replenish(&self, number: &str, lines: &[(i64, i64)]) {
        self.inventory.replenish(number, lines).await.expect("it comes in");
    }

    /// Somebody orders, changes his mind, or goods come in.
    pub(crate) async fn change(&self, random: &mut Random, turn: u64, skus: i64) {
        let mut sku = || random.within(1, skus);
        let lines = [(sku(), 1), (sku(), 2), (sku(), 1)];
        match random.below(10) {
            0 => self.replenish(&format!("delivery-{turn}"), &lines[..1]).await,
            1..=3 => {
                let before = random.below(turn + 1);
                self.call("release", "compensation", before, &lines).await;
            }
            _ => self.call("hold", "action", turn, &lines).await,
        }
    }

    async fn call(&self, operation: &str, op: &str, order: u64, lines: &[(i64, i64)]) {
        let lines: Vec<Value> = lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        let request = self
            .client
            .post(format!("{}/{operation}", self.url))
            .header("saga-id", format!("00000000-0000-0000-0000-{:012x}", order + 1))
            .header("saga-step", "reserve")
            .header("saga-op", op)
            .header("saga-attempt", 1)
            .header("idempotency-key", format!("{order}/{op}"))
            .json(&json!({ "order": order.to_string(), "lines": lines }));
        let status = request.send().await.expect("an answer").status().as_u16();
        // Refused for stock, or with other lines than before.
        assert!(matches!(status, 200 | 409 | 422), "{operation} was answered {status}");
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        response.json().await.expect("JSON")
    }

    /// The last flow.
    pub(crate) async fn head(&self) -> i64 {
        self.get("/feed?limit=1").await["head"].as_i64().expect("a number")
    }

    /// What there is of each SKU.
    async fn usable(&self) -> BTreeMap<i64, i64> {
        usable(&self.get("/stock?limit=500").await, |item| item["usable"].as_i64())
    }

    /// Stops it, as a process is stopped.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        assert!(self.task.await.expect("no panic"), "everything in progress was answered");
    }
}

fn usable(page: &Value, of: impl Fn(&Value) -> Option<i64>) -> BTreeMap<i64, i64> {
    let items = page["items"].as_array().expect("a list").iter();
    items.filter_map(|item| Some((item["sku"].as_i64()?, of(item)?))).collect()
}

/// A catalogue that is served.
pub(crate) struct Catalogue {
    product: Product,
    client: reqwest::Client,
    url: String,
    folder: TempDir,
}

impl Catalogue {
    /// A catalogue with SKUs from 1 to `skus`.
    pub(crate) async fn open(skus: i64) -> Catalogue {
        let catalogue = Catalogue::at(TempDir::new().expect("a folder")).await;
        let item = |sku: i64| json!({ "sku": sku, "name": format!("n{sku}"), "price_minor": 100 });
        let items: Vec<Value> = (1..=skus).map(item).collect();
        let load =
            catalogue.client.put(format!("{}/catalogue", catalogue.url)).json(&json!({ "items": items }));
        assert_eq!(load.send().await.expect("an answer").status().as_u16(), 200);
        catalogue
    }

    async fn at(folder: TempDir) -> Catalogue {
        let store = format!("sqlite:{}", folder.path().join("product.db").display());
        let product = amends_product::open(amends_product::Config::new(store)).await.expect("it opens");
        let (url, ..) = serve(product.router()).await;
        Catalogue { product, client: client(), url, folder }
    }

    /// The same database, opened by another process.
    pub(crate) async fn reopened(self) -> Catalogue {
        Catalogue::at(self.folder).await
    }

    pub(crate) fn follow(&self, url: &str) -> Following {
        self.product.follow(url).expect("it follows")
    }

    /// What it shows of each SKU; what was never told is left out.
    async fn usable(&self) -> BTreeMap<i64, i64> {
        let response = self.client.get(format!("{}/products?limit=500", self.url)).send().await;
        let page: Value = response.expect("an answer").json().await.expect("JSON");
        usable(&page, |item| item["availability"]["usable"].as_i64())
    }

    /// A figure of its metrics.
    pub(crate) async fn figure(&self, name: &str) -> Option<f64> {
        let response = self.client.get(format!("{}/metrics", self.url)).send().await.expect("an answer");
        let text = response.text().await.expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().expect("a number"))
    }
}

/// Waits until the catalogue shows what inventory has.
pub(crate) async fn agree(stock: &Stock, catalogue: &Catalogue, skus: i64, when: &str) {
    let until = Instant::now() + AGREED_WITHIN;
    loop {
        let (has, shows) = (stock.usable().await, catalogue.usable().await);
        assert!(has.len() as i64 <= skus);
        if has == shows {
            break;
        }
        assert!(Instant::now() < until, "{when}: inventory has {has:?}, the catalogue shows {shows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The cursor may still follow what was shown already.
    while catalogue.product.lag().flows > 0 {
        assert!(Instant::now() < until, "{when}: {:?}", catalogue.product.lag());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A line to an inventory: bad, good or cut.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) url: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Bad,
    Good,
    Cut,
}

struct Shared {
    to: String,
    mood: Mood,
    random: Random,
    /// What inventory answered, to be told again.
    told: Vec<Bytes>,
    asked: u64,
    spoilt: u64,
    client: reqwest::Client,
}

/// What becomes of a question.
enum Fate {
    Answered(Duration),
    Cut,
    Lost,
    Half,
    Old(Bytes),
}

impl Line {
    /// A bad line to the inventory at `to`.
    pub(crate) async fn to(to: &str, seed: u64) -> Line {
        let shared = Arc::new(Mutex::new(Shared {
            to: to.to_owned(),
            mood: Mood::Bad,
            random: Random::new(seed ^ 0xfeed),
            told: Vec::new(),
            asked: 0,
            spoilt: 0,
            client: client(),
        }));
        let router = Router::new().fallback(any(carry)).with_state(shared.clone());
        let (url, ..) = serve(router).await;
        Line { url, shared }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("not poisoned")
    }

    pub(crate) fn behave(&self) {
        self.shared().mood = Mood::Good;
    }

    pub(crate) fn cut(&self) {
        self.shared().mood = Mood::Cut;
    }

    pub(crate) fn redirect(&self, to: &str) {
        self.shared().to = to.to_owned();
    }

    /// How often it was asked, and how often the answer was spoilt.
    pub(crate) fn figures(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.asked, shared.spoilt)
    }
}

impl Shared {
    fn fate(&mut self) -> Fate {
        self.asked += 1;
        let fate = match self.mood {
            Mood::Good => Fate::Answered(Duration::ZERO),
            Mood::Cut => Fate::Cut,
            Mood::Bad => match self.random.below(100) {
                0..5 => Fate::Cut,
                5..10 => Fate::Lost,
                10..15 => Fate::Half,
                15..55 if !self.told.is_empty() => Fate::Old(self.random.pick(&self.told).clone()),
                _ => Fate::Answered(Duration::from_millis(self.random.below(30))),
            },
        };
        self.spoilt += u64::from(!matches!(fate, Fate::Answered(_)));
        fate
    }
}

async fn carry(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let (fate, to, client) = {
        let mut shared = shared.lock().expect("not poisoned");
        (shared.fate(), shared.to.clone(), shared.client.clone())
    };
    let is_batch = request.uri().path() == "/feed";
    let unavailable = StatusCode::SERVICE_UNAVAILABLE.into_response();
    match fate {
        Fate::Cut => return unavailable,
        // A page of the state is no answer to a question for changes.
        Fate::Old(bytes) if is_batch => return bytes.into_response(),
        Fate::Answered(delay) => tokio::time::sleep(delay).await,
        Fate::Old(_) | Fate::Lost | Fate::Half => {}
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    // A line that is bad is not also slow.
    let path = path.replace("wait=5000ms", "wait=300ms");
    let Ok(answer) = client.get(format!("{to}{path}")).send().await else { return unavailable };
    let status = answer.status();
    let Ok(bytes) = answer.bytes().await else { return unavailable };
    if is_batch && status == StatusCode::OK {
        shared.lock().expect("not poisoned").told.push(bytes.clone());
    }
    match fate {
        Fate::Lost => unavailable,
        Fate::Half => Body::from(bytes.slice(..bytes.len() / 2)).into_response(),
        Fate::Answered(_) | Fate::Old(_) | Fate::Cut => (status, bytes).into_response(),
    }
}
