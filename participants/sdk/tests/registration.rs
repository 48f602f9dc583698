//! A participant that runs: it registers until it is heard, says what it offers, and ends when it is told to.

mod world;

use amends_sdk::{Error, Registering, run};
use amends_wire::registration::Registration;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{delete, put},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use world::{Run, World};

/// What a coordinator heard: name, token, body.
type Heard = Arc<Mutex<Vec<(String, Option<String>, Value)>>>;

/// The instances that were taken off.
type Gone = Arc<Mutex<Vec<(String, String)>>>;

/// A coordinator that is not ready the first two times.
async fn coordinator() -> (String, Heard, Gone) {
    let heard = Heard::default();
    let register = |State(heard): State<Heard>,
                    Path(name): Path<String>,
                    headers: HeaderMap,
                    Json(body): Json<Value>| async move {
        let mut heard = heard.lock().expect("not poisoned");
        let token = headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let url = body["instances"][0].clone();
        heard.push((name, token, body));
        let status = if heard.len() < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let others = json!({ "id": "i0", "url": "http://10.0.0.1:7101" });
        (status, Json(json!({ "instances": [others, { "id": "i1", "url": url }] })))
    };
    let gone = Gone::default();
    let remove = {
        let gone = gone.clone();
        move |Path(instance): Path<(String, String)>| async move {
            gone.lock().expect("not poisoned").push(instance);
            StatusCode::NO_CONTENT
        }
    };
    let router = Router::new()
        .route("/v1/participants/{name}", put(register))
        .route("/v1/participants/{name}/instances/{id}", delete(remove))
        .with_state(heard.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard, gone)
}

#[tokio::test]
async fn a_participant_registers_until_it_is_heard_and_signs_off_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::open(&format!("sqlite:{}/world.db", folder.path().display()), Run::Each).await;
    let (url, heard, gone) = coordinator().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = format!("http://{}", listener.local_addr().expect("an address"));
    let to =
        Registering { coordinator: format!("{url}/"), token: Some("secret".to_owned()), advertise: None };
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (participant, stop) = (world.participant.clone(), stop.clone());
        async move { run(&participant, listener, Some(to), stop).await }
    });

    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while heard.lock().expect("not poisoned").len() < 3 {
        assert!(tokio::time::Instant::now() < until, "it gave up: {heard:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for (name, token, body) in heard.lock().expect("not poisoned").iter() {
        assert_eq!((name.as_str(), token.as_deref()), ("account", Some("Bearer secret")));
        let registration: Registration = serde_json::from_value(body.clone()).expect("a registration");
        assert_eq!(registration.check(), Ok(()));
        assert_eq!(
            *body,
            json!({
                "instances": [own], "ttl": "30s",
                "operations": {
                    "add": { "compensation": "take", "confirm": "seal", "status": true, "batch": { "max": 64 } },
                    "take": { "status": true, "batch": { "max": 64 } },
                    "seal": { "status": true, "batch": { "max": 64 } },
                    "echo": { "barrier": false, "batch": { "max": 8 } },
                },
            })
        );
    }

    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await.expect("it ends");
    ended.expect("no panic").expect("it ends well");
    assert_eq!(*gone.lock().expect("not poisoned"), [("account".to_owned(), "i1".to_owned())]);
    assert!(
        tokio::net::TcpStream::connect(own.trim_start_matches("http://")).await.is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn a_participant_that_listens_everywhere_must_say_where_it_is_reached() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::open(&format!("sqlite:{}/world.db", folder.path().display()), Run::Each).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let to = Registering { coordinator: "http://127.0.0.1:1".to_owned(), ..Registering::default() };
    let ended = run(&world.participant, listener, Some(to), CancellationToken::new()).await;
    assert!(matches!(ended, Err(Error::Nowhere(_))), "{ended:?}");
}
