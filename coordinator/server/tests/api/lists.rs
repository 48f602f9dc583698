//! Lists of sagas, and journals: filters, pages, and following to the end.

use crate::{
    stub::Say,
    world::{Answer, World},
};
use serde_json::{Value, json};
use std::time::Duration;

fn keys(answer: &Answer) -> Vec<&str> {
    let items = answer.body["items"].as_array().unwrap_or_else(|| panic!("no items in {answer:?}"));
    items.iter().map(|item| item["key"].as_str().unwrap_or_default()).collect()
}

async fn start(world: &World, definition: &str, key: &str, labels: Value) -> String {
    let input = if definition == "order" { json!({ "order": key }) } else { json!({}) };
    let body = json!({ "definition": definition, "input": input, "key": key, "labels": labels });
    let answer = world.post("/v1/sagas", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.id()
}

#[tokio::test]
async fn sagas_are_found_by_what_they_are_and_where_they_stand() {
    let world = World::new().await;
    let first = start(&world, "order", "first", json!({ "shop": "a" })).await;
    let created = world.until(&first, "completed").await["created_at"].as_str().expect("a time").to_owned();
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no" }))]);
    let second = start(&world, "order", "second", json!({ "shop": "b", "vip": "yes" })).await;
    world.until(&second, "compensated").await;
    let third = start(&world, "paid", "third", json!({ "shop": "a", "vip": "yes" })).await;
    world.until_step(&third, 1, "waiting").await;
    world.stub.say("hold", [Say::Late(Duration::from_secs(4))]);
    let fourth = start(&world, "paid", "fourth", json!({})).await;
    world.until_step(&fourth, 0, "running").await;
    let far = "2100-01-01T00:00:00Z";
    let table: Vec<(String, &[&str])> = vec![
        (String::new(), &["fourth", "third", "second", "first"]),
        ("status=completed".to_owned(), &["first"]),
        ("status=completed,compensated".to_owned(), &["second", "first"]),
        ("status=completed&status=running".to_owned(), &["fourth", "third", "first"]),
        ("status=repair".to_owned(), &[]),
        ("definition=order".to_owned(), &["second", "first"]),
        ("definition=paid@1".to_owned(), &["fourth", "third"]),
        ("definition=paid@2".to_owned(), &[]),
        ("label=shop:a".to_owned(), &["third", "first"]),
        ("label=shop:a&label=vip:yes".to_owned(), &["third"]),
        ("label=shop:c".to_owned(), &[]),
        ("key=second".to_owned(), &["second"]),
        ("step=payment".to_owned(), &["third"]),
        ("step=hold".to_owned(), &["fourth"]),
        ("participant=shop".to_owned(), &["fourth"]),
        ("participant=nobody".to_owned(), &[]),
        (format!("created_after={created}"), &["fourth", "third", "second", "first"]),
        (format!("created_before={created}"), &[]),
        (format!("created_after={far}"), &[]),
        (format!("created_before={far}&status=running&definition=paid&limit=1"), &["fourth"]),
    ];
    for (query, expected) in table {
        let answer = world.get(&format!("/v1/sagas?{query}")).await;
        assert_eq!((answer.status, keys(&answer)), (200, expected.to_vec()), "{query}: {answer:?}");
        let items = answer.body["items"].as_array().expect("items");
        assert!(items.iter().all(|item| item.get("steps").is_none()), "a list shows no steps");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_while_new_sagas_come() {
    let world = World::new().await;
    for n in 0..7 {
        start(&world, "order", &n.to_string(), json!({})).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = world.get(&format!("/v1/sagas?limit=3{cursor}")).await;
        seen.extend(keys(&answer).into_iter().map(str::to_owned));
        start(&world, "order", &format!("later {}", seen.len()), json!({})).await;
        let Some(next) = answer.body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
}

const PAID_JOURNAL: [&str; 9] = [
    "started",
    "call_started hold action",
    "call_done hold action",
    "await_started payment",
    "signal_received",
    "await_done payment",
    "call_started charge action",
    "call_done charge action",
    "completed",
];

/// The numbers and types of what was sent by a stream.
fn events(stream: &str) -> Vec<(u64, String)> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| serde_json::from_str::<Value>(data.trim()).expect("JSON"))
        .map(|item| (item["seq"].as_u64().expect("seq"), item["type"].as_str().expect("type").to_owned()))
        .collect()
}

#[tokio::test]
async fn a_journal_is_read_in_pages_and_followed_to_its_end() {
    let world = World::new().await;
    let id = start(&world, "paid", "k", json!({})).await;
    let follow = format!("/v1/sagas/{id}/journal?follow");
    let pay = async {
        world.until_step(&id, 1, "waiting").await;
        world.post(&format!("/v1/sagas/{id}/signals/payment"), &json!({ "payload": 1 })).await
    };
    let (live, _) = tokio::join!(world.get(&follow), pay);
    assert!(live.header("content-type").starts_with("text/event-stream"), "{live:?}");
    assert_eq!(world.journal(&id).await, PAID_JOURNAL);
    let types = PAID_JOURNAL.map(|text| text.split(' ').next().expect("a type").to_owned());
    let whole: Vec<(u64, String)> = (1..).zip(types).collect();
    assert_eq!(events(&live.text), whole, "{}", live.text);
    assert_eq!(events(&world.get(&follow).await.text), whole, "followed after its end");
    assert_eq!(events(&world.get(&format!("{follow}=true&cursor=6")).await.text), whole[6..]);

    let (mut seqs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/sagas/{id}/journal?limit=4{cursor}")).await;
        let items = page.body["items"].as_array().expect("items");
        seqs.extend(items.iter().map(|item| item["seq"].as_u64().expect("seq")));
        let Some(next) = page.body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
    let past = world.get(&format!("/v1/sagas/{id}/journal?cursor=9")).await;
    assert_eq!((past.status, &past.body), (200, &json!({ "items": [], "next": null })));
    world.get(&format!("/v1/sagas/{id}/journal?cursor=x")).await.is_problem(400, "bad_query");
    world.get(&format!("/v1/sagas/{id}/journal?follow=maybe")).await.is_problem(400, "bad_query");
}

#[tokio::test]
async fn an_item_of_a_list_is_found_by_its_own_name_and_by_that_of_its_step() {
    let world = World::new().await;
    let text = "{ saga: each, version: 1, steps: [{ hold: { for_each: [1, 2], action: shop.hold, \
                compensation: shop.release } }, { holder: { await: payment, timeout: 15m } }] }";
    assert_eq!(world.define("each", text).await.status, 201);
    let waiting = start(&world, "each", "waiting", json!({})).await;
    world.until_step(&waiting, 3, "waiting").await;
    world.stub.say("release", [Say::json(409, &json!({ "message": "gone" }))]);
    let parked = start(&world, "each", "parked", json!({})).await;
    world.until_step(&parked, 3, "waiting").await;
    world.post(&format!("/v1/sagas/{parked}/cancel"), &json!({})).await;
    world.until(&parked, "repair").await;
    for (step, sagas, items) in [
        ("hold", 1, 1),
        ("hold%5B1%5D", 1, 1),
        ("hold%5B0%5D", 0, 0),
        ("hold[1]", 1, 1),
        ("hol", 0, 0),
        ("holder", 1, 0),
    ] {
        for (list, expected) in [("sagas", sagas), ("repairs", items)] {
            let page = world.get(&format!("/v1/{list}?step={step}")).await;
            let found = page.body["items"].as_array().map(Vec::len);
            assert_eq!(found, Some(expected), "{list} at {step}: {page:?}");
        }
    }
    for step in ["hold%5B", "hold%5B01%5D", "hold%5B-1%5D", "Hold", "hold%5B0%5D%5B0%5D", ""] {
        for list in ["sagas", "repairs"] {
            world.get(&format!("/v1/{list}?step={step}")).await.is_problem(400, "bad_query");
        }
    }
    let body = json!({ "action": "retry", "filter": { "step": "hold[1]" }, "by": "ada", "dry_run": true });
    let meant = world.post("/v1/repairs/bulk", &body).await;
    assert!(meant.status < 300 && meant.text.contains("hold[1]"), "{meant:?}");
}
