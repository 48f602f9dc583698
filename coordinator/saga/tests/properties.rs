//! Properties of the core over random graphs and random histories.
//!
//! A history is a graph of up to thirty steps and a list of bytes, each of which decides what happens
//! next; so a failure shrinks to a short one. What is right is worked out from the journal alone, by an
//! oracle that shares nothing with the core.

use amends_saga::{
    Answer, CallKey, Definition, Direction, Event, Input, Json, Millis, Op, OpPhase, Question, Record,
    Report, Saga, SagaId, Start, StepPhase, Timestamp, decide, due, sketch, start,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

const STEPS_MAX: usize = 30;

/// A graph in which each step may only wait for earlier ones, and what each step is like.
#[derive(Debug, Clone)]
struct Shape {
    flavours: Vec<u8>,
    edges: Vec<(u8, u8)>,
    deadline: bool,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let edges = prop::collection::vec((0..STEPS_MAX as u8, 0..STEPS_MAX as u8), 0..80);
    (prop::collection::vec(any::<u8>(), 1..=STEPS_MAX), edges, any::<bool>())
        .prop_map(|(flavours, edges, deadline)| Shape { flavours, edges, deadline })
}

impl Shape {
    fn parents(&self, step: usize) -> BTreeSet<usize> {
        let pairs = self.edges.iter().map(|(a, b)| (usize::from(*a.min(b)), usize::from(*a.max(b))));
        pairs.filter(|(from, to)| *to == step && from != to).map(|(from, _)| from).collect()
    }

    fn definition(&self) -> Arc<Definition> {
        let mut text = String::from("random");
        text.push_str(if self.deadline { " deadline=90s\n" } else { "\n" });
        for (i, flavour) in self.flavours.iter().enumerate() {
            let parents: Vec<String> = self.parents(i).iter().map(|p| format!("s{p}")).collect();
            let after = if parents.is_empty() { "-".to_owned() } else { parents.join(",") };
            let what = match flavour % 8 {
                0 => "p.do read_only attempts=2",
                1 => "p.do none attempts=2",
                2 => "await pay timeout=20s",
                3 => "await pay timeout=20s default=null",
                4 => "p.do / p.undo attempts=2 quick=1 slow=1 status",
                5 => "p.do / p.undo attempts=2 quick=2 slow=0 no_barrier",
                6 => "p.do / p.undo attempts=3 quick=1 slow=2 eager within=30s",
                _ => "p.do / p.undo attempts=1 quick=1 slow=1",
            };
            writeln!(text, "s{i}: {what} after={after}").expect("a string");
        }
        sketch::definition(&text)
    }

    /// For each step, those that come after it on some path.
    fn later(&self) -> Vec<BTreeSet<usize>> {
        let mut later = vec![BTreeSet::new(); self.flavours.len()];
        for step in (0..self.flavours.len()).rev() {
            for parent in self.parents(step) {
                let mut below: BTreeSet<usize> = later[step].clone();
                below.insert(step);
                later[parent].extend(below);
            }
        }
        later
    }

    fn has_undo(&self, step: usize) -> bool {
        self.flavours[step] % 8 >= 4
    }

    fn is_eager(&self, step: usize) -> bool {
        self.flavours[step] % 8 == 6
    }
}

/// What a journal says of each step, worked out without the core.
#[derive(Debug, Default)]
struct Oracle {
    /// Actions begun, with nothing definite heard of them.
    open: BTreeSet<usize>,
    /// Actions done, given up, or in doubt: they may have taken effect.
    may_stand: BTreeSet<usize>,
    /// Actions of which an attempt may have taken effect.
    doubted: BTreeSet<usize>,
    pending: BTreeSet<usize>,
    undone: BTreeSet<usize>,
    parked: BTreeSet<usize>,
    failures: BTreeMap<(usize, Op), u32>,
    turned: bool,
    ended: bool,
}

impl Oracle {
    fn fold(&mut self, event: &Event, shape: &Shape, later: &[BTreeSet<usize>]) {
        assert!(!self.ended, "nothing follows the end, yet {event:?} does");
        let step: usize = event.step().map_or(0, |name| name[1..].parse().expect("a step's number"));
        match event {
            Event::CallStarted { op: Op::Action, .. } => {
                assert!(!self.turned, "no action begins after the turn");
                assert!(self.open.insert(step) && !self.may_stand.contains(&step), "an action begins once");
            }
            Event::CallStarted { op: Op::Compensation, .. } => {
                assert!(self.turned && shape.has_undo(step));
                self.check_order(step, shape, later);
            }
            Event::CallDone { op: Op::Action, .. } => self.settle(step, true),
            Event::CallDone { op: Op::Compensation, .. } => drop(self.undone.insert(step)),
            Event::CallFailed { op, .. } => {
                *self.failures.entry((step, *op)).or_default() += 1;
                if *op == Op::Action {
                    self.doubted.insert(step);
                }
            }
            Event::CallPending { op: Op::Action, .. } => drop(self.pending.insert(step)),
            Event::CallNotSeen { op: Op::Action, .. } => drop(self.pending.remove(&step)),
            Event::CallRefused { op: Op::Action, contract, .. } => {
                let misled = *contract && self.pending.contains(&step);
                self.settle(step, misled || self.doubted.contains(&step));
            }
            Event::CallExhausted { op: Op::Action, .. } => self.settle(step, true),
            Event::CallRefused { .. } | Event::CallExhausted { .. } => drop(self.parked.insert(step)),
            Event::CallUnprepared { op: Op::Compensation, .. } => drop(self.parked.insert(step)),
            Event::TakenOver { .. } => self.doubted.extend(&self.open),
            Event::Compensating { .. } => {
                assert!(!std::mem::replace(&mut self.turned, true), "a saga turns round once");
            }
            Event::Completed { .. } => {
                assert!(!self.turned && self.open.is_empty());
                self.ended = true;
            }
            Event::Compensated => {
                self.ended = true;
                let stands = |step: &usize| shape.has_undo(*step) && !self.undone.contains(step);
                let left: Vec<_> = self.may_stand.iter().chain(&self.open).filter(|s| stands(s)).collect();
                assert!(left.is_empty(), "a compensated saga leaves nothing standing, but {left:?}");
            }
            _ => {}
        }
    }

    fn settle(&mut self, step: usize, may_stand: bool) {
        assert!(self.open.remove(&step), "only an action that began ends");
        if may_stand {
            self.may_stand.insert(step);
        }
    }

    /// I10: nothing is undone while something after it may stand, unless that is parked and passed over.
    fn check_order(&self, step: usize, shape: &Shape, later: &[BTreeSet<usize>]) {
        for after in &later[step] {
            let stands = self.may_stand.contains(after) || self.open.contains(after);
            let passed_over = self.parked.contains(after) && shape.is_eager(*after);
            let settled = !stands || self.undone.contains(after) || passed_over || !shape.has_undo(*after);
            assert!(settled, "s{step} is undone while s{after} may stand");
        }
    }
}

/// A saga, its journal, and the time.
struct Walk {
    shape: Shape,
    later: Vec<BTreeSet<usize>>,
    saga: Saga,
    journal: Vec<Record>,
    oracle: Oracle,
    now: Timestamp,
    keys: BTreeSet<CallKey>,
}

const ID: SagaId = SagaId::from_u128(1);

impl Walk {
    fn new(shape: Shape) -> Walk {
        let definition = shape.definition();
        let first = Start::new(ID, definition, Json::default());
        let (saga, records) = start(first, Timestamp(0));
        let later = shape.later();
        let mut walk = Walk {
            shape,
            later,
            saga,
            journal: Vec::new(),
            oracle: Oracle::default(),
            now: Timestamp(0),
            keys: BTreeSet::new(),
        };
        walk.record(records);
        walk
    }

    fn record(&mut self, records: Vec<Record>) {
        for record in records {
            let text = serde_json::to_string(&record).expect("a record is JSON");
            let back: Record = serde_json::from_str(&text).expect("a record can be read");
            assert_eq!(back, record, "a record is read as it was written");
            self.oracle.fold(&record.event, &self.shape, &self.later);
            self.journal.push(record);
        }
        let replayed = Saga::replay(ID, self.saga.definition.clone(), &self.journal);
        assert_eq!(replayed, self.saga, "I15: the state is the fold of the journal");
        self.check_due();
    }

    /// Gives the saga an input, as a coordinator does.
    fn input(&mut self, input: Input) {
        let before = self.saga.clone();
        let decided = decide(&self.saga, input.clone(), self.now);
        assert_eq!(self.saga, before, "deciding changes nothing");
        assert_eq!(decided, decide(&self.saga, input, self.now), "deciding twice decides the same");
        if let Ok(records) = decided {
            records.iter().for_each(|record| self.saga.apply(record.at, &record.event));
            self.record(records);
        }
    }

    fn check_due(&mut self) {
        let wants = due(&self.saga);
        let keys: BTreeSet<CallKey> = wants.calls.iter().map(|call| call.key).collect();
        assert_eq!(keys.len(), wants.calls.len(), "no call is wanted twice");
        for call in &wants.calls {
            let step = usize::from(call.key.step.0);
            let drains = self.saga.direction == Direction::Backward && call.key.op == Op::Action;
            assert!(
                !drains || self.shape.flavours[step] % 8 == 5,
                "only a call without a barrier is waited for"
            );
            let failures = self.oracle.failures.get(&(step, call.key.op)).copied().unwrap_or(0);
            assert!(failures < 4, "I24: attempts are bounded");
        }
        let parked: Vec<usize> = wants.parked.iter().map(|ix| usize::from(ix.0)).collect();
        let expected: Vec<usize> = self.oracle.parked.iter().copied().collect();
        assert!(
            self.saga.is_terminal() || parked == expected,
            "I22: {parked:?} are parked, not {expected:?}"
        );
        if self.saga.is_terminal() {
            assert_eq!(wants, amends_saga::Due::default(), "a saga that has ended wants nothing");
        }
    }

    /// One thing happens, decided by a byte.
    fn step(&mut self, byte: u8) {
        let calls = due(&self.saga).calls;
        let ready: Vec<_> = calls.iter().filter(|call| call.at <= self.now).collect();
        match byte % 32 {
            0 => self.input(Input::Cancel { reason: "no".to_owned() }),
            1 | 2 => {
                let (epoch, owner) = (self.saga.epoch + 1, "another".to_owned());
                self.input(Input::TakeOver { epoch, owner });
            }
            3 => self.signal(byte),
            4..=8 => self.pass(),
            9 if !self.keys.is_empty() => {
                // A stale answer: to a call that was in flight some time ago.
                let old = *self.keys.iter().nth(usize::from(byte) % self.keys.len()).expect("an old key");
                let fresh = calls.iter().any(|call| call.key == old);
                let seq = self.saga.seq;
                self.input(Input::Answer { key: old, answer: Answer::Done(Json::default()) });
                assert!(fresh || self.saga.seq == seq, "I12: a stale answer changes nothing");
            }
            _ if ready.is_empty() => self.pass(),
            kind => {
                let key = ready[usize::from(byte / 32) % ready.len()].key;
                self.keys.insert(key);
                self.input(Input::Answer { key, answer: answer(kind, key) });
            }
        }
    }

    fn signal(&mut self, byte: u8) {
        let name = amends_saga::Name::parse("pay").expect("a name");
        let payload = Arc::new(serde_json::json!(byte / 128));
        self.input(Input::Signal { name, id: None, payload });
    }

    /// Time passes until something is due.
    fn pass(&mut self) {
        let wants = due(&self.saga);
        let next =
            wants.calls.iter().map(|call| call.at).chain(wants.wake_at).filter(|at| *at > self.now).min();
        self.now = next.unwrap_or_else(|| self.now.after(Millis(1)));
        self.input(Input::Tick);
    }

    /// From now on all goes well: the saga must come to its end, or be parked.
    fn finish(&mut self) {
        for _ in 0..2000 {
            let calls = due(&self.saga).calls;
            match calls.iter().find(|call| call.at <= self.now) {
                Some(call) => {
                    self.input(Input::Answer { key: call.key, answer: Answer::Done(Json::default()) });
                }
                None if due(&self.saga).wake_at.is_some() || !calls.is_empty() => self.pass(),
                None => break,
            }
        }
        let settled = self.saga.is_terminal() || !due(&self.saga).parked.is_empty();
        assert!(settled, "I3: every saga ends or is parked, but this one: {:#?}", self.saga);
    }
}

fn answer(kind: u8, key: CallKey) -> Answer {
    let report = Report::new(Some(500), "no", 1);
    match kind {
        10..=12 => Answer::Unknown { report, retry_after: None },
        13 => Answer::Unknown { report, retry_after: Some(Millis(7000)) },
        14 => Answer::Refused(report),
        15 => Answer::Contract(report),
        16 | 17 => Answer::Pending { retry_after: (kind == 16).then_some(Millis(0)), repair: false },
        18 if key.question == Question::Status => Answer::NotSeen,
        _ => Answer::Done(Arc::new(serde_json::json!({ "n": kind }))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_history_keeps_the_laws_and_comes_to_its_end(
        shape in shapes(), script in prop::collection::vec(any::<u8>(), 0..160),
    ) {
        let mut walk = Walk::new(shape);
        for byte in script {
            if walk.saga.is_terminal() {
                break;
            }
            walk.step(byte);
        }
        walk.finish();
    }

    #[test]
    fn a_saga_that_turns_round_is_undone_in_reverse(shape in shapes(), done in 0usize..60) {
        let mut walk = Walk::new(shape);
        walk.signal(0);
        for _ in 0..done {
            let Some(call) = due(&walk.saga).calls.first().cloned() else { break };
            walk.input(Input::Answer { key: call.key, answer: Answer::Done(Json::default()) });
        }
        walk.input(Input::Cancel { reason: "no".to_owned() });
        walk.finish();
        for (ix, state) in walk.saga.steps() {
            let stands = state.action.phase == OpPhase::Done && walk.shape.has_undo(usize::from(ix.0));
            prop_assert!(walk.saga.direction == Direction::Forward || !stands || state.phase == StepPhase::Compensated);
        }
    }
}
