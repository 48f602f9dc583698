//! The callers: closed loops, each with a connection of its own.

use super::{
    connection::{Connection, start},
    workload::Workload,
};
use anyhow::{Context, bail};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What all callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) workload: Workload,
    /// `host:port` of the coordinator.
    pub(super) address: String,
    /// What tells this run's orders from another's.
    pub(super) run: String,
    pub(super) next: AtomicU64,
    /// Whether what ends now is counted.
    pub(super) counting: AtomicBool,
    pub(super) stop: AtomicBool,
}

/// Runs `callers` closed loops on a thread of their own until told to stop; returns every latency counted.
pub(super) fn run(
    shared: Arc<Shared>,
    callers: usize,
) -> std::thread::JoinHandle<anyhow::Result<Vec<Duration>>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let loops: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(shared.clone()))).collect();
            let mut latencies = Vec::new();
            for one in loops {
                latencies.extend(one.await.context("a caller panicked")??);
            }
            Ok(latencies)
        })
    })
}

async fn caller(shared: Arc<Shared>) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(&shared.address).await?;
    let mut latencies = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let (input, expected) = shared.workload.start(&shared.run, n);
        let request = start(&shared.address, shared.workload.saga(), &input.to_string(), true);
        let begun = Instant::now();
        let body = connection.ask(&request).await?.body;
        let ended = format!("\"status\":\"{expected}\"");
        if !body.contains(&ended) {
            bail!("saga {n} was to end {expected}; the coordinator answered {body}");
        }
        if shared.counting.load(Ordering::Relaxed) {
            latencies.push(begun.elapsed());
        }
    }
    Ok(latencies)
}
