//! Sending spans to an OpenTelemetry collector: OTLP over HTTP, protobuf.
//!
//! Whoever hands a span over never waits: the queue is bounded, and what does not fit in is dropped and counted. One
//! task takes what has gathered for a second, or 512 spans, and posts it, with a bounded number of tries in bounded
//! time; what cannot be delivered by then is dropped and counted too. [`Exporter::stop`] delivers what is waiting, for
//! as long as it is given.
//!
//! Spans say what happened and how long it took, never what was in a body.

use super::SpanId;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use opentelemetry::Value;

/// Spans that wait to be sent, at most.
pub const WAITING_MAX: usize = 8192;
/// Spans in one request, at most.
const BATCH_MAX: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// How long one batch may take, with every try it is given.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a loss is worth a line in the log.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Where spans go, and who sends them.
#[derive(Debug, Clone)]
pub struct Collector {
    /// The collector's base address, such as `http://127.0.0.1:4318`; `/v1/traces` is added where it is not there.
    pub url: String,
    /// The name of the sending service.
    pub service: String,
    /// Which of its instances it is.
    pub instance: String,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client could not be made.
    #[error("the HTTP client for traces could not be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The address or an OTEL_ variable of the environment is of no use.
    #[error("traces cannot be sent to {url}: {why}")]
    Settings {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
}

/// Whose work a span is, as collectors draw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Within the service.
    Internal,
    /// A call to another service.
    Client,
    /// The answer to a call.
    Server,
}

/// Something that happened, from when to when.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace: Uuid,
    /// Its own id.
    pub id: SpanId,
    /// The span it belongs under.
    pub parent: Option<SpanId>,
    /// Its name, one of few.
    pub name: Cow<'static, str>,
    /// Whose work it is.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong, in a few words that quote nobody.
    pub error: Option<Cow<'static, str>>,
}

impl Span {
    /// Adds what else is known.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Span {
        self.attributes.push((name, value.into()));
        self
    }
}

/// Sends spans to a collector.
pub struct Exporter {
    spans: mpsc::Sender<Span>,
    lost: Lost,
    /// Spans taken and neither delivered nor dropped yet.
    open: Arc<AtomicU64>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Told how many spans were dropped.
type Lost = Arc<dyn Fn(u64) + Send + Sync>;

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Starts sending to a collector. It need not be there yet.
    ///
    /// Of the environment, `OTEL_EXPORTER_OTLP_HEADERS` (`name=value,…`) adds headers, such as a collector's token, and
    /// `OTEL_RESOURCE_ATTRIBUTES` adds what is known of the service. `lost` is told of spans that were dropped, from
    /// whatever thread notices.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(to: &Collector, lost: impl Fn(u64) + Send + Sync + 'static) -> Result<Exporter, Error> {
        let client = client()?;
        let mut sender = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .with_endpoint(endpoint(&to.url))
            .build()
            .map_err(|error| Error::Settings { url: to.url.clone(), why: error.to_string() })?;
        let resource = Resource::builder()
            .with_service_name(to.service.clone())
            .with_attribute(KeyValue::new("service.instance.id", to.instance.clone()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        sender.set_resource(&resource);
        let (spans, waiting) = mpsc::channel(WAITING_MAX);
        let (lost, open, stop): (Lost, _, _) = (Arc::new(lost), Arc::default(), CancellationToken::new());
        let work = Work {
            waiting,
            sender,
            url: to.url.clone(),
            lost: lost.clone(),
            open: Arc::clone(&open),
            warned: None,
        };
        let task = Mutex::new(Some(tokio::spawn(work.run(stop.clone()))));
        Ok(Exporter { spans, lost, open, stop, task })
    }

    /// Hands a span over; drops and counts it when the queue is full.
    pub fn send(&self, span: Span) {
        self.open.fetch_add(1, Ordering::Relaxed);
        if self.spans.try_send(span).is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            (self.lost)(1);
        }
    }

    /// Delivers what waits, for at most `within`, and ends. Later spans are dropped and counted; a second stop does
    /// nothing.
    pub async fn stop(&self, within: Duration) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return };
        if tokio::time::timeout(within, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
            let spans = self.open.swap(0, Ordering::Relaxed);
            (self.lost)(spans);
            tracing::warn!(spans, "the last spans did not reach the collector in time; they are dropped");
        }
    }
}

/// Where spans are posted to. Whoever gives that very address means it.
fn endpoint(url: &str) -> String {
    let base = url.trim_end_matches('/');
    format!("{}/v1/traces", base.strip_suffix("/v1/traces").unwrap_or(base))
}

/// The client for a collector: no redirects, and no proxy of the environment.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(EXPORT_TIMEOUT)
        .build()
}

/// The task that posts batches.
struct Work {
    waiting: mpsc::Receiver<Span>,
    sender: opentelemetry_otlp::SpanExporter,
    url: String,
    lost: Lost,
    open: Arc<AtomicU64>,
    warned: Option<Instant>,
}

impl Work {
    async fn run(mut self, stop: CancellationToken) {
        let scope = InstrumentationScope::builder("amends").with_version(env!("CARGO_PKG_VERSION")).build();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.gather(&mut batch, &stop).await {
            let count = batch.len();
            let spans = batch.drain(..).map(|span| data(span, &scope)).collect();
            let sent = tokio::time::timeout(EXPORT_TIMEOUT, self.sender.export(spans)).await;
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.lose(count, &error.to_string()),
                Err(_) => self.lose(count, "the collector does not answer"),
            }
            self.open.fetch_sub(count as u64, Ordering::Relaxed);
        }
    }

    /// Fills a batch; `false` when no more will come.
    async fn gather(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) -> bool {
        if stop.is_cancelled() {
            self.waiting.close();
        } else {
            // A first span starts the time in which others may join it.
            tokio::select! {
                biased;
                () = stop.cancelled() => self.waiting.close(),
                count = self.waiting.recv_many(batch, BATCH_MAX) => if count == 0 { return false },
            }
        }
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
                count = self.waiting.recv_many(batch, room) => if count == 0 { break },
                () = tokio::time::sleep_until(until) => break,
            }
        }
        !batch.is_empty()
    }

    fn lose(&mut self, count: usize, why: &str) {
        (self.lost)(count as u64);
        if self.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(
                url = self.url,
                spans = count,
                why,
                "spans did not reach the collector; they are dropped"
            );
        }
    }
}

fn data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let id = |id: SpanId| OtelSpanId::from_bytes(id.bits().to_be_bytes());
    let trace = TraceId::from_bytes(*span.trace.as_bytes());
    SpanData {
        span_context: SpanContext::new(trace, id(span.id), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: span.parent.map_or(OtelSpanId::INVALID, id),
        parent_span_is_remote: span.kind == Kind::Server,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Client => SpanKind::Client,
            Kind::Server => SpanKind::Server,
        },
        name: span.name,
        start_time: span.began,
        // A clock that was set back must not make a span end before it began.
        end_time: span.ended.max(span.began),
        attributes: span.attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

#[cfg(test)]
mod tests;
