//! The barrier's statements for SQLite. Its transaction was begun with `begin immediate`: nobody else writes.

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

// As an upsert, because an `update … from (values …)` first copies its rows into a table of its own. The row is
// there, so hash and time stay as they are.
static ANSWER: LazyLock<Sized> = LazyLock::new(|| {
    Sized::new(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, response, created_at) values ",
        |_| "(?, ?, ?, x'', ?, ?, 0)".to_owned(),
        ", ",
        " on conflict do update set status = excluded.status, response = excluded.response",
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

pub(super) async fn select(
    connection: &mut SqliteConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut kept = vec![None; keys.len()];
    for piece in SELECT.pieces(keys) {
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
