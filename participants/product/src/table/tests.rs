//! The catalogue in a database in memory: newer writes count, older ones do not.

use sqlx::Connection;

use super::*;
use crate::load::{read_availability, read_items};

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
    for script in crate::SQLITE {
        sqlx::raw_sql(script).execute(&mut connection).await.expect("the schema");
    }
    connection
}

fn items(items: Value) -> Vec<Item> {
    read_items(&json!({ "items": items })).expect("items that fit")
}

#[tokio::test]
async fn only_a_newer_version_counts() {
    let mut database = database().await;
    let write = async |database: &mut SqliteConnection, price: i64, version: i64| {
        let items = items(json!([{ "sku": 7, "name": "mug", "price_minor": price, "version": version }]));
        upsert(database, &items, version).await.expect("written")
    };
    assert_eq!(write(&mut database, 100, 5).await, 1);
    assert_eq!(write(&mut database, 200, 5).await, 0, "the same version again");
    assert_eq!(write(&mut database, 300, 4).await, 0, "an older version");
    assert_eq!(write(&mut database, 400, 6).await, 1);
    let product = product(&mut database, 7).await.expect("read").expect("there");
    assert_eq!((product.price_minor, product.version, product.spu), (400, 6, 7));
}

#[tokio::test]
async fn the_newest_of_the_same_load_wins() {
    let mut database = database().await;
    let load = items(json!([
        { "sku": 7, "name": "old", "price_minor": 1, "version": 2 },
        { "sku": 7, "name": "new", "price_minor": 2, "version": 3 },
        { "sku": 7, "name": "older", "price_minor": 3, "version": 1 },
    ]));
    assert_eq!(upsert(&mut database, &load, 0).await.expect("written"), 2);
    assert_eq!(product(&mut database, 7).await.expect("read").expect("there").name, "new");
}

#[tokio::test]
async fn a_thousand_skus_are_loaded_and_read_at_once() {
    let mut database = database().await;
    let load = items((1..=1000).map(|sku| json!({ "sku": sku, "spu": sku / 4 + 1, "name": format!("n{sku}"), "price_minor": sku })).collect());
    assert_eq!(upsert(&mut database, &load, 0).await.expect("written"), 1000);
    let read = skus(&mut database, (990..=1010).collect()).await.expect("read");
    assert_eq!(read.len(), 11, "those that are not there are left out");
    assert_eq!(read[&1000].price_minor, 1000);
    let page = products_after(&mut database, 995, 3).await.expect("read");
    assert_eq!(page.items.iter().map(|product| product.sku).collect::<Vec<_>>(), [996, 997, 998]);
    assert_eq!(page.next.as_deref(), Some("998"));
    assert_eq!(products_after(&mut database, 998, 3).await.expect("read").next, None);
}

#[tokio::test]
async fn availability_and_attributes_are_shown() {
    let mut database = database().await;
    let load = items(
        json!([{ "sku": 7, "name": "mug", "price_minor": 1, "attrs": { "colour": "red", "n": [1, 2] } }]),
    );
    upsert(&mut database, &load, 0).await.expect("written");
    let said = |usable: i64, seq: i64| {
        read_availability(&json!({ "items": [{ "sku": 7, "usable": usable, "seq": seq }] })).expect("it fits")
    };
    assert_eq!(upsert_availability(&mut database, &said(5, 9), 0).await.expect("written"), 1);
    assert_eq!(
        upsert_availability(&mut database, &said(9, 8), 0).await.expect("written"),
        0,
        "an old message"
    );
    let product = product(&mut database, 7).await.expect("read").expect("there");
    let product = serde_json::to_value(product).expect("JSON");
    assert_eq!(product["attrs"], json!({ "colour": "red", "n": [1, 2] }));
    assert_eq!(product["availability"], json!({ "usable": 5, "state": "in_stock", "seq": 9 }));
}

#[test]
fn every_misfit_of_a_load_is_named_by_its_path() {
    let check = |item: Value, expected: &[&str]| {
        let misfits = read_items(&json!({ "items": [item] })).expect_err("it does not fit");
        assert_eq!(misfits.into_iter().map(|misfit| misfit.path).collect::<Vec<_>>(), expected);
    };
    check(json!({}), &["/items/0/sku", "/items/0/name", "/items/0/price_minor"]);
    check(json!({ "sku": 1, "name": "n", "price_minor": -1 }), &["/items/0/price_minor"]);
    check(json!({ "sku": 1, "name": "n", "price_minor": 1, "currency": "x" }), &["/items/0/currency"]);
    check(json!({ "sku": 1, "name": "n", "price_minor": 1, "status": "gone" }), &["/items/0/status"]);
    check(json!({ "sku": 1, "name": "n", "price_minor": 1, "version": 0 }), &["/items/0/version"]);
    check(json!({ "sku": 1, "name": "n", "price_minor": 1, "attrs": [] }), &["/items/0/attrs"]);
    check(
        json!({ "sku": 1, "name": "n", "price_minor": 1, "attrs": { "x": "y".repeat(5000) } }),
        &["/items/0/attrs"],
    );
    assert!(read_items(&json!({ "items": [] })).is_err());
    assert!(
        read_items(&json!({ "items": vec![json!({ "sku": 1, "name": "n", "price_minor": 1 }); 1001] }))
            .is_err()
    );
}

#[tokio::test]
async fn the_audit_catches_every_planted_row() {
    let cases = [
        (
            "update product_sku set price_minor = -1; update product_price set price_minor = -1",
            "every_sku_has_a_price",
        ),
        (
            "update product_sku set currency = 'eur'; update product_price set currency = 'eur'",
            "every_sku_has_a_price",
        ),
        ("update product_sku set status = 'gone'", "every_sku_has_a_status"),
        ("delete from product_spu", "every_sku_belongs_to_a_product"),
        ("update product_sku set price_minor = 2", "every_price_is_kept"),
        ("delete from product_price", "every_price_is_kept"),
        ("insert into product_price values (7, 2, 1, 'EUR', 0)", "every_price_is_kept"),
        ("update sku_availability set usable = -1", "availability_never_negative"),
    ];
    for (sql, expected) in cases {
        let mut database = database().await;
        upsert(&mut database, &items(json!([{ "sku": 7, "name": "mug", "price_minor": 1 }])), 0)
            .await
            .expect("written");
        let said =
            read_availability(&json!({ "items": [{ "sku": 7, "usable": 1, "seq": 1 }] })).expect("it fits");
        upsert_availability(&mut database, &said, 0).await.expect("written");
        assert!(crate::audit::audit(&mut database).await.expect("an audit").kept);
        let off = "pragma foreign_keys = off; pragma ignore_check_constraints = on";
        sqlx::raw_sql(off).execute(&mut database).await.expect("off");
        sqlx::raw_sql(sql).execute(&mut database).await.expect("planted");
        let found = crate::audit::audit(&mut database).await.expect("an audit");
        let broken: Vec<&str> = found
            .invariants
            .iter()
            .filter(|invariant| !invariant.kept)
            .map(|invariant| invariant.name)
            .collect();
        assert_eq!(broken, [expected], "{sql}");
    }
}

#[tokio::test]
async fn the_prices_of_a_catalogue_from_before_they_were_kept_are_its_first() {
    let mut database = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
    let old = "insert into product_spu values (7, 'mug', 1, 5);
        insert into product_sku values (7, 7, 'mug', 250, 'EUR', 'on_sale', null, 3, 5)";
    for script in [crate::SQLITE[0], old, crate::SQLITE[1]] {
        sqlx::raw_sql(script).execute(&mut database).await.expect("it runs");
    }
    let prices = prices(&mut database, 7, 10).await.expect("read");
    assert_eq!((prices.len(), prices[0].price_version, prices[0].price_minor), (1, 3, 250));
    assert!(crate::audit::audit(&mut database).await.expect("an audit").kept);
}
