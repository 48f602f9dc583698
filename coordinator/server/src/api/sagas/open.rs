//! Open sagas: begun, given branches and time, and decided by whoever began them.

use super::{
    begin,
    give::{decided, give},
    idempotency_key,
    look::{answer, find, parse_id},
    takes_new_work, waits,
};
use crate::{
    api::{App, query::Query},
    clock::now,
    http::{Failure, Path, Raw, problem},
};
use amends_saga::{
    BranchTerms, Direction, Input, Name, Rejected, Saga, SagaId, Start, decide, definition::OPEN_NAME,
    has_branch,
};
use amends_wire::{
    api::{BranchRequest, OpenRequest, RenewRequest, RollbackRequest, body},
    problem::Slug,
};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The body of a call that says everything by its address: absent, or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /v1/sagas/open`
pub(crate) async fn open(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    raw: Raw,
) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    let request = OpenRequest::read(raw.json()?, idempotency_key(&headers)?)?;
    takes_new_work(&app)?;
    let definition = app.registry.definition_by_hash(OPEN_NAME);
    let definition =
        definition.ok_or_else(|| problem(Slug::Internal, "the definition of open sagas is missing"))?;
    let start = Start {
        key: request.key,
        labels: request.labels,
        timeout: Some(request.timeout),
        ..Start::new(SagaId::now_v7(), definition, Arc::new(json!({})))
    };
    begin(&app, start, request.fingerprint, None).await
}

/// `POST /v1/sagas/{id}/branches`
pub(crate) async fn branch(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    let id = parse_id(&id)?;
    let request = BranchRequest::read(raw.json()?)?;
    let saga = find(&app, id).await?;
    // A repeat is answered although an operation may be gone by now; so is what can never be registered. After the
    // decision nothing is acknowledged, not even a repeat: the work would come too late for what was decided.
    let lenient = Box::new(app.registry.branch_terms(&request));
    let repeat = Input::Branch { name: request.name.clone(), terms: lenient.clone() };
    let status = match decide(&saga, repeat, now()) {
        Ok(records) if records.is_empty() => StatusCode::OK,
        Ok(_) => {
            let terms = Box::new(app.registry.branch(app.store.as_ref(), &request).await?);
            give(&app, id, Input::Branch { name: request.name, terms }).await?;
            StatusCode::CREATED
        }
        Err(Rejected::Decided) => return Err(too_late(&saga, &request.name, &lenient)),
        Err(why) => return Err(super::rejected(why, &saga)),
    };
    answer(&app, id, None, None, status).await
}

/// Says how the saga was decided, and whether this very branch is part of that.
fn too_late(saga: &Saga, name: &Name, terms: &BranchTerms) -> Failure {
    let Failure(problem) = decided(saga);
    problem.with("registered", has_branch(saga, name, terms)).into()
}

/// `POST /v1/sagas/{id}/renew`
pub(crate) async fn renew(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    let id = parse_id(&id)?;
    let request = RenewRequest::read(raw.json()?)?;
    give(&app, id, Input::Renew { deadline_at: now().after(request.timeout) }).await?;
    answer(&app, id, None, None, StatusCode::OK).await
}

/// `POST /v1/sagas/{id}/commit`
pub(crate) async fn commit(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    let (id, wait) = (parse_id(&id)?, waits(query.as_deref())?);
    let Nothing {} = body::read_or_default(raw.json()?)?;
    give(&app, id, Input::Commit).await?;
    answer(&app, id, None, wait, StatusCode::OK).await
}

/// `POST /v1/sagas/{id}/rollback`
pub(crate) async fn rollback(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    raw: Raw,
) -> Result<Response, Failure> {
    let (id, wait) = (parse_id(&id)?, waits(query.as_deref())?);
    let reason = RollbackRequest::read(raw.json()?)?.reason_or("rolled back by request");
    if !is_rolled_back(&app, id).await?
        && let Err(failure) = give(&app, id, Input::Cancel { reason }).await
    {
        // Its time may have been up meanwhile, or somebody may have committed it.
        if !is_rolled_back(&app, id).await? {
            return Err(failure);
        }
    }
    answer(&app, id, None, wait, StatusCode::OK).await
}

/// Whether an open saga is rolled back already, for whatever reason.
///
/// # Errors
/// `not_open` for any other saga, `saga_decided` for one that is committed.
async fn is_rolled_back(app: &App, id: SagaId) -> Result<bool, Failure> {
    let saga: Arc<Saga> = find(app, id).await?;
    if !saga.definition.is_open() {
        return Err(super::rejected(Rejected::NotOpen, &saga));
    }
    match saga.committed_at {
        Some(_) => Err(decided(&saga)),
        None => Ok(saga.direction == Direction::Backward),
    }
}
