//! Measures deductions by the merged and by the row route in one run: many waiters, SQLite with every commit on disk.
//!
//! ```text
//! cargo run --release -p amends-inventory --example merged_bench [seconds] [waiters,…] [load,…]
//! ```
//!
//! Each waiter sends its next cart when the last one is answered, through the participant's router in this process:
//! JSON, barrier, stored answers, holds, flows and counters are all in the figures; sockets are not. *hot* is one unit
//! of one SKU, by the merged and then by the row route; *cart* is three different SKUs of ten thousand, popular ones
//! more often (Zipf, s = 1). *batch* sends such carts over loopback HTTP, in the batch form, 256 in a request; there the
//! waiters are requests. The last column is how often the hot SKU is sold for each time the row route sells it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use amends_inventory::cart::Sku;
use amends_inventory::record::RecordKey;
use amends_inventory::route::{Mode, Switch};
use amends_inventory::{Config, Inventory, open};
use amends_wire::participant::{IDEMPOTENCY_KEY, SAGA_ATTEMPT, SAGA_ID, SAGA_OP, SAGA_STEP};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use tower::ServiceExt;
use uuid::Uuid;

/// What the executable uses as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SKUS: usize = 10_000;

/// The SKU that everybody wants.
const HOT: i64 = 1;

// What every call has in common.
const DEDUCT: HeaderValue = HeaderValue::from_static("deduct");
const ACTION: HeaderValue = HeaderValue::from_static("action");
const ONE: HeaderValue = HeaderValue::from_static("1");

/// Carts in one request of the batch form.
const BATCH: usize = 256;

#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// One unit of the hot SKU, by this route.
    Hot(Mode),
    /// Three SKUs.
    Cart,
    /// Three SKUs, many carts in a request over HTTP.
    Batch,
}

impl Load {
    /// What it is called, and how many lines its carts have.
    fn face(self) -> (&'static str, f64) {
        match self {
            Load::Hot(Mode::Merged) => ("hot", 1.0),
            Load::Hot(Mode::Row) => ("hot, row", 1.0),
            Load::Cart => ("cart", 3.0),
            Load::Batch => ("batch", 3.0),
        }
    }
}

/// What is measured against.
struct Bench {
    inventory: Inventory,
    time: Duration,
    /// Carts ordered so far; each has a number of its own.
    orders: Arc<AtomicU64>,
    client: reqwest::Client,
    address: String,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let waiters = arguments.next().unwrap_or_else(|| "1,8,32,128,512".to_owned());
    let waiters: Vec<u64> = waiters.split(',').filter_map(|text| text.parse().ok()).collect();
    let loads = arguments.next().unwrap_or_else(|| "row,hot,cart,batch".to_owned());
    let has = |load: &str| loads.split(',').any(|one| one == load);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let store = format!("sqlite:{}", folder.path().join("bench.db").display());
    let bench = Bench::open(store, Duration::from_secs_f64(seconds)).await;
    println!(
        "{:>8} {:>8} {:>10} {:>12} {:>8} {:>8} {:>12} {:>8}",
        "load", "waiters", "carts/s", "lines/s", "p50 ms", "p99 ms", "cpu us/cart", "of row"
    );
    for waiters in &waiters {
        let mut row = None;
        if has("row") {
            bench.switch(Mode::Row).await;
            row = Some(bench.measure(Load::Hot(Mode::Row), *waiters, None).await);
            bench.switch(Mode::Merged).await;
        }
        if has("hot") {
            bench.measure(Load::Hot(Mode::Merged), *waiters, row).await;
        }
        if has("cart") {
            bench.measure(Load::Cart, *waiters, None).await;
        }
    }
    let requests: &[u64] = if has("batch") { &[2, 8] } else { &[] };
    for &requests in requests {
        bench.measure(Load::Batch, requests, None).await;
    }
    let audit = bench.inventory.audit().await.expect("the audit runs");
    assert!(audit.kept, "{audit:#?}");
    println!("audit: every law is kept; {} units held", audit.totals.held);
}

impl Bench {
    async fn open(store: String, time: Duration) -> Bench {
        let inventory = open(Config::new(store)).await.expect("the inventory opens");
        let stock: Vec<(i64, i64)> = (1..=SKUS as i64).map(|sku| (sku, 1_000_000_000)).collect();
        inventory.replenish("bench", &stock).await.expect("the goods come in");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = format!("http://{}/deduct/batch", listener.local_addr().expect("it has an address"));
        let router = inventory.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        Bench { inventory, time, orders: Arc::default(), client, address }
    }

    async fn switch(&self, to: Mode) {
        let record = RecordKey::from(Sku::new(HOT).expect("a SKU"));
        let switch = Switch { record, to, why: "bench".into(), epoch: None };
        self.inventory.switch(switch).await.expect("the route is switched");
    }

    /// Measures one load and returns how many carts a second were taken.
    async fn measure(&self, load: Load, waiters: u64, row: Option<f64>) -> f64 {
        let (start, cpu) = (Instant::now(), cpu_time());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..waiters {
            match load {
                Load::Batch => tasks.spawn(self.post(start + self.time)),
                _ => tasks.spawn(wait(
                    self.inventory.router(),
                    load,
                    Arc::clone(&self.orders),
                    start + self.time,
                )),
            };
        }
        let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
        let each = if load == Load::Batch { BATCH as f64 } else { 1.0 };
        let carts = latencies.len() as f64 * each / start.elapsed().as_secs_f64();
        let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / (latencies.len() as f64 * each);
        latencies.sort_unstable();
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        let (name, lines) = load.face();
        let (p50, p99, lines) = (at(0.5), at(0.99), carts * lines);
        let of_row = row.map_or(String::new(), |row| format!("{:.1}", carts / row));
        println!(
            "{name:>8} {waiters:>8} {carts:>10.0} {lines:>12.0} {p50:>8.2} {p99:>8.2} {cpu:>12.0} {of_row:>8}"
        );
        carts
    }

    /// Sends one request of the batch form after the other.
    fn post(&self, end: Instant) -> impl Future<Output = Vec<Duration>> + Send + 'static {
        let (client, address, orders) = (self.client.clone(), self.address.clone(), Arc::clone(&self.orders));
        async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let first = orders.fetch_add(BATCH as u64, Ordering::Relaxed);
                let body = batch(first);
                let sent = Instant::now();
                let request = client.post(&address).header("content-type", "application/json").body(body);
                let answer = request.send().await.expect("the inventory answers").text().await;
                latencies.push(sent.elapsed());
                let taken = answer.expect("a body").matches("\"status\":200").count();
                assert_eq!(taken, BATCH, "every cart is taken");
            }
            latencies
        }
    }
}

/// A request of the batch form.
fn batch(first: u64) -> String {
    let calls: Vec<String> = (first..first + BATCH as u64)
        .map(|number| {
            let saga = saga(number);
            let cart = cart(Load::Cart, number);
            format!(r#"{{"saga":"{saga}","step":"deduct","op":"action","attempt":1,"key":"{saga}/deduct/action","body":{cart}}}"#)
        })
        .collect();
    format!(r#"{{"calls":[{}]}}"#, calls.join(","))
}

/// The processor time this process has used, on Linux; nothing elsewhere.
///
/// It says what a cart costs whatever else the machine is doing.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn wait(router: Router, load: Load, number: Arc<AtomicU64>, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let request = deduct(load, number.fetch_add(1, Ordering::Relaxed));
        let sent = Instant::now();
        let response = router.clone().oneshot(request).await.expect("a router answers");
        assert_eq!(response.status(), 200, "{response:?}");
        latencies.push(sent.elapsed());
    }
    latencies
}

fn deduct(load: Load, number: u64) -> Request<Body> {
    let saga = saga(number).to_string();
    Request::post("/deduct")
        .header(SAGA_STEP, DEDUCT)
        .header(SAGA_OP, ACTION)
        .header(SAGA_ATTEMPT, ONE)
        .header(IDEMPOTENCY_KEY, format!("{saga}/deduct/action"))
        .header(SAGA_ID, saga)
        .body(Body::from(cart(load, number)))
        .expect("a request")
}

/// A saga's id, made as the coordinator makes them: by time, and otherwise at random.
fn saga(number: u64) -> Uuid {
    static SEED: LazyLock<u64> = LazyLock::new(|| Uuid::now_v7().as_u64_pair().1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (high, low) = (mixed(*SEED ^ number), mixed(*SEED ^ !number));
    let mut random = [0; 10];
    random[..8].copy_from_slice(&low.to_be_bytes());
    random[8..].copy_from_slice(&high.to_be_bytes()[..2]);
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).unwrap_or_default(), &random)
        .into_uuid()
}

fn cart(load: Load, number: u64) -> String {
    let lines = match load {
        Load::Hot(_) => format!(r#"{{"sku":{HOT},"qty":1}}"#),
        Load::Cart | Load::Batch => {
            let skus = [0u64, 1, 2].map(|line| popular(mixed(number * 3 + line)));
            skus.map(|sku| format!(r#"{{"sku":{sku},"qty":1}}"#)).join(",")
        }
    };
    format!(r#"{{"order":"o{number:x}","lines":[{lines}]}}"#)
}

/// Draws a SKU so that the n-th most popular is drawn in proportion to 1/n, to a good approximation.
fn popular(random: u64) -> u64 {
    let uniform = (random >> 11) as f64 / (1u64 << 53) as f64;
    let rank = ((SKUS as f64 + 1.0).powf(uniform) as u64).clamp(1, SKUS as u64);
    // The popular ones lie scattered over the table.
    rank * 7919 % SKUS as u64 + 1
}

/// Scrambles a counter into something that looks random (SplitMix64).
fn mixed(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
