//! The addresses of routes and adjustments.
//!
//! | call | |
//! |---|---|
//! | `GET /routes?limit=50` | the records that are not taken by the merged route |
//! | `POST /routes` | `{"sku", …, "mode": "merged" or "row", "why"?, "epoch"?}`: the record is taken by that route |
//! | `POST /adjust` | `{"adjust_no", "why"?, "lines": [{"sku", …, "delta", "if_version"?}]}`: somebody counted, once under the number, see [`crate::version`] |

use amends_sdk::Writer;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::Row;

use super::{Mode, Routes, Switch, Switched};
use crate::adjust::{self, Adjusted, Adjustment};
use crate::http::Failure;

/// The addresses above.
pub(crate) fn router(writer: &Writer, routes: &Routes) -> Router {
    Router::new()
        .route("/routes", get(list).post(turn))
        .route("/adjust", post(count))
        .with_state((writer.clone(), routes.clone()))
}

type Shared = State<(Writer, Routes)>;
type Body = Result<Json<Value>, JsonRejection>;

/// How many records are listed at most.
const LISTED_MAX: i64 = 500;

async fn list(State((writer, _)): Shared) -> Result<Response, Failure> {
    let mut reader = writer.database().readers().acquire().await?;
    let rows = sqlx::query(
        "select sku_id, dept_no, warehouse_no, goods_level, channel, activity_id, mode, epoch from inv_stock
         where mode <> 1 order by sku_id, stock_id limit ?1",
    )
    .bind(LISTED_MAX)
    .fetch_all(&mut *reader)
    .await?;
    let item = |row: &sqlx::sqlite::SqliteRow| {
        let mode: i64 = row.try_get("mode")?;
        Ok(json!({
            "sku": row.try_get::<i64, _>("sku_id")?, "dept": row.try_get::<String, _>("dept_no")?,
            "warehouse": row.try_get::<String, _>("warehouse_no")?, "level": row.try_get::<i64, _>("goods_level")?,
            "channel": row.try_get::<i64, _>("channel")?, "activity": row.try_get::<i64, _>("activity_id")?,
            "mode": Mode::of(mode).map(Mode::as_str), "epoch": row.try_get::<i64, _>("epoch")?,
        }))
    };
    let items = rows.iter().map(item).collect::<Result<Vec<_>, sqlx::Error>>()?;
    Ok(Json(json!({ "items": items })).into_response())
}

async fn turn(State((writer, routes)): Shared, body: Body) -> Result<Response, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let switch = Switch::read(&body).map_err(|misfits| Failure::misfits("the route", misfits))?;
    let mut answer = switch.record.members();
    match super::switch(&writer, &routes, switch).await {
        Ok(Switched::To(mode, epoch)) => {
            answer.insert("mode".into(), json!(mode.as_str()));
            answer.insert("epoch".into(), json!(epoch));
            Ok(Json(answer).into_response())
        }
        Ok(Switched::Unknown) => Err(Failure::new(StatusCode::NOT_FOUND, "the record is not kept here")),
        Ok(Switched::Passed(epoch)) => {
            let detail = format!(
                "the record was switched since; its epoch is {epoch} now: look at its route and send that"
            );
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Err(error) => Err(Failure::unwritten("the route", &error)),
    }
}

async fn count(State((writer, _)): Shared, body: Body) -> Result<Response, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let adjustment =
        Adjustment::read(&body).map_err(|misfits| Failure::misfits("the adjustment", misfits))?;
    let number = adjustment.number.clone();
    let answer =
        |status, lines: Value| (status, Json(json!({ "adjust_no": number, "lines": lines }))).into_response();
    match adjust::adjust(&writer, adjustment).await {
        Ok(Adjusted::New(lines)) => Ok(answer(StatusCode::CREATED, lines)),
        Ok(Adjusted::Again(lines)) => Ok(answer(StatusCode::OK, lines)),
        Ok(Adjusted::NumberTaken) => {
            let detail = format!("number {number} adjusted something else before; use a number of its own");
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Ok(Adjusted::TooMuch) => {
            let detail =
                format!("with adjustment {number} a stock would exceed {}", crate::balance::INBOUND_MAX);
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Ok(Adjusted::Passed(passed)) => Err(Failure::passed(&passed)),
        Err(error) => Err(Failure::unwritten("the adjustment", &error)),
    }
}
