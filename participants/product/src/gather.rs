//! Gathers the SKUs that are missed in the cache and reads them together, in one query.
//!
//! While one query runs the next SKUs gather, so load sets how many share a query and a lone SKU waits for nobody. A
//! whole cart that is missed is thus one query, and so are many carts. Two readers take turns at the queue. Nothing is
//! remembered here: every answer is the catalogue as it was committed when its query ran.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::quote::Sku;
use crate::table;

#[cfg(test)]
mod tests;

/// SKUs in one query, at most.
const SKUS_MAX: usize = 4096;
/// SKUs waiting, at most; who asks for one more is told to come back.
const WAITING_MAX: usize = 65_536;
/// Readers that take turns.
const READERS: usize = 2;
/// How long a SKU waits to be read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where SKUs are read.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Reads a SKU as it stands now, or nothing if there is none.
    ///
    /// # Errors
    /// [`Error`], when it cannot be said.
    async fn sku(&self, sku: i64) -> Result<Option<Sku>, Error>;
}

/// The way to the readers; cheap to clone. They end with the last of its clones.
#[derive(Debug, Clone)]
pub struct Gather {
    queue: mpsc::Sender<Ask>,
    queries: Arc<AtomicU64>,
}

/// Why it cannot be said what a SKU is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many SKUs wait.
    #[error("{WAITING_MAX} SKUs wait to be read; try again")]
    Busy,
    /// The catalogue could not be read, or not in time.
    #[error("the catalogue could not be read: {0}")]
    Unavailable(String),
}

#[derive(Debug)]
struct Ask {
    sku: i64,
    answer: oneshot::Sender<Result<Option<Sku>, Error>>,
}

impl Gather {
    /// Starts the readers on a pool of connections.
    pub fn start(pool: &SqlitePool) -> Gather {
        let (queue, asks) = mpsc::channel(WAITING_MAX);
        let asks = Arc::new(Mutex::new(asks));
        let queries = Arc::new(AtomicU64::new(0));
        for _ in 0..READERS {
            tokio::spawn(work(pool.clone(), asks.clone(), queries.clone()));
        }
        Gather { queue, queries }
    }

    /// How many queries it has put so far.
    pub fn queries(&self) -> u64 {
        self.queries.load(Relaxed)
    }
}

#[async_trait]
impl Source for Gather {
    async fn sku(&self, sku: i64) -> Result<Option<Sku>, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Ask { sku, answer }).map_err(|_| Error::Busy)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Unavailable("the participant is stopping".into())),
            Err(_) => Err(Error::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

async fn work(pool: SqlitePool, asks: Arc<Mutex<mpsc::Receiver<Ask>>>, queries: Arc<AtomicU64>) {
    while let Some(taken) = take(&asks).await {
        queries.fetch_add(1, Relaxed);
        let read = read(&pool, taken.iter().map(|ask| ask.sku).collect()).await;
        for Ask { sku, answer } in taken {
            // Whoever stopped waiting is answered in vain.
            let _ = answer.send(match &read {
                Ok(skus) => Ok(skus.get(&sku).cloned()),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

/// Takes what waits, at least one SKU; nothing when nobody can ask any more.
async fn take(asks: &Mutex<mpsc::Receiver<Ask>>) -> Option<Vec<Ask>> {
    let mut taken = Vec::new();
    let count = asks.lock().await.recv_many(&mut taken, SKUS_MAX).await;
    (count > 0).then_some(taken)
}

async fn read(pool: &SqlitePool, wanted: BTreeSet<i64>) -> Result<HashMap<i64, Sku>, Error> {
    let unavailable = |error: table::Error| {
        tracing::warn!(%error, "the catalogue could not be read");
        Error::Unavailable(error.to_string())
    };
    let mut reader = pool.acquire().await.map_err(|error| unavailable(error.into()))?;
    table::skus(&mut reader, wanted).await.map_err(unavailable)
}

/// The time in unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
