//! The barrier's statements for PostgreSQL, at read committed.
//!
//! `on conflict do nothing` waits for a transaction that is inserting the same row, so whatever the next
//! statement reads of that row is committed. Rows travel as arrays: one statement for any number.

use super::marks::kept;
use super::{Answered, CONFIRMED, Hash, Kept, Key, New, OVERTAKEN_PENDING, ROUND_BARRED, Refused};
use sqlx::{PgConnection, Row};

/// Keys as the arrays that `unnest` takes.
fn columns<'a>(keys: impl Iterator<Item = Key<'a>>) -> (Vec<String>, Vec<String>, Vec<i16>) {
    let (mut sagas, mut steps, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        sagas.push(key.saga.to_string());
        steps.push(key.step.to_owned());
        ops.push(key.op);
    }
    (sagas, steps, ops)
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    rows: &[New<'_>],
    now_ms: i64,
) -> Result<u64, sqlx::Error> {
    let (sagas, steps, ops) = columns(rows.iter().map(|row| row.key));
    let hashes: Vec<Vec<u8>> = rows.iter().map(|row| row.hash.to_vec()).collect();
    let statuses: Vec<Option<i16>> = rows.iter().map(|row| row.status).collect();
    let rounds: Vec<i32> = rows.iter().map(|row| row.round).collect();
    let inserted = sqlx::query(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, round, created_at) \
         select v.saga_id::uuid, v.step, v.op, v.request_hash, v.status, v.round, $7 \
         from unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::smallint[], $6::integer[]) \
             with ordinality as v (saga_id, step, op, request_hash, status, round, place) \
         order by v.place on conflict do nothing",
    )
    .bind(sagas)
    .bind(steps)
    .bind(ops)
    .bind(hashes)
    .bind(statuses)
    .bind(rounds)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

pub(super) async fn select(
    connection: &mut PgConnection,
    keys: &[Key<'_>],
) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let (sagas, steps, ops) = columns(keys.iter().copied());
    let rows = sqlx::query(
        "select v.place, b.request_hash, b.status, b.response, b.round \
         from unnest($1::text[], $2::text[], $3::smallint[]) with ordinality as v (saga_id, step, op, place) \
         join saga_barrier b on b.saga_id = v.saga_id::uuid and b.step = v.step and b.op = v.op \
         where b.status is not null",
    )
    .bind(sagas)
    .bind(steps)
    .bind(ops)
    .fetch_all(connection)
    .await?;
    let mut kept = vec![None; keys.len()];
    for row in rows {
        let place = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or_default();
        kept[place] = Some(kept!(row, 1));
    }
    Ok(kept)
}

pub(super) async fn answer(connection: &mut PgConnection, rows: &[Answered<'_>]) -> Result<(), sqlx::Error> {
    let (sagas, steps, ops) = columns(rows.iter().map(|row| row.key));
    let statuses: Vec<i16> = rows.iter().map(|row| row.status).collect();
    let responses: Vec<String> = rows.iter().map(|row| row.response.clone()).collect();
    sqlx::query(
        "update saga_barrier b set status = v.status, response = v.response \
         from unnest($1::text[], $2::text[], $3::smallint[], $4::smallint[], $5::text[]) \
             as v (saga_id, step, op, status, response) \
         where b.saga_id = v.saga_id::uuid and b.step = v.step and b.op = v.op",
    )
    .bind(sagas)
    .bind(steps)
    .bind(ops)
    .bind(statuses)
    .bind(responses)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn forget(connection: &mut PgConnection, keys: &[Key<'_>]) -> Result<(), sqlx::Error> {
    let (sagas, steps, ops) = columns(keys.iter().copied());
    sqlx::query(
        "delete from saga_barrier b \
         using unnest($1::text[], $2::text[], $3::smallint[]) as v (saga_id, step, op) \
         where b.saga_id = v.saga_id::uuid and b.step = v.step and b.op = v.op",
    )
    .bind(sagas)
    .bind(steps)
    .bind(ops)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn overtake(connection: &mut PgConnection, key: Key<'_>) -> Result<bool, sqlx::Error> {
    let overtaken = sqlx::query(
        "update saga_barrier set status = $4 \
         where saga_id = $1::text::uuid and step = $2 and op = $3 and status in (202, 425)",
    )
    .bind(key.saga.to_string())
    .bind(key.step.to_owned())
    .bind(key.op)
    .bind(OVERTAKEN_PENDING)
    .execute(connection)
    .await?;
    Ok(overtaken.rows_affected() == 1)
}

pub(super) async fn settle(
    connection: &mut PgConnection,
    key: Key<'_>,
    status: i16,
    response: String,
) -> Result<bool, sqlx::Error> {
    let settled = sqlx::query(
        "update saga_barrier set status = $4, response = $5 \
         where saga_id = $1::text::uuid and step = $2 and op = $3 and status in (202, 425)",
    )
    .bind(key.saga.to_string())
    .bind(key.step.to_owned())
    .bind(key.op)
    .bind(status)
    .bind(response)
    .execute(connection)
    .await?;
    Ok(settled.rows_affected() == 1)
}

/// Waits for a transaction that changes the same row, and then looks at what it committed.
pub(super) async fn renew(
    connection: &mut PgConnection,
    refused: Refused<'_>,
    hash: Hash,
    round: i32,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    let renewed = sqlx::query(
        "update saga_barrier set request_hash = $6, status = null, response = null, round = $7, created_at = $8 \
         where saga_id = $1::text::uuid and step = $2 and op = $3 and status = $4 and round = $5",
    )
    .bind(refused.key.saga.to_string())
    .bind(refused.key.step.to_owned())
    .bind(refused.key.op)
    .bind(refused.status)
    .bind(refused.round)
    .bind(hash.to_vec())
    .bind(round)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

pub(super) async fn bar(connection: &mut PgConnection, refused: Refused<'_>) -> Result<bool, sqlx::Error> {
    let barred = sqlx::query(
        "update saga_barrier set round = $6 \
         where saga_id = $1::text::uuid and step = $2 and op = $3 and status = $4 and round = $5",
    )
    .bind(refused.key.saga.to_string())
    .bind(refused.key.step.to_owned())
    .bind(refused.key.op)
    .bind(refused.status)
    .bind(refused.round)
    .bind(ROUND_BARRED)
    .execute(connection)
    .await?;
    Ok(barred.rows_affected() == 1)
}

pub(super) async fn unbar(connection: &mut PgConnection, key: Key<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from saga_barrier \
         where saga_id = $1::text::uuid and step = $2 and op in (0, 1) and status = $3",
    )
    .bind(key.saga.to_string())
    .bind(key.step.to_owned())
    .bind(CONFIRMED)
    .execute(connection)
    .await?;
    Ok(())
}
