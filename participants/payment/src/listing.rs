//! What anybody may read: one payment with its refunds and events, and all payments page by page.

use amends_saga::Timestamp;
use amends_wire::api::Time;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query};

use crate::rows::{self, Where, payment_of};

/// The most items on one page.
pub const PAGE_MAX: i64 = 500;

/// Items on a page when nobody says how many.
pub const PAGE_DEFAULT: i64 = 50;

/// One page.
#[derive(Debug, Serialize)]
pub struct Page {
    /// `{"payment", "order", "state", "amount_minor", "currency", "refunded_minor"}`, ascending by payment.
    pub items: Vec<Value>,
    /// What to ask for next (`after`), or nothing when this was the last page.
    pub next: Option<String>,
}

/// The payments after `after`, at most `limit` of them.
///
/// # Errors
/// The database's own.
pub async fn payments_after(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Page, sqlx::Error> {
    const SQL: &str = "
        select payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, saga, step
        from payment where payment_no > ?1 order by payment_no limit ?2";
    let rows = query(SQL).bind(after).bind(limit).fetch_all(connection).await?;
    let payments = rows.iter().map(payment_of).collect::<Result<Vec<_>, _>>()?;
    let next = payments.last().filter(|_| payments.len() as i64 == limit).map(|last| last.number.clone());
    Ok(Page { items: payments.iter().map(rows::Payment::view).collect(), next })
}

/// One payment with its `refunds` and `events`, oldest first, or nothing. `connection` should be in a read transaction.
///
/// # Errors
/// The database's own.
pub async fn payment(connection: &mut SqliteConnection, number: &str) -> Result<Option<Value>, sqlx::Error> {
    const REFUNDS: &str = "
        select refund_no, state, amount_minor, reason, saga, created_at
        from payment_refund where payment_no = ?1 order by created_at, refund_no";
    const EVENTS: &str = "
        select what, refund_no, d_paid_minor, d_back_minor, saga, step, at
        from payment_event where payment_no = ?1 order by event_id";
    let Some(payment) = rows::find(connection, Where::Number(number)).await? else { return Ok(None) };
    let mut view = payment.view();
    view["mode"] = json!(payment.mode.map(crate::Mode::as_str));
    let refunds = query(REFUNDS).bind(number).fetch_all(&mut *connection).await?;
    view["refunds"] = refunds.iter().map(refund).collect::<Result<_, _>>()?;
    let events = query(EVENTS).bind(number).fetch_all(connection).await?;
    view["events"] = events.iter().map(event).collect::<Result<_, _>>()?;
    Ok(Some(view))
}

fn refund(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    Ok(json!({
        "refund": row.try_get::<String, _>(0)?, "state": row.try_get::<String, _>(1)?,
        "amount_minor": row.try_get::<i64, _>(2)?, "reason": row.try_get::<Option<String>, _>(3)?,
        "saga": row.try_get::<String, _>(4)?, "at": Time(Timestamp(row.try_get(5)?)),
    }))
}

fn event(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    Ok(json!({
        "what": row.try_get::<String, _>(0)?, "refund": row.try_get::<Option<String>, _>(1)?,
        "paid_minor": row.try_get::<i64, _>(2)?, "back_minor": row.try_get::<i64, _>(3)?,
        "saga": row.try_get::<String, _>(4)?, "step": row.try_get::<String, _>(5)?,
        "at": Time(Timestamp(row.try_get(6)?)),
    }))
}
