//! Measures the repair queue on SQLite: `cargo run --release -p amends-store --example repairs_bench`.
//!
//! The file has 100,000 parked sagas with an item each, in 20 piles, and 1,000,000 settled items; both can
//! be given as arguments. Every filter is asked for its first pages and for some far down.
//!
//! Measured 2026-11-21 on two cores that were busy with other work, all files on one local disk, 432 MB:
//!
//! - a page of 50 takes 0.2 to 0.9 ms at the median, one of 500 takes 0.1 to 4.1 ms, whatever the filter;
//! - counting the piles takes 4 ms, whatever the ages;
//! - a claim that finds nothing beside 100,000 shelved sagas takes 0.5 ms;
//! - parking a saga takes 61 µs with its item, 512 in a commit; a settled item takes 34 µs.
//!
//! An append without items costs what it did before there were items: 16.2 µs of CPU against 16.0, 64 in a
//! batch, each the median of eight runs of `commit_bench` by turns.

use amends_saga::{
    Op, ParkReason, RepairRow, SagaId, Status, Timestamp,
    coordinator::{Append, Written},
    repair::{How, RepairStatus},
};
use amends_store::{
    Filter, Owner, Store,
    conformance::sample::{Beginning, Plot, Script},
    repairs::{ItemFilter, Place, Repairs, Told},
    sqlite::{Options, SqliteStore},
};
use std::time::{Duration, Instant};
use uuid::Uuid;

const BATCH: u64 = 512;

/// How many settled items a saga has.
const SETTLED_EACH: u64 = 10;

const BEGUN_MS: i64 = 1_763_700_000_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let (open, settled) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(1_000_000));
    let directory = tempfile::tempdir_in(".").expect("a directory to write in");
    let store = SqliteStore::open(Options::new(directory.path().join("bench.db"))).await;
    let store = store.expect("a new store opens");
    let owner = Owner { incarnation: Uuid::now_v7(), name: "bench".to_owned() };
    store.heartbeat(&owner, 3_600_000).await.expect("a new member");
    fill(&store, &owner, open, settled).await;
    pages(&store, open).await;
    others(&store, &owner, open).await;
    println!("{:>10.1} MB in the file", size(directory.path().join("bench.db")) / 1e6);
}

/// A saga's first append, to be made into others.
fn template() -> Append {
    Script::new(Beginning::nth(1), Plot::Completes).next_append().expect("it begins")
}

fn saga_id(n: u64) -> SagaId {
    SagaId::from_u128((u128::from(BEGUN_MS.unsigned_abs() + n) << 80) | (7 << 76) | (2 << 62) | u128::from(n))
}

fn item_id(n: u64) -> Uuid {
    Uuid::from_u128(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(n))
}

/// The `n`th item; 20 piles of unequal size, one in eight of them looked after by somebody.
fn row(n: u64, saga: SagaId, status: RepairStatus) -> RepairRow {
    let pile = (n % 20).min(n / 7 % 20);
    let settled = status == RepairStatus::Settled;
    let at = Timestamp(BEGUN_MS + (n * 7) as i64);
    RepairRow {
        item: item_id(n),
        saga,
        definition: format!("checkout-{}", pile % 4),
        step: format!("step-{pile}"),
        op: Op::Compensation,
        participant: format!("participant-{}", pile % 10),
        operation: "release".to_owned(),
        status,
        reason: if n.is_multiple_of(3) { ParkReason::Refused } else { ParkReason::Exhausted },
        number: 1,
        opened_at: at,
        first_opened_at: at,
        updated_at: at,
        assignee: (n.is_multiple_of(8) || status == RepairStatus::Assigned)
            .then(|| format!("person-{}", n % 5)),
        settled_by: settled.then(|| "person-1".to_owned()),
        settled_how: settled.then_some(How::Resolved),
        seq: 7,
    }
}

async fn fill(store: &SqliteStore, owner: &Owner, open: u64, settled: u64) {
    let template = template();
    let parked = |n: u64| {
        let (mut append, id) = (template.clone(), saga_id(n));
        append.id = id;
        (append.head.status, append.head.wake_at) = (Status::Repair, None);
        let status = if n.is_multiple_of(8) { RepairStatus::Assigned } else { RepairStatus::Open };
        append.repairs = vec![row(n, id, status)];
        append
    };
    let ended = |n: u64| {
        let (mut append, id) = (template.clone(), saga_id(open + n));
        append.id = id;
        (append.head.status, append.head.wake_at) = (Status::Compensated, None);
        let items = (0..SETTLED_EACH).map(|i| row(open + n * SETTLED_EACH + i, id, RepairStatus::Settled));
        append.repairs = items.collect();
        append
    };
    let took = write(store, owner, open, parked).await;
    println!("{:>10.2} µs to park a saga, {BATCH} in a commit", took.as_secs_f64() * 1e6 / open as f64);
    let took = write(store, owner, settled / SETTLED_EACH, ended).await;
    println!("{:>10.2} µs an item for {settled} settled ones", took.as_secs_f64() * 1e6 / settled as f64);
}

async fn write(store: &SqliteStore, owner: &Owner, count: u64, make: impl Fn(u64) -> Append) -> Duration {
    let mut took = Duration::ZERO;
    for from in (0..count).step_by(BATCH as usize) {
        let batch: Vec<Append> = (from..count.min(from + BATCH)).map(&make).collect();
        let begun = Instant::now();
        let outcomes = store.commit(owner, &batch).await.expect("a commit");
        took += begun.elapsed();
        assert!(outcomes.iter().all(|outcome| *outcome == Written::Done));
    }
    took
}

fn filters(open: u64) -> Vec<(&'static str, ItemFilter)> {
    let all = ItemFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let settled = || ItemFilter { statuses: vec![RepairStatus::Settled], ..all() };
    let any = || {
        let statuses =
            vec![RepairStatus::Open, RepairStatus::Assigned, RepairStatus::Retrying, RepairStatus::Settled];
        ItemFilter { statuses, ..all() }
    };
    let at = |n: u64| Some(Timestamp(BEGUN_MS + (n * 7) as i64));
    vec![
        ("everything unsettled", all()),
        ("open", ItemFilter { statuses: vec![RepairStatus::Open], ..all() }),
        ("retrying (none)", ItemFilter { statuses: vec![RepairStatus::Retrying], ..all() }),
        ("every status", any()),
        ("stuck steps", ItemFilter { anomalies: Some(false), ..all() }),
        ("anomalies (none)", ItemFilter { anomalies: Some(true), ..any() }),
        ("a participant", ItemFilter { participant: text("participant-0"), ..all() }),
        ("a definition", ItemFilter { definition: text("checkout-1"), ..all() }),
        ("a rare step", ItemFilter { step: text("step-19"), ..all() }),
        ("a reason", ItemFilter { reason: Some(ParkReason::Refused), ..all() }),
        ("a reason (none)", ItemFilter { reason: Some(ParkReason::Contract), ..any() }),
        ("an assignee", ItemFilter { assignee: text("person-3"), ..all() }),
        ("an assignee at a step", ItemFilter { assignee: text("person-3"), step: text("step-19"), ..any() }),
        ("a saga", ItemFilter { saga: Some(saga_id(open / 2)), ..all() }),
        ("a settled saga", ItemFilter { saga: Some(saga_id(open + 9)), ..settled() }),
        ("settled", settled()),
        ("settled of a step", ItemFilter { step: text("step-7"), ..settled() }),
        ("settled from a time on", ItemFilter { opened_after: at(open * 5), ..settled() }),
        (
            "opened between two times",
            ItemFilter { opened_after: at(open / 3), opened_before: at(open / 2), ..any() },
        ),
        (
            "everything at once",
            ItemFilter {
                participant: text("participant-3"),
                definition: text("checkout-3"),
                reason: Some(ParkReason::Exhausted),
                anomalies: Some(false),
                opened_before: at(open / 2),
                ..any()
            },
        ),
    ]
}

/// The pages walked from each beginning.
const PAGES: usize = 20;

async fn pages(store: &SqliteStore, open: u64) {
    println!(
        "{:>40} {:>10} {:>10} {:>10} {:>10}",
        "ms a page", "50, p50", "50, most", "500, p50", "500, most"
    );
    for (name, filter) in filters(open) {
        let mut figures = Vec::new();
        for limit in [50, 500] {
            let mut times = Vec::new();
            for begin in [None, Some(open / 2)] {
                let place =
                    |n: u64| Place { opened_at: Timestamp(BEGUN_MS + (n * 7) as i64), item: item_id(n) };
                let mut after = begin.map(place);
                for _ in 0..PAGES {
                    let begun = Instant::now();
                    let page = store.items(&filter, after, limit).await.expect("it can be read");
                    times.push(begun.elapsed().as_secs_f64() * 1e3);
                    let Some(last) = page.last() else { break };
                    after = Some(last.place());
                }
            }
            times.sort_by(f64::total_cmp);
            figures.extend([times[times.len() / 2], times[times.len() - 1]]);
        }
        let [a, b, c, d] = figures[..] else { unreachable!("two limits, two figures each") };
        println!("{name:>40} {a:>10.2} {b:>10.2} {c:>10.2} {d:>10.2}");
    }
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

async fn others(store: &SqliteStore, owner: &Owner, open: u64) {
    let show = |name: &str, ms: f64| println!("{name:>40} {ms:>10.2} ms");
    let ages = [900_000, 3_600_000, 86_400_000];
    for (name, after_ms) in
        [("piles, all young", 0), ("piles, of every age", 300_000), ("piles, all old", 1 << 40)]
    {
        let now = Timestamp(BEGUN_MS + (open * 7) as i64 + after_ms);
        let mut piles = Vec::new();
        show(name, median(async || piles = store.piles(now, &ages).await.expect("it can be read")).await);
        let counted: u64 = piles.iter().flat_map(|pile| pile.counts).sum();
        assert_eq!(counted, open, "every open item is counted");
    }
    show("claim, nothing free", median(async || store.claim(owner, 64).await.expect("claimed")).await);
    let parked = Filter { statuses: vec![Status::Repair], ..Filter::default() };
    show(
        "list of parked sagas, 50",
        median(async || store.list(&parked, None, 50).await.expect("listed")).await,
    );
    let mut n = 0;
    let reclaim = async || {
        n += 1;
        store.reclaim(owner, &[saga_id(n)]).await.expect("reclaimed")
    };
    show("reclaim of one", median(reclaim).await);
    let all = Timestamp(i64::MAX);
    show("escalate 500", median(async || store.escalate(1, all, 500).await.expect("raised")).await);
    store.set_hooks(&[("a".to_owned(), vec![Told::Escalated])]).await.expect("set");
    show("escalate 500, one hook", median(async || store.escalate(2, all, 500).await.expect("raised")).await);
    show(
        "escalate, nothing due",
        median(async || store.escalate(1, Timestamp(0), 500).await.expect("raised")).await,
    );
    show(
        "take 64 deliveries",
        median(async || store.take_deliveries(64, 60_000).await.expect("taken")).await,
    );
    show("deliveries pending", median(async || store.deliveries_pending().await.expect("counted")).await);
}

fn size(path: std::path::PathBuf) -> f64 {
    std::fs::metadata(path).map_or(0.0, |meta| meta.len() as f64)
}
