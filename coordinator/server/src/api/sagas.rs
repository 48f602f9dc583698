//! Sagas: start, show, list, follow, cancel, signal.

use super::{App, query::Query};
use crate::{
    handle::{End, NoAnswer},
    http::{Failure, Path, Raw, json, problem},
    run::{Refusal, Started},
};
use amends_saga::{Input, Name, Rejected, Saga, SagaId, Start};
use amends_store::Stored;
use amends_wire::{
    api::{CancelRequest, JournalItem, List, SagaView, SignalRequest, StartRequest, body},
    problem::{Problem, Slug},
};
use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Journal records read from the store at a time.
const JOURNAL_PAGE: usize = 500;

/// Between two looks at a saga that is not held here.
const ELSEWHERE: Duration = Duration::from_millis(200);

/// `POST /v1/sagas`
pub(crate) async fn start(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    raw: Raw,
) -> Result<Response, Failure> {
    let wait = Query::read(query.as_deref(), &["wait"], &[])?.wait()?;
    let request = StartRequest::read(raw.json()?, idempotency_key(&headers)?)?;
    if app.is_stopping() {
        return Err(Problem::new(Slug::ShuttingDown, "this coordinator is stopping").retry_after(1).into());
    }
    let fingerprint = request.fingerprint;
    let definition = match app.registry.to_run(&app.store, &request.definition, &request.input).await {
        Ok(definition) => definition,
        // A repeat is answered although its definition or a participant may be gone by now.
        Err(failure) => return repeat(&app, request.key.as_deref(), &fingerprint, wait, failure).await,
    };
    let id = SagaId::now_v7();
    let start =
        Start { key: request.key, labels: request.labels, ..Start::new(id, definition, request.input) };
    let started = app.handle.start(start, fingerprint, wait.is_some()).await;
    let (started, end) = started.map_err(|NoAnswer| no_answer(&app))?;
    match started {
        Started::New => answer(&app, id, end, wait, StatusCode::CREATED).await,
        Started::Repeat(id) => answer(&app, id, None, wait, StatusCode::OK).await,
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
    let wait = Query::read(query.as_deref(), &["wait"], &[])?.wait()?;
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
    learn_definitions(&app, &found).await?;
    let items = found.into_iter().map(|stored| replay(&app, stored).map(|saga| SagaView::brief(&saga)));
    let items = items.collect::<Result<Vec<_>, Failure>>()?;
    Ok(json(StatusCode::OK, &List { items, next }))
}

/// `POST /v1/sagas/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    raw: Raw,
) -> Result<Response, Failure> {
    let id = parse_id(&id)?;
    let request: CancelRequest = body::read_or_default(raw.json()?)?;
    let reason = request.reason.unwrap_or_else(|| "cancelled by request".to_owned());
    give(&app, id, Input::Cancel { reason }).await?;
    answer(&app, id, None, None, StatusCode::OK).await
}

/// `POST /v1/sagas/{id}/signals/{name}`
pub(crate) async fn signal(
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    raw: Raw,
) -> Result<Response, Failure> {
    let id = parse_id(&id)?;
    let name = Name::parse(&name).map_err(|error| problem(Slug::BadName, error.to_string()))?;
    let request: SignalRequest = body::read(raw.json()?)?;
    let input = Input::Signal { name: name.clone(), id: request.id, payload: request.payload };
    give(&app, id, input).await?;
    let saga = find(&app, id).await?;
    let taken = saga.steps().any(|(ix, state)| {
        matches!(&saga.definition.step(ix).kind, amends_saga::definition::Kind::Await(wait) if wait.signal == name)
            && state.output.is_some()
    });
    let status = if taken { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, &SagaView::of(&saga)))
}

/// `GET /v1/sagas/{id}/journal`
pub(crate) async fn journal(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let id = parse_id(&id)?;
    let query = Query::read(query.as_deref(), &["follow", "cursor", "limit"], &[])?;
    let after = query.number("cursor")?.unwrap_or(0);
    if query.flag("follow")? {
        find(&app, id).await?;
        let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
        return Ok(Sse::new(follow(app, id, after)).keep_alive(keep_alive).into_response());
    }
    let limit = query.limit()?;
    let mut records = app.store.journal(id, after, limit + 1).await.map_err(unavailable)?;
    if records.is_empty() {
        find(&app, id).await?;
    }
    let more = records.len() > limit;
    records.truncate(limit);
    let items: Vec<JournalItem> =
        (after + 1..).zip(&records).map(|(seq, record)| JournalItem::of(seq, record)).collect();
    let next = items.last().filter(|_| more).map(|item| item.seq.to_string());
    Ok(json(StatusCode::OK, &List { items, next }))
}

/// Streams the journal from `after` on as it becomes durable, and ends after its last event.
fn follow(app: App, id: SagaId, after: u64) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    async_stream::stream! {
        let mut seq = after;
        loop {
            // Ask for word first and read then: nothing can fall between.
            let mut grown = app.handle.follow(id).ok();
            let mut ended = false;
            loop {
                let Ok(records) = app.store.journal(id, seq, JOURNAL_PAGE).await else { return };
                if records.is_empty() { break }
                for record in &records {
                    seq += 1;
                    ended |= record.event.is_terminal();
                    let item = JournalItem::of(seq, record);
                    let event = sse::Event::default().id(seq.to_string()).event(item.kind.clone());
                    if let Ok(event) = event.json_data(&item) { yield Ok(event) }
                }
            }
            if ended { return }
            let word = match &mut grown {
                Some(grown) => tokio::time::timeout(Duration::from_secs(5), grown.recv()).await.ok().flatten(),
                None => None,
            };
            if app.is_stopping() { return }
            // No word will come of a saga that is not held here.
            if word.is_none() { tokio::time::sleep(ELSEWHERE).await }
        }
    }
}

/// Answers with a saga, waiting for its end when asked to.
async fn answer(
    app: &App,
    id: SagaId,
    end: Option<End>,
    wait: Option<Duration>,
    status: StatusCode,
) -> Result<Response, Failure> {
    let (saga, status) = match wait {
        None => (find(app, id).await?, status),
        Some(wait) => {
            let saga = await_end(app, id, end, wait).await?;
            let status = if saga.is_terminal() { status } else { StatusCode::ACCEPTED };
            (saga, status)
        }
    };
    let mut response = json(status, &SagaView::of(&saga));
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/sagas/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Waits for a saga's end wherever it runs, and says how it stands when the time is up.
async fn await_end(
    app: &App,
    id: SagaId,
    mut end: Option<End>,
    wait: Duration,
) -> Result<Arc<Saga>, Failure> {
    let until = Instant::now() + wait;
    loop {
        if end.is_none() {
            end = app.handle.get(id, true).await.ok().and_then(|(_, end)| end);
        }
        if let Some(end) = end.take()
            && let Ok(Ok(saga)) = tokio::time::timeout_at(until, end).await
        {
            return Ok(saga);
        }
        let saga = find(app, id).await?;
        if saga.is_terminal() || app.is_stopping() || Instant::now() >= until {
            return Ok(saga);
        }
        // It is not held here: another coordinator drives it, or its last write is in doubt.
        tokio::time::sleep_until(until.min(Instant::now() + ELSEWHERE)).await;
    }
}

/// A saga's durable state, from memory where it is live and from its journal where it is not.
pub(crate) async fn find(app: &App, id: SagaId) -> Result<Arc<Saga>, Failure> {
    // Without an answer of the run loop, as while stopping, the store has the same truth.
    if let Ok((Some(saga), _)) = app.handle.get(id, false).await {
        return Ok(saga);
    }
    match app.store.load(id).await.map_err(unavailable)? {
        Some(stored) => {
            learn_definitions(app, std::slice::from_ref(&stored)).await?;
            replay(app, stored)
        }
        None => Err(problem(Slug::NotFound, format!("there is no saga {id}"))),
    }
}

/// Makes the definitions of these sagas known, where another coordinator was given them.
pub(super) async fn learn_definitions(app: &App, found: &[Stored]) -> Result<(), Failure> {
    match found.iter().all(|stored| app.registry.knows(&stored.head.hash)) {
        true => Ok(()),
        false => app.registry.refresh(app.store.as_ref()).await.map_err(unavailable),
    }
}

pub(super) fn replay(app: &App, stored: Stored) -> Result<Arc<Saga>, Failure> {
    let definition = app.registry.definition_by_hash(&stored.head.hash).ok_or_else(|| {
        problem(Slug::Internal, format!("the definition of saga {} is missing from the store", stored.id))
    })?;
    Ok(Arc::new(Saga::replay(stored.id, definition, &stored.records)))
}

async fn give(app: &App, id: SagaId, input: Input) -> Result<(), Failure> {
    match app.handle.input(id, input.clone()).await.map_err(|NoAnswer| no_answer(app))? {
        Ok(()) => Ok(()),
        Err(Refusal::Rejected(why)) => Err(rejected(why)),
        Err(Refusal::Unavailable) => Err(unavailable(amends_store::Error::Unavailable(
            "what was asked for could not be written".to_owned(),
        ))),
        // It has ended: the saga itself says what that means for this input.
        Err(Refusal::NotHeld) => {
            let saga = find(app, id).await?;
            match amends_saga::decide(&saga, input, crate::clock::now()) {
                // One that waits for an operator is held by nobody, and nothing would change.
                Ok(records) if saga.is_terminal() || (saga.is_shelved() && records.is_empty()) => Ok(()),
                Ok(_) => Err(no_answer(app)),
                Err(why) => Err(rejected(why)),
            }
        }
    }
}

pub(super) fn rejected(why: Rejected) -> Failure {
    let slug = match why {
        Rejected::Ended => Slug::SagaEnded,
        Rejected::NoSuchSignal => Slug::NoSuchSignal,
        Rejected::SignalConflict(_) => Slug::SignalConflict,
        Rejected::NoSuchItem | Rejected::RepairSettled => Slug::RepairSettled,
        Rejected::RepairRetrying { .. } => Slug::RepairRetrying,
        Rejected::NoBody(_) => Slug::InputRequired,
        _ => Slug::SagaEnded,
    };
    problem(slug, why.to_string())
}

fn key_reused(id: SagaId) -> Failure {
    let detail = format!("saga {id} was started under this key with another definition, input or labels");
    Problem::new(Slug::KeyReused, detail).with("saga", id.to_string()).into()
}

pub(crate) fn unavailable(error: amends_store::Error) -> Failure {
    tracing::warn!(%error, "the store did not answer");
    Problem::new(Slug::StoreUnavailable, error.to_string()).retry_after(1).into()
}

pub(super) fn no_answer(app: &App) -> Failure {
    let (slug, detail) = match app.is_stopping() {
        true => (Slug::ShuttingDown, "this coordinator is stopping; repeat the request with the same key"),
        false => (Slug::StoreUnavailable, "the coordinator could not take the request in time; repeat it"),
    };
    Problem::new(slug, detail).retry_after(1).into()
}

fn parse_id(text: &str) -> Result<SagaId, Failure> {
    SagaId::try_parse(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        problem(Slug::NotFound, format!("\"{}\" is not a saga's id", shown.escape_debug()))
    })
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
