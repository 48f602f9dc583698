//! Participants that are not there: they obey the barrier, answer what they are told to, and note what they did.
//!
//! A stub stands for every participant of the definition. It takes calls in process, keeps a row for each step of
//! each saga as a barrier does, and is told its answers by operation: fixed JSON, a closure, or, where nothing is
//! said, the call's own body with whatever the definition reads from it beside.

use super::{
    book::{Book, Effect, What},
    invent::Inventions,
};
use amends_saga::SagaId;
use amends_server::{Reply, Transport, TransportError};
use amends_wire::participant::{self as wire, CallOp};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A call as a stub sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct StubCall {
    /// The operation, as `inventory.hold`.
    pub operation: String,
    /// The saga's id.
    pub saga: SagaId,
    /// The step's name.
    pub step: String,
    /// Whether it is to be done or undone.
    pub op: CallOp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The body.
    pub body: Value,
}

/// What a stub answers.
#[derive(Debug, Clone, PartialEq)]
pub enum StubAnswer {
    /// It is done: 200 with this output.
    Done(Value),
    /// It cannot be done, for this reason: 409, and nothing was.
    Refused(String),
    /// It may work later: this status, 500 to 599, and nothing was done.
    Failed(u16),
}

/// Decides what a stub answers to a call that takes effect; it is asked once for each.
pub(super) type Answering = Arc<dyn Fn(&StubCall) -> StubAnswer + Send + Sync>;

/// How stubs answer.
#[derive(Clone, Default)]
pub(super) struct Answers {
    by_operation: BTreeMap<String, Answering>,
    inventions: Inventions,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_operation.keys()).finish()
    }
}

impl Answers {
    /// What is answered where nothing is said.
    pub(super) fn inventing(self, inventions: Inventions) -> Answers {
        Answers { inventions, ..self }
    }

    /// What a signal carries where nothing is said.
    pub(super) fn payload(&self, step: &str) -> Value {
        self.inventions.output(step, "", &json!({}))
    }

    pub(super) fn set(&mut self, operation: &str, answering: Answering) {
        self.by_operation.insert(operation.to_owned(), answering);
    }

    pub(super) fn operations(&self) -> impl Iterator<Item = &str> {
        self.by_operation.keys().map(String::as_str)
    }

    fn answer(&self, call: &StubCall) -> StubAnswer {
        match self.by_operation.get(&call.operation) {
            Some(answering) => answering(call),
            None if call.op == CallOp::Action => {
                StubAnswer::Done(self.inventions.output(&call.step, &call.operation, &call.body))
            }
            None => StubAnswer::Done(json!({ "undone": true })),
        }
    }
}

/// All participants of a definition.
#[derive(Debug)]
pub(super) struct Stubs {
    answers: Answers,
    /// Without one every call takes effect, however often and whenever it comes.
    barrier: bool,
    rows: Mutex<BTreeMap<(SagaId, String), Row>>,
    book: Arc<Book>,
}

/// What a barrier knows of a step.
#[derive(Debug, Clone)]
enum Row {
    /// Its action took effect and was answered with this.
    Applied(Value),
    /// Its compensation came, and undid something or not; an action is refused from now on.
    Closed(Value),
}

impl Stubs {
    pub(super) fn new(answers: Answers, barrier: bool, book: Arc<Book>) -> Stubs {
        Stubs { answers, barrier, rows: Mutex::default(), book }
    }

    /// Takes one call. What it does is done at one place in the order of all that is seen, under one lock.
    fn take(&self, call: &StubCall) -> (StatusCode, Value) {
        let key = (call.saga, call.step.clone());
        let mut rows = self.rows();
        let row = rows.get(&key).filter(|_| self.barrier);
        match (call.op, row) {
            (CallOp::Action, None) => {
                let answered = self.perform(call, What::Applied);
                rows.extend(answered.clone().ok().map(|output| (key, Row::Applied(output))));
                spoken(answered)
            }
            (CallOp::Action, Some(Row::Applied(output))) => (StatusCode::OK, output.clone()),
            (CallOp::Action, Some(Row::Closed(_))) => (
                StatusCode::CONFLICT,
                json!({ "message": "the step was undone before; the barrier refuses it" }),
            ),
            (CallOp::Compensation, Some(Row::Closed(output))) => (StatusCode::OK, output.clone()),
            (CallOp::Compensation, None) if self.barrier => {
                let output = json!({ "undone": false });
                self.note(call, What::Barred);
                rows.insert(key, Row::Closed(output.clone()));
                (StatusCode::OK, output)
            }
            (CallOp::Compensation, _) => {
                let answered = self.perform(call, What::Undone);
                rows.extend(answered.clone().ok().map(|output| (key, Row::Closed(output))));
                spoken(answered)
            }
            (CallOp::Confirm | CallOp::Status, _) => {
                (StatusCode::NOT_FOUND, json!({ "message": "a stub does actions and compensations only" }))
            }
        }
    }

    fn perform(&self, call: &StubCall, what: What) -> Result<Value, (StatusCode, String)> {
        match self.answers.answer(call) {
            StubAnswer::Done(output) => {
                self.note(call, what);
                Ok(output)
            }
            StubAnswer::Refused(reason) => Err((StatusCode::CONFLICT, reason)),
            StubAnswer::Failed(status) => {
                let status = StatusCode::from_u16(status).ok().filter(StatusCode::is_server_error);
                Err((
                    status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
                    "the stub was told to fail".to_owned(),
                ))
            }
        }
    }

    fn note(&self, call: &StubCall, what: What) {
        let place = self.book.next();
        let (saga, step) = (call.saga, call.step.clone());
        self.book.effect(Effect { saga, step, what, began: place, ended: place });
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<(SagaId, String), Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spoken(answered: Result<Value, (StatusCode, String)>) -> (StatusCode, Value) {
    answered
        .map_or_else(|(status, why)| (status, json!({ "message": why })), |output| (StatusCode::OK, output))
}

/// Reads a call from its address, headers and body; `None` for what is no single call.
pub(super) fn read(url: &Url, headers: &HeaderMap, body: &[u8]) -> Option<StubCall> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let mut segments = url.path_segments()?.rev();
    let (operation, participant) = (segments.next()?, segments.next().unwrap_or(""));
    Some(StubCall {
        operation: format!("{participant}.{operation}"),
        saga: text(wire::SAGA_ID)?.parse().ok()?,
        step: text(wire::SAGA_STEP)?.to_owned(),
        op: text(wire::SAGA_OP)?.parse().ok()?,
        attempt: text(wire::SAGA_ATTEMPT)?.parse().ok()?,
        body: serde_json::from_slice(body).ok()?,
    })
}

#[async_trait]
impl Transport for Stubs {
    async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, TransportError> {
        let (status, answer) = match read(url, &headers, &body) {
            Some(call) => self.take(&call),
            None => (StatusCode::BAD_REQUEST, json!({ "message": "this is no call of a saga" })),
        };
        Ok(Reply { status, retry_after: None, body: Ok(Bytes::from(answer.to_string())) })
    }
}

#[cfg(test)]
mod tests;
