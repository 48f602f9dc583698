//! Starting: new, repeated, waited for, at once with others, and at the limit.

use crate::{
    stub::Say,
    world::{World, config, send, start_order},
};
use amends_server::{Config, SagaLimits};
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_start_is_answered_with_the_saga_and_its_address() {
    let world = World::new().await;
    let body = json!({ "definition": "order@1", "input": { "order": "7" }, "labels": { "order": "7" } });
    let answer = world.post("/v1/sagas", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.id();
    assert_eq!(answer.header("location"), format!("/v1/sagas/{id}"));
    assert_eq!((&answer.body["definition"], &answer.body["version"]), (&json!("order"), &json!(1)));
    assert_eq!((&answer.body["labels"], &answer.body["key"]), (&json!({ "order": "7" }), &json!(null)));
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["output"], json!({ "charged": { "ok": true } }));
    assert_eq!(saga["steps"][0]["action"]["attempts"], 1);
    assert!(saga["ended_at"].is_string() && saga["error"].is_null(), "{saga}");
}

#[tokio::test]
async fn a_start_that_is_waited_for_is_answered_with_its_end() {
    let world = World::new().await;
    let answer = world.order("a").await;
    assert_eq!((answer.status, answer.text("status")), (201, "completed"), "{answer:?}");
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    let answer = world.order("b").await;
    assert_eq!((answer.status, answer.text("status")), (201, "compensated"), "{answer:?}");
    let error = json!({ "step": "charge", "kind": "refused", "message": "no money" });
    assert_eq!(answer.body["error"], error);
    let again = world.order("b").await;
    assert_eq!((again.status, again.text("status"), again.id()), (200, "compensated", answer.id()));
}

#[tokio::test]
async fn a_wait_that_runs_out_tells_the_truth() {
    let world = World::new().await;
    let start = json!({ "definition": "paid", "input": {}, "key": "k" });
    let begin = Instant::now();
    let answer = world.post("/v1/sagas?wait=300ms", &start).await;
    assert_eq!((answer.status, answer.text("status")), (202, "running"), "{answer:?}");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let id = answer.id();
    let again = world.post("/v1/sagas?wait=100ms", &start).await;
    assert_eq!((again.status, again.id()), (202, id.clone()));
    let again = world.post("/v1/sagas", &start).await;
    assert_eq!((again.status, again.id()), (200, id.clone()));
    let shown = world.get(&format!("/v1/sagas/{id}?wait=100ms")).await;
    assert_eq!((shown.status, shown.text("status")), (202, "running"));
    let shown = world.get(&format!("/v1/sagas/{id}")).await;
    assert_eq!((shown.status, shown.text("status")), (200, "running"));
    let path = format!("/v1/sagas/{id}?wait=10s");
    let pay = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.post(&format!("/v1/sagas/{id}/signals/payment"), &json!({ "payload": 7 })).await
    };
    let (waited, paid) = tokio::join!(world.get(&path), pay);
    assert_eq!((waited.status, waited.text("status")), (200, "completed"), "{waited:?}");
    assert_eq!(waited.body["output"], 7);
    assert_eq!(paid.status, 200, "{paid:?}");
}

#[tokio::test]
async fn the_same_start_made_many_times_at_once_is_one_saga() {
    let world = World::new().await;
    for key in ["a", "b", "c"] {
        let body = start_order(key);
        let answers = join_all((0..32).map(|_| world.post("/v1/sagas?wait=10s", &body))).await;
        let new = answers.iter().filter(|answer| answer.status == 201).count();
        let same = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((new, same), (1, 31), "{answers:#?}");
        assert!(answers.iter().all(|answer| answer.id() == answers[0].id()));
        assert!(answers.iter().all(|answer| answer.text("status") == "completed"));
    }
    assert_eq!((world.sagas().await, world.stub.count("/hold")), (3, 3));
}

#[tokio::test]
async fn of_many_different_starts_under_one_key_one_wins() {
    let world = World::new().await;
    let bodies: Vec<_> = (0..16)
        .map(|n| json!({ "definition": "order", "input": { "order": n.to_string() }, "key": "k" }))
        .collect();
    let answers = join_all(bodies.iter().map(|body| world.post("/v1/sagas", body))).await;
    let new = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!((new, world.sagas().await), (1, 1), "{answers:#?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409 | 429)), "{answers:#?}");
}

#[tokio::test]
async fn a_definition_can_come_with_the_start_and_is_kept_for_it_alone() {
    let world = World::new().await;
    let step = json!({ "action": "shop.hold", "compensation": "shop.release", "with": { "a": 1 } });
    let whole = json!({ "saga": "once", "version": 1, "steps": [{ "only": step }] });
    let start = json!({ "definition": whole, "input": {}, "key": "k" });
    let answer = world.post("/v1/sagas?wait=10s", &start).await;
    assert_eq!((answer.status, answer.text("status")), (201, "completed"), "{answer:?}");
    assert_eq!(world.post("/v1/sagas", &start).await.status, 200);
    assert_eq!(world.get(&format!("/v1/sagas/{}", answer.id())).await.body["definition"], "once");
    let by_name = world.post("/v1/sagas", &json!({ "definition": "once", "input": {} })).await;
    by_name.is_problem(404, "unknown_definition");
}

#[tokio::test]
async fn a_name_alone_means_the_highest_version() {
    let world = World::new().await;
    let text = crate::world::ORDER.replace("version: 1", "version: 10");
    let request = world.request(Method::PUT, "/v1/definitions/order/10");
    let put = send(request.header("content-type", "application/yaml").body(text)).await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(world.order("new").await.body["version"], 10);
    let old = json!({ "definition": "order@1", "input": { "order": "old" } });
    assert_eq!(world.post("/v1/sagas", &old).await.body["version"], 1);
}

#[tokio::test]
async fn at_the_limit_a_start_is_told_to_come_back_and_a_repeat_is_not() {
    let limits = SagaLimits { sagas_max: 2, ..SagaLimits::default() };
    let world = World::bare(Config { sagas: limits, ..config() }).await;
    world.register_shop(json!({})).await;
    world.define("paid", crate::world::PAID).await;
    let start = |key: &str| json!({ "definition": "paid", "input": {}, "key": key });
    let first = world.post("/v1/sagas", &start("a")).await;
    assert_eq!(world.post("/v1/sagas", &start("b")).await.status, 201);
    let third = world.post("/v1/sagas", &start("c")).await;
    third.is_problem(429, "too_many_sagas");
    assert_eq!(third.header("retry-after"), "1");
    assert_eq!(world.post("/v1/sagas", &start("a")).await.status, 200);
    world.post(&format!("/v1/sagas/{}/cancel", first.id()), &json!({})).await;
    world.until(&first.id(), "compensated").await;
    assert_eq!(world.post("/v1/sagas", &start("c")).await.status, 201);
}
