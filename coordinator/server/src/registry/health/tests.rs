//! Instances that fail their checks are passed over and come back; nobody is checked without need.

use super::*;
use crate::{dispatch, metrics::Metrics, registry::Registry, trace::Tracer};
use amends_saga::{Millis, Name, Timestamp};
use amends_store::{Store, memory::MemoryStore};
use amends_wire::{definition::Defaults, token::Tokens};
use bytes::Bytes;
use http::HeaderMap;
use reqwest::Url;
use serde_json::json;
use std::{collections::BTreeMap, sync::Mutex};
use tokio::sync::mpsc;

/// Answers checks with the status set for their port, and remembers where they went; 0 stands for a broken connection.
#[derive(Debug, Clone, Default)]
struct Wards {
    statuses: Arc<Mutex<BTreeMap<u16, u16>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl dispatch::Transport for Wards {
    async fn post(&self, _: &Url, _: HeaderMap, _: Bytes) -> Result<dispatch::Reply, TransportError> {
        unreachable!("nothing is called")
    }

    async fn probe(&self, url: &Url, headers: HeaderMap) -> Result<StatusCode, TransportError> {
        assert!(headers.contains_key("webhook-signature"), "a check is signed as a call is");
        self.asked.lock().expect("unpoisoned").push(url.to_string());
        let port = url.port().expect("a port");
        let status = self.statuses.lock().expect("unpoisoned").get(&port).copied().unwrap_or(200);
        StatusCode::from_u16(status).map_err(|_| TransportError::Broken("refused".to_owned()))
    }
}

struct World {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    dispatcher: Dispatcher,
    wards: Wards,
    at: Timestamp,
}

impl World {
    async fn new() -> World {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let registry = Registry::load(store.as_ref(), Defaults::default()).await.expect("an empty registry");
        let (registry, wards) = (Arc::new(registry), Wards::default());
        let (answers, _) = mpsc::channel(1);
        let callbacks = dispatch::Callbacks {
            tokens: Tokens::new([7; 32]),
            public_url: "http://127.0.0.1:7070".to_owned(),
        };
        let dispatcher = Dispatcher::new(
            Arc::new(wards.clone()),
            registry.clone(),
            Arc::new(Metrics::new()),
            Tracer::default(),
            answers,
            store.clone(),
            callbacks,
        );
        World { store, registry, dispatcher, wards, at: now() }
    }

    async fn register(&self, participant: &str, ports: &[u16], health: Option<&str>) {
        let instances: Vec<String> = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let body = json!({
            "instances": instances, "operations": { "go": {} }, "health": health,
            "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
        });
        let registration = serde_json::from_value(body).expect("a registration");
        self.registry.register(&self.store, name(participant), registration).await.expect("registered");
    }

    fn answer(&self, port: u16, status: u16) {
        self.wards.statuses.lock().expect("unpoisoned").insert(port, status);
    }

    /// Makes every check that is due within the next four seconds; says where they went.
    async fn round(&mut self) -> Vec<String> {
        self.at = self.at.after(Millis::from_secs(4));
        for check in self.registry.participants.checks(AT_ONCE, self.at) {
            make(&self.dispatcher, check).await;
        }
        let mut asked = std::mem::take(&mut *self.wards.asked.lock().expect("unpoisoned"));
        asked.sort_unstable();
        asked
    }

    fn health(&self, participant: &str) -> Vec<Option<bool>> {
        let view = self.registry.participant_view(&name(participant)).expect("it is there");
        view.instances.iter().map(|one| one.healthy).collect()
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

#[tokio::test]
async fn an_instance_that_fails_two_checks_is_out_until_it_passes_two() {
    let mut world = World::new().await;
    world.register("p", &[1, 2], Some("/well")).await;
    assert_eq!(world.health("p"), [None, None]);
    assert_eq!(world.round().await, ["http://127.0.0.1:1/well", "http://127.0.0.1:2/well"]);
    assert_eq!(world.health("p"), [Some(true), Some(true)]);
    for status in [503, 0, 404, 302] {
        world.answer(1, status);
        world.round().await;
        assert_eq!(world.health("p"), [Some(true), Some(true)], "{status}: once");
        world.round().await;
        assert_eq!(world.health("p"), [Some(false), Some(true)], "{status}: twice");
        let chosen = world.registry.participants.choose(&name("p"), &name("go")).expect("a place");
        assert_eq!(chosen.below("/").port(), Some(2));
        world.answer(1, 204);
        world.round().await;
        assert_eq!(world.health("p"), [Some(false), Some(true)], "{status}: well once");
        world.round().await;
        assert_eq!(world.health("p"), [Some(true), Some(true)], "{status}: well twice");
    }
}

#[tokio::test]
async fn where_no_check_was_registered_whoever_answers_is_well() {
    let mut world = World::new().await;
    world.register("p", &[1, 2], None).await;
    world.answer(1, 404);
    world.answer(2, 500);
    assert_eq!(world.round().await, ["http://127.0.0.1:1/healthz", "http://127.0.0.1:2/healthz"]);
    world.round().await;
    assert_eq!(world.health("p"), [Some(true), Some(false)]);
}

#[tokio::test]
async fn a_lone_instance_is_left_alone_until_a_call_fails() {
    let mut world = World::new().await;
    world.register("p", &[1], None).await;
    assert!(world.round().await.is_empty());
    world.registry.instances(&name("p"))[0].note(crate::registry::Sign::Missed);
    assert_eq!(world.round().await.len(), 1);
    assert_eq!(world.round().await.len(), 1);
    assert!(world.round().await.is_empty(), "it was well twice");
}

#[tokio::test]
async fn no_more_checks_are_made_at_once_than_there_is_room_for_and_all_have_their_turn() {
    let mut world = World::new().await;
    for participant in 0..3 {
        let ports: Vec<u16> = (1..=40).map(|port| 100 * participant + port).collect();
        world.register(&format!("p{participant}"), &ports, None).await;
    }
    let mut asked = world.round().await;
    assert_eq!(asked.len(), AT_ONCE);
    asked.extend(world.registry.participants.checks(AT_ONCE, world.at).into_iter().map(|check| {
        assert!(!check.is_declared);
        check.url.to_string()
    }));
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 120, "who was not asked is asked next");
}

#[tokio::test]
async fn checks_are_made_until_they_are_stopped() {
    let world = World::new().await;
    world.register("p", &[1, 2], None).await;
    let stop = CancellationToken::new();
    let checking = tokio::spawn(run(world.registry.clone(), world.dispatcher.clone(), stop.clone()));
    let begun = std::time::Instant::now();
    while world.health("p") != [Some(true), Some(true)] {
        assert!(begun.elapsed() < Duration::from_secs(10), "no check is made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    checking.await.expect("it ends");
}
