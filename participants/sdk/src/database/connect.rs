//! Opening connections, each with the settings that the barrier's promises rest on.

use super::{Dialect, Readers, checkpoint, tx::Open};
use crate::{Error, metrics::WriterFigures};
use sqlx::{
    ConnectOptions, Connection as _, Executor,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
    sqlite::{
        SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use std::{path::Path, str::FromStr, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading connections, at most.
const READERS_MAX: u32 = 4;
/// Pages that an SQLite connection keeps, as it wants to be told: 16 MiB. What is not among them the system has; more would
/// cost every commit, which may have to look through all of them.
const CACHE_KIB: &str = "-16384";
/// Prepared statements a connection keeps; the barrier alone has eight sizes of each.
const STATEMENTS_KEPT: usize = 512;

/// The one connection that writes, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Writing {
    address: Address,
    connection: Option<Connection>,
    /// What is counted of what is written.
    pub(crate) figures: Arc<WriterFigures>,
}

/// Where the database is. Never printed, for it may hold a password.
#[derive(Clone)]
enum Address {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
}

#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Address(…)")
    }
}

impl Writing {
    pub(super) fn new(store: &str) -> Result<Writing, Error> {
        let address = match store.parse()? {
            Dialect::Sqlite => Address::Sqlite(Box::new(sqlite(store)?)),
            Dialect::Postgres => Address::Postgres(Box::new(
                PgConnectOptions::from_str(store)?
                    .statement_cache_capacity(STATEMENTS_KEPT)
                    .options([("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "60s")])
                    .disable_statement_logging(),
            )),
            Dialect::MySql => Address::MySql(Box::new(
                MySqlConnectOptions::from_str(&store.replacen("mariadb:", "mysql:", 1))?
                    .statement_cache_capacity(STATEMENTS_KEPT)
                    .disable_statement_logging(),
            )),
        };
        Ok(Writing { address, connection: None, figures: Arc::default() })
    }

    /// The connection, opened if it is not.
    pub(super) async fn connection(&mut self) -> Result<&mut Connection, sqlx::Error> {
        if self.connection.is_none() {
            let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.address.connect()).await;
            self.connection = Some(opened.map_err(|_| {
                sqlx::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "the database did not answer within 10 s",
                ))
            })??);
        }
        Ok(self.connection.as_mut().expect("it was opened above"))
    }

    /// Begins the transaction that everything waiting shares.
    pub(crate) async fn begin(&mut self) -> Result<Open<'_>, sqlx::Error> {
        match self.connection().await? {
            Connection::Sqlite(connection) => {
                Ok(Open::Sqlite(connection.begin_with("begin immediate").await?))
            }
            Connection::Postgres(connection) => {
                Ok(Open::Postgres(connection.begin_with("begin isolation level read committed").await?))
            }
            Connection::MySql(connection) => Ok(Open::MySql(connection.begin().await?)),
        }
    }

    /// Forgets a connection whose state is not known any more; the next transaction opens another.
    pub(crate) fn distrust(&mut self) {
        self.connection = None;
    }

    /// Begins to look after the log of a database that has one to be looked after, and returns where to say that something
    /// was committed.
    pub(crate) fn look_after_log(&self) -> Option<mpsc::Sender<()>> {
        match &self.address {
            Address::Sqlite(options) => Some(checkpoint::beside(options)),
            Address::Postgres(_) | Address::MySql(_) => None,
        }
    }

    pub(super) async fn readers(&self) -> Result<Readers, sqlx::Error> {
        match self.address.clone() {
            Address::Sqlite(options) => {
                let pool = SqlitePoolOptions::new().max_connections(READERS_MAX);
                Ok(Readers::Sqlite(pool.connect_with(options.read_only(true)).await?))
            }
            Address::Postgres(options) => {
                let pool = PgPoolOptions::new().max_connections(READERS_MAX).acquire_timeout(CONNECT_TIMEOUT);
                Ok(Readers::Postgres(pool.connect_with(*options).await?))
            }
            Address::MySql(options) => {
                let pool =
                    MySqlPoolOptions::new().max_connections(READERS_MAX).acquire_timeout(CONNECT_TIMEOUT);
                Ok(Readers::MySql(pool.connect_with(*options).await?))
            }
        }
    }
}

impl Address {
    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Address::Sqlite(options) => Ok(Connection::Sqlite(options.connect().await?)),
            Address::Postgres(options) => Ok(Connection::Postgres(options.connect().await?)),
            Address::MySql(options) => {
                let mut connection = options.connect().await?;
                // At the default, repeatable read, a repeat would not see the row that its own insert met.
                connection.execute("set session transaction isolation level read committed").await?;
                connection.execute("set session innodb_lock_wait_timeout = 5").await?;
                Ok(Connection::MySql(connection))
            }
        }
    }
}

fn sqlite(store: &str) -> Result<SqliteConnectOptions, Error> {
    let path = store.strip_prefix("sqlite:").unwrap_or(store);
    if let Some(folder) = Path::new(path.trim_start_matches("//")).parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(SqliteConnectOptions::from_str(&format!("sqlite:{path}"))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(STATEMENTS_KEPT)
        .pragma("wal_autocheckpoint", checkpoint::LOG_PAGES)
        .pragma("temp_store", "memory")
        .pragma("cache_size", CACHE_KIB)
        .disable_statement_logging())
}
