//! Sagas: start, show, list, cancel, revert, signal.

mod answer;
mod give;
mod journal;
mod look;
mod open;

pub(crate) use answer::answer as callback;
pub(crate) use give::{no_answer, rejected, unavailable};
pub(crate) use journal::journal;
pub(crate) use look::find;
pub(crate) use open::{branch, commit, open, renew, rollback};

use super::{App, query::Query};
use crate::{
    handle::NoAnswer,
    http::{Failure, Path, Raw, json, problem},
    run::Started,
};
use amends_saga::{Definition, Direction, Input, Json, Name, Saga, SagaId, Start, definition::Kind};
use amends_wire::{
    api::{CancelRequest, List, SignalRequest, StartRequest},
    problem::{Problem, Slug},
};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use give::give;
use http::{HeaderMap, StatusCode};
use look::{answer, page, parse_id, whole};
use std::{sync::Arc, time::Duration};

/// `POST /v1/sagas`
pub(crate) async fn start(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    raw: Raw,
) -> Result<Response, Failure> {
    let wait = waits(query.as_deref())?;
    let request = StartRequest::read(raw.json()?, idempotency_key(&headers)?)?;
    takes_new_work(&app)?;
    let fingerprint = request.fingerprint;
    let definition = match to_run(&app, &request).await {
        Ok(definition) => definition,
        // A repeat is answered although its definition or a participant may be gone by now.
        Err(failure) => return repeat(&app, request.key.as_deref(), &fingerprint, wait, failure).await,
    };
    let start = Start {
        key: request.key,
        labels: request.labels,
        ..Start::new(SagaId::now_v7(), definition, request.input)
    };
    begin(&app, start, fingerprint, wait).await
}

/// The definition that a start is about, with every saga that it runs in turn known to be there.
async fn to_run(app: &App, request: &StartRequest) -> Result<Arc<Definition>, Failure> {
    let definition = app.registry.to_run(&app.store, &request.definition, &request.input).await?;
    app.registry.check_children(app.store.as_ref(), &definition).await?;
    Ok(definition)
}

/// Starts a saga and answers with it, or with the one that was started under its key before.
async fn begin(
    app: &App,
    start: Start,
    fingerprint: [u8; 32],
    wait: Option<Duration>,
) -> Result<Response, Failure> {
    let id = start.id;
    let started = app.handle.start(start, fingerprint, wait.is_some()).await;
    let (started, end) = started.map_err(|NoAnswer| no_answer(app))?;
    match started {
        Started::New => answer(app, id, end, wait, StatusCode::CREATED).await,
        Started::Repeat(id) => answer(app, id, None, wait, StatusCode::OK).await,
        Started::KeyReused(id) => Err(key_reused(id)),
        Started::Full => Err(Problem::new(Slug::TooManySagas, "the limit of sagas in flight is reached")
            .retry_after(1)
            .into()),
        Started::Busy(participant) => {
            let detail =
                format!("too many calls wait for participant \"{participant}\", which this definition needs");
            Err(Problem::new(Slug::ParticipantBusy, detail)
                .with("participant", participant.to_string())
                .retry_after(5)
                .into())
        }
        Started::Unavailable => {
            let detail = "the store could not take the start; repeat it with the same key";
            Err(Problem::new(Slug::StoreUnavailable, detail).retry_after(1).into())
        }
    }
}

/// Answers a start that cannot be made now with the saga it started before, or with what stands against it.
async fn repeat(
    app: &App,
    key: Option<&str>,
    fingerprint: &[u8; 32],
    wait: Option<Duration>,
    failure: Failure,
) -> Result<Response, Failure> {
    let Some(key) = key else { return Err(failure) };
    match app.store.find_key(key).await.map_err(unavailable)? {
        Some((id, theirs)) if theirs == *fingerprint => answer(app, id, None, wait, StatusCode::OK).await,
        Some((id, _)) => Err(key_reused(id)),
        None => Err(failure),
    }
}

/// `GET /v1/sagas/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let wait = waits(query.as_deref())?;
    answer(&app, parse_id(&id)?, None, wait, StatusCode::OK).await
}

/// `GET /v1/sagas`
pub(crate) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let known =
        ["definition", "key", "step", "participant", "created_after", "created_before", "cursor", "limit"];
    let query = Query::read(query.as_deref(), &known, &["status", "label"])?;
    let limit = query.limit()?;
    let mut found =
        app.store.list(&query.filter()?, query.cursor()?, limit + 1).await.map_err(unavailable)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|stored| stored.id.to_string());
    Ok(json(StatusCode::OK, &List { items: page(&app, found).await?, next }))
}

/// `POST /v1/sagas/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    let (id, wait) = (parse_id(&id)?, waits(query.as_deref())?);
    let reason = CancelRequest::read(raw.json()?)?.reason_or("cancelled by request");
    give(&app, id, Input::Cancel { reason }).await?;
    answer(&app, id, None, wait, StatusCode::OK).await
}

/// `POST /v1/sagas/{id}/revert`
pub(crate) async fn revert(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    let (id, wait) = (parse_id(&id)?, waits(query.as_deref())?);
    let reason = CancelRequest::read(raw.json()?)?.reason_or("reverted by request");
    give::revert(&app, id, reason).await?;
    answer(&app, id, None, wait, StatusCode::OK).await
}

/// `POST /v1/sagas/{id}/signals/{name}`
pub(crate) async fn signal(
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    raw: Raw,
) -> Result<Response, Failure> {
    let id = parse_id(&id)?;
    let name = Name::parse(&name).map_err(|error| problem(Slug::BadName, error.to_string()))?;
    let request = SignalRequest::read(raw.json()?)?;
    let input = Input::Signal { name: name.clone(), id: request.id, payload: request.payload };
    give(&app, id, input).await?;
    let saga = find(&app, id).await?;
    let status = match is_taken(&saga, &name) {
        true => StatusCode::OK,
        false if saga.direction == Direction::Forward && !saga.is_terminal() => StatusCode::ACCEPTED,
        // It was kept for a step that is not reached any more.
        false => {
            let detail = "the saga has turned back before the signal was taken";
            return Err(problem(Slug::SignalConflict, detail));
        }
    };
    Ok(json(status, &whole(&app, &saga).await?))
}

/// Whether a step has taken the signal of this name, rather than its default.
fn is_taken(saga: &Saga, name: &Name) -> bool {
    let awaits = |kind: &Kind| matches!(kind, Kind::Await(wait) if wait.signal == *name);
    let Some(signal) = saga.signals.get(name) else { return false };
    let mut steps = saga.definition.steps().filter(|(_, step)| awaits(&step.kind));
    steps.any(|(ix, _)| saga.step(ix).output.as_ref().is_some_and(|output| same(output, &signal.payload)))
}

fn same(output: &Json, payload: &Json) -> bool {
    Arc::ptr_eq(output, payload) || output == payload
}

fn waits(query: Option<&str>) -> Result<Option<Duration>, Failure> {
    Query::read(query, &["wait"], &[])?.wait()
}

fn takes_new_work(app: &App) -> Result<(), Failure> {
    match app.is_stopping() {
        true => Err(Problem::new(Slug::ShuttingDown, "this coordinator is stopping").retry_after(1).into()),
        false => Ok(()),
    }
}

fn key_reused(id: SagaId) -> Failure {
    let detail = format!("saga {id} was started under this key with another definition, input or labels");
    Problem::new(Slug::KeyReused, detail).with("saga", id.to_string()).into()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(problem(Slug::KeyConflict, "the Idempotency-Key header is given twice"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| problem(Slug::BadKey, "the Idempotency-Key header is not plain text"))
}
