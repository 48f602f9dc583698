//! What a failure costs the writer: the calls that it met, and none after them.

use super::{Task, Writer};
use crate::{Database, Tx};
use async_trait::async_trait;
use std::time::Duration;

/// Statements, one after the other.
struct Say(&'static [&'static str]);

#[async_trait]
impl Task for Say {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        for statement in self.0 {
            sqlx::query(*statement).execute(tx.sqlite()).await?;
        }
        Ok(())
    }
}

/// Five million bytes in one row: where there is no room for it, SQLite ends the transaction with the statement.
const FILL: &str = "insert into filler values (zeroblob(5000000))";

/// An order that refers to a customer whom nobody knows, which is looked at when it is committed.
const ORPHAN: &str = "insert into child values (1)";

/// What the writer says to statements, and what to one that can be done after them.
async fn said(statements: &'static [&'static str]) -> (String, Result<(), String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("a.db").display());
    let schema = [
        "create table filler (bytes blob)",
        "create table parent (id integer primary key)",
        "create table child (of integer references parent (id) deferrable initially deferred)",
    ];
    let database = Database::open(&store, &schema).await.expect("it opens");
    let writer = Writer::start(&database);
    let done = writer.run(Box::new(Say(statements))).await;
    let harmless = writer.run(Box::new(Say(&[FILL])));
    let after = tokio::time::timeout(Duration::from_secs(30), harmless).await.expect("an answer");
    (done.expect_err("it cannot be done").to_string(), after.map_err(|error| error.to_string()))
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_once_there_is_room() {
    let (error, after) = said(&["pragma max_page_count = 1", FILL]).await;
    assert!(error.contains("full"), "{error}");
    assert_eq!(after, Ok(()), "there is room on another connection");
}

#[tokio::test]
async fn a_commit_that_fails_is_no_reason_for_the_next_one_to_fail() {
    let (error, after) = said(&[ORPHAN]).await;
    assert!(error.contains("FOREIGN KEY"), "{error}");
    assert_eq!(after, Ok(()));
}
