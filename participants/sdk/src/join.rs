//! Taking part in an open saga: its identity is passed along with requests, and whoever does something for it registers
//! a branch first.
//!
//! An open saga is begun by one service and known to the others by the header `Saga-Id` ([`carry`] passes it on). A
//! service that does something that may have to be undone *joins*:
//!
//! 1. It registers a [`Branch`] with the coordinator: what undoes the work, what makes it final. From here on the branch
//!    is undone when the saga is rolled back, whether the work was done or not.
//! 2. It does the work behind the barrier, as the action of the step that has the branch's name. Work and barrier row
//!    are one transaction, so a rollback that comes first refuses the work, and one that comes later undoes it.
//!
//! [`InSaga::work`] does both in this order. A handler takes an [`InSaga`] as an argument:
//!
//! ```no_run
//! use amends_sdk::{Body, Branch, InSaga, Reply, Sagas, Writer};
//! use axum::{Json, Router, extract::{FromRef, State}, routing::post};
//! use serde_json::{Value, json};
//! use std::sync::Arc;
//!
//! #[derive(Clone)]
//! struct Seats { sagas: Sagas, writer: Writer, body: Arc<dyn Body> }
//!
//! impl FromRef<Seats> for Sagas {
//!     fn from_ref(seats: &Seats) -> Sagas {
//!         seats.sagas.clone()
//!     }
//! }
//!
//! async fn book(State(seats): State<Seats>, saga: InSaga, Json(seat): Json<Value>) -> Reply {
//!     let branch = Branch::of("seat", "seats.free").confirm("seats.sell").with(seat);
//!     match saga.work(&seats.writer, &branch, seats.body).await {
//!         Ok(reply) => reply,
//!         Err(error) => error.reply(),
//!     }
//! }
//!
//! let sagas = Sagas::at("http://127.0.0.1:7070", None)?;
//! # fn router(seats: Seats) -> Router {
//! Router::new().route("/book", post(book)).with_state(seats)
//! # }
//! # Ok::<(), amends_sdk::Error>(())
//! ```
//!
//! A participant needs not even that: each of its guarded operations that names a compensation can be called by anybody
//! with `Saga-Id` and `Saga-Branch` in place of the coordinator's headers, and joins by itself
//! ([`Participant::joins`](crate::Participant::joins)).

mod branch;
pub mod carry;
mod extract;
mod start;

use crate::{Body, Error, Reply, Writer, outgoing};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

pub use branch::{Branch, JoinError, Registered};
pub(crate) use extract::id as identity;
pub use start::StartError;

/// How often a registration is sent at most, while whoever called waits: about a second and a half of pauses.
const ATTEMPTS_MAX: usize = 5;

/// The coordinator that keeps the open sagas; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sagas(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// An open saga that this request belongs to, and where it is kept.
///
/// As an argument of an axum handler it reads the header `Saga-Id`, and a request without it is answered 400;
/// `Option<InSaga>` leaves the choice. The router's state must give out [`Sagas`] (`FromRef`).
#[derive(Debug, Clone)]
pub struct InSaga {
    sagas: Sagas,
    id: Uuid,
}

impl Sagas {
    /// The sagas of the coordinator at this base URL; `token` is one that may submit.
    ///
    /// # Errors
    /// [`Error::Client`] when the HTTP client cannot be made.
    pub fn at(coordinator: &str, token: Option<String>) -> Result<Sagas, Error> {
        let client = outgoing::client(Duration::from_secs(5))?;
        let base = coordinator.trim_end_matches('/').to_owned();
        Ok(Sagas(Arc::new(Inner { client, base, token })))
    }

    /// One of them, by its id.
    pub fn saga(&self, id: Uuid) -> InSaga {
        InSaga { sagas: self.clone(), id }
    }
}

impl InSaga {
    /// The saga's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Registers a branch; its work must not have begun. Registering it again changes nothing.
    ///
    /// # Errors
    /// See [`JoinError`]. After any of them the work must not be done.
    pub async fn register(&self, branch: &Branch) -> Result<Registered, JoinError> {
        let Inner { client, base, token } = &*self.sagas.0;
        let url = format!("{base}/v1/sagas/{}/branches", self.id);
        let answer =
            outgoing::post(client, &url, token.as_deref(), &branch.registration(), ATTEMPTS_MAX).await;
        match answer {
            Err(error) => Err(JoinError::Unavailable(error.to_string())),
            Ok(answer) => branch::read(&answer),
        }
    }

    /// Registers a branch and does its work behind the barrier, in one transaction of the writer with the barrier's row.
    ///
    /// `body` is given a call whose operation is the branch's ([`Branch::operation`]), whose step is the branch's name
    /// and whose body is the branch's own. Doing it again, after a crash as well, gives the first answer. The work is
    /// refused when the saga's rollback was quicker, and when the saga was committed without waiting for it.
    ///
    /// # Errors
    /// When the branch could not be registered: nothing was done.
    pub async fn work(
        &self,
        writer: &Writer,
        branch: &Branch,
        body: Arc<dyn Body>,
    ) -> Result<Reply, JoinError> {
        match self.register(branch).await {
            // Asked for again after the decision: the barrier knows what was answered before it, or that it was undone.
            Ok(_) | Err(JoinError::Late { registered: true, .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(writer.answer(body, branch.call(self.id)).await)
    }
}
