//! Participants: register, list, show, remove.

use super::{App, definitions::parse_name, query::Query};
use crate::http::{Failure, Path, Raw, json, problem};
use amends_wire::{
    api::{List, body},
    problem::Slug,
    registration::Registration,
};
use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

/// `PUT /v1/participants/{name}`
pub(crate) async fn register(
    State(app): State<App>,
    Path(name): Path<String>,
    raw: Raw,
) -> Result<Response, Failure> {
    let name = parse_name(&name)?;
    let registration: Registration = body::read(raw.json()?)?;
    let (is_new, view) = app.registry.register(&app.store, name, registration).await?;
    Ok(json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &view))
}

/// `GET /v1/participants`
pub(crate) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    Query::read(query.as_deref(), &[], &[])?;
    Ok(json(StatusCode::OK, &List::whole(app.registry.participant_views())))
}

/// `GET /v1/participants/{name}`
pub(crate) async fn show(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Failure> {
    let name = parse_name(&name)?;
    match app.registry.participant_view(&name) {
        Some(view) => Ok(json(StatusCode::OK, &view)),
        None => Err(problem(Slug::NotFound, format!("no participant \"{name}\" is registered"))),
    }
}

/// `DELETE /v1/participants/{name}`
pub(crate) async fn remove(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Failure> {
    let name = parse_name(&name)?;
    match app.registry.remove(&app.store, &name).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(problem(Slug::NotFound, format!("no participant \"{name}\" is registered"))),
    }
}

/// `DELETE /v1/participants/{name}/instances/{id}`
pub(crate) async fn remove_instance(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let name = parse_name(&name)?;
    match app.registry.remove_instance(&app.store, &name, &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(problem(Slug::NotFound, format!("participant \"{name}\" has no instance of this id"))),
    }
}
