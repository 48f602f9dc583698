//! Child sagas: shown with their parents, and checked before anything is started.

use crate::{
    stub::Say,
    world::{World, start_order},
};
use serde_json::{Value, json};

/// A definition that runs another one.
fn runs(name: &str, child: &str) -> String {
    format!(
        "{{ saga: {name}, version: 1, steps: [{{ run: {{ saga: {child}, with: {{ order: \"${{{{ input.order }}}}\" }} }} }}], \
         output: \"${{{{ steps.run.output }}}}\" }}"
    )
}

async fn define(world: &World, name: &str, child: &str) {
    let put = world.define(name, &runs(name, child)).await;
    assert_eq!(put.status, 201, "{put:?}");
}

fn start(name: &str) -> Value {
    json!({ "definition": name, "input": { "order": "7" } })
}

#[tokio::test]
async fn a_parent_names_its_child_and_the_child_its_parent() {
    let world = World::new().await;
    define(&world, "trade", "order").await;
    let parent = world.post("/v1/sagas?wait=10s", &start("trade")).await;
    assert_eq!((parent.status, parent.text("status")), (201, "completed"), "{parent:?}");
    let step = &parent.body["steps"][0];
    assert_eq!((&step["kind"], &step["action"]["operation"]), (&json!("saga"), &json!("saga.order")));
    let id = step["child"].as_str().expect("a child").to_owned();
    let child = world.get(&format!("/v1/sagas/{id}")).await.body;
    assert_eq!((&child["definition"], &child["status"]), (&json!("order"), &json!("completed")));
    assert_eq!(child["parent"], json!({ "saga": parent.id(), "step": "run" }));
    assert_eq!((&parent.body["output"], parent.body.get("parent")), (&child["output"], None));
    let path = format!("/v1/sagas/{}/revert?wait=10s", parent.id());
    assert_eq!(world.post(&path, &json!({})).await.text("status"), "compensated");
    assert_eq!(world.get(&format!("/v1/sagas/{id}")).await.body["error"]["kind"], "reverted");
}

#[tokio::test]
async fn what_refuses_a_child_refuses_the_step_that_runs_it() {
    let world = World::new().await;
    define(&world, "trade", "order").await;
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    let parent = world.post("/v1/sagas?wait=10s", &start("trade")).await;
    assert_eq!(parent.text("status"), "compensated", "{parent:?}");
    let error = json!({ "step": "run", "kind": "refused", "message": "no money" });
    assert_eq!(parent.body["error"], error);
}

#[tokio::test]
async fn the_items_of_children_are_listed_with_their_parents() {
    let world = World::new().await;
    define(&world, "trade", "order").await;
    define(&world, "fair", "trade").await;
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    world.stub.say("release", [Say::json(409, &json!({ "message": "already shipped" }))]);
    let id = world.post("/v1/sagas", &start("fair")).await.id();
    let saga = world.until(&id, "repair").await;
    let items = saga["repairs"].as_array().expect("items");
    assert_eq!(items.len(), 1, "{saga:#}");
    assert_eq!((&items[0]["definition"], &items[0]["step"]), (&json!("order"), &json!("hold")));
    assert_ne!(items[0]["saga"], json!(id));
    let listed = world.get("/v1/sagas?definition=fair").await.body;
    assert_eq!(listed["items"][0]["repairs"], saga["repairs"]);
    let path = format!("/v1/repairs/{}/resolve", items[0]["id"].as_str().expect("an id"));
    assert_eq!(world.post(&path, &json!({ "note": "by hand", "by": "ada" })).await.status, 200);
    let saga = world.until(&id, "compensated").await;
    assert_eq!(saga["repairs"], json!([]));
}

#[tokio::test]
async fn a_child_that_nobody_has_registered_is_told_before_anything_starts() {
    let world = World::new().await;
    define(&world, "trade", "nobody").await;
    define(&world, "fair", "trade").await;
    define(&world, "old", "order@7").await;
    for (name, path) in [
        ("trade", json!(["trade@1", "nobody"])),
        ("fair", json!(["fair@1", "trade@1", "nobody"])),
        ("old", json!(["old@1", "order@7"])),
    ] {
        let answer = world.post("/v1/sagas", &start(name)).await;
        answer.is_problem(409, "unknown_child");
        assert_eq!(answer.body["path"], path, "{answer:?}");
    }
    let mut whole = start("x");
    whole["definition"] = json!({ "saga": "x", "version": 1, "steps": [{ "run": { "saga": "nobody" } }] });
    world.post("/v1/sagas", &whole).await.is_problem(409, "unknown_child");
    assert_eq!(world.sagas().await, 0);
    define(&world, "nobody", "order").await;
    assert_eq!(world.post("/v1/sagas?wait=10s", &start("fair")).await.text("status"), "completed");
}

#[tokio::test]
async fn a_circle_of_definitions_is_named() {
    let world = World::new().await;
    for (name, child) in [("a", "b"), ("b", "c"), ("c", "b")] {
        define(&world, name, child).await;
    }
    for (name, path) in [("a", json!(["a@1", "b@1", "c@1", "b@1"])), ("c", json!(["c@1", "b@1", "c@1"]))] {
        let answer = world.post("/v1/sagas", &start(name)).await;
        answer.is_problem(409, "child_circle");
        assert_eq!(answer.body["path"], path, "{answer:?}");
    }
    assert_eq!(world.sagas().await, 0);
}

#[tokio::test]
async fn sagas_are_nested_eight_deep_at_most() {
    let world = World::new().await;
    define(&world, "s8", "order").await;
    for n in (0..8).rev() {
        define(&world, &format!("s{n}"), &format!("s{}", n + 1)).await;
    }
    let answer = world.post("/v1/sagas", &start("s0")).await;
    answer.is_problem(409, "children_too_deep");
    assert_eq!(answer.body["path"].as_array().map(Vec::len), Some(10), "{answer:?}");
    let answer = world.post("/v1/sagas?wait=20s", &start("s1")).await;
    assert_eq!((answer.status, answer.text("status")), (201, "completed"), "{answer:?}");
}

#[tokio::test]
async fn what_a_child_calls_must_be_offered_too() {
    let world = World::new().await;
    define(&world, "trade", "order").await;
    world.delete("/v1/participants/shop").await;
    world.post("/v1/sagas", &start("trade")).await.is_problem(409, "unknown_operation");
    world.register_shop(json!({})).await;
    let keyed = json!({ "definition": "trade", "input": { "order": "7" }, "key": "k" });
    let first = world.post("/v1/sagas?wait=10s", &keyed).await;
    world.delete("/v1/participants/shop").await;
    let again = world.post("/v1/sagas", &keyed).await;
    assert_eq!((again.status, again.id()), (200, first.id()), "a repeat is answered all the same");
    world.post("/v1/sagas", &start_order("new")).await.is_problem(409, "unknown_operation");
}
