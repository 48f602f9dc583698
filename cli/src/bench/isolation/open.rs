//! Open-loop load: sagas begin when their time has come, whether or not those before have ended.
//!
//! A latency counts from the moment at which the saga was *meant* to begin, so a coordinator that stalls is charged for
//! everyone it kept waiting, not for one caller.

use super::{
    super::connection::{Connection, start},
    fleet::unrelated,
};
use anyhow::{Context, bail};
use futures::{StreamExt, stream::FuturesUnordered};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Sagas under way at a time, at most; those whose time comes then begin later, and their latency tells.
const AT_ONCE_MAX: usize = 512;

/// Sagas whose time has come and that have not begun, at most.
const DUE_MAX: usize = 1 << 16;

/// Sooner than the coordinator closes a connection that is idle.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// How long a saga of this load may ever take.
const PATIENCE: Duration = Duration::from_secs(65);

/// One saga of the load.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Sample {
    /// When it was meant to begin, since the load began.
    pub(super) at: Duration,
    /// From then until its end.
    pub(super) took: Duration,
}

/// A load that goes on until it is told to stop, or dropped.
#[derive(Debug)]
pub(in super::super) struct OpenLoad {
    begun: Instant,
    stop: DropGuard,
    caller: std::thread::JoinHandle<anyhow::Result<Vec<Sample>>>,
}

impl OpenLoad {
    /// Begins to start `rate` sagas a second at `address`.
    pub(in super::super) fn start(address: String, rate: u32) -> OpenLoad {
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        let (due, taken) = mpsc::channel(DUE_MAX);
        let told = stop.clone();
        std::thread::spawn(move || pace(begun, rate, &told, &due));
        let caller = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(call(&address, begun, taken))
        });
        OpenLoad { begun, stop: stop.drop_guard(), caller }
    }

    /// Whether it has ended by itself, which it does only by a fault.
    pub(in super::super) fn has_failed(&self) -> bool {
        self.caller.is_finished()
    }

    /// The time since it began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Stops it, waits for the sagas under way and returns every one.
    ///
    /// # Errors
    /// When a saga did not complete.
    pub(in super::super) async fn finish(self) -> anyhow::Result<Vec<Sample>> {
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(move || self.caller.join()).await?;
        ended.map_err(|_| anyhow::anyhow!("the callers of the load panicked"))?
    }
}

/// Says of each saga when its time has come. A thread of its own, since the system's timer is finer than a runtime's.
fn pace(begun: Instant, rate: u32, stop: &CancellationToken, due: &mpsc::Sender<(u64, Duration)>) {
    for n in 0.. {
        let at = Duration::from_secs_f64(n as f64 / f64::from(rate));
        std::thread::sleep((begun + at).saturating_duration_since(Instant::now()));
        if stop.is_cancelled() || due.blocking_send((n, at)).is_err() {
            return;
        }
    }
}

/// Starts every saga whose time has come, as long as there are any.
async fn call(
    address: &str,
    begun: Instant,
    mut due: mpsc::Receiver<(u64, Duration)>,
) -> anyhow::Result<Vec<Sample>> {
    let (mut samples, mut idle, mut under_way) = (Vec::new(), Vec::new(), FuturesUnordered::new());
    let mut goes_on = true;
    while goes_on || !under_way.is_empty() {
        tokio::select! {
            next = due.recv(), if goes_on && under_way.len() < AT_ONCE_MAX => match next {
                Some((n, at)) => under_way.push(one(address, begun, take(&mut idle), n, at)),
                None => goes_on = false,
            },
            Some(ended) = under_way.next(), if !under_way.is_empty() => {
                let (connection, sample) = ended?;
                idle.push((Instant::now(), connection));
                samples.push(sample);
            }
        }
    }
    Ok(samples)
}

/// The connection used last, if the coordinator has not closed it by now.
fn take(idle: &mut Vec<(Instant, Connection)>) -> Option<Connection> {
    let (used, connection) = idle.pop()?;
    if used.elapsed() < IDLE_MAX {
        return Some(connection);
    }
    idle.clear();
    None
}

async fn one(
    address: &str,
    begun: Instant,
    connection: Option<Connection>,
    n: u64,
    at: Duration,
) -> anyhow::Result<(Connection, Sample)> {
    let asking = async {
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let request = start(address, &unrelated(n), &format!("{{\"n\":{n}}}"), true);
        let answer = connection.ask(&request).await?;
        let took = (begun + at).elapsed();
        if !answer.body.contains("\"status\":\"completed\"") {
            bail!("unrelated saga {n} was to complete; the answer was {}: {}", answer.status, answer.body);
        }
        Ok((connection, Sample { at, took }))
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.with_context(|| format!("unrelated saga {n} has not ended within {PATIENCE:?}"))?
}
