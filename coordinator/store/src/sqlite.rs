//! The embedded store: one SQLite file, durable at every commit, written by one process.
//!
//! One connection writes; every method that writes waits for it in line, which is no loss, since the
//! caller gathers what is ready into one batch. Two more read, so a list never stands in the way of a
//! commit. A last one copies the write-ahead log back in the background. The invariant it keeps: what
//! [`Store::commit`] reports done was flushed to the disk (WAL, `synchronous=FULL`), and of what it does
//! not report done nothing is half there.

mod append;
mod catalog;
mod checkpoint;
mod commit;
mod connect;
mod item;
mod job;
mod list;
mod lock;
mod member;
mod migrate;
mod number;
mod outbox;
mod queue;
mod read;
mod repair;
mod repairs;
mod revive;
mod row;
mod writer;

use crate::{DefinitionPut, DefinitionRow, Error, Filter, Owner, Revived, Store, Stored, clock, random};
use amends_saga::{
    Record, SagaId, Status,
    coordinator::{Append, Fingerprint, Written},
};
use async_trait::async_trait;
use connect::{Connector, failed};
use lock::Lock;
use sqlx::{Row as _, sqlite::SqliteConnection};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Mutex, MutexGuard};
use writer::Writer;

/// Which file, and how it is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database; it is made if it is not there. Its companions `-wal`, `-shm` and `.lock` stand beside.
    pub path: PathBuf,
    /// Whether other processes of this host may use the file at the same time. Then a dead process's sagas
    /// are free when its lease has passed; without it they are free at once.
    pub shared: bool,
    /// Who is told to have the file when another process wants it.
    pub name: String,
    /// The size beyond which the file does not grow, in bytes; more than that is as if the disk were full.
    pub size_max: Option<u64>,
    /// Whether to read the whole file for damage before using it. About a second for a gigabyte.
    pub check: bool,
}

impl Options {
    /// A file used by this process alone.
    pub fn new(path: impl Into<PathBuf>) -> Options {
        Options { path: path.into(), shared: false, name: "amends".to_owned(), size_max: None, check: false }
    }
}

/// The number of connections that read.
const READERS: usize = 2;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Mutex<Writer>,
    readers: [Mutex<SqliteConnection>; READERS],
    next_reader: AtomicUsize,
    connector: Arc<Connector>,
    checkpoints: checkpoint::Checkpoints,
    /// Let go last, when every connection is.
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the file, brings its tables up to date, and unless it is shared declares every earlier owner
    /// dead.
    ///
    /// # Errors
    /// [`Error::Refused`] when another process has the file, naming it, when the file is of a newer version,
    /// or cannot be opened; [`Error::Corrupt`] when the check finds damage.
    pub async fn open(options: Options) -> Result<SqliteStore, Error> {
        let lock = Lock::take(&options.path, &options.name, options.shared)?;
        let size_max = AtomicU64::new(options.size_max.unwrap_or(0));
        let connector = Arc::new(Connector { path: options.path, size_max });
        let mut connection = connector.writer(true).await?;
        connect::guard_version(&mut connection).await?;
        if options.check {
            check(&mut connection).await?;
        }
        migrate::migrate(&mut connection).await?;
        if !options.shared {
            sqlx::query("delete from node").execute(&mut connection).await.map_err(failed)?;
        }
        let readers = [Mutex::new(connector.reader().await?), Mutex::new(connector.reader().await?)];
        let checkpoints = checkpoint::Checkpoints::start(connector.writer(false).await?);
        let writer = Mutex::new(Writer::new(connector.clone(), connection));
        let next_reader = AtomicUsize::new(0);
        Ok(SqliteStore { writer, readers, next_reader, connector, checkpoints, _lock: lock })
    }

    /// Changes the size beyond which the file does not grow, in bytes; `None` for no limit.
    pub async fn limit_size(&self, size_max: Option<u64>) -> Result<(), Error> {
        self.connector.size_max.store(size_max.unwrap_or(0), Ordering::Relaxed);
        let mut writer = self.writer.lock().await;
        self.connector.limit_size(writer.ready().await?).await
    }

    /// A connection to read with: one that is free, or the next in turn.
    async fn reader(&self) -> MutexGuard<'_, SqliteConnection> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed);
        for at in 0..READERS {
            if let Ok(reader) = self.readers[(turn + at) % READERS].try_lock() {
                return reader;
            }
        }
        self.readers[turn % READERS].lock().await
    }

    /// The writer, after which the log has grown.
    async fn writer(&self) -> MutexGuard<'_, Writer> {
        self.checkpoints.written();
        self.writer.lock().await
    }
}

async fn check(connection: &mut SqliteConnection) -> Result<(), Error> {
    let rows = sqlx::query("pragma quick_check(1)").fetch_all(connection).await.map_err(failed)?;
    let found: Option<String> = rows.first().map(|row| row.try_get(0)).transpose().map_err(failed)?;
    match found.as_deref() {
        None | Some("ok") => Ok(()),
        Some(damage) => Err(Error::Corrupt(damage.to_owned())),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn heartbeat(&self, owner: &Owner, ttl_ms: u64) -> Result<(), Error> {
        let mut writer = self.writer().await;
        member::heartbeat(writer.ready().await?, owner, ttl_ms).await
    }

    async fn release(&self, owner: &Owner) -> Result<(), Error> {
        let mut writer = self.writer().await;
        member::release(writer.ready().await?, owner).await
    }

    async fn commit(&self, owner: &Owner, batch: &[Append]) -> Result<Vec<Written>, Error> {
        commit::commit(&mut *self.writer().await, owner, batch).await
    }

    async fn claim(&self, owner: &Owner, limit: usize) -> Result<Vec<Stored>, Error> {
        member::claim(&mut *self.writer().await, owner, limit).await
    }

    async fn reclaim(&self, owner: &Owner, ids: &[SagaId]) -> Result<Vec<Stored>, Error> {
        member::reclaim(&mut *self.writer().await, owner, ids).await
    }

    async fn revive(&self, owner: &Owner, id: SagaId) -> Result<Revived, Error> {
        revive::revive(&mut *self.writer().await, owner, id).await
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, Error> {
        read::load(&mut *self.reader().await, id).await
    }

    async fn find_key(&self, key: &str) -> Result<Option<(SagaId, Fingerprint)>, Error> {
        read::find_key(&mut *self.reader().await, key).await
    }

    async fn list(&self, filter: &Filter, after: Option<SagaId>, limit: usize) -> Result<Vec<Stored>, Error> {
        list::list(&mut *self.reader().await, filter, after, limit).await
    }

    async fn journal(&self, id: SagaId, after_seq: u64, limit: usize) -> Result<Vec<Record>, Error> {
        read::journal(&mut *self.reader().await, id, after_seq, limit).await
    }

    async fn counts(&self) -> Result<Vec<(Status, u64)>, Error> {
        read::counts(&mut *self.reader().await).await
    }

    async fn versions(&self) -> Result<Vec<(String, u32, u64)>, Error> {
        read::versions(&mut *self.reader().await).await
    }

    async fn put_definition(&self, row: &DefinitionRow) -> Result<DefinitionPut, Error> {
        let mut writer = self.writer().await;
        let put = catalog::put_definition(writer.begin().await?, row).await;
        writer.finish(put).await
    }

    async fn definitions(&self) -> Result<Vec<DefinitionRow>, Error> {
        catalog::definitions(&mut *self.reader().await).await
    }

    async fn put_participant(&self, name: &str, registration: &str) -> Result<(), Error> {
        let mut writer = self.writer().await;
        catalog::put_participant(writer.ready().await?, name, registration).await
    }

    async fn delete_participant(&self, name: &str) -> Result<bool, Error> {
        let mut writer = self.writer().await;
        catalog::delete_participant(writer.ready().await?, name).await
    }

    async fn participants(&self) -> Result<Vec<(String, String)>, Error> {
        catalog::participants(&mut *self.reader().await).await
    }

    async fn secret(&self) -> Result<[u8; 32], Error> {
        let mut writer = self.writer().await;
        catalog::secret(writer.ready().await?, random::secret()?).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let mut writer = self.writer().await;
        let pinged = sqlx::query("update store set pinged_at = ?").bind(clock::now().0);
        pinged.execute(writer.ready().await?).await.map(drop).map_err(failed)
    }
}

#[cfg(test)]
mod tests;
