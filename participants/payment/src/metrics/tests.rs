//! The figures follow the events, and money that went back unasked is told apart from a refund.

use amends_sdk::Database;

use super::*;
use crate::SQLITE;

const PAYMENT: &str = "
    insert into payment (payment_no, order_no, state, mode, amount_minor, currency, refunded_minor, settle_at, callback,
                         declines, saga, step, created_at, updated_at)
    values (?1, ?1, ?2, 'at_once', 500, 'EUR', ?3, null, null, 0, 's', 'charge', 1, 1)";
const EVENT: &str = "
    insert into payment_event (payment_no, what, refund_no, d_paid_minor, d_back_minor, saga, step, at)
    values (?1, ?2, null, 0, ?3, 's', ?4, 1)";

#[tokio::test]
async fn money_that_goes_back_unasked_is_counted_and_a_refund_that_was_asked_for_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = format!("sqlite:{}", directory.path().join("payment.db").display());
    let database = Database::open(&store, &SQLITE).await.expect("it opens");
    let figures = PaymentFigures::new(database.readers());
    figures.look().await.expect("it is read");
    let mut rows = <sqlx::SqliteConnection as sqlx::Connection>::connect(&store).await.expect("it opens");
    for (payment, state, back) in
        [("gone", "refunded", 500), ("late", "refunded", 500), ("asked", "part_refunded", 200)]
    {
        query(PAYMENT).bind(payment).bind(state).bind(back).execute(&mut rows).await.expect("a payment");
    }
    for (payment, what, back, step) in [
        ("gone", "paid", 0, "charge"),
        ("gone", "refunded", 500, "charge"),
        ("late", "void_asked", 0, "charge"),
        ("late", "paid", 0, "charge"),
        ("late", "refunded", 500, "charge"),
        ("asked", "paid", 0, "charge"),
        ("asked", "refunded", 200, "money"),
    ] {
        let event = query(EVENT).bind(payment).bind(what).bind(back).bind(step);
        event.execute(&mut rows).await.expect("an event");
    }
    for _ in 0..2 {
        figures.look().await.expect("it is read");
    }
    let mut text = Text::default();
    figures.write(&mut text);
    let text = text.to_string();
    for line in [
        "events_total{what=\"paid\"} 3",
        "events_total{what=\"refunded\"} 3",
        "events_total{what=\"asked\"} 0",
        "undone_total{why=\"called_off\"} 1",
        "undone_total{why=\"late\"} 1",
    ] {
        assert!(text.contains(&format!("\namends_payment_{line}\n")), "{line} in {text}");
    }
}
