//! Measures what a commit costs on SQLite: `cargo run --release -p amends-store --example commit_bench`.
//!
//! Sagas of four appends each are written in batches, about a quarter of each batch new ones, as a
//! coordinator in a steady state does. Printed are appends a second, and the CPU time of the whole process
//! (encoding, threads, SQLite, the kernel's share of writing and flushing) for one append.

use amends_saga::coordinator::{Append, Written};
use amends_store::{
    Owner, Store,
    conformance::sample::{Beginning, Plot, Script, definition},
    sqlite::{Options, SqliteStore},
};
use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

const WARM_UP: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(3);
    let directory = tempfile::tempdir_in(".").expect("a directory to write in");
    println!(
        "{:>6} {:>12} {:>11} {:>14} {:>10} {:>10}",
        "batch", "appends/s", "commits/s", "CPU µs/append", "p50 ms", "p99 ms"
    );
    for batch in sizes() {
        measure(directory.path(), batch, Duration::from_secs(seconds)).await;
    }
}

async fn measure(directory: &Path, size: usize, span: Duration) {
    let store = SqliteStore::open(Options::new(directory.join(format!("bench-{size}.db")))).await;
    let store = store.expect("a new store opens");
    let owner = Owner { incarnation: uuid::Uuid::now_v7(), name: "bench".to_owned() };
    store.heartbeat(&owner, 60_000).await.expect("a new member");
    let batches = prepare(size, span + WARM_UP);
    let mut commits = Vec::with_capacity(batches.len());
    let (mut begun, mut cpu) = (Instant::now(), cpu_seconds());
    let mut warm = false;
    for batch in &batches {
        let at = Instant::now();
        let outcomes = store.commit(&owner, batch).await.expect("a commit");
        assert!(outcomes.iter().all(|outcome| *outcome == Written::Done));
        commits.push(at.elapsed());
        if !warm && begun.elapsed() >= WARM_UP {
            warm = true;
            commits.clear();
            (begun, cpu) = (Instant::now(), cpu_seconds());
        }
        if warm && begun.elapsed() >= span {
            break;
        }
    }
    report(size, &mut commits, begun.elapsed(), cpu_seconds() - cpu);
}

fn report(size: usize, commits: &mut [Duration], took: Duration, cpu: f64) {
    commits.sort_unstable();
    let appends = (commits.len() * size) as f64;
    let at = |share: f64| commits[((commits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{size:>6} {:>12.0} {:>11.0} {:>14.2} {:>10.2} {:>10.2}",
        appends / took.as_secs_f64(),
        commits.len() as f64 / took.as_secs_f64(),
        cpu * 1e6 / appends,
        at(0.5),
        at(0.99),
    );
}

/// Makes the batches beforehand, so that only the store is measured.
fn prepare(size: usize, span: Duration) -> Vec<Vec<Append>> {
    let appends_most = (span.as_secs_f64() * if size < 16 { 8_000.0 } else { 60_000.0 }) as usize;
    let definition = definition("checkout", 1);
    let mut live: VecDeque<Script> = VecDeque::new();
    let mut next = 0;
    let mut batches = Vec::new();
    while batches.len() * size < appends_most {
        let mut batch = Vec::with_capacity(size);
        while batch.len() < size {
            let new = live.len() < 4 * size.max(32) || batch.len() % 4 == 0;
            let mut saga = match new {
                true => {
                    next += 1;
                    let beginning = Beginning::nth(next).of(definition.clone());
                    let order = format!("order-{next}");
                    Script::new(beginning.key(order.clone()).label("order", order), Plot::Completes)
                }
                false => live.pop_front().expect("enough are live"),
            };
            if let Some(append) = saga.next_append() {
                batch.push(append);
                live.push_back(saga);
            }
        }
        batches.push(batch);
    }
    batches
}

/// The CPU time this process has used, from the kernel's own account in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The batch sizes to measure: the second argument, separated by commas.
fn sizes() -> Vec<usize> {
    let wanted = std::env::args().nth(2).unwrap_or_default();
    let sizes: Vec<usize> = wanted.split(',').filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() { vec![1, 16, 64, 256] } else { sizes }
}
