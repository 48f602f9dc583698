//! The store that all coordinators share: the production reference store, with the world's faults.

use super::{Event as WorldEvent, World, bugs::Bug, count::Situation, node};
use crate::random::Random;
use amends_saga::{
    Saga, SagaId, Timestamp,
    coordinator::{Append, Written},
    due,
};
use amends_store::{
    Error, Owner, Revived, Stored,
    memory::Tables,
    repairs::{Item, ItemFilter},
};
use std::collections::BTreeMap;

/// What happens at the store.
#[derive(Debug)]
pub(super) enum Event {
    /// A batch arrives.
    Write {
        /// From this node.
        node: usize,
        /// In this incarnation.
        incarnation: u32,
        /// Which calls itself this.
        owner: Owner,
        /// The batch.
        batch: Vec<Append>,
        /// Whether the answer is lost.
        mute: bool,
    },
    /// A saga should be awake by now.
    Look(Sleep),
}

/// The tables, and who wrote what for the sake of planted bugs.
#[derive(Debug)]
pub(super) struct SharedStore {
    tables: Tables,
    bug: Option<Bug>,
    owners: BTreeMap<SagaId, Owner>,
    known: Vec<SagaId>,
    random: Random,
}

impl SharedStore {
    pub(super) fn new(bug: Option<Bug>) -> SharedStore {
        let (owners, known) = (BTreeMap::new(), Vec::new());
        SharedStore { tables: Tables::new(), bug, owners, known, random: Random::new(1) }
    }

    pub(super) fn heartbeat(&mut self, owner: &Owner, now: Timestamp) -> Result<(), Error> {
        self.tables.heartbeat(owner, node::LEASE_MS as u64, now)
    }

    pub(super) fn claim(&mut self, owner: &Owner, now: Timestamp) -> Result<Vec<Stored>, Error> {
        if self.bug == Some(Bug::UndoingNotClaimed) {
            let running = |id: &&SagaId| {
                self.tables.load(**id).is_some_and(|s| s.head.status == amends_saga::Status::Running)
            };
            let ids: Vec<SagaId> = self.known.iter().filter(running).copied().collect();
            let ids: Vec<SagaId> = ids.into_iter().filter(|id| self.owners[id] != *owner).collect();
            return self.reclaim(owner, &ids, now);
        }
        let claimed = self.tables.claim(owner, 32, now)?;
        self.owned(owner, &claimed);
        Ok(claimed)
    }

    pub(super) fn reclaim(
        &mut self,
        owner: &Owner,
        ids: &[SagaId],
        now: Timestamp,
    ) -> Result<Vec<Stored>, Error> {
        let claimed = self.tables.reclaim(owner, ids, now)?;
        self.owned(owner, &claimed);
        Ok(claimed)
    }

    pub(super) fn revive(&mut self, owner: &Owner, id: SagaId, now: Timestamp) -> Option<Stored> {
        match self.tables.revive(owner, id, now) {
            Ok(Revived::Taken(stored)) => {
                self.owners.insert(id, owner.clone());
                Some(*stored)
            }
            _ => None,
        }
    }

    fn owned(&mut self, owner: &Owner, claimed: &[Stored]) {
        for stored in claimed {
            self.owners.insert(stored.id, owner.clone());
        }
    }

    pub(super) fn load(&self, id: SagaId) -> Option<Stored> {
        let mut stored = self.tables.load(id)?;
        if self.bug == Some(Bug::KeysRepeat) {
            stored.head.key = stored.head.key.map(|key| key.split('#').next().unwrap_or_default().to_owned());
        }
        Some(stored)
    }

    fn commit(&mut self, owner: &Owner, batch: &mut [Append], now: Timestamp) -> Vec<Written> {
        match self.bug {
            Some(Bug::NoCondition) => return self.commit_blindly(owner, batch, now),
            Some(Bug::CommitForgotten) if self.random.chance(20) => return vec![Written::Done; batch.len()],
            Some(Bug::KeysRepeat) => {
                for append in batch.iter_mut() {
                    append.head.key = append.head.key.take().map(|key| format!("{key}#{}", append.id));
                }
            }
            _ => {}
        }
        let outcomes = self.tables.commit(owner, batch, now);
        for (append, outcome) in batch.iter().zip(&outcomes) {
            if append.after_seq == 0 && *outcome == Written::Done {
                self.owners.insert(append.id, owner.clone());
                self.known.push(append.id);
            }
        }
        outcomes
    }

    /// Writes each append as whoever owns its saga would.
    fn commit_blindly(&mut self, owner: &Owner, batch: &mut [Append], now: Timestamp) -> Vec<Written> {
        let mut outcomes = Vec::new();
        for append in batch {
            let is_new = append.after_seq == 0;
            let owner = self.owners.get(&append.id).unwrap_or(owner).clone();
            if let Some(stored) = self.tables.load(append.id) {
                append.epoch = stored.epoch;
                append.after_seq = stored.records.len() as u64;
            }
            let written = self.tables.commit(&owner, std::slice::from_ref(append), now);
            if is_new && written == [Written::Done] {
                self.owners.insert(append.id, owner);
                self.known.push(append.id);
            }
            outcomes.extend(written);
        }
        outcomes
    }

    /// The sagas that can still move by themselves.
    pub(super) fn unsettled(&self) -> Vec<SagaId> {
        self.known.iter().copied().filter(|id| self.is_unsettled(*id)).collect()
    }

    /// The sagas that have not ended.
    pub(super) fn live(&self) -> Vec<SagaId> {
        let ended = |id: &SagaId| self.tables.load(*id).is_some_and(|stored| stored.head.ended_at.is_some());
        self.known.iter().copied().filter(|id| !ended(id)).collect()
    }

    /// Every repair item, settled or not.
    pub(super) fn items(&self) -> Vec<Item> {
        use amends_saga::RepairStatus::{Assigned, Open, Retrying, Settled};
        let filter =
            ItemFilter { statuses: vec![Open, Assigned, Retrying, Settled], ..ItemFilter::default() };
        self.tables.items(&filter, None, usize::MAX)
    }

    /// The live sagas that are being undone.
    pub(super) fn stuck(&self) -> Vec<Stored> {
        let undoing = [amends_saga::Status::Compensating, amends_saga::Status::Repair];
        let stored = self.live().into_iter().filter_map(|id| self.tables.load(id));
        stored.filter(|stored| undoing.contains(&stored.head.status)).collect()
    }

    fn is_unsettled(&self, id: SagaId) -> bool {
        let stored = self.tables.load(id).expect("a known saga is in the store");
        if stored.head.status != amends_saga::Status::Repair {
            return stored.head.ended_at.is_none();
        }
        let plan = super::shop::Plan::find(&stored.head.hash);
        let saga = Saga::replay(id, plan.definition.clone(), &stored.records);
        let due = due(&saga);
        !due.calls.is_empty() || due.wake_at.is_some()
    }
}

/// A saga that has gone to sleep, to be looked at when it should be awake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep {
    id: SagaId,
    seq: u64,
    wake_at: i64,
    /// Who let it sleep.
    node: usize,
    incarnation: u32,
    /// Whether that one must have woken it, or anybody.
    is_own: bool,
}

/// Within this time whoever let a saga sleep has woken it, where nothing goes wrong.
const WOKEN_MS: i64 = 500;

/// Within this time somebody else has: a lease, the grace for whoever let it sleep, a look at the store, and a write.
const FOUND_MS: i64 = node::LEASE_MS + 2_000 + 2_000 + 1_000;

impl World {
    /// Notes that a saga sleeps, and looks after it at the time at which it must be awake.
    fn watch_sleep(&mut self, node: usize, incarnation: u32, append: &Append) {
        let Some(wake_at) = append.head.wake_at.filter(|_| append.head.asleep) else { return };
        let seq = append.after_seq + append.records.len() as u64;
        for (is_own, bound) in [(true, WOKEN_MS), (false, FOUND_MS)] {
            let sleep = Sleep { id: append.id, seq, wake_at: wake_at.0, node, incarnation, is_own };
            let ms = wake_at.0 + bound - self.now;
            self.at(ms.max(0), WorldEvent::Store(Event::Look(sleep)));
        }
    }

    /// A sleeping saga wakes at its time: by whoever let it sleep, or when that is gone by anybody.
    fn look_at_sleeper(&mut self, sleep: Sleep) {
        let Sleep { id, seq, wake_at, node, incarnation, is_own } = sleep;
        // A pause that was cut short still delays what came in it.
        let delayed = self.nodes.iter().map(|node| node.delayed_until).max().unwrap_or_default();
        let fair = self.healed_at.is_some_and(|healed| healed.max(delayed) + 1_000 <= wake_at);
        let it = &self.nodes[node];
        let can = !is_own || (it.is_up && it.incarnation == incarnation);
        let stored = self.store.load(id).expect("a saga that sleeps is in the store");
        let sleeps = stored.head.asleep && stored.records.len() as u64 == seq;
        if fair && can && sleeps {
            let late = self.now - wake_at;
            self.checker.violated(format!("I39: {id} should have been woken {late} ms ago and sleeps on"));
        }
    }

    pub(super) fn store(&mut self, event: Event) {
        let (node, incarnation, owner, mut batch, mute) = match event {
            Event::Write { node, incarnation, owner, batch, mute } => (node, incarnation, owner, batch, mute),
            Event::Look(sleep) => return self.look_at_sleeper(sleep),
        };
        let originals: Vec<_> = batch.iter().map(|append| (append.epoch, append.head.clone())).collect();
        let outcomes = self.store.commit(&owner, &mut batch, self.time());
        self.stir(&[3, node as u64, batch.len() as u64]);
        let is_zombie = self.nodes[node].incarnation != incarnation;
        for ((append, outcome), (epoch, head)) in batch.iter().zip(&outcomes).zip(originals) {
            self.note(|_| {
                format!("store: {} +{} from node {node}: {outcome:?}", append.id, append.records.len())
            });
            match outcome {
                Written::Done => {
                    self.checker.committed(append.id, epoch, append.after_seq, &head, &append.records);
                    self.watch_sleep(node, incarnation, append);
                    if is_zombie {
                        self.count(Situation::ZombieWrite);
                    }
                }
                Written::Fenced => self.count(Situation::FencedWrite),
                Written::KeyTaken { .. } => {}
            }
        }
        if mute {
            self.count(Situation::CommitLostApplied);
        }
        let event = node::Event::Written(if mute { None } else { Some(outcomes) });
        let ms = self.random.within(1, 10);
        self.at(ms, WorldEvent::Node { node, incarnation, event });
    }
}
