//! Orders in a database in memory: what is written is what was decided, and the audit sees what is broken.

use std::collections::BTreeMap;

use amends_wire::participant::CallOp;
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use super::*;
use crate::audit::audit;
use crate::book::{Cause, Verdict};
use crate::command::Operation;
use crate::listing;

const SCHEMA: [&str; 3] = [
    include_str!("../../../../migrations/order/sqlite/0001_order.sql"),
    include_str!("../../../../migrations/order/sqlite/0002_steps.sql"),
    include_str!("../../../../migrations/order/sqlite/0003_payment.sql"),
];

async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
    for schema in SCHEMA {
        sqlx::raw_sql(schema).execute(&mut connection).await.expect("the schema");
    }
    connection
}

const NOW: i64 = 1_700_000_000_000;

/// One call: who, what, and with which body.
struct Call {
    saga: &'static str,
    step: String,
    operation: Operation,
    op: CallOp,
    body: Value,
}

fn call(operation: Operation, body: Value) -> Call {
    Call { saga: "saga-1", step: operation.to_string(), operation, op: CallOp::Action, body }
}

fn placement(order: &str) -> Value {
    json!({ "order": order, "customer": "c-1", "lines": [
        { "sku": 1, "qty": 2, "price_minor": 10 }, { "sku": 2, "qty": 1, "price_minor": 5 },
    ] })
}

/// Decides calls as one batch in one transaction; answers the states they led to.
async fn batch(connection: &mut SqliteConnection, calls: &[Call]) -> Vec<String> {
    let mut transaction = connection.begin().await.expect("a transaction");
    let commands: Vec<_> = calls
        .iter()
        .map(|call| {
            call.operation.read(&call.body, call.op == CallOp::Compensation).expect("a body that fits")
        })
        .collect();
    let mut wanted = Wanted::default();
    for (call, command) in calls.iter().zip(&commands) {
        wanted.add(command, call.saga, &call.step);
    }
    let mut book = load(&mut transaction, wanted).await.expect("a book");
    let decide = |(call, command): (&Call, _)| {
        let cause =
            Cause { saga: call.saga, step: &call.step, operation: call.operation, op: call.op, now: NOW };
        match book.decide(&cause, command) {
            Verdict::Done(view) => view["state"].as_str().expect("a state").to_owned(),
            Verdict::Refused { .. } => "refused".to_owned(),
        }
    };
    let states = calls.iter().zip(&commands).map(decide).collect();
    save(&mut transaction, Changes::of(&book).expect("changes"), NOW).await.expect("it is saved");
    transaction.commit().await.expect("committed");
    states
}

async fn broken(connection: &mut SqliteConnection) -> Vec<&'static str> {
    let found = audit(connection).await.expect("an audit");
    found.invariants.into_iter().filter(|invariant| !invariant.kept).map(|invariant| invariant.name).collect()
}

#[tokio::test]
async fn a_life_of_an_order_is_written_as_decided() {
    let mut database = database().await;
    let order = || json!({ "order": "A" });
    let part = json!({ "order": "A", "refund": "R-1", "reason": "torn", "lines": [{ "sku": 1, "qty": 1 }] });
    assert_eq!(batch(&mut database, &[call(Operation::Create, placement("A"))]).await, ["created"]);
    assert_eq!(batch(&mut database, &[call(Operation::Pay, order())]).await, ["paid"]);
    assert_eq!(batch(&mut database, &[call(Operation::Refund, part)]).await, ["part_refunded"]);
    assert_eq!(batch(&mut database, &[call(Operation::Ship, order())]).await, ["shipped"]);
    let detail = listing::order(&mut database, "A").await.expect("a listing").expect("the order");
    let detail = serde_json::to_value(detail).expect("JSON");
    assert_eq!(detail["state"], "shipped");
    assert_eq!(
        (&detail["total_minor"], &detail["refunded_minor"], &detail["version"]),
        (&json!(25), &json!(10), &json!(4))
    );
    assert_eq!(detail["created_at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(
        detail["lines"],
        json!([
            { "sku": 1, "qty": 2, "price_minor": 10, "refunded": 1, "refunding": 0, "shipped": 1 },
            { "sku": 2, "qty": 1, "price_minor": 5, "refunded": 0, "refunding": 0, "shipped": 1 },
        ])
    );
    assert_eq!(detail["refunds"][0]["lines"], json!([{ "sku": 1, "qty": 1 }]));
    let events: Vec<String> = detail["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| format!("{} {} {}", event["from"].as_str().unwrap_or("-"), event["to"], event["saga"]))
        .collect();
    assert_eq!(events[0], "- \"created\" \"saga-1\"");
    assert_eq!(events[3], "part_refunded \"shipped\" \"saga-1\"");
    assert!(listing::order(&mut database, "B").await.expect("a listing").is_none());
    assert_eq!(broken(&mut database).await, [""; 0]);
}

#[tokio::test]
async fn one_batch_may_take_an_order_through_several_states() {
    let mut database = database().await;
    let order = |number: &str| json!({ "order": number });
    let undo = |operation, number: &str| Call {
        op: CallOp::Compensation,
        step: format!("step-of-{number}"),
        ..call(operation, order(number))
    };
    let calls = [
        call(Operation::Create, placement("A")),
        call(Operation::Create, placement("B")),
        call(Operation::Create, placement("A")),
        call(Operation::Pay, order("A")),
        call(Operation::Pay, order("C")),
        undo(Operation::Refund, "A"),
        undo(Operation::Cancel, "A"),
        call(Operation::Pay, order("B")),
    ];
    let states = batch(&mut database, &calls).await;
    assert_eq!(states, ["created", "created", "refused", "paid", "refused", "refunded", "cancelled", "paid"]);
    let states = batch(&mut database, &[undo(Operation::Refund, "B"), undo(Operation::Cancel, "B")]).await;
    assert_eq!(states, ["refunded", "cancelled"]);
    assert_eq!(broken(&mut database).await, [""; 0]);
    let totals = audit(&mut database).await.expect("an audit").totals;
    assert_eq!((totals.orders, totals.events, totals.refunds, totals.pieces), (2, 8, 2, 0));
    assert_eq!(totals.by_state, BTreeMap::from([("cancelled".to_owned(), 2)]));
}

#[tokio::test]
async fn batches_of_any_size_lead_to_the_same_orders() {
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut draw = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let calls: Vec<Call> = (0..400)
        .map(|index| {
            let operation = Operation::ALL[draw(7) as usize];
            let number = format!("O-{}", draw(12));
            let mut body =
                if operation == Operation::Create { placement(&number) } else { json!({ "order": number }) };
            if matches!(operation, Operation::Refund | Operation::Ship) && draw(2) == 0 {
                body["lines"] = json!([{ "sku": 1 + draw(2), "qty": 1 }]);
            }
            let undo = draw(4) == 0 && matches!(operation, Operation::Refund | Operation::Cancel);
            let op = if undo { CallOp::Compensation } else { CallOp::Action };
            Call { saga: "saga-1", step: format!("s{index}"), operation, op, body }
        })
        .collect();
    let (mut single, mut batched) = (database().await, database().await);
    let (mut expected, mut met) = (Vec::new(), Vec::new());
    for one in &calls {
        expected.extend(batch(&mut single, std::slice::from_ref(one)).await);
    }
    let mut rest = calls.as_slice();
    while !rest.is_empty() {
        let (some, others) = rest.split_at(rest.len().min(1 + draw(40) as usize));
        met.extend(batch(&mut batched, some).await);
        rest = others;
    }
    assert_eq!(met, expected);
    let orders = async |database: &mut SqliteConnection| {
        let page = listing::orders_after(database, "", 500).await.expect("a listing");
        serde_json::to_value(page.items).expect("JSON")
    };
    assert_eq!(orders(&mut batched).await, orders(&mut single).await);
    assert_eq!(broken(&mut single).await, [""; 0]);
    assert_eq!(broken(&mut batched).await, [""; 0]);
    let ended = expected.iter().collect::<BTreeSet<_>>().len();
    assert!(ended >= 8, "the run meets most states: {ended}");
}

#[tokio::test]
async fn an_order_of_a_thousand_lines_is_one_batch_like_any_other() {
    let mut database = database().await;
    let lines: Vec<Value> =
        (1..=1000).rev().map(|sku| json!({ "sku": sku, "qty": 3, "price_minor": sku })).collect();
    let calls = [
        call(Operation::Create, json!({ "order": "big", "lines": lines })),
        call(Operation::Pay, json!({ "order": "big", "amount_minor": 3 * 500_500 })),
    ];
    assert_eq!(batch(&mut database, &calls).await, ["created", "paid"]);
    let refund = call(Operation::Refund, json!({ "order": "big" }));
    assert_eq!(batch(&mut database, &[refund]).await, ["refunded"]);
    assert_eq!(broken(&mut database).await, [""; 0]);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let mut database = database().await;
    let calls: Vec<Call> =
        (0..7).map(|index| call(Operation::Create, placement(&format!("O-{index}")))).collect();
    batch(&mut database, &calls).await;
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = listing::orders_after(&mut database, &after, 3).await.expect("a page");
        seen.extend(page.items.into_iter().map(|entry| entry.order));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(seen, (0..7).map(|index| format!("O-{index}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_that_is_not_as_it_was_loaded_stops_the_batch() {
    let mut database = database().await;
    batch(&mut database, &[call(Operation::Create, placement("A"))]).await;
    let pay = call(Operation::Pay, json!({ "order": "A" }));
    let command = pay.operation.read(&pay.body, false).expect("it fits");
    let mut wanted = Wanted::default();
    wanted.add(&command, pay.saga, &pay.step);
    let mut book = load(&mut database, wanted).await.expect("a book");
    batch(&mut database, &[call(Operation::Cancel, json!({ "order": "A" }))]).await;
    let cause = Cause { saga: pay.saga, step: &pay.step, operation: pay.operation, op: pay.op, now: NOW };
    assert!(matches!(book.decide(&cause, &command), Verdict::Done(_)), "the book does not know");
    let error = save(&mut database, Changes::of(&book).expect("changes"), 0).await.expect_err("a conflict");
    assert!(matches!(error, Error::Conflict { table: "orders", met: 0, expected: 1 }), "{error}");
}

#[tokio::test]
async fn updates_find_their_rows_by_key() {
    let mut database = database().await;
    for (table, sql) in [("orders", UPDATE_ORDERS), ("order_line", UPDATE_LINES)] {
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
            .bind("[]")
            .bind(0)
            .fetch_all(&mut database)
            .await
            .expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.try_get("detail").expect("a detail")).collect();
        assert!(
            plan.iter().any(|line| line.starts_with(&format!("SEARCH {table} USING PRIMARY KEY"))),
            "{plan:?}"
        );
    }
}

/// Breaks the tables behind the constraints' back and names the laws that the audit finds broken.
async fn plant(sql: &'static str) -> Vec<&'static str> {
    let mut database = database().await;
    let calls = [
        call(Operation::Create, placement("A")),
        call(Operation::Create, placement("B")),
        call(Operation::Pay, json!({ "order": "B" })),
    ];
    batch(&mut database, &calls).await;
    let refund = call(Operation::Refund, json!({ "order": "B", "lines": [{ "sku": 1, "qty": 1 }] }));
    batch(&mut database, &[refund]).await;
    assert_eq!(broken(&mut database).await, [""; 0]);
    sqlx::raw_sql("pragma foreign_keys = off; pragma ignore_check_constraints = on")
        .execute(&mut database)
        .await
        .expect("off");
    let planted = sqlx::raw_sql(sql).execute(&mut database).await.expect("planted");
    assert!(planted.rows_affected() > 0, "{sql}");
    broken(&mut database).await
}

#[tokio::test]
async fn the_audit_catches_every_planted_row() {
    let cases: [(&str, &[&str]); 13] = [
        ("update orders set state = 'cancelled' where order_no = 'A'", &["state_is_where_events_lead"]),
        ("update orders set amount_minor = 26 where order_no = 'A'", &["total_is_what_lines_come_to"]),
        (
            "update orders set version = 2 where order_no = 'A'",
            &["events_are_complete", "state_is_where_events_lead"],
        ),
        ("update orders set refunded_minor = 11 where order_no = 'B'", &["refunds_add_up"]),
        ("update refund set amount_minor = 11", &["refunds_add_up"]),
        (
            "update refund set state = 'begun', ended_at = null",
            &["refunds_add_up", "refunds_and_lines_agree"],
        ),
        (
            "update order_line set refunding = 1 where order_no = 'B' and sku_id = 2",
            &["refunds_and_lines_agree", "states_match_the_lines"],
        ),
        ("delete from order_line where order_no = 'A'", &["total_is_what_lines_come_to"]),
        (
            "update order_line set refunded = 3 where order_no = 'A' and sku_id = 1",
            &[
                "no_more_is_refunded_than_was_ordered",
                "refunds_add_up",
                "refunds_and_lines_agree",
                "states_match_the_lines",
            ],
        ),
        (
            "update order_line set shipped = 1 where order_no = 'A' and sku_id = 2",
            &["shipments_and_lines_agree", "states_match_the_lines"],
        ),
        (
            "update order_event set from_state = null where order_no = 'B' and version = 2",
            &["one_order_per_number", "events_are_legal_moves"],
        ),
        (
            "update order_event set to_state = 'shipped' where order_no = 'B' and version = 2",
            &["events_form_a_chain", "events_are_legal_moves"],
        ),
        (
            "delete from order_event where order_no = 'B' and version = 2",
            &["events_are_complete", "events_form_a_chain"],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(plant(sql).await, expected, "{sql}");
    }
}
