//! Many sagas as one value: admission, batches, adoption, timers.

use super::*;
use crate::Status;
use crate::{Answer, Definition, Json, Millis, Name, Op, Report, due::Question, sketch, state::Direction};
use std::sync::Arc;

const FINGERPRINT: Fingerprint = [7; 32];

fn id(n: u128) -> SagaId {
    SagaId::from_u128(n)
}

fn two_steps() -> Arc<Definition> {
    sketch::definition("two\na: p.a / p.ua first=1s\nb: p.b / p.ub")
}

fn start(n: u128, key: Option<&str>) -> Start {
    let (definition, input) = (two_steps(), Json::default());
    Start { key: key.map(str::to_owned), ..Start::new(id(n), definition, input) }
}

fn coordinator() -> Coordinator {
    Coordinator::new(Limits::default())
}

/// Writes what there is to write and returns the effects.
fn write(it: &mut Coordinator, now: i64) -> Vec<Effect> {
    let batch = it.take_batch().expect("there is something to write");
    it.written(&vec![Written::Done; batch.len()], Timestamp(now))
}

fn sent(effects: &[Effect]) -> Vec<String> {
    let line = |effect: &Effect| match effect {
        Effect::Send { call, epoch, .. } => {
            Some(format!("{} {} #{} e{epoch}", call.step, call.key.op.as_str(), call.key.attempt))
        }
        _ => None,
    };
    effects.iter().filter_map(line).collect()
}

/// The call of a step that is in flight.
fn flying(it: &Coordinator, saga: SagaId, step: u16, op: Op) -> CallKey {
    it.in_flight(saga).find(|key| (key.step.0, key.op) == (step, op)).expect("such a call is in flight")
}

fn done(it: &mut Coordinator, saga: SagaId, step: u16, op: Op, now: i64) {
    let key = flying(it, saga, step, op);
    let answer = Answer::Done(Json::default());
    it.input(saga, Input::Answer { key, answer }, Timestamp(now)).expect("the answer is taken");
}

#[test]
fn nothing_is_sent_before_its_cause_is_durable() {
    let mut it = coordinator();
    assert_eq!(it.start(start(1, None), FINGERPRINT, Timestamp(0)), Admission::New);
    assert_eq!(it.in_flight(id(1)).count(), 0);
    assert!(!it.is_durable(id(1)));
    assert_eq!(it.tick(Timestamp(1_000_000)), [], "time alone sends nothing that is not durable");
    let batch = it.take_batch().expect("a start is written");
    assert_eq!(it.take_batch(), None, "one batch at a time");
    assert_eq!((batch[0].after_seq, batch[0].epoch, batch[0].records.len()), (0, 1, 2));
    let effects = it.written(&[Written::Done], Timestamp(1));
    assert_eq!(effects[0], Effect::Accepted(id(1)));
    assert_eq!(sent(&effects), ["a action #1 e1"]);
}

#[test]
fn what_is_decided_while_a_batch_is_written_waits_for_the_next_one() {
    let mut it = coordinator();
    it.start(start(1, None), FINGERPRINT, Timestamp(0));
    write(&mut it, 1);
    done(&mut it, id(1), 0, Op::Action, 2);
    let first = it.take_batch().expect("the answer is written");
    it.input(id(1), Input::Cancel { reason: "no".into() }, Timestamp(3)).expect("it is cancelled");
    let effects = it.written(&[Written::Done], Timestamp(4));
    assert_eq!(sent(&effects), [""; 0], "step b began in the first batch, but a cancel follows it");
    let second = it.take_batch().expect("the cancel is written");
    assert_eq!(second[0].after_seq, first[0].after_seq + first[0].records.len() as u64);
    let effects = it.written(&[Written::Done], Timestamp(5));
    assert_eq!(sent(&effects), ["b compensation #1 e1"], "step b may have begun elsewhere, so it is undone");
}

#[test]
fn a_key_belongs_to_one_start() {
    let mut it = coordinator();
    let other: Fingerprint = [8; 32];
    let now = Timestamp(0);
    assert_eq!(it.start(start(1, Some("k")), FINGERPRINT, now), Admission::New);
    let repeat = Admission::Repeat { id: id(1), durable: false };
    assert_eq!(it.start(start(2, Some("k")), FINGERPRINT, now), repeat);
    assert_eq!(it.start(start(3, Some("k")), other, now), Admission::Full, "not durable: ask again");
    write(&mut it, 1);
    let repeat = Admission::Repeat { id: id(1), durable: true };
    assert_eq!(it.start(start(2, Some("k")), FINGERPRINT, now), repeat);
    assert_eq!(it.start(start(3, Some("k")), other, now), Admission::KeyReused { id: id(1) });
    assert_eq!(it.start(start(4, Some("l")), other, now), Admission::New);
    assert_eq!(it.by_key("k"), Some(id(1)));
}

#[test]
fn a_start_whose_key_is_taken_elsewhere_is_not_kept() {
    for (theirs, same) in [(FINGERPRINT, true), ([8; 32], false)] {
        let mut it = coordinator();
        it.start(start(1, Some("k")), FINGERPRINT, Timestamp(0));
        it.take_batch().expect("a start is written");
        let taken = Written::KeyTaken { by: id(9), fingerprint: theirs };
        let effects = it.written(&[taken], Timestamp(1));
        assert_eq!(effects, [Effect::KeyTaken { id: id(1), by: id(9), same }]);
        assert!(it.is_empty() && it.by_key("k").is_none() && it.next_wake().is_none());
    }
}

#[test]
fn a_fenced_saga_is_let_go_with_whatever_was_decided_since() {
    let mut it = coordinator();
    it.start(start(1, Some("k")), FINGERPRINT, Timestamp(0));
    write(&mut it, 1);
    done(&mut it, id(1), 0, Op::Action, 2);
    it.take_batch().expect("the answer is written");
    it.input(id(1), Input::Cancel { reason: "no".into() }, Timestamp(3)).expect("it is cancelled");
    assert_eq!(it.written(&[Written::Fenced], Timestamp(4)), [Effect::Lost(id(1))]);
    assert!(it.is_empty() && it.take_batch().is_none() && it.by_key("k").is_none());
    let late = it.input(id(1), Input::Tick, Timestamp(5));
    assert_eq!(late, Err(NotTaken::NotHeld));
}

#[test]
fn a_failed_write_makes_every_saga_in_doubt_unknown() {
    let mut it = Coordinator::new(Limits { batch_max: 1, ..Limits::default() });
    it.start(start(1, None), FINGERPRINT, Timestamp(0));
    it.start(start(2, None), FINGERPRINT, Timestamp(0));
    write(&mut it, 1);
    write(&mut it, 1);
    it.start(start(3, Some("k")), FINGERPRINT, Timestamp(2));
    done(&mut it, id(1), 0, Op::Action, 2);
    it.take_batch().expect("one saga's batch");
    assert_eq!(it.write_failed(), [id(1), id(3)], "the one being written and the one not written yet");
    assert_eq!(it.sagas().map(|saga| saga.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(it.take_batch(), None);
    assert_eq!(it.by_key("k"), None);
}

#[test]
fn a_saga_that_is_taken_over_is_sent_again_in_the_new_epoch() {
    let mut it = coordinator();
    it.start(start(1, Some("k")), FINGERPRINT, Timestamp(0));
    write(&mut it, 1);
    let durable = it.get(id(1)).expect("it is held").clone();
    let mut other = coordinator();
    other.adopt(durable.clone(), FINGERPRINT, 2, "other", Timestamp(10));
    assert_eq!(sent(&other.tick(Timestamp(10))), [""; 0]);
    assert_eq!(sent(&write(&mut other, 11)), ["a action #2 e2"]);
    assert_eq!(other.by_key("k"), Some(id(1)));
    other.adopt(durable, FINGERPRINT, 2, "other", Timestamp(12));
    assert_eq!(other.take_batch(), None, "the same claim again changes nothing");
}

#[test]
fn a_newer_claim_replaces_what_is_held_even_while_that_is_written() {
    for writing in [false, true] {
        let mut it = coordinator();
        it.start(start(1, None), FINGERPRINT, Timestamp(0));
        write(&mut it, 1);
        // Another owner undid part of it and is gone; meanwhile this one still believes in going forward.
        let mut elsewhere = it.get(id(1)).expect("it is held").clone();
        for input in
            [Input::TakeOver { epoch: 2, owner: "other".into() }, Input::Cancel { reason: "no".into() }]
        {
            let records = crate::decide::decide(&elsewhere, input, Timestamp(2)).expect("it is taken");
            records.iter().for_each(|record| elsewhere.apply(record.at, &record.event));
        }
        done(&mut it, id(1), 0, Op::Action, 3);
        if writing {
            it.take_batch().expect("the answer is being written");
        }
        it.adopt(elsewhere, FINGERPRINT, 3, "this", Timestamp(4));
        if writing {
            assert_eq!(
                it.written(&[Written::Fenced], Timestamp(5)),
                [],
                "the old write says nothing of the new"
            );
        }
        assert_eq!(it.get(id(1)).map(|saga| (saga.epoch, saga.direction)), Some((3, Direction::Backward)));
        assert_eq!(sent(&write(&mut it, 6)), ["a compensation #2 e3"]);
    }
}

#[test]
fn an_acknowledgement_is_not_lost_when_the_saga_is_adopted_anew() {
    let mut it = coordinator();
    it.start(start(1, None), FINGERPRINT, Timestamp(0));
    it.take_batch().expect("the start is being written");
    let saga = it.get(id(1)).expect("it is held").clone();
    it.adopt(saga, FINGERPRINT, 2, "this", Timestamp(1));
    assert_eq!(it.written(&[Written::Done], Timestamp(2)), [Effect::Accepted(id(1))]);
    assert!(it.get(id(1)).is_some());
}

#[test]
fn a_retry_is_sent_when_its_time_has_come_and_once() {
    let mut it = coordinator();
    it.start(start(1, None), FINGERPRINT, Timestamp(0));
    write(&mut it, 0);
    let key = flying(&it, id(1), 0, Op::Action);
    let answer = Answer::Unknown { report: Report::new(Some(503), "no", 1), retry_after: None };
    it.input(id(1), Input::Answer { key, answer }, Timestamp(0)).expect("it is taken");
    assert_eq!(sent(&write(&mut it, 0)), [""; 0]);
    let at = it.next_wake().expect("a timer is set");
    assert!((500..=1000).contains(&at.0), "the wait is about a second, not {}", at.0);
    assert_eq!(sent(&it.tick(Timestamp(at.0 - 1))), [""; 0]);
    assert_eq!(sent(&it.tick(at)), ["a action #2 e1"]);
    assert_eq!(sent(&it.tick(at.after(Millis(60_000)))), [""; 0], "it is in flight already");
    assert_eq!(it.next_wake(), None);
}

#[test]
fn a_batch_is_no_larger_than_the_limit() {
    let mut it = Coordinator::new(Limits { sagas_max: 5, batch_max: 2, gates: None, ..Limits::default() });
    for n in 1..=5 {
        assert_eq!(it.start(start(n, None), FINGERPRINT, Timestamp(0)), Admission::New);
    }
    assert_eq!(it.start(start(6, None), FINGERPRINT, Timestamp(0)), Admission::Full);
    let mut sizes = Vec::new();
    while let Some(batch) = it.take_batch() {
        sizes.push(batch.len());
        it.written(&vec![Written::Done; batch.len()], Timestamp(1));
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn a_saga_that_ends_leaves_with_its_last_write() {
    let mut it = coordinator();
    it.start(start(1, Some("k")), FINGERPRINT, Timestamp(0));
    write(&mut it, 0);
    done(&mut it, id(1), 0, Op::Action, 1);
    write(&mut it, 1);
    done(&mut it, id(1), 1, Op::Action, 2);
    assert_eq!(it.get(id(1)).map(Saga::status), Some(Status::Completed));
    assert!(!it.is_durable(id(1)), "its end may not be shown yet");
    let effects = write(&mut it, 3);
    let Some(Effect::Ended(ended)) = effects.last() else { panic!("it has ended, not {effects:?}") };
    assert_eq!(ended.0.status(), Status::Completed);
    assert!(it.is_empty() && it.by_key("k").is_none() && it.next_wake().is_none());
}

#[test]
fn a_head_says_where_a_saga_stands_and_for_whom_it_waits() {
    let check = |saga: &Saga, status: Status, steps: &[&str], participants: &[&str]| {
        let head = Head::of(saga, FINGERPRINT);
        assert_eq!(head.status, status);
        assert_eq!(head.at_steps, steps);
        assert_eq!(head.at_participants, participants);
        assert_eq!(head.wake_at.is_none(), head.ended_at.is_some());
    };
    let definition = sketch::definition(
        "x\na: shop.a / shop.ua after=-\nb: bank.b / bank.ub after=-\nw: await paid after=a\nc: mail.c none after=b,w",
    );
    let mut it = coordinator();
    let first = Start { definition, ..start(1, None) };
    it.start(first, FINGERPRINT, Timestamp(0));
    write(&mut it, 0);
    check(it.get(id(1)).expect("held"), Status::Running, &["a", "b"], &["bank", "shop"]);
    done(&mut it, id(1), 0, Op::Action, 1);
    check(it.get(id(1)).expect("held"), Status::Running, &["b", "w"], &["bank"]);
    write(&mut it, 1);
    it.input(id(1), Input::Cancel { reason: "no".into() }, Timestamp(2)).expect("cancelled");
    check(it.get(id(1)).expect("held"), Status::Compensating, &["a", "b"], &["bank", "shop"]);
    write(&mut it, 2);
    let key = flying(&it, id(1), 0, Op::Compensation);
    let answer = Answer::Refused(Report::new(Some(409), "no", 1));
    it.input(id(1), Input::Answer { key, answer }, Timestamp(3)).expect("taken");
    check(it.get(id(1)).expect("held"), Status::Repair, &["a", "b"], &["bank", "shop"]);
    assert_eq!(key.question, Question::Call);
    let name = Name::parse("paid").expect("a name");
    let signal = Input::Signal { name, id: None, payload: Json::default() };
    let late = it.input(id(1), signal, Timestamp(4));
    assert!(matches!(late, Err(NotTaken::Rejected(Rejected::SignalConflict(_)))));
}
