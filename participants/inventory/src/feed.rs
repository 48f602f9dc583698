//! The change feed: whoever shows stock follows it, and learns within a moment what there is of every SKU.
//!
//! It is made by reading on in the flows, which are written with every change anyway; there is no second table to
//! write and no row that all writers would meet. A reader says up to which flow it knows everything (`after`), and is
//! told the *state* of each SKU that changed since, as `{sku, usable, state, seq, as_of}`: how much there is now and
//! not how far it moved. Many changes of a SKU are thus one event, and at most one every [`PAUSE`].
//!
//! The invariant it keeps: **`seq` says up to which flow a state counts, and states of a SKU with the same `seq` are the
//! same.** Whoever keeps for each SKU the state of the greatest `seq` has the newest one, however often and in whatever
//! order the events come.
//!
//! It does not promise every change in between, and keeps nothing for its readers: their cursor is theirs.

use std::sync::Arc;
use std::time::Duration;

use amends_wire::listen::Stopping;
use sqlx::SqlitePool;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

mod http;
mod read;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use http::router;
pub use read::{Batch, Error, Level, Page, State};

/// How often the end of the flows is looked at while somebody waits, and so how long changes gather.
pub const PAUSE: Duration = Duration::from_millis(50);

/// Readers at a time; one more is told to come back.
pub const READERS_MAX: usize = 64;

/// The way to the flows' end; cheap to clone. Nothing runs while nobody reads.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pool: SqlitePool,
    /// What was read last. Holding it means to read, so readers that wait for the same share one query.
    end: Arc<Mutex<End>>,
    seats: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct End {
    seen: Option<(Instant, i64)>,
    last: Option<Arc<Batch>>,
}

impl Feed {
    pub(crate) fn new(pool: &SqlitePool) -> Feed {
        let seats = Arc::new(Semaphore::new(READERS_MAX));
        Feed { pool: pool.clone(), end: Arc::default(), seats }
    }

    /// A reader's place, given back when it is dropped; `None` when all are taken.
    fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// What changed after `after`: at once if something has, and else as soon as something does, and at `until`, or when
    /// this process is told to stop, the news that nothing has.
    async fn after(
        &self,
        after: i64,
        skus_max: usize,
        until: Instant,
        stopping: &Stopping,
    ) -> Result<Arc<Batch>, Error> {
        loop {
            let head = self.head().await?;
            let now = Instant::now();
            if head != after || now >= until || stopping.0.is_cancelled() {
                return self.batch(after, skus_max).await;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until.min(now + PAUSE)) => {}
                () = stopping.0.cancelled() => {}
            }
        }
    }

    /// The last flow, as of at most [`PAUSE`] ago.
    async fn head(&self) -> Result<i64, Error> {
        let mut end = self.end.lock().await;
        if let Some((at, head)) = end.seen
            && at.elapsed() < PAUSE
        {
            return Ok(head);
        }
        let head = read::head(&self.pool).await?;
        end.seen = Some((Instant::now(), head));
        Ok(head)
    }

    async fn batch(&self, after: i64, skus_max: usize) -> Result<Arc<Batch>, Error> {
        let mut end = self.end.lock().await;
        let fresh = end.seen.is_some_and(|(at, _)| at.elapsed() < PAUSE);
        let shared = end.last.as_ref().filter(|last| fresh && last.after == after && last.asked == skus_max);
        if let Some(last) = shared.filter(|last| end.seen.is_some_and(|(_, head)| head == last.head)) {
            return Ok(Arc::clone(last));
        }
        let batch = Arc::new(read::batch(&self.pool, after, skus_max).await?);
        end.seen = Some((Instant::now(), batch.head));
        end.last = Some(Arc::clone(&batch));
        Ok(batch)
    }

    async fn page(&self, after_sku: i64, limit: usize) -> Result<Page, Error> {
        read::page(&self.pool, after_sku, limit).await
    }
}
