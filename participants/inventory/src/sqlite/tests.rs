//! The books in a real file: what is written is what was decided, and the laws hold in the database as well.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::*;
use crate::audit::audit;
use crate::ledger::Deed;
use crate::ledger::tests::{any_deed, as_the_barrier_lets_through, cart, cause, order};
use crate::outcome::{Done, Refusal};

const NOW: i64 = 1_000_000;
const HOLD_FOR: i64 = 900_000;

type Call = (Deed, Arc<Cause>);

async fn books(stock: &[(i64, i64)]) -> SqliteConnection {
    let options = SqliteConnectOptions::new().in_memory(true);
    let mut connection = options.connect().await.unwrap();
    for script in crate::MIGRATIONS {
        sqlx::raw_sql(script).execute(&mut connection).await.unwrap();
    }
    for (sku, qty) in stock {
        let body = json!({"biz_no": format!("in-{sku}"), "lines": [{"sku": sku, "qty": qty}]});
        replenish(&mut connection, &Delivery::read(&body).unwrap()).await;
    }
    connection
}

async fn replenish(connection: &mut SqliteConnection, delivery: &Delivery) {
    make_records(connection, delivery.lines().iter().map(|line| &line.record), NOW).await.unwrap();
    let records = delivery.lines().iter().map(|line| line.record.clone()).collect();
    let mut ledger = load(connection, &Scope { records, ..Scope::default() }, NOW, HOLD_FOR).await.unwrap();
    assert!(ledger.replenish(delivery));
    write(connection, &ledger.into_changes(), NOW).await.unwrap();
}

async fn batch(connection: &mut SqliteConnection, calls: &[Call]) -> Vec<Result<Done, Refusal>> {
    let mut transaction = connection.begin().await.unwrap();
    let mut scope = Scope::default();
    calls.iter().for_each(|(deed, _)| scope.add(deed));
    let mut ledger = load(&mut transaction, &scope, NOW, HOLD_FOR).await.unwrap();
    let answers = calls.iter().map(|(deed, cause)| ledger.decide(deed, cause).unwrap()).collect();
    write(&mut transaction, &ledger.into_changes(), NOW).await.unwrap();
    transaction.commit().await.unwrap();
    answers
}

/// All that the tables say.
async fn dump(connection: &mut SqliteConnection) -> Vec<String> {
    let mut all = Vec::new();
    for query in [
        "select json_array(stock_id, usable, held, shipped, inbound) from inv_bucket order by 1",
        "select json_array(hold_id, order_no, line_no, stock_id, qty, released, shipped, state, made_saga, made_step,
            confirmed_saga, confirmed_step, expires_at, created_at) from inv_hold order by hold_id",
        "select json_array(flow_id, op, biz_no, line_no, stock_id, qty, d_usable, d_held, d_shipped, hold_id, saga, step,
            created_at) from inv_flow order by flow_id",
    ] {
        all.extend(sqlx::query_scalar::<_, String>(query).fetch_all(&mut *connection).await.unwrap());
    }
    all
}

#[test]
fn a_merged_batch_writes_what_the_same_calls_write_one_by_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config::with_cases(64));
    let calls = prop::collection::vec(any_deed(), 0..30);
    runner
        .run(&(calls, 0..30usize), |(calls, cut)| {
            let calls = as_the_barrier_lets_through(calls);
            let (first, second) = calls.split_at(cut.min(calls.len()));
            runtime.block_on(async {
                let stock = [(1, 9), (2, 5), (3, 2)];
                let (mut merged, mut single) = (books(&stock).await, books(&stock).await);
                let mut answers = batch(&mut merged, first).await;
                answers.extend(batch(&mut merged, second).await);
                let mut one_by_one = Vec::new();
                for call in &calls {
                    one_by_one.extend(batch(&mut single, std::slice::from_ref(call)).await);
                }
                prop_assert_eq!(answers, one_by_one);
                prop_assert_eq!(dump(&mut merged).await, dump(&mut single).await);
                let found = audit(&mut merged).await.unwrap();
                prop_assert!(found.kept, "{:?}", found);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_batch_larger_than_any_one_statement_is_written_whole() {
    let stock: Vec<(i64, i64)> = (1..=700).map(|sku| (sku, 100)).collect();
    let body: Vec<_> = stock.iter().map(|(sku, qty)| json!({"sku": sku, "qty": qty})).collect();
    let mut books = books(&[]).await;
    replenish(&mut books, &Delivery::read(&json!({"biz_no": "all", "lines": body})).unwrap()).await;
    let lines: Vec<(i64, i64)> = (1..=700).map(|sku| (sku, 2)).collect();
    let calls: Vec<Call> = (1..=4u128)
        .map(|saga| (Deed::Hold(cart(&saga.to_string(), &lines)), cause(saga, "a")))
        .chain([
            (Deed::Confirm(order("2")), cause(2, "b")),
            (Deed::Undo(order("3"), crate::ledger::Back::Release), cause(3, "a")),
        ])
        .collect();
    let answers = batch(&mut books, &calls).await;
    assert!(answers.iter().all(Result::is_ok));
    batch(&mut books, &[(Deed::Release(order("4")), cause(9, "timeout"))]).await;
    let found = audit(&mut books).await.unwrap();
    assert!(found.kept, "{found:?}");
    assert_eq!((found.totals.usable, found.totals.held, found.totals.released), (70_000 - 2800, 2800, 2800));
}

#[tokio::test]
async fn counters_that_somebody_else_has_written_meanwhile_are_not_written_over() {
    let mut connection = books(&[(1, 5), (2, 5)]).await;
    let deed = Deed::Hold(cart("1", &[(1, 1), (2, 1)]));
    let mut scope = Scope::default();
    scope.add(&deed);
    let mut ledger = load(&mut connection, &scope, NOW, HOLD_FOR).await.unwrap();
    assert!(ledger.decide(&deed, &cause(1, "a")).unwrap().is_ok());
    let taken = "update inv_bucket set usable = 3, held = 2, version = version + 1 where stock_id = 2";
    sqlx::query(taken).execute(&mut connection).await.unwrap();
    let refused = write(&mut connection, &ledger.into_changes(), NOW).await.unwrap_err();
    assert!(matches!(refused, Error::Count { table: "inv_bucket", meant: 2, written: 1 }), "{refused}");
    let kept = "select held from inv_bucket where stock_id = 2";
    assert_eq!(sqlx::query_scalar::<_, i64>(kept).fetch_one(&mut connection).await.unwrap(), 2);
}

/// Breaks the books behind the constraints' back and names the laws that the audit finds broken.
async fn check_planted(sql: &'static str, expected: &[&str]) {
    let mut books = books(&[(1, 10), (2, 10)]).await;
    batch(&mut books, &[(Deed::Hold(cart("1", &[(1, 4)])), cause(1, "a"))]).await;
    assert!(audit(&mut books).await.unwrap().kept);
    sqlx::raw_sql("pragma ignore_check_constraints = on").execute(&mut books).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut books).await.unwrap();
    let found = audit(&mut books).await.unwrap();
    let broken: Vec<&str> = found.invariants.iter().filter(|law| !law.kept).map(|law| law.name).collect();
    assert_eq!(broken, expected, "{sql}");
    assert!(!found.kept);
    assert!(found.invariants.iter().all(|law| law.kept == law.violations.is_empty()));
}

#[tokio::test]
async fn the_audit_catches_every_planted_row() {
    check_planted(
        "update inv_bucket set usable = -1, inbound = inbound - 7 where stock_id = 1",
        &["stock_never_negative", "flows_add_up"],
    )
    .await;
    check_planted("update inv_bucket set inbound = 11 where stock_id = 2", &["stock_is_balanced"]).await;
    check_planted("update inv_bucket set usable = 11, inbound = 11 where stock_id = 2", &["flows_add_up"])
        .await;
    check_planted("delete from inv_flow where op = 1 and stock_id = 2", &["flows_add_up"]).await;
    check_planted(
        "update inv_hold set released = 1",
        &["held_is_what_holds_have_open", "holds_match_their_flows"],
    )
    .await;
    check_planted(
        "update inv_hold set released = 5",
        &["held_is_what_holds_have_open", "no_more_comes_back_than_was_taken", "holds_match_their_flows"],
    )
    .await;
    check_planted("delete from inv_hold", &["held_is_what_holds_have_open"]).await;
    check_planted("update inv_hold set state = 2", &["states_match_what_is_open"]).await;
    check_planted("update inv_stock set mode = 4 where stock_id = 2", &["routes_are_served"]).await;
    check_planted("update inv_stock set epoch = 2 where stock_id = 2", &["epochs_are_the_history"]).await;
    check_planted(
        "update inv_stock set epoch = 3; insert into inv_route values (1, 3, 1, '', 0), (2, 3, 1, '', 0);
         update inv_hold set epoch = 3;
         insert into inv_hold select 9, order_no, 9, stock_id, bucket_no, 2, qty, qty, 0, 3, made_saga, made_step,
            null, null, null, created_at from inv_hold;
         insert into inv_flow select 90, op, biz_no, 9, stock_id, bucket_no, qty, 0, 0, 0, 9, saga, step, 0
            from inv_flow where op = 2;
         insert into inv_flow select 91, 5, biz_no, 9, stock_id, bucket_no, qty, 0, 0, 0, 9, saga, step, 0
            from inv_flow where flow_id = 90",
        &["no_hold_under_a_past_route"],
    )
    .await;
    check_planted(
        "insert into saga_barrier (saga_id, step, op, request_hash, status, created_at) values (x'00', 'a', 0, x'', null, 0)",
        &["one_outcome_per_call"],
    )
    .await;
}

#[tokio::test]
async fn the_database_itself_refuses_what_breaks_a_law_and_names_it() {
    for (sql, constraint) in [
        ("update inv_bucket set usable = -1, inbound = inbound - 7 where stock_id = 1", "inv_bucket_usable_not_negative"),
        ("update inv_bucket set inbound = 11", "inv_bucket_is_balanced"),
        ("update inv_hold set released = 5", "inv_hold_gives_back_no_more_than_it_took"),
        ("update inv_hold set state = 3, expires_at = null", "inv_hold_closed_has_nothing_open"),
        ("update inv_hold set state = 2, expires_at = null", "inv_hold_confirmed_by_someone"),
        ("insert into inv_flow select 99, op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped,
            hold_id, saga, step, created_at from inv_flow where op = 2", "inv_flow.saga, inv_flow.step"),
        ("update inv_hold set bucket_no = 9", "FOREIGN KEY"),
        ("update inv_hold set state = 4, expires_at = null", "inv_hold_state_is_known"),
        ("insert into saga_barrier (saga_id, step, op, request_hash, created_at) values (x'00', 'a', 3, x'', 0)",
            "saga_barrier_op"),
    ] {
        let mut books = books(&[(1, 10)]).await;
        batch(&mut books, &[(Deed::Hold(cart("1", &[(1, 4)])), cause(1, "a"))]).await;
        let error = sqlx::raw_sql(sql).execute(&mut books).await.unwrap_err().to_string();
        assert!(error.contains(constraint), "{error}");
    }
}

#[tokio::test]
async fn the_audit_shows_at_most_twenty_violations() {
    let stock: Vec<(i64, i64)> = (1..=30).map(|sku| (sku, 1)).collect();
    let mut books = books(&stock).await;
    sqlx::raw_sql("pragma ignore_check_constraints = on; update inv_bucket set inbound = 7")
        .execute(&mut books)
        .await
        .unwrap();
    let found = audit(&mut books).await.unwrap();
    let law = found.invariants.iter().find(|law| law.name == "stock_is_balanced").unwrap();
    assert_eq!(law.violations.len(), 20);
    assert_eq!(
        law.violations[0],
        json!({"sku": 1, "bucket": 0, "usable": 1, "held": 0, "shipped": 0, "inbound": 7})
    );
}

#[tokio::test]
async fn lists_come_in_pages_that_miss_nothing() {
    let stock: Vec<(i64, i64)> = (1..=25).map(|sku| (sku * 3, sku)).collect();
    let mut books = books(&stock).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = crate::listing::stock_after(&mut books, after, 10).await.unwrap();
        seen.extend(page.items.iter().map(|stock| (stock.sku, stock.usable)));
        let Some(next) = page.next else { break };
        after = next.parse().unwrap();
    }
    assert_eq!(seen, stock);
    let some = crate::listing::stock_of(&mut books, &[6, 7, 3, 6]).await.unwrap();
    assert_eq!(some.iter().map(|stock| stock.sku).collect::<Vec<_>>(), [3, 6]);

    for number in 1..=5u128 {
        let saga = cause(number, "a");
        batch(&mut books, &[(Deed::Hold(cart(&format!("o{number}"), &[(75, 2), (72, 1)])), saga)]).await;
    }
    batch(
        &mut books,
        &[(Deed::Confirm(order("o2")), cause(2, "b")), (Deed::Release(order("o3")), cause(3, "b"))],
    )
    .await;
    let first = crate::listing::orders_after(&mut books, "", 3).await.unwrap();
    let second = crate::listing::orders_after(&mut books, first.next.as_deref().unwrap(), 3).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (3, 2, None));
    let line = |order: usize| serde_json::to_value(first.items[order].lines[1]).unwrap();
    let expected = |held: i64, confirmed: i64, released: i64| -> Value {
        json!({"sku": 75, "qty": 2, "held": held, "confirmed": confirmed, "released": released, "shipped": 0})
    };
    assert_eq!(line(0), expected(2, 0, 0));
    assert_eq!(line(1), expected(0, 2, 0));
    assert_eq!(line(2), expected(0, 0, 2));
}

/// Audits a book in which order 1 holds 4 of SKU 1, and names the broken laws.
async fn check_given(given: Value, expected: &[&str]) {
    let mut books = books(&[(1, 10), (2, 10)]).await;
    batch(&mut books, &[(Deed::Hold(cart("1", &[(1, 4)])), cause(1, "a"))]).await;
    let read = serde_json::from_value(given.clone()).unwrap();
    let found = crate::audit::audit_given(&mut books, &read).await.unwrap();
    let broken: Vec<&str> = found.invariants.iter().filter(|law| !law.kept).map(|law| law.name).collect();
    assert_eq!(broken, expected, "{given}");
}

#[tokio::test]
async fn i6_orders_are_held_against_what_the_order_service_says() {
    const LAW: &[&str] = &["orders_have_what_they_reserved"];
    check_given(json!({"orders": [{"order": "1", "lines": [{"sku": 1, "qty": 4}]}]}), &[]).await;
    check_given(
        json!({"orders": [{"order": "1", "lines": [{"sku": 1, "qty": 3}, {"sku": 1, "qty": 1}]}]}),
        &[],
    )
    .await;
    check_given(json!({"orders": [{"order": "1", "lines": [{"sku": 1, "qty": 5}]}]}), LAW).await;
    check_given(json!({"orders": [{"order": "1", "lines": [{"sku": 2, "qty": 4}]}]}), LAW).await;
    check_given(json!({"orders": [{"order": "2", "lines": [{"sku": 1, "qty": 4}]}]}), LAW).await;
    check_given(json!({"orders": [{"order": "1"}]}), LAW).await;
    check_given(json!({"orders": [{"order": "1", "cancelled": true}]}), LAW).await;
    check_given(json!({"orders": [{"order": "2", "cancelled": true}]}), &[]).await;
}

#[tokio::test]
async fn i8_the_catalogue_shows_what_is_usable() {
    check_given(json!({"availability": [{"sku": 1, "usable": 6}, {"sku": 2, "usable": 10}]}), &[]).await;
    check_given(json!({"availability": [{"sku": 1, "usable": 10}]}), &["availability_is_what_is_usable"])
        .await;
}

#[tokio::test]
async fn i9_an_unpaid_hold_may_be_a_minute_late() {
    let expiry = NOW + HOLD_FOR;
    check_given(json!({"now": expiry + 60_000}), &[]).await;
    check_given(json!({"now": expiry + 60_001}), &["no_hold_outlives_its_time"]).await;
}
