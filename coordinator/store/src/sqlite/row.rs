//! How sagas look in rows, both ways. Decoding is strict: what does not fit is reported, never guessed.

use super::connect::failed;
use crate::{Error, Owner, Stored};
use amends_saga::{
    Record, SagaId, Status, Timestamp,
    coordinator::{Fingerprint, Head},
};
use sqlx::{Row as _, sqlite::SqliteRow};
use std::collections::BTreeMap;

/// The columns that [`stored`] reads, of `saga s` joined with `saga_definition d`.
pub(super) const STORED_COLUMNS: &str = "s.id, s.status, s.epoch, s.seq, d.name, d.version, d.hash, s.key, \
     s.fingerprint, s.labels, s.created_at, s.updated_at, s.ended_at, s.wake_at, s.at_steps, \
     s.at_participants, (select group_concat(events, char(10) order by seq_first) from journal \
     where saga_id = s.id), s.sleeper is not null";

/// The number by which an owner stands in rows: 63 bits of its incarnation, which nobody can guess.
pub(super) fn owner_number(owner: &Owner) -> i64 {
    let (_, low) = owner.incarnation.as_u64_pair();
    i64::try_from(low & (u64::MAX >> 1)).expect("63 bits fit")
}

/// Every status, at the place of its number.
pub(super) const STATUSES: [Status; 6] = [
    Status::Running,
    Status::Compensating,
    Status::Repair,
    Status::Completed,
    Status::Compensated,
    Status::Abandoned,
];

/// The number of a status in rows; from 3 on it has ended.
pub(super) fn status_number(status: Status) -> i64 {
    match status {
        Status::Running => 0,
        Status::Compensating => 1,
        Status::Repair => 2,
        Status::Completed => 3,
        Status::Compensated => 4,
        Status::Abandoned => 5,
    }
}

/// Reads a status.
pub(super) fn status(row: &SqliteRow, column: usize) -> Result<Status, Error> {
    let number: i64 = row.try_get(column).map_err(failed)?;
    let status = usize::try_from(number).ok().and_then(|at| STATUSES.get(at));
    status.copied().ok_or_else(|| Error::Corrupt(format!("{number} is no status")))
}

/// Names as text, with a space between; a name has none.
pub(super) fn names_text(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(" "))
}

/// Ids as a JSON array of hexadecimal texts, for `select unhex(value) from json_each(?)`.
pub(super) fn ids_json(ids: impl Iterator<Item = SagaId>) -> String {
    let quoted: Vec<String> = ids.map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}

/// Reads an id.
pub(super) fn id(row: &SqliteRow, column: usize) -> Result<SagaId, Error> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    SagaId::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a saga's id: {error}")))
}

/// Reads a fingerprint.
pub(super) fn fingerprint(row: &SqliteRow, column: usize) -> Result<Fingerprint, Error> {
    let bytes: &[u8] = row.try_get(column).map_err(failed)?;
    let len = bytes.len();
    bytes.try_into().map_err(|_| Error::Corrupt(format!("a fingerprint of {len} bytes, not 32")))
}

/// Reads a saga with its journal from [`STORED_COLUMNS`].
///
/// # Errors
/// [`Error::Corrupt`], with the saga's id.
pub(super) fn stored(row: &SqliteRow) -> Result<Stored, Error> {
    let id = id(row, 0)?;
    let corrupt = |error: Error| match error {
        Error::Corrupt(what) => Error::Corrupt(format!("saga {id}: {what}")),
        other => other,
    };
    let head = head(row).map_err(corrupt)?;
    let records = journal(row).map_err(corrupt)?;
    let epoch: i64 = row.try_get(2).map_err(failed)?;
    let epoch = u64::try_from(epoch).map_err(|_| corrupt(Error::Corrupt(format!("epoch {epoch}"))))?;
    Ok(Stored { id, head, epoch, records })
}

fn head(row: &SqliteRow) -> Result<Head, Error> {
    let labels: Option<&str> = row.try_get(9).map_err(failed)?;
    let labels: BTreeMap<String, String> = match labels {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|e| Error::Corrupt(format!("its labels: {e}")))?,
    };
    let at = |column| row.try_get::<i64, _>(column).map(Timestamp).map_err(failed);
    let maybe_at = |column| row.try_get::<Option<i64>, _>(column).map(|at| at.map(Timestamp)).map_err(failed);
    let names = |column| {
        let text: Option<&str> = row.try_get(column).map_err(failed)?;
        Ok::<_, Error>(text.map_or(Vec::new(), |text| text.split(' ').map(str::to_owned).collect()))
    };
    Ok(Head {
        status: status(row, 1)?,
        definition: row.try_get(4).map_err(failed)?,
        version: row.try_get(5).map_err(failed)?,
        hash: row.try_get(6).map_err(failed)?,
        key: row.try_get(7).map_err(failed)?,
        fingerprint: fingerprint(row, 8)?,
        labels,
        created_at: at(10)?,
        updated_at: at(11)?,
        ended_at: maybe_at(12)?,
        wake_at: maybe_at(13)?,
        asleep: row.try_get::<i64, _>(17).map_err(failed)? == 1,
        at_steps: names(14)?,
        at_participants: names(15)?,
    })
}

fn journal(row: &SqliteRow) -> Result<Vec<Record>, Error> {
    let seq: i64 = row.try_get(3).map_err(failed)?;
    let text: Option<&str> = row.try_get(16).map_err(failed)?;
    let mut records = Vec::new();
    for line in text.unwrap_or_default().lines() {
        records.append(&mut events(line)?);
    }
    if i64::try_from(records.len()) != Ok(seq) {
        let found = records.len();
        return Err(Error::Corrupt(format!("its journal has {found} records, its row says {seq}")));
    }
    Ok(records)
}

/// Reads the events of one append.
pub(super) fn events(text: &str) -> Result<Vec<Record>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("its journal: {error}")))
}

/// Reads what can be read; the rest is logged, so that one damaged saga holds up no other.
pub(super) fn readable(rows: &[SqliteRow]) -> Vec<Stored> {
    let mut sagas = Vec::with_capacity(rows.len());
    for row in rows {
        match stored(row) {
            Ok(saga) => sagas.push(saga),
            Err(error) => tracing::error!(%error, "a saga is left out; an operator must look at it"),
        }
    }
    sagas
}
