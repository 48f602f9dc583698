//! Pending calls answered by their participant: by the one-time token, read by the table of answers, once.

use crate::{
    stub::{Asked, Say},
    world::{Answer, World, config, send},
};
use amends_server::{Config, Role, SagaLimits, Tokens};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Instant;

/// That a call is being worked on, for long.
fn pending() -> Say {
    Say::With(202, "retry-after", "600".to_owned())
}

/// Starts `order` whose charge is pending, and waits until its participant has said so.
async fn charged(world: &World, key: &str) -> (String, Asked) {
    world.stub.say("charge", [pending()]);
    let id = world.post("/v1/sagas", &crate::world::start_order(key)).await.id();
    until_pending(world, &id, 1, "action").await;
    (id, call(world, "/charge"))
}

/// The newest call of a path.
fn call(world: &World, path: &str) -> Asked {
    world.stub.asked().into_iter().rfind(|asked| asked.path == path).expect("it was called")
}

async fn until_pending(world: &World, id: &str, step: usize, op: &str) {
    let begun = Instant::now();
    loop {
        let saga = world.get(&format!("/v1/sagas/{id}")).await.body;
        if saga["steps"][step][op]["next_attempt_at"].is_string() {
            return;
        }
        assert!(begun.elapsed() < crate::world::PATIENCE, "the call is not pending: {saga:#}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Answers a call at the address that came with it.
async fn answer(world: &World, call: &Asked, status: u16, body: Value) -> Answer {
    let token = call.header("saga-token");
    let request = world.http.post(call.header("saga-callback"));
    send(request.json(&json!({ "token": token, "status": status, "body": body }))).await
}

#[tokio::test]
async fn an_answer_is_taken_once_and_the_same_again_changes_nothing() {
    let world = World::new().await;
    let (id, call) = charged(&world, "k").await;
    let taken = answer(&world, &call, 200, json!({ "charge": 7 })).await;
    let expected = json!({ "saga": id, "step": "charge", "op": "action", "status": "done" });
    assert_eq!((taken.status, &taken.body), (200, &expected), "{taken:?}");
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["output"], json!({ "charged": { "charge": 7 } }));
    let journal = world.journal(&id).await;
    let again = answer(&world, &call, 200, json!({ "charge": 7 })).await;
    assert_eq!((again.status, &again.body), (200, &expected));
    for (status, body) in
        [(200, json!({ "charge": 8 })), (409, json!({})), (503, json!({})), (202, json!({}))]
    {
        answer(&world, &call, status, body).await.is_problem(409, "answer_conflict");
    }
    assert_eq!(world.journal(&id).await, journal);
    assert_eq!(world.stub.count("/charge"), 1, "nobody asked again");
}

#[tokio::test]
async fn the_status_means_what_it_means_in_an_answer() {
    for (status, body, message) in [
        (409, json!({ "message": "no money" }), "no money"),
        (422, json!({ "detail": "no card" }), "no card"),
        (410, Value::Null, "status 410 with an empty body"),
    ] {
        let world = World::new().await;
        let (id, call) = charged(&world, "k").await;
        let taken = answer(&world, &call, status, body.clone()).await;
        assert_eq!((taken.status, taken.text("status")), (200, "refused"), "{status}: {taken:?}");
        let saga = world.until(&id, "compensated").await;
        let said = saga["error"]["message"].as_str().expect("a message");
        assert!(saga["error"]["kind"] == "refused" && said.ends_with(message), "{status}: {saga:#}");
        assert_eq!(answer(&world, &call, status, body).await.status, 200, "the same again");
        answer(&world, &call, 200, json!(1)).await.is_problem(409, "answer_conflict");
    }
}

#[tokio::test]
async fn no_definite_answer_is_followed_by_another_attempt_or_by_nothing() {
    let world = World::new().await;
    let (id, call) = charged(&world, "k").await;
    let journal = world.journal(&id).await;
    for status in [202, 425] {
        let still = answer(&world, &call, status, Value::Null).await;
        assert_eq!((still.status, still.text("status")), (200, "running"), "{still:?}");
    }
    assert_eq!(world.journal(&id).await, journal, "that it is pending is known");
    assert_eq!(answer(&world, &call, 503, json!({ "message": "crashed" })).await.status, 200);
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["steps"][1]["action"]["last_error"]["message"], "crashed");
    assert_eq!(world.stub.count("/charge"), 2, "it was asked again");
}

#[tokio::test]
async fn a_compensation_is_answered_by_a_token_of_its_own() {
    let world = World::new().await;
    world.stub.say("charge", [Say::json(409, &json!({}))]);
    world.stub.say("release", [pending()]);
    let id = world.post("/v1/sagas", &crate::world::start_order("k")).await.id();
    until_pending(&world, &id, 0, "compensation").await;
    let (hold, release) = (call(&world, "/hold"), call(&world, "/release"));
    assert_ne!(hold.header("saga-token"), release.header("saga-token"));
    answer(&world, &hold, 409, json!({})).await.is_problem(409, "answer_conflict");
    let taken = answer(&world, &release, 410, Value::Null).await;
    assert_eq!((taken.text("op"), taken.text("status")), ("compensation", "done"), "{taken:?}");
    world.until(&id, "compensated").await;
}

#[tokio::test]
async fn an_item_of_a_list_is_answered_at_its_own_address() {
    let world = World::new().await;
    let text = "{ saga: each, version: 1, steps: [{ hold: { for_each: \"${{ input.of }}\", parallel: 2, \
                action: shop.hold, compensation: shop.release, with: { n: \"${{ item }}\" } } }] }";
    assert_eq!(world.define("each", text).await.status, 201);
    world.stub.say("hold", [pending(), pending()]);
    let start = json!({ "definition": "each", "input": { "of": [5, 6] } });
    let id = world.post("/v1/sagas", &start).await.id();
    until_pending(&world, &id, 1, "action").await;
    until_pending(&world, &id, 2, "action").await;
    let calls = world.stub.asked();
    assert!(calls.iter().any(|call| call.header("saga-callback").contains("hold%5B0%5D")), "{calls:?}");
    for call in &calls {
        let step = call.header("saga-step").to_owned();
        let taken = answer(&world, call, 200, json!(step)).await;
        assert_eq!((taken.status, taken.text("step")), (200, step.as_str()), "{taken:?}");
    }
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["steps"][0]["action"]["output"], json!(["hold[0]", "hold[1]"]));
    let of_step = format!("/v1/sagas/{id}/steps/hold/answer");
    let body = json!({ "token": calls[0].header("saga-token"), "status": 200 });
    world.post(&of_step, &body).await.is_problem(404, "unknown_step");
}

#[tokio::test]
async fn nothing_but_the_token_of_the_call_itself_answers_it() {
    let world = World::new().await;
    let (id, call) = charged(&world, "a").await;
    let (other, _) = charged(&world, "b").await;
    let (token, journal) = (call.header("saga-token").to_owned(), world.journal(&id).await);
    let to = |id: &str, step: &str| format!("/v1/sagas/{id}/steps/{step}/answer");
    let body = |token: &str| json!({ "token": token, "status": 200, "body": {} });
    let shorter = &token[1..];
    for wrong in ["", "x", shorter, &format!("{token}x"), &"A".repeat(43), &"x".repeat(100_000)] {
        world.post(&to(&id, "charge"), &body(wrong)).await.is_problem(403, "token_invalid");
    }
    world.post(&to(&id, "hold"), &body(&token)).await.is_problem(403, "token_invalid");
    world.post(&to(&other, "charge"), &body(&token)).await.is_problem(403, "token_invalid");
    world.post(&to(&id, "nothing"), &body(&token)).await.is_problem(404, "unknown_step");
    world.post(&to(&id, "charge%5B0%5D"), &body(&token)).await.is_problem(404, "unknown_step");
    world.post(&to(&id, "%FF"), &body(&token)).await.is_problem(404, "not_found");
    let nobody = "0193c3a0-0000-7000-8000-000000000000";
    world.post(&to(nobody, "charge"), &body(&token)).await.is_problem(404, "not_found");
    for (body, path) in [
        (json!({ "token": token, "status": 199 }), "/status"),
        (json!({ "token": token, "status": "200" }), "/status"),
        (json!({ "token": 7, "status": 200 }), "/token"),
        (json!({ "token": token, "status": 200, "step": "x" }), "/step"),
    ] {
        let answer = world.post(&to(&id, "charge"), &body).await;
        answer.is_problem(400, "malformed_body");
        assert_eq!(answer.body["errors"][0]["path"], path, "{answer:?}");
    }
    let large = json!({ "token": token, "status": 200, "body": "x".repeat(1 << 20) });
    world.post(&to(&id, "charge"), &large).await.is_problem(413, "body_too_large");
    assert_eq!(world.journal(&id).await, journal, "nothing was changed");
}

#[tokio::test]
async fn a_step_that_waits_for_a_signal_has_no_call_to_answer() {
    let world = World::new().await;
    let id = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&id, 1, "waiting").await;
    let body = json!({ "token": "t", "status": 200 });
    world.post(&format!("/v1/sagas/{id}/steps/payment/answer"), &body).await.is_problem(404, "unknown_step");
}

#[tokio::test]
async fn the_token_is_authority_enough_and_shows_nothing_of_the_saga() {
    let tokens = Tokens::new([("adm", Role::Admin)]);
    let world = World::bare(Config { tokens, ..config() }).await;
    let as_admin = |method: Method, path: &str| world.request(method, path).bearer_auth("adm");
    let operations = json!({ "hold": {}, "release": {}, "charge": {}, "refund": {} });
    let shop = json!({ "instances": [world.stub.url], "operations": operations });
    send(as_admin(Method::PUT, "/v1/participants/shop").json(&shop)).await;
    let yaml = as_admin(Method::PUT, "/v1/definitions/order/1").header("content-type", "application/yaml");
    send(yaml.body(crate::world::ORDER)).await;
    world.stub.say("charge", [pending()]);
    let id = send(as_admin(Method::POST, "/v1/sagas").json(&crate::world::start_order("k"))).await.id();
    let begun = Instant::now();
    while world.stub.count("/charge") == 0 {
        assert!(begun.elapsed() < crate::world::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let taken = answer(&world, &call(&world, "/charge"), 200, json!({})).await;
    assert_eq!(taken.body, json!({ "saga": id, "step": "charge", "op": "action", "status": "done" }));
    world.get(&format!("/v1/sagas/{id}")).await.is_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_saga_that_sleeps_over_its_pending_call_is_woken_by_the_answer() {
    let sagas = SagaLimits { sleeping_max: 0, ..SagaLimits::default() };
    let mut world = World::with(Config { sagas, ..config() }).await;
    let (id, first) = charged(&world, "a").await;
    let (other, second) = charged(&world, "b").await;
    assert_eq!(answer(&world, &first, 200, json!(1)).await.status, 200);
    world.until(&id, "completed").await;
    // The secret is the store's: what an earlier coordinator has called is answered to the next.
    world.restart().await;
    let path = format!("/v1/sagas/{other}/steps/charge/answer");
    let body = json!({ "token": second.header("saga-token"), "status": 200, "body": 2 });
    let taken = world.post(&path, &body).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(world.until(&other, "completed").await["output"], json!({ "charged": 2 }));
}
