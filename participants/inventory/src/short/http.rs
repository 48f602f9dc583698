//! The addresses of shortages, as the [module](super) lists them.

use std::sync::{Arc, OnceLock};

use amends_sdk::body::Reader;
use amends_sdk::{Task, Tx, Writer};
use async_trait::async_trait;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::table::{self, Shortage, State};
use crate::body::now_ms;
use crate::cart::{OrderNo, read_number};
use crate::http::Failure;
use crate::listing::{PAGE_DEFAULT, PAGE_MAX, Page};

/// The addresses.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new()
        .route("/shortages", get(list))
        .route("/shortages/close", post(close))
        .with_state(writer.clone())
}

/// Which shortages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(default)]
    after: String,
    limit: Option<i64>,
    #[serde(default)]
    open: bool,
}

async fn list(
    Shared(writer): Shared<Writer>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Page<Shortage>>, Failure> {
    let bad = |detail: String| Failure::new(StatusCode::BAD_REQUEST, detail);
    let Query(Window { after, limit, open }) = window.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(bad(format!("limit must be an integer from 1 to {PAGE_MAX}, not {limit}")));
    }
    let mut reader = writer.database().readers().acquire().await?;
    Ok(Json(table::after(&mut reader, &after, open, limit).await?))
}

async fn close(
    Shared(writer): Shared<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let mut reader = Reader::default();
    let number = read_number(&mut reader, &body, "short_no");
    let number = reader.finish(number).map_err(|misfits| Failure::misfits("the shortage", misfits))?;
    let state = Arc::new(OnceLock::new());
    let closing = Close { number: number.clone(), state: state.clone() };
    let written = writer.run(Box::new(closing)).await;
    written.map_err(|error| Failure::unwritten("the shortage", &error))?;
    match state.get().copied().flatten() {
        None => {
            Err(Failure::new(StatusCode::NOT_FOUND, format!("nothing was held short under number {number}")))
        }
        Some(State::GivenBack) => {
            let detail =
                format!("what was held under number {number} has been given back; there is nothing to close");
            Err(Failure::new(StatusCode::CONFLICT, detail))
        }
        Some(state @ (State::Open | State::Closed)) => {
            Ok(Json(json!({ "short_no": number, "state": state })))
        }
    }
}

struct Close {
    number: OrderNo,
    state: Arc<OnceLock<Option<State>>>,
}

#[async_trait]
impl Task for Close {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let state = table::close(tx.sqlite(), &self.number, now_ms()).await?;
        let _ = self.state.set(state);
        Ok(())
    }
}
