//! A payment provider, as a participant of sagas: it moves no money, and behaves as those do that move it.
//!
//! | operation | body | undone by |
//! |---|---|---|
//! | `charge` | `{"order", "amount_minor", "currency"?, "payment"?, "mode"?, "delay_ms"?}` | `refund` |
//! | `refund` | `{"order"` or `"payment", "refund"?, "amount_minor"?, "reason"?, "mode"?, "delay_ms"?}` | |
//!
//! How a call is answered is its [`Mode`]: at once, pending and by a callback, pending until asked, declined, late, by two
//! callbacks, never. A body may name it; otherwise the [`Behaviour`] that the provider was opened with chooses by the
//! payment's number, so that the same payment always meets the same.
//!
//! Both answer `{"payment", "order", "state", "amount_minor", "currency", "refunded_minor"}`, a refund also
//! `"refund": {"refund", "amount_minor", "state"}`. A payment's number is the order's unless the body says another; an
//! order has one payment that counts. Refunds come in parts, each once under its number, and never to more than was
//! paid: those under way count from the moment they are asked for.
//!
//! A charge of nothing is paid at once, whatever the mode: there is nothing to ask a provider for. A refund of nothing is
//! done at once, however its payment stands: an order may have free goods, and give those back last.
//!
//! As a compensation `refund` makes good the whole of its charge, however far that has come: what is paid is given back,
//! what is pending is void. Money that comes in after its charge was called off, which is what [`Mode::Late`] is about, is
//! given back by itself, and nobody is told.
//!
//! Pending work is kept in the database with its callback and survives a restart. [`audit`] checks the books by their
//! own laws; `GET /saga-audit` says what was done for which saga.

use amends_sdk::{Database, Error, Operation, Participant, Writer, barrier, each};
use axum::Router;
use std::sync::Arc;
use tokio::sync::Notify;

pub use amends_sdk::Config;
pub use mode::{Behaviour, Mode};

pub mod audit;
mod charge;
mod http;
pub mod listing;
mod metrics;
mod mode;
mod refund;
mod request;
mod rows;
mod saga_audit;
mod settle;

#[cfg(test)]
mod tests;

/// The participant's name.
pub const NAME: &str = "payment";

/// The calls that one batch may carry.
pub const BATCH_MAX: u32 = 64;

/// The scripts that make a payment database, in order.
pub const SQLITE: [&str; 6] = [
    barrier::SQLITE,
    include_str!("../../../migrations/payment/sqlite/0001_payment.sql"),
    barrier::BY_TIME,
    barrier::ROUND,
    barrier::OP_SQLITE,
    include_str!("../../../migrations/payment/sqlite/0002_free.sql"),
];

/// The payments of a shop.
#[derive(Debug, Clone)]
pub struct Payment {
    participant: Participant,
    database: Database,
}

/// Opens the payments, making their database where there is none, and starts settling what is pending.
///
/// Settling ends when the last clone of the payments and of their router is dropped.
///
/// # Errors
/// [`Error::UnknownStore`] for an address that is not `sqlite:PATH`, [`Error::Database`] and [`Error::Io`] when it
/// cannot be opened or was made by a newer version.
pub async fn open(config: Config, behaviour: Behaviour) -> Result<Payment, Error> {
    let database = Database::open(&config.store, &SQLITE).await?;
    let writer = Writer::start(&database);
    let (behaviour, asked) = (Arc::new(behaviour), Arc::new(Notify::new()));
    let alive = Arc::new(());
    tokio::spawn(settle::run(writer.clone(), asked.clone(), Arc::downgrade(&alive)));
    let charge = each({
        let (behaviour, asked, alive) = (behaviour.clone(), asked.clone(), alive.clone());
        move |tx, call| {
            let _ = &alive;
            Box::pin(charge::charge(tx, call, behaviour.clone(), asked.clone()))
        }
    });
    let refund = each(move |tx, call| {
        let _ = &alive;
        Box::pin(refund::refund(tx, call, behaviour.clone(), asked.clone()))
    });
    let offered = |name: &str| Operation::new(name).status().batch(BATCH_MAX);
    let participant = Participant::new(NAME)
        .secrets(config.secrets)
        .faults(&config.faults)
        .saga_audit(Arc::new(saga_audit::PaymentAudit(database.readers().clone())))
        .audits(Arc::new(audit::PaymentLaws(database.readers().clone())))
        .figures(Arc::new(metrics::PaymentFigures::new(database.readers())))
        .routes(http::router(database.readers().clone()))
        .guarded(offered("charge").compensation("refund"), &writer, charge)
        .guarded(offered("refund"), &writer, refund);
    Ok(Payment { participant, database })
}

impl Payment {
    /// The participant, to be run as a process of its own or registered.
    pub fn participant(&self) -> &Participant {
        &self.participant
    }

    /// The router that serves the operations and what may be read.
    pub fn router(&self) -> Router {
        self.participant.router()
    }

    /// Checks the payments by their own laws, on one snapshot.
    ///
    /// # Errors
    /// The database's own.
    pub async fn audit(&self) -> Result<audit::Audit, sqlx::Error> {
        let mut snapshot = self.database.readers().begin().await?;
        let found = audit::audit(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok(found)
    }
}
