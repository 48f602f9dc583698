//! The tables for PostgreSQL and for MySQL's protocol, made on real servers, and the laws they repeat.
//!
//! The servers are named by `AMENDS_TEST_POSTGRES` and `AMENDS_TEST_MYSQL`; every test has a database of its
//! own. No store speaks to these servers yet: what is shown is that the tables can be made, one version
//! after another, and refuse what must not be.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};
use std::path::Path;
use uuid::Uuid;

/// A database of its own on a server that is there.
struct Database {
    server: String,
    name: String,
    address: String,
}

impl Database {
    async fn make(variable: &str) -> Database {
        let server = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, which starts the servers")
        });
        let name = format!("store_{}", Uuid::now_v7().as_simple());
        let (before, _) = server.rsplit_once('/').expect("a URL that names a database");
        let address = format!("{before}/{name}");
        run(&server, &format!("create database {name}")).await.expect("a database can be made");
        Database { server, name, address }
    }

    /// Applies every migration of a dialect in its order.
    async fn migrate(&self, dialect: &str) {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/coordinator").join(dialect);
        let listed = std::fs::read_dir(directory).expect("the migrations are there");
        let mut files: Vec<_> = listed.map(|entry| entry.expect("it can be read").path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            let sql = std::fs::read_to_string(&file).expect("it can be read");
            let made = run(&self.address, &sql).await;
            made.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    /// Demands that a statement is refused by the constraint of this name.
    async fn refuses(&self, law: &str, sql: &str) {
        let refused = run(&self.address, sql).await.expect_err(law).to_string();
        assert!(refused.contains(law), "{sql}: {refused}");
    }

    async fn takes(&self, sql: &str) {
        run(&self.address, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn close(self) {
        let force = if self.server.starts_with("postgres") { " with (force)" } else { "" };
        let dropped = run(&self.server, &format!("drop database {}{force}", self.name)).await;
        dropped.expect("it can be dropped");
    }
}

async fn run(address: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    if address.starts_with("postgres") {
        let mut connection = PgConnection::connect(address).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await.map(drop)
    } else {
        let mut connection = MySqlConnection::connect(address).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await.map(drop)
    }
}

/// How a dialect writes an id and 32 bytes.
struct Words {
    id: &'static str,
    fingerprint: &'static str,
    no: &'static str,
}

fn saga(words: &Words, status: u8, owner: &str, wake_at: &str) -> String {
    format!(
        "insert into saga (id, status, owner, epoch, seq, definition, created_at, updated_at, wake_at,
           fingerprint)
         values ({}, {status}, {owner}, 1, 1, 1, 1, 1, {wake_at}, {})",
        words.id, words.fingerprint
    )
}

fn item(words: &Words, status: u8, how: &str, number: u8, updated_at: u8) -> String {
    format!(
        "insert into repair (item, pile, status, number, opened_at, first_opened_at, updated_at, settled_how,
           seq, level)
         values ({}, 1, {status}, {number}, 1, 1, {updated_at}, {how}, 5, 0)",
        words.id
    )
}

/// The laws that no writer can break.
async fn laws(database: &Database, words: &Words) {
    database.refuses("a_saga_that_moves_is_owned", &saga(words, 1, "null", "5")).await;
    for status in [4, 5] {
        database.refuses("only_what_completed_is_revived", &saga(words, status, "7", "null")).await;
    }
    for (status, owner, wake_at) in [
        (1, "7", "5"),
        (2, "null", "null"),
        (2, "7", "null"),
        (3, "null", "null"),
        (3, "7", "null"),
        (4, "null", "null"),
    ] {
        database.takes(&saga(words, status, owner, wake_at)).await;
    }
    database.refuses("a_sleeper_is_nobodys", "update saga set sleeper = 7 where status = 1").await;
    database.refuses("a_sleeper_is_nobodys", "update saga set sleeper = 7 where owner is null").await;
    database.takes("update saga set seq = 0 where sleeps_until is not null").await;
    database.takes("update saga set sleeper = 7, owner = null where status = 1").await;
    database.refuses("a_saga_has_begun", "update saga set seq = 0 where sleeps_until = 5").await;
    database.refuses("a_secret_has_32_bytes", "update store set secret = 'too short'").await;
    database.takes(&format!("update store set secret = {}", words.fingerprint)).await;
    let pile = |op| {
        format!(
            "insert into pile (participant, definition, step, op, operation, reason, is_anomaly, finding)
             values ('inventory', 'checkout', 'reserve', {op}, 'release', 1, {}, '')",
            words.no
        )
    };
    database.takes(&pile(1)).await;
    database.takes(&pile(2)).await;
    database.refuses("op_is_known", &pile(3)).await;
    run(&database.address, &pile(1)).await.expect_err("a pile is there once");
    database.refuses("what_is_settled_says_how", &item(words, 3, "null", 1, 1)).await;
    database.refuses("what_is_settled_says_how", &item(words, 0, "2", 1, 1)).await;
    database.refuses("repair_status_is_known", &item(words, 4, "null", 1, 1)).await;
    database.refuses("items_are_numbered_from_1", &item(words, 0, "null", 0, 1)).await;
    database.takes(&item(words, 3, "2", 1, 1)).await;
    database.takes("insert into hook (name, wants) values ('b', 4), ('a', 7)").await;
    database.refuses("wants_are_known", "insert into hook (name, wants) values ('c', 8)").await;
}

#[tokio::test]
async fn postgres_keeps_the_laws_and_fills_its_outbox() {
    let database = Database::make("AMENDS_TEST_POSTGRES").await;
    database.migrate("postgres").await;
    let words =
        Words { id: "gen_random_uuid()", fingerprint: "decode(repeat('00', 32), 'hex')", no: "false" };
    laws(&database, &words).await;
    database.takes(&item(&words, 0, "null", 1, 2)).await;
    database.takes("update repair set level = 1 where updated_at = 2").await;
    database.takes("update repair set assignee = 'ada' where updated_at = 2").await;
    database
        .takes("update repair set status = 3, settled_how = 2, updated_at = 9 where updated_at = 2")
        .await;
    database.takes("update repair set status = 0, settled_how = null where updated_at = 9").await;
    let mut connection = PgConnection::connect(&database.address).await.expect("the server answers");
    let told: Vec<(String, i16, i16)> = sqlx::query_as("select hook, told, level from outbox order by n")
        .fetch_all(&mut connection)
        .await
        .expect("it can be read");
    let told: Vec<_> = told.iter().map(|(hook, told, level)| (hook.as_str(), *told, *level)).collect();
    assert_eq!(told, [("a", 0, 0), ("a", 1, 1), ("a", 2, 1), ("b", 2, 1), ("a", 0, 1)]);
    drop(connection);
    database.close().await;
}

#[tokio::test]
async fn mysql_keeps_the_laws() {
    let database = Database::make("AMENDS_TEST_MYSQL").await;
    database.migrate("mysql").await;
    let words = Words { id: "unhex(replace(uuid(), '-', ''))", fingerprint: "repeat('0', 32)", no: "false" };
    laws(&database, &words).await;
    database.close().await;
}
