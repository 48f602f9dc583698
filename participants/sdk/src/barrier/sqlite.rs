//! The barrier's statements for SQLite.
//!
//! The transaction was begun with `begin immediate`, so nobody else writes: a row that is not there stays away until this
//! transaction writes it. Therefore a call's own row is not inserted before it runs but once, with its answer. What bars
//! other calls has its answer from the beginning, and is inserted at once.

use super::marks::{bind_key, kept, marked_statements};
use super::{
    Answered, CONFIRMED, Hash, Kept, Key, New, OVERTAKEN_PENDING, ROUND_BARRED, Refused, sized::Sized,
};
use sqlx::{Row, SqliteConnection};
use std::sync::LazyLock;

static INSERT: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, round, created_at) values ",
        |_| "(?, ?, ?, ?, ?, ?, ?)".to_owned(),
        ", ",
        " on conflict do nothing",
    )
});

static SELECT: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "select v.column1 as place, b.request_hash, b.status, b.response, b.round from (values ",
        |place| format!("({place}, ?, ?, ?)"),
        ", ",
        ") as v cross join saga_barrier as b \
         on b.saga_id = v.column2 and b.step = v.column3 and b.op = v.column4 where b.status is not null",
    )
});

// A row that is there already was renewed for this call.
static ANSWER: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, response, round, created_at) \
         select * from (values ",
        |_| "(?, ?, ?, ?, ?, ?, ?, ?)".to_owned(),
        ", ",
        ") where column1 is not null on conflict do update set status = excluded.status, response = excluded.response",
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

marked_statements!(SqliteConnection);

/// Looks for the rows, and inserts those that bar other calls.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    rows: &[New<'_>],
    keys: &[Key<'_>],
    now_ms: i64,
) -> Result<Option<Vec<Option<Kept>>>, sqlx::Error> {
    let known = select(connection, keys).await?;
    let bars: Vec<New<'_>> = rows.iter().filter(|row| row.status.is_some()).copied().collect();
    insert(connection, &bars, now_ms).await?;
    Ok(known.iter().any(Option::is_some).then_some(known))
}

/// Writes the rows of calls that ran.
pub(super) async fn answer(
    connection: &mut SqliteConnection,
    rows: &[Answered<'_>],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    for piece in ANSWER.roomy(rows) {
        let mut query = sqlx::query(piece.statement);
        for Answered { key, hash, status, response, round } in piece.items {
            query = bind_key!(query, key).bind(hash.to_vec()).bind(*status).bind(response.clone());
            query = query.bind(*round).bind(now_ms);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn select(
    connection: &mut SqliteConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut kept = vec![None; keys.len()];
    for piece in SELECT.roomy(keys) {
        let mut query = sqlx::query(piece.statement);
        for key in piece.items {
            query = bind_key!(query, key);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
            kept[piece.start + place] = Some(kept!(row, 1));
        }
    }
    Ok(kept)
}
