//! Safety stock: how many of a record nobody may order, so that a count that is a little wrong sells nothing that is not
//! there.
//!
//! Of a record with a safety stock, holds, deductions and activities take what is usable beyond it, and quotes say so. It
//! is a limit of taking and moves no counter: the stock's `usable` goes on telling what lies there, while `available`, feed
//! and catalogue tell what can be taken. What was taken before it was set stays taken, and what comes back comes back.
//!
//! `POST /safety`: `{"lines": [{"sku", …, "safety": integer}]}` sets it, 0 takes it away; the answer is
//! `{"set", "unknown"}`, how many of the records are kept here and how many are not.

use std::sync::{Arc, OnceLock};

use amends_sdk::body::Reader;
use amends_sdk::{Task, Tx, Writer};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use crate::body::now_ms;
use crate::cart::{LINES_MAX, REPLENISH_QTY_MAX};
use crate::http::Failure;
use crate::ledger::Ledger;
use crate::record::RecordKey;
use crate::setting::{self, Setting};

#[cfg(test)]
mod tests;

/// How many of a record are kept back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Safety {
    /// The record.
    pub record: RecordKey,
    /// How many.
    pub qty: i64,
}

impl Safety {
    /// Reads the body above.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Vec<Safety>, Vec<Misfit>> {
        let mut reader = Reader::default();
        let lines = reader.each(body, "lines", 1..=LINES_MAX, |reader, line, at| {
            let record = RecordKey::read(reader, line, at);
            let qty = reader.integer(line, at, "safety", 0..=REPLENISH_QTY_MAX);
            Some(Safety { record: record?, qty: qty? })
        });
        reader.finish(Some(lines))
    }
}

/// The index holds nothing but records with a safety stock, so that a shop without any pays for a look into an empty one.
const LOAD: &str = "
    select s.stock_id, s.safety_stock from json_each(?1) wanted
    cross join inv_stock s indexed by inv_stock_with_safety on s.stock_id = wanted.value
    where s.safety_stock > 0";

/// Tells the ledger what is kept back of the records that it has loaded; where nothing is, nothing is asked.
///
/// # Errors
/// The database's own.
pub(crate) async fn load(connection: &mut SqliteConnection, ledger: &mut Ledger) -> Result<(), sqlx::Error> {
    if !ledger.keeps_back() {
        return Ok(());
    }
    let records = Value::from_iter(ledger.loaded()).to_string();
    for row in sqlx::query(LOAD).bind(records).fetch_all(connection).await? {
        ledger.keep_back(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(())
}

/// Sets safety stocks through the writer; says how many of the records are kept here.
pub(crate) async fn set(writer: &Writer, lines: Vec<Safety>) -> Result<usize, amends_sdk::Error> {
    let known = Arc::new(OnceLock::new());
    writer.run(Box::new(Set { lines, known: known.clone() })).await?;
    Ok(known.get().copied().unwrap_or_default())
}

struct Set {
    lines: Vec<Safety>,
    known: Arc<OnceLock<usize>>,
}

#[async_trait]
impl Task for Set {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let mut known = 0;
        for Safety { record, qty } in &self.lines {
            let set = setting::set(tx.sqlite(), record, Setting::Safety(*qty), now_ms()).await?;
            known += usize::from(set.is_some());
        }
        let _ = self.known.set(known);
        Ok(())
    }
}

/// The address above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new().route("/safety", post(keep)).with_state(writer.clone())
}

async fn keep(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let lines = Safety::read(&body).map_err(|misfits| Failure::misfits("the safety stock", misfits))?;
    let wanted = lines.len();
    let known = set(&writer, lines).await.map_err(|error| Failure::unwritten("the safety stock", &error))?;
    Ok(Json(json!({ "set": known, "unknown": wanted - known })))
}
