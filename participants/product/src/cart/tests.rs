//! Carts that fit and carts that do not, by the path that is complained about.

use serde_json::json;

use super::*;

fn check(body: Value, expected: &[&str]) {
    let paths = match Cart::read(&body) {
        Ok(_) => Vec::new(),
        Err(misfits) => misfits.into_iter().map(|misfit| misfit.path).collect(),
    };
    assert_eq!(paths, expected, "{body}");
}

#[test]
fn every_misfit_of_a_cart_is_named_by_its_path() {
    check(json!(null), &["/lines"]);
    check(json!({ "lines": [] }), &["/lines"]);
    check(json!({ "lines": "1" }), &["/lines"]);
    check(json!({ "lines": vec![json!({ "sku": 1, "qty": 1 }); 1001] }), &["/lines"]);
    check(json!({ "lines": vec![json!({ "sku": 1, "qty": 1 }); 1000] }), &[]);
    for qty in [json!(0), json!(-1), json!(0.5), json!(1.0), json!("1"), json!(null), json!(1_000_001)] {
        check(
            json!({ "lines": [{ "sku": 1, "qty": 1_000_000 }, { "sku": 1, "qty": qty }] }),
            &["/lines/1/qty"],
        );
    }
    check(
        json!({ "lines": [{ "sku": "A", "qty": 1 }, 7] }),
        &["/lines/0/sku", "/lines/1/sku", "/lines/1/qty"],
    );
    for currency in ["eur", "EURO", "", "€"] {
        check(json!({ "lines": [{ "sku": 1, "qty": 1 }], "currency": currency }), &["/currency"]);
    }
}

#[test]
fn lines_of_the_same_sku_are_merged_and_sorted() {
    let body = json!({ "lines": [{ "sku": 9, "qty": 1 }, { "sku": 2, "qty": 3 }, { "sku": 9, "qty": 4 }] });
    let cart = Cart::read(&body).expect("a cart");
    assert_eq!(cart.lines.into_iter().collect::<Vec<_>>(), [(2, 3), (9, 5)]);
    assert_eq!(cart.currency, None);
}

#[test]
fn lines_of_one_sku_come_to_no_more_than_one_line_may() {
    let two = |qty: i64| json!({ "lines": [{ "sku": 1, "qty": 600_000 }, { "sku": 1, "qty": qty }] });
    check(two(400_000), &[]);
    check(two(400_001), &["/lines"]);
}
