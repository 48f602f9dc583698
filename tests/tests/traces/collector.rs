//! A collector of traces: takes OTLP over HTTP as a real one does, and keeps what it is sent.

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::net::TcpListener;

/// A span as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) error: Option<String>,
}

/// A collector under the test's hand; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    pub(crate) async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { url, seen }
    }

    /// Everything so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.lock().clone()
    }

    /// The spans of one trace.
    pub(crate) fn trace(&self, saga: &str) -> Vec<Seen> {
        let trace = saga.replace('-', "");
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(seen): State<Arc<Mutex<Vec<Seen>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for resource in request.resource_spans {
        let about = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = about.get("service.name").cloned().unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        seen.extend(spans.map(|span| read(service.clone(), span)));
    }
    StatusCode::OK
}

fn read(service: String, span: Span) -> Seen {
    let kind = span.kind();
    let status = span.status.unwrap_or_default();
    Seen {
        service,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        kind: match kind {
            SpanKind::Client => "client",
            SpanKind::Server => "server",
            SpanKind::Internal => "internal",
            SpanKind::Unspecified | SpanKind::Producer | SpanKind::Consumer => "other",
        },
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        error: (status.code() == SpanStatus::Error).then_some(status.message),
    }
}

fn attributes(found: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    found
        .into_iter()
        .map(|one| (one.key, one.value.and_then(|value| value.value).map(text).unwrap_or_default()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The spans of one trace as a tree, a line each, brothers in the order in which they began.
///
/// # Panics
/// When a span is no root and its parent is not there, or ends before it begins.
pub(crate) fn tree(spans: &[Seen]) -> String {
    let mut text = String::new();
    let shown = branch(spans, "", 0, &mut text);
    assert_eq!(shown, spans.len(), "a span without its parent, or an id twice: {spans:#?}");
    text
}

fn branch(spans: &[Seen], parent: &str, depth: usize, text: &mut String) -> usize {
    let mut under: Vec<&Seen> = spans.iter().filter(|span| span.parent == parent).collect();
    under.sort_by_key(|span| span.began);
    let mut shown = under.len();
    for span in under {
        assert!(span.ended >= span.began, "{span:#?}");
        let _ = writeln!(text, "{:1$}{2}", "", depth * 2, line(span));
        shown += branch(spans, &span.id, depth + 1, text);
    }
    shown
}

/// A span in a line: whose, its name and kind, and what tells it apart.
fn line(span: &Seen) -> String {
    let mut line = format!("{}: {} {}", span.service, span.name, span.kind);
    for name in
        ["saga.op", "saga.attempt", "saga.status", "saga.answer", "http.response.status_code", "repair.how"]
    {
        if let Some(value) = span.attributes.get(name) {
            let _ = write!(line, " {value}");
        }
    }
    if let Some(error) = &span.error {
        let _ = write!(line, " !{error}");
    }
    line
}
