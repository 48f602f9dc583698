//! Filling the repair queue, and the trickle of sagas that need the dead participant.

use super::{
    super::connection::{Connection, start},
    fleet::{DOOMED, Fleet, PARKED},
};
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Callers that start sagas to be parked, each one after the other.
const CALLERS: usize = 64;

/// How long a caller leaves a coordinator alone that has enough to do.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// How long the number of items may stand still before parking has failed.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// What parking took.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Parked {
    pub(super) items: u64,
    pub(super) seconds: f64,
    /// Starts that were refused for the time being and made again.
    pub(super) held_back: u64,
}

/// Starts `items` sagas that get stuck, and waits until each has its item.
pub(super) async fn fill(fleet: &Fleet, items: u64, bar: &ProgressBar) -> anyhow::Result<Parked> {
    let (begun, address) = (Instant::now(), fleet.address());
    let (next, held_back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(address.clone(), items, next.clone(), held_back.clone()));
    }
    let (mut seen, mut moved) = (0, Instant::now());
    while seen < items {
        while let Some(ended) = callers.try_join_next() {
            ended.context("a caller panicked")??;
        }
        let now = fleet.stuck().await?;
        if now > seen {
            (seen, moved) = (now, Instant::now());
            bar.set_position(seen);
        }
        if moved.elapsed() > STANDSTILL_MAX {
            bail!("{seen} of {items} sagas are parked, and no other in the last {STANDSTILL_MAX:?}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let surplus = fleet.stuck().await?;
    if surplus != items {
        bail!("{items} sagas were parked, and the queue holds {surplus} items of them");
    }
    let held_back = held_back.load(Ordering::Relaxed);
    Ok(Parked { items, seconds: begun.elapsed().as_secs_f64(), held_back })
}

async fn caller(
    address: String,
    items: u64,
    next: Arc<AtomicU64>,
    held_back: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(&address).await?;
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= items {
            return Ok(());
        }
        while !begin(&mut connection, &address, PARKED, n).await? {
            held_back.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BUSY_WAIT).await;
        }
    }
}

/// Starts one saga without waiting for it; `false` when the coordinator asks for patience.
async fn begin(connection: &mut Connection, address: &str, definition: &str, n: u64) -> anyhow::Result<bool> {
    let request = start(address, definition, &format!("{{\"n\":{n}}}"), false);
    let answer = tokio::time::timeout(REQUEST_MAX, connection.ask(&request)).await;
    let answer = answer.with_context(|| format!("a start was not answered within {REQUEST_MAX:?}"))??;
    match answer.status {
        200..=299 => Ok(true),
        429 | 503 => Ok(false),
        status => bail!("saga {n} of {definition} could not be started, {status}: {}", answer.body),
    }
}

/// Sagas that need the dead participant, so many a second, until it is told to stop.
#[derive(Debug)]
pub(super) struct Trickle {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<Trickled>>,
}

/// What became of a trickle.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Trickled {
    pub(super) started: u64,
    /// Starts refused because too much waits for the participant already.
    pub(super) refused: u64,
}

impl Trickle {
    /// Begins it.
    pub(super) fn start(address: String, per_second: u32) -> Trickle {
        let stop = CancellationToken::new();
        let task = tokio::spawn(trickle(address, per_second, stop.clone()));
        Trickle { stop, task }
    }

    /// Ends it.
    pub(super) async fn finish(self) -> anyhow::Result<Trickled> {
        self.stop.cancel();
        self.task.await.context("the trickle panicked")?
    }
}

async fn trickle(address: String, per_second: u32, stop: CancellationToken) -> anyhow::Result<Trickled> {
    let mut connection = Connection::open(&address).await?;
    let mut turns = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut so_far = Trickled::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(so_far),
            _ = turns.tick() => {}
        }
        match begin(&mut connection, &address, DOOMED, so_far.started).await? {
            true => so_far.started += 1,
            false => so_far.refused += 1,
        }
    }
}
