//! The repair queue's side of the store in a file: which connection does what.

use super::{SqliteStore, job, outbox, queue, repair};
use crate::{
    Error, Owner,
    repairs::{Delivery, Item, ItemFilter, JobRow, Pile, Place, Repairs, Told},
};
use amends_saga::Timestamp;
use async_trait::async_trait;
use uuid::Uuid;

#[async_trait]
impl Repairs for SqliteStore {
    async fn items(
        &self,
        filter: &ItemFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Item>, Error> {
        queue::items(&mut *self.reader().await, filter, after, limit).await
    }

    async fn item(&self, item: Uuid) -> Result<Option<Item>, Error> {
        repair::item(&mut *self.reader().await, item).await
    }

    async fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Result<Vec<Pile>, Error> {
        queue::piles(&mut *self.reader().await, now, ages_ms).await
    }

    async fn open_anomalies(&self, items: &[Item]) -> Result<usize, Error> {
        let mut writer = self.writer().await;
        let opened = repair::open_anomalies(writer.begin().await?, items).await;
        writer.finish(opened).await
    }

    async fn change_anomaly(&self, item: &Item, was_updated_at: Timestamp) -> Result<bool, Error> {
        let mut writer = self.writer().await;
        let changed = repair::change_anomaly(writer.begin().await?, item, was_updated_at).await;
        writer.finish(changed).await
    }

    async fn escalate(&self, level: u8, opened_before: Timestamp, limit: usize) -> Result<Vec<Item>, Error> {
        let mut writer = self.writer().await;
        let raised = repair::escalate(writer.begin().await?, level, opened_before, limit).await;
        writer.finish(raised).await
    }

    async fn set_hooks(&self, hooks: &[(String, Vec<Told>)]) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let set = outbox::set_hooks(writer.begin().await?, hooks).await;
        writer.finish(set).await
    }

    async fn take_deliveries(&self, limit: usize, hold_ms: u64) -> Result<Vec<Delivery>, Error> {
        let mut writer = self.writer().await;
        let taken = outbox::take(writer.begin().await?, limit, hold_ms).await;
        writer.finish(taken).await
    }

    async fn end_delivery(&self, n: i64, retry_in_ms: Option<u64>) -> Result<(), Error> {
        let mut writer = self.writer().await;
        outbox::end(writer.ready().await?, n, retry_in_ms).await
    }

    async fn deliveries_pending(&self) -> Result<u64, Error> {
        outbox::pending(&mut *self.reader().await).await
    }

    async fn put_job(&self, owner: &Owner, job: &JobRow) -> Result<bool, Error> {
        let mut writer = self.writer().await;
        job::put(writer.ready().await?, owner, job).await
    }

    async fn job(&self, id: Uuid) -> Result<Option<JobRow>, Error> {
        job::job(&mut *self.reader().await, id).await
    }

    async fn jobs(&self, stale_ms: Option<u64>, limit: usize) -> Result<Vec<JobRow>, Error> {
        job::jobs(&mut *self.reader().await, stale_ms, limit).await
    }
}
