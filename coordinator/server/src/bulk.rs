//! Bulk jobs: one verb for every repair item that fits a filter, in the background.
//!
//! A job is a row of the store. Whoever works on it walks its filter with a cursor, gives the verbs at the
//! job's pace and writes how far it is every second, always on condition that nobody has changed the row
//! since; so a job outlives the coordinator that began it, and of two that would work on it one gives way.
//! The invariants: **only items opened before the job are touched, and each at most once**: what parks again
//! opens a newer item; every verb is the same idempotent verb that one person could have sent by hand.

mod job;
pub(crate) mod pace;
mod walk;

pub(crate) use job::{Job, items};

use crate::api::App;
use amends_store::{Error, Owner};
use amends_wire::api::JobStatus;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Jobs worked on at a time; others wait for their turn.
const JOBS_AT_ONCE: usize = 4;

/// Jobs kept, the newest; also the most that are read at a time.
pub(crate) const JOBS_MAX: usize = 1000;

/// Between two looks for jobs that nobody works on.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a job is left to whoever works on it without a sign of life, in milliseconds.
const STALE_MS: u64 = 15_000;

/// How long jobs may take to write how far they are when the coordinator stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Whether a row among the jobs is a bulk job: those have ids that time has made, and others have not.
pub(crate) fn is_bulk(id: Uuid) -> bool {
    id.get_version_num() == 7
}

/// What the API and the worker share.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    /// In whose name jobs are written; its incarnation is the name of this worker.
    pub(crate) owner: Owner,
    nudge: Arc<Notify>,
}

impl Bulk {
    pub(crate) fn new(owner: Owner) -> Bulk {
        Bulk { owner, nudge: Arc::default() }
    }

    /// The name under which this coordinator works on jobs.
    pub(crate) fn worker(&self) -> Uuid {
        self.owner.incarnation
    }

    /// Tells the worker that there is a job for it.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }
}

/// Works on jobs until `stop` is cancelled, then writes how far they are and leaves them to others.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let (mut tasks, mut active) = (JoinSet::new(), BTreeSet::new());
    while !stop.is_cancelled() {
        if let Err(error) = take(&app, &mut tasks, &mut active, &stop).await {
            tracing::warn!(%error, "bulk jobs could not be looked for");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.bulk.nudge.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => forget(&mut active, ended),
        }
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
        tracing::warn!("bulk jobs could not be left in time; they go on in {} s", STALE_MS / 1000);
    }
}

type Ended = Result<(tokio::task::Id, ()), tokio::task::JoinError>;

fn forget(active: &mut BTreeSet<(tokio::task::Id, Uuid)>, ended: Ended) {
    let id = match &ended {
        Ok((id, ())) => *id,
        Err(error) => {
            tracing::error!(%error, "a bulk job met a fault; it is taken up again");
            error.id()
        }
    };
    active.retain(|(task, _)| *task != id);
}

/// Takes up jobs that nobody works on, oldest first, as far as hands are free.
async fn take(
    app: &App,
    tasks: &mut JoinSet<()>,
    active: &mut BTreeSet<(tokio::task::Id, Uuid)>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    if active.len() >= JOBS_AT_ONCE {
        return Ok(());
    }
    let running = app.store.jobs(Some(0), JOBS_MAX).await?;
    if running.is_empty() {
        return Ok(());
    }
    let stale: BTreeSet<Uuid> =
        app.store.jobs(Some(STALE_MS), JOBS_MAX).await?.iter().map(|row| row.id).collect();
    for row in running.iter().rev() {
        if active.len() >= JOBS_AT_ONCE || active.iter().any(|(_, id)| *id == row.id) {
            continue;
        }
        let mut job = match Job::read(row) {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(job = %row.id, %error, "a bulk job cannot be read; it is left alone");
                continue;
            }
        };
        let is_free =
            job.worker.is_none() || job.worker == Some(app.bulk.worker()) || stale.contains(&row.id);
        if job.view.status != JobStatus::Running || !is_free {
            continue;
        }
        job.worker = Some(app.bulk.worker());
        if job.save(app).await? {
            tracing::info!(job = %row.id, action = %job.view.action, total = job.view.total, "a bulk job is worked on");
            let id = tasks.spawn(walk::work(app.clone(), job, stop.clone())).id();
            active.insert((id, row.id));
        }
    }
    Ok(())
}
