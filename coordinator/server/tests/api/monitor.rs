//! The monitor: what it settles, tries again, says aloud and finds, and what it leaves to people.

use crate::{
    metrics::{metric, until_metric},
    repairs::{audits, exhausted, refused, until_item, verb},
    stub::{Say, Stub},
    world::{PATIENCE, World, config, serve, start_order},
};
use amends_saga::{Millis, gate::GateLimits};
use amends_server::{
    Config, Monitoring, SagaLimits,
    hooks::{Hook, HookEvent},
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A coordinator whose monitor is quick, and whose breakers open after `unknowns` in a row, for `open`.
async fn world(monitor: Monitoring, unknowns: u32, open: Duration) -> World {
    let open = Millis(u64::try_from(open.as_millis()).expect("a short time"));
    let gates =
        GateLimits { unknowns_in_a_row: unknowns, open_first: open, open_max: open, ..GateLimits::default() };
    let sagas = SagaLimits { gates: Some(gates), ..SagaLimits::default() };
    let world = World::bare(Config { monitor, sagas, ..config() }).await;
    register(&world, json!({ "status": true })).await;
    world.define("order", crate::world::ORDER).await;
    world
}

async fn register(world: &World, release: Value) {
    let operations = json!({ "hold": {}, "release": release, "charge": {}, "refund": {} });
    let body = json!({ "instances": [world.stub.url], "operations": operations });
    assert!(world.put("/v1/participants/shop", &body).await.status < 300);
}

/// A monitor that looks every fifth of a second and audits seldom.
fn quick() -> Monitoring {
    let every = Duration::from_millis(200);
    Monitoring {
        probe_every: every,
        redrive_every: every,
        escalate_every: every,
        gauge_every: every,
        stuck_every: every,
        ..Monitoring::default()
    }
}

/// One that asks nothing of participants.
fn silent() -> Monitoring {
    Monitoring { probe_every: Duration::from_secs(3600), ..quick() }
}

/// Waits until the breaker of `shop` stands like this.
async fn until_breaker(world: &World, state: &str) -> Value {
    let begun = Instant::now();
    loop {
        let breaker = world.get("/v1/participants/shop").await.body["breaker"].clone();
        if breaker["state"] == state {
            return breaker;
        }
        assert!(begun.elapsed() < PATIENCE, "the breaker is not {state}: {breaker}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Opens the breaker of `shop` by an order whose release is answered 503 three times, and well after that.
async fn outage(world: &World) -> String {
    world.stub.say("charge", [Say::json(409, &json!({ "message": "no money" }))]);
    world.stub.say("release", vec![Say::Text(503, "down".to_owned()); 3]);
    let id = world.post("/v1/sagas", &start_order("outage")).await.id();
    let breaker = until_breaker(world, "open").await;
    assert!(breaker["until"].is_string(), "{breaker}");
    id
}

#[tokio::test]
async fn a_stuck_step_that_turns_out_to_be_undone_is_settled() {
    let world = world(quick(), 5, Duration::from_secs(5)).await;
    let not_yet =
        [Say::Text(404, String::new()), Say::Text(202, String::new()), Say::Text(503, String::new())];
    world.stub.say("release?status", not_yet);
    world.stub.say("release?status", [Say::json(200, &json!({ "undone": "by hand" }))]);
    let (saga, item) = refused(&world, "k").await;
    let item = until_item(&world, &item, "settled").await;
    assert_eq!((&item["settled"]["how"], &item["settled"]["by"]), (&json!("proven"), &json!("monitor")));
    assert_eq!(world.until(&saga, "compensated").await["settled_by_hand"], false);
    let audits = audits(&world, &saga).await;
    assert_eq!(audits.len(), 1, "{audits:?}");
    assert_eq!(audits[0]["output"], json!({ "undone": "by hand" }), "{audits:?}");

    let asked = world.stub.asked();
    let questions: Vec<_> = asked.iter().filter(|asked| asked.header("saga-op") == "status").collect();
    assert_eq!(questions.len(), 4);
    let call = asked.iter().find(|asked| asked.path == "/release").expect("it was called");
    for question in questions {
        assert_eq!(question.header("saga-status-of"), "compensation");
        assert_eq!(
            (question.body.clone(), question.header("idempotency-key")),
            (call.body.clone(), call.header("idempotency-key"))
        );
    }
    for (answer, count) in [("done", 1.0), ("not_seen", 1.0), ("pending", 1.0), ("unknown", 1.0)] {
        let name = format!("amends_monitor_probes_total{{answer=\"{answer}\"}}");
        assert_eq!(metric(&world, &name).await, Some(count), "{name}");
    }
}

#[tokio::test]
async fn many_items_are_all_asked_about_and_none_twice_in_a_round() {
    // Two questions a round: the walk goes on where it ended.
    let monitor = Monitoring { probes_per_second: 10, ..quick() };
    let world = world(monitor, 5, Duration::from_secs(5)).await;
    world.stub.say("release?status", vec![Say::Text(404, String::new()); 60]);
    for n in 0..8 {
        refused(&world, &format!("k{n}")).await;
    }
    let begun = Instant::now();
    loop {
        let asked = world.stub.asked();
        let keys: Vec<String> = asked
            .iter()
            .filter(|asked| asked.header("saga-op") == "status")
            .map(|asked| asked.header("idempotency-key").to_owned())
            .collect();
        let mut last = keys[keys.len().saturating_sub(8)..].to_vec();
        last.sort();
        last.dedup();
        if last.len() == 8 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "not all were asked about in turn: {keys:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_participant_that_offers_no_status_or_whose_breaker_is_open_is_not_asked() {
    let world = world(quick(), 3, Duration::from_secs(3)).await;
    register(&world, json!({})).await;
    refused(&world, "k").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let questions =
        |world: &World| world.stub.asked().iter().filter(|asked| asked.header("saga-op") == "status").count();
    assert_eq!(questions(&world), 0);
    world.stub.say("release?status", vec![Say::Text(404, String::new()); 60]);
    register(&world, json!({})).await;
    outage(&world).await;
    register(&world, json!({ "status": true })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(questions(&world), 0, "nobody is asked while the breaker is open");
    until_breaker(&world, "closed").await;
    let begun = Instant::now();
    while questions(&world) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody was asked after the breaker had closed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_an_outage_has_left_is_tried_again_when_the_participant_is_back() {
    let world = world(silent(), 3, Duration::from_secs(1)).await;
    register(&world, json!({})).await;
    let (spent, item) = exhausted(&world, "spent").await;
    let (_, refused) = refused(&world, "refused").await;
    let (_, looked_after) = exhausted(&world, "looked-after").await;
    assert_eq!(verb(&world, &looked_after, "assign", json!({ "assignee": "ada" })).await.status, 200);
    let outage = outage(&world).await;
    world.until(&outage, "compensated").await;
    let settled = until_item(&world, &item, "settled").await;
    assert_eq!(
        (&settled["settled"]["how"], &settled["settled"]["by"]),
        (&json!("retried"), &json!("monitor"))
    );
    world.until(&spent, "compensated").await;
    // What was refused, and what somebody looks after, is for people.
    tokio::time::sleep(Duration::from_secs(1)).await;
    until_item(&world, &refused, "open").await;
    until_item(&world, &looked_after, "assigned").await;
    assert_eq!(metric(&world, "amends_monitor_redriven_total{participant=\"shop\"}").await, Some(1.0));
    assert_eq!(metric(&world, "amends_breaker_opened_total{participant=\"shop\"}").await, Some(1.0));
}

#[tokio::test]
async fn a_chain_is_tried_again_only_so_often() {
    let world = world(Monitoring { redrives_max: 0, ..silent() }, 3, Duration::from_secs(1)).await;
    register(&world, json!({})).await;
    let (_, item) = exhausted(&world, "spent").await;
    let outage = outage(&world).await;
    world.until(&outage, "compensated").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    until_item(&world, &item, "open").await;
}

#[tokio::test]
async fn a_participant_that_nobody_calls_any_more_is_found_to_be_back() {
    let world = world(silent(), 2, Duration::from_millis(500)).await;
    register(&world, json!({})).await;
    let (saga, item) = exhausted(&world, "k").await;
    let settled = until_item(&world, &item, "settled").await;
    assert_eq!(settled["settled"]["how"], "retried", "{settled:#}");
    world.until(&saga, "compensated").await;
    until_breaker(&world, "closed").await;
}

#[tokio::test]
async fn an_item_is_warned_of_and_then_somebody_is_called_once_each() {
    let (warn_after, page_after) = (Duration::from_millis(400), Duration::from_millis(1500));
    let world = world(Monitoring { warn_after, page_after, ..silent() }, 5, Duration::from_secs(5)).await;
    let (_, item) = refused(&world, "k").await;
    let [warned, paged] =
        ["warn", "page"].map(|level| format!("amends_repairs_escalated_total{{level=\"{level}\"}}"));
    until_metric(&world, &warned, 1.0).await;
    assert_eq!(metric(&world, &paged).await, None, "it is not that old");
    until_metric(&world, &paged, 1.0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((metric(&world, &warned).await, metric(&world, &paged).await), (Some(1.0), Some(1.0)));
    until_item(&world, &item, "open").await;
}

#[tokio::test]
async fn two_coordinators_on_one_store_do_no_more_than_one() {
    let receiver = Stub::start().await;
    let hooks = vec![Hook::new(&receiver.url, None, HookEvent::ALL.to_vec()).expect("a hook")];
    let (every, warn_after) = (Duration::from_millis(500), Duration::from_millis(300));
    let monitor = Monitoring { probe_every: every, warn_after, ..quick() };
    let config = Config { monitor, hooks, ..config() };
    let world = World::bare(config.clone()).await;
    register(&world, json!({ "status": true })).await;
    world.define("order", crate::world::ORDER).await;
    let second = serve(config, Arc::new(world.store.clone())).await;
    world.stub.say("release?status", vec![Say::Text(404, String::new()); 100]);
    refused(&world, "k").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let questions = world.stub.asked().iter().filter(|asked| asked.header("saga-op") == "status").count();
    assert!((4..=10).contains(&questions), "{questions} questions in 8 rounds");
    let told: Vec<String> =
        receiver.asked().iter().map(|asked| String::from_utf8_lossy(&asked.body).into_owned()).collect();
    assert_eq!(told.len(), 2, "opened and warned of, once each: {told:?}");
    second.stop().await;
}

/// A saga that is past its pivot before its deadline and waits beyond it.
const LATE: &str = r#"
saga: late
version: 1
deadline: 1s
steps:
  - ship: { action: shop.charge, compensation: shop.refund, with: {}, pivot: true }
  - receipt: { await: receipt, timeout: 1h, default: none }
"#;

#[tokio::test]
async fn sagas_past_their_pivot_are_told_of_when_their_deadline_has_passed() {
    let world = world(silent(), 5, Duration::from_secs(5)).await;
    let defined = world.define("late", LATE).await;
    assert_eq!(defined.status, 201, "{defined:?}");
    let mut sagas = Vec::new();
    for _ in 0..2 {
        sagas.push(world.post("/v1/sagas", &json!({ "definition": "late", "input": {} })).await.id());
    }
    // The same, given with the start: nobody can look its deadline up by name.
    let whole = json!({ "saga": "whole", "version": 1, "deadline": "1s", "steps": [
        { "ship": { "action": "shop.charge", "compensation": "shop.refund", "with": {}, "pivot": true } },
        { "receipt": { "await": "receipt", "timeout": "1h", "default": "none" } } ] });
    sagas.push(world.post("/v1/sagas", &json!({ "definition": whole, "input": {} })).await.id());
    until_metric(&world, "amends_sagas_overdue", 3.0).await;
    for saga in &sagas {
        let shown = world.get(&format!("/v1/sagas/{saga}")).await.body;
        assert_eq!(shown["status"], "running", "a deadline turns nobody round any more: {shown:#}");
        let signal = world.post(&format!("/v1/sagas/{saga}/signals/receipt"), &json!({ "payload": 1 })).await;
        assert_eq!(signal.status, 200, "{signal:?}");
        world.until(saga, "completed").await;
    }
    let begun = Instant::now();
    while metric(&world, "amends_sagas_overdue").await != Some(0.0) {
        assert!(begun.elapsed() < PATIENCE, "sagas that have ended are still late");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sagas_that_sleep_are_shown_and_count_as_live() {
    let world = world(silent(), 5, Duration::from_secs(5)).await;
    let defined = world.define("late", &LATE.replace("deadline: 1s", "deadline: 1h")).await;
    assert_eq!(defined.status, 201, "{defined:?}");
    let saga = world.post("/v1/sagas", &json!({ "definition": "late", "input": {} })).await.id();
    until_metric(&world, "amends_sagas_asleep", 1.0).await;
    assert_eq!(metric(&world, "amends_sagas_live").await, Some(1.0));
    world.post(&format!("/v1/sagas/{saga}/signals/receipt"), &json!({ "payload": 1 })).await;
    world.until(&saga, "completed").await;
}

/// A monitor that audits often, and judges what is a moment old.
fn auditing() -> Monitoring {
    let (every, settle) = (Duration::from_millis(500), Duration::from_millis(1));
    Monitoring { audit_every: every, audit_settle: settle, ..silent() }
}

/// Waits until this many anomalies are in the queue, whatever their status.
async fn until_anomalies(world: &World, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let statuses = "status=open&status=assigned&status=settled";
        let page = world.get(&format!("/v1/repairs?kind=anomaly&{statuses}")).await.body;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        if items.len() == count {
            return items;
        }
        assert!(begun.elapsed() < PATIENCE, "not {count} anomalies: {page:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_participants_have_done_for_nobody_is_found_once() {
    let world = world(auditing(), 5, Duration::from_secs(5)).await;
    let orphan = "01890000-0000-7000-8000-000000000001";
    let at = amends_server::clock::now().0 - 60_000;
    let effect =
        json!({ "saga": orphan, "step": "hold", "op_state": "applied", "at": at, "effect": { "qty": 2 } });
    let own = json!({ "name": "negative_stock", "message": "sku 7 stands at -1", "detail": { "sku": 7 } });
    let page = json!({ "effects": [effect], "findings": [own] });
    world.stub.say("saga-audit", vec![Say::json(200, &page); 100]);
    let items = until_anomalies(&world, 2).await;
    let names: Vec<&str> = items.iter().filter_map(|item| item["finding"]["name"].as_str()).collect();
    assert!(names.contains(&"effect_without_a_saga") && names.contains(&"negative_stock"), "{items:?}");
    let item = items.iter().find(|item| item["saga"] == orphan).expect("the orphan's");
    assert_eq!(
        (&item["participant"], &item["step"], &item["status"]),
        (&json!("shop"), &json!("hold"), &json!("open"))
    );
    until_metric(&world, "amends_anomalies_open{name=\"effect_without_a_saga\"}", 1.0).await;
    until_metric(&world, "amends_anomalies_open{name=\"other\"}", 1.0).await;

    // Somebody has put it right by their own lights; the next rounds do not ask again.
    assert_eq!(verb(&world, item, "resolve", json!({ "note": "it was a test" })).await.status, 200);
    let rounds = "amends_audit_runs_total{outcome=\"done\"}";
    let before = metric(&world, rounds).await.unwrap_or_default();
    until_metric(&world, rounds, before + 2.0).await;
    until_anomalies(&world, 2).await;
    assert_eq!(
        metric(&world, "amends_audit_findings_total{name=\"effect_without_a_saga\"}").await,
        Some(1.0)
    );
    // The audit is asked of the participant as it stands now, from a time on.
    let asked = world.stub.asked();
    assert!(asked.iter().any(|asked| asked.path == "/saga-audit"));
}

#[tokio::test]
async fn what_participants_have_lost_is_found() {
    let world = world(auditing(), 5, Duration::from_secs(5)).await;
    assert_eq!(world.order("k").await.text("status"), "completed");
    world.stub.say("saga-audit", vec![Say::json(200, &json!({ "effects": [] })); 100]);
    let items = until_anomalies(&world, 2).await;
    for (item, step) in items.iter().zip(["charge", "hold"].iter().cycle()) {
        assert_eq!(item["finding"]["name"], "effect_lost", "{step}: {item:#}");
        assert_eq!(item["definition"], "order", "{item:#}");
    }
}

#[tokio::test]
async fn an_audit_that_is_not_offered_or_not_readable_is_said_to_be() {
    let world = world(auditing(), 5, Duration::from_secs(5)).await;
    world.stub.say("saga-audit", [Say::Text(404, String::new())]);
    until_metric(&world, "amends_audit_runs_total{outcome=\"not_offered\"}", 1.0).await;
    until_metric(&world, "amends_audit_runs_total{outcome=\"failed\"}", 1.0).await;
    until_anomalies(&world, 0).await;
}
