//! Payments as a coordinator meets them: over the router, behind the barrier, with callbacks to a coordinator's double.

use std::time::Duration;

use amends_wire::audit::{Audited, Page, Query, names, read_all};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;

mod free;

/// How long a pending call takes here.
const SOON: Duration = Duration::from_millis(20);

/// A provider on a file of its own, and the coordinator that it calls back.
struct World {
    payment: Payment,
    coordinator: MockServer,
    store: String,
    _folder: TempDir,
}

async fn world(behaviour: Behaviour) -> World {
    let folder = TempDir::new().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("payment.db").display());
    let coordinator = MockServer::start().await;
    let taken = ResponseTemplate::new(200).set_body_json(json!({}));
    Mock::given(matchers::method("POST")).respond_with(taken).mount(&coordinator).await;
    let behaviour = behaviour.taking(SOON, 5 * SOON);
    let payment = open(Config::new(store.clone()), behaviour).await.expect("it opens");
    World { payment, coordinator, store, _folder: folder }
}

/// Which call: the saga's number, the step, what the call is to it, the operation.
type Which<'a> = (u128, &'a str, &'a str, &'a str);

impl World {
    async fn call(&self, (saga, step, op, operation): Which<'_>, body: &Value) -> (u16, Value) {
        let saga = Uuid::from_u128(saga);
        let mut request = Request::post(format!("/{operation}"))
            .header("saga-id", saga.to_string())
            .header("saga-step", step)
            .header("saga-op", op)
            .header("saga-attempt", 1)
            .header("idempotency-key", format!("{saga}/{step}/{op}"))
            .header("saga-callback", format!("{}/{saga}/{step}", self.coordinator.uri()))
            .header("saga-token", "a-token")
            .header("content-type", "application/json");
        if op == "status" {
            request = request.header("saga-status-of", "action");
        }
        self.request(request.body(Body::from(body.to_string())).expect("a request")).await
    }

    async fn charge(&self, saga: u128, body: &Value) -> (u16, Value) {
        self.call((saga, "charge", "action", "charge"), body).await
    }

    async fn call_off(&self, saga: u128, body: &Value) -> (u16, Value) {
        self.call((saga, "charge", "compensation", "refund"), body).await
    }

    async fn refund(&self, saga: u128, body: &Value) -> (u16, Value) {
        self.call((saga, "refund", "action", "refund"), body).await
    }

    async fn request(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.payment.router().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.request(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// Waits until a payment stands somewhere.
    async fn until(&self, payment: &str, state: &str) -> Value {
        for _ in 0..500 {
            let (_, found) = self.get(&format!("/payments/{payment}")).await;
            if found["state"] == state {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{payment} never came to be {state}: {:?}", self.get(&format!("/payments/{payment}")).await);
    }

    /// What the coordinator was told, when that many answers have come and no further ones follow.
    async fn told(&self, answers: usize) -> Vec<Value> {
        for _ in 0..300 {
            if self.coordinator.received_requests().await.unwrap_or_default().len() >= answers {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(3 * SOON).await;
        let requests = self.coordinator.received_requests().await.unwrap_or_default();
        requests.iter().filter_map(|request| serde_json::from_slice(&request.body).ok()).collect()
    }

    async fn audited(&self) -> Audited {
        let pages = read_all(Query { limit: 100, ..Query::since(0) }, 100_000, |query| async move {
            let cursor = query.cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let (status, body) = self.get(&format!("/saga-audit?since=0&limit=100{cursor}")).await;
            assert_eq!(status, 200, "{body}");
            serde_json::from_value::<Page>(body)
        });
        pages.await.expect("pages")
    }

    async fn assert_kept(&self) {
        let (status, found) = self.get("/audit").await;
        assert_eq!((status, &found["kept"]), (200, &json!(true)), "{found}");
        let audited = self.audited().await;
        assert!(audited.findings.is_empty(), "{:#?}", audited.findings);
    }
}

fn of(order: &str, mode: &str) -> Value {
    json!({ "order": order, "amount_minor": 2500, "currency": "EUR", "mode": mode })
}

#[tokio::test]
async fn a_charge_is_answered_as_its_mode_says() {
    let world = world(Behaviour::default()).await;
    for (number, (mode, status, state)) in (1..).zip([
        ("at_once", 200, "paid"),
        ("callback", 202, "paid"),
        ("double_callback", 202, "paid"),
        ("poll", 202, "paid"),
        ("late", 202, "paid"),
        ("never", 202, "pending"),
        ("declined_later", 202, "declined"),
    ]) {
        let body = of(mode, mode);
        let (answered, view) = world.charge(number, &body).await;
        assert_eq!(answered, status, "{mode}: {view}");
        assert_eq!(world.charge(number, &body).await.0, if status == 200 { 200 } else { answered }, "{mode}");
        world.until(mode, state).await;
        let (answered, view) = world.call((number, "charge", "status", "charge"), &body).await;
        match state {
            "paid" => assert_eq!((answered, &view["state"]), (200, &json!("paid")), "{mode}: {view}"),
            "pending" => assert_eq!(answered, 202, "{mode}: {view}"),
            _ => assert_eq!((answered, &view["declined"]), (409, &json!(true)), "{mode}: {view}"),
        }
    }
    let (status, no) = world.charge(99, &of("declined", "declined")).await;
    assert_eq!((status, &no["declined"]), (409, &json!(true)));
    assert_eq!(world.get("/payments/declined").await.0, 404, "nothing was done");
    world.assert_kept().await;
}

#[tokio::test]
async fn callbacks_come_as_often_as_the_mode_says() {
    for (mode, state, statuses) in [
        ("callback", "paid", vec![200]),
        ("double_callback", "paid", vec![200, 200]),
        ("declined_later", "declined", vec![409]),
        ("late", "paid", vec![200]),
        ("poll", "paid", vec![]),
    ] {
        let world = world(Behaviour::default()).await;
        world.charge(1, &of("A", mode)).await;
        world.until("A", state).await;
        let told = world.told(statuses.len()).await;
        let heard: Vec<u64> = told.iter().filter_map(|answer| answer["status"].as_u64()).collect();
        assert_eq!(heard, statuses, "{mode}: {told:?}");
        assert!(told.iter().all(|answer| answer["token"] == "a-token"), "{told:?}");
        world.assert_kept().await;
    }
}

#[tokio::test]
async fn what_is_called_off_while_it_is_pending_is_void_and_nobody_is_told() {
    for mode in ["callback", "poll", "never", "declined_later"] {
        let world = world(Behaviour::default()).await;
        let body = json!({ "order": "A", "amount_minor": 5, "mode": mode, "delay_ms": 60 });
        assert_eq!(world.charge(1, &body).await.0, 202);
        let (status, view) = world.call_off(1, &body).await;
        assert_eq!((status, &view["state"]), (200, &json!("void")), "{mode}");
        assert_eq!(world.call_off(1, &body).await.1, view, "{mode}: every attempt is answered alike");
        tokio::time::sleep(6 * SOON).await;
        assert_eq!(world.get("/payments/A").await.1["state"], "void");
        assert_eq!(world.told(0).await, Vec::<Value>::new(), "{mode}");
        assert_eq!(
            world.charge(2, &json!({ "order": "A", "payment": "A-2", "amount_minor": 5 })).await.0,
            200
        );
        world.assert_kept().await;
    }
}

#[tokio::test]
async fn money_that_comes_in_too_late_goes_back_by_itself() {
    let world = world(Behaviour::always(Mode::Late)).await;
    let body = json!({ "order": "A", "amount_minor": 5 });
    assert_eq!(world.charge(1, &body).await.0, 202);
    assert_eq!(world.call_off(1, &body).await.1["state"], "voiding", "it cannot be stopped any more");
    let payment = world.until("A", "refunded").await;
    let what: Vec<&str> =
        payment["events"].as_array().expect("events").iter().filter_map(|e| e["what"].as_str()).collect();
    assert_eq!(what, ["asked", "void_asked", "paid", "refund_asked", "refunded"]);
    assert_eq!(payment["refunded_minor"], 5);
    assert_eq!(world.told(0).await, Vec::<Value>::new());
    world.assert_kept().await;
}

#[tokio::test]
async fn a_charge_that_comes_after_it_was_called_off_is_refused() {
    let world = world(Behaviour::default()).await;
    let body = of("A", "at_once");
    assert_eq!(world.call_off(1, &body).await.0, 200, "there is nothing to make good");
    assert_eq!(world.charge(1, &body).await.0, 409);
    assert_eq!(world.get("/payments/A").await.0, 404);
    world.assert_kept().await;
}

#[tokio::test]
async fn an_order_pays_once() {
    let world = world(Behaviour::default()).await;
    assert_eq!(world.charge(1, &of("A", "never")).await.0, 202);
    let again = json!({ "order": "A", "payment": "A-2", "amount_minor": 2500 });
    let (status, no) = world.charge(2, &again).await;
    assert_eq!((status, &no["payment"], &no["state"]), (409, &json!("A"), &json!("pending")));
    assert_eq!(world.charge(3, &of("A", "at_once")).await.0, 409, "nor under the same number");
    world.assert_kept().await;
}

#[tokio::test]
async fn refunds_come_in_parts_under_the_ceiling() {
    let world = world(Behaviour::default()).await;
    world.charge(1, &of("A", "at_once")).await;
    let part = |number: &str, amount: i64, mode: &str| json!({ "order": "A", "refund": number, "amount_minor": amount, "mode": mode });
    let (status, view) = world.refund(2, &part("R-1", 1000, "at_once")).await;
    assert_eq!((status, &view["state"]), (200, &json!("part_refunded")), "{view}");
    assert_eq!(view["refund"], json!({ "refund": "R-1", "amount_minor": 1000, "state": "done" }));
    assert_eq!(world.refund(2, &part("R-1", 1000, "at_once")).await.1, view, "a repeat changes nothing");
    assert_eq!(world.refund(3, &part("R-1", 1000, "at_once")).await.0, 409, "a number counts once");
    let (status, no) = world.refund(4, &part("R-2", 1501, "at_once")).await;
    assert_eq!((status, &no["left_minor"]), (409, &json!(1500)));
    assert_eq!(world.refund(5, &part("R-3", 900, "declined_later")).await.0, 202);
    assert_eq!(world.refund(6, &part("R-4", 601, "at_once")).await.0, 409, "what is under way counts");
    world.until("A", "part_refunded").await;
    assert_eq!(world.told(1).await[0]["status"], 409);
    assert_eq!(world.get("/payments/A").await.1["refunded_minor"], 1000, "a declined refund counts no more");
    assert_eq!(world.refund(7, &part("R-5", 100, "declined")).await.0, 409);
    assert_eq!(world.refund(8, &part("R-6", 500, "callback")).await.0, 202);
    assert_eq!(world.told(2).await[1]["body"]["refund"]["state"], "done");
    let (_, view) = world.refund(9, &json!({ "payment": "A" })).await;
    assert_eq!(
        (&view["state"], &view["refund"]["amount_minor"]),
        (&json!("refunded"), &json!(1000)),
        "the rest"
    );
    assert_eq!(world.refund(10, &json!({ "order": "A" })).await.0, 409, "nothing is left");
    assert_eq!(world.refund(11, &json!({ "order": "B" })).await.0, 409);
    world.assert_kept().await;
}

#[tokio::test]
async fn c8_ten_thousand_random_refunds_at_once_never_exceed_what_was_paid() {
    const PAYMENTS: u64 = 100;
    const PAID: i64 = 1000;
    let world = std::sync::Arc::new(world(Behaviour::default()).await);
    for number in 0..PAYMENTS {
        let body = json!({ "order": format!("A-{number}"), "amount_minor": PAID });
        assert_eq!(world.charge(1_000_000 + u128::from(number), &body).await.0, 200);
    }
    let mut seed = 20_261_121_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut tasks = tokio::task::JoinSet::new();
    let mut given = 0;
    for saga in 0..10_000_u64 {
        // One in ten repeats an earlier call, one in ten an earlier number under another saga.
        let (caller, number) = match draw(10) {
            0 if saga > 0 => {
                let earlier = draw(saga);
                (earlier, earlier)
            }
            1 if saga > 0 => (saga, draw(saga)),
            _ => (saga, saga),
        };
        let body = json!({ "order": format!("A-{}", number % PAYMENTS), "refund": format!("R-{number}"),
            "amount_minor": number * 7919 % 90 });
        let world = world.clone();
        tasks.spawn(async move { (caller, world.refund(u128::from(caller), &body).await) });
        while tasks.len() > 256 {
            tasks.join_next().await.expect("a task").expect("no panic");
        }
        given += 1;
    }
    while let Some(done) = tasks.join_next().await {
        let (_, (status, said)) = done.expect("no panic");
        assert!([200, 409, 422].contains(&status), "{status}: {said}");
    }
    assert_eq!(given, 10_000);
    world.assert_kept().await;
    let (_, found) = world.get("/audit").await;
    let back = found["totals"]["back_minor"]["EUR"].as_i64().expect("money");
    assert!(back > 90_000 && back <= i64::try_from(PAYMENTS).expect("few") * PAID, "{back} went back");
}

#[tokio::test]
async fn what_is_pending_is_ended_after_a_restart() {
    let first = world(Behaviour::default()).await;
    let body = json!({ "order": "A", "amount_minor": 5, "mode": "callback", "delay_ms": 300 });
    assert_eq!(first.charge(1, &body).await.0, 202);
    let World { payment, coordinator, store, _folder } = first;
    drop(payment);
    let payment = open(Config::new(store.clone()), Behaviour::default()).await.expect("it opens");
    let again = World { payment, coordinator, store, _folder };
    again.until("A", "paid").await;
    assert_eq!(again.told(1).await.len(), 1);
    again.assert_kept().await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_names_the_place() {
    let world = world(Behaviour::default()).await;
    for (number, (body, path)) in (1..).zip([
        (json!({ "amount_minor": 1 }), "/order"),
        (json!({ "order": "A" }), "/amount_minor"),
        (json!({ "order": "A", "amount_minor": -1 }), "/amount_minor"),
        (json!({ "order": "A", "amount_minor": 1.5 }), "/amount_minor"),
        (json!({ "order": "A", "amount_minor": 1, "currency": "eur" }), "/currency"),
        (json!({ "order": "A", "amount_minor": 1, "mode": "sometimes" }), "/mode"),
    ]) {
        let (status, problem) = world.charge(number, &body).await;
        assert_eq!((status, &problem["errors"][0]["path"]), (422, &json!(path)), "{problem}");
    }
    let (_, page) = world.get("/payments?limit=3").await;
    assert_eq!(page, json!({ "items": [], "next": null }));
    assert_eq!(world.get("/payments?limit=0").await.0, 400);
}

#[tokio::test]
async fn payments_are_held_against_what_the_order_service_says() {
    let world = world(Behaviour::default()).await;
    for (number, order) in (1..).zip(["paid", "part", "back", "void"]) {
        world.charge(number, &of(order, "at_once")).await;
    }
    world.refund(5, &json!({ "order": "part", "refund": "R-1", "amount_minor": 1000 })).await;
    world.refund(6, &json!({ "order": "back" })).await;
    world.call_off(4, &of("void", "at_once")).await;
    world.charge(7, &of("pending", "never")).await;
    let law = "payments_are_those_of_the_orders";
    let against = |orders: Value| {
        let body = json!({ "laws": [law], "orders": orders }).to_string();
        let request =
            Request::post("/audit").header("content-type", "application/json").body(Body::from(body));
        world.request(request.expect("a request"))
    };
    let order = |order: &str, due: i64, payment: Value| json!({ "order": order, "due_minor": due, "payment": payment });
    let right = json!([
        order("paid", 2500, json!("paid")),
        order("part", 1500, json!("part")),
        order("back", 0, json!("back")),
        order("void", 0, json!(null)),
        order("pending", 0, json!(null)),
        order("elsewhere", 700, json!(null)),
    ]);
    let (status, found) = against(right).await;
    assert_eq!((status, &found["kept"]), (200, &json!(true)), "{found}");
    let wrong = json!([
        order("paid", 0, json!("paid")),
        order("part", 2500, json!(null)),
        order("back", 2500, json!("back")),
        order("none", 1, json!("P-1")),
    ]);
    let (_, found) = against(wrong).await;
    let rows = found["invariants"][0]["violations"].as_array().expect("violations");
    let told: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["order"], &row["kept_minor"])).collect();
    assert_eq!(
        told,
        [
            (&json!("paid"), &json!(2500)),
            (&json!("part"), &json!(1500)),
            (&json!("back"), &json!(0)),
            (&json!("none"), &json!(0))
        ]
    );
    let unknown = Request::post("/audit").header("content-type", "application/json");
    let unknown = unknown.body(Body::from(json!({ "laws": ["no_law"] }).to_string())).expect("a request");
    assert_eq!(world.request(unknown).await.0, 422);
}

/// Changes the books behind the provider's back; answers the laws broken and the findings, each by its name.
async fn plant(sql: &'static str) -> (Vec<String>, Vec<String>) {
    let world = world(Behaviour::default()).await;
    world.charge(1, &of("A", "at_once")).await;
    world.charge(2, &of("B", "at_once")).await;
    world.call_off(2, &of("B", "at_once")).await;
    world.refund(3, &json!({ "order": "A", "refund": "R-1", "amount_minor": 500 })).await;
    world.assert_kept().await;
    let mut books = SqliteConnection::connect(&world.store).await.expect("the books");
    let lawless =
        "pragma foreign_keys = off; pragma ignore_check_constraints = on; pragma busy_timeout = 5000;";
    sqlx::raw_sql(lawless).execute(&mut books).await.expect("lawless");
    sqlx::raw_sql(sql).execute(&mut books).await.expect("planted");
    let (_, found) = world.get("/audit").await;
    let laws = found["invariants"].as_array().expect("laws").iter().filter(|law| law["kept"] == false);
    let laws = laws.filter_map(|law| law["name"].as_str().map(str::to_owned)).collect();
    let findings = world.audited().await.findings.into_iter().map(|finding| finding.name).collect();
    (laws, findings)
}

#[tokio::test]
async fn the_audits_catch_what_is_planted() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("update payment set refunded_minor = 2501 where order_no = 'A'",
         &["no_more_is_given_back_than_was_paid", "refunds_add_up", "states_match_the_money"], &[]),
        ("update payment set state = 'void' where order_no = 'A'",
         &["states_match_the_money", "events_tell_the_money"], &[names::EFFECT_LOST]),
        ("update payment_refund set amount_minor = 400 where refund_no = 'R-1'",
         &["refunds_add_up", "events_tell_the_money"], &[names::WRONG_QUANTITY]),
        ("delete from payment_refund where refund_no = 'R-1'",
         &["refunds_add_up", "events_tell_the_money"], &[names::EFFECT_LOST]),
        ("delete from saga_barrier where step = 'refund'", &[], &[names::ORPHAN_EFFECT, names::ORPHAN_EFFECT]),
        ("insert into payment select 'A-9', order_no, state, mode, amount_minor, currency, refunded_minor, settle_at,
            callback, declines, saga, step, created_at, updated_at from payment where payment_no = 'X'", &[], &[]),
    ];
    for (sql, laws, findings) in cases {
        let (broken, found) = plant(sql).await;
        assert_eq!(
            (
                broken.iter().map(String::as_str).collect::<Vec<_>>(),
                found.iter().map(String::as_str).collect::<Vec<_>>()
            ),
            (laws.to_vec(), findings.to_vec()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn the_registration_names_what_undoes_what() {
    let world = world(Behaviour::default()).await;
    let registration = world.payment.participant().registration("http://127.0.0.1:7104");
    let registration = serde_json::to_value(registration).expect("JSON");
    assert_eq!(registration["operations"]["charge"]["compensation"], "refund");
    assert_eq!(registration["operations"].as_object().map(serde_json::Map::len), Some(2));
}
