//! Stock moves between ordinary sales and an activity, every line or none.
//!
//! Both ends are written as flows of one kind, so that the flows of a transfer add up to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_sdk::body::Reader;
use amends_wire::problem::Misfit;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use super::{Refusal, Short, Stop, Way, activity_of, is_given, open_at, table};
use crate::cart::{LINES_MAX, OrderNo, REPLENISH_QTY_MAX, Sku};
use crate::hold::Cause;
use crate::ledger::{Entry, FlowOp, Ledger};
use crate::record::RecordKey;
use crate::safety;
use crate::sqlite::{self, Scope};

/// What is to be moved.
pub(super) struct Wanted {
    activity: i64,
    /// How many of which SKU; `None` is everything that is left.
    lines: Option<BTreeMap<Sku, i64>>,
}

impl Wanted {
    /// Reads `{"activity": integer, "lines": [{"sku", "qty"}]}`; without lines it is everything that is left.
    pub(super) fn read(body: &Value) -> Result<Wanted, Vec<Misfit>> {
        let mut reader = Reader::default();
        let activity = activity_of(&mut reader, body);
        let lines = is_given(body, "lines").then(|| {
            let lines = reader.quantities(body, LINES_MAX, REPLENISH_QTY_MAX);
            lines.into_iter().filter_map(|(sku, qty)| Some((Sku::new(sku)?, qty))).collect()
        });
        reader.finish(activity.map(|activity| Wanted { activity, lines }))
    }
}

/// Moves stock as an action.
pub(super) async fn perform(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    way: Way,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<Value, Stop> {
    let activity = table::find(connection, wanted.activity).await?;
    match way {
        Way::Out => drop(open_at(activity, wanted.activity, now, false)?),
        Way::Back if activity.is_none() => return Err(Refusal::Unknown(wanted.activity).into()),
        Way::Back => {}
    }
    let lines = match (&wanted.lines, way) {
        (Some(lines), _) => lines.clone(),
        (None, Way::Back) => left(connection, wanted.activity).await?,
        (None, Way::Out) => {
            let message = "is missing: which SKUs the activity is to sell".to_owned();
            return Err(Stop::Misfits(vec![Misfit { path: "/lines".into(), message }]));
        }
    };
    if lines.is_empty() {
        return Err(Refusal::NothingLeft(wanted.activity).into());
    }
    let answer =
        transfer(connection, wanted.activity, &lines, way, &By::step(wanted.activity, cause), now).await?;
    let all_is_returned = way == Way::Back && wanted.lines.is_none();
    if all_is_returned || way == Way::Out {
        table::note_returned(connection, wanted.activity, all_is_returned.then_some(now)).await?;
    }
    Ok(answer)
}

/// Moves back what the same step moved; `way` is that of the operation that is called.
pub(super) async fn undo(
    connection: &mut SqliteConnection,
    activity: i64,
    way: Way,
    cause: &Arc<Cause>,
    now: i64,
) -> Result<Value, Stop> {
    let (moved, lines) = moved_by(connection, way.other(), cause).await?;
    match moved {
        None => Err(Refusal::NotMine { step: cause.step.clone() }.into()),
        Some(moved) if moved != activity => Err(Refusal::NotMine { step: cause.step.clone() }.into()),
        Some(activity) => {
            let answer = transfer(connection, activity, &lines, way, &By::step(activity, cause), now).await?;
            if way == Way::Out {
                table::note_returned(connection, activity, None).await?;
            }
            Ok(answer)
        }
    }
}

/// Under which number stock moves, and the step that moves it, unless it is no saga.
pub(super) struct By {
    pub(super) number: OrderNo,
    pub(super) cause: Option<Arc<Cause>>,
}

impl By {
    fn step(activity: i64, cause: &Arc<Cause>) -> By {
        By { number: OrderNo::stored(&format!("activity:{activity}")), cause: Some(Arc::clone(cause)) }
    }
}

pub(super) async fn transfer(
    connection: &mut SqliteConnection,
    activity: i64,
    lines: &BTreeMap<Sku, i64>,
    way: Way,
    by: &By,
    now: i64,
) -> Result<Value, Stop> {
    let ends = |sku: &Sku| {
        let (ordinary, special) = (RecordKey::from(*sku), RecordKey::of_activity(*sku, activity));
        match way {
            Way::Out => (ordinary, special),
            Way::Back => (special, ordinary),
        }
    };
    let (from, to): (BTreeSet<RecordKey>, BTreeSet<RecordKey>) = lines.keys().map(ends).unzip();
    let mut ledger = load(connection, from.clone(), now).await?;
    if way == Way::Out {
        safety::load(connection, &mut ledger).await?;
    }
    check(&ledger, lines, |sku| ends(sku).0)?;
    // The other end is made only when nothing stands in the way any more.
    sqlite::make_records(connection, to.iter(), now).await?;
    let mut ledger = load(connection, from.into_iter().chain(to).collect(), now).await?;
    for (line_no, (sku, qty)) in (0..).zip(lines) {
        let (source, target) = ends(sku);
        for (side, record, delta) in [(1, source, -qty), (2, target, *qty)] {
            let line_no = 2 * line_no + side;
            let (biz_no, cause) = (&by.number, by.cause.as_ref());
            let entry = Entry { op: way.flow(), biz_no, line_no, delta, cause };
            ledger.enter(&record, &entry).map_err(|_| Refusal::TooMuch)?;
        }
    }
    sqlite::write(connection, &ledger.into_changes(), now).await?;
    let lines: Vec<Value> = lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
    Ok(json!({ "activity": activity, "lines": lines }))
}

async fn load(
    connection: &mut SqliteConnection,
    records: BTreeSet<RecordKey>,
    now: i64,
) -> Result<Ledger, Stop> {
    Ok(sqlite::load(connection, &Scope { records, ..Scope::default() }, now, 0).await?)
}

fn check(
    ledger: &Ledger,
    lines: &BTreeMap<Sku, i64>,
    source: impl Fn(&Sku) -> RecordKey,
) -> Result<(), Refusal> {
    let short = |(sku, wanted): (&Sku, &i64)| {
        let available = ledger.available(&source(sku));
        let is_short = available.is_none_or(|available| available < *wanted);
        is_short.then_some(Short { sku: sku.get(), wanted: *wanted, available })
    };
    let short: Vec<Short> = lines.iter().filter_map(short).collect();
    if short.is_empty() { Ok(()) } else { Err(Refusal::Short(short)) }
}

/// What is usable of an activity.
pub(super) async fn left(
    connection: &mut SqliteConnection,
    activity: i64,
) -> Result<BTreeMap<Sku, i64>, Stop> {
    let rows = sqlx::query(
        "select s.sku_id, b.usable from inv_stock s cross join inv_bucket b on b.stock_id = s.stock_id and b.bucket_no = 0
         where s.activity_id = ?1 and s.activity_id <> 0 and s.stock_type = 2 and s.dept_no = '*' and s.warehouse_no = '*'
            and s.stock_status = 1 and s.goods_level = 1 and s.channel = 0 and b.usable > 0",
    )
    .bind(activity)
    .fetch_all(connection)
    .await?;
    lines_of(&rows)
}

/// The activity for which a step moved stock that way, and how much.
async fn moved_by(
    connection: &mut SqliteConnection,
    way: Way,
    cause: &Cause,
) -> Result<(Option<i64>, BTreeMap<Sku, i64>), Stop> {
    let rows = sqlx::query(
        "select s.sku_id, f.qty, s.activity_id from inv_flow f cross join inv_stock s on s.stock_id = f.stock_id
         where f.saga = ?1 and f.step = ?2 and f.op = ?3 and s.activity_id <> 0",
    )
    .bind(cause.saga.to_string())
    .bind(cause.step.clone())
    .bind(way.flow() as i64)
    .fetch_all(connection)
    .await?;
    let activity = rows.first().map(|row| row.try_get(2)).transpose()?;
    Ok((activity, lines_of(&rows)?))
}

fn lines_of(rows: &[sqlx::sqlite::SqliteRow]) -> Result<BTreeMap<Sku, i64>, Stop> {
    let mut lines = BTreeMap::new();
    for row in rows {
        let sku: i64 = row.try_get(0)?;
        let nonsense = || sqlite::Error::Nonsense { table: "inv_stock", what: format!("sku {sku}") };
        lines.insert(Sku::new(sku).ok_or_else(nonsense)?, row.try_get(1)?);
    }
    Ok(lines)
}

impl Way {
    fn other(self) -> Way {
        match self {
            Way::Out => Way::Back,
            Way::Back => Way::Out,
        }
    }

    fn flow(self) -> FlowOp {
        match self {
            Way::Out => FlowOp::ActivityAllocate,
            Way::Back => FlowOp::ActivityReturn,
        }
    }
}
