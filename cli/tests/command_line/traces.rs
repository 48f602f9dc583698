//! What services tell of themselves: traces to the collector that is configured, logs that programs can read.

use crate::binary::Place;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What the catalogue alone can answer.
const PRICE: &str = "
saga: price
version: 1
steps:
  - quote: { action: product.quote, read_only: true, with: { lines: [{ sku: 1, qty: 1 }] } }
";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that was posted to a collector, one request after the other.
type Posted = Arc<Mutex<Vec<u8>>>;

/// A collector that takes whatever is posted to it.
fn collector() -> (String, Posted) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let posted = Posted::default();
    let taken = posted.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = take(stream);
            taken.lock().unwrap_or_else(PoisonError::into_inner).extend(body.unwrap_or_default());
        }
    });
    (url, posted)
}

fn take(stream: TcpStream) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(body)
}

#[test]
fn a_coordinator_and_its_participants_send_their_spans_to_the_same_collector() {
    let (url, posted) = collector();
    let place = Place::new().env("AMENDS_OTLP", &url);
    place.file("price.yaml", PRICE);
    let base = ["--listen", "127.0.0.1:0", "--store"];
    let coordinator =
        place.serve(&[&["serve"], &base[..], &["sqlite:sagas.db", "--definitions", "."]].concat());
    let to = ["--coordinator", &coordinator.url];
    let product =
        place.serve(&[&["participant", "product"], &base[..], &["sqlite:product.db"], &to].concat());
    let begin = Instant::now();
    while place.run(&[&["health", "--json"], &to[..]].concat()).code(0).json()["participants"][0].is_null() {
        assert!(begin.elapsed() < PATIENCE, "the participant is not registered");
    }
    place.file("cart.json", "{}");
    let start = ["saga", "start", "price", "--input", "cart.json", "--wait", "20s", "--json"];
    let saga = place.run(&[&start[..], &to].concat()).json();
    assert_eq!(saga["status"], "compensated", "an empty catalogue sells nothing: {saga:#}");
    assert_eq!((product.terminate(), coordinator.terminate()), (Some(0), Some(0)));
    let posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |text: &str| posted.windows(text.len()).any(|part| part == text.as_bytes());
    for text in ["saga price@1", "product.quote", "product-", saga["id"].as_str().expect("an id")] {
        assert!(has(text), "no span says \"{text}\"");
    }
}

#[test]
fn where_traces_go_and_how_many_is_checked_before_anything_starts() {
    let place = Place::new();
    for (args, said) in [
        (&["serve", "--otlp", "collector:4318"][..], "expected an address such as"),
        (&["serve", "--otlp-sample", "10"], "expected a share from 0 (none) to 1 (all), such as 0.1"),
        (&["participant", "order", "--otlp", "grpc"], "expected an address such as"),
    ] {
        let ended = place.run(args).code(2);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}

#[test]
fn p9_a_log_for_programs_is_one_json_object_a_line() {
    let place = Place::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:sagas.db", "--log-format", "json"])
        .args(["--name", "one\"\n\u{1b}[31mtwo"])
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    let lines = BufReader::new(child.stderr.take().expect("its log")).lines();
    let mut runs = None;
    for line in lines {
        let line = line.expect("a line");
        let read: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert!(read["level"].is_string() && read["timestamp"].is_string(), "{line}");
        if read["message"] == "the coordinator runs" {
            runs = Some(read);
            break;
        }
    }
    child.kill().expect("it is killed");
    child.wait().expect("it has ended");
    assert_eq!(runs.expect("it says that it runs")["name"], "one\"\n\u{1b}[31mtwo");
}
