//! What a caller is told when a call does not come off.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers one request with `answer`, and says how a client takes it.
async fn check(answer: &'static str) -> Result<serde_json::Value, ClientError> {
    crate::process::install_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let base = BaseUrl::of(listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    Client::new(base, None).expect("a client").get("/v1/sagas", &[]).await
}

#[tokio::test]
async fn a_good_answer_is_read() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"items\":[]}";
    assert_eq!(check(answer).await.expect("an answer"), serde_json::json!({ "items": [] }));
}

#[tokio::test]
async fn a_problem_is_told_in_its_own_words() {
    let body = "{\"title\":\"not known\",\"detail\":\"there is no saga 7\",\"slug\":\"not_found\"}";
    let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let error = check(answer.leak()).await.expect_err("a problem");
    assert_eq!(error.to_string(), "not known: there is no saga 7");
    assert_eq!(error.slug(), Some("not_found"));
}

#[tokio::test]
async fn what_does_not_fit_is_told_place_by_place() {
    let body = "{\"title\":\"the input does not fit\",\"detail\":\"the input does not fit\",\
                \"errors\":[{\"path\":\"/lines/0/qty\",\"message\":\"0 is less than 1\"}]}";
    let answer = format!("HTTP/1.1 422 Unprocessable\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let error = check(answer.leak()).await.expect_err("a problem");
    assert_eq!(error.to_string(), "the input does not fit\n  /lines/0/qty 0 is less than 1");
}

#[tokio::test]
async fn a_missing_token_is_asked_for() {
    let body = "{\"title\":\"no valid token\",\"detail\":\"send one\"}";
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let error = check(answer.leak()).await.expect_err("a problem");
    assert_eq!(error.to_string(), "no valid token: send one; give the token with --token or AMENDS_TOKEN");
}

#[tokio::test]
async fn a_stranger_is_recognised() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    let error = check(answer).await.expect_err("no coordinator").to_string();
    assert!(error.contains("not as a coordinator does") && error.contains("--coordinator"), "{error}");
}

#[tokio::test]
async fn nobody_there_says_how_to_start_one() {
    crate::process::install_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let base = BaseUrl::of(listener.local_addr().expect("its address"));
    drop(listener);
    let client = Client::new(base.clone(), None).expect("a client");
    let error = client.get::<serde_json::Value>("/v1/sagas", &[]).await.expect_err("nobody").to_string();
    assert!(error.starts_with(&format!("no coordinator answers at {base} (connection refused")), "{error}");
    assert!(error.contains("start one with `amends serve`, or name it with --coordinator"), "{error}");
}

#[test]
fn causes_are_told_once() {
    let inner = std::io::Error::other("disk full");
    let error = anyhow::Error::from(inner).context("the file could not be written");
    assert_eq!(chain(error.as_ref()), "the file could not be written: disk full");
}
