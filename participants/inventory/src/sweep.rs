//! Holds whose time is up: the order service is asked, and the order's saga gives them back.
//!
//! Whether an order may still be paid is decided where orders are, by one conditional update, and a payment makes the
//! same update. So nothing here gives a hold back because of the clock. A round finds the orders that have a hold past its
//! time and says so to the order service ([`OrderService::expire`]); that calls the order off, unless it is paid, and starts
//! the saga that releases the stock.
//!
//! | the order is | then |
//! |---|---|
//! | called off | its saga releases the hold |
//! | alive: paid, or still to be paid | the hold stands; it is asked again |
//! | absent | somebody held stock and died before placing the order |
//!
//! [`RECONCILE_AFTER`] later there is no saga under way any more. A hold that still stands then, for an order that is called
//! off or absent at that moment, is an orphan, and is released here through the same books as everything else. Whoever comes
//! for it later finds it given back, and is refused.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use amends_sdk::{Task, Tx, Writer};
use async_trait::async_trait;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::body::now_ms;
use crate::books;
use crate::cart::OrderNo;
use crate::hold::Cause;
use crate::ledger::Deed;
use crate::route::Routes;

mod orders;

#[cfg(test)]
mod tests;

pub use orders::{AskError, Fate, HttpOrders, OrderService};

/// How often a round is made where nobody says otherwise.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long after its time a hold is an orphan, unless its order lives.
pub const RECONCILE_AFTER: Duration = Duration::from_secs(10 * 60);

/// Orders that are asked about at once.
pub const ORDERS_MAX: usize = 500;

/// How long after an answer an order is asked about again, in milliseconds.
const ASK_AGAIN_MS: i64 = 60_000;

/// What a round came to, in orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Those that have a hold past its time.
    pub overdue: usize,
    /// Those that were asked about.
    pub asked: usize,
    /// Those that are called off, now or before.
    pub called_off: usize,
    /// Those that live.
    pub alive: usize,
    /// Those that are not known there.
    pub absent: usize,
    /// Orphans that were released.
    pub released: usize,
}

/// The rounds, and what they remember of each other.
pub(crate) struct Sweep<O> {
    writer: Writer,
    routes: Routes,
    orders: O,
    /// When an order that was asked about is to be asked about again. Only overdue orders are kept.
    asked: HashMap<String, i64>,
}

/// An order with a hold past its time.
struct Overdue {
    order: String,
    expires_at: i64,
}

impl<O: OrderService> Sweep<O> {
    pub(crate) fn new(writer: &Writer, routes: &Routes, orders: O) -> Sweep<O> {
        Sweep { writer: writer.clone(), routes: routes.clone(), orders, asked: HashMap::new() }
    }

    /// Makes rounds for ever; dropping it stops it, and nothing is lost.
    pub(crate) async fn watch(mut self, every: Duration) -> Infallible {
        loop {
            match self.round(now_ms()).await {
                Ok(swept) if swept.asked > 0 => tracing::info!(?swept, "holds past their time were swept"),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "holds past their time could not be swept now"),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One round, at a time in unix milliseconds.
    ///
    /// # Errors
    /// The database's own, and an order service that does not answer; the next round goes on with what is left.
    pub(crate) async fn round(&mut self, now: i64) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        let mut still = HashMap::new();
        let mut after = (i64::MIN, String::new());
        loop {
            let page = overdue(&self.writer, now, &after).await?;
            let Some(last) = page.last() else { break };
            after = (last.expires_at, last.order.clone());
            let is_full = page.len() == ORDERS_MAX;
            swept.overdue += page.len();
            let (due, waiting): (Vec<Overdue>, Vec<Overdue>) = page
                .into_iter()
                .partition(|overdue| self.asked.get(&overdue.order).is_none_or(|again| *again <= now));
            for overdue in waiting {
                let again = self.asked.get(&overdue.order).copied().unwrap_or(now);
                still.insert(overdue.order, again);
            }
            self.ask(due, now, &mut swept, &mut still).await?;
            if !is_full {
                break;
            }
        }
        self.asked = still;
        Ok(swept)
    }

    async fn ask(
        &self,
        due: Vec<Overdue>,
        now: i64,
        swept: &mut Swept,
        still: &mut HashMap<String, i64>,
    ) -> Result<(), SweepError> {
        if due.is_empty() {
            return Ok(());
        }
        let numbers: Vec<&str> = due.iter().map(|overdue| overdue.order.as_str()).collect();
        let fates = self.orders.expire(&numbers).await?;
        swept.asked += due.len();
        let reconcile_ms = i64::try_from(RECONCILE_AFTER.as_millis()).unwrap_or(i64::MAX);
        let mut orphans = Vec::new();
        for (overdue, fate) in due.into_iter().zip(fates) {
            let may_go = match fate {
                Fate::CalledOff => {
                    swept.called_off += 1;
                    true
                }
                Fate::Absent => {
                    swept.absent += 1;
                    true
                }
                Fate::Alive => {
                    swept.alive += 1;
                    false
                }
                Fate::Unclear => continue,
            };
            let orphan_at = overdue.expires_at.saturating_add(reconcile_ms);
            if may_go && now >= orphan_at {
                orphans.push(overdue.order);
                continue;
            }
            let again = if may_go { orphan_at.min(now + ASK_AGAIN_MS) } else { now + ASK_AGAIN_MS };
            still.insert(overdue.order, again);
        }
        if !orphans.is_empty() {
            swept.released += self.release(orphans, now - reconcile_ms, now).await?;
        }
        Ok(())
    }

    /// Releases what these orders hold since before a time; says of how many there was something.
    async fn release(&self, orders: Vec<String>, limit: i64, now: i64) -> Result<usize, amends_sdk::Error> {
        let released = Arc::new(OnceLock::new());
        let routes = self.routes.clone();
        self.writer.run(Box::new(Release { orders, limit, now, routes, released: released.clone() })).await?;
        Ok(released.get().copied().unwrap_or_default())
    }
}

/// Why a round was not made to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SweepError {
    /// The order service.
    #[error(transparent)]
    Asked(#[from] AskError),
    /// Orphans could not be released.
    #[error("orphaned holds could not be released: {0}")]
    Writer(#[from] amends_sdk::Error),
    /// The overdue holds could not be read.
    #[error("the inventory's database: {0}")]
    Database(#[from] sqlx::Error),
}

/// The orders with a hold past its time, by that time, after a place in the list.
async fn overdue(writer: &Writer, now: i64, after: &(i64, String)) -> Result<Vec<Overdue>, sqlx::Error> {
    let rows = sqlx::query(
        "select order_no, min(expires_at) as at from inv_hold where expires_at is not null and expires_at <= ?1
         group by order_no having (at, order_no) > (?2, ?3) order by at, order_no limit ?4",
    )
    .bind(now)
    .bind(after.0)
    .bind(&after.1)
    .bind(i64::try_from(ORDERS_MAX).unwrap_or(i64::MAX))
    .fetch_all(writer.database().readers())
    .await?;
    rows.iter().map(|row| Ok(Overdue { order: row.try_get(0)?, expires_at: row.try_get(1)? })).collect()
}

struct Release {
    orders: Vec<String>,
    limit: i64,
    now: i64,
    routes: Routes,
    released: Arc<OnceLock<usize>>,
}

#[async_trait]
impl Task for Release {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let mut deeds = Vec::with_capacity(self.orders.len());
        for order in &self.orders {
            if let Some(cause) = maker(tx.sqlite(), order, self.limit).await? {
                deeds.push((Deed::Release(OrderNo::stored(order)), Arc::new(cause)));
            }
        }
        let answers = books::perform(tx.sqlite(), &deeds, self.now, 0, &self.routes, |answer| answer).await;
        let answers = answers.map_err(|error| match error {
            books::Error::Books(error) => error.into_database(),
            other => sqlx::Error::Protocol(other.to_string()),
        })?;
        for ((deed, cause), answer) in deeds.iter().zip(&answers) {
            match answer {
                Ok(_) => tracing::warn!(?deed, saga = %cause.saga, "an orphaned hold was released"),
                Err(refusal) => tracing::warn!(?deed, %refusal, "an orphaned hold stands"),
            }
        }
        let _ = self.released.set(answers.iter().filter(|answer| answer.is_ok()).count());
        Ok(())
    }
}

/// The step that made an order's hold, if nothing that the order holds is younger than that.
///
/// The flows name it as their cause: what nobody undid is undone in its place.
async fn maker(
    connection: &mut SqliteConnection,
    order: &str,
    limit: i64,
) -> Result<Option<Cause>, sqlx::Error> {
    let row = sqlx::query(
        "select made_saga, made_step from inv_hold where order_no = ?1 and state = 1
            and not exists (select 1 from inv_hold young
                where young.order_no = ?1 and young.state = 1 and young.expires_at > ?2)
         order by hold_id limit 1",
    )
    .bind(order)
    .bind(limit)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (saga, step): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Uuid::parse_str(&saga).ok().map(|saga| Cause { saga, step: step.into() }))
}
