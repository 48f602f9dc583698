//! Bringing a database's schema up to date, each script once.

use crate::Error;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};

/// The scripts that make a participant's tables, oldest first, for each dialect it knows.
#[derive(Debug, Clone, Copy)]
pub struct Migrations<'a> {
    /// Under which name the number of applied scripts is kept; two participants may share a database.
    pub name: &'a str,
    /// For SQLite.
    pub sqlite: &'a [&'static str],
    /// For PostgreSQL.
    pub postgres: &'a [&'static str],
    /// For MySQL and MariaDB.
    pub mysql: &'a [&'static str],
}

impl Migrations<'_> {
    /// No scripts at all.
    pub const NONE: Migrations<'static> =
        Migrations { name: "participant", sqlite: &[], postgres: &[], mysql: &[] };
}

/// Where PostgreSQL and MySQL keep the numbers.
const KEPT: &str = "create table if not exists saga_participant_schema \
    (name varchar(63) not null primary key, version integer not null)";

/// Serialises migrations; any number that nobody else uses would do.
const LOCK: i64 = 0x616d_656e_6473_0001;

pub(super) async fn sqlite(
    connection: &mut SqliteConnection,
    migrations: &Migrations<'_>,
) -> Result<(), Error> {
    let mut tx = connection.begin_with("begin immediate").await?;
    let version: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *tx).await?;
    for (number, script) in missing(migrations.sqlite, version)? {
        sqlx::raw_sql(script).execute(&mut *tx).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("pragma user_version = {number}"))).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn postgres(
    connection: &mut PgConnection,
    migrations: &Migrations<'_>,
) -> Result<(), Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    sqlx::raw_sql(KEPT).execute(&mut *tx).await?;
    let kept = sqlx::query("select version from saga_participant_schema where name = $1")
        .bind(migrations.name)
        .fetch_optional(&mut *tx)
        .await?;
    let version = kept.map_or(Ok(0), |row| row.try_get::<i32, _>("version"))?;
    for (number, script) in missing(migrations.postgres, version.into())? {
        sqlx::raw_sql(script).execute(&mut *tx).await?;
        sqlx::query(
            "insert into saga_participant_schema (name, version) values ($1, $2) \
             on conflict (name) do update set version = excluded.version",
        )
        .bind(migrations.name)
        .bind(number)
        .execute(&mut *tx)
        .await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn mysql(
    connection: &mut MySqlConnection,
    migrations: &Migrations<'_>,
) -> Result<(), Error> {
    let locked: Option<i64> = sqlx::query_scalar("select get_lock('saga_participant_schema', 60)")
        .fetch_one(&mut *connection)
        .await?;
    if locked != Some(1) {
        let busy = "another process has been migrating this database for a minute; try again when it is done";
        return Err(Error::Database(sqlx::Error::Protocol(busy.to_owned())));
    }
    let done = mysql_locked(connection, migrations).await;
    sqlx::query("do release_lock('saga_participant_schema')").execute(&mut *connection).await?;
    done
}

async fn mysql_locked(connection: &mut MySqlConnection, migrations: &Migrations<'_>) -> Result<(), Error> {
    sqlx::raw_sql(KEPT).execute(&mut *connection).await?;
    let kept = sqlx::query("select version from saga_participant_schema where name = ?")
        .bind(migrations.name.to_owned())
        .fetch_optional(&mut *connection)
        .await?;
    let version = kept.map_or(Ok(0), |row| row.try_get::<i32, _>("version"))?;
    for (number, script) in missing(migrations.mysql, version.into())? {
        sqlx::raw_sql(script).execute(&mut *connection).await?;
        sqlx::query(
            "insert into saga_participant_schema (name, version) values (?, ?) \
             on duplicate key update version = values(version)",
        )
        .bind(migrations.name.to_owned())
        .bind(number)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The scripts that are still to be run, with their numbers, from 1.
fn missing(
    scripts: &[&'static str],
    version: i64,
) -> Result<impl Iterator<Item = (i32, &'static str)>, Error> {
    let applied = usize::try_from(version).unwrap_or(0);
    if applied > scripts.len() {
        let known = scripts.len();
        let newer =
            format!("the database has schema {applied}, this program knows {known}; use a newer program");
        return Err(Error::Database(sqlx::Error::Protocol(newer)));
    }
    Ok((1..).zip(scripts.iter().copied()).skip(applied))
}
