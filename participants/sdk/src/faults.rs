//! Faults on demand: a participant that fails, dawdles or loses its answers, as tests and the demo need it.
//!
//! [`Faults`] wraps a participant's whole router, so that every operation misbehaves in the same way: a call
//! *fails* before it reaches the operation (nothing was done), is *delayed*, or takes effect and then loses its
//! *answer* (the caller cannot know). A batch is treated call by call: its failing calls are answered here, the
//! others go on together. A handle is reachable from code only; there is no address that arms one. With nothing
//! armed a call costs one atomic load.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// The longest batch that is taken apart, in bytes; a longer one passes untouched to be refused for its size.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Which calls of an operation a fault is meant for. Questions for a status are never hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// Actions, compensations and confirmations alike.
    Every,
    /// Calls with `Saga-Op: action`.
    Actions,
    /// Calls with `Saga-Op: compensation`.
    Compensations,
}

/// A handle on the faults of one participant; clones arm the same faults.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    armed: AtomicBool,
    rules: Mutex<Vec<Rule>>,
}

#[derive(Debug, Clone)]
struct Rule {
    operation: String,
    on: On,
    effect: Effect,
    /// How many more calls it hits; `None` is for ever.
    left: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Fail { status: u16 },
    Delay { time: Duration },
    Lose { probability: f64, seed: u64 },
    FailSome { probability: f64, seed: u64 },
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Fate {
    delay: Duration,
    fail: Option<u16>,
    lose: bool,
}

/// What a rule looks at.
struct Call<'a> {
    operation: &'a str,
    op: &'a str,
    key: &'a str,
    attempt: u64,
}

impl Faults {
    /// Creates a handle with nothing armed.
    pub fn new() -> Faults {
        Faults::default()
    }

    /// Answers the next `times` calls of `operation` with `status` without performing them.
    ///
    /// With 503 the caller takes them as unknown and retries; with 409 a compensation goes to repair at once. A
    /// status outside 100..=999 is sent as 503.
    pub fn fail_next(&self, operation: &str, on: On, times: u32, status: u16) {
        self.arm(operation, on, Effect::Fail { status }, Some(times));
    }

    /// Answers the next `times` compensations of `operation` with 503 without performing them.
    pub fn fail_next_compensations(&self, operation: &str, times: u32) {
        self.fail_next(operation, On::Compensations, times, 503);
    }

    /// Waits for `time` before every call of `operation` until [`Faults::clear`]; of a batch, once for all.
    pub fn delay(&self, operation: &str, on: On, time: Duration) {
        self.arm(operation, on, Effect::Delay { time }, None);
    }

    /// Performs calls of `operation` but loses the answers of a share of them, until [`Faults::clear`].
    ///
    /// `probability` lies in 0..=1. Which answers are lost follows from `seed`, the call's key and its attempt, so
    /// that a run can be repeated whatever the order of arrival. A single call's connection is torn in the middle
    /// of the answer; in a batch the call's result becomes 503.
    pub fn lose_answers(&self, operation: &str, on: On, probability: f64, seed: u64) {
        self.arm(operation, on, Effect::Lose { probability, seed }, None);
    }

    /// Answers a share of the calls of `operation` with 503 without performing them, until [`Faults::clear`].
    ///
    /// `probability` lies in 0..=1; which calls fail follows from `seed` as it does in [`Faults::lose_answers`], so
    /// that another attempt of a call may get through.
    pub fn fail_some(&self, operation: &str, on: On, probability: f64, seed: u64) {
        self.arm(operation, on, Effect::FailSome { probability, seed }, None);
    }

    /// Forgets all faults; calls already waiting go on waiting.
    pub fn clear(&self) {
        self.rules().clear();
        self.shared.armed.store(false, Ordering::Release);
    }

    /// Whether any fault is armed and not used up.
    pub fn armed(&self) -> bool {
        self.shared.armed.load(Ordering::Acquire)
    }

    /// Puts the faults in front of everything that `router` serves.
    pub fn wrap(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), intercept))
    }

    fn arm(&self, operation: &str, on: On, effect: Effect, left: Option<u32>) {
        if left == Some(0) {
            return;
        }
        let mut rules = self.rules();
        rules.push(Rule { operation: operation.to_owned(), on, effect, left });
        self.shared.armed.store(true, Ordering::Release);
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what happens to a call, and uses up the rules that hit it.
    fn fate(&self, call: &Call<'_>) -> Fate {
        let mut fate = Fate::default();
        let mut rules = self.rules();
        for rule in rules.iter_mut().filter(|rule| rule.hits(call)) {
            let used = match rule.effect {
                Effect::Delay { time } => {
                    fate.delay = fate.delay.max(time);
                    true
                }
                // A call fails once: the next rule keeps its count for the next call.
                Effect::Fail { status } => fate.fail.is_none().then(|| fate.fail = Some(status)).is_some(),
                Effect::FailSome { probability, seed } => {
                    let fails = draw(seed, call) < probability;
                    fails && fate.fail.is_none().then(|| fate.fail = Some(503)).is_some()
                }
                Effect::Lose { probability, seed } => {
                    fate.lose |= draw(seed, call) < probability;
                    true
                }
            };
            if used {
                rule.left = rule.left.map(|left| left.saturating_sub(1));
            }
        }
        rules.retain(|rule| rule.left != Some(0));
        self.shared.armed.store(!rules.is_empty(), Ordering::Release);
        fate
    }
}

impl Rule {
    fn hits(&self, call: &Call<'_>) -> bool {
        self.operation == call.operation
            && match self.on {
                On::Every => call.op != "status",
                On::Actions => call.op == "action",
                On::Compensations => call.op == "compensation",
            }
    }
}

/// Draws a number in 0..1 that depends on the seed and the call alone.
fn draw(seed: u64, call: &Call<'_>) -> f64 {
    // Unkeyed SipHash: the same for every process built with the same compiler, which is what a repeatable run needs.
    let mut hasher = DefaultHasher::new();
    (seed, call.operation, call.op, call.key, call.attempt).hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

async fn intercept(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    if !faults.armed() || request.method() != Method::POST {
        return next.run(request).await;
    }
    let path = request.uri().path().to_owned();
    match path.strip_suffix("/batch") {
        Some(operation) => batch(&faults, last_segment(operation), request, next).await,
        None => single(&faults, last_segment(&path), request, next).await,
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

async fn single(faults: &Faults, operation: &str, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let call = Call {
        operation,
        op: text(headers, "saga-op").unwrap_or("action"),
        key: text(headers, "idempotency-key").unwrap_or_default(),
        attempt: text(headers, "saga-attempt").and_then(|attempt| attempt.parse().ok()).unwrap_or(0),
    };
    let fate = faults.fate(&call);
    pause(fate.delay).await;
    if let Some(status) = fate.fail {
        return failure(status);
    }
    let response = next.run(request).await;
    if fate.lose { torn() } else { response }
}

/// Answers the failing calls of a batch here and sends the others on together.
async fn batch(faults: &Faults, operation: &str, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, BATCH_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Some(calls) = calls_of(&bytes) else {
        return next.run(Request::from_parts(parts, Body::from(bytes))).await;
    };
    let fates: Vec<Fate> = calls.iter().map(|call| faults.fate(&batch_call(operation, call))).collect();
    pause(fates.iter().map(|fate| fate.delay).max().unwrap_or_default()).await;
    let kept: Vec<&Value> =
        calls.iter().zip(&fates).filter(|(_, fate)| fate.fail.is_none()).map(|(call, _)| call).collect();
    let answers = if kept.is_empty() {
        Vec::new()
    } else {
        let body = json!({ "calls": kept }).to_string();
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        match results_of(next.run(Request::from_parts(parts, Body::from(body))).await, kept.len()).await {
            Ok(answers) => answers,
            Err(response) => return *response,
        }
    };
    let mut answers = answers.into_iter();
    let results: Vec<Value> = fates.iter().map(|fate| result(*fate, &mut answers)).collect();
    axum::Json(json!({ "results": results })).into_response()
}

fn calls_of(bytes: &[u8]) -> Option<Vec<Value>> {
    match serde_json::from_slice::<Value>(bytes).ok()?.get_mut("calls")?.take() {
        Value::Array(calls) => Some(calls),
        _ => None,
    }
}

fn batch_call<'a>(operation: &'a str, call: &'a Value) -> Call<'a> {
    let text = |name: &str| call.get(name).and_then(Value::as_str);
    Call {
        operation,
        op: text("op").unwrap_or("action"),
        key: text("key").unwrap_or_default(),
        attempt: call.get("attempt").and_then(Value::as_u64).unwrap_or(0),
    }
}

/// Reads the results of a batch, or gives back a response that does not hold as many as expected.
async fn results_of(response: Response, expected: usize) -> Result<Vec<Value>, Box<Response>> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let results = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|mut body| body.get_mut("results").map(Value::take));
    match results {
        Some(Value::Array(results)) if parts.status.is_success() && results.len() == expected => Ok(results),
        _ => Err(Box::new(Response::from_parts(parts, Body::from(bytes)))),
    }
}

fn result(fate: Fate, answers: &mut impl Iterator<Item = Value>) -> Value {
    if let Some(status) = fate.fail {
        return json!({ "status": status, "body": problem(status) });
    }
    let answer = answers.next().unwrap_or(Value::Null);
    if fate.lose { json!({ "status": 503, "body": problem(503) }) } else { answer }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn problem(status: u16) -> Value {
    json!({ "type": "about:blank", "title": "injected fault", "status": status, "detail": "this call was made to fail" })
}

fn failure(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let content = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content, problem(status.as_u16()).to_string()).into_response()
}

/// An answer that breaks off before its first byte: the server tears the connection, the caller learns nothing.
fn torn() -> Response {
    Response::new(Body::new(Torn))
}

struct Torn;

impl hyper::body::Body for Torn {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::new(
            std::io::ErrorKind::ConnectionAborted,
            "injected fault: the answer is lost",
        ))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1)
    }
}
