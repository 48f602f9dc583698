//! Shortages as the tables have them.

use serde::Serialize;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::{ShortCart, ShortLine};
use crate::cart::OrderNo;
use crate::hold::Cause;
use crate::listing::Page;
use crate::outcome::timestamp;

/// What became of a short hold. The numbers are those of the column `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(i64)]
pub enum State {
    /// What was held under it stands, and what is missing is missing.
    Open = 1,
    /// What was held under it was given back.
    GivenBack = 2,
    /// Somebody has closed it.
    Closed = 3,
}

impl State {
    fn of(code: i64) -> State {
        match code {
            1 => State::Open,
            2 => State::GivenBack,
            _ => State::Closed,
        }
    }
}

/// An order with something missing, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shortage {
    /// The number it was held under.
    pub short_no: String,
    /// The order.
    pub order: String,
    /// Whether it stands.
    pub state: State,
    /// How many are missing, all lines together.
    pub missing: i64,
    /// Every line as it was answered, those that were had whole among them.
    pub lines: Value,
    /// When it was held.
    pub created_at: String,
    /// When it was given back or closed.
    pub ended_at: Option<String>,
}

/// A number that took effect.
pub(super) struct Found {
    pub(super) fingerprint: String,
    pub(super) answer: String,
    pub(super) missing: i64,
    pub(super) state: State,
}

/// A short hold as it is written.
pub(super) struct Standing<'a> {
    pub(super) wanted: &'a ShortCart,
    pub(super) cause: &'a Cause,
    pub(super) fingerprint: String,
    pub(super) answer: &'a Value,
    pub(super) lines: &'a [ShortLine],
}

/// What was held under a number, if anything was.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    number: &OrderNo,
) -> Result<Option<Found>, sqlx::Error> {
    let row = sqlx::query("select fingerprint, answer, missing, state from inv_short where short_no = ?1")
        .bind(number.shared())
        .fetch_optional(connection)
        .await?;
    let found = |row: sqlx::sqlite::SqliteRow| {
        Ok(Found {
            fingerprint: row.try_get(0)?,
            answer: row.try_get(1)?,
            missing: row.try_get(2)?,
            state: State::of(row.try_get(3)?),
        })
    };
    row.map(found).transpose()
}

/// Writes down what was held and what is missing.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    standing: &Standing<'_>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let number = standing.wanted.number.shared();
    sqlx::query(
        "insert into inv_short (short_no, order_no, saga, step, fingerprint, answer, missing, state, created_at)
         values (?, ?, ?, ?, ?, ?, ?, 1, ?)",
    )
    .bind(number.clone())
    .bind(standing.wanted.cart.order().shared())
    .bind(standing.cause.saga.to_string())
    .bind(standing.cause.step.clone())
    .bind(&standing.fingerprint)
    .bind(standing.answer.to_string())
    .bind(standing.lines.iter().map(|line| line.missing).sum::<i64>())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    let short = (1_i64..).zip(standing.lines).filter(|(_, line)| line.missing > 0);
    let rows: Vec<_> =
        short.map(|(at, line)| (at, line.stock_id, line.wanted, line.held, line.missing)).collect();
    sqlx::query(
        "insert into inv_short_line (short_no, line_no, stock_id, wanted, held, missing)
         select ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 from json_each(?2)",
    )
    .bind(number)
    .bind(serde_json::json!(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that what a step held was given back.
pub(super) async fn undo(
    connection: &mut SqliteConnection,
    cause: &Cause,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("update inv_short set state = 2, ended_at = ?3 where saga = ?1 and step = ?2 and state = 1")
        .bind(cause.saga.to_string())
        .bind(cause.step.clone())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes that the stock of these orders was given back, by whatever operation: nothing of them is missing any more.
///
/// # Errors
/// The database's own.
pub(crate) async fn given_back(
    connection: &mut SqliteConnection,
    orders: &[&OrderNo],
    now: i64,
) -> Result<(), sqlx::Error> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update inv_short indexed by inv_short_standing set state = 2, ended_at = ?2
         where state = 1 and order_no in (select value from json_each(?1))",
    )
    .bind(serde_json::json!(orders).to_string())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Closes a shortage by hand; what it is afterwards, `None` where there is none of this number.
pub(super) async fn close(
    connection: &mut SqliteConnection,
    number: &OrderNo,
    now: i64,
) -> Result<Option<State>, sqlx::Error> {
    sqlx::query("update inv_short set state = 3, ended_at = ?2 where short_no = ?1 and state = 1")
        .bind(number.shared())
        .bind(now)
        .execute(&mut *connection)
        .await?;
    Ok(find(connection, number).await?.map(|found| found.state))
}

/// The shortages after a number, all of them or those that stand.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    after: &str,
    only_open: bool,
    limit: i64,
) -> Result<Page<Shortage>, sqlx::Error> {
    let rows = sqlx::query(
        "select short_no, order_no, state, missing, answer, created_at, ended_at from inv_short
         where short_no > ?1 and missing > 0 and (?2 = 0 or state = 1) order by short_no limit ?3",
    )
    .bind(after)
    .bind(only_open)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let item = |row: &sqlx::sqlite::SqliteRow| {
        let ended_at: Option<i64> = row.try_get(6)?;
        Ok(Shortage {
            short_no: row.try_get(0)?,
            order: row.try_get(1)?,
            state: State::of(row.try_get(2)?),
            missing: row.try_get(3)?,
            lines: serde_json::from_str(row.try_get(4)?).unwrap_or_default(),
            created_at: timestamp(row.try_get(5)?),
            ended_at: ended_at.map(timestamp),
        })
    };
    let items = rows.iter().map(item).collect::<Result<Vec<Shortage>, sqlx::Error>>()?;
    let full = i64::try_from(items.len()) == Ok(limit);
    let next = items.last().filter(|_| full).map(|item| item.short_no.clone());
    Ok(Page { items, next })
}
