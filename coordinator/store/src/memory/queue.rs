//! The repair queue in memory: items, hooks, the outbox and jobs as one plain value.
//!
//! The invariant it keeps: an event stands in the outbox exactly when the change it tells of has been made,
//! since both are made by the same call.

use crate::repairs::{Delivery, Item, ItemFilter, JobRow, Pile, Place, Told};
use amends_saga::{Millis, RepairRow, SagaId, Timestamp, hash::Mix, repair::RepairStatus};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};
use uuid::Uuid;

/// Everything about repairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    items: BTreeMap<Uuid, Item>,
    by_saga: BTreeMap<SagaId, BTreeSet<Uuid>>,
    unsettled: BTreeSet<Place>,
    settled: BTreeSet<Place>,
    hooks: BTreeMap<String, BTreeSet<Told>>,
    outbox: BTreeMap<i64, Waiting>,
    last_n: i64,
    jobs: BTreeMap<Uuid, JobRow>,
}

#[derive(Debug, Clone, PartialEq)]
struct Waiting {
    delivery: Delivery,
    due_at: Timestamp,
}

fn is_settled(item: &Item) -> bool {
    item.status == RepairStatus::Settled
}

impl Queue {
    /// Keeps the items of an append.
    pub(super) fn write(&mut self, rows: &[RepairRow], now: Timestamp) {
        for row in rows {
            let mut item = Item::from(row.clone());
            item.level = match self.items.get(&item.item) {
                Some(known) => known.level,
                None => self.loudness_before(&item),
            };
            self.put(item, now);
        }
    }

    /// How loudly the age of a step has been told by the items before this one.
    fn loudness_before(&self, item: &Item) -> u8 {
        let of_saga = item.saga.and_then(|saga| self.by_saga.get(&saga)).into_iter().flatten();
        let before = of_saga.map(|id| &self.items[id]).filter(|older| {
            older.anomaly.is_none()
                && (&older.step, older.op) == (&item.step, item.op)
                && older.number < item.number
        });
        before.map(|older| older.level).max().unwrap_or(0)
    }

    /// Inserts or replaces an item, and tells of what that means.
    fn put(&mut self, item: Item, now: Timestamp) {
        let before = self.items.insert(item.item, item.clone());
        if let Some(before) = &before {
            self.unsettled.remove(&before.place());
            self.settled.remove(&before.place());
        }
        let list = if is_settled(&item) { &mut self.settled } else { &mut self.unsettled };
        list.insert(item.place());
        match &before {
            None => {
                if let Some(saga) = item.saga {
                    self.by_saga.entry(saga).or_default().insert(item.item);
                }
                self.tell(Told::Opened, &item, item.opened_at, now);
                if is_settled(&item) {
                    self.tell(Told::Settled, &item, item.updated_at, now);
                }
            }
            Some(before) => match (is_settled(before), is_settled(&item)) {
                (true, false) => self.tell(Told::Opened, &item, item.updated_at, now),
                (false, true) => self.tell(Told::Settled, &item, item.updated_at, now),
                (true, true) | (false, false) => {}
            },
        }
    }

    fn tell(&mut self, told: Told, item: &Item, at: Timestamp, now: Timestamp) {
        for (hook, wanted) in &self.hooks {
            if !wanted.contains(&told) {
                continue;
            }
            self.last_n += 1;
            let delivery = Delivery {
                n: self.last_n,
                event: event_id(hook, told, item),
                hook: hook.clone(),
                told,
                item: item.item,
                level: item.level,
                at,
                attempts: 0,
            };
            self.outbox.insert(self.last_n, Waiting { delivery, due_at: now });
        }
    }

    /// See [`crate::repairs::Repairs::items`].
    pub(super) fn items(&self, filter: &ItemFilter, after: Option<Place>, limit: usize) -> Vec<Item> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let walk = |list: &BTreeSet<Place>| -> Vec<Place> {
            let fits = |place: &&Place| filter.matches(&self.items[&place.item]);
            list.range((begin, Bound::Unbounded)).filter(fits).take(limit).copied().collect()
        };
        let mut places = walk(&self.unsettled);
        if filter.statuses.contains(&RepairStatus::Settled) {
            places.append(&mut walk(&self.settled));
            places.sort_unstable();
            places.truncate(limit);
        }
        places.iter().map(|place| self.items[&place.item].clone()).collect()
    }

    /// See [`crate::repairs::Repairs::item`].
    pub(super) fn item(&self, item: Uuid) -> Option<Item> {
        self.items.get(&item).cloned()
    }

    fn unsettled(&self) -> impl Iterator<Item = &Item> {
        self.unsettled.iter().map(|place| &self.items[&place.item])
    }

    /// See [`crate::repairs::Repairs::piles`].
    pub(super) fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Vec<Pile> {
        let mut piles = BTreeMap::new();
        for item in self.unsettled() {
            let is_anomaly = item.anomaly.is_some();
            let step = item.finding().or_else(|| item.step.clone()).unwrap_or_default();
            let names = (item.participant.clone(), item.definition.clone(), step, is_anomaly);
            let pile = piles.entry(names.clone()).or_insert_with(|| Pile {
                participant: names.0,
                definition: names.1,
                step: names.2,
                is_anomaly,
                counts: [0; 3],
                ages: vec![0; ages_ms.len() + 1],
                oldest: item.first_opened_at,
            });
            let age = now.0.saturating_sub(item.first_opened_at.0);
            let range = ages_ms.iter().position(|under| age < i64::try_from(*under).unwrap_or(i64::MAX));
            pile.counts[item.status as usize] += 1;
            pile.ages[range.unwrap_or(ages_ms.len())] += 1;
            pile.oldest = pile.oldest.min(item.first_opened_at);
        }
        piles.into_values().collect()
    }

    /// See [`crate::repairs::Repairs::open_anomalies`].
    pub(super) fn open_anomalies(&mut self, items: &[Item], now: Timestamp) -> usize {
        let mut opened = 0;
        for item in items {
            if !self.items.contains_key(&item.item) {
                self.put(item.clone(), now);
                opened += 1;
            }
        }
        opened
    }

    /// See [`crate::repairs::Repairs::change_anomaly`].
    pub(super) fn change_anomaly(&mut self, item: &Item, was_updated_at: Timestamp, now: Timestamp) -> bool {
        let Some(known) = self.items.get(&item.item) else { return false };
        if known.updated_at != was_updated_at || known.anomaly.is_none() || item.anomaly.is_none() {
            return false;
        }
        let changed = Item {
            status: item.status,
            opened_at: item.opened_at,
            first_opened_at: item.first_opened_at,
            updated_at: item.updated_at,
            assignee: item.assignee.clone(),
            settled_by: item.settled_by.clone(),
            settled_how: item.settled_how,
            anomaly: item.anomaly.clone(),
            ..known.clone()
        };
        self.put(changed, now);
        true
    }

    /// See [`crate::repairs::Repairs::escalate`].
    pub(super) fn escalate(
        &mut self,
        level: u8,
        opened_before: Timestamp,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Item> {
        let due = |item: &&Item| item.level < level && item.first_opened_at <= opened_before;
        let mut found: Vec<(Timestamp, Uuid)> =
            self.unsettled().filter(due).map(|item| (item.first_opened_at, item.item)).collect();
        found.sort_unstable();
        found.truncate(limit);
        let mut raised = Vec::with_capacity(found.len());
        for (_, id) in found {
            let item = self.items.get_mut(&id).expect("it was just found");
            item.level = level;
            let item = item.clone();
            self.tell(Told::Escalated, &item, now, now);
            raised.push(item);
        }
        raised
    }

    /// See [`crate::repairs::Repairs::set_hooks`].
    pub(super) fn set_hooks(&mut self, hooks: &[(String, Vec<Told>)]) {
        self.hooks.clear();
        for (name, told) in hooks {
            self.hooks.entry(name.clone()).or_default().extend(told);
        }
        self.outbox.retain(|_, waiting| self.hooks.contains_key(&waiting.delivery.hook));
    }

    /// See [`crate::repairs::Repairs::take_deliveries`].
    pub(super) fn take_deliveries(&mut self, limit: usize, hold_ms: u64, now: Timestamp) -> Vec<Delivery> {
        let mut by_hook: BTreeMap<&str, Vec<(Timestamp, i64)>> = BTreeMap::new();
        for (n, waiting) in self.outbox.iter().filter(|(_, waiting)| waiting.due_at <= now) {
            by_hook.entry(&waiting.delivery.hook).or_default().push((waiting.due_at, *n));
        }
        let mut turns: Vec<(usize, i64)> = Vec::new();
        for due in by_hook.values_mut() {
            due.sort_unstable();
            turns.extend(due.iter().enumerate().map(|(turn, (_, n))| (turn, *n)));
        }
        turns.sort_unstable();
        turns.truncate(limit);
        let mut taken = Vec::with_capacity(turns.len());
        for (_, n) in turns {
            let waiting = self.outbox.get_mut(&n).expect("it was just found");
            taken.push(waiting.delivery.clone());
            waiting.due_at = now.after(Millis(hold_ms));
            waiting.delivery.attempts += 1;
        }
        taken
    }

    /// See [`crate::repairs::Repairs::end_delivery`].
    pub(super) fn end_delivery(&mut self, n: i64, retry_in_ms: Option<u64>, now: Timestamp) {
        match (retry_in_ms, self.outbox.get_mut(&n)) {
            (None, _) => drop(self.outbox.remove(&n)),
            (Some(wait), Some(waiting)) => waiting.due_at = now.after(Millis(wait)),
            (Some(_), None) => {}
        }
    }

    /// See [`crate::repairs::Repairs::deliveries_pending`].
    pub(super) fn deliveries_pending(&self) -> u64 {
        self.outbox.len() as u64
    }

    /// See [`crate::repairs::Repairs::put_job`].
    pub(super) fn put_job(&mut self, job: &JobRow, now: Timestamp) -> bool {
        let known = self.jobs.get(&job.id).map_or(0, |known| known.version);
        if job.version != known + 1 {
            return false;
        }
        self.jobs.insert(job.id, JobRow { updated_at: now, ..job.clone() });
        true
    }

    /// See [`crate::repairs::Repairs::job`].
    pub(super) fn job(&self, id: Uuid) -> Option<JobRow> {
        self.jobs.get(&id).cloned()
    }

    /// See [`crate::repairs::Repairs::jobs`].
    pub(super) fn jobs(&self, stale_ms: Option<u64>, limit: usize, now: Timestamp) -> Vec<JobRow> {
        let wanted = |job: &&JobRow| match stale_ms {
            None => true,
            Some(stale) => job.is_running && job.updated_at.after(Millis(stale)) <= now,
        };
        self.jobs.values().rev().filter(wanted).take(limit).cloned().collect()
    }
}

/// An id for an event: no two events of one hook have the same item, kind, level and time.
fn event_id(hook: &str, told: Told, item: &Item) -> Uuid {
    let (high, low) = item.item.as_u64_pair();
    let mix = Mix::new(u64::from_le_bytes(*b"outbox!!")).bytes(hook.as_bytes()).add(told as u64);
    let mix = mix.add(high).add(low).add(u64::from(item.level)).add(item.updated_at.0.unsigned_abs());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix.add(1).finish().to_be_bytes());
    bytes[8..].copy_from_slice(&mix.add(2).finish().to_be_bytes());
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
