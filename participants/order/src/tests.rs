//! Orders as a coordinator meets them: over the router, behind the barrier, on a database file.

use amends_sdk::faults::{Faults, On};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;

mod money;

/// Orders on a file of their own.
pub(crate) struct Shop {
    order: Order,
    faults: Faults,
    /// The address of its database.
    pub(crate) store: String,
    _folder: TempDir,
}

/// One call as a coordinator sends it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    saga: Uuid,
    step: &'static str,
    op: &'static str,
    pub(crate) operation: &'static str,
    body: Value,
}

pub(crate) async fn shop() -> Shop {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("order.db").display());
    let config = Config::new(store.clone());
    let faults = config.faults.clone();
    Shop { order: open(config).await.expect("it opens"), faults, store, _folder: folder }
}

pub(crate) fn saga(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn action(saga: Uuid, operation: &'static str, body: Value) -> Sent {
    let step = if operation == "cancel" { "call-off" } else { operation };
    Sent { saga, step, op: "action", operation, body }
}

/// The undo of `action`: the same step and body, another operation.
pub(crate) fn undo(action: &Sent, operation: &'static str) -> Sent {
    Sent { op: "compensation", operation, ..action.clone() }
}

pub(crate) fn placement(order: &str) -> Value {
    json!({ "order": order, "lines": [{ "sku": 1, "qty": 2, "price_minor": 10 }, { "sku": 2, "qty": 1, "price_minor": 5 }] })
}

impl Shop {
    pub(crate) async fn send(&self, sent: &Sent) -> (u16, Value) {
        self.attempt(sent, 1).await
    }

    async fn attempt(&self, sent: &Sent, attempt: u32) -> (u16, Value) {
        let request = Request::post(format!("/{}", sent.operation))
            .header("saga-id", sent.saga.to_string())
            .header("saga-step", sent.step)
            .header("saga-op", sent.op)
            .header("saga-attempt", attempt)
            .header("saga-epoch", 1)
            .header("idempotency-key", format!("{}/{}/{}", sent.saga, sent.step, sent.op))
            .header("content-type", "application/json")
            .body(Body::from(sent.body.to_string()))
            .expect("a request");
        self.request(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.request(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    async fn request(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.order.router().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn state(&self, order: &str) -> String {
        let (status, detail) = self.get(&format!("/orders/{order}")).await;
        if status == 404 { "none".to_owned() } else { detail["state"].as_str().expect("a state").to_owned() }
    }

    pub(crate) async fn assert_kept(&self) {
        let (status, found) = self.get("/audit").await;
        assert_eq!((status, &found["kept"]), (200, &json!(true)), "{found}");
    }
}

#[tokio::test]
async fn an_order_is_placed_and_paid_and_the_money_is_kept_from_a_cancel() {
    let shop = shop().await;
    let (status, placed) = shop.send(&action(saga(1), "create", placement("A"))).await;
    assert_eq!(status, 200, "{placed}");
    let expected = json!({ "order": "A", "state": "created", "total_minor": 25, "currency": "EUR", "refunded_minor": 0 });
    assert_eq!(placed, expected);
    assert_eq!(shop.send(&action(saga(1), "pay", json!({ "order": "A" }))).await.1["state"], "paid");
    let (status, refused) = shop.send(&action(saga(2), "cancel", json!({ "order": "A" }))).await;
    assert_eq!((status, &refused["state"]), (409, &json!("paid")), "{refused}");
    shop.assert_kept().await;
}

#[tokio::test]
async fn reverting_refunds_and_then_cancels() {
    let shop = shop().await;
    let create = action(saga(1), "create", placement("A"));
    let pay = action(saga(1), "pay", json!({ "order": "A" }));
    for sent in [&create, &pay, &undo(&pay, "refund"), &undo(&create, "cancel")] {
        let (status, body) = shop.send(sent).await;
        assert_eq!(status, 200, "{}: {body}", sent.operation);
    }
    let (_, detail) = shop.get("/orders/A").await;
    assert_eq!((&detail["state"], &detail["refunded_minor"]), (&json!("cancelled"), &json!(25)));
    let causes: Vec<&str> = detail["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["step"].as_str())
        .collect();
    assert_eq!(causes, ["create", "pay", "pay", "create"]);
    shop.assert_kept().await;
}

#[tokio::test]
async fn every_attempt_is_answered_alike() {
    let shop = shop().await;
    let create = action(saga(1), "create", placement("A"));
    let pay = action(saga(1), "pay", json!({ "order": "A" }));
    let again = action(saga(2), "create", placement("A"));
    for sent in [&create, &pay, &undo(&pay, "refund"), &undo(&create, "cancel"), &again] {
        let first = shop.send(sent).await;
        for attempt in 2..5 {
            assert_eq!(shop.attempt(sent, attempt).await, first, "{} {}", sent.operation, sent.op);
        }
    }
    let (_, detail) = shop.get("/orders/A").await;
    assert_eq!(detail["version"], 4, "repeats leave no event");
    shop.assert_kept().await;
}

#[tokio::test]
async fn a_create_after_its_cancel_is_refused() {
    let shop = shop().await;
    let create = action(saga(1), "create", placement("A"));
    assert_eq!(shop.send(&undo(&create, "cancel")).await.0, 200, "there is nothing to undo");
    assert_eq!(shop.send(&create).await.0, 409);
    assert_eq!(shop.state("A").await, "none");
    assert_eq!(shop.send(&action(saga(2), "create", placement("A"))).await.0, 200, "another saga may");
    shop.assert_kept().await;
}

#[tokio::test]
async fn a_number_belongs_to_the_first_saga_that_takes_it() {
    let shop = shop().await;
    let first = action(saga(1), "create", placement("A"));
    let second = action(saga(2), "create", placement("A"));
    assert_eq!(shop.send(&first).await.0, 200);
    let (status, refused) = shop.send(&second).await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(shop.send(&undo(&second, "cancel")).await.0, 200, "a refused step has nothing to undo");
    assert_eq!(shop.state("A").await, "created", "and it leaves the other's order alone");
    shop.assert_kept().await;
}

#[tokio::test]
async fn of_pay_and_cancel_one_wins() {
    let shop = shop().await;
    for round in 0..20u128 {
        let number = format!("A-{round}");
        shop.send(&action(saga(1000 + round), "create", placement(&number))).await;
        let pay = action(saga(2000 + round), "pay", json!({ "order": number }));
        let cancel = action(saga(3000 + round), "cancel", json!({ "order": number, "reason": "time is up" }));
        let (first, second) = if round % 2 == 0 { (&pay, &cancel) } else { (&cancel, &pay) };
        let ((one, _), (other, _)) = tokio::join!(shop.send(first), shop.send(second));
        let mut statuses = [one, other];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{number}");
        let expected = if (one == 200) == (round % 2 == 0) { "paid" } else { "cancelled" };
        assert_eq!(shop.state(&number).await, expected);
    }
    shop.assert_kept().await;
}

#[tokio::test]
async fn many_sagas_at_once_take_one_number() {
    let shop = shop().await;
    let shop = Arc::new(shop);
    let mut done = 0;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=100 {
        let shop = shop.clone();
        tasks.spawn(async move { shop.send(&action(saga(number), "create", placement("A"))).await.0 });
    }
    while let Some(status) = tasks.join_next().await {
        done += usize::from(status.expect("no panic") == 200);
    }
    assert_eq!(done, 1);
    shop.assert_kept().await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_names_the_place() {
    let shop = shop().await;
    let lines = |qty: Value| json!({ "order": "A", "lines": [{ "sku": 1, "qty": qty }] });
    for (number, qty) in (1..).zip([json!(0), json!(-3), json!(1.5), json!("2"), json!(1_000_001)]) {
        let (status, problem) = shop.send(&action(saga(number), "create", lines(qty))).await;
        assert_eq!((status, &problem["errors"][0]["path"]), (422, &json!("/lines/0/qty")), "{problem}");
    }
    let many = json!({ "order": "A", "lines": vec![json!({ "sku": 1, "qty": 1 }); 1001] });
    assert_eq!(shop.send(&action(saga(90), "create", many)).await.0, 422);
    assert_eq!(shop.state("A").await, "none");
    shop.assert_kept().await;
}

#[tokio::test]
async fn an_order_of_a_thousand_lines_is_placed_and_undone() {
    let shop = shop().await;
    let lines: Vec<Value> = (1..=1000).map(|sku| json!({ "sku": sku, "qty": 1, "price_minor": 3 })).collect();
    let create = action(saga(1), "create", json!({ "order": "big", "total": 3000, "lines": lines }));
    assert_eq!(shop.send(&create).await.1["total_minor"], 3000);
    assert_eq!(shop.send(&undo(&create, "cancel")).await.1["state"], "cancelled");
    let (_, page) = shop.get("/orders").await;
    assert_eq!(page["items"][0]["lines"].as_array().map(Vec::len), Some(1000));
    shop.assert_kept().await;
}

#[tokio::test]
async fn a_batch_answers_each_call_in_its_place() {
    let shop = shop().await;
    let call = |number: u128, body: Value| json!({ "saga": saga(number), "step": "create", "op": "action", "attempt": 1, "key": format!("k{number}"), "body": body });
    let calls =
        [call(1, placement("A")), call(2, placement("A")), call(3, json!({})), call(4, placement("B"))];
    let request = Request::post("/create/batch")
        .header("content-type", "application/json")
        .body(Body::from(json!({ "calls": calls }).to_string()))
        .expect("a request");
    let (status, answer) = shop.request(request).await;
    assert_eq!(status, 200, "{answer}");
    let statuses: Vec<u64> = answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter_map(|result| result["status"].as_u64())
        .collect();
    assert_eq!(statuses, [200, 409, 422, 200]);
    shop.assert_kept().await;
}

#[tokio::test]
async fn orders_are_listed_in_pages() {
    let shop = shop().await;
    for number in 0..5u128 {
        shop.send(&action(saga(number + 1), "create", placement(&format!("O-{number}")))).await;
    }
    let (_, first) = shop.get("/orders?limit=3").await;
    assert_eq!(first["next"], "O-2");
    assert_eq!(first["items"][0]["lines"][0], json!({ "sku": 1, "qty": 2, "refunded": 0, "shipped": 0 }));
    let (_, rest) = shop.get("/orders?limit=3&after=O-2").await;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next"]), (Some(2), &Value::Null));
    for bad in ["/orders?limit=0", "/orders?limit=501", "/orders?limit=x", "/orders?sideways=1"] {
        assert_eq!(shop.get(bad).await.0, 400, "{bad}");
    }
    assert_eq!(shop.get("/orders/none").await.0, 404);
}

#[tokio::test]
async fn a_failing_undo_is_repeated_until_it_is_done() {
    let shop = shop().await;
    let create = action(saga(1), "create", placement("A"));
    shop.send(&create).await;
    shop.faults.fail_next_compensations("cancel", 2);
    shop.faults.fail_next("pay", On::Actions, 1, 409);
    let cancel = undo(&create, "cancel");
    let mut statuses = Vec::new();
    for attempt in 1..=4 {
        statuses.push(shop.attempt(&cancel, attempt).await.0);
    }
    assert_eq!(statuses, [503, 503, 200, 200]);
    assert_eq!(shop.send(&action(saga(2), "pay", json!({ "order": "A" }))).await.0, 409);
    assert_eq!(shop.state("A").await, "cancelled");
    shop.assert_kept().await;
}

#[tokio::test]
async fn orders_are_still_there_when_they_are_opened_again() {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("deep/order.db").display());
    let create = action(saga(1), "create", placement("A"));
    for _ in 0..2 {
        let order = open(Config::new(&store)).await.expect("it opens");
        let shop = Shop {
            order,
            faults: Faults::new(),
            store: store.clone(),
            _folder: TempDir::new().expect("a folder"),
        };
        assert_eq!(
            shop.send(&create).await.1["state"],
            "created",
            "a repeat over a restart is answered alike"
        );
        shop.assert_kept().await;
    }
    assert!(open(Config::new("redis://x")).await.is_err());
}

#[tokio::test]
async fn the_registration_names_what_undoes_what() {
    let shop = shop().await;
    let registration = shop.order.participant().registration("http://127.0.0.1:7102");
    let registration = serde_json::to_value(registration).expect("JSON");
    let operations = registration["operations"].as_object().expect("operations");
    assert_eq!(operations.len(), 11);
    assert_eq!(operations["refund_begin"]["compensation"], "refund_abort");
    assert_eq!(operations["create"]["compensation"], "cancel");
    assert_eq!(operations["pay"]["compensation"], "refund");
    assert!(operations["cancel"].get("compensation").is_none_or(Value::is_null));
}
