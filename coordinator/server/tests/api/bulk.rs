//! Bulk jobs: previewed, worked off at a pace, stopped, resumed, taken up after a restart, and added up.

use crate::{
    repairs::refused,
    stub::Say,
    world::{Answer, PATIENCE, World, config, serve, start_order},
};
use amends_store::{
    Owner,
    repairs::Repairs,
    sqlite::{Options, SqliteStore},
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

const BULK: &str = "/v1/repairs/bulk";

/// Parks this many sagas, all at once.
async fn park(world: &World, count: usize) -> Vec<String> {
    world.stub.say("charge", vec![Say::json(409, &json!({ "message": "no money" })); count]);
    world.stub.say("release", vec![Say::json(409, &json!({ "message": "already shipped" })); count]);
    let starts = (0..count).map(|n| {
        let body = start_order(&format!("{}-{n}", Uuid::now_v7()));
        async move { world.post("/v1/sagas", &body).await.id() }
    });
    let ids = futures::future::join_all(starts).await;
    until(|| async { open(world).await.1 >= count }).await;
    // A job is about what was opened before it, to the millisecond.
    tokio::time::sleep(Duration::from_millis(3)).await;
    ids
}

/// The first page of open items, and how many there are in all.
async fn open(world: &World) -> (Value, usize) {
    let summary = world.get("/v1/repairs/summary").await.body;
    let count =
        ["open", "assigned", "retrying"].iter().filter_map(|word| summary[*word].as_u64()).sum::<u64>();
    (world.get("/v1/repairs?limit=500").await.body["items"].clone(), count as usize)
}

async fn until<F: Future<Output = bool>>(is: impl Fn() -> F) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn job(world: &World, id: &str) -> Value {
    world.get(&format!("{BULK}/{id}")).await.body
}

/// Waits for a job's end.
async fn done(world: &World, id: &str) -> Value {
    until(|| async { job(world, id).await["status"] == "done" }).await;
    job(world, id).await
}

fn counts(job: &Value) -> [u64; 4] {
    ["total", "done", "failed", "skipped"].map(|word| job[word].as_u64().expect("a number"))
}

async fn start(world: &World, body: &Value) -> Answer {
    let answer = world.post(BULK, body).await;
    assert_eq!((answer.status, answer.text("status")), (202, "running"), "{answer:?}");
    answer
}

#[tokio::test]
async fn a_dry_run_says_what_is_meant_and_changes_nothing() {
    let world = World::new().await;
    park(&world, 25).await;
    let before = open(&world).await;
    for filter in [json!({}), json!({ "participant": "shop" }), json!({ "status": ["open", "retrying"] })] {
        let body = json!({ "action": "skip", "filter": filter, "dry_run": true });
        let answer = world.post(BULK, &body).await;
        assert_eq!((answer.status, &answer.body["matched"]), (200, &json!(25)), "{answer:?}");
        assert_eq!(answer.body["sample"].as_array().map(Vec::len), Some(20), "{answer:?}");
        let alike = json!([{ "participant": "shop", "definition": "order", "step": "hold", "reason": "refused", "items": 25 }]);
        assert_eq!(answer.body["by"], alike);
    }
    let none = json!({ "action": "retry", "filter": { "participant": "nobody" }, "dry_run": true });
    assert_eq!(world.post(BULK, &none).await.body["matched"], 0);
    assert_eq!(open(&world).await, before);
    assert_eq!(world.get(BULK).await.body, json!({ "items": [], "next": null }), "a dry run is no job");
}

#[tokio::test]
async fn a_bulk_retry_undoes_every_saga_and_adds_up() {
    let world = World::new().await;
    let ids = park(&world, 40).await;
    let body = json!({ "action": "retry", "filter": { "participant": "shop" }, "note": "back", "by": "ada", "per_second": 5000 });
    let job = done(&world, &start(&world, &body).await.id()).await;
    assert_eq!(counts(&job), [40, 40, 0, 0], "{job:#}");
    assert_eq!((&job["by"], &job["note"], &job["errors"]), (&json!("ada"), &json!("back"), &json!([])));
    assert!(job["ended_at"].is_string(), "{job:#}");
    for id in &ids {
        world.until(id, "compensated").await;
        assert_eq!(world.journal(id).await.iter().filter(|event| event.starts_with("repair_")).count(), 1);
    }
    until(|| async { open(&world).await.1 == 0 }).await;
    let metrics = world.get("/metrics").await.text;
    let line = "amends_bulk_items_total{action=\"retry\",outcome=\"done\"} 40";
    assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    for word in ["stop", "resume"] {
        let late =
            world.post(&format!("{BULK}/{}/{word}", job["id"].as_str().expect("an id")), &json!({})).await;
        late.is_problem(409, "job_ended");
    }
}

#[tokio::test]
async fn what_parks_again_is_not_touched_twice() {
    let world = World::new().await;
    park(&world, 10).await;
    // All of them say no once more; their new items are younger than the job.
    world.stub.say("release", vec![Say::json(409, &json!({ "message": "still shipped" })); 10]);
    let before = world.stub.count("/release");
    let body = json!({ "action": "retry", "filter": {}, "all": true, "per_second": 20 });
    let job = done(&world, &start(&world, &body).await.id()).await;
    assert_eq!(counts(&job), [10, 10, 0, 0], "{job:#}");
    until(|| async {
        open(&world).await.0.as_array().is_some_and(|items| items.iter().all(|i| i["status"] == "open"))
    })
    .await;
    assert_eq!((open(&world).await.1, world.stub.count("/release") - before), (10, 10));
}

#[tokio::test]
async fn every_action_is_done_in_bulk() {
    let table = [
        ("assign", json!({ "assignee": "bob" }), None),
        ("resolve", json!({ "note": "by hand" }), Some(("resolved", "compensated"))),
        ("skip", json!({ "note": "let it be" }), Some(("skipped", "abandoned"))),
        ("abandon", json!({ "note": "enough" }), Some(("abandoned", "abandoned"))),
    ];
    for (action, rest, settled) in table {
        let world = World::new().await;
        let ids = park(&world, 5).await;
        let mut body = rest;
        (body["action"], body["filter"]) = (json!(action), json!({ "definition": "order", "kind": "step" }));
        let job = done(&world, &start(&world, &body).await.id()).await;
        assert_eq!(counts(&job), [5, 5, 0, 0], "{action}: {job:#}");
        let (query, how) = match settled {
            None => ("assignee=bob", Value::Null),
            Some((how, _)) => ("status=settled", json!(how)),
        };
        let items = world.get(&format!("/v1/repairs?{query}")).await.body["items"].clone();
        let items = items.as_array().expect("items");
        assert!(
            items.len() == 5 && items.iter().all(|item| item["settled"]["how"] == how),
            "{action}: {items:#?}"
        );
        if let Some((_, status)) = settled {
            for id in &ids {
                world.until(id, status).await;
            }
        }
    }
}

#[tokio::test]
async fn a_job_is_stopped_and_goes_on_where_it_stood() {
    let world = World::new().await;
    park(&world, 60).await;
    let body = json!({ "action": "retry", "filter": { "step": "hold" }, "per_second": 20 });
    let id = start(&world, &body).await.id();
    until(|| async { open(&world).await.1 < 55 }).await;
    let stopped = world.post(&format!("{BULK}/{id}/stop"), &json!({})).await;
    assert_eq!((stopped.status, stopped.text("status")), (200, "stopped"), "{stopped:?}");
    let again = world.post(&format!("{BULK}/{id}/stop"), &json!({})).await;
    assert_eq!((again.status, again.text("status")), (200, "stopped"), "{again:?}");
    let [total, so_far, failed, skipped] = counts(&again.body);
    assert!(total == 60 && (5..60).contains(&so_far) && failed + skipped == 0, "{again:?}");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(counts(&job(&world, &id).await), [60, so_far, 0, 0], "nothing is done while it is stopped");
    assert_eq!(open(&world).await.1 as u64, 60 - so_far);
    let resumed = world.post(&format!("{BULK}/{id}/resume"), &json!({})).await;
    assert_eq!((resumed.status, resumed.text("status")), (200, "running"), "{resumed:?}");
    let end = done(&world, &id).await;
    assert_eq!(counts(&end), [60, 60, 0, 0], "{end:#}");
    let list = world.get(BULK).await.body;
    assert_eq!(list["items"], json!([end]));
}

#[tokio::test]
async fn what_others_settle_first_is_skipped() {
    let world = World::new().await;
    park(&world, 30).await;
    let items = open(&world).await.0;
    let body = json!({ "action": "retry", "filter": { "step": "hold" }, "per_second": 10 });
    let id = start(&world, &body).await.id();
    for item in &items.as_array().expect("items")[20..] {
        let path = format!("/v1/repairs/{}/resolve", item["id"].as_str().expect("an id"));
        assert_eq!(world.post(&path, &json!({ "note": "mine", "by": "bob" })).await.status, 200);
    }
    let end = done(&world, &id).await;
    assert_eq!(counts(&end), [30, 20, 0, 10], "{end:#}");
}

#[tokio::test]
async fn what_cannot_be_done_is_counted_and_the_first_are_named() {
    let world = World::new().await;
    let text = crate::world::ORDER.replace("saga: order", "saga: broken").replace(
        "compensation: { operation: shop.release, retry",
        "compensation: { operation: shop.release, with: { x: \"${{ steps.hold.output.gone.gone }}\" }, retry",
    );
    assert_eq!(world.define("broken", &text).await.status, 201);
    for n in 0..22 {
        world.stub.say("charge", [Say::json(409, &json!({}))]);
        let mut body = start_order(&n.to_string());
        body["definition"] = json!("broken");
        let id = world.post("/v1/sagas", &body).await.id();
        world.until(&id, "repair").await;
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
    let body = json!({ "action": "retry", "filter": { "definition": "broken" } });
    let end = done(&world, &start(&world, &body).await.id()).await;
    assert_eq!(counts(&end), [22, 0, 22, 0], "{end:#}");
    let errors = end["errors"].as_array().expect("errors");
    assert!(errors.len() == 20 && errors.iter().all(|error| error["slug"] == "input_required"), "{end:#}");
}

#[tokio::test]
async fn a_job_goes_on_after_a_restart_on_sqlite() {
    let dir = std::env::temp_dir().join(format!("amends-bulk-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let open_store = || async {
        let options = Options::new(dir.join("amends.db"));
        Arc::new(SqliteStore::open(options).await.expect("the store opens"))
    };
    let mut world = World::new().await;
    world.server.stop().await;
    world.server = serve(config(), open_store().await).await;
    world.url = format!("http://{}", world.server.address());
    world.register_shop(json!({})).await;
    world.define("order", crate::world::ORDER).await;
    park(&world, 40).await;
    let body = json!({ "action": "retry", "filter": {}, "all": true, "per_second": 20, "by": "ada" });
    let id = start(&world, &body).await.id();
    until(|| async { open(&world).await.1 < 35 }).await;
    world.server.stop().await;
    world.server = serve(config(), open_store().await).await;
    world.url = format!("http://{}", world.server.address());
    let between = job(&world, &id).await;
    assert!(counts(&between)[1] >= 5 && counts(&between)[1] < 40, "{between:#}");
    let end = done(&world, &id).await;
    assert_eq!(counts(&end), [40, 40, 0, 0], "each has had its turn exactly once: {end:#}");
    until(|| async { open(&world).await.1 == 0 }).await;
    assert_eq!(world.stub.count("/release"), 80);
    world.server.stop().await;
    let _ = std::fs::remove_dir_all(&dir);
}

/// A second coordinator on the same store, as a world of its own.
async fn second(world: &World) -> World {
    let server = serve(config(), Arc::new(world.store.clone())).await;
    let url = format!("http://{}", server.address());
    World { server, url, store: world.store.clone(), stub: world.stub.clone(), http: world.http.clone() }
}

#[tokio::test]
async fn a_job_that_is_left_is_taken_up_by_another_coordinator() {
    let first = World::new().await;
    park(&first, 20).await;
    let second = second(&first).await;
    let body = json!({ "action": "retry", "filter": {}, "all": true, "per_second": 10 });
    let id = start(&first, &body).await.id();
    until(|| async { open(&second).await.1 < 17 }).await;
    first.server.stop().await;
    let end = done(&second, &id).await;
    assert_eq!(counts(&end), [20, 20, 0, 0], "{end:#}");
    assert_eq!(second.stub.count("/release"), 40, "each had its turn exactly once");
}

#[tokio::test]
async fn a_job_whose_worker_died_is_taken_up_after_a_while() {
    let world = World::new().await;
    park(&world, 3).await;
    let body = json!({ "action": "retry", "filter": {}, "all": true, "per_second": 1 });
    let id = start(&world, &body).await.id();
    let stopped = world.post(&format!("{BULK}/{id}/stop"), &json!({})).await;
    assert_eq!(stopped.text("status"), "stopped");
    let (uuid, owner) =
        (id.parse().expect("a UUID"), Owner { incarnation: Uuid::now_v7(), name: "dead".to_owned() });
    let mut row = world.store.job(uuid).await.expect("the store answers").expect("the job");
    let mut text: Value = serde_json::from_str(&row.text).expect("JSON");
    (text["status"], text["worker"]) = (json!("running"), json!(owner.incarnation));
    (row.text, row.is_running, row.version) = (text.to_string(), true, row.version + 1);
    assert!(world.store.put_job(&owner, &row).await.expect("the store answers"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(counts(&job(&world, &id).await)[1], counts(&stopped.body)[1], "it is left to its worker");
    until(|| async { job(&world, &id).await["done"].as_u64() > stopped.body["done"].as_u64() }).await;
    assert_eq!(counts(&done(&world, &id).await), [3, 3, 0, 0]);
}

#[tokio::test]
async fn jobs_that_cannot_be_meant_are_refused_and_none_is_made() {
    let world = World::new().await;
    refused(&world, "k").await;
    let table = [
        (json!({ "action": "retry", "filter": {} }), 422, "filter_required"),
        (json!({ "action": "resolve", "filter": { "step": "hold" } }), 422, "note_required"),
        (json!({ "action": "skip", "filter": {}, "note": "  ", "all": true }), 422, "note_required"),
        (json!({ "action": "retry", "filter": { "kind": "anomaly" } }), 409, "not_retryable"),
        (json!({ "action": "retry", "filter": { "reason": "anomaly" } }), 409, "not_retryable"),
        (json!({ "action": "retry" }), 400, "malformed_body"),
        (json!({ "filter": {} }), 400, "malformed_body"),
        (json!({ "action": "resolved", "filter": {} }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": [] }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "label": "x" } }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "status": "settled" } }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "saga": "x" } }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "step": "hold" }, "per_second": 0 }), 400, "malformed_body"),
        (
            json!({ "action": "retry", "filter": { "step": "hold" }, "per_second": 5001 }),
            400,
            "malformed_body",
        ),
        (json!({ "action": "assign", "filter": { "step": "hold" } }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "step": "hold" }, "by": "monitor" }), 400, "malformed_body"),
        (json!({ "action": "retry", "filter": { "step": "hold" }, "input": {} }), 400, "malformed_body"),
    ];
    for (body, status, slug) in table {
        let answer = world.post(BULK, &body).await;
        println!("{body}: {}", answer.body["detail"]);
        answer.is_problem(status, slug);
    }
    let unknown = format!("{BULK}/{}", Uuid::nil());
    world.get(&unknown).await.is_problem(404, "not_found");
    world.get(&format!("{BULK}/7")).await.is_problem(404, "not_found");
    world.post(&format!("{unknown}/stop"), &json!({})).await.is_problem(404, "not_found");
    world.post(&format!("{unknown}/resume"), &json!({ "x": 1 })).await.is_problem(400, "malformed_body");
    world.get(&format!("{BULK}?cursor=x")).await.is_problem(400, "bad_query");
    assert_eq!(world.get(BULK).await.body["items"], json!([]));
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages() {
    let world = World::new().await;
    let body = json!({ "action": "retry", "filter": { "step": "hold" } });
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, json!(start(&world, &body).await.id()));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("{BULK}?limit=2{cursor}")).await.body;
        seen.extend(page["items"].as_array().expect("items").iter().map(|job| job["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ids);
    for id in &ids {
        assert_eq!(counts(&done(&world, id.as_str().expect("an id")).await), [0, 0, 0, 0]);
    }
}
