//! The same on PostgreSQL and on MySQL's protocol, against real servers.
//!
//! Only real servers show what their locks do when two instances race for a row. The servers are named by
//! `AMENDS_TEST_POSTGRES` and `AMENDS_TEST_MYSQL`; every test has a database of its own.

mod world;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};
use uuid::Uuid;

fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`, which starts the servers"))
}

/// A database of its own on a server that is there.
struct Store {
    server: String,
    name: String,
    address: String,
}

impl Store {
    async fn make(variable: &str) -> Store {
        let server = server(variable);
        let name = format!("sdk_{}", Uuid::now_v7().as_simple());
        let (before, _) = server.rsplit_once('/').expect("a URL that names a database");
        let address = format!("{before}/{name}");
        execute(&server, format!("create database {name}")).await;
        Store { server, name, address }
    }

    fn address(&self) -> &str {
        &self.address
    }

    async fn close(self) {
        let force = if self.server.starts_with("postgres") { " with (force)" } else { "" };
        execute(&self.server, format!("drop database {}{force}", self.name)).await;
    }
}

async fn execute(server: &str, sql: String) {
    let sql = AssertSqlSafe(sql);
    if server.starts_with("postgres") {
        let mut connection = PgConnection::connect(server).await.expect("the server answers");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement runs");
    } else {
        let mut connection = MySqlConnection::connect(server).await.expect("the server answers");
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement runs");
    }
}

async fn postgres() -> Store {
    Store::make("AMENDS_TEST_POSTGRES").await
}

async fn mysql() -> Store {
    Store::make("AMENDS_TEST_MYSQL").await
}

mod postgres_one_by_one {
    crate::scenarios!(crate::postgres, crate::world::Run::Each);
}

mod postgres_merged {
    crate::scenarios!(crate::postgres, crate::world::Run::Merged);
    crate::scenarios!(crate::postgres, crate::world::Run::Merged; scenarios: a_lost_connection_is_opened_again);
}

mod mysql_one_by_one {
    crate::scenarios!(crate::mysql, crate::world::Run::Each);
}

mod mysql_merged {
    crate::scenarios!(crate::mysql, crate::world::Run::Merged);
    crate::scenarios!(crate::mysql, crate::world::Run::Merged; scenarios: a_lost_connection_is_opened_again);
}
