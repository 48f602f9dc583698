//! A coordinator under steady load in virtual time, beside participants that have bad days.
//!
//! Unlike [`crate::world`] nothing is random here: sagas start at a fixed rate, every message takes a fixed time, and what is
//! asked is how the load on a participant looks second by second while it is down, slow, or back again. The
//! coordinator is the production [`Coordinator`], driven as the server drives it.

mod server;

pub use server::{Server, Weather};

use amends_saga::{
    Answer, Call, CallKey, Coordinator, Definition, Input, Json, Millis, Op, Question, Report, SagaId, Start,
    Status, Timestamp,
    coordinator::{Admission, Effect, Limits, Written},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

/// How long writing a batch takes.
const WRITE_MS: i64 = 2;

/// How long a message takes to a participant or back.
const NETWORK_MS: i64 = 1;

/// What to run.
#[derive(Debug)]
pub struct Plan {
    /// What is started, in turn.
    pub definitions: Vec<Arc<Definition>>,
    /// Sagas started a second, evenly.
    pub per_second: u64,
    /// From when on sagas are started at another rate, and at which.
    pub surge: Option<(i64, u64)>,
    /// How long sagas are started.
    pub starting_ms: i64,
    /// When the run is over, whatever is left.
    pub end_ms: i64,
    /// The participants, by name; one that is not listed answers at once.
    pub servers: BTreeMap<&'static str, Server>,
    /// What the coordinator takes on.
    pub limits: Limits,
}

impl Plan {
    /// When the nth saga is started.
    fn start_ms(&self, n: u64) -> i64 {
        let (n, steady) = (n as i64, self.per_second as i64);
        match self.surge {
            Some((from, rate)) if n * 1000 / steady > from => {
                from + (n - from * steady / 1000) * 1000 / rate as i64
            }
            _ => n * 1000 / steady,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// When each call reached a participant, or would have if it were there.
    pub arrivals: BTreeMap<String, Vec<i64>>,
    /// How each saga ended, and when it was started and ended.
    pub ends: BTreeMap<SagaId, (Status, i64, i64)>,
    /// Sagas admitted.
    pub started: usize,
    /// Starts refused.
    pub refused: usize,
    /// Repair items opened.
    pub items: usize,
}

#[derive(Debug)]
enum Event {
    Start(u64),
    Written(usize),
    Arrive { saga: SagaId, call: Box<Call> },
    Answer { saga: SagaId, key: CallKey, answer: Answer },
    Wake(i64),
}

struct Scheduled(i64, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Run<'a> {
    plan: &'a mut Plan,
    coordinator: Coordinator,
    now: i64,
    order: u64,
    heap: BinaryHeap<Reverse<Scheduled>>,
    wake_at: Option<i64>,
    outcome: Outcome,
    started_at: BTreeMap<SagaId, i64>,
}

/// Runs a plan to its end.
pub fn run(mut plan: Plan) -> Outcome {
    let coordinator = Coordinator::new(plan.limits);
    let mut run = Run {
        plan: &mut plan,
        coordinator,
        now: 0,
        order: 0,
        heap: BinaryHeap::new(),
        wake_at: None,
        outcome: Outcome::default(),
        started_at: BTreeMap::new(),
    };
    run.at(0, Event::Start(0));
    while let Some(Reverse(Scheduled(at, _, event))) = run.heap.pop() {
        run.now = at;
        if at > run.plan.end_ms {
            break;
        }
        run.handle(event);
        run.pump();
    }
    run.outcome
}

impl Run<'_> {
    fn at(&mut self, at: i64, event: Event) {
        self.order += 1;
        self.heap.push(Reverse(Scheduled(at.max(self.now), self.order, event)));
    }

    fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn handle(&mut self, event: Event) {
        let now = self.time();
        match event {
            Event::Start(n) => self.start(n),
            Event::Written(count) => {
                let effects = self.coordinator.written(&vec![Written::Done; count], now);
                self.perform(effects);
            }
            Event::Arrive { saga, call } => self.arrive(saga, &call),
            Event::Answer { saga, key, answer } => {
                let _ = self.coordinator.input(saga, Input::Answer { key, answer }, now);
            }
            // One that an earlier one has overtaken.
            Event::Wake(at) if self.wake_at != Some(at) => return,
            Event::Wake(_) => self.wake_at = None,
        }
        let effects = self.coordinator.tick(now);
        self.perform(effects);
    }

    fn start(&mut self, n: u64) {
        let id = SagaId::from_u64_pair(((self.now as u64) << 16) | 0x7000, (8 << 60) | n);
        let definitions = &self.plan.definitions;
        let start = Start {
            id,
            definition: definitions[n as usize % definitions.len()].clone(),
            input: Json::default(),
            key: None,
            labels: BTreeMap::new(),
            parent: None,
            timeout: None,
            barred: false,
        };
        match self.coordinator.start(start, [0; 32], self.time()) {
            Admission::New => {
                self.outcome.started += 1;
                self.started_at.insert(id, self.now);
            }
            _ => self.outcome.refused += 1,
        }
        let next = self.plan.start_ms(n + 1);
        if next < self.plan.starting_ms {
            self.at(next, Event::Start(n + 1));
        }
    }

    fn arrive(&mut self, saga: SagaId, call: &Call) {
        let name = call.operation.participant.as_str();
        self.outcome.arrivals.entry(name.to_owned()).or_default().push(self.now);
        let (key, timeout) = (call.key, call.operation.timeout.0 as i64);
        let said = match self.plan.servers.get_mut(name) {
            Some(server) => server.take(self.now, timeout),
            None => Ok(0),
        };
        let (after, answer) = match said {
            Ok(after) if key.question == Question::Status && key.op == Op::Action => (after, Answer::NotSeen),
            Ok(after) => (after, Answer::Done(Json::default())),
            Err((after, why)) => {
                (after, Answer::Unknown { report: Report::new(None, why, after as u64), retry_after: None })
            }
        };
        self.at(self.now + after + NETWORK_MS, Event::Answer { saga, key, answer });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { saga, call, .. } => {
                    self.at(self.now + NETWORK_MS, Event::Arrive { saga, call: Box::new(call) });
                }
                Effect::Ended(ended) => {
                    let saga = &ended.0;
                    let begun = self.started_at.remove(&saga.id).unwrap_or_default();
                    self.outcome.ends.insert(saga.id, (saga.status(), begun, self.now));
                }
                Effect::Repairs(rows) => {
                    self.outcome.items += rows.iter().filter(|row| row.opened_at == row.updated_at).count();
                }
                _ => {}
            }
        }
    }

    /// Writes what was decided, and sets the timer.
    fn pump(&mut self) {
        if let Some(batch) = self.coordinator.take_batch() {
            self.at(self.now + WRITE_MS, Event::Written(batch.len()));
        }
        let Some(wake) = self.coordinator.next_wake() else { return };
        let at = wake.0.max(self.now + 1);
        if self.wake_at.is_none_or(|before| at < before) {
            self.wake_at = Some(at);
            self.at(at, Event::Wake(at));
        }
    }
}

impl Outcome {
    /// Calls that reached a participant, in each whole second of the run.
    pub fn each_second(&self, participant: &str, end_ms: i64) -> Vec<u64> {
        let mut seconds = vec![0; usize::try_from(end_ms / 1000 + 1).unwrap_or(0)];
        for at in self.arrivals.get(participant).into_iter().flatten() {
            if let Some(count) = seconds.get_mut((*at / 1000) as usize) {
                *count += 1;
            }
        }
        seconds
    }

    /// The most calls that reached a participant in any 1,000 ms.
    pub fn most_in_a_second(&self, participant: &str) -> u64 {
        let arrivals = self.arrivals.get(participant).map(Vec::as_slice).unwrap_or_default();
        let mut first = 0;
        let mut most = 0;
        for (last, at) in arrivals.iter().enumerate() {
            while arrivals[first] <= at - 1000 {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most as u64
    }

    /// How many sagas ended so that were started within a span.
    pub fn ended(&self, status: Status, from_ms: i64, to_ms: i64) -> usize {
        let fits = |(how, begun, _): &&(Status, i64, i64)| *how == status && (from_ms..to_ms).contains(begun);
        self.ends.values().filter(fits).count()
    }
}

/// A span of virtual time, for limits.
pub fn seconds(n: u64) -> Millis {
    Millis::from_secs(n)
}
