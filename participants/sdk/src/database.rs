//! A participant's own database: one writing connection, and a pool for reading.
//!
//! There is one writing connection because there is one writer: whatever waits shares a transaction, so a
//! second connection would only add locks. On SQLite that is the law anyway. The connection is opened again
//! when it breaks; what was unanswered then is answered 503 and met by the barrier when it is repeated.

mod checkpoint;
mod connect;
mod migrate;
mod tx;

pub use migrate::Migrations;
pub use tx::Tx;

use crate::{Error, metrics::WriterFigures};
use connect::Connection;
use sqlx::{mysql::MySqlPool, postgres::PgPool, sqlite::SqlitePool};
use std::{fmt, str::FromStr, sync::Arc};
use tokio::sync::Mutex;

pub(crate) use connect::Writing;
pub(crate) use tx::Connected;

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite 3.51 or later, linked in.
    Sqlite,
    /// PostgreSQL 13 or later.
    Postgres,
    /// MySQL 8.0 or MariaDB 10.6, or later.
    MySql,
}

/// The connections of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(crate) writer: Arc<Mutex<Writing>>,
    figures: Arc<WriterFigures>,
    readers: Readers,
}

/// Connections for reading; they see what is committed.
#[derive(Debug, Clone)]
pub enum Readers {
    /// SQLite; they are read-only.
    Sqlite(SqlitePool),
    /// PostgreSQL.
    Postgres(PgPool),
    /// MySQL or MariaDB.
    MySql(MySqlPool),
}

impl Dialect {
    /// The name of its folder among the migrations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
            Dialect::MySql => "mysql",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = Error;

    /// Reads the scheme of a store's address.
    fn from_str(store: &str) -> Result<Dialect, Error> {
        match store.split_once(':') {
            Some(("sqlite", _)) => Ok(Dialect::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Dialect::Postgres),
            Some(("mysql" | "mariadb", _)) => Ok(Dialect::MySql),
            // The address may hold a password: only its scheme is repeated.
            Some((scheme, _)) => Err(Error::UnknownStore(scheme.chars().take(40).collect())),
            None => Err(Error::UnknownStore(store.chars().take(40).collect())),
        }
    }
}

impl Database {
    /// Opens `sqlite:PATH`, making the file and its folder where they are missing, and applies `migrations` in order.
    ///
    /// Every migration is a script that is run once, inside a transaction; the number of those applied
    /// is kept in the file.
    ///
    /// # Errors
    /// [`Error::OtherStore`] for an address that is not SQLite's, [`Error::UnknownStore`] for one that is none,
    /// [`Error::Database`] when it cannot be opened or is newer than this program.
    pub async fn open(store: &str, migrations: &[&'static str]) -> Result<Database, Error> {
        match store.parse()? {
            Dialect::Sqlite => {
                Database::open_any(store, &Migrations { sqlite: migrations, ..Migrations::NONE }).await
            }
            other @ (Dialect::Postgres | Dialect::MySql) => Err(Error::OtherStore(other)),
        }
    }

    /// Opens `sqlite:PATH`, `postgres://…` or `mysql://…` and applies the dialect's migrations in order.
    ///
    /// The number of those applied is kept: by SQLite in the file, by the others in the table
    /// `saga_participant_schema`, under [`Migrations::name`]. Two processes that open it at once take turns.
    /// On MySQL a script is not undone when it fails half way.
    ///
    /// # Errors
    /// [`Error::UnknownStore`] for an address that is none of these, [`Error::Database`] when it cannot be
    /// opened or is newer than this program.
    pub async fn open_any(store: &str, migrations: &Migrations<'_>) -> Result<Database, Error> {
        let mut writing = Writing::new(store)?;
        match writing.connection().await? {
            Connection::Sqlite(connection) => migrate::sqlite(connection, migrations).await?,
            Connection::Postgres(connection) => migrate::postgres(connection, migrations).await?,
            Connection::MySql(connection) => migrate::mysql(connection, migrations).await?,
        }
        let readers = writing.readers().await?;
        let figures = Arc::clone(&writing.figures);
        Ok(Database { writer: Arc::new(Mutex::new(writing)), figures, readers })
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.readers {
            Readers::Sqlite(_) => Dialect::Sqlite,
            Readers::Postgres(_) => Dialect::Postgres,
            Readers::MySql(_) => Dialect::MySql,
        }
    }

    /// Connections for reading a SQLite database.
    ///
    /// # Panics
    /// When the database was opened by [`Database::open_any`] and is another; ask [`Database::any_readers`] then.
    pub fn readers(&self) -> &SqlitePool {
        match &self.readers {
            Readers::Sqlite(pool) => pool,
            Readers::Postgres(_) | Readers::MySql(_) => {
                panic!("a {} database has no SQLite readers", self.dialect())
            }
        }
    }

    /// What is counted of its writing.
    pub(crate) fn figures(&self) -> &Arc<WriterFigures> {
        &self.figures
    }

    /// Connections for reading, whatever the dialect.
    pub fn any_readers(&self) -> &Readers {
        &self.readers
    }
}
