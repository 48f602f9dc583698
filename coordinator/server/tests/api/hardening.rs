//! What the listener and the caller of participants withstand.

use crate::world::{World, config};
use amends_server::{Config, ListenLimits};
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn limits(connections_max: usize, header_ms: u64) -> Config {
    let header_timeout = Duration::from_millis(header_ms);
    Config { listen: ListenLimits { connections_max, header_timeout, ..ListenLimits::default() }, ..config() }
}

#[tokio::test]
async fn half_a_header_keeps_its_connection_for_the_header_timeout_only() {
    let world = World::bare(limits(100, 300)).await;
    for half in ["", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: a\r\n", "POST /v1/sagas HTTP/1.1\r\nX: "] {
        let mut stream = TcpStream::connect(world.server.address()).await.expect("a connection");
        stream.write_all(half.as_bytes()).await.expect("half a header");
        let begin = Instant::now();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{half:?} is still open after {:?}", begin.elapsed());
        let text = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || text.starts_with("HTTP/1.1 408"), "{half:?}: {text}");
    }
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn beyond_the_cap_a_connection_waits_its_turn() {
    let world = World::bare(limits(2, 60_000)).await;
    let address = world.server.address();
    let idle = [TcpStream::connect(address).await, TcpStream::connect(address).await];
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ask = async {
        let mut stream = TcpStream::connect(address).await.expect("a place in the queue");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    tokio::pin!(ask);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut ask).await.is_err(), "it had to wait");
    drop(idle);
    let answer = tokio::time::timeout(Duration::from_secs(5), ask).await.expect("its turn has come");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn broken_requests_are_refused_and_the_next_is_answered() {
    let world = World::bare(limits(100, 300)).await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    for broken in
        ["\r\n\r\nnonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\0\0\0\0", &many, &long]
    {
        let mut stream = TcpStream::connect(world.server.address()).await.expect("a connection");
        let _ = stream.write_all(broken.as_bytes()).await;
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        let shown: String = broken.chars().take(30).collect();
        assert!(closed.is_ok(), "{shown:?} is still open");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{shown:?}: {text}");
        assert_eq!(world.get("/healthz").await.status, 200);
    }
}

/// Also run by the test below, in a process whose environment names a proxy that does not exist.
#[tokio::test]
async fn a_saga_runs_with_its_participant_called_directly() {
    let world = World::new().await;
    assert_eq!(world.order("k").await.text("status"), "completed");
}

#[test]
fn proxy_variables_are_ignored() {
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["hardening::a_saga_runs_with_its_participant_called_directly", "--exact"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = command.env_remove("NO_PROXY").stdin(Stdio::null()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
