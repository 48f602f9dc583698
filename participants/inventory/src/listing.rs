//! What anybody may read: stock by SKU, and what each order has set aside.
//!
//! Lists are cut into pages, ascending, with the last key as the cursor of the next page.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{Row, SqliteConnection};

/// The most items on one page.
pub const PAGE_MAX: i64 = 500;

/// Items on a page when nobody says how many.
pub const PAGE_DEFAULT: i64 = 50;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The items, ascending.
    pub items: Vec<T>,
    /// What to ask for next, or nothing when this was the last page.
    pub next: Option<String>,
}

/// The sellable stock of one SKU, over all its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stock {
    /// The SKU.
    pub sku: i64,
    /// Free to be set aside.
    pub usable: i64,
    /// Set aside.
    pub held: i64,
    /// Left the house.
    pub shipped: i64,
    /// Everything that ever came in.
    pub inbound: i64,
}

/// What one order has set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number.
    pub order: String,
    /// Every SKU it ever set aside, ascending.
    pub lines: Vec<OrderLine>,
}

/// What one order has set aside of one SKU. `held + confirmed + released + shipped = qty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct OrderLine {
    /// The SKU.
    pub sku: i64,
    /// How many were ever set aside.
    pub qty: i64,
    /// How many wait for the order to be paid.
    pub held: i64,
    /// How many are paid for.
    pub confirmed: i64,
    /// How many came back.
    pub released: i64,
    /// How many left the house.
    pub shipped: i64,
}

/// The stock of the given SKUs; those that are not kept here are left out.
///
/// # Errors
/// The database's own.
pub async fn stock_of(connection: &mut SqliteConnection, skus: &[i64]) -> Result<Vec<Stock>, sqlx::Error> {
    let list = serde_json::Value::from(skus).to_string();
    let rows = sqlx::query(
        "select s.sku_id, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped, sum(b.inbound) as inbound
         from (select distinct value from json_each(?1)) wanted
         cross join inv_stock s on s.sku_id = wanted.value and s.stock_type = 1
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.sku_id order by s.sku_id",
    )
    .bind(list)
    .fetch_all(connection)
    .await?;
    rows.iter().map(stock).collect()
}

/// The stock of all SKUs above `after`.
///
/// # Errors
/// The database's own.
pub async fn stock_after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: i64,
) -> Result<Page<Stock>, sqlx::Error> {
    let rows = sqlx::query(
        "select s.sku_id, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped, sum(b.inbound) as inbound
         from (select distinct sku_id from inv_stock where sku_id > ?1 and stock_type = 1 order by sku_id limit ?2) wanted
         cross join inv_stock s on s.sku_id = wanted.sku_id and s.stock_type = 1
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.sku_id order by s.sku_id",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let items = rows.iter().map(stock).collect::<Result<Vec<_>, _>>()?;
    let next = items.last().filter(|_| items.len() as i64 == limit).map(|stock| stock.sku.to_string());
    Ok(Page { items, next })
}

/// What the orders after `after` have set aside.
///
/// # Errors
/// The database's own.
pub async fn orders_after(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Page<Order>, sqlx::Error> {
    let rows = sqlx::query(
        "select h.order_no, s.sku_id, h.qty, h.released, h.shipped, h.state
         from (select distinct order_no from inv_hold where order_no > ?1 order by order_no limit ?2) wanted
         cross join inv_hold h on h.order_no = wanted.order_no
         cross join inv_stock s on s.stock_id = h.stock_id",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let mut orders: BTreeMap<String, BTreeMap<i64, OrderLine>> = BTreeMap::new();
    for row in &rows {
        let (qty, released, shipped): (i64, i64, i64) =
            (row.try_get("qty")?, row.try_get("released")?, row.try_get("shipped")?);
        let sku = row.try_get("sku_id")?;
        let lines = orders.entry(row.try_get("order_no")?).or_default();
        let line = lines.entry(sku).or_insert(OrderLine { sku, ..OrderLine::default() });
        line.qty += qty;
        line.released += released;
        line.shipped += shipped;
        let open = qty - released - shipped;
        match row.try_get("state")? {
            1 => line.held += open,
            2 => line.confirmed += open,
            _ => {}
        }
    }
    let items: Vec<Order> = orders
        .into_iter()
        .map(|(order, lines)| Order { order, lines: lines.into_values().collect() })
        .collect();
    let next = items.last().filter(|_| items.len() as i64 == limit).map(|order| order.order.clone());
    Ok(Page { items, next })
}

fn stock(row: &sqlx::sqlite::SqliteRow) -> Result<Stock, sqlx::Error> {
    Ok(Stock {
        sku: row.try_get("sku_id")?,
        usable: row.try_get("usable")?,
        held: row.try_get("held")?,
        shipped: row.try_get("shipped")?,
        inbound: row.try_get("inbound")?,
    })
}
