//! Each check, told by the lie that it finds.

use super::*;
use crate::{
    client::Client,
    load::{
        carts::{Cart, Profile},
        catalogue::{Catalogue, SKEW},
        definitions::Definitions,
        drive::{After, Parcel, Refund},
        plan::{Arrival, Mix, Plan},
        sale::{Sale, SaleEnd},
        site::{Payment as Pays, Site},
    },
    shop::ShopUrls,
};
use amends_wire::span::Span;
use serde_json::{Value, json};
use std::time::Duration;

const A: &str = "00000000-0000-7000-8000-00000000000a";
const B: &str = "00000000-0000-7000-8000-00000000000b";
const R: &str = "00000000-0000-7000-8000-0000000000aa";
/// C's saga, those of its two parcels, and of the refund that it asked for too late.
const C: &str = "00000000-0000-7000-8000-00000000000c";
const C1: &str = "00000000-0000-7000-8000-0000000000c1";
const C2: &str = "00000000-0000-7000-8000-0000000000c2";
const C3: &str = "00000000-0000-7000-8000-0000000000c3";
/// F's saga, of the flash sale.
const F: &str = "00000000-0000-7000-8000-00000000000f";

fn load() -> Load {
    crate::process::install_tls();
    let mix = Mix {
        profile: Profile::Retail,
        rate: 1.0,
        step: 1.0,
        lasts: Duration::from_secs(1),
        duplicates: 0.0,
        unpaid: 0.0,
        cancels: 0.0,
        refunds: 0.0,
        ships: 0.0,
        regrets: 0.0,
        reads: 0,
        quotes: 0,
        sale: None,
    };
    let url = || "http://127.0.0.1:1".parse().expect("an address");
    let site = Site {
        coordinator: Client::new(url(), None).expect("a client"),
        urls: ShopUrls { inventory: url(), order: url(), product: url() },
        pays: Pays::Provider,
        payments: None,
        definitions: Definitions::new(Pays::Provider, true, Span::from_secs(5)).expect("definitions"),
        hold: Duration::from_secs(5),
        patience: Duration::from_secs(1),
    };
    let plan = Plan::new(1, Catalogue::new(1, 100, SKEW), mix);
    Load::new(site, plan, "t".to_owned(), None).expect("clients")
}

/// A wanted two of SKU 1, submitted it twice, paid, and wanted one back; B wanted one and was never heard of again. C
/// wanted three, was sent two and then one, and wanted the money back after that. F wanted one of SKU 101, which is of
/// the flash sale.
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
        after: After::default(),
    };
    let mut a = told("A", A, 2, Fate::Refunds(Duration::ZERO, vec![vec![(1, 1)]]), End::Completed);
    a.again = a.saga;
    a.after.refunds = vec![Refund { saga: id(R), part: vec![(1, 1)], end: End::Completed }];
    let mut c = told("C", C, 3, Fate::Pays(Duration::ZERO), End::Completed);
    let parcel = |saga: &str, pieces| Parcel { saga: id(saga), part: vec![(1, pieces)], done: true };
    c.after.parcels = vec![parcel(C1, 2), parcel(C2, 1)];
    let no = End::Compensated("refused_at_begin".to_owned());
    c.after.regret = Some(Refund { saga: id(C3), part: vec![(1, 3)], end: no });
    let mut f = told("F", F, 1, Fate::Pays(Duration::ZERO), End::Completed);
    (f.arrival.flash, f.arrival.customer, f.arrival.cart) = (true, 7, Cart { lines: vec![(101, 1)] });
    vec![a, told("B", B, 1, Fate::Leaves, End::Left), c, f]
}

/// What the databases have to show for it, SKU 1 at one price and SKU 101 at another.
fn honest(price: i64, of_sale: i64) -> Value {
    let line =
        |qty, refunded, shipped| json!({ "sku": 1, "qty": qty, "refunded": refunded, "shipped": shipped });
    let (begun, ended) = ("2026-11-20T18:00:00.000Z", "2026-11-20T18:00:06.000Z");
    let saga = |id: &str, definition: &str, status: &str, order: &str| {
        json!({
            "id": id, "definition": definition, "version": 1, "key": null, "labels": {}, "status": status,
            "input": { "order": order }, "output": null, "error": null, "created_at": begun, "updated_at": ended,
            "ended_at": ended, "deadline_at": null, "repairs": [],
        })
    };
    let order = |order: &str, saga: &str, state: &str, total: i64, refunded: i64, line: Value| {
        json!({ "order": order, "state": state, "saga": saga, "total_minor": total, "refunded_minor": refunded,
            "currency": "EUR", "lines": [line] })
    };
    let set_aside = |order: &str, sku: i64, qty: i64, [confirmed, released, shipped]: [i64; 3]| {
        json!({ "order": order, "lines": [{ "sku": sku, "qty": qty, "held": 0, "confirmed": confirmed,
            "released": released, "shipped": shipped }] })
    };
    json!({
        "sagas": [
            saga(A, "place-and-pay-5s", "completed", "A"),
            saga(B, "place-and-pay-5s", "compensated", "B"),
            saga(R, "refund-in-parts", "completed", "A"),
            saga(C, "checkout-5s", "completed", "C"),
            saga(C1, "ship-parts", "completed", "C"),
            saga(C2, "ship-parts", "completed", "C"),
            saga(C3, "refund", "compensated", "C"),
            saga(F, "flash-sale-5s", "completed", "F"),
        ],
        "orders": [
            order("A", A, "part_refunded", 2 * price, price, line(2, 1, 0)),
            order("B", B, "cancelled", price, 0, line(1, 0, 0)),
            order("C", C, "shipped", 3 * price, 0, line(3, 0, 3)),
            order("F", F, "paid", of_sale, 0, json!({ "sku": 101, "qty": 1, "refunded": 0, "shipped": 0 })),
        ],
        "stock": [
            { "sku": 1, "usable": 6, "held": 1, "shipped": 3, "inbound": 10 },
            { "sku": 101, "usable": 8, "held": 0, "shipped": 0, "inbound": 8 },
        ],
        "set_aside": [
            set_aside("A", 1, 2, [1, 1, 0]), set_aside("C", 1, 3, [0, 0, 3]), set_aside("F", 101, 1, [1, 0, 0]),
        ],
        "products": [
            { "sku": 1, "name": "item 1", "price_minor": price, "currency": "EUR" },
            { "sku": 101, "name": "item 101", "price_minor": of_sale, "currency": "EUR" },
        ],
        "shown": [
            { "sku": 1, "availability": { "usable": 6, "seq": 4 } },
            { "sku": 101, "availability": { "usable": 8, "seq": 5 } },
        ],
        "payments": [
            { "payment": "A", "order": "A", "state": "part_refunded", "amount_minor": 2 * price, "refunded_minor": price },
            { "payment": "B", "order": "B", "state": "void", "amount_minor": price, "refunded_minor": 0 },
            { "payment": "F", "order": "F", "state": "paid", "amount_minor": of_sale, "refunded_minor": 0 },
        ],
        // Three were set apart and one was sold, so two went back.
        "activity": [{ "sku": 101, "usable": 0, "held": 1, "shipped": 0, "inbound": 1 }],
        "before": [{ "sku": 101, "usable": 6, "held": 0, "shipped": 0, "inbound": 6 }],
        "after": [{ "sku": 101, "usable": 8, "held": 0, "shipped": 0, "inbound": 8 }],
        "sale": { "apart": 3, "back": 2, "limit": 2, "counted": 1 },
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
    let figure = |name: &str| told["sale"][name].as_i64().expect("a number");
    let sale = Sale {
        activity: 1,
        limit: figure("limit"),
        set_apart: BTreeMap::from([(101, figure("apart"))]),
        ordinary: read(told, "before"),
    };
    let end = SaleEnd {
        sale,
        left: read(told, "activity"),
        put_back: BTreeMap::from([(101, figure("back"))]),
        ordinary: read(told, "after"),
        counted: BTreeMap::from([("c7".to_owned(), figure("counted"))]),
    };
    let (payments, shown) = (Some(read(told, "payments")), Some(read(told, "shown")));
    Evidence { ledgers, payments, shown, sale: Some(end), own: true }
}

fn broken(told: &[Told], databases: &Value, watched: &Watched) -> Vec<&'static str> {
    broken_in(&load(), told, databases, watched)
}

fn broken_in(load: &Load, told: &[Told], databases: &Value, watched: &Watched) -> Vec<&'static str> {
    let books = check(load, told, evidence(databases), watched);
    // What came in is the plan's own, which is another one.
    let others = |check: &&Check| !check.kept && check.name != "stock_is_what_came_in";
    books.checks.iter().filter(others).map(|check| check.name).collect()
}

fn databases() -> Value {
    let load = load();
    let price = |sku| load.plan.catalogue().price_minor(sku);
    honest(price(1), price(101))
}

/// Puts a lie in the place of what the databases say, and expects that these checks find it.
fn lies(pointer: &str, lie: Value, found: &[&str]) {
    let mut databases = databases();
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
fn a_hold_that_outlives_its_time_is_found() {
    for (seconds, found) in [(59, vec![]), (61, vec!["no_hold_outlives_its_time"])] {
        let load = load();
        load.tally.overdue.add(Duration::from_secs(seconds));
        assert_eq!(broken_in(&load, &told(), &databases(), &Watched::default()), found, "{seconds} s");
    }
}

#[test]
fn what_shipping_gets_wrong_is_found_by_name() {
    lies("/orders/2/lines/0/shipped", json!(2), &["what_was_sent_has_left"]);
    lies(
        "/set_aside/1/lines/0/shipped",
        json!(2),
        &["nothing_is_oversold", "orders_agree_with_stock", "what_was_sent_has_left"],
    );
    lies("/sagas/5/status", json!("compensated"), &["what_was_sent_has_left"]);
    lies(
        "/orders/2/refunded_minor",
        json!(1),
        &["refunds_are_what_was_asked_for", "after_shipping_nothing_comes_back"],
    );
    lies("/set_aside/1/lines/0/released", json!(1), &["after_shipping_nothing_comes_back"]);
}

#[test]
fn who_asks_too_late_is_told_no() {
    let broken = |end: End| {
        let mut told = told();
        told[2].after.regret.as_mut().expect("a regret").end = end;
        broken(&told, &databases(), &Watched::default())
    };
    assert_eq!(
        broken(End::Completed),
        ["refunds_are_what_was_asked_for", "after_shipping_nothing_comes_back"]
    );
    assert_eq!(broken(End::Compensated("deadline".to_owned())), ["after_shipping_nothing_comes_back"]);
}

#[test]
fn what_a_flash_sale_gets_wrong_is_found_by_name() {
    let apart = "a_sale_sells_what_was_set_apart";
    lies("/sale/apart", json!(0), &[apart]);
    lies("/activity/0/usable", json!(1), &["stock_is_conserved", apart]);
    lies("/activity/0/held", json!(2), &["stock_is_conserved", "nothing_is_oversold", apart]);
    lies("/sale/limit", json!(0), &["no_customer_above_the_limit"]);
    lies("/sale/counted", json!(2), &["no_customer_above_the_limit"]);
    lies("/after/0/usable", json!(7), &["a_sale_leaves_ordinary_stock_alone"]);
    lies("/after/0/held", json!(1), &["a_sale_leaves_ordinary_stock_alone"]);
    lies("/sale/back", json!(1), &[apart, "a_sale_leaves_ordinary_stock_alone"]);
}

#[test]
fn what_came_in_is_what_the_plan_sent() {
    let books = check(&load(), &told(), evidence(&databases()), &Watched::default());
    let came_in = books.checks.iter().find(|check| check.name == "stock_is_what_came_in");
    assert!(!came_in.expect("a shop of its own").kept);
}

#[test]
fn a_look_that_was_never_answered_is_told() {
    let load = load();
    load.tally.unanswered.one_more();
    assert_eq!(broken_in(&load, &told(), &databases(), &Watched::default()), ["looks_are_answered"]);
}

#[test]
fn what_customers_were_told_is_held_against_the_databases() {
    let databases = databases();
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
    assert_eq!(with(|told| told[0].after.refunds.clear()), ["refunds_are_what_was_asked_for"]);
}

#[test]
fn a_law_that_was_broken_for_a_moment_is_told_at_the_end() {
    let databases = databases();
    let watched = Watched { asked: 3, broken: vec!["stock_never_negative: [-1]".to_owned()] };
    assert_eq!(broken(&told(), &databases, &watched), ["laws_kept_throughout"]);
}
