//! Calls that wait at a gate, as the sagas see it.

use crate::{
    Answer, CallKey, Coordinator, Input, Json, Millis, Report, SagaId, Start, Timestamp,
    coordinator::{Admission, Effect, Limits, Written},
    gate::{BreakerState, GateLimits},
    sketch,
};
use std::collections::BTreeMap;

fn coordinator(gates: GateLimits) -> Coordinator {
    Coordinator::new(Limits { gates: Some(gates), ..Limits::default() })
}

fn start(it: &mut Coordinator, n: u128, ms: i64) -> Admission {
    let definition = sketch::definition("one\na: p.a / p.ua first=1s");
    let id = SagaId::from_u128(n);
    let start = Start::new(id, definition, Json::default());
    it.start(start, [0; 32], Timestamp(ms))
}

/// Writes whatever there is to write, lets time pass, and says what was sent.
fn sent(it: &mut Coordinator, ms: i64) -> Vec<(SagaId, CallKey)> {
    let mut effects = it.tick(Timestamp(ms));
    while let Some(batch) = it.take_batch() {
        effects.extend(it.written(&vec![Written::Done; batch.len()], Timestamp(ms)));
        effects.extend(it.tick(Timestamp(ms)));
    }
    let sent = |effect| match effect {
        Effect::Send { saga, call, .. } => Some((saga, call.key)),
        _ => None,
    };
    effects.into_iter().filter_map(sent).collect()
}

fn fail(it: &mut Coordinator, call: (SagaId, CallKey), ms: i64) {
    let unknown = Answer::Unknown { report: Report::new(Some(503), "no", 1), retry_after: None };
    answer(it, call, unknown, ms);
}

fn done(it: &mut Coordinator, call: (SagaId, CallKey), ms: i64) {
    answer(it, call, Answer::Done(Json::default()), ms);
}

fn answer(it: &mut Coordinator, (id, key): (SagaId, CallKey), answer: Answer, ms: i64) {
    it.input(id, Input::Answer { key, answer }, Timestamp(ms)).expect("it is taken");
}

/// A coordinator whose only participant's breaker has just opened.
fn shut() -> Coordinator {
    let mut it = coordinator(GateLimits { waiting_max: 3, ..GateLimits::default() });
    for n in 1..=5 {
        assert_eq!(start(&mut it, n, 0), Admission::New);
        let calls = sent(&mut it, 0);
        assert_eq!(calls.len(), 1);
        fail(&mut it, calls[0], 0);
    }
    assert_eq!(it.gates(Timestamp(0))[0].breaker, BreakerState::Open);
    it
}

/// Whether a call that waits for a breaker is as it was: begun once, and failed never.
fn deferred_not_spent() -> Result<(), String> {
    let mut it = shut();
    start(&mut it, 6, 1);
    for ms in [1, 1_000, 4_999] {
        if !sent(&mut it, ms).is_empty() {
            return Err(format!("something was sent at {ms} ms"));
        }
    }
    let action =
        &it.get(SagaId::from_u128(6)).ok_or("the saga is not held")?.steps().next().expect("a step").1.action;
    let (attempts, failures) = (action.attempts, action.failures.len());
    if (attempts, failures) == (1, 0) {
        Ok(())
    } else {
        Err(format!("attempt {attempts}, {failures} failures"))
    }
}

#[test]
fn a_call_deferred_by_an_open_breaker_is_not_spent() {
    assert_eq!(deferred_not_spent(), Ok(()));
}

#[test]
fn retries_to_an_open_breaker_wait_and_a_full_queue_refuses_starts() {
    let mut it = shut();
    assert_eq!(start(&mut it, 6, 0), Admission::New);
    assert_eq!(sent(&mut it, 1_500), [], "the retries of five sagas are due and wait");
    let view = it.gates(Timestamp(1_500)).remove(0);
    assert_eq!((view.waiting, view.in_flight), (6, 0));
    let Admission::Busy { participant } = start(&mut it, 7, 1_500) else { panic!("it is admitted") };
    assert_eq!(participant.as_str(), "p");
}

#[test]
fn whatever_waited_is_sent_once_when_the_participant_is_back() {
    let mut it = shut();
    start(&mut it, 6, 0);
    let mut times: BTreeMap<(SagaId, CallKey), u32> = BTreeMap::new();
    for ms in (0..60_000).step_by(10) {
        for call in sent(&mut it, ms) {
            *times.entry(call).or_default() += 1;
            done(&mut it, call, ms);
        }
    }
    assert_eq!((times.len(), times.values().max()), (6, Some(&1)));
    assert!(it.is_empty(), "every saga has ended");
    assert_eq!(it.next_wake(), None);
}

#[test]
fn a_call_that_never_left_is_taken_out_of_the_queue_and_not_undone() {
    let mut it = shut();
    start(&mut it, 6, 1);
    sent(&mut it, 1);
    it.input(SagaId::from_u128(6), Input::Cancel { reason: "no".into() }, Timestamp(2)).expect("it is taken");
    sent(&mut it, 2);
    assert!(it.get(SagaId::from_u128(6)).is_none(), "there was nothing to undo, so it has ended");
    let calls = sent(&mut it, 5_000);
    assert_eq!(calls.len(), 1, "one probe");
    assert!(calls.iter().all(|(id, _)| *id != SagaId::from_u128(6)), "nothing of it is sent any more");
}

/// Whether a call is undone whose next attempt waits at the gate when the saga turns round.
fn undone_after_an_attempt() -> Result<(), String> {
    let mut it = shut();
    let id = SagaId::from_u128(1);
    // Its second attempt is due by now, and waits.
    sent(&mut it, 4_000);
    it.input(id, Input::Cancel { reason: "no".into() }, Timestamp(4_001)).expect("it is taken");
    sent(&mut it, 4_001);
    let saga = it.get(id).ok_or("it has ended although its first attempt may have taken effect")?;
    let direction = saga.direction;
    let phase = saga.steps().next().expect("a step").1.phase;
    match (direction, phase) {
        (crate::Direction::Backward, crate::StepPhase::Compensating) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_call_whose_next_attempt_waits_is_undone_since_the_one_before_may_have_taken_effect() {
    assert_eq!(undone_after_an_attempt(), Ok(()));
}

/// Whether a call is undone that its participant had, did not know when it was asked, and which waits to go again.
fn undone_after_it_was_had() -> Result<(), String> {
    let mut it = coordinator(GateLimits { in_flight_max: 1, ..GateLimits::default() });
    let id = SagaId::from_u128(1);
    start(&mut it, 1, 0);
    let calls = sent(&mut it, 0);
    answer(&mut it, calls[0], Answer::Pending { retry_after: None, repair: false }, 0);
    let questions = (1..).map(|second| sent(&mut it, second * 1_000)).find(|calls| !calls.is_empty());
    let question = questions.expect("it is asked about")[0];
    let ms = it.get(id).expect("it runs").updated_at.0 + 60_000;
    // Somebody else has the only place by the time it is to go again.
    start(&mut it, 2, ms);
    answer(&mut it, question, Answer::NotSeen, ms);
    sent(&mut it, ms);
    it.input(id, Input::Cancel { reason: "no".into() }, Timestamp(ms + 1)).expect("it is taken");
    sent(&mut it, ms + 1);
    let saga = it.get(id).ok_or("it has ended although its participant had the call")?;
    let phase = saga.steps().next().expect("a step").1.phase;
    if phase == crate::StepPhase::Compensating { Ok(()) } else { Err(format!("{phase:?}")) }
}

#[test]
fn a_call_that_its_participant_had_is_undone_although_it_waits_to_go_again() {
    assert_eq!(undone_after_it_was_had(), Ok(()));
}

#[test]
fn an_action_that_nothing_bounds_is_given_up_in_the_end() {
    let mut it = coordinator(GateLimits { defer_max: Millis(2_000), ..GateLimits::default() });
    for n in 1..=5 {
        start(&mut it, n, 0);
        let calls = sent(&mut it, 0);
        fail(&mut it, calls[0], 0);
    }
    start(&mut it, 6, 1);
    sent(&mut it, 1);
    assert!(it.get(SagaId::from_u128(6)).is_some(), "it waits");
    sent(&mut it, 2_001);
    assert!(
        it.get(SagaId::from_u128(6)).is_none(),
        "nothing of it was sent, so it ends with nothing to undo"
    );
}

#[test]
fn a_late_answer_for_a_saga_no_longer_held_frees_its_place() {
    let mut it = coordinator(GateLimits { in_flight_max: 1, ..GateLimits::default() });
    start(&mut it, 1, 0);
    let calls = sent(&mut it, 0);
    it.input(calls[0].0, Input::Cancel { reason: "no".into() }, Timestamp(1)).expect("it is taken");
    assert!(it.take_batch().is_some());
    it.written(&[Written::Fenced], Timestamp(1));
    assert_eq!(it.gates(Timestamp(2))[0].in_flight, 1, "it is on the wire");
    let answer = Answer::Done(Json::default());
    it.input(calls[0].0, Input::Answer { key: calls[0].1, answer }, Timestamp(2))
        .expect_err("it is not held");
    assert_eq!(it.gates(Timestamp(2))[0].in_flight, 0);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_bug_planted_in_what_waits_is_found() {
    use crate::planted::{Bug, plant};

    let promises = [
        (Bug::BreakerSpendsAttempts, deferred_not_spent as fn() -> Result<(), String>),
        (Bug::WaitingTrusted, undone_after_an_attempt),
        (Bug::LeftForgotten, undone_after_it_was_had),
    ];
    for (bug, promise) in promises {
        plant(Some(bug));
        let found = promise();
        plant(None);
        assert!(found.is_err(), "{bug:?} is not found");
    }
}
