//! What is registered survives a restart, and what runs does not depend on what is registered later.

use super::*;
use amends_saga::{
    Millis,
    definition::{Kind, Target},
};
use amends_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::time::Duration;

const TRIP: &str = "saga: trip\nversion: 1\nsteps: [{go: {action: p.go, compensation: p.back, with: {}}}]";

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn load(store: &Arc<dyn Store>) -> Registry {
    Registry::load(store.as_ref(), Defaults::default()).await.expect("it loads")
}

async fn register(
    registry: &Registry,
    store: &Arc<dyn Store>,
    url: &str,
    timeout: &str,
    ttl: Option<&str>,
) -> bool {
    let registration = json!({
        "instances": [url],
        "operations": { "go": { "timeout": timeout, "batch": { "max": 7 } }, "back": {} },
        "ttl": ttl,
    });
    let registration = serde_json::from_value(registration).expect("a registration");
    registry.register(store, name("p"), registration).await.expect("it is registered").0
}

async fn to_run(registry: &Registry, store: &Arc<dyn Store>) -> Result<Arc<Definition>, Slug> {
    let wanted = DefinitionRef::Named { name: name("trip"), version: None };
    registry.to_run(store, &wanted, &Arc::new(json!({}))).await.map_err(|failure| failure.0.slug)
}

/// The timeout of the first step's action.
fn timeout(definition: &Definition) -> Millis {
    match &definition.step(amends_saga::StepIx(0)).kind {
        Kind::Call(call) => call.action.timeout,
        Kind::Await(_) | Kind::Branch(_) => panic!("the first step calls"),
    }
}

fn operation(participant: &str, operation: &str) -> Operation {
    Operation {
        participant: name(participant),
        name: name(operation),
        timeout: Millis::from_secs(1),
        status: false,
        barrier: true,
        target: Target::Participant,
    }
}

/// Where the next call of an operation of `p` is sent.
fn place_of(registry: &Registry, operation: &str) -> Result<String, Nowhere> {
    let operation = name(operation);
    let chosen = registry.participants.choose(&name("p"), &operation)?;
    Ok(chosen.address(&operation).single.to_string())
}

/// Where the next call of `go` is sent.
fn place(registry: &Registry) -> Option<String> {
    place_of(registry, "go").ok()
}

async fn offer(registry: &Registry, store: &Arc<dyn Store>, port: u16, operations: &[&str]) {
    let operations: BTreeMap<&str, Value> = operations.iter().map(|name| (*name, json!({}))).collect();
    let body = json!({ "instances": [format!("http://127.0.0.1:{port}")], "operations": operations });
    let registration = serde_json::from_value(body).expect("a registration");
    registry.register(store, name("p"), registration).await.expect("it is registered");
}

async fn define(registry: &Registry, store: &Arc<dyn Store>, text: &str) -> DefinitionPut {
    let text = Text::read(text).expect("a definition");
    registry.put_definition(store, text, true).await.expect("it is kept").0
}

#[tokio::test]
async fn a_definition_is_resolved_anew_when_its_operations_change_and_what_runs_keeps_its_own() {
    let store = store();
    let registry = load(&store).await;
    assert_eq!(to_run(&registry, &store).await.err(), Some(Slug::UnknownDefinition));
    assert_eq!(define(&registry, &store, TRIP).await, DefinitionPut::New);
    assert_eq!(to_run(&registry, &store).await.err(), Some(Slug::UnknownOperation));
    assert!(register(&registry, &store, "http://127.0.0.1:1", "1s", None).await, "it is new");
    let first = to_run(&registry, &store).await.expect("it can run");
    assert_eq!(timeout(&first), Millis(1000));
    assert!(!register(&registry, &store, "http://127.0.0.1:1", "2s", None).await, "it is known");
    let second = to_run(&registry, &store).await.expect("it can run");
    assert_eq!((timeout(&first), timeout(&second)), (Millis(1000), Millis(2000)));
    let third = to_run(&registry, &store).await.expect("it can run");
    assert!(Arc::ptr_eq(&second, &third), "it is resolved once for all sagas");
    assert!(registry.remove(&store, &name("p")).await.expect("removed"));
    assert_eq!(to_run(&registry, &store).await.err(), Some(Slug::UnknownOperation));
    assert!(registry.definition_by_hash(&second.hash).is_some(), "a saga that runs goes on");
    assert!(registry.definition_by_hash("0000").is_none());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let store = store();
    let before = load(&store).await;
    define(&before, &store, TRIP).await;
    register(&before, &store, "http://127.0.0.1:1", "1s", Some("30s")).await;
    let ran = to_run(&before, &store).await.expect("it can run");
    let after = load(&store).await;
    assert_eq!(after.definition_rows(), before.definition_rows());
    assert_eq!(timeout(&to_run(&after, &store).await.expect("it can run")), timeout(&ran));
    assert_eq!(place(&after).as_deref(), Some("http://127.0.0.1:1/go"));
    let Kind::Call(call) = &ran.step(amends_saga::StepIx(0)).kind else { panic!("a call") };
    assert_eq!(after.batching(&call.action), Some(Form { max: 7, instances: 1 }));
    assert_eq!(define(&after, &store, TRIP).await, DefinitionPut::Same);
    let other = TRIP.replace("with: {}", "with: {a: 1}");
    assert!(matches!(define(&after, &store, &other).await, DefinitionPut::Conflict(_)));
    assert_eq!(after.definition_rows(), before.definition_rows(), "a conflict changes nothing");
}

#[tokio::test]
async fn an_instance_that_is_not_heard_of_is_called_only_as_the_last_resort() {
    let store = store();
    let registry = load(&store).await;
    let (mortal, lasting) = ("http://127.0.0.1:1/base", "http://127.0.0.1:2");
    register(&registry, &store, mortal, "1s", Some("1s")).await;
    let next = || place(&registry);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(next().as_deref(), Some("http://127.0.0.1:1/base/go"), "there is no other");
    register(&registry, &store, lasting, "1s", None).await;
    let turns: Vec<_> = (0..4).filter_map(|_| next()).collect();
    assert_eq!(turns, ["http://127.0.0.1:2/go"; 4]);
    register(&registry, &store, mortal, "1s", Some("30s")).await;
    let mut turns: Vec<_> = (0..4).filter_map(|_| next()).collect();
    turns.sort_unstable();
    let both = ["http://127.0.0.1:1/base/go", "http://127.0.0.1:2/go"];
    assert_eq!(turns, [both[0], both[0], both[1], both[1]]);
    let nobody = registry.participants.choose(&name("nobody"), &name("go"));
    assert_eq!(nobody.err(), Some(Nowhere::NotRegistered));
}

#[tokio::test]
async fn a_registry_whose_store_fails_says_so_and_keeps_nothing() {
    let memory = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let registry = load(&store).await;
    memory.set_faults(amends_store::memory::Faults { disk_full: true, ..Default::default() });
    let text = Text::read(TRIP).expect("a definition");
    let refused = registry.put_definition(&store, text, true).await.expect_err("the disk is full");
    assert_eq!(refused.0.slug, Slug::StoreUnavailable);
    assert!(registry.definition_rows().is_empty());
    let body = json!({ "instances": ["http://127.0.0.1:1"], "operations": { "go": {} } });
    let body = serde_json::from_value(body).expect("a registration");
    let refused = registry.register(&store, name("p"), body).await.expect_err("the disk is full");
    assert_eq!(refused.0.slug, Slug::StoreUnavailable);
    assert!(registry.participant_views().is_empty());
}

#[tokio::test]
async fn what_another_coordinator_registers_is_known_here_too() {
    let store = store();
    let (ours, theirs) = (load(&store).await, load(&store).await);
    assert_eq!(to_run(&ours, &store).await.err(), Some(Slug::UnknownDefinition));
    define(&theirs, &store, TRIP).await;
    assert_eq!(to_run(&ours, &store).await.err(), Some(Slug::UnknownOperation));
    register(&theirs, &store, "http://127.0.0.1:1", "1s", None).await;
    let definition = to_run(&ours, &store).await.expect("it can run");
    assert_eq!(timeout(&definition), Millis(1000));
    register(&theirs, &store, "http://127.0.0.1:1", "3s", None).await;
    assert_eq!(timeout(&to_run(&ours, &store).await.expect("it can run")), Millis(1000), "not yet");
    ours.refresh(store.as_ref()).await.expect("refreshed");
    assert_eq!(timeout(&to_run(&ours, &store).await.expect("it can run")), Millis(3000));
    assert!(theirs.remove(&store, &name("p")).await.expect("removed"));
    ours.refresh(store.as_ref()).await.expect("refreshed");
    assert!(place(&ours).is_none());
    assert!(ours.knows(&definition.hash) && !ours.knows("0000"));
}

#[tokio::test]
async fn two_versions_of_a_participant_stand_beside_each_other() {
    let store = store();
    let registry = load(&store).await;
    offer(&registry, &store, 1, &["go", "old"]).await;
    offer(&registry, &store, 2, &["go", "new"]).await;
    let check = |registry: &Registry| {
        for _ in 0..3 {
            assert_eq!(place_of(registry, "old").as_deref(), Ok("http://127.0.0.1:1/old"));
            assert_eq!(place_of(registry, "new").as_deref(), Ok("http://127.0.0.1:2/new"));
        }
        let mut places = [place(registry), place(registry)];
        places.sort_unstable();
        assert_eq!(places.map(|place| place.expect("a place").contains("1:2")), [false, true]);
    };
    check(&registry);
    check(&load(&store).await);
    let view = registry.participant_view(&name("p")).expect("it is there");
    let shown: Vec<&str> = view.operations.keys().map(Name::as_str).collect();
    assert_eq!(shown, ["go", "new"], "the last registration replaces the operations");
    // The older one beats its heart and says what it offers again: nothing of the newer is lost.
    offer(&registry, &store, 1, &["go", "old"]).await;
    check(&registry);
    // Then it is brought up to date.
    offer(&registry, &store, 1, &["go", "new"]).await;
    assert_eq!(place_of(&registry, "old"), Err(Nowhere::NotOffered));
    offer(&registry, &store, 1, &["go", "old"]).await;
    assert_eq!(place_of(&registry, "old").as_deref(), Ok("http://127.0.0.1:1/old"), "it is back");
}

#[tokio::test]
async fn a_participant_that_has_moved_is_called_where_it_is() {
    let store = store();
    let registry = load(&store).await;
    offer(&registry, &store, 1, &["go"]).await;
    let old = registry.participant_view(&name("p")).expect("it is there").instances[0].id.clone();
    offer(&registry, &store, 2, &["go"]).await;
    assert!(registry.remove_instance(&store, &name("p"), &old).await.expect("removed"));
    assert!(!registry.remove_instance(&store, &name("p"), &old).await.expect("gone already"));
    for _ in 0..3 {
        assert_eq!(place(&registry).as_deref(), Some("http://127.0.0.1:2/go"));
    }
    let new = registry.participant_view(&name("p")).expect("it is there").instances[0].id.clone();
    assert!(registry.remove_instance(&store, &name("p"), &new).await.expect("removed"));
    assert_eq!(place_of(&registry, "go"), Err(Nowhere::NotRegistered));
    assert!(registry.participant_view(&name("p")).expect("it is known still").instances.is_empty());
}

#[tokio::test]
async fn a_call_waits_a_moment_for_a_participant_that_is_started_again() {
    let store = store();
    let registry = Arc::new(load(&store).await);
    let go = operation("p", "go");
    let waits = |patience| {
        let (registry, go) = (registry.clone(), go.clone());
        tokio::spawn(async move { registry.instance(&go, patience).await.map(|chosen| chosen.id.clone()) })
    };
    assert_eq!(waits(Duration::from_millis(20)).await.expect("it ends"), Err(Nowhere::NotRegistered));
    let waiting = waits(Duration::from_secs(30));
    tokio::task::yield_now().await;
    offer(&registry, &store, 1, &["go"]).await;
    assert!(waiting.await.expect("it ends").is_ok());
    let gone = registry.instance(&operation("p", "gone"), Duration::from_secs(30)).await;
    assert_eq!(gone.err(), Some(Nowhere::NotOffered), "of one that is there nothing is waited for");
}

#[tokio::test]
async fn what_is_known_of_an_instance_outlives_its_heartbeats() {
    let store = store();
    let registry = load(&store).await;
    offer(&registry, &store, 1, &["go"]).await;
    offer(&registry, &store, 2, &["go"]).await;
    let broken = registry.instances(&name("p"))[0].clone();
    broken.note(Sign::Broken);
    for _ in 0..3 {
        let place = place(&registry).expect("a place");
        assert_eq!(place, "http://127.0.0.1:2/go");
        offer(&registry, &store, 1, &["go"]).await;
    }
    let healthy = |view: ParticipantView| view.instances.iter().map(|one| one.healthy).collect::<Vec<_>>();
    let view = registry.participant_view(&name("p")).expect("it is there");
    assert_eq!(healthy(view), [Some(false), None]);
    broken.note(Sign::Answered);
    let view = registry.participant_view(&name("p")).expect("it is there");
    assert_eq!(healthy(view), [None, None]);
}

#[tokio::test]
async fn nobody_can_register_the_name_that_stands_for_child_sagas() {
    let store = store();
    let registry = load(&store).await;
    let body = json!({ "instances": ["http://127.0.0.1:1"], "operations": { "go": {} } });
    let registration = serde_json::from_value(body).expect("a registration");
    let refused = registry.register(&store, name("saga"), registration).await.expect_err("it is taken");
    assert_eq!(refused.0.slug, Slug::BadRegistration);
}
