//! The repair queue: lists and items with their evidence, through retries, restarts and for ever.

use crate::{
    stub::Say,
    world::{Answer, PATIENCE, World, config, serve, start_order},
};
use amends_store::sqlite::{Options, SqliteStore};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Starts `order@1`, whose charge is refused and whose release says no, and waits until that is parked.
pub(crate) async fn refused(world: &World, key: &str) -> (String, Value) {
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    world.stub.say("release", [Say::json(409, &json!({ "message": "already shipped" }))]);
    park(world, &start_order(key)).await
}

/// As [`refused`], of the definition `hasty` whose release answers 503 until its two attempts are spent.
pub(crate) async fn exhausted(world: &World, key: &str) -> (String, Value) {
    let text = crate::world::ORDER.replace("saga: order", "saga: hasty");
    let text = text.replace("quick: 3, attempts: 3", "quick: 1, attempts: 1");
    assert!(world.define("hasty", &text).await.status < 300);
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    world.stub.say("release", vec![Say::Text(503, "busy".to_owned()); 2]);
    let mut start = start_order(key);
    start["definition"] = json!("hasty");
    park(world, &start).await
}

async fn park(world: &World, start: &Value) -> (String, Value) {
    let id = world.post("/v1/sagas", start).await.id();
    let saga = world.until(&id, "repair").await;
    assert_eq!(saga["repairs"].as_array().map(Vec::len), Some(1), "{saga:#}");
    (id, saga["repairs"][0].clone())
}

pub(crate) fn path(item: &Value) -> String {
    format!("/v1/repairs/{}", item["id"].as_str().expect("an id"))
}

/// Sends a verb as `ada`.
pub(crate) async fn verb(world: &World, item: &Value, verb: &str, rest: Value) -> Answer {
    let mut body = rest;
    body["by"] = json!("ada");
    world.post(&format!("{}/{verb}", path(item)), &body).await
}

/// Waits until an item has this status.
pub(crate) async fn until_item(world: &World, item: &Value, status: &str) -> Value {
    let begun = Instant::now();
    loop {
        let found = world.get(&path(item)).await.body;
        if found["status"] == status {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "the item is not {status}: {found:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The events of a journal that are about repair, whole.
pub(crate) async fn audits(world: &World, saga: &str) -> Vec<Value> {
    let page = world.get(&format!("/v1/sagas/{saga}/journal?limit=500")).await.body;
    let items = page["items"].as_array().expect("items").iter();
    items
        .filter(|item| item["type"].as_str().is_some_and(|kind| kind.starts_with("repair_")))
        .cloned()
        .collect()
}

#[tokio::test]
async fn a_parked_step_stands_in_the_queue_with_its_evidence() {
    let world = World::new().await;
    let (saga, of_saga) = exhausted(&world, "k").await;
    let page = world.get("/v1/repairs").await;
    assert_eq!((page.status, &page.body["next"]), (200, &Value::Null), "{page:?}");
    assert_eq!(page.body["items"].as_array().map(Vec::len), Some(1), "{page:?}");
    let item = world.get(&path(&of_saga)).await.body;
    assert_eq!(page.body["items"][0], item);
    assert_eq!(of_saga, item, "the saga shows the same");
    let expected = [
        ("kind", json!("step")),
        ("saga", json!(saga)),
        ("definition", json!("hasty")),
        ("step", json!("hold")),
        ("op", json!("compensation")),
        ("participant", json!("shop")),
        ("operation", json!("shop.release")),
        ("status", json!("open")),
        ("reason", json!("exhausted")),
        ("payload", json!({ "order": "k" })),
        ("assignee", Value::Null),
        ("notes", json!([])),
        ("previous", Value::Null),
        ("settled", Value::Null),
        ("holds", json!([])),
        ("proposed", json!(format!("amends repair retry {} --wait 30s", item["id"].as_str().expect("id")))),
    ];
    for (member, value) in expected {
        assert_eq!(item[member], value, "{member}: {item:#}");
    }
    let errors = item["errors"].as_array().expect("errors");
    assert_eq!(item["attempts"], json!(errors.len()), "{item:#}");
    assert_eq!(errors.len(), 2, "{item:#}");
    assert!(errors.iter().all(|error| error["status"] == 503 && error["latency_ms"].is_u64()), "{item:#}");
}

#[tokio::test]
async fn a_retry_undoes_the_step_and_the_item_stays_to_be_read() {
    let world = World::new().await;
    let (saga, item) = refused(&world, "k").await;
    let answer = verb(&world, &item, "retry", json!({ "note": "shipping was stopped" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(matches!(answer.text("status"), "retrying" | "settled"), "{answer:?}");
    world.until(&saga, "compensated").await;
    let after = until_item(&world, &item, "settled").await;
    assert_eq!(after["settled"]["how"], "retried", "{after:#}");
    assert_eq!(after["notes"][0]["note"], "shipping was stopped", "{after:#}");
    assert_eq!(after["notes"][0]["by"], "ada", "{after:#}");
    assert_eq!(after["errors"][0]["message"], "already shipped", "the evidence stays: {after:#}");
    assert_eq!(after["proposed"], Value::Null, "{after:#}");
    let events = audits(&world, &saga).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    let (event, note) = (&events[0], "shipping was stopped");
    let told = [("type", "repair_retried"), ("by", "ada"), ("note", note), ("from", "127.0.0.1")];
    assert!(told.iter().all(|(member, value)| event[*member] == *value), "{event:#}");
    let open = world.get("/v1/repairs").await.body;
    assert_eq!(open["items"], json!([]), "nothing is open any more");
    let settled = world.get("/v1/repairs?status=settled").await.body;
    assert_eq!(settled["items"], json!([after]));
    let late = verb(&world, &item, "resolve", json!({ "note": "x" })).await;
    late.is_problem(409, "repair_settled");
    assert_eq!((&late.body["settled"]["how"], &late.body["newer"]), (&json!("retried"), &Value::Null));
}

#[tokio::test]
async fn a_retry_that_fails_opens_a_new_item_and_the_old_one_keeps_its_evidence() {
    let world = World::new().await;
    let (saga, first) = refused(&world, "k").await;
    world.stub.say("release", [Say::json(409, &json!({ "message": "still shipped" }))]);
    assert_eq!(verb(&world, &first, "assign", json!({ "assignee": "bob" })).await.status, 200);
    assert_eq!(verb(&world, &first, "retry", json!({})).await.status, 200);
    let old = until_item(&world, &first, "settled").await;
    assert_eq!(old["settled"]["how"], "parked_again", "{old:#}");
    assert_eq!(old["errors"].as_array().map(Vec::len), Some(1), "as it was then: {old:#}");
    assert_eq!(old["holds"], json!([]), "{old:#}");
    let new = world.until(&saga, "repair").await["repairs"][0].clone();
    assert_eq!((&new["previous"], &new["assignee"]), (&first["id"], &json!("bob")), "{new:#}");
    assert_eq!(new["first_opened_at"], first["opened_at"], "its age counts from the first time");
    assert_eq!(new["errors"].as_array().map(Vec::len), Some(2), "{new:#}");
    let late = verb(&world, &first, "retry", json!({})).await;
    late.is_problem(409, "repair_settled");
    assert_eq!((&late.body["newer"], &late.body["settled"]["how"]), (&new["id"], &json!("parked_again")));
    assert!(late.text("detail").contains(new["id"].as_str().expect("an id")), "{late:?}");
    let listed = world.get("/v1/repairs?status=open,assigned,settled").await.body;
    assert_eq!(listed["items"], json!([old, new]), "oldest first");
}

#[tokio::test]
async fn a_retry_with_an_edited_input_is_checked_and_sent() {
    let world = World::new().await;
    let schema = json!({ "type": "object", "required": ["order"], "additionalProperties": false,
                         "properties": { "order": { "type": "string" }, "force": { "type": "boolean" } } });
    let operations = json!({ "hold": {}, "charge": {}, "refund": {}, "release": { "input": schema } });
    let body = json!({ "instances": [world.stub.url], "operations": operations });
    assert_eq!(world.put("/v1/participants/shop", &body).await.status, 200);
    let (saga, item) = refused(&world, "k").await;
    let sent = world.stub.count("/release");
    let misfit = verb(&world, &item, "retry", json!({ "input": { "order": 7, "force": "yes" } })).await;
    misfit.is_problem(422, "input_does_not_fit");
    let places: BTreeSet<&str> =
        misfit.body["errors"].as_array().expect("errors").iter().filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(places, BTreeSet::from(["/force", "/order"]), "{misfit:?}");
    assert_eq!((world.stub.count("/release"), audits(&world, &saga).await.len()), (sent, 0));
    let edited = json!({ "order": "k", "force": true });
    assert_eq!(verb(&world, &item, "retry", json!({ "input": edited })).await.status, 200);
    world.until(&saga, "compensated").await;
    let asked = world.stub.asked();
    let last = asked.iter().rfind(|asked| asked.path == "/release").expect("a release");
    assert_eq!(serde_json::from_slice::<Value>(&last.body).expect("JSON"), edited);
    assert_eq!(audits(&world, &saga).await[0]["input"], edited, "what was sent is in the journal");
    let bad =
        json!({ "instances": [world.stub.url], "operations": { "hold": { "input": { "type": "text" } } } });
    world.put("/v1/participants/shop", &bad).await.is_problem(422, "bad_registration");
}

#[tokio::test]
async fn items_are_found_by_what_they_are_and_paged_oldest_first() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let (_, item) = if n % 2 == 0 {
            refused(&world, &n.to_string()).await
        } else {
            exhausted(&world, &n.to_string()).await
        };
        ids.push(item);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let first = &ids[0];
    let (saga, opened) =
        (first["saga"].as_str().expect("a saga"), ids[3]["opened_at"].as_str().expect("a time"));
    let table = [
        (String::new(), 7),
        ("reason=refused".to_owned(), 4),
        ("reason=exhausted".to_owned(), 3),
        ("reason=contract".to_owned(), 0),
        ("reason=anomaly".to_owned(), 0),
        ("kind=step".to_owned(), 7),
        ("kind=anomaly".to_owned(), 0),
        (format!("saga={saga}"), 1),
        ("definition=order".to_owned(), 4),
        ("definition=paid".to_owned(), 0),
        ("step=hold".to_owned(), 7),
        ("step=charge".to_owned(), 0),
        ("participant=shop".to_owned(), 7),
        ("participant=nobody".to_owned(), 0),
        (format!("opened_after={opened}"), 4),
        (format!("opened_before={opened}"), 3),
        (format!("opened_before={opened}&reason=exhausted&status=open&definition=hasty"), 1),
    ];
    for (query, count) in table {
        let page = world.get(&format!("/v1/repairs?{query}")).await;
        assert_eq!(page.body["items"].as_array().map(Vec::len), Some(count), "{query}: {page:?}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/repairs?limit=3{cursor}")).await;
        seen.extend(page.body["items"].as_array().expect("items").iter().map(|item| item["id"].clone()));
        let Some(next) = page.body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // What is settled behind the cursor moves nothing before it.
        verb(&world, &ids[0], "resolve", json!({ "note": "x" })).await;
    }
    assert_eq!(seen, ids.iter().map(|item| item["id"].clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn items_outlive_the_coordinator_on_sqlite_and_take_verbs_after() {
    let dir = std::env::temp_dir().join(format!("amends-repairs-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let open = || async {
        let options = Options::new(dir.join("amends.db"));
        Arc::new(SqliteStore::open(options).await.expect("the store opens"))
    };
    let mut world = World::new().await;
    world.server.stop().await;
    world.server = serve(config(), open().await).await;
    world.url = format!("http://{}", world.server.address());
    world.register_shop(json!({})).await;
    world.define("order", crate::world::ORDER).await;
    let (saga, item) = refused(&world, "k").await;
    world.stub.say("release", [Say::json(409, &json!({ "message": "still shipped" }))]);
    verb(&world, &item, "retry", json!({})).await;
    let old = until_item(&world, &item, "settled").await;
    let new = world.until(&saga, "repair").await["repairs"][0].clone();
    world.server.stop().await;
    world.server = serve(config(), open().await).await;
    world.url = format!("http://{}", world.server.address());
    assert_eq!(world.get(&path(&item)).await.body, old, "what is settled stays as it was");
    assert_eq!(world.get(&path(&new)).await.body, new);
    let answer = verb(&world, &new, "resolve", json!({ "note": "by hand" })).await;
    assert_eq!((answer.status, answer.text("status")), (200, "settled"), "{answer:?}");
    world.until(&saga, "compensated").await;
    let counts = ["status=settled", "status=open"].map(|query| format!("/v1/repairs?{query}"));
    for (path, count) in counts.iter().zip([2, 0]) {
        assert_eq!(world.get(path).await.body["items"].as_array().map(Vec::len), Some(count), "{path}");
    }
    world.server.stop().await;
    let _ = std::fs::remove_dir_all(&dir);
}
