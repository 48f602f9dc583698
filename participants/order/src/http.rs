//! The addresses that are not calls of a saga.
//!
//! | call | |
//! |---|---|
//! | `GET /orders/{order}` | one order with its lines, events and refunds |
//! | `GET /orders?after=A-1001&limit=50` | all orders with their lines, ascending by number, in pages |
//! | `GET /events?after=17&limit=50` | everything that happened to any order, in its order, in pages |
//! | `GET /audit` | the orders checked by their own laws |
//! | `POST /audit` | the same, and held against `{"payments": […]}`; with `{"laws": [name, …]}` only those, and no totals; see [`audit::Given`] |
//! | `POST /tokens` | `{"customer"}`: a token to place one order with; 201 `{"token", "customer", "expires_at"}` |
//! | `POST /expire` | `{"order"}` or `{"orders": […]}`: their time to pay is up |
//!
//! `POST /expire` answers for one order: 200 when it is called off, now or before; 409 when it may still be paid for, or
//! is paid; 404 when there is none. For several it answers 200 and `{"results": [{"status", "body"}]}`, in their order.
//! Of it and a payment exactly one takes effect.

use std::sync::Arc;

use amends_saga::Timestamp;
use amends_sdk::body::{Reader, does_not_fit, given};
use amends_sdk::{Reply, Writer};
use amends_wire::api::Time;
use amends_wire::problem::{Problem, Slug};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRef, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tokio::sync::Notify;

use crate::audit::Given;
use crate::book::Verdict;
use crate::command::{NAME_CHARS_MAX, OrderNo};
use crate::listing::{PAGE_DEFAULT, PAGE_MAX};
use crate::orders::now_ms;
use crate::table::Error;
use crate::timeouts::{self, ORDERS_MAX};
use crate::token::Tokens;
use crate::{audit, listing};

/// The largest body that is read here, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the addresses work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) writer: Writer,
    pub(crate) tokens: Tokens,
    /// Rings when an order was called off that nobody paid for.
    pub(crate) called_off: Arc<Notify>,
}

impl FromRef<App> for SqlitePool {
    fn from_ref(app: &App) -> SqlitePool {
        app.writer.database().readers().clone()
    }
}

/// The addresses above.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/orders", get(orders))
        .route("/orders/{order}", get(order))
        .route("/events", get(events))
        .route("/audit", get(laws).post(laws_given))
        .route("/tokens", post(token))
        .route("/expire", post(expire))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
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

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        tracing::warn!(%error, "the order database could not be read");
        let detail = "the order database cannot be read now; try again";
        Failure(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::from(Error::from(error))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Reply::problem(&self.0).into_response()
    }
}

async fn order(
    State(readers): State<SqlitePool>,
    Path(number): Path<String>,
) -> Result<Json<listing::Detail>, Failure> {
    let mut snapshot = readers.begin().await?;
    let found = listing::order(&mut snapshot, &number).await?;
    snapshot.rollback().await?;
    let shown: String = number.chars().take(64).collect();
    found
        .map(Json)
        .ok_or_else(|| Failure(Problem::new(Slug::NotFound, format!("there is no order {shown:?}"))))
}

async fn orders(
    State(readers): State<SqlitePool>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<listing::Page<listing::Entry>>, Failure> {
    let bad = |detail: String| Failure(Problem::new(Slug::BadQuery, detail));
    let Query(window) = window.map_err(|rejection| bad(rejection.body_text()))?;
    if !(1..=PAGE_MAX).contains(&window.limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {}", window.limit)));
    }
    let mut reader = readers.acquire().await?;
    Ok(Json(listing::orders_after(&mut reader, &window.after, window.limit).await?))
}

/// Which page of the events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventWindow {
    #[serde(default)]
    after: i64,
    #[serde(default = "page_default")]
    limit: i64,
}

async fn events(
    State(readers): State<SqlitePool>,
    window: Result<Query<EventWindow>, QueryRejection>,
) -> Result<Json<listing::Page<listing::Happened, i64>>, Failure> {
    let bad = |detail: String| Failure(Problem::new(Slug::BadQuery, detail));
    let Query(window) = window.map_err(|rejection| bad(rejection.body_text()))?;
    if !(1..=PAGE_MAX).contains(&window.limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {}", window.limit)));
    }
    let mut reader = readers.acquire().await?;
    Ok(Json(listing::events_after(&mut reader, window.after, window.limit).await?))
}

type Sent = Result<Json<Value>, JsonRejection>;

fn sent(body: Sent) -> Result<Value, Failure> {
    let Json(body) =
        body.map_err(|rejection| Failure(Problem::new(Slug::MalformedBody, rejection.body_text())))?;
    Ok(body)
}

async fn token(State(app): State<App>, body: Sent) -> Result<Response, Failure> {
    let body = sent(body)?;
    let mut reader = Reader::default();
    let customer = reader.text(&body, "", "customer", 1..=NAME_CHARS_MAX);
    let customer = reader.finish(customer).map_err(|misfits| Failure(does_not_fit(&misfits)))?;
    let issued = app.tokens.issue(&customer, now_ms()).map_err(|error| {
        Failure(Problem::new(Slug::StoreUnavailable, format!("no token can be made now: {error}")))
    })?;
    let expires_at = Time(Timestamp(issued.expires_at));
    let answer = json!({ "token": issued.token, "customer": customer, "expires_at": expires_at });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn expire(State(app): State<App>, body: Sent) -> Result<Response, Failure> {
    let body = sent(body)?;
    let many = given(&body, "orders").is_some();
    let orders = read_orders(&body, many).map_err(|misfits| Failure(does_not_fit(&misfits)))?;
    let verdicts = timeouts::expire(&app.writer, orders).await.map_err(|error| {
        tracing::warn!(%error, "an order could not be called off");
        let detail = "the order database cannot be written now; try again";
        Failure(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
    })?;
    app.called_off.notify_one();
    let mut replies = verdicts.into_iter().map(replied);
    if many {
        let results: Vec<Value> =
            replies.map(|reply| json!({ "status": reply.status, "body": reply.body })).collect();
        return Ok(Json(json!({ "results": results })).into_response());
    }
    Ok(replies.next().map_or_else(|| StatusCode::NO_CONTENT.into_response(), Reply::into_response))
}

fn read_orders(body: &Value, many: bool) -> Result<Vec<OrderNo>, Vec<amends_wire::problem::Misfit>> {
    let mut reader = Reader::default();
    let texts = match many {
        true => reader.each(body, "orders", 1..=ORDERS_MAX, |reader, order, at| {
            let named = json!({ "order": order });
            reader.text(&named, at, "order", 1..=NAME_CHARS_MAX)
        }),
        false => reader.text(body, "", "order", 1..=NAME_CHARS_MAX).into_iter().collect(),
    };
    reader.finish(Some(texts.into_iter().map(OrderNo::stored).collect()))
}

/// A verdict as an answer; of an order that is not there, 404.
fn replied(verdict: Verdict) -> Reply {
    match verdict {
        Verdict::Done(view) => Reply::done(view),
        Verdict::Refused { why, details } if details.get("state").is_none() => {
            Reply { status: 404, ..Reply::refused(why, details) }
        }
        Verdict::Refused { why, details } => Reply::refused(why, details),
    }
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

async fn snapshot_audit(readers: &SqlitePool, given: &Given) -> Result<audit::Audit, Error> {
    // One read transaction, so that every law looks at the same moment.
    let mut snapshot = readers.begin().await?;
    let found = audit::audit_given(&mut snapshot, given).await?;
    snapshot.rollback().await?;
    Ok(found)
}
