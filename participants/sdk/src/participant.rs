//! A participant as a value: its operations, the router that serves them, the registration that names them.

mod auditing;
mod joining;
mod serving;

use crate::{
    Body, Call, Reply, Sagas, Tracer, Writer,
    audit::{Auditing, EVERY, Laws},
    faults::Faults,
    metrics::{Figures, Looked},
    saga_audit::{BarrierAudit, SagaAudit},
};
use amends_wire::{
    participant::Secret,
    registration::{Batching, OperationTerms, Registration, RetryTerms},
    span::Span,
};
use axum::Router;
use futures::future::join_all;
use std::{collections::BTreeMap, convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

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
    audit: Option<Arc<dyn SagaAudit>>,
    tracer: Option<Tracer>,
    joins: Option<Sagas>,
    laws: Option<Arc<dyn Laws>>,
    /// Between two audits of its own laws; never where there is none.
    audit_every: Option<Duration>,
    auditing: Arc<Auditing>,
    figures: Vec<Looked>,
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

    /// Names the operation that makes it final in an open saga.
    ///
    /// # Panics
    /// When that is not a name.
    #[must_use]
    pub fn confirm(mut self, name: &str) -> Operation {
        self.terms.confirm = Some(name.to_owned().try_into().expect("an operation's name"));
        self
    }

    /// Bounds one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Operation {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.terms.timeout = Some(Span(amends_wire::Millis(millis)));
        self
    }

    /// Says that it answers status questions; a guarded operation does in any case.
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
            audit: None,
            tracer: None,
            joins: None,
            laws: None,
            audit_every: Some(EVERY),
            auditing: Arc::new(Auditing::new()),
            figures: Vec::new(),
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
        let readers = writer.database().any_readers();
        self.audit.get_or_insert_with(|| Arc::new(BarrierAudit(readers.clone())));
        // The barrier's rows answer status questions, so there is no reason not to offer it.
        let terms = OperationTerms { status: true, ..operation.terms };
        self.operations.insert(operation.name, (terms, serves));
        self
    }

    /// Serves further routes beside the operations.
    ///
    /// They may not have the addresses that are served anyway, such as `/metrics`: [`Participant::router`] panics then. Figures
    /// of one's own are given to [`Participant::figures`].
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

    /// Says of its own tables what was done for which saga, in place of what the barrier alone can tell.
    #[must_use]
    pub fn saga_audit(mut self, audit: Arc<dyn SagaAudit>) -> Participant {
        self.audit = Some(audit);
        self
    }

    /// Has it check its own laws while it [runs](crate::run), every five minutes unless [`Participant::audit_every`] says
    /// otherwise. What came of it stands in the log and in `GET /metrics`.
    #[must_use]
    pub fn audits(mut self, laws: Arc<dyn Laws>) -> Participant {
        self.laws = Some(laws);
        self
    }

    /// How often it checks its own laws: at least this long after the last time, and nineteen times as long as that took.
    /// `None` for never.
    #[must_use]
    pub fn audit_every(mut self, every: Option<Duration>) -> Participant {
        self.audit_every = every;
        self
    }

    /// Shows figures of its own in `GET /metrics`, beside those of its calls.
    #[must_use]
    pub fn figures(mut self, figures: Arc<dyn Figures>) -> Participant {
        self.figures.push(Looked::new(figures));
        self
    }

    /// What came of auditing itself.
    #[cfg(test)]
    pub(crate) fn auditing(&self) -> &Auditing {
        &self.auditing
    }

    /// What it does by itself while it runs, for as long as this is polled.
    pub(crate) async fn watch(&self) -> Infallible {
        let audits = async {
            if let (Some(laws), Some(every)) = (&self.laws, self.audit_every) {
                self.auditing.keep(&self.name, &**laws, every).await;
            }
        };
        tokio::join!(audits, join_all(self.figures.iter().map(Looked::watch)));
        std::future::pending().await
    }

    /// Sends a span for each call whose caller records it.
    #[must_use]
    pub fn traces(mut self, tracer: &Tracer) -> Participant {
        self.tracer = Some(tracer.clone());
        self
    }

    /// Takes part in the open sagas of a coordinator: a guarded operation that names a compensation can be asked for with
    /// `Saga-Id` and `Saga-Branch`. The branch of that name is registered first, with the compensation and the confirm
    /// that the operation names and with the request's body; then the operation is carried out as its work. Where calls
    /// must be signed, so must these.
    ///
    /// [`run`](crate::run) does it for the coordinator that it registers with.
    #[must_use]
    pub fn joins(mut self, sagas: &Sagas) -> Participant {
        self.joins = Some(sagas.clone());
        self
    }

    /// The coordinator whose open sagas it takes part in.
    pub(crate) fn joined(&self) -> Option<&Sagas> {
        self.joins.as_ref()
    }

    /// What sends its spans.
    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
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

    /// The router: `POST /{operation}`, `POST /{operation}/batch`, `GET /healthz`, `GET /saga-audit`, `GET /metrics`, and the
    /// further routes.
    ///
    /// Whatever it refuses, it refuses with a problem (RFC 9457).
    pub fn router(&self) -> Router {
        serving::router(self)
    }
}
