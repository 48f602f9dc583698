//! Quotes, and the no that needs no transaction.

use serde_json::json;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::tests::{Shop, cart, step};

/// Changes whenever another connection has committed something.
async fn version(watching: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("pragma data_version").fetch_one(watching).await.unwrap()
}

async fn watch(shop: &Shop) -> SqliteConnection {
    let options: sqlx::sqlite::SqliteConnectOptions = shop.store.parse().unwrap();
    options.read_only(true).connect().await.unwrap()
}

#[tokio::test]
async fn c11_with_stock_0_ten_thousand_deducts_cause_no_write_transaction() {
    let shop = std::sync::Arc::new(Shop::open(&[(1, 1), (2, 50)]).await);
    assert_eq!(shop.act("deduct", step(1, "deduct"), &cart("last", &[(1, 1)])).await.0, 200);
    // The first no is the writer's, and teaches that the record is sold out.
    assert_eq!(shop.act("deduct", step(2, "deduct"), &cart("first", &[(1, 1)])).await.0, 409);
    let mut watching = watch(&shop).await;
    let before = version(&mut watching).await;
    let mut calls = tokio::task::JoinSet::new();
    for worker in 0..20u128 {
        let shop = std::sync::Arc::clone(&shop);
        calls.spawn(async move {
            for number in 0..500u128 {
                let saga = 1000 + worker * 500 + number;
                let body = cart(&format!("o{saga}"), &[(2, 1), (1, 1)]);
                let (status, answer) = shop.act("deduct", step(saga, "deduct"), &body).await;
                assert_eq!(
                    (status, &answer["lines"]),
                    (409, &json!([{"sku": 1, "wanted": 1, "available": 0}]))
                );
            }
        });
    }
    calls.join_all().await;
    assert_eq!(version(&mut watching).await, before, "nothing was committed");
    assert_eq!(shop.stock(2).await, (50, 0));
    // The watch does see a commit.
    assert_eq!(shop.act("deduct", step(3, "deduct"), &cart("other", &[(2, 1)])).await.0, 200);
    assert_ne!(version(&mut watching).await, before);
    watching.close().await.unwrap();
    shop.assert_sound().await;
}

#[tokio::test]
async fn goods_that_come_in_again_are_sold_at_once() {
    let shop = Shop::open(&[(1, 1)]).await;
    shop.act("deduct", step(1, "deduct"), &cart("a", &[(1, 1)])).await;
    for saga in 2..5 {
        assert_eq!(shop.act("hold", step(saga, "hold"), &cart("b", &[(1, 1)])).await.0, 409);
    }
    shop.post("/replenish", &json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 2}]})).await;
    assert_eq!(shop.act("hold", step(5, "hold"), &cart("c", &[(1, 2)])).await.0, 200);
    shop.assert_sound().await;
}

#[tokio::test]
async fn c11_carts_that_want_more_than_is_left_cause_no_write_transaction_and_the_others_take_it() {
    let shop = Shop::open(&[(1, 3)]).await;
    // The first no is the writer's, and teaches how much is left.
    assert_eq!(shop.act("deduct", step(1, "deduct"), &cart("first", &[(1, 4)])).await.0, 409);
    let mut watching = watch(&shop).await;
    let before = version(&mut watching).await;
    for saga in 2..100u128 {
        let (status, answer) =
            shop.act("deduct", step(saga, "deduct"), &cart(&format!("o{saga}"), &[(1, 4)])).await;
        assert_eq!((status, &answer["lines"][0]["available"]), (409, &json!(3)));
    }
    assert_eq!(version(&mut watching).await, before, "nothing was committed");
    watching.close().await.unwrap();
    assert_eq!(shop.act("deduct", step(100, "deduct"), &cart("last", &[(1, 3)])).await.0, 200);
    shop.post("/replenish", &json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 4}]})).await;
    assert_eq!(shop.act("deduct", step(101, "deduct"), &cart("more", &[(1, 4)])).await.0, 200);
    shop.assert_sound().await;
}

#[tokio::test]
async fn what_the_barrier_knows_is_answered_as_it_was() {
    let shop = Shop::open(&[(1, 1)]).await;
    let body = cart("a", &[(1, 1)]);
    let answer = shop.act("deduct", step(1, "deduct"), &body).await;
    assert_eq!(answer.0, 200);
    assert_eq!(shop.act("deduct", step(2, "deduct"), &cart("b", &[(1, 1)])).await.0, 409);
    // A repeat of what was done meets a record that is known to be sold out, and is answered as before.
    assert_eq!(shop.act("deduct", step(1, "deduct"), &body).await, answer);
    // What was refused early is barred by its compensation like everything else.
    assert_eq!(shop.act("deduct", step(3, "deduct"), &cart("c", &[(1, 1)])).await.0, 409);
    assert_eq!(shop.undo("restore", step(3, "deduct"), &cart("c", &[(1, 1)])).await.0, 200);
    shop.post("/replenish", &json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 2}]})).await;
    assert_eq!(shop.act("deduct", step(3, "deduct"), &cart("c", &[(1, 1)])).await.0, 409);
    assert_eq!(shop.stock(1).await, (2, 1));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_copy_of_a_call_that_was_refused_early_takes_nothing_although_there_are_goods_again() {
    let shop = Shop::open(&[(1, 1)]).await;
    assert_eq!(shop.act("deduct", step(1, "deduct"), &cart("a", &[(1, 1)])).await.0, 200);
    // The first no is the writer's, which learns from it; the second is early.
    assert_eq!(shop.act("deduct", step(2, "deduct"), &cart("b", &[(1, 1)])).await.0, 409);
    let refused = shop.act("deduct", step(3, "deduct"), &cart("c", &[(1, 1)])).await;
    assert_eq!(refused.0, 409);
    shop.post("/replenish", &json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 5}]})).await;
    assert_eq!(shop.act("deduct", step(3, "deduct"), &cart("c", &[(1, 1)])).await, refused);
    assert_eq!(shop.act("deduct", step(4, "deduct"), &cart("d", &[(1, 1)])).await.0, 200);
    assert_eq!(shop.stock(1).await, (4, 2));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_quote_reads_and_promises_nothing() {
    let shop = Shop::open(&[(1, 5), (2, 1)]).await;
    let mut watching = watch(&shop).await;
    let before = version(&mut watching).await;
    let body = json!({"lines": [{"sku": 1, "qty": 2}, {"sku": 2, "qty": 2}, {"sku": 404, "qty": 1}, {"sku": 1, "qty": 1}]});
    let (status, answer) = shop.post("/stock/quote", &body).await;
    let lines = json!([
        {"sku": 1, "wanted": 3, "available": 5, "enough": true},
        {"sku": 2, "wanted": 2, "available": 1, "enough": false},
        {"sku": 404, "wanted": 1, "available": 0, "enough": false},
    ]);
    assert_eq!((status, answer), (200, json!({"enough": false, "lines": lines})));
    let (status, answer) = shop.act("quote", step(1, "quote"), &body).await;
    assert_eq!((status, answer["lines"].as_array().unwrap().len()), (409, 2));
    let (status, answer) = shop.act("quote", step(2, "quote"), &cart("a", &[(1, 5)])).await;
    assert_eq!((status, &answer["enough"]), (200, &json!(true)));
    for bad in [json!([]), json!({}), json!({"lines": [{"sku": 1, "qty": 0}]})] {
        assert_eq!(shop.post("/stock/quote", &bad).await.0, 422, "{bad}");
    }
    assert_eq!(version(&mut watching).await, before, "nothing was committed");
    watching.close().await.unwrap();
    assert_eq!(shop.stock(1).await, (5, 0));
}
