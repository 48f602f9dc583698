//! The accept loop of coordinator and participants: hyper behind our own limits.
//!
//! `axum::serve` sets no timer, so a client that sends half a header keeps its connection for ever. Here
//! a header must come within [`Limits::header_timeout`], connections are counted, and a stop drains what
//! is being answered for at most [`Limits::drain_timeout`].

use axum::{Router, extract::ConnectInfo};
use hyper::{
    Request,
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// What one listener bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the system's queue.
    pub connections_max: usize,
    /// How long a request's header may take, which also bounds an idle connection.
    pub header_timeout: Duration,
    /// How long answers in progress may take after the stop.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 8192,
            header_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Carried by every request: cancelled when the listener is told to stop, so that an answer which waits for something to
/// happen can end early and not hold up the stop. One that was made by itself is never cancelled.
#[derive(Debug, Clone, Default)]
pub struct Stopping(pub CancellationToken);

/// Serves `router` until `stop` is cancelled, then drains.
///
/// Every request carries [`ConnectInfo`] with the address of whoever opened the connection, and [`Stopping`].
/// Returns whether everything in progress was answered before [`Limits::drain_timeout`].
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) -> bool {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
            () = stop.cancelled() => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match stream {
            Ok((stream, peer)) => {
                let stopping = Stopping(stop.clone());
                connection(stream, peer, permit, router.clone(), limits, &graceful, stopping);
            }
            Err(error) => {
                // Out of file descriptors, or a peer that left already: neither is a reason to stop.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_ok()
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    router: Router,
    limits: Limits,
    graceful: &GracefulShutdown,
    stopping: Stopping,
) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(stopping.clone());
        router.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(64)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(permit);
    });
}
