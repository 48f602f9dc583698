//! Open sagas: branches registered while they run, and one decision that every branch follows.

use crate::{
    stub::Say,
    world::{Answer, World, config, send},
};
use amends_server::{Config, SagaLimits};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

async fn world(config: Config) -> World {
    let world = World::bare(config).await;
    let terms = json!({ "retry": { "quick": 2, "attempts": 1, "first": "10ms", "max": "10ms" } });
    let operations =
        json!({ "free": terms, "sell": terms, "unsend": {}, "hold": { "compensation": "free" } });
    assert_eq!(world.offer(operations).await.status, 201);
    world
}

async fn open(world: &World, timeout: &str) -> String {
    let answer = world.post("/v1/sagas/open", &json!({ "timeout": timeout })).await;
    assert_eq!((answer.status, answer.text("status")), (201, "running"), "{answer:?}");
    answer.id()
}

/// A branch with a confirm where its name ends in one.
fn branch(name: &str) -> Value {
    match name.strip_suffix("+confirm") {
        Some(name) => {
            json!({ "name": name, "compensation": "shop.free", "confirm": "shop.sell", "with": { "of": name } })
        }
        None => json!({ "name": name, "compensation": "shop.unsend", "with": { "of": name } }),
    }
}

impl World {
    async fn to(&self, id: &str, verb: &str, body: Value) -> Answer {
        self.post(&format!("/v1/sagas/{id}/{verb}"), &body).await
    }
}

/// What the participant was asked, as `path step op`.
fn asked(world: &World) -> Vec<String> {
    let asked = world.stub.asked();
    asked.iter().map(|a| format!("{} {} {}", a.path, a.header("saga-step"), a.header("saga-op"))).collect()
}

#[tokio::test]
async fn what_is_committed_is_confirmed_and_stays() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    for name in ["seats+confirm", "mail"] {
        let registered = world.to(&id, "branches", branch(name)).await;
        assert_eq!((registered.status, registered.text("status")), (201, "running"), "{registered:?}");
    }
    let saga = world.get(&format!("/v1/sagas/{id}")).await.body;
    assert_eq!(
        (&saga["open"], &saga["definition"], saga.get("committed_at")),
        (&json!(true), &json!("open"), None)
    );
    let members = |step: &Value| ["name", "kind", "status", "action"].map(|member| step[member].clone());
    let steps: Vec<_> = saga["steps"].as_array().expect("steps").iter().map(members).collect();
    let waits = |name: &str| [json!(name), json!("branch"), json!("waiting"), Value::Null];
    assert_eq!(steps, [waits("seats"), waits("mail")]);
    assert_eq!(saga["steps"][0]["confirm"]["operation"], "shop.sell");
    assert_eq!(saga["steps"][0]["compensation"]["operation"], "shop.free");
    assert!(asked(&world).is_empty(), "nothing is called before the decision");

    let committed = world.to(&id, "commit?wait=10s", json!({})).await;
    assert_eq!((committed.status, committed.text("status")), (200, "completed"), "{committed:?}");
    assert!(committed.body["committed_at"].is_string(), "{committed:?}");
    assert_eq!(asked(&world), ["/sell seats confirm"]);
    let body: Value = serde_json::from_slice(&world.stub.asked()[0].body).expect("JSON");
    assert_eq!(body, json!({ "of": "seats" }), "what was registered");

    let bare = send(world.request(Method::POST, &format!("/v1/sagas/{id}/commit"))).await;
    assert_eq!((bare.status, &bare.body), (200, &committed.body), "a repeat changes nothing");
    for (name, registered) in [("mail", true), ("seats+confirm", true), ("seats", false), ("late", false)] {
        let late = world.to(&id, "branches", branch(name)).await;
        late.is_problem(409, "saga_decided");
        assert_eq!(late.body["registered"], registered, "nothing is acknowledged any more: {late:?}");
    }
    world.to(&id, "rollback", json!({})).await.is_problem(409, "saga_decided");
    world.to(&id, "renew", json!({ "timeout": "60s" })).await.is_problem(409, "saga_decided");
    world.to(&id, "cancel", json!({})).await.is_problem(409, "saga_ended");
    world.to(&id, "revert", json!({})).await.is_problem(409, "not_revertible");
    assert_eq!(world.get(&format!("/v1/sagas/{id}")).await.body, committed.body);
}

#[tokio::test]
async fn what_is_rolled_back_is_undone_the_last_branch_first() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    for name in ["a+confirm", "b", "c+confirm"] {
        assert_eq!(world.to(&id, "branches", branch(name)).await.status, 201);
    }
    world.stub.say("free", [Say::Text(503, String::new())]);
    let answer = world.to(&id, "rollback?wait=10s", json!({ "reason": "no flight" })).await;
    assert_eq!((answer.status, answer.text("status")), (200, "compensated"), "{answer:?}");
    assert_eq!(answer.body["error"], json!({ "step": null, "kind": "cancelled", "message": "no flight" }));
    let undo = |call: &str| format!("{call} compensation");
    assert_eq!(asked(&world), ["/free c", "/free c", "/unsend b", "/free a"].map(undo));
    let again = world.to(&id, "rollback", json!({})).await;
    assert_eq!((again.status, &again.body), (200, &answer.body), "a repeat changes nothing");
    let commit = world.to(&id, "commit", json!({})).await;
    commit.is_problem(409, "saga_decided");
    assert!(commit.text("detail").contains("rolled back") && commit.text("detail").contains("no flight"));
    for name in ["late", "b"] {
        world.to(&id, "branches", branch(name)).await.is_problem(409, "saga_decided");
    }
    world.to(&id, "revert", json!({})).await.is_problem(409, "not_completed");
}

#[tokio::test]
async fn a_saga_that_nobody_decides_rolls_back_when_its_time_is_up() {
    let world = world(config()).await;
    let id = open(&world, "1s").await;
    assert_eq!(world.to(&id, "branches", branch("seats+confirm")).await.status, 201);
    let saga = world.until(&id, "compensated").await;
    assert_eq!(saga["error"]["kind"], "timeout", "{saga:#}");
    assert_eq!(asked(&world), ["/free seats compensation"]);
    world.to(&id, "commit", json!({})).await.is_problem(409, "saga_decided");
    world.to(&id, "renew", json!({ "timeout": "60s" })).await.is_problem(409, "saga_decided");
    assert_eq!(world.to(&id, "rollback", json!({})).await.status, 200, "that is what has happened");
}

#[tokio::test]
async fn more_time_is_given_from_now_on() {
    let world = world(config()).await;
    let id = open(&world, "1s").await;
    let before = world.get(&format!("/v1/sagas/{id}")).await.text("deadline_at").to_owned();
    let renewed = world.to(&id, "renew", json!({ "timeout": "1h" })).await;
    assert_eq!((renewed.status, renewed.text("status")), (200, "running"), "{renewed:?}");
    assert!(renewed.text("deadline_at") > before.as_str(), "{before} {renewed:?}");
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(world.to(&id, "commit?wait=10s", json!({})).await.text("status"), "completed");
}

#[tokio::test]
async fn less_time_is_given_as_well_and_all_of_it_counts_from_now() {
    let world = world(config()).await;
    let id = open(&world, "1h").await;
    assert_eq!(world.to(&id, "branches", branch("seats+confirm")).await.status, 201);
    let renewed = world.to(&id, "renew", json!({ "timeout": "1s" })).await;
    assert_eq!((renewed.status, renewed.text("status")), (200, "running"), "{renewed:?}");
    let saga = world.until(&id, "compensated").await;
    assert_eq!(saga["error"]["kind"], "timeout", "{saga:#}");
    assert_eq!(asked(&world), ["/free seats compensation"]);
}

#[tokio::test]
async fn opening_again_under_a_key_gives_the_same_saga() {
    let world = world(config()).await;
    let body = json!({ "timeout": "60s", "key": "trip-7", "labels": { "trip": "7" } });
    let first = world.post("/v1/sagas/open", &body).await;
    assert_eq!((first.status, first.text("key")), (201, "trip-7"), "{first:?}");
    assert_eq!(first.header("location"), format!("/v1/sagas/{}", first.id()));
    assert_eq!(first.body["labels"], json!({ "trip": "7" }));
    let same = world.post("/v1/sagas/open", &body).await;
    assert_eq!((same.status, same.id()), (200, first.id()));
    let header = world.request(Method::POST, "/v1/sagas/open").header("idempotency-key", "trip-7");
    let by_header = send(header.json(&json!({ "labels": { "trip": "7" }, "timeout": "1m" }))).await;
    assert_eq!((by_header.status, by_header.id()), (200, first.id()), "a minute is 60 seconds");
    let other = world.post("/v1/sagas/open", &json!({ "timeout": "61s", "key": "trip-7" })).await;
    other.is_problem(409, "key_reused");
    assert_eq!(other.text("saga"), first.id());
    world.to(&first.id(), "commit?wait=10s", json!({})).await;
    let after = world.post("/v1/sagas/open", &body).await;
    assert_eq!((after.status, after.text("status")), (200, "completed"), "{after:?}");
}

#[tokio::test]
async fn a_name_is_one_branch_and_stays_what_it_was() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    assert_eq!(world.to(&id, "branches", branch("seats+confirm")).await.status, 201);
    assert_eq!(world.to(&id, "branches", branch("seats+confirm")).await.status, 200);
    for (member, value) in [
        ("with", json!({ "of": "others" })),
        ("compensation", json!("shop.unsend")),
        ("confirm", json!("shop.unsend")),
        ("confirm", Value::Null),
    ] {
        let mut other = branch("seats+confirm");
        other[member] = value;
        world.to(&id, "branches", other).await.is_problem(409, "branch_conflict");
    }
    world.offer(json!({ "free": { "timeout": "9s" } })).await;
    assert_eq!(
        world.to(&id, "branches", branch("seats+confirm")).await.status,
        200,
        "its operation has gone"
    );
    let saga = world.get(&format!("/v1/sagas/{id}")).await.body;
    assert_eq!(saga["steps"].as_array().map(Vec::len), Some(1), "{saga:#}");
}

#[tokio::test]
async fn a_branch_that_nobody_could_undo_is_refused() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    let mut unknown = branch("seats+confirm");
    unknown["confirm"] = json!("shop.nothing");
    unknown["compensation"] = json!("nobody.free");
    let answer = world.to(&id, "branches", unknown).await;
    answer.is_problem(409, "unknown_operation");
    assert_eq!(answer.body["operations"], json!(["nobody.free", "shop.nothing"]));
    for (member, value, slug, path) in [
        ("name", json!("Seats"), "bad_name", "/name"),
        ("compensation", json!("free"), "bad_name", "/compensation"),
        ("confirm", json!(7), "malformed_body", "/confirm"),
        ("more", json!(7), "malformed_body", "/more"),
    ] {
        let mut body = branch("seats+confirm");
        body[member] = value;
        let answer = world.to(&id, "branches", body).await;
        answer.is_problem(400, slug);
        assert_eq!(answer.body["errors"][0]["path"], path, "{answer:?}");
    }
    let large = json!({ "name": "a", "compensation": "shop.free", "with": "x".repeat(1 << 20) });
    world.to(&id, "branches", large).await.is_problem(413, "body_too_large");
    let saga = world.get(&format!("/v1/sagas/{id}")).await.body;
    assert_eq!(saga["steps"], json!([]), "nothing was registered");
}

#[tokio::test]
async fn the_time_of_an_open_saga_is_bounded() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    for path in ["/v1/sagas/open".to_owned(), format!("/v1/sagas/{id}/renew")] {
        for timeout in [json!("999ms"), json!("25h"), json!("soon"), json!(60), Value::Null] {
            let answer = world.post(&path, &json!({ "timeout": timeout })).await;
            answer.is_problem(400, "malformed_body");
            assert_eq!(answer.body["errors"][0]["path"], "/timeout", "{answer:?}");
        }
        world.post(&path, &json!({})).await.is_problem(400, "malformed_body");
        world
            .post(&format!("{path}?wait=1s"), &json!({ "timeout": "9s" }))
            .await
            .is_problem(400, "bad_query");
    }
    assert_eq!(world.sagas().await, 1);
}

#[tokio::test]
async fn a_saga_of_a_definition_takes_nothing_of_the_kind() {
    let world = World::new().await;
    let id = world.post("/v1/sagas", &json!({ "definition": "paid", "input": {} })).await.id();
    world.until_step(&id, 1, "waiting").await;
    let before = world.journal(&id).await;
    let mut known = branch("seats");
    known["compensation"] = json!("shop.release");
    for (verb, body) in [
        ("branches", known),
        ("commit", json!({})),
        ("rollback", json!({})),
        ("renew", json!({ "timeout": "60s" })),
    ] {
        world.to(&id, verb, body.clone()).await.is_problem(409, "not_open");
        let nobody = "0193c3a0-0000-7000-8000-000000000000";
        world.to(nobody, verb, body).await.is_problem(404, "not_found");
    }
    assert_eq!(world.journal(&id).await, before);
}

#[tokio::test]
async fn of_a_commit_and_a_rollback_at_once_one_is_the_decision() {
    for _ in 0..8 {
        let world = world(config()).await;
        let id = open(&world, "60s").await;
        world.to(&id, "branches", branch("seats+confirm")).await;
        let verbs = ["commit?wait=10s", "rollback?wait=10s"];
        let answers = join_all((0..12).map(|n| world.to(&id, verbs[n % 2], json!({})))).await;
        let winner = answers.iter().find(|answer| answer.status == 200).expect("one is taken").text("status");
        for answer in &answers {
            match answer.status {
                200 => assert_eq!(answer.text("status"), winner, "{answers:#?}"),
                _ => answer.is_problem(409, "saga_decided"),
            }
        }
        let expected = if winner == "completed" { "/sell seats confirm" } else { "/free seats compensation" };
        assert_eq!(asked(&world), [expected]);
    }
}

#[tokio::test]
async fn an_open_saga_that_sleeps_takes_branches_and_its_decision() {
    let sagas = SagaLimits { sleeping_max: 0, ..SagaLimits::default() };
    let world = world(Config { sagas, ..config() }).await;
    let id = open(&world, "10m").await;
    for name in ["a+confirm", "b+confirm"] {
        assert_eq!(world.to(&id, "branches", branch(name)).await.status, 201);
        assert_eq!(world.to(&id, "branches", branch(name)).await.status, 200);
    }
    assert_eq!(world.to(&id, "renew", json!({ "timeout": "1h" })).await.status, 200);
    let answer = world.to(&id, "commit?wait=10s", json!({})).await;
    assert_eq!((answer.status, answer.text("status")), (200, "completed"), "{answer:?}");
}

#[tokio::test]
async fn a_confirm_that_is_refused_is_repaired_forward() {
    let world = world(config()).await;
    let id = open(&world, "60s").await;
    world.to(&id, "branches", branch("seats+confirm")).await;
    world.stub.say("sell", [Say::json(409, &json!({ "message": "sold twice" }))]);
    world.to(&id, "commit", json!({})).await;
    let saga = world.until(&id, "repair").await;
    let item = &saga["repairs"][0];
    assert_eq!(
        (&item["op"], &item["operation"], &item["reason"]),
        (&json!("confirm"), &json!("shop.sell"), &json!("refused"))
    );
    let path = format!("/v1/repairs/{}/retry", item["id"].as_str().expect("an id"));
    assert_eq!(world.post(&path, &json!({ "by": "ada" })).await.status, 200);
    world.until(&id, "completed").await;
    let asked = world.stub.asked();
    assert_eq!((asked[0].header("saga-round"), asked[1].header("saga-round")), ("", "1"));
}

#[tokio::test]
async fn an_open_saga_has_512_branches_at_most() {
    let world = world(config()).await;
    let id = open(&world, "25s").await;
    for first in (0..512).step_by(32) {
        let names: Vec<String> = (first..first + 32).map(|n| format!("b{n}")).collect();
        let answers = join_all(names.iter().map(|name| world.to(&id, "branches", branch(name)))).await;
        assert!(
            answers.iter().all(|answer| answer.status == 201),
            "{:?}",
            answers.iter().find(|a| a.status != 201)
        );
    }
    world.to(&id, "branches", branch("more")).await.is_problem(409, "too_many_branches");
    assert_eq!(world.to(&id, "branches", branch("b511")).await.status, 200);
    assert_eq!(world.to(&id, "commit?wait=20s", json!({})).await.text("status"), "completed");
}
