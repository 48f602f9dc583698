//! Everything a caller can get wrong: each is refused with its status and slug, and nothing is started.

use crate::world::{Answer, World, send};
use reqwest::Method;
use serde_json::json;

const YAML: &str = "application/yaml";
const JSON: &str = "application/json";

/// A request that is wrong: method, path, media type, body, and the status and slug it gets.
type Case = (&'static str, &'static str, Option<&'static str>, Vec<u8>, u16, &'static str);

fn case(
    request: &'static str,
    media: Option<&'static str>,
    body: impl Into<Vec<u8>>,
    expected: (u16, &'static str),
) -> Case {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    (method, path, media, body.into(), expected.0, expected.1)
}

fn start(body: &str, status: u16, slug: &'static str) -> Case {
    case("POST /v1/sagas", Some(JSON), body, (status, slug))
}

fn get(request: &'static str, status: u16, slug: &'static str) -> Case {
    case(request, None, "", (status, slug))
}

/// Sends every case to a fresh coordinator and counts the sagas before and after.
async fn check(cases: Vec<Case>) {
    let world = World::new().await;
    world.order("before").await;
    let before = (world.sagas().await, world.stub.asked().len());
    for (method, path, media, body, status, slug) in cases {
        let shown = String::from_utf8_lossy(&body).chars().take(120).collect::<String>();
        let mut request = world.request(method.parse::<Method>().expect("a method"), path).body(body);
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let answer = send(request).await;
        println!("{method} {path} {shown}\n  {} {}: {}", answer.status, slug, answer.body["detail"]);
        answer.is_problem(status, slug);
        assert_eq!((world.sagas().await, world.stub.asked().len()), before, "{method} {path} {shown}");
    }
}

#[tokio::test]
async fn a_start_that_cannot_be_meant_is_refused_and_starts_nothing() {
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"definition": "order", "input": {{"order": {open}{close}}}}}"#)
    };
    let labels: Vec<String> = (0..17).map(|n| format!("\"l{n}\": \"x\"")).collect();
    let with = |rest: &str| format!(r#"{{"definition": "order", "input": {{"order": "1"}}, {rest}}}"#);
    check(vec![
        start(r#"{"definition": "nobody", "input": {}}"#, 404, "unknown_definition"),
        start(r#"{"definition": "order@9", "input": {}}"#, 404, "unknown_definition"),
        start(r#"{"definition": "order@0", "input": {}}"#, 400, "bad_name"),
        start(r#"{"definition": "order@", "input": {}}"#, 400, "bad_name"),
        start(r#"{"definition": "Order", "input": {}}"#, 400, "bad_name"),
        start(r#"{"definition": "../x", "input": {}}"#, 400, "bad_name"),
        start(r#"{"definition": 7, "input": {}}"#, 400, "malformed_body"),
        start(r#"{"definition": {"saga": "x"}, "input": {}}"#, 422, "definition_invalid"),
        start(r#"{"definition": "order", "input": {}}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order", "input": null}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order", "input": {"order": ""}}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order", "input": {"order": "1", "more": 1}}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order", "input": {"order": "1", "qty": 0}}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order", "input": {"order": "1", "qty": 1.5}}"#, 422, "input_does_not_fit"),
        start(r#"{"definition": "order"}"#, 400, "malformed_body"),
        start(r#"{"input": {"order": "1"}}"#, 400, "malformed_body"),
        start(&with(r#""colour": "red""#), 400, "malformed_body"),
        start(&with(r#""input": {"order": "2"}"#), 400, "malformed_body"),
        start("", 400, "malformed_body"),
        start("   ", 400, "malformed_body"),
        start("{", 400, "malformed_body"),
        start("[]", 400, "malformed_body"),
        start(r#"["order", {"order": "1"}]"#, 400, "malformed_body"),
        start("null", 400, "malformed_body"),
        start("definition: order", 400, "malformed_body"),
        start(r#"{"definition": "order", "input": {"order": "1"}} {}"#, 400, "malformed_body"),
        start(r#"{"definition": "order", "input": {"order": "1", "order": "2"}}"#, 400, "malformed_body"),
        start(r#"{"definition": "order", "input": {"order": "\ud800"}}"#, 400, "bad_utf8"),
        case("POST /v1/sagas", Some(JSON), b"{\"definition\": \"\xff\"}".to_vec(), (400, "bad_utf8")),
        start(&deep(64), 400, "too_deep"),
        start(&deep(100_000), 400, "too_deep"),
        start(&with(r#""key": """#), 400, "bad_key"),
        start(&with(&format!(r#""key": "{}""#, "k".repeat(257))), 400, "bad_key"),
        start(&with(r#""key": "a\u0000b""#), 400, "bad_key"),
        start(&with(r#""key": 7"#), 400, "malformed_body"),
        start(&with(r#""labels": {"": "x"}"#), 400, "bad_label"),
        start(&with(r#""labels": {"order": 7}"#), 400, "bad_label"),
        start(&with(r#""labels": []"#), 400, "bad_label"),
        start(&with(&format!(r#""labels": {{"{}": "x"}}"#, "l".repeat(65))), 400, "bad_label"),
        start(&with(&format!(r#""labels": {{"l": "{}"}}"#, "x".repeat(257))), 400, "bad_label"),
        start(&with(&format!(r#""labels": {{{}}}"#, labels.join(","))), 400, "bad_label"),
        start(
            r#"{"definition": "order", "input": {"order": "1", "qty": 123456789012345678901}}"#,
            400,
            "number_not_exact",
        ),
        start(r#"{"definition": "order", "input": {"order": "1", "qty": 1e400}}"#, 400, "number_not_exact"),
        start(
            r#"{"definition": "order", "input": {"order": "1", "qty": 0.12345678901234567890123}}"#,
            400,
            "number_not_exact",
        ),
        case(
            "POST /v1/sagas",
            Some(JSON),
            format!(r#"{{"x": "{}"}}"#, "x".repeat(1 << 20)),
            (413, "body_too_large"),
        ),
        case("POST /v1/sagas", Some(JSON), vec![b' '; (1 << 20) + 1], (413, "body_too_large")),
        case("POST /v1/sagas", Some("text/plain"), "{}", (415, "unsupported_media_type")),
        case(
            "POST /v1/sagas",
            Some("application/x-www-form-urlencoded"),
            "a=b",
            (415, "unsupported_media_type"),
        ),
        case("POST /v1/sagas", Some(YAML), "definition: order", (415, "unsupported_media_type")),
        case("POST /v1/sagas", Some("application/jsonp"), "{}", (415, "unsupported_media_type")),
    ])
    .await;
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_is_refused() {
    check(vec![
        get("GET /", 404, "not_found"),
        get("GET /v1", 404, "not_found"),
        get("GET /v1/nothing", 404, "not_found"),
        get("GET /v1/sagas/", 404, "not_found"),
        get("GET /V1/SAGAS", 404, "not_found"),
        get("GET /problems/nothing", 404, "not_found"),
        get("GET /v1/sagas/7", 404, "not_found"),
        get("GET /v1/sagas/%00", 404, "not_found"),
        get("GET /v1/sagas/%ff", 404, "not_found"),
        get("GET /v1/sagas/0193c3a0-0000-7000-8000-000000000000", 404, "not_found"),
        get("GET /v1/sagas/0193c3a0-0000-7000-8000-000000000000/journal", 404, "not_found"),
        get("GET /v1/sagas/0193c3a0-0000-7000-8000-000000000000/journal?follow", 404, "not_found"),
        get("POST /v1/sagas/0193c3a0-0000-7000-8000-000000000000/cancel", 404, "not_found"),
        get("DELETE /v1/sagas", 405, "method_not_allowed"),
        get("PUT /v1/sagas", 405, "method_not_allowed"),
        get("PATCH /v1/participants/shop", 405, "method_not_allowed"),
        get("POST /healthz", 405, "method_not_allowed"),
        get("BREW /v1/sagas", 405, "method_not_allowed"),
        get("GET /v1/sagas?colour=red", 400, "bad_query"),
        get("GET /v1/sagas?limit=0", 400, "bad_query"),
        get("GET /v1/sagas?limit=501", 400, "bad_query"),
        get("GET /v1/sagas?limit=ten", 400, "bad_query"),
        get("GET /v1/sagas?limit=1&limit=2", 400, "bad_query"),
        get("GET /v1/sagas?cursor=x", 400, "bad_query"),
        get("GET /v1/sagas?status=gone", 400, "bad_query"),
        get("GET /v1/sagas?label=order", 400, "bad_query"),
        get("GET /v1/sagas?step=A", 400, "bad_query"),
        get("GET /v1/sagas?participant=../x", 400, "bad_query"),
        get("GET /v1/sagas?definition=order@x", 400, "bad_query"),
        get("GET /v1/sagas?created_after=yesterday", 400, "bad_query"),
        get("GET /v1/repairs?colour=red", 400, "bad_query"),
        get("GET /v1/repairs?limit=501", 400, "bad_query"),
        get("GET /v1/repairs?cursor=x", 400, "bad_query"),
        get("GET /v1/repairs?cursor=zz.00000000000000000000000000000000", 400, "bad_query"),
        get("GET /v1/repairs?status=gone", 400, "bad_query"),
        get("GET /v1/repairs?status=open,", 400, "bad_query"),
        get("GET /v1/repairs?kind=saga", 400, "bad_query"),
        get("GET /v1/repairs?reason=tired", 400, "bad_query"),
        get("GET /v1/repairs?kind=step&reason=anomaly", 400, "bad_query"),
        get("GET /v1/repairs?kind=anomaly&reason=refused", 400, "bad_query"),
        get("GET /v1/repairs?saga=7", 400, "bad_query"),
        get("GET /v1/repairs?step=Hold", 400, "bad_query"),
        get("GET /v1/repairs?definition=order@1", 400, "bad_query"),
        get("GET /v1/repairs?participant=../x", 400, "bad_query"),
        get("GET /v1/repairs?step=a&step=b", 400, "bad_query"),
        get("GET /v1/repairs?opened_after=noon", 400, "bad_query"),
        get("GET /v1/repairs?opened_before=0", 400, "bad_query"),
        get("GET /v1/repairs/", 404, "not_found"),
        get("GET /v1/repairs/7", 404, "not_found"),
        get("GET /v1/repairs/%ff", 404, "not_found"),
        get("GET /v1/repairs/0193c3a0-0000-7000-8000-000000000000", 404, "not_found"),
        get("GET /v1/repairs/summary?x=1", 400, "bad_query"),
        get("GET /v1/repairs/bulk?status=done", 400, "bad_query"),
        get("GET /v1/repairs/bulk/0193c3a0-0000-7000-8000-000000000000", 404, "not_found"),
        get("POST /v1/repairs/0193c3a0-0000-7000-8000-000000000000/retry", 404, "not_found"),
        get("POST /v1/repairs/0193c3a0-0000-7000-8000-000000000000/resolve", 422, "note_required"),
        get("POST /v1/repairs/0193c3a0-0000-7000-8000-000000000000/prove", 404, "not_found"),
        get("POST /v1/repairs", 405, "method_not_allowed"),
        get("DELETE /v1/repairs/0193c3a0-0000-7000-8000-000000000000", 405, "method_not_allowed"),
        get("DELETE /v1/repairs/bulk/0193c3a0-0000-7000-8000-000000000000", 405, "method_not_allowed"),
        get("GET /v1/definitions?x=1", 400, "bad_query"),
        get("GET /v1/participants?x=1", 400, "bad_query"),
        get("GET /v1/participants/Shop", 400, "bad_name"),
        get("GET /v1/participants/nobody", 404, "not_found"),
        get("DELETE /v1/participants/nobody", 404, "not_found"),
        get("DELETE /v1/participants/shop/instances/7", 404, "not_found"),
        get("GET /v1/definitions/Order", 400, "bad_name"),
        get("GET /v1/definitions/nobody", 404, "unknown_definition"),
        get("GET /v1/definitions/order/2", 404, "unknown_definition"),
        get("GET /v1/definitions/order/x", 400, "bad_name"),
        case("POST /v1/sagas?wait=61s", Some(JSON), "{}", (400, "bad_query")),
        case("POST /v1/sagas?wait=-1", Some(JSON), "{}", (400, "bad_query")),
        case("POST /v1/sagas?wait=soon", Some(JSON), "{}", (400, "bad_query")),
        case("POST /v1/sagas?wait=1s&wait=2s", Some(JSON), "{}", (400, "bad_query")),
        case("POST /v1/sagas?wait=99999999999999999999", Some(JSON), "{}", (400, "bad_query")),
    ])
    .await;
}

#[tokio::test]
async fn a_registration_that_cannot_be_meant_is_refused() {
    let at = |url: &str| format!(r#"{{"instances": ["{url}"], "operations": {{"x": {{}}}}}}"#);
    let put = |body: String, slug| case("PUT /v1/participants/p", Some(JSON), body, (422, slug));
    let mut cases: Vec<Case> = [
        "ftp://127.0.0.1/",
        "127.0.0.1:80",
        "http://",
        "http://user:pw@127.0.0.1/",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/#top",
        "http://169.254.169.254/",
        "http://169.254.169.254.:80/latest",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://224.0.0.1/",
        "http://[ff02::1]/",
        "http://[fe80::1]/",
        "http://255.255.255.255/",
    ]
    .into_iter()
    .map(|url| put(at(url), "address_refused"))
    .collect();
    let one = r#""instances": ["http://127.0.0.1:1"]"#;
    cases.extend([
        put(r#"{"instances": [], "operations": {"x": {}}}"#.to_owned(), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{}}}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{"batch": {{"max": 0}}}}}}}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{"compensation": "y"}}}}}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{}}}}, "secret": "abc"}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{}}}}, "ttl": "1ms"}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{}}}}, "health": "up"}}"#), "bad_registration"),
        put(format!(r#"{{{one}, "operations": {{"x": {{"input": {{"type": 7}}}}}}}}"#), "bad_registration"),
        put(
            format!(r#"{{{one}, "operations": {{"x": {{"input": {{"$ref": "http://a/b"}}}}}}}}"#),
            "bad_registration",
        ),
    ]);
    let broken = |body: &str| case("PUT /v1/participants/p", Some(JSON), body, (400, "malformed_body"));
    cases.extend([
        broken("{}"),
        broken(&format!(r#"{{{one}, "operations": {{"X": {{}}}}}}"#)),
        broken(&format!(r#"{{{one}, "operations": {{"x": {{"colour": 1}}}}}}"#)),
        broken(&format!(r#"{{{one}, "operations": {{"x": {{}}}}, "ttl": "soon"}}"#)),
        case("PUT /v1/participants/P", Some(JSON), "{}", (400, "bad_name")),
        case("PUT /v1/participants/p", Some(YAML), "a: 1", (415, "unsupported_media_type")),
    ]);
    check(cases).await;
}

#[tokio::test]
async fn a_definition_that_cannot_be_meant_is_refused() {
    let put = |body: &str, status, slug| case("PUT /v1/definitions/trip/1", Some(YAML), body, (status, slug));
    let step = "steps: [{a: {action: shop.hold, compensation: shop.release, with: {}}}]";
    check(vec![
        put("", 422, "definition_invalid"),
        put("saga: trip\nversion: 1\nsteps: [", 422, "definition_invalid"),
        put(&format!("saga: other\nversion: 1\n{step}"), 422, "definition_invalid"),
        put(&format!("saga: trip\nversion: 2\n{step}"), 422, "definition_invalid"),
        put(&format!("saga: trip\nversion: 1\ncolour: red\n{step}"), 422, "definition_invalid"),
        put("saga: trip\nversion: 1\nsteps: [{a: {action: shop.hold, with: {}}}]", 422, "definition_invalid"),
        put("saga: trip\nversion: 1\nsteps: [{a: {action: hold, read_only: true, with: {}}}]", 422, "definition_invalid"),
        put(
            "saga: trip\nversion: 1\nsteps: [{a: {action: p.x, read_only: true, with: {x: '${{ input. }}'}}}]",
            422,
            "definition_invalid",
        ),
        put(&format!("a: &a [x]\nb: [*a]\nsaga: trip\nversion: 1\n{step}"), 422, "definition_invalid"),
        case("PUT /v1/definitions/trip/1", Some(YAML), b"saga: \xff".to_vec(), (400, "bad_utf8")),
        case("PUT /v1/definitions/trip/1", Some("text/html"), "<p>", (415, "unsupported_media_type")),
        case("PUT /v1/definitions/Trip/1", Some(YAML), "", (400, "bad_name")),
        case("PUT /v1/definitions/trip/0", Some(YAML), "", (400, "bad_name")),
        case("PUT /v1/definitions/trip/1", Some(YAML), vec![b'#'; (1 << 20) + 1], (413, "body_too_large")),
    ])
    .await;
}

#[tokio::test]
async fn a_start_of_unknown_operations_is_refused_by_name() {
    let world = World::new().await;
    let text = "saga: trip\nversion: 1\nsteps: [{a: {action: shop.fly, compensation: shop.land, with: {}}}]";
    assert_eq!(world.define("trip", text).await.status, 201, "registering needs no known operations");
    let answer = world.post("/v1/sagas", &json!({ "definition": "trip", "input": {} })).await;
    answer.is_problem(409, "unknown_operation");
    assert!(answer.text("detail").contains("shop.fly"), "{answer:?}");
    assert_eq!(world.sagas().await, 0);
}

#[tokio::test]
async fn a_misfit_says_where_it_is() {
    let world = World::new().await;
    let body = json!({ "definition": "order", "input": { "order": "1", "qty": -3 } });
    let answer = world.post("/v1/sagas", &body).await;
    answer.is_problem(422, "input_does_not_fit");
    assert_eq!(answer.body["errors"][0]["path"], "/qty", "{answer:?}");
}

#[tokio::test]
async fn keys_in_header_and_body_must_agree() {
    let world = World::new().await;
    let start = |header: &'static str, key: Option<&str>| {
        let mut body = json!({ "definition": "order", "input": { "order": "1" } });
        if let Some(key) = key {
            body["key"] = json!(key);
        }
        send(world.request(Method::POST, "/v1/sagas").header("idempotency-key", header).json(&body))
    };
    start("a", Some("b")).await.is_problem(400, "key_conflict");
    start("", None).await.is_problem(400, "bad_key");
    assert_eq!(world.sagas().await, 0);
    let (first, second) = (start("a", Some("a")).await, start("a", None).await);
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.id(), second.id());
    let twice = world.request(Method::POST, "/v1/sagas").json(&crate::world::start_order("x"));
    let twice = send(twice.header("idempotency-key", "x").header("idempotency-key", "x")).await;
    twice.is_problem(400, "key_conflict");
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let first = world.order("k").await;
    let others = [
        json!({ "definition": "order", "input": { "order": "other" }, "key": "k" }),
        json!({ "definition": "order@1", "input": { "order": "k" }, "key": "k" }),
        json!({ "definition": "order", "input": { "order": "k" }, "key": "k", "labels": { "a": "b" } }),
        json!({ "definition": "nobody", "input": { "order": "k" }, "key": "k" }),
        json!({ "definition": "order", "input": 7, "key": "k" }),
    ];
    for other in others {
        let answer: Answer = world.post("/v1/sagas", &other).await;
        answer.is_problem(409, "key_reused");
        assert_eq!(answer.text("saga"), first.id(), "{other}");
    }
    assert_eq!(world.sagas().await, 1);
    // The same start written in another way is the same start.
    let body = r#"{ "key":"k","input" :{"order":"\u006b"}, "labels":{}, "definition":"order"}"#;
    let request = world.request(Method::POST, "/v1/sagas").body(body);
    let again = send(request.header("content-type", "application/json; charset=utf-8")).await;
    assert_eq!((again.status, again.id()), (200, first.id()));
}
