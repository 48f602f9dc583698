//! The barrier's rows, whatever the dialect: which rows calls need, and the way to each dialect's statements.

use super::{
    Answered, CONFIRMED, Hash, Kept, Key, New, OVERTAKEN, Refused, key_of, mysql, postgres, round_of, sqlite,
};
use crate::{Call, Tx, database::Connected};
use amends_wire::participant::CallOp;

/// The rows that calls need, in the order of their keys.
pub(super) fn rows_of<'a>(calls: &[&'a Call], hashes: &[Hash]) -> Vec<New<'a>> {
    let mut rows = Vec::with_capacity(calls.len() * 2);
    for (call, hash) in calls.iter().zip(hashes) {
        let round = round_of(call);
        rows.push(New { key: key_of(call, call.caller.op), hash: *hash, status: None, round });
        let bar =
            |op, status| New { key: key_of(call, op), hash: Hash::default(), status: Some(status), round: 0 };
        match call.caller.op {
            CallOp::Action | CallOp::Status => {}
            CallOp::Compensation => rows.push(bar(CallOp::Action, OVERTAKEN)),
            CallOp::Confirm => {
                rows.extend([bar(CallOp::Action, CONFIRMED), bar(CallOp::Compensation, CONFIRMED)]);
            }
        }
    }
    rows.sort_unstable_by_key(|row| row.key);
    rows
}

/// Claims the rows that are not there, whose keys these are, for the running transaction.
///
/// Returns those of them that have a status, in the order of the keys; nothing where it is known that not one was there.
pub(super) async fn claim(
    tx: &mut Tx<'_>,
    rows: &[New<'_>],
    keys: &[Key<'_>],
    now_ms: i64,
) -> Result<Option<Vec<Option<Kept>>>, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => return sqlite::claim(connection, rows, keys, now_ms).await,
        Connected::Postgres(connection) => {
            if postgres::insert(connection, rows, now_ms).await? == rows.len() as u64 {
                return Ok(None);
            }
        }
        Connected::MySql(connection) => mysql::insert(connection, rows, now_ms).await.map(drop)?,
    }
    select(tx, keys).await.map(Some)
}

/// Reads the rows that have a status; the results stand in the order of the keys.
pub(super) async fn select(tx: &mut Tx<'_>, keys: &[Key<'_>]) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::select(connection, keys).await,
        Connected::Postgres(connection) => postgres::select(connection, keys).await,
        Connected::MySql(connection) => mysql::select(connection, keys).await,
    }
}

/// Marks a pending action as compensated, so that it cannot be settled; returns whether it was pending.
pub(super) async fn overtake(tx: &mut Tx<'_>, key: Key<'_>) -> Result<bool, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::overtake(connection, key).await,
        Connected::Postgres(connection) => postgres::overtake(connection, key).await,
        Connected::MySql(connection) => mysql::overtake(connection, key).await,
    }
}

/// Makes a refusal's row anew, without an answer; returns whether it still was as it was seen.
pub(super) async fn renew(
    tx: &mut Tx<'_>,
    refused: Refused<'_>,
    hash: Hash,
    round: i32,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::renew(connection, refused, hash, round, now_ms).await,
        Connected::Postgres(connection) => postgres::renew(connection, refused, hash, round, now_ms).await,
        Connected::MySql(connection) => mysql::renew(connection, refused, hash, round, now_ms).await,
    }
}

/// Makes a refusal one for every round; returns whether it still was as it was seen.
pub(super) async fn bar(tx: &mut Tx<'_>, refused: Refused<'_>) -> Result<bool, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::bar(connection, refused).await,
        Connected::Postgres(connection) => postgres::bar(connection, refused).await,
        Connected::MySql(connection) => mysql::bar(connection, refused).await,
    }
}

/// Deletes rows.
pub(super) async fn take_back(tx: &mut Tx<'_>, keys: &[Key<'_>]) -> Result<(), sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::forget(connection, keys).await,
        Connected::Postgres(connection) => postgres::forget(connection, keys).await,
        Connected::MySql(connection) => mysql::forget(connection, keys).await,
    }
}

/// Deletes what a confirm has barred.
pub(super) async fn unbar(tx: &mut Tx<'_>, key: Key<'_>) -> Result<(), sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::unbar(connection, key).await,
        Connected::Postgres(connection) => postgres::unbar(connection, key).await,
        Connected::MySql(connection) => mysql::unbar(connection, key).await,
    }
}

/// Keeps the answers of rows that were claimed.
pub(super) async fn answer(tx: &mut Tx<'_>, rows: &[Answered<'_>], now_ms: i64) -> Result<(), sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::answer(connection, rows, now_ms).await,
        Connected::Postgres(connection) => postgres::answer(connection, rows).await,
        Connected::MySql(connection) => mysql::answer(connection, rows).await,
    }
}

/// Gives a pending row its answer; returns whether it was pending.
pub(super) async fn settle(
    tx: &mut Tx<'_>,
    key: Key<'_>,
    status: i16,
    response: String,
) -> Result<bool, sqlx::Error> {
    match &mut tx.connection {
        Connected::Sqlite(connection) => sqlite::settle(connection, key, status, response).await,
        Connected::Postgres(connection) => postgres::settle(connection, key, status, response).await,
        Connected::MySql(connection) => mysql::settle(connection, key, status, response).await,
    }
}
