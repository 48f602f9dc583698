//! The monitor: what keeps working on the repair queue while nobody looks.
//!
//! Six passes and the gauges, each a task of its own: [`probe`] asks participants about stuck steps and settles what
//! turns out to be undone; [`redrive`] tries again what a participant's outage has left, once it is back; [`escalate`]
//! says aloud what has grown old; [`audit`] holds participants' tables against the sagas; [`stuck`] looks for sagas
//! that nobody moves, and [`overdue`] for those that are late and can only go on. It acts under the name `monitor`, by the same verbs that people have. The invariants: **it never
//! resolves, skips or abandons**, since those need somebody who answers for them; **what somebody looks after it does not
//! try again**; every pass is bounded and none is waited for by the run loop.
//!
//! Several coordinators may share a store. Verbs are idempotent and escalating is one transaction, so two monitors do no
//! harm; where twice the work would be a nuisance to participants, a [`turn`] is taken by one of them.

mod audit;
mod escalate;
mod gauge;
mod overdue;
mod probe;
mod redrive;
mod stuck;
mod turn;

use crate::{
    api::{App, repairs::verb},
    dispatch::Dispatcher,
    hooks::Nudge,
    http::Failure,
};
use amends_saga::repair::{Audit, MONITOR, Verb};
use amends_store::repairs::Item;
use amends_wire::problem::Problem;
use futures::future::BoxFuture;
use std::{collections::BTreeMap, time::Duration};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// How often and how eagerly the monitor does what it does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Monitoring {
    /// Between two passes of questions about stuck steps.
    pub probe_every: Duration,
    /// Questions a second to one participant, at most.
    pub probes_per_second: u32,
    /// Between two looks for participants that have recovered.
    pub redrive_every: Duration,
    /// Items of one participant tried again each second, at most, once it has recovered.
    pub redrives_per_second: u32,
    /// How often one stuck step is tried again without a person asking.
    pub redrives_max: u32,
    /// Between two looks for items that have grown old.
    pub escalate_every: Duration,
    /// The age at which an item is warned of.
    pub warn_after: Duration,
    /// The age at which somebody is called.
    pub page_after: Duration,
    /// Between two audits.
    pub audit_every: Duration,
    /// How long sagas and effects must have been at rest to be audited.
    pub audit_settle: Duration,
    /// Between two looks for sagas that nobody moves, and for those that are late past their pivot.
    pub stuck_every: Duration,
    /// How long overdue a saga's next move is when the saga counts as stuck.
    pub stuck_after: Duration,
    /// Between two readings for the gauges; longer when a reading takes long.
    pub gauge_every: Duration,
}

impl Default for Monitoring {
    fn default() -> Self {
        Monitoring {
            probe_every: Duration::from_secs(30),
            probes_per_second: 20,
            redrive_every: Duration::from_secs(1),
            redrives_per_second: 50,
            redrives_max: 5,
            escalate_every: Duration::from_secs(5),
            warn_after: Duration::from_secs(15 * 60),
            page_after: Duration::from_secs(60 * 60),
            audit_every: Duration::from_secs(5 * 60),
            audit_settle: Duration::from_secs(60),
            stuck_every: Duration::from_secs(60),
            stuck_after: Duration::from_secs(10 * 60),
            gauge_every: Duration::from_secs(2),
        }
    }
}

/// What every pass works with.
#[derive(Clone)]
pub(crate) struct Monitor {
    pub(crate) app: App,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) outbox: Nudge,
    pub(crate) config: Monitoring,
}

type Pass = fn(Monitor) -> BoxFuture<'static, ()>;

/// How long a pass rests that has met a fault of its own.
const REST: Duration = Duration::from_secs(30);

const PASSES: [(&str, Pass); 7] = [
    ("gauges", |monitor| Box::pin(gauge::run(monitor))),
    ("probe", |monitor| Box::pin(probe::run(monitor))),
    ("redrive", |monitor| Box::pin(redrive::run(monitor))),
    ("escalate", |monitor| Box::pin(escalate::run(monitor))),
    ("stuck", |monitor| Box::pin(stuck::run(monitor))),
    ("overdue", |monitor| Box::pin(overdue::run(monitor))),
    ("audit", |monitor| Box::pin(audit::run(monitor))),
];

/// Runs every pass until `stop` is cancelled. A pass that meets a fault begins again, and the others go on meanwhile.
pub(crate) async fn run(monitor: Monitor, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let mut passes: BTreeMap<Id, (&str, Pass)> = BTreeMap::new();
    for (name, pass) in PASSES {
        passes.insert(tasks.spawn(pass(monitor.clone())).id(), (name, pass));
    }
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next_with_id() => ended,
            else => break,
        };
        let Err(fault) = ended else { continue };
        let Some((name, pass)) = passes.remove(&fault.id()) else { continue };
        tracing::error!(pass = name, %fault, "a pass of the monitor met a fault; it begins again");
        let again = pass(monitor.clone());
        let task = tasks.spawn(async move {
            tokio::time::sleep(REST).await;
            again.await;
        });
        passes.insert(task.id(), (name, pass));
    }
    tasks.shutdown().await;
}

impl Monitor {
    /// Gives an item a verb under the monitor's own name.
    async fn give(&self, row: &Item, verb: Verb, why: &str) -> Result<(), Box<Problem>> {
        let audit = Audit { by: MONITOR.to_owned(), note: Some(why.to_owned()), from: None };
        verb::give(&self.app, row, verb, audit).await.map_err(|Failure(problem)| problem)
    }
}

/// A span as the core counts it.
fn millis(span: Duration) -> amends_saga::Millis {
    amends_saga::Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// A moment `span` before another.
fn before(now: amends_saga::Timestamp, span: Duration) -> amends_saga::Timestamp {
    amends_saga::Timestamp(now.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}
