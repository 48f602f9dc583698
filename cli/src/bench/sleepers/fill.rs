//! Starting sagas without waiting for them: as fast as they are taken, or at a steady rate.

use super::super::connection::{Connection, start};
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Callers, each of which starts one saga after the other.
const CALLERS: u64 = 64;

/// How long a caller leaves a coordinator alone that has enough to do.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Starts so many sagas of a definition as fast as they are taken; returns how long that took.
pub(super) async fn fill(
    address: String,
    definition: &'static str,
    count: u64,
    bar: &ProgressBar,
) -> anyhow::Result<Duration> {
    let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS.min(count) {
        let (address, next, bar) = (address.clone(), next.clone(), bar.clone());
        callers.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                begin(&mut connection, &address, definition, n).await?;
                bar.inc(1);
            }
        });
    }
    all(callers).await?;
    Ok(begun.elapsed())
}

/// Starts `rate` sagas of a definition a second for so long; returns how many that were.
pub(super) async fn pace(
    address: String,
    definition: &'static str,
    rate: u32,
    span: Duration,
) -> anyhow::Result<u64> {
    let (begun, count) = (Instant::now(), u64::from(rate) * span.as_secs());
    let callers_count = CALLERS.min(count);
    let mut callers = JoinSet::new();
    for caller in 0..callers_count {
        let address = address.clone();
        callers.spawn(async move {
            let mut connection = Connection::open(&address).await?;
            for n in (caller..count).step_by(callers_count as usize) {
                let at = begun + Duration::from_secs_f64(n as f64 / f64::from(rate));
                tokio::time::sleep_until(at.into()).await;
                begin(&mut connection, &address, definition, n).await?;
            }
            Ok(())
        });
    }
    all(callers).await?;
    Ok(count)
}

async fn all(mut callers: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = callers.join_next().await {
        ended.context("a caller panicked")??;
    }
    Ok(())
}

/// Starts one saga; where the coordinator asks for patience, again after a while.
async fn begin(connection: &mut Connection, address: &str, definition: &str, n: u64) -> anyhow::Result<()> {
    let request = start(address, definition, &format!("{{\"n\":{n}}}"), false);
    let begun = Instant::now();
    while begun.elapsed() < REQUEST_MAX {
        let answer = tokio::time::timeout(REQUEST_MAX, connection.ask(&request)).await;
        let answer = answer.with_context(|| format!("a start was not answered within {REQUEST_MAX:?}"))??;
        match answer.status {
            200..=299 => return Ok(()),
            429 | 503 => tokio::time::sleep(BUSY_WAIT).await,
            status => bail!("saga {n} of {definition} could not be started, {status}: {}", answer.body),
        }
    }
    bail!("saga {n} of {definition} was not taken within {REQUEST_MAX:?}")
}
