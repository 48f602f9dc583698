//! Bulk jobs through the API: preview, start, list, show, stop, resume. What works on them is [`crate::bulk`].

use super::{App, Asker, audit, place, unavailable, view};
use crate::{
    api::query::Query,
    bulk::{JOBS_MAX, Job, is_bulk, items},
    clock::now,
    http::{Failure, Path, Raw, json, problem},
};
use amends_store::repairs::{Item, ItemFilter};
use amends_wire::{
    api::{BulkRequest, JobStatus, JobView, List, MatchedView, PreviewView, RepairReason, body},
    problem::{Problem, Slug},
};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Items counted at a time.
const PAGE: usize = 1000;

/// Items shown by a dry run.
const SAMPLE: usize = 20;

/// How often a change of a job is tried while its worker writes how far it is.
const TRIES: usize = 50;

/// How long the answer to a stop waits for what is under way to end.
const REST: Duration = Duration::from_secs(2);

/// Between two looks for that.
const PAUSE: Duration = Duration::from_millis(20);

/// `POST /v1/repairs/bulk`
pub(crate) async fn start(State(app): State<App>, asker: Asker, raw: Raw) -> Result<Response, Failure> {
    let request = body::read::<BulkRequest>(raw.json()?)?.checked()?;
    let audit = audit(&asker, request.by.clone(), request.note.clone())?;
    let at = now();
    let found = count(&app, &items(&request.filter, request.action, at)).await?;
    if request.dry_run {
        return Ok(json(StatusCode::OK, &preview(&app, &request, found).await?));
    }
    if app.is_stopping() {
        return Err(Problem::new(Slug::ShuttingDown, "this coordinator is stopping").retry_after(1).into());
    }
    let mut job = Job::new(request, audit, found.matched, at, app.bulk.worker());
    if !job.save(&app).await.map_err(unavailable)? {
        return Err(problem(Slug::Internal, "a job's new id is taken"));
    }
    app.bulk.nudge();
    Ok(json(StatusCode::ACCEPTED, &job.view))
}

/// `GET /v1/repairs/bulk`
pub(crate) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::read(query.as_deref(), &["limit", "cursor"], &[])?;
    let (limit, after) = (query.limit()?, query.id("cursor")?);
    let rows = app.store.jobs(None, JOBS_MAX).await.map_err(unavailable)?;
    // Ids rise with time, so newest first is by falling id.
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|row| is_bulk(row.id) && after.is_none_or(|after| row.id < after))
        .take(limit + 1)
        .collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let views = rows.iter().map(|row| Job::read(row).map(|job| job.view).map_err(unavailable));
    let items: Vec<JobView> = views.collect::<Result<_, _>>()?;
    Ok(json(StatusCode::OK, &List { items, next }))
}

/// `GET /v1/repairs/bulk/{job}`
pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Failure> {
    Ok(json(StatusCode::OK, &read(&app, parse_id(&id)?).await?.view))
}

/// `POST /v1/repairs/bulk/{job}/stop`
pub(crate) async fn stop(
    State(app): State<App>,
    Path(id): Path<String>,
    raw: Raw,
) -> Result<Response, Failure> {
    nothing(&raw)?;
    let job = set(&app, parse_id(&id)?, JobStatus::Stopped).await?;
    let until = Instant::now() + REST;
    let mut job = job;
    while job.worker.is_some() && job.view.status == JobStatus::Stopped && Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
        job = read(&app, job.view.id).await?;
    }
    Ok(json(StatusCode::OK, &job.view))
}

/// `POST /v1/repairs/bulk/{job}/resume`
pub(crate) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
    raw: Raw,
) -> Result<Response, Failure> {
    nothing(&raw)?;
    let job = set(&app, parse_id(&id)?, JobStatus::Running).await?;
    app.bulk.nudge();
    Ok(json(StatusCode::OK, &job.view))
}

/// Stops a job or lets it go on; one that does so already is left alone.
async fn set(app: &App, id: Uuid, status: JobStatus) -> Result<Job, Failure> {
    for _ in 0..TRIES {
        let mut job = read(app, id).await?;
        if job.view.status == status {
            return Ok(job);
        }
        if job.view.status == JobStatus::Done {
            let JobView { done, failed, skipped, .. } = job.view;
            let detail = format!("job {id} has ended: {done} done, {failed} failed, {skipped} skipped");
            return Err(problem(Slug::JobEnded, detail));
        }
        job.view.status = status;
        // Whoever worked on it elsewhere may be gone; anybody may go on with it now.
        if status == JobStatus::Running && job.worker != Some(app.bulk.worker()) {
            job.worker = None;
        }
        if job.save(app).await.map_err(unavailable)? {
            return Ok(job);
        }
    }
    let detail = format!("job {id} is changed too often to be changed now; try again");
    Err(Problem::new(Slug::StoreUnavailable, detail).retry_after(1).into())
}

async fn read(app: &App, id: Uuid) -> Result<Job, Failure> {
    let row = app.store.job(id).await.map_err(unavailable)?.filter(|row| is_bulk(row.id));
    let row = row.ok_or_else(|| problem(Slug::NotFound, format!("there is no bulk job {id}")))?;
    Job::read(&row).map_err(unavailable)
}

/// That a body says nothing.
fn nothing(raw: &Raw) -> Result<(), Failure> {
    #[derive(Default, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let Nothing {} = body::read_or_default(raw.json()?)?;
    Ok(())
}

fn parse_id(text: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        problem(Slug::NotFound, format!("\"{}\" is not a bulk job's id", shown.escape_debug()))
    })
}

/// The items that fit.
#[derive(Default)]
struct Found {
    matched: u64,
    sample: Vec<Item>,
    by: BTreeMap<(String, Option<String>, Option<String>, RepairReason), u64>,
}

/// Counts the items that fit, page by page.
async fn count(app: &App, filter: &ItemFilter) -> Result<Found, Failure> {
    let (mut found, mut after) = (Found::default(), None);
    loop {
        let rows = app.store.items(filter, after, PAGE).await.map_err(unavailable)?;
        let is_last = rows.len() < PAGE;
        after = rows.last().map(place).or(after);
        for row in rows {
            found.matched += 1;
            let reason = row.reason.map_or(RepairReason::Anomaly, RepairReason::from);
            let alike = (row.participant.clone(), row.definition.clone(), row.step.clone(), reason);
            *found.by.entry(alike).or_default() += 1;
            if found.sample.len() < SAMPLE {
                found.sample.push(row);
            }
        }
        if is_last {
            return Ok(found);
        }
        tokio::task::yield_now().await;
    }
}

async fn preview(app: &App, request: &BulkRequest, found: Found) -> Result<PreviewView, Failure> {
    let alike = found.by.into_iter().map(|((participant, definition, step, reason), items)| MatchedView {
        participant,
        definition,
        step,
        reason,
        items,
    });
    let mut by: Vec<MatchedView> = alike.collect();
    by.sort_by_key(|alike| std::cmp::Reverse(alike.items));
    let sample = view::all(app, found.sample).await?;
    Ok(PreviewView { action: request.action, matched: found.matched, sample, by })
}
