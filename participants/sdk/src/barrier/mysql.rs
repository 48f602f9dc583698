//! The barrier's statements for MySQL and MariaDB, at read committed.
//!
//! `on duplicate key update saga_id = saga_id` takes the lock of a row that is there at once and for writing.
//! `insert ignore` would take it for reading, which deadlocks when two repeats meet, and would turn every
//! other fault into a warning. The driver counts rows found, not rows changed, so the count does not tell new
//! rows from old ones: they are always read back, and a row without a status is new.

use super::marks::{bind_key, kept, marked_statements};
use super::{
    Answered, CONFIRMED, Hash, Kept, Key, New, OVERTAKEN_PENDING, ROUND_BARRED, Refused, sized::Sized,
};
use sqlx::{MySqlConnection, Row};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use uuid::Uuid;

static INSERT: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, round, created_at) values ",
        |_| "(?, ?, ?, ?, ?, ?, ?)".to_owned(),
        ", ",
        " on duplicate key update saga_id = saga_barrier.saga_id",
    )
});

// Written out with `or`: MariaDB scans the whole table for `(a, b, c) in (…)`.
static SELECT: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "select saga_id, step, op, request_hash, status, response, round from saga_barrier where status is not null and (",
        |_| "(saga_id = ? and step = ? and op = ?)".to_owned(),
        " or ",
        ")",
    )
});

static ANSWER: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, response, created_at) values ",
        |_| "(?, ?, ?, '', ?, ?, 0)".to_owned(),
        ", ",
        " on duplicate key update status = values(status), response = values(response)",
    )
});

static FORGET: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "delete from saga_barrier where ",
        |_| "(saga_id = ? and step = ? and op = ?)".to_owned(),
        " or ",
        "",
    )
});

const OVERTAKE: &str = "update saga_barrier set status = ? \
    where saga_id = ? and step = ? and op = ? and status in (202, 425)";

const SETTLE: &str = "update saga_barrier set status = ?, response = ? \
    where saga_id = ? and step = ? and op = ? and status in (202, 425)";

marked_statements!(MySqlConnection);

pub(super) async fn answer(
    connection: &mut MySqlConnection,
    rows: &[Answered<'_>],
) -> Result<(), sqlx::Error> {
    for piece in ANSWER.pieces(rows) {
        let mut query = sqlx::query(piece.statement);
        for Answered { key, status, response, .. } in piece.items {
            query = bind_key!(query, key).bind(*status).bind(response.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn select(
    connection: &mut MySqlConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut found: BTreeMap<(Uuid, String, i16), Kept> = BTreeMap::new();
    for piece in SELECT.pieces(keys) {
        let mut query = sqlx::query(piece.statement);
        for key in piece.items {
            query = bind_key!(query, key);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let saga: Vec<u8> = row.try_get(0)?;
            let saga = Uuid::from_slice(&saga).map_err(|error| sqlx::Error::Decode(error.into()))?;
            let kept = kept!(row, 3);
            found.insert((saga, row.try_get(1)?, row.try_get(2)?), kept);
        }
    }
    Ok(keys.iter().map(|key| found.get(&(key.saga, key.step.to_owned(), key.op)).cloned()).collect())
}
