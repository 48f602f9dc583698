//! Brings sellable stock to what can be sold of what lies there.
//!
//! A count says what lay there when it came. What has left the house since must be taken off again, and nobody says which
//! warehouse it left from; so it is taken off wherever it can be ([`lying`]), and a warehouse that counts anew makes that
//! good. What lies there is sold once, whoever sells it: the store, channels, activities.
//!
//! The invariant it keeps: **when counts have been applied, what all records of a SKU have usable and held is no more than
//! what lies there, unless more than that is held.**

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SyncBatch;
use crate::adjust::{self, Adjusted, Adjustment};
use crate::cart::{OrderNo, Sku};
use crate::ledger::FlowOp;
use crate::record::{Place, RecordKey};
use crate::sqlite::Error;
use crate::version::Versions;

#[cfg(test)]
mod tests;

/// A warehouse's count of a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// How many lay there that were not damaged.
    sound: i64,
    /// How many of the SKU had left the house by then, from wherever.
    shipped_then: i64,
}

/// What the records of a SKU have.
#[derive(Debug, Default)]
struct Stock {
    /// What is usable of each record that a line can name, in the order in which they give way.
    usable: Vec<(RecordKey, i64)>,
    /// Usable and held, of all records.
    spoken_for: i64,
    /// What has left the house.
    shipped: i64,
}

/// How many lie there at least, by counts in the order of what had left by then: of what was counted, what has left up to
/// the next count is taken off, as far as there is any.
fn lying(counts: &[Counted], shipped: i64) -> i64 {
    let (mut lying, mut shipped_then) = (0, 0);
    for count in counts {
        lying = (lying - (count.shipped_then - shipped_then)).max(0) + count.sound;
        shipped_then = count.shipped_then;
    }
    (lying - (shipped - shipped_then)).max(0)
}

impl Stock {
    /// By how much which records are to change. What can be sold beyond the others is the store's; where there is too
    /// much, the store gives way first and activities last.
    fn changes(&self, sku: Sku, lying: i64) -> Vec<(RecordKey, i64)> {
        let mut too_much = self.spoken_for - lying;
        if too_much < 0 {
            return vec![(RecordKey::from(sku), -too_much)];
        }
        let mut changes = Vec::new();
        for (record, usable) in &self.usable {
            let less = (*usable).min(too_much);
            if less > 0 {
                too_much -= less;
                changes.push((record.clone(), -less));
            }
        }
        changes
    }
}

/// Applies the counts of these SKUs; the lines that were changed.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    batch: &SyncBatch,
    skus: &[i64],
    now: i64,
) -> Result<Value, Error> {
    let list = Value::from(skus).to_string();
    let counts = counts(connection, &list).await?;
    let stocks = stocks(connection, &list).await?;
    let (none, nothing) = (Vec::new(), Stock::default());
    let mut lines = BTreeMap::new();
    for sku in skus.iter().filter_map(|sku| Sku::new(*sku)) {
        let stock = stocks.get(&sku.get()).unwrap_or(&nothing);
        let lying = lying(counts.get(&sku.get()).unwrap_or(&none), stock.shipped);
        lines.extend(stock.changes(sku, lying));
    }
    if lines.is_empty() {
        return Ok(json!([]));
    }
    let number = OrderNo::stored(&format!("sync:{}", batch.number));
    let adjustment = Adjustment { number, op: FlowOp::Sync, lines, versions: Versions::default() };
    match adjust::perform(connection, &adjustment, now).await? {
        Adjusted::New(lines) | Adjusted::Again(lines) => Ok(lines),
        Adjusted::NumberTaken | Adjusted::TooMuch | Adjusted::Passed(_) => Err(Error::Nonsense {
            table: "inv_physical",
            what: format!("batch {} cannot be applied to the sellable stock", batch.number),
        }),
    }
}

/// The counts of each SKU, in the order of what had left by then.
async fn counts(
    connection: &mut SqliteConnection,
    skus: &str,
) -> Result<BTreeMap<i64, Vec<Counted>>, sqlx::Error> {
    let rows = sqlx::query(
        "select p.sku_id, p.on_hand - p.damaged, p.shipped_then
         from json_each(?1) wanted cross join inv_physical p on p.sku_id = wanted.value
         order by p.sku_id, p.shipped_then",
    )
    .bind(skus)
    .fetch_all(connection)
    .await?;
    let mut counts: BTreeMap<i64, Vec<Counted>> = BTreeMap::new();
    for row in &rows {
        let counted = Counted { sound: row.try_get(1)?, shipped_then: row.try_get(2)? };
        counts.entry(row.try_get(0)?).or_default().push(counted);
    }
    Ok(counts)
}

/// What the records of each SKU have, the store's first and those of activities last.
async fn stocks(connection: &mut SqliteConnection, skus: &str) -> Result<BTreeMap<i64, Stock>, sqlx::Error> {
    let rows = sqlx::query(
        "select s.*, sum(b.usable) as usable, sum(b.held) as held, sum(b.shipped) as shipped
         from json_each(?1) wanted cross join inv_stock s on s.sku_id = wanted.value
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.stock_id
         order by s.activity_id, s.channel, s.warehouse_no <> '*', s.dept_no <> '*', s.goods_level, s.stock_id",
    )
    .bind(skus)
    .fetch_all(connection)
    .await?;
    let mut stocks: BTreeMap<i64, Stock> = BTreeMap::new();
    for row in &rows {
        let column = |name: &str| row.try_get::<i64, _>(name);
        let stock = stocks.entry(column("sku_id")?).or_default();
        stock.spoken_for += column("usable")? + column("held")?;
        stock.shipped += column("shipped")?;
        if let Some(record) = record(row)? {
            stock.usable.push((record, column("usable")?));
        }
    }
    Ok(stocks)
}

/// The record of a row, if a line can name it.
fn record(row: &SqliteRow) -> Result<Option<RecordKey>, sqlx::Error> {
    let place = Place {
        dept: row.try_get("dept_no")?,
        warehouse: row.try_get("warehouse_no")?,
        level: row.try_get("goods_level")?,
        channel: row.try_get("channel")?,
        activity: row.try_get("activity_id")?,
    };
    let (stock_type, status): (i64, i64) = (row.try_get("stock_type")?, row.try_get("stock_status")?);
    let can_be_named = stock_type == place.stock_type() && status == 1;
    let sku = Sku::new(row.try_get("sku_id")?).filter(|_| can_be_named);
    Ok(sku.map(|sku| RecordKey::at(sku, place)))
}
