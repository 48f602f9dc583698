//! The repair queue's side of the store in memory: as the reference does it, with the store's clock.

use super::{MemoryStore, Tables};
use crate::{
    Error, Owner,
    repairs::{Delivery, Item, ItemFilter, JobRow, Pile, Place, Repairs, Told},
};
use amends_saga::Timestamp;
use async_trait::async_trait;
use uuid::Uuid;

impl Tables {
    /// See [`Repairs::items`].
    pub fn items(&self, filter: &ItemFilter, after: Option<Place>, limit: usize) -> Vec<Item> {
        self.queue.items(filter, after, limit)
    }

    /// See [`Repairs::item`].
    pub fn item(&self, item: Uuid) -> Option<Item> {
        self.queue.item(item)
    }

    /// See [`Repairs::piles`].
    pub fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Vec<Pile> {
        self.queue.piles(now, ages_ms)
    }

    /// See [`Repairs::open_anomalies`].
    pub fn open_anomalies(&mut self, items: &[Item], now: Timestamp) -> usize {
        self.queue.open_anomalies(items, now)
    }

    /// See [`Repairs::change_anomaly`].
    pub fn change_anomaly(&mut self, item: &Item, was_updated_at: Timestamp, now: Timestamp) -> bool {
        self.queue.change_anomaly(item, was_updated_at, now)
    }

    /// See [`Repairs::escalate`].
    pub fn escalate(
        &mut self,
        level: u8,
        opened_before: Timestamp,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Item> {
        self.queue.escalate(level, opened_before, limit, now)
    }

    /// See [`Repairs::set_hooks`].
    pub fn set_hooks(&mut self, hooks: &[(String, Vec<Told>)]) {
        self.queue.set_hooks(hooks);
    }

    /// See [`Repairs::take_deliveries`].
    pub fn take_deliveries(&mut self, limit: usize, hold_ms: u64, now: Timestamp) -> Vec<Delivery> {
        self.queue.take_deliveries(limit, hold_ms, now)
    }

    /// See [`Repairs::end_delivery`].
    pub fn end_delivery(&mut self, n: i64, retry_in_ms: Option<u64>, now: Timestamp) {
        self.queue.end_delivery(n, retry_in_ms, now);
    }

    /// See [`Repairs::deliveries_pending`].
    pub fn deliveries_pending(&self) -> u64 {
        self.queue.deliveries_pending()
    }

    /// See [`Repairs::put_job`].
    pub fn put_job(&mut self, job: &JobRow, now: Timestamp) -> bool {
        self.queue.put_job(job, now)
    }

    /// See [`Repairs::job`].
    pub fn job(&self, id: Uuid) -> Option<JobRow> {
        self.queue.job(id)
    }

    /// See [`Repairs::jobs`].
    pub fn jobs(&self, stale_ms: Option<u64>, limit: usize, now: Timestamp) -> Vec<JobRow> {
        self.queue.jobs(stale_ms, limit, now)
    }
}

#[async_trait]
impl Repairs for MemoryStore {
    async fn items(
        &self,
        filter: &ItemFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Item>, Error> {
        self.read(|tables| tables.items(filter, after, limit)).await
    }

    async fn item(&self, item: Uuid) -> Result<Option<Item>, Error> {
        self.read(|tables| tables.item(item)).await
    }

    async fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Result<Vec<Pile>, Error> {
        self.read(|tables| tables.piles(now, ages_ms)).await
    }

    async fn open_anomalies(&self, items: &[Item]) -> Result<usize, Error> {
        self.write(|tables, now| Ok(tables.open_anomalies(items, now))).await
    }

    async fn change_anomaly(&self, item: &Item, was_updated_at: Timestamp) -> Result<bool, Error> {
        self.write(|tables, now| Ok(tables.change_anomaly(item, was_updated_at, now))).await
    }

    async fn escalate(&self, level: u8, opened_before: Timestamp, limit: usize) -> Result<Vec<Item>, Error> {
        self.write(|tables, now| Ok(tables.escalate(level, opened_before, limit, now))).await
    }

    async fn set_hooks(&self, hooks: &[(String, Vec<Told>)]) -> Result<(), Error> {
        self.write(|tables, _| {
            tables.set_hooks(hooks);
            Ok(())
        })
        .await
    }

    async fn take_deliveries(&self, limit: usize, hold_ms: u64) -> Result<Vec<Delivery>, Error> {
        self.write(|tables, now| Ok(tables.take_deliveries(limit, hold_ms, now))).await
    }

    async fn end_delivery(&self, n: i64, retry_in_ms: Option<u64>) -> Result<(), Error> {
        self.write(|tables, now| {
            tables.end_delivery(n, retry_in_ms, now);
            Ok(())
        })
        .await
    }

    async fn deliveries_pending(&self) -> Result<u64, Error> {
        self.read(Tables::deliveries_pending).await
    }

    async fn put_job(&self, _: &Owner, job: &JobRow) -> Result<bool, Error> {
        self.write(|tables, now| Ok(tables.put_job(job, now))).await
    }

    async fn job(&self, id: Uuid) -> Result<Option<JobRow>, Error> {
        self.read(|tables| tables.job(id)).await
    }

    async fn jobs(&self, stale_ms: Option<u64>, limit: usize) -> Result<Vec<JobRow>, Error> {
        let now = (self.clock)();
        self.read(|tables| tables.jobs(stale_ms, limit, now)).await
    }
}
