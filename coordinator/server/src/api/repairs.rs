//! The repair queue: list, show, and one route for every verb.
//!
//! An item of a stuck step is changed through its saga, so that the change is an event of the journal; an
//! anomaly is changed where it stands, in its row. Either way the answer shows the item as it is after.

mod anomaly;
pub(crate) mod bulk;
mod summary;
pub(crate) mod verb;
pub(crate) mod view;

pub(crate) use summary::summary;

use super::{
    App,
    query::{self, OF_REPAIRS, Query},
    sagas::unavailable,
};
use crate::{
    auth::Caller,
    http::{Failure, Path, Raw, json, problem},
};
use amends_saga::{
    Json,
    repair::{Audit, Verb},
};
use amends_store::repairs::{Item, ItemFilter, Place};
use amends_wire::{
    api::{
        AssignRequest, GiveUpRequest, List, RepairAction, RepairFilter, RepairKind, RepairReason,
        ResolveRequest, RetryRequest, body, operator,
    },
    problem::{Problem, Slug},
};
use axum::{
    Extension,
    extract::{ConnectInfo, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use std::net::SocketAddr;
use uuid::Uuid;

/// Who asks and from where.
pub(crate) type Asker = (Extension<Caller>, Extension<ConnectInfo<SocketAddr>>);

/// `GET /v1/repairs`
pub(crate) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = Query::read(query.as_deref(), &OF_REPAIRS, &["status"])?;
    let (filter, after, limit) = (to_store(&query.repairs()?), query.place()?, query.limit()?);
    let mut rows = app.store.items(&filter, after, limit + 1).await.map_err(unavailable)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| query::cursor(place(row)));
    let items = view::all(&app, rows).await?;
    Ok(json(StatusCode::OK, &List { items, next }))
}

/// `GET /v1/repairs/{id}`
pub(crate) async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Failure> {
    let row = find(&app, parse_id(&id)?).await?;
    Ok(json(StatusCode::OK, &view::one(&app, row).await?))
}

/// `POST /v1/repairs/{id}/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    raw: Raw,
) -> Result<Response, Failure> {
    let request: RetryRequest = body::read_or_default(raw.json()?)?;
    let audit = audit(&asker, request.by, operator::note(request.note)?)?;
    let row = find(&app, parse_id(&id)?).await?;
    if let Some(input) = &request.input {
        check_input(&app, &row, input)?;
    }
    carry_out(&app, row, Verb::Retry { input: request.input }, audit).await
}

/// `POST /v1/repairs/{id}/resolve`
pub(crate) async fn resolve(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    raw: Raw,
) -> Result<Response, Failure> {
    let request: ResolveRequest = body::read_or_default(raw.json()?)?;
    let note = operator::required_note(request.note, RepairAction::Resolve)?;
    let audit = audit(&asker, request.by, Some(note))?;
    let row = find(&app, parse_id(&id)?).await?;
    carry_out(&app, row, Verb::Resolve { output: request.output }, audit).await
}

/// `POST /v1/repairs/{id}/skip`
pub(crate) async fn skip(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    raw: Raw,
) -> Result<Response, Failure> {
    let request: GiveUpRequest = body::read_or_default(raw.json()?)?;
    let note = operator::required_note(request.note, RepairAction::Skip)?;
    let audit = audit(&asker, request.by, Some(note))?;
    let row = find(&app, parse_id(&id)?).await?;
    carry_out(&app, row, Verb::Skip, audit).await
}

/// `POST /v1/repairs/{id}/abandon`
pub(crate) async fn abandon(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    raw: Raw,
) -> Result<Response, Failure> {
    let request: GiveUpRequest = body::read_or_default(raw.json()?)?;
    let note = operator::required_note(request.note, RepairAction::Abandon)?;
    let audit = audit(&asker, request.by, Some(note))?;
    let row = find(&app, parse_id(&id)?).await?;
    carry_out(&app, row, Verb::Abandon, audit).await
}

/// `POST /v1/repairs/{id}/assign`
pub(crate) async fn assign(
    State(app): State<App>,
    Path(id): Path<String>,
    asker: Asker,
    raw: Raw,
) -> Result<Response, Failure> {
    let request: AssignRequest = body::read(raw.json()?)?;
    let assignee = operator::person(request.assignee, "assignee")?;
    let audit = audit(&asker, request.by, operator::note(request.note)?)?;
    let row = find(&app, parse_id(&id)?).await?;
    carry_out(&app, row, Verb::Assign { assignee }, audit).await
}

/// Does what is asked and answers with the item as it is after.
async fn carry_out(app: &App, row: Item, verb: Verb, audit: Audit) -> Result<Response, Failure> {
    verb::give(app, &row, verb, audit).await?;
    let row = find(app, row.item).await?;
    Ok(json(StatusCode::OK, &view::one(app, row).await?))
}

/// Who asks: the token's holder, else whoever the body names, else the token's role, else nobody known.
pub(crate) fn audit(
    (Extension(caller), Extension(ConnectInfo(peer))): &Asker,
    by: Option<String>,
    note: Option<String>,
) -> Result<Audit, Failure> {
    let by = match (&caller.holder, by) {
        (Some(holder), _) => holder.to_string(),
        (None, Some(by)) => operator::person(by, "by")?,
        (None, None) => caller.role.map_or("anonymous", |role| role.as_str()).to_owned(),
    };
    Ok(Audit { by, note, from: Some(peer.ip().to_string()) })
}

/// Checks an edited body against what the participant has said of the operation, where it has.
fn check_input(app: &App, row: &Item, input: &Json) -> Result<(), Failure> {
    let Some(schema) = input_schema(app, row) else { return Ok(()) };
    let misfits = match amends_wire::definition::check_with(&schema, input) {
        Ok(()) => return Ok(()),
        Err(misfits) => misfits,
    };
    let first = misfits.first().map(|m| format!("at \"{}\": {}", m.path, m.message)).unwrap_or_default();
    let operation = format!("{}.{}", row.participant, row.operation.as_deref().unwrap_or_default());
    let detail = format!("the edited input does not fit what {operation} takes: {first}");
    Err(Problem::new(Slug::InputDoesNotFit, detail).with("errors", &misfits).into())
}

fn input_schema(app: &App, row: &Item) -> Option<Json> {
    let participant = amends_saga::Name::parse(&row.participant).ok()?;
    let view = app.registry.participant_view(&participant)?;
    let terms = view.operations.get(row.operation.as_deref()?)?;
    terms.get("input").cloned().map(Json::new)
}

/// Finds an item's row.
pub(crate) async fn find(app: &App, id: Uuid) -> Result<Item, Failure> {
    let row = app.store.item(id).await.map_err(unavailable)?;
    row.ok_or_else(|| problem(Slug::NotFound, format!("there is no repair item {id}")))
}

fn parse_id(text: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        problem(Slug::NotFound, format!("\"{}\" is not a repair item's id", shown.escape_debug()))
    })
}

/// A filter as the store reads it.
pub(crate) fn to_store(filter: &RepairFilter) -> ItemFilter {
    let text = |name: &Option<amends_saga::Name>| name.as_ref().map(ToString::to_string);
    let of_anomalies = match (filter.kind, filter.reason) {
        (Some(kind), _) => Some(kind == RepairKind::Anomaly),
        (None, Some(RepairReason::Anomaly)) => Some(true),
        (None, _) => None,
    };
    ItemFilter {
        statuses: filter.status.clone(),
        anomalies: of_anomalies,
        saga: filter.saga,
        definition: text(&filter.definition),
        step: filter.step.as_ref().map(ToString::to_string),
        participant: text(&filter.participant),
        reason: filter.reason.and_then(view::park_reason),
        assignee: filter.assignee.clone(),
        opened_after: filter.opened_after.map(|time| time.0),
        opened_before: filter.opened_before.map(|time| time.0),
    }
}

/// Where an item stands in the list.
pub(crate) fn place(row: &Item) -> Place {
    Place { opened_at: row.opened_at, item: row.item }
}
