//! Copies the write-ahead log back into the database, out of the way of commits.
//!
//! A passive checkpoint waits for nobody and holds up nobody, but while commits keep coming it never
//! quite reaches the end of the log. So it does the bulk, and when the log is long all the same, the
//! writer's own checkpoint has little left to do before it begins the log afresh.

use sqlx::sqlite::SqliteConnection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// The running background; dropping it ends it.
#[derive(Debug)]
pub(super) struct Checkpoints {
    written: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

const EVERY: Duration = Duration::from_millis(250);

impl Checkpoints {
    /// Starts checkpointing over a connection of its own.
    pub(super) fn start(connection: SqliteConnection) -> Checkpoints {
        let written = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(run(connection, written.clone()));
        Checkpoints { written, task }
    }

    /// Takes note that there is something to copy.
    pub(super) fn written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut connection: SqliteConnection, written: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if !written.swap(false, Ordering::Relaxed) {
            continue;
        }
        let copied = sqlx::raw_sql("pragma wal_checkpoint(passive)").execute(&mut connection).await;
        if let Err(error) = copied {
            // The log keeps everything; it only grows until this succeeds.
            tracing::warn!(%error, "the write-ahead log could not be copied back");
        }
    }
}
