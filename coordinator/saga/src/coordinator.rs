//! Many sagas as one value: admission, timers, what is in flight, and what must be written first.
//!
//! The contract of driving it, step by step; the server's run loop, the simulator and the model checker
//! are three drivers of this same value:
//!
//! 1. Give it what happened: [`Coordinator::start`], [`Coordinator::input`], [`Coordinator::adopt`].
//! 2. Let time pass: [`Coordinator::tick`], at the latest at [`Coordinator::next_wake`].
//! 3. When no batch is being written, take one: [`Coordinator::take_batch`], and write it.
//! 4. Report how the writing went: [`Coordinator::written`] or [`Coordinator::write_failed`].
//! 5. Perform the [`Effect`]s that come back, and only those.
//!
//! The invariant it keeps: **nothing is performed before its cause is durable.** An effect is derived
//! from a saga only while everything decided about that saga is written.

mod append;
mod gates;
mod revert;
mod sleep;

pub use append::{Append, Head, Written};

use crate::{
    Answer, Name, Rejected, SagaId, Start,
    decide::{self, Input, decide_knowing},
    definition::StepIx,
    due::{Call, CallKey, due},
    event::{Op, Record},
    gate::{self, GateLimits, Gates},
    planted::{Bug, planted},
    repair::{Repair, RepairRow},
    state::Saga,
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// The hash by which a repeated start is told from another start under the same key.
pub type Fingerprint = [u8; 32];

/// Many sagas and what they wait for.
#[derive(Debug, Clone)]
pub struct Coordinator {
    limits: Limits,
    sagas: BTreeMap<SagaId, Entry>,
    keys: BTreeMap<String, SagaId>,
    dirty: Vec<SagaId>,
    timers: BTreeSet<(Timestamp, SagaId)>,
    writing: Option<Vec<Writing>>,
    gates: Gates,
    sleepers: sleep::Sleepers,
}

/// One saga of the batch being written, as it was when the batch was taken.
#[derive(Debug, Clone)]
struct Writing {
    id: SagaId,
    epoch: u64,
    is_new: bool,
    repairs: Vec<RepairRow>,
}

/// How much a coordinator takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sagas that have not ended, at most; further starts are refused.
    pub sagas_max: usize,
    /// Sagas in one batch, at most.
    pub batch_max: usize,
    /// Sleeping sagas kept at hand, at most; of any more only the time is known at which they wake.
    pub sleeping_max: usize,
    /// How participants are spared; without any every call goes at once.
    pub gates: Option<GateLimits>,
}

#[derive(Debug, Clone)]
struct Entry {
    saga: Saga,
    fingerprint: Fingerprint,
    /// Decided but not handed to the store.
    unwritten: Vec<Record>,
    /// The repair items that these events open or change.
    repairs: Vec<RepairRow>,
    /// The last sequence number that is durable; 0 before the first write.
    durable_seq: u64,
    /// Handed to their gates and not answered yet.
    in_flight: BTreeSet<CallKey>,
    /// Those of them that wait at a gate, with its participant.
    waiting: BTreeMap<CallKey, Name>,
    timer: Option<Timestamp>,
    /// Its place among the sleeping, while it is asleep.
    sleeps: Option<u64>,
    dirty: bool,
}

/// What is to be done now that its cause is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A saga's start is durable; its caller may be told.
    Accepted(SagaId),
    /// A saga was not started, because its key is taken.
    KeyTaken {
        /// The saga that was not started.
        id: SagaId,
        /// The saga that has the key.
        by: SagaId,
        /// Whether that one was started with the same body.
        same: bool,
    },
    /// Make this call and report its answer with [`Input::Answer`], whatever comes.
    Send {
        /// The saga.
        saga: SagaId,
        /// The epoch to send along.
        epoch: u64,
        /// The call.
        call: Call,
    },
    /// The saga's journal has grown.
    Advanced(SagaId),
    /// Repair items were opened or changed.
    Repairs(Vec<RepairRow>),
    /// The saga waits for nothing but an operator and is no longer held here; it is nobody's in the store.
    Shelved(SagaId),
    /// The saga sleeps and is no longer held here; it is nobody's in the store.
    Asleep(SagaId),
    /// The saga's sleep is over: take it from the store again and [`Coordinator::adopt`] it.
    Wake(SagaId),
    /// The saga has ended and is no longer held here.
    Ended(Box<Ended>),
    /// Another owner drives the saga now; it is no longer held here.
    Lost(SagaId),
}

/// A saga that has ended, as it leaves the coordinator.
#[derive(Debug, Clone)]
pub struct Ended(pub Saga);

impl PartialEq for Ended {
    fn eq(&self, other: &Ended) -> bool {
        (self.0.id, self.0.seq) == (other.0.id, other.0.seq)
    }
}

/// What a start has led to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The saga is new; [`Effect::Accepted`] or [`Effect::KeyTaken`] follows.
    New,
    /// The key belongs to a live saga started with the same body.
    Repeat {
        /// That saga.
        id: SagaId,
        /// Whether its start is durable already; if not, [`Effect::Accepted`] follows.
        durable: bool,
    },
    /// The key belongs to a live saga started with another body, durably.
    KeyReused {
        /// That saga.
        id: SagaId,
    },
    /// So much waits for a participant of the definition that one more would only wait as well.
    Busy {
        /// Which.
        participant: Name,
    },
    /// There are as many sagas as the limits allow, or another start under the key is still being written:
    /// ask again later.
    Full,
}

/// Why an input to a saga was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The saga is not held here: it has ended, or never was.
    NotHeld,
    /// The saga itself rejects it.
    Rejected(Rejected),
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sagas_max: 1_000_000,
            batch_max: 1024,
            sleeping_max: 10_000,
            gates: Some(GateLimits::default()),
        }
    }
}

impl Coordinator {
    /// Makes a coordinator that holds no saga.
    pub fn new(limits: Limits) -> Coordinator {
        Coordinator {
            limits,
            sagas: BTreeMap::new(),
            keys: BTreeMap::new(),
            dirty: Vec::new(),
            timers: BTreeSet::new(),
            writing: None,
            gates: Gates::new(limits.gates),
            sleepers: sleep::Sleepers::default(),
        }
    }

    /// The number of sagas held.
    pub fn len(&self) -> usize {
        self.sagas.len()
    }

    /// Whether no saga is held.
    pub fn is_empty(&self) -> bool {
        self.sagas.is_empty()
    }

    /// A saga as decided so far, durable or not.
    pub fn get(&self, id: SagaId) -> Option<&Saga> {
        self.sagas.get(&id).map(|entry| &entry.saga)
    }

    /// Every saga held, by id.
    pub fn sagas(&self) -> impl Iterator<Item = &Saga> {
        self.sagas.values().map(|entry| &entry.saga)
    }

    /// Whether everything decided about a saga is durable, so that it may be shown.
    pub fn is_durable(&self, id: SagaId) -> bool {
        self.sagas.get(&id).is_some_and(|entry| entry.durable_seq == entry.saga.seq)
    }

    /// The calls of a saga that were sent and not answered yet.
    pub fn in_flight(&self, id: SagaId) -> impl Iterator<Item = CallKey> {
        self.sagas.get(&id).into_iter().flat_map(|entry| entry.in_flight.iter().copied())
    }

    /// Whether a batch is being written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The live saga that was started under a key.
    pub fn by_key(&self, key: &str) -> Option<SagaId> {
        self.keys.get(key).copied()
    }

    /// The next time at which [`Coordinator::tick`] has something to do.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.gates.next_wake()].into_iter().flatten().min()
    }

    /// Takes a new saga on.
    pub fn start(&mut self, start: Start, fingerprint: Fingerprint, now: Timestamp) -> Admission {
        if let Some(id) = start.key.as_deref().and_then(|key| self.by_key(key)) {
            let entry = &self.sagas[&id];
            let durable = entry.durable_seq > 0;
            return match entry.fingerprint == fingerprint {
                true => Admission::Repeat { id, durable },
                false if durable => Admission::KeyReused { id },
                // That start may itself turn out to have come too late, so it proves nothing yet.
                false => Admission::Full,
            };
        }
        if let Some(entry) = self.sagas.get(&start.id) {
            // Only a child saga's start comes again under its id, and then it is the same.
            return Admission::Repeat { id: start.id, durable: entry.durable_seq > 0 };
        }
        if self.sagas.len() >= self.limits.sagas_max {
            return Admission::Full;
        }
        if let Some(participant) = self.busy_participant(&start) {
            return Admission::Busy { participant };
        }
        let (saga, records) = decide::start(start, now);
        if let Some(key) = &saga.key {
            self.keys.insert(key.clone(), saga.id);
        }
        let id = saga.id;
        let mut entry = Entry::new(saga, fingerprint, 0);
        entry.unwritten = records;
        let before = self.sagas.insert(id, entry);
        assert!(before.is_none(), "saga ids are unique, {id} came twice");
        self.mark(id);
        Admission::New
    }

    /// Takes over a saga whose durable state was read from the store and claimed with `epoch`.
    ///
    /// A shelved saga comes back this way too, to be given a verb at once: without one it is shelved again.
    /// A saga held here under a lower epoch is replaced: it was lost to another owner that is gone by now,
    /// and what this coordinator still believes of it is out of date.
    pub fn adopt(&mut self, saga: Saga, fingerprint: Fingerprint, epoch: u64, owner: &str, now: Timestamp) {
        let held = self.sagas.get(&saga.id);
        let is_newer = held.is_none_or(|held| held.saga.epoch < epoch && !planted(Bug::HeldBlocksAdoption));
        if saga.is_terminal() || !is_newer {
            return;
        }
        let id = saga.id;
        self.forget(id);
        self.is_awake(id);
        if let Some(key) = &saga.key {
            self.keys.insert(key.clone(), id);
        }
        let durable_seq = saga.seq;
        self.sagas.insert(id, Entry::new(saga, fingerprint, durable_seq));
        let taken = self.input(id, Input::TakeOver { epoch, owner: owner.to_owned() }, now);
        assert_eq!(taken, Ok(()), "a live saga can be taken over");
    }

    /// Gives a saga something that happened.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing was changed.
    pub fn input(&mut self, id: SagaId, input: Input, now: Timestamp) -> Result<(), NotTaken> {
        if let Input::Answer { key, answer } = &input {
            self.gates.answered((id, *key), matches!(answer, Answer::Unknown { .. }), now);
        }
        let entry = self.sagas.get_mut(&id).ok_or(NotTaken::NotHeld)?;
        if let Input::Answer { key, .. } = &input {
            entry.in_flight.remove(key);
        }
        let waits = |key| entry.waiting.contains_key(&key);
        let records = decide_knowing(&entry.saga, input, now, &waits).map_err(NotTaken::Rejected)?;
        if !records.is_empty() {
            entry.fold(records);
            self.mark(id);
        }
        Ok(())
    }

    /// Fires the timers that are due, and performs what was only waiting for its time.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        // One by one: splitting the set would count what stays behind, and that may be a million.
        let mut fired = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            fired.extend(self.timers.pop_first());
        }
        for (_, id) in fired {
            if self.wakes(id) {
                effects.push(Effect::Wake(id));
                continue;
            }
            let Some(entry) = self.sagas.get_mut(&id) else { continue };
            entry.timer = None;
            let taken = self.input(id, Input::Tick, now);
            assert_eq!(taken, Ok(()), "a held saga takes a tick");
            if self.is_asleep(id) {
                // What it would do now needs no event first, so nothing would show whose it is.
                effects.push(Effect::Wake(id));
            } else {
                self.reconcile(id, now, &mut effects);
            }
        }
        self.release(now, &mut effects);
        effects
    }

    /// Everything decided since the last batch, `None` while one is being written or when there is nothing.
    pub fn take_batch(&mut self) -> Option<Vec<Append>> {
        if self.writing.is_some() || self.dirty.is_empty() {
            return None;
        }
        let rest = self.dirty.split_off(self.dirty.len().min(self.limits.batch_max));
        let ids = std::mem::replace(&mut self.dirty, rest);
        let mut batch = Vec::with_capacity(ids.len());
        let mut writing = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = self.sagas.get_mut(&id).expect("a saga marked for writing is held");
            entry.dirty = false;
            let append = entry.append();
            let (epoch, is_new) = (entry.saga.epoch, entry.durable_seq == 0);
            writing.push(Writing { id, epoch, is_new, repairs: append.repairs.clone() });
            batch.push(append);
        }
        self.writing = Some(writing);
        Some(batch)
    }

    /// Takes note of how each write of the batch ended, in its order, and says what to do now.
    ///
    /// # Panics
    /// When no batch is being written, or the outcomes are not one for each saga of it.
    pub fn written(&mut self, outcomes: &[Written], now: Timestamp) -> Vec<Effect> {
        let writing = self.writing.take().expect("a batch is being written");
        assert_eq!(writing.len(), outcomes.len(), "one outcome for each saga of the batch");
        let mut effects = Vec::with_capacity(writing.len() * 2);
        for (Writing { id, epoch, is_new, repairs }, outcome) in writing.into_iter().zip(outcomes) {
            if !repairs.is_empty() && *outcome == Written::Done {
                effects.push(Effect::Repairs(repairs));
            }
            if !self.holds(id, epoch) {
                // Adopted anew meanwhile, from a journal that has this write or has fenced it.
                effects.extend((is_new && *outcome == Written::Done).then_some(Effect::Accepted(id)));
                continue;
            }
            match outcome {
                Written::Done => self.written_one(id, now, &mut effects),
                Written::Fenced if planted(Bug::FencedIgnored) => self.written_one(id, now, &mut effects),
                Written::Fenced => {
                    self.forget(id);
                    effects.push(Effect::Lost(id));
                }
                Written::KeyTaken { by, fingerprint } => {
                    let same = self.sagas.get(&id).is_some_and(|entry| entry.fingerprint == *fingerprint);
                    self.forget(id);
                    effects.push(Effect::KeyTaken { id, by: *by, same });
                }
            }
        }
        effects
    }

    /// Forgets every saga with anything not known to be durable, because the batch may or may not be.
    ///
    /// The driver reads these again from the store, claims them and calls [`Coordinator::adopt`]; one
    /// that the store does not know was never accepted.
    pub fn write_failed(&mut self) -> Vec<SagaId> {
        let writing = self.writing.take().unwrap_or_default();
        let mut ids: Vec<SagaId> =
            writing.iter().filter(|w| self.holds(w.id, w.epoch)).map(|w| w.id).collect();
        ids.append(&mut self.dirty);
        ids.sort_unstable();
        ids.dedup();
        for id in &ids {
            self.forget(*id);
        }
        ids
    }

    fn written_one(&mut self, id: SagaId, now: Timestamp, effects: &mut Vec<Effect>) {
        let entry = self.sagas.get_mut(&id).expect("a saga being written is held");
        let is_new = entry.durable_seq == 0;
        entry.durable_seq = entry.saga.seq - entry.unwritten.len() as u64;
        if is_new {
            effects.push(Effect::Accepted(id));
        }
        effects.push(Effect::Advanced(id));
        if entry.unwritten.is_empty() && entry.saga.is_terminal() {
            let entry = self.forget(id).expect("a saga being written is held");
            effects.push(Effect::Ended(Box::new(Ended(entry.saga))));
        } else if entry.unwritten.is_empty() && entry.saga.is_shelved() && !planted(Bug::ParkedIsHeld) {
            self.forget(id);
            effects.push(Effect::Shelved(id));
        } else {
            self.reconcile(id, now, effects);
            self.put_to_sleep(id, effects);
        }
    }

    /// Sends what should be in flight and is not, and sets the saga's timer.
    fn reconcile(&mut self, id: SagaId, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(entry) = self.sagas.get_mut(&id) else { return };
        if entry.durable_seq != entry.saga.seq && !planted(Bug::EffectsBeforeCommit) {
            return;
        }
        let mut spent = Vec::new();
        let due = due(&entry.saga);
        let mut next = due.wake_at;
        entry.waiting.retain(|key, participant| {
            let wanted = due.calls.iter().any(|call| call.key == *key);
            if !wanted {
                entry.in_flight.remove(key);
                self.gates.withdraw(participant, (id, *key));
            }
            wanted
        });
        for call in due.calls {
            if call.at > now {
                next = Some(next.map_or(call.at, |at| at.min(call.at)));
            } else if entry.in_flight.insert(call.key) {
                let (participant, key) = (&call.operation.participant, call.key);
                let is_bounded = entry.saga.is_bounded(key.step);
                // A child saga is driven here, and its participants have gates of their own.
                let goes = call.operation.is_child();
                if goes || self.gates.offer(participant, (id, key), gate::class(key), is_bounded, now) {
                    effects.push(Effect::Send { saga: id, epoch: entry.saga.epoch, call });
                } else {
                    entry.waiting.insert(key, participant.clone());
                    spent.extend(planted(Bug::BreakerSpendsAttempts).then_some(key));
                }
            }
        }
        if entry.timer != next && !planted(Bug::TimersForgotten) {
            if let Some(old) = entry.timer {
                self.timers.remove(&(old, id));
            }
            entry.timer = next;
            self.timers.extend(next.map(|at| (at, id)));
        }
        for key in spent {
            self.spend(id, key, now);
        }
    }

    fn holds(&self, id: SagaId, epoch: u64) -> bool {
        self.sagas.get(&id).is_some_and(|entry| entry.saga.epoch == epoch)
    }

    fn mark(&mut self, id: SagaId) {
        let entry = self.sagas.get_mut(&id).expect("a saga is marked while held");
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(id);
        }
        if let Some(place) = entry.sleeps.take() {
            self.sleepers.held.remove(&(place, id));
        }
    }

    fn forget(&mut self, id: SagaId) -> Option<Entry> {
        let entry = self.sagas.remove(&id)?;
        if let Some(key) = &entry.saga.key
            && self.keys.get(key) == Some(&id)
        {
            self.keys.remove(key);
        }
        if let Some(at) = entry.timer {
            self.timers.remove(&(at, id));
        }
        if entry.dirty {
            self.dirty.retain(|other| *other != id);
        }
        if let Some(place) = entry.sleeps {
            self.sleepers.held.remove(&(place, id));
        }
        for (key, participant) in &entry.waiting {
            self.gates.withdraw(participant, (id, *key));
        }
        Some(entry)
    }
}

impl Entry {
    fn new(saga: Saga, fingerprint: Fingerprint, durable_seq: u64) -> Entry {
        Entry {
            saga,
            fingerprint,
            unwritten: Vec::new(),
            repairs: Vec::new(),
            durable_seq,
            in_flight: BTreeSet::new(),
            waiting: BTreeMap::new(),
            timer: None,
            sleeps: None,
            dirty: false,
        }
    }

    fn fold(&mut self, records: Vec<Record>) {
        for record in &records {
            if append::may_touch_items(&self.saga, &record.event) {
                let before: Vec<(StepIx, Op, Repair)> =
                    self.saga.items().map(|(ix, op, repair)| (ix, op, repair.clone())).collect();
                self.saga.apply(record.at, &record.event);
                if !planted(Bug::ItemNotWritten) {
                    self.repairs.extend(RepairRow::changed(&before, &self.saga));
                }
            } else {
                self.saga.apply(record.at, &record.event);
            }
        }
        self.unwritten.extend(records);
    }

    fn append(&mut self) -> Append {
        let records = std::mem::take(&mut self.unwritten);
        let after_seq = self.saga.seq - records.len() as u64;
        Append {
            id: self.saga.id,
            epoch: self.saga.epoch,
            after_seq,
            records,
            head: Head::of(&self.saga, self.fingerprint),
            repairs: std::mem::take(&mut self.repairs),
        }
    }
}

#[cfg(test)]
mod tests;
