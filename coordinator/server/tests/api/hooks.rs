//! Webhooks: who is told, when, with what signature, and what happens when nobody takes it.

use crate::{
    metrics::until_metric,
    repairs::{refused, until_item, verb},
    stub::{Asked, Say, Stub},
    world::{PATIENCE, World, config, serve, start_order},
};
use amends_server::{
    Config, Monitoring,
    hooks::{Hook, HookEvent},
};
use amends_store::sqlite::{Options, SqliteStore};
use amends_wire::participant::{Secret, verify};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hook(receiver: &Stub, events: &[HookEvent]) -> Hook {
    Hook::new(&format!("{}/told?by=amends", receiver.url), Some(SECRET), events.to_vec()).expect("a hook")
}

async fn world(hooks: Vec<Hook>, monitor: Monitoring) -> World {
    let world = World::bare(Config { hooks, monitor, ..config() }).await;
    world.register_shop(json!({})).await;
    world.define("order", crate::world::ORDER).await;
    world
}

/// Waits until a receiver was told this often, and says what.
async fn until_told(receiver: &Stub, count: usize) -> Vec<Asked> {
    let begun = Instant::now();
    loop {
        let asked = receiver.asked();
        if asked.len() >= count {
            return asked;
        }
        assert!(begun.elapsed() < PATIENCE, "told {} times, not {count}", asked.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A message whose signature is good.
fn read(asked: &Asked) -> Value {
    let secrets = [Secret::parse(SECRET).expect("a secret")];
    let [id, at, signature] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| asked.header(name).to_owned());
    let now = amends_server::clock::now().0 / 1000;
    assert_eq!(verify(&secrets, &id, &at, &signature, now, &asked.body), Ok(()), "{asked:?}");
    assert_eq!(asked.header("content-type"), "application/json");
    serde_json::from_slice(&asked.body).expect("JSON")
}

#[tokio::test]
async fn an_item_is_told_of_within_a_second_and_again_when_it_is_settled() {
    let receiver = Stub::start().await;
    let world = world(vec![hook(&receiver, &HookEvent::ALL)], Monitoring::default()).await;
    let begun = Instant::now();
    let (_, item) = refused(&world, "k").await;
    let told = until_told(&receiver, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let message = read(&told[0]);
    assert_eq!(message["type"], "repair.opened");
    assert_eq!(
        (&message["data"]["id"], &message["data"]["status"]),
        (&item["id"], &json!("open")),
        "{message:#}"
    );
    assert_eq!(message["data"]["payload"], json!({ "order": "k" }), "{message:#}");
    assert_eq!(message["data"].get("level"), None, "{message:#}");
    assert!(message["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{message:#}");

    assert_eq!(verb(&world, &item, "resolve", json!({ "note": "by hand" })).await.status, 200);
    let message = read(&until_told(&receiver, 2).await[1]);
    assert_eq!(
        (&message["type"], &message["data"]["settled"]["by"]),
        (&json!("repair.settled"), &json!("ada"))
    );
    until_metric(&world, "amends_hooks_total{outcome=\"delivered\"}", 2.0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(receiver.asked().len(), 2, "each is told once");
}

#[tokio::test]
async fn a_hook_is_told_only_of_what_it_asked_for_and_of_the_level_of_an_old_item() {
    let receiver = Stub::start().await;
    let ms = Duration::from_millis;
    let monitor = Monitoring {
        warn_after: ms(300),
        page_after: ms(900),
        escalate_every: ms(100),
        ..Monitoring::default()
    };
    let world = world(vec![hook(&receiver, &[HookEvent::Escalated])], monitor).await;
    refused(&world, "k").await;
    let told = until_told(&receiver, 2).await;
    let levels: Vec<Value> = told.iter().map(|asked| read(asked)["data"]["level"].clone()).collect();
    assert_eq!(levels, [json!("warn"), json!("page")]);
    assert!(told.iter().all(|asked| read(asked)["type"] == "repair.escalated"));
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_under_the_same_id() {
    let receiver = Stub::start().await;
    receiver.say("told", [Say::Text(500, String::new())]);
    let world = world(vec![hook(&receiver, &[HookEvent::Opened])], Monitoring::default()).await;
    refused(&world, "k").await;
    let told = until_told(&receiver, 2).await;
    assert_eq!(told[0].header("webhook-id"), told[1].header("webhook-id"));
    read(&told[1]);
    until_metric(&world, "amends_hooks_total{outcome=\"failed\"}", 1.0).await;
    until_metric(&world, "amends_hooks_total{outcome=\"delivered\"}", 1.0).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, elsewhere) = (Stub::start().await, Stub::start().await);
    receiver.say("told", [Say::With(307, "location", elsewhere.url.clone())]);
    let world = world(vec![hook(&receiver, &[HookEvent::Opened])], Monitoring::default()).await;
    refused(&world, "k").await;
    until_metric(&world, "amends_hooks_total{outcome=\"failed\"}", 1.0).await;
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn what_waits_outlives_the_coordinator() {
    let receiver = Stub::start().await;
    receiver.say("told", [Say::Text(503, String::new())]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sagas.db");
    let hooks = vec![hook(&receiver, &[HookEvent::Opened])];
    let store = || async { Arc::new(SqliteStore::open(Options::new(&path)).await.expect("the store opens")) };
    let config = || Config { hooks: hooks.clone(), ..config() };
    let mut world = world(Vec::new(), Monitoring::default()).await;
    world.server.stop().await;
    world.server = serve(config(), store().await).await;
    world.url = format!("http://{}", world.server.address());
    world.register_shop(json!({})).await;
    world.define("order", crate::world::ORDER).await;
    let (_, item) = refused(&world, "k").await;
    until_told(&receiver, 1).await;
    world.server.stop().await;

    world.server = serve(config(), store().await).await;
    world.url = format!("http://{}", world.server.address());
    let told = until_told(&receiver, 2).await;
    assert_eq!(told[0].header("webhook-id"), told[1].header("webhook-id"));
    assert_eq!(read(&told[1])["data"]["id"], item["id"]);
    until_item(&world, &item, "open").await;
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_holds_up_neither_others_nor_sagas() {
    let (dead, well) = (Stub::start().await, Stub::start().await);
    dead.say("told", vec![Say::Late(Duration::from_secs(60)); 100]);
    let hooks = vec![hook(&dead, &HookEvent::ALL), hook(&well, &HookEvent::ALL)];
    let world = world(hooks, Monitoring::default()).await;
    let begun = Instant::now();
    for n in 0..20 {
        refused(&world, &format!("k{n}")).await;
    }
    until_told(&well, 20).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(world.post("/v1/sagas?wait=10s", &start_order("other")).await.text("status"), "completed");
}
