//! The audit through the router: nothing to find after whatever was called, and every planted anomaly found and named.

use amends_wire::audit::{Audited, EffectState, Page, Query, names, read_all};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use crate::tests::{Sent, Shop, action, placement, saga, shop, undo};

impl Shop {
    /// The audit since a moment, all pages.
    async fn audited(&self, since: i64) -> Audited {
        let pages = read_all(Query { limit: 20, ..Query::since(since) }, 100_000, |query| async move {
            let cursor = query.cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let (status, body) =
                self.get(&format!("/saga-audit?since={since}&limit={}{cursor}", query.limit)).await;
            assert_eq!(status, 200, "{body}");
            serde_json::from_value::<Page>(body)
        });
        pages.await.unwrap()
    }

    /// Writes to the database behind the orders' back, whatever its constraints say.
    async fn plant(&self, sql: &'static str) {
        let mut books = SqliteConnection::connect(&self.store).await.unwrap();
        let lawless =
            "pragma foreign_keys = off; pragma ignore_check_constraints = on; pragma busy_timeout = 5000;";
        sqlx::raw_sql(lawless).execute(&mut books).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut books).await.unwrap();
    }
}

/// The names of findings with their saga and step.
fn told(audited: &Audited) -> Vec<(&str, u128, &str)> {
    let about = |saga: Option<Uuid>| saga.map(|saga| saga.as_u128()).unwrap_or_default();
    let findings = audited.findings.iter();
    findings.map(|f| (f.name.as_str(), about(f.saga), f.step.as_deref().unwrap_or_default())).collect()
}

/// An order that is paid, one that is called off again, one that was paid and made good, one refunded in part.
async fn some_orders() -> Shop {
    let shop = shop().await;
    let order = |number: &str| json!({ "order": number });
    let create = |number: u128, order: &str| action(saga(number), "create", placement(order));
    let pay = |number: u128, order: Value| action(saga(number), "pay", order);
    let part = json!({ "order": "D", "refund": "R-1", "lines": [{ "sku": 1, "qty": 1 }] });
    for sent in [
        create(1, "A"),
        pay(1, order("A")),
        create(2, "B"),
        undo(&create(2, "B"), "cancel"),
        create(3, "C"),
        pay(3, order("C")),
        undo(&pay(3, order("C")), "refund"),
        create(4, "D"),
        pay(4, json!({ "order": "D", "amount_minor": 25 })),
        action(saga(5), "refund", part),
    ] {
        let (status, answer) = shop.send(&sent).await;
        assert_eq!(status, 200, "{sent:?}: {answer}");
    }
    assert_eq!(shop.send(&create(6, "A")).await.0, 409);
    shop
}

#[tokio::test]
async fn an_effect_is_told_in_the_words_of_the_call() {
    use EffectState::{Applied, Barred, Undone};
    let audited = some_orders().await.audited(0).await;
    let lines = json!([{"sku": 1, "qty": 2, "price_minor": 10}, {"sku": 2, "qty": 1, "price_minor": 5}]);
    let placed = |order: &str| {
        Some(
            json!({ "order": order, "customer": null, "currency": "EUR", "lines": lines, "total_minor": 25, "total": 25 }),
        )
    };
    let paid = |order: &str| Some(json!({ "order": order, "amount_minor": 25 }));
    let refund = json!({ "order": "D", "refund": "R-1", "lines": [{"sku": 1, "qty": 1}] });
    let expected = [
        (1, "create", Applied, placed("A")),
        (1, "pay", Applied, paid("A")),
        (2, "create", Undone, placed("B")),
        (3, "create", Applied, placed("C")),
        (3, "pay", Undone, paid("C")),
        (4, "create", Applied, placed("D")),
        (4, "pay", Applied, paid("D")),
        (5, "refund", Applied, Some(refund)),
        (6, "create", Barred, None),
    ];
    let effects = audited.effects.iter();
    let found: Vec<_> =
        effects.map(|e| (e.saga.as_u128(), e.step.as_str(), e.op_state, e.effect.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(told(&audited), []);
}

#[tokio::test]
async fn after_hundreds_of_calls_of_any_kind_there_is_nothing_to_find() {
    let shop = shop().await;
    let mut seed = 20_261_121_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let operations = ["create", "create", "reserve", "pay", "pay", "ship", "complete", "refund", "cancel"];
    let mut done: Vec<Sent> = Vec::new();
    for _ in 0..800 {
        let number = u128::from(draw(60) + 1);
        let operation = operations[draw(9) as usize];
        let body = match operation {
            "create" => placement(&format!("A-{number}")),
            "ship" | "refund" if draw(2) == 0 => {
                json!({ "order": format!("A-{number}"), "lines": [{ "sku": 1, "qty": 1 }] })
            }
            _ => json!({ "order": format!("A-{number}") }),
        };
        let sent = action(saga(number), operation, body);
        let undoes = |sent: &Sent| match sent.operation {
            "create" => Some(undo(sent, "cancel")),
            "pay" => Some(undo(sent, "refund")),
            _ => None,
        };
        match undoes(&sent) {
            Some(early) if draw(8) == 0 => drop(shop.send(&early).await),
            _ => {
                shop.send(&sent).await;
                done.push(sent);
            }
        }
        let again = &done[draw(done.len().max(1) as u64) as usize % done.len().max(1)..];
        if let Some(late) = again.first().and_then(undoes).filter(|_| draw(4) == 0) {
            shop.send(&late).await;
        }
    }
    shop.assert_kept().await;
    let audited = shop.audited(0).await;
    assert_eq!(told(&audited), [], "{:#?}", audited.findings);
    let count = |state| audited.effects.iter().filter(|effect| effect.op_state == state).count();
    for state in [EffectState::Applied, EffectState::Undone, EffectState::Barred] {
        assert!(count(state) > 15, "{} are {}", count(state), state.as_str());
    }
}

async fn check(case: &str, sql: &'static str, expected: &[(&str, u128, &str)]) {
    let shop = some_orders().await;
    assert_eq!(told(&shop.audited(0).await), [], "{case}");
    shop.plant(sql).await;
    let audited = shop.audited(0).await;
    assert_eq!(told(&audited), expected, "{case}: {:#?}", audited.findings);
    let later = shop.audited(i64::MAX / 2).await;
    assert_eq!((later.effects.len(), later.findings.len()), (0, 0), "{case}");
}

#[tokio::test]
async fn every_planted_anomaly_is_found_and_named() {
    let lost = [(names::EFFECT_LOST, 1, "create")];
    check("a line is lost", "delete from order_line where order_no = 'A' and sku_id = 1", &lost).await;
    check("all lines are lost", "delete from order_line where order_no = 'A'", &lost).await;
    let both = [lost[0], (names::EFFECT_LOST, 1, "pay")];
    check("an order is lost", "delete from orders where order_no = 'A'", &both).await;
    check(
        "an event is lost",
        "delete from order_event where order_no = 'A' and operation = 'pay'",
        &both[1..],
    )
    .await;
    check(
        "a refund is lost",
        "delete from refund where refund_no = 'R-1'",
        &[(names::EFFECT_LOST, 5, "refund")],
    )
    .await;
    let wrong = [(names::WRONG_QUANTITY, 1, "create")];
    check(
        "a quantity is another",
        "update order_line set qty = 3 where order_no = 'A' and sku_id = 1",
        &wrong,
    )
    .await;
    check("a total is another", "update orders set amount_minor = 26 where order_no = 'A'", &wrong).await;
    let less = "update refund set amount_minor = 1 where refund_no = 'R-1'";
    check("a refund is another", less, &[(names::WRONG_QUANTITY, 5, "refund")]).await;
    let doubled = "insert into order_event select event_id + 100, order_no, version + 10, from_state, to_state, operation, op,
        note, saga, step, at from order_event where order_no = 'A' and operation = 'pay'";
    check("an event is doubled", doubled, &[(names::DOUBLED_EFFECT, 1, "pay")]).await;
    let doubled = "insert into refund select 'R-2', order_no, state, amount_minor, reason, saga, step, created_at, ended_at
        from refund where refund_no = 'R-1'";
    check("a refund is doubled", doubled, &[(names::DOUBLED_EFFECT, 5, "refund")]).await;
    let back = "update orders set state = 'created' where order_no = 'B'";
    check("a cancelled order stands", back, &[(names::EFFECT_LEFT_BEHIND, 2, "create")]).await;
    let back = "update orders set state = 'paid' where order_no = 'C'";
    check("a refunded order is paid", back, &[(names::EFFECT_LEFT_BEHIND, 3, "pay")]).await;
    let orphan = "insert into order_event select event_id + 100, 'X', 1, null, 'created', 'create', 'action', null,
        '00000000-0000-0000-0000-0000000000ff', 'create', at from order_event where order_no = 'A' and version = 1";
    check("an event nobody called for", orphan, &[(names::ORPHAN_EFFECT, 255, "create")]).await;
    let barred = "insert into order_event select event_id + 100, 'X', 1, null, 'created', 'create', 'action', null,
        '00000000-0000-0000-0000-000000000006', 'create', at from order_event where order_no = 'A' and version = 1";
    check("an event of a refused step", barred, &[(names::EFFECT_THOUGH_BARRED, 6, "create")]).await;
    let forgotten = "delete from saga_barrier where step = 'refund'";
    check("the barrier has lost a step", forgotten, &[(names::ORPHAN_EFFECT, 5, "refund")]).await;
}
