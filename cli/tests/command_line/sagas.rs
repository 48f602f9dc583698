//! The verbs about sagas: what is sent, and what is said of the answer.

use crate::{binary::Place, stub::Stub};
use serde_json::{Value, json};

const ID: &str = "0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10";
const AT: &str = "2026-11-20T18:00:00.000Z";

fn saga(definition: &str, status: &str, steps: Value) -> Value {
    json!({
        "id": ID, "definition": definition, "version": 1, "key": null, "labels": {}, "status": status, "input": {},
        "output": null, "error": null, "created_at": AT, "updated_at": AT, "ended_at": null, "deadline_at": AT,
        "steps": steps, "repairs": [], "open": definition == "open",
    })
}

fn call(operation: &str, status: &str) -> Value {
    json!({ "operation": operation, "status": status, "attempts": 0, "output": null, "last_error": null,
            "next_attempt_at": null })
}

/// Runs a command against a coordinator that answers one request with `status` and `body`; expects what is sent and
/// how the command ends, and gives what it says.
fn check(args: &[&str], request: &str, sent: Value, status: u16, body: Value, code: i32) -> String {
    let stub = Stub::new(vec![(request, status, body)]);
    let place = Place::new();
    place.file("body.json", "{\"order\": 12345678901234567890}");
    let ended = place.run(&[args, &["--coordinator", &stub.url]].concat()).code(code);
    let asked = stub.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0], (request.to_owned(), sent), "{args:?}");
    format!("{}{}", ended.out, ended.err)
}

#[test]
fn a_completed_saga_is_reverted() {
    let path = format!("POST /v1/sagas/{ID}/revert");
    let turning = saga("checkout", "compensating", json!([]));
    let args = ["saga", "revert", ID, "--reason", "sent back"];
    let said = check(&args, &path, json!({ "reason": "sent back" }), 200, turning.clone(), 0);
    assert!(said.contains("checkout@1  compensating"), "{said}");
    check(&["saga", "revert", ID], &path, json!({}), 200, turning, 0);
    let problem = json!({ "title": "too late", "detail": "step ship is done", "slug": "past_pivot" });
    let said = check(&["saga", "revert", ID], &path, json!({}), 409, problem, 1);
    assert_eq!(said, "error: too late: step ship is done\n");
}

#[test]
fn an_open_saga_is_begun_with_its_time() {
    let args = ["saga", "open", "--timeout", "30s", "--key", "k", "--label", "order=1001"];
    let sent = json!({ "timeout": "30s", "key": "k", "labels": { "order": "1001" } });
    let said = check(&args, "POST /v1/sagas/open", sent.clone(), 201, saga("open", "running", json!([])), 0);
    assert!(said.contains(&format!("to be decided until {AT}")), "{said}");
    assert!(said.contains(&format!("amends saga branch {ID} NAME --compensation")), "{said}");
    let said = check(&args, "POST /v1/sagas/open", sent, 200, saga("open", "running", json!([])), 0);
    assert!(said.starts_with("this key was used before"), "{said}");
    let bare = ["saga", "open", "--timeout", "1m", "--json"];
    let open = saga("open", "running", json!([]));
    let said = check(&bare, "POST /v1/sagas/open", json!({ "timeout": "1m" }), 201, open.clone(), 0);
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON"), open);
}

#[test]
fn a_branch_is_registered_with_what_undoes_and_confirms_it() {
    let path = format!("POST /v1/sagas/{ID}/branches");
    let branch = json!([{ "name": "hold", "kind": "branch", "status": "waiting", "action": null,
        "confirm": call("inventory.confirm", "pending"), "compensation": call("inventory.release", "pending") }]);
    let open = saga("open", "running", branch);
    let args = [
        "saga",
        "branch",
        ID,
        "hold",
        "--compensation",
        "inventory.release",
        "--confirm",
        "inventory.confirm",
        "--with",
        "@body.json",
    ];
    let sent = json!({ "name": "hold", "compensation": "inventory.release", "confirm": "inventory.confirm",
                       "with": { "order": 12_345_678_901_234_567_890_u64 } });
    let said = check(&args, &path, sent.clone(), 201, open.clone(), 0);
    assert!(
        said.contains("BRANCH") && said.contains("CONFIRM") && said.contains("inventory.confirm"),
        "{said}"
    );
    let said = check(&args, &path, sent, 200, open.clone(), 0);
    assert!(said.starts_with("this branch was registered before with the same words\n"), "{said}");
    let args = ["saga", "branch", ID, "hold", "--compensation", "inventory.release"];
    check(
        &args,
        &path,
        json!({ "name": "hold", "compensation": "inventory.release", "with": {} }),
        201,
        open,
        0,
    );
}

#[test]
fn an_open_saga_is_decided_and_given_time() {
    let open = |status| saga("open", status, json!([]));
    let path = |verb: &str| format!("POST /v1/sagas/{ID}/{verb}");
    check(&["saga", "commit", ID], &path("commit"), json!({}), 200, open("running"), 0);
    let args = ["saga", "rollback", ID, "--reason", "no"];
    check(&args, &path("rollback"), json!({ "reason": "no" }), 200, open("compensating"), 0);
    let args = ["saga", "renew", ID, "--timeout", "5m"];
    check(&args, &path("renew"), json!({ "timeout": "5m" }), 200, open("running"), 0);
}

#[test]
fn waiting_for_a_verb_ends_with_how_it_ended() {
    for (verb, end, code) in [
        ("revert", "compensated", 0),
        ("cancel", "compensated", 0),
        ("cancel", "repair", 1),
        ("rollback", "compensated", 0),
        ("commit", "completed", 0),
        ("commit", "repair", 1),
    ] {
        let (post, get) = (format!("POST /v1/sagas/{ID}/{verb}"), format!("GET /v1/sagas/{ID}?wait=2000ms"));
        let stub = Stub::new(vec![
            (&post, 200, saga("open", "running", json!([]))),
            (&get, 200, saga("open", end, json!([]))),
        ]);
        let args = ["saga", verb, ID, "--wait", "2s", "--coordinator", &stub.url];
        let ended = Place::new().run(&args).code(code);
        assert!(ended.out.contains(end), "{verb}: {}", ended.out);
    }
}

#[test]
fn a_payload_may_stand_in_a_file_and_what_is_none_says_how_it_is_written() {
    let path = format!("POST /v1/sagas/{ID}/signals/payment");
    let args = ["saga", "signal", ID, "payment", "--payload", "@body.json", "--id", "R-1"];
    let sent = json!({ "id": "R-1", "payload": { "order": 12_345_678_901_234_567_890_u64 } });
    check(&args, &path, sent, 200, saga("checkout", "running", json!([])), 0);
    for (payload, said) in [
        ("paid", "--payload is not JSON; a text needs quotes of its own"),
        ("@absent.json", "absent.json cannot be read"),
    ] {
        let ended = Place::new().run(&["saga", "signal", ID, "payment", "--payload", payload]).code(1);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}

#[test]
fn a_saga_is_shown_with_its_items_and_its_children() {
    let item = |name: &str, status: &str| {
        json!({ "name": name, "kind": "call", "status": status, "action": call("inventory.hold", "done"),
                "compensation": call("inventory.release", "pending") })
    };
    let mut ship = item("ship", "running");
    ship["child"] = json!("0193f2a0-0000-7000-8000-000000000002");
    ship["action"] = call("saga.shipping", "running");
    let steps =
        json!([item("reserve", "done"), item("reserve[0]", "done"), item("reserve[1]", "done"), ship]);
    let stub = Stub::new(vec![(&format!("GET /v1/sagas/{ID}"), 200, saga("checkout", "running", steps))]);
    let shown = Place::new().run(&["saga", "show", ID, "--coordinator", &stub.url]).code(0).out;
    let order: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(order[2..], ["STEP", "reserve", "reserve[0]", "reserve[1]", "ship", "step"], "{shown}");
    let child =
        "step ship runs saga 0193f2a0-0000-7000-8000-000000000002; see `amends saga show 0193f2a0-0000";
    assert!(shown.contains(child) && shown.contains("saga shipping"), "{shown}");
}
