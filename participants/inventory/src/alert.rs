//! Alerts of records that run low.
//!
//! A record with a threshold has an alert opened when what is usable falls to it or below, and closed when it has risen to
//! a fifth above ([`is_over`]). In between nothing happens, so that stock which goes up and down around the threshold is
//! told of once and not at every sale. One alert is open for a record at a time; the table has a constraint that says so.
//!
//! The flows are read on as the change feed reads them: whoever looks finds the records that changed since, and only where
//! an alert is to be opened or closed is there a transaction. What dips and recovers between two looks is not told of.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amends_sdk::body::{Reader, given};
use amends_sdk::{Task, Tx, Writer};
use amends_wire::problem::Misfit;
use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use crate::body::now_ms;
use crate::cart::{LINES_MAX, REPLENISH_QTY_MAX};
use crate::record::RecordKey;
use crate::setting::{self, Setting};

pub(crate) mod http;

#[cfg(test)]
mod tests;

/// How often the flows are looked at where nobody says otherwise.
pub const EVERY: Duration = Duration::from_secs(1);

/// Flows that one look reads, at most.
const FLOWS_MAX: i64 = 50_000;

/// What a look has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crossings {
    /// Alerts that were opened.
    pub opened: u64,
    /// Alerts that were closed.
    pub closed: u64,
}

/// The threshold of a record; `None` takes it away, and closes its alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The record.
    pub record: RecordKey,
    /// At how many it is low.
    pub low: Option<i64>,
}

impl Threshold {
    /// Reads `{"lines": [{"sku", …, "low": integer or null}]}`.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Vec<Threshold>, Vec<Misfit>> {
        let mut reader = Reader::default();
        let lines = reader.each(body, "lines", 1..=LINES_MAX, |reader, line, at| {
            let record = RecordKey::read(reader, line, at);
            let low = match given(line, "low") {
                Some(_) => Some(reader.integer(line, at, "low", 0..=REPLENISH_QTY_MAX)?),
                None => None,
            };
            Some(Threshold { record: record?, low })
        });
        reader.finish(Some(lines))
    }
}

/// Whether a record has risen far enough above its threshold for its alert to be closed: a fifth, and at least one.
pub fn is_over(usable: i64, low: i64) -> bool {
    usable > low && usable.saturating_mul(5) >= low.saturating_mul(6)
}

/// Reads on in the flows and opens and closes alerts.
#[derive(Debug)]
pub(crate) struct Alerts {
    writer: Writer,
    /// Up to where the flows were looked at; `None` before the first look, which looks at every record.
    seen: Option<i64>,
}

impl Alerts {
    pub(crate) fn new(writer: &Writer) -> Alerts {
        Alerts { writer: writer.clone(), seen: None }
    }

    /// Looks for ever; dropping it stops it, and the next one begins with every record.
    pub(crate) async fn watch(mut self, every: Duration) -> Infallible {
        loop {
            if let Err(error) = self.look(now_ms()).await {
                tracing::warn!(%error, "alerts of low stock could not be kept up now");
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One look, at a time in unix milliseconds.
    pub(crate) async fn look(&mut self, now: i64) -> Result<Crossings, amends_sdk::Error> {
        let mut snapshot = self.writer.database().readers().begin().await?;
        let head: Option<i64> =
            sqlx::query_scalar("select max(flow_id) from inv_flow").fetch_one(&mut *snapshot).await?;
        let head = head.unwrap_or(0);
        let changed: Option<Vec<i64>> = match self.seen {
            Some(seen) if head - seen <= FLOWS_MAX => Some(
                sqlx::query_scalar("select distinct stock_id from inv_flow where flow_id > ?1")
                    .bind(seen)
                    .fetch_all(&mut *snapshot)
                    .await?,
            ),
            _ => None,
        };
        let crossing = crossing(&mut snapshot, changed.as_deref()).await?;
        snapshot.rollback().await?;
        let crossings = match crossing.is_empty() {
            true => Crossings::default(),
            false => cross(&self.writer, crossing, now).await?,
        };
        self.seen = Some(head);
        Ok(crossings)
    }
}

/// The records, of these or of all, whose alert is to be opened or closed.
async fn crossing(
    connection: &mut SqliteConnection,
    changed: Option<&[i64]>,
) -> Result<Vec<i64>, sqlx::Error> {
    if changed.is_some_and(<[i64]>::is_empty) {
        return Ok(Vec::new());
    }
    const CHANGED: &str = "
        select s.stock_id from json_each(?1) wanted cross join inv_stock s on s.stock_id = wanted.value
        left join inv_alert a on a.open_stock_id = s.stock_id
        where s.low_threshold is not null and";
    const ALL: &str = "
        select s.stock_id from inv_stock s left join inv_alert a on a.open_stock_id = s.stock_id
        where s.low_threshold is not null and ?1 is not null and";
    const CROSSES: &str = "
        (select case when a.alert_id is null then sum(b.usable) <= s.low_threshold
            else sum(b.usable) > s.low_threshold and sum(b.usable) * 5 >= s.low_threshold * 6 end
         from inv_bucket b where b.stock_id = s.stock_id)";
    let query = format!("{} {CROSSES}", if changed.is_some() { CHANGED } else { ALL });
    let list = Value::from(changed.unwrap_or_default()).to_string();
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(list).fetch_all(connection).await
}

/// Opens and closes the alerts of records, as the books say when it is written.
async fn cross(writer: &Writer, records: Vec<i64>, now: i64) -> Result<Crossings, amends_sdk::Error> {
    let crossed = Arc::new(OnceLock::new());
    writer.run(Box::new(Cross { records, now, crossed: crossed.clone() })).await?;
    Ok(crossed.get().copied().unwrap_or_default())
}

struct Cross {
    records: Vec<i64>,
    now: i64,
    crossed: Arc<OnceLock<Crossings>>,
}

#[async_trait]
impl Task for Cross {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let crossings = keep_up(tx.sqlite(), &self.records, self.now).await?;
        let _ = self.crossed.set(crossings);
        Ok(())
    }
}

const OPEN: &str = "
    insert into inv_alert (stock_id, open_stock_id, low_threshold, usable_opened, opened_at)
    select s.stock_id, s.stock_id, s.low_threshold, sum(b.usable), ?2
    from json_each(?1) wanted cross join inv_stock s on s.stock_id = wanted.value
    cross join inv_bucket b on b.stock_id = s.stock_id
    where s.low_threshold is not null and not exists (select 1 from inv_alert a where a.open_stock_id = s.stock_id)
    group by s.stock_id having sum(b.usable) <= s.low_threshold
    returning stock_id, low_threshold, usable_opened";

const CLOSE: &str = "
    update inv_alert set open_stock_id = null, closed_at = ?2,
        usable_closed = (select sum(b.usable) from inv_bucket b where b.stock_id = inv_alert.stock_id)
    where open_stock_id in (
        select s.stock_id from json_each(?1) wanted cross join inv_stock s on s.stock_id = wanted.value
        cross join inv_bucket b on b.stock_id = s.stock_id
        group by s.stock_id having s.low_threshold is null
            or (sum(b.usable) > s.low_threshold and sum(b.usable) * 5 >= s.low_threshold * 6))";

async fn keep_up(
    connection: &mut SqliteConnection,
    records: &[i64],
    now: i64,
) -> Result<Crossings, sqlx::Error> {
    let list = Value::from(records).to_string();
    let closed = sqlx::query(CLOSE).bind(&list).bind(now).execute(&mut *connection).await?.rows_affected();
    let rows = sqlx::query(OPEN).bind(&list).bind(now).fetch_all(connection).await?;
    for row in &rows {
        let (record, low, usable): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        tracing::warn!(record, low, usable, "a stock record runs low");
    }
    Ok(Crossings { opened: rows.len() as u64, closed })
}

/// Sets thresholds and opens and closes what follows from it; says how many of the records are kept here.
pub(crate) async fn set(writer: &Writer, thresholds: Vec<Threshold>) -> Result<usize, amends_sdk::Error> {
    let known = Arc::new(OnceLock::new());
    writer.run(Box::new(Set { thresholds, known: known.clone() })).await?;
    Ok(known.get().copied().unwrap_or_default())
}

struct Set {
    thresholds: Vec<Threshold>,
    known: Arc<OnceLock<usize>>,
}

#[async_trait]
impl Task for Set {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let mut records = Vec::with_capacity(self.thresholds.len());
        for Threshold { record, low } in &self.thresholds {
            let found = setting::set(tx.sqlite(), record, Setting::Low(*low), now_ms()).await?;
            records.extend(found);
        }
        keep_up(tx.sqlite(), &records, now_ms()).await?;
        let _ = self.known.set(records.len());
        Ok(())
    }
}
