//! Serving the audit: the query read strictly, the caller checked, one page from the participant.

use super::serving::App;
use crate::{Reply, saga_audit::SagaAudit};
use amends_wire::{
    audit::{Page, Query},
    problem::{Problem, Slug},
};
use axum::{
    extract::{Query as Parameters, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use std::time::Duration;

/// How long a page may take to be read.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// `GET /saga-audit?since=…&limit=…&cursor=…`.
pub(super) async fn page(
    State(app): State<App>,
    headers: HeaderMap,
    parameters: Result<Parameters<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    match read(&app, &headers, parameters).await {
        Ok(page) => axum::Json(page).into_response(),
        Err(problem) => Reply::problem(&problem).into_response(),
    }
}

async fn read(
    app: &App,
    headers: &HeaderMap,
    parameters: Result<Parameters<Vec<(String, String)>>, QueryRejection>,
) -> Result<Page, Problem> {
    app.check_signature(headers, b"")?;
    let Some(audit) = &app.audit else {
        let detail = "this participant keeps no trace of what it does, and so offers no audit";
        return Err(Problem::new(Slug::NotFound, detail));
    };
    let Parameters(parameters) =
        parameters.map_err(|rejection| Problem::new(Slug::BadQuery, rejection.body_text()))?;
    in_time(audit.as_ref(), &Query::read(&parameters)?).await
}

async fn in_time(audit: &dyn SagaAudit, query: &Query) -> Result<Page, Problem> {
    match tokio::time::timeout(PAGE_TIMEOUT, audit.page(query)).await {
        Ok(page) => Ok(page?),
        Err(_) => {
            let detail = format!("the page could not be read within {} s", PAGE_TIMEOUT.as_secs());
            Err(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
        }
    }
}
