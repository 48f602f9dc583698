//! The addresses of physical stock.
//!
//! | call | |
//! |---|---|
//! | `POST /physical/sync` | a batch of counts, see [`super`]: 201 when it is taken, 200 when it was taken before |
//! | `GET /physical?sku=7` | where a SKU lies, warehouse by warehouse |
//! | `GET /physical?warehouse=w1&after=7&limit=50` | what lies in a warehouse, ascending by SKU, in pages |

use amends_saga::Timestamp;
use amends_sdk::Writer;
use amends_wire::api::Time;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SyncBatch, Synced};
use crate::http::Failure;
use crate::listing::{PAGE_DEFAULT, PAGE_MAX, Page};

/// The largest body of a batch, in bytes.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The addresses above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new()
        .route("/physical", get(list))
        .route("/physical/sync", post(sync).layer(DefaultBodyLimit::max(BATCH_BYTES_MAX)))
        .with_state(writer.clone())
}

async fn sync(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let batch = SyncBatch::read(&body).map_err(|misfits| Failure::misfits("the batch", misfits))?;
    let conflict = |detail: String| Err(Failure::new(StatusCode::CONFLICT, detail));
    match super::sync(&writer, batch).await {
        Ok(Synced::New(answer)) => Ok((StatusCode::CREATED, Json(answer)).into_response()),
        Ok(Synced::Again(answer)) => Ok(Json(answer).into_response()),
        Ok(Synced::NumberTaken) => {
            conflict("another batch was taken under this number; use a number of its own".into())
        }
        Ok(Synced::CutOff { named, known }) => conflict(format!(
            "the batch is to be full and names {named} SKUs where {known} lay: send all of them, or mode \"some\""
        )),
        Err(error) => Err(Failure::unwritten("the batch", &error)),
    }
}

/// What of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    sku: Option<i64>,
    warehouse: Option<String>,
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
}

async fn list(
    State(writer): State<Writer>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Page<Value>>, Failure> {
    let bad = |detail: String| Failure::new(StatusCode::BAD_REQUEST, detail);
    let Query(window) = window.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = window.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {limit}")));
    }
    let query = match (window.sku, window.warehouse) {
        (Some(sku), None) => {
            sqlx::query("select * from inv_physical where sku_id = ?1 order by warehouse_no limit ?2")
                .bind(sku)
                .bind(PAGE_MAX)
        }
        (None, Some(warehouse)) => {
            let sql =
                "select * from inv_physical where warehouse_no = ?1 and sku_id > ?3 order by sku_id limit ?2";
            sqlx::query(sql).bind(warehouse).bind(limit).bind(window.after)
        }
        _ => return Err(bad("name a sku or a warehouse, and one of them".into())),
    };
    let rows = query.fetch_all(writer.database().readers()).await?;
    let items: Vec<Value> = rows.iter().map(item).collect::<Result<_, sqlx::Error>>()?;
    let full = window.sku.is_none() && i64::try_from(items.len()) == Ok(limit);
    let next = items.last().filter(|_| full).map(|item| item["sku"].to_string());
    Ok(Json(Page { items, next }))
}

fn item(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let column = |name: &str| row.try_get::<i64, _>(name);
    Ok(json!({
        "sku": column("sku_id")?, "warehouse": row.try_get::<String, _>("warehouse_no")?,
        "on_hand": column("on_hand")?, "damaged": column("damaged")?, "version": column("wms_version")?,
        "synced_at": Time(Timestamp(column("synced_at")?)),
    }))
}
