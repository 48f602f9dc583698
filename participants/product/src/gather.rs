//! Gathers the carts that wait for a price and reads the SKUs of all of them in one query.
//!
//! While one query runs the next carts gather, so load sets how many share a query and a lone cart waits for nobody.
//! Two readers take turns at the queue. Nothing here is remembered: every quote sees the catalogue as it was committed
//! when its query ran.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_saga::Timestamp;
use amends_wire::api::Time;
use sqlx::SqlitePool;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::cart::Cart;
use crate::quote::{Quote, Refusal, Sku, quote};
use crate::table;

/// Carts in one query, at most.
const CARTS_MAX: usize = 256;
/// SKUs in one query, unless a single cart has more: carts are taken until they reach it.
const SKUS_MAX: usize = 4096;
/// Carts waiting, at most; one more is told to come back.
const WAITING_MAX: usize = 4096;
/// Readers that take turns.
const READERS: usize = 2;
/// How long a cart waits for its price.
const PATIENCE: Duration = Duration::from_secs(4);

/// The way to the readers; cheap to clone. They end with the last of its clones.
#[derive(Debug, Clone)]
pub struct Prices {
    queue: mpsc::Sender<Ask>,
}

/// Why there is neither a price nor a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many carts wait.
    #[error("{WAITING_MAX} carts wait for a price; try again")]
    Busy,
    /// The catalogue could not be read, or not in time.
    #[error("the catalogue could not be read: {0}")]
    Unavailable(String),
}

#[derive(Debug)]
struct Ask {
    cart: Cart,
    answer: oneshot::Sender<Result<Result<Quote, Refusal>, Error>>,
}

impl Prices {
    /// Starts the readers on a pool of connections.
    pub fn start(pool: &SqlitePool) -> Prices {
        let (queue, asks) = mpsc::channel(WAITING_MAX);
        let asks = Arc::new(Mutex::new(asks));
        for _ in 0..READERS {
            tokio::spawn(work(pool.clone(), asks.clone()));
        }
        Prices { queue }
    }

    /// Prices a cart, or says why it has no price.
    ///
    /// # Errors
    /// [`Error`], when it cannot be said.
    pub async fn of(&self, cart: Cart) -> Result<Result<Quote, Refusal>, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Ask { cart, answer }).map_err(|_| Error::Busy)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Unavailable("the participant is stopping".into())),
            Err(_) => Err(Error::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

async fn work(pool: SqlitePool, asks: Arc<Mutex<mpsc::Receiver<Ask>>>) {
    while let Some(taken) = take(&asks).await {
        let wanted = taken.iter().flat_map(|ask| ask.cart.lines.keys().copied()).collect();
        let read = read(&pool, wanted).await;
        for Ask { cart, answer } in taken {
            // Whoever stopped waiting is answered in vain.
            let _ = answer.send(match &read {
                Ok((skus, as_of)) => Ok(quote(&cart, skus, *as_of)),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

/// Takes what waits, at least one cart; nothing when nobody can ask any more.
async fn take(asks: &Mutex<mpsc::Receiver<Ask>>) -> Option<Vec<Ask>> {
    let mut asks = asks.lock().await;
    let mut taken = vec![asks.recv().await?];
    let mut skus = taken[0].cart.lines.len();
    while taken.len() < CARTS_MAX
        && skus < SKUS_MAX
        && let Ok(ask) = asks.try_recv()
    {
        skus += ask.cart.lines.len();
        taken.push(ask);
    }
    Some(taken)
}

async fn read(pool: &SqlitePool, wanted: BTreeSet<i64>) -> Result<(HashMap<i64, Sku>, Time), Error> {
    let unavailable = |error: table::Error| {
        tracing::warn!(%error, "the catalogue could not be read");
        Error::Unavailable(error.to_string())
    };
    let as_of = Time(Timestamp(now_ms()));
    let mut reader = pool.acquire().await.map_err(|error| unavailable(error.into()))?;
    Ok((table::skus(&mut reader, wanted).await.map_err(unavailable)?, as_of))
}

/// The time in unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
