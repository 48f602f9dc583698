//! Health, metrics, the API's own description and its problem pages.

use super::App;
use crate::http::{Failure, Path, json, problem};
use amends_wire::problem::Slug;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use std::time::Duration;

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Response {
    json(StatusCode::OK, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /readyz`: the store can be written and new work is taken.
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    if app.is_stopping() {
        return problem(Slug::ShuttingDown, "this coordinator is stopping").into_response();
    }
    match tokio::time::timeout(Duration::from_secs(2), app.store.ping()).await {
        Ok(Ok(())) => json(StatusCode::OK, &json!({ "status": "ready" })),
        Ok(Err(error)) => problem(Slug::StoreUnavailable, error.to_string()).into_response(),
        Err(_) => problem(Slug::StoreUnavailable, "the store did not answer within 2 s").into_response(),
    }
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let handle = app.metrics.handle();
    handle.run_upkeep();
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, text)], handle.render()).into_response()
}

/// `GET /openapi.json`: the description of this API.
pub(crate) async fn openapi() -> Response {
    let media = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, media)], crate::OPENAPI).into_response()
}

/// `GET /problems/{slug}`: what a kind of problem means.
pub(crate) async fn problem_page(Path(slug): Path<String>) -> Result<Response, Failure> {
    let slug =
        Slug::find(&slug).ok_or_else(|| problem(Slug::NotFound, "there is no such kind of problem"))?;
    let text = format!("{} ({}): {}\n\n{}\n", slug.as_str(), slug.status(), slug.title(), slug.about());
    let media = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}
