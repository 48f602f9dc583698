//! The example of a pending call: it is answered 202, its end comes by callback and by status, also after a restart, and
//! nobody is told when the step was compensated in the meantime.

#![allow(missing_docs, reason = "the example is read as a module here")]

#[path = "../examples/pending.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is not run here")]
mod pending;

use amends_sdk::Participant;
use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

const PAGE: Duration = Duration::from_millis(1);

async fn coordinator() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

/// Makes a call of the step `print` of a saga.
async fn ask(
    printer: &Participant,
    server: &MockServer,
    saga: Uuid,
    operation: &str,
    op: &str,
) -> (StatusCode, Value) {
    let router: Router = printer.router();
    let of = if op == "status" { "action" } else { op };
    let request = Request::post(format!("/{operation}"))
        .header("saga-id", saga.to_string())
        .header("saga-step", "print")
        .header("saga-op", op)
        .header("saga-status-of", of)
        .header("saga-attempt", "1")
        .header("saga-token", format!("token-of-{of}"))
        .header("saga-callback", format!("{}/v1/sagas/{saga}/steps/print/answer", server.uri()))
        .header("idempotency-key", format!("{saga}/print/{of}"))
        .body(Body::from(json!({ "pages": 3 }).to_string()))
        .expect("a request");
    let response = router.oneshot(request).await.expect("the router never fails");
    let status = response.status();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// What was sent to the coordinator, once `count` requests have come.
async fn told(server: &MockServer, count: usize) -> Vec<(String, Value)> {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let requests = server.received_requests().await.expect("recorded");
        if requests.len() >= count {
            let read = |request: &wiremock::Request| {
                (request.url.path().to_owned(), serde_json::from_slice(&request.body).unwrap_or_default())
            };
            return requests.iter().map(read).collect();
        }
        assert!(tokio::time::Instant::now() < until, "{} requests, not {count}", requests.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_job_is_answered_later_and_whoever_asks_is_told_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/printer.db", folder.path().display());
    let server = coordinator().await;
    let saga = Uuid::now_v7();
    let printer = pending::printer(&store, PAGE).await.expect("it opens");
    assert_eq!(ask(&printer, &server, saga, "print", "action").await.0, 202);
    // The coordinator is away at first; the answer is sent again.
    let body = json!({ "token": "token-of-action", "status": 200, "body": { "pages": 3 } });
    let expected = (format!("/v1/sagas/{saga}/steps/print/answer"), body);
    assert_eq!(told(&server, 2).await, [expected.clone(), expected]);
    for op in ["status", "action"] {
        assert_eq!(ask(&printer, &server, saga, "print", op).await, (StatusCode::OK, json!({ "pages": 3 })));
    }
}

#[tokio::test]
async fn a_job_outlives_its_process_and_one_that_was_undone_is_told_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}/printer.db", folder.path().display());
    let server = coordinator().await;
    let (undone, kept) = (Uuid::now_v7(), Uuid::now_v7());
    // A printer that takes jobs and prints none: its pages last for hours.
    let slow = pending::printer(&store, Duration::from_secs(3600)).await.expect("it opens");
    for saga in [undone, kept] {
        assert_eq!(ask(&slow, &server, saga, "print", "action").await.0, 202);
        assert_eq!(ask(&slow, &server, saga, "print", "status").await.0, 202);
    }
    assert_eq!(ask(&slow, &server, undone, "shred", "compensation").await.0, 200);
    drop(slow);

    let printer = pending::printer(&store, PAGE).await.expect("it opens");
    let told = told(&server, 2).await;
    assert!(told.iter().all(|(path, _)| path.contains(&kept.to_string())), "{told:?}");
    assert_eq!(ask(&printer, &server, kept, "print", "status").await.0, 200);
    assert_eq!(ask(&printer, &server, undone, "print", "status").await.0, 409);
}
