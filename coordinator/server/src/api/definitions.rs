//! Definitions: register, list, show.

use super::{App, query::Query, unavailable};
use crate::http::{Failure, Path, Raw, json, problem};
use amends_saga::Name;
use amends_store::{DefinitionPut, DefinitionRow};
use amends_wire::{
    api::{DefinitionView, List, body},
    definition::Text,
    problem::{Problem, Slug},
};
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;
use std::collections::BTreeMap;

/// `PUT /v1/definitions/{name}/{version}`
pub(crate) async fn register(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
    raw: Raw,
) -> Result<Response, Failure> {
    let (name, version) = (parse_name(&name)?, parse_version(&version)?);
    let text = Text::read(body::text(&raw.bytes)?).map_err(Problem::from)?;
    if (&text.name, text.version) != (&name, version) {
        let detail = format!(
            "the address says {name}@{version}, the definition itself {}@{}; make them agree",
            text.name, text.version
        );
        return Err(problem(Slug::DefinitionInvalid, detail));
    }
    let (put, row) = app.registry.put_definition(&app.store, text, true).await?;
    match put {
        DefinitionPut::New => Ok(json(StatusCode::CREATED, &view(&row, true))),
        DefinitionPut::Same => Ok(json(StatusCode::OK, &view(&row, true))),
        DefinitionPut::Conflict(hash) => {
            let detail = format!("{name}@{version} is registered with other content; raise the version");
            Err(Problem::new(Slug::DefinitionExists, detail).with("hash", hash).into())
        }
    }
}

/// `GET /v1/definitions`
pub(crate) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let is_counted = counts(query.as_deref())?;
    listed(&app, app.registry.definition_rows(), is_counted).await
}

/// `GET /v1/definitions/{name}`
pub(crate) async fn versions(
    State(app): State<App>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let (name, is_counted) = (parse_name(&name)?, counts(query.as_deref())?);
    let mut rows = app.registry.definition_rows();
    rows.retain(|row| row.name == name.as_str());
    if rows.is_empty() {
        return Err(problem(Slug::UnknownDefinition, format!("no definition \"{name}\" is registered")));
    }
    listed(&app, rows, is_counted).await
}

/// Whether live sagas are counted: `?live=false` spares the store a search among what is live.
fn counts(query: Option<&str>) -> Result<bool, Failure> {
    let query = Query::read(query, &["live"], &[])?;
    Ok(query.get("live").is_none() || query.flag("live")?)
}

/// Answers with definitions, and with how many live sagas run each version.
async fn listed(app: &App, rows: Vec<DefinitionRow>, is_counted: bool) -> Result<Response, Failure> {
    let versions = if is_counted { app.store.versions().await.map_err(unavailable)? } else { Vec::new() };
    let live: BTreeMap<(&str, u32), u64> =
        versions.iter().map(|(name, version, live)| ((name.as_str(), *version), *live)).collect();
    let count = |row: &DefinitionRow| live.get(&(row.name.as_str(), row.version)).copied().unwrap_or(0);
    let items =
        rows.iter().map(|row| DefinitionView { live: is_counted.then(|| count(row)), ..view(row, false) });
    Ok(json(StatusCode::OK, &List::whole(items.collect())))
}

/// `GET /v1/definitions/{name}/{version}`
pub(crate) async fn show(
    State(app): State<App>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let (name, version) = (parse_name(&name)?, parse_version(&version)?);
    let mut rows = app.registry.definition_rows().into_iter();
    match rows.find(|row| row.name == name.as_str() && row.version == version) {
        Some(row) => Ok(json(StatusCode::OK, &view(&row, true))),
        None => {
            Err(problem(Slug::UnknownDefinition, format!("no definition {name}@{version} is registered")))
        }
    }
}

fn view(row: &DefinitionRow, whole: bool) -> DefinitionView {
    DefinitionView {
        name: Name::parse(&row.name).expect("a registered name was parsed"),
        version: row.version,
        hash: row.hash.clone(),
        created_at: row.created_at.into(),
        live: None,
        content: whole.then(|| serde_json::from_str(&row.text).unwrap_or_default()),
    }
}

pub(super) fn parse_name(text: &str) -> Result<Name, Failure> {
    Name::parse(text).map_err(|error| problem(Slug::BadName, error.to_string()))
}

fn parse_version(text: &str) -> Result<u32, Failure> {
    let version = text.parse().ok().filter(|version| *version >= 1);
    version.ok_or_else(|| {
        problem(Slug::BadName, format!("\"{}\" is not a version: use a number from 1", text.escape_debug()))
    })
}
