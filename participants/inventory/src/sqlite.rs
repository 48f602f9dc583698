//! The books in SQLite: loads what a batch can touch, and writes what it changed.
//!
//! Everything here runs inside a transaction that somebody else opened with `begin immediate` and commits; there is
//! one writer, so nothing needs locking. The migrations are `migrations/inventory/sqlite`.

mod numbers;
mod records;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use crate::balance::{Balance, Delta};
use crate::cart::{Delivery, OrderNo, Part, Sku};
use crate::hold::{BucketKey, Cause, Hold, Standing};
use crate::ledger::{Changes, Counters, Deed, Flow, FlowOp, Ledger, Paper, Record};
use crate::record::RecordKey;
use crate::route::Mode;
pub(crate) use numbers::read as numbers;
pub(crate) use records::index;
pub use records::make as make_records;
use rows::{Row, Rows};

/// What a batch can touch.
#[derive(Debug, Default)]
pub struct Scope {
    /// The orders whose holds are needed.
    pub orders: BTreeSet<OrderNo>,
    /// The records that are needed.
    pub records: BTreeSet<RecordKey>,
    /// The business numbers that may have taken effect.
    pub numbers: BTreeSet<(Paper, OrderNo)>,
}

impl Scope {
    /// Widens the scope by what a call can touch.
    pub fn add(&mut self, deed: &Deed) {
        match deed {
            Deed::Hold(cart) | Deed::Deduct(cart) => {
                self.orders.insert(cart.order().clone());
                self.records.extend(cart.lines().iter().map(|line| line.record.clone()));
            }
            Deed::Refund(part) => self.add_part(Paper::Refund, part),
            Deed::Ship(part) => self.add_part(Paper::Shipment, part),
            Deed::Confirm(order)
            | Deed::Release(order)
            | Deed::ReleaseHeld(order)
            | Deed::Restore(order)
            | Deed::Undo(order, _) => {
                self.orders.insert(order.clone());
            }
        }
    }

    fn add_part(&mut self, paper: Paper, part: &Part) {
        self.orders.insert(part.order.clone());
        self.records.extend(part.lines.iter().map(|line| line.record.clone()));
        self.numbers.extend(part.number.clone().map(|number| (paper, number)));
    }
}

/// Why the books could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no; a broken rule shows the name of its constraint.
    #[error("the inventory's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds something that the code never writes.
    #[error("{table} holds a row that makes no sense: {what}; run the audit")]
    Nonsense {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Fewer or more rows were written than meant.
    #[error(
        "{written} rows of {table} were written where {meant} were meant; is another program writing to this database?"
    )]
    Count {
        /// The table.
        table: &'static str,
        /// How many were meant.
        meant: usize,
        /// How many there were.
        written: u64,
    },
}

impl Error {
    /// As the writer, which rolls back on any error, wants it; only the database's own keeps its kind.
    pub fn into_database(self) -> sqlx::Error {
        match self {
            Error::Database(error) => error,
            other => sqlx::Error::Protocol(other.to_string()),
        }
    }
}

/// Loads everything in `scope`, at a time, in unix milliseconds.
///
/// # Errors
/// The database's own, and rows that make no sense.
pub async fn load(
    connection: &mut SqliteConnection,
    scope: &Scope,
    now: i64,
    hold_for: i64,
) -> Result<Ledger, Error> {
    let plain = scope.records.iter().filter(|record| record.place().is_none());
    let row = sqlx::query(LOAD)
        .bind(list(plain.map(|record| record.sku.get())))
        .bind(list(scope.orders.iter().map(OrderNo::as_str)))
        .fetch_one(&mut *connection)
        .await?;
    let mut ledger = Ledger::new(now, hold_for, row.try_get("next_hold")?);
    if row.try_get("keeps_back")? {
        ledger.expect_kept_back();
    }
    let mut loaded = BTreeSet::new();
    for bucket in parsed::<Vec<BucketRow>>("inv_bucket", row.try_get("buckets")?)? {
        let record = RecordKey::from(sku_of(bucket.sku)?);
        loaded.insert(bucket.load(&mut ledger, Some(record))?);
    }
    for (record, bucket) in records::placed(connection, &scope.records).await? {
        loaded.insert(bucket.load(&mut ledger, Some(record))?);
    }
    numbers::load(connection, &scope.numbers, &mut ledger).await?;
    let mut missing = BTreeSet::new();
    for hold in parsed::<Vec<HoldRow>>("inv_hold", row.try_get("holds")?)? {
        let hold = hold.read()?;
        if hold.open() > 0 && !loaded.contains(&hold.bucket) {
            missing.insert(hold.bucket.stock_id);
        }
        ledger.load_hold(hold);
    }
    if !missing.is_empty() {
        let buckets: String =
            sqlx::query_scalar(BUCKETS).bind(list(missing)).fetch_one(&mut *connection).await?;
        for bucket in parsed::<Vec<BucketRow>>("inv_bucket", &buckets)? {
            bucket.load(&mut ledger, None)?;
        }
    }
    Ok(ledger)
}

/// Writes what a batch changed: holds first, since the flow names them, and since they take longest: the caller may do
/// something else meanwhile.
///
/// Rows that were written before one that failed stay until the transaction is rolled back, which it must be: SQLite would
/// otherwise copy every page before a statement changes it.
///
/// # Errors
/// The database's own, above all a broken constraint, and a count that is not what was meant.
pub async fn write(connection: &mut SqliteConnection, changes: &Changes, now: i64) -> Result<(), Error> {
    let mut causes = Causes::default();
    let (fresh, others): (Vec<&Hold>, Vec<&Hold>) = changes.made.iter().partition(|hold| is_fresh(hold));
    let bind = |row: &mut Row, hold: &&Hold| bind_fresh(row, hold, &mut causes);
    let mut written = MAKE_FRESH.execute(connection, &fresh, bind).await?;
    let bind = |row: &mut Row, hold: &&Hold| bind_hold(row, hold, &mut causes);
    written += MAKE_HOLDS.execute(connection, &others, bind).await?;
    counted("inv_hold", changes.made.len(), written)?;
    let bind = |row: &mut Row, hold: &Hold| bind_change(row, hold, &mut causes);
    let written = CHANGE_HOLDS.execute(connection, &changes.changed, bind).await?;
    counted("inv_hold", changes.changed.len(), written)?;
    let written = match takes(changes, now) {
        Some((first, last)) => {
            sqlx::query(APPEND_TAKES).bind(first).bind(last).execute(&mut *connection).await?.rows_affected()
        }
        None => {
            let bind = |row: &mut Row, flow: &Flow| bind_flow(row, flow, now, &mut causes);
            APPEND_FLOWS.execute(connection, &changes.flows, bind).await?
        }
    };
    counted("inv_flow", changes.flows.len(), written)?;
    let written = MOVE_BUCKETS.execute(connection, &changes.buckets, bind_bucket).await?;
    counted("inv_bucket", changes.buckets.len(), written)?;
    numbers::write(connection, &changes.numbers, now).await
}

/// The first and the last hold of a batch that did nothing but make them, which is what nearly every batch of a rush does:
/// its flows say nothing that the new holds do not.
fn takes(changes: &Changes, now: i64) -> Option<(i64, i64)> {
    let (first, last) = (changes.made.first()?.id, changes.made.last()?.id);
    let is_take = |(flow, hold): (&Flow, &Hold)| {
        let op = if hold.is_held() { FlowOp::Hold } else { FlowOp::Deduct };
        (flow.op, flow.hold_id, flow.qty, flow.delta) == (op, Some(hold.id), hold.qty, Delta::take(hold.qty))
            && (flow.line_no, flow.bucket, &flow.biz_no) == (hold.line_no, hold.bucket, &hold.order)
            && flow.cause.as_ref() == Some(&hold.made_by)
            && hold.open() == hold.qty
            && hold.created_at == now
    };
    let are_takes = changes.flows.len() == changes.made.len()
        && last - first + 1 == changes.made.len() as i64
        && changes.flows.iter().zip(&changes.made).all(is_take);
    are_takes.then_some((first, last))
}

/// What a replenishment's number stands for: the fingerprint of its lines, if it took effect.
///
/// # Errors
/// The database's own.
pub async fn replenished(
    connection: &mut SqliteConnection,
    biz_no: &OrderNo,
) -> Result<Option<String>, Error> {
    let query = sqlx::query_scalar("select fingerprint from inv_replenish where biz_no = ?1");
    Ok(query.bind(biz_no.shared()).fetch_optional(&mut *connection).await?)
}

/// Notes that a replenishment took effect.
///
/// # Errors
/// The database's own, above all when the number is taken.
pub async fn note_replenished(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    fingerprint: &str,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "insert into inv_replenish (biz_no, fingerprint, line_count, qty, created_at) values (?, ?, ?, ?, ?)",
    )
    .bind(delivery.biz_no().shared())
    .bind(fingerprint)
    .bind(delivery.lines().len() as i64)
    .bind(delivery.qty())
    .bind(now)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Everything for one batch in one statement and one row: a row costs a hand-over between threads, and a batch can
/// touch thousands of them. A SKU's sellable record of the sales layer is found by the whole of the unique key, so that
/// at most one answers.
const LOAD: &str = "
    select (select coalesce(max(hold_id), 0) + 1 from inv_hold) as next_hold,
        exists (select 1 from inv_stock indexed by inv_stock_with_safety where safety_stock > 0) as keeps_back,
        (select json_group_array(json_array(s.sku_id, s.stock_id, s.epoch, s.mode, b.bucket_no, b.usable, b.held, b.shipped, b.version))
            from json_each(?1) wanted
            cross join inv_stock s on s.sku_id = wanted.value and s.stock_type = 1 and s.dept_no = '*'
                and s.warehouse_no = '*' and s.stock_status = 1 and s.goods_level = 1 and s.activity_id = 0
                and s.channel = 0
            cross join inv_bucket b on b.stock_id = s.stock_id and b.bucket_no = 0) as buckets,
        (select json_group_array(json_array(h.hold_id, h.order_no, h.line_no, s.sku_id, h.stock_id, h.bucket_no, h.epoch,
                h.qty, h.released, h.shipped, h.state, h.made_saga, h.made_step, h.confirmed_saga, h.confirmed_step,
                h.expires_at, h.created_at) order by h.hold_id)
            from json_each(?2) wanted
            cross join inv_hold h on h.order_no = wanted.value
            cross join inv_stock s on s.stock_id = h.stock_id) as holds";

const BUCKETS: &str = "
    select json_group_array(json_array(s.sku_id, s.stock_id, s.epoch, s.mode, b.bucket_no, b.usable, b.held, b.shipped, b.version))
    from json_each(?1) wanted
    cross join inv_stock s on s.stock_id = wanted.value
    cross join inv_bucket b on b.stock_id = s.stock_id";

/// The new counters of buckets that are as they were loaded; an update of many rows would sort them first.
static MOVE_BUCKETS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        "insert or fail into inv_bucket (stock_id, bucket_no, usable, held, shipped, inbound, version) select * from",
        7,
        "where column1 is not null on conflict do update set usable = excluded.usable, held = excluded.held,
            shipped = excluded.shipped, inbound = excluded.inbound, version = excluded.version
         where inv_bucket.version = excluded.version - 1",
    )
});

/// Holds that stand as they were made, which nearly all do; what follows from the rest is not bound.
static MAKE_FRESH: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        "insert or fail into inv_hold (hold_id, order_no, line_no, stock_id, bucket_no, epoch, qty, state,
            made_saga, made_step, expires_at, created_at, confirmed_saga, confirmed_step)
         select *, case column8 when 2 then column9 end, case column8 when 2 then column10 end from",
        12,
        "where column1 is not null",
    )
});

static MAKE_HOLDS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        "insert or fail into inv_hold (hold_id, order_no, line_no, stock_id, bucket_no, epoch, qty, released, shipped, state,
            made_saga, made_step, confirmed_saga, confirmed_step, expires_at, created_at) select * from",
        16,
        "where column1 is not null",
    )
});

static CHANGE_HOLDS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        "update inv_hold set released = changed.column2, shipped = changed.column3, state = changed.column4,
            confirmed_saga = changed.column5, confirmed_step = changed.column6, expires_at = changed.column7
         from",
        7,
        "as changed where hold_id = changed.column1",
    )
});

static APPEND_FLOWS: LazyLock<Rows> = LazyLock::new(|| {
    Rows::new(
        "insert or fail into inv_flow (op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id,
            saga, step, created_at) select * from",
        13,
        "where column1 is not null",
    )
});

/// The flows of holds that were only made, see [`takes`].
const APPEND_TAKES: &str = "
    insert or fail into inv_flow (op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id,
        saga, step, created_at)
    select case state when 1 then 2 else 3 end, order_no, line_no, stock_id, bucket_no, qty, -qty, qty, 0, hold_id,
        made_saga, made_step, created_at
    from inv_hold where hold_id between ?1 and ?2 order by hold_id";

/// Reads rows that the database handed over as one text.
fn parsed<'a, T: Deserialize<'a>>(table: &'static str, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Nonsense { table, what: error.to_string() })
}

/// Values as the JSON list that `json_each` reads.
fn list<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<T> = values.into_iter().collect();
    // Writing into memory cannot fail.
    serde_json::to_string(&values).unwrap_or_default()
}

/// A bucket with its record's SKU and epoch, in the order of the columns.
#[derive(Deserialize)]
struct BucketRow {
    sku: i64,
    stock_id: i64,
    epoch: i64,
    mode: i64,
    bucket_no: i64,
    usable: i64,
    held: i64,
    shipped: i64,
    version: i64,
}

impl BucketRow {
    /// Puts the bucket into the ledger, and the record it was asked for by.
    fn load(&self, ledger: &mut Ledger, record: Option<RecordKey>) -> Result<BucketKey, Error> {
        let key = BucketKey { stock_id: self.stock_id, bucket_no: self.bucket_no };
        let balance = Balance { usable: self.usable, held: self.held, shipped: self.shipped };
        if let Some(record) = record {
            let Some(mode) = Mode::of(self.mode) else {
                let what = format!("record {} has route {}, which is none of mine", self.stock_id, self.mode);
                return Err(Error::Nonsense { table: "inv_stock", what });
            };
            ledger.load_record(record, Record { stock_id: self.stock_id, epoch: self.epoch, mode });
        }
        ledger.load_bucket(key, sku_of(self.sku)?, balance, self.version);
        Ok(key)
    }
}

/// A hold with its record's SKU, in the order of the columns.
#[derive(Deserialize)]
struct HoldRow {
    hold_id: i64,
    order_no: String,
    line_no: i64,
    sku: i64,
    stock_id: i64,
    bucket_no: i64,
    epoch: i64,
    qty: i64,
    released: i64,
    shipped: i64,
    state: i64,
    made_saga: Uuid,
    made_step: Arc<str>,
    confirmed_saga: Option<Uuid>,
    confirmed_step: Option<Arc<str>>,
    expires_at: Option<i64>,
    created_at: i64,
}

impl HoldRow {
    fn read(self) -> Result<Hold, Error> {
        let confirmed_by =
            self.confirmed_saga.zip(self.confirmed_step).map(|(saga, step)| Arc::new(Cause { saga, step }));
        let standing = match (self.state, self.expires_at, confirmed_by) {
            (1, Some(expires_at), _) => Standing::Held { expires_at },
            (2, _, Some(by)) => Standing::Confirmed { by },
            (3, _, confirmed_by) => Standing::Closed { confirmed_by },
            (state, ..) => {
                let what = format!("hold {} is in state {state} without what belongs to it", self.hold_id);
                return Err(Error::Nonsense { table: "inv_hold", what });
            }
        };
        Ok(Hold {
            id: self.hold_id,
            order: OrderNo::stored(&self.order_no),
            line_no: self.line_no,
            sku: sku_of(self.sku)?,
            bucket: BucketKey { stock_id: self.stock_id, bucket_no: self.bucket_no },
            epoch: self.epoch,
            qty: self.qty,
            released: self.released,
            shipped: self.shipped,
            standing,
            made_by: Arc::new(Cause { saga: self.made_saga, step: self.made_step }),
            created_at: self.created_at,
        })
    }
}

fn sku_of(number: i64) -> Result<Sku, Error> {
    Sku::new(number).ok_or_else(|| Error::Nonsense { table: "inv_stock", what: format!("sku {number}") })
}

/// The texts of causes; rows that follow one another mostly share theirs.
#[derive(Default)]
struct Causes {
    last: Option<(Arc<Cause>, Arc<str>)>,
}

impl Causes {
    fn texts(&mut self, cause: &Arc<Cause>) -> (Arc<str>, Arc<str>) {
        let saga = match &self.last {
            Some((last, saga)) if last.saga == cause.saga => Arc::clone(saga),
            _ => {
                let saga: Arc<str> = cause.saga.to_string().into();
                self.last = Some((Arc::clone(cause), Arc::clone(&saga)));
                saga
            }
        };
        (saga, Arc::clone(&cause.step))
    }
}

/// The columns that say where a hold stands.
struct StandingColumns {
    state: i64,
    confirmed_saga: Option<Arc<str>>,
    confirmed_step: Option<Arc<str>>,
    expires_at: Option<i64>,
}

impl StandingColumns {
    fn of(hold: &Hold, causes: &mut Causes) -> StandingColumns {
        let (state, expires_at) = state_of(hold);
        let (confirmed_saga, confirmed_step) = hold.confirmed_by().map(|by| causes.texts(by)).unzip();
        StandingColumns { state, confirmed_saga, confirmed_step, expires_at }
    }
}

/// The number of where a hold stands, and when it expires.
fn state_of(hold: &Hold) -> (i64, Option<i64>) {
    match &hold.standing {
        Standing::Held { expires_at } => (1, Some(*expires_at)),
        Standing::Confirmed { .. } => (2, None),
        Standing::Closed { .. } => (3, None),
    }
}

fn bind_bucket(row: &mut Row, Counters { key, balance, version }: &Counters) {
    row.push(key.stock_id).push(key.bucket_no);
    row.push(balance.usable)
        .push(balance.held)
        .push(balance.shipped)
        .push(balance.inbound())
        .push(version + 1);
}

/// Whether a new hold stands at the end of its batch as it was made: of a deduction, its maker has confirmed it.
fn is_fresh(hold: &Hold) -> bool {
    let as_made = match &hold.standing {
        Standing::Held { .. } => true,
        Standing::Confirmed { by } => *by == hold.made_by,
        Standing::Closed { .. } => false,
    };
    as_made && hold.open() == hold.qty
}

fn bind_fresh(row: &mut Row, hold: &Hold, causes: &mut Causes) {
    let (made_saga, made_step) = causes.texts(&hold.made_by);
    let (state, expires_at) = state_of(hold);
    row.push(hold.id).push(hold.order.shared()).push(hold.line_no);
    row.push(hold.bucket.stock_id).push(hold.bucket.bucket_no).push(hold.epoch).push(hold.qty);
    row.push(state).push(made_saga).push(made_step).push(expires_at).push(hold.created_at);
}

fn bind_hold(row: &mut Row, hold: &Hold, causes: &mut Causes) {
    let (made_saga, made_step) = causes.texts(&hold.made_by);
    let standing = StandingColumns::of(hold, causes);
    row.push(hold.id).push(hold.order.shared()).push(hold.line_no);
    row.push(hold.bucket.stock_id).push(hold.bucket.bucket_no).push(hold.epoch);
    row.push(hold.qty).push(hold.released).push(hold.shipped).push(standing.state);
    row.push(made_saga).push(made_step).push(standing.confirmed_saga).push(standing.confirmed_step);
    row.push(standing.expires_at).push(hold.created_at);
}

fn bind_change(row: &mut Row, hold: &Hold, causes: &mut Causes) {
    let standing = StandingColumns::of(hold, causes);
    row.push(hold.id).push(hold.released).push(hold.shipped).push(standing.state);
    row.push(standing.confirmed_saga).push(standing.confirmed_step).push(standing.expires_at);
}

fn bind_flow(row: &mut Row, flow: &Flow, now: i64, causes: &mut Causes) {
    let (saga, step) = match &flow.cause {
        Some(cause) => causes.texts(cause),
        None => ("".into(), "".into()),
    };
    row.push(flow.op as i64).push(flow.biz_no.shared()).push(flow.line_no);
    row.push(flow.bucket.stock_id).push(flow.bucket.bucket_no).push(flow.qty);
    row.push(flow.delta.usable).push(flow.delta.held).push(flow.delta.shipped);
    row.push(flow.hold_id).push(saga).push(step).push(now);
}

fn counted(table: &'static str, meant: usize, written: u64) -> Result<(), Error> {
    if written == meant as u64 { Ok(()) } else { Err(Error::Count { table, meant, written }) }
}
