//! The participant's own spans: what a call took here, under the attempt that asked for it.
//!
//! The coordinator says with each call whether it records it (`traceparent`, beside a call of a batch as well). If it
//! does, the participant sends a span of its own, a child of the attempt, to its own collector. What it sends says
//! how a call was answered and how long that took, never what was in it. Nobody waits for it: the queue is bounded,
//! and a span too many is dropped and counted ([`Tracer::lost`]).

use crate::{Caller, Reply};
use amends_wire::{
    participant::{CallOp, TRACEPARENT},
    trace::{
        SpanId, TraceParent,
        export::{Collector, Error, Exporter, Kind, Span},
    },
};
use http::HeaderMap;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// How long the last spans may take to reach the collector when the participant stops.
const FLUSH: Duration = Duration::from_secs(2);

/// Sends a participant's spans; clones are the same.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    participant: String,
    exporter: Exporter,
    lost: Arc<AtomicU64>,
    ids: RandomState,
    next: AtomicU64,
}

impl Tracer {
    /// Sends spans to a collector, OTLP over HTTP, such as `http://127.0.0.1:4318`. It need not be there yet.
    ///
    /// # Errors
    /// When the address is of no use or the system gives no HTTP client.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(collector: &str, participant: &str) -> Result<Tracer, Error> {
        let lost = Arc::new(AtomicU64::new(0));
        let count = lost.clone();
        let ids = RandomState::new();
        let collector = Collector {
            url: collector.to_owned(),
            service: participant.to_owned(),
            instance: format!("{participant}-{:08x}", ids.hash_one(0) >> 32),
        };
        let exporter = Exporter::start(&collector, move |spans| {
            count.fetch_add(spans, Ordering::Relaxed);
        })?;
        let participant = participant.to_owned();
        Ok(Tracer(Arc::new(Inner { participant, exporter, lost, ids, next: AtomicU64::new(1) })))
    }

    /// Spans that were dropped so far.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Sends what waits, for at most 2 s. [`run`](crate::run) does it when it is told to stop.
    pub async fn stop(&self) {
        self.0.exporter.stop(FLUSH).await;
    }

    /// Begins the span of a call, when its caller records it.
    pub(crate) fn begin(&self, parent: Option<&str>, operation: &str, caller: &Caller) -> Option<Begun> {
        let parent: TraceParent = parent?.parse().ok()?;
        parent.sampled.then(|| Begun {
            tracer: self.clone(),
            since: Instant::now(),
            span: self.span(parent, operation, caller),
        })
    }

    fn span(&self, parent: TraceParent, operation: &str, caller: &Caller) -> Span {
        let now = SystemTime::now();
        let name = match caller.op {
            CallOp::Status => format!("{}.{operation} status", self.0.participant),
            CallOp::Action | CallOp::Compensation | CallOp::Confirm => {
                format!("{}.{operation}", self.0.participant)
            }
        };
        let span = Span {
            trace: parent.trace,
            // A call that is repeated is another span, so the id is not derived from it.
            id: SpanId::new(self.0.ids.hash_one(self.0.next.fetch_add(1, Ordering::Relaxed))),
            parent: Some(parent.span),
            name: name.into(),
            kind: Kind::Server,
            began: now,
            ended: now,
            attributes: Vec::with_capacity(6),
            error: None,
        };
        span.with("saga.id", caller.saga.to_string())
            .with("saga.step", caller.step.clone())
            .with("saga.op", caller.op.as_str())
            .with("saga.attempt", i64::from(caller.attempt))
    }
}

/// The header that says whether a call is recorded.
pub(crate) fn parent(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok())
}

/// A call that is being carried out and recorded.
#[derive(Debug)]
pub(crate) struct Begun {
    tracer: Tracer,
    since: Instant,
    span: Span,
}

impl Begun {
    /// Sends the span of a call that is answered; `calls` came with the same request.
    pub(crate) fn end(self, reply: &Reply, calls: usize) {
        let mut span = self.span.with("http.response.status_code", i64::from(reply.status));
        if calls > 1 {
            span = span.with("saga.batch.calls", i64::try_from(calls).unwrap_or(i64::MAX));
        }
        span.ended = span.began + self.since.elapsed();
        // As HTTP has it, what the caller asked wrongly or came too late for is no fault of the server.
        span.error = (reply.status >= 500).then(|| format!("status {}", reply.status).into());
        self.tracer.0.exporter.send(span);
    }
}

#[cfg(test)]
mod tests;
