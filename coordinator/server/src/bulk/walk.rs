//! Working on one job: page by page, at its pace, until it ends, is stopped, or is somebody else's.

use super::{Job, pace::Pace};
use crate::{
    api::{
        App,
        repairs::{place, verb},
    },
    clock::now,
    http::Failure,
};
use amends_saga::repair::{Audit, Verb};
use amends_store::{Error, repairs::Item};
use amends_wire::{
    api::{JobError, JobStatus, JobView, bulk::JOB_ERRORS_MAX},
    problem::{Problem, Slug},
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Verbs on their way at a time.
const VERBS_AT_ONCE: usize = 64;

/// Items read at a time, at most; fewer when the pace is slow, so that a stop is soon heard.
const PAGE_MAX: usize = 256;

/// Between two times that progress is written.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How often a verb is given that meets a store which does not answer, and the first wait between two.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Between two tries of the walk itself while the store does not answer.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// What became of an item's turn.
enum Turn {
    Done,
    Skipped,
    Failed(Box<Problem>),
    /// It has had none: the coordinator stops.
    Later,
}

/// How a look at the job's row went.
enum Whose {
    /// It is still this worker's to go on with.
    Ours,
    /// Somebody has stopped it.
    Stopped,
    /// Another worker has it.
    Theirs,
}

/// Works on a job as long as it is this worker's.
pub(super) async fn work(app: App, mut job: Job, stop: CancellationToken) {
    let mut pace = Pace::new(job.view.per_second);
    loop {
        match drive(&app, &mut job, &mut pace, &stop).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(job = %job.view.id, %error, "a bulk job waits for the store");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(STORE_WAIT) => {}
                }
            }
        }
    }
}

/// Goes on with a job; `Ok` when there is nothing more to do for it here.
async fn drive(app: &App, job: &mut Job, pace: &mut Pace, stop: &CancellationToken) -> Result<(), Error> {
    let page = (job.view.per_second as usize / 4).clamp(1, PAGE_MAX);
    let mut saved = Instant::now();
    loop {
        match whose(app, job).await? {
            Whose::Theirs => return Ok(()),
            Whose::Stopped => return leave(app, job).await,
            Whose::Ours if stop.is_cancelled() => return leave(app, job).await,
            Whose::Ours => {}
        }
        let rows = app.store.items(&job.items(), job.place(), page).await?;
        let Some(last) = rows.last().map(place) else { return finish(app, job).await };
        if !turns(app, job, rows, pace, stop).await {
            return leave(app, job).await;
        }
        job.move_to(last);
        if saved.elapsed() >= SAVE_EVERY && job.save(app).await? {
            saved = Instant::now();
        }
    }
}

/// Gives every item of a page its turn; `false` when the coordinator stops before all have had it.
async fn turns(app: &App, job: &mut Job, rows: Vec<Item>, pace: &mut Pace, stop: &CancellationToken) -> bool {
    let mut under_way = FuturesUnordered::new();
    let mut whole = true;
    for row in rows {
        if job.has_had_its_turn(row.item) {
            continue;
        }
        let mut next = std::pin::pin!(pace.turn());
        loop {
            tokio::select! {
                () = &mut next, if under_way.len() < VERBS_AT_ONCE => break,
                Some((item, turn)) = under_way.next(), if !under_way.is_empty() => {
                    whole &= count(app, job, item, turn);
                }
            }
        }
        if stop.is_cancelled() {
            whole = false;
            break;
        }
        under_way.push(give(app.clone(), row, job.verb(), job.audit()));
    }
    while let Some((item, turn)) = under_way.next().await {
        whole &= count(app, job, item, turn);
    }
    whole
}

/// Gives one item its verb, again where the store does not answer.
async fn give(app: App, row: Item, verb: Verb, audit: Audit) -> (Uuid, Turn) {
    let mut wait = FIRST_WAIT;
    let mut tried = 1;
    loop {
        let Err(Failure(problem)) = verb::give(&app, &row, verb.clone(), audit.clone()).await else {
            return (row.item, Turn::Done);
        };
        match problem.slug {
            Slug::RepairSettled | Slug::RepairRetrying => return (row.item, Turn::Skipped),
            _ if app.is_stopping() => return (row.item, Turn::Later),
            Slug::StoreUnavailable if tried < TRIES => {
                tracing::debug!(item = %row.item, tried, %problem, "a bulk job's verb is given again");
                tokio::time::sleep(wait).await;
                wait *= 2;
                tried += 1;
            }
            _ => return (row.item, Turn::Failed(problem)),
        }
    }
}

/// Counts a turn; says whether it was one.
fn count(app: &App, job: &mut Job, item: Uuid, turn: Turn) -> bool {
    let outcome = match turn {
        Turn::Later => return false,
        Turn::Done => {
            job.view.done += 1;
            "done"
        }
        Turn::Skipped => {
            job.view.skipped += 1;
            "skipped"
        }
        Turn::Failed(problem) => {
            job.view.failed += 1;
            if job.view.errors.len() < JOB_ERRORS_MAX {
                let (slug, detail) = (problem.slug.to_string(), problem.detail);
                job.view.errors.push(JobError { item, slug, detail });
            }
            "failed"
        }
    };
    job.went_ahead(item);
    app.metrics.bulk(job.view.action, outcome);
    true
}

/// Looks at the job's row: it may have been stopped, resumed, or taken by another.
async fn whose(app: &App, job: &mut Job) -> Result<Whose, Error> {
    let Some(row) = app.store.job(job.view.id).await? else { return Ok(Whose::Theirs) };
    if row.version == job.version {
        return Ok(Whose::Ours);
    }
    let theirs = Job::read(&row)?;
    if theirs.worker != job.worker {
        return Ok(Whose::Theirs);
    }
    job.version = theirs.version;
    job.view.status = theirs.view.status;
    Ok(match theirs.view.status {
        JobStatus::Running => Whose::Ours,
        JobStatus::Stopped => Whose::Stopped,
        JobStatus::Done => Whose::Theirs,
    })
}

/// Writes how far the job is and leaves it to whoever takes it up next.
async fn leave(app: &App, job: &mut Job) -> Result<(), Error> {
    let worker = job.worker;
    job.worker = None;
    if job.save(app).await? {
        return Ok(());
    }
    job.worker = worker;
    match whose(app, job).await? {
        Whose::Theirs => Ok(()),
        // Changed once more in between; the caller's loop or the next look takes it from there.
        Whose::Ours | Whose::Stopped => {
            job.worker = None;
            job.save(app).await.map(drop)
        }
    }
}

/// Ends a job. What it was about and is not found any more was settled before its turn.
async fn finish(app: &App, job: &mut Job) -> Result<(), Error> {
    let view = &mut job.view;
    let turns = view.done + view.failed + view.skipped;
    view.skipped += view.total.saturating_sub(turns);
    (view.status, view.ended_at) = (JobStatus::Done, Some(now().into()));
    let worker = job.worker.take();
    if job.save(app).await? {
        let JobView { id, done, failed, skipped, .. } = &job.view;
        tracing::info!(job = %id, done, failed, skipped, "a bulk job is done");
        return Ok(());
    }
    // Somebody stopped or took it meanwhile; nothing is left to be done, so it ends at the next resume.
    job.worker = worker;
    match whose(app, job).await? {
        Whose::Theirs => Ok(()),
        Whose::Ours | Whose::Stopped => leave(app, job).await,
    }
}
