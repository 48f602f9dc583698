//! A client that nobody wrote: generated from the OpenAPI document, and used against a coordinator.
//!
//! `generate.py` turns the document into a typed Python module and refuses one that is not complete; `drive.py` uses
//! every operation of that module, and `runtime.py` holds each answer against what the document promises: its status,
//! its slug, every member, every header. So the document is as true as the types of a program that compiles. A member
//! that is renamed in the document, or one that is not described, makes it red, and the planted ones show that it does.

mod plants;
mod python;

use amends_server::{Config, Role, Server, Timing, Tokens};
use amends_store::memory::MemoryStore;
use python::Generated;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;

const ADMIN: &str = "admin-token";
const SUBMIT: &str = "submit-token";

fn document() -> Value {
    serde_json::from_str(amends_server::OPENAPI).expect("the description is JSON")
}

/// A coordinator that knows nothing yet.
async fn coordinator() -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = Config {
        name: "described".to_owned(),
        tokens: Tokens::new([(ADMIN, Role::Admin), (SUBMIT, Role::Submit)]),
        timing: Timing {
            claim_every: Duration::from_millis(100),
            drain: Duration::from_secs(1),
            ..Timing::default()
        },
        ..Config::default()
    };
    Server::start(config, Arc::new(MemoryStore::new()), listener).await.expect("the coordinator starts")
}

/// Generates a client from a document and uses all of it; what it says, and whether all went well.
async fn drive(document: &Value) -> Result<String, String> {
    let generated = Generated::from(document)?;
    let server = coordinator().await;
    let url = format!("http://{}", server.address());
    let told = tokio::task::spawn_blocking(move || generated.run("drive.py", &[&url, ADMIN, SUBMIT])).await;
    server.stop().await;
    told.expect("the driver's thread ends well")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_client_works_and_every_answer_is_as_described() {
    let told = drive(&document()).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{told}");
    assert!(told.contains("operations"), "the driver has not come to its end: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_that_says_something_else_is_noticed() {
    for plant in plants::OF_ANSWERS {
        let mut document = document();
        (plant.change)(&mut document);
        let why = drive(&document).await.expect_err(plant.what);
        assert!(why.contains(plant.told), "{}: {why}", plant.what);
    }
}

#[test]
fn a_description_that_is_not_complete_makes_no_client() {
    for plant in plants::OF_DOCUMENTS {
        let mut document = document();
        (plant.change)(&mut document);
        let why = Generated::from(&document).map(drop).expect_err(plant.what);
        assert!(why.contains(plant.told), "{}: {why}", plant.what);
    }
}

#[test]
fn every_kind_of_problem_is_described_under_its_status() {
    let text = amends_server::OPENAPI;
    // These are answered by participants, by a wrong address or method, or by no version that is described.
    let elsewhere = ["bad_header", "method_not_allowed", "not_supported"];
    for slug in amends_wire::problem::Slug::ALL.iter().filter(|slug| !elsewhere.contains(&slug.as_str())) {
        assert!(text.contains(&format!("\"{slug}\"")), "no operation is described to answer with {slug}");
    }
}
