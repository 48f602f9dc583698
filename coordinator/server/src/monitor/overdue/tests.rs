//! Which sagas are late past their pivot.

use super::*;
use amends_saga::{Answer, Input, Json, Millis, Report, Start, decide, due, start};
use amends_wire::{
    definition::{Defaults, Text},
    registration::OperationTerms,
};
use std::sync::Arc;

const MINUTE: i64 = 60_000;

const STEPS: &str = "
  - hold: { action: shop.hold, compensation: shop.release, with: {} }
  - ship: { action: shop.ship, compensation: none, reason: gone, pivot: true, with: {} }
  - thank: { action: shop.thank, with: {} }
";

fn definition(head: &str, steps: &str) -> Arc<Definition> {
    let text = Text::read(&format!("saga: order\nversion: 1\n{head}\nsteps:{steps}")).expect("a definition");
    let terms = |_: &_, _: &_| Some(OperationTerms::default());
    Arc::new(text.resolve(&terms, &Defaults::default()).expect("operations"))
}

fn started(definition: Arc<Definition>) -> Saga {
    let timeout = definition.is_open().then_some(Millis::from_secs(600));
    start(Start { timeout, ..Start::new(SagaId::from_u128(7), definition, Json::default()) }, Timestamp(0)).0
}

fn took(mut saga: Saga, input: Input, at: i64) -> Saga {
    let records = decide(&saga, input, Timestamp(at)).expect("it is taken");
    records.iter().for_each(|record| saga.apply(record.at, &record.event));
    saga
}

/// Gives the saga's first call an answer.
fn answered(saga: Saga, answer: Answer, at: i64) -> Saga {
    let key = due(&saga).calls[0].key;
    took(saga, Input::Answer { key, answer }, at)
}

fn done() -> Answer {
    Answer::Done(Json::default())
}

fn no() -> Answer {
    Answer::Refused(Report::new(Some(409), "no", 1))
}

#[track_caller]
fn check(saga: &Saga, at_minute: i64, expected: Option<(i64, &str)>) {
    let late = late(saga, Timestamp(at_minute * MINUTE));
    let said = late.map(|late| (late.by.as_secs() as i64 / 60, late.at.join(" ")));
    assert_eq!(said, expected.map(|(by, at)| (by, at.to_owned())), "at minute {at_minute}");
}

#[test]
fn a_saga_is_late_from_its_deadline_on_once_it_is_past_its_pivot() {
    let begun = started(definition("deadline: 10m", STEPS));
    check(&begun, 11, None);
    let past = answered(answered(begun, done(), 1), done(), 2);
    check(&past, 9, None);
    check(&past, 10, Some((0, "thank")));
    check(&past, 25, Some((15, "thank")));
    check(&answered(past, done(), 26 * MINUTE), 30, None);
}

#[test]
fn a_pivot_that_is_sent_and_cannot_be_undone_is_past_already() {
    let sent = answered(started(definition("deadline: 10m", STEPS)), done(), 1);
    check(&sent, 12, Some((2, "ship")));
}

#[test]
fn one_that_waits_for_an_operator_is_late_as_well() {
    let past = answered(answered(started(definition("deadline: 10m", STEPS)), done(), 1), done(), 2);
    let parked = answered(past, no(), 3);
    assert_eq!(parked.status(), Status::Repair);
    check(&parked, 12, Some((2, "thank")));
}

#[test]
fn what_turns_round_or_has_no_deadline_is_never_late() {
    let refused = answered(answered(started(definition("deadline: 10m", STEPS)), done(), 1), no(), 2);
    assert_eq!(refused.status(), Status::Compensating);
    check(&refused, 99, None);
    let timeless = answered(answered(started(definition("", STEPS)), done(), 1), done(), 2);
    check(&timeless, 99_999, None);
}

#[test]
fn the_time_of_an_open_saga_is_that_of_its_decision() {
    let open = started(Arc::new(Definition::open()));
    check(&open, 99, None);
    assert_eq!(open.deadline_at, Some(Timestamp(10 * MINUTE)));
}

#[test]
fn only_definitions_with_a_deadline_and_a_pivot_are_looked_at() {
    let without = "\n  - look: { action: shop.look, read_only: true, with: {} }\n";
    for (head, steps, expected) in [
        ("deadline: 10m", STEPS, Some(Duration::from_secs(600))),
        ("", STEPS, None),
        ("deadline: 10m", without, None),
    ] {
        assert_eq!(allowed(&definition(head, steps)), expected, "{head} {steps}");
    }
}

#[test]
fn each_saga_is_told_of_once() {
    let late = |n: u128| Late {
        saga: SagaId::from_u128(n),
        definition: Name::parse("order").expect("a name"),
        by: Duration::ZERO,
        at: Vec::new(),
    };
    let told = BTreeSet::from([SagaId::from_u128(1)]);
    let found = [late(1), late(2)];
    assert_eq!(untold(&found, &told).collect::<Vec<_>>(), [&found[1]]);
}
