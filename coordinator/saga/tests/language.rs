//! Properties of the whole language over random definitions and histories: conditions, fanned-out steps, a
//! pivot, child sagas, callbacks, repair in both directions, reverting; and of open sagas.
//!
//! What is right is worked out from the journal alone. A *unit* is whatever is done and undone by itself: a step,
//! an item of a fanned-out step, or a branch.

use amends_saga::{
    Answer, Audit, BranchTerms, Call, Definition, Event, Input, Json, Millis, Name, Op, Record, Rejected,
    Report, Saga, SagaId, Start, StepName, Timestamp, Verb, decide, due,
    planted::{Bug, plant},
    revert,
    schedule::UndoSchedule,
    sketch, start,
};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

const ID: SagaId = SagaId::from_u128(1);
const ITEMS: usize = 4;

/// A graph of which each step may only wait for earlier ones.
#[derive(Debug, Clone)]
struct Shape {
    flavours: Vec<u8>,
    edges: Vec<(u8, u8)>,
    pivot: Option<u8>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let edges = prop::collection::vec((0..12u8, 0..12u8), 0..24);
    let pivot = prop::option::of(0..12u8);
    (prop::collection::vec(any::<u8>(), 1..=12), edges, pivot).prop_map(|(flavours, edges, pivot)| Shape {
        flavours,
        edges,
        pivot,
    })
}

impl Shape {
    fn parents(&self, step: usize) -> BTreeSet<usize> {
        let pairs = self.edges.iter().map(|(a, b)| (usize::from(*a.min(b)), usize::from(*a.max(b))));
        pairs.filter(|(from, to)| *to == step && from != to).map(|(from, _)| from).collect()
    }

    fn pivot(&self) -> Option<usize> {
        self.pivot.map(|pivot| usize::from(pivot) % self.flavours.len())
    }

    fn is_past(&self, step: usize) -> bool {
        let past = |parent: usize| Some(parent) == self.pivot() || self.is_past(parent);
        self.parents(step).into_iter().any(past)
    }

    fn definition(&self) -> Arc<Definition> {
        let mut text = String::from("random deadline=100s\n");
        for (i, flavour) in self.flavours.iter().enumerate() {
            let parents: Vec<String> = self.parents(i).iter().map(|p| format!("s{p}")).collect();
            let after = if parents.is_empty() { "-".to_owned() } else { parents.join(",") };
            let what = match (self.pivot() == Some(i), self.is_past(i), flavour % 12) {
                (true, _, 0..5) => "p.do none pivot attempts=2",
                (true, _, _) => "p.do / p.undo pivot attempts=2 quick=1 slow=1",
                (_, _, 0) => "p.do read_only attempts=2",
                (_, _, 1) => "p.do none attempts=2",
                (_, _, 2) => "await pay timeout=20s default=null",
                (_, false, 3) => "p.do / p.undo attempts=2 quick=1 slow=1 status",
                (_, false, 4) => "p.do / p.undo attempts=2 quick=1 slow=1 eager",
                (_, false, 5) => "p.do / p.undo attempts=2 quick=1 slow=1 when=input.yes",
                (_, false, 6) => "p.do / p.undo attempts=2 quick=1 slow=1 when=input.no",
                (_, false, 7) => {
                    "p.do / p.undo attempts=2 quick=1 slow=1 each=input.list parallel=2 with=item"
                }
                (_, false, 8) => "p.do / p.undo attempts=2 quick=1 slow=1 each=input.list with=item",
                (_, false, 9) => "saga.x / saga.x attempts=2 quick=1 slow=1",
                (_, false, 10) => "await pay timeout=20s returns=number",
                (_, false, _) => {
                    "p.do / p.undo attempts=2 quick=1 slow=1 each=input.list with=item returns=n"
                }
                (_, true, 3..6) => "p.do none attempts=2 when=input.no",
                (_, true, 6..9) => "p.do none attempts=2 each=input.list parallel=2 with=item",
                (_, true, 9) => "saga.x none attempts=2 returns=n",
                (_, true, _) => "p.do none attempts=2 returns=n",
            };
            writeln!(text, "s{i}: {what} after={after}").expect("a string");
        }
        sketch::definition(&text)
    }
}

/// What a journal says of each unit.
#[derive(Debug, Default)]
struct Oracle {
    running: BTreeSet<StepName>,
    /// Those that may have taken effect and can be undone.
    stands: BTreeSet<StepName>,
    doubted: BTreeSet<StepName>,
    /// Those that were accepted for later.
    pending: BTreeSet<StepName>,
    undoing: BTreeSet<StepName>,
    undone: BTreeSet<StepName>,
    parked: BTreeMap<StepName, Op>,
    skipped: BTreeSet<StepName>,
    left: BTreeSet<StepName>,
    registered: Vec<StepName>,
    deadline_at: Option<Timestamp>,
    past: bool,
    turned: bool,
    ended: bool,
}

/// A saga, its journal and the time.
struct Walk {
    definition: Arc<Definition>,
    saga: Saga,
    journal: Vec<Record>,
    oracle: Oracle,
    now: Timestamp,
}

impl Walk {
    fn new(definition: Arc<Definition>, timeout: Option<Millis>) -> Walk {
        let list: Vec<usize> = (0..ITEMS).collect();
        let input = Arc::new(json!({ "yes": true, "no": false, "list": list }));
        let first = Start { timeout, ..Start::new(ID, definition.clone(), input) };
        let (saga, records) = start(first, Timestamp(0));
        let (journal, oracle, now) = (Vec::new(), Oracle::default(), Timestamp(0));
        let mut walk = Walk { definition, saga, journal, oracle, now };
        walk.record(records);
        walk
    }

    fn record(&mut self, records: Vec<Record>) {
        for record in records {
            let text = serde_json::to_string(&record).expect("a record is JSON");
            let back: Record = serde_json::from_str(&text).expect("a record can be read");
            assert_eq!(back, record, "a record is read as it was written");
            self.fold_timed(&record);
            self.journal.push(record);
        }
        let replayed = Saga::replay(ID, self.definition.clone(), &self.journal);
        assert_eq!(replayed, self.saga, "I15: the state is the fold of the journal");
        let wanted = due(&self.saga);
        let keys: BTreeSet<_> = wanted.calls.iter().map(|call| call.key).collect();
        assert_eq!(keys.len(), wanted.calls.len(), "no call is wanted twice");
        assert!(wanted.calls.len() <= self.saga.len(), "no step wants two calls");
        assert!(
            self.saga.is_terminal() || wanted.parked.len() == self.oracle.parked.len(),
            "I22: all are known"
        );
        if let Some(wake) = self.saga.sleeps_until() {
            let next = wanted.calls.iter().map(|call| call.at).chain(wanted.wake_at).min();
            assert!(next.is_some_and(|next| wake <= next), "a sleeping saga wakes in time");
        }
    }

    fn base(&self, name: &StepName) -> usize {
        usize::from(self.definition.find(name.base()).expect("a step").0)
    }

    /// Whether `later` came after `earlier`, so that it is undone before it.
    fn comes_after(&self, later: &StepName, earlier: &StepName) -> bool {
        if self.definition.is_open() {
            let place = |name| self.oracle.registered.iter().position(|other| other == name);
            return place(later) > place(earlier);
        }
        let (from, to) = (self.base(earlier), self.base(later));
        let below = self.definition.descendants(amends_saga::StepIx(from as u16));
        below.iter().any(|ix| usize::from(ix.0) == to)
    }

    fn parallel(&self, name: &StepName) -> usize {
        let ix = self.definition.find(name.base());
        ix.and_then(|ix| self.definition.step(ix).fan.as_ref()).map_or(1, |fan| fan.parallel as usize)
    }

    fn undo(&self, name: &StepName) -> Option<bool> {
        let ix = self.saga.find_step(name)?;
        self.saga.spec(ix).undo().map(|undo| undo.eager)
    }

    fn fold_timed(&mut self, record: &Record) {
        match &record.event {
            Event::Started { deadline_at, .. } => self.oracle.deadline_at = *deadline_at,
            Event::Renewed { deadline_at } => self.oracle.deadline_at = Some(*deadline_at),
            Event::BranchRegistered { step, .. } => {
                let in_time = self.oracle.deadline_at.is_none_or(|deadline| record.at < deadline);
                assert!(in_time, "branch {step} is registered when the time is up");
            }
            _ => {}
        }
        self.fold(&record.event);
    }

    fn fold(&mut self, event: &Event) {
        let reverted =
            matches!(event, Event::TakenOver { .. } | Event::Compensating { .. }) && !self.oracle.turned;
        assert!(!self.oracle.ended || reverted, "nothing follows the end, yet {event:?} does");
        if let Some(name) = event.step().cloned() {
            self.check_output(&name, event);
            self.fold_unit(&name, event);
        }
        let it = &mut self.oracle;
        match event {
            Event::TakenOver { .. } => it.doubted.extend(it.running.iter().cloned()),
            Event::Committed => it.past = true,
            Event::Compensating { .. } => {
                assert!(!it.past, "past its pivot a saga does not turn round");
                assert!(!std::mem::replace(&mut it.turned, true), "a saga turns round once");
                it.ended = false;
                // What was in flight may have taken effect.
                let running = std::mem::take(&mut it.running);
                let registered = it.registered.clone();
                for name in running.into_iter().chain(registered) {
                    if self.undo(&name).is_some() {
                        self.oracle.stands.insert(name);
                    }
                }
            }
            Event::Completed { .. } => {
                assert!(
                    !it.turned && it.running.is_empty() && it.parked.is_empty(),
                    "what completes is done"
                );
                it.ended = true;
            }
            Event::Compensated => {
                let left: Vec<_> = it.stands.difference(&it.undone).collect();
                assert!(it.turned && left.is_empty() && it.left.is_empty(), "I7: {left:?} are left standing");
                it.ended = true;
            }
            Event::Abandoned => it.ended = true,
            _ => {}
        }
    }

    /// A step yields what its definition says, whoever says so in the end.
    fn check_output(&self, name: &StepName, event: &Event) {
        let output = match event {
            Event::CallDone { op: Op::Action, output, .. }
            | Event::RepairProven { op: Op::Action, output, .. }
            | Event::AwaitDone { output, by_default: false, .. } => output.clone(),
            Event::RepairResolved { op: Op::Action, output, .. } => output.clone().unwrap_or_default(),
            _ => return,
        };
        let ix = self.saga.find_step(name).expect("a step");
        let checked = match self.saga.is_fanned(ix) {
            true => self.saga.spec(ix).check_list(&output),
            false => self.saga.spec(ix).check_returned(&output),
        };
        assert_eq!(checked, Ok(()), "{name} yields {output}");
    }

    fn fold_unit(&mut self, name: &StepName, event: &Event) {
        match event {
            Event::StepSkipped { .. } => drop(self.oracle.skipped.insert(name.clone())),
            Event::BranchRegistered { .. } => {
                assert!(!self.oracle.turned && !self.oracle.past, "a branch comes before the decision");
                self.oracle.registered.push(name.clone());
            }
            Event::CallStarted { op: Op::Action | Op::Confirm, .. } => {
                assert!(!self.oracle.turned, "no action begins after the turn");
                assert!(!self.oracle.skipped.contains(name), "what is skipped is not called");
                self.oracle.running.insert(name.clone());
                let of_step = |other: &&StepName| other.base() == name.base() && other != &name;
                let under_way = self.oracle.running.iter().filter(of_step).count();
                assert!(under_way < self.parallel(name), "no more items are under way than may be");
                self.passes(name, false);
            }
            Event::CallStarted { op: Op::Compensation, .. } => {
                self.check_order(name);
                self.oracle.undoing.insert(name.clone());
            }
            Event::CallDone { op: Op::Compensation, .. }
            | Event::RepairResolved { op: Op::Compensation, .. }
            | Event::RepairProven { op: Op::Compensation, .. } => {
                self.oracle.undoing.remove(name);
                self.oracle.parked.remove(name);
                self.oracle.undone.insert(name.clone());
            }
            Event::CallDone { .. } | Event::RepairResolved { .. } | Event::RepairProven { .. } => {
                self.oracle.running.remove(name);
                self.oracle.parked.remove(name);
                if self.undo(name).is_some() && !self.definition.is_open() {
                    self.oracle.stands.insert(name.clone());
                }
                self.passes(name, true);
            }
            Event::CallFailed { op, .. } if *op != Op::Compensation => {
                self.oracle.doubted.insert(name.clone());
            }
            Event::CallPending { op, .. } if *op != Op::Compensation => {
                self.oracle.pending.insert(name.clone());
            }
            Event::CallNotSeen { op, .. } if *op != Op::Compensation => {
                self.oracle.pending.remove(name);
            }
            Event::CallRefused { op, .. }
            | Event::CallExhausted { op, .. }
            | Event::CallUnprepared { op, .. } => {
                // That a question was at fault says nothing of the call it was about.
                let misled = matches!(event, Event::CallRefused { contract: true, .. });
                let misled = misled && self.oracle.pending.contains(name);
                self.fails(name, *op, misled || matches!(event, Event::CallExhausted { .. }));
            }
            Event::RepairRetried { op, .. } => {
                self.oracle.parked.remove(name);
                let again =
                    if *op == Op::Compensation { &mut self.oracle.undoing } else { &mut self.oracle.running };
                again.insert(name.clone());
            }
            Event::RepairSkipped { op, .. } => {
                // Also while somebody has it tried again: that call's answer counts no more.
                self.oracle.parked.remove(name);
                self.oracle.running.remove(name);
                self.oracle.undoing.remove(name);
                self.oracle.skipped.insert(name.clone());
                if *op == Op::Compensation {
                    self.oracle.stands.remove(name);
                    self.oracle.left.insert(name.clone());
                } else {
                    self.passes(name, true);
                }
            }
            Event::RepairAbandoned { .. } => drop(self.oracle.parked.remove(name)),
            _ => {}
        }
    }

    /// Takes note of the pivot: done, or sent without a way back of its own.
    fn passes(&mut self, name: &StepName, done: bool) {
        let Some(pivot) = self.definition.pivot() else { return };
        let is_pivot = self.definition.step(pivot).name.as_str() == name.as_str();
        self.oracle.past |= is_pivot && (done || self.undo(name).is_none());
    }

    fn fails(&mut self, name: &StepName, op: Op, exhausted: bool) {
        if op == Op::Compensation {
            self.oracle.undoing.remove(name);
            self.oracle.parked.insert(name.clone(), op);
            return;
        }
        let in_doubt = exhausted || self.oracle.doubted.contains(name);
        self.oracle.running.remove(name);
        let pivot = self.definition.pivot().map(|pivot| self.definition.step(pivot).name.to_string());
        if self.oracle.past && pivot.as_deref() == Some(name.as_str()) && !in_doubt {
            // A pivot that was refused was not passed.
            self.oracle.past = false;
        } else if self.oracle.past {
            self.oracle.parked.insert(name.clone(), op);
        } else if in_doubt && self.undo(name).is_some() {
            self.oracle.stands.insert(name.clone());
        }
    }

    /// I10: whatever came later is undone first; of items the last, and no more at a time than may be.
    fn check_order(&self, name: &StepName) {
        let it = &self.oracle;
        assert!(it.turned && it.stands.contains(name), "only what may stand is undone: {name}");
        for later in it.stands.iter().filter(|later| self.comes_after(later, name)) {
            let passed_over = it.parked.contains_key(later) && self.undo(later) == Some(true);
            assert!(it.undone.contains(later) || passed_over, "{name} is undone while {later} may stand");
        }
        let siblings = || it.stands.iter().filter(|other| other.base() == name.base() && *other != name);
        let strict = |other: &&StepName| it.undoing.contains(*other) || it.parked.contains_key(*other);
        if name.as_str() != name.base() {
            assert!(
                siblings().filter(strict).count() < self.parallel(name),
                "too many items are being undone"
            );
            let number = |name: &StepName| name[name.base().len() + 1..name.len() - 1].parse::<usize>().ok();
            for later in siblings().filter(|other| number(other) > number(name)) {
                assert!(strict(&later) || it.undone.contains(later), "{name} is undone before {later}");
            }
        }
    }

    fn input(&mut self, input: Input) -> Result<(), Rejected> {
        let before = self.saga.clone();
        let decided = decide(&self.saga, input.clone(), self.now);
        assert_eq!(self.saga, before, "deciding changes nothing");
        let records = decided?;
        let mut after = self.saga.clone();
        records.iter().for_each(|record| after.apply(record.at, &record.event));
        self.saga = after;
        self.record(records);
        Ok(())
    }

    fn ready(&self) -> Vec<Call> {
        due(&self.saga).calls.into_iter().filter(|call| call.at <= self.now).collect()
    }

    fn pass(&mut self) {
        let wants = due(&self.saga);
        let next =
            wants.calls.iter().map(|call| call.at).chain(wants.wake_at).filter(|at| *at > self.now).min();
        self.now = next.unwrap_or_else(|| self.now.after(Millis(1)));
        self.input(Input::Tick).expect("a saga takes a tick");
    }

    /// One thing happens, decided by a byte; what is refused changes nothing.
    fn step(&mut self, byte: u8) {
        let ready = self.ready();
        let call = (!ready.is_empty()).then(|| &ready[usize::from(byte / 32) % ready.len()]);
        let _ = match (byte % 32, call) {
            (0, _) => self.input(Input::Cancel { reason: "no".to_owned() }),
            (1, _) => {
                let (epoch, owner) = (self.saga.epoch + 1, "another".to_owned());
                self.input(Input::TakeOver { epoch, owner })
            }
            (2, _) => self.signal(byte),
            (3..=5, _) => self.repair(byte),
            (6, Some(call)) => {
                let (step, op) = (call.step.clone(), call.key.op);
                let answer = answer(byte / 8, call);
                self.input(Input::Callback { step, op, answer })
            }
            (7, _) => {
                if byte / 32 == 7 {
                    // Before anybody has taken notice that the time is up.
                    self.now = due(&self.saga).wake_at.map_or(self.now, |wake| wake.max(self.now));
                }
                self.branch(byte / 32)
            }
            (8, _) if self.definition.is_open() && byte > 128 => self.input(Input::Commit),
            (9, _) => self.input(Input::Renew { deadline_at: self.now.after(Millis(30_000)) }),
            (10..=12, _) | (_, None) => {
                self.pass();
                Ok(())
            }
            (kind, Some(call)) => {
                let (key, answer) = (call.key, answer(kind, call));
                self.input(Input::Answer { key, answer })
            }
        };
    }

    fn signal(&mut self, byte: u8) -> Result<(), Rejected> {
        let name = Name::parse("pay").expect("a name");
        let payload = if byte % 64 == 2 { json!("paid") } else { json!(byte / 128) };
        self.input(Input::Signal { name, id: None, payload: Arc::new(payload) })
    }

    fn branch(&mut self, number: u8) -> Result<(), Rejected> {
        let name = Name::parse(&format!("b{number}")).expect("a name");
        let compensation = sketch::operation_of("p.undo");
        let confirm = number.is_multiple_of(2).then(|| sketch::operation_of("p.confirm"));
        let retry = UndoSchedule { quick: 1, ..UndoSchedule::DEFAULT };
        let input = Json::default();
        let terms = BranchTerms { compensation, undo_retry: retry, confirm, retry, input };
        self.input(Input::Branch { name, terms: Box::new(terms) })
    }

    fn repair(&mut self, byte: u8) -> Result<(), Rejected> {
        let open: Vec<_> = self
            .saga
            .items()
            .filter(|(_, _, repair)| repair.is_unsettled())
            .map(|(_, _, r)| r.item)
            .collect();
        let Some(item) = open.get(usize::from(byte) % open.len().max(1)) else { return Ok(()) };
        let verb = match byte / 32 {
            0 => Verb::Skip,
            1 => Verb::Abandon,
            2 => Verb::Assign { assignee: "bob".to_owned() },
            3 => Verb::Prove { output: Json::default() },
            4 | 5 => Verb::Resolve { output: Some(Arc::new(json!({ "n": 0 }))) },
            _ => Verb::Retry { input: None },
        };
        let audit = Audit { by: "ada".to_owned(), note: Some("because".to_owned()), from: None };
        self.input(Input::Repair { item: *item, verb, audit })
    }

    /// From now on all goes well, and somebody looks after what is stuck: the saga comes to its end.
    fn finish(&mut self) {
        for _ in 0..4000 {
            if self.saga.is_terminal() {
                return;
            }
            match self.ready().first() {
                Some(call) => {
                    let key = call.key;
                    let _ =
                        self.input(Input::Answer { key, answer: Answer::Done(Arc::new(json!({ "n": 0 }))) });
                }
                None if self.saga.items().any(|(_, _, repair)| repair.is_unsettled()) => {
                    let taken = self.repair(4 * 32);
                    assert_eq!(taken, Ok(()), "what is stuck can be resolved");
                }
                None => self.pass(),
            }
        }
        panic!("I3: every saga ends, but this one does not: {:#?}", self.saga);
    }

    /// Sends back what has completed.
    fn revert(&mut self) {
        let epoch = self.saga.epoch + 1;
        let records = revert(&self.saga, "sent back".to_owned(), epoch, "another", self.now);
        if self.definition.is_open() || self.definition.pivot().is_some() {
            return assert_eq!(records, Err(Rejected::PastPivot));
        }
        let records = records.expect("a completed saga without a pivot can be reverted");
        records.iter().for_each(|record| self.saga.apply(record.at, &record.event));
        self.record(records);
        self.finish();
        let again = revert(&self.saga, "again".to_owned(), epoch + 1, "another", self.now);
        assert_eq!(again, Err(Rejected::NotCompleted(self.saga.status())), "it is reverted once");
    }
}

fn answer(kind: u8, call: &Call) -> Answer {
    let report = Report::new(Some(500), "no", 1);
    match kind {
        13..=15 => Answer::Unknown { report, retry_after: None },
        16 => Answer::Refused(report),
        17 => Answer::Contract(report),
        19 => Answer::Done(Json::default()),
        18 => Answer::Pending { retry_after: None, repair: call.operation.is_child() },
        _ => Answer::Done(Arc::new(json!({ "n": kind }))),
    }
}

fn play(walk: &mut Walk, script: Vec<u8>) {
    for byte in script {
        if walk.saga.is_terminal() {
            break;
        }
        walk.step(byte);
    }
    walk.finish();
    if walk.saga.status() == amends_saga::Status::Completed {
        walk.revert();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn every_definition_keeps_the_laws_in_every_history(
        shape in shapes(), script in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        play(&mut Walk::new(shape.definition(), None), script);
    }

    #[test]
    fn every_open_saga_keeps_the_laws_in_every_history(script in prop::collection::vec(any::<u8>(), 0..120)) {
        play(&mut Walk::new(Arc::new(Definition::open()), Some(Millis(40_000))), script);
    }
}

/// Histories of one definition, until one breaks a law; says whether one does.
fn is_found(bug: Bug) -> bool {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let histories = (shapes(), prop::collection::vec(any::<u8>(), 0..120), any::<bool>());
    plant(Some(bug));
    let run = runner.run(&histories, |(shape, script, open)| {
        let (definition, timeout) = match open {
            true => (Arc::new(Definition::open()), Some(Millis(40_000))),
            false => (shape.definition(), None),
        };
        play(&mut Walk::new(definition, timeout), script);
        Ok(())
    });
    plant(None);
    run.is_err()
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        Bug::TurnsPastPivot,
        Bug::RevertsPastPivot,
        Bug::FanUnbounded,
        Bug::ItemsUndoneInOrder,
        Bug::BranchAfterTimeout,
        Bug::ReturnsUnchecked,
    ];
    let missed: Vec<Bug> = bugs.into_iter().filter(|bug| !is_found(*bug)).collect();
    assert!(missed.is_empty(), "{missed:?} are not found");
}
