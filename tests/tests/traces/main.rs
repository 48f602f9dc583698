//! One saga, one trace: what a collector sees of a coordinator and a participant, over real sockets.

mod collector;
mod logs;
mod world;

use amends_wire::trace::{Sample, SpanId};
use collector::{Collector, Seen, tree};
use std::time::{Duration, Instant};
use world::{PATIENCE, World};

fn id(saga: &serde_json::Value) -> String {
    saga["id"].as_str().unwrap_or_else(|| panic!("no saga: {saga:#}")).to_owned()
}

/// Runs one saga and compares its trace as a tree.
async fn check(charge: &str, status: &str, expected: &str) -> Vec<Seen> {
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "1").await;
    let saga = world.order(charge, "yes", "10s").await;
    assert_eq!(saga["status"], status, "{saga:#}");
    world.end().await;
    let spans = collector.trace(&id(&saga));
    assert_eq!(spans.len(), collector.spans().len(), "one saga is one trace");
    assert_eq!(tree(&spans).trim_end(), expected.trim());
    let root = spans.iter().find(|span| span.parent.is_empty()).expect("a root");
    let uuid = id(&saga).parse().expect("an id");
    assert_eq!(root.id, SpanId::of_saga(uuid).to_string());
    assert!(spans.iter().all(|span| span.attributes["saga.id"] == id(&saga)));
    assert!(!format!("{spans:?}").contains("secret"), "what is in bodies and labels stays there: {spans:#?}");
    spans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_that_completes_is_one_trace() {
    let expected = "
amends: saga order@1 internal completed
  amends: shop.hold client action 1 done 200
    shop: shop.hold server action 1 200
  amends: shop.charge client action 1 done 200
    shop: shop.charge server action 1 200
";
    let spans = check("yes", "completed", expected).await;
    let hold = spans.iter().find(|span| span.kind == "client" && span.name == "shop.hold").expect("a hold");
    assert_eq!((&*hold.attributes["saga.step"], &*hold.attributes["saga.participant"]), ("hold", "shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_that_is_undone_shows_why_and_how() {
    let expected = "
amends: saga order@1 internal compensated !compensated
  amends: shop.hold client action 1 done 200
    shop: shop.hold server action 1 200
  amends: shop.charge client action 1 refused 409 !refused: status 409
    shop: shop.charge server action 1 409
  amends: shop.release client compensation 1 done 200
    shop: shop.release server compensation 1 200
";
    let spans = check("no", "compensated", expected).await;
    let root = spans.iter().find(|span| span.parent.is_empty()).expect("a root");
    let attribute = |name: &str| root.attributes[name].as_str();
    assert_eq!((attribute("saga.error.step"), attribute("saga.error.kind")), ("charge", "refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attempt_has_a_span_of_its_own() {
    let expected = "
amends: saga order@1 internal completed
  amends: shop.hold client action 1 done 200
    shop: shop.hold server action 1 200
  amends: shop.charge client action 1 unknown 503 !unknown: status 503
    shop: shop.charge server action 1 503 !status 503
  amends: shop.charge client action 2 done 200
    shop: shop.charge server action 2 200
";
    check("late", "completed", expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_saga_is_seen_before_it_ends() {
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "0").await;
    let saga = world.order("no", "no", "200ms").await;
    let begin = Instant::now();
    let opened = loop {
        let spans = collector.trace(&id(&saga));
        if let Some(opened) = spans.iter().find(|span| span.name == "repair opened") {
            break opened.clone();
        }
        assert!(begin.elapsed() < PATIENCE, "nothing says that an item is open: {spans:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let saga = world.get(&format!("/v1/sagas/{}", id(&saga))).await;
    assert_eq!(saga["status"], "repair", "{saga:#}");
    let uuid = id(&saga).parse().expect("an id");
    assert_eq!(opened.parent, SpanId::of_saga(uuid).to_string());
    let attribute = |name: &str| opened.attributes[name].as_str();
    assert_eq!((attribute("saga.step"), attribute("repair.reason")), ("hold", "refused"));
    assert!(opened.error.is_some(), "{opened:#?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_share_a_request_stay_in_their_own_traces() {
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "1").await;
    let orders = (0..40).map(|_| world.order("yes", "yes", "10s"));
    let sagas = futures::future::join_all(orders).await;
    world.end().await;
    let mut gathered = 0;
    for saga in &sagas {
        assert_eq!(saga["status"], "completed", "{saga:#}");
        let spans = collector.trace(&id(saga));
        let tree = tree(&spans);
        assert!(tree.contains("\n    shop: shop.hold server action 1 200\n"), "{tree}");
        assert_eq!(spans.len(), 5, "{tree}");
        let hold =
            |span: &&Seen| span.name == "shop.hold" && span.attributes.contains_key("saga.batch.calls");
        gathered += spans.iter().filter(hold).count();
    }
    assert!(gathered >= 4, "40 sagas at once share no request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_share_each_saga_is_traced_whole_or_not_at_all() {
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "0.5").await;
    let orders = (0..40).map(|_| world.order("yes", "yes", "10s"));
    let sagas = futures::future::join_all(orders).await;
    world.end().await;
    let half: Sample = "0.5".parse().expect("a share");
    for saga in &sagas {
        let taken = half.takes(id(saga).parse().expect("an id"));
        assert_eq!(collector.trace(&id(saga)).len(), if taken { 5 } else { 0 }, "{saga:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_of_the_share_what_goes_wrong_is_traced_all_the_same() {
    let collector = Collector::start().await;
    let world = World::start(&collector.url, "0").await;
    let (well, badly) = (world.order("yes", "yes", "10s").await, world.order("no", "yes", "10s").await);
    world.end().await;
    assert_eq!(collector.trace(&id(&well)), []);
    let expected = "
amends: saga order@1 internal compensated !compensated
  amends: shop.charge client action 1 refused 409 !refused: status 409
  amends: shop.release client compensation 1 done 200
    shop: shop.release server compensation 1 200
";
    assert_eq!(tree(&collector.trace(&id(&badly))).trim_end(), expected.trim());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_nothing_waits_and_what_is_lost_is_counted() {
    // The discard port: nobody listens there.
    let world = World::start("http://127.0.0.1:9", "1").await;
    let begin = Instant::now();
    for _ in 0..5 {
        let saga = world.order("yes", "yes", "10s").await;
        assert_eq!(saga["status"], "completed", "{saga:#}");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    while world.metric("amends_spans_dropped_total").await.unwrap_or_default() < 15.0 {
        assert!(begin.elapsed() < PATIENCE, "5 sagas of 3 spans are not counted as dropped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let tracer = world.tracer.clone();
    let begin = Instant::now();
    world.end().await;
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!(tracer.lost(), 10, "the participant counts its own");
}
