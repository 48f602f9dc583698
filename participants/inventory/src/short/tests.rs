//! What there is is held, what is missing is written down, once under a number, and undone with the hold.

use serde_json::{Value, json};

use crate::tests::{Shop, cart, step};

/// A cart under a number of its own.
fn numbered(order: &str, number: &str, lines: &[(i64, i64)]) -> Value {
    let mut body = cart(order, lines);
    body["short_no"] = json!(number);
    body
}

async fn listed(shop: &Shop, address: &str) -> Vec<Value> {
    let (status, page) = shop.get(address).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

/// The numbers that stand, with how many are missing.
async fn standing(shop: &Shop) -> Vec<(String, i64)> {
    let item =
        |item: &Value| (item["short_no"].as_str().unwrap().to_owned(), item["missing"].as_i64().unwrap());
    listed(shop, "/shortages?open=true").await.iter().map(item).collect()
}

#[tokio::test]
async fn t9_what_there_is_is_held_and_what_is_missing_is_written_down_by_the_line() {
    let shop = Shop::open(&[(1, 10), (2, 3), (3, 1)]).await;
    shop.act("deduct", step(9, "deduct"), &cart("z", &[(3, 1)])).await;
    let body = cart("a", &[(1, 4), (2, 5), (3, 2)]);
    let (status, answer) = shop.act("hold_short", step(1, "stock"), &body).await;
    assert_eq!(status, 200, "{answer}");
    let lines = json!([
        {"sku": 1, "wanted": 4, "qty": 4, "missing": 0, "hold": 2},
        {"sku": 2, "wanted": 5, "qty": 3, "missing": 2, "hold": 3},
        {"sku": 3, "wanted": 2, "qty": 0, "missing": 2},
    ]);
    assert_eq!((&answer["lines"], &answer["missing"], &answer["short_no"]), (&lines, &json!(4), &json!("a")));
    assert!(answer["hold_until"].is_string());
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((6, 4), (0, 3)));
    let items = listed(&shop, "/shortages").await;
    assert_eq!((items.len(), &items[0]["order"], &items[0]["state"]), (1, &json!("a"), &json!("open")));
    assert_eq!((&items[0]["lines"], &items[0]["ended_at"]), (&lines, &Value::Null));
    // A repeat is answered alike; what is held goes the way of every hold.
    assert_eq!(shop.act("hold_short", step(1, "stock"), &body).await, (200, answer));
    assert_eq!(shop.act("confirm", step(2, "pay"), &json!({"order": "a"})).await.0, 200);
    let (status, answer) = shop.act("ship", step(3, "ship"), &json!({"order": "a"})).await;
    assert_eq!((status, answer["lines"].as_array().unwrap().len()), (200, 2));
    // What is missing is missing until somebody says otherwise.
    assert_eq!(standing(&shop).await, [("a".to_owned(), 4)]);
    let close = json!({"short_no": "a"});
    for _ in 0..2 {
        assert_eq!(shop.post("/shortages/close", &close).await.1["state"], "closed");
    }
    assert_eq!((standing(&shop).await, listed(&shop, "/shortages").await.len()), (vec![], 1));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t9_a_short_hold_takes_effect_once_under_its_number_whoever_asks() {
    let shop = Shop::open(&[(1, 3)]).await;
    let body = numbered("a", "s-1", &[(1, 5)]);
    let (_, first) = shop.act("hold_short", step(1, "stock"), &body).await;
    shop.post("/replenish", &json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 10}]})).await;
    // Another saga and step, the same number: nothing moves although there are goods now.
    for (saga, name) in [(1, "again"), (2, "stock")] {
        let (status, answer) = shop.act("hold_short", step(saga, name), &body).await;
        assert_eq!(
            (status, &answer["lines"], &answer["earlier"], &answer["missing"]),
            (200, &json!([]), &first["lines"], &json!(2))
        );
    }
    assert_eq!(shop.stock(1).await, (10, 3));
    // Those who moved nothing have nothing to undo, and what they undo is nobody else's.
    assert_eq!(shop.undo("release_short", step(2, "stock"), &body).await.0, 200);
    assert_eq!((shop.stock(1).await, standing(&shop).await), ((10, 3), vec![("s-1".to_owned(), 2)]));
    // The number stands for this cart and no other.
    let (status, answer) = shop.act("hold_short", step(3, "stock"), &numbered("a", "s-1", &[(1, 6)])).await;
    assert_eq!((status, &answer["order"]), (409, &json!("a")), "{answer}");
    // Under another number the saga that holds the order holds the rest; another saga does not.
    let rest = numbered("a", "s-2", &[(1, 2)]);
    assert_eq!(shop.act("hold_short", step(4, "stock"), &rest).await.0, 409);
    let (status, answer) = shop.act("hold_short", step(1, "rest"), &rest).await;
    assert_eq!((status, &answer["missing"]), (200, &json!(0)));
    assert_eq!(shop.stock(1).await, (8, 5));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t9_undoing_a_short_hold_frees_what_it_held_once_and_spends_its_number() {
    let shop = Shop::open(&[(1, 3), (2, 1)]).await;
    shop.act("deduct", step(9, "deduct"), &cart("z", &[(2, 1)])).await;
    let (some, none) = (numbered("a", "s-1", &[(1, 5)]), numbered("b", "s-2", &[(2, 5)]));
    assert_eq!(shop.act("hold_short", step(1, "stock"), &some).await.0, 200);
    let (status, answer) = shop.act("hold_short", step(2, "stock"), &none).await;
    assert_eq!((status, &answer["missing"], &answer["lines"][0]["qty"]), (200, &json!(5), &json!(0)));
    for _ in 0..3 {
        let (status, answer) = shop.undo("release_short", step(1, "stock"), &some).await;
        assert_eq!((status, &answer["lines"][0]["qty"]), (200, &json!(3)));
        let (status, answer) = shop.undo("release_short", step(2, "stock"), &none).await;
        assert_eq!(
            (status, &answer["lines"]),
            (200, &json!([])),
            "nothing was held, and nothing is missing any more"
        );
    }
    assert_eq!((shop.stock(1).await, standing(&shop).await), ((3, 0), vec![]));
    let (status, answer) = shop.act("hold_short", step(3, "stock"), &some).await;
    assert_eq!((status, &answer["short_no"]), (409, &json!("s-1")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("another short_no"), "{answer}");
    assert_eq!(shop.post("/shortages/close", &json!({"short_no": "s-1"})).await.0, 409);
    assert_eq!(shop.post("/shortages/close", &json!({"short_no": "s-9"})).await.0, 404);
    // A hold that comes after its undoing is refused, as everywhere.
    assert_eq!(shop.undo("release_short", step(4, "stock"), &numbered("c", "s-4", &[(1, 1)])).await.0, 200);
    assert_eq!(shop.act("hold_short", step(4, "stock"), &numbered("c", "s-4", &[(1, 1)])).await.0, 409);
    assert_eq!(shop.audit().await.totals.released, 3);
    shop.assert_sound().await;
}

#[tokio::test]
async fn t9_whatever_gives_an_orders_stock_back_ends_what_is_missing_of_it() {
    let shop = Shop::open(&[(1, 3), (2, 3)]).await;
    for (order, saga) in [("a", 1), ("b", 2), ("c", 3)] {
        let body = cart(order, &[(1, 2), (2, 2)]);
        assert_eq!(shop.act("hold_short", step(saga, "stock"), &body).await.0, 200);
    }
    assert_eq!(standing(&shop).await, [("b".to_owned(), 2), ("c".to_owned(), 4)]);
    // A time-out releases the order; a cancel restores what was confirmed.
    assert_eq!(shop.act("release", step(7, "time-out"), &json!({"order": "c"})).await.0, 200);
    assert_eq!(shop.act("confirm", step(2, "pay"), &json!({"order": "b"})).await.0, 200);
    assert_eq!(standing(&shop).await, [("b".to_owned(), 2)]);
    // A time-out that leaves what is paid for leaves what is missing of it as well.
    let leave = json!({"order": "b", "leave_confirmed": true});
    assert_eq!(shop.act("release", step(6, "time-out"), &leave).await.0, 200);
    assert_eq!(standing(&shop).await, [("b".to_owned(), 2)]);
    assert_eq!(shop.act("restore", step(8, "cancel"), &json!({"order": "b"})).await.0, 200);
    assert_eq!((standing(&shop).await, shop.stock(1).await), (vec![], (1, 2)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t9_what_is_not_kept_here_is_a_no_and_nothing_is_held() {
    let shop = Shop::open(&[(1, 3)]).await;
    let (status, answer) = shop.act("hold_short", step(1, "stock"), &cart("a", &[(1, 1), (404, 1)])).await;
    let unknown = json!([{"sku": 404, "wanted": 1, "available": 0, "unknown": true}]);
    assert_eq!((status, &answer["lines"]), (409, &unknown));
    for (saga, member, value, path) in
        [(2, "short_no", json!(""), "/short_no"), (3, "order", json!(7), "/order")]
    {
        let mut body = cart("a", &[(1, 1)]);
        body[member] = value;
        let (status, answer) = shop.act("hold_short", step(saga, "stock"), &body).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)));
    }
    assert_eq!(shop.act("release_short", step(4, "stock"), &cart("a", &[(1, 1)])).await.0, 422);
    assert_eq!((shop.stock(1).await, standing(&shop).await), ((3, 0), vec![]));
    assert_eq!(shop.get("/shortages?limit=0").await.0, 400);
    shop.assert_sound().await;
}

#[tokio::test]
async fn t9_many_short_holds_at_once_hold_every_unit_there_is_and_not_one_more() {
    let shop = std::sync::Arc::new(Shop::open(&[(1, 100)]).await);
    let mut buyers = tokio::task::JoinSet::new();
    for saga in 1..=80u128 {
        let shop = std::sync::Arc::clone(&shop);
        buyers.spawn(async move {
            let body = cart(&format!("o{saga}"), &[(1, 3)]);
            let (status, answer) = shop.act("hold_short", step(saga, "stock"), &body).await;
            assert_eq!(status, 200, "{answer}");
            let back = saga.is_multiple_of(10);
            if back {
                assert_eq!(shop.undo("release_short", step(saga, "stock"), &body).await.0, 200);
            }
            if back { 0 } else { answer["lines"][0]["qty"].as_i64().unwrap() }
        });
    }
    let held: i64 = buyers.join_all().await.into_iter().sum();
    assert_eq!(shop.stock(1).await, (100 - held, held));
    assert!(held > 70, "{held}");
    shop.assert_sound().await;
}
