//! The transaction that guarded bodies run in.

use super::Dialect;
use sqlx::{
    Executor, MySql, Postgres, Sqlite, Transaction, mysql::MySqlConnection, postgres::PgConnection,
    sqlite::SqliteConnection,
};

/// The transaction a guarded body runs in. It is committed by the writer, never by the body.
#[derive(Debug)]
pub struct Tx<'a> {
    pub(crate) connection: Connected<'a>,
}

/// The connection of an open transaction.
#[derive(Debug)]
pub(crate) enum Connected<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
    MySql(&'a mut MySqlConnection),
}

/// A transaction that was begun; it is rolled back when it is dropped.
#[derive(Debug)]
pub(crate) enum Open<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    Postgres(Transaction<'c, Postgres>),
    MySql(Transaction<'c, MySql>),
}

impl Tx<'_> {
    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.connection {
            Connected::Sqlite(_) => Dialect::Sqlite,
            Connected::Postgres(_) => Dialect::Postgres,
            Connected::MySql(_) => Dialect::MySql,
        }
    }

    /// The connection of a SQLite database, inside the open transaction.
    ///
    /// # Panics
    /// When the database is another.
    pub fn sqlite(&mut self) -> &mut SqliteConnection {
        match &mut self.connection {
            Connected::Sqlite(connection) => connection,
            Connected::Postgres(_) | Connected::MySql(_) => panic!("this transaction is not SQLite's"),
        }
    }

    /// The connection of a PostgreSQL database, inside the open transaction.
    ///
    /// # Panics
    /// When the database is another.
    pub fn postgres(&mut self) -> &mut PgConnection {
        match &mut self.connection {
            Connected::Postgres(connection) => connection,
            Connected::Sqlite(_) | Connected::MySql(_) => panic!("this transaction is not PostgreSQL's"),
        }
    }

    /// The connection of a MySQL or MariaDB database, inside the open transaction.
    ///
    /// # Panics
    /// When the database is another.
    pub fn mysql(&mut self) -> &mut MySqlConnection {
        match &mut self.connection {
            Connected::MySql(connection) => connection,
            Connected::Sqlite(_) | Connected::Postgres(_) => panic!("this transaction is not MySQL's"),
        }
    }

    /// Executes a statement that all three dialects understand.
    pub(crate) async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        match &mut self.connection {
            Connected::Sqlite(connection) => connection.execute(statement).await.map(drop),
            Connected::Postgres(connection) => connection.execute(statement).await.map(drop),
            Connected::MySql(connection) => connection.execute(statement).await.map(drop),
        }
    }
}

impl Open<'_> {
    pub(crate) fn tx(&mut self) -> Tx<'_> {
        let connection = match self {
            Open::Sqlite(transaction) => Connected::Sqlite(&mut *transaction),
            Open::Postgres(transaction) => Connected::Postgres(&mut *transaction),
            Open::MySql(transaction) => Connected::MySql(&mut *transaction),
        };
        Tx { connection }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Open::Sqlite(transaction) => transaction.commit().await,
            Open::Postgres(transaction) => transaction.commit().await,
            Open::MySql(transaction) => transaction.commit().await,
        }
    }
}
