//! A store that lives in memory and can be told to fail, for tests, simulations and trying things out.
//!
//! [`Tables`] is the content with its exact meaning; [`MemoryStore`] puts it behind the asynchronous
//! trait, with a clock and with [`Faults`]. The invariant it keeps: a fault changes what the caller is
//! told or when, or loses whole commits, but never leaves one half done.

mod queue;
mod repairs;
mod tables;

pub use tables::Tables;

use crate::{DefinitionPut, DefinitionRow, Error, Filter, Owner, Revived, Store, Stored, clock, random};
use amends_saga::{
    Record, SagaId, Status, Timestamp,
    coordinator::{Append, Fingerprint, Written},
};
use async_trait::async_trait;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a [`MemoryStore`] does wrong. Commits are numbered from 1 over the life of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// These commits do nothing and are reported [`Error::Unavailable`].
    pub fail_before: BTreeSet<u64>,
    /// These commits are durable and reported [`Error::Unavailable`] all the same.
    pub fail_after: BTreeSet<u64>,
    /// The next [`MemoryStore::crash`] loses the last commit, as a disk does that lies about a flush.
    pub lose_last_commit: bool,
    /// Every operation takes this long.
    pub delay: Duration,
    /// Nothing can be written; what is there can be read.
    pub disk_full: bool,
}

/// A store in memory. Clones share their content.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: Tables,
    before_last_commit: Option<Tables>,
    commits: u64,
    faults: Faults,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("MemoryStore")
            .field("commits", &shared.commits)
            .field("faults", &shared.faults)
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Makes an empty store that goes by the machine's clock.
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(clock::now)
    }

    /// Makes an empty store that goes by another clock.
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> MemoryStore {
        MemoryStore { shared: Arc::default(), clock: Arc::new(clock) }
    }

    /// Replaces what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The number of commits asked for so far, those that failed included.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// A copy of the content.
    pub fn tables(&self) -> Tables {
        self.lock().tables.clone()
    }

    /// Ends the process, so to speak: every member is gone, and with
    /// [`Faults::lose_last_commit`] the last commit is too.
    pub fn crash(&self) {
        let mut shared = self.lock();
        let before = shared.before_last_commit.take();
        if std::mem::take(&mut shared.faults.lose_last_commit)
            && let Some(before) = before
        {
            shared.tables = before;
        }
        shared.tables.forget_members();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> Result<T, Error> {
        self.wait().await;
        Ok(read(&self.lock().tables))
    }

    async fn write<T>(
        &self,
        write: impl FnOnce(&mut Tables, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.wait().await;
        let now = (self.clock)();
        let mut shared = self.lock();
        match shared.faults.disk_full {
            true => Err(Error::Unavailable("the disk is full; free some space".to_owned())),
            false => write(&mut shared.tables, now),
        }
    }

    async fn wait(&self) {
        let delay = self.lock().faults.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

impl Shared {
    fn commit(&mut self, owner: &Owner, batch: &[Append], now: Timestamp) -> Result<Vec<Written>, Error> {
        self.commits += 1;
        let told = |what: &str| Error::Unavailable(format!("commit {} failed {what}, as told", self.commits));
        if self.faults.fail_before.contains(&self.commits) {
            return Err(told("before it was done"));
        }
        if self.faults.lose_last_commit {
            self.before_last_commit = Some(self.tables.clone());
        }
        let outcomes = self.tables.commit(owner, batch, now);
        if self.faults.fail_after.contains(&self.commits) {
            return Err(told("after it was done"));
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn heartbeat(&self, owner: &Owner, ttl_ms: u64) -> Result<(), Error> {
        self.write(|tables, now| tables.heartbeat(owner, ttl_ms, now)).await
    }

    async fn release(&self, owner: &Owner) -> Result<(), Error> {
        self.write(|tables, _| {
            tables.release(owner);
            Ok(())
        })
        .await
    }

    async fn commit(&self, owner: &Owner, batch: &[Append]) -> Result<Vec<Written>, Error> {
        self.wait().await;
        let now = (self.clock)();
        let mut shared = self.lock();
        if shared.faults.disk_full {
            shared.commits += 1;
            return Err(Error::Unavailable("the disk is full; free some space".to_owned()));
        }
        shared.commit(owner, batch, now)
    }

    async fn claim(&self, owner: &Owner, limit: usize) -> Result<Vec<Stored>, Error> {
        self.write(|tables, now| tables.claim(owner, limit, now)).await
    }

    async fn reclaim(&self, owner: &Owner, ids: &[SagaId]) -> Result<Vec<Stored>, Error> {
        self.write(|tables, now| tables.reclaim(owner, ids, now)).await
    }

    async fn revive(&self, owner: &Owner, id: SagaId) -> Result<Revived, Error> {
        self.write(|tables, now| tables.revive(owner, id, now)).await
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, Error> {
        self.read(|tables| tables.load(id)).await
    }

    async fn find_key(&self, key: &str) -> Result<Option<(SagaId, Fingerprint)>, Error> {
        self.read(|tables| tables.find_key(key)).await
    }

    async fn list(&self, filter: &Filter, after: Option<SagaId>, limit: usize) -> Result<Vec<Stored>, Error> {
        self.read(|tables| tables.list(filter, after, limit)).await
    }

    async fn journal(&self, id: SagaId, after_seq: u64, limit: usize) -> Result<Vec<Record>, Error> {
        self.read(|tables| tables.journal(id, after_seq, limit)).await
    }

    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        self.read(Tables::counts).await
    }

    async fn versions(&self) -> Result<Vec<(String, u32, u64)>, Error> {
        self.read(Tables::versions).await
    }

    async fn put_definition(&self, row: &DefinitionRow) -> Result<DefinitionPut, Error> {
        self.write(|tables, _| Ok(tables.put_definition(row))).await
    }

    async fn definitions(&self) -> Result<Vec<DefinitionRow>, Error> {
        self.read(Tables::definitions).await
    }

    async fn put_participant(&self, name: &str, registration: &str) -> Result<(), Error> {
        self.write(|tables, _| {
            tables.put_participant(name, registration);
            Ok(())
        })
        .await
    }

    async fn delete_participant(&self, name: &str) -> Result<bool, Error> {
        self.write(|tables, _| Ok(tables.delete_participant(name))).await
    }

    async fn participants(&self) -> Result<Vec<(String, String)>, Error> {
        self.read(Tables::participants).await
    }

    async fn secret(&self) -> Result<[u8; 32], Error> {
        let fresh = random::secret()?;
        self.write(|tables, _| Ok(tables.secret(fresh))).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.write(|_, _| Ok(())).await
    }
}

#[cfg(test)]
mod tests;
