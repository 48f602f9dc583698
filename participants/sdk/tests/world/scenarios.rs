//! What every dialect and both ways of running bodies must do.

use super::{Answer, Ask, Run, World};
use amends_sdk::{CallOp, Reply, Task, Tx, barrier};
use amends_wire::audit::EffectState;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

use CallOp::{Action, Compensation, Confirm};

/// Makes one test of each scenario on stores that `$store` gives.
#[macro_export]
macro_rules! scenarios {
    ($store:path, $run:expr; $module:ident: $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            let store = $store().await;
            $crate::world::$module::$name(store.address(), $run).await;
            store.close().await;
        })*
    };
    ($store:path, $run:expr) => {
        $crate::scenarios!($store, $run; decisions:
            a_confirm_is_answered_by_the_law_of_the_barrier
            of_a_confirm_and_a_compensation_that_race_one_wins
            a_refused_action_is_done_anew_in_a_newer_round
            two_instances_do_a_newer_round_once
            a_newer_round_never_takes_effect_after_the_compensation
            every_op_may_be_pending_and_tells_its_end
            of_the_end_of_a_pending_action_and_its_compensation_one_is_first
        );
        $crate::scenarios!($store, $run; scenarios:
            calls_are_answered_by_the_law_of_the_barrier
            a_batch_keeps_its_order_whatever_its_calls_come_to
            one_bad_call_does_not_fail_its_neighbours
            concurrent_repeats_take_effect_once_and_are_answered_alike
            two_instances_agree_on_every_race_of_action_and_compensation
            a_pending_call_is_settled_once_and_never_after_its_compensation
            more_calls_than_one_statement_takes_are_all_met_again
            the_audit_tells_what_became_of_every_step
        );
    };
}

/// One line of a table: what is asked, what is answered, and a piece of the body.
pub(super) struct Line(
    pub(super) &'static str,
    pub(super) CallOp,
    pub(super) Value,
    pub(super) u16,
    pub(super) &'static str,
);

/// A line whose body is a status question.
pub(super) fn asks(step: &'static str, of: CallOp, status: u16, says: &'static str) -> Line {
    Line(step, CallOp::Status, json!(of), status, says)
}

/// Runs a table on a saga of its own and compares every answer and the effects.
pub(super) async fn check(world: &World, name: &str, lines: &[Line], effects: &[&str]) {
    let saga = Uuid::now_v7();
    for (number, Line(step, op, body, status, says)) in lines.iter().enumerate() {
        let ask = match op {
            CallOp::Status => Ask::status(saga, step, serde_json::from_value(body.clone()).expect("an op")),
            op => Ask::new(saga, step, *op, body.clone()),
        };
        let answer = world.ask(&ask).await;
        assert_eq!(answer.status, *status, "{name}, line {number}: {answer:?}");
        let body = answer.body.to_string();
        assert!(body.contains(says), "{name}, line {number}: {body} does not say {says}");
    }
    assert_eq!(world.effects(saga).await, effects, "{name}");
    assert_eq!(world.unanswered().await, 0, "{name}");
}

pub(crate) async fn calls_are_answered_by_the_law_of_the_barrier(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let (five, six) = (json!({ "points": 5 }), json!({ "points": 6 }));
    let refuse = json!({ "points": 5, "then": "refuse" });
    let unavailable = json!({ "points": 5, "then": "unavailable" });
    check(
        &world,
        "a repeat is answered alike and applies once",
        &[
            Line("a", Action, five.clone(), 200, r#"{"points":5}"#),
            Line("a", Action, five.clone(), 200, r#"{"points":5}"#),
            Line("b", Action, six.clone(), 200, r#"{"points":6}"#),
            asks("a", Action, 200, r#"{"points":5}"#),
            asks("c", Action, 404, "never seen"),
        ],
        &["a action 5", "b action 6"],
    )
    .await;
    check(
        &world,
        "a compensation undoes once",
        &[
            Line("a", Action, five.clone(), 200, ""),
            asks("a", Compensation, 404, "never seen"),
            Line("a", Compensation, five.clone(), 200, ""),
            Line("a", Compensation, five.clone(), 200, ""),
            Line("a", Action, five.clone(), 200, r#"{"points":5}"#),
            asks("a", Compensation, 200, ""),
        ],
        &["a action 5", "a compensation 5"],
    )
    .await;
    check(
        &world,
        "a compensation without its action does nothing, and its action is refused for ever",
        &[
            Line("a", Compensation, five.clone(), 200, "null"),
            Line("a", Compensation, five.clone(), 200, "null"),
            Line("a", Action, five.clone(), 409, "compensated before"),
            Line("a", Action, six.clone(), 409, "compensated before"),
            asks("a", Action, 409, "compensated before"),
            asks("a", Compensation, 200, "null"),
        ],
        &[],
    )
    .await;
    check(
        &world,
        "a refusal is kept and leaves nothing to undo",
        &[
            Line("a", Action, refuse.clone(), 409, "not today"),
            Line("a", Action, refuse.clone(), 409, "not today"),
            asks("a", Action, 409, "not today"),
            Line("a", Compensation, five.clone(), 200, "null"),
            Line("a", Compensation, five.clone(), 200, "null"),
        ],
        &[],
    )
    .await;
    check(
        &world,
        "what is not known is not kept",
        &[
            Line("a", Action, unavailable.clone(), 503, "not now"),
            asks("a", Action, 404, "never seen"),
            Line("a", Action, json!({ "points": 13 }), 503, "database"),
            Line("a", Action, json!({ "points": 5, "then": "panic" }), 503, "panicked"),
            Line("a", Action, five.clone(), 200, ""),
        ],
        &["a action 5"],
    )
    .await;
    check(
        &world,
        "a refused compensation can be tried again, with another body too",
        &[
            Line("a", Action, five.clone(), 200, ""),
            Line("a", Compensation, refuse.clone(), 409, "not today"),
            Line("a", Compensation, unavailable.clone(), 503, "not now"),
            Line("a", Compensation, six.clone(), 200, r#"{"points":6}"#),
            Line("a", Compensation, six.clone(), 200, r#"{"points":6}"#),
        ],
        &["a action 5", "a compensation 6"],
    )
    .await;
    check(
        &world,
        "another body under the same step is a contract error",
        &[
            Line("a", Action, five.clone(), 200, ""),
            Line("a", Action, six.clone(), 422, "another body"),
            Line("a", Compensation, five.clone(), 200, ""),
            Line("a", Compensation, six.clone(), 422, "another body"),
        ],
        &["a action 5", "a compensation 5"],
    )
    .await;
}

pub(crate) async fn a_batch_keeps_its_order_whatever_its_calls_come_to(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let saga = Uuid::now_v7();
    let call = |step: &str, body: Value| Ask::new(saga, step, Action, body);
    let known = call("known", json!({ "points": 1 }));
    assert_eq!(world.ask(&known).await.status, 200);
    let gone = Ask::new(saga, "gone", Compensation, json!({}));
    assert_eq!(world.ask(&gone).await.status, 200);

    let asks = [
        (call("a", json!({ "points": 2 })), 200),
        (known.clone(), 200),
        (call("b", json!({ "points": 3, "then": "refuse" })), 409),
        (call("gone", json!({ "points": 4 })), 409),
        (call("a", json!({ "points": 2 })), 200),
        (call("a", json!({ "points": 9 })), 422),
        (call("c", json!({ "points": 5, "then": "unavailable" })), 503),
        (Ask { attempt: 0, ..call("d", json!({})) }, 400),
        (Ask::status(saga, "known", Action), 200),
        (Ask::status(saga, "never", Action), 404),
        (call("e", json!({ "points": 6 })), 200),
    ];
    let (calls, statuses): (Vec<Ask>, Vec<u16>) = asks.into_iter().unzip();
    let answers = world.batch(&calls).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), statuses, "{answers:#?}");
    assert_eq!(answers[6].retry_after.as_deref(), Some("7"));
    assert_eq!(answers[10].body, json!({ "points": 6 }));
    assert_eq!(world.effects(saga).await, ["a action 2", "e action 6", "known action 1"]);
    assert_eq!(world.unanswered().await, 0);
}

pub(crate) async fn one_bad_call_does_not_fail_its_neighbours(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let bad = [
        json!({ "points": 13 }),
        json!({ "points": 2, "then": "panic" }),
        json!({ "points": 2, "then": "unavailable" }),
    ];
    for bad in bad {
        let sagas: Vec<Uuid> = (0..40).map(|_| Uuid::now_v7()).collect();
        let body = |at: usize| if at == 17 { bad.clone() } else { json!({ "points": 1 }) };
        let calls: Vec<Ask> =
            sagas.iter().enumerate().map(|(at, saga)| Ask::new(*saga, "s", Action, body(at))).collect();
        let answers = world.batch(&calls).await;
        for (at, (saga, answer)) in sagas.iter().zip(&answers).enumerate() {
            let (status, effects) = if at == 17 { (503, 0) } else { (200, 1) };
            assert_eq!(answer.status, status, "{bad} at {at}: {answer:?}");
            assert_eq!(world.effects(*saga).await.len(), effects, "{bad} at {at}");
        }
    }
    assert_eq!(world.unanswered().await, 0);
}

pub(crate) async fn concurrent_repeats_take_effect_once_and_are_answered_alike(store: &str, run: Run) {
    let world = Arc::new(World::open(store, run).await);
    let saga = Uuid::now_v7();
    let ask = Ask::new(saga, "s", Action, json!({ "points": 5 }));
    let tasks: Vec<_> = (1..=24)
        .map(|attempt| {
            let (world, ask) = (world.clone(), Ask { attempt, ..ask.clone() });
            tokio::spawn(async move { world.ask(&ask).await })
        })
        .collect();
    for task in tasks {
        let answer = task.await.expect("no panic");
        assert_eq!((answer.status, answer.body), (200, json!({ "points": 5 })));
    }
    assert_eq!(world.effects(saga).await, ["s action 5"]);
}

/// Every saga's action and compensation are sent twice at once, to two instances of one database.
pub(crate) async fn two_instances_agree_on_every_race_of_action_and_compensation(store: &str, run: Run) {
    let first = Arc::new(World::open(store, run).await);
    let second = Arc::new(World::open(store, run).await);
    let sagas: Vec<Uuid> = (0..40).map(|_| Uuid::now_v7()).collect();
    let mut tasks = Vec::new();
    for (at, saga) in sagas.iter().enumerate() {
        for turn in 0..4 {
            let world = if (turn + at) % 2 == 0 { first.clone() } else { second.clone() };
            let op = if (turn / 2 + at) % 2 == 0 { Action } else { Compensation };
            let ask = Ask::new(*saga, "s", op, json!({ "points": 5 }));
            tasks.push((*saga, op, tokio::spawn(async move { insist(&world, ask).await })));
        }
    }
    let mut answers = Vec::new();
    for (saga, op, task) in tasks {
        answers.push((saga, op, task.await.expect("no panic")));
    }
    for saga in sagas {
        let of = |op| answers.iter().filter(move |one| (one.0, one.1) == (saga, op)).map(|one| &one.2);
        let actions: Vec<u16> = of(Action).map(|answer| answer.status).collect();
        assert!(of(Compensation).all(|answer| answer.status == 200), "{actions:?}");
        match first.effects(saga).await.as_slice() {
            [] => assert_eq!(actions, [409, 409]),
            [action, compensation] => {
                assert_eq!((action.as_str(), compensation.as_str()), ("s action 5", "s compensation 5"));
                assert_eq!(actions, [200, 200]);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first.unanswered().await, 0);
}

/// Repeats a call as the coordinator does until it is answered definitely.
pub(super) async fn insist(world: &World, mut ask: Ask) -> Answer {
    loop {
        let answer = world.ask(&ask).await;
        if answer.status != 503 {
            return answer;
        }
        assert!(ask.attempt < 50, "{answer:?}");
        ask.attempt += 1;
    }
}

pub(crate) async fn a_pending_call_is_settled_once_and_never_after_its_compensation(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let saga = Uuid::now_v7();
    for step in ["kept", "undone"] {
        let ask = Ask::new(saga, step, Action, json!({ "points": 5, "then": "pending" }));
        let first = world.ask(&ask).await;
        if first.status != 202 {
            panic!("{first:?}");
        }
        assert_eq!(first.retry_after.as_deref(), Some("2"));
        assert_eq!(world.ask(&ask).await.status, 202);
    }
    let undo = Ask::new(saga, "undone", Compensation, json!({ "points": 5 }));
    assert_eq!(world.ask(&undo).await.status, 200);
    for (step, first, again) in [
        ("kept", barrier::Settled::Kept, barrier::Settled::NotPending),
        ("undone", barrier::Settled::Overtaken, barrier::Settled::Overtaken),
        ("never", barrier::Settled::NotPending, barrier::Settled::NotPending),
    ] {
        assert_eq!(settle(&world, saga, step, Action, at_last()).await, first, "{step}");
        assert_eq!(settle(&world, saga, step, Action, at_last()).await, again, "{step} again");
    }
    let kept = world.ask(&Ask::status(saga, "kept", Action)).await;
    assert_eq!((kept.status, kept.body), (200, json!("at last")));
    assert_eq!(world.ask(&Ask::status(saga, "undone", Action)).await.status, 409);
    assert_eq!(world.effects(saga).await, ["kept action 5", "undone action 5", "undone compensation 5"]);
}

pub(super) fn at_last() -> Reply {
    Reply::done(json!("at last"))
}

pub(super) async fn settle(
    world: &World,
    saga: Uuid,
    step: &str,
    op: CallOp,
    reply: Reply,
) -> barrier::Settled {
    struct Settle(Uuid, String, CallOp, Reply, Arc<Mutex<Option<barrier::Settled>>>);
    #[async_trait::async_trait]
    impl Task for Settle {
        async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
            let settled = barrier::settle(tx, self.0, &self.1, self.2, &self.3).await?;
            *self.4.lock().expect("not poisoned") = Some(settled);
            Ok(())
        }
    }
    let said = Arc::new(Mutex::new(None));
    let settle = Settle(saga, step.to_owned(), op, reply, said.clone());
    world.writer.run(Box::new(settle)).await.expect("the task runs");
    said.lock().expect("not poisoned").expect("it was said")
}

/// 300 calls go out in statements of 128, 32, 8 and 4 rows; half of them come again among new ones.
pub(crate) async fn more_calls_than_one_statement_takes_are_all_met_again(store: &str, run: Run) {
    let world = Arc::new(World::open(store, run).await);
    let sagas: Vec<Uuid> = (0..450).map(|_| Uuid::now_v7()).collect();
    for (range, op) in [(0..300, Action), (150..450, Action), (0..450, Compensation)] {
        let chunks: Vec<Vec<Ask>> = sagas[range]
            .chunks(60)
            .map(|chunk| {
                chunk.iter().map(|saga| Ask::new(*saga, "s[0]", op, json!({ "points": 1 }))).collect()
            })
            .collect();
        let tasks: Vec<_> = chunks
            .into_iter()
            .map(|calls| (world.clone(), calls))
            .map(|(world, calls)| tokio::spawn(async move { world.batch(&calls).await }))
            .collect();
        for task in tasks {
            assert!(task.await.expect("no panic").iter().all(|answer| answer.status == 200));
        }
    }
    for saga in sagas {
        assert_eq!(world.effects(saga).await, ["s[0] action 1", "s[0] compensation 1"]);
    }
    assert_eq!(world.unanswered().await, 0);
}

/// The server hangs up on everybody; a call or two may not be answered definitely, and then all is as before.
pub(crate) async fn a_lost_connection_is_opened_again(store: &str, run: Run) {
    let world = World::open(store, run).await;
    let saga = Uuid::now_v7();
    for step in ["a", "b"] {
        let ask = Ask::new(saga, step, Action, json!({ "points": 5 }));
        assert_eq!(insist(&world, ask).await.status, 200);
        world.hang_up().await;
    }
    let ask = Ask::new(saga, "a", Action, json!({ "points": 5 }));
    assert_eq!(insist(&world, ask).await.status, 200);
    world.hang_up().await;
    assert_eq!(world.effects(saga).await, ["a action 5", "b action 5"]);
}

pub(crate) async fn the_audit_tells_what_became_of_every_step(store: &str, run: Run) {
    use EffectState::{Applied, Barred, Pending, Undone};
    let world = World::open(store, run).await;
    let points = |then: &str| json!({ "points": 5, "then": then });
    type Story<'a> = (&'a str, &'a [(CallOp, Value)], EffectState);
    let stories: [Story<'_>; 6] = [
        ("done", &[(Action, points(""))], Applied),
        ("sealed", &[(Action, points("")), (Confirm, points(""))], Applied),
        ("undone", &[(Action, points("")), (Compensation, points(""))], Undone),
        ("refused", &[(Action, points("refuse")), (Compensation, points(""))], Barred),
        ("overtaken", &[(Compensation, points("")), (Action, points(""))], Barred),
        ("waiting", &[(Action, points("pending"))], Pending),
    ];
    let saga = Uuid::now_v7();
    for (step, calls, _) in &stories {
        for (op, body) in *calls {
            world.ask(&Ask::new(saga, step, *op, body.clone())).await;
        }
    }
    let (mut others, mut asks) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let saga = Uuid::now_v7();
        others.push(saga);
        asks.push(Ask::new(saga, "many", Action, points("")));
    }
    world.batch(&asks).await;
    for limit in [1, 7, 500] {
        let audited = world.audit(0, limit).await;
        let found: Vec<(Uuid, &str, EffectState)> =
            audited.effects.iter().map(|e| (e.saga, e.step.as_str(), e.op_state)).collect();
        let mut expected: Vec<_> = stories.iter().map(|(step, _, state)| (saga, *step, *state)).collect();
        expected.extend(others.iter().map(|saga| (*saga, "many", Applied)));
        expected.sort_unstable();
        assert_eq!(found, expected, "limit {limit}");
        assert_eq!((audited.doubled.len(), audited.findings.len()), (0, 0));
    }
    let newest = world.audit(0, 500).await.effects.iter().map(|effect| effect.at).max().unwrap_or_default();
    assert!(world.audit(newest + 1, 500).await.effects.is_empty());
    assert!(!world.audit(newest, 500).await.effects.is_empty());
}
