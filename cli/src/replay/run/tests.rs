//! What is told of a saga's end, and what a run's names are.

use super::*;
use serde_json::from_value;

#[test]
fn stock_is_ample_or_a_number_of_pieces() {
    for (text, expected) in [
        ("ample", Some(Stock::Ample)),
        ("0", Some(Stock::Each(0))),
        ("50", Some(Stock::Each(50))),
        ("1000000000", Some(Stock::Each(1_000_000_000))),
        ("1000000001", None),
        ("-1", None),
        ("plenty", None),
        ("", None),
    ] {
        assert_eq!(text.parse::<Stock>().ok(), expected, "{text:?}");
    }
    assert_eq!((Stock::Ample.of(7), Stock::Each(3).of(7)), (7, 3));
}

#[test]
fn a_cart_is_ordered_again_only_when_nobody_could_be_reached() {
    for (cause, reason, again) in [
        (
            json!({ "step": "deduct", "kind": "refused", "message": "409: not enough stock of sku 7: wanted 3, available 1" }),
            "out_of_stock",
            false,
        ),
        (
            json!({ "step": "deduct", "kind": "refused", "message": "sku 7 is not kept here" }),
            "out_of_stock",
            false,
        ),
        (
            json!({ "step": "deduct", "kind": "refused", "message": "422: the body does not fit" }),
            "refused_at_deduct",
            false,
        ),
        (json!({ "step": "pay", "kind": "refused", "message": "not enough stock" }), "refused_at_pay", false),
        (
            json!({ "step": "create", "kind": "unknown", "message": "connection refused" }),
            "unknown_at_create",
            true,
        ),
        (json!({ "step": null, "kind": "timeout", "message": "the deadline" }), "timeout", true),
        (json!({ "step": null, "kind": "cancelled" }), "cancelled", false),
    ] {
        let cause: Cause = from_value(cause).expect("a cause");
        assert_eq!((cause.reason().as_str(), cause.is_about_the_way()), (reason, again));
    }
}

#[test]
fn the_definition_that_is_shipped_is_the_one_that_is_named() {
    let (name, version, source) = DEFINITION;
    let text = amends_wire::definition::Text::read(source).expect("a definition without faults");
    assert_eq!((text.name.as_str(), text.version), (name, version));
}

#[test]
fn orders_of_an_invoice_are_numbered() {
    assert_eq!(order_number("r", "536365", 1), "r-536365");
    assert_eq!(order_number("r", "536365", 2), "r-536365-2");
}
