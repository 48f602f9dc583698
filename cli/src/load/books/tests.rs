//! Each check, told by the lie that it finds.

use super::*;
use crate::{
    client::Client,
    load::{
        carts::{Cart, Profile},
        catalogue::{Catalogue, SKEW},
        drive::Refund,
        plan::{Arrival, Mix, Plan},
        site::Site,
        tally::Tally,
    },
    shop::ShopUrls,
};
use serde_json::{Value, json};
use std::time::Duration;

const A: &str = "00000000-0000-7000-8000-00000000000a";
const B: &str = "00000000-0000-7000-8000-00000000000b";
const R: &str = "00000000-0000-7000-8000-0000000000aa";

fn load() -> Load {
    crate::process::install_tls();
    let mix = Mix {
        profile: Profile::Retail,
        rate: 1.0,
        lasts: Duration::from_secs(1),
        duplicates: 0.0,
        unpaid: 0.0,
        cancels: 0.0,
        refunds: 0.0,
        flash: None,
    };
    let url = || "http://127.0.0.1:1".parse().expect("an address");
    let site = Site {
        coordinator: Client::new(url(), None).expect("a client"),
        urls: ShopUrls { inventory: url(), order: url(), product: url() },
        payments: None,
        checkout: "checkout-5s".to_owned(),
        hold: Duration::from_secs(5),
        patience: Duration::from_secs(1),
    };
    let plan = Plan::new(1, Catalogue::new(1, 100, SKEW), mix);
    Load { site, plan, run: "t".to_owned(), tally: Tally::default() }
}

/// A wanted two of SKU 1, submitted it twice, paid, and wanted one back; B wanted one and was never heard of again.
fn told() -> Vec<Told> {
    let id = |text: &str| text.parse().expect("an id");
    let told = |order: &str, saga: &str, pieces, fate, end| Told {
        arrival: Arrival {
            index: 0,
            at: Duration::ZERO,
            flash: false,
            cart: Cart { lines: vec![(1, pieces)] },
            customer: 1,
            again: None,
            fate,
            mode: "at_once",
        },
        order: order.to_owned(),
        saga: Some(id(saga)),
        again: None,
        end,
        refunds: Vec::new(),
    };
    let mut a = told("A", A, 2, Fate::Refunds(Duration::ZERO, vec![vec![(1, 1)]]), End::Completed);
    a.again = a.saga;
    a.refunds = vec![Refund { saga: id(R), part: vec![(1, 1)], done: true }];
    vec![a, told("B", B, 1, Fate::Leaves, End::Left)]
}

/// What the databases have to show for it.
fn honest(price: i64) -> Value {
    let line = |qty, refunded| json!({ "sku": 1, "qty": qty, "refunded": refunded, "shipped": 0 });
    let (begun, ended) = ("2026-11-20T18:00:00.000Z", "2026-11-20T18:00:06.000Z");
    let saga = |id: &str, definition: &str, status: &str, order: &str| {
        json!({
            "id": id, "definition": definition, "version": 1, "key": null, "labels": {}, "status": status,
            "input": { "order": order }, "output": null, "error": null, "created_at": begun, "updated_at": ended,
            "ended_at": ended, "deadline_at": null, "repairs": [],
        })
    };
    json!({
        "sagas": [
            saga(A, "checkout-5s", "completed", "A"),
            saga(B, "checkout-5s", "compensated", "B"),
            saga(R, "refund", "completed", "A"),
        ],
        "orders": [
            { "order": "A", "state": "part_refunded", "saga": A, "total_minor": 2 * price, "refunded_minor": price,
              "currency": "EUR", "lines": [line(2, 1)] },
            { "order": "B", "state": "cancelled", "saga": B, "total_minor": price, "refunded_minor": 0,
              "currency": "EUR", "lines": [line(1, 0)] },
        ],
        "stock": [{ "sku": 1, "usable": 9, "held": 1, "shipped": 0, "inbound": 10 }],
        "set_aside": [
            { "order": "A", "lines": [{ "sku": 1, "qty": 2, "held": 0, "confirmed": 1, "released": 1, "shipped": 0 }] },
        ],
        "products": [{ "sku": 1, "name": "item 1", "price_minor": price, "currency": "EUR" }],
        "shown": [{ "sku": 1, "availability": { "usable": 9, "seq": 4 } }],
        "payments": [
            { "payment": "A", "order": "A", "state": "part_refunded", "amount_minor": 2 * price, "refunded_minor": price },
            { "payment": "B", "order": "B", "state": "void", "amount_minor": price, "refunded_minor": 0 },
        ],
    })
}

fn evidence(told: &Value) -> Evidence {
    fn read<T: serde::de::DeserializeOwned>(told: &Value, member: &str) -> Vec<T> {
        serde_json::from_value(told[member].clone()).expect("as it should be")
    }
    let ledgers = Ledgers {
        sagas: read(told, "sagas"),
        orders: read(told, "orders"),
        stock: read(told, "stock"),
        set_aside: read(told, "set_aside"),
        products: read(told, "products"),
        audits: Vec::new(),
    };
    Evidence { ledgers, payments: Some(read(told, "payments")), shown: Some(read(told, "shown")), own: false }
}

fn broken(told: &[Told], databases: &Value, watched: &Watched) -> Vec<&'static str> {
    let books = check(&load(), told, &evidence(databases), watched);
    books.checks.iter().filter(|check| !check.kept).map(|check| check.name).collect()
}

/// Puts a lie in the place of what the databases say, and expects that these checks find it.
fn lies(pointer: &str, lie: Value, found: &[&str]) {
    let mut databases = honest(load().plan.catalogue().price_minor(1));
    *databases.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = lie.clone();
    assert_eq!(broken(&told(), &databases, &Watched::default()), found, "{pointer} = {lie}");
}

#[test]
fn honest_books_balance() {
    lies("/sagas/0/version", json!(1), &[]);
}

#[test]
fn what_the_databases_get_wrong_is_found_by_name() {
    let in_repair = ["every_saga_has_ended", "refunds_are_what_was_asked_for"];
    lies("/sagas/2/status", json!("repair"), &in_repair);
    lies("/sagas/1/ended_at", json!("2026-11-20T18:01:06.000Z"), &["no_hold_outlives_its_time"]);
    lies(
        "/orders/0/refunded_minor",
        json!(1),
        &["refunds_are_what_was_asked_for", "payments_are_those_of_the_orders"],
    );
    lies(
        "/orders/0/total_minor",
        json!(1),
        &["orders_cost_what_their_carts_do", "payments_are_those_of_the_orders"],
    );
    lies("/shown/0/availability/usable", json!(8), &["availability_agrees"]);
    lies("/shown/0/availability", json!(null), &["availability_agrees"]);
    lies("/payments/0/refunded_minor", json!(0), &["payments_are_those_of_the_orders"]);
    lies("/payments/1/state", json!("paid"), &["payments_are_those_of_the_orders"]);
    lies("/stock/0/held", json!(2), &["stock_is_conserved", "nothing_is_oversold"]);
}

#[test]
fn what_customers_were_told_is_held_against_the_databases() {
    let databases = honest(load().plan.catalogue().price_minor(1));
    let with = |change: fn(&mut Vec<Told>)| {
        let mut told = told();
        change(&mut told);
        broken(&told, &databases, &Watched::default())
    };
    assert_eq!(with(|told| told[0].again = told[1].saga), ["one_cart_one_saga"]);
    assert_eq!(with(|told| told[0].saga = Some(uuid::Uuid::nil())).first(), Some(&"nothing_is_forgotten"));
    assert_eq!(with(|told| told[1].end = End::Lost("gone".to_owned())), ["nothing_is_forgotten"]);
    assert_eq!(with(|told| told[1].end = End::Completed), ["customers_were_told_the_truth"]);
    assert_eq!(with(|told| told[0].arrival.fate = Fate::Leaves), ["who_does_not_pay_gets_nothing"]);
    assert_eq!(with(|told| told[0].refunds.clear()), ["refunds_are_what_was_asked_for"]);
}

#[test]
fn a_law_that_was_broken_for_a_moment_is_told_at_the_end() {
    let databases = honest(load().plan.catalogue().price_minor(1));
    let watched = Watched { asked: 3, broken: vec!["stock_never_negative: [-1]".to_owned()] };
    assert_eq!(broken(&told(), &databases, &watched), ["laws_kept_throughout"]);
}
