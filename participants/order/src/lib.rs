//! Orders, as a participant of sagas: what was ordered, where each order stands, how it came there.
//!
//! | operation | body | undone by |
//! |---|---|---|
//! | `create` | `{"order", "customer"?, "currency"?, "lines": [{"sku", "qty", "price_minor"?}], "total"?}` | `cancel` |
//! | `reserve` | `{"order"}` | |
//! | `pay` | `{"order", "amount_minor"?}` | `refund` |
//! | `ship` | `{"order", "lines"?: [{"sku", "qty"}]}` | |
//! | `complete` | `{"order"}` | |
//! | `refund` | `{"order", "refund"?, "reason"?, "lines"?: [{"sku", "qty"}]}` | |
//! | `cancel` | `{"order", "reason"?}` | |
//!
//! Every operation answers `{"order", "state", "total_minor", "currency", "refunded_minor"}`; a refund also says
//! `"refund": {"refund", "amount_minor"}`. What conflicts with where the order stands is refused (409) and changes
//! nothing; a body that does not fit is answered 422 with each place in `errors`. An order number is 1 to 64
//! characters, a cart 1 to 1000 lines of 1 to 1 000 000 pieces; lines of the same SKU are merged. A compensation
//! undoes the whole of its action, and once undone answers every further one alike.
//!
//! The way of a call: [`command`] reads it, [`table`] loads what the batch is about, [`book`] decides by [`state`] and
//! [`money`], [`table`] writes what changed. [`audit`] checks the result by its own laws, and
//! `GET /saga-audit` says what was done for which saga. The core knows no database
//! and no clock; the barrier and the shared commit are the sdk's.

use amends_sdk::{Database, Error, Participant, Writer, barrier};
use axum::Router;
use std::sync::Arc;

pub use amends_sdk::Config;

pub mod audit;
pub mod book;
pub mod command;
mod http;
pub mod listing;
pub mod money;
mod orders;
mod saga_audit;
pub mod state;
pub mod table;

use command::Operation;
use orders::Orders;

#[cfg(test)]
mod tests;

/// The participant's name.
pub const NAME: &str = "order";

/// The calls that one batch may carry.
pub const BATCH_MAX: u32 = 64;

/// The scripts that make an order database, in order.
pub const SQLITE: [&str; 4] = [
    barrier::SQLITE,
    include_str!("../../../migrations/order/sqlite/0001_order.sql"),
    barrier::BY_TIME,
    barrier::ROUND,
];

/// The orders of a shop.
#[derive(Debug, Clone)]
pub struct Order {
    participant: Participant,
    database: Database,
}

/// Opens the orders, making their database where there is none, and starts their writer.
///
/// The writer ends when the last clone of the orders and of their router is dropped.
///
/// # Errors
/// [`Error::UnknownStore`] for an address that is not `sqlite:PATH`, [`Error::Database`] and [`Error::Io`] when it
/// cannot be opened or was made by a newer version.
pub async fn open(config: Config) -> Result<Order, Error> {
    let database = Database::open(&config.store, &SQLITE).await?;
    let writer = Writer::start(&database);
    let body = Arc::new(Orders);
    let mut participant = Participant::new(NAME)
        .secrets(config.secrets)
        .faults(&config.faults)
        .saga_audit(Arc::new(saga_audit::OrderAudit(database.readers().clone())))
        .routes(http::router(database.readers().clone()));
    for operation in Operation::ALL {
        let mut terms = amends_sdk::Operation::new(operation.as_str()).status().batch(BATCH_MAX);
        if let Some(compensation) = operation.compensation() {
            terms = terms.compensation(compensation.as_str());
        }
        participant = participant.guarded(terms, &writer, body.clone());
    }
    Ok(Order { participant, database })
}

impl Order {
    /// The participant, to be run as a process of its own or registered.
    pub fn participant(&self) -> &Participant {
        &self.participant
    }

    /// The router that serves the operations and what may be read.
    pub fn router(&self) -> Router {
        self.participant.router()
    }

    /// Checks the orders by their own laws, on one snapshot.
    ///
    /// # Errors
    /// The database's own.
    pub async fn audit(&self) -> Result<audit::Audit, table::Error> {
        let mut snapshot = self.database.readers().begin().await?;
        let found = audit::audit(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok(found)
    }
}
