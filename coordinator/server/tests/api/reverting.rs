//! Reverting: a completed saga is undone as if it had failed at its very end, and nothing else ever is.

use crate::{
    stub::Say,
    world::{World, send},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// A saga that can only go forward once `charge` is done, and then waits.
const SHIPPED: &str = r#"
saga: shipped
version: 1
steps:
  - charge: { action: shop.charge, compensation: shop.refund, with: {}, pivot: true }
  - parcel: { await: parcel, timeout: 10m, default: "lost" }
"#;

fn verb(id: &str, verb: &str) -> String {
    format!("/v1/sagas/{id}/{verb}")
}

async fn shipped(world: &World) -> String {
    assert!(world.define("shipped", SHIPPED).await.status < 300);
    let id = world.post("/v1/sagas", &json!({ "definition": "shipped", "input": {} })).await.id();
    world.until_step(&id, 1, "waiting").await;
    id
}

#[tokio::test]
async fn a_completed_saga_is_undone_in_reverse_and_says_why() {
    let world = World::new().await;
    let id = world.order("k").await.id();
    let answer = world.post(&verb(&id, "revert?wait=10s"), &json!({ "reason": "sent back" })).await;
    assert_eq!(
        (answer.status, answer.text("status"), answer.id()),
        (200, "compensated", id.clone()),
        "{answer:?}"
    );
    assert_eq!(answer.body["error"], json!({ "step": null, "kind": "reverted", "message": "sent back" }));
    let journal = world.journal(&id).await;
    let expected = [
        "completed",
        "taken_over",
        "compensating",
        "call_started charge compensation",
        "call_done charge compensation",
        "call_started hold compensation",
        "call_done hold compensation",
        "compensated",
    ];
    assert_eq!(journal[journal.len() - 8..], expected);
    let again = world.post(&verb(&id, "revert"), &json!({ "reason": "again" })).await;
    again.is_problem(409, "not_completed");
    assert!(
        again.body["reverted"] == true && again.text("detail").contains("it was reverted at"),
        "{again:?}"
    );
    assert_eq!(world.journal(&id).await, journal);
    let key = world.order("k").await;
    assert_eq!(
        (key.status, key.id(), key.text("status")),
        (200, id, "compensated"),
        "its key is still its own"
    );
}

#[tokio::test]
async fn a_revert_needs_no_body_and_answers_before_the_end() {
    let world = World::new().await;
    let id = world.order("k").await.id();
    world.stub.say("refund", [Say::Late(Duration::from_millis(200))]);
    let answer = send(world.request(Method::POST, &verb(&id, "revert"))).await;
    assert_eq!((answer.status, answer.text("status")), (200, "compensating"), "{answer:?}");
    assert_eq!(answer.body["error"]["message"], "reverted by request");
    assert_eq!(
        (&answer.body["ended_at"], &answer.body["output"]["charged"]),
        (&Value::Null, &json!({ "ok": true }))
    );
    let again = world.post(&verb(&id, "revert"), &json!({})).await;
    again.is_problem(409, "not_completed");
    assert!(again.body["reverted"] == true && again.text("detail").contains("compensating"), "{again:?}");
    world.until(&id, "compensated").await;
    assert_eq!((world.stub.count("/refund"), world.stub.count("/release")), (1, 1));
}

#[tokio::test]
async fn many_reverts_at_once_undo_once() {
    let world = World::new().await;
    let id = world.order("k").await.id();
    let (path, body) = (verb(&id, "revert?wait=10s"), json!({}));
    let answers = join_all((0..16).map(|_| world.post(&path, &body))).await;
    let (reverted, told): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((reverted.len(), reverted[0].text("status")), (1, "compensated"), "{answers:#?}");
    told.iter().for_each(|answer| answer.is_problem(409, "not_completed"));
    assert_eq!((world.stub.count("/refund"), world.stub.count("/release")), (1, 1));
}

#[tokio::test]
async fn an_undo_that_fails_waits_in_the_repair_queue_as_ever() {
    let world = World::new().await;
    let id = world.order("k").await.id();
    world.stub.say("refund", [Say::json(409, &json!({ "message": "the card is gone" }))]);
    assert_eq!(world.post(&verb(&id, "revert"), &json!({})).await.status, 200);
    let saga = world.until(&id, "repair").await;
    let item = saga["repairs"][0]["id"].as_str().expect("an id").to_owned();
    let note = json!({ "note": "paid in cash", "by": "ada" });
    assert_eq!(world.post(&format!("/v1/repairs/{item}/resolve"), &note).await.status, 200);
    world.until(&id, "compensated").await;
}

#[tokio::test]
async fn only_what_has_completed_is_reverted() {
    let world = World::new().await;
    let id = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&id, 1, "waiting").await;
    let running = world.post(&verb(&id, "revert"), &json!({})).await;
    running.is_problem(409, "not_completed");
    assert!(running.text("detail").contains("running"), "{running:?}");
    world.post(&verb(&id, "cancel?wait=10s"), &json!({})).await;
    let undone = world.post(&verb(&id, "revert"), &json!({})).await;
    undone.is_problem(409, "not_completed");
    assert!(undone.text("detail").contains("compensated"), "{undone:?}");
    let nobody = verb("0193c3a0-0000-7000-8000-000000000000", "revert");
    world.post(&nobody, &json!({})).await.is_problem(404, "not_found");
    world.post(&verb("x", "revert"), &json!({})).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn past_its_pivot_a_saga_is_neither_cancelled_nor_reverted() {
    let world = World::new().await;
    let id = shipped(&world).await;
    let before = world.journal(&id).await;
    let cancel = world.post(&verb(&id, "cancel"), &json!({})).await;
    cancel.is_problem(409, "past_pivot");
    assert_eq!(cancel.body["step"], "charge");
    world.post(&verb(&id, "revert"), &json!({})).await.is_problem(409, "not_completed");
    assert_eq!(world.journal(&id).await, before, "nothing was changed");
    let paid = world.post(&format!("/v1/sagas/{id}/signals/parcel"), &json!({ "payload": "here" })).await;
    assert_eq!(paid.status, 200, "{paid:?}");
    world.until(&id, "completed").await;
    let journal = world.journal(&id).await;
    let revert = world.post(&verb(&id, "revert"), &json!({})).await;
    revert.is_problem(409, "past_pivot");
    assert_eq!(revert.body["step"], "charge");
    assert_eq!((world.journal(&id).await, world.stub.count("/refund")), (journal, 0));
    world.post(&verb(&id, "cancel"), &json!({})).await.is_problem(409, "saga_ended");
}

#[tokio::test]
async fn a_reason_is_read_strictly_and_is_bounded() {
    let world = World::new().await;
    let id = world.order("k").await.id();
    for verb in ["revert", "cancel"].map(|name| verb(&id, name)) {
        for (body, path) in [
            (json!({ "reason": 7 }), "/reason"),
            (json!({ "reason": "x".repeat(4097) }), "/reason"),
            (json!({ "why": "x" }), "/why"),
        ] {
            let answer = world.post(&verb, &body).await;
            answer.is_problem(400, "malformed_body");
            assert_eq!(answer.body["errors"][0]["path"], path, "{answer:?}");
        }
        world.post(&format!("{verb}?wit=1s"), &json!({})).await.is_problem(400, "bad_query");
        world.post(&format!("{verb}?wait=61s"), &json!({})).await.is_problem(400, "bad_query");
    }
    assert_eq!(world.get(&format!("/v1/sagas/{id}")).await.text("status"), "completed");
}

#[tokio::test]
async fn what_an_earlier_coordinator_has_completed_is_reverted_by_the_next() {
    let mut world = World::new().await;
    let id = world.order("k").await.id();
    world.restart().await;
    let answer = world.post(&verb(&id, "revert?wait=10s"), &json!({})).await;
    assert_eq!((answer.status, answer.text("status")), (200, "compensated"), "{answer:?}");
    world.restart().await;
    let again = world.post(&verb(&id, "revert"), &json!({})).await;
    again.is_problem(409, "not_completed");
    assert_eq!(again.body["reverted"], true, "{again:?}");
    assert_eq!((world.stub.count("/refund"), world.stub.count("/release")), (1, 1));
}
