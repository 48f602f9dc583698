//! What a fault does to a call, to a batch and to the count of calls still to be hit.

use std::sync::atomic::AtomicU32;

use axum::routing::post;
use tower::ServiceExt;

use super::*;

/// A participant that counts what reaches it and answers a batch in order.
fn counting() -> (Router, Arc<AtomicU32>) {
    let reached = Arc::new(AtomicU32::new(0));
    let (one, many) = (reached.clone(), reached.clone());
    let router = Router::new()
        .route(
            "/release",
            post(move || async move {
                one.fetch_add(1, Ordering::SeqCst);
                axum::Json(json!({ "released": true }))
            }),
        )
        .route(
            "/release/batch",
            post(move |axum::Json(body): axum::Json<Value>| async move {
                let calls = body["calls"].as_array().cloned().unwrap_or_default();
                many.fetch_add(calls.len() as u32, Ordering::SeqCst);
                let results: Vec<Value> =
                    calls.iter().map(|call| json!({ "status": 200, "body": call["key"] })).collect();
                axum::Json(json!({ "results": results }))
            }),
        );
    (router, reached)
}

fn call(op: &str, key: &str) -> Request {
    Request::post("/release")
        .header("saga-op", op)
        .header("idempotency-key", key)
        .header("saga-attempt", "1")
        .body(Body::from("{}"))
        .expect("a request")
}

async fn statuses(router: &Router, ops: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for op in ops {
        let response = router.clone().oneshot(call(op, "k")).await.expect("infallible");
        statuses.push(response.status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn the_next_compensations_fail_and_nothing_else_does() {
    let (router, reached) = counting();
    let faults = Faults::new();
    faults.fail_next_compensations("release", 2);
    let router = faults.wrap(router);
    let ops = ["action", "compensation", "status", "compensation", "compensation"];
    assert_eq!(statuses(&router, &ops).await, [200, 503, 200, 503, 200]);
    assert_eq!(reached.load(Ordering::SeqCst), 3, "a failed call is not performed");
    assert!(!faults.armed(), "the rule is used up");
}

#[tokio::test]
async fn a_call_uses_up_one_failure_at_a_time() {
    let (router, _) = counting();
    let faults = Faults::new();
    faults.fail_next("release", On::Every, 1, 503);
    faults.fail_next("release", On::Every, 1, 409);
    let router = faults.wrap(router);
    assert_eq!(statuses(&router, &["action", "action", "action"]).await, [503, 409, 200]);
}

#[tokio::test]
async fn other_operations_and_cleared_faults_do_not_matter() {
    let (router, _) = counting();
    let faults = Faults::new();
    faults.fail_next("hold", On::Every, 9, 503);
    let router = faults.wrap(router);
    assert_eq!(statuses(&router, &["action"]).await, [200]);
    faults.fail_next("release", On::Every, 9, 503);
    faults.clear();
    assert_eq!(statuses(&router, &["action"]).await, [200]);
}

#[tokio::test]
async fn a_lost_answer_was_performed() {
    let (router, reached) = counting();
    let faults = Faults::new();
    faults.lose_answers("release", On::Every, 1.0, 7);
    let response = faults.wrap(router).oneshot(call("action", "k")).await.expect("infallible");
    assert!(to_bytes(response.into_body(), 1024).await.is_err(), "the answer breaks off");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_same_seed_loses_the_same_answers() {
    let draws = |seed| {
        (0..1000u64)
            .map(|attempt| draw(seed, &Call { operation: "release", op: "action", key: "k", attempt }) < 0.3)
            .collect::<Vec<bool>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    let lost = draws(1).into_iter().filter(|lost| *lost).count();
    assert!((230..370).contains(&lost), "{lost} of 1000 lost at 0.3");
}

#[tokio::test]
async fn a_batch_fails_call_by_call() {
    let (router, reached) = counting();
    let faults = Faults::new();
    faults.fail_next_compensations("release", 1);
    let call = |op: &str, key: &str| json!({ "op": op, "key": key, "attempt": 1, "body": {} });
    let body =
        json!({ "calls": [call("action", "a"), call("compensation", "b"), call("compensation", "c")] });
    let request = Request::post("/release/batch")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request");
    let response = faults.wrap(router).oneshot(request).await.expect("infallible");
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
    let results = answer["results"].as_array().expect("results");
    let seen: Vec<u64> = results.iter().filter_map(|result| result["status"].as_u64()).collect();
    assert_eq!(seen, [200, 503, 200]);
    assert_eq!(results[2]["body"], "c", "answers stay with their calls");
    assert_eq!(reached.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_delayed_call_waits() {
    let (router, _) = counting();
    let faults = Faults::new();
    faults.delay("release", On::Every, Duration::from_millis(40));
    let start = std::time::Instant::now();
    assert_eq!(statuses(&faults.wrap(router), &["action"]).await, [200]);
    assert!(start.elapsed() >= Duration::from_millis(40), "it waited {:?}", start.elapsed());
}

#[tokio::test]
async fn a_share_of_the_calls_fails_and_the_same_ones_each_time() {
    let failed = |seed: u64| async move {
        let (router, reached) = counting();
        let faults = Faults::new();
        faults.fail_some("release", On::Compensations, 0.3, seed);
        let router = faults.wrap(router);
        let mut failed = Vec::new();
        for key in 0..200 {
            let response = router.clone().oneshot(call("compensation", &key.to_string())).await;
            failed.push(response.expect("infallible").status() == 503);
        }
        assert_eq!(statuses(&router, &["action"; 20]).await, [200; 20]);
        let through = failed.iter().filter(|failed| !**failed).count() + 20;
        assert_eq!(reached.load(Ordering::SeqCst) as usize, through, "what fails does not get there");
        failed
    };
    let (one, again, other) = (failed(1).await, failed(1).await, failed(2).await);
    assert!((30..=90).contains(&one.iter().filter(|failed| **failed).count()), "{one:?}");
    assert_eq!(one, again);
    assert_ne!(one, other);
}
