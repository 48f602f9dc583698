//! Definitions, participants' registrations, and the store's secret.

use super::connect::failed;
use crate::{DefinitionPut, DefinitionRow, Error};
use amends_saga::Timestamp;
use sqlx::{Row as _, sqlite::SqliteConnection};

/// Keeps a definition, in the open transaction; see [`crate::Store::put_definition`].
pub(super) async fn put_definition(
    connection: &mut SqliteConnection,
    row: &DefinitionRow,
) -> Result<DefinitionPut, Error> {
    if row.registered {
        let taken = sqlx::query(
            "select hash from definition where registered = 1 and name = ? and version = ? and hash <> ?",
        )
        .bind(row.name.clone())
        .bind(row.version)
        .bind(row.hash.clone());
        if let Some(other) = taken.fetch_optional(&mut *connection).await.map_err(failed)? {
            return Ok(DefinitionPut::Conflict(other.try_get(0).map_err(failed)?));
        }
    }
    let changed = sqlx::query(
        "insert into definition (hash, name, version, registered, text, created_at)
         values (?, ?, ?, ?, ?, ?)
         on conflict (hash) do update set registered = 1 where registered = 0 and excluded.registered = 1",
    )
    .bind(row.hash.clone())
    .bind(row.name.clone())
    .bind(row.version)
    .bind(i64::from(row.registered))
    .bind(row.text.clone())
    .bind(row.created_at.0)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(if changed.rows_affected() == 1 { DefinitionPut::New } else { DefinitionPut::Same })
}

/// Reads every definition, oldest first.
pub(super) async fn definitions(connection: &mut SqliteConnection) -> Result<Vec<DefinitionRow>, Error> {
    let rows =
        sqlx::query("select hash, name, version, registered, text, created_at from definition order by n");
    let rows = rows.fetch_all(connection).await.map_err(failed)?;
    let read = |row: &sqlx::sqlite::SqliteRow| {
        Ok(DefinitionRow {
            hash: row.try_get(0)?,
            name: row.try_get(1)?,
            version: row.try_get(2)?,
            registered: row.try_get::<i64, _>(3)? == 1,
            text: row.try_get(4)?,
            created_at: Timestamp(row.try_get(5)?),
        })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(failed)
}

/// Keeps a registration.
pub(super) async fn put_participant(
    connection: &mut SqliteConnection,
    name: &str,
    registration: &str,
) -> Result<(), Error> {
    sqlx::query(
        "insert into participant (name, registration) values (?, ?)
         on conflict (name) do update set registration = excluded.registration",
    )
    .bind(name.to_owned())
    .bind(registration.to_owned())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed)
}

/// Removes a registration; says whether there was one.
pub(super) async fn delete_participant(connection: &mut SqliteConnection, name: &str) -> Result<bool, Error> {
    let gone = sqlx::query("delete from participant where name = ?").bind(name.to_owned());
    Ok(gone.execute(connection).await.map_err(failed)?.rows_affected() == 1)
}

/// Reads every registration, by name.
pub(super) async fn participants(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, Error> {
    let rows = sqlx::query("select name, registration from participant order by name");
    let rows = rows.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, _>>().map_err(failed)
}

/// The store's secret; `fresh` becomes it when there is none yet. See [`crate::Store::secret`].
pub(super) async fn secret(connection: &mut SqliteConnection, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
    let row = sqlx::query("select secret from store").fetch_one(&mut *connection).await.map_err(failed)?;
    if let Some(known) = row.try_get::<Option<&[u8]>, _>(0).map_err(failed)? {
        return whole(known);
    }
    // Another process may have been first.
    let made = sqlx::query("update store set secret = coalesce(secret, ?) returning secret");
    let row = made.bind(fresh.to_vec()).fetch_one(connection).await.map_err(failed)?;
    whole(row.try_get(0).map_err(failed)?)
}

fn whole(secret: &[u8]) -> Result<[u8; 32], Error> {
    let len = secret.len();
    secret.try_into().map_err(|_| Error::Corrupt(format!("the store's secret has {len} bytes, not 32")))
}
