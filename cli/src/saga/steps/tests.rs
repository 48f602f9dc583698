//! Items, skipped steps, branches and children as rows.

use super::*;
use serde_json::{Value, json};

fn call(operation: &str, status: &str, attempts: u32, error: Option<&str>) -> Value {
    let at = "2026-11-20T18:00:00.000Z";
    let error = error.map(|message| json!({ "status": 503, "message": message, "at": at }));
    json!({ "operation": operation, "status": status, "attempts": attempts, "output": null, "last_error": error,
            "next_attempt_at": null })
}

fn step(name: &str, status: &str, action: Value, compensation: Value) -> Value {
    json!({ "name": name, "kind": "call", "status": status, "action": action, "compensation": compensation })
}

/// Shows steps, cell by cell with empty ones left out.
fn check(steps: Vec<Value>, all: bool, expected: &[&str]) {
    let steps: Vec<StepView> = serde_json::from_value(Value::Array(steps)).expect("steps");
    let shown: Vec<String> = rows(&steps, all)
        .into_iter()
        .map(|row| row.into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" | "))
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn items_stand_below_their_step() {
    let hold = |status: &str| call("inventory.hold", status, 1, None);
    let release = || call("inventory.release", "pending", 0, None);
    let steps = vec![
        step("reserve", "running", hold("running"), release()),
        step("reserve[0]", "done", hold("done"), release()),
        step("reserve[1]", "running", call("inventory.hold", "running", 2, Some("busy\nnow")), release()),
        step("pay", "pending", call("order.pay", "pending", 0, None), Value::Null),
    ];
    let expected = [
        "reserve | running | inventory.hold | 1 | inventory.release | 0",
        "  reserve[0] | done | inventory.hold | 1 | inventory.release | 0",
        "  reserve[1] | running | inventory.hold | 2 | inventory.release | 0 | busy now",
        "pay | pending | order.pay | 0 | -",
    ];
    check(steps, false, &expected);
}

#[test]
fn many_items_are_counted_and_only_those_in_trouble_are_shown() {
    let one = |place: usize, status: &str| {
        step(&format!("tell[{place}]"), status, call("mail.send", "done", 1, None), Value::Null)
    };
    let mut steps = vec![step("tell", "running", call("mail.send", "running", 0, None), Value::Null)];
    steps.extend((0..30).map(|place| one(place, if place == 7 { "refused" } else { "done" })));
    let expected = [
        "tell | running | mail.send | 0 | -",
        "  tell[…] | 30 items: 29 done, 1 refused; all of them with --items",
        "  tell[7] | refused | mail.send | 1 | -",
    ];
    check(steps.clone(), false, &expected);
    let steps: Vec<StepView> = serde_json::from_value(Value::Array(steps)).expect("steps");
    assert_eq!(rows(&steps, true).len(), 31);
}

#[test]
fn what_did_not_run_says_why_and_a_child_is_named() {
    let mut hand = step("b", "skipped", call("p.o", "done", 1, None), call("p.u", "parked", 3, Some("no")));
    hand["settled_by_hand"] = json!(true);
    let steps = vec![
        step("a", "skipped", call("p.o", "pending", 0, None), Value::Null),
        hand,
        step(
            "ship",
            "running",
            call("saga.shipping", "running", 1, None),
            call("saga.shipping", "pending", 0, None),
        ),
    ];
    let expected = [
        "a | skipped | p.o | 0 | - | its condition is false",
        "b | skipped | p.o | 1 | p.u | 3 | settled by hand; no",
        "ship | running | saga shipping | 1 | saga shipping | 0",
    ];
    check(steps, false, &expected);
}

#[test]
fn a_wait_says_until_when() {
    let at = "2026-11-20T18:00:00.000Z";
    let wait = json!({ "name": "payment", "kind": "await", "status": "waiting", "action": null, "compensation": null,
                       "signal": "payment", "output": null, "timeout_at": at });
    check(vec![wait], false, &["payment | waiting | awaits payment | - | until 2026-11-20T18:00:00.000Z"]);
}

#[test]
fn a_branch_shows_what_confirms_and_what_undoes_it() {
    let mut branch = step("hold", "waiting", Value::Null, call("inventory.release", "pending", 0, None));
    branch["kind"] = json!("branch");
    branch["confirm"] = call("inventory.confirm", "pending", 0, None);
    let bare = step("mail", "compensating", Value::Null, call("mail.sorry", "running", 2, Some("busy")));
    let expected = [
        "hold | waiting | inventory.confirm | 0 | inventory.release | 0",
        "mail | compensating | - | mail.sorry | 2 | busy",
    ];
    check(vec![branch, bare], false, &expected);
}
