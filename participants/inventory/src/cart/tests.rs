//! What may stand in a body, and where each misfit is found.

use amends_sdk::body::MISFITS_MAX;
use serde_json::{Value, json};

use super::*;

/// Reads a cart and lists the paths of its misfits.
fn misfits(body: &Value) -> Vec<String> {
    Cart::read(body).err().unwrap_or_default().into_iter().map(|misfit| misfit.path).collect()
}

fn cart_of(lines: Value) -> Value {
    json!({ "order": "1001", "lines": lines })
}

#[test]
fn lines_of_the_same_sku_are_merged_and_all_stand_in_one_order() {
    let body = cart_of(json!([{"sku": 9, "qty": 1}, {"sku": 3, "qty": 2, "price": 5}, {"sku": 9, "qty": 4}]));
    let cart = Cart::read(&body).unwrap();
    let lines: Vec<(i64, i64)> = cart.lines().iter().map(|line| (line.sku().get(), line.qty)).collect();
    assert_eq!(lines, [(3, 2), (9, 5)]);
    assert_eq!(cart.order().as_str(), "1001");
}

#[test]
fn every_bad_quantity_is_found_by_its_path() {
    let bad = [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1.0),
        json!(1_000_001),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!("1"),
        json!(true),
        json!(null),
        json!([1]),
        json!({"of": 1}),
    ];
    for qty in bad {
        let body = cart_of(json!([{"sku": 1, "qty": 1}, {"sku": 2, "qty": qty}]));
        assert_eq!(misfits(&body), ["/lines/1/qty"], "{qty}");
        let body = cart_of(json!([{"sku": qty, "qty": 1}]));
        // A SKU may be larger than a quantity.
        let expected: &[&str] = if qty == json!(1_000_001) { &[] } else { &["/lines/0/sku"] };
        assert_eq!(misfits(&body), expected, "{qty}");
    }
}

#[test]
fn quantities_at_the_edges_are_taken() {
    for qty in [1, QTY_MAX] {
        assert!(Cart::read(&cart_of(json!([{"sku": i64::MAX, "qty": qty}]))).is_ok());
    }
    let full = vec![json!({"sku": 7, "qty": QTY_MAX}); LINES_MAX];
    let cart = Cart::read(&cart_of(json!(full))).unwrap();
    assert_eq!(cart.lines(), [Line { record: Sku(7).into(), qty: QTY_MAX * LINES_MAX as i64 }]);
}

#[test]
fn a_cart_has_between_one_and_a_thousand_lines() {
    let line = json!({"sku": 1, "qty": 1});
    for lines in [json!([]), json!(vec![line.clone(); LINES_MAX + 1]), json!("x"), json!(null), json!({})] {
        assert_eq!(misfits(&cart_of(lines)), ["/lines"]);
    }
    assert_eq!(misfits(&json!({"order": "1"})), ["/lines"]);
    assert_eq!(misfits(&cart_of(json!([1]))), ["/lines/0/sku", "/lines/0/qty"]);
}

#[test]
fn an_order_number_is_a_short_plain_text() {
    let long = "x".repeat(ORDER_CHARS_MAX + 1);
    let bad = [
        json!(""),
        json!(long),
        json!(" 1"),
        json!("1 "),
        json!("a\u{0}b"),
        json!(1001),
        json!(null),
        json!(["1"]),
    ];
    for order in bad {
        assert!(read_order(&json!({ "order": order })).is_err(), "{order}");
    }
    for order in ["1", "Größe 42", "a/b?c", &"ü".repeat(ORDER_CHARS_MAX)] {
        assert_eq!(read_order(&json!({ "order": order })).unwrap().as_str(), order);
    }
    for body in [json!(null), json!([]), json!("x"), json!({})] {
        assert_eq!(read_order(&body).unwrap_err()[0].path, "/order");
    }
}

#[test]
fn misfits_are_all_reported_up_to_a_bound() {
    let body = json!({"order": 5, "lines": [{"sku": 0, "qty": 0}]});
    assert_eq!(misfits(&body), ["/order", "/lines/0/sku", "/lines/0/qty"]);
    let many = cart_of(json!(vec![json!({"sku": 0, "qty": 0}); 500]));
    assert_eq!(misfits(&many).len(), MISFITS_MAX);
}

#[test]
fn a_misfit_shows_what_was_sent_but_not_all_of_it() {
    let error = read_order(&json!({ "order": "y".repeat(100_000) })).unwrap_err();
    assert!(error[0].message.len() < 200, "{}", error[0].message);
}

#[test]
fn a_delivery_reads_the_same_whatever_order_its_lines_stand_in() {
    let one = json!({"biz_no": "r1", "lines": [{"sku": 2, "qty": 5}, {"sku": 1, "qty": 1_000_000_000}]});
    let two = json!({"biz_no": "r1", "lines": [{"sku": 1, "qty": 1_000_000_000}, {"sku": 2, "qty": 5}]});
    let (one, two) = (Delivery::read(&one).unwrap(), Delivery::read(&two).unwrap());
    assert_eq!(one, two);
    assert_eq!(one.canonical(), "1:1000000000,2:5,");
    assert_eq!(one.qty(), 1_000_000_005);
}
