//! A store that fails, and coordinators that come and go: what was acknowledged is never lost.

use crate::world::{PATIENCE, World, config, send, serve, start_order};
use amends_saga::Timestamp;
use amends_server::{Config, Timing};
use amends_store::memory::{Faults, MemoryStore};
use reqwest::{Client, Method};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// Starts under a key until it is answered with a saga; returns its id and how many answers were 503.
async fn until_started(world: &World, key: &str) -> (String, usize) {
    for refusals in 0..100 {
        let answer = world.post("/v1/sagas", &start_order(key)).await;
        if matches!(answer.status, 200 | 201) {
            return (answer.id(), refusals);
        }
        answer.is_problem(503, "store_unavailable");
        assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} was never started");
}

/// A commit fails, each in turn: the callers are told, and afterwards everything ends, once.
async fn check(faults: fn(BTreeSet<u64>) -> Faults) {
    let mut refused = 0;
    for failing in 1..=7 {
        let world = World::new().await;
        let from = world.store.commits();
        world.store.set_faults(faults(BTreeSet::from([from + failing, from + failing + 1])));
        let mut ids = BTreeSet::new();
        for key in ["a", "b", "c"] {
            let (id, refusals) = until_started(&world, key).await;
            refused += refusals;
            ids.insert(id);
        }
        for id in &ids {
            world.until(id, "completed").await;
            let journal = world.journal(id).await;
            let done = journal.iter().filter(|event| *event == "call_done charge action").count();
            assert_eq!(done, 1, "commit {failing}: {journal:?}");
        }
        assert_eq!((ids.len(), world.sagas().await), (3, 3), "commit {failing}");
    }
    assert!(refused > 0, "no start was ever refused");
}

#[tokio::test]
async fn a_commit_that_fails_loses_nothing_that_was_acknowledged() {
    check(|commits| Faults { fail_before: commits, ..Faults::default() }).await;
}

#[tokio::test]
async fn a_commit_that_is_done_and_reported_failed_does_nothing_twice() {
    check(|commits| Faults { fail_after: commits, ..Faults::default() }).await;
}

#[tokio::test]
async fn while_the_disk_is_full_starts_are_refused_and_afterwards_everything_goes_on() {
    let world = World::new().await;
    let held = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&held, 1, "waiting").await;
    world.store.set_faults(Faults { disk_full: true, ..Faults::default() });
    let answer = world.post("/v1/sagas", &start_order("k")).await;
    answer.is_problem(503, "store_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    world.get("/readyz").await.is_problem(503, "store_unavailable");
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get(&format!("/v1/sagas/{held}")).await.text("status"), "running", "reading goes on");
    let signal = format!("/v1/sagas/{held}/signals/payment");
    world.post(&signal, &json!({ "payload": 1 })).await.is_problem(503, "store_unavailable");
    world.store.set_faults(Faults::default());
    assert_eq!(world.get("/readyz").await.status, 200);
    let (id, _) = until_started(&world, "k").await;
    world.until(&id, "completed").await;
    let begin = Instant::now();
    while world.post(&signal, &json!({ "payload": 1 })).await.status != 200 {
        assert!(begin.elapsed() < PATIENCE, "the signal is never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.until(&held, "completed").await;
}

#[tokio::test]
async fn a_stop_under_load_gives_everything_back_and_the_next_coordinator_ends_it() {
    let world = World::new().await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16 {
        let (http, url, acknowledged) = (world.http.clone(), world.url.clone(), acknowledged.clone());
        callers.spawn(async move { start_until_refused(&http, &url, caller, &acknowledged).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let World { server, store, stub, http, .. } = world;
    let begin = Instant::now();
    server.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "the stop took {:?}", begin.elapsed());
    while let Some(ended) = callers.join_next().await {
        ended.expect("a caller never fails");
    }
    let server = serve(config(), Arc::new(store.clone())).await;
    let url = format!("http://{}", server.address());
    let world = World { server, store, stub, url, http };
    let acknowledged = acknowledged.lock().expect("unpoisoned").clone();
    println!("{} acknowledged before the stop", acknowledged.len());
    assert!(acknowledged.len() >= 16);
    for id in &acknowledged {
        world.until(id, "completed").await;
    }
}

/// Starts sagas until the coordinator is gone or says that it stops; notes those that were acknowledged.
async fn start_until_refused(http: &Client, url: &str, caller: usize, ids: &Mutex<BTreeSet<String>>) {
    for turn in 0.. {
        let body = start_order(&format!("{caller}-{turn}"));
        let Ok(response) = http.post(format!("{url}/v1/sagas")).json(&body).send().await else { return };
        let status = response.status().as_u16();
        let Ok(answer) = response.json::<serde_json::Value>().await else { return };
        if status != 201 {
            assert_eq!((status, answer["slug"].as_str()), (503, Some("shutting_down")), "{answer}");
            return;
        }
        ids.lock().expect("unpoisoned").insert(answer["id"].as_str().expect("an id").to_owned());
    }
}

#[tokio::test]
async fn a_coordinator_whose_lease_was_lost_joins_again() {
    let (jump, shop) = (Arc::new(AtomicI64::new(0)), World::new().await.stub);
    let clock = jump.clone();
    let store = MemoryStore::with_clock(move || {
        Timestamp(amends_server::clock::now().0 + clock.load(Ordering::Relaxed))
    });
    let timing = Timing { lease: Duration::from_secs(60), ..config().timing };
    let first = serve(Config { timing, ..config() }, Arc::new(store.clone())).await;
    let http = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let url = format!("http://{}", first.address());
    let world = World { server: first, store: store.clone(), stub: shop, url, http };
    world.register_shop(json!({})).await;
    world.define("order", crate::world::ORDER).await;
    // They wait too shortly to sleep: what sleeps is nobody's, and there would be nothing to take over.
    world.define("paid", &crate::world::PAID.replace("15m", "25s")).await;
    let held = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&held, 1, "waiting").await;

    let second = serve(Config { timing, ..config() }, Arc::new(store)).await;
    // One that came with its start, and which the second one has not read.
    let step = json!({ "await": "payment", "timeout": "25s" });
    let whole = json!({ "saga": "once", "version": 1, "steps": [{ "payment": step }] });
    let once = world.post("/v1/sagas", &json!({ "definition": whole, "input": {} })).await.id();
    // The first one was not heard of for ten minutes, and the second one takes its saga over.
    jump.store(600_000, Ordering::Relaxed);
    let begin = Instant::now();
    while !world.journal(&held).await.iter().any(|event| event == "taken_over") {
        assert!(begin.elapsed() < PATIENCE, "nobody took over");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (id, _) = until_started(&world, "after").await;
    world.until(&id, "completed").await;
    // Whichever drives a saga now takes its signal, and callers of both learn of its end.
    let urls = [world.url.clone(), format!("http://{}", second.address())];
    for id in [&held, &once] {
        let wait = |url: &String| send(world.http.get(format!("{url}/v1/sagas/{id}?wait=10s")));
        let (here, there, ()) = tokio::join!(wait(&urls[0]), wait(&urls[1]), pay(&world, &urls, id));
        for answer in [here, there] {
            assert_eq!((answer.status, answer.text("status")), (200, "completed"), "{answer:?}");
        }
    }
    second.stop().await;
}

/// Signals a payment to one coordinator after the other until it is taken.
async fn pay(world: &World, urls: &[String], id: &str) {
    let begin = Instant::now();
    for url in urls.iter().cycle() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let signal = world.http.request(Method::POST, format!("{url}/v1/sagas/{id}/signals/payment"));
        let answer = send(signal.json(&json!({ "payload": 5 }))).await;
        if answer.status == 200 {
            return;
        }
        answer.is_problem(503, "store_unavailable");
        assert!(begin.elapsed() < PATIENCE, "nobody takes the signal");
    }
}
