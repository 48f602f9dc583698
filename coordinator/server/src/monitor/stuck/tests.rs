//! Which sagas count as standing still.

use super::*;
use amends_saga::{Answer, Input, Json, Report, Start, decide, definition::Definition, start};
use amends_wire::{
    definition::{Defaults, Text},
    registration::OperationTerms,
};
use std::sync::Arc;

const MINUTE: i64 = 60_000;

fn definition(steps: &str) -> Arc<Definition> {
    let text = Text::read(&format!("saga: order\nversion: 1\nsteps:\n{steps}")).expect("a definition");
    let terms = |_: &_, _: &_| Some(OperationTerms::default());
    Arc::new(text.resolve(&terms, &Defaults::default()).expect("operations"))
}

fn started(steps: &str) -> Saga {
    let start_of = Start {
        id: SagaId::from_u128(7),
        definition: definition(steps),
        input: Json::default(),
        key: None,
        labels: std::collections::BTreeMap::new(),
        parent: None,
        timeout: None,
        barred: false,
    };
    start(start_of, Timestamp(0)).0
}

/// Gives the saga's first call an answer.
fn answered(mut saga: Saga, answer: Answer, at: Timestamp) -> Saga {
    let key = due(&saga).calls[0].key;
    let records = decide(&saga, Input::Answer { key, answer }, at).expect("it is taken");
    records.iter().for_each(|record| saga.apply(record.at, &record.event));
    saga
}

#[track_caller]
fn check(saga: &Saga, at: i64, is_open: bool, expected: Option<&str>) {
    let why = overdue(saga, Timestamp(at), Duration::from_secs(600), |_| is_open);
    assert_eq!(why, expected, "at {at}");
}

const CALL: &str = "  - hold: { action: shop.hold, compensation: shop.release, with: {} }\n";

#[test]
fn a_call_without_an_answer_is_overdue_after_its_time_and_ten_minutes() {
    let saga = started(CALL);
    check(&saga, 10 * MINUTE, true, None);
    check(&saga, 11 * MINUTE, true, Some("a call of it is long overdue"));
}

#[test]
fn what_is_held_back_at_a_gate_is_not_stuck() {
    check(&started(CALL), 1000 * MINUTE, false, None);
}

#[test]
fn a_wait_for_a_signal_has_its_time() {
    let saga = started("  - payment: { await: payment, timeout: 15m }\n");
    check(&saga, 24 * MINUTE, true, None);
    check(&saga, 26 * MINUTE, true, Some("a timer of it is long overdue"));
}

#[test]
fn what_waits_for_an_operator_or_has_ended_is_not_stuck() {
    let steps = format!(
        "{CALL}  - charge: {{ action: shop.charge, compensation: none, reason: free, with: {{}} }}\n"
    );
    let report = || Report::new(Some(409), "no", 1);
    let done = answered(started(&steps), Answer::Done(Json::default()), Timestamp(1));
    let turned = answered(done, Answer::Refused(report()), Timestamp(2));
    let parked = answered(turned, Answer::Refused(report()), Timestamp(3));
    assert!(parked.is_shelved());
    check(&parked, 1000 * MINUTE, true, None);
    let ended = answered(started(CALL), Answer::Done(Json::default()), Timestamp(1));
    assert!(ended.is_terminal());
    check(&ended, 1000 * MINUTE, true, None);
}
