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

#[test]
fn a_day_with_a_flash_sale_kills_and_failing_reversals_leaves_balanced_books() {
    let report = day(&[
        "--seed",
        "7",
        "--rate",
        "40",
        "--lasts",
        "5s",
        "--flash",
        "30",
        "--duplicates",
        "20",
        "--refunds",
        "10",
        "--reversals-fail",
        "20",
        "--kill-every",
        "1100ms",
    ]);
    assert_eq!(report["kills"].as_object().expect("counts").len(), 4, "everybody was killed: {report:#}");
    for check in [
        "nothing_is_forgotten",
        "one_cart_one_saga",
        "no_hold_outlives_its_time",
        "refunds_are_what_was_asked_for",
        "who_does_not_pay_gets_nothing",
        "availability_agrees",
    ] {
        assert!(looked_at(&report, check) > 0, "{check} looked at something");
    }
    assert!(report["carts"]["flash"].as_u64() > Some(0));
    assert_eq!(report["refunds"]["begun"], report["refunds"]["done"]);
}

#[test]
fn a_day_with_a_payment_provider_leaves_balanced_books() {
    let report = day(&["--payment", "provider", "--rate", "30", "--lasts", "4s", "--refunds", "15"]);
    assert!(looked_at(&report, "payments_are_those_of_the_orders") > 0);
    assert!(report["refunds"]["done"].as_u64() > Some(0));
}

#[test]
fn what_is_asked_for_must_make_sense() {
    let place = Place::new();
    for (args, said) in [
        (vec!["--unpaid", "60", "--refunds", "60"], "together"),
        (vec!["--hold", "1h"], "--hold"),
        (vec!["--coordinator", "http://127.0.0.1:1", "--kill-every", "5s"], "leave out --coordinator"),
    ] {
        let ended = place.run(&[vec!["load"], args].concat()).code(1);
        assert!(ended.err.contains(said), "{ended:?}");
    }
}
