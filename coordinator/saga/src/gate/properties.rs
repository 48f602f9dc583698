//! The laws of a gate, under whatever is offered, answered and withdrawn, whenever.
//!
//! A run is decided by a script of bytes. It keeps a model beside the gates, of what waits and what is in flight, and holds
//! the gates against it after every step; then the faults stop, and whatever waits must go.

use super::*;
#[cfg(feature = "planted-bugs")]
use crate::hash::Mix;
use crate::{Question, StepIx};
use proptest::prelude::*;

const LIMIT: usize = 8;

fn limits() -> GateLimits {
    GateLimits { in_flight_max: LIMIT, slow_start: 4, ..GateLimits::default() }
}

/// What is wrong, in a sentence.
type Verdict = Result<(), String>;

fn law(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// Gates over one participant, and what they should look like.
struct Model {
    gates: Gates,
    name: Name,
    now: Timestamp,
    flying: Vec<Ticket>,
    waiting: BTreeSet<Ticket>,
    went: BTreeSet<Ticket>,
    made: u64,
    /// Calls that went since the breaker became half open.
    probes: usize,
}

impl Model {
    fn new() -> Model {
        Model {
            gates: Gates::new(Some(limits())),
            name: Name::parse("p").expect("a name"),
            now: Timestamp(1_000_000),
            flying: Vec::new(),
            waiting: BTreeSet::new(),
            went: BTreeSet::new(),
            made: 0,
            probes: 0,
        }
    }

    fn state(&self) -> BreakerState {
        self.gates.views(self.now).first().map_or(BreakerState::Closed, |view| view.breaker)
    }

    fn step(&mut self, byte: u8) -> Verdict {
        let pick = usize::from(byte >> 3);
        match byte % 8 {
            0..=2 => self.offer(pick)?,
            3 | 4 if !self.flying.is_empty() => self.answer(pick, !byte.is_multiple_of(5))?,
            5 if !self.waiting.is_empty() => self.withdraw(pick),
            6 => self.now = self.now.after(Millis(pick as u64 * 100)),
            _ => {}
        }
        self.release()?;
        self.counts()
    }

    fn offer(&mut self, pick: usize) -> Verdict {
        self.made += 1;
        let op = if pick.is_multiple_of(3) { Op::Compensation } else { Op::Action };
        let attempt = 1 + u32::from(pick % 4 == 1);
        let key = CallKey { step: StepIx(0), op, attempt, poll: 0, question: Question::Call };
        let ticket = (SagaId::from_u128(u128::from(self.made / 2)), key);
        if self.waiting.contains(&ticket) || self.went.contains(&ticket) {
            return Ok(());
        }
        let state = self.state();
        if self.gates.offer(&self.name, ticket, class(key), true, self.now) {
            return self.goes(ticket, state);
        }
        self.waiting.insert(ticket);
        Ok(())
    }

    fn goes(&mut self, ticket: Ticket, state: BreakerState) -> Verdict {
        law(self.went.insert(ticket), || format!("{ticket:?} went twice"))?;
        self.flying.push(ticket);
        self.probes += 1;
        let probes = self.probes;
        match state {
            BreakerState::Closed => Ok(()),
            BreakerState::Open => Err(format!("{ticket:?} went through an open breaker")),
            BreakerState::HalfOpen => law(probes <= 1, || format!("{probes} probes at once")),
        }
    }

    fn answer(&mut self, pick: usize, is_unknown: bool) -> Verdict {
        let ticket = self.flying.swap_remove(pick % self.flying.len());
        let before = self.state();
        self.gates.answered(ticket, is_unknown, self.now);
        if self.state() != before {
            self.probes = 0;
        }
        let closes = before == BreakerState::HalfOpen && !is_unknown;
        law(!closes || self.state() == BreakerState::Closed, || "a definite answer closes no breaker".into())
    }

    fn withdraw(&mut self, pick: usize) {
        let ticket = *self.waiting.iter().nth(pick % self.waiting.len()).expect("somebody waits");
        self.waiting.remove(&ticket);
        self.gates.withdraw(&self.name, ticket);
    }

    fn release(&mut self) -> Verdict {
        let state = self.state();
        if state == BreakerState::Open {
            self.probes = 0;
        }
        let (released, expired) = self.gates.release(self.now);
        law(expired.is_empty(), || format!("{expired:?} were given up although something bounds them"))?;
        for ticket in released {
            law(self.waiting.remove(&ticket), || format!("{ticket:?} went and did not wait"))?;
            self.goes(ticket, state)?;
        }
        Ok(())
    }

    fn counts(&self) -> Verdict {
        let Some(view) = self.gates.views(self.now).pop() else { return Ok(()) };
        let (flying, waiting) = (self.flying.len(), self.waiting.len());
        law(flying <= LIMIT, || format!("{flying} calls are in flight"))?;
        law((view.in_flight, view.waiting) == (flying, waiting), || {
            format!(
                "{flying} in flight and {waiting} waiting are shown as {} and {}",
                view.in_flight, view.waiting
            )
        })?;
        law(self.gates.wakes.len() <= 1, || format!("one gate has {} wakes", self.gates.wakes.len()))
    }

    /// From now on everything is answered, and nothing happens but what the gates ask for.
    fn heal(&mut self) -> Verdict {
        let until = self.now.after(Millis::from_secs(3_600));
        while !self.waiting.is_empty() || !self.flying.is_empty() {
            while !self.flying.is_empty() {
                self.answer(0, false)?;
            }
            if let Some(at) = self.gates.next_wake() {
                self.now = at.max(self.now);
            }
            let waiting = self.waiting.len();
            let is_asleep = self.gates.next_wake().is_none() && waiting > 0;
            law(!is_asleep, || format!("{waiting} calls wait and nothing wakes them"))?;
            law(self.now < until, || format!("{waiting} calls still wait after an hour"))?;
            self.release()?;
            self.counts()?;
        }
        law(self.gates.sent.is_empty(), || "a call that was answered counts as in flight".into())
    }

    fn run(script: impl IntoIterator<Item = u8>) -> Verdict {
        let mut model = Model::new();
        for byte in script {
            model.step(byte)?;
        }
        model.heal()
    }
}

/// A participant's bad day, and the callers' own.
#[derive(Debug, Clone, Copy)]
struct Day {
    per_second: i64,
    /// How long an answer takes, and how long one that does not come is awaited.
    latency: i64,
    timeout: i64,
    outage: i64,
    /// Whether those who got no answer ask again a second later, up to four times.
    retries: bool,
}

impl Day {
    /// The most calls in any second from a while before the outage to a while after, and the gates at the end.
    fn run(self) -> (usize, Gates, i64) {
        let mut gates = Gates::new(Some(GateLimits::default()));
        let name = Name::parse("p").expect("a name");
        let (mut answers, mut again) =
            (BTreeMap::<i64, Vec<Ticket>>::new(), BTreeMap::<i64, Vec<Ticket>>::new());
        let (mut sent, mut made) = (Vec::new(), 0_i64);
        let (down, up) = (15_000, 15_000 + self.outage);
        let end = up + 20_000 + self.outage * 8;
        for ms in 0..end {
            let now = Timestamp(ms);
            for (saga, key) in answers.remove(&ms).unwrap_or_default() {
                let began = sent[saga.as_u128() as usize];
                let is_unknown = (down..up).contains(&began);
                gates.answered((saga, key), is_unknown, now);
                if is_unknown && self.retries && key.attempt < 5 {
                    let key = CallKey { attempt: key.attempt + 1, ..key };
                    again.entry(ms + 1000).or_default().push((saga, key));
                }
            }
            let mut offered = again.remove(&ms).unwrap_or_default();
            while made * 1000 < ms * self.per_second && ms < up + 20_000 {
                let key = CallKey {
                    step: StepIx(0),
                    op: Op::Action,
                    attempt: 1,
                    poll: 0,
                    question: Question::Call,
                };
                offered.push((SagaId::from_u128(made as u128), key));
                sent.push(0);
                made += 1;
            }
            let mut went = gates.release(now).0;
            went.extend(offered.into_iter().filter(|t| gates.offer(&name, *t, class(t.1), true, now)));
            for ticket in went {
                sent[ticket.0.as_u128() as usize] = ms;
                let took = if (down..up).contains(&ms) { self.timeout } else { self.latency };
                answers.entry(ms + took).or_default().push(ticket);
                again.entry(-1).or_default().push((SagaId::from_u128(ms as u128), ticket.1));
            }
        }
        let times: Vec<i64> =
            again.remove(&-1).unwrap_or_default().iter().map(|(ms, _)| ms.as_u128() as i64).collect();
        let (mut first, mut most) = (0, 0);
        for (last, at) in times.iter().enumerate() {
            while times[first] <= at - 1000 {
                first += 1;
            }
            // Before the outage is known it is met with whatever its callers want.
            if !(down..down + self.timeout + 1000).contains(at) {
                most = most.max(last + 1 - first);
            }
        }
        (most, gates, end)
    }
}

fn paced(day: Day) -> Verdict {
    let (most, gates, end) = day.run();
    let allowed = (day.per_second.max(20) * 13 + 9) / 10;
    law(most as i64 <= allowed, || format!("{most} calls in a second where there were {}", day.per_second))?;
    let view = gates.views(Timestamp(end)).remove(0);
    law(view.waiting == 0, || format!("{} calls wait at the end", view.waiting))
}

fn days() -> impl Strategy<Value = Day> {
    let timeout = prop_oneof![Just(1), Just(5_000)];
    (20_i64..400, 1_i64..100, timeout, 10_000_i64..70_000, any::<bool>()).prop_map(
        |(per_second, latency, timeout, outage, retries)| Day {
            per_second,
            latency,
            timeout,
            outage,
            retries,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_happens_the_gate_keeps_its_laws(script in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(Model::run(script), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn after_any_outage_the_load_is_little_more_than_before_and_the_backlog_goes(day in days()) {
        prop_assert_eq!(paced(day), Ok(()));
    }
}

/// The script of a number.
#[cfg(feature = "planted-bugs")]
fn script(seed: u64) -> impl Iterator<Item = u8> {
    (0..400).map(move |n| (Mix::new(seed).add(n).finish() >> 13) as u8)
}

#[test]
fn a_call_that_goes_again_before_its_answer_is_there_holds_two_places() {
    let mut model = Model::new();
    let key = CallKey { step: StepIx(0), op: Op::Action, attempt: 1, poll: 1, question: Question::Status };
    let ticket = (SagaId::from_u128(1), key);
    for in_flight in [1, 2] {
        assert!(model.gates.offer(&model.name, ticket, class(key), true, model.now));
        assert_eq!(model.gates.views(model.now)[0].in_flight, in_flight);
    }
    for in_flight in [1, 0, 0] {
        model.gates.answered(ticket, false, model.now);
        assert_eq!(model.gates.views(model.now)[0].in_flight, in_flight);
    }
}

#[test]
fn the_pace_after_timeouts_is_that_of_before_although_little_was_sent_at_the_end() {
    // 400 a second fill the places in flight within two seconds of five, so fewer and fewer went before the breaker opened.
    let day = Day { per_second: 400, latency: 5, timeout: 5_000, outage: 30_000, retries: true };
    assert_eq!(paced(day), Ok(()));
}

#[test]
fn calls_that_come_again_after_their_timeouts_are_not_taken_for_more_that_is_asked_for() {
    let day = Day { per_second: 30, latency: 1, timeout: 5_000, outage: 10_000, retries: true };
    assert_eq!(paced(day), Ok(()));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_bugs_planted_in_the_gate_break_its_laws() {
    use crate::planted::plant;

    let day = Day { per_second: 100, latency: 5, timeout: 1, outage: 30_000, retries: false };
    for bug in
        [Bug::BreakerIgnored, Bug::ProbeFloods, Bug::GateLeaksSlot, Bug::QueueForgotten, Bug::PaceIgnored]
    {
        plant(Some(bug));
        let found = (0..200).find_map(|seed| Model::run(script(seed)).err()).or_else(|| paced(day).err());
        plant(None);
        assert!(found.is_some(), "{bug:?} is not found");
    }
    assert_eq!((0..200).find_map(|seed| Model::run(script(seed)).err()), None);
}
