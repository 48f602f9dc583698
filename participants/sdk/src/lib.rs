//! What a participant links: who is calling, the barrier, stored answers, group commit, registration.
//!
//! A participant is a service that owns a database and answers actions and compensations. It builds a
//! [`Participant`] from its operations and hands it to [`run`]. An operation is served in one of two ways:
//!
//! - *plain*: a function from a call to a [`Reply`]; for what changes nothing.
//! - *guarded*: a [`Body`] that runs inside the transaction of a [`Writer`], behind the [`barrier`]. The writer
//!   takes everything that waits, so the calls of many sagas share one commit. A body takes all those calls at
//!   once; [`each`] makes one of a function that takes a single call.
//!
//! Either answers `POST /{operation}` and, when it offers a batch form, `POST /{operation}/batch`. The database is
//! SQLite, PostgreSQL or MySQL ([`Database`]). `examples/thirty_lines.rs` is a whole participant, and
//! `participants/README.md` is the same contract for other languages.
//!
//! A call whose work outlives the request is answered [`Reply::pending`], and later by its [`Callback`]
//! (`examples/pending.rs`). A service that does something for an open saga joins it with [`InSaga`], and every guarded
//! operation that names a compensation can be asked for within one as it is ([`Participant::joins`]); [`carry`] passes
//! the saga's identity on.
//!
//! Beside the calls: [`body`] reads bodies strictly and says what does not fit where, [`audit`] checks the tables by the
//! participant's own laws, on demand and every few minutes, [`metrics`] says how all of it fares, and [`saga_audit`] tells
//! whoever asks what was done for which saga.
//!
//! The invariant it keeps: **a guarded call takes effect at most once, every attempt of it is answered
//! alike, and an action that comes after its compensation is refused, whatever its round.**

pub mod audit;
pub mod barrier;
pub mod body;
mod callback;
mod caller;
mod config;
mod database;
pub mod faults;
mod join;
pub mod metrics;
mod outgoing;
mod participant;
mod register;
mod reply;
pub mod saga_audit;
mod serve;
mod trace;
mod writer;

pub use amends_wire::{
    participant::{CallOp, Secret},
    registration::Registration,
};
pub use callback::{Callback, CallbackError};
pub use caller::{Call, Caller};
pub use config::Config;
pub use database::{Database, Dialect, Migrations, Readers, Tx};
pub use join::{Branch, InSaga, JoinError, Registered, Sagas, StartError, carry};
pub use participant::{Operation, Participant};
pub use register::Registrar;
pub use reply::Reply;
pub use serve::{Limits, Registering, run};
pub use trace::Tracer;
pub use writer::{Body, Perform, Task, Writer, each};

/// Why the sdk could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The store's address names no database that is known.
    #[error("\"{0}\" names no store: use sqlite:PATH, postgres://… or mysql://…")]
    UnknownStore(String),
    /// The store is one that this participant has no tables for.
    #[error("this participant keeps its data in SQLite: use sqlite:PATH in place of {0}")]
    OtherStore(Dialect),
    /// The writer has as much waiting as it takes; try again.
    #[error("the writer is busy: {0} calls wait")]
    Busy(usize),
    /// The writer's loop is gone, because the participant is stopping.
    #[error("the participant is stopping")]
    Stopping,
    /// It listens on every address of the machine, and the coordinator must be told one of them.
    #[error("{0} is no address to be called at: say which one the coordinator reaches (advertise)")]
    Nowhere(std::net::SocketAddr),
    /// The listener or the network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}
