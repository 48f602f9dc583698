//! What must hold when many ask at once: one order for a token, payment or time-out, refunds under their ceiling.

use std::collections::BTreeMap;
use std::time::Duration;

use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;

/// A seeded generator; each draw is below `below`.
fn dice(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

impl Shop {
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        self.request(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn token(&self, customer: &str) -> String {
        let (status, issued) = self.post("/tokens", &json!({ "customer": customer })).await;
        assert_eq!(status, 201, "{issued}");
        issued["token"].as_str().expect("a token").to_owned()
    }

    /// Another service on the same database.
    async fn twin(&self) -> Shop {
        let config = Config::new(self.store.clone());
        let faults = config.faults.clone();
        let order = open(config).await.expect("it opens");
        Shop { order, faults, store: self.store.clone(), _folder: TempDir::new().expect("a folder") }
    }
}

fn with(mut placement: Value, members: Value) -> Value {
    placement.as_object_mut().expect("an object").extend(members.as_object().cloned().expect("an object"));
    placement
}

#[tokio::test]
async fn c10_a_token_is_single_use() {
    let shop = Arc::new(shop().await);
    let token = shop.token("ada").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=50 {
        let body = with(placement(&format!("A-{number}")), json!({ "customer": "ada", "token": token }));
        let shop = shop.clone();
        tasks.spawn(async move { shop.send(&action(saga(number), "create", body)).await });
    }
    let answers = tasks.join_all().await;
    let placed: Vec<&Value> =
        answers.iter().filter(|(status, _)| *status == 200).map(|(_, body)| body).collect();
    assert_eq!(placed.len(), 1, "fifty presses of one button are one order");
    for (_, refused) in answers.iter().filter(|(status, _)| *status == 409) {
        assert_eq!(
            (&refused["token"], &refused["order"]),
            (&json!("used"), &placed[0]["order"]),
            "{refused}"
        );
    }
    let place = |number: u128, customer: &str, token: &str| {
        let body = with(placement(&format!("B-{number}")), json!({ "customer": customer, "token": token }));
        action(saga(1000 + number), "create", body)
    };
    assert_eq!(shop.send(&place(1, "bob", &token)).await.1["token"], "unknown", "it is ada's");
    assert_eq!(shop.send(&place(2, "ada", "made-up")).await.1["token"], "unknown");
    let anonymous = with(placement("B-3"), json!({ "token": token }));
    assert_eq!(shop.send(&action(saga(1003), "create", anonymous)).await.0, 422, "whose is it?");
    assert_eq!(shop.send(&place(4, "ada", &shop.token("ada").await)).await.0, 200);
    assert_eq!(shop.post("/tokens", &json!({})).await.0, 422);
    let twin = shop.twin().await;
    assert_eq!(twin.send(&place(5, "ada", &token)).await.1["token"], "used", "by another service as well");
    shop.assert_kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t5_of_payment_and_time_out_exactly_one_wins_in_ten_thousand_races() {
    const RACES: u128 = 10_000;
    const AT_ONCE: usize = 500;
    let shop = Arc::new(shop().await);
    // Half of the time-outs come by another service with a writer of its own: there only the database decides.
    let twin = Arc::new(shop.twin().await);
    let mut draw = dice(20_261_121);
    let (mut paid, mut called_off) = (0, 0);
    let rounds: Vec<u128> = (0..RACES).collect();
    for round in rounds.chunks(AT_ONCE) {
        let mut tasks = tokio::task::JoinSet::new();
        for number in round.iter().copied() {
            let (shop, other) = (shop.clone(), if draw(2) == 0 { shop.clone() } else { twin.clone() });
            let (payment_first, pause) = (draw(2) == 0, Duration::from_micros(draw(400)));
            tasks.spawn(async move {
                let order = format!("A-{number}");
                let create = action(saga(1_000_000 + number), "create", placement(&order));
                assert_eq!(shop.send(&create).await.0, 200);
                let pay = async {
                    if !payment_first {
                        tokio::time::sleep(pause).await;
                    }
                    let pay = action(saga(2_000_000 + number), "pay", json!({ "order": order }));
                    patiently(|| shop.send(&pay)).await
                };
                let expire = async {
                    if payment_first {
                        tokio::time::sleep(pause).await;
                    }
                    let body = json!({ "order": order });
                    patiently(|| other.post("/expire", &body)).await
                };
                let (pay, expire) = tokio::join!(pay, expire);
                (order, pay, expire)
            });
        }
        for (order, (pay, _), (expire, said)) in tasks.join_all().await {
            match (pay, expire) {
                (200, 409) => paid += 1,
                (409, 200) => called_off += 1,
                other => panic!("order {order} has {other:?}: {said}"),
            }
        }
    }
    assert_eq!(paid + called_off, RACES);
    assert!(paid > RACES / 20 && called_off > RACES / 20, "{paid} were paid, {called_off} called off");
    shop.assert_kept().await;
    let (_, found) = shop.get("/audit").await;
    assert_eq!(found["totals"]["by_state"]["paid"].as_u64().map(u128::from), Some(paid));
    assert_eq!(found["totals"]["called_off_waiting"].as_u64().map(u128::from), Some(called_off));
}

/// Asks again where there was no definite answer, as a caller does.
async fn patiently<F: Future<Output = (u16, Value)>>(mut ask: impl FnMut() -> F) -> (u16, Value) {
    for _ in 0..50 {
        let answer = ask().await;
        if answer.0 != 503 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("there was never a definite answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c8_ten_thousand_random_refunds_at_once_never_exceed_what_was_ordered() {
    const ORDERS: u64 = 50;
    let shop = Arc::new(shop().await);
    let lines =
        json!([{ "sku": 1, "qty": 40, "price_minor": 10 }, { "sku": 2, "qty": 25, "price_minor": 7 }]);
    for number in 0..ORDERS {
        let order = format!("A-{number}");
        let create =
            action(saga(u128::from(number) + 1), "create", json!({ "order": order, "lines": lines }));
        assert_eq!(shop.send(&create).await.0, 200);
        assert_eq!(shop.send(&action(create_saga(number), "pay", json!({ "order": order }))).await.0, 200);
    }
    let mut draw = dice(7);
    let mut tasks = tokio::task::JoinSet::new();
    let mut statuses = BTreeMap::new();
    for call in 0..10_000_u64 {
        let order = draw(ORDERS);
        let body = json!({ "order": format!("A-{order}"), "refund": format!("R-{order}-{}", draw(120)),
            "lines": [{ "sku": 1 + draw(2), "qty": 1 + draw(3) }] });
        let operation =
            ["refund", "refund_begin", "refund_begin", "refund_end", "refund_end", "refund_abort"]
                [usize::try_from(draw(6)).expect("small")];
        // One in ten is called a second time, as an attempt that was lost is.
        let times = if draw(10) == 0 { 2 } else { 1 };
        for _ in 0..times {
            let (shop, sent) =
                (shop.clone(), action(saga(1_000_000 + u128::from(call)), operation, body.clone()));
            tasks.spawn(async move { shop.send(&sent).await.0 });
        }
        while tasks.len() > 256 {
            *statuses.entry(tasks.join_next().await.expect("a task").expect("no panic")).or_insert(0) += 1;
        }
    }
    for status in tasks.join_all().await {
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<u16>>(), [200, 409], "{statuses:?}");
    assert!(statuses[&200] > 1000, "{statuses:?}");
    shop.assert_kept().await;
    let (_, page) = shop.get("/orders?limit=500").await;
    for order in page["items"].as_array().expect("orders") {
        assert!(order["refunded_minor"].as_i64() <= order["total_minor"].as_i64(), "{order}");
    }
}

fn create_saga(number: u64) -> Uuid {
    saga(u128::from(number) + 1)
}

#[tokio::test]
async fn t6_after_shipping_nothing_is_given_back() {
    let shop = shop().await;
    shop.send(&action(saga(1), "create", placement("A"))).await;
    shop.send(&action(saga(1), "pay", json!({ "order": "A" }))).await;
    let part = json!({ "order": "A", "ship_no": "S-1", "lines": [{ "sku": 1, "qty": 1 }] });
    let (status, view) = shop.send(&action(saga(2), "ship", part.clone())).await;
    assert_eq!((status, &view["state"], &view["shipment"]), (200, &json!("part_shipped"), &json!("S-1")));
    assert_eq!(shop.send(&action(saga(3), "ship", part)).await.0, 409, "a shipment leaves once");
    for (number, operation) in (10..).zip(["refund", "refund_begin"]) {
        for lines in [json!([{ "sku": 1, "qty": 2 }]), json!(null)] {
            let body = json!({ "order": "A", "lines": lines });
            let number = saga(2 * number + u128::from(lines.is_null()));
            let (status, no) = shop.send(&action(number, operation, body)).await;
            assert_eq!(status, 409, "{operation} of what has left: {no}");
        }
    }
    assert_eq!(shop.send(&action(saga(4), "ship", json!({ "order": "A" }))).await.1["state"], "shipped");
    assert_eq!(shop.send(&action(saga(12), "refund", json!({ "order": "A" }))).await.0, 409);
    let (_, detail) = shop.get("/orders/A").await;
    assert_eq!(detail["shipments"].as_array().map(Vec::len), Some(2));
    shop.assert_kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t6_shipping_and_refunding_at_once_never_come_to_more_than_was_ordered() {
    const ORDERS: u64 = 200;
    let shop = Arc::new(shop().await);
    // Half of the calls come by another service with a writer of its own: there only the database decides.
    let twin = Arc::new(shop.twin().await);
    let lines = json!([{ "sku": 1, "qty": 12, "price_minor": 10 }, { "sku": 2, "qty": 8, "price_minor": 7 }]);
    for number in 0..ORDERS {
        let order = format!("A-{number}");
        let create = json!({ "order": order, "lines": lines });
        assert_eq!(shop.send(&action(create_saga(number), "create", create)).await.0, 200);
        assert_eq!(shop.send(&action(create_saga(number), "pay", json!({ "order": order }))).await.0, 200);
    }
    let mut draw = dice(20_261_122);
    let mut tasks = tokio::task::JoinSet::new();
    let mut shipped: BTreeMap<String, i64> = BTreeMap::new();
    let mut count = |(order, operation, (status, view)): (String, &str, (u16, Value))| {
        assert!([200, 409].contains(&status), "{view}");
        let pieces = view["lines"].as_array().into_iter().flatten().filter_map(|line| line["qty"].as_i64());
        if operation == "ship" && status == 200 {
            *shipped.entry(order).or_default() += pieces.sum::<i64>();
        }
    };
    for call in 0..8_000_u64 {
        let order = format!("A-{}", draw(ORDERS));
        let operation =
            ["ship", "ship", "refund", "refund_begin", "refund_end", "refund_end", "refund_abort"]
                [usize::try_from(draw(7)).expect("small")];
        let mut body = json!({ "order": order, "lines": [{ "sku": 1 + draw(2), "qty": 1 + draw(3) }] });
        if operation != "ship" {
            body["refund"] = json!(format!("R-{order}-{}", draw(8)));
        }
        let (shop, sent) = (
            if draw(2) == 0 { shop.clone() } else { twin.clone() },
            action(saga(1_000_000 + u128::from(call)), operation, body),
        );
        tasks.spawn(async move { (order, operation, patiently(|| shop.send(&sent)).await) });
        while tasks.len() > 64 {
            count(tasks.join_next().await.expect("a task").expect("no panic"));
        }
    }
    tasks.join_all().await.into_iter().for_each(&mut count);
    shop.assert_kept().await;
    let mut ends = BTreeMap::new();
    for number in 0..ORDERS {
        let order = format!("A-{number}");
        let (_, detail) = shop.get(&format!("/orders/{order}")).await;
        let sum = |member: &str| {
            detail["lines"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|line| line[member].as_i64())
                .sum::<i64>()
        };
        let (gone, back, open) = (sum("shipped"), sum("refunded"), 20 - sum("shipped") - sum("refunded"));
        assert!(open >= sum("refunding"), "{detail}");
        assert_eq!(gone, shipped.get(&order).copied().unwrap_or_default(), "{detail}");
        let expected = match (sum("refunding"), gone, open, back) {
            (1.., ..) => "refunding",
            (_, 1.., 0, _) => "shipped",
            (_, 1.., _, _) => "part_shipped",
            (_, _, 0, _) => "refunded",
            (_, _, _, 1..) => "part_refunded",
            _ => "paid",
        };
        assert_eq!(detail["state"], expected, "{detail}");
        let cost = |line: &Value| Some(line["refunded"].as_i64()? * line["price_minor"].as_i64()?);
        let money: i64 = detail["lines"].as_array().into_iter().flatten().filter_map(cost).sum();
        assert_eq!(detail["refunded_minor"], money, "{detail}");
        *ends.entry((expected, back > 0)).or_insert(0) += 1;
    }
    assert!(ends.contains_key(&("part_shipped", true)) && ends.contains_key(&("shipped", true)), "{ends:?}");
}

#[tokio::test]
async fn t5_an_unpaid_order_is_called_off_when_its_time_is_up_and_its_saga_started_until_it_is_taken() {
    let coordinator = MockServer::start().await;
    let down = ResponseTemplate::new(409).set_body_json(json!({ "detail": "unknown definition" }));
    let id = Uuid::from_u128(77).to_string();
    let taken = ResponseTemplate::new(201).set_body_json(json!({ "id": id }));
    Mock::given(matchers::path("/v1/sagas")).respond_with(down).up_to_n_times(1).mount(&coordinator).await;
    Mock::given(matchers::path("/v1/sagas")).respond_with(taken).mount(&coordinator).await;
    let shop = shop().await;
    let minute = with(placement("A"), json!({ "pay_within_s": 1 }));
    let (_, placed) = shop.send(&action(saga(1), "create", minute)).await;
    assert!(placed["pay_by"].is_string(), "{placed}");
    shop.send(&action(saga(2), "create", with(placement("B"), json!({ "pay_within_s": 1 })))).await;
    shop.send(&action(saga(2), "pay", json!({ "order": "B" }))).await;
    shop.send(&action(saga(3), "create", with(placement("C"), json!({ "pay_within_s": 3600 })))).await;
    assert_eq!(shop.post("/expire", &json!({ "order": "C" })).await.0, 409, "it has an hour");
    assert_eq!(shop.post("/expire", &json!({ "order": "none" })).await.0, 404);
    let sagas = Sagas::at(&coordinator.uri(), None).expect("an address");
    let watch = tokio::spawn(shop.order.call_off_unpaid(sagas, Duration::from_millis(50)));
    let mut waited = 0;
    // In this order: what is not called off yet does not wait either.
    while shop.state("A").await != "cancelled"
        || shop.get("/audit").await.1["totals"]["called_off_waiting"] != 0
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += 1;
        assert!(waited < 200, "{}", shop.get("/audit").await.1);
    }
    watch.abort();
    let starts: Vec<Value> = coordinator
        .received_requests()
        .await
        .unwrap_or_default()
        .iter()
        .filter_map(|request| serde_json::from_slice(&request.body).ok())
        .collect();
    let start = json!({ "definition": "time-out", "key": "time-out:A", "input": { "order": "A" } });
    assert_eq!(starts, [start.clone(), start], "once more, because it was refused at first");
    assert_eq!((shop.state("B").await, shop.state("C").await), ("paid".to_owned(), "created".to_owned()));
    let (status, view) = shop.send(&action(saga(9), "time_out", json!({ "order": "A" }))).await;
    assert_eq!((status, &view["state"]), (200, &json!("cancelled")), "the saga finds it called off");
    let (_, several) = shop.post("/expire", &json!({ "orders": ["A", "B", "none"] })).await;
    let statuses: Vec<u64> =
        several["results"].as_array().expect("results").iter().filter_map(|r| r["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 409, 404]);
    shop.assert_kept().await;
    let (_, audit) = shop.get("/saga-audit?since=0&limit=100").await;
    assert_eq!(audit["findings"], json!([]), "{audit}");
}

#[tokio::test]
async fn payments_are_held_against_the_orders_that_there_are() {
    let shop = shop().await;
    shop.send(&action(saga(1), "create", placement("A"))).await;
    let law = "payments_have_an_order";
    let payment = |payment: &str, order: &str, kept: i64| json!({ "payment": payment, "order": order, "kept_minor": kept });
    let payments = json!([payment("P-1", "A", 25), payment("P-2", "B", 0), payment("P-3", "B", 7)]);
    let (status, found) = shop.post("/audit", &json!({ "laws": [law], "payments": payments })).await;
    let told = &found["invariants"];
    assert_eq!((status, told.as_array().map(Vec::len)), (200, Some(1)), "{found}");
    assert_eq!((&told[0]["name"], &told[0]["violations"]), (&json!(law), &json!([payment("P-3", "B", 7)])));
    let (_, all) = shop.post("/audit", &json!({ "payments": payments })).await;
    assert_eq!((&all["kept"], &all["keeps"]), (&json!(false), &json!("orders")));
    assert_eq!(shop.post("/audit", &json!({ "laws": ["no_law"] })).await.0, 422);
    shop.assert_kept().await;
}

#[tokio::test]
async fn everything_that_happened_is_told_in_its_order() {
    let shop = shop().await;
    for number in 0..5u128 {
        shop.send(&action(saga(number + 1), "create", placement(&format!("O-{number}")))).await;
    }
    shop.send(&action(saga(1), "pay", json!({ "order": "O-0" }))).await;
    let (mut after, mut told) = (json!(0), Vec::new());
    loop {
        let (_, page) = shop.get(&format!("/events?limit=2&after={after}")).await;
        told.extend(
            page["items"]
                .as_array()
                .expect("events")
                .iter()
                .map(|event| format!("{} {}", event["order"], event["to"])),
        );
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(told.len(), 6);
    assert_eq!(told[5], "\"O-0\" \"paid\"");
    assert_eq!(shop.get("/events?limit=0").await.0, 400);
}

#[tokio::test]
async fn orders_of_the_first_schema_are_carried_over() {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("order.db").display());
    drop(Database::open(&store, &SQLITE[..4]).await.expect("the schema before"));
    let rows = "
        insert into orders (order_no, saga, step, state, currency, amount_minor, refunded_minor, version, created_at, updated_at)
        values ('A', 's', 'create', 'part_shipped', 'EUR', 25, 0, 3, 1, 3);
        insert into order_line (order_no, sku_id, line_no, qty, price_minor, refunded, shipped)
        values ('A', 1, 1, 2, 10, 0, 1), ('A', 2, 2, 1, 5, 0, 0);
        insert into order_event (order_no, version, from_state, to_state, operation, op, saga, step, at)
        values ('A', 1, null, 'created', 'create', 'action', 's', 'create', 1), ('A', 2, 'created', 'paid', 'pay', 'action', 's', 'pay', 2),
               ('A', 3, 'paid', 'part_shipped', 'ship', 'action', 's', 'ship', 3);
        insert into orders (order_no, saga, step, state, currency, amount_minor, refunded_minor, version, created_at, updated_at)
        values ('B', 's', 'create', 'part_refunded', 'EUR', 20, 10, 3, 1, 3);
        insert into order_line (order_no, sku_id, line_no, qty, price_minor, refunded, shipped) values ('B', 1, 1, 2, 10, 1, 0);
        insert into refund (refund_no, order_no, amount_minor, saga, step, created_at) values ('R-1', 'B', 10, 's', 'r', 3);
        insert into refund_line (refund_no, sku_id, qty) values ('R-1', 1, 1);
        insert into order_event (order_no, version, from_state, to_state, operation, op, saga, step, at)
        values ('B', 1, null, 'created', 'create', 'action', 's', 'create', 1), ('B', 2, 'created', 'paid', 'pay', 'action', 's', 'pay', 2),
               ('B', 3, 'paid', 'part_refunded', 'refund', 'action', 's', 'r', 3);";
    let mut before =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(&store).await.expect("the database");
    sqlx::raw_sql(rows).execute(&mut before).await.expect("rows");
    drop(before);
    let order = open(Config::new(store.clone())).await.expect("it opens");
    let shop = Shop { order, faults: Faults::new(), store, _folder: folder };
    shop.assert_kept().await;
    let (_, detail) = shop.get("/orders/A").await;
    assert_eq!(detail["shipments"][0]["lines"], json!([{ "sku": 1, "qty": 1 }]));
    assert_eq!(shop.send(&action(saga(5), "ship", json!({ "order": "A" }))).await.1["state"], "shipped");
    assert_eq!(shop.get("/orders/B").await.1["refunds"][0]["state"], "done");
    assert_eq!(shop.send(&action(saga(6), "refund", json!({ "order": "B" }))).await.1["state"], "refunded");
    shop.assert_kept().await;
}
