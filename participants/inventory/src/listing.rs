//! What anybody may read: stock by SKU, and what each order has set aside.
//!
//! Lists are cut into pages, ascending, with the last key as the cursor of the next page.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use crate::route::Mode;

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

/// The sellable stock of one SKU, over all its records and buckets.
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
    /// How many a line that names nothing but the SKU can take: what the catalogue shows.
    pub available: i64,
}

/// One record of stock, told apart from the others of its SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordStock {
    /// The SKU.
    pub sku: i64,
    /// The department; `*` is every one.
    pub dept: String,
    /// The warehouse; `*` is the sales layer.
    pub warehouse: String,
    /// The goods' level.
    pub level: i64,
    /// The sales channel; 0 is every one.
    pub channel: i64,
    /// The activity, or 0 for ordinary sales.
    pub activity: i64,
    /// Lies there and is not set aside.
    pub usable: i64,
    /// Set aside.
    pub held: i64,
    /// Left the house.
    pub shipped: i64,
    /// Everything that ever came in.
    pub inbound: i64,
    /// How many of what is usable are kept back.
    pub safety: i64,
    /// At how many it is low, if at any.
    pub low: Option<i64>,
    /// By which route it is taken; nothing when by none that this program has.
    pub route: Option<&'static str>,
    /// Counts the switches of its route.
    pub epoch: i64,
    /// Counts the changes of its counters: what `if_version` is held against.
    pub version: i64,
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

/// What a line that names nothing but the SKU can take, of the sellable records of a SKU.
const AVAILABLE: &str = "
    max(0, sum(case when s.dept_no = '*' and s.warehouse_no = '*' and s.stock_status = 1 and s.goods_level = 1
            and s.activity_id = 0 and s.channel = 0
        then b.usable - case b.bucket_no when 0 then s.safety_stock else 0 end else 0 end)) as available";

/// The stock of the given SKUs; those that are not kept here are left out.
///
/// # Errors
/// The database's own.
pub async fn stock_of(connection: &mut SqliteConnection, skus: &[i64]) -> Result<Vec<Stock>, sqlx::Error> {
    let list = serde_json::Value::from(skus).to_string();
    let sql = format!(
        "select s.sku_id, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped, sum(b.inbound) as inbound,
            {AVAILABLE}
         from (select distinct value from json_each(?1)) wanted
         cross join inv_stock s on s.sku_id = wanted.value and s.stock_type = 1
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.sku_id order by s.sku_id"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(list);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(stock).collect()
}

/// Every record of the given SKUs, sellable ones and those of activities, ascending by SKU; `None` when there are more than
/// `limit`.
///
/// # Errors
/// The database's own.
pub async fn records_of(
    connection: &mut SqliteConnection,
    skus: &[i64],
    limit: usize,
) -> Result<Option<Vec<RecordStock>>, sqlx::Error> {
    let rows = sqlx::query(
        "select s.sku_id, s.dept_no, s.warehouse_no, s.goods_level, s.channel, s.activity_id, s.safety_stock,
            s.low_threshold, s.mode, s.epoch, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped,
            sum(b.inbound) as inbound, sum(case when b.bucket_no = 0 then b.version else 0 end) as version
         from (select distinct value from json_each(?1)) wanted
         cross join inv_stock s on s.sku_id = wanted.value and s.stock_status = 1
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.stock_id order by s.sku_id, s.stock_id limit ?2",
    )
    .bind(serde_json::Value::from(skus).to_string())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)
    .fetch_all(connection)
    .await?;
    if rows.len() > limit {
        return Ok(None);
    }
    rows.iter().map(record).collect::<Result<Vec<_>, _>>().map(Some)
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
    let sql = format!(
        "select s.sku_id, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped, sum(b.inbound) as inbound,
            {AVAILABLE}
         from (select distinct sku_id from inv_stock where sku_id > ?1 and stock_type = 1 order by sku_id limit ?2) wanted
         cross join inv_stock s on s.sku_id = wanted.sku_id and s.stock_type = 1
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.sku_id order by s.sku_id"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(after).bind(limit);
    let rows = query.fetch_all(connection).await?;
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
        available: row.try_get("available")?,
    })
}

fn record(row: &sqlx::sqlite::SqliteRow) -> Result<RecordStock, sqlx::Error> {
    Ok(RecordStock {
        sku: row.try_get("sku_id")?,
        dept: row.try_get("dept_no")?,
        warehouse: row.try_get("warehouse_no")?,
        level: row.try_get("goods_level")?,
        channel: row.try_get("channel")?,
        activity: row.try_get("activity_id")?,
        usable: row.try_get("usable")?,
        held: row.try_get("held")?,
        shipped: row.try_get("shipped")?,
        inbound: row.try_get("inbound")?,
        safety: row.try_get("safety_stock")?,
        low: row.try_get("low_threshold")?,
        route: Mode::of(row.try_get("mode")?).map(Mode::as_str),
        epoch: row.try_get("epoch")?,
        version: row.try_get("version")?,
    })
}
