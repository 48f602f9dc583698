//! A coordinator and the shop's participants as processes of their own, and every command that talks to them.

use crate::binary::{Ended, Place, Service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A shop on databases in `place`.
struct Shop {
    coordinator: Service,
    participants: Vec<Service>,
}

impl Shop {
    fn open(place: &Place) -> Shop {
        let sagas = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas");
        let coordinator = place.serve(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "sqlite:sagas.db",
            "--definitions",
            sagas,
        ]);
        let participant = |name: &str| {
            let store = format!("sqlite:{name}.db");
            let args = ["participant", name, "--listen", "127.0.0.1:0", "--store", &store];
            place.serve(&[&args[..], &["--coordinator", &coordinator.url]].concat())
        };
        let participants = ["inventory", "order", "product"].map(participant).into();
        let shop = Shop { coordinator, participants };
        shop.await_registered(place);
        shop
    }

    fn await_registered(&self, place: &Place) {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let health = self.run(place, &["health", "--json"]).code(0).json();
            if health["participants"].as_array().is_some_and(|list| list.len() == 3) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the participants were not registered");
    }

    /// Runs a command against this coordinator.
    fn run(&self, place: &Place, args: &[&str]) -> Ended {
        place.run(&[args, &["--coordinator", &self.coordinator.url]].concat())
    }

    /// Ten pieces of one product.
    fn fill(&self) {
        let client = Web::new();
        let product = json!({ "items": [{ "sku": 1, "name": "Walnut Desk", "price_minor": 64_900 }] });
        client.send(reqwest::Method::PUT, &format!("{}/catalogue", self.participants[2].url), &product);
        let delivery = json!({ "biz_no": "delivery-1", "lines": [{ "sku": 1, "qty": 10 }] });
        client.send(reqwest::Method::POST, &format!("{}/replenish", self.participants[0].url), &delivery);
    }

    fn stock(&self) -> Value {
        Web::new().get(&format!("{}/stock?sku=1", self.participants[0].url))["items"][0].clone()
    }
}

/// The participants' own addresses, asked without the executable.
struct Web {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Web {
    fn new() -> Web {
        amends::process::install_tls();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Web { runtime, client: reqwest::Client::new() }
    }

    fn send(&self, method: reqwest::Method, url: &str, body: &Value) {
        let sent =
            self.runtime.block_on(self.client.request(method, url).json(body).send()).expect("an answer");
        assert!(sent.status().is_success(), "{url}: {}", sent.status());
    }

    fn get(&self, url: &str) -> Value {
        self.runtime.block_on(async {
            let answer = self.client.get(url).send().await.expect("an answer");
            answer.json().await.expect("JSON")
        })
    }
}

fn id(saga: &Value) -> String {
    saga["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_cart_is_started_paid_shown_listed_and_followed() {
    let place = Place::new();
    let shop = Shop::open(&place);
    shop.fill();
    place.file("cart.json", "{\"order\": \"1001\", \"lines\": [{\"sku\": 1, \"qty\": 2}]}");
    place.file("other.json", "{\"order\": \"1001\", \"lines\": [{\"sku\": 1, \"qty\": 3}]}");
    let start = ["saga", "start", "checkout", "--key", "k-1", "--label", "order=1001", "--json", "--input"];
    let saga = shop.run(&place, &[&start[..], &["cart.json"]].concat()).code(0).json();
    let id = id(&saga);

    let again = shop.run(&place, &[&start[..], &["cart.json"]].concat()).code(0).json();
    assert_eq!(again["id"], saga["id"]);
    let reused = shop.run(&place, &[&start[..], &["other.json"]].concat()).code(1);
    assert!(reused.err.contains("key"), "{}", reused.err);
    place.file("none.json", "{\"order\": \"1002\", \"lines\": [{\"sku\": 1, \"qty\": 0}]}");
    let misfit = shop.run(&place, &["saga", "start", "checkout", "--input", "none.json"]).code(1);
    assert!(misfit.err.contains("/lines/0/qty"), "{}", misfit.err);

    shop.run(&place, &["saga", "signal", &id, "payment", "--payload", "{\"receipt\": \"R-1\"}"]).code(0);
    let shown = shop.run(&place, &["saga", "show", &id, "--wait", "30s", "--json"]).code(0).json();
    assert_eq!(
        (&shown["status"], &shown["output"]["payment"]["receipt"]),
        (&json!("completed"), &json!("R-1"))
    );

    let people = shop.run(&place, &["saga", "show", &id]).code(0).out;
    assert!(people.contains("inventory.hold") && people.contains("completed"), "{people}");
    let listed =
        shop.run(&place, &["saga", "list", "--label", "order=1001", "--status", "completed", "--json"]);
    let listed = listed.code(0).json();
    assert_eq!((listed["items"].as_array().map(Vec::len), &listed["items"][0]["id"]), (Some(1), &saga["id"]));
    assert_eq!(shop.run(&place, &["saga", "list", "--status", "repair"]).code(0).out, "no saga fits\n");

    let followed = shop.run(&place, &["saga", "follow", &id, "--json"]).code(0).out;
    let events: Vec<Value> = followed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        (&events[0]["type"], &events[events.len() - 1]["type"]),
        (&json!("started"), &json!("completed"))
    );

    let ended = shop.run(&place, &["saga", "cancel", &id]).code(1);
    assert_eq!(ended.err.trim(), "error: the saga has ended");
    assert_eq!(
        shop.stock(),
        json!({ "sku": 1, "available": 8, "usable": 8, "held": 2, "shipped": 0, "inbound": 10 })
    );
}

#[test]
fn a_killed_coordinator_goes_on_where_it_was_and_a_journal_is_followed_across() {
    let place = Place::new();
    let mut shop = Shop::open(&place);
    shop.fill();
    place.file("cart.json", "{\"order\": \"2001\", \"lines\": [{\"sku\": 1, \"qty\": 1}]}");
    let start = ["saga", "start", "checkout", "--input", "cart.json", "--json"];
    let id = id(&shop.run(&place, &start).code(0).json());
    let address = shop.coordinator.url.trim_start_matches("http://").to_owned();
    std::mem::replace(
        &mut shop.coordinator,
        place.serve(&["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:x.db"]),
    )
    .kill();
    shop.coordinator = place.serve(&["serve", "--listen", &address, "--store", "sqlite:sagas.db"]);
    shop.await_registered(&place);

    let cancelled = shop.run(&place, &["saga", "cancel", &id, "--reason", "the customer called"]);
    cancelled.code(0);
    let shown = shop.run(&place, &["saga", "show", &id, "--wait", "30s", "--json"]).code(0).json();
    assert_eq!(shown["status"], "compensated");
    let journal = shop.run(&place, &["saga", "follow", &id]).code(0).out;
    assert!(journal.contains("taken_over") && journal.trim_end().ends_with("compensated"), "{journal}");
    assert_eq!(
        shop.stock(),
        json!({ "sku": 1, "available": 10, "usable": 10, "held": 0, "shipped": 0, "inbound": 10 })
    );
}

#[test]
fn a_store_has_one_owner_and_a_second_one_is_told_whose_it_is() {
    let place = Place::new();
    let args = ["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:sagas.db", "--name", "the-first"];
    let first = place.serve(&args);
    let second = place.run(&args).code(1);
    let owner = format!("the-first, process {}", first.pid());
    assert!(second.err.contains(&owner), "{}", second.err);
    assert_eq!(first.terminate(), Some(0));
    assert_eq!(place.serve(&args).terminate(), Some(0));
}

#[test]
fn tokens_are_asked_for_and_have_roles() {
    let place = Place::new();
    place.file("tokens", "# who\nsubmit only-start\nadmin everything\n");
    let coordinator = place.serve(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:s.db",
        "--tokens-file",
        "tokens",
    ]);
    place.file("ping.yaml", "saga: ping\nsteps:\n  - one: { action: a.b, read_only: true }\n");
    let run = |args: &[&str]| place.run(&[args, &["--coordinator", &coordinator.url]].concat());
    let without = run(&["saga", "list"]).code(1);
    assert!(without.err.contains("--token or AMENDS_TOKEN"), "{}", without.err);
    run(&["saga", "list", "--token", "only-start"]).code(0);
    let weak = run(&["definition", "register", "ping.yaml", "--token", "only-start"]).code(1);
    assert!(weak.err.contains("needs admin"), "{}", weak.err);
    let strong = run(&["definition", "register", "ping.yaml", "--token", "everything"]).code(0);
    assert!(strong.out.starts_with("ping@1 registered (hash "), "{}", strong.out);
    let again = run(&["definition", "register", "ping.yaml", "--token", "everything"]).code(0);
    assert!(again.out.starts_with("ping@1 was registered already with this content (hash "), "{}", again.out);
    let unknown = run(&["saga", "start", "ping", "--token", "only-start"]).code(1);
    assert!(unknown.err.contains("a.b is not registered"), "{}", unknown.err);
    let shown = run(&["definition", "show", "ping", "--token", "only-start", "--json"]).code(0).json();
    assert_eq!(shown["content"]["saga"], "ping");
}

#[test]
fn a_completed_order_is_reverted_and_drawn() {
    let place = Place::new();
    let shop = Shop::open(&place);
    shop.fill();
    place.file(
        "cart.json",
        "{\"order\": \"7001\", \"lines\": [{\"sku\": 1, \"qty\": 2, \"price_minor\": 100}]}",
    );
    let start = ["saga", "start", "order", "--input", "cart.json", "--wait", "30s", "--json"];
    let saga = shop.run(&place, &start).code(0).json();
    assert_eq!(saga["status"], "completed", "{saga}");
    let id = id(&saga);
    let drawn = shop.run(&place, &["definition", "graph", "--saga", &id]).code(0).out;
    assert_eq!(drawn.matches("class=\"step call good\"").count(), 3, "{drawn}");

    let reverted =
        shop.run(&place, &["saga", "revert", &id, "--reason", "sent back", "--wait", "30s"]).code(0);
    assert!(reverted.out.contains("compensated"), "{}", reverted.out);
    assert_eq!(shop.stock()["usable"], 10, "{}", shop.stock());
    let drawn = shop.run(&place, &["definition", "graph", "--saga", &id, "--format", "mermaid"]).code(0).out;
    assert_eq!(drawn.matches("class u").count(), 3, "{drawn}");
}

#[test]
fn versions_with_running_sagas_are_listed() {
    let place = Place::new();
    let shop = Shop::open(&place);
    shop.fill();
    let none = shop.run(&place, &["definition", "list", "--running"]).code(0);
    assert_eq!(none.out, "no saga is running\n");
    place.file("cart.json", "{\"order\": \"1001\", \"lines\": [{\"sku\": 1, \"qty\": 2}]}");
    shop.run(&place, &["saga", "start", "checkout", "--input", "cart.json"]).code(0);
    let one = shop.run(&place, &["definition", "list", "--running", "--json"]).code(0).json();
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1), "{one}");
    assert_eq!((&one["items"][0]["name"], &one["items"][0]["live"]), (&json!("checkout"), &json!(1)));
    shop.run(&place, &["definition", "diff", "order@1", "checkout"]).code(1);
    let sagas = concat!(env!("CARGO_MANIFEST_DIR"), "/../sagas");
    shop.run(&place, &["definition", "diff", "checkout", &format!("{sagas}/checkout.yaml")]).code(0);
    shop.run(&place, &["definition", "check", "--registered", &format!("{sagas}/checkout.yaml")]).code(0);
    let shown = shop.run(&place, &["definition", "show", "checkout@1"]).code(0).out;
    place.file("shown.yaml", &shown);
    let again = shop.run(&place, &["definition", "register", "shown.yaml"]).code(0);
    assert!(again.out.contains("was registered already with this content"), "{}", again.out);
}

#[test]
fn an_open_saga_is_begun_joined_given_time_and_decided() {
    let place = Place::new();
    let shop = Shop::open(&place);
    let begin = |key: &str| {
        let saga =
            shop.run(&place, &["saga", "open", "--timeout", "1m", "--key", key, "--json"]).code(0).json();
        id(&saga)
    };
    let one = begin("one");
    assert_eq!(begin("one"), one);
    let with = "{\"order\": \"9001\", \"lines\": [{\"sku\": 1, \"qty\": 1}]}";
    let branch = ["saga", "branch", &one, "hold", "--compensation", "inventory.release", "--with", with];
    let shown = shop.run(&place, &branch).code(0).out;
    assert!(shown.contains("hold") && shown.contains("waiting"), "{shown}");
    let again = shop.run(&place, &branch).code(0).out;
    assert!(again.starts_with("this branch was registered before"), "{again}");
    shop.run(&place, &["saga", "renew", &one, "--timeout", "5m"]).code(0);
    let undone = shop.run(&place, &["saga", "rollback", &one, "--reason", "no", "--wait", "30s"]).code(0).out;
    assert!(undone.contains("compensated"), "{undone}");
    let late = shop.run(&place, &["saga", "branch", &one, "late", "--compensation", "order.cancel"]).code(1);
    assert!(late.err.starts_with("error: "), "{}", late.err);
    let drawn = shop.run(&place, &["definition", "graph", "--saga", &one]).code(0).out;
    assert!(drawn.contains("data-step=\"hold\"") && drawn.contains("step branch"), "{drawn}");

    let other = begin("other");
    shop.run(&place, &["saga", "branch", &other, "place", "--compensation", "order.cancel"]).code(0);
    let done = shop.run(&place, &["saga", "commit", &other, "--wait", "30s"]).code(0).out;
    assert!(done.contains("completed"), "{done}");
    shop.run(&place, &["saga", "rollback", &other]).code(1);
}

#[test]
fn any_service_says_whether_it_is_well() {
    let place = Place::new();
    let shop = Shop::open(&place);
    for service in [&shop.coordinator].into_iter().chain(&shop.participants) {
        let well = place.run(&["health", "--url", &service.url]).code(0);
        assert_eq!(well.out, format!("{} is well\n", service.url));
    }
    let nobody = place.run(&["health", "--url", "http://127.0.0.1:9"]).code(1);
    assert!(nobody.err.starts_with("error: nobody answers at http://127.0.0.1:9"), "{}", nobody.err);
}

#[test]
fn a_directory_with_a_faulty_definition_stops_the_start_and_shows_the_fault() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("defs")).expect("a directory");
    place.file("defs/bad.yaml", "saga: ping\nsteps:\n  - one: { action: a.b, after: [two] }\n");
    let ended = place.run(&["serve", "--listen", "127.0.0.1:0", "--definitions", "defs"]).code(1);
    assert!(ended.err.starts_with("error: a definition has faults and is not registered\n"), "{}", ended.err);
    assert!(ended.err.contains("--> defs/bad.yaml:3:"), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn a_participant_may_be_started_before_its_coordinator() {
    let place = Place::new();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("its address").to_string();
    drop(holder);
    let url = format!("http://{address}");
    let args = [
        "participant",
        "product",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:p.db",
        "--coordinator",
        &url,
    ];
    let product = place.serve(&args);
    let coordinator = place.serve(&["serve", "--listen", &address, "--store", "sqlite:s.db"]);
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let health = place.run(&["health", "--json", "--coordinator", &coordinator.url]).code(0).json();
        if health["participants"][0]["name"] == "product" {
            break;
        }
        assert!(Instant::now() < until, "it was not registered: {health}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(product.terminate(), Some(0));
}
