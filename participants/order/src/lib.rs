//! Orders, as a participant of sagas: what was ordered, where each order stands, how it came there.
//!
//! | operation | body | undone by |
//! |---|---|---|
//! | `create` | `{"order", "customer"?, "currency"?, "lines": [{"sku", "qty", "price_minor"?}], "total"?, "token"?, "pay_within_s"?, "pay_by"?}` | `cancel` |
//! | `reserve` | `{"order"}` | |
//! | `pay` | `{"order", "amount_minor"?, "payment"?}`; `payment` is its number at a payment service | `refund` |
//! | `ship` | `{"order", "ship_no"?, "lines"?: [{"sku", "qty"}]}` | |
//! | `complete` | `{"order"}` | |
//! | `refund` | `{"order", "refund"?, "reason"?, "lines"?: [{"sku", "qty"}], "payment_service"?}`; without lines it is refused where some has left | |
//! | `refund_begin` | the same; without lines it is refused while another refund is under way as well | `refund_abort` |
//! | `refund_end`, `refund_abort` | `{"order", "refund"?}` | |
//! | `cancel` | `{"order", "reason"?, "unpaid"?}`; with `unpaid`, one that was paid and refunded is refused too | |
//! | `time_out` | `{"order"}` | |
//!
//! Every operation answers `{"order", "state", "total_minor", "currency", "refunded_minor"}`, and `"pay_by"` where an
//! order has a time to be paid in, `"payment"` where it was paid by one; a refund also says `"refund": {"refund",
//! "amount_minor", "lines"}`, a shipment `"shipment"` and `"lines"`, so that the next step moves these goods and no
//! others; a time-out of an order that was called off before `"already": true`. What conflicts with where the order
//! stands is refused (409) and changes nothing; a body that does not fit is answered 422 with each place in `errors`.
//! An order number is 1 to 64 characters, a cart 1 to 1000 lines of 1 to 1 000 000 pieces; lines of the same SKU are
//! merged, and come to no more than one line may. A compensation undoes the whole of its action, and once undone
//! answers every further one alike.
//!
//! Money goes back where it was paid. An order that was paid by a payment of a payment service remembers which: a refund is
//! asked for with `payment_service` (true) by whoever gives the money back there, and without it by whoever does not. The
//! wrong one of the two is refused.
//!
//! A *refund in several steps* is begun, which sets its pieces aside, and ends: done or called off. A refund or a
//! shipment takes effect once under its number; without one it is named after its saga. An order may be placed with a
//! [`token`], of which there is one for each time a form is shown, and may have a time to be paid in ([`timeouts`]): so many
//! seconds from when it is placed (`pay_within_s`), until when its goods are held (`pay_by`, a time in RFC 3339), or the
//! earlier of both. One whose time has passed is not placed.
//!
//! The way of a call: [`command`] reads it, [`table`] loads what the batch is about, [`book`] decides by [`state`] and
//! [`money`], [`table`] writes what changed. [`audit`] checks the result by its own laws, and
//! `GET /saga-audit` says what was done for which saga. The core knows no database
//! and no clock; the barrier and the shared commit are the sdk's.

use amends_sdk::{Database, Error, Participant, Sagas, Task, Tx, Writer, barrier};
use async_trait::async_trait;
use axum::Router;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;

pub use amends_sdk::Config;

pub mod audit;
pub mod book;
pub mod command;
mod http;
pub mod listing;
mod metrics;
pub mod money;
mod orders;
mod saga_audit;
pub mod state;
pub mod table;
pub mod timeouts;
pub mod token;

use command::Operation;
use orders::Orders;
use token::Tokens;

#[cfg(test)]
mod tests;

/// The participant's name.
pub const NAME: &str = "order";

/// The calls that one batch may carry.
pub const BATCH_MAX: u32 = 64;

/// The scripts that make an order database, in order.
pub const SQLITE: [&str; 7] = [
    barrier::SQLITE,
    include_str!("../../../migrations/order/sqlite/0001_order.sql"),
    barrier::BY_TIME,
    barrier::ROUND,
    include_str!("../../../migrations/order/sqlite/0002_steps.sql"),
    barrier::OP_SQLITE,
    include_str!("../../../migrations/order/sqlite/0003_payment.sql"),
];

/// The orders of a shop.
#[derive(Debug, Clone)]
pub struct Order {
    participant: Participant,
    database: Database,
    writer: Writer,
    /// Rings when an order was called off that nobody paid for.
    called_off: Arc<Notify>,
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
    let secret = Arc::new(OnceLock::new());
    writer.run(Box::new(ReadSecret(secret.clone()))).await?;
    let tokens = Tokens::new(secret.get().map(String::as_bytes).unwrap_or_default());
    let called_off = Arc::new(Notify::new());
    let body = Arc::new(Orders { tokens: tokens.clone() });
    let mut participant = Participant::new(NAME)
        .secrets(config.secrets)
        .faults(&config.faults)
        .saga_audit(Arc::new(saga_audit::OrderAudit(database.readers().clone())))
        .audits(Arc::new(audit::OrderLaws(database.readers().clone())))
        .figures(Arc::new(metrics::OrderFigures::new(database.readers())))
        .routes(http::router(http::App { writer: writer.clone(), tokens, called_off: called_off.clone() }));
    for operation in Operation::ALL {
        let mut terms = amends_sdk::Operation::new(operation.as_str()).status().batch(BATCH_MAX);
        if let Some(compensation) = operation.compensation() {
            terms = terms.compensation(compensation.as_str());
        }
        participant = participant.guarded(terms, &writer, body.clone());
    }
    Ok(Order { participant, database, writer, called_off })
}

/// Reads the secret of the tokens, through the one connection that writes.
struct ReadSecret(Arc<OnceLock<String>>);

#[async_trait]
impl Task for ReadSecret {
    async fn run(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let _ = self.0.set(token::secret(tx.sqlite()).await?);
        Ok(())
    }
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

    /// Calls off orders whose time to pay is up, looking every `every`, and has the coordinator's saga
    /// [`timeouts::SAGA`] give their goods back. Runs for ever; dropping it stops it, and nothing is lost.
    pub fn call_off_unpaid(
        &self,
        sagas: Sagas,
        every: Duration,
    ) -> impl Future<Output = Infallible> + Send + 'static {
        timeouts::watch(self.writer.clone(), sagas, self.called_off.clone(), every)
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
