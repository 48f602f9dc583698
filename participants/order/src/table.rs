//! Orders in SQLite: what a batch loads, and what it writes when it is decided.
//!
//! Both run inside the batch's transaction on the one connection that writes. Every statement covers the whole batch
//! (rows travel as one JSON text), so its cost hardly depends on how many calls wait. Each update is conditional on
//! the state and the version that were loaded and must meet exactly as many rows as were decided.

mod load;

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::query;
use sqlx::sqlite::SqliteConnection;

use crate::book::{Book, RefundState};
use crate::command::{Command, number_or};

pub use load::load;
pub(crate) use load::order_of;

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
    /// Refund numbers that may be taken, or end.
    pub refunds: BTreeSet<String>,
    /// Shipment numbers that may be taken.
    pub shipments: BTreeSet<String>,
    /// Tokens that may be used, each after its customer.
    pub tokens: BTreeSet<(String, String)>,
}

impl Wanted {
    /// Adds what one command needs, called by a step of a saga.
    pub fn add(&mut self, command: &Command, saga: &str, step: &str) {
        let order = command.order().as_str();
        self.orders.insert(order.to_owned());
        let number = |own: Option<&String>| number_or(own, saga, step);
        let of_saga = |own: &Option<String>| own.clone().unwrap_or_else(|| saga.to_owned());
        match command {
            Command::Refund(refund) => {
                self.lines.insert(order.to_owned());
                self.refunds.insert(number(refund.number.as_ref()));
            }
            Command::RefundBegin(refund) => {
                self.lines.insert(order.to_owned());
                self.refunds.insert(of_saga(&refund.number));
            }
            Command::RefundEnd(end) => {
                self.lines.insert(order.to_owned());
                self.refunds.insert(of_saga(&end.number));
            }
            Command::Ship(shipment) => {
                self.lines.insert(order.to_owned());
                self.shipments.insert(number(shipment.number.as_ref()));
            }
            Command::Create(placement) => {
                let token = placement.customer.clone().zip(placement.token.clone());
                self.tokens.extend(token);
            }
            Command::Reserve(_)
            | Command::Pay(_)
            | Command::Complete(_)
            | Command::Cancel(..)
            | Command::TimeOut(_) => {}
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
                        token, pay_deadline, payment_no, created_at, updated_at)
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
           value ->> 8, value ->> 9, value ->> 10, value ->> 11, ?2, ?2
    from json_each(?1)";

const INSERT_LINES: &str = "
    insert into order_line (order_no, sku_id, line_no, qty, price_minor, refunded, refunding, shipped)
    select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
    from json_each(?1) where ?2 is not null";

const UPDATE_ORDERS: &str = "
    update orders
    set state = new.value ->> 1, refunded_minor = new.value ->> 2, payment_no = new.value ->> 3,
        version = new.value ->> 4, updated_at = ?2
    from json_each(?1) as new
    where order_no = new.value ->> 0 and state = new.value ->> 5 and version = new.value ->> 6";

const UPDATE_LINES: &str = "
    update order_line
    set refunded = new.value ->> 2, refunding = new.value ->> 3, shipped = new.value ->> 4
    from json_each(?1) as new
    where order_no = new.value ->> 0 and sku_id = new.value ->> 1 and ?2 is not null";

const INSERT_REFUNDS: &str = "
    insert into refund (refund_no, order_no, state, amount_minor, reason, saga, step, created_at, ended_at)
    select value ->> 'refund_no', value ->> 'order_no', value ->> 'state', value ->> 'amount_minor',
           value ->> 'reason', value ->> 'saga', value ->> 'step', ?2, iif(value ->> 'state' = 'begun', null, ?2)
    from json_each(?1)";

const UPDATE_REFUNDS: &str = "
    update refund set state = new.value ->> 1, ended_at = ?2
    from json_each(?1) as new
    where refund_no = new.value ->> 0 and state = new.value ->> 2";

const INSERT_SHIPMENTS: &str = "
    insert into shipment (ship_no, order_no, saga, step, created_at)
    select value ->> 'ship_no', value ->> 'order_no', value ->> 'saga', value ->> 'step', ?2 from json_each(?1)";

const INSERT_SHIPMENT_LINES: &str = "
    insert into shipment_line (ship_no, sku_id, qty)
    select value ->> 0, value ->> 1, value ->> 2 from json_each(?1) where ?2 is not null";

const INSERT_TIMEOUTS: &str = "
    insert into order_timeout (order_no, decided_at, next_at) select value, ?2, ?2 from json_each(?1)";

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
            (&order.number, order.state, order.refunded, &order.payment, order.version, was, version)
        });
        changes.push("orders", UPDATE_ORDERS, moved)?;
        let lines = book
            .lines_changed()
            .map(|(order, sku, line)| (order, sku, line.refunded, line.refunding, line.shipped));
        changes.push("order_line", UPDATE_LINES, lines)?;
        changes.refunds_and_shipments(book)?;
        changes.push("order_timeout", INSERT_TIMEOUTS, book.timed_out().iter())?;
        changes.push("order_event", INSERT_EVENTS, book.events().iter())?;
        Ok(changes)
    }

    fn refunds_and_shipments(&mut self, book: &Book) -> Result<(), Error> {
        self.push("refund", INSERT_REFUNDS, book.refunds())?;
        let parts = book
            .refunds()
            .flat_map(|refund| refund.parts().iter().map(|part| (refund.number(), part.sku, part.qty)));
        self.push("refund_line", INSERT_REFUND_LINES, parts)?;
        let ended = book.refunds_ended().map(|refund| (refund.number(), refund.state(), RefundState::Begun));
        self.push("refund", UPDATE_REFUNDS, ended)?;
        self.push("shipment", INSERT_SHIPMENTS, book.shipments().iter())?;
        let parts = book
            .shipments()
            .iter()
            .flat_map(|shipment| shipment.parts().iter().map(|part| (shipment.number(), part.sku, part.qty)));
        self.push("shipment_line", INSERT_SHIPMENT_LINES, parts)
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
                &order.token,
                order.pay_deadline,
                &order.payment,
            )
        });
        self.push("orders", INSERT_ORDERS, orders)?;
        let lines = book.created().flat_map(|order| {
            order.lines.iter().zip(1i64..).map(|((sku, line), number)| {
                (
                    &order.number,
                    sku,
                    number,
                    line.qty,
                    line.price,
                    line.refunded,
                    line.refunding,
                    line.shipped,
                )
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
