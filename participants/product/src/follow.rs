//! Follows inventory's change feed, so that the catalogue shows what there is.
//!
//! Begun for the first time it reads the whole state, and from there what changed since its cursor (`cursor`). What an
//! answer says and how far it goes are written in one transaction, so it goes on where it stopped, whenever and however
//! it did. Each state counts only if its `seq` is newer than what is known, so answers that come twice, late or in
//! another order do no harm. Where inventory cannot be reached, it is asked again after 0.1 to 10 s.
//!
//! When the feed is another one than before, or goes less far, the inventory was replaced or restored: what is known
//! belongs to another numbering, is forgotten, and the whole state is read anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amends_sdk::{Task, Tx, Writer};
use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) mod cursor;
pub(crate) mod remote;
mod rows;

#[cfg(test)]
mod tests;

use crate::gather::now_ms;
use crate::load::Availability;
use crate::metrics::Figures;
use crate::table;
use cursor::{Cursor, Taken};
use remote::{Page, Remote};

/// How long inventory waits with its answer for something to change.
const WAIT: Duration = Duration::from_secs(5);
/// The first pause after an answer that did not come.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why the feed could not be followed for the moment, or not at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No HTTP client could be made.
    #[error("the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Inventory did not answer, or not as it should.
    #[error("inventory's feed: {0}")]
    Remote(String),
    /// What it said could not be written or read here.
    #[error("the product database: {0}")]
    Local(#[from] amends_sdk::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        Error::Local(error.into())
    }
}

/// A feed that is followed, until this is dropped.
#[derive(Debug)]
pub struct Following {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    /// Stops following; when it returns, nothing more is asked for. What came before is written, whole or not at all.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // It ends by itself at its next pause, and never panics but with a fault of its own.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Follows the feed of the inventory at `inventory`, its base URL.
///
/// # Errors
/// [`Error::Client`]; whatever fails later is tried again.
pub(crate) fn follow(writer: &Writer, figures: &Arc<Figures>, inventory: &str) -> Result<Following, Error> {
    let remote = Remote::new(inventory)?;
    let stop = CancellationToken::new();
    figures.following(now_ms());
    let follower = Follower { writer: writer.clone(), figures: figures.clone(), remote, cursor: None };
    let task = tokio::spawn(follower.run(stop.clone()));
    Ok(Following { stop, task })
}

struct Follower {
    writer: Writer,
    figures: Arc<Figures>,
    remote: Remote,
    /// How far the feed is known, once that was read or begun.
    cursor: Option<Cursor>,
}

impl Follower {
    async fn run(mut self, stop: CancellationToken) {
        let pauses = || {
            let growing = ExponentialBuilder::default().with_min_delay(PAUSE_FIRST).with_max_delay(PAUSE_MAX);
            growing.with_factor(2.0).with_jitter().without_max_times().build()
        };
        let mut pause = pauses();
        loop {
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = self.step() => done,
            };
            let Err(error) = done else {
                pause = pauses();
                continue;
            };
            self.figures.feed_failed();
            let wait = pause.next().unwrap_or(PAUSE_MAX);
            tracing::warn!(%error, pause_ms = wait.as_millis() as u64, "inventory's feed could not be followed");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes one answer of the feed, or the whole state.
    async fn step(&mut self) -> Result<(), Error> {
        let cursor = match &self.cursor {
            Some(cursor) => cursor.clone(),
            None => match rows::cursor(self.writer.database().readers()).await? {
                Some(cursor) => self.cursor.insert(cursor).clone(),
                None => return self.begin().await,
            },
        };
        let Some(batch) = self.remote.after(cursor.known_to, WAIT).await? else {
            tracing::warn!(known_to = cursor.known_to, "inventory's feed does not go as far as it is known");
            return self.begin().await;
        };
        let next = match cursor.take(&batch) {
            Taken::Anew => {
                tracing::warn!(known = ?cursor.feed, now = ?batch.feed, "this is another feed of inventory");
                return self.begin().await;
            }
            Taken::Stay => cursor,
            Taken::Advance(next) => next,
        };
        let since = batch.since.map(|since| since.0.0);
        let states = batch.states();
        // An answer without news is not written: the cursor stays, and so does everything else.
        if self.cursor.as_ref() != Some(&next) || !states.is_empty() {
            self.write(states, false, Some(next.clone())).await?;
        }
        let flows = u64::try_from(batch.head - next.known_to).unwrap_or(0);
        self.cursor = Some(next);
        let (now, nothing) = (now_ms(), 0);
        let old = since.map_or(nothing, |since| u64::try_from(now - since).unwrap_or(nothing));
        self.figures.known(flows, old, now);
        Ok(())
    }

    /// Forgets what is known and reads the whole state.
    async fn begin(&mut self) -> Result<(), Error> {
        self.figures.restarted();
        self.cursor = None;
        let first = self.remote.state(0).await?;
        let cursor = Cursor { feed: first.feed.clone(), known_to: first.head };
        let (mut page, mut forget) = (first, true);
        loop {
            let Page { feed, events, next, .. } = page;
            if feed != cursor.feed {
                return Err(Error::Remote("it became another feed while its state was read".into()));
            }
            let ended = next.is_none().then(|| cursor.clone());
            self.write(events.into_iter().map(Into::into).collect(), forget, ended).await?;
            forget = false;
            let Some(after) = next else { break };
            page = self.remote.state(after).await?;
        }
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Writes states, and how far the feed is known with them.
    async fn write(
        &self,
        states: Vec<Availability>,
        forget: bool,
        cursor: Option<Cursor>,
    ) -> Result<(), Error> {
        let (events, newer) = (states.len(), Arc::new(AtomicU64::new(0)));
        let applying = Applying { states, forget, cursor, newer: newer.clone() };
        self.writer.run(Box::new(applying)).await?;
        self.figures.applied(events, newer.load(Ordering::Acquire));
        Ok(())
    }
}

/// What an answer says, as a task of the writer.
struct Applying {
    states: Vec<Availability>,
    /// What is known is of another feed.
    forget: bool,
    /// How far the feed is known with this.
    cursor: Option<Cursor>,
    newer: Arc<AtomicU64>,
}

#[async_trait]
impl Task for Applying {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let now = now_ms();
        if self.forget {
            rows::forget(tx.sqlite()).await?;
        }
        let newer = table::upsert_availability(tx.sqlite(), &self.states, now).await?;
        if let Some(cursor) = &self.cursor {
            rows::keep(tx.sqlite(), cursor, now).await?;
        }
        self.newer.store(newer, Ordering::Release);
        Ok(())
    }
}
