//! Both stores run through the conformance suite.

use amends_store::{
    Store,
    conformance::{self, Subject},
    memory::MemoryStore,
    sqlite::{Options, SqliteStore},
};
use async_trait::async_trait;
use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;

/// How many random sequences, from the environment for longer runs.
fn seeds(usual: u64) -> u64 {
    std::env::var("AMENDS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

/// Stores in memory; the one in use is kept, so that it outlives its "process".
#[derive(Default)]
struct InMemory {
    last: Mutex<Option<MemoryStore>>,
}

#[async_trait]
impl Subject for InMemory {
    async fn fresh(&self) -> Box<dyn Store> {
        let store = MemoryStore::new();
        *self.last.lock().expect("not poisoned") = Some(store.clone());
        Box::new(store)
    }

    async fn reopen(&self, _: Box<dyn Store>) -> Box<dyn Store> {
        let store = self.last.lock().expect("not poisoned").clone().expect("a store was made");
        store.crash();
        Box::new(store)
    }

    fn seeds(&self) -> u64 {
        seeds(200)
    }
}

/// Files in a directory of their own.
struct InFiles {
    directory: TempDir,
    files: AtomicU64,
    shared: bool,
}

impl InFiles {
    fn new(shared: bool) -> InFiles {
        let directory = tempfile::tempdir().expect("a directory can be made");
        InFiles { directory, files: AtomicU64::new(0), shared }
    }

    fn path(&self, n: u64) -> PathBuf {
        self.directory.path().join(format!("{n}.db"))
    }

    async fn open(&self, path: PathBuf) -> Box<dyn Store> {
        let options = Options { shared: self.shared, ..Options::new(path) };
        Box::new(SqliteStore::open(options).await.expect("the file can be opened"))
    }
}

#[async_trait]
impl Subject for InFiles {
    async fn fresh(&self) -> Box<dyn Store> {
        let n = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        self.open(self.path(n)).await
    }

    /// The files are copied while the old process still has them, as a crash leaves them.
    async fn reopen(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        let old = self.path(self.files.load(Ordering::Relaxed));
        let new = self.path(self.files.fetch_add(1, Ordering::Relaxed) + 1);
        for suffix in ["", "-wal"] {
            let with = |path: &PathBuf| format!("{}{suffix}", path.display());
            std::fs::copy(with(&old), with(&new)).expect("the file can be copied");
        }
        drop(store);
        self.open(new).await
    }

    fn seeds(&self) -> u64 {
        seeds(20)
    }
}

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::run(&InMemory::default()).await;
}

#[tokio::test]
async fn the_store_in_a_file_conforms() {
    conformance::run(&InFiles::new(false)).await;
}

#[tokio::test]
async fn the_store_in_a_shared_file_conforms() {
    conformance::run(&InFiles::new(true)).await;
}
