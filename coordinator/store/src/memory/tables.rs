//! What a store holds and means, as one plain value: no clock, no task, no file.
//!
//! It is the reference every other store is compared with, and what the simulator runs on. Clone it to
//! take a snapshot, put the clone back to lose what came after. The invariant it keeps: **an append
//! changes exactly the row it expects, or nothing**.

use super::queue::Queue;
use crate::{
    DefinitionPut, DefinitionRow, Error, Filter, JOIN_TTL_MS, Owner, Revived, Stored, WAKE_GRACE_MS, is_live,
    is_undoing,
};
use amends_saga::{
    Millis, Record, SagaId, Status, Timestamp,
    coordinator::{Append, Fingerprint, Head, Written},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The whole content of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    sagas: BTreeMap<SagaId, Row>,
    /// Those that are live and owned; one that waits for an operator only, or sleeps, is neither here nor
    /// anybody's.
    driven: BTreeSet<SagaId>,
    /// Those that sleep, by when they wake.
    asleep: BTreeSet<(Timestamp, SagaId)>,
    keys: BTreeMap<String, SagaId>,
    nodes: BTreeMap<Uuid, Node>,
    definitions: Vec<DefinitionRow>,
    participants: BTreeMap<String, String>,
    secret: Option<[u8; 32]>,
    pub(super) queue: Queue,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    head: Head,
    epoch: u64,
    /// `None` while it waits for an operator only, while it sleeps, and once it has ended, unless it was
    /// revived.
    owner: Option<Uuid>,
    /// Who put it to sleep, while it sleeps.
    sleeper: Option<Uuid>,
    records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq)]
struct Node {
    ttl: Millis,
    lease_until: Timestamp,
    replaced: bool,
}

impl Node {
    /// A lease that ends too far ahead was written before the clock was set back.
    fn is_alive(&self, now: Timestamp) -> bool {
        let sane_until = now.after(Millis(self.ttl.0.saturating_mul(2)));
        !self.replaced && self.lease_until > now && self.lease_until <= sane_until
    }
}

impl Tables {
    /// Makes an empty store.
    pub fn new() -> Tables {
        Tables::default()
    }

    /// See [`crate::Store::heartbeat`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the owner was replaced.
    pub fn heartbeat(&mut self, owner: &Owner, ttl_ms: u64, now: Timestamp) -> Result<(), Error> {
        let joining = Node { ttl: Millis(0), lease_until: now, replaced: false };
        let node = self.nodes.entry(owner.incarnation).or_insert(joining);
        if node.replaced {
            return Err(Error::LeaseLost);
        }
        node.ttl = Millis(ttl_ms);
        node.lease_until = now.after(node.ttl);
        Ok(())
    }

    /// See [`crate::Store::release`]. Whoever owned a saga and is no member any more owns it no longer.
    pub fn release(&mut self, owner: &Owner) {
        self.nodes.remove(&owner.incarnation);
    }

    /// Forgets every member, as a store does whose lock proves that all of them are dead.
    pub fn forget_members(&mut self) {
        self.nodes.clear();
    }

    /// See [`crate::Store::commit`].
    ///
    /// # Panics
    /// When an append has no record.
    pub fn commit(&mut self, owner: &Owner, batch: &[Append], now: Timestamp) -> Vec<Written> {
        if batch.is_empty() || self.join(owner, now).is_err() {
            return vec![Written::Fenced; batch.len()];
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        for append in batch {
            let outcome = self.append(owner.incarnation, append);
            if outcome == Written::Done {
                self.queue.write(&append.repairs, now);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    fn append(&mut self, owner: Uuid, append: &Append) -> Written {
        assert!(!append.records.is_empty(), "an append has at least one record");
        if append.after_seq == 0 {
            return self.insert(owner, append);
        }
        let Some(row) = self.sagas.get(&append.id) else { return Written::Fenced };
        let expected = row.owner.map_or(is_live(row.head.status), |holder| holder == owner)
            && row.epoch == append.epoch
            && row.records.len() as u64 == append.after_seq;
        if !expected {
            return Written::Fenced;
        }
        self.change(append.id, |row| {
            row.records.extend(append.records.iter().cloned());
            advance(&mut row.head, &append.head);
            row.left_to(owner);
        });
        Written::Done
    }

    fn insert(&mut self, owner: Uuid, append: &Append) -> Written {
        if self.sagas.contains_key(&append.id) {
            return Written::Fenced;
        }
        let key = append.head.key.as_deref();
        if let Some((by, fingerprint)) = key.and_then(|key| self.find_key(key)) {
            return Written::KeyTaken { by, fingerprint };
        }
        if let Some(key) = key {
            self.keys.insert(key.to_owned(), append.id);
        }
        let mut head = append.head.clone();
        head.asleep = sleeps(&head);
        let row = Row { head, epoch: 1, owner: None, sleeper: None, records: append.records.clone() };
        self.sagas.insert(append.id, row);
        self.change(append.id, |row| row.left_to(owner));
        Written::Done
    }

    /// Changes a saga's row, and with it where the saga is found.
    fn change(&mut self, id: SagaId, change: impl FnOnce(&mut Row)) -> &Row {
        let row = self.sagas.get_mut(&id).expect("a saga that is changed has a row");
        if let Some(wake_at) = row.head.wake_at {
            self.asleep.remove(&(wake_at, id));
        }
        change(row);
        if let Some(wake_at) = row.head.wake_at.filter(|_| row.head.asleep) {
            self.asleep.insert((wake_at, id));
        }
        match row.owner.is_some() && is_live(row.head.status) {
            true => self.driven.insert(id),
            false => self.driven.remove(&id),
        };
        row
    }

    /// See [`crate::Store::claim`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the owner was replaced.
    pub fn claim(&mut self, owner: &Owner, limit: usize, now: Timestamp) -> Result<Vec<Stored>, Error> {
        self.join(owner, now)?;
        let mut found: Vec<(bool, Option<Timestamp>, SagaId)> = Vec::new();
        for id in &self.driven {
            let row = &self.sagas[id];
            let gone = |holder| holder != owner.incarnation && !self.is_alive(holder, now);
            if row.owner.is_some_and(gone) {
                found.push((!is_undoing(row.head.status), None, *id));
            }
        }
        for (wake_at, id) in self.asleep.iter().take_while(|(wake_at, _)| *wake_at <= now) {
            let row = &self.sagas[id];
            let left_alone = row.sleeper.is_some_and(|sleeper| self.is_alive(sleeper, now))
                && wake_at.after(Millis(WAKE_GRACE_MS)) > now;
            if !left_alone {
                found.push((!is_undoing(row.head.status), Some(*wake_at), *id));
            }
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, _, id)| self.take(owner.incarnation, id)).collect())
    }

    /// See [`crate::Store::reclaim`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the owner was replaced.
    pub fn reclaim(&mut self, owner: &Owner, ids: &[SagaId], now: Timestamp) -> Result<Vec<Stored>, Error> {
        self.join(owner, now)?;
        let ids: BTreeSet<SagaId> = ids.iter().copied().collect();
        let mut taken = Vec::new();
        for id in ids {
            let free = self.sagas.get(&id).is_some_and(|row| {
                let mine = |holder| holder == owner.incarnation || !self.is_alive(holder, now);
                is_live(row.head.status) && row.owner.is_none_or(mine)
            });
            if free {
                taken.push(self.take(owner.incarnation, id));
            }
        }
        Ok(taken)
    }

    /// See [`crate::Store::revive`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the owner was replaced.
    pub fn revive(&mut self, owner: &Owner, id: SagaId, now: Timestamp) -> Result<Revived, Error> {
        self.join(owner, now)?;
        let Some(row) = self.sagas.get(&id) else { return Ok(Revived::Unknown) };
        if row.head.status != Status::Completed {
            return Ok(Revived::NotCompleted(row.head.status));
        }
        let others = |holder| holder != owner.incarnation && self.is_alive(holder, now);
        if row.owner.is_some_and(others) {
            return Ok(Revived::Held);
        }
        Ok(Revived::Taken(Box::new(self.take(owner.incarnation, id))))
    }

    /// Gives a saga to an owner, and fences the one that had it.
    fn take(&mut self, owner: Uuid, id: SagaId) -> Stored {
        let mut before = None;
        let row = self.change(id, |row| {
            before = row.owner.replace(owner);
            row.epoch += 1;
            (row.sleeper, row.head.asleep) = (None, false);
        });
        let stored = row.stored(id);
        if let Some(before) = before.filter(|before| *before != owner)
            && let Some(node) = self.nodes.get_mut(&before)
        {
            node.replaced = true;
        }
        stored
    }

    fn is_alive(&self, owner: Uuid, now: Timestamp) -> bool {
        self.nodes.get(&owner).is_some_and(|node| node.is_alive(now))
    }

    /// Makes an owner a member that never was one.
    fn join(&mut self, owner: &Owner, now: Timestamp) -> Result<(), Error> {
        match self.nodes.get(&owner.incarnation) {
            Some(node) if node.replaced => Err(Error::LeaseLost),
            Some(_) => Ok(()),
            None => self.heartbeat(owner, JOIN_TTL_MS, now),
        }
    }

    /// See [`crate::Store::load`].
    pub fn load(&self, id: SagaId) -> Option<Stored> {
        self.sagas.get(&id).map(|row| row.stored(id))
    }

    /// See [`crate::Store::find_key`].
    pub fn find_key(&self, key: &str) -> Option<(SagaId, Fingerprint)> {
        self.keys.get(key).map(|id| (*id, self.sagas[id].head.fingerprint))
    }

    /// See [`crate::Store::list`].
    pub fn list(&self, filter: &Filter, after: Option<SagaId>, limit: usize) -> Vec<Stored> {
        let before = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.sagas
            .range((std::ops::Bound::Unbounded, before))
            .rev()
            .filter(|(_, row)| filter.matches(&row.head))
            .take(limit)
            .map(|(id, row)| row.stored(*id))
            .collect()
    }

    /// See [`crate::Store::journal`].
    pub fn journal(&self, id: SagaId, after_seq: u64, limit: usize) -> Vec<Record> {
        let skip = usize::try_from(after_seq).unwrap_or(usize::MAX);
        let records = self.sagas.get(&id).map_or(&[][..], |row| &row.records);
        records.iter().skip(skip).take(limit).cloned().collect()
    }

    /// See [`crate::Store::counts`].
    pub fn counts(&self) -> Vec<(Status, u64)> {
        let mut counts = BTreeMap::new();
        for row in self.sagas.values() {
            *counts.entry(row.head.status).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    /// See [`crate::Store::versions`].
    pub fn versions(&self) -> Vec<(String, u32, u64)> {
        let mut counts: BTreeMap<(&str, u32), u64> = BTreeMap::new();
        for row in self.sagas.values().filter(|row| is_live(row.head.status)) {
            *counts.entry((&row.head.definition, row.head.version)).or_insert(0) += 1;
        }
        counts.into_iter().map(|((name, version), live)| (name.to_owned(), version, live)).collect()
    }

    /// See [`crate::Store::secret`]. `fresh` becomes the secret when there is none yet; this takes no chances
    /// by itself.
    pub fn secret(&mut self, fresh: [u8; 32]) -> [u8; 32] {
        *self.secret.get_or_insert(fresh)
    }

    /// See [`crate::Store::put_definition`].
    pub fn put_definition(&mut self, row: &DefinitionRow) -> DefinitionPut {
        let taken = |other: &&DefinitionRow| {
            other.registered
                && other.hash != row.hash
                && (&other.name, other.version) == (&row.name, row.version)
        };
        if row.registered
            && let Some(other) = self.definitions.iter().find(taken)
        {
            return DefinitionPut::Conflict(other.hash.clone());
        }
        match self.definitions.iter_mut().find(|known| known.hash == row.hash) {
            Some(known) if row.registered && !known.registered => {
                known.registered = true;
                DefinitionPut::New
            }
            Some(_) => DefinitionPut::Same,
            None => {
                self.definitions.push(row.clone());
                DefinitionPut::New
            }
        }
    }

    /// See [`crate::Store::definitions`].
    pub fn definitions(&self) -> Vec<DefinitionRow> {
        self.definitions.clone()
    }

    /// See [`crate::Store::put_participant`].
    pub fn put_participant(&mut self, name: &str, registration: &str) {
        self.participants.insert(name.to_owned(), registration.to_owned());
    }

    /// See [`crate::Store::delete_participant`].
    pub fn delete_participant(&mut self, name: &str) -> bool {
        self.participants.remove(name).is_some()
    }

    /// See [`crate::Store::participants`].
    pub fn participants(&self) -> Vec<(String, String)> {
        self.participants.iter().map(|(name, text)| (name.clone(), text.clone())).collect()
    }
}

impl Row {
    /// Notes who is to drive a saga on that was just written: nobody when it has ended or waits for an
    /// operator only, nor while it sleeps, but then who wakes it is known.
    fn left_to(&mut self, owner: Uuid) {
        let moves = is_live(self.head.status) && self.head.wake_at.is_some();
        self.owner = (moves && !self.head.asleep).then_some(owner);
        self.sleeper = (moves && self.head.asleep).then_some(owner);
    }

    fn stored(&self, id: SagaId) -> Stored {
        Stored { id, head: self.head.clone(), epoch: self.epoch, records: self.records.clone() }
    }
}

/// Whether a saga is kept as nobody's until its time has come.
fn sleeps(head: &Head) -> bool {
    head.asleep && is_live(head.status) && head.wake_at.is_some()
}

/// Replaces what can change in a saga's life; the rest is kept as it was inserted.
fn advance(head: &mut Head, to: &Head) {
    head.status = to.status;
    head.updated_at = to.updated_at;
    head.ended_at = to.ended_at;
    head.wake_at = to.wake_at;
    head.asleep = sleeps(to);
    head.at_steps.clone_from(&to.at_steps);
    head.at_participants.clone_from(&to.at_participants);
}
