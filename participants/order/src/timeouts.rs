//! Calling off orders that nobody pays for, and having their goods given back.
//!
//! Whoever knows that a time is up says so (`POST /expire`): the inventory whose hold has run out, or the watch below
//! for orders with a time to pay of their own. The answer is one conditional update of the order's row. A payment makes
//! the same update from the same states, so of the two exactly one meets the row, whatever the order in which they come.
//!
//! An order that was called off is noted in the same transaction, and the saga [`SAGA`] is started for it under a key
//! made of its number, again and again with growing pauses until the coordinator has taken it. That saga gives the goods
//! back; nothing here knows the stock.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amends_sdk::{CallOp, Sagas, Task, Tx, Writer};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use sqlx::{Row, SqliteConnection};
use tokio::sync::Notify;

use crate::book::{Cause, Verdict};
use crate::command::{Command, Operation, OrderNo};
use crate::orders::now_ms;
use crate::table::{self, Changes, Wanted};

/// The definition that gives an order's goods back.
pub const SAGA: &str = "time-out";

/// The step that the events of such orders name; no saga has it.
pub const STEP: &str = "expire";

/// Orders that are looked at in one go.
pub const ORDERS_MAX: usize = 500;

/// Sagas that are started at a time.
const STARTS_MAX: usize = 16;

/// The longest pause before a saga is started again, in milliseconds.
const PAUSE_MAX_MS: i64 = 60_000;

/// The longest error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 300;

/// Says that the time of these orders is up; a verdict for each, in their order, when all of it is durable.
///
/// # Errors
/// The writer's and the database's own.
pub(crate) async fn expire(writer: &Writer, orders: Vec<OrderNo>) -> Result<Vec<Verdict>, amends_sdk::Error> {
    let verdicts = Arc::new(OnceLock::new());
    writer.run(Box::new(Expire { orders, verdicts: verdicts.clone() })).await?;
    Ok(verdicts.get().cloned().unwrap_or_default())
}

struct Expire {
    orders: Vec<OrderNo>,
    verdicts: Arc<OnceLock<Vec<Verdict>>>,
}

#[async_trait]
impl Task for Expire {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let commands: Vec<Command> = self.orders.into_iter().map(Command::TimeOut).collect();
        let mut wanted = Wanted::default();
        commands.iter().for_each(|command| wanted.add(command, "", STEP));
        let now = now_ms();
        let cause = Cause { saga: "", step: STEP, operation: Operation::TimeOut, op: CallOp::Action, now };
        let mut book = table::load(tx.sqlite(), wanted).await?;
        let verdicts = commands.iter().map(|command| book.decide(&cause, command)).collect();
        table::save(tx.sqlite(), Changes::of(&book)?, now).await?;
        let _ = self.verdicts.set(verdicts);
        Ok(())
    }
}

/// Watches over orders whose time to pay is up, and starts what is due, every `every` and whenever it is woken.
pub(crate) async fn watch(writer: Writer, sagas: Sagas, woken: Arc<Notify>, every: Duration) -> Infallible {
    loop {
        if let Err(error) = round(&writer, &sagas).await {
            tracing::warn!(%error, "orders that nobody pays for could not be called off now");
        }
        let _ = tokio::time::timeout(every, woken.notified()).await;
    }
}

/// One round: calls off what is overdue, then starts the sagas that are due.
async fn round(writer: &Writer, sagas: &Sagas) -> Result<(), amends_sdk::Error> {
    loop {
        let overdue = overdue(writer, now_ms()).await?;
        let more = overdue.len() == ORDERS_MAX;
        if !overdue.is_empty() {
            expire(writer, overdue).await?;
        }
        if !more {
            break;
        }
    }
    loop {
        let due = due(writer, now_ms()).await?;
        let more = due.len() == ORDERS_MAX;
        let started: Vec<Start> =
            stream::iter(due).map(|due| start(sagas, due)).buffer_unordered(STARTS_MAX).collect().await;
        let failed = started.iter().any(|start| start.saga.is_err());
        if !started.is_empty() {
            writer.run(Box::new(Note(started))).await?;
        }
        if !more || failed {
            return Ok(());
        }
    }
}

async fn overdue(writer: &Writer, now: i64) -> Result<Vec<OrderNo>, sqlx::Error> {
    // The states are written out, so that the index by state and time is used.
    let sql = "
        select order_no from orders
        where state in ('created', 'reserved') and pay_deadline is not null and pay_deadline <= ?1 limit ?2";
    let limit = i64::try_from(ORDERS_MAX).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(now).bind(limit).fetch_all(writer.database().readers()).await?;
    rows.iter().map(|row| Ok(OrderNo::stored(row.try_get(0)?))).collect()
}

/// An order whose saga is to be started.
struct Due {
    order: String,
    attempts: i64,
}

/// What became of a start.
struct Start {
    due: Due,
    saga: Result<String, String>,
}

async fn due(writer: &Writer, now: i64) -> Result<Vec<Due>, sqlx::Error> {
    let sql = "
        select order_no, attempts from order_timeout
        where saga is null and next_at <= ?1 order by next_at limit ?2";
    let limit = i64::try_from(ORDERS_MAX).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(now).bind(limit).fetch_all(writer.database().readers()).await?;
    rows.iter().map(|row| Ok(Due { order: row.try_get(0)?, attempts: row.try_get(1)? })).collect()
}

async fn start(sagas: &Sagas, due: Due) -> Start {
    let key = format!("{SAGA}:{}", due.order);
    let saga = sagas.start(SAGA, &key, &json!({ "order": due.order })).await;
    if let Err(error) = &saga {
        tracing::warn!(order = due.order, %error, "an order is called off, but its goods are not given back yet");
    }
    Start { due, saga: saga.map(|id| id.to_string()).map_err(|error| error.to_string()) }
}

/// Keeps what became of starts.
struct Note(Vec<Start>);

#[async_trait]
impl Task for Note {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let now = now_ms();
        for start in self.0 {
            note(tx.sqlite(), &start, now).await?;
        }
        Ok(())
    }
}

async fn note(connection: &mut SqliteConnection, start: &Start, now: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "
        update order_timeout set saga = ?2, last_error = ?3, attempts = attempts + 1, next_at = ?4
        where order_no = ?1 and saga is null";
    let pause = 1000_i64.saturating_mul(1 << start.due.attempts.clamp(0, 10)).min(PAUSE_MAX_MS);
    let error = start.saga.as_ref().err().map(|said| said.chars().take(ERROR_CHARS_MAX).collect::<String>());
    sqlx::query(SQL)
        .bind(&start.due.order)
        .bind(start.saga.as_ref().ok())
        .bind(error)
        .bind(now + pause)
        .execute(connection)
        .await?;
    Ok(())
}
