//! What becomes a span, and of which sagas.
//!
//! A saga is one trace ([`amends_wire::trace`]). Its attempts are sent as they end, a repair item as it opens and again
//! as it is settled, and the root, from acceptance to the end, by whichever coordinator sees the end. Nothing is kept
//! meanwhile, so a saga may take days and change hands.
//!
//! A share of the sagas is traced whole. Of the others nothing is sent while they go well; a compensation, a refusal
//! and a repair item are always sent, and the root of every saga that turned round. The queue is bounded and nobody
//! waits for it: a span too many is dropped and counted.
//!
//! Where no collector is configured there is no [`Inner`], and each of these functions is one branch.

use crate::{dispatch::Order, metrics::Metrics};
use amends_saga::{
    Answer, Direction, Op, ParkReason, Question, RepairRow, Report, Saga, SagaId, Status, Timestamp,
};
use amends_wire::{
    participant::CallOp,
    trace::{
        Attempt, Sample, SpanId, TraceParent,
        export::{Collector, Error, Exporter, Kind, Span},
    },
};
use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long the last spans may take to reach the collector when the coordinator stops.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a coordinator sends its traces, and of which sagas.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The collector's base address, such as `http://127.0.0.1:4318`.
    pub url: String,
    /// Which sagas are traced whole.
    pub sample: Sample,
}

/// Makes spans of what happens; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    exporter: Exporter,
    sample: Sample,
}

/// How an attempt was carried to the participant and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    /// The status of the HTTP answer, where one came.
    pub(crate) status: Option<u16>,
    /// Calls in the same request.
    pub(crate) calls: usize,
    /// From sending to the answer.
    pub(crate) took: Duration,
}

impl Tracer {
    /// Sends traces as told; without settings it makes none.
    pub(crate) fn start(to: Option<Traces>, name: &str, metrics: &Metrics) -> Result<Tracer, Error> {
        let Some(Traces { url, sample }) = to else { return Ok(Tracer::default()) };
        let dropped = metrics.spans_dropped();
        let collector = Collector { url, service: "amends".to_owned(), instance: name.to_owned() };
        let exporter = Exporter::start(&collector, move |count| dropped.increment(count))?;
        Ok(Tracer(Some(Arc::new(Inner { exporter, sample }))))
    }

    /// The trace context a call is sent with. Participants that record by themselves are told whether this saga is one
    /// that is recorded; without a collector of our own they are told to.
    pub(crate) fn parent(&self, order: &Order) -> TraceParent {
        let sampled = self.0.as_ref().is_none_or(|inner| inner.records(order.saga, order.call.key.op));
        TraceParent { trace: order.saga, span: span_of(order), sampled }
    }

    /// The trace context of a call within a batch, where it is recorded.
    pub(crate) fn parent_in_batch(&self, order: &Order) -> Option<String> {
        let inner = self.0.as_ref()?;
        inner.records(order.saga, order.call.key.op).then(|| self.parent(order).to_string())
    }

    /// An attempt has ended.
    pub(crate) fn attempt(&self, order: &Order, answer: &Answer, carried: Carried) {
        let Some(inner) = &self.0 else { return };
        let is_no = matches!(answer, Answer::Refused(_) | Answer::Contract(_));
        if is_no || inner.records(order.saga, order.call.key.op) {
            inner.exporter.send(attempt(order, answer, carried));
        }
    }

    /// Repair items were opened or changed.
    pub(crate) fn repairs(&self, rows: &[RepairRow]) {
        let Some(inner) = &self.0 else { return };
        for span in rows.iter().filter_map(repair) {
            inner.exporter.send(span);
        }
    }

    /// A saga has ended.
    pub(crate) fn ended(&self, saga: &Saga) {
        let Some(inner) = &self.0 else { return };
        if saga.direction == Direction::Backward || inner.sample.takes(saga.id) {
            inner.exporter.send(root(saga));
        }
    }

    /// Sends what waits, for at most 2 s.
    pub(crate) async fn stop(&self) {
        if let Some(inner) = &self.0 {
            inner.exporter.stop(FLUSH).await;
        }
    }
}

impl Inner {
    /// Whether a call is recorded before anybody knows how it ends.
    fn records(&self, saga: SagaId, op: Op) -> bool {
        op == Op::Compensation || self.sample.takes(saga)
    }
}

/// What a call asks, and with a status question, about which call.
fn asked(order: &Order) -> (CallOp, CallOp) {
    let of = match order.call.key.op {
        Op::Action => CallOp::Action,
        Op::Confirm => CallOp::Confirm,
        Op::Compensation => CallOp::Compensation,
    };
    match order.call.key.question {
        Question::Call => (of, of),
        Question::Status => (CallOp::Status, of),
    }
}

fn span_of(order: &Order) -> SpanId {
    let (op, status_of) = asked(order);
    let key = order.call.key;
    let attempt = Attempt { step: &order.call.step, op, status_of, attempt: key.attempt, poll: key.poll };
    SpanId::of_attempt(order.saga, attempt)
}

fn attempt(order: &Order, answer: &Answer, carried: Carried) -> Span {
    let ended = SystemTime::now();
    let (op, status_of) = asked(order);
    let operation = &order.call.operation;
    let (word, report) = in_words(answer);
    let name = match op {
        CallOp::Status => format!("{}.{} status", operation.participant, operation.name),
        _ => format!("{}.{}", operation.participant, operation.name),
    };
    let mut span = Span {
        trace: order.saga,
        id: span_of(order),
        parent: Some(SpanId::of_saga(order.saga)),
        name: name.into(),
        kind: Kind::Client,
        began: ended.checked_sub(carried.took).unwrap_or(ended),
        ended,
        attributes: Vec::with_capacity(10),
        error: None,
    }
    .with("saga.id", order.saga.to_string())
    .with("saga.step", order.call.step.to_string())
    .with("saga.op", op.as_str())
    .with("saga.attempt", i64::from(order.call.key.attempt))
    .with("saga.participant", operation.participant.to_string())
    .with("saga.answer", word);
    if op == CallOp::Status {
        span = span.with("saga.status_of", status_of.as_str());
    }
    let status = report.and_then(|report| report.status).or(carried.status);
    if let Some(status) = status {
        span = span.with("http.response.status_code", i64::from(status));
    }
    if carried.calls > 1 {
        span = span.with("saga.batch.calls", i64::try_from(carried.calls).unwrap_or(i64::MAX));
    }
    span.error = report.map(|report| fault(word, status, report));
    span
}

/// An answer in a word, and what was said where it is no good one.
fn in_words(answer: &Answer) -> (&'static str, Option<&Report>) {
    match answer {
        Answer::Done(_) => ("done", None),
        Answer::Pending { .. } => ("pending", None),
        Answer::NotSeen => ("not_seen", None),
        Answer::Refused(report) => ("refused", Some(report)),
        Answer::Contract(report) => ("contract", Some(report)),
        Answer::Unknown { report, .. } => ("unknown", Some(report)),
    }
}

/// What went wrong. Where an answer came, its words stay in the journal, for they may quote a body; without one they
/// are our own about the connection.
fn fault(word: &'static str, status: Option<u16>, report: &Report) -> Cow<'static, str> {
    match status {
        Some(status) => format!("{word}: status {status}").into(),
        None => report.message.clone().into(),
    }
}

/// A repair item: a moment when it opens, so that a trace shows it while it waits, and its whole time once settled.
fn repair(row: &RepairRow) -> Option<Span> {
    let (id, name, ended) = match row.settled_how {
        Some(_) => (SpanId::of_settled_item(row.item), "repair", row.updated_at),
        None if row.updated_at == row.opened_at => {
            (SpanId::of_opened_item(row.item), "repair opened", row.opened_at)
        }
        None => return None,
    };
    let mut span = Span {
        trace: row.saga,
        id,
        parent: Some(SpanId::of_saga(row.saga)),
        name: name.into(),
        kind: Kind::Internal,
        began: at(row.opened_at),
        ended: at(ended),
        attributes: Vec::with_capacity(8),
        error: None,
    }
    .with("saga.id", row.saga.to_string())
    .with("saga.step", row.step.clone())
    .with("saga.op", row.op.as_str())
    .with("saga.participant", row.participant.clone())
    .with("repair.item", row.item.to_string())
    .with("repair.number", i64::from(row.number))
    .with("repair.reason", reason(row.reason));
    match row.settled_how {
        Some(how) => span = span.with("repair.how", word(how)),
        None => span.error = Some("somebody is needed to settle this step".into()),
    }
    Some(span)
}

fn root(saga: &Saga) -> Span {
    let status = word(saga.status());
    let mut span = Span {
        trace: saga.id,
        id: SpanId::of_saga(saga.id),
        parent: None,
        name: format!("saga {}@{}", saga.definition.name, saga.definition.version).into(),
        kind: Kind::Internal,
        began: at(saga.created_at),
        ended: at(saga.ended_at.unwrap_or(saga.updated_at)),
        attributes: Vec::with_capacity(8),
        error: None,
    }
    .with("saga.id", saga.id.to_string())
    .with("saga.definition", format!("{}@{}", saga.definition.name, saga.definition.version))
    .with("saga.status", status.clone());
    if let Some(key) = &saga.key {
        span = span.with("saga.key", key.clone());
    }
    if let Some(cause) = &saga.error {
        span = span.with("saga.error.kind", word(cause.kind));
        if let Some(step) = &cause.step {
            span = span.with("saga.error.step", step.to_string());
        }
    }
    if saga.status() != Status::Completed {
        span.error = Some(status);
    }
    span
}

fn at(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
}

/// The word by which the API calls it.
pub(crate) fn word(value: impl serde::Serialize) -> Cow<'static, str> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.into(),
        Ok(_) | Err(_) => "other".into(),
    }
}

/// Why an item is open, in a word.
pub(crate) fn reason(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Exhausted => "exhausted",
        ParkReason::Refused => "refused",
        ParkReason::Contract => "contract",
    }
}

#[cfg(test)]
mod tests;
