//! Brings the tables to the version this program knows, one numbered file after another.

use super::connect::failed;
use crate::{Error, clock};
use sqlx::{Row as _, sqlite::SqliteConnection};

/// One numbered file.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "journal",
        sql: include_str!("../../../../migrations/coordinator/sqlite/0001_journal.sql"),
    },
    Migration {
        number: 2,
        name: "repairs",
        sql: include_str!("../../../../migrations/coordinator/sqlite/0002_repairs.sql"),
    },
    Migration {
        number: 3,
        name: "sleepers",
        sql: include_str!("../../../../migrations/coordinator/sqlite/0003_sleepers.sql"),
    },
];

/// Applies what is missing, all of it in one transaction.
///
/// # Errors
/// [`Error::Refused`] when the file was made by a newer program.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    migrate_to(connection, i64::MAX).await
}

/// The same, but nothing beyond a version.
pub(super) async fn migrate_to(connection: &mut SqliteConnection, version: i64) -> Result<(), Error> {
    run(connection, "begin immediate").await?;
    let applied = apply(connection, version).await;
    let end = if applied.is_ok() { "commit" } else { "rollback" };
    let ended = run(connection, end).await;
    applied.and(ended)
}

async fn apply(connection: &mut SqliteConnection, version: i64) -> Result<(), Error> {
    run(
        connection,
        "create table if not exists migration (
           number integer primary key, name text not null, applied_at integer not null) strict",
    )
    .await?;
    let row = sqlx::query("select coalesce(max(number), 0) from migration").fetch_one(&mut *connection);
    let present: i64 = row.await.map_err(failed)?.try_get(0).map_err(failed)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.number);
    if present > known {
        return Err(Error::Refused(format!(
            "the store is of version {present} and this program knows {known}; run the newer program"
        )));
    }
    let missing = |migration: &&Migration| migration.number > present && migration.number <= version;
    for migration in MIGRATIONS.iter().filter(missing) {
        run(connection, migration.sql).await?;
        sqlx::query("insert into migration (number, name, applied_at) values (?, ?, ?)")
            .bind(migration.number)
            .bind(migration.name)
            .bind(clock::now().0)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests;
