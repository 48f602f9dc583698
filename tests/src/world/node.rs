//! One coordinator process: the production value, driven as the server drives it.

use super::{
    Event as WorldEvent, Fault, World, bugs::Bug, count::Situation, mix::Mix, network, operator, shop::Plan,
    store,
};
use amends_saga::{
    Answer, CallKey, Direction, Input, Millis, Rejected, Report, Saga, SagaId, Start,
    coordinator::{Admission, Coordinator, Effect, Limits, NotTaken, Written},
    gate::GateLimits,
};
use amends_store::{Owner, Stored};
use std::collections::BTreeMap;

/// How long a heartbeat keeps a coordinator a member.
pub(super) const LEASE_MS: i64 = 15_000;

const HEARTBEAT_MS: i64 = 5_000;

/// What happens at a coordinator.
#[derive(Debug)]
pub(super) enum Event {
    /// A timer of the coordinator.
    Wake,
    /// Time for a heartbeat.
    Heartbeat,
    /// Time to look for sagas without an owner.
    Scan,
    /// Time to read again what a failed write has left in doubt.
    Reclaim(Vec<SagaId>),
    /// How the batch was written; `None` when nobody knows.
    Written(Option<Vec<Written>>),
    /// An answer to a call.
    Answer { send: u64, answer: Box<Answer>, timeout: bool },
    /// A caller starts a saga.
    Start { client: usize },
    /// A caller wants a saga cancelled.
    Cancel { id: SagaId },
    /// A caller wants a completed saga undone.
    Revert { id: SagaId },
    /// Somebody does something about a stuck step.
    Repair(Box<operator::Ask>),
}

/// A coordinator process.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) incarnation: u32,
    pub(super) is_up: bool,
    /// It crashed for ever.
    pub(super) is_gone: bool,
    pub(super) paused_until: i64,
    /// When the last of what happened while it was paused reaches it.
    pub(super) delayed_until: i64,
    pub(super) coordinator: Coordinator,
    limits: Limits,
    pub(super) owner: Owner,
    pub(super) index: usize,
    lease_seen: i64,
    wake_at: Option<i64>,
    /// The calls made, and whether an answer was given for each.
    sends: BTreeMap<u64, (SagaId, CallKey, bool)>,
    waiting: BTreeMap<SagaId, Vec<usize>>,
    started: u64,
    /// The sagas in the batch being written.
    batch_len: usize,
}

impl Node {
    pub(super) fn new(index: usize, mix: &Mix, now: i64) -> Node {
        let gates = mix.gates.then(|| GateLimits {
            in_flight_max: mix.in_flight_max,
            waiting_max: mix.waiting_max,
            retry_floor: mix.retries,
            // Short, so that what never works has spent its attempts before the run is over.
            open_first: Millis(1_000),
            open_max: Millis(4_000),
            ..GateLimits::default()
        });
        let limits = Limits { sagas_max: mix.sagas_max, batch_max: 8, sleeping_max: mix.sleeping_max, gates };
        Node {
            incarnation: 0,
            is_up: true,
            is_gone: false,
            paused_until: 0,
            delayed_until: 0,
            coordinator: Coordinator::new(limits),
            limits,
            owner: Owner { incarnation: SagaId::nil(), name: String::new() },
            index,
            lease_seen: now,
            wake_at: None,
            sends: BTreeMap::new(),
            waiting: BTreeMap::new(),
            started: 0,
            batch_len: 0,
        }
    }

    /// Forgets everything, as a process that begins anew.
    fn renew(&mut self, now: i64) {
        self.incarnation += 1;
        self.coordinator = Coordinator::new(self.limits);
        let id = SagaId::from_u64_pair(self.index as u64 + 1, u64::from(self.incarnation));
        self.owner = Owner { incarnation: id, name: format!("node {}", self.index) };
        self.lease_seen = now;
        self.wake_at = None;
        self.sends.clear();
        self.waiting.clear();
    }

    fn fresh_id(&mut self, now: i64) -> SagaId {
        self.started += 1;
        SagaId::from_u64_pair(((now as u64) << 16) | 0x7000, ((self.index as u64 + 8) << 60) | self.started)
    }
}

impl World {
    /// Starts a coordinator process.
    pub(super) fn boot(&mut self, node: usize) {
        let now = self.now;
        self.nodes[node].renew(now);
        let incarnation = self.nodes[node].incarnation;
        let scan = self.random.within(0, 1000);
        self.at(0, WorldEvent::Node { node, incarnation, event: Event::Heartbeat });
        self.at(scan, WorldEvent::Node { node, incarnation, event: Event::Scan });
    }

    pub(super) fn crash(&mut self, node: usize) {
        if !self.nodes[node].is_up {
            return;
        }
        self.count(Situation::Crashed);
        self.nodes[node].is_up = false;
        self.nodes[node].incarnation += 1;
        if self.mix.never_returns && self.nodes.iter().any(|n| n.is_up) {
            self.nodes[node].is_gone = true;
            return self.count(Situation::NeverReturned);
        }
        let ms = self.random.within(10, 30_000);
        self.at(ms, WorldEvent::Fault(Fault::Restart(node)));
    }

    pub(super) fn restart(&mut self, node: usize) {
        if !self.nodes[node].is_up && !self.nodes[node].is_gone {
            self.nodes[node].is_up = true;
            self.nodes[node].paused_until = 0;
            self.boot(node);
        }
    }

    /// Starts a process anew with room for every saga, if it had none.
    pub(super) fn widen(&mut self, node: usize) {
        let few = self.nodes[node].limits.sagas_max < 100;
        self.nodes[node].limits.sagas_max = 1000;
        if few && self.nodes[node].is_up {
            self.boot(node);
        }
    }

    pub(super) fn pause(&mut self, node: usize, ms: i64) {
        if self.nodes[node].is_up {
            self.nodes[node].paused_until = self.now + ms;
            if ms > LEASE_MS {
                self.count(Situation::PausedBeyondLease);
            }
        }
    }

    pub(super) fn node(&mut self, node: usize, incarnation: u32, event: Event) {
        let it = &self.nodes[node];
        if !it.is_up
            || (it.incarnation != incarnation
                && !matches!(event, Event::Start { .. } | Event::Cancel { .. } | Event::Revert { .. }))
        {
            return;
        }
        if it.paused_until > self.now {
            let wait = it.paused_until - self.now;
            self.nodes[node].delayed_until = it.paused_until;
            return self.at(wait, WorldEvent::Node { node, incarnation, event });
        }
        if self.mix.self_fence && self.now > it.lease_seen + LEASE_MS - 3000 {
            self.count(Situation::SelfFenced);
            self.note(|_| format!("node {node} stops: its lease has run out"));
            return self.boot(node);
        }
        self.stir(&[2, node as u64, u64::from(incarnation)]);
        match event {
            // Another was set for later, after this one had been set.
            Event::Wake if self.nodes[node].wake_at.is_some_and(|at| at > self.now) => {}
            Event::Wake => {
                self.nodes[node].wake_at = None;
                let now = self.time();
                let effects = self.nodes[node].coordinator.tick(now);
                self.perform(node, effects);
            }
            Event::Heartbeat => return self.heartbeat(node),
            Event::Scan => self.scan(node),
            Event::Reclaim(ids) => self.reclaim(node, ids),
            Event::Written(outcome) => self.batch_written(node, outcome),
            Event::Answer { send, answer, timeout } => self.answered(node, send, *answer, timeout),
            Event::Start { client } => self.admit(node, client),
            Event::Repair(ask) => self.repair(node, *ask),
            Event::Cancel { id } => {
                let (now, reason) = (self.time(), "somebody changed their mind".to_owned());
                let told = self.nodes[node].coordinator.input(id, Input::Cancel { reason }, now);
                if told == Err(NotTaken::Rejected(Rejected::PastPivot)) {
                    self.count(Situation::CancelTooLate);
                }
            }
            Event::Revert { id } => self.revert(node, id),
        }
        self.pump(node);
    }

    fn heartbeat(&mut self, node: usize) {
        if self.settled {
            return;
        }
        let (now, incarnation) = (self.time(), self.nodes[node].incarnation);
        if !self.random.chance(self.mix.store_before) {
            if self.store.heartbeat(&self.nodes[node].owner, now).is_err() {
                self.count(Situation::LeaseLost);
                self.note(|_| format!("node {node} begins anew: its lease is lost"));
                return self.boot(node);
            }
            self.nodes[node].lease_seen = now.0;
        }
        self.at(HEARTBEAT_MS, WorldEvent::Node { node, incarnation, event: Event::Heartbeat });
    }

    fn scan(&mut self, node: usize) {
        if self.settled {
            return;
        }
        let (now, incarnation) = (self.time(), self.nodes[node].incarnation);
        let again = self.random.within(1000, 2000);
        self.at(again, WorldEvent::Node { node, incarnation, event: Event::Scan });
        if self.random.chance(self.mix.store_before) {
            return;
        }
        let Ok(claimed) = self.store.claim(&self.nodes[node].owner, now) else { return };
        self.claimed(node, claimed);
    }

    fn reclaim(&mut self, node: usize, mut ids: Vec<SagaId>) {
        // What somebody has woken meanwhile is this node's own.
        let it = &self.nodes[node].coordinator;
        ids.retain(|id| it.get(*id).is_none() || it.is_asleep(*id));
        let (now, incarnation) = (self.time(), self.nodes[node].incarnation);
        if self.random.chance(self.mix.store_before) {
            return self.at(500, WorldEvent::Node { node, incarnation, event: Event::Reclaim(ids) });
        }
        let Ok(claimed) = self.store.reclaim(&self.nodes[node].owner, &ids, now) else { return };
        self.claimed(node, claimed);
    }

    /// Claims a saga that waits for an operator.
    pub(super) fn take_back(&mut self, node: usize, id: SagaId) {
        let now = self.time();
        if self.random.chance(self.mix.store_before) {
            return;
        }
        let Ok(claimed) = self.store.reclaim(&self.nodes[node].owner, &[id], now) else { return };
        self.claimed(node, claimed);
    }

    fn claimed(&mut self, node: usize, claimed: Vec<Stored>) {
        for stored in &claimed {
            self.checker.claimed(stored.id, stored.epoch);
        }
        // A claim that took effect without the coordinator learning of it: it cannot know what it owns.
        if !claimed.is_empty() && self.random.chance(self.mix.store_after) {
            self.note(|_| format!("node {node} begins anew: a claim was not answered"));
            if self.bug != Some(Bug::LostClaimIgnored) {
                self.boot(node);
            }
            return;
        }
        for stored in claimed {
            self.adopt(node, stored);
        }
    }

    fn adopt(&mut self, node: usize, stored: Stored) {
        let plan = Plan::find(&stored.head.hash);
        let saga = Saga::replay(stored.id, plan.definition.clone(), &stored.records);
        if saga.sleeps_until().is_some_and(|at| at <= self.time()) {
            self.count(Situation::FoundAsleep);
        }
        self.count(match saga.direction {
            Direction::Forward => Situation::TakeOverRunning,
            Direction::Backward => Situation::TakeOverCompensating,
        });
        self.note(|_| format!("node {node} takes over {} in epoch {}", stored.id, stored.epoch));
        let (now, owner) = (self.time(), self.nodes[node].owner.name.clone());
        let it = &mut self.nodes[node];
        it.coordinator.adopt(saga, stored.head.fingerprint, stored.epoch, &owner, now);
        for client in it.waiting.remove(&stored.id).unwrap_or_default() {
            self.acknowledge(node, client, stored.id);
        }
    }

    fn batch_written(&mut self, node: usize, outcome: Option<Vec<Written>>) {
        let (now, incarnation) = (self.time(), self.nodes[node].incarnation);
        match outcome {
            Some(outcomes) => {
                let effects = self.nodes[node].coordinator.written(&outcomes, now);
                self.perform(node, effects);
            }
            None if self.bug == Some(Bug::UnknownCommitTrusted) => {
                let taken = self.nodes[node].batch_len;
                let effects = self.nodes[node].coordinator.written(&vec![Written::Done; taken], now);
                self.perform(node, effects);
            }
            None => {
                let ids = self.nodes[node].coordinator.write_failed();
                if self.bug != Some(Bug::DoubtfulNotReclaimed) {
                    let ms = self.random.within(50, 500);
                    self.at(ms, WorldEvent::Node { node, incarnation, event: Event::Reclaim(ids) });
                }
            }
        }
    }

    /// Hands the next batch to the store and sets the timer.
    pub(super) fn pump(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        if let Some(batch) = self.nodes[node].coordinator.take_batch() {
            self.nodes[node].batch_len = batch.len();
            let ms = self.random.within(1, 20);
            if self.random.chance(self.mix.store_before) {
                self.count(Situation::CommitLostNotApplied);
                self.at(ms, WorldEvent::Node { node, incarnation, event: Event::Written(None) });
            } else {
                let mute = self.random.chance(self.mix.store_after);
                let owner = self.nodes[node].owner.clone();
                let write = store::Event::Write { node, incarnation, owner, batch, mute };
                self.at(ms, WorldEvent::Store(write));
            }
        }
        if let Some(wake) = self.nodes[node].coordinator.next_wake()
            && self.nodes[node].wake_at.is_none_or(|at| wake.0 < at)
        {
            self.nodes[node].wake_at = Some(wake.0);
            let ms = (wake.0 - self.now).max(0);
            self.at(ms, WorldEvent::Node { node, incarnation, event: Event::Wake });
        }
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Accepted(id) => {
                    for client in self.nodes[node].waiting.remove(&id).unwrap_or_default() {
                        self.acknowledge(node, client, id);
                    }
                }
                Effect::KeyTaken { id, by, same } => {
                    for client in self.nodes[node].waiting.remove(&id).unwrap_or_default() {
                        match same {
                            true => self.acknowledge(node, client, by),
                            false => self.refuse(client),
                        }
                    }
                }
                Effect::Send { saga, epoch, call } => self.send(node, saga, epoch, call),
                Effect::Advanced(_) | Effect::Repairs(_) | Effect::Shelved(_) => {}
                Effect::Asleep(_) => self.count(Situation::Asleep),
                Effect::Wake(id) => {
                    self.count(Situation::Woken);
                    let (ms, incarnation) = (self.random.within(1, 50), self.nodes[node].incarnation);
                    let event = Event::Reclaim(vec![id]);
                    self.at(ms, WorldEvent::Node { node, incarnation, event });
                }
                Effect::Ended(ended) => self.ended(&ended.0),
                Effect::Lost(id) => {
                    self.nodes[node].waiting.remove(&id);
                    self.note(|_| format!("node {node} has lost {id}"));
                }
            }
        }
    }

    /// Compares what a coordinator believes of a saga that has ended with what is durable.
    fn ended(&mut self, saga: &Saga) {
        self.note(|_| format!("{} has ended: {:?}", saga.id, saga.status()));
        let Some(stored) = self.store.load(saga.id) else {
            return self.checker.violated(format!("I1: {} ended and is not in the store", saga.id));
        };
        let durable = Saga::replay(saga.id, saga.definition.clone(), &stored.records);
        if durable != *saga {
            self.checker.violated(format!("I15: {} ended unlike its journal", saga.id));
        }
    }

    fn send(&mut self, node: usize, id: SagaId, epoch: u64, call: amends_saga::Call) {
        let believes = self.nodes[node].coordinator.get(id).map_or(Direction::Forward, |saga| saga.direction);
        self.checker.sent(id, &call.step, call.key.op, believes);
        self.next_send += 1;
        let send = self.next_send;
        self.nodes[node].sends.insert(send, (id, call.key, false));
        self.note(|_| {
            format!(
                "node {node} sends {send}: {} {} {:?} of {id}",
                call.operation.participant, call.operation.name, call.key
            )
        });
        let incarnation = self.nodes[node].incarnation;
        let timeout = call.operation.timeout.0 as i64;
        let report = Report::new(None, "no answer in time", call.operation.timeout.0);
        let answer = match self.bug {
            Some(Bug::TimeoutRefuses) => Answer::Refused(report),
            _ => Answer::Unknown { report, retry_after: None },
        };
        let event = Event::Answer { send, answer: Box::new(answer), timeout: true };
        self.at(timeout, WorldEvent::Node { node, incarnation, event });
        self.transmit(network::Request { node, incarnation, send, saga: id, epoch, call });
    }

    /// Gives an answer to the coordinator. Late ones too: it must tell by itself that they are stale.
    fn answered(&mut self, node: usize, send: u64, answer: Answer, timeout: bool) {
        let now = self.time();
        let Some((id, key, answered)) = self.nodes[node].sends.get_mut(&send) else { return };
        let (id, key, late) = (*id, *key, std::mem::replace(answered, true));
        if late && timeout {
            return;
        }
        if late {
            self.count(Situation::LateReply);
        }
        let before = self.nodes[node].coordinator.get(id).map(|saga| saga.seq);
        self.stir(&[5, send]);
        self.note(|_| format!("node {node} hears on {send}: {answer:?}"));
        let taken = self.nodes[node].coordinator.input(id, Input::Answer { key, answer }, now).is_ok();
        if taken && self.nodes[node].coordinator.get(id).map(|saga| saga.seq) == before {
            self.count(Situation::StaleReply);
        }
    }

    fn admit(&mut self, node: usize, client: usize) {
        let (now, it) = (self.time(), &mut self.nodes[node]);
        let (definition, input, key, fingerprint) = self.clients[client].request();
        let (id, timeout) = (it.fresh_id(now.0), self.clients[client].timeout());
        let start = Start { key: Some(key), timeout, ..Start::new(id, definition, input) };
        let early = self.bug == Some(Bug::EarlyAck);
        match it.coordinator.start(start, fingerprint, now) {
            Admission::New if early => self.acknowledge(node, client, id),
            Admission::New => it.waiting.entry(id).or_default().push(client),
            Admission::Repeat { id, durable: false } => it.waiting.entry(id).or_default().push(client),
            Admission::Repeat { id, durable: true } => {
                self.count(Situation::KeyRepeated);
                self.acknowledge(node, client, id);
            }
            Admission::KeyReused { .. } => self.refuse(client),
            Admission::Full => self.count(Situation::AdmissionRefused),
            Admission::Busy { .. } => self.count(Situation::ParticipantBusy),
        }
    }
}
