//! What a participant says to requests that are not what they should be, and to signatures.

mod world;

use amends_sdk::{CallOp, Secret};
use axum::body::Body;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use world::{Answer, Ask, Run, World};

async fn world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::open(&format!("sqlite:{}/deep/world.db", folder.path().display()), Run::Each).await;
    (world, folder)
}

/// A problem has a status, a slug and a detail that says what to do.
fn check(name: &str, answer: &Answer, status: u16, slug: &str, says: &str) {
    assert_eq!(
        (answer.status, answer.media.as_str()),
        (status, "application/problem+json"),
        "{name}: {answer:?}"
    );
    assert_eq!(answer.body["slug"], slug, "{name}: {answer:?}");
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "{name}: \"{detail}\" does not say \"{says}\"");
}

#[tokio::test]
async fn a_missing_or_malformed_header_is_named() {
    let (world, _folder) = world().await;
    let long = "s".repeat(81);
    let cases: [(&str, Option<&str>, &str); 19] = [
        ("saga-id", None, "saga-id is missing"),
        ("saga-id", Some("order-1"), "saga-id: invalid"),
        ("saga-step", None, "saga-step is missing"),
        ("saga-step", Some(""), "1 to 80 of"),
        ("saga-step", Some("a b"), "1 to 80 of"),
        ("saga-step", Some(&long), "1 to 80 of"),
        ("saga-op", None, "saga-op is missing"),
        ("saga-op", Some("undo"), "\"undo\" is not action, compensation, confirm or status"),
        ("saga-op", Some("status"), "saga-status-of is missing"),
        ("saga-attempt", None, "saga-attempt is missing"),
        ("saga-attempt", Some("0"), "numbered from 1"),
        ("saga-attempt", Some("-1"), "saga-attempt"),
        ("saga-epoch", Some("x"), "saga-epoch"),
        ("saga-round", Some("-1"), "saga-round"),
        ("saga-round", Some("one"), "saga-round"),
        ("saga-token", Some("t"), "given together"),
        ("saga-callback", Some("http://localhost/"), "given together"),
        ("idempotency-key", None, "idempotency-key is missing"),
        ("idempotency-key", Some(""), "1 to 256 bytes"),
    ];
    let ask = Ask::new(Uuid::now_v7(), "s", CallOp::Action, json!({ "points": 5 }));
    for (header, value, says) in cases {
        let mut headers = ask.headers();
        headers.remove(header);
        if let Some(value) = value {
            headers.insert(header, value.parse().expect("a header"));
        }
        let answer = world.post("/add", headers, ask.body.to_string()).await;
        check(&format!("{header}: {value:?}"), &answer, 400, "bad_header", says);
    }
    let mut twice = ask.headers();
    twice.append("saga-step", "t".parse().expect("a header"));
    check("twice", &world.post("/add", twice, "{}").await, 400, "bad_header", "given twice");
    let mut binary = ask.headers();
    binary.insert("saga-step", http::HeaderValue::from_bytes(b"\xff").expect("a header"));
    check("binary", &world.post("/add", binary, "{}").await, 400, "bad_header", "not plain text");
    assert!(world.effects(ask.saga).await.is_empty());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_a_problem_and_changes_nothing() {
    let (world, _folder) = world().await;
    let ask = Ask::new(Uuid::now_v7(), "s", CallOp::Action, json!({}));
    let deep = "[".repeat(65) + &"]".repeat(65);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let cases: [(&[u8], u16, &str, &str); 7] = [
        (b"\xff\xfe", 400, "bad_utf8", "byte 0"),
        (b"{\"points\":", 400, "malformed_body", ""),
        (b"{} {}", 400, "malformed_body", ""),
        (b"[1,]", 400, "malformed_body", ""),
        (b"NaN", 400, "malformed_body", ""),
        (deep.as_bytes(), 400, "too_deep", "64"),
        (large.as_bytes(), 413, "body_too_large", "1048576"),
    ];
    for (body, status, slug, says) in cases {
        let answer = world.post("/add", ask.headers(), body.to_vec()).await;
        check(&String::from_utf8_lossy(&body[..body.len().min(20)]), &answer, status, slug, says);
        let answer = world.post("/add/batch", HeaderMap::new(), body.to_vec()).await;
        assert!((400..=413).contains(&answer.status), "{answer:?}");
    }
    assert!(world.effects(ask.saga).await.is_empty());
    let answer = world.post("/add", ask.headers(), "").await;
    assert_eq!((answer.status, answer.body), (200, json!({ "points": 0 })), "an empty body is null");
}

#[tokio::test]
async fn addresses_and_methods_that_are_not_offered_say_what_is() {
    let (world, _folder) = world().await;
    let ask = Ask::new(Uuid::now_v7(), "s", CallOp::Action, json!({}));
    let post = |path: &'static str| world.post(path, ask.headers(), "{}");
    check("unknown", &post("/nothing").await, 404, "not_found", "there are add, echo, seal, take");
    check("not a text", &post("/%ff").await, 404, "not_found", "");
    check("too deep", &post("/a/b/c").await, 404, "not_found", "no operation");
    let get = Request::get("/add").body(Body::empty()).expect("a request");
    check("get", &world.send(get).await, 405, "method_not_allowed", "POST");
    let health = Request::get("/healthz").body(Body::empty()).expect("a request");
    assert_eq!(world.send(health).await.status, 200);
    let status = Ask { operation: "echo", ..Ask::status(ask.saga, "s", CallOp::Action) };
    check("no status", &world.ask(&status).await, 501, "not_supported", "no status");
    let panics = Ask { operation: "echo", body: json!("panic"), ..ask.clone() };
    check("panics", &world.ask(&panics).await, 500, "internal", "panicked");
    let echo = Ask { operation: "echo", body: json!([1, "two", null]), ..ask };
    assert_eq!(world.ask(&echo).await.body, echo.body);
}

#[tokio::test]
async fn a_batch_is_bounded_and_read_strictly() {
    let (world, _folder) = world().await;
    let calls = |count: usize| -> Vec<Value> {
        let call = |_| json!({ "saga": Uuid::now_v7(), "step": "s", "op": "action", "attempt": 1, "key": "k", "body": 1 });
        (0..count).map(call).collect()
    };
    let post = |body: Value| world.post("/echo/batch", HeaderMap::new(), body.to_string());
    check(
        "many",
        &post(json!({ "calls": calls(9) })).await,
        413,
        "body_too_large",
        "9 calls are more than the 8",
    );
    check("no calls", &post(json!({})).await, 400, "malformed_body", "calls");
    check("a number", &post(json!({ "calls": 5 })).await, 400, "malformed_body", "");
    let empty = post(json!({ "calls": [] })).await;
    assert_eq!((empty.status, empty.body), (200, json!({ "results": [] })));
    let mut mixed = calls(3);
    mixed[1]["step"] = json!("no step");
    let answer = post(json!({ "calls": mixed })).await;
    let statuses: Vec<&Value> =
        answer.body["results"].as_array().expect("results").iter().map(|r| &r["status"]).collect();
    assert_eq!(statuses, [200, 400, 200]);
}

#[tokio::test]
async fn an_audit_is_asked_for_strictly_and_signed_where_calls_are() {
    let (world, _folder) = world().await;
    let get = |query: &str, headers: HeaderMap| {
        let (world, path) = (&world, format!("/saga-audit{query}"));
        async move { world.get(&path, headers).await }
    };
    for (query, says) in [
        ("?since=yesterday", "\"since\" is a moment in unix milliseconds"),
        ("?since=-1", "\"since\" is a moment"),
        ("?limit=0", "\"limit\" is a number from 1 to 500"),
        ("?limit=501", "not \"501\""),
        ("?limit=5&limit=6", "\"limit\" is given twice"),
        ("?until=5", "there are since, limit, cursor"),
        ("?cursor=", "\"cursor\" is what a page's \"next\" said"),
        ("?cursor=own.5", "\"cursor\" is what a page's \"next\" said"),
        ("?cursor=barrier.1.2", "\"cursor\" is what a page's \"next\" said"),
    ] {
        check(query, &get(query, HeaderMap::new()).await, 400, "bad_query", says);
    }
    let empty = get("", HeaderMap::new()).await;
    assert_eq!((empty.status, empty.body), (200, json!({ "effects": [], "findings": [], "next": null })));
    let none = amends_sdk::Participant::new("plain").router();
    let none = World { router: none, database: world.database.clone(), ..self::world().await.0 };
    check("none", &none.get("/saga-audit", HeaderMap::new()).await, 404, "not_found", "offers no audit");
    let secret = secret(1);
    let participant = world.participant.clone().secrets(vec![secret.clone()]);
    let signed = World { router: participant.router(), ..none };
    check("unsigned", &signed.get("/saga-audit", HeaderMap::new()).await, 401, "unauthorized", "are needed");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(since.as_secs()).expect("before the end of time");
    let mut headers = HeaderMap::new();
    for (name, value) in amends_wire::participant::sign(&secret, "message-1", now, b"") {
        headers.insert(name, value.parse().expect("a header"));
    }
    assert_eq!(signed.get("/saga-audit", headers).await.status, 200);
}

#[tokio::test]
async fn with_secrets_only_signed_calls_are_taken_and_keys_rotate() {
    let (world, _folder) = world().await;
    let [old, new, other] = [1u8, 2, 3].map(secret);
    let participant = world.participant.clone().secrets(vec![new.clone(), old.clone()]);
    assert_eq!(participant.registration("http://127.0.0.1:1").secret, Some(new.expose()));
    let world = World { router: participant.router(), ..world };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(since.as_secs()).expect("before the end of time");

    let ask = |step: &str| Ask::new(Uuid::now_v7(), step, CallOp::Action, json!({ "points": 5 }));
    let post = |ask: &Ask, headers: HeaderMap| {
        let body = ask.body.to_string();
        let world = &world;
        async move { world.post("/add", headers, body).await }
    };
    for secret in [&old, &new] {
        let ask = ask("taken");
        assert_eq!(post(&ask, ask.signed(secret, now)).await.status, 200);
    }
    let ask = ask("refused");
    check("unsigned", &post(&ask, ask.headers()).await, 401, "unauthorized", "are needed");
    check("another", &post(&ask, ask.signed(&other, now)).await, 401, "unauthorized", "no known secret");
    check("stale", &post(&ask, ask.signed(&new, now - 400)).await, 401, "unauthorized", "5 minutes");
    let altered = Ask { body: json!({ "points": 6 }), ..ask.clone() };
    check("altered", &post(&altered, ask.signed(&new, now)).await, 401, "unauthorized", "no known secret");
    let batch = world.post("/add/batch", HeaderMap::new(), "{\"calls\":[]}").await;
    check("batch", &batch, 401, "unauthorized", "are needed");
    assert!(world.effects(ask.saga).await.is_empty());
}

fn secret(byte: u8) -> Secret {
    use base64::{Engine, prelude::BASE64_STANDARD};
    Secret::parse(&format!("whsec_{}", BASE64_STANDARD.encode([byte; 24]))).expect("a secret")
}
