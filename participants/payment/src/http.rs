//! The addresses that are not calls of a saga.
//!
//! | call | |
//! |---|---|
//! | `GET /payments/{payment}` | one payment with its refunds and events |
//! | `GET /payments?after=A-1001&limit=50` | all payments, ascending by number, in pages |
//! | `GET /audit` | the payments checked by their own laws |

use amends_sdk::Reply;
use amends_wire::problem::{Problem, Slug};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use sqlx::SqlitePool;

use crate::listing::{self, PAGE_DEFAULT, PAGE_MAX, Page};
use crate::{audit, request::NAME_CHARS_MAX};

/// The addresses above, reading through `readers`.
pub(crate) fn router(readers: SqlitePool) -> Router {
    Router::new()
        .route("/payments", get(payments))
        .route("/payments/{payment}", get(payment))
        .route("/audit", get(laws))
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
    // One read transaction, so that every law looks at the same moment.
    let mut snapshot = readers.begin().await?;
    let found = audit::audit(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(Json(found))
}
