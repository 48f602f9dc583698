//! Attempts, turns and bounds, against a coordinator made of canned answers.

use crate::{Client, Error, Slug, Start};
use amends_wire::SagaId;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const ID: &str = "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10";

/// One canned answer: a status, headers, a body; a status of 0 breaks the connection.
type Canned = (u16, Vec<(&'static str, &'static str)>, String);

#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<Vec<Canned>>>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

async fn play(State(script): State<Script>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    script.seen.lock().expect("seen").push((line, String::from_utf8_lossy(&body).into_owned()));
    let (status, headers, body) = {
        let mut answers = script.answers.lock().expect("answers");
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    };
    if status == 0 {
        let broken = futures::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("cut"))]);
        return Response::new(Body::from_stream(broken));
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).expect("a response")
}

impl Script {
    /// Serves these answers in turn, the last one for ever.
    async fn serve(answers: Vec<Canned>) -> (Script, String) {
        let script = Script { answers: Arc::new(Mutex::new(answers)), seen: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(play).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (script, url)
    }

    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().expect("seen").clone()
    }
}

fn saga(status: &str) -> String {
    json!({
        "id": ID, "definition": "order", "version": 1, "key": null, "labels": {}, "status": status,
        "input": {}, "output": null, "error": null,
        "created_at": "2026-11-20T18:00:00.000Z", "updated_at": "2026-11-20T18:00:00.000Z",
        "ended_at": null, "deadline_at": null, "steps": [], "repairs": [], "settled_by_hand": false,
    })
    .to_string()
}

fn ok(status: u16, body: String) -> Canned {
    (status, Vec::new(), body)
}

fn no(status: u16, slug: &str, retry_after: Option<&'static str>) -> Canned {
    let body = json!({ "type": format!("/problems/{slug}"), "title": slug, "status": status, "detail": "d", "slug": slug });
    (status, retry_after.map(|secs| ("retry-after", secs)).into_iter().collect(), body.to_string())
}

fn client(urls: &[&str]) -> Client {
    let quick = Client::builder().waits(Duration::from_millis(1), Duration::from_millis(5));
    let named = urls.iter().fold(quick, |builder, url| builder.coordinator(*url));
    named.timeout(Duration::from_secs(2)).build().expect("a client")
}

fn id() -> SagaId {
    ID.parse().expect("an id")
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn a_start_is_repeated_under_one_key_until_it_is_answered() {
    let answers = vec![ok(0, String::new()), no(503, "store_unavailable", None), ok(200, saga("running"))];
    let (script, url) = Script::serve(answers).await;
    let started = client(&[&url]).start(Start::of("order")).await.expect("it starts");
    let seen = script.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|one| one == &seen[0]) && seen[0].1.contains(&started.key), "{seen:?}");
    assert!(started.is_new, "the 200 answers what this very call began");
}

#[tokio::test]
async fn what_is_not_repeatable_is_sent_once() {
    let (script, url) = Script::serve(vec![ok(0, String::new())]).await;
    let failed = client(&[&url]).retry_repair(id(), &Default::default()).await;
    assert!(matches!(&failed, Err(error @ Error::Unanswered { .. }) if !error.is_definite()), "{failed:?}");
    assert_eq!(script.seen().len(), 1);
    let (script, url) =
        Script::serve(vec![no(429, "too_many_sagas", None), no(503, "shutting_down", None)]).await;
    let failed = client(&[&url]).retry_repair(id(), &Default::default()).await;
    assert!(failed.is_err_and(|error| error.problem().is_some_and(|no| no.is(Slug::ShuttingDown))));
    assert_eq!(script.seen().len(), 2, "a 429 has changed nothing, a 503 may have");
}

#[tokio::test]
async fn a_definite_no_is_not_asked_again() {
    for (status, slug) in
        [(400, "malformed_body"), (404, "not_found"), (409, "saga_ended"), (500, "internal")]
    {
        let (script, url) = Script::serve(vec![no(status, slug, None)]).await;
        let failed = client(&[&url]).get(id()).await.expect_err("a problem");
        assert_eq!(failed.problem().map(|no| (no.status, no.kind.as_str())), Some((status, slug)));
        assert_eq!(script.seen().len(), 1, "{slug}");
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_and_one_too_long_is_handed_over() {
    let (_script, url) =
        Script::serve(vec![no(429, "too_many_sagas", Some("1")), ok(201, saga("running"))]).await;
    let began = Instant::now();
    client(&[&url]).start(Start::of("order")).await.expect("it starts");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let (script, url) = Script::serve(vec![no(503, "store_unavailable", Some("3600"))]).await;
    let failed = client(&[&url]).get(id()).await.expect_err("a problem");
    assert_eq!(failed.problem().and_then(|no| no.retry_after), Some(Duration::from_secs(3600)));
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn the_next_coordinator_is_asked_when_one_takes_no_connection() {
    let (gone, (script, url)) = (nobody().await, Script::serve(vec![ok(200, saga("completed"))]).await);
    let client = client(&[&gone, &url]);
    for _ in 0..3 {
        client.get(id()).await.expect("the second answers");
    }
    assert_eq!(script.seen().len(), 3);
    // Even what is sent once only: the first has certainly not taken it.
    let (_script, url) = Script::serve(vec![no(409, "repair_settled", None)]).await;
    let failed = self::client(&[&gone, &url]).retry_repair(id(), &Default::default()).await;
    assert!(failed.is_err_and(|error| error.problem().is_some_and(|no| no.is(Slug::RepairSettled))));
}

#[tokio::test]
async fn nobody_listening_is_told_with_every_address() {
    let (one, two) = (nobody().await, nobody().await);
    let failed = client(&[&one, &two]).get(id()).await.expect_err("nobody answers");
    let Error::Unreachable { tried } = &failed else { panic!("{failed:?}") };
    assert_eq!(tried.iter().map(|one| one.at.as_str()).collect::<Vec<_>>(), [one, two]);
    assert!(failed.is_definite() && failed.is_transient());
}

#[tokio::test]
async fn something_else_than_a_coordinator_is_told_apart() {
    for (status, body) in [(200, "<html>"), (404, "<html>"), (200, "{}")] {
        let (_script, url) = Script::serve(vec![ok(status, body.to_owned())]).await;
        let failed = client(&[&url]).get(id()).await;
        assert!(matches!(failed, Err(Error::Foreign { .. })), "{status} {body}: {failed:?}");
    }
}

#[tokio::test]
async fn the_end_is_waited_for_through_answers_that_do_not_come() {
    let answers = vec![
        ok(202, saga("running")),
        ok(0, String::new()),
        no(503, "shutting_down", None),
        ok(202, saga("compensating")),
        ok(200, saga("compensated")),
    ];
    let (script, url) = Script::serve(answers).await;
    let ended = client(&[&url]).wait_end(id(), Duration::from_secs(20)).await.expect("an end");
    assert_eq!(ended.status, crate::Status::Compensated);
    assert!(script.seen().iter().all(|(line, _)| line.contains("?wait=")), "{:?}", script.seen());
}

#[tokio::test]
async fn a_wait_that_is_too_short_tells_what_is_known() {
    let (_script, url) = Script::serve(vec![ok(202, saga("repair"))]).await;
    let late = client(&[&url]).wait_end(id(), Duration::from_millis(50)).await.expect_err("too late");
    let Error::Timeout { known: Some(known), .. } = &late else { panic!("{late:?}") };
    assert_eq!(known.status, crate::Status::Repair);
    assert!(late.to_string().contains("is repair after"), "{late}");
    let gone = nobody().await;
    let late = client(&[&gone]).wait_end(id(), Duration::from_millis(300)).await.expect_err("too late");
    assert!(matches!(&late, Error::Timeout { known: None, .. }), "{late:?}");
}

#[tokio::test]
async fn a_cancel_that_was_carried_out_unheard_is_no_failure() {
    let mut undone: serde_json::Value = serde_json::from_str(&saga("compensated")).expect("a saga");
    undone["error"] = json!({ "step": null, "kind": "cancelled", "message": "m" });
    let answers = vec![ok(0, String::new()), no(409, "saga_ended", None), ok(200, undone.to_string())];
    let (_script, url) = Script::serve(answers).await;
    client(&[&url]).cancel(id(), None).await.expect("it was cancelled by the first attempt");
    let (_script, url) = Script::serve(vec![no(409, "saga_ended", None)]).await;
    let failed = client(&[&url]).cancel(id(), None).await;
    assert!(failed.is_err_and(|error| error.problem().is_some_and(|no| no.is(Slug::SagaEnded))));
}
