//! Records that are named by more than their SKU, and new ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::{BucketRow, Error, parsed};
use crate::record::{Place, RecordKey};

/// The columns of the unique key in the order in which [`index`] gives them, after the SKU.
const IS_WANTED: &str = "s.sku_id = wanted.value ->> 0 and s.stock_type = wanted.value ->> 1
    and s.dept_no = wanted.value ->> 2 and s.warehouse_no = wanted.value ->> 3 and s.stock_status = 1
    and s.goods_level = wanted.value ->> 4 and s.activity_id = wanted.value ->> 5 and s.channel = wanted.value ->> 6";

/// Makes the records that are missing, and their first buckets.
///
/// # Errors
/// The database's own.
pub async fn make(
    connection: &mut SqliteConnection,
    records: impl Iterator<Item = &RecordKey>,
    now: i64,
) -> Result<(), Error> {
    let list = super::list(records.map(index));
    sqlx::query(
        "insert into inv_stock (sku_id, stock_type, dept_no, warehouse_no, goods_level, activity_id, channel, created_at)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ?2
         from json_each(?1) where true on conflict do nothing",
    )
    .bind(list.as_str())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    let buckets = format!(
        "insert into inv_bucket (stock_id, bucket_no)
         select s.stock_id, 0 from json_each(?1) wanted cross join inv_stock s on {IS_WANTED}
         where true on conflict do nothing"
    );
    sqlx::query(sqlx::AssertSqlSafe(buckets)).bind(list).execute(&mut *connection).await?;
    Ok(())
}

/// The first buckets of those wanted records that lie at a place of their own.
pub(super) async fn placed(
    connection: &mut SqliteConnection,
    wanted: &BTreeSet<RecordKey>,
) -> Result<Vec<(RecordKey, BucketRow)>, Error> {
    let wanted: Vec<&RecordKey> = wanted.iter().filter(|record| record.place().is_some()).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "select json_group_array(json_array(wanted.key, json_array(s.sku_id, s.stock_id, s.epoch, s.mode, b.bucket_no,
            b.usable, b.held, b.shipped, b.version)))
         from json_each(?1) wanted cross join inv_stock s on {IS_WANTED}
         cross join inv_bucket b on b.stock_id = s.stock_id and b.bucket_no = 0"
    );
    let found: String = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(super::list(wanted.iter().map(|record| index(record))))
        .fetch_one(&mut *connection)
        .await?;
    let found: Vec<(usize, BucketRow)> = parsed("inv_bucket", &found)?;
    Ok(found.into_iter().map(|(place, bucket)| (wanted[place].clone(), bucket)).collect())
}

/// A record as the statements above read it.
pub(crate) fn index(record: &RecordKey) -> Value {
    let default = Place::default();
    let place = record.place().unwrap_or(&default);
    let Place { dept, warehouse, level, channel, activity } = place;
    json!([record.sku, place.stock_type(), dept, warehouse, level, activity, channel])
}
