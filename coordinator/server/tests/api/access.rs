//! Tokens and roles, and who may be listened to without any.

use crate::world::{World, config, send, start_order};
use amends_server::{Config, Role, Server, StartError, Tokens};
use amends_store::memory::MemoryStore;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_role_opens_what_it_is_for_and_no_more() {
    let tokens = Tokens::new([("sub", Role::Submit), ("ope", Role::Operate), ("adm", Role::Admin)]);
    let world = World::bare(Config { tokens, ..config() }).await;
    let saga = "/v1/sagas/0193c3a0-0000-7000-8000-000000000000";
    let item = "/v1/repairs/0193c3a0-0000-7000-8000-000000000000";
    let job = "/v1/repairs/bulk/0193c3a0-0000-7000-8000-000000000000";
    // Each: who is let through. 0 nobody without a token, then submit, operate, admin; 9 everybody.
    let table = [
        (Method::GET, "/healthz".to_owned(), 9),
        (Method::GET, "/readyz".to_owned(), 9),
        (Method::GET, "/openapi.json".to_owned(), 9),
        (Method::GET, "/problems/forbidden".to_owned(), 9),
        (Method::GET, "/metrics".to_owned(), 1),
        (Method::GET, "/v1/sagas".to_owned(), 1),
        (Method::GET, saga.to_owned(), 1),
        (Method::POST, "/v1/sagas".to_owned(), 1),
        (Method::POST, format!("{saga}/signals/payment"), 1),
        (Method::POST, format!("{saga}/signals/cancel"), 1),
        (Method::POST, "/v1/sagas/open".to_owned(), 1),
        (Method::POST, format!("{saga}/branches"), 1),
        (Method::POST, format!("{saga}/renew"), 1),
        (Method::POST, format!("{saga}/commit"), 1),
        (Method::POST, format!("{saga}/rollback"), 1),
        (Method::POST, format!("{saga}/steps/hold/answer"), 9),
        (Method::POST, format!("{saga}/steps/hold%5B0%5D/answer"), 9),
        (Method::POST, format!("{saga}/cancel"), 2),
        (Method::POST, format!("{saga}/revert"), 2),
        (Method::GET, "/v1/repairs".to_owned(), 1),
        (Method::GET, item.to_owned(), 1),
        (Method::GET, "/v1/repairs/summary".to_owned(), 1),
        (Method::GET, "/v1/repairs/bulk".to_owned(), 1),
        (Method::POST, format!("{item}/retry"), 2),
        (Method::POST, format!("{item}/resolve"), 2),
        (Method::POST, format!("{item}/skip"), 2),
        (Method::POST, format!("{item}/abandon"), 2),
        (Method::POST, format!("{item}/assign"), 2),
        (Method::POST, "/v1/repairs/bulk".to_owned(), 2),
        (Method::POST, format!("{job}/stop"), 2),
        (Method::POST, format!("{job}/resume"), 2),
        (Method::PUT, "/v1/definitions/order/1".to_owned(), 3),
        (Method::PUT, "/v1/participants/shop".to_owned(), 3),
        (Method::DELETE, "/v1/participants/shop".to_owned(), 3),
    ];
    for (method, path, least) in table {
        for (rank, token) in
            [(0, None), (0, Some("wrong")), (1, Some("sub")), (2, Some("ope")), (3, Some("adm"))]
        {
            let mut request = world.request(method.clone(), &path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = send(request).await;
            let passed = !matches!(answer.status, 401 | 403);
            assert_eq!(passed, least == 9 || rank >= least, "{method} {path} as {token:?}: {answer:?}");
            match (passed, rank) {
                (true, _) => {}
                (false, 0) => {
                    answer.is_problem(401, "unauthorized");
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                }
                (false, _) => answer.is_problem(403, "forbidden"),
            }
        }
    }
    assert_eq!(world.sagas().await, 0);
}

#[tokio::test]
async fn a_token_is_refused_in_any_other_form() {
    let world = World::bare(Config { tokens: Tokens::new([("adm", Role::Admin)]), ..config() }).await;
    for value in ["adm", "Basic adm", "Bearer", "Bearer ", "Bearer ADM", "Bearer adm adm", "Bearer adm,adm"] {
        let request = world.request(Method::POST, "/v1/sagas").json(&start_order("k"));
        send(request.header("authorization", value)).await.is_problem(401, "unauthorized");
    }
    let good = world.request(Method::PUT, "/v1/participants/shop").bearer_auth("adm");
    let body = json!({ "instances": [world.stub.url], "operations": { "hold": {} } });
    assert_eq!(send(good.json(&body)).await.status, 201);
}

#[tokio::test]
async fn beyond_this_machine_nobody_is_listened_to_without_a_token() {
    let start = |tokens: Tokens| async move {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
        Server::start(Config { tokens, ..config() }, Arc::new(MemoryStore::new()), listener).await
    };
    let refused = start(Tokens::default()).await;
    assert!(matches!(refused, Err(StartError::OpenWithoutToken(_))), "{refused:?}");
    let server = start(Tokens::new([("t", Role::Admin)])).await.expect("it starts with a token");
    server.stop().await;
}
