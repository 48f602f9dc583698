//! Keeping at it: what may help is tried again, with growing pauses, until the time is up.

use backon::{ExponentialBuilder, Retryable};
use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// An error of which one can say whether trying again may help.
pub(crate) trait Transient: std::error::Error {
    fn is_transient(&self) -> bool;
}

/// Tries until it succeeds, fails for good, or `until` has come.
///
/// Every try must be safe to repeat: its caller sends a key.
///
/// # Errors
/// A sentence with the last error.
pub(crate) async fn keep_at<T, E, F, R>(until: Instant, attempt: F) -> anyhow::Result<T>
where
    E: Transient + Send + Sync + 'static,
    F: FnMut() -> R,
    R: Future<Output = Result<T, E>>,
{
    let last = Mutex::new(None);
    let policy = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .without_max_times();
    let tries = attempt.retry(policy).when(E::is_transient).notify(|error: &E, _| {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    });
    match tokio::time::timeout_at(until, tries).await {
        Ok(done) => Ok(done?),
        Err(_) => match last.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(anyhow::anyhow!("patience is over (see --patience): {error}")),
            None => Err(anyhow::anyhow!("patience is over (see --patience) before there was any answer")),
        },
    }
}
