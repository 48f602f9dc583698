//! Keeping the gauges of the repair queue and of the outbox up to date.

use super::Monitor;
use crate::{clock::now, metrics::AGES_MS};
use amends_store::Error;
use std::time::{Duration, Instant};

/// How much longer the pause is than the reading before it, at least: readings take a twentieth of the time.
const PAUSES: u32 = 19;

/// Reads and shows, for ever.
pub(super) async fn run(monitor: Monitor) {
    loop {
        let begun = Instant::now();
        if let Err(error) = show(&monitor).await {
            tracing::debug!(%error, "the repair queue could not be counted");
        }
        tokio::time::sleep(pause(monitor.config.gauge_every, begun.elapsed())).await;
    }
}

async fn show(monitor: &Monitor) -> Result<(), Error> {
    let at = now();
    let piles = monitor.app.store.piles(at, &AGES_MS).await?;
    monitor.app.metrics.piles(&piles, at);
    monitor.app.metrics.hooks_pending(monitor.app.store.deliveries_pending().await?);
    Ok(())
}

fn pause(every: Duration, took: Duration) -> Duration {
    every.max(took * PAUSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_takes_long_is_made_less_often() {
        for (took_ms, pause_ms) in [(0, 2_000), (100, 2_000), (200, 3_800), (1_000, 19_000)] {
            let paused = pause(Duration::from_secs(2), Duration::from_millis(took_ms));
            assert_eq!(paused, Duration::from_millis(pause_ms), "{took_ms}");
        }
    }
}
