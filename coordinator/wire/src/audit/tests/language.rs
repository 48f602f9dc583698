//! The whole language against what participants say: items of lists, steps that were not needed, children, rounds,
//! reverted sagas and branches. The sagas are real ones, driven by the core; only the tables are made up.

use super::*;
use crate::{
    definition::{Defaults, Text},
    registration::OperationTerms,
};
use amends_saga::{
    Answer, BranchTerms, Definition, Input, Millis, Name, Op, Record, Report, Saga, Start, Timestamp, decide,
    definition::{Operation, Target},
    due,
    repair::{Audit, Verb},
    revert,
    schedule::{Schedule, UndoSchedule},
    start,
};
use std::sync::Arc;

/// A saga driven by hand: every call is answered as `answers` says.
struct Run {
    saga: Saga,
    records: Vec<Record>,
    now: i64,
}

/// What a participant answers to the call of a step.
type Answers = fn(&str, Op) -> Answer;

fn done(_: &str, _: Op) -> Answer {
    Answer::Done(Arc::new(json!({ "ok": true })))
}

fn no() -> Answer {
    Answer::Refused(Report::new(Some(409), "no", 1))
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

impl Run {
    fn of(definition: Arc<Definition>, input: Value) -> Run {
        let timeout = definition.is_open().then_some(Millis::from_secs(60));
        let (saga, records) =
            start(Start { timeout, ..Start::new(id(1), definition, Arc::new(input)) }, Timestamp(0));
        Run { saga, records, now: 0 }
    }

    fn steps(steps: &str, input: Value) -> Run {
        let text = Text::read(&format!("saga: order\nversion: 1\nsteps:\n{steps}"))
            .unwrap_or_else(|faults| panic!("{}", faults.render("it", steps)));
        let terms = |_: &_, _: &_| Some(OperationTerms::default());
        Run::of(Arc::new(text.resolve(&terms, &Defaults::default()).expect("operations")), input)
    }

    fn open(branches: &[(&str, Option<&str>)]) -> Run {
        let mut run = Run::of(Arc::new(Definition::open()), json!({}));
        for (branch, confirm) in branches {
            let once = UndoSchedule { quick: 1, slow: Schedule::QUICK, within: Millis::from_secs(60) };
            let terms = BranchTerms {
                compensation: operation("inventory", "release"),
                undo_retry: once,
                confirm: confirm.map(|confirm| operation("inventory", confirm)),
                retry: once,
                input: Arc::new(json!({ "order": "1001", "lines": [{ "sku": 7, "qty": 2 }] })),
            };
            run.take(Input::Branch { name: name(branch), terms: Box::new(terms) });
        }
        run
    }

    fn take(&mut self, input: Input) {
        let records = decide(&self.saga, input, Timestamp(self.now)).expect("the input is taken");
        self.keep(records);
    }

    fn keep(&mut self, records: Vec<Record>) {
        records.iter().for_each(|record| self.saga.apply(record.at, &record.event));
        self.records.extend(records);
    }

    /// Answers every call until none is due.
    fn answered(mut self, answers: Answers) -> Run {
        for _ in 0..100 {
            self.now += 1_000;
            let Some(call) = due(&self.saga).calls.into_iter().next() else { return self };
            let answer = answers(call.step.as_str(), call.key.op);
            self.take(Input::Answer { key: call.key, answer });
        }
        panic!("the saga does not come to rest: {:?}", self.saga);
    }

    /// Gives the parked step a verb.
    fn repaired(mut self, verb: Verb) -> Run {
        let item = self.saga.items().next().expect("an item").2.item;
        let audit = Audit { by: "ada".to_owned(), note: Some("seen".to_owned()), from: None };
        self.take(Input::Repair { item, verb, audit });
        self
    }

    fn reverted(mut self) -> Run {
        let records =
            revert(&self.saga, "changed".to_owned(), 2, "me", Timestamp(self.now)).expect("it turns");
        self.keep(records);
        self
    }

    /// The saga as the audit reads it, long at rest.
    fn record(&self, status: Status) -> SagaRecord {
        let record = SagaRecord::read(&SagaView::of(&self.saga), &JournalItem::all(&self.records));
        assert_eq!(record.status, status, "{:?}", self.saga.error);
        SagaRecord { created_at: OLD - 60_000, updated_at: OLD, ..record }
    }
}

fn operation(participant: &str, text: &str) -> Operation {
    Operation {
        participant: name(participant),
        name: name(text),
        timeout: Millis(5000),
        status: false,
        barrier: true,
        target: Target::Participant,
    }
}

/// What the inventory says of a step; of what was done, nothing.
fn of(step: &str, op_state: EffectState) -> Effect {
    Effect { step: step.to_owned(), effect: None, ..effect(op_state) }
}

/// What the inventory has done for a cart.
fn cart(step: &str, qty: i64) -> Effect {
    let done = json!({ "order": "1001", "lines": [{ "sku": 7, "qty": qty }] });
    Effect { effect: Some(done), ..of(step, EffectState::Applied) }
}

/// What was found, as `name step`.
#[track_caller]
fn found(saga: &SagaRecord, effects: Vec<Effect>, expected: &[(&str, &str)]) {
    let comparison = held_against(Some(saga.clone()), &audited(effects));
    names_of(&comparison);
    let found: Vec<(&str, &str)> = comparison
        .findings
        .iter()
        .map(|finding| (finding.name.as_str(), finding.step.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(found, expected, "{comparison:#?}");
}

use EffectState::{Applied, Barred, Undone};

const ITEMS: &str = "  - hold: { for_each: '${{ input.carts }}', action: inventory.hold, \
    compensation: inventory.release, with: '${{ item }}' }\n";

fn two_carts() -> Value {
    let cart = |qty: i64| json!({ "order": "1001", "lines": [{ "sku": 7, "qty": qty }] });
    json!({ "carts": [cart(1), cart(2)] })
}

#[test]
fn each_item_of_a_list_is_a_call_and_the_fanned_out_step_is_none() {
    let run = Run::steps(ITEMS, two_carts()).answered(done);
    let saga = run.record(Status::Completed);
    let names: Vec<&str> = saga.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["hold[0]", "hold[1]"]);
    found(&saga, vec![cart("hold[0]", 1), cart("hold[1]", 2)], &[]);
    found(&saga, vec![cart("hold[0]", 1)], &[(names::EFFECT_LOST, "hold[1]")]);
    found(&saga, vec![cart("hold[0]", 2), cart("hold[1]", 2)], &[(names::WRONG_QUANTITY, "hold[0]")]);
    let undone = vec![cart("hold[0]", 1), of("hold[1]", Undone)];
    found(&saga, undone, &[(names::UNDONE_THOUGH_COMPLETED, "hold[1]")]);
    for orphan in ["hold", "hold[2]"] {
        let effects = vec![cart("hold[0]", 1), cart("hold[1]", 2), of(orphan, Applied)];
        found(&saga, effects, &[(names::EFFECT_WITHOUT_A_SAGA, orphan)]);
    }
}

#[test]
fn items_of_a_list_are_undone_one_by_one() {
    let steps = format!("{ITEMS}  - pay: {{ action: order.pay, compensation: order.refund, with: {{}} }}\n");
    let refused = |step: &str, op| if step == "pay" { no() } else { done(step, op) };
    let saga = Run::steps(&steps, two_carts()).answered(refused).record(Status::Compensated);
    found(&saga, vec![of("hold[0]", Undone), of("hold[1]", Undone)], &[]);
    found(&saga, vec![of("hold[0]", Undone)], &[]);
    let left = vec![of("hold[0]", Applied), of("hold[1]", Undone)];
    found(&saga, left, &[(names::EFFECT_LEFT_BEHIND, "hold[0]")]);
    found(&saga, vec![of("hold", Applied)], &[(names::EFFECT_WITHOUT_A_SAGA, "hold")]);
}

#[test]
fn an_empty_list_leaves_nothing_and_a_thing_done_for_it_is_an_orphan() {
    let saga = Run::steps(ITEMS, json!({ "carts": [] })).answered(done).record(Status::Completed);
    found(&saga, vec![], &[]);
    found(&saga, vec![of("hold[0]", Applied)], &[(names::EFFECT_WITHOUT_A_SAGA, "hold[0]")]);
}

#[test]
fn a_step_that_was_not_needed_has_left_nothing() {
    for (steps, step) in [
        (
            "  - hold: { when: '${{ input.hold }}', action: inventory.hold, compensation: inventory.release, with: {} }\n",
            "hold",
        ),
        (
            "  - hold: { when: '${{ input.hold }}', for_each: [1, 2], action: inventory.hold, \
          compensation: inventory.release, with: {} }\n",
            "hold",
        ),
    ] {
        let saga = Run::steps(steps, json!({ "hold": false })).answered(done).record(Status::Completed);
        found(&saga, vec![], &[]);
        found(&saga, vec![of(step, Barred)], &[]);
        found(&saga, vec![of(step, Applied)], &[(names::EFFECT_LEFT_BEHIND, step)]);
    }
}

#[test]
fn a_child_saga_leaves_its_effects_under_its_own_id() {
    let steps = "  - ship: { saga: ship, with: {} }\n";
    let run = Run::steps(steps, json!({})).answered(done);
    let saga = run.record(Status::Completed);
    assert_eq!(saga.steps, []);
    found(&saga, vec![], &[]);
    found(&saga, vec![of("ship", Applied)], &[(names::EFFECT_WITHOUT_A_SAGA, "ship")]);
}

#[test]
fn a_reverted_saga_has_left_nothing() {
    let run = Run::steps(ITEMS, two_carts()).answered(done);
    found(&run.record(Status::Completed), vec![cart("hold[0]", 1), cart("hold[1]", 2)], &[]);
    let run = run.reverted();
    assert_eq!(run.saga.status(), Status::Compensating);
    let saga = run.answered(done).record(Status::Compensated);
    found(&saga, vec![of("hold[0]", Undone), of("hold[1]", Undone)], &[]);
    let left = vec![cart("hold[0]", 1), of("hold[1]", Undone)];
    found(&saga, left, &[(names::EFFECT_LEFT_BEHIND, "hold[0]")]);
}

const PIVOT: &str = "  - send: { action: courier.send, compensation: none, reason: gone, pivot: true, with: {} }\n  \
    - hold: { action: inventory.hold, compensation: none, reason: pivot, \
    with: { order: '1001', lines: [{ sku: 7, qty: 2 }] } }\n";

fn refused_hold(step: &str, op: Op) -> Answer {
    if step == "hold" { no() } else { done(step, op) }
}

#[test]
fn what_a_later_round_has_done_is_held_against_the_body_of_that_round() {
    let parked = || Run::steps(PIVOT, json!({})).answered(refused_hold);
    let again = parked().repaired(Verb::Retry { input: None }).answered(done).record(Status::Completed);
    found(&again, vec![cart("hold", 2)], &[]);
    found(&again, vec![], &[(names::EFFECT_LOST, "hold")]);
    found(&again, vec![of("hold", Barred)], &[(names::EFFECT_LOST, "hold")]);
    let less = Arc::new(json!({ "order": "1001", "lines": [{ "sku": 7, "qty": 1 }] }));
    let edited = parked().repaired(Verb::Retry { input: Some(less) }).answered(done);
    let edited = edited.record(Status::Completed);
    found(&edited, vec![cart("hold", 1)], &[]);
    found(&edited, vec![cart("hold", 2)], &[(names::WRONG_QUANTITY, "hold")]);
}

#[test]
fn what_was_settled_forward_by_hand_is_a_debt() {
    let parked = || Run::steps(PIVOT, json!({})).answered(refused_hold);
    let by_hand = parked().repaired(Verb::Resolve { output: None }).answered(done);
    let by_hand = by_hand.record(Status::Completed);
    found(&by_hand, vec![], &[]);
    let comparison = held_against(Some(by_hand), &audited(vec![of("hold", Barred)]));
    assert_eq!((comparison.findings.len(), comparison.debts.len()), (0, 1));
    let skipped = parked().repaired(Verb::Skip).answered(done).record(Status::Completed);
    found(&skipped, vec![of("hold", Barred)], &[]);
}

#[test]
fn a_committed_branch_with_a_confirm_has_left_what_was_confirmed() {
    let mut run = Run::open(&[("seats", Some("confirm")), ("mail", None)]);
    run.take(Input::Commit);
    let saga = run.answered(done).record(Status::Completed);
    assert_eq!(saga.steps.len(), 2);
    found(&saga, vec![cart("seats", 2), of("mail", Applied)], &[]);
    found(&saga, vec![cart("seats", 2)], &[]);
    found(&saga, vec![of("mail", Applied)], &[(names::EFFECT_LOST, "seats")]);
    found(&saga, vec![cart("seats", 3)], &[(names::WRONG_QUANTITY, "seats")]);
    let undone = vec![of("seats", Undone), of("mail", Undone)];
    let expected = [(names::UNDONE_THOUGH_COMPLETED, "seats"), (names::UNDONE_THOUGH_COMPLETED, "mail")];
    found(&saga, undone, &expected);
    found(&saga, vec![cart("seats", 2), of("mail", Barred)], &[]);
    let orphan = vec![cart("seats", 2), of("hotel", Applied)];
    found(&saga, orphan, &[(names::EFFECT_WITHOUT_A_SAGA, "hotel")]);
    let twice = Audited { doubled: vec![(id(1), "seats".to_owned())], ..audited(vec![cart("seats", 2)]) };
    let comparison = held_against(Some(saga), &twice);
    assert_eq!(names_of(&comparison), [names::DOUBLED_EFFECT]);
}

#[test]
fn a_branch_that_was_rolled_back_has_left_nothing() {
    let mut run = Run::open(&[("seats", Some("confirm")), ("mail", None)]);
    run.take(Input::Cancel { reason: "no seat".to_owned() });
    let saga = run.answered(done).record(Status::Compensated);
    found(&saga, vec![of("seats", Undone), of("mail", Barred)], &[]);
    found(&saga, vec![], &[]);
    let left = vec![cart("seats", 2), of("mail", Undone)];
    found(&saga, left, &[(names::EFFECT_LEFT_BEHIND, "seats")]);
    found(&saga, vec![of("mail", Applied)], &[(names::EFFECT_LEFT_BEHIND, "mail")]);
    found(&saga, vec![of("hotel", Applied)], &[(names::EFFECT_WITHOUT_A_SAGA, "hotel")]);
}

#[test]
fn an_open_saga_that_is_not_decided_proves_nothing() {
    let run = Run::open(&[("seats", Some("confirm"))]);
    let saga = run.record(Status::Running);
    found(&saga, vec![cart("seats", 9), of("hotel", Applied)], &[]);
}

#[test]
fn a_confirm_elsewhere_leaves_its_trace_elsewhere() {
    let mut run = Run::open(&[]);
    let once = UndoSchedule { quick: 1, slow: Schedule::QUICK, within: Millis::from_secs(60) };
    let terms = BranchTerms {
        compensation: operation("seats", "free"),
        undo_retry: once,
        confirm: Some(operation("inventory", "sell")),
        retry: once,
        input: Arc::new(json!({ "order": "1001" })),
    };
    run.take(Input::Branch { name: name("seat"), terms: Box::new(terms) });
    run.take(Input::Commit);
    let saga = run.answered(done).record(Status::Completed);
    found(&saga, vec![of("seat", Applied)], &[]);
    found(&saga, vec![], &[(names::EFFECT_LOST, "seat")]);
    let at_the_other = |effects| {
        let mut sagas = Sagas::default();
        sagas.add(saga.clone());
        compare("seats", &audited(effects), &sagas, &terms_of_none()).findings.len()
    };
    assert_eq!((at_the_other(vec![]), at_the_other(vec![of("seat", Undone)])), (0, 1));
}

fn terms_of_none() -> Terms {
    Terms { traceless: Default::default(), ..terms() }
}
