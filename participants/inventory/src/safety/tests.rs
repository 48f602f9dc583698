//! What is kept back is not sold, on either route.

use serde_json::{Value, json};

use crate::tests::{Shop, cart, step};

async fn keep(shop: &Shop, sku: i64, qty: i64) {
    let (status, answer) = shop.post("/safety", &json!({"lines": [{"sku": sku, "safety": qty}]})).await;
    assert_eq!((status, answer), (200, json!({"set": 1, "unknown": 0})));
}

fn short(wanted: i64, available: i64) -> Value {
    json!([{"sku": 1, "wanted": wanted, "available": available}])
}

#[tokio::test]
async fn what_is_kept_back_is_neither_quoted_nor_taken_on_either_route() {
    for route in ["merged", "row"] {
        let shop = Shop::open(&[(1, 10)]).await;
        assert_eq!(shop.post("/routes", &json!({"sku": 1, "mode": route})).await.0, 200);
        keep(&shop, 1, 4).await;
        let quoted = json!([{"sku": 1, "wanted": 7, "available": 6, "enough": false}]);
        assert_eq!(shop.post("/stock/quote", &cart("q", &[(1, 7)])).await.1["lines"], quoted, "{route}");
        for (saga, operation) in [(1, "hold"), (2, "deduct")] {
            let (status, answer) = shop.act(operation, step(saga, operation), &cart("a", &[(1, 7)])).await;
            assert_eq!((status, &answer["lines"]), (409, &short(7, 6)), "{route}");
        }
        assert_eq!(shop.act("hold", step(3, "hold"), &cart("b", &[(1, 6)])).await.0, 200, "{route}");
        for saga in 4..7 {
            let (status, answer) = shop.act("hold", step(saga, "hold"), &cart("c", &[(1, 1)])).await;
            assert_eq!((status, &answer["lines"]), (409, &short(1, 0)), "{route}");
        }
        // What lies there is told as before, and can be taken when nothing is kept back any more.
        assert_eq!(shop.stock(1).await, (4, 6));
        keep(&shop, 1, 0).await;
        assert_eq!(shop.act("hold", step(7, "hold"), &cart("c", &[(1, 4)])).await.0, 200, "{route}");
        // More than there is may be kept back: what is taken stays taken, and what comes back stays.
        keep(&shop, 1, 100).await;
        assert_eq!(shop.undo("release", step(7, "hold"), &cart("c", &[(1, 4)])).await.0, 200, "{route}");
        assert_eq!(shop.act("hold", step(8, "hold"), &cart("d", &[(1, 1)])).await.0, 409, "{route}");
        assert_eq!(shop.stock(1).await, (4, 6));
        shop.assert_sound().await;
    }
}

#[tokio::test]
async fn an_activity_is_given_nothing_of_what_is_kept_back() {
    let shop = Shop::open(&[(1, 10)]).await;
    keep(&shop, 1, 4).await;
    let activity = json!({"activity": 9, "name": "sale", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z"});
    assert_eq!(shop.post("/activities", &activity).await.0, 200);
    let lines = |qty: i64| json!({"activity": 9, "lines": [{"sku": 1, "qty": qty}]});
    let (status, answer) = shop.act("activity_allocate", step(1, "give"), &lines(7)).await;
    assert_eq!((status, &answer["lines"]), (409, &short(7, 6)));
    assert_eq!(shop.act("activity_allocate", step(2, "give"), &lines(6)).await.0, 200);
    // All of it can go back, whatever is kept back.
    assert_eq!(shop.undo("activity_return", step(2, "give"), &lines(6)).await.0, 200);
    assert_eq!(shop.stock(1).await, (10, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_what_is_unknown_is_counted() {
    let shop = Shop::open(&[(1, 10)]).await;
    let lines = json!({"lines": [{"sku": 1, "safety": 1}, {"sku": 404, "safety": 1}]});
    assert_eq!(shop.post("/safety", &lines).await, (200, json!({"set": 1, "unknown": 1})));
    for (line, path) in [
        (json!({"sku": 1, "safety": -1}), "/lines/0/safety"),
        (json!({"sku": 1}), "/lines/0/safety"),
        (json!({"sku": 0, "safety": 1}), "/lines/0/sku"),
    ] {
        let (status, answer) = shop.post("/safety", &json!({ "lines": [line] })).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)));
    }
}
