//! Passing the saga's identity on: a request that comes within a saga, and those that are made on its behalf.
//!
//! ```
//! use amends_sdk::carry::{Carried, carry};
//! use axum::{Router, middleware::from_fn, routing::post};
//!
//! async fn book(client: &reqwest::Client) -> reqwest::Result<reqwest::Response> {
//!     // Says on whose behalf it asks, if the request that is being served said so.
//!     client.post("http://seats.local/book").in_same_saga().send().await
//! }
//! # let client = reqwest::Client::builder();
//! let router: Router = Router::new().route("/trip", post(|| async { "…" })).layer(from_fn(carry));
//! ```
//!
//! The identity is that of the task that serves the request. A task that is spawned from it has none: give it the
//! [`InSaga`](crate::InSaga), and use [`Carried::in_saga`].

use super::extract;
use crate::Reply;
use amends_wire::participant::SAGA_ID;
use axum::{
    extract::Request,
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::future::Future;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Uuid;
}

/// Middleware for axum: serves a request within the saga that its header `Saga-Id` names, if any.
///
/// A request whose header cannot be read is answered 400, for its work could not be undone.
pub async fn carry(request: Request, next: Next) -> Response {
    match extract::id(request.headers()) {
        Err(problem) => Reply::problem(&problem).into_response(),
        Ok(None) => next.run(request).await,
        Ok(Some(id)) => within(id, next.run(request)).await,
    }
}

/// Does something within a saga.
pub async fn within<F: Future>(saga: Uuid, work: F) -> F::Output {
    CURRENT.scope(saga, work).await
}

/// The saga that the current task serves, if any.
pub fn current() -> Option<Uuid> {
    CURRENT.try_with(|id| *id).ok()
}

/// A request to another service that is made within a saga.
pub trait Carried: Sized {
    /// Says that it is made within this saga.
    #[must_use]
    fn in_saga(self, saga: Uuid) -> Self;

    /// Says that it is made within the saga that the current task serves, if it serves one.
    #[must_use]
    fn in_same_saga(self) -> Self {
        match current() {
            Some(id) => self.in_saga(id),
            None => self,
        }
    }
}

impl Carried for reqwest::RequestBuilder {
    fn in_saga(self, saga: Uuid) -> Self {
        self.header(SAGA_ID, saga.to_string())
    }
}

impl Carried for reqwest::Request {
    fn in_saga(mut self, saga: Uuid) -> Self {
        let id = HeaderValue::from_str(&saga.to_string()).expect("a UUID is plain text");
        self.headers_mut().insert(SAGA_ID, id);
        self
    }
}
