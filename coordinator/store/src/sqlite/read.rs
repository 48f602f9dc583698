//! Reading by id and by key: a saga, its journal, the counts.

use super::{
    append::integer,
    connect::failed,
    row::{self, STORED_COLUMNS},
};
use crate::{Error, Stored};
use amends_saga::{Record, SagaId, Status, coordinator::Fingerprint};
use sqlx::{
    AssertSqlSafe, Row as _,
    sqlite::{SqliteConnection, SqliteRow},
};

/// Reads one saga.
pub(super) async fn load(connection: &mut SqliteConnection, id: SagaId) -> Result<Option<Stored>, Error> {
    let sql = format!(
        "select {STORED_COLUMNS} from saga s join saga_definition d on d.n = s.definition where s.id = ?"
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.as_bytes().to_vec()).fetch_optional(connection);
    found.await.map_err(failed)?.map(|row| row::stored(&row)).transpose()
}

/// Finds the saga started under a key.
pub(super) async fn find_key(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<(SagaId, Fingerprint)>, Error> {
    let found = sqlx::query("select id, fingerprint from saga where key = ?").bind(key.to_owned());
    let found = found.fetch_optional(connection).await.map_err(failed)?;
    found.map(|row| Ok((row::id(&row, 0)?, row::fingerprint(&row, 1)?))).transpose()
}

/// Reads records; see [`crate::Store::journal`].
pub(super) async fn journal(
    connection: &mut SqliteConnection,
    id: SagaId,
    after_seq: u64,
    limit: usize,
) -> Result<Vec<Record>, Error> {
    // An append has at least one record, so as many appends as records wanted are enough.
    let rows = sqlx::query(
        "select seq_first, events from journal where saga_id = ? and seq_last > ? order by seq_first limit ?",
    )
    .bind(id.as_bytes().to_vec())
    .bind(integer(after_seq))
    .bind(integer(limit as u64))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut records = Vec::new();
    for row in &rows {
        let first: i64 = row.try_get(0).map_err(failed)?;
        let events = row::events(row.try_get(1).map_err(failed)?)?;
        let skip = usize::try_from(integer(after_seq) + 1 - first).unwrap_or(0);
        records.extend(events.into_iter().skip(skip));
    }
    records.truncate(limit);
    Ok(records)
}

/// How many sagas there are of each status.
pub(super) async fn counts(connection: &mut SqliteConnection) -> Result<Vec<(Status, u64)>, Error> {
    let rows = sqlx::query("select status, sagas from tally where sagas <> 0 order by status");
    let rows = rows.fetch_all(connection).await.map_err(failed)?;
    let read = |row| {
        let sagas: i64 = sqlx::Row::try_get(row, 1).map_err(failed)?;
        let sagas = u64::try_from(sagas).map_err(|_| Error::Corrupt(format!("a count of {sagas} sagas")))?;
        Ok((row::status(row, 0)?, sagas))
    };
    rows.iter().map(read).collect()
}

/// How many live sagas there are of each version; see [`crate::Store::versions`].
pub(super) async fn versions(connection: &mut SqliteConnection) -> Result<Vec<(String, u32, u64)>, Error> {
    let rows = sqlx::query(
        "select d.name, d.version, sum((
           select count(*) from saga s indexed by saga_by_definition
           where s.definition = d.n and s.status < 3)) live
         from saga_definition d group by d.name, d.version having live > 0 order by d.name, d.version",
    );
    let rows = rows.fetch_all(connection).await.map_err(failed)?;
    let read = |row: &SqliteRow| {
        let live: i64 = row.try_get(2).map_err(failed)?;
        let live = u64::try_from(live).map_err(|_| Error::Corrupt(format!("a count of {live} sagas")))?;
        Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?, live))
    };
    rows.iter().map(read).collect()
}
