//! Reads the flows' end and the states of SKUs, each time from one snapshot.
//!
//! A state is read from the same snapshot as the last flow, and carries that flow as its `seq`: everything up to it is
//! in the state and nothing after it. What is told of a SKU is what a line that names nothing else can take: what is usable
//! of the one record that such a line means, beyond its [safety stock](crate::safety). What channels, warehouses and
//! activities have is not on sale there, and a SKU that only they have is not told.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use amends_saga::Timestamp;
use amends_wire::api::Time;
use serde::Serialize;
use sqlx::{Row, SqliteConnection, SqlitePool};

/// Flows that are read for one batch, at most.
const FLOWS_MAX: i64 = 20_000;

/// Counts the changes of what a state means.
const MEANING: u8 = 2;

/// Why there is no batch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's own.
    #[error("the inventory's database: {0}")]
    Database(#[from] sqlx::Error),
    /// The reader knows more than there is: it followed another inventory, or this one from before a restore.
    #[error("the feed ends at {head} and cannot be read after {after}: begin anew with its whole state")]
    Beyond {
        /// What was asked for.
        after: i64,
        /// The last flow.
        head: i64,
    },
}

/// How much there is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Enough.
    InStock,
    /// No more than its record's threshold.
    Low,
    /// Nothing.
    SoldOut,
}

/// What there is of a SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// The SKU.
    pub sku: i64,
    /// How many can be set aside by lines that name nothing but the SKU.
    pub usable: i64,
    /// The same in a word.
    pub state: Level,
    /// Up to which flow this counts.
    pub seq: i64,
    /// When it was read.
    pub as_of: Time,
}

/// What changed after a cursor, as far as one batch goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// Which feed this is: the same as long as its flows are. `None` before there is any.
    pub feed: Option<String>,
    /// The cursor that was given.
    pub after: i64,
    /// The cursor to go on from; more can be read at once while it is below `head`.
    pub next: i64,
    /// The last flow there is.
    pub head: i64,
    /// When this was read.
    pub as_of: Time,
    /// When the oldest of these changes was made; `None` without a change.
    pub since: Option<Time>,
    /// The state of each SKU that changed, ascending.
    pub events: Vec<State>,
    /// How many SKUs it was limited to.
    #[serde(skip)]
    pub(super) asked: usize,
}

/// A page of the whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Which feed this is.
    pub feed: Option<String>,
    /// The last flow; the first page's is the cursor to read on from when all pages are read.
    pub head: i64,
    /// When this was read.
    pub as_of: Time,
    /// The state of each SKU, ascending.
    pub events: Vec<State>,
    /// What to ask for next, or nothing when this was the last page.
    pub next: Option<String>,
}

impl Level {
    fn of(usable: i64, low_threshold: Option<i64>) -> Level {
        match low_threshold {
            _ if usable == 0 => Level::SoldOut,
            Some(low) if usable <= low => Level::Low,
            _ => Level::InStock,
        }
    }
}

/// The last flow; 0 when there is none.
pub(super) async fn head(pool: &SqlitePool) -> Result<i64, Error> {
    let head: Option<i64> = sqlx::query_scalar("select max(flow_id) from inv_flow").fetch_one(pool).await?;
    Ok(head.unwrap_or(0))
}

/// What changed after `after`, up to `skus_max` SKUs.
pub(super) async fn batch(pool: &SqlitePool, after: i64, skus_max: usize) -> Result<Batch, Error> {
    let as_of = now();
    let mut snapshot = pool.begin().await?;
    let (feed, head) = ends(&mut snapshot).await?;
    if after > head {
        return Err(Error::Beyond { after, head });
    }
    let changed = changed(&mut snapshot, after, skus_max).await?;
    let skus: Vec<i64> = changed.skus.into_iter().collect();
    let events = states(&mut snapshot, &skus, head, as_of).await?;
    snapshot.rollback().await?;
    Ok(Batch { feed, after, next: changed.next, head, as_of, since: changed.since, events, asked: skus_max })
}

/// The states of the SKUs above `after_sku`, up to `limit` of them.
pub(super) async fn page(pool: &SqlitePool, after_sku: i64, limit: usize) -> Result<Page, Error> {
    let as_of = now();
    let mut snapshot = pool.begin().await?;
    let (feed, head) = ends(&mut snapshot).await?;
    let skus: Vec<i64> = sqlx::query_scalar(
        "select sku_id from inv_stock where sku_id > ?1 and stock_type = 1 and dept_no = '*' and warehouse_no = '*'
            and stock_status = 1 and goods_level = 1 and activity_id = 0 and channel = 0
         order by sku_id limit ?2",
    )
    .bind(after_sku)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *snapshot)
    .await?;
    let events = states(&mut snapshot, &skus, head, as_of).await?;
    snapshot.rollback().await?;
    let next = skus.last().filter(|_| skus.len() == limit).map(i64::to_string);
    Ok(Page { feed, head, as_of, events, next })
}

/// Which feed this is, told by when its first flow was written and by what its states mean, and its last flow. States
/// that were told before they meant this are of another feed, so that whoever knows them reads all anew.
async fn ends(snapshot: &mut SqliteConnection) -> Result<(Option<String>, i64), sqlx::Error> {
    let row = sqlx::query(
        "select (select max(flow_id) from inv_flow), (select created_at from inv_flow order by flow_id limit 1)",
    )
    .fetch_one(snapshot)
    .await?;
    let (head, first): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok((first.map(|at| format!("{at:x}-{MEANING}")), head.unwrap_or(0)))
}

struct Changed {
    skus: BTreeSet<i64>,
    next: i64,
    since: Option<Time>,
}

async fn changed(
    snapshot: &mut SqliteConnection,
    after: i64,
    skus_max: usize,
) -> Result<Changed, sqlx::Error> {
    let rows = sqlx::query(
        "select f.flow_id, f.created_at, s.sku_id, s.stock_type = 1 and s.dept_no = '*' and s.warehouse_no = '*'
            and s.stock_status = 1 and s.goods_level = 1 and s.activity_id = 0 and s.channel = 0 as is_told
         from inv_flow f cross join inv_stock s on s.stock_id = f.stock_id
         where f.flow_id > ?1 order by f.flow_id limit ?2",
    )
    .bind(after)
    .bind(FLOWS_MAX)
    .fetch_all(snapshot)
    .await?;
    let mut changed = Changed { skus: BTreeSet::new(), next: after, since: None };
    for row in rows {
        let (sku, is_told): (i64, bool) = (row.try_get(2)?, row.try_get(3)?);
        if is_told {
            if changed.skus.len() == skus_max && !changed.skus.contains(&sku) {
                break;
            }
            changed.skus.insert(sku);
            if changed.since.is_none() {
                changed.since = Some(Time(Timestamp(row.try_get(1)?)));
            }
        }
        changed.next = row.try_get(0)?;
    }
    Ok(changed)
}

async fn states(
    snapshot: &mut SqliteConnection,
    skus: &[i64],
    seq: i64,
    as_of: Time,
) -> Result<Vec<State>, sqlx::Error> {
    if skus.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select s.sku_id, max(0, sum(b.usable) - s.safety_stock), s.low_threshold
         from (select distinct value from json_each(?1)) wanted
         cross join inv_stock s on s.sku_id = wanted.value and s.stock_type = 1 and s.dept_no = '*'
            and s.warehouse_no = '*' and s.stock_status = 1 and s.goods_level = 1 and s.activity_id = 0
            and s.channel = 0
         cross join inv_bucket b on b.stock_id = s.stock_id
         group by s.stock_id order by s.sku_id",
    )
    .bind(serde_json::Value::from(skus).to_string())
    .fetch_all(snapshot)
    .await?;
    let state = |row: sqlx::sqlite::SqliteRow| {
        let (usable, low) = (row.try_get(1)?, row.try_get(2)?);
        Ok(State { sku: row.try_get(0)?, usable, state: Level::of(usable, low), seq, as_of })
    };
    rows.into_iter().map(state).collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
