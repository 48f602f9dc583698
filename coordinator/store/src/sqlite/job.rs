//! Work in the background: rows that are replaced only by whoever knows their version.

use super::{append::integer, connect::failed, item, row::owner_number};
use crate::{Error, Owner, clock, repairs::JobRow};
use amends_saga::Timestamp;
use sqlx::{
    Row as _,
    sqlite::{SqliteConnection, SqliteRow},
};
use uuid::Uuid;

/// Keeps a job; see [`crate::repairs::Repairs::put_job`].
pub(super) async fn put(
    connection: &mut SqliteConnection,
    owner: &Owner,
    job: &JobRow,
) -> Result<bool, Error> {
    let kept = match job.version {
        0 => return Ok(false),
        1 => sqlx::query(
            "insert into job (text, running, version, owner, updated_at, id) values (?, ?, ?, ?, ?, ?)
             on conflict (id) do nothing",
        ),
        _ => sqlx::query(
            "update job set text = ?1, running = ?2, version = ?3, owner = ?4, updated_at = ?5
             where id = ?6 and version = ?3 - 1",
        ),
    };
    let kept = kept
        .bind(job.text.clone())
        .bind(i64::from(job.is_running))
        .bind(integer(job.version))
        .bind(owner_number(owner))
        .bind(clock::now().0)
        .bind(job.id.as_bytes().to_vec());
    Ok(kept.execute(connection).await.map_err(failed)?.rows_affected() == 1)
}

/// Reads one job.
pub(super) async fn job(connection: &mut SqliteConnection, id: Uuid) -> Result<Option<JobRow>, Error> {
    let found = sqlx::query("select id, text, running, version, updated_at from job where id = ?")
        .bind(id.as_bytes().to_vec())
        .fetch_optional(connection);
    found.await.map_err(failed)?.map(|row| read(&row)).transpose()
}

/// Reads jobs; see [`crate::repairs::Repairs::jobs`].
pub(super) async fn jobs(
    connection: &mut SqliteConnection,
    stale_ms: Option<u64>,
    limit: usize,
) -> Result<Vec<JobRow>, Error> {
    let rows = match stale_ms {
        None => {
            sqlx::query("select id, text, running, version, updated_at from job order by id desc limit ?")
        }
        Some(stale) => sqlx::query(
            "select id, text, running, version, updated_at from job indexed by job_by_age
             where running = 1 and updated_at <= ? order by id desc limit ?",
        )
        .bind(clock::now().0.saturating_sub(integer(stale))),
    };
    let rows = rows.bind(integer(limit as u64)).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<JobRow, Error> {
    Ok(JobRow {
        id: item::uuid(row, 0)?,
        text: row.try_get(1).map_err(failed)?,
        is_running: row.try_get::<i64, _>(2).map_err(failed)? == 1,
        version: item::unsigned(row, 3)?,
        updated_at: Timestamp(row.try_get(4).map_err(failed)?),
    })
}
