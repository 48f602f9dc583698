//! What carts cost, and why some have no price.

use amends_saga::Timestamp;
use serde_json::{Value, json};

use super::*;
use std::collections::HashMap;

fn skus() -> HashMap<i64, Sku> {
    let sku = |price_minor, currency: &str, status| Sku {
        name: format!("at {price_minor}"),
        price_minor,
        currency: currency.to_owned(),
        status,
        version: 9,
        price_version: 4,
    };
    HashMap::from([
        (1, sku(250, "EUR", Status::OnSale)),
        (2, sku(0, "EUR", Status::OnSale)),
        (3, sku(100, "EUR", Status::OffSale)),
        (4, sku(100, "EUR", Status::Discontinued)),
        (5, sku(100, "USD", Status::OnSale)),
        (6, sku(MINOR_MAX, "EUR", Status::OnSale)),
    ])
}

fn ask(cart: Value) -> Result<Quote, Refusal> {
    let skus = skus();
    quote(&Cart::read(&cart).expect("a cart"), |sku| skus.get(&sku), Time(Timestamp(0)))
}

fn refused(cart: Value) -> Vec<(i64, Reason)> {
    let refusal = ask(cart).expect_err("no price");
    refusal.lines.into_iter().map(|line| (line.sku, line.reason)).collect()
}

#[test]
fn a_quote_prices_every_line_and_the_whole() {
    let quote =
        ask(json!({ "lines": [{ "sku": 2, "qty": 7 }, { "sku": 1, "qty": 1 }, { "sku": 1, "qty": 2 }] }));
    assert_eq!(
        serde_json::to_value(quote.expect("a price")).expect("JSON"),
        json!({
            "lines": [
                { "sku": 1, "qty": 3, "price_minor": 250, "amount_minor": 750, "name": "at 250", "price_version": 4 },
                { "sku": 2, "qty": 7, "price_minor": 0, "amount_minor": 0, "name": "at 0", "price_version": 4 },
            ],
            "total_minor": 750, "total": 750, "currency": "EUR", "as_of": "1970-01-01T00:00:00.000Z",
        })
    );
}

#[test]
fn every_line_that_stands_in_the_way_is_named() {
    let lines = [1, 3, 4, 5, 99].map(|sku| json!({ "sku": sku, "qty": 1 }));
    let cart = json!({ "lines": lines });
    let expected =
        [(3, Reason::OffSale), (4, Reason::Discontinued), (5, Reason::OtherCurrency), (99, Reason::Unknown)];
    assert_eq!(refused(cart), expected);
}

#[test]
fn a_cart_that_names_its_currency_gets_no_other() {
    let cart = |currency: &str| json!({ "lines": [{ "sku": 5, "qty": 2 }], "currency": currency });
    assert_eq!(refused(cart("EUR")), [(5, Reason::OtherCurrency)]);
    let quote = ask(cart("USD")).expect("a price");
    assert_eq!((quote.total, quote.currency.as_str()), (200, "USD"));
}

#[test]
fn a_cart_beyond_the_largest_amount_has_no_price() {
    assert!(ask(json!({ "lines": [{ "sku": 6, "qty": 1 }] })).is_ok());
    assert_eq!(refused(json!({ "lines": [{ "sku": 6, "qty": 2 }] })), []);
    assert_eq!(refused(json!({ "lines": [{ "sku": 6, "qty": 1_000_000 }, { "sku": 1, "qty": 1 }] })), []);
    assert_eq!(refused(json!({ "lines": [{ "sku": 6, "qty": 1 }, { "sku": 1, "qty": 1 }] })), []);
}

#[test]
fn a_price_that_is_not_the_one_that_was_seen_is_told_and_not_charged() {
    let seen = |version: i64| ask(json!({ "lines": [{ "sku": 1, "qty": 1, "price_version": version }] }));
    assert_eq!(seen(4).expect("a price").total, 250);
    for other in [3, 5] {
        let lines = seen(other).expect_err("no price").lines;
        assert_eq!(
            serde_json::to_value(lines).expect("JSON"),
            json!([{ "sku": 1, "qty": 1, "reason": "price_changed", "price_minor": 250, "price_version": 4 }])
        );
    }
    let twice = json!({ "lines": [{ "sku": 1, "qty": 1, "price_version": 4 }, { "sku": 1, "qty": 1, "price_version": 3 }] });
    assert_eq!(refused(twice), [(1, Reason::PriceChanged)]);
}
