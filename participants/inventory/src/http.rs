//! The addresses that are not calls of a saga: stock, orders, audit, replenishment. Those of routes and adjustments are
//! with the routes.
//!
//! | call | |
//! |---|---|
//! | `GET /stock?sku=7&sku=9` (or `sku=7,9`) | the stock of these SKUs; unknown ones are left out |
//! | `GET /stock?sku=7&by=record` | every record of these SKUs by itself: where it lies and what for, its counters, safety stock, route and version |
//! | `GET /stock?after=9&limit=50` | all stock, ascending by SKU, in pages |
//! | `GET /orders?after=1001&limit=50` | what each order has set aside, ascending by order, in pages |
//! | `GET /audit` | the books checked by their own laws |
//! | `POST /audit` | the same, and held against `{"orders": […], "availability": […]}`; with `{"laws": [name, …]}` only those, and no totals; see [`audit::Given`] |
//! | `POST /replenish` | `{"biz_no": text, "lines": [{"sku", "qty", "if_version"?}]}`: goods come in, once under their number, see [`version`] |

use amends_sdk::Writer;
use amends_wire::problem::{MEDIA_TYPE, Misfit};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};

use crate::audit::{self, Audit, Given};
use crate::body::now_ms;
use crate::cart::Delivery;
use crate::listing::{self, PAGE_DEFAULT, PAGE_MAX};
use crate::replenish::{self, Replenished};
use crate::version::{self, Passed};

/// The most SKUs that can be asked for at once.
const SKUS_MAX: usize = 500;

/// The most records that are told of at once.
const RECORDS_MAX: usize = 5_000;

/// The largest body of a delivery, in bytes.
const DELIVERY_BYTES_MAX: usize = 1 << 20;

type Parameters = Query<Vec<(String, String)>>;

/// The addresses above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new()
        .route("/stock", get(stock))
        .route("/orders", get(orders))
        .route("/audit", get(books).post(books_given))
        .route("/replenish", post(replenish))
        .layer(DefaultBodyLimit::max(DELIVERY_BYTES_MAX))
        .with_state(writer.clone())
}

/// Audits on one snapshot, by what is given and the time now.
pub(crate) async fn snapshot_audit(readers: &SqlitePool, given: Given) -> Result<Audit, sqlx::Error> {
    let given = Given { now: given.now.or_else(|| Some(now_ms())), ..given };
    let mut reader = readers.acquire().await?;
    // One read transaction, so that every law looks at the same moment.
    let mut snapshot = reader.begin().await?;
    let audit = audit::audit_given(&mut snapshot, &given).await?;
    snapshot.rollback().await?;
    Ok(audit)
}

/// An answer that is a problem.
pub(crate) struct Failure {
    status: StatusCode,
    detail: String,
    misfits: Vec<Misfit>,
    /// The lines it is about, where it is about some.
    lines: Value,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Failure {
        Failure { status, detail: detail.into(), misfits: Vec::new(), lines: Value::Null }
    }

    /// A body that is no JSON, or too large.
    pub(crate) fn of_body(rejection: JsonRejection) -> Failure {
        Failure::new(rejection.status(), rejection.body_text())
    }

    /// A body that does not fit.
    pub(crate) fn misfits(what: &str, misfits: Vec<Misfit>) -> Failure {
        let detail = format!("{what} cannot be read; see errors");
        Failure { misfits, ..Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// Stock that was not at the version it was changed under.
    pub(crate) fn passed(passed: &[Passed]) -> Failure {
        let lines = passed.iter().map(Passed::body).collect();
        Failure { lines, ..Failure::new(StatusCode::CONFLICT, version::message(passed)) }
    }

    /// Something that could not be written.
    pub(crate) fn unwritten(what: &str, error: &amends_sdk::Error) -> Failure {
        tracing::warn!(%error, "{what} could not be written");
        let detail = format!("{what} could not be written; send it again");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        tracing::warn!(%error, "the inventory's database could not be read");
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the inventory's database cannot be read now; try again",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error").to_lowercase();
        let mut body = json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        if !self.misfits.is_empty() {
            body["errors"] = json!(self.misfits);
        }
        if !self.lines.is_null() {
            body["lines"] = self.lines;
        }
        (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
    }
}

async fn stock(State(writer): State<Writer>, Query(parameters): Parameters) -> Result<Response, Failure> {
    let mut reader = reader(&writer).await?;
    let by_record = match find(&parameters, "by") {
        Some("record") => true,
        None | Some("sku") => false,
        Some(_) => return Err(Failure::new(StatusCode::BAD_REQUEST, "by must be sku or record")),
    };
    if let Some(skus) = skus(&parameters)? {
        if by_record {
            return records(&mut reader, &skus).await;
        }
        let items = listing::stock_of(&mut reader, &skus).await?;
        return Ok(Json(listing::Page { items, next: None }).into_response());
    }
    if by_record {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "by=record wants to be told which SKUs: sku=7"));
    }
    let after = match find(&parameters, "after") {
        Some(text) => integer("after", text, i64::MAX)?,
        None => 0,
    };
    Ok(Json(listing::stock_after(&mut reader, after, limit(&parameters)?).await?).into_response())
}

async fn records(reader: &mut SqliteConnection, skus: &[i64]) -> Result<Response, Failure> {
    match listing::records_of(reader, skus, RECORDS_MAX).await? {
        Some(items) => Ok(Json(listing::Page { items, next: None }).into_response()),
        None => {
            let detail = format!("these SKUs have more than {RECORDS_MAX} records; ask for fewer of them");
            Err(Failure::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

async fn orders(State(writer): State<Writer>, Query(parameters): Parameters) -> Result<Response, Failure> {
    let after = find(&parameters, "after").unwrap_or_default();
    let limit = limit(&parameters)?;
    let mut reader = reader(&writer).await?;
    Ok(Json(listing::orders_after(&mut reader, after, limit).await?).into_response())
}

async fn books(State(writer): State<Writer>) -> Result<Response, Failure> {
    Ok(Json(snapshot_audit(writer.database().readers(), Given::default()).await?).into_response())
}

async fn books_given(
    State(writer): State<Writer>,
    body: Result<Json<Given>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(given) = body.map_err(Failure::of_body)?;
    let readers = writer.database().readers();
    if given.laws.is_empty() {
        return Ok(Json(snapshot_audit(readers, given).await?).into_response());
    }
    if let Some(unknown) = given.laws.iter().find(|name| audit::every().all(|law| law.name != **name)) {
        let shown: String = unknown.chars().take(64).collect();
        let detail = format!("there is no law {shown:?}; GET /audit names those there are");
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let given = Given { now: given.now.or_else(|| Some(now_ms())), ..given };
    Ok(Json(audit::audit_some(&mut *readers.acquire().await?, &given).await?).into_response())
}

async fn replenish(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let delivery = Delivery::read(&body).map_err(|misfits| Failure::misfits("the delivery", misfits))?;
    let (biz_no, lines, qty) = (delivery.biz_no().clone(), delivery.lines().len(), delivery.qty());
    let answer =
        |status| (status, Json(json!({ "biz_no": biz_no, "lines": lines, "qty": qty }))).into_response();
    match replenish::replenish(&writer, delivery).await {
        Ok(Replenished::New) => Ok(answer(StatusCode::CREATED)),
        Ok(Replenished::Again) => Ok(answer(StatusCode::OK)),
        Ok(Replenished::NumberTaken) => {
            let detail = format!("number {biz_no} brought in other goods before; use a number of its own");
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Ok(Replenished::TooMuch) => {
            let detail =
                format!("with delivery {biz_no} a stock would exceed {}", crate::balance::INBOUND_MAX);
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Ok(Replenished::Passed(passed)) => Err(Failure::passed(&passed)),
        Err(error) => Err(Failure::unwritten("the delivery", &error)),
    }
}

async fn reader(writer: &Writer) -> Result<PoolConnection<Sqlite>, Failure> {
    Ok(writer.database().readers().acquire().await?)
}

fn find<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// All SKUs that are asked for, or `None` when none is named.
fn skus(parameters: &[(String, String)]) -> Result<Option<Vec<i64>>, Failure> {
    let mut texts =
        parameters.iter().filter(|(key, _)| key == "sku").flat_map(|(_, value)| value.split(',')).peekable();
    if texts.peek().is_none() {
        return Ok(None);
    }
    let skus = texts.map(|text| integer("sku", text, i64::MAX)).collect::<Result<Vec<_>, _>>()?;
    if skus.len() > SKUS_MAX {
        let detail =
            format!("{} SKUs are more than the {SKUS_MAX} that can be asked for at once", skus.len());
        return Err(Failure::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Some(skus))
}

fn limit(parameters: &[(String, String)]) -> Result<i64, Failure> {
    find(parameters, "limit").map_or(Ok(PAGE_DEFAULT), |text| integer("limit", text, PAGE_MAX))
}

fn integer(name: &str, text: &str, max: i64) -> Result<i64, Failure> {
    let least = i64::from(name != "after");
    text.parse().ok().filter(|value| (least..=max).contains(value)).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let detail = format!("{name} must be an integer from {least} to {max}, not {shown:?}");
        Failure::new(StatusCode::BAD_REQUEST, detail)
    })
}
