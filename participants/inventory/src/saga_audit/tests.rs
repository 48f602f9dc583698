//! The audit through the router: nothing to find after whatever was called, and every planted anomaly found and named.

use amends_saga::Status;
use amends_wire::api::StepStatus;
use amends_wire::audit::{
    Audited, Effect, EffectState, Page, Query, Reported, SagaRecord, Sagas, StepRecord, Terms, compare,
    names, read_all,
};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use crate::tests::{Shop, Step, cart, step};

impl Shop {
    /// The audit since a moment, all pages.
    async fn audited(&self, since: i64) -> Audited {
        let pages = read_all(Query { limit: 50, ..Query::since(since) }, 100_000, |query| async move {
            let cursor = query.cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let address = format!("/saga-audit?since={}&limit={}{cursor}", query.since, query.limit);
            let (status, body) = self.get(&address).await;
            assert_eq!(status, 200, "{body}");
            serde_json::from_value::<Page>(body)
        });
        pages.await.unwrap()
    }

    /// Writes to the database behind the inventory's back, whatever its constraints say.
    async fn plant(&self, sql: &'static str) {
        let mut books = SqliteConnection::connect(&self.store).await.unwrap();
        let lawless =
            "pragma foreign_keys = off; pragma ignore_check_constraints = on; pragma busy_timeout = 5000;";
        sqlx::raw_sql(lawless).execute(&mut books).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut books).await.unwrap();
    }
}

fn effect_of(audited: &Audited, step: Step) -> &Effect {
    let (saga, name) = (Uuid::from_u128(step.saga), step.name);
    audited.effects.iter().find(|effect| effect.saga == saga && effect.step == name).unwrap()
}

/// The names of findings with their saga and step.
fn told(findings: &[Reported]) -> Vec<(String, u128, String)> {
    let about = |finding: &Reported| {
        let saga = finding.saga.map(|saga| saga.as_u128()).unwrap_or_default();
        (finding.name.clone(), saga, finding.step.clone().unwrap_or_default())
    };
    findings.iter().map(about).collect()
}

#[tokio::test]
async fn an_effect_is_told_in_the_words_of_the_call() {
    let shop = Shop::open(&[(7, 10), (9, 10)]).await;
    let body = cart("1001", &[(9, 1), (7, 2), (9, 3)]);
    let lines = json!([{"sku": 7, "qty": 2}, {"sku": 9, "qty": 4}]);
    shop.act("hold", step(1, "reserve"), &body).await;
    let audited = shop.audited(0).await;
    let held = effect_of(&audited, step(1, "reserve"));
    assert_eq!(held.effect, Some(json!({ "order": "1001", "lines": lines })));
    // The call and its hold are stamped one after the other, so the two may be some milliseconds apart.
    let left = held.expires_at.unwrap() - held.at;
    assert!((14 * 60_000..=16 * 60_000).contains(&left), "{left}");

    shop.act("confirm", step(1, "confirm"), &body).await;
    shop.act("deduct", step(2, "deduct"), &cart("1002", &[(7, 3)])).await;
    shop.undo("restore", step(2, "deduct"), &cart("1002", &[(7, 3)])).await;
    shop.act("hold", step(3, "reserve"), &cart("1003", &[(7, 1000)])).await;
    let audited = shop.audited(0).await;
    let states: Vec<_> = audited
        .effects
        .iter()
        .map(|effect| (effect.saga.as_u128(), effect.step.as_str(), effect.op_state))
        .collect();
    let expected = [
        (1, "confirm", EffectState::Applied),
        (1, "reserve", EffectState::Applied),
        (2, "deduct", EffectState::Undone),
        (3, "reserve", EffectState::Barred),
    ];
    assert_eq!(states, expected);
    let held = effect_of(&audited, step(1, "reserve"));
    assert_eq!((held.expires_at, &held.effect), (None, &Some(json!({ "order": "1001", "lines": lines }))));
    assert_eq!(effect_of(&audited, step(1, "confirm")).effect, Some(json!({ "order": "1001" })));
    assert_eq!(effect_of(&audited, step(3, "reserve")).effect, None);
    assert_eq!(audited.findings, []);
}

/// Numbers that look drawn by lot, the same for the same seed.
struct Lot(u64);

impl Lot {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[tokio::test]
async fn a_short_hold_is_told_by_its_order_and_leaves_nothing_to_find() {
    let shop = Shop::open(&[(7, 3), (9, 10)]).await;
    for (saga, order) in [(1, "a"), (2, "b"), (3, "c")] {
        let body = cart(order, &[(7, 2), (9, 1)]);
        assert_eq!(shop.act("hold_short", step(saga, "stock"), &body).await.0, 200);
    }
    assert_eq!(shop.undo("release_short", step(2, "stock"), &cart("b", &[(7, 2), (9, 1)])).await.0, 200);
    let audited = shop.audited(0).await;
    assert!(audited.findings.is_empty(), "{:?}", audited.findings);
    // The cart that was asked for is more than was taken, and is no word for it.
    for (saga, order, state) in
        [(1, "a", EffectState::Applied), (2, "b", EffectState::Undone), (3, "c", EffectState::Applied)]
    {
        let told = effect_of(&audited, step(saga, "stock"));
        assert_eq!((&told.effect, told.op_state), (&Some(json!({ "order": order })), state));
    }
    shop.assert_sound().await;
}

#[tokio::test]
async fn after_hundreds_of_calls_of_any_kind_there_is_nothing_to_find() {
    let shop = Shop::open(&[(1, 300), (2, 300), (3, 40)]).await;
    let mut lot = Lot(20_261_121);
    let operations = ["hold", "hold", "deduct", "deduct", "confirm", "release", "restore", "refund", "ship"];
    let undo = |operation: &str| match operation {
        "hold" => Some("release"),
        "deduct" | "confirm" => Some("restore"),
        _ => None,
    };
    let mut done = Vec::new();
    for _ in 0..600 {
        let saga = u128::from(lot.draw(60) + 1);
        let (order, count) = (format!("A-{saga}"), lot.draw(3) + 1);
        let lines: Vec<(i64, i64)> =
            (0..count).map(|_| (lot.draw(3) as i64 + 1, lot.draw(4) as i64 + 1)).collect();
        let operation = operations[lot.draw(9) as usize];
        let name = ["one", "two", "three", "four", "five", "six"][lot.draw(6) as usize];
        let body = cart(&order, &lines);
        match undo(operation) {
            Some(undo) if lot.draw(4) == 0 => {
                shop.undo(undo, step(saga, name), &body).await;
            }
            _ => {
                shop.act(operation, step(saga, name), &body).await;
                done.push((operation, step(saga, name), body));
            }
        }
        if lot.draw(3) == 0 && !done.is_empty() {
            let (operation, step, body) = &done[lot.draw(done.len() as u64) as usize];
            if let Some(undo) = undo(operation) {
                shop.undo(undo, *step, body).await;
            }
        }
    }
    shop.assert_sound().await;
    let audited = shop.audited(0).await;
    assert_eq!(told(&audited.findings), []);
    assert_eq!(audited.doubled, []);
    let count = |state| audited.effects.iter().filter(|effect| effect.op_state == state).count();
    for state in [EffectState::Applied, EffectState::Undone, EffectState::Barred] {
        assert!(count(state) > 20, "{} are {}", count(state), state.as_str());
    }
}

/// Two holds, a deduction, one undone and one refused; then something goes wrong in the database.
async fn check(case: &str, sql: &'static str, expected: &[(&str, u128, &str)]) -> Audited {
    let shop = Shop::open(&[(7, 100), (9, 100)]).await;
    shop.act("hold", step(1, "reserve"), &cart("1001", &[(7, 2), (9, 4)])).await;
    shop.act("deduct", step(2, "deduct"), &cart("1002", &[(7, 3)])).await;
    shop.act("hold", step(3, "reserve"), &cart("1003", &[(9, 5)])).await;
    shop.undo("release", step(3, "reserve"), &cart("1003", &[(9, 5)])).await;
    shop.act("hold", step(4, "reserve"), &cart("1004", &[(9, 1000)])).await;
    assert_eq!(told(&shop.audited(0).await.findings), [], "{case}");
    shop.plant(sql).await;
    let audited = shop.audited(0).await;
    let expected: Vec<_> =
        expected.iter().map(|(name, saga, step)| ((*name).to_owned(), *saga, (*step).to_owned())).collect();
    assert_eq!(told(&audited.findings), expected, "{case}: {:#?}", audited.findings);
    assert_eq!(shop.audited(i64::MAX / 2).await, Audited { since: i64::MAX / 2, ..Audited::default() });
    audited
}

#[tokio::test]
async fn every_planted_anomaly_is_found_and_named() {
    check("nothing", "select 1", &[]).await;
    let lost = [(names::EFFECT_LOST, 1, "reserve")];
    check("a hold is lost", "delete from inv_hold where order_no = '1001' and line_no = 1", &lost).await;
    check("a flow is lost", "delete from inv_flow where biz_no = '1001' and line_no = 2", &lost).await;
    let both = "delete from inv_hold where order_no = '1001' and line_no = 1;
        delete from inv_flow where biz_no = '1001' and line_no = 1";
    check("both are lost", both, &lost).await;
    let doubled = "insert into inv_flow (op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped,
            hold_id, saga, step, created_at)
        select op, biz_no, line_no + 100, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id, saga, step,
            created_at from inv_flow where biz_no = '1002'";
    check("a flow is doubled", doubled, &[(names::DOUBLED_EFFECT, 2, "deduct")]).await;
    let doubled = "insert into inv_hold select 1000, order_no, line_no + 100, stock_id, bucket_no, epoch, qty, released,
            shipped, state, made_saga, made_step, confirmed_saga, confirmed_step, expires_at, created_at
        from inv_hold where order_no = '1002'";
    check("a hold is doubled", doubled, &[(names::DOUBLED_EFFECT, 2, "deduct")]).await;
    let wrong = [(names::WRONG_QUANTITY, 2, "deduct")];
    check("a hold has another quantity", "update inv_hold set qty = 4 where order_no = '1002'", &wrong).await;
    check("a flow has another quantity", "update inv_flow set qty = 2 where biz_no = '1002'", &wrong).await;
    let back = "update inv_hold set released = 0, state = 2, confirmed_saga = 'x', confirmed_step = 'x'
        where order_no = '1003'";
    check("an undone hold stands", back, &[(names::EFFECT_LEFT_BEHIND, 3, "reserve")]).await;
    let barred = "update inv_flow set saga = '00000000-0000-0000-0000-000000000004', step = 'reserve'
        where biz_no = '1002'";
    let found = [(names::EFFECT_LOST, 2, "deduct"), (names::EFFECT_THOUGH_BARRED, 4, "reserve")];
    let audited = check("a refused step has a flow", barred, &found).await;
    assert_eq!(audited.effects.len(), 4);
    let barrier = "delete from saga_barrier where step = 'deduct'";
    let found = [(names::ORPHAN_HOLD, 2, "deduct"), (names::ORPHAN_EFFECT, 2, "deduct")];
    check("the barrier has lost a step", barrier, &found).await;
}

#[tokio::test]
async fn a_hold_that_nobody_called_for_is_an_orphan() {
    let orphan = "insert into inv_hold select 1000, 'X-1', 1, stock_id, 0, 1, 6, 0, 0, 1,
            '00000000-0000-0000-0000-0000000000ff', 'reserve', null, null, created_at + 900000, created_at
        from inv_hold where order_no = '1002'";
    let audited = check("an orphan", orphan, &[(names::ORPHAN_HOLD, 255, "reserve")]).await;
    let detail = audited.findings[0].detail.clone().unwrap();
    assert_eq!((&detail["order"], &detail["qty"], &detail["sku"]), (&json!("X-1"), &json!(6), &json!(7)));
    let refused = "insert into inv_hold select 1000, '1004', 1, stock_id, 0, 1, 6, 0, 0, 1,
            '00000000-0000-0000-0000-000000000004', 'reserve', null, null, created_at + 900000, created_at
        from inv_hold where order_no = '1002'";
    check("of a refused step", refused, &[(names::EFFECT_THOUGH_BARRED, 4, "reserve")]).await;
}

#[tokio::test]
async fn a_hold_tells_until_when_it_stands_and_pages_are_bounded() {
    let shop = Shop::open(&[(7, 1000)]).await;
    for saga in 1..=120 {
        let body = cart(&format!("A-{saga}"), &[(7, 1)]);
        assert_eq!(shop.act("hold", step(saga, "reserve"), &body).await.0, 200);
    }
    shop.plant("update inv_hold set expires_at = 5 where order_no = 'A-7'").await;
    let audited = shop.audited(0).await;
    assert_eq!(audited.effects.len(), 120);
    assert_eq!(effect_of(&audited, step(7, "reserve")).expires_at, Some(5));
    let (_, page): (u16, Value) = shop.get("/saga-audit?limit=50").await;
    assert_eq!(page["effects"].as_array().unwrap().len(), 50);
    for (query, says) in [("cursor=own.7.1", "next"), ("cursor=x", "next"), ("since=x", "moment")] {
        let (status, body) = shop.get(&format!("/saga-audit?{query}")).await;
        assert_eq!((status, &body["slug"]), (400, &json!("bad_query")), "{query}");
        assert!(body["detail"].as_str().unwrap().contains(says), "{body}");
    }
}

/// A saga of one step, as its coordinator tells of it, an hour after all of it.
fn told_by_a_coordinator(saga: u128, status: Status, operation: &str, sent: &Value) -> SagaRecord {
    let (name, status_of_step) = match operation {
        "deduct" => ("deduct", StepStatus::Done),
        _ => {
            ("reserve", if status == Status::Completed { StepStatus::Done } else { StepStatus::Compensated })
        }
    };
    let step = StepRecord {
        name: name.to_owned(),
        participant: "inventory".to_owned(),
        operation: operation.to_owned(),
        branch: None,
        status: status_of_step,
        is_compensable: true,
        is_by_hand: false,
        sent: Some(sent.clone()),
    };
    SagaRecord {
        id: Uuid::from_u128(saga),
        status,
        created_at: 3_600_000,
        updated_at: 3_600_000,
        steps: vec![step],
    }
}

/// Four sagas, the same at the inventory and at their coordinator; then `change` is done to the books, and the names of
/// what an hour later does not agree any more are told.
async fn check_against_sagas(case: &str, change: &'static str, expected: &[(&str, u128)]) {
    let shop = Shop::open(&[(7, 100), (9, 100)]).await;
    let carts = [
        (1, Status::Completed, "hold", cart("1001", &[(9, 1), (7, 2), (9, 3)])),
        (2, Status::Completed, "deduct", cart("1002", &[(7, 3)])),
        (3, Status::Compensated, "hold", cart("1003", &[(9, 5)])),
        (4, Status::Compensated, "hold", cart("1004", &[(9, 1000)])),
    ];
    let mut sagas = Sagas::default();
    for (saga, status, operation, body) in &carts {
        let record = told_by_a_coordinator(*saga, *status, operation, body);
        let name = if *operation == "deduct" { "deduct" } else { "reserve" };
        shop.act(operation, step(*saga, name), body).await;
        if *status == Status::Compensated {
            shop.undo("release", step(*saga, name), body).await;
        }
        sagas.add(record);
    }
    shop.plant(change).await;
    sagas.add_unknown(Uuid::from_u128(99));
    let audited = shop.audited(0).await;
    let latest = audited.effects.iter().map(|effect| effect.at).max().unwrap_or_default();
    let terms = Terms { now: latest + 600_000, settle_ms: 60_000, traceless: Default::default() };
    let comparison = compare("inventory", &audited, &sagas, &terms);
    let found: Vec<(&str, u128)> = comparison
        .findings
        .iter()
        .map(|f| (f.name.as_str(), f.saga.map(|saga| saga.as_u128()).unwrap_or_default()))
        .collect();
    assert_eq!(found, expected, "{case}: {:#?}", comparison.findings);
}

#[tokio::test]
async fn what_the_books_say_is_held_against_what_sagas_say() {
    check_against_sagas("nothing", "select 1", &[]).await;
    let expired = "update inv_hold set expires_at = 5 where order_no = '1001'";
    check_against_sagas("a hold past its expiry", expired, &[(names::HOLD_PAST_ITS_EXPIRY, 1)]).await;
    let less = "update inv_hold set qty = 1 where order_no = '1001' and line_no = 1;
        update inv_flow set qty = 1 where biz_no = '1001' and line_no = 1;
        update saga_barrier set response = replace(response, '\"qty\":2', '\"qty\":1') where step = 'reserve'";
    let found = [(names::WRONG_QUANTITY, 1)];
    check_against_sagas("less than was asked for, and the books agree", less, &found).await;
    let line = "delete from inv_hold where order_no = '1001' and line_no = 1;
        delete from inv_flow where biz_no = '1001' and line_no = 1";
    let found = [(names::EFFECT_LOST, 1), (names::EFFECT_DIFFERS, 1)];
    check_against_sagas("a line without a trace", line, &found).await;
    let all = "delete from inv_hold where order_no = '1002'; delete from inv_flow where biz_no = '1002';
        delete from saga_barrier where step = 'deduct'";
    check_against_sagas("a saga without a trace", all, &[(names::EFFECT_LOST, 2)]).await;
    let undo = "delete from saga_barrier where op = 1 and saga_id = x'00000000000000000000000000000003'";
    check_against_sagas("a reversal lost", undo, &[(names::EFFECT_LEFT_BEHIND, 3)]).await;
    let stranger =
        "update saga_barrier set saga_id = x'00000000000000000000000000000063' where step = 'deduct';
        update inv_hold set made_saga = '00000000-0000-0000-0000-000000000063' where order_no = '1002';
        update inv_flow set saga = '00000000-0000-0000-0000-000000000063' where biz_no = '1002'";
    let found = [(names::EFFECT_WITHOUT_A_SAGA, 99), (names::EFFECT_LOST, 2)];
    check_against_sagas("another saga's", stranger, &found).await;
}
