//! Changes of what a record is told by: how many of it are kept back, and at how many it is low.
//!
//! Neither moves a counter, and both change what can be had of the record or what is said of it. So each change is a flow
//! as well, of a kind of its own: whoever reads on in the flows (the [feed](crate::feed), [alerts](crate::alert)) hears of
//! it in its place among the sales, and what was kept back at any flow can be told afterwards. Setting what is set already
//! changes nothing and writes nothing.

use sqlx::{Row, SqliteConnection};

use crate::ledger::FlowOp;
use crate::record::RecordKey;
use crate::sqlite::index;

/// What of a record is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// How many are kept back.
    Safety(i64),
    /// At how many it is low, if at any.
    Low(Option<i64>),
}

const FIND: &str = "
    select stock_id, safety_stock, low_threshold from inv_stock
    where sku_id = ?1 ->> 0 and stock_type = ?1 ->> 1 and dept_no = ?1 ->> 2 and warehouse_no = ?1 ->> 3
        and stock_status = 1 and goods_level = ?1 ->> 4 and activity_id = ?1 ->> 5 and channel = ?1 ->> 6";

/// Nobody names these flows; the last flow before each tells them apart.
const NOTE: &str = "
    insert into inv_flow (op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id, saga, step,
        created_at)
    select ?1, 'setting:' || (coalesce(max(flow_id), 0) + 1), 1, ?2, 0, ?3, 0, 0, 0, null, '', '', ?4 from inv_flow";

/// Sets it at a time, in unix milliseconds; the record's number, if it is kept here.
///
/// # Errors
/// The database's own.
pub(crate) async fn set(
    connection: &mut SqliteConnection,
    record: &RecordKey,
    setting: Setting,
    now: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let found = sqlx::query(FIND).bind(index(record).to_string()).fetch_optional(&mut *connection).await?;
    let Some(row) = found else { return Ok(None) };
    let stock_id: i64 = row.try_get("stock_id")?;
    let (safety, low): (i64, Option<i64>) = (row.try_get("safety_stock")?, row.try_get("low_threshold")?);
    let (op, moved, update) = match setting {
        Setting::Safety(to) if to == safety => return Ok(Some(stock_id)),
        Setting::Low(to) if to == low => return Ok(Some(stock_id)),
        Setting::Safety(to) => {
            let op = if to > safety { FlowOp::KeepBack } else { FlowOp::LetGo };
            let update = sqlx::query("update inv_stock set safety_stock = ?2 where stock_id = ?1");
            (op, (to - safety).abs(), update.bind(stock_id).bind(to))
        }
        Setting::Low(to) => {
            let update = sqlx::query("update inv_stock set low_threshold = ?2 where stock_id = ?1");
            let moved = (to.unwrap_or(0) - low.unwrap_or(0)).abs().max(1);
            (FlowOp::Threshold, moved, update.bind(stock_id).bind(to))
        }
    };
    update.execute(&mut *connection).await?;
    sqlx::query(NOTE).bind(op as i64).bind(stock_id).bind(moved).bind(now).execute(connection).await?;
    Ok(Some(stock_id))
}
