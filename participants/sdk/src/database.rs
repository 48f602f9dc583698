//! A participant's own database: one writing connection, and a pool for reading.

use crate::Error;
use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

/// The connections of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) writer: Arc<tokio::sync::Mutex<SqliteConnection>>,
    readers: SqlitePool,
}

/// The transaction a guarded body runs in.
#[derive(Debug)]
pub struct Tx<'a> {
    connection: &'a mut SqliteConnection,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(connection: &'a mut SqliteConnection) -> Tx<'a> {
        Tx { connection }
    }

    /// The connection, inside the open transaction. It is committed by the writer, never by the body.
    pub fn sqlite(&mut self) -> &mut SqliteConnection {
        self.connection
    }
}

impl Database {
    /// Opens `sqlite:PATH`, making the file and its folder where they are missing, and applies `migrations` in order.
    ///
    /// Every migration is a script that is run once, inside a transaction; the number of those applied
    /// is kept in the file.
    ///
    /// # Errors
    /// [`Error::UnknownStore`] for another scheme, [`Error::Database`] when it cannot be opened or is newer
    /// than this program.
    pub async fn open(store: &str, migrations: &[&'static str]) -> Result<Database, Error> {
        let path = store.strip_prefix("sqlite:").ok_or_else(|| Error::UnknownStore(store.to_owned()))?;
        if let Some(folder) = Path::new(path).parent() {
            std::fs::create_dir_all(folder)?;
        }
        let options = SqliteConnectOptions::from_str(&format!("sqlite:{path}"))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(512)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-65536")
            .disable_statement_logging();
        let mut writer = options.connect().await?;
        migrate(&mut writer, migrations).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Database { writer: Arc::new(tokio::sync::Mutex::new(writer)), readers })
    }

    /// Connections for reading; they see what is committed.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

async fn migrate(connection: &mut SqliteConnection, migrations: &[&'static str]) -> Result<(), Error> {
    let version: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *connection).await?;
    let applied = usize::try_from(version).unwrap_or(0);
    if applied > migrations.len() {
        let known = migrations.len();
        let newer = format!("the file has schema {applied}, this program knows {known}; use a newer program");
        return Err(Error::Database(sqlx::Error::Protocol(newer)));
    }
    for (number, script) in (1..).zip(migrations).skip(applied) {
        let mut tx = connection.begin_with("begin immediate").await?;
        sqlx::raw_sql(*script).execute(&mut *tx).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("pragma user_version = {number}")))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}
