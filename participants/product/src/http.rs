//! The addresses that are not calls of a saga.
//!
//! | call | |
//! |---|---|
//! | `PUT /catalogue` | 1 to 1000 SKUs; each is written if its `version` is newer |
//! | `PUT /availability` | what there is of 1 to 1000 SKUs; each is written if its `seq` is newer |
//! | `GET /products/{sku}` | one SKU |
//! | `GET /products?after=7&limit=50` | all SKUs, ascending, in pages |
//! | `GET /products/{sku}/prices?limit=50` | the prices it has had, the newest first |
//! | `GET /audit` | the catalogue checked by its own laws |
//!
//! A catalogue is `{"items": [{"sku", "spu"?, "name", "price_minor", "currency"?, "status"?, "attrs"?, "version"?}]}`,
//! availabilities are `{"items": [{"sku", "usable", "state"?, "seq"}]}`; both are answered `{"items", "written"}`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amends_sdk::body::does_not_fit;
use amends_sdk::{Reply, Task, Tx, Writer};
use amends_wire::problem::{Misfit, Problem, Slug};
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;

use crate::cache::Cache;
use crate::gather::now_ms;
use crate::load::{Availability, Item, read_availability, read_items};
use crate::{audit, table};

/// The most items on one page.
const PAGE_MAX: i64 = 500;

/// Items on a page when nobody says how many.
const PAGE_DEFAULT: i64 = 50;

/// The largest load, in bytes.
const LOAD_BYTES_MAX: usize = 8 << 20;

/// How long a load may take to arrive.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses above, over one writer and its database.
pub(crate) fn router(writer: Writer, cache: Cache) -> Router {
    Router::new()
        .route("/catalogue", put(load))
        .route("/availability", put(availability))
        .route("/products", get(products))
        .route("/products/{sku}", get(product))
        .route("/products/{sku}/prices", get(prices))
        .route("/audit", get(laws))
        .with_state(Serving { writer, cache })
}

/// What the addresses are served from.
#[derive(Clone)]
struct Serving {
    writer: Writer,
    cache: Cache,
}

/// What is loaded, and how many of it counted.
enum Load {
    Items(Vec<Item>),
    Availability(Vec<Availability>),
}

struct Loading {
    load: Load,
    written: Arc<AtomicU64>,
}

#[async_trait]
impl Task for Loading {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let written = match &self.load {
            Load::Items(items) => table::upsert(tx.sqlite(), items, now_ms()).await,
            Load::Availability(items) => table::upsert_availability(tx.sqlite(), items, now_ms()).await,
        };
        self.written.store(written?, Ordering::Release);
        Ok(())
    }
}

/// An answer that is a problem.
struct Failure(Problem);

impl From<table::Error> for Failure {
    fn from(error: table::Error) -> Failure {
        tracing::warn!(%error, "the product database could not be used");
        let detail = "the product database cannot be used now; try again";
        Failure(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::from(table::Error::from(error))
    }
}

impl From<Vec<Misfit>> for Failure {
    fn from(misfits: Vec<Misfit>) -> Failure {
        Failure(does_not_fit(&misfits))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Reply::problem(&self.0).into_response()
    }
}

async fn load(State(serving): State<Serving>, request: Request) -> Result<Json<Value>, Failure> {
    let items = read_items(&read(request.into_body()).await?)?;
    let versions: Vec<(i64, i64)> = items.iter().map(|item| (item.sku, item.version)).collect();
    let written = write(&serving.writer, items.len(), Load::Items(items)).await;
    // Even if it failed: nobody knows then whether the commit was lost, or only its answer.
    serving.cache.written(versions.into_iter()).await;
    written
}

async fn availability(State(serving): State<Serving>, request: Request) -> Result<Json<Value>, Failure> {
    let items = read_availability(&read(request.into_body()).await?)?;
    write(&serving.writer, items.len(), Load::Availability(items)).await
}

/// Reads a load, neither too long nor for too long.
async fn read(body: Body) -> Result<Value, Failure> {
    let Ok(read) = tokio::time::timeout(LOAD_TIMEOUT, to_bytes(body, LOAD_BYTES_MAX)).await else {
        let detail = format!("the load did not arrive within {} s", LOAD_TIMEOUT.as_secs());
        return Err(Failure(Problem::new(Slug::RequestTimeout, detail)));
    };
    let bytes = read.map_err(|error| {
        let detail =
            format!("the load could not be read up to its end, or exceeds {LOAD_BYTES_MAX} bytes: {error}");
        Failure(Problem::new(Slug::BodyTooLarge, detail))
    })?;
    amends_wire::api::body::read(&bytes).map_err(Failure)
}

/// Answers when it is durable: `{"items": sent, "written": how many counted}`.
async fn write(writer: &Writer, items: usize, load: Load) -> Result<Json<Value>, Failure> {
    let written = Arc::new(AtomicU64::new(0));
    let loading = Loading { load, written: written.clone() };
    writer.run(Box::new(loading)).await.map_err(|error| {
        tracing::warn!(%error, "a load could not be written");
        let detail = "the load could not be written; send it again";
        Failure(Problem::new(Slug::StoreUnavailable, detail).retry_after(1))
    })?;
    Ok(Json(json!({ "items": items, "written": written.load(Ordering::Acquire) })))
}

async fn product(
    State(serving): State<Serving>,
    Path(sku): Path<String>,
) -> Result<Json<table::Product>, Failure> {
    let number: i64 = sku.parse().map_err(|_| unknown(&sku))?;
    let mut reader = serving.reader().await?;
    table::product(&mut reader, number).await?.map(Json).ok_or_else(|| unknown(&sku))
}

/// How many prices are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    #[serde(default = "page_default")]
    limit: i64,
}

async fn prices(
    State(serving): State<Serving>,
    Path(sku): Path<String>,
    newest: Result<Query<Newest>, QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let Query(newest) = newest.map_err(|rejection| bad_query(rejection.body_text()))?;
    let limit = within(newest.limit)?;
    let number: i64 = sku.parse().map_err(|_| unknown(&sku))?;
    let mut reader = serving.reader().await?;
    let items = table::prices(&mut reader, number, limit).await?;
    if items.is_empty() {
        return Err(unknown(&sku));
    }
    Ok(Json(json!({ "sku": number, "items": items })))
}

fn unknown(sku: &str) -> Failure {
    let shown: String = sku.chars().take(40).collect();
    Failure(Problem::new(Slug::NotFound, format!("there is no sku {shown:?} in the catalogue")))
}

fn bad_query(detail: String) -> Failure {
    Failure(Problem::new(Slug::BadQuery, detail))
}

fn within(limit: i64) -> Result<i64, Failure> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(bad_query(format!("limit must be an integer from 1 to {PAGE_MAX}, not {limit}")))
}

impl Serving {
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.writer.database().readers().acquire().await
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(default)]
    after: i64,
    #[serde(default = "page_default")]
    limit: i64,
}

fn page_default() -> i64 {
    PAGE_DEFAULT
}

async fn products(
    State(serving): State<Serving>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<table::Page>, Failure> {
    let Query(window) = window.map_err(|rejection| bad_query(rejection.body_text()))?;
    let limit = within(window.limit)?;
    let mut reader = serving.reader().await?;
    Ok(Json(table::products_after(&mut reader, window.after, limit).await?))
}

async fn laws(State(serving): State<Serving>) -> Result<Json<audit::Audit>, Failure> {
    // One read transaction, so that every law looks at the same moment.
    let mut snapshot = serving.writer.database().readers().begin().await?;
    let found = audit::audit(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(Json(found))
}
