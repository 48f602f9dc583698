//! Orders in SQLite: what a batch loads, and what it writes when it is decided.
//!
//! Both run inside the batch's transaction on the one connection that writes. Every statement covers the whole batch
//! (rows travel as one JSON text), so its cost hardly depends on how many calls wait. Each update is conditional on
//! the state and the version that were loaded and must meet exactly as many rows as were decided.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};

use crate::book::{Book, Order, OrderLine};
use crate::command::{Command, OrderNo};
use crate::money::{Currency, Minor};
use crate::state::State;

#[cfg(test)]
mod tests;

/// Why a batch could not be loaded or written; nothing of it is kept then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the order database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row that must be there as it was loaded is not.
    #[error("{table}: {met} rows met the condition instead of {expected}; the batch is taken back")]
    Conflict {
        /// Where.
        table: &'static str,
        /// How many rows were written.
        met: u64,
        /// How many were decided.
        expected: u64,
    },
    /// A row holds what no order can hold.
    #[error("order {order:?} has {what} {value:?} in the database; run the audit")]
    Corrupt {
        /// Which order.
        order: String,
        /// Which column.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

/// What a batch of commands needs to know.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Orders, without their lines.
    pub orders: BTreeSet<String>,
    /// Those of the orders whose lines are needed as well.
    pub lines: BTreeSet<String>,
    /// Refund numbers that may be taken.
    pub refunds: BTreeSet<String>,
}

impl Wanted {
    /// Adds what one command needs, called by a step of a saga.
    pub fn add(&mut self, command: &Command, saga: &str, step: &str) {
        let order = command.order().as_str();
        self.orders.insert(order.to_owned());
        match command {
            Command::Refund(refund) => {
                self.lines.insert(order.to_owned());
                self.refunds.insert(refund.number_or(saga, step));
            }
            Command::Ship(..) => {
                self.lines.insert(order.to_owned());
            }
            Command::Create(_)
            | Command::Reserve(_)
            | Command::Pay(..)
            | Command::Complete(_)
            | Command::Cancel(..) => {}
        }
    }
}

impl From<Error> for sqlx::Error {
    /// As the sdk's writer takes it: whatever it is, the batch is rolled back.
    fn from(error: Error) -> sqlx::Error {
        match error {
            Error::Database(error) => error,
            Error::Conflict { .. } | Error::Corrupt { .. } => sqlx::Error::Protocol(error.to_string()),
        }
    }
}

/// Opens a book on the orders of a batch.
///
/// # Errors
/// [`Error::Database`] and [`Error::Corrupt`].
pub async fn load(connection: &mut SqliteConnection, wanted: Wanted) -> Result<Book, Error> {
    let mut orders = load_orders(connection, json!(wanted.orders).to_string()).await?;
    if !wanted.lines.is_empty() {
        load_lines(connection, json!(wanted.lines).to_string(), &mut orders).await?;
    }
    let refunds = match wanted.refunds.is_empty() {
        true => BTreeSet::new(),
        false => load_refund_numbers(connection, json!(wanted.refunds).to_string()).await?,
    };
    Ok(Book::new(orders.into_values(), refunds))
}

async fn load_orders(
    connection: &mut SqliteConnection,
    numbers: String,
) -> Result<BTreeMap<String, Order>, Error> {
    const SQL: &str = "
        select order_no, saga, step, user_id, state, currency, amount_minor, refunded_minor, version
        from orders where order_no in (select value from json_each(?1))";
    let rows = query(SQL).bind(numbers).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, order_of(row)?))).collect()
}

/// Reads an order from the nine columns that every query of orders begins with.
pub(crate) fn order_of(row: &SqliteRow) -> Result<Order, Error> {
    let number: String = row.try_get(0)?;
    let (state, currency): (String, String) = (row.try_get(4)?, row.try_get(5)?);
    let corrupt = |what, value: String| Error::Corrupt { order: number.clone(), what, value };
    Ok(Order {
        saga: row.try_get(1)?,
        step: row.try_get(2)?,
        customer: row.try_get(3)?,
        state: State::named(&state).ok_or_else(|| corrupt("state", state.clone()))?,
        currency: currency.parse::<Currency>().map_err(|_| corrupt("currency", currency.clone()))?,
        amount: minor(row, 6).map_err(|value| corrupt("amount_minor", value))?,
        refunded: minor(row, 7).map_err(|value| corrupt("refunded_minor", value))?,
        version: row.try_get(8)?,
        lines: BTreeMap::new(),
        number: OrderNo::stored(number),
    })
}

fn minor(row: &SqliteRow, column: usize) -> Result<Minor, String> {
    let value: i64 = row.try_get(column).map_err(|error| error.to_string())?;
    Minor::new(value).ok_or_else(|| value.to_string())
}

async fn load_lines(
    connection: &mut SqliteConnection,
    numbers: String,
    orders: &mut BTreeMap<String, Order>,
) -> Result<(), Error> {
    const SQL: &str = "
        select order_no, sku_id, qty, price_minor, refunded, shipped
        from order_line where order_no in (select value from json_each(?1))";
    for row in query(SQL).bind(numbers).fetch_all(connection).await? {
        let number: String = row.try_get(0)?;
        let corrupt = |value| Error::Corrupt { order: number.clone(), what: "price_minor", value };
        let price = minor(&row, 3).map_err(corrupt)?;
        let line =
            OrderLine { qty: row.try_get(2)?, price, refunded: row.try_get(4)?, shipped: row.try_get(5)? };
        if let Some(order) = orders.get_mut(&number) {
            order.lines.insert(row.try_get(1)?, line);
        }
    }
    Ok(())
}

async fn load_refund_numbers(
    connection: &mut SqliteConnection,
    numbers: String,
) -> Result<BTreeSet<String>, Error> {
    const SQL: &str = "select refund_no from refund where refund_no in (select value from json_each(?1))";
    let rows = query(SQL).bind(numbers).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The most rows in one statement; a larger batch takes several.
const ROWS_MAX: usize = 4096;

/// What a book's changes take to be written, in order.
#[derive(Debug, Default)]
pub struct Changes {
    writes: Vec<Write>,
}

/// One statement over some rows.
#[derive(Debug)]
struct Write {
    table: &'static str,
    /// `?1` is the rows, `?2` the time in unix milliseconds.
    sql: &'static str,
    rows: String,
    /// How many rows it must write.
    expected: u64,
}

const INSERT_ORDERS: &str = "
    insert into orders (order_no, saga, step, user_id, state, currency, amount_minor, refunded_minor, version,
                        created_at, updated_at)
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
           value ->> 8, ?2, ?2
    from json_each(?1)";

const INSERT_LINES: &str = "
    insert into order_line (order_no, sku_id, line_no, qty, price_minor, refunded, shipped)
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
    from json_each(?1) where ?2 is not null";

const UPDATE_ORDERS: &str = "
    update orders
    set state = new.value ->> 1, refunded_minor = new.value ->> 2, version = new.value ->> 3, updated_at = ?2
    from json_each(?1) as new
    where order_no = new.value ->> 0 and state = new.value ->> 4 and version = new.value ->> 5";

const UPDATE_LINES: &str = "
    update order_line set refunded = new.value ->> 2, shipped = new.value ->> 3
    from json_each(?1) as new
    where order_no = new.value ->> 0 and sku_id = new.value ->> 1 and ?2 is not null";

const INSERT_REFUNDS: &str = "
    insert into refund (refund_no, order_no, amount_minor, reason, saga, step, created_at)
    select value ->> 'refund_no', value ->> 'order_no', value ->> 'amount_minor', value ->> 'reason',
           value ->> 'saga', value ->> 'step', ?2
    from json_each(?1)";

const INSERT_REFUND_LINES: &str = "
    insert into refund_line (refund_no, sku_id, qty)
    select value ->> 0, value ->> 1, value ->> 2 from json_each(?1) where ?2 is not null";

const INSERT_EVENTS: &str = "
    insert into order_event (order_no, version, from_state, to_state, operation, op, note, saga, step, at)
    select value ->> 'order_no', value ->> 'version', value ->> 'from_state', value ->> 'to_state',
           value ->> 'operation', value ->> 'op', value ->> 'note', value ->> 'saga', value ->> 'step', ?2
    from json_each(?1) order by key";

impl Changes {
    /// Collects what changed in a book.
    ///
    /// # Errors
    /// [`Error::Database`] when a row cannot be put as JSON.
    pub fn of(book: &Book) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        changes.insert_orders(book)?;
        let moved = book.moved().map(|(order, was, version)| {
            (&order.number, order.state, order.refunded, order.version, was, version)
        });
        changes.push("orders", UPDATE_ORDERS, moved)?;
        let lines = book.lines_changed().map(|(order, sku, line)| (order, sku, line.refunded, line.shipped));
        changes.push("order_line", UPDATE_LINES, lines)?;
        changes.push("refund", INSERT_REFUNDS, book.refunds().iter())?;
        let parts = book
            .refunds()
            .iter()
            .flat_map(|refund| refund.parts().iter().map(|part| (refund.number(), part.sku, part.qty)));
        changes.push("refund_line", INSERT_REFUND_LINES, parts)?;
        changes.push("order_event", INSERT_EVENTS, book.events().iter())?;
        Ok(changes)
    }

    fn insert_orders(&mut self, book: &Book) -> Result<(), Error> {
        let orders = book.created().map(|order| {
            (
                &order.number,
                &order.saga,
                &order.step,
                &order.customer,
                order.state,
                order.currency,
                order.amount,
                order.refunded,
                order.version,
            )
        });
        self.push("orders", INSERT_ORDERS, orders)?;
        let lines = book.created().flat_map(|order| {
            order.lines.iter().zip(1i64..).map(|((sku, line), number)| {
                (&order.number, sku, number, line.qty, line.price, line.refunded, line.shipped)
            })
        });
        self.push("order_line", INSERT_LINES, lines)
    }

    fn push<R: Serialize>(
        &mut self,
        table: &'static str,
        sql: &'static str,
        rows: impl Iterator<Item = R>,
    ) -> Result<(), Error> {
        let rows: Vec<R> = rows.collect();
        for some in rows.chunks(ROWS_MAX) {
            let expected = some.len() as u64;
            let rows = serde_json::to_string(some).map_err(|error| sqlx::Error::Encode(error.into()))?;
            self.writes.push(Write { table, sql, rows, expected });
        }
        Ok(())
    }
}

/// Writes changes at `now` (unix milliseconds).
///
/// # Errors
/// [`Error::Database`]; [`Error::Conflict`] when a row is not as it was loaded. Either way the transaction must be
/// rolled back.
pub async fn save(connection: &mut SqliteConnection, changes: Changes, now: i64) -> Result<(), Error> {
    for Write { table, sql, rows, expected } in changes.writes {
        let met = query(sql).bind(rows).bind(now).execute(&mut *connection).await?.rows_affected();
        if met != expected {
            return Err(Error::Conflict { table, met, expected });
        }
    }
    Ok(())
}
