//! Laws that are asked for by name, and the catalogue held against the flows up to which it knows.

use serde_json::{Value, json};

use super::every;
use crate::body::now_ms;
use crate::tests::{Shop, cart, step};

const LAW: &str = "availability_is_what_is_usable";

/// Of SKU 1 there came 10 with flow 1, and 4 were set aside with flow 3; of SKU 2 there came 10 with flow 2.
async fn shop() -> Shop {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let (status, answer) = shop.act("hold", step(1, "reserve"), &cart("1", &[(1, 4)])).await;
    assert_eq!(status, 200, "{answer}");
    shop
}

/// The SKUs, or the orders, that break a law, and that no other law was looked at.
async fn broken(shop: &Shop, law: &str, mut given: Value) -> Vec<Value> {
    given["laws"] = json!([law]);
    let (status, audit) = shop.post("/audit", &given).await;
    assert_eq!((status, &audit["keeps"], &audit["totals"]), (200, &json!("stock"), &Value::Null), "{audit}");
    assert_eq!(audit["invariants"].as_array().expect("laws").len(), 1);
    let rows = audit["invariants"][0]["violations"].as_array().expect("rows").clone();
    assert_eq!(audit["kept"], rows.is_empty());
    rows.into_iter().map(|row| row.get("order").or(row.get("sku")).cloned().unwrap_or_default()).collect()
}

#[tokio::test]
async fn i8_a_catalogue_is_right_if_it_was_right_at_the_flow_it_knows_of() {
    let shop = shop().await;
    for (sku, usable, seq, is_right) in [
        (1, 6, json!(3), true),
        (1, 10, json!(2), true),
        (1, 10, json!(1), true),
        (1, 10, json!(3), false),
        (1, 6, json!(0), true),
        (1, 0, json!(0), true),
        (1, 9, json!(1), false),
        (1, 10, Value::Null, false),
        (2, 10, json!(2), true),
        (2, 0, json!(1), true),
        (2, 11, json!(9), false),
        (3, 0, json!(0), true),
        (3, 1, json!(3), false),
    ] {
        let shown = json!({ "sku": sku, "usable": usable, "seq": seq });
        let found = broken(&shop, LAW, json!({ "availability": [shown] })).await;
        assert_eq!(found.is_empty(), is_right, "{shown}");
    }
}

#[tokio::test]
async fn i8_what_is_kept_back_and_what_others_sell_is_not_shown() {
    let shop = shop().await;
    let of_channel = json!({ "biz_no": "c", "lines": [{ "sku": 1, "qty": 50, "channel": 7 }] });
    assert_eq!(shop.post("/replenish", &of_channel).await.0, 201);
    // With flow 5 five are kept back, and with flow 6 two.
    for safety in [5, 2] {
        let lines = json!({ "lines": [{ "sku": 1, "safety": safety }] });
        assert_eq!(shop.post("/safety", &lines).await.0, 200);
    }
    for (usable, seq, is_right) in [
        (4, json!(6), true),
        (4, Value::Null, true),
        (1, json!(5), true),
        (6, json!(4), true),
        (6, json!(3), true),
        (10, json!(2), true),
        (6, json!(6), false),
        (4, json!(5), true),
        (56, json!(4), false),
        (2, json!(5), false),
    ] {
        let shown = json!({ "sku": 1, "usable": usable, "seq": seq });
        let found = broken(&shop, LAW, json!({ "availability": [shown] })).await;
        assert_eq!(found.is_empty(), is_right, "{shown}");
    }
}

#[tokio::test]
async fn i8_a_change_may_be_unknown_for_a_while_and_no_longer() {
    let shop = shop().await;
    let now = now_ms();
    let shown = json!([{ "sku": 1, "usable": 10, "seq": 2 }, { "sku": 2, "usable": 10, "seq": 2 }]);
    let known_by = |at: i64| json!({ "availability": shown, "known_by": at });
    assert_eq!(broken(&shop, LAW, known_by(now - 60_000)).await, [0; 0]);
    assert_eq!(broken(&shop, LAW, known_by(now + 1)).await, [1], "of the other, nothing has changed since");
}

#[tokio::test]
async fn i6_what_is_known_to_be_missing_is_not_asked_for() {
    let shop = shop().await;
    let (status, answer) = shop.act("hold_short", step(2, "reserve"), &cart("2", &[(1, 9), (2, 3)])).await;
    assert_eq!((status, &answer["missing"]), (200, &json!(3)), "{answer}");
    let law = "orders_have_what_they_reserved";
    let order = |of_one: i64| {
        let lines = json!([{ "sku": 1, "qty": of_one }, { "sku": 2, "qty": 3 }]);
        json!({ "orders": [{ "order": "2", "lines": lines }] })
    };
    assert_eq!(broken(&shop, law, order(9)).await, [0; 0]);
    assert_eq!(broken(&shop, law, order(6)).await, ["2"]);
    assert_eq!(shop.post("/shortages/close", &json!({ "short_no": "2" })).await.0, 200);
    assert_eq!(broken(&shop, law, order(9)).await, ["2"], "nobody says any more that something is missing");
}

#[tokio::test]
async fn laws_are_asked_for_by_their_names() {
    let shop = shop().await;
    let orders = json!({ "orders": [{ "order": "1", "lines": [{ "sku": 1, "qty": 5 }] }] });
    assert_eq!(broken(&shop, "orders_have_what_they_reserved", orders.clone()).await, ["1"]);
    assert_eq!(broken(&shop, "stock_is_balanced", orders).await, [0; 0]);
    let (status, problem) = shop.post("/audit", &json!({ "laws": ["stock_is_dear"] })).await;
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().expect("a detail").contains("\"stock_is_dear\""), "{problem}");
    let all = shop.get("/audit").await.1;
    assert_eq!(all["invariants"].as_array().map(Vec::len), Some(every().count()));
    assert_eq!((&all["keeps"], &all["totals"]["held"]), (&json!("stock"), &json!(4)));
}
