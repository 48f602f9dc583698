//! A participant as a value: its operations, the router that serves them, the registration that names them.

use crate::{Body, Call, Caller, Error, Reply, Writer, faults::Faults};
use amends_wire::{
    participant::{
        self as wire, Batch, BatchResults, CallOp, Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    },
    problem::{Problem, Slug},
    registration::{Batching, OperationTerms, Registration, RetryTerms},
    span::Span,
};
use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tower_http::catch_panic::CatchPanicLayer;

/// The largest body of a single call, in bytes.
const CALL_BYTES_MAX: usize = 1 << 20;
/// The largest body of a batch, in bytes.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a guarded call waits for the writer.
const WRITER_TIMEOUT: Duration = Duration::from_secs(30);

type Plain = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// One operation, before it is given something to do.
#[derive(Debug, Clone)]
pub struct Operation {
    name: String,
    terms: OperationTerms,
}

#[derive(Clone)]
enum Serves {
    Plain(Plain),
    Guarded(Arc<dyn Body>, Writer),
}

/// A participant: a name, operations, and what else its router serves.
#[derive(Clone)]
pub struct Participant {
    name: String,
    operations: BTreeMap<String, (OperationTerms, Serves)>,
    extra: Router,
    secrets: Vec<Secret>,
    faults: Option<Faults>,
}

impl std::fmt::Debug for Participant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Participant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Operation {
    /// An operation with nothing said of it.
    pub fn new(name: &str) -> Operation {
        Operation { name: name.to_owned(), terms: OperationTerms::default() }
    }

    /// Names the operation that undoes it.
    ///
    /// # Panics
    /// When that is not a name.
    #[must_use]
    pub fn compensation(mut self, name: &str) -> Operation {
        self.terms.compensation = Some(name.to_owned().try_into().expect("an operation's name"));
        self
    }

    /// Bounds one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Operation {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.terms.timeout = Some(Span(amends_wire::Millis(millis)));
        self
    }

    /// Says that it answers status questions; every guarded operation can.
    #[must_use]
    pub fn status(mut self) -> Operation {
        self.terms.status = true;
        self
    }

    /// Offers the batch form, for up to `max` calls.
    #[must_use]
    pub fn batch(mut self, max: u32) -> Operation {
        self.terms.batch = Some(Batching { max });
        self
    }

    /// Says how it is tried again.
    #[must_use]
    pub fn retry(mut self, retry: RetryTerms) -> Operation {
        self.terms.retry = Some(retry);
        self
    }
}

impl Participant {
    /// A participant that offers nothing yet.
    pub fn new(name: &str) -> Participant {
        Participant {
            name: name.to_owned(),
            operations: BTreeMap::new(),
            extra: Router::new(),
            secrets: Vec::new(),
            faults: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Offers an operation that changes nothing, or keeps itself from being done twice.
    #[must_use]
    pub fn plain<F, R>(mut self, operation: Operation, serve: F) -> Participant
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let mut terms = operation.terms;
        terms.barrier = false;
        let serve: Plain = Arc::new(move |call| Box::pin(serve(call)));
        self.operations.insert(operation.name, (terms, Serves::Plain(serve)));
        self
    }

    /// Offers an operation that runs behind the barrier, in the writer's transaction.
    ///
    /// Operations that share one `body` share a call of it: their calls are handed over together.
    #[must_use]
    pub fn guarded(mut self, operation: Operation, writer: &Writer, body: Arc<dyn Body>) -> Participant {
        let serves = Serves::Guarded(body, writer.clone());
        self.operations.insert(operation.name, (operation.terms, serves));
        self
    }

    /// Serves further routes beside the operations.
    #[must_use]
    pub fn routes(mut self, router: Router) -> Participant {
        self.extra = self.extra.merge(router);
        self
    }

    /// Requires that calls are signed with one of these secrets; the first is registered.
    #[must_use]
    pub fn secrets(mut self, secrets: Vec<Secret>) -> Participant {
        self.secrets = secrets;
        self
    }

    /// Makes it misbehave as the handle says.
    #[must_use]
    pub fn faults(mut self, faults: &Faults) -> Participant {
        self.faults = Some(faults.clone());
        self
    }

    /// What to send to the coordinator, with where this instance is.
    ///
    /// # Panics
    /// When an operation's name is not a name.
    pub fn registration(&self, url: &str) -> Registration {
        let name = |name: &String| name.clone().try_into().expect("an operation's name");
        Registration {
            instances: vec![url.to_owned()],
            operations: self.operations.iter().map(|(n, (terms, _))| (name(n), terms.clone())).collect(),
            secret: self.secrets.first().map(Secret::expose),
            health: None,
            ttl: None,
        }
    }

    /// The router: `POST /{operation}`, `POST /{operation}/batch`, `GET /healthz`, and the further routes.
    pub fn router(&self) -> Router {
        let app =
            App { operations: Arc::new(self.operations.clone()), secrets: Arc::new(self.secrets.clone()) };
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/{operation}", post(single))
            .route("/{operation}/batch", post(batch))
            .with_state(app)
            .merge(self.extra.clone())
            .fallback(|| async { refuse(Slug::NotFound, "no operation has this address") });
        let router = match &self.faults {
            Some(faults) => faults.wrap(router),
            None => router,
        };
        router.layer(CatchPanicLayer::new())
    }
}

#[derive(Clone)]
struct App {
    operations: Arc<BTreeMap<String, (OperationTerms, Serves)>>,
    secrets: Arc<Vec<Secret>>,
}

async fn single(State(app): State<App>, Path(operation): Path<String>, request: Request) -> Response {
    match app.single(operation, request).await {
        Ok(reply) => reply.into_response(),
        Err(problem) => Reply::problem(&problem).into_response(),
    }
}

async fn batch(State(app): State<App>, Path(operation): Path<String>, request: Request) -> Response {
    match app.batch(operation, request).await {
        Ok(results) => (StatusCode::OK, axum::Json(results)).into_response(),
        Err(problem) => Reply::problem(&problem).into_response(),
    }
}

fn refuse(slug: Slug, detail: &str) -> Response {
    Reply::problem(&Problem::new(slug, detail)).into_response()
}

impl App {
    async fn single(&self, operation: String, request: Request) -> Result<Reply, Problem> {
        let (terms, serves) = self.find(&operation)?;
        let (parts, body) = request.into_parts();
        let bytes = read(body, CALL_BYTES_MAX).await?;
        self.check_signature(&parts.headers, &bytes)?;
        let caller = Caller::from_headers(&parts.headers)?;
        check_status(terms, serves, &caller)?;
        let body = match bytes.iter().all(u8::is_ascii_whitespace) {
            true => Value::Null,
            false => amends_wire::api::body::read(&bytes)?,
        };
        Ok(carry_out(serves, vec![Call { caller, operation, body }]).await.remove(0))
    }

    async fn batch(&self, operation: String, request: Request) -> Result<BatchResults, Problem> {
        let (terms, serves) = self.find(&operation)?;
        let max = terms.batch.map(|batch| batch.max as usize).ok_or_else(|| {
            Problem::new(Slug::NotFound, format!("operation \"{operation}\" has no batch form"))
        })?;
        let (parts, body) = request.into_parts();
        let bytes = read(body, BATCH_BYTES_MAX).await?;
        self.check_signature(&parts.headers, &bytes)?;
        let batch: Batch = amends_wire::api::body::read(&bytes)?;
        if batch.calls.len() > max {
            let detail = format!("{} calls exceed the limit of {max}", batch.calls.len());
            return Err(Problem::new(Slug::BodyTooLarge, detail));
        }
        let mut replies: Vec<Option<Reply>> = vec![None; batch.calls.len()];
        let (mut calls, mut places) = (Vec::new(), Vec::new());
        for (place, one) in batch.calls.into_iter().enumerate() {
            let caller = Caller::from_batch(&one);
            match caller.and_then(|caller| check_status(terms, serves, &caller).map(|()| caller)) {
                Ok(caller) => {
                    calls.push(Call { caller, operation: operation.clone(), body: one.body });
                    places.push(place);
                }
                Err(problem) => replies[place] = Some(Reply::problem(&problem)),
            }
        }
        for (place, reply) in places.into_iter().zip(carry_out(serves, calls).await) {
            replies[place] = Some(reply);
        }
        let results = replies.into_iter().map(|reply| reply.expect("every call is answered").into_result());
        Ok(BatchResults { results: results.collect() })
    }

    fn find(&self, operation: &str) -> Result<&(OperationTerms, Serves), Problem> {
        self.operations.get(operation).ok_or_else(|| {
            let known: Vec<&str> = self.operations.keys().map(String::as_str).collect();
            let shown: String = operation.chars().take(64).collect();
            let detail =
                format!("\"{}\" is not offered; there are {}", shown.escape_debug(), known.join(", "));
            Problem::new(Slug::NotFound, detail)
        })
    }

    fn check_signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        let text = |name: &http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(at), Some(signature)) =
            (text(&WEBHOOK_ID), text(&WEBHOOK_TIMESTAMP), text(&WEBHOOK_SIGNATURE))
        else {
            return Err(Problem::new(
                Slug::Unauthorized,
                "the webhook-* headers of a signed call are missing",
            ));
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        wire::verify(&self.secrets, id, at, signature, now, body)
            .map_err(|why| Problem::new(Slug::Unauthorized, why))
    }
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
    let mut replies = Vec::with_capacity(calls.len());
    match serves {
        Serves::Plain(serve) => {
            for call in calls {
                replies.push(serve(call).await);
            }
        }
        Serves::Guarded(body, writer) => {
            let queued: Vec<_> = calls.into_iter().map(|call| writer.call(body.clone(), call)).collect();
            for one in queued {
                replies.push(match one {
                    Err(error @ (Error::Busy(_) | Error::Stopping)) => {
                        Reply::unavailable(error.to_string(), Some(1))
                    }
                    Err(error) => Reply::unavailable(error.to_string(), None),
                    Ok(answer) => match tokio::time::timeout(WRITER_TIMEOUT, answer).await {
                        Ok(Ok(reply)) => reply,
                        Ok(Err(_)) | Err(_) => Reply::unavailable("the writer did not answer in time", None),
                    },
                });
            }
        }
    }
    replies
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
