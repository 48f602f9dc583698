//! Sending calls to participants and reading what comes back.
//!
//! Every call that is dispatched is answered to the run loop exactly once, whatever happens: a refused
//! connection, a timeout, a participant that is no longer registered. Nothing here decides; an answer is
//! read by the table in [`amends_saga::answer`] and handed on.

mod children;
mod lines;
mod transport;

#[cfg(test)]
mod tests;

pub(crate) use lines::Form;
pub use transport::{BodyError, HttpTransport, Transport, TransportError};
pub(crate) use transport::{chain, client, retry_after};

use crate::{
    handle::Handle,
    metrics::Metrics,
    registry::{Chosen, Nowhere, Registry, Sign},
    run::Command,
    trace::{Carried, Tracer},
};
use amends_saga::{
    Answer, Call, Millis, Op, Question, Report, SagaId,
    answer::{self, Asked, Body},
};
use amends_store::Store;
use amends_wire::{
    participant::{self as wire, CallOp},
    token::Tokens,
    trace::TraceParent,
};
use bytes::Bytes;
use children::Children;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lines::Lines;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long a call waits for a participant that has no instance, or whose only one takes no connection, at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pauses between two tries to connect: the first, and the longest after it has doubled.
const KNOCK_FIRST: Duration = Duration::from_millis(10);
const KNOCK_MAX: Duration = Duration::from_millis(100);

/// A call with everything needed to send it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) saga: SagaId,
    pub(crate) epoch: u64,
    pub(crate) call: Call,
}

/// What a participant answered to one request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The participant's wish for the next attempt.
    pub retry_after: Option<Millis>,
    /// The body, or why it could not be read.
    pub body: Result<Bytes, BodyError>,
}

/// Sends calls; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatcher {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    answers: mpsc::Sender<Command>,
    lines: Lines,
    tracer: Tracer,
    children: Children,
    callbacks: Callbacks,
}

/// How participants answer later: the tokens, and the address they are for.
#[derive(Debug, Clone)]
pub(crate) struct Callbacks {
    pub(crate) tokens: Tokens,
    /// The coordinator's base address as participants reach it, without a slash at its end.
    pub(crate) public_url: String,
}

impl Callbacks {
    pub(crate) fn new(tokens: Tokens, public_url: &str) -> Callbacks {
        Callbacks { tokens, public_url: public_url.trim_end_matches('/').to_owned() }
    }
}

impl Dispatcher {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        tracer: Tracer,
        answers: mpsc::Sender<Command>,
        store: Arc<dyn Store>,
        callbacks: Callbacks,
    ) -> Dispatcher {
        let lines = Lines::default();
        let children = Children { handle: Handle::new(answers.clone()), store, registry: registry.clone() };
        let inner = Inner { transport, registry, metrics, answers, lines, tracer, children, callbacks };
        Dispatcher { inner: Arc::new(inner) }
    }

    /// What makes spans of what happens.
    pub(crate) fn tracer(&self) -> &Tracer {
        &self.inner.tracer
    }

    /// Sends these calls, gathering those whose operation has a batch form.
    pub(crate) fn dispatch(&self, calls: Vec<(SagaId, u64, Call)>) {
        let mut gathered = Vec::new();
        for (saga, epoch, call) in calls {
            let order = Order { saga, epoch, call };
            match self.inner.registry.batching(&order.call.operation) {
                Some(form) if order.call.key.question == Question::Call => gathered.push((form, order)),
                _ => {
                    let inner = self.inner.clone();
                    tokio::spawn(async move { inner.send_single(order).await });
                }
            }
        }
        for (line, max) in self.inner.lines.queue(gathered) {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.work(line, max).await });
        }
    }
}

impl Dispatcher {
    /// Makes one exchange outside of the run loop and returns what came of it.
    ///
    /// No gate stands before it, and it counts as no attempt: for questions that change nothing.
    pub(crate) async fn ask(&self, saga: SagaId, epoch: u64, call: Call) -> Answer {
        self.inner.exchange(&Order { saga, epoch, call }).await.0
    }

    /// Reads what an instance shows at a path of its own, signed as calls are.
    pub(crate) async fn look(
        &self,
        instance: &crate::registry::Instance,
        url: &reqwest::Url,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let mut headers = json_headers();
        let id = format!("look-{}", uuid::Uuid::now_v7().as_simple());
        sign_as(&mut headers, instance, b"", &id);
        tokio::time::timeout(timeout, self.inner.transport.get(url, headers))
            .await
            .unwrap_or(Err(TransportError::TimedOut(timeout)))
    }
}

impl Dispatcher {
    /// Asks an instance for its health, signed as calls are, and returns the status it answers with.
    pub(crate) async fn probe(
        &self,
        instance: &crate::registry::Instance,
        url: &reqwest::Url,
        timeout: Duration,
    ) -> Result<StatusCode, TransportError> {
        let mut headers = HeaderMap::new();
        sign_as(&mut headers, instance, b"", &format!("probe-{}", uuid::Uuid::now_v7().as_simple()));
        tokio::time::timeout(timeout, self.inner.transport.probe(url, headers))
            .await
            .unwrap_or(Err(TransportError::TimedOut(timeout)))
    }
}

impl Inner {
    /// Sends batches of one line until nothing waits.
    async fn work(self: Arc<Self>, line: lines::Line, max: usize) {
        while let Some(orders) = self.lines.take(&line, max) {
            match orders.len() {
                1 => {
                    for order in orders {
                        self.send_single(order).await;
                    }
                }
                _ => self.send_batch(orders).await,
            }
        }
    }

    async fn send_single(&self, order: Order) {
        let (answer, carried) = self.exchange(&order).await;
        self.report(order, answer, carried).await;
    }

    async fn exchange(&self, order: &Order) -> (Answer, Carried) {
        let begun = Instant::now();
        if order.call.operation.is_child() {
            let answer = self.children.perform(order).await;
            return (answer, Carried { status: None, calls: 1, took: begun.elapsed() });
        }
        let timeout = order.call.operation.timeout.into();
        let reply = match self.registry.instance(&order.call.operation, PATIENCE.min(timeout)).await {
            Err(nowhere) => Err(nowhere.into()),
            Ok(instance) => {
                let body = Bytes::from(order.call.body.to_string());
                let headers = headers(order, &instance, &body, self.tracer.parent(order), &self.callbacks);
                let url = instance.address(&order.call.operation.name);
                let reply = self.post(&instance, &url.single, headers, body, timeout).await;
                instance.note(sign_of(&reply));
                reply
            }
        };
        let carried = Carried { status: status(&reply), calls: 1, took: begun.elapsed() };
        (read(order, reply, carried.took), carried)
    }

    async fn post(
        &self,
        instance: &Chosen,
        url: &reqwest::Url,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        tokio::time::timeout(timeout, self.knock(instance, url, headers, body))
            .await
            .unwrap_or(Err(TransportError::TimedOut(timeout)))
    }

    /// Posts; and again, while nobody takes the connection and the process may be on its way up again.
    ///
    /// Nothing has been sent then, so this is one attempt still.
    async fn knock(
        &self,
        instance: &Chosen,
        url: &reqwest::Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, TransportError> {
        let mut pause = KNOCK_FIRST;
        loop {
            let reply = self.transport.post(url, headers.clone(), body.clone()).await;
            if !matches!(reply, Err(TransportError::Refused(_))) || !instance.may_come_back(PATIENCE) {
                return reply;
            }
            tokio::time::sleep(pause).await;
            pause = KNOCK_MAX.min(pause * 2);
        }
    }

    /// Posts many calls of one operation as one request and gives each its own answer.
    async fn send_batch(self: &Arc<Self>, orders: Vec<Order>) {
        let begun = Instant::now();
        let operation = orders[0].call.operation.clone();
        let timeout = operation.timeout.into();
        let instance = match self.registry.instance(&operation, PATIENCE.min(timeout)).await {
            Ok(instance) => instance,
            Err(nowhere) => {
                let carried = Carried { status: None, calls: orders.len(), took: begun.elapsed() };
                for order in orders {
                    let answer = read(&order, Err(nowhere.into()), carried.took);
                    self.report(order, answer, carried).await;
                }
                return;
            }
        };
        let body = batch_body(&orders, &self.tracer, &self.callbacks);
        let url = instance.address(&operation.name);
        let mut headers = json_headers();
        sign(&mut headers, &instance, &body, &orders[0]);
        let reply = self.post(&instance, &url.batch, headers, body, timeout).await;
        instance.note(sign_of(&reply));
        drop(instance);
        let took = begun.elapsed();
        if let Ok(reply) = &reply
            && must_go_one_by_one(reply)
        {
            // Each call by itself gets an answer of its own; what the batch did is met by the barrier.
            for order in orders {
                let inner = self.clone();
                tokio::spawn(async move { inner.send_single(order).await });
            }
            return;
        }
        let carried = Carried { status: status(&reply), calls: orders.len(), took };
        let answers = read_batch(&orders, reply, took);
        for (order, answer) in orders.into_iter().zip(answers) {
            self.report(order, answer, carried).await;
        }
    }

    async fn report(&self, order: Order, answer: Answer, carried: Carried) {
        self.tracer.attempt(&order, &answer, carried);
        let metrics = self.metrics.call(&order.call.operation.participant, &order.call.operation.name);
        metrics.seconds.record(carried.took);
        if order.call.key.question == Question::Call {
            metrics.attempt(order.call.key.op, order.call.key.attempt);
        }
        match &answer {
            Answer::Done(_) => metrics.done.increment(1),
            Answer::Pending { .. } | Answer::NotSeen => metrics.pending.increment(1),
            Answer::Refused(_) => metrics.refused.increment(1),
            Answer::Contract(_) => metrics.contract.increment(1),
            Answer::Unknown { .. } => metrics.unknown.increment(1),
        }
        let command = Command::Answer { saga: order.saga, key: order.call.key, answer };
        // Fails only when the loop has ended; then the next owner sends the call again.
        let _ = self.answers.send(command).await;
    }
}

impl From<Nowhere> for TransportError {
    fn from(nowhere: Nowhere) -> TransportError {
        match nowhere {
            Nowhere::NotRegistered => TransportError::NotRegistered,
            Nowhere::NotOffered => TransportError::NotOffered,
        }
    }
}

/// What an exchange tells of the instance. That it has much to do (429) tells nothing of its health.
fn sign_of(reply: &Result<Reply, TransportError>) -> Sign {
    match reply {
        Err(TransportError::Refused(_) | TransportError::Broken(_)) => Sign::Broken,
        Err(_) => Sign::Missed,
        Ok(reply) if reply.status.is_server_error() || matches!(reply.body, Err(BodyError::Cut(_))) => {
            Sign::Missed
        }
        Ok(_) => Sign::Answered,
    }
}

fn status(reply: &Result<Reply, TransportError>) -> Option<u16> {
    reply.as_ref().ok().map(|reply| reply.status.as_u16())
}

fn read(order: &Order, reply: Result<Reply, TransportError>, took: Duration) -> Answer {
    let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let asked = match order.call.key.question {
        Question::Call => Asked::Call,
        Question::Status => Asked::Status,
    };
    match reply {
        Ok(reply) => {
            let body = read_body(reply.body);
            answer::read(order.call.key.op, asked, reply.status.as_u16(), reply.retry_after, body, latency_ms)
        }
        Err(error) => unknown(error.to_string(), latency_ms),
    }
}

fn unknown(message: String, latency_ms: u64) -> Answer {
    Answer::Unknown { report: Report::new(None, message, latency_ms), retry_after: None }
}

fn read_body(body: Result<Bytes, BodyError>) -> Body {
    match body {
        Err(what) => Body::Bad(what.to_string()),
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Body::Empty,
        Ok(bytes) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(value) => Body::Json(Arc::new(value)),
            Err(error) => {
                let sample: String = String::from_utf8_lossy(&bytes).chars().take(80).collect();
                Body::Bad(format!("the body is not JSON ({error}): {}", sample.escape_debug()))
            }
        },
    }
}

/// Whether a batch as such was not taken, or its answer is too long to be read, however often it is sent.
fn must_go_one_by_one(reply: &Reply) -> bool {
    match reply.status.as_u16() {
        408 | 425 | 429 => false,
        300..=499 | 501 => true,
        _ => reply.status.is_success() && reply.body == Err(BodyError::TooLong),
    }
}

fn read_batch(orders: &[Order], reply: Result<Reply, TransportError>, took: Duration) -> Vec<Answer> {
    let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let all = |message: String| orders.iter().map(|_| unknown(message.clone(), latency_ms)).collect();
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return all(error.to_string()),
    };
    if !reply.status.is_success() {
        let retry_after = reply.retry_after;
        let message = format!("the batch was answered with status {}", reply.status.as_u16());
        let report = Report::new(Some(reply.status.as_u16()), message, latency_ms);
        return orders.iter().map(|_| Answer::Unknown { report: report.clone(), retry_after }).collect();
    }
    let parsed = reply.body.map_err(|what| what.to_string()).and_then(|bytes| {
        serde_json::from_slice::<wire::BatchResults>(&bytes).map_err(|e| format!("the batch's answer: {e}"))
    });
    match parsed {
        Err(message) => all(message),
        Ok(results) if results.results.len() != orders.len() => {
            all(format!("{} results for {} calls", results.results.len(), orders.len()))
        }
        Ok(results) => orders
            .iter()
            .zip(results.results)
            .map(|(order, result)| {
                let body = match result.body {
                    serde_json::Value::Null => Body::Empty,
                    value => Body::Json(Arc::new(value)),
                };
                let retry_after = result.retry_after.map(|secs| Millis(secs.saturating_mul(1000)));
                answer::read(order.call.key.op, Asked::Call, result.status, retry_after, body, latency_ms)
            })
            .collect(),
    }
}

fn batch_body(orders: &[Order], tracer: &Tracer, callbacks: &Callbacks) -> Bytes {
    let calls = orders.iter().map(|order| wire::BatchCall {
        saga: order.saga,
        step: order.call.step.to_string(),
        op: call_op(order),
        attempt: order.call.key.attempt,
        round: order.call.round,
        epoch: order.epoch,
        key: idempotency_key(order),
        status_of: None,
        token: Some(callbacks.token(order)),
        callback: Some(callbacks.address(order)),
        traceparent: tracer.parent_in_batch(order),
        body: order.call.body.as_ref().clone(),
    });
    let batch = wire::Batch { calls: calls.collect() };
    Bytes::from(serde_json::to_vec(&batch).expect("a batch is plain JSON"))
}

fn call_op(order: &Order) -> CallOp {
    match (order.call.key.question, order.call.key.op) {
        (Question::Status, _) => CallOp::Status,
        (Question::Call, Op::Action) => CallOp::Action,
        (Question::Call, Op::Confirm) => CallOp::Confirm,
        (Question::Call, Op::Compensation) => CallOp::Compensation,
    }
}

/// The same for every attempt of one op.
fn idempotency_key(order: &Order) -> String {
    let (saga, op) = (order.saga.as_hyphenated(), order.call.key.op.as_str());
    match order.call.round {
        0 => format!("{saga}/{}/{op}", order.call.step),
        round => format!("{saga}/{}/{op}:r{round}", order.call.step),
    }
}

impl Callbacks {
    /// Whether a token is that of this call.
    pub(crate) fn is_token(&self, token: &str, saga: SagaId, step: &str, op: Op, round: u32) -> bool {
        self.tokens.fits(token, saga, step, op.as_str(), round)
    }

    fn token(&self, order: &Order) -> String {
        let call = &order.call;
        self.tokens.token(order.saga, &call.step, call.key.op.as_str(), call.round)
    }

    /// Where the call is answered. Of a step's name only the brackets of an item need to be encoded.
    fn address(&self, order: &Order) -> String {
        let step = order.call.step.replace('[', "%5B").replace(']', "%5D");
        format!("{}/v1/sagas/{}/steps/{step}/answer", self.public_url, order.saga.as_hyphenated())
    }
}

fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

fn headers(
    order: &Order,
    instance: &crate::registry::Instance,
    body: &[u8],
    parent: TraceParent,
    callbacks: &Callbacks,
) -> HeaderMap {
    let mut headers = json_headers();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    let key = order.call.key;
    put(wire::SAGA_ID, &order.saga.as_hyphenated().to_string());
    put(wire::SAGA_STEP, &order.call.step);
    put(wire::SAGA_OP, call_op(order).as_str());
    put(wire::SAGA_ATTEMPT, &key.attempt.to_string());
    put(wire::SAGA_EPOCH, &order.epoch.to_string());
    put(wire::IDEMPOTENCY_KEY, &idempotency_key(order));
    put(wire::TRACEPARENT, &parent.to_string());
    put(wire::SAGA_TOKEN, &callbacks.token(order));
    put(wire::SAGA_CALLBACK, &callbacks.address(order));
    if order.call.round > 0 {
        put(wire::SAGA_ROUND, &order.call.round.to_string());
    }
    if key.question == Question::Status {
        put(wire::SAGA_STATUS_OF, key.op.as_str());
    }
    sign(&mut headers, instance, body, order);
    headers
}

fn sign(headers: &mut HeaderMap, instance: &crate::registry::Instance, body: &[u8], order: &Order) {
    if instance.secret.is_some() {
        let id = format!("{}-{}", idempotency_key(order), order.call.key.attempt);
        sign_as(headers, instance, body, &id);
    }
}

fn sign_as(headers: &mut HeaderMap, instance: &crate::registry::Instance, body: &[u8], id: &str) {
    let Some(secret) = &instance.secret else { return };
    let now = crate::clock::now().0 / 1000;
    for (name, value) in wire::sign(secret, id, now, body) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
