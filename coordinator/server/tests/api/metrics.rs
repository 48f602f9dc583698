//! What is counted: the repair queue, the gates, attempts and how long undoing takes.

use crate::{
    repairs::{exhausted, until_item, verb},
    stub::Say,
    world::{PATIENCE, World, start_order},
};
use serde_json::json;
use std::time::{Duration, Instant};

/// The value of a metric with these labels, as `/metrics` shows it.
pub(crate) async fn metric(world: &World, name: &str) -> Option<f64> {
    let text = world.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Waits until a metric has at least this value.
pub(crate) async fn until_metric(world: &World, name: &str, value: f64) {
    let begun = Instant::now();
    loop {
        let found = metric(world, name).await;
        if found.is_some_and(|found| found >= value) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} is {found:?}, not {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_item_is_shown_within_five_seconds_and_taken_back_when_it_is_settled() {
    let world = World::new().await;
    let (_, item) = exhausted(&world, "k").await;
    let begun = Instant::now();
    let open = |age| format!("amends_repairs_open{{participant=\"shop\",step=\"hold\",age=\"{age}\"}}");
    until_metric(&world, &open("15m"), 1.0).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(metric(&world, &open("older")).await, Some(0.0));
    until_metric(&world, "amends_repairs_oldest_seconds", 0.01).await;
    let opened = "amends_repairs_opened_total{participant=\"shop\",reason=\"exhausted\"}";
    assert_eq!(metric(&world, opened).await, Some(1.0));

    assert_eq!(verb(&world, &item, "resolve", json!({ "note": "by hand" })).await.status, 200);
    until_item(&world, &item, "settled").await;
    let settled = "amends_repairs_settled_total{participant=\"shop\",how=\"resolved\"}";
    until_metric(&world, settled, 1.0).await;
    let begun = Instant::now();
    while metric(&world, &open("15m")).await != Some(0.0) {
        assert!(begun.elapsed() < Duration::from_secs(5), "the item is still shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(metric(&world, "amends_repairs_oldest_seconds").await, Some(0.0));
}

#[tokio::test]
async fn attempts_and_the_time_to_undo_are_counted() {
    let world = World::new().await;
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    world.stub.say("release", vec![Say::Text(503, "busy".to_owned()); 2]);
    let id = world.post("/v1/sagas", &start_order("k")).await.id();
    world.until(&id, "compensated").await;
    for (operation, op, which, count) in [
        ("hold", "action", "first", 1.0),
        ("hold", "action", "retry", 0.0),
        ("charge", "action", "first", 1.0),
        ("release", "compensation", "first", 1.0),
        ("release", "compensation", "retry", 2.0),
    ] {
        let labels = format!("participant=\"shop\",operation=\"{operation}\",op=\"{op}\",try=\"{which}\"");
        let name = format!("amends_attempts_total{{{labels}}}");
        assert_eq!(metric(&world, &name).await, Some(count), "{name}");
    }
    assert_eq!(metric(&world, "amends_compensate_seconds_count").await, Some(1.0));
    until_metric(&world, "amends_breaker_state{participant=\"shop\"}", 0.0).await;
    until_metric(&world, "amends_participant_waiting{participant=\"shop\"}", 0.0).await;
}

#[tokio::test]
async fn abandoned_sagas_are_counted() {
    let world = World::new().await;
    let (saga, item) = exhausted(&world, "k").await;
    assert_eq!(verb(&world, &item, "abandon", json!({ "note": "no use" })).await.status, 200);
    world.until(&saga, "abandoned").await;
    until_metric(&world, "amends_sagas_ended_total{status=\"abandoned\"}", 1.0).await;
}
