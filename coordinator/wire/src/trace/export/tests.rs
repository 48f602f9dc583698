//! Whoever hands spans over never waits, and every span is delivered or counted.

use super::*;
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// A collector at a free port that answers each request with what `answer` says, on its own connection.
fn collector(answer: fn() -> Option<&'static str>) -> (Collector, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let requests = Arc::new(AtomicU64::new(0));
    let seen = requests.clone();
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut begin = [0; 24];
            let _ = stream.read_exact(&mut begin);
            assert!(begin.starts_with(b"POST /v1/traces HTTP/1.1"), "{begin:?}");
            seen.fetch_add(1, Ordering::Relaxed);
            match answer() {
                Some(status) => {
                    // What is left of the request is read, so that closing does not reset the connection.
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                    while stream.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {}
                    let _ =
                        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                }
                None => held.push(stream),
            }
        }
    });
    (Collector { url, service: "test".to_owned(), instance: "1".to_owned() }, requests)
}

fn start(to: &Collector) -> (Exporter, Arc<AtomicU64>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let lost = Arc::new(AtomicU64::new(0));
    let count = lost.clone();
    let exporter = Exporter::start(to, move |spans| {
        count.fetch_add(spans, Ordering::Relaxed);
    });
    (exporter.expect("an exporter"), lost)
}

fn span() -> Span {
    let now = SystemTime::now();
    Span {
        trace: Uuid::from_u128(1),
        id: SpanId::new(1),
        parent: None,
        name: "test".into(),
        kind: Kind::Internal,
        began: now,
        ended: now,
        attributes: Vec::new(),
        error: None,
    }
    .with("number", 7)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_at_the_stop_is_delivered_and_what_comes_later_is_counted() {
    let (to, requests) = collector(|| Some("200 OK"));
    let (exporter, lost) = start(&to);
    for _ in 0..BATCH_MAX + 1 {
        exporter.send(span());
    }
    exporter.stop(Duration::from_secs(5)).await;
    assert_eq!((requests.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (2, 0));
    exporter.send(span());
    exporter.stop(Duration::from_secs(5)).await;
    assert_eq!(lost.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_nobody_up() {
    let (to, _) = collector(|| None);
    let (exporter, lost) = start(&to);
    let begin = Instant::now();
    let sent = WAITING_MAX + 2 * BATCH_MAX + 1000;
    for _ in 0..sent {
        exporter.send(span());
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let dropped = lost.load(Ordering::Relaxed);
    assert!(dropped >= 1000, "the queue takes {WAITING_MAX}, {dropped} of {sent} were dropped");
    let begin = Instant::now();
    exporter.stop(Duration::from_millis(300)).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(lost.load(Ordering::Relaxed), sent as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_collector_refuses_or_nobody_takes_is_counted() {
    let (refusing, _) = collector(|| Some("400 Bad Request"));
    let nobody = Collector { url: "http://127.0.0.1:9".to_owned(), ..refusing.clone() };
    for to in [refusing, nobody] {
        let (exporter, lost) = start(&to);
        exporter.send(span());
        exporter.stop(Duration::from_secs(4)).await;
        assert_eq!(lost.load(Ordering::Relaxed), 1, "{}", to.url);
    }
}

#[test]
fn an_address_that_is_none_is_refused_when_it_is_configured() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let to = Collector { url: "not an address".to_owned(), service: String::new(), instance: String::new() };
    let error = Exporter::start(&to, |_| {}).expect_err("no address").to_string();
    assert!(error.starts_with("traces cannot be sent to not an address: "), "{error}");
}

#[test]
fn a_span_keeps_its_ids_and_never_ends_before_it_began() {
    let scope = InstrumentationScope::builder("test").build();
    let now = SystemTime::now();
    let one = Span {
        id: SpanId::new(0x0102),
        parent: Some(SpanId::new(0x0304)),
        kind: Kind::Server,
        ended: now - Duration::from_secs(5),
        error: Some("no".into()),
        ..span()
    };
    let made = data(one, &scope);
    assert_eq!(made.span_context.trace_id().to_string(), format!("{:032x}", 1));
    assert_eq!(made.span_context.span_id().to_string(), format!("{:016x}", 0x0102));
    assert_eq!(made.parent_span_id.to_string(), format!("{:016x}", 0x0304));
    assert_eq!((made.end_time, made.status), (made.start_time, Status::error("no")));
    assert_eq!(made.attributes, [KeyValue::new("number", 7)]);
}

#[test]
fn spans_are_posted_where_the_collector_takes_them() {
    for (given, expected) in [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a:4318/", "http://a:4318/v1/traces"),
        ("https://a/otlp", "https://a/otlp/v1/traces"),
        ("https://a/v1/traces", "https://a/v1/traces"),
        ("https://a/v1/traces/", "https://a/v1/traces"),
    ] {
        assert_eq!(endpoint(given), expected);
    }
}
