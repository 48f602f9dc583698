//! The two services in Python, with a coordinator: sagas that complete and that are undone, the check of participants,
//! and open sagas that both take part in.

use super::{outcome, passed};
use crate::binary::{Ended, Place, Service};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../participants/python");

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A coordinator, wallets and points on databases in a directory of their own; ada has 50,000.
struct World {
    place: Place,
    coordinator: Service,
    loyalty: Service,
    wallet: Service,
    runtime: tokio::runtime::Runtime,
    web: reqwest::Client,
}

impl World {
    fn open(place: Place) -> World {
        amends::process::install_tls();
        let place = place.env("PYTHONDONTWRITEBYTECODE", "1");
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:sagas.db", "--definitions", SERVICES];
        let coordinator = place.serve(&serve);
        let loyalty = python(&place, "loyalty", &["--coordinator", &coordinator.url]);
        let wallet =
            python(&place, "wallet", &["--coordinator", &coordinator.url, "--loyalty", &loyalty.url]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let world = World { place, coordinator, loyalty, wallet, runtime, web: reqwest::Client::new() };
        let until = Instant::now() + Duration::from_secs(30);
        while world.run(&["health", "--json"]).json()["participants"]
            .as_array()
            .is_none_or(|all| all.len() < 2)
        {
            assert!(Instant::now() < until, "the services were not registered");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ada = json!({ "wallet": "ada", "balance": 50_000 });
        assert_eq!(world.send(Method::PUT, &format!("{}/wallets", world.wallet.url), &ada, &[]).0, 200);
        world
    }

    /// Runs a command against this coordinator.
    fn run(&self, args: &[&str]) -> Ended {
        self.place.run(&[args, &["--coordinator", &self.coordinator.url]].concat())
    }

    fn send(&self, method: Method, url: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.web.request(method, url).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.json().await.unwrap_or_default())
        })
    }

    /// Asks the coordinator for something, which it must do.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, said) = self.send(Method::POST, &format!("{}{path}", self.coordinator.url), body, &[]);
        assert!((200..300).contains(&status), "{path}: {status} {said}");
        said
    }

    /// What ada has: money and points.
    fn holds(&self) -> (i64, i64) {
        let get =
            |url: String| self.send(Method::GET, &url, &Value::Null, &[]).1["ada"].as_i64().unwrap_or(0);
        (get(format!("{}/wallets", self.wallet.url)), get(format!("{}/members", self.loyalty.url)))
    }

    /// Runs a purchase to its end.
    fn purchase(&self, amount: i64) -> Value {
        self.place.file("purchase.json", &json!({ "customer": "ada", "amount": amount }).to_string());
        let start = ["saga", "start", "purchase", "--input", "purchase.json", "--wait", "30s", "--json"];
        self.run(&start).json()
    }

    /// Waits for a saga's end.
    fn ended(&self, saga: &str) -> Value {
        self.run(&["saga", "show", saga, "--wait", "30s", "--json"]).json()["status"].clone()
    }
}

fn python(place: &Place, service: &str, more: &[&str]) -> Service {
    let file = format!("{SERVICES}/{service}.py");
    let database = format!("{service}.db");
    let args = [file.as_str(), "--listen", "127.0.0.1:0", "--database", &database];
    place.serve_program("python3", &[&args[..], more].concat())
}

#[test]
fn a_purchase_over_two_python_services_completes_or_leaves_nothing() {
    let world = World::open(Place::new());
    let bought = world.purchase(1000);
    assert_eq!(
        (&bought["status"], &bought["output"]),
        (&json!("completed"), &json!({ "balance": 49_000, "points": 100 }))
    );
    assert_eq!(world.holds(), (49_000, 100));

    // It would earn more points than one purchase may: refused after the money was taken, which is given back.
    let refused = world.purchase(20_000);
    assert_eq!(refused["status"], "compensated", "{refused}");
    assert!(
        refused["error"]["message"].as_str().is_some_and(|said| said.contains("which is 1000")),
        "{refused}"
    );
    assert_eq!(world.holds(), (49_000, 100));

    let verified = world.run(&["verify", "--settle", "0s", "--json"]).code(0).json();
    let audits: Vec<&Value> =
        verified["participants"].as_array().expect("two").iter().map(|one| &one["audit"]).collect();
    assert_eq!((audits, &verified["findings"]), (vec![&json!("read"), &json!("read")], &json!([])));
}

#[test]
fn the_python_services_pass_every_check_signed_or_not_and_stop_when_they_are_told() {
    for secret in [None, Some(SECRET)] {
        let place = Place::new();
        let world = World::open(match secret {
            Some(secret) => place.env("AMENDS_PARTICIPANT_SECRET", secret),
            None => place,
        });
        let (wallets, members) =
            (format!("{}/wallets", world.wallet.url), format!("{}/members", world.loyalty.url));
        for (name, operation, good, refused, watch) in [
            (
                "wallet",
                "charge",
                r#"{"wallet": "ada", "amount": 5}"#,
                r#"{"wallet": "eve", "amount": 5}"#,
                &wallets,
            ),
            (
                "loyalty",
                "earn",
                r#"{"member": "ada", "points": 5}"#,
                r#"{"member": "ada", "points": 5000}"#,
                &members,
            ),
        ] {
            let what = ["participant", "check", "--name", name, "--operation", operation, "--json"];
            let bodies = ["--body", good, "--refused", refused, "--watch", watch];
            let report = passed(world.run(&[&what[..], &bodies].concat()));
            let skipped = outcome(&report, "skipped");
            match secret {
                Some(_) => assert_eq!(skipped, ["confirm", "confirm_decides"]),
                None => assert_eq!(skipped, ["confirm", "confirm_decides", "signature"]),
            }
            world.run(&["participant", "check", "--name", name]).code(0);
        }
        assert_eq!(world.purchase(100)["status"], "completed");
        assert_eq!((world.wallet.terminate(), world.loyalty.terminate()), (Some(0), Some(0)));
    }
}

#[test]
fn both_python_services_take_part_in_an_open_saga() {
    let world = World::open(Place::new());
    let pay = |saga: &str, amount: i64| {
        let body = json!({ "wallet": "ada", "amount": amount });
        world.send(Method::POST, &format!("{}/pay", world.wallet.url), &body, &[("saga-id", saga)])
    };
    let begin =
        || world.ask("/v1/sagas/open", &json!({ "timeout": "5m" }))["id"].as_str().expect("an id").to_owned();

    let kept = begin();
    let (status, paid) = pay(&kept, 1000);
    assert_eq!(
        (status, &paid["charged"]["balance"], &paid["earned"]["points"]),
        (200, &json!(49_000), &json!(100))
    );
    assert_eq!(pay(&kept, 1000), (200, paid.clone()), "asked again, it is done once and answered alike");
    assert_eq!(pay(&kept, 2000).0, 409, "another purchase under the same branch");
    world.ask(&format!("/v1/sagas/{kept}/commit"), &json!({}));
    assert_eq!((world.ended(&kept), world.holds()), (json!("completed"), (49_000, 100)));
    assert_eq!(pay(&kept, 1000), (200, paid), "what was done stays done");
    assert_eq!(pay(&kept, 2000).0, 409, "nothing more is done for it");

    let taken_back = begin();
    assert_eq!(pay(&taken_back, 500).0, 200);
    assert_eq!(world.holds(), (48_500, 150));
    world.ask(&format!("/v1/sagas/{taken_back}/rollback"), &json!({}));
    assert_eq!((world.ended(&taken_back), world.holds()), (json!("compensated"), (49_000, 100)));
    assert_eq!(pay(&taken_back, 500).0, 200, "what was answered before the decision");
    assert_eq!(world.holds(), (49_000, 100), "and nothing of it is done again");

    let too_late = begin();
    world.ask(&format!("/v1/sagas/{too_late}/rollback"), &json!({}));
    assert_eq!((pay(&too_late, 500).0, world.holds()), (409, (49_000, 100)));

    // The second service says no; what the first did is undone with the saga.
    let half = begin();
    let (status, said) = pay(&half, 20_000);
    assert_eq!(status, 409, "{said}");
    assert_eq!(world.holds(), (29_000, 100));
    world.ask(&format!("/v1/sagas/{half}/rollback"), &json!({}));
    assert_eq!((world.ended(&half), world.holds()), (json!("compensated"), (49_000, 100)));
    assert_eq!(pay("01890000-0000-7000-8000-000000000000", 5).0, 409, "there is no such saga");
}
