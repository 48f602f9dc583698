//! How repair items look in rows, both ways. Decoding is strict: what does not fit is reported, never guessed.
//!
//! What many items have in common stands in the table `pile` and is a number in their rows; there an empty
//! text stands for none, since no name is empty.

use super::{append::integer, connect::failed, row};
use crate::{Error, repairs::Item};
use amends_saga::{
    Op, ParkReason, RepairRow, SagaId, Timestamp,
    repair::{How, RepairStatus},
};
use sqlx::{Row as _, sqlite::SqliteRow};
use uuid::Uuid;

/// The columns that [`item`] reads, of `repair r` joined with `pile p`.
pub(super) const ITEM_COLUMNS: &str = "r.item, r.saga_id, p.definition, p.step, p.op, p.participant, \
     p.operation, r.status, p.reason, r.number, r.opened_at, r.first_opened_at, r.updated_at, r.assignee, \
     r.settled_by, r.settled_how, r.seq, r.level, r.anomaly";

/// Every status, at the place of its number.
pub(super) const STATUSES: [RepairStatus; 4] =
    [RepairStatus::Open, RepairStatus::Assigned, RepairStatus::Retrying, RepairStatus::Settled];

const OPS: [Op; 3] = [Op::Action, Op::Compensation, Op::Confirm];

const REASONS: [Option<ParkReason>; 4] =
    [None, Some(ParkReason::Exhausted), Some(ParkReason::Refused), Some(ParkReason::Contract)];

const HOWS: [How; 6] =
    [How::Retried, How::ParkedAgain, How::Resolved, How::Proven, How::Skipped, How::Abandoned];

/// The number of a status in rows; 3 is settled.
pub(super) fn status_number(status: RepairStatus) -> i64 {
    match status {
        RepairStatus::Open => 0,
        RepairStatus::Assigned => 1,
        RepairStatus::Retrying => 2,
        RepairStatus::Settled => 3,
    }
}

/// The number of a call in rows.
pub(super) fn op_number(op: Op) -> i64 {
    match op {
        Op::Action => 0,
        Op::Compensation => 1,
        Op::Confirm => 2,
    }
}

/// The number of a reason in rows; 0 is none.
pub(super) fn reason_number(reason: Option<ParkReason>) -> i64 {
    match reason {
        None => 0,
        Some(ParkReason::Exhausted) => 1,
        Some(ParkReason::Refused) => 2,
        Some(ParkReason::Contract) => 3,
    }
}

/// The number of a way to be settled in rows.
pub(super) fn how_number(how: How) -> i64 {
    match how {
        How::Retried => 0,
        How::ParkedAgain => 1,
        How::Resolved => 2,
        How::Proven => 3,
        How::Skipped => 4,
        How::Abandoned => 5,
    }
}

/// The items of an append as the view `append` takes them, `None` when there are none.
pub(super) fn rows_json(rows: &[RepairRow]) -> Option<String> {
    let array = |row: &RepairRow| {
        serde_json::json!([
            row.item.simple().to_string(),
            row.definition,
            row.step,
            op_number(row.op),
            row.participant,
            row.operation,
            status_number(row.status),
            reason_number(Some(row.reason)),
            row.number,
            row.opened_at.0,
            row.first_opened_at.0,
            row.updated_at.0,
            row.assignee,
            row.settled_by,
            row.settled_how.map(how_number),
            integer(row.seq),
        ])
    };
    (!rows.is_empty()).then(|| serde_json::Value::Array(rows.iter().map(array).collect()).to_string())
}

/// Reads an item from [`ITEM_COLUMNS`].
///
/// # Errors
/// [`Error::Corrupt`], with the item's id.
pub(super) fn item(row: &SqliteRow) -> Result<Item, Error> {
    let id = uuid(row, 0)?;
    fields(row, id).map_err(|error| match error {
        Error::Corrupt(what) => Error::Corrupt(format!("repair item {id}: {what}")),
        other => other,
    })
}

fn fields(row: &SqliteRow, item: Uuid) -> Result<Item, Error> {
    let at = |column| row.try_get::<i64, _>(column).map(Timestamp).map_err(failed);
    let text = |column| row.try_get::<Option<String>, _>(column).map_err(failed);
    let name = |column| text(column).map(|text| text.filter(|text| !text.is_empty()));
    Ok(Item {
        item,
        saga: saga(row, 1)?,
        definition: name(2)?,
        step: name(3)?,
        op: known(row, 4, &OPS, "call")?,
        participant: row.try_get(5).map_err(failed)?,
        operation: name(6)?,
        status: known(row, 7, &STATUSES, "repair status")?,
        reason: known(row, 8, &REASONS, "reason")?,
        number: row.try_get(9).map_err(failed)?,
        opened_at: at(10)?,
        first_opened_at: at(11)?,
        updated_at: at(12)?,
        assignee: text(13)?,
        settled_by: text(14)?,
        settled_how: match row.try_get::<Option<i64>, _>(15).map_err(failed)? {
            None => None,
            Some(_) => Some(known(row, 15, &HOWS, "way to be settled")?),
        },
        seq: unsigned(row, 16)?,
        level: level(row, 17)?,
        anomaly: text(18)?,
    })
}

/// Reads what a number stands for.
pub(super) fn known<T: Copy>(row: &SqliteRow, column: usize, all: &[T], what: &str) -> Result<T, Error> {
    let number: i64 = row.try_get(column).map_err(failed)?;
    let found = usize::try_from(number).ok().and_then(|at| all.get(at));
    found.copied().ok_or_else(|| Error::Corrupt(format!("{number} is no {what}")))
}

/// Reads an id.
pub(super) fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, Error> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    Uuid::from_slice(bytes).map_err(|error| Error::Corrupt(format!("an id: {error}")))
}

/// Reads a level.
pub(super) fn level(row: &SqliteRow, column: usize) -> Result<u8, Error> {
    row.try_get(column).map_err(failed)
}

/// Reads a number that is not negative.
pub(super) fn unsigned(row: &SqliteRow, column: usize) -> Result<u64, Error> {
    let number: i64 = row.try_get(column).map_err(failed)?;
    u64::try_from(number).map_err(|_| Error::Corrupt(format!("{number} is negative")))
}

fn saga(row: &SqliteRow, column: usize) -> Result<Option<SagaId>, Error> {
    match row.try_get::<Option<&[u8]>, _>(column).map_err(failed)? {
        None => Ok(None),
        Some(_) => row::id(row, column).map(Some),
    }
}

/// Reads what can be read; the rest is logged, so that one damaged item hides no other.
pub(super) fn readable(rows: &[SqliteRow]) -> Vec<Item> {
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        match item(row) {
            Ok(item) => items.push(item),
            Err(error) => tracing::error!(%error, "a repair item is left out; an operator must look at it"),
        }
    }
    items
}
