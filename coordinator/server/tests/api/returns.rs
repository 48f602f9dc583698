//! What a step returns, as its definition says: held against answers, polls, callbacks, signals and operators.

use crate::{
    stub::Say,
    world::{Answer, World, config, send},
};
use serde_json::{Value, json};

/// A call, a wait, and a call past the pivot; each returns a number somewhere.
const SALE: &str = r#"
saga: sale
version: 1
steps:
  - hold:
      action: shop.hold
      compensation: shop.release
      retry: { attempts: 3, first: 10ms, max: 20ms }
      returns: { type: object, required: [hold], properties: { hold: { type: integer } } }
  - paid:
      await: paid
      timeout: 15m
      returns: { type: object, required: [amount], properties: { amount: { type: integer, minimum: 1 } } }
  - charge: { action: shop.charge, compensation: shop.refund, pivot: true }
  - ship:
      action: shop.ship
      retry: { attempts: 2, first: 10ms, max: 20ms }
      returns: { type: integer }
output: { hold: "${{ steps.hold.output.hold }}", amount: "${{ steps.paid.output.amount }}", ship: "${{ steps.ship.output }}" }
"#;

async fn world() -> World {
    let world = World::bare(config()).await;
    let operations = json!({
        "hold": { "status": true }, "release": {}, "charge": {}, "refund": {}, "ship": {}
    });
    assert!(world.offer(operations).await.status < 300);
    assert_eq!(world.define("sale", SALE).await.status, 201);
    world
}

async fn start(world: &World) -> String {
    world.post("/v1/sagas", &json!({ "definition": "sale", "input": {} })).await.id()
}

async fn pay(world: &World, id: &str, payload: Value) -> Answer {
    world.post(&format!("/v1/sagas/{id}/signals/paid"), &json!({ "payload": payload })).await
}

fn errors(answer: &Answer) -> Vec<(&str, &str)> {
    answer.is_problem(422, "output_does_not_fit");
    let text = |value: &'_ Value| value.as_str().map(str::to_owned);
    let errors = answer.body["errors"].as_array().expect("errors");
    assert!(errors.iter().all(|error| text(&error["message"]).is_some()), "{answer:?}");
    errors.iter().map(|it| (it["path"].as_str().unwrap(), it["message"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again_and_then_undone() {
    let world = world().await;
    let misfit = || Say::json(200, &json!({ "hold": "seven" }));
    world.stub.say("hold", [misfit()]);
    world.stub.say("hold?status", [misfit(), misfit()]);
    let id = start(&world).await;
    let saga = world.until(&id, "compensated").await;
    let message =
        "the answer does not fit the step's \"returns\": at /hold: \"seven\" is not of type \"integer\"";
    assert_eq!(saga["error"], json!({ "step": "hold", "kind": "unknown", "message": message }), "{saga:#}");
    assert_eq!(saga["steps"][0]["action"]["last_error"]["message"], message);
    assert_eq!(world.stub.count("/release"), 1, "it may have been done, so it is undone");
    let breaker = world.get("/v1/participants/shop").await;
    assert_eq!(breaker.body["breaker"]["state"], "closed", "the participant is well: {breaker:?}");
}

#[tokio::test]
async fn what_a_pending_call_comes_to_is_looked_at_when_it_is_asked_for() {
    let world = world().await;
    world.stub.say("hold", [Say::json(202, &json!({}))]);
    world.stub.say("hold?status", [Say::json(200, &json!([1])), Say::json(200, &json!({ "hold": 7 }))]);
    let id = start(&world).await;
    let saga = world.until_step(&id, 1, "waiting").await;
    let hold = &saga["steps"][0]["action"];
    assert_eq!(hold["output"], json!({ "hold": 7 }), "{saga:#}");
    assert!(hold["last_error"]["message"].as_str().expect("text").ends_with("is not of type \"object\""));
    assert_eq!(
        world.journal(&id).await[2..5],
        ["call_pending hold action", "call_failed hold action", "call_done hold action"]
    );
}

#[tokio::test]
async fn a_participant_that_answers_by_itself_is_told_and_may_answer_again() {
    let world = world().await;
    world.stub.say("hold", [Say::With(202, "retry-after", "600".to_owned())]);
    let id = start(&world).await;
    while world.journal(&id).await.len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let call = world.stub.asked().pop().expect("it was called");
    let journal = world.journal(&id).await;
    let answer = async |status: u16, body: Value| {
        let request = world.http.post(call.header("saga-callback"));
        let token = call.header("saga-token");
        send(request.json(&json!({ "token": token, "status": status, "body": body }))).await
    };
    let told = answer(200, json!({ "hold": 7.5 })).await;
    assert_eq!(errors(&told), [("/hold", "7.5 is not of type \"integer\"")]);
    assert_eq!(errors(&answer(200, Value::Null).await), [("", "null is not of type \"object\"")]);
    assert_eq!(world.journal(&id).await, journal, "nothing has changed");
    assert_eq!(answer(200, json!({ "hold": 7 })).await.status, 200, "the token still works");
    world.until_step(&id, 1, "waiting").await;
    answer(200, json!({ "hold": 7.5 })).await.is_problem(409, "answer_conflict");
}

#[tokio::test]
async fn a_signal_that_does_not_fit_is_not_taken() {
    let world = world().await;
    world.stub.say("hold", [Say::With(202, "retry-after", "1".to_owned())]);
    world.stub.say("hold?status", [Say::json(200, &json!({ "hold": 7 }))]);
    world.stub.say("ship", [Say::Text(200, "9".to_owned())]);
    let id = start(&world).await;
    let early = pay(&world, &id, json!({ "amount": "5" })).await;
    assert_eq!(errors(&early), [("/amount", "\"5\" is not of type \"integer\"")], "before its step as well");
    world.until_step(&id, 1, "waiting").await;
    let journal = world.journal(&id).await;
    assert_eq!(errors(&pay(&world, &id, json!({})).await), [("", "\"amount\" is a required property")]);
    assert_eq!(
        errors(&pay(&world, &id, json!({ "amount": 0 })).await),
        [("/amount", "0 is less than the minimum of 1")]
    );
    assert_eq!(world.journal(&id).await, journal);
    assert_eq!(pay(&world, &id, json!({ "amount": 5 })).await.status, 200);
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["output"], json!({ "hold": 7, "amount": 5, "ship": 9 }));
    pay(&world, &id, json!({})).await.is_problem(409, "signal_conflict");
}

#[tokio::test]
async fn past_the_pivot_somebody_gives_an_output_that_fits() {
    let world = world().await;
    world.stub.say("hold", [Say::json(200, &json!({ "hold": 7 }))]);
    let id = start(&world).await;
    world.until_step(&id, 1, "waiting").await;
    assert_eq!(pay(&world, &id, json!({ "amount": 5 })).await.status, 200);
    let saga = world.until(&id, "repair").await;
    let item = saga["repairs"][0].clone();
    assert_eq!((&item["step"], &item["reason"]), (&json!("ship"), &json!("exhausted")), "{item:#}");
    let path = format!("/v1/repairs/{}/resolve", item["id"].as_str().expect("an id"));
    let resolve = async |mut body: Value| {
        body["by"] = json!("ada");
        body["note"] = json!("went by post");
        world.post(&path, &body).await
    };
    assert_eq!(errors(&resolve(json!({})).await), [("", "null is not of type \"integer\"")]);
    assert_eq!(errors(&resolve(json!({ "output": "9" })).await), [("", "\"9\" is not of type \"integer\"")]);
    assert_eq!(world.until(&id, "repair").await["repairs"][0]["id"], item["id"], "it is still open");
    assert_eq!(resolve(json!({ "output": 9 })).await.status, 200);
    assert_eq!(world.until(&id, "completed").await["output"]["ship"], 9);
}

#[tokio::test]
async fn a_child_that_yields_something_else_is_reverted_with_its_parent() {
    let world = world().await;
    let child = "{ saga: child, version: 1, steps: [{ take: { action: shop.charge, compensation: shop.refund } }], \
                 output: \"${{ steps.take.output }}\" }";
    let parent =
        "{ saga: parent, version: 1, steps: [{ run: { saga: child, returns: { type: integer } } }] }";
    assert_eq!(
        (world.define("child", child).await.status, world.define("parent", parent).await.status),
        (201, 201)
    );
    let saga = world.post("/v1/sagas?wait=20s", &json!({ "definition": "parent", "input": {} })).await;
    assert_eq!(saga.text("status"), "compensated", "{saga:?}");
    assert_eq!(saga.body["error"]["kind"], "unknown", "{saga:?}");
    let child = saga.body["steps"][0]["child"].as_str().expect("a child");
    assert_eq!(world.get(&format!("/v1/sagas/{child}")).await.body["error"]["kind"], "reverted");
    assert_eq!(world.stub.count("/refund"), 1);
}

#[tokio::test]
async fn a_default_is_looked_at_when_its_definition_is_registered() {
    let world = world().await;
    let text = "saga: wait\nversion: 1\nsteps:\n- paid: { await: paid, timeout: 1m, default: none, returns: { type: integer } }\n";
    let refused = world.define("wait", text).await;
    refused.is_problem(422, "definition_invalid");
    let fault = &refused.body["diagnostics"][0];
    assert_eq!((&fault["line"], &fault["column"]), (&json!(4), &json!(46)), "{refused:?}");
}
