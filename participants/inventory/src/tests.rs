//! The inventory as its callers meet it: through its router, on a database in a file.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;

mod deduction;
mod refunds;
mod transactions;

/// An inventory in a folder of its own.
pub(crate) struct Shop {
    inventory: Inventory,
    faults: Faults,
    /// The address of its database.
    pub(crate) store: String,
    _folder: TempDir,
}

/// Random numbers that are the same in every run (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A step of a saga that calls.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) saga: u128,
    pub(crate) name: &'static str,
}

pub(crate) fn step(saga: u128, name: &'static str) -> Step {
    Step { saga, name }
}

impl Shop {
    pub(crate) async fn open(stock: &[(i64, i64)]) -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::new();
        let store = format!("sqlite:{}", folder.path().join("inventory.db").display());
        let config = Config { faults: Some(faults.clone()), ..Config::new(store.clone()) };
        let inventory = open(config).await.unwrap();
        if !stock.is_empty() {
            assert_eq!(inventory.replenish("opening", stock).await.unwrap(), Replenished::New);
        }
        Shop { inventory, faults, store, _folder: folder }
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.inventory.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn call(&self, operation: &str, op: &str, step: Step, body: &Value) -> (u16, Value) {
        let saga = Uuid::from_u128(step.saga).to_string();
        let request = Request::post(format!("/{operation}"))
            .header("saga-id", &saga)
            .header("saga-step", step.name)
            .header("saga-op", op)
            .header("saga-attempt", "1")
            .header("idempotency-key", format!("{saga}/{}/{op}", step.name))
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    pub(crate) async fn act(&self, operation: &str, step: Step, body: &Value) -> (u16, Value) {
        self.call(operation, "action", step, body).await
    }

    pub(crate) async fn undo(&self, operation: &str, step: Step, body: &Value) -> (u16, Value) {
        self.call(operation, "compensation", step, body).await
    }

    pub(crate) async fn get(&self, address: &str) -> (u16, Value) {
        self.send(Request::get(address).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, address: &str, body: &Value) -> (u16, Value) {
        let request = Request::post(address).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Takes so many of an activity for a customer of the saga's own.
    pub(crate) async fn share(&self, saga: u128, activity: i64, qty: i64) {
        let body = json!({ "activity": activity, "user": format!("customer {saga}"), "qty": qty });
        let (status, answer) = self.act("quota_take", step(saga, "share"), &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Usable and held of a SKU.
    pub(crate) async fn stock(&self, sku: i64) -> (i64, i64) {
        let (_, body) = self.get(&format!("/stock?sku={sku}")).await;
        let item = &body["items"][0];
        (item["usable"].as_i64().unwrap(), item["held"].as_i64().unwrap())
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inventory.writer
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.inventory.routes
    }

    pub(crate) async fn audit(&self) -> audit::Audit {
        self.inventory.audit().await.unwrap()
    }

    pub(crate) async fn assert_sound(&self) {
        let audit = self.inventory.audit().await.unwrap();
        assert!(audit.kept, "{audit:#?}");
    }
}

pub(crate) fn cart(order: &str, lines: &[(i64, i64)]) -> Value {
    let lines: Vec<_> = lines.iter().map(|(sku, qty)| json!({"sku": sku, "qty": qty})).collect();
    json!({ "order": order, "lines": lines, "currency": "EUR" })
}

#[tokio::test]
async fn a_hold_says_until_when_and_what_it_took() {
    let shop = Shop::open(&[(7, 10), (9, 10)]).await;
    let body = cart("1001", &[(9, 1), (7, 2), (9, 3)]);
    let (status, answer) = shop.act("hold", step(1, "reserve"), &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["order"], "1001");
    assert_eq!(answer["lines"], json!([{"sku": 7, "qty": 2, "hold": 1}, {"sku": 9, "qty": 4, "hold": 2}]));
    let until: jiff::Timestamp = answer["hold_until"].as_str().unwrap().parse().unwrap();
    let left = until.as_millisecond() - jiff::Timestamp::now().as_millisecond();
    assert!((14 * 60_000..=15 * 60_000).contains(&left), "{answer}");
    assert_eq!((shop.stock(7).await, shop.stock(9).await), ((8, 2), (6, 4)));
    // A repeat is answered alike and takes nothing.
    assert_eq!(shop.act("hold", step(1, "reserve"), &body).await, (200, answer));
    assert_eq!(shop.stock(7).await, (8, 2));
    shop.assert_sound().await;
}

#[tokio::test]
async fn c3_a_cart_that_is_short_leaves_nothing_and_says_what_is_missing() {
    let shop = Shop::open(&[(1, 5), (2, 1), (3, 5)]).await;
    let body = cart("1001", &[(1, 1), (2, 2), (3, 5), (404, 1)]);
    for _ in 0..2 {
        let (status, answer) = shop.act("hold", step(1, "reserve"), &body).await;
        assert_eq!(status, 409);
        let lines = json!([
            {"sku": 2, "wanted": 2, "available": 1},
            {"sku": 404, "wanted": 1, "available": 0, "unknown": true},
        ]);
        assert_eq!(answer["lines"], lines);
        assert_eq!(answer["message"], "not enough stock of sku 2: wanted 2, available 1; and 1 more lines");
    }
    for sku in 1..=3 {
        assert_eq!(shop.stock(sku).await.1, 0);
    }
    // The refused step needs no undoing, and is not undone.
    let (status, _) = shop.undo("release", step(1, "reserve"), &body).await;
    assert_eq!(status, 200);
    let audit = shop.inventory.audit().await.unwrap();
    assert_eq!((audit.totals.usable, audit.totals.held, audit.totals.released), (11, 0, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn c1_two_hundred_buyers_of_a_hundred_units_get_a_hundred() {
    let shop = Arc::new(Shop::open(&[(1, 100), (2, 1000)]).await);
    let mut buyers = tokio::task::JoinSet::new();
    for buyer in 0..200u128 {
        let shop = Arc::clone(&shop);
        buyers.spawn(async move {
            let operation = if buyer % 2 == 0 { "hold" } else { "deduct" };
            let body = cart(&format!("o{buyer}"), &[(2, 1), (1, 1)]);
            let first = shop.act(operation, step(buyer, "reserve"), &body).await;
            let again = shop.act(operation, step(buyer, "reserve"), &body).await;
            assert_eq!(first, again);
            first.0
        });
    }
    let answers = buyers.join_all().await;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(200), count(409)), (100, 100));
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((0, 100), (900, 100)));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_batch_answers_each_call_for_itself() {
    let shop = Shop::open(&[(1, 3)]).await;
    let call = |saga: u128, op: &str, body: Value| json!({"saga": Uuid::from_u128(saga), "step": "reserve", "op": op, "attempt": 1, "key": format!("k{saga}{op}"), "body": body});
    let calls = json!({"calls": [
        call(1, "action", cart("a", &[(1, 2)])),
        call(2, "action", cart("b", &[(1, 2)])),
        call(3, "action", cart("c", &[(1, 0)])),
        call(4, "action", cart("d", &[(1, 1)])),
        call(1, "action", cart("a", &[(1, 2)])),
    ]});
    let (status, answer) = shop.post("/hold/batch", &calls).await;
    assert_eq!(status, 200, "{answer}");
    let statuses: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [200, 409, 422, 200, 200]);
    assert_eq!(answer["results"][0], answer["results"][4]);
    assert_eq!(answer["results"][1]["body"]["lines"], json!([{"sku": 1, "wanted": 2, "available": 1}]));
    assert_eq!(answer["results"][2]["body"]["errors"][0]["path"], "/lines/0/qty");
    assert_eq!(shop.stock(1).await, (0, 3));
    let (status, answer) =
        shop.post("/release/batch", &json!({"calls": [call(1, "compensation", cart("a", &[(1, 2)]))]})).await;
    assert_eq!((status, &answer["results"][0]["status"]), (200, &json!(200)));
    assert_eq!(shop.stock(1).await, (2, 1));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_hold_that_comes_after_its_release_is_refused() {
    let shop = Shop::open(&[(1, 10)]).await;
    let body = cart("1001", &[(1, 4)]);
    assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, 200);
    assert_eq!(shop.act("hold", step(1, "reserve"), &body).await.0, 409);
    assert_eq!(shop.stock(1).await, (10, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_checkout_is_unwound_whatever_is_repeated_and_whatever_comes_first() {
    for release_first in [false, true] {
        let shop = Shop::open(&[(1, 10)]).await;
        let body = cart("1001", &[(1, 4)]);
        let order = json!({"order": "1001"});
        assert_eq!(shop.act("hold", step(1, "reserve"), &body).await.0, 200);
        assert_eq!(shop.act("confirm", step(1, "confirm"), &order).await.0, 200);
        assert_eq!(shop.stock(1).await, (6, 4));
        for _ in 0..3 {
            if release_first {
                assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, 200);
            }
            assert_eq!(shop.undo("restore", step(1, "confirm"), &order).await.0, 200);
            assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, 200);
        }
        assert_eq!(shop.stock(1).await, (10, 0));
        assert_eq!(shop.act("confirm", step(2, "confirm"), &order).await.0, 409);
        shop.assert_sound().await;
    }
}

#[tokio::test]
async fn what_is_restored_never_exceeds_what_was_deducted() {
    let shop = Arc::new(Shop::open(&[(1, 10)]).await);
    let body = cart("1001", &[(1, 7)]);
    let order = json!({"order": "1001"});
    assert_eq!(shop.act("deduct", step(1, "deduct"), &body).await.0, 200);
    assert_eq!(shop.stock(1).await, (3, 7));
    let mut restores = tokio::task::JoinSet::new();
    for saga in 1..40u128 {
        let (shop, order, body) = (Arc::clone(&shop), order.clone(), body.clone());
        restores.spawn(async move {
            match saga % 3 {
                0 => shop.act("restore", step(saga, "refund"), &order).await.0,
                1 => shop.undo("restore", step(1, "deduct"), &body).await.0,
                _ => shop.act("release", step(saga, "timeout"), &order).await.0,
            }
        });
    }
    restores.join_all().await;
    assert_eq!(shop.stock(1).await, (10, 0));
    assert_eq!(shop.inventory.audit().await.unwrap().totals.released, 7);
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_no_to_an_undo_is_no_longer_a_no_once_its_reason_is_gone() {
    let shop = Shop::open(&[(1, 10)]).await;
    let (body, order) = (cart("1001", &[(1, 4)]), json!({"order": "1001"}));
    shop.act("hold", step(1, "reserve"), &body).await;
    shop.act("confirm", step(2, "pay"), &order).await;
    for _ in 0..2 {
        let (status, answer) = shop.undo("release", step(1, "reserve"), &body).await;
        assert_eq!((status, &answer["saga"]), (409, &json!(Uuid::from_u128(2))), "{answer}");
        assert_eq!(shop.stock(1).await, (6, 4));
    }
    assert_eq!(shop.undo("restore", step(2, "pay"), &order).await.0, 200);
    assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, 200);
    assert_eq!(shop.stock(1).await, (10, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_order_is_refunded_in_parts_and_what_has_shipped_stays_out() {
    let shop = Shop::open(&[(1, 10), (2, 10)]).await;
    let order = json!({"order": "1001"});
    shop.act("deduct", step(1, "deduct"), &cart("1001", &[(1, 4), (2, 2)])).await;
    let part = cart("1001", &[(1, 3)]);
    assert_eq!(shop.act("refund", step(2, "refund"), &part).await.0, 200);
    assert_eq!(shop.act("refund", step(2, "refund"), &part).await.0, 200);
    assert_eq!(shop.stock(1).await, (9, 1));
    let (status, answer) = shop.act("refund", step(3, "refund"), &cart("1001", &[(1, 2), (2, 1)])).await;
    assert_eq!((status, &answer["lines"]), (409, &json!([{"sku": 1, "wanted": 2, "available": 1}])));
    let (status, answer) = shop.act("ship", step(4, "ship"), &order).await;
    assert_eq!((status, answer["lines"].as_array().unwrap().len()), (200, 2));
    assert_eq!(shop.undo("restore", step(1, "deduct"), &order).await.0, 409);
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((9, 0), (8, 0)));
    let (_, page) = shop.get("/stock?sku=1").await;
    assert_eq!(
        page["items"][0],
        json!({"sku": 1, "usable": 9, "held": 0, "shipped": 1, "inbound": 10, "available": 9})
    );
    shop.assert_sound().await;
}

#[tokio::test]
async fn an_open_saga_confirms_the_hold_of_its_branch() {
    let shop = Shop::open(&[(1, 10)]).await;
    let body = cart("1001", &[(1, 4)]);
    assert_eq!(shop.act("hold", step(1, "stock"), &body).await.0, 200);
    assert_eq!(shop.call("confirm", "confirm", step(1, "stock"), &body).await.0, 200);
    let (_, page) = shop.get("/orders").await;
    assert_eq!(page["items"][0]["lines"][0]["confirmed"], 4);
    shop.assert_sound().await;
}

/// Runs one saga's calls out of order, repeated and racing; every step is undone at least once in the end.
async fn storm(shop: Arc<Shop>, saga: u128) {
    let mut random = u64::try_from(saga).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let order = format!("o{}", saga % 60);
    let lines: Vec<(i64, i64)> = (0..=draw(4)).map(|_| (draw(6) as i64 + 1, draw(3) as i64 + 1)).collect();
    let (body, only) = (cart(&order, &lines), json!({ "order": order }));
    let take = if draw(3) == 0 { ("deduct", "restore") } else { ("hold", "release") };
    for _ in 0..draw(8) {
        match draw(5) {
            0 | 1 => shop.act(take.0, step(saga, "take"), &body).await,
            2 => shop.act("confirm", step(saga, "confirm"), &only).await,
            3 => shop.undo("restore", step(saga, "confirm"), &only).await,
            _ => shop.undo(take.1, step(saga, "take"), &body).await,
        };
    }
    // A step that another saga's confirmation stands in the way of is undone once that one is.
    loop {
        let confirm = shop.undo("restore", step(saga, "confirm"), &only).await.0;
        let taken = shop.undo(take.1, step(saga, "take"), &body).await.0;
        if (confirm, taken) == (200, 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_storm_of_calls_leaves_every_unit_where_it_was() {
    let stock: Vec<(i64, i64)> = (1..=6).map(|sku| (sku, 40)).collect();
    let shop = Arc::new(Shop::open(&stock).await);
    let sagas: tokio::task::JoinSet<()> = (1..=300).map(|saga| storm(Arc::clone(&shop), saga)).collect();
    tokio::time::timeout(Duration::from_secs(60), sagas.join_all())
        .await
        .expect("every saga comes to an end");
    let audit = shop.inventory.audit().await.unwrap();
    assert!(audit.kept, "{audit:#?}");
    assert_eq!((audit.totals.usable, audit.totals.held), (240, 0));
    assert!(audit.totals.released > 0, "something was taken at all");
}

#[tokio::test]
async fn a_thousand_lines_are_one_cart_and_one_more_is_too_many() {
    let stock: Vec<(i64, i64)> = (1..=1001).map(|sku| (sku, 5)).collect();
    let shop = Shop::open(&stock).await;
    let lines: Vec<(i64, i64)> = (1..=1001).map(|sku| (sku, 2)).collect();
    let (status, answer) = shop.act("hold", step(1, "reserve"), &cart("big", &lines[..1000])).await;
    assert_eq!((status, answer["lines"].as_array().unwrap().len()), (200, 1000));
    let (status, answer) = shop.act("hold", step(2, "reserve"), &cart("huge", &lines)).await;
    assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!("/lines")));
    assert_eq!(shop.undo("release", step(1, "reserve"), &cart("big", &lines[..1000])).await.0, 200);
    assert_eq!(shop.inventory.audit().await.unwrap().totals.usable, 5005);
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_a_contract_error_with_a_path() {
    let shop = Shop::open(&[(1, 10)]).await;
    let bad = [
        (cart("1", &[(1, -1)]), "/lines/0/qty"),
        (cart("1", &[(1, 1), (1, 1_000_001)]), "/lines/1/qty"),
        (json!({"order": "1", "lines": [{"sku": 1, "qty": 1.5}]}), "/lines/0/qty"),
        (json!({"order": "1", "lines": [{"sku": 0, "qty": 1}]}), "/lines/0/sku"),
        (json!({"order": "1", "lines": []}), "/lines"),
        (json!({"order": "", "lines": [{"sku": 1, "qty": 1}]}), "/order"),
        (json!([]), "/order"),
    ];
    for (number, (body, path)) in (1..).zip(bad) {
        for operation in ["hold", "deduct"] {
            let (status, answer) = shop.act(operation, step(number, operation), &body).await;
            assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!(path)), "{body}");
        }
    }
    for operation in ["confirm", "release", "restore"] {
        let (status, answer) = shop.act(operation, step(99, operation), &json!({"order": 5})).await;
        assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!("/order")), "{operation}");
    }
    assert_eq!(shop.stock(1).await, (10, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn a_status_question_is_answered_from_what_is_kept() {
    let shop = Shop::open(&[(1, 10)]).await;
    let body = cart("1001", &[(1, 4)]);
    let ask = || {
        let saga = Uuid::from_u128(1).to_string();
        Request::post("/hold")
            .header("saga-id", saga)
            .header("saga-step", "reserve")
            .header("saga-op", "status")
            .header("saga-status-of", "action")
            .header("saga-attempt", "1")
            .header("idempotency-key", "k")
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    assert_eq!(shop.send(ask()).await.0, 404);
    let answer = shop.act("hold", step(1, "reserve"), &body).await;
    assert_eq!(shop.send(ask()).await, answer);
    assert_eq!(shop.stock(1).await, (6, 4));
}

#[tokio::test]
async fn t8_goods_come_in_once_under_their_number() {
    let shop = Shop::open(&[]).await;
    let body =
        json!({"biz_no": "r1", "lines": [{"sku": 1, "qty": 5}, {"sku": 2, "qty": 3}, {"sku": 1, "qty": 1}]});
    let answer = json!({"biz_no": "r1", "lines": 2, "qty": 9});
    assert_eq!(shop.post("/replenish", &body).await, (201, answer.clone()));
    assert_eq!(shop.post("/replenish", &body).await, (200, answer));
    let other = json!({"biz_no": "r1", "lines": [{"sku": 1, "qty": 5}]});
    assert_eq!(shop.post("/replenish", &other).await.0, 409);
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((6, 0), (3, 0)));
    let (status, answer) =
        shop.post("/replenish", &json!({"biz_no": "r2", "lines": [{"sku": 1, "qty": 0}]})).await;
    assert_eq!((status, &answer["errors"][0]["path"]), (422, &json!("/lines/0/qty")));
    assert_eq!(shop.inventory.replenish("r3", &[(1, 4)]).await.unwrap(), Replenished::New);
    assert_eq!(shop.stock(1).await, (10, 0));
    shop.assert_sound().await;
}

#[tokio::test]
async fn whoever_reads_gets_pages_and_is_told_what_does_not_fit() {
    let stock: Vec<(i64, i64)> = (1..=60).map(|sku| (sku, sku)).collect();
    let shop = Shop::open(&stock).await;
    let (_, page) = shop.get("/stock").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (50, &json!("50")));
    let (_, page) = shop.get("/stock?after=50&limit=20").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (10, &Value::Null));
    let (_, page) = shop.get("/stock?sku=3,5&sku=999").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        page["items"][1],
        json!({"sku": 5, "usable": 5, "held": 0, "shipped": 0, "inbound": 5, "available": 5})
    );
    for address in ["/stock?sku=x", "/stock?sku=0", "/stock?limit=0", "/stock?limit=501", "/stock?after=-1"] {
        assert_eq!(shop.get(address).await.0, 400, "{address}");
    }
    shop.act("hold", step(1, "reserve"), &cart("a&b=c", &[(1, 1)])).await;
    let (_, page) = shop.get("/orders").await;
    let line = json!({"sku": 1, "qty": 1, "held": 1, "confirmed": 0, "released": 0, "shipped": 0});
    assert_eq!(page, json!({"items": [{"order": "a&b=c", "lines": [line]}], "next": null}));
    let (_, page) = shop.get("/orders?after=a%26b%3Dc").await;
    assert_eq!(page["items"], json!([]));
    let (status, audit) = shop.get("/audit").await;
    assert_eq!((status, &audit["kept"], &audit["totals"]["held"]), (200, &json!(true), &json!(1)));
    assert!(
        audit["invariants"]
            .as_array()
            .unwrap()
            .iter()
            .all(|law| law["kept"] == true && law["violations"] == json!([]))
    );
}

#[tokio::test]
async fn faults_hit_compensations_and_answers_but_not_the_books() {
    let shop = Shop::open(&[(1, 10)]).await;
    let body = cart("1001", &[(1, 4)]);
    shop.act("hold", step(1, "reserve"), &body).await;
    shop.faults.fail_next_compensations("release", 2);
    for expected in [503, 503, 200, 200] {
        assert_eq!(shop.undo("release", step(1, "reserve"), &body).await.0, expected);
    }
    shop.faults.lose_answers("hold", amends_sdk::faults::On::Actions, 1.0, 1);
    shop.act("hold", step(2, "reserve"), &body).await;
    assert_eq!(shop.stock(1).await, (6, 4));
    shop.faults.clear();
    assert_eq!(shop.act("hold", step(2, "reserve"), &body).await.0, 200);
    assert_eq!(shop.stock(1).await, (6, 4));
    shop.assert_sound().await;
}

#[tokio::test]
async fn the_books_are_still_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("deep/inventory.db").display());
    let first = open(Config::new(&store)).await.unwrap();
    first.replenish("opening", &[(1, 10)]).await.unwrap();
    drop(first);
    let second = open(Config::new(&store)).await.unwrap();
    assert_eq!(second.replenish("opening", &[(1, 10)]).await.unwrap(), Replenished::Again);
    assert_eq!(second.audit().await.unwrap().totals.usable, 10);
    assert!(open(Config::new("oracle:here")).await.is_err());
}

#[test]
fn the_registration_names_what_undoes_what() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registration = runtime.block_on(async {
        let shop = Shop::open(&[]).await;
        shop.inventory.participant().registration("http://127.0.0.1:7101")
    });
    registration.check().unwrap();
    let operations = serde_json::to_value(&registration.operations).unwrap();
    for (operation, undo) in
        [("hold", "release"), ("hold_short", "release_short"), ("deduct", "restore"), ("confirm", "restore")]
    {
        assert_eq!(operations[operation]["compensation"], undo);
        assert_eq!(operations[operation]["batch"]["max"], 256);
    }
}
