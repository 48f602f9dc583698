//! `amends verify` against a coordinator and the shop's participants as processes of their own: nothing to find after
//! carts of every kind, and every planted anomaly found and named.

use crate::binary::{Ended, Place, Service};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use std::time::{Duration, Instant};

/// A shop on databases in a directory of its own.
struct Shop {
    place: Place,
    coordinator: Service,
    participants: Vec<Service>,
    runtime: tokio::runtime::Runtime,
    web: reqwest::Client,
}

impl Shop {
    fn open() -> Shop {
        amends::process::install_tls();
        let place = Place::new();
        let sagas = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas");
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:sagas.db", "--definitions", sagas];
        let coordinator = place.serve(&serve);
        let participant = |name: &str, follow: &[&str]| {
            let store = format!("sqlite:{name}.db");
            let args = ["participant", name, "--listen", "127.0.0.1:0", "--store", &store];
            place.serve(&[&args[..], follow, &["--coordinator", &coordinator.url]].concat())
        };
        let (inventory, order) = (participant("inventory", &[]), participant("order", &[]));
        let product = participant("product", &["--follow", &inventory.url]);
        let participants = [inventory, order, product, participant("payment", &[])];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let participants = participants.into();
        let shop = Shop { place, coordinator, participants, runtime, web: reqwest::Client::new() };
        shop.await_registered();
        let product = json!({ "items": [{ "sku": 1, "name": "Walnut Desk", "price_minor": 64_900 }] });
        shop.send(Method::PUT, &format!("{}/catalogue", shop.participants[2].url), &product);
        let delivery = json!({ "biz_no": "delivery-1", "lines": [{ "sku": 1, "qty": 100 }] });
        shop.send(Method::POST, &format!("{}/replenish", shop.participants[0].url), &delivery);
        shop
    }

    fn await_registered(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let health = self.run(&["health", "--json"]).code(0).json();
            if health["participants"].as_array().is_some_and(|list| list.len() == 4) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the participants were not registered");
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.place.run(&[args, &["--coordinator", &self.coordinator.url]].concat())
    }

    fn send(&self, method: Method, url: &str, body: &Value) {
        let sent = self.runtime.block_on(self.web.request(method, url).json(body).send()).expect("an answer");
        assert!(sent.status().is_success(), "{url}: {}", sent.status());
    }

    /// Runs an order to its end, and gives its id.
    fn order(&self, number: &str, qty: i64) -> String {
        let input = json!({ "order": number, "lines": [{ "sku": 1, "qty": qty, "price_minor": 64_900 }] });
        self.place.file("order.json", &input.to_string());
        let start = ["saga", "start", "order", "--input", "order.json", "--wait", "30s", "--json"];
        let saga = self.run(&start).json();
        assert!(matches!(saga["status"].as_str(), Some("completed" | "compensated")), "{saga}");
        saga["id"].as_str().expect("an id").to_owned()
    }

    fn await_state(&self, order: &str, state: &str) {
        let url = format!("{}/orders/{order}", self.participants[1].url);
        let until = Instant::now() + Duration::from_secs(30);
        let read = async || -> Option<Value> { self.web.get(&url).send().await.ok()?.json().await.ok() };
        while Instant::now() < until {
            if self.runtime.block_on(read()).is_some_and(|order| order["state"] == state) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("order {order} is not {state}");
    }

    /// Calls a participant by hand, as no coordinator has.
    fn call(&self, participant: usize, operation: &str, saga: &str, body: &Value) {
        let url = format!("{}/{operation}", self.participants[participant].url);
        let request = self.web.post(url).json(body).header("saga-id", saga).header("saga-step", "deduct");
        let request =
            request.header("saga-op", "action").header("saga-attempt", "1").header("idempotency-key", "k");
        let sent = self.runtime.block_on(request.send()).expect("an answer");
        assert!(sent.status().is_success(), "{}", sent.status());
    }

    /// Writes to a participant's database behind its back, whatever its constraints say.
    fn plant(&self, name: &str, sql: &'static str) {
        let file = format!("sqlite:{}", self.place.path().join(format!("{name}.db")).display());
        self.runtime.block_on(async {
            let mut rows = SqliteConnection::connect(&file).await.expect("it opens");
            let lawless =
                "pragma foreign_keys = off; pragma ignore_check_constraints = on; pragma busy_timeout = 5000;";
            sqlx::raw_sql(lawless).execute(&mut rows).await.expect("it is set");
            let done = sqlx::raw_sql(sql).execute(&mut rows).await.expect("it is written");
            assert!(done.rows_affected() > 0, "{sql} changes something");
        });
    }

    /// The names of what a verification finds, each with its participant, sorted.
    fn found(&self, code: i32) -> Vec<String> {
        let report = self.run(&["verify", "--settle", "0s", "--json"]).code(code).json();
        let findings = report["findings"].as_array().expect("findings").clone();
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<String> = findings
            .iter()
            .map(|one| format!("{} {}", text(one, "participant"), text(one, "name")))
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

#[test]
fn a_shop_at_work_keeps_every_invariant() {
    let shop = Shop::open();
    let nothing = shop.run(&["verify"]).code(0);
    assert!(nothing.out.contains("kept: "), "{}", nothing.out);
    for number in 0..6 {
        shop.order(&format!("A-{number}"), 2);
    }
    let refused = shop.order("A-9", 1000);
    shop.run(&["saga", "show", &refused]).code(0);
    let settling = shop.run(&["verify", "--json"]).code(0).json();
    let first = &settling["participants"][0];
    assert_eq!((&first["name"], &first["judged"]), (&json!("inventory"), &json!(0)), "{settling}");

    let ended = shop.run(&["verify", "--settle", "0s", "--json"]).code(0).json();
    assert_eq!((&ended["kept"], &ended["sagas"], &ended["findings"]), (&json!(true), &json!(7), &json!([])));
    let audits: Vec<&Value> =
        ended["participants"].as_array().expect("four").iter().map(|one| &one["audit"]).collect();
    assert_eq!(audits, ["read"; 4]);
    let law = |name: &str| {
        let laws = ended["invariants"].as_array().expect("laws").iter();
        laws.clone().find(|law| law["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    // Of six orders three steps each, and what each of the bodies asked for.
    assert_eq!(law("completed_took_effect")["checked"], 18);
    assert_eq!(law("effects_are_what_was_asked")["checked"], 18);
    assert_eq!(law("flows_add_up")["participant"], "inventory");
    // What no participant can check by itself.
    assert_eq!(law("orders_have_what_they_reserved")["checked"], 6);
    assert_eq!(law("availability_is_what_is_usable")["checked"], 1);
    assert_eq!(law("payments_are_those_of_the_orders")["checked"], 6);

    let shown = shop.run(&["verify", "--settle", "0s", "--participant", "order"]).code(0);
    for words in ["order        read", "I6", "completed_took_effect", "order.events_form_a_chain", "kept: "] {
        assert!(shown.out.contains(words), "{words:?} in {}", shown.out);
    }
    assert!(!shown.out.contains("inventory"), "{}", shown.out);
}

#[test]
fn planted_anomalies_are_found_and_named() {
    let shop = Shop::open();
    for number in 0..8 {
        shop.order(&format!("A-{number}"), 2);
    }
    assert_eq!(shop.found(0), [""; 0]);
    let told = std::thread::scope(|scope| {
        let watching =
            scope.spawn(|| shop.run(&["verify", "--settle", "0s", "--every", "200ms"]).code(3).out);
        std::thread::sleep(Duration::from_secs(1));
        assert!(!watching.is_finished(), "nothing is broken yet");
        shop.plant("inventory", "delete from inv_hold where order_no = 'A-0'");
        watching.join().expect("it ends")
    });
    // Which law is seen first depends on what had been read when it happened.
    assert!(told.contains("broken: "), "{told}");
    let own = "inventory held_is_what_holds_have_open";
    assert_eq!(shop.found(3), ["inventory effect_lost", own, "inventory orders_have_what_they_reserved"]);
    shop.plant(
        "inventory",
        "insert into inv_flow (op, biz_no, line_no, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id, saga,
            step, created_at)
         select op, biz_no, line_no + 100, stock_id, bucket_no, qty, d_usable, d_held, d_shipped, hold_id, saga, step,
            created_at from inv_flow where biz_no = 'A-1'",
    );
    shop.plant("inventory", "update inv_hold set qty = 3 where order_no = 'A-2'");
    shop.plant(
        "inventory",
        "insert into inv_hold select 1000, 'X-1', 1, stock_id, 0, 1, 6, 0, 0, 1,
            '00000000-0000-0000-0000-0000000000ff', 'reserve', null, null, created_at + 900000, created_at
         from inv_hold where order_no = 'A-3'",
    );
    shop.plant("order", "update order_line set qty = 5 where order_no = 'A-4'");
    shop.plant("order", "delete from saga_barrier where saga_id = (select unhex(saga, '-') from orders where order_no = 'A-5')");
    let stranger = "0193f2a0-0000-7000-8000-000000000001";
    shop.call(0, "deduct", stranger, &json!({ "order": "X-2", "lines": [{ "sku": 1, "qty": 1 }] }));
    let found = shop.found(3);
    for expected in [
        "inventory effect_lost",
        "inventory doubled_effect",
        "inventory wrong_quantity",
        "inventory orphan_hold",
        "inventory effect_without_a_saga",
        "order wrong_quantity",
        "order effect_lost",
        "order orphan_effect",
        "order total_is_what_lines_come_to",
    ] {
        assert!(found.iter().any(|one| one == expected), "{expected} in {found:?}");
    }
    let told = shop.run(&["verify", "--settle", "0s"]).code(3);
    for words in ["broken: ", "effect_without_a_saga inventory 0193f2a0-", "no_orphan_effects"] {
        assert!(told.out.contains(words), "{words:?} in {}", told.out);
    }
}

#[test]
fn what_two_services_say_of_one_thing_is_held_against_each_other() {
    let shop = Shop::open();
    shop.place.file("cart.json", &json!({ "order": "B-1", "lines": [{ "sku": 1, "qty": 3 }] }).to_string());
    for number in 0..3 {
        shop.order(&format!("A-{number}"), 2);
    }
    let waiting = shop.run(&["saga", "start", "checkout", "--input", "cart.json", "--json"]).json();
    shop.await_state("B-1", "created");
    assert_eq!(shop.found(0), [""; 0], "an order that waits for its payment breaks nothing");

    // Cancelled while its goods are set aside: of B-1 a saga is under way, which may be about to give them back.
    let stranger = "0193f2a0-0000-7000-8000-000000000002";
    shop.call(1, "cancel", stranger, &json!({ "order": "B-1" }));
    assert!(!shop.found(3).contains(&"inventory orders_have_what_they_reserved".to_owned()), "{waiting}");

    // I6: nobody is about to give back those of A-1, whose money went back.
    let stranger = "0193f2a0-0000-7000-8000-000000000001";
    shop.call(1, "refund", stranger, &json!({ "order": "A-1" }));
    // I8: nothing tells the catalogue that it is wrong.
    shop.plant("product", "update sku_availability set usable = usable + 3");
    let report = shop.run(&["verify", "--settle", "0s", "--json"]).code(3).json();
    let told = |law: &str| -> Vec<Value> {
        let findings = report["findings"].as_array().expect("findings").iter();
        let of_it = findings.filter(|one| one["name"] == law && one["participant"] == "inventory");
        of_it.map(|one| one["detail"]["row"].clone()).collect()
    };
    let orders = told("orders_have_what_they_reserved");
    assert_eq!(
        orders,
        [json!({ "order": "A-1", "sku": 1, "wanted": 0, "reserved": 2, "missing": 0 })],
        "{report}"
    );
    let shown = told("availability_is_what_is_usable");
    let [row] = &shown[..] else { panic!("one sku is wrong: {report}") };
    assert_eq!(
        (&row["sku"], &row["shown"], &row["usable_then"]),
        (&json!(1), &json!(94), &json!(91)),
        "{row}"
    );
    let text = shop.run(&["verify", "--settle", "0s"]).code(3).out;
    for words in [
        "orders_have_what_they_reserved inventory: order A-1 is to have 0 of sku 1 by order, and has 2",
        "availability_is_what_is_usable inventory: product shows 94 of sku 1 as of flow ",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
}

#[test]
fn payments_are_held_against_the_orders_that_they_are_for() {
    let shop = Shop::open();
    for number in ["A-1", "A-2"] {
        let cart = json!({ "order": number, "lines": [{ "sku": 1, "qty": 2 }] });
        shop.place.file("cart.json", &cart.to_string());
        let start = ["saga", "start", "place-and-pay", "--input", "cart.json", "--wait", "30s", "--json"];
        assert_eq!(shop.run(&start).json()["status"], "completed");
    }
    shop.order("B-1", 1);
    assert_eq!(shop.found(0), [""; 0], "B-1 was paid elsewhere, and names no payment");

    // The order says that its money went back, and nobody has told the provider.
    let whole = json!({ "order": "A-1", "refund": "R-1", "payment_service": true });
    shop.call(1, "refund_begin", "0193f2a0-0000-7000-8000-000000000001", &whole);
    shop.call(1, "refund_end", "0193f2a0-0000-7000-8000-000000000002", &whole);
    let law = "payments_are_those_of_the_orders";
    let report = shop.run(&["verify", "--settle", "0s", "--json"]).code(3).json();
    let findings = report["findings"].as_array().expect("findings").iter();
    let rows: Vec<&Value> =
        findings.filter(|one| one["name"] == law).map(|one| &one["detail"]["row"]).collect();
    let expected = json!({ "order": "A-1", "payment": "A-1", "due_minor": 0, "kept_minor": 129_800 });
    assert_eq!(rows, [&expected], "{report}");
    let text = shop.run(&["verify", "--settle", "0s"]).code(3).out;
    let words = "payments_are_those_of_the_orders payment: order A-1 comes to 0 in minor units by order, paid by A-1, \
                 and 129800 of its payments is kept";
    assert!(text.contains(words), "{text}");

    shop.plant("order", "delete from orders where order_no = 'A-2'");
    let text = shop.run(&["verify", "--settle", "0s"]).code(3).out;
    let words = "payments_have_an_order order: payment keeps 129800 in minor units of payment A-2, and there is no order A-2";
    assert!(text.contains(words), "{text}");
}

#[test]
fn what_offers_no_audit_is_told_and_what_does_not_answer_ends_with_1() {
    let mut shop = Shop::open();
    shop.order("A-1", 2);
    // Something that has an answer for everything, but no audit.
    let legacy = json!({ "instances": [shop.coordinator.url], "operations": { "pay": {} } });
    shop.send(Method::PUT, &format!("{}/v1/participants/legacy", shop.coordinator.url), &legacy);
    let report = shop.run(&["verify", "--settle", "0s", "--json"]).code(0).json();
    let audit = |name: &str| {
        let all = report["participants"].as_array().expect("participants").iter();
        all.clone().find(|one| one["name"] == name).expect("a participant")["audit"].clone()
    };
    assert_eq!((audit("legacy"), audit("order")), (json!("not offered"), json!("read")));

    let unknown = shop.run(&["verify", "--participant", "warehouse", "--every", "1h"]).code(1);
    assert!(
        unknown.err.contains("no participant \"warehouse\" is registered; there are inventory"),
        "{}",
        unknown.err
    );
    let restless = shop.run(&["verify", "--every", "0s"]).code(1);
    assert!(restless.err.contains("--every 10m"), "{restless:?}");
    let many = shop.run(&["verify", "--max", "1"]).code(1);
    assert!(many.err.contains("more than 1 effects"), "{}", many.err);
    shop.participants.remove(1).kill();
    let gone = shop.run(&["verify", "--settle", "0s"]).code(1);
    assert!(gone.err.contains("not everything could be checked: order: "), "{}", gone.err);
    assert!(gone.out.contains("failed"), "{}", gone.out);
    // What is known to be broken is more than what could not be asked.
    shop.plant("inventory", "delete from inv_flow where biz_no = 'A-1'");
    shop.run(&["verify", "--settle", "0s"]).code(3);
}
