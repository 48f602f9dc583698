//! The network of a rehearsal: it stands where the coordinator's calls leave for the participants, and loses, delays,
//! doubles and spoils them as the plan says.
//!
//! A call that has set out goes on by itself: neither a coordinator that stops waiting nor one that dies calls it
//! back, so a late call arrives late, as it does in the world.

use super::{
    book::{Book, Effect, Injected, What},
    parts::{base, path, within},
    plan::{End, Fate, Fault, Plan, Site},
    stubs::{StubCall, read},
};
use amends_saga::{Event, Millis, SagaId};
use amends_server::{Reply, Transport, TransportError};
use amends_store::Store;
use amends_wire::participant::CallOp;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// What every saga's key begins with; the number of the saga follows.
pub(super) const KEY: &str = "rehearsal-";

/// The network. Clones are the same network.
#[derive(Clone)]
pub(super) struct Network {
    inner: Arc<Inner>,
}

/// What a network is made of.
pub(super) struct Terms {
    pub(super) plan: Plan,
    pub(super) seed: u64,
    /// Where participants that are there answer, or the stubs.
    pub(super) beyond: Arc<dyn Transport>,
    /// The steps, by path, of which the stubs note every effect; of others it is seen in the answers only.
    pub(super) exact: BTreeSet<String>,
    /// The participant of each step's action and compensation, by the step's path.
    pub(super) participants: BTreeMap<(String, CallOp), String>,
    pub(super) store: Arc<dyn Store>,
    pub(super) book: Arc<Book>,
}

struct Inner {
    terms: Terms,
    origins: Mutex<BTreeMap<SagaId, Origin>>,
    asked: Mutex<BTreeMap<(SagaId, String, u32), u32>>,
    began: Instant,
    /// Where calls under way live: not in the coordinator's runtime, which may be killed.
    runtime: tokio::runtime::Handle,
    under_way: TaskTracker,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("plan", &self.inner.terms.plan).finish_non_exhaustive()
    }
}

impl Network {
    /// Makes a network before participants; the time of its faults begins now.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn new(terms: Terms) -> Network {
        let inner = Inner {
            terms,
            origins: Mutex::default(),
            asked: Mutex::default(),
            began: Instant::now(),
            runtime: tokio::runtime::Handle::current(),
            under_way: TaskTracker::new(),
        };
        Network { inner: Arc::new(inner) }
    }

    /// Waits until every call under way has arrived.
    pub(super) async fn settle(&self) {
        self.inner.under_way.close();
        self.inner.under_way.wait().await;
    }
}

#[async_trait]
impl Transport for Network {
    async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, TransportError> {
        let (answer, answered) = oneshot::channel();
        let (inner, url) = (self.inner.clone(), url.clone());
        let carried = async move {
            // Nobody may wait any more; the call has arrived all the same.
            let _ = answer.send(Inner::carry(&inner, url, headers, body).await);
        };
        self.inner.under_way.spawn_on(carried, &self.inner.runtime);
        answered.await.unwrap_or_else(|_| Err(broken("the rehearsal is over")))
    }
}

/// Which of the rehearsal's sagas a saga belongs to, and at which place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    number: u64,
    /// The path of the saga; empty unless it is a child.
    path: String,
}

/// One request, as it can be sent several times.
#[derive(Clone)]
struct Request {
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    call: StubCall,
    /// The number of its saga, or of the one that this is run for.
    saga: u64,
    /// The path of its step.
    path: String,
}

impl Inner {
    async fn carry(
        inner: &Arc<Inner>,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, TransportError> {
        let Some(call) = read(&url, &headers, &body) else { return Err(broken("this is no single call")) };
        let origin = inner.origin(call.saga).await;
        let path = path(&origin.path, &call.step);
        let request = Request { url, headers, body, call, saga: origin.number, path };
        inner.terms.book.sent(request.call.op);
        let fate = inner.fate(&request);
        if !fate.delay.is_zero() {
            inner.inject(&request, Fault::Delay);
            tokio::time::sleep(fate.delay).await;
        }
        if let Some(late) = fate.copy {
            inner.inject(&request, Fault::Duplicate);
            let (copying, copied) = (inner.clone(), request.clone());
            let copy = async move {
                tokio::time::sleep(late).await;
                let _ = copying.arrive(&copied).await;
            };
            inner.under_way.spawn_on(copy, &inner.runtime);
        }
        match fate.end {
            End::Answered => inner.arrive(&request).await,
            End::Twice => {
                inner.inject(&request, Fault::Duplicate);
                let _ = inner.arrive(&request).await;
                inner.arrive(&request).await
            }
            End::Spoilt(fault) => {
                inner.inject(&request, fault);
                let reply = inner.arrive(&request).await;
                spoilt(fault, reply)
            }
            End::Intercepted(fault) => {
                inner.inject(&request, fault);
                intercepted(fault, inner.retry_after())
            }
        }
    }

    fn fate(&self, request: &Request) -> Fate {
        let call = &request.call;
        let op = if call.op == CallOp::Compensation { CallOp::Compensation } else { CallOp::Action };
        let participant = self.terms.participants.get(&(base(&request.path), op));
        let site = Site {
            saga: request.saga,
            participant: participant.map_or("", String::as_str),
            step: &request.path,
            op: call.op,
            attempt: call.attempt,
            asked: self.asked(call),
            at: self.began.elapsed(),
        };
        self.terms.plan.fate(self.terms.seed, &site)
    }

    /// Sends a call on, and notes what its answer shows.
    async fn arrive(&self, request: &Request) -> Result<Reply, TransportError> {
        let call = &request.call;
        let began = self.terms.book.next();
        let beyond = &self.terms.beyond;
        let reply = beyond.post(&request.url, request.headers.clone(), request.body.clone()).await;
        match call.op {
            CallOp::Action | CallOp::Compensation => self.note(request, &reply, began),
            CallOp::Confirm | CallOp::Status => {}
        }
        reply
    }

    fn note(&self, request: &Request, reply: &Result<Reply, TransportError>, began: u64) {
        let (book, call) = (&self.terms.book, &request.call);
        let (status, body) = match reply {
            Ok(Reply { status, body: Ok(body), .. }) if is_done(call.op, *status) => (status, body),
            Ok(Reply { status, .. }) if is_definite_no(*status) => return,
            _ if call.op == CallOp::Action => return book.doubt(call.saga, &call.step),
            _ => return,
        };
        let is_first = book.done(call.saga, &call.step, call.op, status.as_u16(), body);
        if is_first && !self.terms.exact.contains(&base(&request.path)) {
            let what = if call.op == CallOp::Action { What::Applied } else { What::Undone };
            let ended = book.next();
            book.effect(Effect { saga: call.saga, step: call.step.clone(), what, began, ended });
        }
    }

    fn inject(&self, request: &Request, fault: Fault) {
        let call = &request.call;
        let (saga, step, op, attempt) = (request.saga, request.path.clone(), call.op, call.attempt);
        self.terms.book.inject(Injected { saga, step, op, attempt, fault });
    }

    fn retry_after(&self) -> Millis {
        let time = self.terms.plan.mix().map_or(Duration::ZERO, |mix| mix.overload.time);
        Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Where a saga belongs. Nothing is sent before its cause is durable, so the store knows; a child says for which
    /// step of which saga it is run.
    async fn origin(&self, id: SagaId) -> Origin {
        let known = self.origins().get(&id).cloned();
        if let Some(origin) = known {
            return origin;
        }
        let (mut above, mut at, mut steps) = (id, None, Vec::new());
        while let Some(stored) = self.terms.store.load(above).await.ok().flatten() {
            match stored.records.first().map(|record| &record.event) {
                Some(Event::Started { parent: Some(parent), .. }) => {
                    steps.push(parent.step.clone());
                    above = parent.saga;
                }
                _ => {
                    at = stored.head.key;
                    break;
                }
            }
        }
        let number = at.as_deref().and_then(|key| key.strip_prefix(KEY)?.parse().ok()).unwrap_or(u64::MAX);
        let path = steps.iter().rev().fold(String::new(), |path, step| within(&path, step));
        let origin = Origin { number, path };
        self.origins().insert(id, origin.clone());
        origin
    }

    fn origins(&self) -> MutexGuard<'_, BTreeMap<SagaId, Origin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the status of this attempt was asked before.
    fn asked(&self, call: &StubCall) -> u32 {
        if call.op != CallOp::Status {
            return 0;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let count = asked.entry((call.saga, call.step.clone(), call.attempt)).or_default();
        *count += 1;
        *count - 1
    }
}

/// Whether an answer says that the call has taken effect.
fn is_done(op: CallOp, status: StatusCode) -> bool {
    let gone = op == CallOp::Compensation && status == StatusCode::GONE;
    gone || (status.is_success() && status != StatusCode::ACCEPTED)
}

/// Whether an answer says that nothing was done.
fn is_definite_no(status: StatusCode) -> bool {
    (300..500).contains(&status.as_u16()) && !matches!(status.as_u16(), 408 | 425 | 429)
}

/// What the coordinator gets in place of a participant's answer.
fn spoilt(fault: Fault, reply: Result<Reply, TransportError>) -> Result<Reply, TransportError> {
    match fault {
        Fault::Garbage => Ok(Reply {
            status: StatusCode::OK,
            retry_after: None,
            body: Ok(Bytes::from_static(b"<html>injected: the answer is not JSON</html>")),
        }),
        Fault::DropAfter => Err(broken("injected: the answer was lost")),
        _ => reply,
    }
}

/// What the coordinator gets for a call that never arrives.
fn intercepted(fault: Fault, wait: Millis) -> Result<Reply, TransportError> {
    let (status, retry_after) = match fault {
        Fault::Refuse | Fault::UndoRefused => (StatusCode::CONFLICT, None),
        Fault::Overload503 => (StatusCode::SERVICE_UNAVAILABLE, Some(wait)),
        Fault::Overload429 => (StatusCode::TOO_MANY_REQUESTS, Some(wait)),
        Fault::UndoFails | Fault::UndoFailsForever => (StatusCode::SERVICE_UNAVAILABLE, None),
        Fault::Down => return Err(broken("injected: the participant is out of reach")),
        Fault::DropBefore | Fault::DropAfter | Fault::Delay | Fault::Duplicate | Fault::Garbage => {
            return Err(broken("injected: the request was lost"));
        }
    };
    let body = serde_json::json!({ "message": format!("injected: {}", fault.as_str()) });
    Ok(Reply { status, retry_after, body: Ok(Bytes::from(body.to_string())) })
}

fn broken(what: &str) -> TransportError {
    TransportError::Broken(what.to_owned())
}
