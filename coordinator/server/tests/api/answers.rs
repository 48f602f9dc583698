//! Every kind of answer a participant can give, carried through a whole saga and read from its journal.

use crate::{
    stub::{Say, Stub},
    world::World,
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const BEGIN: [&str; 4] =
    ["started", "call_started hold action", "call_done hold action", "call_started charge action"];
const GOOD: &[&str] = &["call_done charge action", "completed"];
const AGAIN: &[&str] = &["call_failed charge action", "call_done charge action", "completed"];
/// A definite no: nothing of this step is to be undone.
const REFUSED: &[&str] = &[
    "call_refused charge action",
    "compensating",
    "call_started hold compensation",
    "call_done hold compensation",
    "compensated",
];
/// Undone with the step itself, in doubt as it is.
const UNDONE: [&str; 6] = [
    "compensating",
    "call_started charge compensation",
    "call_done charge compensation",
    "call_started hold compensation",
    "call_done hold compensation",
    "compensated",
];

fn text(status: u16, body: &str) -> Say {
    Say::Text(status, body.to_owned())
}

/// Runs `order` while `charge` answers as told, and compares the rest of the journal.
async fn check(name: &str, terms: Value, says: Vec<(&str, Say)>, status: &str, journal: &[&str]) -> Value {
    let world = World::new().await;
    world.register_shop(terms).await;
    for (operation, say) in says {
        world.stub.say(operation, [say]);
    }
    let saga = world.order("k").await;
    let expected: Vec<&str> = BEGIN.iter().chain(journal).copied().collect();
    assert_eq!(world.journal(&saga.id()).await, expected, "{name}");
    assert_eq!(saga.text("status"), status, "{name}: {saga:?}");
    saga.body
}

#[tokio::test]
async fn what_is_done_is_done_whatever_its_body_looks_like() {
    for (name, say, output) in [
        ("200 with JSON", text(200, r#"{"a": [1, null]}"#), json!({ "a": [1, null] })),
        ("200 with an empty body", text(200, ""), json!(null)),
        ("204", text(204, ""), json!(null)),
        ("201 with a text", text(201, "\"x\""), json!("x")),
        ("200 with blanks", text(200, " \n"), json!(null)),
        ("200 with a number", text(200, "7"), json!(7)),
    ] {
        let saga = check(name, json!({}), vec![("charge", say)], "completed", GOOD).await;
        assert_eq!(saga["steps"][1]["action"]["output"], output, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_definite_answer_is_asked_again() {
    for (name, say, status) in [
        ("500", text(500, ""), Some(500)),
        ("503", text(503, r#"{"message": "later"}"#), Some(503)),
        ("599", text(599, ""), Some(599)),
        ("408", text(408, ""), Some(408)),
        ("429", text(429, ""), Some(429)),
        ("garbage", text(200, "<html>"), Some(200)),
        ("half of a JSON text", text(200, "{\"a\": "), Some(200)),
        ("an answer that is too long", Say::Long((1 << 20) + 20_000), Some(200)),
        ("no answer at all", Say::Nothing, None),
        ("an answer that comes too late", Say::Late(Duration::from_secs(2)), None),
    ] {
        let saga = check(name, json!({}), vec![("charge", say)], "completed", AGAIN).await;
        let action = &saga["steps"][1]["action"];
        assert_eq!(action["attempts"], 2, "{name}");
        assert_eq!(action["last_error"]["status"], json!(status), "{name}: {action}");
        assert!(action["last_error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{name}: {action}");
    }
}

#[tokio::test]
async fn an_answer_just_within_the_limit_is_taken() {
    let long = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let saga = check("1 MiB", json!({}), vec![("charge", text(200, &long))], "completed", GOOD).await;
    assert_eq!(saga["steps"][1]["action"]["output"].as_str().map(str::len), Some((1 << 20) - 2));
}

#[tokio::test]
async fn a_definite_no_and_a_contract_error_are_not_repeated() {
    for (status, contract) in [
        (409, false),
        (410, false),
        (300, true),
        (307, true),
        (400, true),
        (401, true),
        (403, true),
        (404, true),
        (405, true),
        (413, true),
        (415, true),
        (422, true),
        (451, true),
    ] {
        let world = World::new().await;
        world.stub.say("charge", [Say::json(status, &json!({ "message": "no" }))]);
        let saga = world.order("k").await;
        let expected: Vec<&str> = BEGIN.iter().chain(REFUSED).copied().collect();
        assert_eq!(world.journal(&saga.id()).await, expected, "{status}");
        let message = if contract { "the call was not accepted: no" } else { "no" };
        let error = json!({ "step": "charge", "kind": "refused", "message": message });
        assert_eq!(saga.body["error"], error, "{status}");
        let journal = world.get(&format!("/v1/sagas/{}/journal", saga.id())).await.body;
        let refused = &journal["items"][4];
        assert_eq!(refused["contract"].as_bool().unwrap_or(false), contract, "{refused}");
        assert_eq!((world.stub.count("/charge"), world.stub.count("/refund")), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Stub::start().await;
        let redirect = Say::With(status, "location", format!("{}/charge", elsewhere.url));
        check(&status.to_string(), json!({}), vec![("charge", redirect)], "compensated", REFUSED).await;
        assert_eq!(elsewhere.asked().len(), 0, "{status}: the body went to another host");
    }
}

#[tokio::test]
async fn attempts_that_run_out_leave_a_doubt_and_undo_the_step_as_well() {
    let spent = ["call_failed charge action", "call_failed charge action", "call_exhausted charge action"];
    let journal: Vec<&str> = spent.into_iter().chain(UNDONE).collect();
    let says = (0..3).map(|_| ("charge", text(500, r#"{"detail": "broken"}"#))).collect();
    let saga = check("500 three times", json!({}), says, "compensated", &journal).await;
    assert_eq!(saga["error"], json!({ "step": "charge", "kind": "unknown", "message": "broken" }));
}

#[tokio::test]
async fn a_no_after_a_doubt_undoes_the_step_as_well() {
    let journal: Vec<&str> =
        ["call_failed charge action", "call_refused charge action"].into_iter().chain(UNDONE).collect();
    let says = vec![("charge", text(500, "")), ("charge", text(409, ""))];
    check("500, then 409", json!({}), says, "compensated", &journal).await;
}

#[tokio::test]
async fn a_pending_call_is_asked_for_its_status_until_it_is_decided() {
    let status = || json!({ "status": true });
    let done = ["call_pending charge action", "call_done charge action", "completed"];
    for first in [202, 425] {
        let says = vec![("charge", text(first, "")), ("charge?status", text(200, "{\"late\": 1}"))];
        let saga = check(&first.to_string(), status(), says, "completed", &done).await;
        assert_eq!(saga["steps"][1]["action"]["output"], json!({ "late": 1 }));
    }
    let twice = ["call_pending charge action", "call_pending charge action"];
    let journal: Vec<&str> = twice.into_iter().chain(REFUSED.iter().copied()).collect();
    let wish = || Say::With(202, "retry-after", "0".to_owned());
    let says = vec![("charge", wish()), ("charge?status", wish()), ("charge?status", text(409, ""))];
    check("refused in the end", status(), says, "compensated", &journal).await;
}

#[tokio::test]
async fn a_doubt_is_cleared_by_asking_for_the_status_first() {
    let status = || json!({ "status": true });
    let says = vec![("charge", text(500, "")), ("charge?status", text(200, "{}"))];
    check("it was done", status(), says, "completed", AGAIN).await;
    let unseen =
        ["call_failed charge action", "call_not_seen charge action", "call_done charge action", "completed"];
    let says = vec![("charge", text(500, "")), ("charge?status", text(404, ""))];
    check("it was never seen", status(), says, "completed", &unseen).await;
}

#[tokio::test]
async fn the_wish_of_a_participant_is_honoured() {
    let world = World::new().await;
    world.stub.say("charge", [Say::With(429, "retry-after", "1".to_owned())]);
    let begin = std::time::Instant::now();
    assert_eq!(world.order("k").await.text("status"), "completed");
    assert!(begin.elapsed() >= Duration::from_millis(950), "asked again after {:?}", begin.elapsed());
}

#[tokio::test]
async fn an_undo_that_fails_is_repeated_and_one_that_is_refused_is_parked() {
    let undo = |says: Vec<Say>| async move {
        let world = World::new().await;
        world.stub.say("charge", [text(409, "")]);
        world.stub.say("release", says);
        let start = crate::world::start_order("k");
        let id = world.post("/v1/sagas", &start).await.id();
        (world, id)
    };
    let (world, id) = undo(vec![text(503, ""), Say::Nothing]).await;
    world.until(&id, "compensated").await;
    let journal = world.journal(&id).await;
    let failed = journal.iter().filter(|event| *event == "call_failed hold compensation").count();
    assert_eq!(failed, 2, "{journal:?}");
    let (world, id) = undo(vec![text(410, "")]).await;
    world.until(&id, "compensated").await;
    for status in [409, 400, 404, 307] {
        let (world, id) = undo(vec![Say::json(status, &json!({ "message": "shipped" }))]).await;
        let saga = world.until(&id, "repair").await;
        assert_eq!(saga["steps"][0]["status"], "parked", "{saga}");
        assert_eq!(saga["steps"][0]["compensation"]["last_error"]["message"], "shipped", "{saga}");
        assert_eq!(saga["repairs"].as_array().map(Vec::len), Some(1), "{saga}");
        assert_eq!(world.stub.count("/release"), 1);
        let last = world.journal(&id).await.pop();
        assert_eq!(last.as_deref(), Some("call_refused hold compensation"));
    }
}

/// Runs orders together while `charge` has a batch form and answers it as told.
async fn check_batches(name: &str, says: Vec<Say>) -> (World, Vec<Value>) {
    let world = World::new().await;
    world.register_shop(json!({ "batch": { "max": 8 } })).await;
    // The first call goes alone; what comes while it is on its way is gathered.
    world.stub.say("charge", [Say::Late(Duration::from_millis(200))]);
    world.stub.say("charge/batch", says);
    let keys: Vec<String> = (0..24).map(|n| n.to_string()).collect();
    let sagas = join_all(keys.iter().map(|key| world.order(key))).await;
    for saga in &sagas {
        assert_eq!((saga.status, saga.text("status")), (201, "completed"), "{name}: {saga:?}");
    }
    assert!(world.stub.count("/charge/batch") > 0, "{name}: nothing was gathered");
    (world, sagas.into_iter().map(|saga| saga.body).collect())
}

#[tokio::test]
async fn calls_that_come_together_go_as_one_and_are_answered_one_by_one() {
    let (world, sagas) = check_batches("good", vec![]).await;
    let in_batch = |saga: &&Value| saga["output"]["charged"]["ok"] == "in a batch";
    assert!(sagas.iter().filter(in_batch).count() >= 2);
    let asked = world.stub.asked();
    let batch = asked.iter().find(|asked| asked.path == "/charge/batch").expect("a batch");
    let calls: Value = serde_json::from_slice(&batch.body).expect("JSON");
    let calls = calls["calls"].as_array().expect("calls");
    assert!((2..=8).contains(&calls.len()), "{}", calls.len());
    for call in calls {
        let saga = call["saga"].as_str().expect("a saga");
        let found = sagas.iter().find(|other| other["id"] == saga).expect("one of ours");
        assert_eq!(call["body"], found["input"], "the body belongs to its saga");
        assert_eq!((&call["step"], &call["op"]), (&json!("charge"), &json!("action")));
        assert_eq!((&call["attempt"], &call["epoch"]), (&json!(1), &json!(1)));
        assert_eq!(call["key"], format!("{saga}/charge/action"));
    }
}

#[tokio::test]
async fn a_batch_that_goes_wrong_disturbs_nobody_for_long() {
    for (name, say) in [
        ("too few results", Say::Results(1)),
        ("too many results", Say::Results(100)),
        ("no results", text(200, "{}")),
        ("garbage", text(200, "<html>")),
        ("nothing", Say::Nothing),
        ("500", text(500, "")),
        ("429", text(429, "")),
    ] {
        let (world, sagas) = check_batches(name, vec![say]).await;
        let again = sagas.iter().filter(|saga| saga["steps"][1]["action"]["attempts"] == 2).count();
        assert!(again >= 2, "{name}: the calls of the batch are made again");
        drop(world);
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_as_such_is_sent_call_by_call() {
    for status in [307, 400, 401, 403, 404, 405, 409, 413, 415, 422, 501] {
        let (_, sagas) = check_batches(&status.to_string(), vec![text(status, ""); 24]).await;
        for saga in sagas {
            assert_eq!(saga["steps"][1]["action"]["attempts"], 1, "{status}: an attempt was spent");
        }
    }
}

#[tokio::test]
async fn a_batch_whose_answer_is_too_long_is_sent_call_by_call() {
    let (_, sagas) =
        check_batches("too long", (0..24).map(|_| Say::Long((1 << 20) + 20_000)).collect()).await;
    assert!(sagas.iter().all(|saga| saga["steps"][1]["action"]["attempts"] == 1), "an attempt was spent");
}

#[tokio::test]
async fn a_call_says_who_is_calling_and_every_attempt_says_the_same() {
    let world = World::new().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let operations = json!({ "hold": {}, "release": {}, "charge": { "status": true }, "refund": {} });
    let body = json!({ "instances": [world.stub.url], "operations": operations, "secret": secret });
    world.put("/v1/participants/shop", &body).await;
    world.stub.say("charge", [text(500, "")]);
    world.stub.say("charge?status", [text(404, "")]);
    let saga = world.order("k").await;
    let id = saga.id();
    let asked = world.stub.asked();
    let charges: Vec<_> = asked.iter().filter(|asked| asked.path == "/charge").collect();
    let ops: Vec<&str> = charges.iter().map(|asked| asked.header("saga-op")).collect();
    assert_eq!(ops, ["action", "status", "action"]);
    assert_eq!(charges[1].header("saga-status-of"), "action");
    for asked in &charges {
        assert_eq!((asked.header("saga-id"), asked.header("saga-step")), (id.as_str(), "charge"));
        assert_eq!(asked.header("idempotency-key"), format!("{id}/charge/action"));
        assert_eq!((asked.header("saga-epoch"), asked.header("content-type")), ("1", "application/json"));
        assert!(asked.header("traceparent").starts_with(&format!("00-{}-", id.replace('-', ""))));
        assert_eq!(asked.body, charges[0].body);
        assert_eq!(serde_json::from_slice::<Value>(&asked.body).expect("JSON"), json!({ "order": "k" }));
        assert!(asked.header("webhook-signature").starts_with("v1,"), "{asked:?}");
        assert!(!asked.header("webhook-id").is_empty() && !asked.header("webhook-timestamp").is_empty());
    }
    assert_eq!((charges[0].header("saga-attempt"), charges[2].header("saga-attempt")), ("1", "2"));
}
