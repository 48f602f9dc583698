//! How a connection to the file is made, and what its errors mean to a caller.

use crate::Error;
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What every connection to one file has in common.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) path: PathBuf,
    /// The largest size of the file in bytes; 0 for no limit.
    pub(super) size_max: AtomicU64,
}

/// The oldest SQLite that is safe with several connections: before it a checkpoint at the wrong moment
/// could corrupt a database in WAL mode (fixed 2026 in 3.51.3).
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

const PAGE_BYTES: u64 = 4096;

/// The writer checkpoints by itself only when the background has not kept up: 64 MiB.
const AUTOCHECKPOINT_PAGES: &str = "16384";

/// 8 MiB, as a negative number of KiB. What is written is near the end of each tree and fits; more costs
/// more, since SQLite walks the whole cache at the end of a transaction that has split a page (measured:
/// 120 µs a commit at 64 MiB).
const WRITER_CACHE_KIB: &str = "-8192";

/// The largest batch answers with one message; a list with as many as it has rows.
const ROWS_BUFFERED: usize = 1024;

impl Connector {
    /// Opens the connection that writes; `create` makes the file if there is none.
    pub(super) async fn writer(&self, create: bool) -> Result<SqliteConnection, Error> {
        let options = self.options().create_if_missing(create).pragma("cache_size", WRITER_CACHE_KIB);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(refused)?;
        self.limit_size(&mut connection).await?;
        Ok(connection)
    }

    /// Opens a connection that only reads.
    pub(super) async fn reader(&self) -> Result<SqliteConnection, Error> {
        let options = self.options().pragma("cache_size", "-16384").pragma("query_only", "on");
        SqliteConnection::connect_with(&options).await.map_err(refused)
    }

    /// Applies the limit on the file's size to the connection that writes.
    pub(super) async fn limit_size(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let bytes = self.size_max.load(Ordering::Relaxed);
        let pages = if bytes == 0 { u64::from(u32::MAX) - 1 } else { (bytes / PAGE_BYTES).max(1) };
        let sql = sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"));
        sqlx::raw_sql(sql).execute(connection).await.map_err(failed)?;
        Ok(())
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .page_size(u32::try_from(PAGE_BYTES).expect("a page is small"))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(false)
            .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES)
            .pragma("temp_store", "memory")
            .pragma("trusted_schema", "off")
            .statement_cache_capacity(64)
            .row_buffer_size(ROWS_BUFFERED)
            .disable_statement_logging()
    }
}

/// Asks a connection for its version and refuses one that is not safe.
pub(super) async fn guard_version(connection: &mut SqliteConnection) -> Result<(), Error> {
    let row = sqlx::query("select sqlite_version()").fetch_one(connection).await.map_err(failed)?;
    check_version(row.try_get(0).map_err(failed)?)
}

/// Refuses a version of SQLite that can corrupt the file.
pub(super) fn check_version(version: &str) -> Result<(), Error> {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let found: (u32, u32, u32) = (next(), next(), next());
    if found >= VERSION_MIN {
        return Ok(());
    }
    let (major, minor, patch) = VERSION_MIN;
    Err(Error::Refused(format!(
        "SQLite {version} can corrupt a file with several connections; build with {major}.{minor}.{patch} or later"
    )))
}

/// What an error during an operation means.
pub(super) fn failed(error: sqlx::Error) -> Error {
    match (&error, code(&error)) {
        (_, Some(FULL)) => Error::Unavailable("the disk is full; free some space".to_owned()),
        (_, Some(CORRUPT | NOT_A_DATABASE)) => Error::Corrupt(error.to_string()),
        (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => Error::Corrupt(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// What an error while opening means: the file cannot be used as it is.
fn refused(error: sqlx::Error) -> Error {
    match code(&error) {
        Some(CORRUPT) => Error::Corrupt(error.to_string()),
        _ => Error::Refused(format!("cannot open the database: {error}")),
    }
}

const FULL: u32 = 13;
const CORRUPT: u32 = 11;
const CONSTRAINT: u32 = 19;
const NOT_A_DATABASE: u32 = 26;

/// Whether a statement was undone because a row was not as it expects.
pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    code(error) == Some(CONSTRAINT)
}

/// SQLite's primary result code: the lowest byte of the extended one.
fn code(error: &sqlx::Error) -> Option<u32> {
    let extended: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
