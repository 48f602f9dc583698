//! Random sequences of operations, each done by the store and by [`Tables`], with equal results.
//!
//! Time stands still for the reference, so leases are long here; what passes with time has checks of its
//! own. A failure prints the seed and every operation up to it.

mod queue;

use super::{
    LONG_MS, Subject, owner,
    sample::{Beginning, Plot, Script, asleep, definition, id, moved},
};
use crate::{Error, Filter, Owner, Revived, Store, Stored, memory::Tables};
use amends_saga::{
    SagaId, Status, Timestamp,
    coordinator::{Append, Written},
    hash::Mix,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
};

const OPERATIONS: usize = 100;

const NOW: Timestamp = Timestamp(1_763_700_000_000);

/// When sleepers wake: long ago or never, both for the reference, whose time stands still, and for a store
/// with a clock.
const WAKES: [i64; 2] = [1_700_000_000_000, 4_000_000_000_000];

pub(super) async fn compare(subject: &dyn Subject) {
    for seed in 0..subject.seeds() {
        let store = subject.fresh().await;
        let mut world = World::new(seed);
        for owner in &world.owners {
            world.tables.heartbeat(owner, LONG_MS, NOW).expect("a new member");
            store.heartbeat(owner, LONG_MS).await.expect("a new member");
        }
        for _ in 0..OPERATIONS {
            world.step(&*store).await;
        }
        let everything = Filter::default();
        world.check("at the end", store.list(&everything, None, 1000).await, |tables| {
            Ok(tables.list(&everything, None, 1000))
        });
        world.check_queue(&*store).await;
    }
}

/// The reference, and what is needed to make operations that make sense.
struct World {
    seed: u64,
    drawn: u64,
    tables: Tables,
    owners: Vec<Owner>,
    sagas: BTreeMap<SagaId, Actor>,
    next: u64,
    queue: queue::Known,
    history: Vec<String>,
}

/// A saga on its way, with who has it as far as the test knows.
struct Actor {
    script: Script,
    ready: Option<Append>,
    /// What follows after it was brought back.
    revived: VecDeque<Append>,
    owner: usize,
    epoch: u64,
}

impl Actor {
    /// The append to be written next, `None` when the saga has nothing more to do.
    fn peek(&mut self) -> Option<Append> {
        if self.ready.is_none() {
            self.ready = self.revived.pop_front().or_else(|| self.script.next_append());
        }
        let epoch = self.epoch;
        self.ready.clone().map(|append| Append { epoch, ..append })
    }
}

/// The appends that undo a completed saga.
fn undone(stored: &Stored) -> VecDeque<Append> {
    let mut stored = stored.clone();
    let mut appends = VecDeque::new();
    for status in [Status::Compensating, Status::Compensating, Status::Compensated] {
        let append = moved(&stored, status);
        stored.head = append.head.clone();
        stored.records.extend(append.records.iter().cloned());
        appends.push_back(append);
    }
    appends
}

impl World {
    fn new(seed: u64) -> World {
        let owners = ["a", "b", "c"].map(owner).into();
        World {
            seed,
            drawn: 0,
            tables: Tables::new(),
            owners,
            sagas: BTreeMap::new(),
            next: 0,
            queue: queue::Known::default(),
            history: Vec::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        Mix::new(self.seed).add(self.drawn).finish() % below
    }

    async fn step(&mut self, store: &dyn Store) {
        let who = self.draw(3) as usize;
        let owner = self.owners[who].clone();
        match self.draw(36) {
            32..=34 => self.revive(store, who).await,
            35 => drop(self.check("versions", store.versions().await, |tables| Ok(tables.versions()))),
            0..=9 => self.commit(store, who).await,
            20..=22 => self.repair(store, who).await,
            23..=31 => self.queue(store, &owner).await,
            10 => {
                let limit = self.draw(5) as usize;
                let claimed = store.claim(&owner, limit).await;
                let what = format!("{} claims {limit}", owner.name);
                let taken = self.check(&what, claimed, |tables| tables.claim(&owner, limit, NOW));
                self.adopt(who, taken.unwrap_or_default().iter().map(|saga| (saga.id, saga.epoch)).collect());
            }
            11 => {
                let ids: Vec<SagaId> = (0..self.draw(4)).map(|_| self.any_id()).collect();
                let reclaimed = store.reclaim(&owner, &ids).await;
                let what = format!("{} reclaims {ids:?}", owner.name);
                let taken = self.check(&what, reclaimed, |tables| tables.reclaim(&owner, &ids, NOW));
                self.adopt(who, taken.unwrap_or_default().iter().map(|saga| (saga.id, saga.epoch)).collect());
            }
            12 => {
                let what = format!("{} leaves", owner.name);
                self.check(&what, store.release(&owner).await, |tables| {
                    tables.release(&owner);
                    Ok(())
                });
            }
            13 => {
                let what = format!("{} beats", owner.name);
                let beat = store.heartbeat(&owner, LONG_MS).await;
                let renewed = self.check(&what, beat, |tables| tables.heartbeat(&owner, LONG_MS, NOW));
                if renewed.is_none() {
                    // It has to come back as another.
                    self.owners[who] = super::owner(&owner.name);
                }
            }
            14..=16 => self.list(store).await,
            17 => {
                let (id, after, limit) = (self.any_id(), self.draw(12), self.draw(6) as usize);
                let what = format!("the journal of {id} after {after}, {limit}");
                self.check(&what, store.journal(id, after, limit).await, |tables| {
                    Ok(tables.journal(id, after, limit))
                });
            }
            18 => {
                let id = self.any_id();
                let key = format!("k{}", self.draw(8));
                self.check(&format!("load {id}"), store.load(id).await, |tables| Ok(tables.load(id)));
                self.check(&format!("find {key}"), store.find_key(&key).await, |tables| {
                    Ok(tables.find_key(&key))
                });
            }
            _ => drop(self.check("counts", store.counts().await, |tables| Ok(tables.counts()))),
        }
    }

    /// Writes a batch: some new sagas, some that go on, a few that are not as they should be.
    async fn commit(&mut self, store: &dyn Store, who: usize) {
        let mut batch: Vec<Append> = Vec::new();
        for _ in 0..=self.draw(8) {
            let append = match self.draw(3) {
                0 => Some(self.start(who)),
                _ => self.go_on(who),
            };
            let Some(append) = append.map(|append| self.put_to_sleep(append)) else { continue };
            let append = self.spoil(append);
            if batch.iter().all(|other| other.id != append.id) {
                batch.push(append);
            }
        }
        let owner = self.owners[who].clone();
        let said: Vec<_> =
            batch.iter().map(|a| (a.id, a.epoch, a.after_seq, a.head.key.as_deref())).collect();
        let what = format!("{} commits {said:?}", owner.name);
        let written = store.commit(&owner, &batch).await;
        let outcomes = self.check(&what, written, |tables| Ok(tables.commit(&owner, &batch, NOW)));
        for (append, outcome) in batch.iter().zip(outcomes.unwrap_or_default()) {
            match (outcome, self.sagas.get_mut(&append.id)) {
                (Written::Done, Some(actor)) => actor.ready = None,
                (Written::KeyTaken { .. }, _) => drop(self.sagas.remove(&append.id)),
                (Written::Done | Written::Fenced, _) => {}
            }
        }
    }

    fn start(&mut self, who: usize) -> Append {
        self.next += 1;
        let version = 1 + self.draw(2) as u32;
        let name = if self.draw(3) == 0 { "ship" } else { "checkout" };
        let mut beginning = Beginning::nth(self.next).of(definition(name, version));
        if self.draw(2) == 0 {
            let key = format!("k{}", self.draw(8));
            beginning = beginning.key(key);
        }
        for label in ["x", "y"] {
            if self.draw(2) == 0 {
                let value = self.draw(3).to_string();
                beginning = beginning.label(label, value);
            }
        }
        let plot = [Plot::Completes, Plot::Compensates, Plot::Parks, Plot::Parks][self.draw(4) as usize];
        let mut actor = Actor {
            script: Script::new(beginning, plot),
            ready: None,
            revived: VecDeque::new(),
            owner: who,
            epoch: 1,
        };
        let append = actor.peek().expect("a new saga begins");
        self.sagas.insert(append.id, actor);
        append
    }

    fn go_on(&mut self, who: usize) -> Option<Append> {
        let id = self.any_id();
        let strict = self.draw(8) > 0;
        let actor = self.sagas.get_mut(&id)?;
        if strict && actor.owner != who { None } else { actor.peek() }
    }

    /// Lets a live saga sleep now and then.
    fn put_to_sleep(&mut self, append: Append) -> Append {
        if append.head.wake_at.is_none() || self.draw(4) > 0 {
            return append;
        }
        let at = WAKES[self.draw(2) as usize] + self.draw(5) as i64;
        asleep(append, Timestamp(at))
    }

    /// Brings any saga back; one that had completed is undone from then on, if it is written to.
    async fn revive(&mut self, store: &dyn Store, who: usize) {
        let owner = self.owners[who].clone();
        let completed = Filter { statuses: vec![Status::Completed], ..Filter::default() };
        let completed = self.tables.list(&completed, None, 1000);
        let at = self.draw(completed.len() as u64 + 1) as usize;
        let id = completed.get(at).map_or_else(|| self.any_id(), |saga| saga.id);
        let revived = store.revive(&owner, id).await;
        let what = format!("{} brings {id} back", owner.name);
        let revived = self.check(&what, revived, |tables| tables.revive(&owner, id, NOW));
        if let Some(Revived::Taken(stored)) = revived {
            self.adopt(who, vec![(id, stored.epoch)]);
            if let Some(actor) = self.sagas.get_mut(&id) {
                actor.ready = None;
                actor.revived = undone(&stored);
            }
        }
    }

    fn spoil(&mut self, append: Append) -> Append {
        match self.draw(24) {
            0 => Append { epoch: append.epoch + 1, ..append },
            1 => Append { after_seq: append.after_seq + 1, ..append },
            2 => Append { id: id(1_000_000 + self.draw(5)), after_seq: append.after_seq.max(1), ..append },
            _ => append,
        }
    }

    async fn list(&mut self, store: &dyn Store) {
        let pick = |drawn: u64, from: &[&str]| from.get(drawn as usize).map(|text| (*text).to_owned());
        let statuses =
            [Status::Running, Status::Compensating, Status::Repair, Status::Completed, Status::Compensated];
        let mut filter = Filter {
            definition: pick(self.draw(6), &["checkout", "ship"]),
            version: Some(1).filter(|_| self.drawn.is_multiple_of(5)),
            step: pick(self.draw(8), &["reserve", "order"]),
            participant: pick(self.draw(8), &["inventory", "product"]),
            key: pick(self.draw(12), &["k1", "k2"]),
            ..Filter::default()
        };
        for status in statuses {
            if self.draw(4) == 0 {
                filter.statuses.push(status);
            }
        }
        for label in ["x", "y"] {
            if self.draw(4) == 0 {
                filter.labels.insert(label.to_owned(), self.draw(3).to_string());
            }
        }
        if self.draw(4) == 0 {
            filter.created_after = Some(Timestamp(NOW.0 + self.draw(20) as i64));
        }
        if self.draw(4) == 0 {
            filter.created_before = Some(Timestamp(NOW.0 + self.draw(40) as i64));
        }
        let after = if self.draw(3) == 0 { Some(self.any_id()) } else { None };
        let limit = self.draw(10) as usize;
        let what = format!("list {limit} after {after:?} of {filter:?}");
        let listed = store.list(&filter, after, limit).await;
        self.check(&what, listed, |tables| Ok(tables.list(&filter, after, limit)));
    }

    fn any_id(&mut self) -> SagaId {
        let at = self.draw(self.sagas.len() as u64 + 1) as usize;
        self.sagas.keys().nth(at).copied().unwrap_or_else(|| id(2_000_000))
    }

    fn adopt(&mut self, who: usize, taken: Vec<(SagaId, u64)>) {
        for (id, epoch) in taken {
            if let Some(actor) = self.sagas.get_mut(&id) {
                (actor.owner, actor.epoch) = (who, epoch);
            }
        }
    }

    /// Does the same in the reference and demands the same result; returns it unless it is an error.
    fn check<T: PartialEq + Debug>(
        &mut self,
        what: &str,
        found: Result<T, Error>,
        reference: impl FnOnce(&mut Tables) -> Result<T, Error>,
    ) -> Option<T> {
        self.history.push(what.to_owned());
        let expected = reference(&mut self.tables).map_err(|error| error.to_string());
        let found = found.map_err(|error| error.to_string());
        if found != expected {
            let history = self.history.join("\n  ");
            panic!("seed {}:\n  {history}\nfound {found:#?}\nexpected {expected:#?}", self.seed);
        }
        found.ok()
    }
}
