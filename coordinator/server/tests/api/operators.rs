//! What operators do about repair items: every verb and every refusal, who is written down, and people who race.

use crate::{
    repairs::{audits, path, refused, verb},
    stub::Say,
    world::{PATIENCE, World, config, send, serve, start_order},
};
use amends_saga::{Op, SagaId, Timestamp, repair::RepairStatus};
use amends_server::{Config, Role, Tokens};
use amends_store::repairs::{Item, Repairs};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

#[tokio::test]
async fn every_verb_settles_the_item_its_own_way_and_is_idempotent() {
    let table = [
        ("resolve", json!({ "note": "done by hand", "output": { "ok": 1 } }), "resolved", "compensated"),
        ("skip", json!({ "note": "let it be" }), "skipped", "abandoned"),
        ("abandon", json!({ "note": "give up" }), "abandoned", "abandoned"),
    ];
    let world = World::new().await;
    for (word, body, how, status) in table {
        let (saga, item) = refused(&world, word).await;
        for n in 0..3 {
            let answer = verb(&world, &item, word, body.clone()).await;
            assert_eq!((answer.status, answer.text("status")), (200, "settled"), "{word} {n}: {answer:?}");
            let settled = &answer.body["settled"];
            assert_eq!((&settled["how"], &settled["by"]), (&json!(how), &json!("ada")), "{answer:?}");
        }
        let after = world.until(&saga, status).await;
        assert_eq!(after["settled_by_hand"], json!(word != "abandon"), "{after:#}");
        assert_eq!(audits(&world, &saga).await.len(), 1, "{word}");
        for other in ["retry", "resolve", "skip", "abandon"].iter().filter(|other| **other != word) {
            let late = verb(&world, &item, other, json!({ "note": "no, this" })).await;
            late.is_problem(409, "repair_settled");
            assert!(late.text("detail").contains("ada"), "{late:?}");
        }
        let assign = verb(&world, &item, "assign", json!({ "assignee": "bob" })).await;
        assign.is_problem(409, "repair_settled");
        let mut theirs = body.clone();
        theirs["by"] = json!("bob");
        let late = world.post(&format!("{}/{word}", path(&item)), &theirs).await;
        late.is_problem(409, "repair_settled");
        assert_eq!(late.body["settled"]["by"], "ada");
        assert_eq!(audits(&world, &saga).await.len(), 1, "{word}: nothing was added");
    }
    let metrics = world.get("/v1/repairs/summary").await.body;
    assert_eq!((&metrics["open"], &metrics["oldest_opened_at"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn an_item_is_assigned_and_found_by_its_assignee() {
    let world = World::new().await;
    let (saga, item) = refused(&world, "k").await;
    let assigned = verb(&world, &item, "assign", json!({ "assignee": " bob ", "note": "yours" })).await;
    assert_eq!(
        (assigned.status, assigned.text("status"), assigned.text("assignee")),
        (200, "assigned", "bob")
    );
    let before = audits(&world, &saga).await;
    assert_eq!((before.len(), &before[0]["assignee"], &before[0]["by"]), (1, &json!("bob"), &json!("ada")));
    let journal = world.journal(&saga).await.len();
    assert_eq!(verb(&world, &item, "assign", json!({ "assignee": "bob" })).await.status, 200);
    assert_eq!(world.journal(&saga).await.len(), journal, "the same again changes nothing at all");
    assert_eq!(verb(&world, &item, "assign", json!({ "assignee": "eve" })).await.text("assignee"), "eve");
    for (query, found) in
        [("assignee=eve", 1), ("assignee=bob", 0), ("status=assigned", 1), ("status=open", 0)]
    {
        let page = world.get(&format!("/v1/repairs?{query}")).await.body;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(found), "{query}: {page:#}");
    }
    let summary = world.get("/v1/repairs/summary").await.body;
    assert_eq!((&summary["open"], &summary["assigned"]), (&json!(0), &json!(1)));
    assert_eq!(summary["by"][0]["items"], 1, "{summary:#}");
    assert_eq!(summary["by"][0]["step"], "hold", "{summary:#}");
    assert_eq!(summary["ages"][0], json!({ "under_s": 900, "items": 1 }), "{summary:#}");
    assert_eq!(summary["ages"][3], json!({ "under_s": null, "items": 0 }), "{summary:#}");
}

#[tokio::test]
async fn a_retry_under_way_is_told_to_others() {
    let world = World::new().await;
    let (saga, item) = refused(&world, "k").await;
    world.stub.say("release", [Say::Late(Duration::from_millis(1500))]);
    assert_eq!(verb(&world, &item, "retry", json!({})).await.text("status"), "retrying");
    assert_eq!(verb(&world, &item, "retry", json!({})).await.status, 200, "the same person again");
    let other = world.post(&format!("{}/retry", path(&item)), &json!({ "by": "bob" })).await;
    other.is_problem(409, "repair_retrying");
    assert_eq!((other.text("by"), audits(&world, &saga).await.len()), ("ada", 1), "{other:?}");
    let page = world.get("/v1/repairs?status=retrying").await.body;
    assert_eq!(page["items"][0]["proposed"], Value::Null, "{page:#}");
    world.until(&saga, "compensated").await;
}

#[tokio::test]
async fn of_fifty_people_one_wins_and_the_others_are_told() {
    for word in ["resolve", "skip", "abandon", "retry", "assign"] {
        let world = Arc::new(World::new().await);
        let (saga, item) = refused(&world, "k").await;
        if word == "retry" {
            world.stub.say("release", [Say::Late(Duration::from_millis(1000))]);
        }
        let race = (0..50).map(|n| {
            let (world, path) = (world.clone(), format!("{}/{word}", path(&item)));
            let mut body = json!({ "note": "mine", "by": format!("person-{n}") });
            if word == "assign" {
                body["assignee"] = json!(format!("person-{n}"));
            }
            tokio::spawn(async move { world.post(&path, &body).await })
        });
        let mut won = 0;
        for answer in race.collect::<Vec<_>>() {
            let answer = answer.await.expect("an answer");
            match (answer.status, word) {
                (200, _) => won += 1,
                (_, "retry") => answer.is_problem(409, "repair_retrying"),
                _ => {
                    answer.is_problem(409, "repair_settled");
                    assert!(answer.body["settled"]["by"].is_string(), "{answer:?}");
                }
            }
        }
        let events = audits(&world, &saga).await;
        // An assignment contradicts none before it: the last one stands, and each is in the journal.
        let expected = if word == "assign" { 50 } else { 1 };
        assert_eq!((won, events.len()), (expected, expected), "{word}: {events:#?}");
    }
}

#[tokio::test]
async fn a_saga_that_another_coordinator_drives_takes_its_verbs_there() {
    let world = World::new().await;
    let (saga, item) = refused(&world, "k").await;
    world.stub.say("release", [Say::Late(Duration::from_millis(4500))]);
    assert_eq!(verb(&world, &item, "retry", json!({})).await.text("status"), "retrying");
    let server = serve(config(), Arc::new(world.store.clone())).await;
    let elsewhere = format!("http://{}{}/resolve", server.address(), path(&item));
    let resolve = || send(world.http.post(&elsewhere).json(&json!({ "note": "by hand", "by": "bob" })));
    let answer = resolve().await;
    answer.is_problem(503, "store_unavailable");
    assert_eq!(answer.header("retry-after"), "2", "{answer:?}");
    assert!(answer.text("detail").contains("another coordinator"), "{answer:?}");
    assert_eq!(audits(&world, &saga).await.len(), 1, "nothing was changed");
    world.until(&saga, "compensated").await;
    resolve().await.is_problem(409, "repair_settled");
    server.stop().await;
}

#[tokio::test]
async fn who_asked_is_the_tokens_holder_where_it_has_one() {
    let tokens =
        [("adm", Role::Admin, None), ("a", Role::Operate, Some("ada")), ("s", Role::Submit, Some("sue"))];
    let world = World::bare(Config { tokens: Tokens::held(tokens), ..config() }).await;
    let put = |path: &str, body: Value| send(world.request(Method::PUT, path).bearer_auth("adm").json(&body));
    let operations = json!({ "hold": {}, "release": {}, "refund": {}, "charge": {} });
    put("/v1/participants/shop", json!({ "instances": [world.stub.url], "operations": operations })).await;
    let define = world.request(Method::PUT, "/v1/definitions/order/1").bearer_auth("adm");
    send(define.header("content-type", "application/yaml").body(crate::world::ORDER)).await;
    for (token, by, expected) in
        [("a", Some("bob"), "ada"), ("a", None, "ada"), ("adm", Some("bob"), "bob"), ("adm", None, "admin")]
    {
        world.stub.say("charge", [Say::json(409, &json!({}))]);
        world.stub.say("release", [Say::json(409, &json!({}))]);
        let key = format!("{token}{by:?}");
        let start = world.request(Method::POST, "/v1/sagas").bearer_auth("s").json(&start_order(&key));
        let saga = send(start).await.id();
        let begun = Instant::now();
        let item = loop {
            let list = world.request(Method::GET, &format!("/v1/repairs?saga={saga}")).bearer_auth("s");
            let item = send(list).await.body["items"][0].clone();
            if item.is_object() {
                break item;
            }
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let mut body = json!({ "note": "x" });
        body.as_object_mut().expect("an object").extend(by.map(|by| ("by".to_owned(), json!(by))));
        let verb = |token: &str| {
            let request = world.request(Method::POST, &format!("{}/skip", path(&item)));
            send(request.bearer_auth(token).json(&body))
        };
        verb("s").await.is_problem(403, "forbidden");
        let answer = verb(token).await;
        assert_eq!((answer.status, &answer.body["settled"]["by"]), (200, &json!(expected)), "{answer:?}");
    }
}

#[tokio::test]
async fn an_anomaly_is_looked_after_in_its_row() {
    let world = World::new().await;
    let opened = Timestamp(1_700_000_000_000);
    let anomaly = |n: u128| {
        Item {
        item: Uuid::from_u128(n),
        saga: None,
        definition: None,
        step: None,
        op: Op::Action,
        participant: "inventory".to_owned(),
        operation: None,
        status: RepairStatus::Open,
        reason: None,
        number: 1,
        opened_at: opened,
        first_opened_at: opened,
        updated_at: opened,
        assignee: None,
        settled_by: None,
        settled_how: None,
        seq: 0,
        level: 0,
        anomaly: Some(
            json!({ "name": "orphan_hold", "message": "a hold is past its end", "detail": { "sku": "1" }, "notes": [] })
                .to_string(),
        ),
    }
    };
    world.store.open_anomalies(&[anomaly(1), anomaly(2)]).await.expect("the store answers");
    let page = world.get("/v1/repairs?kind=anomaly&participant=inventory&reason=anomaly").await.body;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2), "{page:#}");
    let item = page["items"][0].clone();
    let finding =
        json!({ "name": "orphan_hold", "message": "a hold is past its end", "detail": { "sku": "1" } });
    assert_eq!(
        (&item["kind"], &item["reason"], &item["finding"]),
        (&json!("anomaly"), &json!("anomaly"), &finding)
    );
    assert_eq!(
        (&item["saga"], &item["operation"], &item["payload"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    for word in ["retry", "abandon"] {
        verb(&world, &item, word, json!({ "note": "x" })).await.is_problem(409, "not_retryable");
    }
    let assigned = verb(&world, &item, "assign", json!({ "assignee": "bob" })).await;
    assert_eq!((assigned.status, assigned.text("status")), (200, "assigned"), "{assigned:?}");
    assert_eq!(assigned.body["notes"][0]["note"], "assigned to bob", "{assigned:?}");
    assert_eq!(verb(&world, &item, "assign", json!({ "assignee": "bob" })).await.body, assigned.body);
    for _ in 0..2 {
        let resolved = verb(&world, &item, "resolve", json!({ "note": "released it" })).await;
        assert_eq!((resolved.status, resolved.text("status")), (200, "settled"), "{resolved:?}");
        assert_eq!(resolved.body["settled"]["by"], "ada", "{resolved:?}");
        assert_eq!(resolved.body["notes"].as_array().map(Vec::len), Some(2), "{resolved:?}");
    }
    let late = verb(&world, &item, "skip", json!({ "note": "x" })).await;
    late.is_problem(409, "repair_settled");
    assert_eq!(late.body["settled"]["how"], "resolved", "{late:?}");
    race_for_an_anomaly(Arc::new(world), page["items"][1].clone()).await;
}

async fn race_for_an_anomaly(world: Arc<World>, item: Value) {
    let race = (0..50).map(|n| {
        let (world, path) = (world.clone(), format!("{}/resolve", path(&item)));
        let body = json!({ "note": "mine", "by": format!("person-{n}") });
        tokio::spawn(async move { world.post(&path, &body).await.status })
    });
    let mut statuses = Vec::new();
    for status in race.collect::<Vec<_>>() {
        statuses.push(status.await.expect("an answer"));
    }
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((won, statuses.iter().filter(|status| **status == 409).count()), (1, 49), "{statuses:?}");
    let after = world.get(&path(&item)).await.body;
    assert_eq!(after["notes"].as_array().map(Vec::len), Some(1), "{after:#}");
}

#[tokio::test]
async fn a_verb_that_cannot_be_meant_is_refused() {
    let world = World::new().await;
    let (saga, item) = refused(&world, "k").await;
    let table = [
        ("resolve", json!({}), 422, "note_required"),
        ("resolve", json!({ "note": "" }), 422, "note_required"),
        ("resolve", json!({ "note": " \n" }), 422, "note_required"),
        ("skip", json!({}), 422, "note_required"),
        ("abandon", json!({ "note": null }), 422, "note_required"),
        ("skip", json!({ "note": "x".repeat(4097) }), 400, "malformed_body"),
        ("skip", json!({ "note": "x", "output": 1 }), 400, "malformed_body"),
        ("skip", json!({ "note": 7 }), 400, "malformed_body"),
        ("retry", json!({ "body": {} }), 400, "malformed_body"),
        ("retry", json!({ "by": "" }), 400, "malformed_body"),
        ("retry", json!({ "by": "monitor" }), 400, "malformed_body"),
        ("retry", json!({ "by": "x".repeat(257) }), 400, "malformed_body"),
        ("retry", json!([]), 400, "malformed_body"),
        ("assign", json!({}), 400, "malformed_body"),
        ("assign", json!({ "assignee": "" }), 400, "malformed_body"),
        ("assign", json!({ "assignee": "x".repeat(257) }), 400, "malformed_body"),
        ("assign", json!({ "assignee": "a\nb" }), 400, "malformed_body"),
    ];
    let journal = world.journal(&saga).await;
    for (word, body, status, slug) in table {
        let answer = world.post(&format!("{}/{word}", path(&item)), &body).await;
        println!("{word} {body}: {}", answer.body["detail"]);
        answer.is_problem(status, slug);
    }
    let text = world.request(Method::POST, &format!("{}/skip", path(&item)));
    send(text.header("content-type", "text/plain").body("x")).await.is_problem(415, "unsupported_media_type");
    world.post(&format!("{}/prove", path(&item)), &json!({})).await.is_problem(404, "not_found");
    assert_eq!(world.get(&format!("{}/retry", path(&item))).await.status, 405);
    let unknown = format!("/v1/repairs/{}/retry", SagaId::nil());
    world.post(&unknown, &json!({})).await.is_problem(404, "not_found");
    assert_eq!(world.journal(&saga).await, journal, "nothing was changed");
    assert_eq!(world.get(&path(&item)).await.body, item);
    // A retry needs no body at all.
    let bare = send(world.request(Method::POST, &format!("{}/retry", path(&item)))).await;
    assert_eq!((bare.status, audits(&world, &saga).await[0]["by"].clone()), (200, json!("anonymous")));
}
