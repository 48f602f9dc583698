//! The repair queue as a list and in numbers.
//!
//! Every filter comes down to walks along an index in the order of the list: names are looked up among the
//! piles, of which there are few, and each pile has its items in order by status. The walks are merged by a
//! recursive query, whose order makes it a priority queue: it takes the oldest row of all walks and puts
//! its successor in. So a page reads one row for each walk and one for each item it shows, whatever the
//! filter passes over.

use super::{
    append::integer,
    connect::failed,
    item::{self, ITEM_COLUMNS},
};
use crate::{
    Error,
    repairs::{Item, ItemFilter, Pile, Place},
};
use amends_saga::{Timestamp, repair::RepairStatus};
use sqlx::{
    Row as _,
    sqlite::{SqliteConnection, SqliteRow},
};
use std::{collections::BTreeMap, sync::LazyLock};

/// Reads a page of items; see [`crate::repairs::Repairs::items`].
pub(super) async fn items(
    connection: &mut SqliteConnection,
    filter: &ItemFilter,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Item>, Error> {
    let piles = match named(filter) {
        true => Some(piles_of(connection, filter).await?),
        false => None,
    };
    let walk = Walk::along(filter, piles.as_deref());
    if piles.as_ref().is_some_and(|piles| piles == "[]") {
        return Ok(Vec::new());
    }
    let piles = match (walk, piles) {
        (Walk::Assignee, None) => Some(piles_of(connection, &ItemFilter::default()).await?),
        (_, piles) => piles,
    };
    let sql = walk.sql();
    let from = start(filter, after);
    let until = filter.opened_before.map_or(i64::MAX, |at| at.0);
    let query = sqlx::query(sql)
        .bind(statuses(filter))
        .bind(piles)
        .bind(filter.assignee.clone())
        .bind(filter.saga.map(|saga| saga.as_bytes().to_vec()))
        .bind(from.0)
        .bind(from.1)
        .bind(until)
        .bind(integer(limit as u64));
    Ok(item::readable(&query.fetch_all(connection).await.map_err(failed)?))
}

/// Along which index the items of a filter are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// One saga's, all of them; the rest of the filter is passed over.
    Saga,
    /// By assignee, pile and status.
    Assignee,
    /// By pile and status.
    Pile,
    /// By status.
    Time,
}

impl Walk {
    fn along(filter: &ItemFilter, piles: Option<&str>) -> Walk {
        match (filter.saga, &filter.assignee, piles) {
            (Some(_), _, _) => Walk::Saga,
            (None, Some(_), _) => Walk::Assignee,
            (None, None, Some(_)) => Walk::Pile,
            (None, None, None) => Walk::Time,
        }
    }

    /// The statement. Its parameters are numbered alike for all, though not each has all of them: statuses,
    /// piles, assignee, saga, the place to begin after, the time to end before, the limit.
    fn sql(self) -> &'static str {
        static SAGA: LazyLock<String> = LazyLock::new(|| {
            format!(
                "select {ITEM_COLUMNS} from repair r indexed by repair_by_saga join pile p on p.n = r.pile
                 where r.saga_id = ?4 and (r.opened_at, r.item) > (?5, ?6) and r.opened_at < ?7
                   and r.status in (select value from json_each(?1))
                   and (?2 is null or r.pile in (select value from json_each(?2)))
                   and (?3 is null or r.assignee = ?3)
                 order by r.opened_at, r.item limit ?8"
            )
        });
        static ASSIGNEE: LazyLock<String> = LazyLock::new(|| {
            merged("repair_by_assignee", "y.assignee = ?3 and y.pile = {pile} and y.status = {status}")
        });
        static PILE: LazyLock<String> =
            LazyLock::new(|| merged("repair_by_pile", "y.pile = {pile} and y.status = {status}"));
        static TIME: LazyLock<String> = LazyLock::new(|| merged("repair_by_time", "y.status = {status}"));
        match self {
            Walk::Saga => &SAGA,
            Walk::Assignee => &ASSIGNEE,
            Walk::Pile => &PILE,
            Walk::Time => &TIME,
        }
    }
}

/// The merge of the walks along an index, one for each pile and status.
fn merged(index: &str, fits: &str) -> String {
    let next = |pile: &str, status: &str, at: &str, item: &str| {
        let fits = fits.replace("{pile}", pile).replace("{status}", status);
        format!(
            "(select y.rowid from repair y indexed by {index}
              where {fits} and (y.opened_at, y.item) > ({at}, {item}) and y.opened_at < ?7
              order by y.opened_at, y.item limit 1)"
        )
    };
    let piles = if fits.contains("{pile}") { "json_each(?2)" } else { "(select 0 as value)" };
    let first = next("k.value", "s.value", "?5", "?6");
    let after = next("w.pile", "w.status", "w.at", "w.item");
    format!(
        "with recursive walk (at, item, pile, status, id) as (
           select x.opened_at, x.item, k.value, s.value, x.rowid
           from {piles} k cross join json_each(?1) s cross join repair x
           where x.rowid = {first}
           union all
           select x.opened_at, x.item, w.pile, w.status, x.rowid
           from walk w cross join repair x where x.rowid = {after}
           order by 1, 2 limit ?8)
         select {ITEM_COLUMNS} from walk w cross join repair r cross join pile p
         where r.rowid = w.id and p.n = r.pile order by w.at, w.item"
    )
}

/// Where the walks begin: after a place, and not before a time.
fn start(filter: &ItemFilter, after: Option<Place>) -> (i64, Vec<u8>) {
    let after = after.map(|place| (place.opened_at.0, place.item.as_bytes().to_vec()));
    let from = filter.opened_after.map(|at| (at.0, Vec::new()));
    after.max(from).unwrap_or((i64::MIN, Vec::new()))
}

/// The numbers of the statuses a filter allows, as JSON.
fn statuses(filter: &ItemFilter) -> String {
    let allowed = |status: &&RepairStatus| match filter.statuses.is_empty() {
        true => **status != RepairStatus::Settled,
        false => filter.statuses.contains(status),
    };
    let numbers = item::STATUSES.iter().filter(allowed).map(|status| item::status_number(*status));
    json(numbers)
}

fn json(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

/// Whether a filter asks for what stands in the piles.
fn named(filter: &ItemFilter) -> bool {
    filter.participant.is_some()
        || filter.definition.is_some()
        || filter.step.is_some()
        || filter.reason.is_some()
        || filter.anomalies.is_some()
}

/// The piles that a filter allows, as JSON.
async fn piles_of(connection: &mut SqliteConnection, filter: &ItemFilter) -> Result<String, Error> {
    let rows = sqlx::query(
        "select n from pile
         where (?1 is null or participant = ?1) and (?2 is null or definition = ?2)
           and (?3 is null or step = ?3 or substr(step, 1, length(?3) + 1) = ?3 || '[') and (?4 is null or reason = ?4) and (?5 is null or is_anomaly = ?5)",
    )
    .bind(filter.participant.clone())
    .bind(filter.definition.clone())
    .bind(filter.step.clone())
    .bind(filter.reason.map(|reason| item::reason_number(Some(reason))))
    .bind(filter.anomalies.map(i64::from))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let numbers: Vec<i64> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)?;
    Ok(json(numbers.into_iter()))
}

/// Counts the unsettled items; see [`crate::repairs::Repairs::piles`].
///
/// Each age is a range of an index that has the unsettled ones only.
pub(super) async fn piles(
    connection: &mut SqliteConnection,
    now: Timestamp,
    ages_ms: &[u64],
) -> Result<Vec<Pile>, Error> {
    let cuts = ages_ms.iter().map(|age| now.0.saturating_sub(integer(*age)));
    let mut upper = i64::MAX;
    let mut bounds = Vec::with_capacity(ages_ms.len() + 1);
    for cut in cuts.chain([i64::MIN]) {
        bounds.push(format!("[{cut},{upper}]"));
        upper = cut;
    }
    let rows = sqlx::query(
        "select p.participant, p.definition, case p.is_anomaly when 1 then p.finding else p.step end,
           p.is_anomaly, s.value, b.key,
           (select count(*) from repair x indexed by repair_by_age
            where x.pile = p.n and x.status = s.value and x.status < 3
              and x.first_opened_at > b.value ->> 0 and x.first_opened_at <= b.value ->> 1),
           (select min(x.first_opened_at) from repair x indexed by repair_by_age
            where x.pile = p.n and x.status = s.value and x.status < 3)
         from pile p cross join json_each('[0,1,2]') s cross join json_each(?) b
         where exists (select 1 from repair x indexed by repair_by_age
           where x.pile = p.n and x.status = s.value and x.status < 3)",
    )
    .bind(format!("[{}]", bounds.join(",")))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut piles = BTreeMap::new();
    for row in &rows {
        count(&mut piles, row, bounds.len())?;
    }
    Ok(piles.into_values().collect())
}

type Names = (String, Option<String>, String, bool);

fn count(piles: &mut BTreeMap<Names, Pile>, row: &SqliteRow, ages: usize) -> Result<(), Error> {
    let definition: String = row.try_get(1).map_err(failed)?;
    let definition = (!definition.is_empty()).then_some(definition);
    let (participant, step): (String, String) =
        (row.try_get(0).map_err(failed)?, row.try_get(2).map_err(failed)?);
    let is_anomaly = row.try_get::<i64, _>(3).map_err(failed)? == 1;
    let status = item::known(row, 4, &[0, 1, 2], "unsettled status")?;
    let age = item::unsigned(row, 5)? as usize;
    let found = item::unsigned(row, 6)?;
    let oldest = Timestamp(row.try_get(7).map_err(failed)?);
    let names = (participant.clone(), definition.clone(), step.clone(), is_anomaly);
    let pile = piles.entry(names).or_insert_with(|| Pile {
        participant,
        definition,
        step,
        is_anomaly,
        counts: [0; 3],
        ages: vec![0; ages],
        oldest,
    });
    pile.counts[status as usize] += found;
    pile.ages[age] += found;
    pile.oldest = pile.oldest.min(oldest);
    Ok(())
}
