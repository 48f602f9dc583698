//! `amends load`: a day of a few seconds against real processes, killed and failing, and its books.

use crate::binary::Place;
use serde_json::Value;

/// Runs a short day and expects balanced books.
fn day(args: &[&str]) -> Value {
    let place = Place::new();
    let short = ["load", "--json", "--skus", "300", "--hold", "2s"];
    let ended = place.run(&[&short, args].concat()).code(0);
    let report = ended.json();
    assert_eq!(report["books"]["verdict"], "balanced", "{report:#}");
    let arrived = report["carts"]["arrived"].as_u64().expect("a count");
    let ends = report["carts"]["ended"].as_object().expect("counts");
    assert_eq!(ends.values().filter_map(Value::as_u64).sum::<u64>(), arrived, "every cart has an end");
    assert_eq!(ends.get("lost"), None, "{report:#}");
    report
}

fn looked_at(report: &Value, check: &str) -> u64 {
    let checks = report["books"]["checks"].as_array().expect("checks");
    let found = checks.iter().find(|found| found["name"] == check);
    found.and_then(|found| found["looked_at"].as_u64()).unwrap_or_else(|| panic!("no check {check}"))
}

fn some(report: &Value, checks: &[&str]) {
    for check in checks {
        assert!(looked_at(report, check) > 0, "{check} looked at something: {report:#}");
    }
}

#[test]
fn a_day_with_a_flash_sale_kills_and_failing_reversals_leaves_balanced_books() {
    let day_of = "--seed 7 --rate 40 --lasts 5s --flash 30 --flash-units 12 --duplicates 20 --refunds 10 \
        --late-refunds 5 --reversals-fail 20 --kill-every 500ms";
    let report = day(&day_of.split_whitespace().collect::<Vec<_>>());
    assert!(report["kills"].as_object().expect("counts").len() >= 3, "services were killed: {report:#}");
    some(
        &report,
        &[
            "nothing_is_forgotten",
            "one_cart_one_saga",
            "no_hold_outlives_its_time",
            "refunds_are_what_was_asked_for",
            "what_was_sent_has_left",
            "after_shipping_nothing_comes_back",
            "who_does_not_pay_gets_nothing",
            "availability_agrees",
            "payments_are_those_of_the_orders",
            "no_customer_above_the_limit",
            "a_sale_leaves_ordinary_stock_alone",
        ],
    );
    assert_eq!(looked_at(&report, "a_sale_sells_what_was_set_apart"), 5);
    assert!(report["carts"]["flash"].as_u64() > Some(0));
    assert!(report["carts"]["ended"]["out_of_stock"].as_u64() > Some(0), "the sale sells out: {report:#}");
    assert_eq!(report["refunds"]["begun"], report["refunds"]["done"]);
    assert!(report["shipments"]["told_no"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["shipments"]["sent"], report["shipments"]["left"]);
}

#[test]
fn a_day_with_a_payment_provider_leaves_balanced_books() {
    let day_of = "--payment provider --rate 20 --step --lasts 4s --refunds 15 --reads 3 --quotes 2";
    let report = day(&day_of.split_whitespace().collect::<Vec<_>>());
    some(&report, &["payments_are_those_of_the_orders", "what_was_sent_has_left"]);
    assert!(report["refunds"]["done"].as_u64() > Some(0));
    let arrived = report["carts"]["arrived"].as_u64().expect("a count");
    assert_eq!(report["latency"]["read"]["count"], 3 * arrived);
    assert_eq!(report["latency"]["quoted"]["count"], 2 * arrived);
    assert_eq!(looked_at(&report, "looks_are_answered"), 5 * arrived);
    assert_eq!(report["freshness"]["compared"], 2 * arrived);
    assert!(report["freshness"]["behind"]["count"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn what_is_asked_for_must_make_sense() {
    let place = Place::new();
    for (args, said) in [
        (vec!["--unpaid", "60", "--refunds", "60"], "together"),
        (vec!["--ships", "60", "--late-refunds", "40"], "--late-refunds"),
        (vec!["--hold", "1h"], "--hold"),
        (vec!["--coordinator", "http://127.0.0.1:1", "--kill-every", "5s"], "leave out --coordinator"),
    ] {
        let ended = place.run(&[vec!["load"], args].concat()).code(1);
        assert!(ended.err.contains(said), "{ended:?}");
    }
}
