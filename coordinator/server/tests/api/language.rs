//! What the language does, as callers see it: lists, conditions, pivots with repair forward, and signals to sleepers.

use crate::{
    stub::Say,
    world::{Answer, World, config},
};
use amends_server::{Config, SagaLimits};
use serde_json::{Value, json};

/// A pivot, and behind it a step whose body has a schema.
const SHIP: &str = r#"
saga: ship
version: 1
steps:
  - pay: { action: shop.charge, compensation: shop.refund, with: {}, pivot: true }
  - ship: { action: shop.ship, with: { to: "${{ input.to }}" } }
  - thank: { action: shop.thank, with: { parcel: "${{ steps.ship.output | default('none') }}" } }
"#;

/// A list, each of it held, and a step that is done for some only.
const EACH: &str = r#"
saga: each
version: 1
steps:
  - hold:
      for_each: "${{ input.lines }}"
      parallel: 2
      action: shop.hold
      compensation: shop.release
      with: { sku: "${{ item.sku }}", place: "${{ index }}" }
  - gift: { when: "${{ input.gift }}", action: shop.wrap, compensation: none, reason: paper, with: {} }
  - charge: { action: shop.charge, compensation: shop.refund, with: {} }
"#;

async fn ship(world: &World) -> (String, Value) {
    let to = json!({ "type": "object", "properties": { "to": { "type": "string", "minLength": 3 } } });
    let operations =
        json!({ "charge": {}, "refund": {}, "ship": { "input": to }, "thank": {}, "release": {} });
    assert!(world.offer(operations).await.status < 300);
    assert!(world.define("ship", SHIP).await.status < 300);
    world.stub.say("ship", [Say::json(409, &json!({ "message": "no such place" }))]);
    let id =
        world.post("/v1/sagas", &json!({ "definition": "ship", "input": { "to": "nowhere" } })).await.id();
    let saga = world.until(&id, "repair").await;
    let item = saga["repairs"][0].clone();
    assert_eq!(
        (&item["step"], &item["op"], &item["operation"], &item["holds"]),
        (&json!("ship"), &json!("action"), &json!("shop.ship"), &json!(["thank"]))
    );
    assert_eq!((&saga["error"], &saga["steps"][1]["status"]), (&Value::Null, &json!("parked")));
    (id, item)
}

async fn verb(world: &World, item: &Value, verb: &str, mut body: Value) -> Answer {
    body["by"] = json!("ada");
    world.post(&format!("/v1/repairs/{}/{verb}", item["id"].as_str().expect("an id")), &body).await
}

#[tokio::test]
async fn past_the_pivot_a_refused_step_is_tried_again_with_another_body() {
    let world = World::bare(config()).await;
    let (id, item) = ship(&world).await;
    let misfit = verb(&world, &item, "retry", json!({ "input": { "to": "x" } })).await;
    misfit.is_problem(422, "input_does_not_fit");
    assert_eq!(misfit.body["errors"][0]["path"], "/to", "{misfit:?}");
    let retried = verb(&world, &item, "retry", json!({ "input": { "to": "Oslo" } })).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    let saga = world.until(&id, "completed").await;
    assert_eq!(saga["settled_by_hand"], false);
    let shipped: Vec<_> = world.stub.asked().into_iter().filter(|asked| asked.path == "/ship").collect();
    assert_eq!(shipped.len(), 2);
    assert_eq!((shipped[0].header("saga-round"), shipped[1].header("saga-round")), ("", "1"));
    assert_ne!(shipped[0].header("idempotency-key"), shipped[1].header("idempotency-key"));
    assert_eq!(shipped[1].body, r#"{"to":"Oslo"}"#);
}

#[tokio::test]
async fn past_the_pivot_a_step_is_resolved_with_what_it_should_have_yielded() {
    let world = World::bare(config()).await;
    let (id, item) = ship(&world).await;
    verb(&world, &item, "resolve", json!({})).await.is_problem(422, "note_required");
    let body = json!({ "note": "went by post", "output": { "parcel": 9 } });
    let resolved = verb(&world, &item, "resolve", body).await;
    assert_eq!((resolved.status, resolved.text("status")), (200, "settled"), "{resolved:?}");
    let saga = world.until(&id, "completed").await;
    assert_eq!((&saga["settled_by_hand"], &saga["steps"][1]["status"]), (&json!(true), &json!("done")));
    let thanked = world.stub.asked().into_iter().find(|asked| asked.path == "/thank").expect("it was called");
    assert_eq!(thanked.body, r#"{"parcel":{"parcel":9}}"#);
}

#[tokio::test]
async fn past_the_pivot_a_step_is_skipped_or_the_saga_given_up_as_it_stands() {
    let world = World::bare(config()).await;
    let (id, item) = ship(&world).await;
    assert_eq!(verb(&world, &item, "abandon", json!({ "note": "lost" })).await.status, 200);
    let saga = world.until(&id, "abandoned").await;
    assert_eq!(saga["repairs"], json!([]));
    let (id, item) = ship(&world).await;
    world.post(&format!("/v1/sagas/{id}/cancel"), &json!({})).await.is_problem(409, "past_pivot");
    assert_eq!(verb(&world, &item, "skip", json!({ "note": "never mind" })).await.status, 200);
    let saga = world.until(&id, "completed").await;
    assert_eq!((&saga["settled_by_hand"], &saga["steps"][1]["status"]), (&json!(true), &json!("skipped")));
    assert_eq!((world.stub.count("/refund"), world.stub.count("/thank")), (0, 1));
}

#[tokio::test]
async fn items_stand_behind_their_step_and_are_undone_the_last_first() {
    let world = World::bare(config()).await;
    let operations = json!({ "hold": {}, "release": {}, "wrap": {}, "charge": {}, "refund": {} });
    world.offer(operations).await;
    assert_eq!(world.define("each", EACH).await.status, 201);
    let lines = json!([{ "sku": "a" }, { "sku": "b" }, { "sku": "c" }]);
    let start = json!({ "definition": "each", "input": { "lines": lines, "gift": false } });
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    let saga = world.post("/v1/sagas?wait=10s", &start).await;
    assert_eq!(saga.text("status"), "compensated", "{saga:?}");
    let steps = saga.body["steps"].as_array().expect("steps").iter();
    let told: Vec<String> = steps.map(|step| format!("{} {}", step["name"], step["status"])).collect();
    let expected = [
        r#""hold" "compensated""#,
        r#""hold[0]" "compensated""#,
        r#""hold[1]" "compensated""#,
        r#""hold[2]" "compensated""#,
        r#""gift" "skipped""#,
        r#""charge" "refused""#,
    ];
    assert_eq!(told, expected);
    assert_eq!(saga.body["steps"][0]["items"], 3);
    let released: Vec<String> = world
        .stub
        .asked()
        .iter()
        .filter(|asked| asked.path == "/release")
        .map(|asked| asked.header("saga-step").to_owned())
        .collect();
    assert_eq!((released.len(), released[2].as_str()), (3, "hold[0]"));
    assert_eq!(world.stub.count("/wrap"), 0);
}

/// A coordinator that keeps no sleeping saga at hand.
async fn forgetful() -> World {
    let sagas = SagaLimits { sleeping_max: 0, ..SagaLimits::default() };
    World::with(Config { sagas, ..config() }).await
}

async fn waiting(world: &World) -> String {
    let id = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&id, 1, "waiting").await;
    id
}

#[tokio::test]
async fn a_signal_finds_a_saga_that_sleeps() {
    let world = forgetful().await;
    let id = waiting(&world).await;
    let path = format!("/v1/sagas/{id}/signals/payment");
    world
        .post(&format!("/v1/sagas/{id}/signals/other"), &json!({ "payload": 1 }))
        .await
        .is_problem(404, "no_such_signal");
    let taken = world.post(&path, &json!({ "id": "tx-1", "payload": { "amount": 5 } })).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(world.until(&id, "completed").await["output"], json!({ "amount": 5 }));
    assert_eq!(world.post(&path, &json!({ "id": "tx-1", "payload": 6 })).await.status, 200);
    world.post(&path, &json!({ "id": "tx-2", "payload": 6 })).await.is_problem(409, "signal_conflict");
}

#[tokio::test]
async fn a_saga_that_sleeps_is_cancelled() {
    let world = forgetful().await;
    let id = waiting(&world).await;
    let answer = world.post(&format!("/v1/sagas/{id}/cancel?wait=10s"), &json!({})).await;
    assert_eq!((answer.status, answer.text("status")), (200, "compensated"), "{answer:?}");
    let late = world.post(&format!("/v1/sagas/{id}/signals/payment"), &json!({ "payload": 1 })).await;
    late.is_problem(409, "signal_conflict");
}

#[tokio::test]
async fn of_a_signal_and_a_cancel_at_once_one_wins() {
    for n in 0..10 {
        let world = if n % 2 == 0 { forgetful().await } else { World::new().await };
        world.stub.say("charge", [Say::Late(std::time::Duration::from_millis(50))]);
        let id = waiting(&world).await;
        let (pay, cancel) = (format!("/v1/sagas/{id}/signals/payment"), format!("/v1/sagas/{id}/cancel"));
        let (payload, nothing) = (json!({ "payload": 5 }), json!({}));
        let (paid, cancelled) = tokio::join!(world.post(&pay, &payload), world.post(&cancel, &nothing));
        assert!(matches!(paid.status, 200 | 409), "{paid:?}");
        assert_eq!(cancelled.status, 200, "{cancelled:?}");
        let saga = world.until(&id, "compensated").await;
        let was_paid = saga["steps"][1]["output"] == json!(5);
        assert_eq!(was_paid, paid.status == 200, "{paid:?} {saga:#}");
    }
}

#[tokio::test]
async fn a_signal_that_was_kept_is_told_when_its_step_is_never_reached() {
    let world = World::new().await;
    world.stub.say("hold", [Say::Late(std::time::Duration::from_millis(300)), Say::json(409, &json!({}))]);
    let id = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    let path = format!("/v1/sagas/{id}/signals/payment");
    assert_eq!(world.post(&path, &json!({ "payload": 5 })).await.status, 202);
    assert_eq!(world.post(&format!("/v1/sagas/{id}/cancel?wait=10s"), &json!({})).await.status, 200);
    world.post(&path, &json!({ "payload": 5 })).await.is_problem(409, "signal_conflict");
}
