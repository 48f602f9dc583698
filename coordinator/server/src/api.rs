//! The HTTP API: one router, one file per kind of thing.

mod definitions;
mod meta;
mod participants;
mod query;
pub(crate) mod repairs;
mod sagas;

pub(crate) use sagas::{find as find_saga, unavailable};

use crate::{
    auth::{self, Tokens},
    bulk::Bulk,
    dispatch::Callbacks,
    handle::Handle,
    http::problem,
    metrics::Metrics,
    registry::Registry,
};
use amends_store::Store;
use amends_wire::problem::Slug;
use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tower_http::catch_panic::CatchPanicLayer;

/// What every handler can reach.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) handle: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bulk: Bulk,
    /// Checks the tokens of callbacks.
    pub(crate) callbacks: Callbacks,
    /// Set once the coordinator takes no new work.
    pub(crate) stopping: Arc<AtomicBool>,
}

impl App {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Every route of the coordinator.
pub(crate) fn router(app: App, tokens: Tokens) -> Router {
    Router::new()
        .route("/v1/sagas", post(sagas::start).get(sagas::list))
        .route("/v1/sagas/open", post(sagas::open))
        .route("/v1/sagas/{id}", get(sagas::show))
        .route("/v1/sagas/{id}/journal", get(sagas::journal))
        .route("/v1/sagas/{id}/cancel", post(sagas::cancel))
        .route("/v1/sagas/{id}/revert", post(sagas::revert))
        .route("/v1/sagas/{id}/signals/{name}", post(sagas::signal))
        .route("/v1/sagas/{id}/branches", post(sagas::branch))
        .route("/v1/sagas/{id}/renew", post(sagas::renew))
        .route("/v1/sagas/{id}/commit", post(sagas::commit))
        .route("/v1/sagas/{id}/rollback", post(sagas::rollback))
        .route("/v1/sagas/{id}/steps/{step}/answer", post(sagas::callback))
        .route("/v1/repairs", get(repairs::list))
        .route("/v1/repairs/summary", get(repairs::summary))
        .route("/v1/repairs/bulk", post(repairs::bulk::start).get(repairs::bulk::list))
        .route("/v1/repairs/bulk/{job}", get(repairs::bulk::show))
        .route("/v1/repairs/bulk/{job}/stop", post(repairs::bulk::stop))
        .route("/v1/repairs/bulk/{job}/resume", post(repairs::bulk::resume))
        .route("/v1/repairs/{id}", get(repairs::show))
        .route("/v1/repairs/{id}/retry", post(repairs::retry))
        .route("/v1/repairs/{id}/resolve", post(repairs::resolve))
        .route("/v1/repairs/{id}/skip", post(repairs::skip))
        .route("/v1/repairs/{id}/abandon", post(repairs::abandon))
        .route("/v1/repairs/{id}/assign", post(repairs::assign))
        .route("/v1/definitions", get(definitions::list))
        .route("/v1/definitions/{name}", get(definitions::versions))
        .route("/v1/definitions/{name}/{version}", put(definitions::register).get(definitions::show))
        .route("/v1/participants", get(participants::list))
        .route(
            "/v1/participants/{name}",
            put(participants::register).get(participants::show).delete(participants::remove),
        )
        .route("/v1/participants/{name}/instances/{id}", delete(participants::remove_instance))
        .route("/healthz", get(meta::healthz))
        .route("/readyz", get(meta::readyz))
        .route("/metrics", get(meta::metrics))
        .route("/openapi.json", get(meta::openapi))
        .route("/problems/{slug}", get(meta::problem_page))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(tokens, auth::check))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    problem(Slug::NotFound, format!("nothing is served at \"{}\"; see /openapi.json", path.escape_debug()))
        .into_response()
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not a method of this address; see /openapi.json", request.method());
    problem(Slug::MethodNotAllowed, detail).into_response()
}

fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let what = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = what, "a request handler panicked");
    problem(Slug::Internal, "the request met a fault; it is in the coordinator's log").into_response()
}
