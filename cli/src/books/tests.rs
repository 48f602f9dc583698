//! Each check, told by the one lie that it alone finds.

use super::*;
use serde_json::{Value, json};

/// Two carts: A is completed and paid, B was compensated after its stock was held and its order placed.
fn honest() -> Value {
    json!({
        "sagas": [
            { "id": "00000000-0000-7000-8000-00000000000a", "status": "completed", "order": "A", "total": 500 },
            { "id": "00000000-0000-7000-8000-00000000000b", "status": "compensated", "order": "B" },
        ],
        "orders": [
            { "order": "A", "state": "paid", "saga": "00000000-0000-7000-8000-00000000000a", "total_minor": 500,
              "refunded_minor": 0, "currency": "EUR", "lines": [{ "sku": 1, "qty": 2, "refunded": 0, "shipped": 0 }] },
            { "order": "B", "state": "cancelled", "saga": "00000000-0000-7000-8000-00000000000b", "total_minor": 250,
              "refunded_minor": 0, "currency": "EUR", "lines": [{ "sku": 1, "qty": 1, "refunded": 0, "shipped": 0 }] },
        ],
        "stock": [{ "sku": 1, "usable": 8, "held": 2, "shipped": 0, "inbound": 10 }],
        "set_aside": [
            { "order": "A", "lines": [{ "sku": 1, "qty": 2, "held": 0, "confirmed": 2, "released": 0, "shipped": 0 }] },
            { "order": "B", "lines": [{ "sku": 1, "qty": 1, "held": 0, "confirmed": 0, "released": 1, "shipped": 0 }] },
        ],
        "products": [{ "sku": 1, "name": "Walnut Desk", "price_minor": 250, "currency": "EUR" }],
        "audits": [{ "kept": true, "invariants": [{ "name": "stock_is_balanced", "kept": true, "violations": [] }] }],
    })
}

fn ledgers(told: &Value) -> Ledgers {
    let list = |member: &str| told[member].as_array().expect("a list").clone();
    fn read<T: serde::de::DeserializeOwned>(value: Vec<Value>) -> Vec<T> {
        value.into_iter().map(|value| serde_json::from_value(value).expect("as it should be")).collect()
    }
    let at = "2026-11-20T18:00:00.000Z";
    let saga = |told: Value| {
        json!({
            "id": told["id"], "definition": "checkout", "version": 1, "key": null, "labels": {},
            "status": told["status"], "input": { "order": told["order"] }, "output": { "total": told["total"] },
            "error": null, "created_at": at, "updated_at": at, "ended_at": at, "deadline_at": null, "repairs": [],
        })
    };
    Ledgers {
        sagas: read(list("sagas").into_iter().map(saga).collect()),
        orders: read(list("orders")),
        stock: read(list("stock")),
        set_aside: read(list("set_aside")),
        products: read(list("products")),
        audits: read(list("audits")).into_iter().map(|audit| ("inventory", audit)).collect(),
    }
}

/// Puts `lie` in the place of what is honest, and expects that these checks find it.
fn check(pointer: &str, lie: Value, broken: &[&str]) {
    let mut told = honest();
    *told.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = lie.clone();
    let expected = BTreeMap::from([(1, 10)]);
    let books = compare(&ledgers(&told), Some(&expected));
    let found: Vec<&str> = books.checks.iter().filter(|check| !check.kept).map(|check| check.name).collect();
    assert_eq!(found, broken, "{pointer} = {lie}");
    assert_eq!(books.balanced(), broken.is_empty());
}

#[test]
fn honest_books_balance() {
    check("/sagas/0/total", json!(500), &[]);
}

#[test]
fn every_lie_is_found() {
    check("/audits/0/invariants/0/kept", json!(false), &["audits_are_clean"]);
    check("/audits/0/kept", json!(false), &["audits_are_clean"]);
    check("/stock/0/usable", json!(9), &["stock_is_conserved"]);
    check("/stock/0/inbound", json!(11), &["stock_is_conserved", "stock_is_what_came_in"]);
    check("/stock/0/held", json!(3), &["stock_is_conserved", "nothing_is_oversold"]);
    check("/sagas/0/status", json!("running"), &["every_saga_has_ended"]);
    check("/sagas/1/status", json!("repair"), &["every_saga_has_ended"]);
    check("/orders/0/state", json!("created"), &["completed_means_paid"]);
    check("/orders/0/saga", json!("another"), &["completed_means_paid"]);
    check("/sagas/0/total", json!(499), &["completed_means_paid"]);
    check("/sagas/1/order", json!("A"), &["nothing_comes_from_nowhere"]);
    check("/sagas/0/status", json!("compensated"), &["compensated_means_nothing_left"]);
    check("/orders/1/state", json!("paid"), &["compensated_means_nothing_left", "orders_agree_with_stock"]);
    check("/orders/0/lines/0/qty", json!(3), &["orders_agree_with_stock"]);
    check("/products/0/sku", json!(2), &["everything_sold_is_in_the_catalogue"]);
}

#[test]
fn stock_that_is_still_held_is_found() {
    let line = json!({ "sku": 1, "qty": 1, "held": 1, "confirmed": 0, "released": 0, "shipped": 0 });
    check(
        "/set_aside/1/lines/0",
        line,
        &["nothing_is_oversold", "compensated_means_nothing_left", "orders_agree_with_stock"],
    );
}

#[test]
fn figures_are_sums() {
    let figures = compare(&ledgers(&honest()), None).figures;
    assert_eq!(
        (figures.inbound, figures.usable, figures.held, figures.shipped, figures.sold),
        (10, 8, 2, 0, 2)
    );
    assert_eq!(figures.paid_minor, BTreeMap::from([("EUR".to_owned(), 500)]));
    assert_eq!(figures.sagas, BTreeMap::from([("compensated", 1), ("completed", 1)]));
}

#[test]
fn money_has_two_decimals() {
    assert_eq!(decimal(64_905), "649.05");
    assert_eq!(decimal(-7), "-0.07");
}
