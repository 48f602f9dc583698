//! What lies in the warehouses, as their systems count it.
//!
//! The table is a copy of somebody else's truth. It arrives in batches, each once under its number, and every row bears
//! the version of the warehouse's count: an older one, or the same again, never replaces a newer one, in whatever order
//! the batches come.
//!
//! ```json
//! {"batch_no": "wms-17", "source": "wms", "warehouse": "w1", "mode": "full", "apply": true, "counted_at": "2026-11-11T00:00:00Z",
//!  "rows": [{"sku": 7, "on_hand": 40, "damaged": 2, "version": 17}]}
//! ```
//!
//! `"some"` (the default) tells of the SKUs it names. `"full"` tells of all that lies in the warehouse: what it does not
//! name lies there no more, as of the highest version in it. A full batch that names fewer than half of what lay there is
//! refused, since a cut-off file looks just like that.
//!
//! Sellable stock is set by operations and not by this table. With `"apply"` the records of the SKUs that the batch changed
//! are [brought](apply) to what can be sold of what lies there, over all warehouses: on hand less damaged, less what has
//! left since it was counted, less what is set aside, less what channels and activities have. The
//! [safety stock](crate::safety) stays within it. It is applied as a difference, in the same transaction, through the books
//! ([`crate::adjust`]), so that no sale in between is lost.
//!
//! A count is taken to say what lay there at `"counted_at"`, or when it arrives where that is not said: a parcel that has left
//! since then was counted, and is taken off.

use std::collections::BTreeMap;

use amends_sdk::body::{Reader, given};
use amends_sdk::{Task, Tx, Writer};
use amends_wire::canonical::{self, hex};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};
use tokio::sync::oneshot;

use crate::body::now_ms;
use crate::cart::REPLENISH_QTY_MAX;
use crate::record::PLACE_CHARS_MAX;
use crate::sqlite::Error;

mod apply;
pub(crate) mod http;

#[cfg(test)]
mod tests;

/// The most rows of one batch.
pub const ROWS_MAX: usize = 50_000;

/// The longest number of a batch, in characters.
pub const BATCH_CHARS_MAX: usize = 56;

/// The longest name of a source, in characters.
pub const SOURCE_CHARS_MAX: usize = 64;

/// What a batch tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// All that lies in the warehouse.
    Full = 1,
    /// The SKUs it names.
    Some = 2,
}

/// A count of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many lie there, damaged ones included.
    pub on_hand: i64,
    /// How many of them are damaged.
    pub damaged: i64,
    /// The version of the count.
    pub version: i64,
}

/// A batch of counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncBatch {
    number: String,
    source: String,
    warehouse: String,
    mode: SyncMode,
    apply: bool,
    /// When it was counted, in unix milliseconds, where that is said.
    counted_at: Option<i64>,
    rows: BTreeMap<i64, Count>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Synced {
    /// It was taken: the answer.
    New(Value),
    /// It was taken before, under the same number: the answer of then.
    Again(Value),
    /// Another batch was taken under this number.
    NumberTaken,
    /// A full batch names too little of what lay there.
    CutOff {
        /// How many SKUs it names.
        named: i64,
        /// How many lay there.
        known: i64,
    },
}

impl SyncBatch {
    /// Reads the body above.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<SyncBatch, Vec<Misfit>> {
        let mut reader = Reader::default();
        let number = reader.text(body, "", "batch_no", 1..=BATCH_CHARS_MAX);
        let source = reader.text_if_any(body, "", "source", 1..=SOURCE_CHARS_MAX);
        let warehouse = reader.text(body, "", "warehouse", 1..=PLACE_CHARS_MAX);
        if warehouse.as_ref().is_some_and(|name| !name.is_ascii() || name == "*") {
            reader.misfit("/warehouse", "must be of ASCII characters and name one warehouse");
        }
        let mode = match reader.text_if_any(body, "", "mode", 1..=16).as_deref() {
            Some("full") => SyncMode::Full,
            None | Some("some") => SyncMode::Some,
            Some(_) => {
                reader.misfit("/mode", "must be \"full\" or \"some\"");
                SyncMode::Some
            }
        };
        let apply = match given(body, "apply") {
            None => false,
            Some(Value::Bool(apply)) => *apply,
            Some(_) => {
                reader.misfit("/apply", "must be true or false");
                false
            }
        };
        let counted_at = read_time(&mut reader, body);
        let rows = read_rows(&mut reader, body);
        let named = number.zip(warehouse).map(|(number, warehouse)| {
            let source = source.unwrap_or_else(|| "manual".into());
            SyncBatch { number, source, warehouse, mode, apply, counted_at, rows }
        });
        reader.finish(named)
    }

    fn fingerprint(&self) -> String {
        let mut head = format!("{}\n{}\n{}\n{}", self.source, self.warehouse, self.mode as i64, self.apply);
        if let Some(at) = self.counted_at {
            head.push_str(&format!("\n{at}"));
        }
        let row = |(sku, count): (&i64, &Count)| {
            format!("{sku}:{}:{}:{},", count.on_hand, count.damaged, count.version)
        };
        let rows: String = self.rows.iter().map(row).collect();
        hex(&canonical::fingerprint([head.as_bytes(), rows.as_bytes()]))
    }
}

/// Reads when it was counted.
fn read_time(reader: &mut Reader, body: &Value) -> Option<i64> {
    let text = reader.text_if_any(body, "", "counted_at", 1..=40)?;
    let time = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    if time.is_none() {
        reader.misfit("/counted_at", "must be a time as in 2026-11-11T00:00:00Z");
    }
    time
}

/// Reads the rows; of a SKU that is named twice the newer count is taken.
fn read_rows(reader: &mut Reader, body: &Value) -> BTreeMap<i64, Count> {
    let read = |reader: &mut Reader, row: &Value, at: &str| {
        let sku = reader.integer(row, at, "sku", 1..=i64::MAX);
        let on_hand = reader.integer(row, at, "on_hand", 0..=REPLENISH_QTY_MAX);
        let most = on_hand.unwrap_or(REPLENISH_QTY_MAX);
        let damaged = reader.integer_if_any(row, at, "damaged", 0..=most).unwrap_or(0);
        let version = reader.integer(row, at, "version", 1..=crate::balance::INBOUND_MAX);
        Some((sku?, Count { on_hand: on_hand?, damaged, version: version? }))
    };
    let mut rows: BTreeMap<i64, Count> = BTreeMap::new();
    for (sku, count) in reader.each(body, "rows", 1..=ROWS_MAX, read) {
        let kept = rows.entry(sku).or_insert(count);
        if count.version > kept.version {
            *kept = count;
        }
    }
    rows
}

/// Takes a batch through the writer; durable when it returns.
///
/// # Errors
/// The database's own, or a writer with too much waiting.
pub async fn sync(writer: &Writer, batch: SyncBatch) -> Result<Synced, amends_sdk::Error> {
    let (answer, answered) = oneshot::channel();
    writer.run(Box::new(Take { batch, answer })).await?;
    answered.await.map_err(|_| amends_sdk::Error::Stopping)
}

struct Take {
    batch: SyncBatch,
    answer: oneshot::Sender<Synced>,
}

#[async_trait]
impl Task for Take {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Take { batch, answer } = *self;
        let synced = perform(tx.sqlite(), &batch, now_ms()).await.map_err(Error::into_database)?;
        // The writer commits after this; its own answer comes first, and this one is read only then.
        let _ = answer.send(synced);
        Ok(())
    }
}

/// Takes a batch within a transaction that somebody else commits.
///
/// # Errors
/// The database's own; then nothing of it may be committed.
pub async fn perform(
    connection: &mut SqliteConnection,
    batch: &SyncBatch,
    now: i64,
) -> Result<Synced, Error> {
    let fingerprint = batch.fingerprint();
    let before = sqlx::query("select fingerprint, answer from inv_sync where batch_no = ?1")
        .bind(&batch.number)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = before {
        let (same, answer): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        return Ok(match same == fingerprint {
            true => Synced::Again(serde_json::from_str(&answer).unwrap_or_default()),
            false => Synced::NumberTaken,
        });
    }
    let named = batch.rows.len() as i64;
    if batch.mode == SyncMode::Full {
        let known: i64 =
            sqlx::query_scalar("select count(*) from inv_physical where warehouse_no = ?1 and on_hand > 0")
                .bind(&batch.warehouse)
                .fetch_one(&mut *connection)
                .await?;
        if named.saturating_mul(2) < known {
            return Ok(Synced::CutOff { named, known });
        }
    }
    let changed = write(connection, batch, now).await?;
    let lines = match batch.apply {
        true => apply::apply(connection, batch, &changed, now).await?,
        false => Value::Null,
    };
    let mut answer = json!({ "batch_no": batch.number, "rows": named, "applied": changed.len() });
    if batch.apply {
        answer["lines"] = lines;
    }
    note(connection, batch, &fingerprint, (changed.len(), &answer), now).await?;
    Ok(Synced::New(answer))
}

/// Writes the counts that are newer and says of which SKUs.
async fn write(
    connection: &mut SqliteConnection,
    batch: &SyncBatch,
    now: i64,
) -> Result<Vec<i64>, sqlx::Error> {
    let left = match batch.counted_at {
        Some(at) => left_since(connection, at).await?,
        None => BTreeMap::new(),
    };
    let row = |(sku, count): (&i64, &Count)| {
        let left = left.get(sku).copied().unwrap_or(0);
        json!([sku, count.on_hand, count.damaged, count.version, left])
    };
    let rows = Value::from_iter(batch.rows.iter().map(row)).to_string();
    let mut changed: Vec<i64> = sqlx::query_scalar(
        "insert into inv_physical (warehouse_no, sku_id, on_hand, damaged, wms_version, synced_at, shipped_then)
         select ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, ?3,
            (select coalesce(sum(b.shipped), 0) from inv_stock s cross join inv_bucket b on b.stock_id = s.stock_id
             where s.sku_id = value ->> 0) - (value ->> 4)
         from json_each(?1) where true
         on conflict (warehouse_no, sku_id) do update set on_hand = excluded.on_hand, damaged = excluded.damaged,
            wms_version = excluded.wms_version, synced_at = excluded.synced_at, shipped_then = excluded.shipped_then
            where excluded.wms_version > inv_physical.wms_version
         returning sku_id",
    )
    .bind(&rows)
    .bind(&batch.warehouse)
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    if batch.mode == SyncMode::Full {
        let version = batch.rows.values().map(|count| count.version).max().unwrap_or(0);
        let gone: Vec<i64> = sqlx::query_scalar(
            "update inv_physical set on_hand = 0, damaged = 0, wms_version = ?3, synced_at = ?4
             where warehouse_no = ?2 and on_hand > 0 and wms_version < ?3
                and sku_id not in (select value ->> 0 from json_each(?1))
             returning sku_id",
        )
        .bind(&rows)
        .bind(&batch.warehouse)
        .bind(version)
        .bind(now)
        .fetch_all(connection)
        .await?;
        changed.extend(gone);
    }
    Ok(changed)
}

/// How many of each SKU have left the house since a time: the flows after the last one from before it, so that no more is read.
async fn left_since(connection: &mut SqliteConnection, at: i64) -> Result<BTreeMap<i64, i64>, sqlx::Error> {
    let rows = sqlx::query(
        "select s.sku_id, sum(f.d_shipped) from inv_flow f cross join inv_stock s on s.stock_id = f.stock_id
         where f.flow_id > coalesce((select flow_id from inv_flow where created_at < ?1 order by flow_id desc limit 1), 0)
            and f.op = 8
         group by s.sku_id",
    )
    .bind(at)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn note(
    connection: &mut SqliteConnection,
    batch: &SyncBatch,
    fingerprint: &str,
    (applied, answer): (usize, &Value),
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into inv_sync (batch_no, source, mode, warehouse_no, fingerprint, rows_seen, rows_applied, answer,
            created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&batch.number)
    .bind(&batch.source)
    .bind(batch.mode as i64)
    .bind(&batch.warehouse)
    .bind(fingerprint)
    .bind(batch.rows.len() as i64)
    .bind(applied as i64)
    .bind(answer.to_string())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
