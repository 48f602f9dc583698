//! What a batch loads before it is decided: orders, the lines some of them need, and what numbers and tokens are taken.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, query};

use super::{Error, Wanted};
use crate::book::{Book, Known, Order, OrderLine, RefundRow, RefundState};
use crate::command::{OrderNo, Part};
use crate::money::{Currency, Minor};
use crate::state::State;

/// Opens a book on the orders of a batch.
///
/// # Errors
/// [`Error::Database`] and [`Error::Corrupt`].
pub async fn load(connection: &mut SqliteConnection, wanted: Wanted) -> Result<Book, Error> {
    let mut orders = load_orders(connection, json!(wanted.orders).to_string()).await?;
    if !wanted.lines.is_empty() {
        load_lines(connection, json!(wanted.lines).to_string(), &mut orders).await?;
    }
    let mut known = Known::default();
    if !wanted.refunds.is_empty() {
        known.refunds = load_refunds(connection, json!(wanted.refunds).to_string()).await?;
    }
    if !wanted.shipments.is_empty() {
        known.shipments = load_shipments(connection, json!(wanted.shipments).to_string()).await?;
    }
    if !wanted.tokens.is_empty() {
        known.tokens = load_tokens(connection, json!(wanted.tokens).to_string()).await?;
    }
    Ok(Book::new(orders.into_values(), known))
}

async fn load_orders(
    connection: &mut SqliteConnection,
    numbers: String,
) -> Result<BTreeMap<String, Order>, Error> {
    const SQL: &str = "
        select order_no, saga, step, user_id, state, currency, amount_minor, refunded_minor, version, pay_deadline,
               payment_no
        from orders where order_no in (select value from json_each(?1))";
    let rows = query(SQL).bind(numbers).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, order_of(row)?))).collect()
}

/// Reads an order from the eleven columns that every query of orders begins with.
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
        pay_deadline: row.try_get(9)?,
        payment: row.try_get(10)?,
        token: None,
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
        select order_no, sku_id, qty, price_minor, refunded, refunding, shipped
        from order_line where order_no in (select value from json_each(?1))";
    for row in query(SQL).bind(numbers).fetch_all(connection).await? {
        let number: String = row.try_get(0)?;
        let corrupt = |value| Error::Corrupt { order: number.clone(), what: "price_minor", value };
        let price = minor(&row, 3).map_err(corrupt)?;
        let line = OrderLine {
            qty: row.try_get(2)?,
            price,
            refunded: row.try_get(4)?,
            refunding: row.try_get(5)?,
            shipped: row.try_get(6)?,
        };
        if let Some(order) = orders.get_mut(&number) {
            order.lines.insert(row.try_get(1)?, line);
        }
    }
    Ok(())
}

async fn load_refunds(connection: &mut SqliteConnection, numbers: String) -> Result<Vec<RefundRow>, Error> {
    const SQL: &str = "
        select refund_no, order_no, state, amount_minor, reason, saga, step,
               (select json_group_array(json_array(sku_id, qty) order by sku_id)
                from refund_line l where l.refund_no = r.refund_no)
        from refund r where refund_no in (select value from json_each(?1))";
    query(SQL).bind(numbers).fetch_all(connection).await?.iter().map(refund_of).collect()
}

fn refund_of(row: &SqliteRow) -> Result<RefundRow, Error> {
    let order: String = row.try_get(1)?;
    let corrupt = |what, value: String| Error::Corrupt { order: order.clone(), what, value };
    let state: String = row.try_get(2)?;
    let state = RefundState::named(&state).ok_or_else(|| corrupt("refund's state", state.clone()))?;
    let parts: String = row.try_get(7)?;
    let pairs: Vec<(i64, i64)> =
        serde_json::from_str(&parts).map_err(|_| corrupt("refund's lines", parts.clone()))?;
    Ok(RefundRow {
        refund_no: row.try_get(0)?,
        state,
        amount_minor: minor(row, 3).map_err(|value| corrupt("refund's amount_minor", value))?,
        reason: row.try_get(4)?,
        saga: row.try_get(5)?,
        step: row.try_get(6)?,
        parts: pairs.into_iter().map(|(sku, qty)| Part { sku, qty }).collect(),
        stored: Some(state),
        order_no: OrderNo::stored(order),
    })
}

async fn load_shipments(
    connection: &mut SqliteConnection,
    numbers: String,
) -> Result<BTreeSet<String>, Error> {
    const SQL: &str = "select ship_no from shipment where ship_no in (select value from json_each(?1))";
    let rows = query(SQL).bind(numbers).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Which of these tokens are used, as pairs of customer and token, each with the number of its order.
async fn load_tokens(
    connection: &mut SqliteConnection,
    tokens: String,
) -> Result<BTreeMap<(String, String), String>, Error> {
    const SQL: &str = "
        select o.user_id, o.token, o.order_no
        from json_each(?1) w
        join orders o on o.user_id = w.value ->> 0 and o.token = w.value ->> 1 and o.token is not null";
    let rows = query(SQL).bind(tokens).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?))).collect()
}
