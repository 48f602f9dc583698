//! Measures merged deductions: many waiters, one writer, SQLite with every commit on disk.
//!
//! ```text
//! cargo run --release -p amends-inventory --example merged_bench [seconds]
//! ```
//!
//! Each waiter sends its next cart when the last one is answered, through the participant's router in this process:
//! JSON, barrier, stored answers, holds, flows and counters are all in the figures; sockets are not. *hot* is one unit
//! of one SKU; *cart* is three different SKUs of ten thousand, popular ones more often (Zipf, s = 1).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amends_inventory::{Config, Inventory, open};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;
use uuid::Uuid;

/// What the executable uses as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SKUS: usize = 10_000;

#[derive(Clone, Copy)]
enum Load {
    Hot,
    Cart,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let store = format!("sqlite:{}", folder.path().join("bench.db").display());
    let inventory = open(Config::new(store)).await.expect("the inventory opens");
    let stock: Vec<(i64, i64)> = (1..=SKUS as i64).map(|sku| (sku, 1_000_000_000)).collect();
    inventory.replenish("bench", &stock).await.expect("the goods come in");
    println!(
        "{:>6} {:>8} {:>10} {:>12} {:>8} {:>8} {:>12}",
        "load", "waiters", "carts/s", "lines/s", "p50 ms", "p99 ms", "cpu us/cart"
    );
    let mut first = 0;
    for load in [Load::Hot, Load::Cart] {
        for waiters in [1, 8, 32, 128, 512] {
            measure(&inventory, load, waiters, Duration::from_secs_f64(seconds), &mut first).await;
        }
    }
    let audit = inventory.audit().await.expect("the audit runs");
    assert!(audit.kept, "{audit:#?}");
    println!("audit: every law is kept; {} units held", audit.totals.held);
}

async fn measure(inventory: &Inventory, load: Load, waiters: u64, time: Duration, first: &mut u64) {
    let router = inventory.router();
    let number = Arc::new(AtomicU64::new(*first));
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..waiters {
        tasks.spawn(wait(router.clone(), load, Arc::clone(&number), start + time));
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    *first = number.load(Ordering::Relaxed);
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / latencies.len() as f64;
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    let carts = latencies.len() as f64 / elapsed;
    let (name, lines) = match load {
        Load::Hot => ("hot", 1.0),
        Load::Cart => ("cart", 3.0),
    };
    let lines = carts * lines;
    let (p50, p99) = (at(0.5), at(0.99));
    println!("{name:>6} {waiters:>8} {carts:>10.0} {lines:>12.0} {p50:>8.2} {p99:>8.2} {cpu:>12.0}");
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
    let saga = Uuid::now_v7().to_string();
    let lines = match load {
        Load::Hot => r#"{"sku":1,"qty":1}"#.to_owned(),
        Load::Cart => {
            let skus = [0u64, 1, 2].map(|line| popular(mixed(number * 3 + line)));
            skus.map(|sku| format!(r#"{{"sku":{sku},"qty":1}}"#)).join(",")
        }
    };
    Request::post("/deduct")
        .header("saga-step", "deduct")
        .header("saga-op", "action")
        .header("saga-attempt", "1")
        .header("idempotency-key", format!("{saga}/deduct/action"))
        .header("saga-id", saga)
        .body(Body::from(format!(r#"{{"order":"o{number:x}","lines":[{lines}]}}"#)))
        .expect("a request")
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
