//! The one connection that writes, and the transactions on it.
//!
//! The invariant it keeps: a transaction is either committed or rolled back before the next one begins,
//! whatever became of the future that ran it.

use super::connect::{Connector, failed};
use super::number::Numbers;
use crate::Error;
use sqlx::sqlite::SqliteConnection;
use std::sync::Arc;

/// The writing connection, reopened when it is in doubt.
#[derive(Debug)]
pub(super) struct Writer {
    connector: Arc<Connector>,
    connection: Option<SqliteConnection>,
    /// Set while a transaction is open, so that one whose future was dropped is found and undone.
    open: bool,
    pub(super) numbers: Numbers,
}

impl Writer {
    pub(super) fn new(connector: Arc<Connector>, connection: SqliteConnection) -> Writer {
        Writer { connector, connection: Some(connection), open: false, numbers: Numbers::default() }
    }

    /// The connection, with no transaction open on it.
    pub(super) async fn ready(&mut self) -> Result<&mut SqliteConnection, Error> {
        if self.open {
            self.rollback().await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.connector.writer(false).await.map_err(unavailable)?);
        }
        Ok(self.connection.as_mut().expect("just made sure"))
    }

    /// The connection of the transaction that is open, and the definitions' numbers.
    pub(super) fn open(&mut self) -> (&mut SqliteConnection, &Numbers) {
        assert!(self.open, "a transaction is open");
        (self.connection.as_mut().expect("a transaction has its connection"), &self.numbers)
    }

    /// Begins a transaction; the connection comes with the write lock.
    pub(super) async fn begin(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.ready().await?;
        // Set first: if this future is dropped, the statement is carried out all the same.
        self.open = true;
        let connection = self.connection.as_mut().expect("it is ready");
        match sqlx::raw_sql("begin immediate").execute(connection).await {
            Ok(_) => Ok(self.connection.as_mut().expect("a transaction has its connection")),
            Err(error) => {
                self.discard();
                Err(failed(error))
            }
        }
    }

    /// Ends the transaction: commits what went well, undoes what did not.
    ///
    /// # Errors
    /// The error of `result`; or that of the commit, after which the connection is a new one.
    pub(super) async fn finish<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        let Ok(value) = result else {
            self.rollback().await;
            return result;
        };
        let connection = self.connection.as_mut().expect("a transaction is open");
        match sqlx::raw_sql("commit").execute(connection).await {
            Ok(_) => {
                self.open = false;
                Ok(value)
            }
            Err(error) => {
                self.discard();
                Err(failed(error))
            }
        }
    }

    /// Lets go of a connection in doubt. SQLite undoes what was open on it; the next use opens another.
    pub(super) fn discard(&mut self) {
        self.connection = None;
        self.open = false;
    }

    async fn rollback(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        // Some errors have ended the transaction already; then there is nothing to roll back.
        let rolled_back = sqlx::raw_sql("rollback").execute(connection).await;
        match rolled_back {
            Ok(_) => self.open = false,
            Err(_) => self.discard(),
        }
    }
}

/// A file that was opened before and cannot be opened now may be there again later.
fn unavailable(error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::Unavailable(why),
        other => other,
    }
}
