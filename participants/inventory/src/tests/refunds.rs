//! Refunds and shipments in parts, at random, repeated and all at once: never more comes back than was taken.

use super::*;

const ORDERS: u64 = 100;
const REFUNDS: u64 = 10_000;
const SKUS: i64 = 5;

fn entry(operation: &str, saga: u64, body: Value) -> Value {
    let saga = Uuid::from_u128(u128::from(saga) + 1);
    json!({"saga": saga, "step": operation, "op": "action", "attempt": 1, "key": format!("{saga}/{operation}"), "body": body})
}

impl Shop {
    /// Sends calls in their batch form and returns the answers' statuses and bodies.
    async fn batch(&self, operation: &str, calls: &[Value]) -> Vec<(u64, Value)> {
        let (status, answer) = self.post(&format!("/{operation}/batch"), &json!({ "calls": calls })).await;
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|one| (one["status"].as_u64().unwrap(), one["body"].clone())).collect()
    }

    async fn totals(&self) -> crate::audit::Totals {
        let audit = self.inventory.audit().await.unwrap();
        assert!(audit.kept, "{audit:#?}");
        audit.totals
    }
}

/// A refund of up to three SKUs of any order, half of them under one of a few numbers.
fn any_refund(random: &mut Random) -> Value {
    let order = random.below(ORDERS);
    let lines: Vec<(i64, i64)> = (0..=random.below(3))
        .map(|_| (random.below(SKUS as u64) as i64 + 1, random.below(3) as i64 + 1))
        .collect();
    let mut body = cart(&format!("o{order}"), &lines);
    if random.below(2) == 0 {
        body["refund_no"] = json!(format!("o{order}-r{}", random.below(20)));
    }
    body
}

/// What a refund's answer says has moved.
fn moved(answer: &Value) -> i64 {
    answer["lines"].as_array().unwrap().iter().map(|line| line["qty"].as_i64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_ten_thousand_refunds_never_exceed_what_was_deducted() {
    let stock: Vec<(i64, i64)> = (1..=SKUS).map(|sku| (sku, 10_000)).collect();
    let shop = Arc::new(Shop::open(&stock).await);
    let lines: Vec<(i64, i64)> = (1..=SKUS).map(|sku| (sku, 20)).collect();
    let carts: Vec<Value> =
        (0..ORDERS).map(|order| entry("deduct", order, cart(&format!("o{order}"), &lines))).collect();
    assert!(shop.batch("deduct", &carts).await.iter().all(|(status, _)| *status == 200));
    let taken = SKUS * 20 * ORDERS as i64;
    assert_eq!(shop.totals().await.held, taken);

    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8u64 {
        let shop = Arc::clone(&shop);
        tasks.spawn(async move {
            let mut random = Random(0x9e37_79b9 + worker);
            let (mut back, mut refused) = (0, 0);
            for round in 0..REFUNDS / 8 / 50 {
                let first = 10_000 + (worker * 1000 + round) * 100;
                let calls: Vec<Value> =
                    (0..50).map(|call| entry("refund", first + call, any_refund(&mut random))).collect();
                let answers = shop.batch("refund", &calls).await;
                // A repeat of the same calls is answered alike and does nothing.
                if random.below(4) == 0 {
                    assert_eq!(shop.batch("refund", &calls).await, answers);
                }
                for (status, answer) in answers {
                    match status {
                        200 => back += moved(&answer),
                        409 => refused += 1,
                        other => panic!("{other}: {answer}"),
                    }
                }
            }
            (back, refused)
        });
    }
    let told = tasks.join_all().await;
    let (back, refused) = told.iter().fold((0, 0), |sum: (i64, i64), one| (sum.0 + one.0, sum.1 + one.1));
    let totals = shop.totals().await;
    assert_eq!((totals.released, totals.held, totals.inbound), (back, taken - back, SKUS * 10_000));
    assert!(back <= taken && back > taken / 2 && refused > 1000, "{back} of {taken}, {refused} refused");
}

#[tokio::test]
async fn c9_a_refund_takes_effect_once_under_its_number() {
    let shop = Shop::open(&[(1, 10)]).await;
    shop.act("deduct", step(1, "deduct"), &cart("1001", &[(1, 8)])).await;
    let mut part = cart("1001", &[(1, 3)]);
    part["refund_no"] = json!("r-1");
    let (status, first) = shop.act("refund", step(2, "refund"), &part).await;
    assert_eq!((status, moved(&first)), (200, 3));
    // Another saga, another step, the same number: nothing more.
    let (status, again) = shop.act("refund", step(3, "other"), &part).await;
    assert_eq!((status, moved(&again), &again["earlier"]), (200, 0, &first["lines"]));
    part["lines"] = json!([{"sku": 1, "qty": 2}]);
    assert_eq!(shop.act("refund", step(4, "refund"), &part).await.0, 409);
    part["refund_no"] = json!("r-2");
    assert_eq!(shop.act("refund", step(5, "refund"), &part).await.0, 200);
    assert_eq!(shop.stock(1).await, (7, 3));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t6_goods_leave_in_parts_and_nothing_that_has_left_comes_back() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let body = cart("1001", &[(1, 4), (2, 2)]);
    shop.act("deduct", step(1, "deduct"), &body).await;
    let mut parcel = cart("1001", &[(1, 3)]);
    parcel["ship_no"] = json!("p-1");
    for saga in 2..4 {
        assert_eq!(shop.act("ship", step(saga, "ship"), &parcel).await.0, 200);
    }
    let (status, answer) = shop.act("refund", step(4, "refund"), &cart("1001", &[(1, 2)])).await;
    assert_eq!((status, &answer["lines"]), (409, &json!([{"sku": 1, "wanted": 2, "available": 1}])));
    assert_eq!(shop.act("refund", step(5, "refund"), &cart("1001", &[(2, 1)])).await.0, 200);
    // What was only held is freed by nobody once a part has left; the rest goes out.
    assert_eq!(shop.undo("restore", step(1, "deduct"), &body).await.0, 409);
    assert_eq!(shop.act("ship", step(6, "ship"), &json!({"order": "1001"})).await.0, 200);
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((6, 0), (9, 0)));
    for (saga, operation) in [(7, "restore"), (8, "ship"), (9, "release")] {
        shop.act(operation, step(saga, operation), &json!({"order": "1001"})).await;
    }
    shop.act("refund", step(10, "refund"), &cart("1001", &[(1, 1)])).await;
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((6, 0), (9, 0)));
    let totals = shop.totals().await;
    assert_eq!((totals.shipped, totals.released), (5, 1));
}

#[tokio::test]
async fn t4_a_cart_deducted_at_payment_never_expires_and_a_short_one_is_a_definite_no() {
    let shop = Shop::open(&[(1, 3)]).await;
    assert_eq!(shop.act("deduct", step(1, "pay"), &cart("1001", &[(1, 2)])).await.0, 200);
    let (_, page) = shop.get("/orders").await;
    assert_eq!(
        (&page["items"][0]["lines"][0]["confirmed"], &page["items"][0]["lines"][0]["held"]),
        (&json!(2), &json!(0))
    );
    // Whoever paid second is told what is left, so that the saga gives the money back.
    let short = shop.act("deduct", step(2, "pay"), &cart("1002", &[(1, 2)])).await;
    assert_eq!((short.0, &short.1["lines"][0]["available"]), (409, &json!(1)));
    assert_eq!(shop.act("deduct", step(2, "pay"), &cart("1002", &[(1, 2)])).await, short);
    assert_eq!(shop.stock(1).await, (1, 2));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t7_an_activitys_stock_is_its_own() {
    let shop = Shop::open(&[(1, 10)]).await;
    let lines = |qty: i64| json!([{"sku": 1, "qty": qty, "activity": 9}]);
    let cart_of = |order: &str, qty: i64| json!({"order": order, "lines": lines(qty)});
    let activity = json!({"activity": 9, "name": "sale", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z"});
    assert_eq!(shop.post("/activities", &activity).await.0, 200);
    for saga in 1..=4 {
        shop.share(saga, 9, 3).await;
    }
    let (status, answer) = shop.act("hold", step(1, "take"), &cart_of("a", 1)).await;
    assert_eq!(
        (status, &answer["lines"][0]["activity"], &answer["lines"][0]["unknown"]),
        (409, &json!(9), &json!(true))
    );
    assert_eq!(shop.post("/replenish", &json!({"biz_no": "act", "lines": lines(5)})).await.0, 201);
    assert_eq!(shop.act("hold", step(2, "take"), &cart_of("b", 3)).await.0, 200);
    assert_eq!(shop.act("hold", step(3, "take"), &cart_of("c", 3)).await.0, 409);
    assert_eq!(shop.stock(1).await, (10, 0));
    // An order of both refunds each from where it was taken.
    let both = json!({"order": "d", "lines": [{"sku": 1, "qty": 2}, {"sku": 1, "qty": 2, "activity": 9}]});
    assert_eq!(shop.act("deduct", step(4, "take"), &both).await.0, 200);
    assert_eq!(shop.act("refund", step(5, "back"), &cart_of("d", 3)).await.0, 409);
    assert_eq!(shop.act("refund", step(6, "back"), &cart_of("d", 2)).await.0, 200);
    assert_eq!(shop.stock(1).await, (8, 2));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_count_puts_stock_right_once_and_takes_no_more_than_is_usable() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    shop.act("hold", step(1, "take"), &cart("a", &[(1, 8)])).await;
    let body = json!({"adjust_no": "c-1", "why": "stocktaking", "lines": [{"sku": 1, "delta": -5}, {"sku": 2, "delta": 4}, {"sku": 3, "delta": 1}]});
    let (status, answer) = shop.post("/adjust", &body).await;
    assert_eq!(status, 201, "{answer}");
    let lines = json!([{"sku": 1, "delta": -2, "usable": 0, "short": 3}, {"sku": 2, "delta": 4, "usable": 14}, {"sku": 3, "delta": 1, "usable": 1}]);
    assert_eq!(answer["lines"], lines);
    assert_eq!(shop.post("/adjust", &body).await, (200, answer));
    assert_eq!(
        shop.post("/adjust", &json!({"adjust_no": "c-1", "lines": [{"sku": 2, "delta": 1}]})).await.0,
        409
    );
    assert_eq!(
        shop.post("/adjust", &json!({"adjust_no": "c-2", "lines": [{"sku": 2, "delta": 0.5}]})).await.1["errors"]
            [0]["path"],
        "/lines/0/delta"
    );
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((0, 8), (14, 0)));
    assert_eq!(shop.totals().await.inbound, 8 + 14 + 1);
}
