//! What is served beside the API itself, and the API's own description held against its routes.

use crate::world::{Answer, World, send};
use amends_wire::problem::Slug;
use serde_json::Value;
use std::collections::BTreeSet;

/// The source of the router, read for its routes.
const ROUTER: &str = include_str!("../../src/api.rs");

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let world = World::new().await;
    world.order("k").await;
    assert_eq!(world.get("/healthz").await.body["status"], "ok");
    assert_eq!(world.get("/readyz").await.body["status"], "ready");
    let metrics = world.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"));
    for name in [
        "amends_sagas_started_total 1",
        "amends_sagas_ended_total{status=\"completed\"} 1",
        "amends_sagas_ended_total{status=\"compensated\"} 0",
        "amends_sagas_live",
        "amends_calls_in_flight",
        "amends_store_commits_total{outcome=\"done\"}",
        "amends_store_commit_seconds_bucket",
        "amends_batch_sagas_bucket",
        "amends_saga_seconds_count 1",
        "amends_calls_total{participant=\"shop\",operation=\"hold\",answer=\"done\"} 1",
        "amends_call_seconds_count{participant=\"shop\"} 2",
    ] {
        assert!(metrics.text.contains(name), "{name} is missing in\n{}", metrics.text);
    }
}

#[tokio::test]
async fn every_kind_of_problem_has_its_page() {
    let world = World::bare(crate::world::config()).await;
    for slug in Slug::ALL {
        let page = world.get(&slug.uri()).await;
        assert_eq!(page.status, 200, "{slug}");
        assert!(page.text.contains(slug.title()) && page.text.contains(slug.about()), "{page:?}");
    }
}

/// Every `(METHOD, path)` of the router.
fn routes() -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for route in ROUTER.split(".route(").skip(1) {
        let path = route.split('"').nth(1).expect("a path");
        for method in ["get", "put", "post", "delete"] {
            if route.contains(&format!("{method}(")) {
                routes.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    routes
}

/// Every `(METHOD, path)` of the description.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if ["get", "put", "post", "delete", "patch", "head"].contains(&method.as_str()) {
                found.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let world = World::new().await;
    let document = world.get("/openapi.json").await;
    assert_eq!(document.header("content-type"), "application/json");
    assert!(document.text("openapi").starts_with("3.1"), "{document:?}");
    let (routes, described) = (routes(), described(&document.body));
    assert!(routes.len() >= 20, "the router's source was not understood: {routes:?}");
    assert_eq!(described, routes);
    let id = world.order("k").await.id();
    for (method, path) in described {
        let path = path
            .replace("{id}", &id)
            .replace("{version}", "1")
            .replace("{slug}", "not_found")
            .replace("participants/{name}", "participants/shop")
            .replace("signals/{name}", "signals/payment")
            .replace("{name}", "order");
        let answer: Answer = send(world.request(method.parse().expect("a method"), &path)).await;
        assert_ne!(answer.status, 405, "{method} {path}: {answer:?}");
        let unserved = answer.text.contains("nothing is served");
        assert!(!unserved && answer.status < 500, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::bare(crate::world::config()).await;
    let answer = world.delete("/v1/sagas").await;
    answer.is_problem(405, "method_not_allowed");
    let mut allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"], "{answer:?}");
}
