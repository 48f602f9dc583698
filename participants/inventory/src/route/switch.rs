//! Switching a record's route: one update and one line of its history, by the writer.

use amends_sdk::body::Reader;
use amends_sdk::{Task, Tx, Writer};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};
use tokio::sync::oneshot;

use super::{Mode, Routes};
use crate::body::now_ms;
use crate::ledger::Record;
use crate::record::RecordKey;
use crate::sqlite::{self, Error, Scope};

/// A wish to take a record by another route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The record.
    pub record: RecordKey,
    /// The route.
    pub to: Mode,
    /// Why, in at most 256 characters; kept in its history.
    pub why: String,
    /// The epoch the wish was made under; where it has passed, nothing is switched.
    pub epoch: Option<i64>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// The record is taken by the route now, under this epoch; it may have been so before.
    To(Mode, i64),
    /// The record is not kept here.
    Unknown,
    /// Somebody switched since; this is the epoch now.
    Passed(i64),
}

impl Switch {
    /// Reads `{"sku", …, "mode": "merged" or "row", "why": text or nothing, "epoch": integer or nothing}`.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Switch, Vec<Misfit>> {
        let mut reader = Reader::default();
        let record = RecordKey::read(&mut reader, body, "");
        let mode = match body.get("mode").and_then(Value::as_str) {
            Some("merged") => Some(Mode::Merged),
            Some("row") => Some(Mode::Row),
            _ => {
                reader.misfit("/mode", "must be \"merged\" or \"row\"");
                None
            }
        };
        let why = reader.text_if_any(body, "", "why", 1..=256).unwrap_or_default();
        let epoch = reader.integer_if_any(body, "", "epoch", 1..=i64::MAX);
        let switch = record.zip(mode).map(|(record, to)| Switch { record, to, why, epoch });
        reader.finish(switch)
    }
}

/// Switches through the writer, between two batches; in force for every transaction that begins after it returns.
///
/// # Errors
/// The database's own, or a writer with too much waiting.
pub(crate) async fn switch(
    writer: &Writer,
    routes: &Routes,
    switch: Switch,
) -> Result<Switched, amends_sdk::Error> {
    let (answer, answered) = oneshot::channel();
    writer.run(Box::new(Turn { switch, answer })).await?;
    let (record, switched, now) = answered.await.map_err(|_| amends_sdk::Error::Stopping)?;
    if let Some(now) = now {
        routes.learn(&record, now);
    }
    Ok(switched)
}

type Answer = (RecordKey, Switched, Option<Record>);

struct Turn {
    switch: Switch,
    answer: oneshot::Sender<Answer>,
}

#[async_trait]
impl Task for Turn {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Turn { switch, answer } = *self;
        let (switched, now) = perform(tx.sqlite(), &switch, now_ms()).await.map_err(Error::into_database)?;
        // The writer commits after this; its own answer comes first, and this one is read only then.
        let _ = answer.send((switch.record, switched, now));
        Ok(())
    }
}

/// Switches within a transaction that somebody else commits.
async fn perform(
    connection: &mut SqliteConnection,
    switch: &Switch,
    now: i64,
) -> Result<(Switched, Option<Record>), Error> {
    let scope = Scope { records: [switch.record.clone()].into(), ..Scope::default() };
    let ledger = sqlite::load(connection, &scope, now, 0).await?;
    let Some(before) = ledger.record(&switch.record) else { return Ok((Switched::Unknown, None)) };
    if switch.epoch.is_some_and(|epoch| epoch != before.epoch) {
        return Ok((Switched::Passed(before.epoch), Some(before)));
    }
    if before.mode == switch.to {
        return Ok((Switched::To(before.mode, before.epoch), Some(before)));
    }
    let row = sqlx::query(
        "update inv_stock set mode = ?1, epoch = epoch + 1 where stock_id = ?2 and epoch = ?3 returning epoch",
    )
    .bind(switch.to as i64)
    .bind(before.stock_id)
    .bind(before.epoch)
    .fetch_one(&mut *connection)
    .await?;
    let epoch = row.try_get("epoch")?;
    sqlx::query("insert into inv_route (stock_id, epoch, mode, why, at) values (?, ?, ?, ?, ?)")
        .bind(before.stock_id)
        .bind(epoch)
        .bind(switch.to as i64)
        .bind(switch.why.as_str())
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let after = Record { stock_id: before.stock_id, epoch, mode: switch.to };
    Ok((Switched::To(switch.to, epoch), Some(after)))
}
