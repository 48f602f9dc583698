//! `amends participant check`: the shop's own participants pass, and every mistake planted in a wallet is found and
//! named.

mod python;
mod stub;

use crate::binary::{Ended, Place, Service};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use stub::Mistake;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Checks a wallet with a mistake; what it holds is watched where `watch` says so.
fn checked(mistake: Mistake, watch: bool, more: &[&str]) -> Ended {
    let url = stub::serve(mistake, Some(SECRET));
    let balance = format!("{url}/balance");
    let watch: &[&str] = if watch { &["--watch", &balance] } else { &[] };
    let what = [
        "participant",
        "check",
        &url,
        "--operation",
        "charge",
        "--compensation",
        "refund",
        "--confirm",
        "settle",
    ];
    let bodies = ["--body", "{\"amount\": 5}", "--refused", "{\"amount\": 5000}"];
    let terms = ["--status", "--batch", "8", "--secret", SECRET];
    Place::new().run(&[&what[..], &bodies, &terms, watch, more].concat())
}

/// Expects that nothing failed and everything could be checked, and gives the report.
fn passed(ended: Ended) -> Value {
    let report = ended.json();
    let checks = report["checks"].as_array().expect("checks").iter();
    let broken: Vec<&Value> =
        checks.filter(|check| !matches!(check["outcome"].as_str(), Some("passed" | "skipped"))).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    ended.code(0);
    report
}

/// The checks that have an outcome, in their order.
fn outcome(report: &Value, outcome: &str) -> Vec<String> {
    let checks = report["checks"].as_array().expect("checks").iter();
    let named = checks.filter(|check| check["outcome"] == outcome);
    named.map(|check| check["check"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_wallet_that_keeps_the_contract_passes_every_check() {
    for watch in [false, true] {
        let report = passed(checked(Mistake::None, watch, &["--json"]));
        assert_eq!(outcome(&report, "skipped"), [""; 0]);
    }
}

/// Expects that a mistake is found by these checks among others, by what is answered alone.
fn found(mistake: Mistake, by: &[&str]) {
    found_with(mistake, false, by);
}

/// Expects that a mistake is found by these checks among others, and by others alone where nothing is watched.
fn found_by_watching(mistake: Mistake, by: &[&str]) {
    let report = checked(mistake, false, &["--json"]).json();
    assert!(
        outcome(&report, "failed").iter().all(|name| !by.contains(&name.as_str())),
        "{mistake:?} {report}"
    );
    found_with(mistake, true, by);
}

fn found_with(mistake: Mistake, watch: bool, by: &[&str]) {
    let report = checked(mistake, watch, &["--json"]).code(3).json();
    let failed = outcome(&report, "failed");
    assert!(by.iter().all(|name| failed.contains(&(*name).to_owned())), "{mistake:?} is found by {failed:?}");
    for check in report["checks"].as_array().expect("checks").iter().filter(|one| one["outcome"] == "failed")
    {
        let sent = check["exchanges"][0]["sent"].as_str().unwrap_or_default();
        assert!(sent.contains("curl -i 'http://127.0.0.1:"), "{mistake:?} {check}");
        for member in ["why", "contract", "advice"] {
            assert!(check[member].as_str().is_some_and(|text| !text.is_empty()), "{mistake:?} {check}");
        }
    }
}

#[test]
fn what_is_wrong_with_repeats_is_found_and_named() {
    use Mistake as M;
    found(M::NoBarrier, &["repeat", "concurrent_repeats", "another_body", "late_action", "saga_audit"]);
    found(M::AnswersDiffer, &["repeat", "later_attempt", "concurrent_repeats", "batch_repeat"]);
    found_by_watching(M::EffectTwice, &["repeat", "later_attempt", "concurrent_repeats", "batch_repeat"]);
    found(M::AttemptInTheKey, &["later_attempt"]);
    found(M::LooksBeforeItWrites, &["concurrent_repeats"]);
    found(M::BodyIgnored, &["another_body"]);
    found(M::StepIgnored, &["independent_steps"]);
    found(M::RefusalForgotten, &["refusal_repeats"]);
    found(M::RoundIgnored, &["new_round"]);
    found(M::RoundPassesTheBar, &["new_round"]);
    found(M::RoundDoesItAgain, &["new_round"]);
}

#[test]
fn what_is_wrong_with_undoing_is_found_and_named() {
    use Mistake as M;
    found(M::LateActionDone, &["late_action", "status_of_late"]);
    found(M::ActionOnceMoreAfterUndo, &["action_after_both", "race"]);
    found(M::UndoFirstRefused, &["compensation_first"]);
    found_by_watching(M::UndoFirstTakesEffect, &["compensation_first", "refused_then_undone"]);
    found(M::UndoTwiceRefused, &["compensation_repeats"]);
    found_by_watching(M::UndoTwiceTakesEffect, &["compensation_repeats"]);
    found(M::UndoFails, &["compensation"]);
    found(M::UndoOfRefusedChecksTheBody, &["refused_then_undone"]);
    found(M::ConfirmFails, &["confirm"]);
    found(M::UndoAfterConfirm, &["confirm_decides"]);
    found(M::ConfirmAfterUndo, &["confirm_decides"]);
}

#[test]
fn what_is_wrong_with_status_and_audit_is_found_and_named() {
    use Mistake as M;
    found(M::StatusActs, &["status_unknown", "status_of_compensation", "batch_status"]);
    found(M::StatusAlwaysUnknown, &["status_of_action", "status_of_compensation", "status_of_late"]);
    found(M::StatusOfLateUnknown, &["status_of_late"]);
    found(M::AuditForgets, &["saga_audit"]);
    found(M::Unwell, &["healthz"]);
}

#[test]
fn what_is_wrong_with_reading_is_found_and_named() {
    use Mistake as M;
    found(M::MisfitFails, &["misfit"]);
    found(M::GarbageFails, &["garbage"]);
    found(M::GarbageHangsUp, &["garbage"]);
    found(M::HeadersMadeUp, &["missing_headers"]);
    found(M::HeadersUnread, &["bad_headers"]);
    found(M::Unsigned, &["signature"]);
    found(M::StaleSignatureTaken, &["signature"]);
    found(M::PlainText, &["json_answers"]);
    found(M::AnythingIsAnOperation, &["unknown_operation"]);
}

#[test]
fn what_is_wrong_with_batches_is_found_and_named() {
    use Mistake as M;
    found(M::BatchSwapped, &["batch_order"]);
    found(M::BatchLosesOne, &["batch_order"]);
    found(M::BatchRepeatsActTwice, &["batch_repeat"]);
    found(M::BatchFailsWhole, &["batch_neighbours"]);
    found(M::BatchStatusActs, &["batch_status"]);
    found(M::BatchUndoFirstRefused, &["batch_compensations"]);
    found(M::BatchGarbageFails, &["batch_garbage"]);
}

#[test]
fn a_failure_is_told_with_what_was_sent_what_came_and_what_to_do() {
    let ended = checked(Mistake::LateActionDone, false, &[]).code(3);
    for words in [
        "charge     late_action",
        "failed charge late_action: an action after its compensation is done: 200 {\"charge\":",
        "-H 'saga-op: compensation'",
        "--data-binary '{\"amount\":5}'",
        "came  200",
        "contract  an action that comes after its compensation is refused with 409, each time",
        "do  the compensation inserts the action's row with status 0",
        "broken: http://127.0.0.1:",
    ] {
        assert!(ended.out.contains(words), "{words:?} in {}", ended.out);
    }
}

#[test]
fn what_cannot_be_checked_ends_with_1_and_says_why() {
    let url = stub::serve(Mistake::None, None);
    for (args, said) in [
        (&["http://127.0.0.1:9", "--operation", "charge"][..], "nobody answers at http://127.0.0.1:9"),
        (
            &[&url, "--operation", "charge", "--body", "{\"amount\": 5000}"],
            "give one that is done with --body",
        ),
        (&[&url, "--operation", "charge", "--body", "{"], "the body { is not JSON"),
        (&[&url], "say what to call with --operation, or check what is registered with --name"),
        (&["--name", "wallet", "--coordinator", "http://127.0.0.1:9"], "no coordinator answers"),
    ] {
        let ended = Place::new().run(&[&["participant", "check"], args].concat()).code(1);
        assert!(ended.err.contains(said), "{said:?} in {}", ended.err);
    }
    for (args, said) in [
        (&[][..], "<URL>"),
        (&["localhost"], "expected an address such as"),
        (&[&url, "--operation", "Charge!"], "invalid value 'Charge!'"),
        (&[&url, "--operation", "charge", "--secret", "hunter2"], "whsec_"),
    ] {
        let ended = Place::new().run(&[&["participant", "check"], args].concat()).code(2);
        assert!(ended.err.contains(said), "{said:?} in {}", ended.err);
    }
}

/// A coordinator and the shop's participants on databases in `place`, with stock and a catalogue.
fn shop(place: &Place) -> (Service, Vec<Service>) {
    let coordinator = place.serve(&["serve", "--listen", "127.0.0.1:0", "--store", "sqlite:sagas.db"]);
    let participants = ["inventory", "order", "product"].map(|name| {
        let store = format!("sqlite:{name}.db");
        let args = ["participant", name, "--listen", "127.0.0.1:0", "--store", &store];
        place.serve(&[&args[..], &["--coordinator", &coordinator.url]].concat())
    });
    let until = Instant::now() + Duration::from_secs(30);
    let health = ["health", "--json", "--coordinator", &coordinator.url];
    while place.run(&health).json()["participants"].as_array().is_none_or(|list| list.len() < 3) {
        assert!(Instant::now() < until, "the participants were not registered");
        std::thread::sleep(Duration::from_millis(20));
    }
    amends::process::install_tls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let product = json!({ "items": [{ "sku": 1, "name": "Walnut Desk", "price_minor": 64_900 }] });
    let delivery = json!({ "biz_no": "delivery-1", "lines": [{ "sku": 1, "qty": 1000 }] });
    for (method, url, body) in [
        (reqwest::Method::PUT, format!("{}/catalogue", participants[2].url), product),
        (reqwest::Method::POST, format!("{}/replenish", participants[0].url), delivery),
    ] {
        let sent = runtime.block_on(reqwest::Client::new().request(method, url).json(&body).send());
        assert!(sent.expect("an answer").status().is_success());
    }
    (coordinator, participants.into())
}

#[test]
fn the_shops_own_participants_pass_every_check() {
    let place = Place::new();
    let (coordinator, participants) = shop(&place);
    let cart = "{\"order\": \"${{ saga.id }}\", \"lines\": [{\"sku\": 1, \"qty\": 1}]}";
    place.file("cart.json", cart);
    let greedy = "{\"order\": \"${{ saga.id }}\", \"lines\": [{\"sku\": 1, \"qty\": 1000000}]}";
    let stock = format!("{}/stock?sku=1", participants[0].url);
    let check = |name: &str, more: &[&str]| {
        let args = ["participant", "check", "--name", name, "--coordinator", &coordinator.url, "--json"];
        let report = passed(place.run(&[&args[..], more].concat()));
        let skipped: BTreeSet<String> = outcome(&report, "skipped").into_iter().collect();
        skipped.into_iter().collect::<Vec<String>>()
    };
    let (hold, deduct) = ("hold=@cart.json", "deduct=@cart.json");
    let bodies = ["--body", hold, "--body", deduct, "--refused", greedy, "--watch", &stock];
    let skipped = check("inventory", &[&bodies[..], &["--operation", "hold"]].concat());
    assert_eq!(skipped, ["signature"]);
    let skipped = check("inventory", &[&bodies[..], &["--operation", "deduct"]].concat());
    assert_eq!(skipped, ["confirm", "confirm_decides", "signature"]);
    let skipped = check("order", &["--operation", "create", "--body", cart]);
    let unknown = ["new_round", "refusal_repeats", "refused_then_undone"];
    assert_eq!(skipped, [&["confirm", "confirm_decides"][..], &unknown, &["signature"]].concat());
    let quote = "{\"lines\": [{\"sku\": 1, \"qty\": 2}]}";
    let skipped = check("product", &["--body", quote]);
    assert!(
        skipped.contains(&"repeat".to_owned()) && !skipped.contains(&"batch_order".to_owned()),
        "{skipped:?}"
    );
    // Every operation, most of them without a body that is known.
    check("inventory", &[]);
    check("order", &[]);
}
