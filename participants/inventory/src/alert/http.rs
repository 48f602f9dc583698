//! The addresses of alerts.
//!
//! | call | |
//! |---|---|
//! | `POST /thresholds` | `{"lines": [{"sku", …, "low": integer or null}]}`: at how many a record is low |
//! | `GET /alerts?after=7&limit=50` | every alert there was, ascending by number, in pages |
//! | `GET /alerts?open=true` | those that are open |

use amends_saga::Timestamp;
use amends_sdk::Writer;
use amends_wire::api::Time;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Threshold;
use crate::cart::Sku;
use crate::http::Failure;
use crate::listing::{PAGE_DEFAULT, PAGE_MAX, Page};
use crate::record::{Place, RecordKey};

/// The addresses above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new()
        .route("/alerts", get(alerts))
        .route("/thresholds", post(thresholds))
        .with_state(writer.clone())
}

/// Which alerts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
    #[serde(default)]
    open: bool,
}

async fn thresholds(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let lines = Threshold::read(&body).map_err(|misfits| Failure::misfits("the thresholds", misfits))?;
    let wanted = lines.len();
    let known =
        super::set(&writer, lines).await.map_err(|error| Failure::unwritten("the thresholds", &error))?;
    Ok(Json(json!({ "set": known, "unknown": wanted - known })))
}

const ALERTS: &str = "
    select a.alert_id, a.low_threshold, a.usable_opened, a.usable_closed, a.opened_at, a.closed_at,
        s.sku_id, s.dept_no, s.warehouse_no, s.goods_level, s.channel, s.activity_id
    from inv_alert a cross join inv_stock s on s.stock_id = a.stock_id
    where a.alert_id > ?1 and (?2 = 0 or a.closed_at is null) order by a.alert_id limit ?3";

async fn alerts(
    State(writer): State<Writer>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Page<Value>>, Failure> {
    let bad = |detail: String| Failure::new(StatusCode::BAD_REQUEST, detail);
    let Query(Window { after, limit, open }) = window.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {limit}")));
    }
    let query = sqlx::query(ALERTS).bind(after).bind(open).bind(limit);
    let rows = query.fetch_all(writer.database().readers()).await?;
    let items: Vec<Value> = rows.iter().map(item).collect::<Result<_, sqlx::Error>>()?;
    let full = i64::try_from(items.len()) == Ok(limit);
    let next = items.last().filter(|_| full).map(|item| item["alert"].to_string());
    Ok(Json(Page { items, next }))
}

fn item(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let column = |name: &str| row.try_get::<i64, _>(name);
    let place = Place {
        dept: row.try_get("dept_no")?,
        warehouse: row.try_get("warehouse_no")?,
        level: column("goods_level")?,
        channel: column("channel")?,
        activity: column("activity_id")?,
    };
    let mut members = match Sku::new(column("sku_id")?) {
        Some(sku) => RecordKey::at(sku, place).members(),
        None => serde_json::Map::new(),
    };
    let closed_at: Option<i64> = row.try_get("closed_at")?;
    let usable_closed: Option<i64> = row.try_get("usable_closed")?;
    for (name, value) in [
        ("alert", json!(column("alert_id")?)),
        ("low", json!(column("low_threshold")?)),
        ("usable", json!(column("usable_opened")?)),
        ("opened_at", json!(Time(Timestamp(column("opened_at")?)))),
        ("closed_at", json!(closed_at.map(|at| Time(Timestamp(at))))),
        ("usable_when_closed", json!(usable_closed)),
    ] {
        members.insert(name.into(), value);
    }
    Ok(Value::Object(members))
}
