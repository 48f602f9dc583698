//! Cancelling and signalling, in every state a saga can be in.

use crate::{
    stub::Say,
    world::{World, send},
};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

async fn start_paid(world: &World) -> String {
    world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id()
}

#[tokio::test]
async fn a_running_saga_is_cancelled_and_undone() {
    let world = World::new().await;
    let id = start_paid(&world).await;
    world.until_step(&id, 1, "waiting").await;
    let cancel = format!("/v1/sagas/{id}/cancel");
    // The undo fails twice, so the saga can be seen while it is compensating.
    world.stub.say("release", [Say::Late(Duration::from_millis(300)), Say::Text(503, String::new())]);
    let answer = world.post(&cancel, &json!({ "reason": "changed my mind" })).await;
    assert_eq!((answer.status, answer.text("status")), (200, "compensating"), "{answer:?}");
    let before = world.journal(&id).await.len();
    let again = world.post(&cancel, &json!({})).await;
    assert_eq!((again.status, again.text("status")), (200, "compensating"), "{again:?}");
    assert_eq!(world.journal(&id).await.len(), before, "the second cancel changes nothing");
    let saga = world.until(&id, "compensated").await;
    assert_eq!(saga["error"], json!({ "step": null, "kind": "cancelled", "message": "changed my mind" }));
    let late = world.post(&cancel, &json!({})).await;
    late.is_problem(409, "saga_ended");
}

#[tokio::test]
async fn a_cancel_needs_no_body_and_reads_it_strictly() {
    let world = World::new().await;
    let id = start_paid(&world).await;
    let path = format!("/v1/sagas/{id}/cancel");
    world.post(&path, &json!({ "why": "x" })).await.is_problem(400, "malformed_body");
    world.post(&path, &json!({ "reason": 7 })).await.is_problem(400, "malformed_body");
    world.post(&path, &json!([])).await.is_problem(400, "malformed_body");
    assert_eq!(send(world.request(Method::POST, &path)).await.status, 200);
    world.until(&id, "compensated").await;
}

#[tokio::test]
async fn a_cancel_with_a_call_in_flight_undoes_that_call_too() {
    let world = World::new().await;
    world.stub.say("hold", [Say::Late(Duration::from_millis(400))]);
    let id = start_paid(&world).await;
    world.until_step(&id, 0, "running").await;
    assert_eq!(world.post(&format!("/v1/sagas/{id}/cancel"), &json!({})).await.status, 200);
    world.until(&id, "compensated").await;
    assert_eq!(world.stub.count("/release"), 1);
}

#[tokio::test]
async fn an_early_signal_is_kept_and_taken_when_its_step_is_reached() {
    let world = World::new().await;
    world.stub.say("hold", [Say::Late(Duration::from_millis(300))]);
    let id = start_paid(&world).await;
    let path = format!("/v1/sagas/{id}/signals/payment");
    let early = world.post(&path, &json!({ "payload": { "amount": 5 } })).await;
    assert_eq!((early.status, early.text("status")), (202, "running"), "{early:?}");
    let again = world.post(&path, &json!({ "payload": { "amount": 5 } })).await;
    assert_eq!(again.status, 202, "{again:?}");
    world.post(&path, &json!({ "payload": { "amount": 6 } })).await.is_problem(409, "signal_conflict");
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["output"], json!({ "amount": 5 }));
    assert_eq!(saga["steps"][1]["output"], json!({ "amount": 5 }));
}

#[tokio::test]
async fn a_signal_counts_once() {
    let world = World::new().await;
    world.stub.say("charge", [Say::Late(Duration::from_millis(400))]);
    let id = start_paid(&world).await;
    world.until_step(&id, 1, "waiting").await;
    let path = format!("/v1/sagas/{id}/signals/payment");
    let cases = [
        (json!({ "id": "tx-1", "payload": 5 }), 200),
        (json!({ "id": "tx-1", "payload": 5 }), 200),
        (json!({ "payload": 5 }), 200),
        (json!({ "id": "tx-1", "payload": 9 }), 200),
        (json!({ "id": "tx-2", "payload": 9 }), 409),
        (json!({ "payload": 9 }), 409),
    ];
    for (body, status) in &cases {
        let answer = world.post(&path, body).await;
        assert_eq!(answer.status, *status, "{body}: {answer:?}");
    }
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["output"], 5);
    for (body, status) in &cases {
        let answer = world.post(&path, body).await;
        assert_eq!(answer.status, *status, "after the end, {body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_signal_nobody_awaits_or_nobody_understands_is_refused() {
    let world = World::new().await;
    let id = start_paid(&world).await;
    let path = |name: &str| format!("/v1/sagas/{id}/signals/{name}");
    world.post(&path("refund"), &json!({ "payload": 1 })).await.is_problem(404, "no_such_signal");
    world.post(&path("Payment"), &json!({ "payload": 1 })).await.is_problem(400, "bad_name");
    world.post(&path("payment"), &json!({})).await.is_problem(400, "malformed_body");
    world.post(&path("payment"), &json!({ "payload": 1, "x": 2 })).await.is_problem(400, "malformed_body");
    assert_eq!(world.get(&path("payment")).await.status, 405);
    world.until_step(&id, 1, "waiting").await;
}

#[tokio::test]
async fn a_signal_after_its_time_is_refused() {
    let world = World::new().await;
    world.define("paid", crate::world::PAID).await;
    let text = crate::world::PAID.replace("saga: paid", "saga: hasty").replace("15m", "50ms");
    assert_eq!(world.define("hasty", &text).await.status, 201);
    let id = world.post("/v1/sagas", &json!({ "definition": "hasty", "input": {} })).await.id();
    let saga = world.until(&id, "compensated").await;
    assert_eq!((&saga["error"]["step"], &saga["error"]["kind"]), (&json!("payment"), &json!("timeout")));
    let late = world.post(&format!("/v1/sagas/{id}/signals/payment"), &json!({ "payload": 1 })).await;
    assert_eq!(late.status, 409, "{late:?}");
}
