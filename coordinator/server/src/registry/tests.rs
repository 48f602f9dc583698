//! What is registered survives a restart, and what runs does not depend on what is registered later.

use super::*;
use amends_saga::{Millis, definition::Kind};
use amends_store::memory::MemoryStore;
use serde_json::json;
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
        Kind::Await(_) => panic!("the first step calls"),
    }
}

/// Where the next call of `go` is sent.
fn place(registry: &Registry) -> Option<String> {
    registry.instance(&name("p")).map(|instance| instance.address(&name("go")).single.to_string())
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
    assert_eq!(after.batch_max(&call.action), Some(7));
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
    assert!(registry.instance(&name("nobody")).is_none());
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
