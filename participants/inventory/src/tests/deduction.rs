//! What the checklist asks of a deduction, line by line: each test does what the line says it would be tried by.

use sqlx::{Connection, Row, SqliteConnection};
use tokio::task::JoinSet;

use super::*;

/// Another connection to the same database, as somebody else would have it.
async fn beside(shop: &Shop) -> SqliteConnection {
    SqliteConnection::connect(&shop.store).await.unwrap()
}

/// One number that a statement says.
async fn number(connection: &mut SqliteConnection, statement: &'static str) -> i64 {
    sqlx::query(statement).fetch_one(connection).await.unwrap().get(0)
}

async fn route(shop: &Shop, sku: i64, mode: &str) {
    assert_eq!(shop.post("/routes", &json!({"sku": sku, "mode": mode})).await.0, 200);
}

#[tokio::test]
async fn c1_a_cart_is_taken_if_and_only_if_enough_is_left_on_either_route() {
    for mode in ["merged", "row"] {
        let stock: Vec<(i64, i64)> = (1..=5).map(|sku| (sku, 6)).collect();
        let shop = Shop::open(&stock).await;
        for (sku, _) in &stock {
            route(&shop, *sku, mode).await;
        }
        let (mut left, mut saga, mut taken) = (vec![6; 5], 0, 0);
        for round in 0..40 {
            for operation in ["hold", "deduct"] {
                saga += 1;
                let (sku, qty) = (round % 5, (round * 7 + saga as i64) % 5 + 1);
                let body = cart(&format!("o{saga}"), &[(sku + 1, qty)]);
                let (status, answer) = shop.act(operation, step(saga, "take"), &body).await;
                let is_enough = left[sku as usize] >= qty;
                assert_eq!(status, if is_enough { 200 } else { 409 }, "{mode}, {qty} of {left:?}: {answer}");
                left[sku as usize] -= if is_enough { qty } else { 0 };
                taken += if is_enough { qty } else { 0 };
                assert_eq!(shop.stock(sku + 1).await, (left[sku as usize], 6 - left[sku as usize]));
            }
        }
        assert!(taken > 20, "{mode}: {taken}");
        shop.assert_sound().await;
    }
}

/// Buys, pays, gives back, ships and counts, one thing after the other, until it is told to stop.
async fn bustle(shop: Arc<Shop>, worker: u128, turns: u128) {
    for turn in 0..turns {
        let saga = worker * 1000 + turn + 1;
        let (order, lines) = (format!("o{saga}"), [(turn as i64 % 3 + 1, 2), (turn as i64 % 2 + 1, 1)]);
        let (body, only) = (cart(&order, &lines), json!({ "order": order }));
        if shop.act("hold", step(saga, "hold"), &body).await.0 != 200 {
            let bring = json!({"biz_no": format!("r{saga}"), "lines": [{"sku": turn % 3 + 1, "qty": 5}]});
            assert_eq!(shop.post("/replenish", &bring).await.0, 201);
            continue;
        }
        match turn % 4 {
            0 => drop(shop.undo("release", step(saga, "hold"), &body).await),
            1 => drop(shop.act("release", step(saga, "time-out"), &only).await),
            kind => {
                shop.act("confirm", step(saga, "confirm"), &only).await;
                let part = cart(&order, &[(turn as i64 % 3 + 1, 1)]);
                shop.act("refund", step(saga, "refund"), &part).await;
                if kind == 2 {
                    shop.act("ship", step(saga, "ship"), &only).await;
                } else {
                    shop.act("restore", step(saga, "cancel"), &only).await;
                }
            }
        }
        let count = json!({"adjust_no": format!("c{saga}"), "lines": [{"sku": turn % 3 + 1, "delta": turn as i64 % 3 - 1}]});
        assert!([200, 201].contains(&shop.post("/adjust", &count).await.0));
    }
}

/// Lets much happen at once and asks the books at every moment in between; how often they were asked.
async fn meanwhile(shop: &Arc<Shop>, laws: &[&'static str]) -> usize {
    let bustle: JoinSet<()> = (0..6).map(|worker| bustle(Arc::clone(shop), worker, 40)).collect();
    let done = tokio::spawn(bustle.join_all());
    let (mut watching, mut asked) = (beside(shop).await, 0);
    while !done.is_finished() || asked == 0 {
        for law in laws {
            assert_eq!(number(&mut watching, law).await, 0, "{law}");
        }
        asked += 1;
        tokio::task::yield_now().await;
    }
    done.await.unwrap();
    watching.close().await.unwrap();
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_nothing_is_ever_below_zero_and_the_database_itself_refuses_it() {
    let shop = Arc::new(Shop::open(&[(1, 10), (2, 10), (3, 10)]).await);
    route(&shop, 3, "row").await;
    let negative = "select count(*) from inv_bucket where usable < 0 or held < 0 or shipped < 0";
    let asked = meanwhile(&shop, &[negative]).await;
    assert!(asked > 20, "{asked}");
    let mut connection = beside(&shop).await;
    for counter in ["usable", "held", "shipped"] {
        let update = format!("update inv_bucket set {counter} = -1, inbound = usable + held + shipped");
        let refused = sqlx::query(sqlx::AssertSqlSafe(update)).execute(&mut connection).await.unwrap_err();
        assert!(refused.to_string().contains("inv_bucket_"), "{counter}: {refused}");
    }
    connection.close().await.unwrap();
    shop.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c5_the_flows_add_up_to_every_counter_at_every_moment() {
    let shop = Arc::new(Shop::open(&[(1, 10), (2, 10), (3, 10)]).await);
    route(&shop, 2, "row").await;
    let apart = "select count(*) from inv_bucket b left join (
            select stock_id, sum(d_usable) as usable, sum(d_held) as held, sum(d_shipped) as shipped
            from inv_flow group by stock_id) f on f.stock_id = b.stock_id
        where b.usable <> coalesce(f.usable, 0) or b.held <> coalesce(f.held, 0) or b.shipped <> coalesce(f.shipped, 0)";
    let asked = meanwhile(&shop, &[apart]).await;
    assert!(asked > 20, "{asked}");
    // Every kind of change there was has its flow, with the order or number it was for.
    let mut connection = beside(&shop).await;
    let kinds =
        "select count(distinct op) from inv_flow where op in (1, 2, 4, 5, 6, 8, 9, 10) and biz_no <> ''";
    assert_eq!(number(&mut connection, kinds).await, 8);
    connection.close().await.unwrap();
    shop.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_what_is_ordered_and_not_shipped_is_what_is_pre_reserved_at_all_times() {
    let shop = Arc::new(Shop::open(&[(1, 10), (2, 10), (3, 10)]).await);
    let ordered = "select count(*) from inv_bucket b where b.held <> (
        select coalesce(sum(h.qty - h.released - h.shipped), 0) from inv_hold h where h.stock_id = b.stock_id)";
    let one_step = "select count(*) from inv_bucket where usable + held + shipped <> inbound";
    let asked = meanwhile(&shop, &[ordered, one_step]).await;
    assert!(asked > 20, "{asked}");
    // One order on its way: from sellable to pre-reserved, and out of it when it ships.
    let shop = Shop::open(&[(1, 10)]).await;
    shop.act("hold", step(1, "hold"), &cart("a", &[(1, 4)])).await;
    assert_eq!(shop.stock(1).await, (6, 4));
    shop.act("confirm", step(1, "confirm"), &json!({"order": "a"})).await;
    assert_eq!(shop.stock(1).await, (6, 4));
    shop.act("ship", step(2, "ship"), &cart("a", &[(1, 1)])).await;
    assert_eq!(shop.stock(1).await, (6, 3));
    shop.act("ship", step(3, "ship"), &json!({"order": "a"})).await;
    assert_eq!(shop.stock(1).await, (6, 0));
    shop.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c6_the_same_request_a_hundred_times_at_once_is_one_deduction_and_one_answer() {
    for (saga, operation) in [(1, "hold"), (2, "deduct")] {
        let shop = Arc::new(Shop::open(&[(1, 100), (2, 100)]).await);
        let mut callers = JoinSet::new();
        for _ in 0..100 {
            let shop = Arc::clone(&shop);
            callers.spawn(async move {
                shop.act(operation, step(saga, "take"), &cart("a", &[(1, 3), (2, 1)])).await
            });
        }
        let answers = callers.join_all().await;
        assert_eq!(answers[0].0, 200, "{:?}", answers[0]);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!((shop.stock(1).await, shop.stock(2).await), ((97, 3), (99, 1)));
        // The same serial number for something else is no repeat.
        assert_eq!(shop.act(operation, step(saga, "take"), &cart("a", &[(1, 4)])).await.0, 422);
        shop.assert_sound().await;
    }
}

#[tokio::test]
async fn c7_the_number_of_a_hold_is_told_repeated_to_retries_and_named_by_refunds() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let body = cart("a", &[(1, 4), (2, 2)]);
    let (_, answer) = shop.act("deduct", step(1, "take"), &body).await;
    let holds: Vec<i64> =
        answer["lines"].as_array().unwrap().iter().map(|line| line["hold"].as_i64().unwrap()).collect();
    assert_eq!((holds.len(), holds[0] != holds[1]), (2, true));
    assert_eq!(shop.act("deduct", step(1, "take"), &body).await.1, answer);
    let (_, refunded) = shop.act("refund", step(2, "refund"), &cart("a", &[(2, 1)])).await;
    assert_eq!(refunded["lines"], json!([{"sku": 2, "qty": 1, "hold": holds[1]}]));
    let (_, shipped) = shop.act("ship", step(3, "ship"), &cart("a", &[(1, 4)])).await;
    assert_eq!(shipped["lines"], json!([{"sku": 1, "qty": 4, "hold": holds[0]}]));
    // In the books every flow of the order names its hold.
    let mut connection = beside(&shop).await;
    let nameless = "select count(*) from inv_flow f where f.biz_no = 'a'
        and not exists (select 1 from inv_hold h where h.hold_id = f.hold_id and h.order_no = 'a')";
    assert_eq!(number(&mut connection, nameless).await, 0);
    assert_eq!(number(&mut connection, "select count(*) from inv_flow where biz_no = 'a'").await, 4);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn t8_cancels_and_refunds_add_back_what_was_deducted_and_deliveries_add_to_what_is_left() {
    let shop = Shop::open(&[(1, 10)]).await;
    shop.act("deduct", step(1, "take"), &cart("a", &[(1, 4)])).await;
    shop.act("hold", step(2, "take"), &cart("b", &[(1, 3)])).await;
    assert_eq!(shop.stock(1).await, (3, 7));
    let bring = json!({"biz_no": "r", "lines": [{"sku": 1, "qty": 5}]});
    assert_eq!(shop.post("/replenish", &bring).await.0, 201);
    assert_eq!(shop.stock(1).await, (8, 7));
    assert_eq!(shop.act("refund", step(3, "refund"), &cart("a", &[(1, 1)])).await.0, 200);
    assert_eq!(shop.stock(1).await, (9, 6));
    assert_eq!(shop.act("restore", step(4, "cancel"), &json!({"order": "a"})).await.0, 200);
    assert_eq!(shop.stock(1).await, (12, 3));
    assert_eq!(shop.act("release", step(5, "cancel"), &json!({"order": "b"})).await.0, 200);
    assert_eq!(shop.stock(1).await, (15, 0));
    // Once: nothing of it comes back a second time.
    shop.act("restore", step(6, "cancel"), &json!({"order": "a"})).await;
    shop.act("release", step(7, "cancel"), &json!({"order": "b"})).await;
    assert_eq!((shop.post("/replenish", &bring).await.0, shop.stock(1).await), (200, (15, 0)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn t1_four_kinds_of_stock_are_each_asked_for_by_themselves() {
    let shop = Shop::open(&[(1, 20)]).await;
    let activity = json!({"activity": 9, "name": "sale", "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z"});
    assert_eq!(shop.post("/activities", &activity).await.0, 200);
    let special = json!({"activity": 9, "lines": [{"sku": 1, "qty": 5}]});
    assert_eq!(shop.act("activity_allocate", step(1, "give"), &special).await.0, 200);
    let sync = json!({"batch_no": "b", "warehouse": "w1", "rows": [{"sku": 1, "on_hand": 33, "version": 1}]});
    assert_eq!(shop.post("/physical/sync", &sync).await.0, 201);
    assert_eq!(shop.act("hold", step(2, "take"), &cart("a", &[(1, 2)])).await.0, 200);
    let (_, sellable) = shop.get("/stock?sku=1").await;
    assert_eq!(sellable["items"][0]["usable"], 13);
    let (_, reserved) = shop.get("/orders").await;
    assert_eq!(
        (&reserved["items"][0]["order"], &reserved["items"][0]["lines"][0]["held"]),
        (&json!("a"), &json!(2))
    );
    let (_, physical) = shop.get("/physical?sku=1").await;
    assert_eq!(
        (&physical["items"][0]["on_hand"], &physical["items"][0]["warehouse"]),
        (&json!(33), &json!("w1"))
    );
    let (_, special) = shop.get("/activities/9").await;
    assert_eq!(special["lines"][0]["usable"], 5, "{special}");
    let (_, records) = shop.get("/stock?sku=1&by=record").await;
    let of_activity = records["items"].as_array().unwrap().iter().find(|item| item["activity"] == 9).unwrap();
    assert_eq!(of_activity["usable"], 5);
}

#[tokio::test]
async fn b2_channels_have_stock_of_their_own_and_shipping_touches_no_physical_stock() {
    let shop = Shop::open(&[(1, 10)]).await;
    let lines = |qty: i64| json!([{"sku": 1, "qty": qty, "channel": 7}]);
    assert_eq!(shop.post("/replenish", &json!({"biz_no": "r", "lines": lines(3)})).await.0, 201);
    let sync = json!({"batch_no": "b", "warehouse": "w1", "rows": [{"sku": 1, "on_hand": 13, "version": 1}]});
    assert_eq!(shop.post("/physical/sync", &sync).await.0, 201);
    // The store around the corner sells its own, and no more although the official store has some.
    let of_channel = |order: &str, qty: i64| json!({"order": order, "lines": lines(qty)});
    assert_eq!(shop.act("deduct", step(1, "take"), &of_channel("a", 3)).await.0, 200);
    assert_eq!(shop.act("deduct", step(2, "take"), &of_channel("b", 1)).await.0, 409);
    assert_eq!(shop.act("deduct", step(3, "take"), &cart("c", &[(1, 10)])).await.0, 200);
    for (saga, order) in [(4, "a"), (5, "c")] {
        assert_eq!(shop.act("ship", step(saga, "ship"), &json!({ "order": order })).await.0, 200);
    }
    let (_, records) = shop.get("/stock?sku=1&by=record").await;
    let told: Vec<_> = records["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["channel"], item["usable"], item["shipped"]]))
        .collect();
    assert_eq!(told, [json!([0, 0, 10]), json!([7, 0, 3])]);
    let (_, physical) = shop.get("/physical?sku=1").await;
    assert_eq!(physical["items"][0]["on_hand"], 13, "only a warehouse's count says what lies there");
    shop.assert_sound().await;
}
