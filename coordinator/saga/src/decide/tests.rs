//! What follows from an input, law by law.

use super::*;
use crate::{
    due::{Question, due},
    sketch,
    state::{OpState, ParkReason, Status},
};

/// A saga with the time, driven by the names of its steps.
struct Play {
    saga: Saga,
    now: Timestamp,
}

impl Play {
    fn new(text: &str) -> Play {
        let first = Start {
            id: SagaId::from_u128(5),
            definition: sketch::definition(text),
            input: Json::default(),
            key: None,
            labels: BTreeMap::new(),
            parent: None,
            timeout: None,
            barred: false,
        };
        Play { saga: start(first, Timestamp(0)).0, now: Timestamp(0) }
    }

    fn input(&mut self, input: Input) -> Result<Vec<Event>, Rejected> {
        let records = decide(&self.saga, input, self.now)?;
        records.iter().for_each(|record| self.saga.apply(record.at, &record.event));
        Ok(records.into_iter().map(|record| record.event).collect())
    }

    /// Answers the call in flight of a step, whenever it is due.
    fn answer(&mut self, step: &str, op: Op, answer: Answer) -> Vec<Event> {
        let ix = self.saga.definition.find(step).expect("a step");
        let calls = due(&self.saga).calls;
        let call = calls.iter().find(|call| (call.key.step, call.key.op) == (ix, op));
        let call = call.unwrap_or_else(|| panic!("step {step} has no {} in flight", op.as_str()));
        self.now = self.now.max(call.at);
        self.input(Input::Answer { key: call.key, answer }).expect("an answer is never rejected")
    }

    fn act(&mut self, step: &str, answer: Answer) -> Vec<Event> {
        self.answer(step, Op::Action, answer)
    }

    fn undo(&mut self, step: &str, answer: Answer) -> Vec<Event> {
        self.answer(step, Op::Compensation, answer)
    }

    fn cancel(&mut self) -> Vec<Event> {
        self.input(Input::Cancel { reason: "no".to_owned() }).expect("it can be cancelled")
    }

    fn wait_until(&mut self, ms: i64) -> Vec<Event> {
        self.now = Timestamp(ms);
        self.input(Input::Tick).expect("a tick is never rejected")
    }

    fn phase(&self, step: &str) -> StepPhase {
        self.saga.step(self.saga.definition.find(step).expect("a step")).phase
    }

    fn compensation(&self, step: &str) -> &OpState {
        &self.saga.step(self.saga.definition.find(step).expect("a step")).compensation
    }

    fn wants(&self) -> Vec<String> {
        let line = |call: &due::Call| {
            let asks = if call.key.question == Question::Status { " status" } else { "" };
            format!("{} {} #{}{asks}", call.step, call.key.op.as_str(), call.key.attempt)
        };
        due(&self.saga).calls.iter().map(line).collect()
    }
}

fn done() -> Answer {
    Answer::Done(Json::default())
}

fn unknown() -> Answer {
    Answer::Unknown { report: report(503), retry_after: None }
}

fn report(status: u16) -> Report {
    Report::new(Some(status), "no", 1)
}

fn refused() -> Answer {
    Answer::Refused(report(409))
}

fn contract() -> Answer {
    Answer::Contract(report(422))
}

#[test]
fn an_action_is_tried_five_times_and_its_step_is_undone_too() {
    let mut play = Play::new("x\na: p.a / p.ua");
    for attempt in 1..=4 {
        let events = play.act("a", unknown());
        assert!(matches!(events[..], [Event::CallFailed { attempt: a, .. }] if a == attempt), "{events:?}");
    }
    let events = play.act("a", unknown());
    assert!(
        matches!(events[..], [Event::CallExhausted { attempt: 5, timeout: false, .. }, _, _]),
        "{events:?}"
    );
    assert_eq!(play.saga.error.as_ref().map(|e| e.kind), Some(CauseKind::Unknown));
    assert_eq!(play.wants(), ["a compensation #1"]);
}

#[test]
fn a_compensation_is_tried_fifteen_times_and_parked_as_exhausted() {
    let mut play = Play::new("x\na: p.a / p.ua\nb: p.b / p.ub");
    play.act("a", done());
    play.act("b", refused());
    let mut waits = Vec::new();
    for _ in 0..14 {
        let before = play.now;
        play.undo("a", unknown());
        waits.push(due(&play.saga).calls[0].at.since(before.max(play.now)).0);
    }
    assert!(
        waits[..2].iter().all(|ms| *ms <= 200) && waits[2] >= 500,
        "two quick waits, then slow ones: {waits:?}"
    );
    assert!(waits.iter().all(|ms| *ms <= 300_000));
    assert_eq!(play.saga.status(), Status::Compensating);
    play.undo("a", unknown());
    assert_eq!((play.saga.status(), play.phase("a")), (Status::Repair, StepPhase::Parked));
    let call = play.compensation("a");
    assert_eq!((call.attempts, call.parked(), call.failures.len()), (15, Some(ParkReason::Exhausted), 15));
    assert_eq!(play.wants(), [""; 0]);
}

#[test]
fn a_compensation_that_is_refused_or_wrong_is_parked_at_once() {
    for (answer, reason) in [(refused(), ParkReason::Refused), (contract(), ParkReason::Contract)] {
        let mut play = Play::new("x\na: p.a / p.ua");
        play.cancel();
        play.undo("a", answer);
        assert_eq!((play.phase("a"), play.compensation("a").parked()), (StepPhase::Parked, Some(reason)));
    }
}

#[test]
fn a_compensation_that_is_too_old_is_parked_whatever_attempts_are_left() {
    let mut play = Play::new("x\na: p.a / p.ua undo_within=10s");
    play.cancel();
    for _ in 0..6 {
        play.undo("a", unknown());
    }
    assert_eq!(play.phase("a"), StepPhase::Parked, "after {} attempts", play.compensation("a").attempts);
    let mut play = Play::new("x\na: p.a / p.ua undo_within=10s");
    play.cancel();
    play.undo("a", Answer::Pending { retry_after: Some(Millis(60_000)), repair: false });
    assert_eq!(due(&play.saga).wake_at, Some(Timestamp(10_000)));
    play.wait_until(10_000);
    assert_eq!(
        play.compensation("a").parked(),
        Some(ParkReason::Exhausted),
        "pending for ever is not for ever"
    );
}

#[test]
fn retry_after_puts_the_next_attempt_off_but_never_brings_it_forward() {
    for (given, at_least) in [(0, 50), (7000, 7000)] {
        let mut play = Play::new("x\na: p.a / p.ua");
        play.act("a", Answer::Unknown { report: report(429), retry_after: Some(Millis(given)) });
        assert!(due(&play.saga).calls[0].at >= Timestamp(at_least));
    }
    let mut play = Play::new("x\na: p.a / p.ua within=5s");
    let events = play.act("a", Answer::Unknown { report: report(429), retry_after: Some(Millis(7000)) });
    assert!(
        matches!(events[0], Event::CallExhausted { timeout: true, .. }),
        "beyond the step's time it is useless"
    );
}

#[test]
fn a_question_comes_first_after_an_unknown_attempt_where_one_can_be_asked() {
    let mut play = Play::new("x\na: p.a / p.ua status");
    assert_eq!(play.wants(), ["a action #1"]);
    play.act("a", unknown());
    assert_eq!(play.wants(), ["a action #2 status"]);
    play.act("a", Answer::NotSeen);
    assert_eq!(play.wants(), ["a action #2"]);
    play.act("a", unknown());
    play.act("a", unknown());
    assert_eq!(play.wants(), ["a action #4 status"]);
    play.act("a", done());
    assert_eq!(play.saga.status(), Status::Completed);
}

#[test]
fn a_pending_call_is_polled_and_a_repeat_serves_where_no_status_is_offered() {
    let check = |sketch: &str, question: &str| {
        let mut play = Play::new(sketch);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let before = play.now;
            play.act("a", Answer::Pending { retry_after: None, repair: false });
            waits.push(due(&play.saga).calls[0].at.since(play.now.max(before)).0);
        }
        assert!((250..=500).contains(&waits[0]) && waits.iter().all(|ms| *ms <= 10_000), "{waits:?}");
        assert!(waits[7] >= 5000, "the polls become rarer: {waits:?}");
        assert_eq!(play.wants(), [question], "polling is no new attempt");
        play.act("a", done());
        assert_eq!(play.saga.status(), Status::Completed);
    };
    check("x\na: p.a / p.ua status", "a action #1 status");
    check("x\na: p.a / p.ua", "a action #1");
}

#[test]
fn a_participant_cannot_make_the_coordinator_poll_without_pause() {
    let mut play = Play::new("x\na: p.a / p.ua status");
    play.act("a", Answer::Pending { retry_after: Some(Millis(0)), repair: false });
    assert_eq!(due(&play.saga).calls[0].at, Timestamp(100));
}

#[test]
fn a_question_at_fault_leaves_a_pending_action_in_doubt() {
    let mut play = Play::new("x\na: p.a / p.ua status");
    play.act("a", Answer::Pending { retry_after: None, repair: false });
    play.act("a", contract());
    assert_eq!(play.wants(), ["a compensation #1"], "the call itself had been accepted");
    let mut play = Play::new("x\na: p.a / p.ua status");
    play.act("a", Answer::Pending { retry_after: None, repair: false });
    play.act("a", refused());
    assert_eq!(play.saga.status(), Status::Compensated, "a refusal of pending work is definite");
}

#[test]
fn a_take_over_puts_what_is_in_flight_in_doubt() {
    let take_over = || Input::TakeOver { epoch: 2, owner: "other".to_owned() };
    let mut play = Play::new("x\na: p.a / p.ua status\nb: p.b / p.ub after=-");
    play.input(take_over()).expect("it is taken over");
    assert_eq!(play.wants(), ["a action #2 status", "b action #2"]);
    play.act("b", refused());
    assert_eq!(play.phase("b"), StepPhase::Compensating, "the first owner's attempt may have taken effect");

    let mut play = Play::new("x\na: p.a / p.ua");
    play.act("a", unknown());
    play.now = Timestamp(1);
    play.input(take_over()).expect("it is taken over");
    assert_eq!(play.wants(), ["a action #2"], "an attempt that was still to come is not made twice");
}

#[test]
fn a_cancel_leaves_a_call_in_flight_to_the_barrier_or_waits_for_it() {
    let mut play = Play::new("x\na: p.a / p.ua");
    play.cancel();
    assert_eq!(play.wants(), ["a compensation #1"]);
    for (answer, phase) in [
        (done(), StepPhase::Compensating),
        (unknown(), StepPhase::Compensating),
        (Answer::Pending { retry_after: None, repair: false }, StepPhase::Compensating),
        (refused(), StepPhase::Refused),
    ] {
        let mut play = Play::new("x\na: p.a / p.ua no_barrier");
        play.cancel();
        assert_eq!(play.wants(), ["a action #1"]);
        play.act("a", answer);
        assert_eq!(play.phase("a"), phase);
    }
}

#[test]
fn a_call_without_a_barrier_that_is_still_to_be_sent_is_not_waited_for() {
    let mut play = Play::new("x\na: p.a / p.ua no_barrier status");
    play.act("a", unknown());
    play.cancel();
    assert_eq!(play.wants(), ["a compensation #1"]);
    let mut play = Play::new("x\na: p.a / p.ua no_barrier status");
    play.act("a", unknown());
    play.now = due(&play.saga).calls[0].at;
    play.cancel();
    assert_eq!(play.wants(), ["a action #2 status"]);
    play.act("a", Answer::NotSeen);
    assert_eq!(play.wants(), ["a compensation #1"], "no action is sent after the turn");
}

#[test]
fn the_earliest_of_deadline_and_within_ends_a_step() {
    let check = |sketch: &str, at: i64, message: &str| {
        let mut play = Play::new(sketch);
        assert_eq!(due(&play.saga).wake_at, Some(Timestamp(at)));
        assert_eq!(play.wait_until(at - 1), []);
        play.wait_until(at);
        let error = play.saga.error.as_ref().expect("it turned round");
        assert_eq!((error.kind, error.step.as_deref()), (CauseKind::Timeout, Some("a")));
        assert!(error.message.contains(message), "{}", error.message);
    };
    check("x deadline=9s\na: p.a / p.ua within=8s", 8000, "within");
    check("x deadline=7s\na: p.a / p.ua within=8s", 7000, "deadline");
    check("x deadline=7s\na: await s timeout=8s", 7000, "deadline");
    check("x deadline=7s\na: await s timeout=6s", 6000, "signal");
}

#[test]
fn neither_deadline_nor_within_ends_a_compensation() {
    let mut play = Play::new("x deadline=10s\na: p.a / p.ua within=5s");
    play.cancel();
    assert_eq!(play.wait_until(1_000_000), []);
    assert_eq!(play.wants(), ["a compensation #1"]);
}

#[test]
fn a_compensation_that_cannot_be_sent_is_parked_by_its_age() {
    let mut play = Play::new("x\na: p.a / p.ua");
    play.cancel();
    let undo = &play.saga.definition.step(crate::StepIx(0)).undo().expect("it has one").retry.clone();
    let last = i64::try_from(undo.within.0).expect("a day") + 5_000;
    assert_eq!(due(&play.saga).wake_at, Some(Timestamp(last)), "with the time of one more attempt");
    assert_eq!(play.wait_until(last - 1), []);
    play.wait_until(last);
    assert_eq!(play.phase("a"), StepPhase::Parked);
    assert_eq!(play.compensation("a").parked(), Some(ParkReason::Exhausted));
}

#[test]
fn a_signal_is_taken_once_early_or_in_time_and_never_late() {
    let signal = |payload: u32, id: Option<&str>| Input::Signal {
        name: Name::parse("paid").expect("a name"),
        id: id.map(str::to_owned),
        payload: Json::new(payload.into()),
    };
    let mut play = Play::new("x\na: p.a / p.ua\nw: await paid timeout=10s\nb: p.b none");
    assert_eq!(play.input(signal(1, Some("m1"))).map(|e| e.len()), Ok(1), "early: kept");
    assert_eq!(play.input(signal(1, None)), Ok(Vec::new()), "the same payload again");
    assert_eq!(play.input(signal(2, Some("m1"))), Ok(Vec::new()), "the same id again");
    assert!(matches!(play.input(signal(2, Some("m2"))), Err(Rejected::SignalConflict(_))));
    play.act("a", done());
    assert_eq!(play.phase("w"), StepPhase::Done);
    let unasked =
        Input::Signal { name: Name::parse("x").expect("a name"), id: None, payload: Json::default() };
    assert_eq!(play.input(unasked.clone()), Err(Rejected::NoSuchSignal));
    play.act("b", done());
    assert_eq!(play.input(signal(1, None)), Ok(Vec::new()), "after the end the same is still the same");
    assert!(matches!(play.input(signal(3, None)), Err(Rejected::SignalConflict(_))));
    assert_eq!(play.input(unasked), Err(Rejected::NoSuchSignal));

    let mut late = Play::new("x\nw: await paid timeout=10s");
    late.now = Timestamp(10_000);
    assert!(
        matches!(late.input(signal(1, None)), Err(Rejected::SignalConflict(_))),
        "late by not a millisecond"
    );
}

#[test]
fn an_await_takes_its_default_or_is_refused() {
    let mut play = Play::new("x\nw: await paid timeout=10s default=null");
    play.wait_until(10_000);
    assert_eq!(play.saga.status(), Status::Completed);
    let mut play = Play::new("x\nw: await paid timeout=10s default=fail");
    play.wait_until(10_000);
    assert_eq!(play.saga.status(), Status::Compensated);
}

#[test]
fn eager_undoing_passes_over_a_parked_step_and_strict_undoing_waits() {
    for (word, next) in [("eager", vec!["a compensation #1"]), ("", Vec::new())] {
        let mut play = Play::new(&format!("x\na: p.a / p.ua\nb: p.b / p.ub {word}\nc: p.c none"));
        play.act("a", done());
        play.act("b", done());
        play.act("c", refused());
        play.undo("b", refused());
        assert_eq!(play.wants(), next);
        assert_eq!(play.saga.status(), Status::Repair);
    }
}

#[test]
fn nothing_follows_the_end() {
    let mut play = Play::new("x\na: p.a / p.ua");
    let key = due(&play.saga).calls[0].key;
    play.act("a", done());
    assert_eq!(play.input(Input::Answer { key, answer: done() }), Ok(Vec::new()));
    assert_eq!(play.wait_until(1_000_000), []);
    assert_eq!(play.input(Input::Cancel { reason: String::new() }), Err(Rejected::Ended));
    let take_over = Input::TakeOver { epoch: 2, owner: String::new() };
    assert_eq!(play.input(take_over), Err(Rejected::Ended));
    assert_eq!(due(&play.saga), due::Due::default());
}

#[test]
#[should_panic(expected = "has ended")]
fn an_event_after_the_end_is_a_bug() {
    let mut play = Play::new("x\na: p.a none");
    play.act("a", done());
    play.saga.apply(Timestamp(1), &Event::Compensated);
}

#[test]
#[should_panic(expected = "epoch 1 does not follow epoch 1")]
fn an_epoch_that_does_not_rise_is_a_bug() {
    let play = Play::new("x\na: p.a none");
    play.saga.clone().apply(Timestamp(1), &Event::TakenOver { epoch: 1, owner: String::new() });
}

#[test]
#[should_panic(expected = "no action starts after the turn")]
fn an_action_after_the_turn_is_a_bug() {
    let mut play = Play::new("x\na: p.a / p.ua\nb: p.b / p.ub");
    play.cancel();
    let step = Name::parse("b").expect("a name");
    play.saga.apply(
        Timestamp(1),
        &Event::CallStarted { step: step.into(), op: Op::Action, input: Json::default() },
    );
}
