//! SKUs that are read together, and what is said when they cannot be read.

use std::time::Instant;

use amends_sdk::Database;
use futures::future::try_join_all;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::load::read_items;
use crate::{SQLITE, table};

const SKUS: i64 = 2_000;
const LIST: i64 = 50;

async fn catalogue() -> (Database, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("product.db").display());
    let database = Database::open(&store, &SQLITE).await.expect("it opens");
    let item = |sku: i64| json!({ "sku": sku, "name": format!("n{sku}"), "price_minor": sku + 100 });
    let items: Vec<Value> = (1..=SKUS).map(item).collect();
    let mut connection = SqliteConnection::connect(&store).await.expect("it opens");
    for some in items.chunks(500) {
        let items = read_items(&json!({ "items": some })).expect("items that fit");
        table::upsert(&mut connection, &items, 0).await.expect("they are written");
    }
    connection.close().await.expect("it closes");
    (database, folder)
}

/// The SKUs of a list, another one every turn.
fn list(turn: i64) -> impl Iterator<Item = i64> {
    (0..LIST).map(move |at| (turn * LIST + at) * 7919 % SKUS + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_list_is_read_together_in_less_than_half_the_queries_of_one_by_one() {
    let (database, _folder) = catalogue().await;
    let gather = Gather::start(database.readers());
    let (mut apart, mut together) = (0, 0);
    for turn in 0..20 {
        let before = gather.queries();
        let mut read = Vec::new();
        for sku in list(turn) {
            read.push(gather.sku(sku).await.expect("it is read"));
        }
        let between = gather.queries();
        let gathered = try_join_all(list(turn).map(|sku| gather.sku(sku))).await.expect("they are read");
        assert!(gathered == read && read.iter().all(Option::is_some), "both ways tell the same");
        apart += between - before;
        together += gather.queries() - between;
    }
    assert_eq!(apart, 20 * LIST as u64);
    assert!(together * 2 < apart, "{together} queries together, {apart} one by one");
}

#[tokio::test]
async fn p7_a_catalogue_that_cannot_be_read_is_told_within_two_seconds() {
    let (database, _folder) = catalogue().await;
    let gather = Gather::start(database.readers());
    assert!(gather.sku(1).await.expect("it is read").is_some());
    // Whoever reads for ever leaves nobody else a connection.
    let connections = database.readers().options().get_max_connections();
    let readers = database.readers();
    let taken = try_join_all((0..connections).map(|_| readers.acquire())).await.expect("every connection");
    let begin = Instant::now();
    let told = gather.sku(2).await.expect_err("nobody can read it");
    assert!(matches!(&told, Error::Unavailable(why) if why.contains("2 s")), "{told:?}");
    assert!(begin.elapsed() < 4 * PATIENCE, "it took {:?}", begin.elapsed());
    drop(taken);
    assert!(gather.sku(3).await.expect("it is read again").is_some());
}
