//! The addresses of activities.
//!
//! | call | |
//! |---|---|
//! | `POST /activities` | `{"activity", "name", "starts_at", "ends_at", "per_user_limit"?, "state"?}`: made, or changed |
//! | `GET /activities?after=7&limit=50` | all of them, ascending by number, in pages |
//! | `GET /activities/{activity}` | one, with its stock SKU by SKU |
//! | `GET /activities/{activity}/users/{user}` | how many a customer has, and may have |

use amends_sdk::Writer;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;

use super::{Activity, quota, table};
use crate::http::Failure;
use crate::listing::{PAGE_DEFAULT, PAGE_MAX, Page};

/// The addresses above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new()
        .route("/activities", get(list).post(save))
        .route("/activities/{activity}", get(one))
        .route("/activities/{activity}/users/{user}", get(user))
        .with_state(writer.clone())
}

/// Which page of a list by number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    #[serde(default)]
    pub(crate) after: i64,
    #[serde(default = "page_default")]
    pub(crate) limit: i64,
}

fn page_default() -> i64 {
    PAGE_DEFAULT
}

impl Window {
    /// Reads it from an address.
    pub(crate) fn read(window: Result<Query<Window>, QueryRejection>) -> Result<Window, Failure> {
        let bad = |detail: String| Failure::new(StatusCode::BAD_REQUEST, detail);
        let Query(window) = window.map_err(|rejection| bad(rejection.body_text()))?;
        match (1..=PAGE_MAX).contains(&window.limit) {
            true => Ok(window),
            false => Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {}", window.limit))),
        }
    }

    /// A page of items that were asked for with this window, each named by its number.
    pub(crate) fn page(&self, items: Vec<Value>, number: &str) -> Page<Value> {
        let full = i64::try_from(items.len()) == Ok(self.limit);
        let next = items.last().filter(|_| full).map(|item| item[number].to_string());
        Page { items, next }
    }
}

async fn save(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let activity = Activity::read(&body).map_err(|misfits| Failure::misfits("the activity", misfits))?;
    let answer = activity.body();
    table::save(&writer, activity).await.map_err(|error| Failure::unwritten("the activity", &error))?;
    Ok(Json(answer))
}

async fn list(
    State(writer): State<Writer>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Page<Value>>, Failure> {
    let window = Window::read(window)?;
    let sql = "select * from inv_activity where activity_id > ?1 order by activity_id limit ?2";
    let query = sqlx::query(sql).bind(window.after).bind(window.limit);
    let rows = query.fetch_all(writer.database().readers()).await?;
    let items = rows.iter().map(|row| Ok(Activity::of(row)?.body())).collect::<Result<_, sqlx::Error>>()?;
    Ok(Json(window.page(items, "activity")))
}

async fn one(State(writer): State<Writer>, Path(number): Path<i64>) -> Result<Json<Value>, Failure> {
    let mut snapshot = writer.database().readers().begin().await?;
    let activity = table::find(&mut snapshot, number).await?.ok_or_else(|| absent(number))?;
    let rows = sqlx::query(
        "select s.sku_id, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped, sum(b.inbound) as inbound
         from inv_stock s cross join inv_bucket b on b.stock_id = s.stock_id
         where s.activity_id = ?1 and s.activity_id <> 0 group by s.sku_id order by s.sku_id limit ?2",
    )
    .bind(number)
    .bind(PAGE_MAX)
    .fetch_all(&mut *snapshot)
    .await?;
    snapshot.rollback().await?;
    let line = |row: &sqlx::sqlite::SqliteRow| {
        let column = |name: &str| row.try_get::<i64, _>(name);
        Ok(json!({
            "sku": column("sku_id")?, "usable": column("usable")?, "held": column("held")?,
            "shipped": column("shipped")?, "inbound": column("inbound")?,
        }))
    };
    let lines: Vec<Value> = rows.iter().map(line).collect::<Result<_, sqlx::Error>>()?;
    let mut body = activity.body();
    body["lines"] = json!(lines);
    Ok(Json(body))
}

async fn user(
    State(writer): State<Writer>,
    Path((number, user)): Path<(i64, String)>,
) -> Result<Json<Value>, Failure> {
    let mut reader = writer.database().readers().acquire().await?;
    let activity = table::find(&mut reader, number).await?.ok_or_else(|| absent(number))?;
    let bought = quota::bought(&mut reader, number, &user).await?;
    let limit = activity.per_user_limit;
    Ok(Json(json!({ "activity": number, "user": user, "bought": bought, "limit": limit })))
}

fn absent(number: i64) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is no activity {number}"))
}
