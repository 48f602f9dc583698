//! What anybody may read: one order with its history, all orders page by page, and everything that happened to them.
//!
//! Every answer comes from one statement or one read transaction, so it shows one moment.

use amends_saga::Timestamp;
use amends_wire::api::Time;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query};

use crate::table::{Error, order_of};

/// The most items on one page.
pub const PAGE_MAX: i64 = 500;

/// Items on a page when nobody says how many.
pub const PAGE_DEFAULT: i64 = 50;

/// One page.
#[derive(Debug, Serialize)]
pub struct Page<T, Next = String> {
    /// The items, ascending by order number, events by their own.
    pub items: Vec<T>,
    /// What to ask for next (`after`), or nothing when this was the last page.
    pub next: Option<Next>,
}

/// An order in a list: enough to compare it with what other databases say of it.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its number.
    pub order: String,
    /// Where it stands.
    pub state: String,
    /// The saga that placed it.
    pub saga: String,
    /// What its lines come to.
    pub total_minor: i64,
    /// How much was given back.
    pub refunded_minor: i64,
    /// What its money is in.
    pub currency: String,
    /// The payment it was paid by, where that was one of a payment service.
    pub payment: Option<String>,
    /// When it last changed.
    pub updated_at: Time,
    /// `[{"sku", "qty", "refunded", "shipped"}]`, ascending by SKU.
    pub lines: Box<RawValue>,
}

/// An order with all that is known of it.
#[derive(Debug, Serialize)]
pub struct Detail {
    /// Its number.
    pub order: String,
    /// Where it stands.
    pub state: &'static str,
    /// The saga that placed it.
    pub saga: String,
    /// The step that placed it.
    pub step: String,
    /// Whose it is.
    pub customer: Option<String>,
    /// What its money is in.
    pub currency: String,
    /// What its lines come to.
    pub total_minor: i64,
    /// How much was given back.
    pub refunded_minor: i64,
    /// How many events it has.
    pub version: i64,
    /// From when on it may be called off unpaid.
    pub pay_by: Option<Time>,
    /// The payment it was paid by, where that was one of a payment service.
    pub payment: Option<String>,
    /// When it was placed.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
    /// Its lines, ascending by SKU.
    pub lines: Vec<Line>,
    /// Every step it took, oldest first.
    pub events: Vec<Event>,
    /// Every refund, oldest first.
    pub refunds: Vec<Refund>,
    /// Every shipment, oldest first.
    pub shipments: Vec<Shipment>,
}

/// A line of an order.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The SKU.
    pub sku: i64,
    /// How many were ordered.
    pub qty: i64,
    /// The price of one.
    pub price_minor: i64,
    /// How many were refunded.
    pub refunded: i64,
    /// How many are in refunds under way.
    pub refunding: i64,
    /// How many have left.
    pub shipped: i64,
}

/// A step that an order took.
#[derive(Debug, Serialize)]
pub struct Event {
    /// The order's version after it, from 1 without a gap.
    pub version: i64,
    /// Where it came from; nothing for the first.
    pub from: Option<String>,
    /// Where it led.
    pub to: String,
    /// The operation that was called.
    pub operation: String,
    /// What the call was to its step.
    pub op: String,
    /// The reason that was given.
    pub note: Option<String>,
    /// The saga that caused it; empty where none did.
    pub saga: String,
    /// The step that caused it.
    pub step: String,
    /// When.
    pub at: Time,
}

/// A step that some order took.
#[derive(Debug, Serialize)]
pub struct Happened {
    /// Its number; numbers grow and may leave gaps.
    pub id: i64,
    /// Which order.
    pub order: String,
    /// The step.
    #[serde(flatten)]
    pub event: Event,
}

/// Goods that left together.
#[derive(Debug, Serialize)]
pub struct Shipment {
    /// Its number.
    pub shipment: String,
    /// The saga that caused it.
    pub saga: String,
    /// When.
    pub at: Time,
    /// `[{"sku", "qty"}]`, ascending by SKU.
    pub lines: Box<RawValue>,
}

/// Money given back, or on its way.
#[derive(Debug, Serialize)]
pub struct Refund {
    /// Its number.
    pub refund: String,
    /// `begun`, `done` or `called_off`.
    pub state: String,
    /// How much.
    pub amount_minor: i64,
    /// The reason that was given.
    pub reason: Option<String>,
    /// The saga that caused it.
    pub saga: String,
    /// When.
    pub at: Time,
    /// `[{"sku", "qty"}]`, ascending by SKU.
    pub lines: Box<RawValue>,
}

/// The orders after `after`, at most `limit` of them.
///
/// # Errors
/// The database's own.
pub async fn orders_after(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Page<Entry>, Error> {
    const SQL: &str = "
        select order_no, state, saga, amount_minor, refunded_minor, currency,
               (select json_group_array(
                    json_object('sku', sku_id, 'qty', qty, 'refunded', refunded, 'shipped', shipped) order by sku_id)
                from order_line where order_line.order_no = orders.order_no),
               updated_at, payment_no
        from orders where order_no > ?1 order by order_no limit ?2";
    let rows = query(SQL).bind(after).bind(limit).fetch_all(connection).await?;
    let items = rows.iter().map(entry).collect::<Result<Vec<Entry>, Error>>()?;
    let next = items.last().filter(|_| items.len() as i64 == limit).map(|entry| entry.order.clone());
    Ok(Page { items, next })
}

fn entry(row: &SqliteRow) -> Result<Entry, Error> {
    Ok(Entry {
        order: row.try_get(0)?,
        state: row.try_get(1)?,
        saga: row.try_get(2)?,
        total_minor: row.try_get(3)?,
        refunded_minor: row.try_get(4)?,
        currency: row.try_get(5)?,
        lines: raw(row, 6)?,
        updated_at: time(row, 7)?,
        payment: row.try_get(8)?,
    })
}

/// One order, or nothing. `connection` should be in a read transaction.
///
/// # Errors
/// The database's own, and [`Error::Corrupt`].
pub async fn order(connection: &mut SqliteConnection, number: &str) -> Result<Option<Detail>, Error> {
    const SQL: &str = "
        select order_no, saga, step, user_id, state, currency, amount_minor, refunded_minor, version,
               pay_deadline, payment_no, created_at, updated_at
        from orders where order_no = ?1";
    let Some(row) = query(SQL).bind(number).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let order = order_of(&row)?;
    Ok(Some(Detail {
        order: number.to_owned(),
        state: order.state.as_str(),
        saga: order.saga,
        step: order.step,
        customer: order.customer,
        currency: order.currency.to_string(),
        total_minor: order.amount.get(),
        refunded_minor: order.refunded.get(),
        version: order.version,
        pay_by: order.pay_deadline.map(|deadline| Time(Timestamp(deadline))),
        payment: order.payment,
        created_at: time(&row, 11)?,
        updated_at: time(&row, 12)?,
        lines: lines(connection, number).await?,
        events: events(connection, number).await?,
        refunds: refunds(connection, number).await?,
        shipments: shipments(connection, number).await?,
    }))
}

async fn lines(connection: &mut SqliteConnection, number: &str) -> Result<Vec<Line>, Error> {
    const SQL: &str = "
        select sku_id, qty, price_minor, refunded, refunding, shipped
        from order_line where order_no = ?1 order by sku_id";
    let line = |row: &SqliteRow| {
        Ok(Line {
            sku: row.try_get(0)?,
            qty: row.try_get(1)?,
            price_minor: row.try_get(2)?,
            refunded: row.try_get(3)?,
            refunding: row.try_get(4)?,
            shipped: row.try_get(5)?,
        })
    };
    query(SQL).bind(number).fetch_all(connection).await?.iter().map(line).collect()
}

async fn events(connection: &mut SqliteConnection, number: &str) -> Result<Vec<Event>, Error> {
    const SQL: &str = "
        select version, from_state, to_state, operation, op, note, saga, step, at
        from order_event where order_no = ?1 order by version";
    let rows = query(SQL).bind(number).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(event(row, 0)?)).collect()
}

async fn refunds(connection: &mut SqliteConnection, number: &str) -> Result<Vec<Refund>, Error> {
    const SQL: &str = "
        select refund_no, state, amount_minor, reason, saga, created_at,
               (select json_group_array(json_object('sku', sku_id, 'qty', qty) order by sku_id)
                from refund_line where refund_line.refund_no = refund.refund_no)
        from refund where order_no = ?1 order by created_at, refund_no";
    let refund = |row: &SqliteRow| {
        Ok(Refund {
            refund: row.try_get(0)?,
            state: row.try_get(1)?,
            amount_minor: row.try_get(2)?,
            reason: row.try_get(3)?,
            saga: row.try_get(4)?,
            at: time(row, 5)?,
            lines: raw(row, 6)?,
        })
    };
    query(SQL).bind(number).fetch_all(connection).await?.iter().map(refund).collect()
}

async fn shipments(connection: &mut SqliteConnection, number: &str) -> Result<Vec<Shipment>, Error> {
    const SQL: &str = "
        select ship_no, saga, created_at,
               (select json_group_array(json_object('sku', sku_id, 'qty', qty) order by sku_id)
                from shipment_line where shipment_line.ship_no = shipment.ship_no)
        from shipment where order_no = ?1 order by created_at, ship_no";
    let shipment = |row: &SqliteRow| {
        Ok(Shipment {
            shipment: row.try_get(0)?,
            saga: row.try_get(1)?,
            at: time(row, 2)?,
            lines: raw(row, 3)?,
        })
    };
    query(SQL).bind(number).fetch_all(connection).await?.iter().map(shipment).collect()
}

/// What happened to any order, in the order it happened: at most `limit` events after the one numbered `after`.
///
/// # Errors
/// The database's own.
pub async fn events_after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: i64,
) -> Result<Page<Happened, i64>, Error> {
    const SQL: &str = "
        select event_id, order_no, version, from_state, to_state, operation, op, note, saga, step, at
        from order_event where event_id > ?1 order by event_id limit ?2";
    let happened = |row: &SqliteRow| {
        let event = event(row, 2)?;
        Ok(Happened { id: row.try_get(0)?, order: row.try_get(1)?, event })
    };
    let rows = query(SQL).bind(after).bind(limit).fetch_all(connection).await?;
    let items = rows.iter().map(happened).collect::<Result<Vec<Happened>, Error>>()?;
    let next = items.last().filter(|_| items.len() as i64 == limit).map(|happened| happened.id);
    Ok(Page { items, next })
}

/// Reads an event from the nine columns that begin at `at`.
fn event(row: &SqliteRow, at: usize) -> Result<Event, sqlx::Error> {
    Ok(Event {
        version: row.try_get(at)?,
        from: row.try_get(at + 1)?,
        to: row.try_get(at + 2)?,
        operation: row.try_get(at + 3)?,
        op: row.try_get(at + 4)?,
        note: row.try_get(at + 5)?,
        saga: row.try_get(at + 6)?,
        step: row.try_get(at + 7)?,
        at: time(row, at + 8)?,
    })
}

fn time(row: &SqliteRow, column: usize) -> Result<Time, sqlx::Error> {
    Ok(Time(Timestamp(row.try_get(column)?)))
}

/// A column that SQLite made as JSON, passed on as it is.
fn raw(row: &SqliteRow, column: usize) -> Result<Box<RawValue>, sqlx::Error> {
    RawValue::from_string(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}
