//! A small file whose books balance, and the one lie that each check finds.

use super::*;
use crate::replay::read;
use serde_json::{Value, json};
use std::time::Duration;

const FILE: &str = "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n\
    1,61010,MUG,3,2.50,7\n2,61010,MUG,4,2.50,8\nC3,61010,MUG,-1,2.50,7\n";

/// What the shop has to show: 10 mugs at first, one came back; cart 1 has 3 of them after a second try, cart 2 came
/// to nothing.
fn honest() -> Value {
    let sku = Sku::read("61010").expect("an item");
    let order = |number: &str, state: &str, qty: i64| {
        json!({ "order": number, "state": state, "saga": "s", "total_minor": qty * 250, "refunded_minor": 0,
            "currency": "GBP", "lines": [{ "sku": sku, "qty": qty, "refunded": 0, "shipped": 0 }] })
    };
    json!({
        "orders": [order("r-1", "cancelled", 3), order("r-1-2", "paid", 3), order("r-2", "cancelled", 4)],
        "stock": [{ "sku": sku, "usable": 8, "held": 3, "shipped": 0, "inbound": 11 }],
    })
}

/// Which checks of the replay's own fail, and the digest.
fn verdict(told: &Value) -> (Vec<&'static str>, String) {
    fn list<T: serde::de::DeserializeOwned>(told: &Value) -> Vec<T> {
        serde_json::from_value(told.clone()).expect("as it should be")
    }
    let orders = read::bytes_of(FILE.as_bytes()).expect("a file");
    let ledgers =
        Ledgers { orders: list(&told["orders"]), stock: list(&told["stock"]), ..Ledgers::default() };
    let took = Duration::ZERO;
    let ended = [
        Ended { index: 2, end: End::Returned, took },
        Ended { index: 0, end: End::Completed, took },
        Ended { index: 1, end: End::Compensated("out_of_stock".to_owned()), took },
    ];
    let ledger = Ledger::new("r", Stock::Each(10), &orders, &ended, &ledgers);
    let own = [ledger.stock_is_accounted_for(&ledger.brought()), ledger.carts_have_their_orders()];
    (own.iter().filter(|check| !check.kept).map(|check| check.name).collect(), ledger.digest())
}

#[test]
fn every_lie_is_found() {
    const STOCK: &str = "stock_is_accounted_for";
    const CARTS: &str = "carts_have_their_orders";
    for (pointer, lie, broken) in [
        ("/stock/0/usable", json!(8), &[][..]),
        ("/stock/0/usable", json!(7), &[STOCK]),
        ("/stock/0/inbound", json!(10), &[STOCK]),
        ("/orders/1/state", json!("cancelled"), &[STOCK, CARTS]),
        ("/orders/1/state", json!("created"), &[CARTS]),
        ("/orders/1/total_minor", json!(751), &[CARTS]),
        ("/orders/1/lines/0/qty", json!(2), &[STOCK, CARTS]),
        ("/orders/0/state", json!("paid"), &[STOCK, CARTS]),
        ("/orders/2/state", json!("paid"), &[STOCK, CARTS]),
    ] {
        let mut told = honest();
        *told.pointer_mut(pointer).expect("a place") = lie.clone();
        assert_eq!(verdict(&told).0, broken, "{pointer} = {lie}");
    }
}

#[test]
fn goods_of_others_are_no_lie_in_a_shop_that_is_shared() {
    let mut told = honest();
    let orders = told["orders"].as_array_mut().expect("a list");
    let mut other = orders[1].clone();
    other["order"] = json!("other-1");
    orders.push(other);
    told["stock"][0] =
        json!({ "sku": told["stock"][0]["sku"], "usable": 105, "held": 6, "shipped": 0, "inbound": 111 });
    assert_eq!(verdict(&told).0, [""; 0]);
    told["stock"][0]["usable"] = json!(104);
    assert_eq!(verdict(&told).0, ["stock_is_accounted_for"]);
}

#[test]
fn the_digest_is_about_goods_and_orders_and_not_about_the_way_there() {
    let (_, digest) = verdict(&honest());
    let changed = |pointer: &str, value: Value| {
        let mut told = honest();
        *told.pointer_mut(pointer).expect("a place") = value;
        verdict(&told).1
    };
    assert_eq!(changed("/orders/1/saga", json!("t")), digest, "another saga");
    assert_eq!(changed("/orders/1/order", json!("r-1")), digest, "another try");
    assert_eq!(changed("/orders/0/lines/0/qty", json!(9)), digest, "an order that came to nothing");
    assert_ne!(changed("/orders/1/state", json!("created")), digest);
    assert_ne!(changed("/orders/1/lines/0/qty", json!(2)), digest);
    assert_ne!(changed("/stock/0/usable", json!(9)), digest);
}

#[test]
fn an_order_number_tells_its_invoice_to_its_own_run_only() {
    for (order, invoice) in [
        ("r-536365", Some("536365")),
        ("r-536365-2", Some("536365")),
        ("r-stock-1", None),
        ("rr-536365", None),
        ("536365", None),
        ("r_2-536365", None),
    ] {
        assert_eq!(invoice_of("r", order), invoice, "{order}");
    }
}
