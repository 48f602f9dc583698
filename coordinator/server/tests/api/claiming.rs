//! Claims and verbs beside each other: however many sagas wait for an owner, and however many verbs come for sagas
//! that nobody holds, neither keeps the other waiting.

use crate::{
    stub::Say,
    world::{PATIENCE, World, config, serve, start_order},
};
use amends_saga::SagaId;
use amends_server::{Config, Server, Timing};
use amends_store::memory::Faults;
use futures::{StreamExt as _, future::join_all};
use serde_json::json;
use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Sagas that a coordinator leaves behind.
const ORPHANS: usize = 1000;
/// Of them one claim takes so many.
const CLAIM_MAX: usize = 4;
/// Stuck sagas, each with somebody who never stops doing something about it.
const STUCK: usize = 48;
/// The longest a verb may take, or a third of the time that the claims take.
const BOUND: Duration = Duration::from_secs(1);

/// Waits for less long than it takes to fall asleep, so that it has an owner until that one is gone.
const WAITS: &str = "{ saga: waits, version: 1, steps: [{ go: { await: go, timeout: 29s } }] }";

/// The repair items of sagas that are stuck, which nobody holds.
async fn stuck(world: &World) -> Vec<String> {
    let refusals = || (0..STUCK).map(|_| Say::json(409, &json!({ "message": "no" })));
    world.stub.say("charge", refusals());
    world.stub.say("release", refusals());
    let mut items = Vec::new();
    for n in 0..STUCK {
        let id = world.post("/v1/sagas", &start_order(&n.to_string())).await.id();
        let saga = world.until(&id, "repair").await;
        items.push(saga["repairs"][0]["id"].as_str().expect("an id").to_owned());
    }
    items
}

/// Sagas that wait, each held by the coordinator that started it.
async fn waiting(world: &World) -> Vec<SagaId> {
    assert_eq!(world.define("waits", WAITS).await.status, 201);
    let body = json!({ "definition": "waits", "input": {} });
    let started = futures::stream::iter(0..ORPHANS).map(|_| world.post("/v1/sagas", &body));
    let started: Vec<_> = started.buffer_unordered(32).collect().await;
    started.iter().map(|answer| SagaId::try_parse(answer.text("id")).expect("an id")).collect()
}

/// Starts a second coordinator on the store, which takes few sagas at a time, and makes it the one that is asked.
async fn second(world: World) -> (World, Server) {
    let timing = Timing { claim_max: CLAIM_MAX, claim_every: Duration::from_millis(10), ..config().timing };
    let server = serve(Config { timing, ..config() }, Arc::new(world.store.clone())).await;
    let url = format!("http://{}", server.address());
    let first = world.server;
    (World { server, url, ..world }, first)
}

/// Hands an item to one person after the other until told to stop; says how long the slowest answer took.
async fn keep_assigning(
    world: &World,
    item: &str,
    answered: &AtomicUsize,
    stop: &CancellationToken,
) -> Duration {
    let (path, mut slowest) = (format!("/v1/repairs/{item}/assign"), Duration::ZERO);
    for n in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        let begin = Instant::now();
        let answer = world.post(&path, &json!({ "assignee": format!("somebody {n}"), "by": "ada" })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answered.fetch_add(1, Ordering::Relaxed);
        slowest = slowest.max(begin.elapsed());
    }
    slowest
}

/// Waits until each of these sagas has been claimed; says how many verbs had been answered by then.
async fn until_claimed(
    world: &World,
    orphans: &[SagaId],
    answered: &AtomicUsize,
    stop: &CancellationToken,
) -> usize {
    let begin = Instant::now();
    let mut left: Vec<SagaId> = orphans.to_vec();
    while !left.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{} of {ORPHANS} sagas are still nobody's", left.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut still = Vec::new();
        for id in left {
            let row = amends_store::Store::load(&world.store, id).await.expect("the store answers");
            if row.expect("it is there").epoch < 2 {
                still.push(id);
            }
        }
        left = still;
    }
    stop.cancel();
    answered.load(Ordering::Relaxed)
}

/// Sagas lose their owner while verbs come for others, with a store whose every operation takes this long.
async fn check(delay: Duration) {
    let world = World::new().await;
    let (items, orphans) = (stuck(&world).await, waiting(&world).await);
    let (world, first) = second(world).await;
    world.store.set_faults(Faults { delay, ..Faults::default() });
    let (answered, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let verbs = join_all(items.iter().map(|item| keep_assigning(&world, item, &answered, &stop)));
    let leaving = async {
        while answered.load(Ordering::Relaxed) < STUCK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        first.stop().await;
        let (begin, before) = (Instant::now(), answered.load(Ordering::Relaxed));
        let until = until_claimed(&world, &orphans, &answered, &stop).await;
        (until - before, begin.elapsed())
    };
    let (slowest, (meanwhile, took)) = tokio::join!(verbs, leaving);
    let slowest = slowest.into_iter().max().unwrap_or_default();
    println!(
        "{ORPHANS} sagas claimed and {meanwhile} verbs answered in {took:?}, the slowest in {slowest:?}"
    );
    assert!(slowest < BOUND.max(took / 3), "a verb took {slowest:?} of {took:?}");
    assert!(meanwhile >= STUCK, "{meanwhile} verbs were answered while {ORPHANS} sagas were claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn neither_claims_nor_verbs_keep_the_other_waiting() {
    check(Duration::from_millis(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_do_they_when_the_store_answers_at_once() {
    check(Duration::ZERO).await;
}
