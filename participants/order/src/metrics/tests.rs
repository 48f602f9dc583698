//! The figures follow the events, and begin with those that come after the process began.

use amends_sdk::Database;

use super::*;
use crate::SQLITE;

const ORDER: &str = "
    insert into orders (order_no, saga, step, state, currency, amount_minor, version, created_at, updated_at)
    values ('A-1', 's', 'order', 'refunded', 'EUR', 500, 3, 1, 1)";
const EVENT: &str = "
    insert into order_event (order_no, version, from_state, to_state, operation, op, saga, step, at)
    values ('A-1', ?1, ?2, ?3, ?4, ?5, 's', 'x', 1)";

#[tokio::test]
async fn changes_are_counted_and_a_paid_order_that_is_undone_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = format!("sqlite:{}", directory.path().join("order.db").display());
    let database = Database::open(&store, &SQLITE).await.expect("it opens");
    let mut rows = <sqlx::SqliteConnection as sqlx::Connection>::connect(&store).await.expect("it opens");
    query(ORDER).execute(&mut rows).await.expect("an order");
    let figures = OrderFigures::new(database.readers());
    for (version, from, to, operation, op) in [
        (1, None, "created", "create", "action"),
        (2, Some("created"), "paid", "pay", "action"),
        (3, Some("paid"), "part_refunded", "refund", "action"),
        (4, Some("part_refunded"), "refunded", "refund", "compensation"),
    ] {
        let event = query(EVENT).bind(version).bind(from).bind(to).bind(operation).bind(op);
        event.execute(&mut rows).await.expect("an event");
        figures.look().await.expect("it is read");
    }
    figures.look().await.expect("it is read");
    let mut text = Text::default();
    figures.write(&mut text);
    let text = text.to_string();
    for line in [
        "changes_total{operation=\"pay\",op=\"action\",to=\"paid\"} 1",
        "changes_total{operation=\"refund\",op=\"compensation\",to=\"refunded\"} 1",
        "paid_undone_total 1",
        "called_off_waiting 0",
    ] {
        assert!(text.contains(&format!("\namends_order_{line}\n")), "{line} in {text}");
    }
    assert!(!text.contains("\"created\""), "what was there before the first look is not counted: {text}");
}
