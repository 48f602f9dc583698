//! The stock of a shop, as a participant of sagas, with a database of its own.
//!
//! A cart is taken whole or not at all. The calls of many sagas that wait together are decided in memory, in the order
//! they came, and written in one transaction, so that a hot SKU costs one update for all of them.
//!
//! | operation | body | does | undone by |
//! |---|---|---|---|
//! | `hold` | `{order, lines: [{sku, qty}]}` | sets a cart aside until it is paid | `release` |
//! | `deduct` | the same | takes a cart that is paid for | `restore` |
//! | `confirm` | `{order}` | what is held is paid for | `restore` |
//! | `release` | `{order, leave_confirmed?}` | frees what is held; refused where something is confirmed, unless that is to be left | |
//! | `restore` | `{order}` | frees what was confirmed or deducted | |
//! | `refund` | `{order, refund_no?, lines}` | frees some of it, never more than is left, once under its number | |
//! | `ship` | `{order, ship_no?, lines?}` | all or some of it leaves the house for good, once under its number | |
//! | `hold_short` | `{order, short_no?, lines}` | sets aside what there is, and records [what is missing](short), once under its number | `release_short` |
//! | `quote` | `{lines}` | reads what of a cart can be had, and promises nothing | |
//! | `activity_allocate`, `activity_return` | `{activity, lines}` | ordinary stock becomes an activity's, and back | each other |
//! | `quota_take`, `quota_return` | `{activity, user, qty}` | what a customer may still have of an activity | each other |
//!
//! A line may name its record by more than the SKU: [`record`]. Of a record with a safety stock less is taken: [`safety`].
//!
//! As a compensation, `release` and `restore` undo what the same step did and nothing else: a hold or a deduction it
//! made is freed, a confirmation it gave is taken back (held again). Together they give back every unit exactly once,
//! in whatever order and however often they come.
//!
//! Answers: `hold` says `{order, hold_until, lines: [{sku, qty, hold}]}`; 409 with `{message, lines: [{sku, wanted,
//! available}]}` when something is short or unknown; 422 with `errors: [{path, message}]` when the body does not fit.
//! Beside the operations there are the addresses of [`http`], of [`activity`], [`alert`], [`physical`] stock, [`safety`] stock
//! and shortages ([`short`]), and `GET /saga-audit`, which says what was done for which saga.
//!
//! Nothing is freed because of the clock: [`sweep`] tells the order service whose time is up.
//!
//! The laws of the books are constraints in the database, and [`audit`] checks those and the ones that no constraint
//! can say.

pub mod activity;
pub mod adjust;
pub mod alert;
pub mod audit;
pub mod balance;
mod body;
pub mod books;
pub mod cart;
pub mod feed;
pub mod hold;
pub mod http;
pub mod ledger;
pub mod listing;
mod metrics;
pub mod outcome;
pub mod physical;
pub mod quote;
pub mod record;
pub mod replenish;
pub mod route;
pub mod safety;
mod saga_audit;
mod setting;
pub mod short;
pub mod sqlite;
pub mod sweep;
pub mod version;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use amends_sdk::faults::Faults;
use amends_sdk::{Database, Operation, Participant, Writer, barrier};
use axum::Router;
use serde_json::json;

use crate::activity::late::Late;
use crate::adjust::{Adjusted, Adjustment};
use crate::alert::Alerts;
use crate::cart::Delivery;
use crate::quote::{Glancing, SoldOut};
use crate::replenish::Replenished;
use crate::route::{Fence, Routes, Switch, Switched};
use crate::sweep::{OrderService, Sweep};

/// How long a hold lasts where nobody says otherwise.
pub const HOLD_FOR: Duration = Duration::from_secs(15 * 60);

/// Calls in one batch, at most.
const BATCH_MAX: u32 = 256;

/// The scripts that make the tables, in order.
const MIGRATIONS: [&str; 13] = [
    barrier::SQLITE,
    include_str!("../../../migrations/inventory/sqlite/0001_stock.sql"),
    barrier::BY_TIME,
    barrier::ROUND,
    include_str!("../../../migrations/inventory/sqlite/0002_routes.sql"),
    include_str!("../../../migrations/inventory/sqlite/0003_activity.sql"),
    include_str!("../../../migrations/inventory/sqlite/0004_physical.sql"),
    include_str!("../../../migrations/inventory/sqlite/0005_short.sql"),
    barrier::OP_SQLITE,
    include_str!("../../../migrations/inventory/sqlite/0006_state.sql"),
    include_str!("../../../migrations/inventory/sqlite/0007_count.sql"),
    include_str!("../../../migrations/inventory/sqlite/0008_late.sql"),
    include_str!("../../../migrations/inventory/sqlite/0009_settings.sql"),
];

/// How an inventory is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its books are: `sqlite:PATH`.
    pub store: String,
    /// How long a hold lasts, from 1 ms; the time is told to the caller, and nothing happens by itself when it is over.
    pub hold_for: Duration,
    /// Makes it misbehave, for tests and demonstrations.
    pub faults: Option<Faults>,
}

/// Why an inventory could not be opened, or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The participant's machinery, above all its database.
    #[error("the inventory: {0}")]
    Sdk(#[from] amends_sdk::Error),
    /// A query.
    #[error("the inventory's database: {0}")]
    Database(#[from] sqlx::Error),
}

/// An inventory that is open.
#[derive(Debug, Clone)]
pub struct Inventory {
    participant: Participant,
    writer: Writer,
    routes: Routes,
}

impl Config {
    /// An inventory in `store`, with holds of 15 minutes and no faults.
    pub fn new(store: impl Into<String>) -> Config {
        Config { store: store.into(), hold_for: HOLD_FOR, faults: None }
    }
}

/// Opens an inventory, making its tables where they are missing.
///
/// Must be called within a tokio runtime; one thread writes.
///
/// # Errors
/// When the store's address names no known database, or the database cannot be opened.
pub async fn open(config: Config) -> Result<Inventory, Error> {
    open_with(config, Fence::default()).await
}

async fn open_with(config: Config, fence: Fence) -> Result<Inventory, Error> {
    let database = Database::open(&config.store, &MIGRATIONS).await?;
    let routes = Routes::default();
    routes.refresh(&mut *database.readers().acquire().await?).await?;
    let writer = Writer::start(&database);
    let sold_out = SoldOut::read(&mut *database.readers().acquire().await?).await?;
    let (carts, readers) =
        (Arc::new(body::Carts::new(config.hold_for, &routes, fence)), database.readers().clone());
    let body: Arc<dyn amends_sdk::Body> = Arc::new(Glancing::new(carts, sold_out, readers.clone()));
    let operation = |name| Operation::new(name).timeout(Duration::from_secs(5)).status().batch(BATCH_MAX);
    let mut participant = Participant::new("inventory")
        .guarded(operation("hold").compensation("release").confirm("confirm"), &writer, Arc::clone(&body))
        .guarded(operation("deduct").compensation("restore"), &writer, Arc::clone(&body))
        .guarded(operation("confirm").compensation("restore"), &writer, Arc::clone(&body))
        .guarded(operation("release"), &writer, Arc::clone(&body))
        .guarded(operation("restore"), &writer, Arc::clone(&body))
        .guarded(operation("refund"), &writer, Arc::clone(&body))
        .guarded(operation("ship"), &writer, body)
        .saga_audit(Arc::new(saga_audit::StockAudit(database.readers().clone())))
        .audits(Arc::new(audit::StockLaws(database.readers().clone())))
        .figures(Arc::new(metrics::StockFigures::new(database.readers())))
        .routes(http::router(&writer))
        .routes(activity::http::router(&writer))
        .routes(alert::http::router(&writer))
        .routes(physical::http::router(&writer))
        .routes(safety::router(&writer))
        .routes(short::http::router(&writer))
        .routes(quote::http::router(&writer))
        .plain(Operation::new("quote").timeout(Duration::from_secs(5)), move |call| {
            quote::step(readers.clone(), call)
        })
        .routes(route::http::router(&writer, &routes))
        .routes(feed::router(database.readers()));
    let body: Arc<dyn amends_sdk::Body> = Arc::new(activity::Activities);
    for (name, undo) in activity::OPERATIONS {
        participant = participant.guarded(operation(name).compensation(undo), &writer, Arc::clone(&body));
    }
    let body: Arc<dyn amends_sdk::Body> = Arc::new(short::ShortHolds::new(config.hold_for));
    let (hold, release) = short::OPERATIONS;
    participant = participant
        .guarded(operation(hold).compensation(release).confirm("confirm"), &writer, Arc::clone(&body))
        .guarded(operation(release), &writer, body);
    if let Some(faults) = &config.faults {
        participant = participant.faults(faults);
    }
    Ok(Inventory { participant, writer, routes })
}

impl Inventory {
    /// What the sdk serves and registers.
    pub fn participant(&self) -> &Participant {
        &self.participant
    }

    /// Everything it answers, as a router.
    pub fn router(&self) -> Router {
        self.participant.router()
    }

    /// Brings goods in, once under their number; durable when it returns.
    ///
    /// `lines` are pairs of SKU and quantity, within the limits of [`cart`].
    ///
    /// # Errors
    /// The database's own, or a writer with too much waiting.
    ///
    /// # Panics
    /// When number or lines are outside those limits.
    pub async fn replenish(&self, biz_no: &str, lines: &[(i64, i64)]) -> Result<Replenished, Error> {
        let lines: Vec<_> = lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        let delivery = Delivery::read(&json!({ "biz_no": biz_no, "lines": lines }));
        let delivery = delivery.unwrap_or_else(|misfits| panic!("a delivery within the limits: {misfits:?}"));
        Ok(replenish::replenish(&self.writer, delivery).await?)
    }

    /// Puts the stock of records right, once under the adjustment's number; durable when it returns.
    ///
    /// # Errors
    /// The database's own, or a writer with too much waiting.
    pub async fn adjust(&self, adjustment: Adjustment) -> Result<Adjusted, Error> {
        Ok(adjust::adjust(&self.writer, adjustment).await?)
    }

    /// Has a record taken by another route; in force for every transaction that begins after it returns.
    ///
    /// # Errors
    /// The database's own, or a writer with too much waiting.
    pub async fn switch(&self, switch: Switch) -> Result<Switched, Error> {
        Ok(route::switch(&self.writer, &self.routes, switch).await?)
    }

    /// Opens and closes alerts of low stock, looking every `every` ([`alert::EVERY`]). Runs for ever; dropping it stops it,
    /// and nothing is lost.
    pub fn watch_low_stock(&self, every: Duration) -> impl Future<Output = Infallible> + Send + 'static {
        Alerts::new(&self.writer).watch(every)
    }

    /// Returns to ordinary sales what comes back to activities that are over, looking every `every`
    /// ([`activity::late::EVERY`]). Runs for ever; dropping it stops it, and nothing is lost.
    pub fn return_leftovers(&self, every: Duration) -> impl Future<Output = Infallible> + Send + 'static {
        Late::new(&self.writer).watch(every)
    }

    /// Asks the order service about holds whose time is up, every `every` ([`sweep::EVERY`]), and releases orphans. Runs
    /// for ever; dropping it stops it, and nothing is lost.
    pub fn sweep_holds(
        &self,
        orders: impl OrderService,
        every: Duration,
    ) -> impl Future<Output = Infallible> + Send + 'static {
        Sweep::new(&self.writer, &self.routes, orders).watch(every)
    }

    /// Checks the books by their laws, on one snapshot.
    ///
    /// # Errors
    /// The database's own.
    pub async fn audit(&self) -> Result<audit::Audit, Error> {
        Ok(http::snapshot_audit(self.writer.database().readers(), audit::Given::default()).await?)
    }
}
