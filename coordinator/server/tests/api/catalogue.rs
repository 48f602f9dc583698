//! Definitions and participants: registered, repeated, listed, shown, removed.

use crate::{
    stub::Stub,
    world::{ORDER, PAID, World, send},
};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_definition_is_registered_once_and_never_changes() {
    let world = World::bare(crate::world::config()).await;
    let first = world.define("order", ORDER).await;
    assert_eq!(first.status, 201, "{first:?}");
    let same = world.define("order", &format!("# the same in other words\n{ORDER}")).await;
    assert_eq!((same.status, &same.body), (200, &first.body));
    let content: Value = first.body["content"].clone();
    let as_json = world.put("/v1/definitions/order/1", &content).await;
    assert_eq!((as_json.status, &as_json.body), (200, &first.body), "JSON says the same");
    let other = world.define("order", &ORDER.replace("timeout: 300ms", "timeout: 301ms")).await;
    other.is_problem(409, "definition_exists");
    assert_eq!(other.body["hash"], first.body["hash"]);

    let shown = world.get("/v1/definitions/order/1").await;
    assert_eq!((shown.status, &shown.body), (200, &first.body));
    let mut brief = first.body.clone();
    brief.as_object_mut().expect("an object").remove("content");
    let uncounted = json!({ "items": [brief.clone()], "next": null });
    brief["live"] = json!(0);
    let list = json!({ "items": [brief], "next": null });
    assert_eq!(world.get("/v1/definitions").await.body, list);
    assert_eq!(world.get("/v1/definitions/order").await.body, list);
    assert_eq!(world.get("/v1/definitions?live=false").await.body, uncounted);
    assert_eq!(world.get("/v1/definitions/order?live=true").await.body, list);
    world.get("/v1/definitions?live=perhaps").await.is_problem(400, "bad_query");
    world.get("/v1/definitions/order?alive").await.is_problem(400, "bad_query");
}

#[tokio::test]
async fn definitions_are_listed_with_the_sagas_that_still_run_each_version() {
    let world = World::new().await;
    let newer = PAID.replace("version: 1", "version: 2");
    let request = world.request(Method::PUT, "/v1/definitions/paid/2");
    assert_eq!(send(request.header("content-type", "application/yaml").body(newer)).await.status, 201);
    let start = |definition: &str| json!({ "definition": definition, "input": {} });
    let old = world.post("/v1/sagas", &start("paid@1")).await.id();
    for _ in 0..2 {
        assert_eq!(world.post("/v1/sagas", &start("paid")).await.body["version"], 2);
    }
    let live = || async {
        let list = world.get("/v1/definitions/paid").await.body;
        let items = list["items"].as_array().expect("items").iter();
        items.map(|item| (item["version"].clone(), item["live"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(live().await, [(json!(1), json!(1)), (json!(2), json!(2))]);
    world.post(&format!("/v1/sagas/{old}/cancel?wait=10s"), &json!({})).await;
    assert_eq!(
        live().await,
        [(json!(1), json!(0)), (json!(2), json!(2))],
        "a saga keeps its version to its end"
    );
}

#[tokio::test]
async fn a_participant_is_registered_refreshed_and_removed() {
    let world = World::bare(crate::world::config()).await;
    let path = "/v1/participants/shop";
    let with = |url: &str| {
        json!({ "instances": [url], "operations": { "hold": { "timeout": "2s" } }, "ttl": "30s",
                "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" })
    };
    let first = world.put(path, &with("http://127.0.0.1:7101/")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.body["instances"][0]["url"], "http://127.0.0.1:7101");
    let same = world.put(path, &with("http://127.0.0.1:7101")).await;
    assert_eq!((same.status, same.body["instances"].as_array().map(Vec::len)), (200, Some(1)));
    let more = world.put(path, &with("http://127.0.0.1:7102")).await;
    assert_eq!((more.status, more.body["instances"].as_array().map(Vec::len)), (200, Some(2)));
    let shown = world.get(path).await;
    assert!(!shown.text.contains("whsec") && !shown.text.contains("MfKQ"), "a secret is never shown");
    assert_eq!(shown.body["breaker"]["state"], "closed");
    assert_eq!(world.get("/v1/participants").await.body["items"], json!([shown.body]));

    let id = first.body["instances"][0]["id"].as_str().expect("an id").to_owned();
    let instance = format!("{path}/instances/{id}");
    assert_eq!(world.delete(&instance).await.status, 204);
    world.delete(&instance).await.is_problem(404, "not_found");
    assert_eq!(world.get(path).await.body["instances"][0]["url"], "http://127.0.0.1:7102");
    assert_eq!(world.delete(path).await.status, 204);
    world.get(path).await.is_problem(404, "not_found");
    assert_eq!(world.get("/v1/participants").await.body, json!({ "items": [], "next": null }));
}

#[tokio::test]
async fn calls_take_turns_among_instances() {
    let world = World::new().await;
    let second = Stub::start().await;
    let operations = json!({ "hold": {}, "release": {}, "charge": {}, "refund": {} });
    let body = json!({ "instances": [second.url], "operations": operations });
    assert_eq!(world.put("/v1/participants/shop", &body).await.status, 200);
    for n in 0..10 {
        assert_eq!(world.order(&n.to_string()).await.text("status"), "completed");
    }
    let shares = (world.stub.asked().len(), second.asked().len());
    assert_eq!(shares, (10, 10));
}

#[tokio::test]
async fn a_saga_is_retried_until_its_participant_is_registered_again() {
    let world = World::new().await;
    let retry = ("attempts: 3, first: 10ms, max: 20ms", "attempts: 30, first: 100ms, max: 100ms");
    let patient = ORDER.replace("saga: order", "saga: patient").replace(retry.0, retry.1);
    assert_eq!(world.define("patient", &patient).await.status, 201);
    world.delete("/v1/participants/shop").await;
    let start = json!({ "definition": "patient", "input": { "order": "1" } });
    world.post("/v1/sagas", &start).await.is_problem(409, "unknown_operation");
    world.register_shop(json!({})).await;
    world.stub.say("hold", [crate::stub::Say::Late(std::time::Duration::from_millis(200))]);
    let id = world.post("/v1/sagas", &start).await.id();
    world.delete("/v1/participants/shop").await;
    world.until_step(&id, 1, "running").await;
    world.register_shop(json!({})).await;
    world.until(&id, "completed").await;
}
