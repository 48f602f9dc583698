//! What a process does once: its runtime, its TLS provider, its listener, and how it learns that it is to end.

use crate::{
    output::say,
    settings::{BaseUrl, Listen},
};
use anyhow::Context;
use std::net::SocketAddr;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

/// Worker threads of a command that does not say.
pub const THREADS: usize = 2;

/// Makes ring the TLS provider of this process; a second call changes nothing.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The runtime a command runs on: with one thread, the one that is here, which saves every wake-up of another.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).thread_name("amends").enable_all();
    builder.build().context("the threads of the runtime could not be started")
}

/// Opens a listener.
///
/// # Errors
/// When the address is taken or not of this machine, with what to do.
pub async fn listen(on: Listen) -> anyhow::Result<TcpListener> {
    TcpListener::bind(on.0).await.with_context(|| {
        format!(
            "{on} cannot be listened on; choose another address with --listen, or port 0 for any free one"
        )
    })
}

/// Says where this process listens, as the first line of its output, for people and for programs that wait for it.
pub fn announce(address: SocketAddr) {
    say!("listening on {}", BaseUrl::of(address));
}

/// A token that is cancelled at the first Ctrl-C or SIGTERM; the second one ends the process at once.
///
/// # Errors
/// When the system lets nobody listen for signals.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; once more ends at once");
        signalled.cancel();
        signals.next().await;
        std::process::exit(1);
    });
    Ok(stop)
}

struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .context("signals cannot be listened for")?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
