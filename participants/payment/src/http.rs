//! The addresses that are not calls of a saga.
//!
//! | call | |
//! |---|---|
//! | `GET /payments/{payment}` | one payment with its refunds and events |
//! | `GET /payments?after=A-1001&limit=50` | all payments, ascending by number, in pages |
//! | `GET /audit` | the payments checked by their own laws |
//! | `POST /audit` | the same, and held against `{"orders": […]}`; with `{"laws": [name, …]}` only those, and no totals; see [`audit::Given`] |

use amends_sdk::Reply;
use amends_wire::problem::{Problem, Slug};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use sqlx::SqlitePool;

use crate::audit::Given;
use crate::listing::{self, PAGE_DEFAULT, PAGE_MAX, Page};
use crate::{audit, request::NAME_CHARS_MAX};

/// The largest body that is read here, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The addresses above, reading through `readers`.
pub(crate) fn router(readers: SqlitePool) -> Router {
    Router::new()
        .route("/payments", get(payments))
        .route("/payments/{payment}", get(payment))
        .route("/audit", get(laws).post(laws_given))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(readers)
}

/// Which page of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(default)]
    after: String,
    #[serde(default = "page_default")]
    limit: i64,
}

fn page_default() -> i64 {
    PAGE_DEFAULT
}

/// An answer that is a problem.
struct Failure(Problem);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        tracing::warn!(%error, "the payment database could not be read");
        let detail = "the payment database cannot be read now; try again";
        Failure(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Reply::problem(&self.0).into_response()
    }
}

async fn payment(
    State(readers): State<SqlitePool>,
    Path(number): Path<String>,
) -> Result<Json<Value>, Failure> {
    let mut snapshot = readers.begin().await?;
    let found = listing::payment(&mut snapshot, &number).await?;
    snapshot.rollback().await?;
    let shown: String = number.chars().take(NAME_CHARS_MAX).collect();
    found
        .map(Json)
        .ok_or_else(|| Failure(Problem::new(Slug::NotFound, format!("there is no payment {shown:?}"))))
}

async fn payments(
    State(readers): State<SqlitePool>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Page>, Failure> {
    let bad = |detail: String| Failure(Problem::new(Slug::BadQuery, detail));
    let Query(window) = window.map_err(|rejection| bad(rejection.body_text()))?;
    if !(1..=PAGE_MAX).contains(&window.limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {}", window.limit)));
    }
    let mut reader = readers.acquire().await?;
    Ok(Json(listing::payments_after(&mut reader, &window.after, window.limit).await?))
}

async fn laws(State(readers): State<SqlitePool>) -> Result<Json<audit::Audit>, Failure> {
    Ok(Json(snapshot_audit(&readers, &Given::default()).await?))
}

async fn laws_given(
    State(readers): State<SqlitePool>,
    body: Result<Json<Given>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(given) =
        body.map_err(|rejection| Failure(Problem::new(Slug::MalformedBody, rejection.body_text())))?;
    if given.laws.is_empty() {
        return Ok(Json(snapshot_audit(&readers, &given).await?).into_response());
    }
    if let Some(unknown) = given.laws.iter().find(|name| !audit::is_law(name)) {
        let shown: String = unknown.chars().take(NAME_CHARS_MAX).collect();
        let detail = format!("there is no law {shown:?}; GET /audit names those there are");
        return Err(Failure(Problem::new(Slug::InputDoesNotFit, detail)));
    }
    Ok(Json(audit::audit_some(&mut *readers.acquire().await?, &given).await?).into_response())
}

async fn snapshot_audit(readers: &SqlitePool, given: &Given) -> Result<audit::Audit, sqlx::Error> {
    // One read transaction, so that every law looks at the same moment.
    let mut snapshot = readers.begin().await?;
    let found = audit::audit_given(&mut snapshot, given).await?;
    snapshot.rollback().await?;
    Ok(found)
}
