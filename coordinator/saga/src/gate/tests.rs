//! One gate, second by second.

use super::*;
use crate::{Question, StepIx};
use std::collections::BTreeSet;

fn name() -> Name {
    Name::parse("p").expect("a name")
}

fn ticket(n: u64, op: Op, attempt: u32) -> Ticket {
    let key = CallKey { step: StepIx(0), op, attempt, poll: 0, question: Question::Call };
    (SagaId::from_u128(u128::from(n)), key)
}

fn at(ms: i64) -> Timestamp {
    Timestamp(ms)
}

/// Gates over one participant, with what is in flight.
struct Door {
    gates: Gates,
    flying: BTreeSet<Ticket>,
    sent: Vec<i64>,
    next: u64,
}

impl Door {
    fn new(limits: GateLimits) -> Door {
        Door { gates: Gates::new(Some(limits)), flying: BTreeSet::new(), sent: Vec::new(), next: 0 }
    }

    fn offer(&mut self, op: Op, attempt: u32, ms: i64) -> Option<Ticket> {
        self.next += 1;
        let ticket = ticket(self.next, op, attempt);
        let goes = self.gates.offer(&name(), ticket, class(ticket.1), true, at(ms));
        goes.then(|| self.went(ticket, ms))
    }

    fn went(&mut self, ticket: Ticket, ms: i64) -> Ticket {
        assert!(self.flying.insert(ticket), "{ticket:?} went twice");
        self.sent.push(ms);
        ticket
    }

    fn answer(&mut self, ticket: Ticket, unknown: bool, ms: i64) {
        assert!(self.flying.remove(&ticket));
        self.gates.answered(ticket, unknown, at(ms));
    }

    fn release(&mut self, ms: i64) -> Vec<Ticket> {
        let (released, _) = self.gates.release(at(ms));
        released.into_iter().map(|ticket| self.went(ticket, ms)).collect()
    }

    fn view(&self, ms: i64) -> GateView {
        self.gates.views(at(ms)).remove(0)
    }

    fn most_in_a_second(&self, from: i64) -> usize {
        let sent: Vec<i64> = self.sent.iter().copied().filter(|ms| *ms >= from).collect();
        sent.iter()
            .map(|ms| sent.iter().filter(|other| (*ms..*ms + 1000).contains(other)).count())
            .max()
            .unwrap_or(0)
    }
}

#[test]
fn no_more_calls_are_in_flight_than_the_limit_and_an_answer_lets_the_next_one_go() {
    let mut door = Door::new(GateLimits { in_flight_max: 2, ..GateLimits::default() });
    let (first, second) = (door.offer(Op::Action, 1, 0), door.offer(Op::Action, 1, 0));
    assert!(first.is_some() && second.is_some());
    assert_eq!(door.offer(Op::Action, 1, 0), None);
    assert_eq!(door.release(10), []);
    assert_eq!(door.view(10).waiting, 1);
    door.answer(first.expect("it went"), false, 20);
    assert_eq!(door.release(20).len(), 1);
    assert_eq!((door.view(20).waiting, door.view(20).in_flight), (0, 2));
}

#[test]
fn five_unknowns_in_a_row_open_the_breaker_and_a_probe_closes_it() {
    let mut door = Door::new(GateLimits::default());
    for n in 0..5 {
        assert_eq!(door.view_or_closed(n * 10), BreakerState::Closed);
        let call = door.offer(Op::Action, 1, n * 10).expect("the breaker is closed");
        door.answer(call, true, n * 10);
    }
    let view = door.view(50);
    assert_eq!((view.breaker, view.until, view.opened), (BreakerState::Open, Some(at(5_040)), 1));
    for ms in [60, 70, 80] {
        assert_eq!(door.offer(Op::Action, 1, ms), None, "it is deferred");
    }
    assert_eq!(door.release(5_039), []);
    let probe = door.release(5_040);
    assert_eq!(probe.len(), 1, "one probe");
    assert_eq!(door.view(5_040).breaker, BreakerState::HalfOpen);
    assert_eq!(door.release(5_500), [], "and no other while it is out");
    door.answer(probe[0], true, 5_600);
    assert_eq!(door.view(5_600).until, Some(at(15_600)), "twice as long the second time");
    let probe = door.release(15_600);
    door.answer(probe[0], false, 15_700);
    let view = door.view(15_700);
    assert_eq!((view.breaker, view.recovered_at), (BreakerState::Closed, Some(at(15_700))));
    assert_eq!(view.waiting, 1);
}

impl Door {
    fn view_or_closed(&self, ms: i64) -> BreakerState {
        self.gates.views(at(ms)).first().map_or(BreakerState::Closed, |view| view.breaker)
    }
}

#[test]
fn half_of_many_unknown_answers_open_the_breaker_although_never_five_in_a_row() {
    let mut door = Door::new(GateLimits::default());
    for n in 0..20 {
        let call = door.offer(Op::Action, 1, n * 100).expect("the breaker is closed");
        door.answer(call, n % 2 == 0, n * 100);
    }
    assert_eq!(door.view(2_000).breaker, BreakerState::Closed, "the last one was definite");
    let call = door.offer(Op::Action, 1, 2_000).expect("the breaker is closed");
    door.answer(call, true, 2_000);
    assert_eq!(door.view(2_000).breaker, BreakerState::Open);
}

#[test]
fn the_probe_is_another_sagas_call_where_there_is_one() {
    let mut door = Door::new(GateLimits { open_first: Millis(1_000), ..GateLimits::default() });
    let poisoned = ticket(1_000, Op::Compensation, 1);
    for n in 0..5u32 {
        let attempt = (poisoned.0, CallKey { attempt: n + 1, ..poisoned.1 });
        assert!(door.gates.offer(&name(), attempt, class(attempt.1), true, at(0)));
        door.went(attempt, 0);
        door.answer(attempt, true, 0);
    }
    let again = (poisoned.0, CallKey { attempt: 6, ..poisoned.1 });
    assert!(!door.gates.offer(&name(), again, class(again.1), true, at(1)));
    assert_eq!(door.offer(Op::Compensation, 1, 2), None);
    let probe = door.release(1_000);
    assert_ne!(probe[0].0, poisoned.0);
}

/// A participant that answers every compensation 503 at first, and does it when it is asked again: how many probes it takes
/// until the breaker closes, when most of what waits was never tried.
fn probes_until_well() -> usize {
    let mut door = Door::new(GateLimits::default());
    let calls: Vec<_> = (0..5).filter_map(|_| door.offer(Op::Compensation, 1, 0)).collect();
    for call in &calls {
        door.answer(*call, true, 0);
    }
    for n in 0..40 {
        assert_eq!(door.offer(Op::Compensation, if n % 8 == 5 { 2 } else { 1 }, 1), None);
    }
    let mut probes = 0;
    while let Some(until) = door.view(0).until {
        let probe = door.release(until.0);
        assert_eq!(probe.len(), 1);
        door.answer(probe[0], probe[0].1.attempt == 1, until.0);
        probes += 1;
    }
    probes
}

#[test]
fn a_probe_is_unlike_what_failed_where_something_unlike_waits() {
    assert_eq!(probes_until_well(), 1);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_breaker_that_tries_the_same_again_and_again_is_found() {
    crate::planted::plant(Some(Bug::ProbesAlike));
    let probes = probes_until_well();
    crate::planted::plant(None);
    assert!(probes > 3, "{probes} probes are few");
}

/// One hundred calls a second for ten seconds, a minute without an answer, and what comes after.
fn outage() -> Door {
    let mut door = Door::new(GateLimits::default());
    let mut answers: BTreeMap<i64, Vec<Ticket>> = BTreeMap::new();
    for ms in 0..400_000_i64 {
        for call in answers.remove(&ms).unwrap_or_default() {
            let down = (10_000..70_000).contains(&ms);
            door.answer(call, down, ms);
        }
        let mut went = door.release(ms);
        if ms % 10 == 0 && ms < 200_000 {
            went.extend(door.offer(Op::Action, 1, ms));
        }
        answers.entry(ms + 5).or_default().extend(went);
    }
    door
}

#[test]
fn who_returns_from_an_outage_meets_little_more_than_before_and_the_backlog_goes() {
    let door = outage();
    let most = door.most_in_a_second(0);
    assert!(most <= 130, "{most} calls in a second where there were 100");
    assert_eq!(door.view(400_000).waiting, 0);
    assert_eq!(door.sent.len(), 20_000, "every call went once");
}

#[test]
fn what_comes_to_wait_during_an_outage_says_how_much_is_asked_for_after_it() {
    let mut door = Door::new(GateLimits::default());
    let mut answers: BTreeMap<i64, Vec<Ticket>> = BTreeMap::new();
    for ms in 0..18_000_i64 {
        for call in answers.remove(&ms).unwrap_or_default() {
            door.answer(call, (10_000..15_000).contains(&ms), ms);
        }
        let mut went = door.release(ms);
        // Thirty a second, and ten times as many from the outage on.
        let every = if ms < 10_000 { 33 } else { 3 };
        if ms % every == 0 {
            went.extend(door.offer(Op::Action, 1, ms));
        }
        answers.entry(ms + 5).or_default().extend(went);
    }
    let after = door.sent.iter().filter(|ms| (16_000..18_000).contains(*ms)).count();
    assert!((600..=900).contains(&after), "{after} calls in two seconds of 333 asked for each");
}

/// The retries sent in ten seconds of 100 fresh calls each to a participant that fails a third of them.
fn retries_while_failing() -> u32 {
    let limits = GateLimits { unknowns_in_a_row: 1_000, ..GateLimits::default() };
    let mut door = Door::new(limits);
    let mut retries = 0;
    for second in 0..20_i64 {
        for n in 0..100 {
            let ms = second * 1000 + n * 10;
            // A third fails, which opens no breaker.
            if let Some(call) = door.offer(Op::Action, 1, ms) {
                door.answer(call, n % 3 == 2, ms);
            }
            for _ in 0..5 {
                if let Some(call) = door.offer(Op::Action, 2, ms) {
                    retries += u32::from(second >= 10);
                    door.answer(call, n % 3 == 2, ms);
                }
            }
            for call in door.release(ms) {
                retries += u32::from(second >= 10);
                door.answer(call, n % 3 == 2, ms);
            }
        }
    }
    retries
}

#[test]
fn retries_to_a_failing_participant_are_a_share_of_the_fresh_calls() {
    let retries = retries_while_failing();
    assert!((150..=400).contains(&retries), "{retries} retries in ten seconds of 100 fresh calls each");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_bug_that_ignores_the_budget_is_found() {
    crate::planted::plant(Some(Bug::RetriesUnbudgeted));
    let retries = retries_while_failing();
    crate::planted::plant(None);
    assert!(retries > 400, "{retries} retries are within the budget");
}

#[test]
fn retries_come_slowly_at_first_to_a_participant_that_has_not_answered_yet() {
    let mut door = Door::new(GateLimits { in_flight_max: 100_000, ..GateLimits::default() });
    let went = (0..5_000).filter(|_| door.offer(Op::Action, 2, 0).is_some()).count();
    assert_eq!(went, 64);
    assert!(door.offer(Op::Action, 1, 1).is_some(), "a fresh call is not held back");
    let mut total = went;
    for ms in (0..4_000).step_by(50) {
        total += door.release(ms).len();
    }
    assert_eq!(total, 5_000);
}

#[test]
fn what_waits_too_long_is_given_up_and_what_is_withdrawn_is_forgotten() {
    let mut door =
        Door::new(GateLimits { in_flight_max: 1, defer_max: Millis(1_000), ..GateLimits::default() });
    assert!(door.offer(Op::Action, 1, 0).is_some());
    let (unbounded, bounded) = (ticket(50, Op::Action, 1), ticket(51, Op::Action, 1));
    assert!(!door.gates.offer(&name(), unbounded, Class::Fresh, false, at(0)));
    assert!(!door.gates.offer(&name(), bounded, Class::Fresh, true, at(0)));
    assert_eq!(door.gates.release(at(0)), (vec![], vec![]));
    assert_eq!(door.gates.release(at(1_000)), (vec![], vec![unbounded]));
    door.gates.withdraw(&name(), bounded);
    assert_eq!(door.view(1_000).waiting, 0);
}

#[test]
fn a_full_queue_makes_the_participant_busy() {
    let mut door = Door::new(GateLimits { in_flight_max: 1, waiting_max: 3, ..GateLimits::default() });
    for n in 0..4 {
        assert!(!door.gates.is_busy(&name()), "after {n}");
        door.offer(Op::Action, 1, 0);
    }
    assert!(door.gates.is_busy(&name()));
}
