//! Random operations on the repair queue: verbs on what is parked, anomalies, lists, the outbox, jobs.

use super::{LONG_MS, NOW, World};
use crate::{
    Error, Owner, Store,
    conformance::repairing::{anomaly, every},
    repairs::{Delivery, Item, ItemFilter, JobRow, Place, Told},
};
use amends_saga::{How, ParkReason, RepairStatus, Status, Timestamp, Verb};
use uuid::Uuid;

/// What the operations refer to.
#[derive(Default)]
pub(super) struct Known {
    anomalies: u64,
    jobs: u64,
    /// The numbers of deliveries taken: the store's own and the reference's.
    taken: Vec<(i64, i64)>,
}

impl World {
    /// Takes a saga back and, if it waits for an operator, gives its stuck step a verb.
    pub(super) async fn repair(&mut self, store: &dyn Store, who: usize) {
        let owner = self.owners[who].clone();
        let parked: Vec<_> = self.tables.items(&ItemFilter::default(), None, 1000);
        let parked: Vec<_> = parked.iter().filter_map(|item| item.saga).collect();
        let at = self.draw(parked.len() as u64 + 1) as usize;
        let Some(id) = parked.get(at).copied().filter(|id| self.sagas.contains_key(id)) else { return };
        let taken = store.reclaim(&owner, &[id]).await;
        let taken = self.check(&format!("{} takes {id} back", owner.name), taken, |tables| {
            tables.reclaim(&owner, &[id], NOW)
        });
        for stored in taken.unwrap_or_default() {
            self.adopt(who, vec![(stored.id, stored.epoch)]);
            if stored.head.status != Status::Repair || stored.head.wake_at.is_some() {
                continue;
            }
            let verb = match self.draw(6) {
                0 => Verb::Resolve { output: None },
                1 => Verb::Skip,
                2 => Verb::Abandon,
                3 => Verb::Retry { input: None },
                _ => Verb::Assign { assignee: ["ada", "bob"][self.draw(2) as usize].to_owned() },
            };
            self.history.push(format!("{verb:?}"));
            let actor = self.sagas.get_mut(&id).expect("it is known");
            actor.ready = None;
            actor.script.repair(&stored, verb);
        }
    }

    pub(super) async fn queue(&mut self, store: &dyn Store, owner: &Owner) {
        match self.draw(12) {
            0..=2 => self.items(store).await,
            3 => {
                let ages = [[0, 10], [5, 20], [40, 4000]][self.draw(3) as usize];
                let now = Timestamp(NOW.0 + self.draw(60) as i64);
                let found = store.piles(now, &ages).await;
                self.check(&format!("piles {ages:?}"), found, |tables| Ok(tables.piles(now, &ages)));
            }
            4 => self.open_anomalies(store).await,
            5 => self.change_anomaly(store).await,
            6 => {
                let (level, limit) = (self.draw(3) as u8, self.draw(5) as usize);
                let before = Timestamp(NOW.0 + self.draw(60) as i64);
                let raised = store.escalate(level, before, limit).await;
                self.check(&format!("escalate {level} {before:?} {limit}"), raised, |tables| {
                    Ok(tables.escalate(level, before, limit, NOW))
                });
            }
            7 => self.set_hooks(store).await,
            8 => self.take_deliveries(store).await,
            9 => self.end_delivery(store).await,
            10 => {
                let pending = store.deliveries_pending().await;
                self.check("pending", pending, |tables| Ok(tables.deliveries_pending()));
            }
            _ => self.job(store, owner).await,
        }
    }

    /// Compares everything the queue has.
    pub(super) async fn check_queue(&mut self, store: &dyn Store) {
        self.list_items(store, every(), None, 1000).await;
        self.set_hooks(store).await;
        self.take_deliveries(store).await;
    }

    async fn items(&mut self, store: &dyn Store) {
        let pick = |drawn: u64, from: &[&str]| from.get(drawn as usize).map(|text| (*text).to_owned());
        let mut filter = ItemFilter {
            anomalies: [Some(true), Some(false)].get(self.draw(6) as usize).copied().flatten(),
            definition: pick(self.draw(6), &["checkout", "ship"]),
            step: pick(self.draw(8), &["reserve", "order"]),
            participant: pick(self.draw(8), &["inventory", "order"]),
            assignee: pick(self.draw(6), &["ada", "bob"]),
            reason: Some(ParkReason::Refused).filter(|_| self.drawn.is_multiple_of(5)),
            ..ItemFilter::default()
        };
        for status in every().statuses {
            if self.draw(4) == 0 {
                filter.statuses.push(status);
            }
        }
        if self.draw(6) == 0 {
            filter.saga = Some(self.any_id());
        }
        if self.draw(4) == 0 {
            filter.opened_after = Some(Timestamp(NOW.0 + self.draw(40) as i64));
        }
        if self.draw(4) == 0 {
            filter.opened_before = Some(Timestamp(NOW.0 + self.draw(60) as i64));
        }
        let after = self.any_item().map(|item| item.place()).filter(|_| self.drawn.is_multiple_of(3));
        let limit = self.draw(8) as usize;
        self.list_items(store, filter, after, limit).await;
    }

    async fn list_items(
        &mut self,
        store: &dyn Store,
        filter: ItemFilter,
        after: Option<Place>,
        limit: usize,
    ) {
        let what = format!("items {limit} after {after:?} of {filter:?}");
        let listed = store.items(&filter, after, limit).await;
        self.check(&what, listed, |tables| Ok(tables.items(&filter, after, limit)));
    }

    fn any_item(&mut self) -> Option<Item> {
        let items = self.tables.items(&every(), None, 1000);
        let at = self.draw(items.len() as u64 + 1) as usize;
        items.into_iter().nth(at)
    }

    async fn open_anomalies(&mut self, store: &dyn Store) {
        let mut items = Vec::new();
        for _ in 0..=self.draw(3) {
            if self.draw(3) > 0 {
                self.queue.anomalies += 1;
            }
            let name = ["lost_row", "orphan_hold"][self.draw(2) as usize];
            let saga = Some(self.any_id()).filter(|_| self.drawn.is_multiple_of(2));
            items.push(anomaly(1 + self.queue.anomalies, name, saga));
        }
        let opened = store.open_anomalies(&items).await;
        let ids: Vec<Uuid> = items.iter().map(|item| item.item).collect();
        self.check(&format!("open {ids:?}"), opened, |tables| Ok(tables.open_anomalies(&items, NOW)));
    }

    async fn change_anomaly(&mut self, store: &dyn Store) {
        let Some(mut item) = self.any_item() else { return };
        let was = Timestamp(item.updated_at.0 - i64::from(self.draw(4) == 0));
        item.updated_at.0 += 1;
        item.anomaly.get_or_insert_with(|| r#"{"name":"lost_row"}"#.to_owned());
        item.status = every().statuses[self.draw(4) as usize];
        item.settled_how = (item.status == RepairStatus::Settled).then_some(How::Resolved);
        item.assignee = Some("ada".to_owned()).filter(|_| self.drawn.is_multiple_of(2));
        let changed = store.change_anomaly(&item, was).await;
        let what = format!("change {} to {:?}", item.item, item.status);
        self.check(&what, changed, |tables| Ok(tables.change_anomaly(&item, was, NOW)));
    }

    async fn set_hooks(&mut self, store: &dyn Store) {
        let mut hooks = Vec::new();
        for name in ["a", "b", "c"] {
            let told = [Told::Opened, Told::Escalated, Told::Settled];
            let told = told.into_iter().filter(|_| self.draw(4) > 0).collect();
            if self.draw(3) > 0 {
                hooks.push((name.to_owned(), told));
            }
        }
        let set = store.set_hooks(&hooks).await;
        self.check(&format!("hooks {hooks:?}"), set, |tables| {
            tables.set_hooks(&hooks);
            Ok(())
        });
    }

    async fn take_deliveries(&mut self, store: &dyn Store) {
        let limit = self.draw(9) as usize;
        let taken = store.take_deliveries(limit, LONG_MS).await;
        let numbers: Vec<i64> = taken.iter().flatten().map(|delivery| delivery.n).collect();
        let mut expected = Vec::new();
        self.check(&format!("take {limit}"), taken.map(alike), |tables| {
            let taken = tables.take_deliveries(limit, LONG_MS, NOW);
            expected = taken.iter().map(|delivery| delivery.n).collect();
            Ok::<_, Error>(alike(taken))
        });
        self.queue.taken.extend(numbers.into_iter().zip(expected));
    }

    async fn end_delivery(&mut self, store: &dyn Store) {
        let at = self.draw(self.queue.taken.len() as u64 + 1) as usize;
        let Some((n, expected)) = self.queue.taken.get(at).copied() else { return };
        let retry_in_ms = Some(LONG_MS).filter(|_| self.drawn.is_multiple_of(2));
        let ended = store.end_delivery(n, retry_in_ms).await;
        self.check(&format!("end {n}, again in {retry_in_ms:?}"), ended, |tables| {
            tables.end_delivery(expected, retry_in_ms, NOW);
            Ok(())
        });
    }

    async fn job(&mut self, store: &dyn Store, owner: &Owner) {
        if self.draw(3) == 0 {
            self.queue.jobs += 1;
        }
        let id = Uuid::from_u128(u128::from(1 + self.draw(self.queue.jobs + 1)));
        let version = self.draw(4);
        let is_running = self.draw(2) == 0;
        let row = JobRow { id, text: format!("{version}"), is_running, version, updated_at: NOW };
        let put = store.put_job(owner, &row).await;
        self.check(&format!("put {row:?}"), put, |tables| Ok(tables.put_job(&row, NOW)));
        let (stale, limit) = ([None, Some(0), Some(LONG_MS)][self.draw(3) as usize], self.draw(4) as usize);
        let timeless = |jobs: Vec<JobRow>| -> Vec<JobRow> {
            jobs.into_iter().map(|job| JobRow { updated_at: NOW, ..job }).collect()
        };
        let jobs = store.jobs(stale, limit).await.map(timeless);
        self.check(&format!("jobs {stale:?}"), jobs, |tables| Ok(tables.jobs(stale, limit, NOW)));
        let job = store.job(id).await.map(|job| timeless(job.into_iter().collect()));
        self.check("job", job, |tables| Ok(tables.job(id).into_iter().collect()));
    }
}

/// Deliveries without what differs between stores: numbers, ids, and the store's own time.
fn alike(taken: Vec<Delivery>) -> Vec<Delivery> {
    let alike = |delivery: Delivery| {
        let at = if delivery.told == Told::Escalated { NOW } else { delivery.at };
        Delivery { n: 0, event: Uuid::nil(), at, ..delivery }
    };
    taken.into_iter().map(alike).collect()
}
