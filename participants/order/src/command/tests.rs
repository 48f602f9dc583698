//! Bodies that fit and bodies that do not, by the path that is complained about.

use serde_json::json;

use super::*;

fn paths(operation: Operation, body: &Value) -> Vec<String> {
    match operation.read(body, false) {
        Ok(_) => Vec::new(),
        Err(misfits) => misfits.into_iter().map(|misfit| misfit.path).collect(),
    }
}

fn check(operation: Operation, body: Value, expected: &[&str]) {
    assert_eq!(paths(operation, &body), expected, "{operation} {body}");
}

fn order_of(lines: Value) -> Value {
    json!({ "order": "A-1", "lines": lines })
}

#[test]
fn every_misfit_of_a_placement_is_named_by_its_path() {
    let create = |body, expected: &[&str]| check(Operation::Create, body, expected);
    create(json!(null), &["/order", "/lines"]);
    create(json!({}), &["/order", "/lines"]);
    create(json!({ "order": "", "lines": [] }), &["/order", "/lines"]);
    create(json!({ "order": 7, "lines": {} }), &["/order", "/lines"]);
    create(json!({ "order": "x".repeat(65), "lines": [{ "sku": 1, "qty": 1 }] }), &["/order"]);
    create(json!({ "order": " x", "lines": [{ "sku": 1, "qty": 1 }] }), &["/order"]);
    create(json!({ "order": "a\nb", "lines": [{ "sku": 1, "qty": 1 }] }), &["/order"]);
    create(order_of(json!([{ "sku": 0, "qty": 1 }, { "sku": 1 }])), &["/lines/0/sku", "/lines/1/qty"]);
    for qty in
        [json!(0), json!(-1), json!(1.5), json!("1"), json!(1_000_001), json!(null), json!(1e30), json!(true)]
    {
        create(order_of(json!([{ "sku": 1, "qty": 1 }, { "sku": 2, "qty": qty }])), &["/lines/1/qty"]);
    }
    create(order_of(json!([{ "sku": 1, "qty": 1, "price_minor": -1 }])), &["/lines/0/price_minor"]);
    create(order_of(json!([{ "sku": 1, "qty": 1, "price_minor": 0.5 }])), &["/lines/0/price_minor"]);
    create(json!({ "order": "A", "currency": "eur", "lines": [{ "sku": 1, "qty": 1 }] }), &["/currency"]);
    create(json!({ "order": "A", "customer": "", "lines": [{ "sku": 1, "qty": 1 }] }), &["/customer"]);
    for pay_by in [json!("tomorrow"), json!(1_700_000_000_000_i64), json!("2026-11-21")] {
        create(json!({ "order": "A", "pay_by": pay_by, "lines": [{ "sku": 1, "qty": 1 }] }), &["/pay_by"]);
    }
    create(order_of(json!(vec![json!({ "sku": 1, "qty": 1 }); 1001])), &["/lines"]);
    create(order_of(json!(vec![json!({ "sku": 1, "qty": 1 }); 1000])), &[]);
    let body = json!({ "order": "A", "total": 5, "lines": [{ "sku": 1, "qty": 2, "price_minor": 2 }] });
    create(body, &["/total"]);
}

#[test]
fn lines_of_the_same_sku_are_merged_and_sorted() {
    let body = json!({ "order": "A", "total": 23, "lines": [
        { "sku": 9, "qty": 1, "price_minor": 5 },
        { "sku": 2, "qty": 3, "price_minor": 1, "name": "ignored" },
        { "sku": 9, "qty": 3, "price_minor": 5 },
    ] });
    let Ok(Command::Create(placement)) = Operation::Create.read(&body, false) else { panic!("a placement") };
    let lines: Vec<(i64, i64, i64)> =
        placement.lines.iter().map(|line| (line.sku, line.qty, line.price.get())).collect();
    assert_eq!(lines, [(2, 3, 1), (9, 4, 5)]);
    assert_eq!(placement.total.get(), 23);
    assert_eq!(placement.currency, Currency::EUR);
}

#[test]
fn lines_of_one_sku_come_to_no_more_than_one_line_may() {
    let two = |first: i64, second: i64| {
        order_of(
            json!([{ "sku": 7, "qty": first }, { "sku": 8, "qty": 1_000_000 }, { "sku": 7, "qty": second }]),
        )
    };
    check(Operation::Create, two(600_000, 400_000), &[]);
    check(Operation::Create, two(600_000, 600_000), &["/lines"]);
    let misfits = Operation::Create.read(&two(600_000, 600_000), false).expect_err("too many");
    assert_eq!(misfits[0].message, "come to 1200000 pieces of sku 7, more than 1000000");
}

#[test]
fn one_sku_has_one_price() {
    let lines = json!([{ "sku": 1, "qty": 1, "price_minor": 5 }, { "sku": 1, "qty": 1, "price_minor": 6 }]);
    check(Operation::Create, order_of(lines), &["/lines/1/price_minor"]);
}

#[test]
fn a_total_beyond_the_largest_amount_is_refused() {
    let price = MINOR_MAX;
    check(Operation::Create, order_of(json!([{ "sku": 1, "qty": 1, "price_minor": price }])), &[]);
    check(Operation::Create, order_of(json!([{ "sku": 1, "qty": 2, "price_minor": price }])), &["/lines"]);
    let lines =
        json!([{ "sku": 1, "qty": 1, "price_minor": price }, { "sku": 2, "qty": 1, "price_minor": 1 }]);
    check(Operation::Create, order_of(lines), &["/lines"]);
}

#[test]
fn misfits_are_bounded() {
    let body = order_of(json!(vec![json!({}); 1000]));
    assert_eq!(paths(Operation::Create, &body).len(), amends_sdk::body::MISFITS_MAX);
}

#[test]
fn a_compensation_reads_only_which_order_it_undoes() {
    let body = json!({ "order": "A", "lines": "nonsense", "reason": 7, "refund": [] });
    for operation in [Operation::Cancel, Operation::Refund] {
        let command = operation.read(&body, true).expect("it fits");
        assert_eq!(command.order().as_str(), "A");
        assert!(operation.read(&body, false).is_err(), "an action reads more");
    }
}

#[test]
fn parts_and_amounts_are_read() {
    let body = json!({ "order": "A", "refund": "R-1", "reason": "torn", "lines": [
        { "sku": 2, "qty": 1 }, { "sku": 1, "qty": 1 }, { "sku": 2, "qty": 2 },
    ] });
    let Ok(Command::Refund(refund)) = Operation::Refund.read(&body, false) else { panic!("a refund") };
    assert_eq!(refund.parts, Some(vec![Part { sku: 1, qty: 1 }, Part { sku: 2, qty: 3 }]));
    assert_eq!((refund.number.as_deref(), refund.reason.as_deref()), (Some("R-1"), Some("torn")));
    let pay = Operation::Pay.read(&json!({ "order": "A", "amount_minor": 3 }), false).expect("it fits");
    assert!(matches!(pay, Command::Pay(Paid { amount: Some(amount), .. }) if amount.get() == 3));
    check(Operation::Pay, json!({ "order": "A", "amount_minor": -3 }), &["/amount_minor"]);
    check(Operation::Ship, json!({ "order": "A", "lines": [] }), &["/lines"]);
    check(Operation::Ship, json!({ "order": "A" }), &[]);
}
