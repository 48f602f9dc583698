//! What decides a step, on every dialect and with both ways of running bodies: confirm and compensation bar each other, a
//! newer round gives a refused action another chance, and every op may end later than it is answered.

use super::scenarios::{Line, asks, check, insist, settle};
use super::{Ask, Run, World};
use amends_sdk::{CallOp, Reply, barrier};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

use CallOp::{Action, Compensation, Confirm};

pub(crate) async fn a_confirm_is_answered_by_the_law_of_the_barrier(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let (five, six, none) = (json!({ "points": 5 }), json!({ "points": 6 }), json!({}));
    let refuse = json!({ "points": 5, "then": "refuse" });
    let unavailable = json!({ "points": 5, "then": "unavailable" });
    let pending = json!({ "points": 5, "then": "pending" });
    check(
        &world,
        "a confirm takes effect once, and bars its step's compensation",
        &[
            Line("a", Action, five.clone(), 200, ""),
            asks("a", Confirm, 404, "never seen"),
            Line("a", Confirm, none.clone(), 200, r#"{"points":0}"#),
            Line("a", Confirm, none.clone(), 200, r#"{"points":0}"#),
            Line("a", Confirm, six.clone(), 422, "another body"),
            asks("a", Confirm, 200, r#"{"points":0}"#),
            Line("a", Compensation, five.clone(), 409, r#""confirmed":true"#),
            asks("a", Compensation, 409, r#""confirmed":true"#),
            Line("a", Action, five.clone(), 200, r#"{"points":5}"#),
        ],
        &["a action 5", "a confirm 0"],
    )
    .await;
    check(
        &world,
        "a confirm that is refused bars nothing and can be tried again, with another body too",
        &[
            Line("a", Action, five.clone(), 200, ""),
            Line("a", Confirm, refuse.clone(), 409, "not today"),
            Line("a", Confirm, unavailable.clone(), 503, "not now"),
            asks("a", Confirm, 404, "never seen"),
            asks("a", Compensation, 404, "never seen"),
            Line("a", Confirm, six.clone(), 200, r#"{"points":6}"#),
            Line("b", Action, five.clone(), 200, ""),
            Line("b", Confirm, refuse.clone(), 409, "not today"),
            Line("b", Compensation, five.clone(), 200, ""),
        ],
        &["a action 5", "a confirm 6", "b action 5", "b compensation 5"],
    )
    .await;
    check(
        &world,
        "a confirm that comes after the compensation is refused, and leaves no trace",
        &[
            Line("a", Action, five.clone(), 200, ""),
            Line("a", Compensation, five.clone(), 200, ""),
            Line("a", Confirm, none.clone(), 409, "compensated before"),
            Line("a", Confirm, six.clone(), 409, "compensated before"),
            asks("a", Confirm, 404, "never seen"),
            Line("a", Compensation, five.clone(), 200, ""),
            Line("b", Compensation, five.clone(), 200, "null"),
            Line("b", Confirm, none.clone(), 409, "compensated before"),
        ],
        &["a action 5", "a compensation 5"],
    )
    .await;
    check(
        &world,
        "a confirm without its action is its body's own affair, and bars the action when it is done",
        &[
            Line("a", Confirm, none.clone(), 200, ""),
            Line("a", Action, five.clone(), 409, r#""confirmed":true"#),
            asks("a", Action, 409, r#""confirmed":true"#),
            Line("a", Compensation, five.clone(), 409, r#""confirmed":true"#),
            Line("b", Confirm, refuse.clone(), 409, "not today"),
            Line("b", Action, five.clone(), 200, ""),
            Line("b", Confirm, none.clone(), 200, ""),
        ],
        &["a confirm 0", "b action 5", "b confirm 0"],
    )
    .await;
    check(
        &world,
        "of a refused action there is nothing to confirm, and a pending one is waited for",
        &[
            Line("a", Action, refuse.clone(), 409, "not today"),
            Line("a", Confirm, none.clone(), 200, "null"),
            Line("a", Confirm, none.clone(), 200, "null"),
            Line("b", Action, pending.clone(), 202, ""),
            Line("b", Confirm, none.clone(), 425, "still being worked on"),
            asks("b", Confirm, 404, "never seen"),
            asks("b", Compensation, 404, "never seen"),
            asks("b", Action, 202, ""),
        ],
        &["b action 5"],
    )
    .await;
}

/// Every step's confirm and compensation are sent twice at once, to two instances of one database.
pub(crate) async fn of_a_confirm_and_a_compensation_that_race_one_wins(store: &str, run: Run) {
    let first = Arc::new(World::open(store, run).await);
    let second = Arc::new(World::open(store, run).await);
    let sagas: Vec<Uuid> = (0..30).map(|_| Uuid::now_v7()).collect();
    let mut tasks = Vec::new();
    for (at, saga) in sagas.iter().enumerate() {
        let action = Ask::new(*saga, "s", Action, json!({ "points": 5 }));
        assert_eq!(insist(&first, action).await.status, 200);
        for turn in 0..4 {
            let world = if (turn + at) % 2 == 0 { first.clone() } else { second.clone() };
            let op = if (turn / 2 + at) % 2 == 0 { Confirm } else { Compensation };
            let ask = Ask::new(*saga, "s", op, json!({ "points": 5 }));
            tasks.push((*saga, op, tokio::spawn(async move { insist(&world, ask).await })));
        }
    }
    let mut answers = Vec::new();
    for (saga, op, task) in tasks {
        answers.push((saga, op, task.await.expect("no panic").status));
    }
    for saga in sagas {
        let of = |op| {
            answers
                .iter()
                .filter(move |one| (one.0, one.1) == (saga, op))
                .map(|one| one.2)
                .collect::<Vec<_>>()
        };
        let effects = first.effects(saga).await;
        let winner = match (of(Confirm).as_slice(), of(Compensation).as_slice()) {
            ([200, 200], [409, 409]) => "s confirm 5",
            ([409, 409], [200, 200]) => "s compensation 5",
            other => panic!("{other:?}: {effects:?}"),
        };
        assert_eq!(effects, ["s action 5", winner]);
    }
    assert_eq!(first.unanswered().await, 0);
}

/// A call of a round.
fn in_round(saga: Uuid, step: &str, op: CallOp, round: u32, body: &Value) -> Ask {
    Ask { round, ..Ask::new(saga, step, op, body.clone()) }
}

pub(crate) async fn a_refused_action_is_done_anew_in_a_newer_round(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let (five, six) = (json!({ "points": 5 }), json!({ "points": 6 }));
    let refuse = json!({ "points": 5, "then": "refuse" });
    let unavailable = json!({ "points": 5, "then": "unavailable" });
    type Turn<'a> = (&'a str, CallOp, u32, &'a Value, u16);
    let turns: [Turn<'_>; 22] = [
        ("mended", Action, 0, &refuse, 409),
        ("mended", Action, 1, &refuse, 409),
        ("mended", Action, 1, &refuse, 409),
        ("mended", Action, 1, &six, 422),
        ("mended", Action, 2, &unavailable, 503),
        ("mended", Action, 2, &six, 200),
        ("mended", Action, 2, &six, 200),
        ("mended", Action, 3, &five, 200),
        ("mended", Action, 1, &six, 200),
        ("mended", Action, 1, &refuse, 422),
        ("done", Action, 0, &five, 200),
        ("done", Action, 1, &five, 200),
        ("done", Action, 1, &six, 200),
        ("barred", Action, 0, &refuse, 409),
        ("barred", Compensation, 0, &five, 200),
        ("barred", Action, 1, &five, 409),
        ("undone", Action, 0, &refuse, 409),
        ("undone", Action, 1, &six, 200),
        ("undone", Compensation, 0, &six, 200),
        ("undone", Action, 2, &six, 200),
        ("late", Action, 1, &six, 200),
        ("late", Action, 0, &five, 422),
    ];
    let saga = Uuid::now_v7();
    for (number, (step, op, round, body, status)) in turns.into_iter().enumerate() {
        let answer = world.ask(&in_round(saga, step, op, round, body)).await;
        assert_eq!(answer.status, status, "turn {number}: {answer:?}");
    }
    let effects =
        ["done action 5", "late action 6", "mended action 6", "undone action 6", "undone compensation 6"];
    assert_eq!(world.effects(saga).await, effects);
    assert_eq!(world.unanswered().await, 0);

    // The same in a batch, beside calls that are new.
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(world.ask(&in_round(first, "s", Action, 0, &refuse)).await.status, 409);
    let asks = [in_round(first, "s", Action, 1, &five), in_round(second, "s", Action, 0, &five)];
    for _ in 0..2 {
        let answers = world.batch(&asks).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    }
    assert_eq!(world.effects(first).await, ["s action 5"]);
}

/// A refused action's newer round comes to both instances at once.
pub(crate) async fn two_instances_do_a_newer_round_once(store: &str, run: Run) {
    let first = Arc::new(World::open(store, run).await);
    let second = Arc::new(World::open(store, run).await);
    let sagas: Vec<Uuid> = (0..30).map(|_| Uuid::now_v7()).collect();
    let mut tasks = Vec::new();
    for saga in &sagas {
        let refused = Ask::new(*saga, "s", Action, json!({ "points": 5, "then": "refuse" }));
        assert_eq!(insist(&first, refused).await.status, 409);
    }
    for saga in &sagas {
        for turn in 0..4 {
            let world = if turn % 2 == 0 { first.clone() } else { second.clone() };
            let ask = in_round(*saga, "s", Action, 1, &json!({ "points": 6 }));
            tasks.push(tokio::spawn(async move { insist(&world, ask).await }));
        }
    }
    for task in tasks {
        let answer = task.await.expect("no panic");
        assert_eq!((answer.status, answer.body), (200, json!({ "points": 6 })));
    }
    for saga in sagas {
        assert_eq!(first.effects(saga).await, ["s action 6"]);
    }
}

/// A refused action's newer round and the compensation come at once, to two instances of one database.
pub(crate) async fn a_newer_round_never_takes_effect_after_the_compensation(store: &str, run: Run) {
    let first = Arc::new(World::open(store, run).await);
    let second = Arc::new(World::open(store, run).await);
    let sagas: Vec<Uuid> = (0..40).map(|_| Uuid::now_v7()).collect();
    for saga in &sagas {
        let refused = Ask::new(*saga, "s", Action, json!({ "points": 5, "then": "refuse" }));
        assert_eq!(insist(&first, refused).await.status, 409);
    }
    let mut tasks = Vec::new();
    for (at, saga) in sagas.iter().enumerate() {
        let worlds =
            if at % 2 == 0 { [first.clone(), second.clone()] } else { [second.clone(), first.clone()] };
        for (op, world) in [Action, Compensation].into_iter().zip(worlds) {
            let ask = in_round(*saga, "s", op, u32::from(op == Action), &json!({ "points": 6 }));
            tasks.push(tokio::spawn(async move { insist(&world, ask).await }));
        }
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.expect("no panic").status);
    }
    for (saga, statuses) in sagas.iter().zip(statuses.chunks(2)) {
        match first.effects(*saga).await.as_slice() {
            [] => assert_eq!(statuses, [409, 200]),
            effects => {
                assert_eq!(effects, ["s action 6", "s compensation 6"]);
                assert_eq!(statuses, [200, 200]);
            }
        }
    }
}

/// 202, its status while it is worked on, the end, and what a repeat and a new try are answered then.
pub(crate) async fn every_op_may_be_pending_and_tells_its_end(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let pending = json!({ "points": 5, "then": "pending" });
    let saga = Uuid::now_v7();
    for (op, end, again) in [
        (Action, Reply::done(json!("at last")), 200),
        (Action, Reply::refused("in the end no", json!({})), 409),
        (Compensation, Reply::done(json!("at last")), 200),
        (Compensation, Reply::refused("in the end no", json!({})), 202),
        (Confirm, Reply::done(json!("at last")), 200),
        (Confirm, Reply::refused("in the end no", json!({})), 202),
    ] {
        let step = format!("{op}-{}", end.status);
        if op != Action {
            let action = Ask::new(saga, &step, Action, json!({ "points": 1 }));
            assert_eq!(world.ask(&action).await.status, 200);
        }
        let (call, question) = (Ask::new(saga, &step, op, pending.clone()), Ask::status(saga, &step, op));
        assert_eq!(world.ask(&question).await.status, 404, "{step}");
        for ask in [&call, &question, &call, &question] {
            assert_eq!(world.ask(ask).await.status, 202, "{step}");
        }
        let asked = world.batch(std::slice::from_ref(&question)).await;
        assert_eq!(asked[0].status, 202, "{step}");
        assert_eq!(settle(&world, saga, &step, op, end.clone()).await, barrier::Settled::Kept, "{step}");
        let said = world.ask(&question).await;
        assert_eq!((said.status, said.body), (end.status, end.body), "{step}");
        assert_eq!(world.ask(&call).await.status, again, "{step}");
    }
    assert_eq!(world.unanswered().await, 0);
}

/// The end of a pending action, a refusal, and the compensation come at once, to two instances of one database.
pub(crate) async fn of_the_end_of_a_pending_action_and_its_compensation_one_is_first(store: &str, run: Run) {
    let first = Arc::new(World::open(store, run).await);
    let second = Arc::new(World::open(store, run).await);
    for at in 0..30 {
        let saga = Uuid::now_v7();
        let pending = Ask::new(saga, "s", Action, json!({ "points": 5, "then": "pending" }));
        assert_eq!(insist(&first, pending).await.status, 202);
        let refused = Reply::refused("in the end no", json!({}));
        let (one, other) = if at % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let undo = Ask::new(saga, "s", Compensation, json!({ "points": 5 }));
        let (settled, undone) = tokio::join!(settle(one, saga, "s", Action, refused), insist(other, undo));
        assert_eq!(undone.status, 200);
        // What was refused in the end is not undone, and what was undone does not end.
        let expected: &[&str] = match settled {
            barrier::Settled::Kept => &["s action 5"],
            _ => &["s action 5", "s compensation 5"],
        };
        assert_eq!(first.effects(saga).await, expected, "{settled:?}");
    }
}
