//! A store whose process dies by SIGKILL at one chosen commit: just before it is made, or just after it is durable and
//! before anybody has heard of it.

use amends_saga::{
    Record, SagaId, Status, Timestamp,
    coordinator::{Append, Fingerprint, Written},
};
use amends_store::{
    DefinitionPut, DefinitionRow, Error, Filter, Owner, Revived, Store, Stored,
    repairs::{Delivery, Item, ItemFilter, JobRow, Pile, Place, Repairs, Told},
};
use async_trait::async_trait;
use std::{
    fmt,
    process::Command,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};
use uuid::Uuid;

/// On which side of a commit a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Nothing of it is written.
    Before,
    /// It is durable, and nobody knows.
    After,
}

/// At which commit of sagas, counted from 1, a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) side: Side,
    pub(crate) commit: u64,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side}:{}", self.commit)
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Moment, String> {
        let (side, commit) = text.split_once(':').ok_or("expected a side and a number")?;
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return Err(format!("{side:?} is not a side")),
        };
        Ok(Moment { side, commit: commit.parse().map_err(|error| format!("{commit:?}: {error}"))? })
    }
}

/// A store that does what the one in it does, until its moment has come.
#[derive(Debug)]
pub(crate) struct Dying<S> {
    pub(crate) store: S,
    pub(crate) moment: Moment,
    pub(crate) commits: AtomicU64,
}

/// Ends this process as somebody else would.
fn die() -> ! {
    let kill = format!("kill -9 {}", std::process::id());
    let _ = Command::new("sh").args(["-c", &kill]).status();
    std::process::abort();
}

#[async_trait]
impl<S: Store> Store for Dying<S> {
    async fn commit(&self, owner: &Owner, batch: &[Append]) -> Result<Vec<Written>, Error> {
        let is_now = self.commits.fetch_add(1, Ordering::SeqCst) + 1 == self.moment.commit;
        if is_now && self.moment.side == Side::Before {
            die();
        }
        let written = self.store.commit(owner, batch).await;
        if is_now {
            die();
        }
        written
    }

    async fn heartbeat(&self, owner: &Owner, ttl_ms: u64) -> Result<(), Error> {
        self.store.heartbeat(owner, ttl_ms).await
    }

    async fn release(&self, owner: &Owner) -> Result<(), Error> {
        self.store.release(owner).await
    }

    async fn claim(&self, owner: &Owner, limit: usize) -> Result<Vec<Stored>, Error> {
        self.store.claim(owner, limit).await
    }

    async fn reclaim(&self, owner: &Owner, ids: &[SagaId]) -> Result<Vec<Stored>, Error> {
        self.store.reclaim(owner, ids).await
    }

    async fn revive(&self, owner: &Owner, id: SagaId) -> Result<Revived, Error> {
        self.store.revive(owner, id).await
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, Error> {
        self.store.load(id).await
    }

    async fn find_key(&self, key: &str) -> Result<Option<(SagaId, Fingerprint)>, Error> {
        self.store.find_key(key).await
    }

    async fn list(&self, filter: &Filter, after: Option<SagaId>, limit: usize) -> Result<Vec<Stored>, Error> {
        self.store.list(filter, after, limit).await
    }

    async fn journal(&self, id: SagaId, after_seq: u64, limit: usize) -> Result<Vec<Record>, Error> {
        self.store.journal(id, after_seq, limit).await
    }

    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        self.store.counts().await
    }

    async fn versions(&self) -> Result<Vec<(String, u32, u64)>, Error> {
        self.store.versions().await
    }

    async fn put_definition(&self, row: &DefinitionRow) -> Result<DefinitionPut, Error> {
        self.store.put_definition(row).await
    }

    async fn definitions(&self) -> Result<Vec<DefinitionRow>, Error> {
        self.store.definitions().await
    }

    async fn put_participant(&self, name: &str, registration: &str) -> Result<(), Error> {
        self.store.put_participant(name, registration).await
    }

    async fn delete_participant(&self, name: &str) -> Result<bool, Error> {
        self.store.delete_participant(name).await
    }

    async fn participants(&self) -> Result<Vec<(String, String)>, Error> {
        self.store.participants().await
    }

    async fn secret(&self) -> Result<[u8; 32], Error> {
        self.store.secret().await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.store.ping().await
    }
}

#[async_trait]
impl<S: Store> Repairs for Dying<S> {
    async fn items(
        &self,
        filter: &ItemFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Item>, Error> {
        self.store.items(filter, after, limit).await
    }

    async fn item(&self, item: Uuid) -> Result<Option<Item>, Error> {
        self.store.item(item).await
    }

    async fn piles(&self, now: Timestamp, ages_ms: &[u64]) -> Result<Vec<Pile>, Error> {
        self.store.piles(now, ages_ms).await
    }

    async fn open_anomalies(&self, items: &[Item]) -> Result<usize, Error> {
        self.store.open_anomalies(items).await
    }

    async fn change_anomaly(&self, item: &Item, was_updated_at: Timestamp) -> Result<bool, Error> {
        self.store.change_anomaly(item, was_updated_at).await
    }

    async fn escalate(&self, level: u8, opened_before: Timestamp, limit: usize) -> Result<Vec<Item>, Error> {
        self.store.escalate(level, opened_before, limit).await
    }

    async fn set_hooks(&self, hooks: &[(String, Vec<Told>)]) -> Result<(), Error> {
        self.store.set_hooks(hooks).await
    }

    async fn take_deliveries(&self, limit: usize, hold_ms: u64) -> Result<Vec<Delivery>, Error> {
        self.store.take_deliveries(limit, hold_ms).await
    }

    async fn end_delivery(&self, n: i64, retry_in_ms: Option<u64>) -> Result<(), Error> {
        self.store.end_delivery(n, retry_in_ms).await
    }

    async fn deliveries_pending(&self) -> Result<u64, Error> {
        self.store.deliveries_pending().await
    }

    async fn put_job(&self, owner: &Owner, job: &JobRow) -> Result<bool, Error> {
        self.store.put_job(owner, job).await
    }

    async fn job(&self, id: Uuid) -> Result<Option<JobRow>, Error> {
        self.store.job(id).await
    }

    async fn jobs(&self, stale_ms: Option<u64>, limit: usize) -> Result<Vec<JobRow>, Error> {
        self.store.jobs(stale_ms, limit).await
    }
}
