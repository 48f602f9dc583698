//! Serving a participant's operations: reads calls strictly, carries them out, answers in their order.

use super::{Participant, Serves, auditing, joining};
use crate::{
    Call, Caller, Reply, Sagas, Tracer, Writer,
    metrics::{Calls, Exported},
    saga_audit::SagaAudit,
    trace::{self, Begun},
    writer::{ANSWER_TIMEOUT, awaited},
};
use amends_wire::{
    participant::{
        self as wire, Batch, BatchCall, BatchResults, CallOp, Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE,
        WEBHOOK_TIMESTAMP,
    },
    problem::{Problem, Slug},
    registration::OperationTerms,
};
use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use std::{
    any::Any,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tower_http::catch_panic::CatchPanicLayer;

/// The largest body of a single call, in bytes.
const CALL_BYTES_MAX: usize = 1 << 20;
/// The largest body of a batch, in bytes.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct App {
    pub(super) name: Arc<str>,
    operations: Arc<BTreeMap<String, Offered>>,
    secrets: Arc<Vec<Secret>>,
    pub(super) audit: Option<Arc<dyn SagaAudit>>,
    tracer: Option<Tracer>,
    pub(super) joins: Option<Sagas>,
}

/// An operation as it is served.
struct Offered {
    terms: OperationTerms,
    serves: Serves,
    calls: Arc<Calls>,
}

/// What became of a call: what it was to its step, and its answer.
type Answered = Result<(CallOp, Reply), Problem>;

/// The router of a participant.
pub(super) fn router(participant: &Participant) -> Router {
    let offered = |(terms, serves): &(OperationTerms, Serves)| Offered {
        terms: terms.clone(),
        serves: serves.clone(),
        calls: Arc::default(),
    };
    let operations: BTreeMap<String, Offered> =
        participant.operations.iter().map(|(name, one)| (name.clone(), offered(one))).collect();
    let exported = exported(participant, &operations);
    let app = App {
        name: participant.name.as_str().into(),
        joins: participant.joins.clone(),
        operations: Arc::new(operations),
        secrets: Arc::new(participant.secrets.clone()),
        audit: participant.audit.clone(),
        tracer: participant.tracer.clone(),
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(amends_wire::audit::PATH, get(auditing::page))
        .route("/{operation}", post(single))
        .route("/{operation}/batch", post(batch))
        .with_state(app)
        .merge(exported.router())
        .merge(participant.extra.clone())
        .fallback(|| async { refuse(Slug::NotFound, "no operation has this address") })
        .method_not_allowed_fallback(|| async {
            refuse(Slug::MethodNotAllowed, "an operation is called with POST")
        });
    let router = match &participant.faults {
        Some(faults) => faults.wrap(router),
        None => router,
    };
    router.layer(CatchPanicLayer::custom(panicked))
}

/// What there is to tell of a participant, its own figures among it.
fn exported(participant: &Participant, operations: &BTreeMap<String, Offered>) -> Exported {
    let mut writers: Vec<Writer> = Vec::new();
    for offered in operations.values() {
        if let Serves::Guarded(_, writer) = &offered.serves
            && !writers.iter().any(|known| known.is(writer))
        {
            writers.push(writer.clone());
        }
    }
    let audits = participant.laws.is_some() && participant.audit_every.is_some();
    Exported {
        participant: participant.name.as_str().into(),
        calls: operations.iter().map(|(name, offered)| (name.clone(), Arc::clone(&offered.calls))).collect(),
        writers,
        auditing: audits.then(|| Arc::clone(&participant.auditing)),
        own: participant.figures.clone(),
    }
}

async fn single(
    State(app): State<App>,
    operation: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match app.single(operation, request).await {
        Ok(reply) => reply.into_response(),
        Err(problem) => Reply::problem(&problem).into_response(),
    }
}

async fn batch(
    State(app): State<App>,
    operation: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    match app.batch(operation, request).await {
        Ok(results) => (StatusCode::OK, axum::Json(results)).into_response(),
        Err(problem) => Reply::problem(&problem).into_response(),
    }
}

fn refuse(slug: Slug, detail: &str) -> Response {
    Reply::problem(&Problem::new(slug, detail)).into_response()
}

/// 500 is unknown to the caller, who tries again; where the panic struck is in the log.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    refuse(Slug::Internal, "the operation panicked; its log says where")
}

impl App {
    async fn single(
        &self,
        operation: Result<Path<String>, PathRejection>,
        request: Request,
    ) -> Result<Reply, Problem> {
        let (operation, offered) = self.find(operation)?;
        let began = Instant::now();
        let answered = self.answer(operation, offered, request).await;
        match &answered {
            Ok((op, reply)) => offered.calls.answered(Some(*op), reply.status),
            Err(problem) => offered.calls.answered(None, problem.status()),
        }
        offered.calls.took(began.elapsed(), 1);
        answered.map(|(_, reply)| reply)
    }

    async fn answer(&self, operation: String, offered: &Offered, request: Request) -> Answered {
        let Offered { terms, serves, .. } = offered;
        let (parts, body) = request.into_parts();
        let bytes = read(body, CALL_BYTES_MAX).await?;
        self.check_signature(&parts.headers, &bytes)?;
        let body = || match bytes.iter().all(u8::is_ascii_whitespace) {
            true => Ok(Value::Null),
            false => amends_wire::api::body::read(&bytes),
        };
        if joining::is_asked(&parts.headers) {
            let reply = self.join((&operation, terms, serves), &parts.headers, body()?).await?;
            return Ok((CallOp::Action, reply));
        }
        let caller = Caller::from_headers(&parts.headers)?;
        check_status(terms, serves, &caller)?;
        let (op, body): (CallOp, Value) = (caller.op, body()?);
        let traced = self.begin(trace::parent(&parts.headers), &operation, &caller);
        let mut replies = carry_out(serves, vec![Call::new(caller, operation, body)]).await;
        let reply = replies.pop().expect("one call has one reply");
        if let Some(traced) = traced {
            traced.end(&reply, 1);
        }
        Ok((op, reply))
    }

    async fn batch(
        &self,
        operation: Result<Path<String>, PathRejection>,
        request: Request,
    ) -> Result<BatchResults, Problem> {
        let (operation, offered) = self.find(operation)?;
        let began = Instant::now();
        let answered = self.answer_all(operation, offered, request).await;
        match &answered {
            Ok(answered) => {
                offered.calls.took(began.elapsed(), answered.results.len());
                offered.calls.batch(answered.results.len());
            }
            Err(problem) => offered.calls.answered(None, problem.status()),
        }
        answered
    }

    async fn answer_all(
        &self,
        operation: String,
        offered: &Offered,
        request: Request,
    ) -> Result<BatchResults, Problem> {
        let Offered { terms, serves, calls: counted } = offered;
        let max = terms.batch.map(|batch| batch.max as usize).ok_or_else(|| {
            Problem::new(Slug::NotFound, format!("operation \"{operation}\" has no batch form"))
        })?;
        let (parts, body) = request.into_parts();
        let bytes = read(body, BATCH_BYTES_MAX).await?;
        self.check_signature(&parts.headers, &bytes)?;
        let batch: Batch = amends_wire::api::body::read(&bytes)?;
        if batch.calls.len() > max {
            let detail =
                format!("{} calls are more than the {max} that this batch form takes", batch.calls.len());
            return Err(Problem::new(Slug::BodyTooLarge, detail));
        }
        let mut replies: Vec<Option<Reply>> = vec![None; batch.calls.len()];
        let mut ops: Vec<Option<CallOp>> = vec![None; batch.calls.len()];
        let (mut calls, mut places, mut traced) = (Vec::new(), Vec::new(), Vec::new());
        for (place, mut one) in batch.calls.into_iter().enumerate() {
            let parent = one.traceparent.take();
            match entry(&operation, terms, serves, one) {
                Ok(call) => {
                    ops[place] = Some(call.caller.op);
                    let begun = self.begin(parent.as_deref(), &operation, &call.caller);
                    traced.extend(begun.map(|begun| (place, begun)));
                    calls.push(call);
                    places.push(place);
                }
                Err(problem) => replies[place] = Some(Reply::problem(&problem)),
            }
        }
        for (place, reply) in places.into_iter().zip(carry_out(serves, calls).await) {
            replies[place] = Some(reply);
        }
        let count = replies.len();
        for (place, begun) in traced {
            begun.end(replies[place].as_ref().expect("every call is answered"), count);
        }
        let replies = replies.into_iter().map(|reply| reply.expect("every call is answered"));
        let replies = replies.zip(ops).inspect(|(reply, op)| counted.answered(*op, reply.status));
        let results = replies.map(|(reply, _)| reply.into_result());
        Ok(BatchResults { results: results.collect() })
    }

    /// Begins the span of a call, where spans are sent and the caller records it.
    fn begin(&self, parent: Option<&str>, operation: &str, caller: &Caller) -> Option<Begun> {
        self.tracer.as_ref()?.begin(parent, operation, caller)
    }

    fn find(&self, operation: Result<Path<String>, PathRejection>) -> Result<(String, &Offered), Problem> {
        let Path(name) = operation.map_err(|error| Problem::new(Slug::NotFound, error.body_text()))?;
        match self.operations.get(&name) {
            Some(offered) => Ok((name, offered)),
            None => {
                let known: Vec<&str> = self.operations.keys().map(String::as_str).collect();
                let shown: String = name.chars().take(64).collect();
                let (shown, known) = (shown.escape_debug(), known.join(", "));
                Err(Problem::new(Slug::NotFound, format!("\"{shown}\" is not offered; there are {known}")))
            }
        }
    }

    pub(super) fn check_signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        let unauthorized = |why: &str| Problem::new(Slug::Unauthorized, why);
        let text = |name: &http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(at), Some(signature)) =
            (text(&WEBHOOK_ID), text(&WEBHOOK_TIMESTAMP), text(&WEBHOOK_SIGNATURE))
        else {
            let what =
                "calls are signed here: webhook-id, webhook-timestamp and webhook-signature are needed";
            return Err(unauthorized(what));
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        wire::verify(&self.secrets, id, at, signature, now, body).map_err(unauthorized)
    }
}

/// Reads an entry of a batch.
fn entry(operation: &str, terms: &OperationTerms, serves: &Serves, one: BatchCall) -> Result<Call, Problem> {
    let caller = Caller::from_batch(&one)?;
    check_status(terms, serves, &caller)?;
    Ok(Call::new(caller, operation, one.body))
}

fn check_status(terms: &OperationTerms, serves: &Serves, caller: &Caller) -> Result<(), Problem> {
    let can = terms.status || matches!(serves, Serves::Guarded(..));
    if caller.op == CallOp::Status && !can {
        return Err(Problem::new(Slug::NotSupported, "this operation answers no status questions"));
    }
    Ok(())
}

/// Carries out calls of one operation and answers in their order.
async fn carry_out(serves: &Serves, calls: Vec<Call>) -> Vec<Reply> {
    match serves {
        Serves::Plain(serve) => join_all(calls.into_iter().map(|call| serve(call))).await,
        Serves::Guarded(body, writer) => {
            let until = tokio::time::Instant::now() + ANSWER_TIMEOUT;
            let mut early: BTreeMap<usize, Reply> = body.early(&calls).await.into_iter().collect();
            let count = calls.len();
            let others = calls.into_iter().enumerate().filter(|(place, _)| !early.contains_key(place));
            let others: Vec<Call> = others.map(|(_, call)| call).collect();
            let mut queued = writer.calls(body, others).into_iter();
            let mut replies = Vec::with_capacity(count);
            for place in 0..count {
                match early.remove(&place) {
                    Some(reply) => replies.push(reply),
                    None => replies.push(awaited(queued.next().expect("it was queued"), until).await),
                }
            }
            replies
        }
    }
}

async fn read(body: HttpBody, limit: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Problem::new(Slug::RequestTimeout, "the body did not arrive within 10 s")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Problem::new(Slug::BodyTooLarge, format!("the body is longer than {limit} bytes")))
        }
        Ok(Err(error)) => Err(Problem::new(Slug::MalformedBody, format!("the body was cut short: {error}"))),
    }
}
