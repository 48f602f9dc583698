//! Measures sleeping sagas on SQLite: `cargo run --release -p amends-store --example sleepers_bench`.
//!
//! The file has 1,000,000 sleeping sagas, or as many as the argument says. What a coordinator does all the
//! time is measured without them and beside them: appends of sagas that are awake, claims that find nothing;
//! and what only sleepers bring: putting one to sleep, claiming what should be awake, counting by version.
//! With the further argument `ended` the file has as many ended sagas instead, to tell what sleepers cost
//! from what a large file costs. Times of writing are of the processor, in 512 appends a commit.
//!
//! Measured 2026-11-21 on two cores that were busy with other work, in a build for development:
//!
//! - an append of a saga that is awake takes 16 to 19 µs beside a million sleepers, 15 to 17 in an empty file and
//!   16 to 17 beside a million ended sagas; one that puts a saga to sleep takes 20 µs;
//! - a claim that finds nothing takes 0.1 to 0.4 ms in each of the three; its steps inside SQLite are counted by
//!   a test, and are as many beside 20,000 sleepers as beside 1,000;
//! - a claim of 64 sagas among 51,200 that should be awake takes 5 to 12 ms;
//! - counting a million live sagas by version takes 70 ms;
//! - a sleeping saga takes 850 bytes of the file.

use amends_saga::{
    SagaId, Status, Timestamp,
    coordinator::{Append, Written},
};
use amends_store::{
    Filter, Owner, Revived, Store,
    conformance::sample::{Beginning, Plot, Script, asleep, definition, moved},
    sqlite::{Options, SqliteStore},
};
use std::time::Instant;
use uuid::Uuid;

const BATCH: u64 = 512;

/// So many are made beforehand, so that only the store is measured.
const CHUNK: u64 = 100 * BATCH;

const BEGUN_MS: i64 = 1_763_700_000_000;

/// A time that no run lives to see; one millisecond more for each saga.
const FAR_MS: i64 = 4_000_000_000_000;

/// Sagas of a version of their own, in the share of one in so many.
const OTHER_VERSION: u64 = 10;

#[tokio::main]
async fn main() {
    let wanted = std::env::args().nth(1).map(|text| text.parse().expect("a number"));
    let sleepers: u64 = wanted.unwrap_or(1_000_000);
    let directory = tempfile::tempdir_in(".").expect("a directory to write in");
    let ended = std::env::args().nth(2).as_deref() == Some("ended");
    let path = directory.path().join("bench.db");
    let store = SqliteStore::open(Options::new(&path)).await.expect("a new store opens");
    let owner = Owner { incarnation: Uuid::now_v7(), name: "bench".to_owned() };
    store.heartbeat(&owner, 3_600_000).await.expect("a new member");
    println!("in an empty file");
    usual(&store, &owner, 2 * sleepers).await;
    let cpu = write(&store, &owner, 0..sleepers, |n| match ended {
        true => over(first(n)),
        false => asleep(first(n), far(n)),
    });
    let cpu = cpu.await;
    let what = if ended { "ended" } else { "sleeping" };
    println!("beside {sleepers} {what} sagas, {:.1} MB", size(&path) / 1e6);
    show(&format!("to begin a saga {what}"), cpu * 1e6 / sleepers as f64, "µs");
    usual(&store, &owner, 3 * sleepers).await;
    if !ended {
        of_sleepers(&store, &owner, sleepers).await;
    }
}

fn saga_id(n: u64) -> SagaId {
    SagaId::from_u128((u128::from(BEGUN_MS.unsigned_abs() + n) << 80) | (7 << 76) | (2 << 62) | u128::from(n))
}

fn far(n: u64) -> Timestamp {
    Timestamp(FAR_MS + n as i64)
}

/// The first append of the `n`th saga.
fn first(n: u64) -> Append {
    thread_local! {
        static TEMPLATES: [Append; 2] = [1, 2].map(|version| {
            let beginning = Beginning::nth(1).of(definition("checkout", version));
            Script::new(beginning, Plot::Completes).next_append().expect("it begins")
        });
    }
    let version = usize::from(n.is_multiple_of(OTHER_VERSION));
    let append = TEMPLATES.with(|templates| templates[version].clone());
    Append { id: saga_id(n), ..append }
}

fn over(mut append: Append) -> Append {
    (append.head.status, append.head.wake_at) = (Status::Completed, None);
    append
}

/// Writes sagas and says how much processor time that took, in seconds.
async fn write(
    store: &SqliteStore,
    owner: &Owner,
    numbers: std::ops::Range<u64>,
    make: impl Fn(u64) -> Append,
) -> f64 {
    let mut took = 0.0;
    for chunk in numbers.clone().step_by(CHUNK as usize) {
        let end = numbers.end.min(chunk + CHUNK);
        let batch = |from| (from..end.min(from + BATCH)).map(&make).collect();
        let batches: Vec<Vec<Append>> = (chunk..end).step_by(BATCH as usize).map(batch).collect();
        let begun = cpu_seconds();
        for batch in &batches {
            let outcomes = store.commit(owner, batch).await.expect("a commit");
            assert!(outcomes.iter().all(|outcome| *outcome == Written::Done));
        }
        took += cpu_seconds() - begun;
    }
    took
}

/// What costs the same whoever sleeps.
async fn usual(store: &SqliteStore, owner: &Owner, from: u64) {
    let took = write(store, owner, from..from + CHUNK, first).await;
    show("to begin a saga awake", took * 1e6 / CHUNK as f64, "µs");
    for status in [Status::Running, Status::Running, Status::Completed] {
        let mut stored = Vec::new();
        for n in from..from + CHUNK {
            stored.push(store.load(saga_id(n)).await.expect("it can be read").expect("it is there"));
        }
        let took =
            write(store, owner, 0..CHUNK, |n| moved(&stored[usize::try_from(n).expect("small")], status))
                .await;
        show(&format!("to append, {status:?}"), took * 1e6 / CHUNK as f64, "µs");
    }
    show("claim, nothing free", median(async || store.claim(owner, 64).await.expect("claimed")).await, "ms");
    show("counts", median(async || store.counts().await.expect("counted")).await, "ms");
    show("live sagas by version", median(async || store.versions().await.expect("counted")).await, "ms");
    let running = Filter { statuses: vec![Status::Running], ..Filter::default() };
    let list = median(async || store.list(&running, None, 50).await.expect("listed")).await;
    show("list of running sagas, 50", list, "ms");
    let mut n = from;
    let revive = async || {
        n += 1;
        let revived = store.revive(owner, saga_id(n)).await.expect("revived");
        assert!(matches!(revived, Revived::Taken(_)));
    };
    show("to bring a completed saga back", median(revive).await, "ms");
}

/// What sleepers themselves cost.
async fn of_sleepers(store: &SqliteStore, owner: &Owner, sleepers: u64) {
    let mut n = 0;
    let reclaim = async || {
        n += 1;
        store.reclaim(owner, &[saga_id(n)]).await.expect("reclaimed")
    };
    show("reclaim of one that sleeps", median(reclaim).await, "ms");
    let overdue = CHUNK.min(sleepers / 2);
    let mut stored = Vec::new();
    for n in 100..100 + overdue {
        stored.push(store.load(saga_id(n)).await.expect("it can be read").expect("it is there"));
    }
    let again = |n: u64| {
        let stored = &stored[usize::try_from(n).expect("small")];
        asleep(moved(stored, Status::Running), Timestamp(BEGUN_MS + n as i64))
    };
    let took = write(store, owner, 0..overdue, again).await;
    show("to append asleep", took * 1e6 / overdue as f64, "µs");
    let other = Owner { incarnation: Uuid::now_v7(), name: "other".to_owned() };
    let claim = async || {
        let claimed = store.claim(&other, 64).await.expect("claimed");
        assert_eq!(claimed.len(), 64);
    };
    show(&format!("claim of 64 among {overdue} that should be awake"), median(claim).await, "ms");
}

/// The median of ten runs, in milliseconds.
async fn median<T>(mut run: impl AsyncFnMut() -> T) -> f64 {
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        run().await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[5]
}

/// The CPU time this process has used, from the kernel's own account in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn show(name: &str, figure: f64, unit: &str) {
    println!("{name:>50} {figure:>10.2} {unit}");
}

fn size(path: &std::path::Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |meta| meta.len() as f64)
}
