//! A participant that checks its own laws every few minutes, by itself.
//!
//! It reads through a connection of those for reading, so nobody who writes waits for it, and it rests at least nineteen
//! times as long as it took: however much there is to check, it costs no more than a twentieth of a core. A law that is
//! broken is told of once, as an error, and once more when it is kept again; the figures show it all the while.

use super::Laws;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a participant checks its laws where nobody says otherwise.
pub const EVERY: Duration = Duration::from_secs(5 * 60);

/// The first audit comes after this part of the time between two, so that one that is restarted often is checked as well.
const FIRST: u32 = 5;

/// How many times as long as an audit took it rests at least.
const REST: u32 = 19;

/// What came of auditing so far.
#[derive(Debug)]
pub(crate) struct Auditing {
    began: Instant,
    kept: AtomicU64,
    broken: AtomicU64,
    failed: AtomicU64,
    known: Mutex<Known>,
}

/// What the last audits found.
#[derive(Debug, Default)]
struct Known {
    /// The laws in their order, each with the rows that broke it.
    laws: BTreeMap<&'static str, usize>,
    /// When the last one that came to its end began, and how long it took.
    last: Option<(Instant, Duration)>,
    /// Whether the last one failed.
    is_unreadable: bool,
}

impl Auditing {
    pub(crate) fn new() -> Auditing {
        let zero = AtomicU64::default;
        let (kept, broken, failed) = (zero(), zero(), zero());
        Auditing { began: Instant::now(), kept, broken, failed, known: Mutex::default() }
    }

    /// Audits for ever; dropping it stops it.
    pub(crate) async fn keep(&self, participant: &str, laws: &dyn Laws, every: Duration) {
        let mut rest = every / FIRST;
        loop {
            tokio::time::sleep(rest).await;
            let took = self.once(participant, laws).await;
            rest = every.max(took.saturating_mul(REST));
        }
    }

    /// Audits once and says how long it took.
    pub(crate) async fn once(&self, participant: &str, laws: &dyn Laws) -> Duration {
        let began = Instant::now();
        let checked = laws.check().await;
        let took = began.elapsed();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match checked {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut known.is_unreadable, true) {
                    tracing::warn!(participant, %error, "this participant's laws cannot be checked now");
                }
                self.failed.fetch_add(1, Relaxed);
                return took;
            }
        };
        known.is_unreadable = false;
        known.last = Some((began, took));
        let is_kept = found.iter().all(|law| law.kept);
        if is_kept { &self.kept } else { &self.broken }.fetch_add(1, Relaxed);
        for law in found {
            let rows = if law.kept { 0 } else { law.violations.len().max(1) };
            let before = known.laws.insert(law.name, rows).unwrap_or(0);
            match (before > 0, rows > 0) {
                (false, true) => {
                    let row = law.violations.first().map(ToString::to_string).unwrap_or_default();
                    let (law, says) = (law.name, law.law);
                    tracing::error!(
                        participant,
                        law,
                        says,
                        rows,
                        row,
                        "a law of this participant's is broken"
                    );
                }
                (true, false) => {
                    tracing::info!(participant, law = law.name, "the law is kept again");
                }
                (true, true) | (false, false) => {}
            }
        }
        took
    }

    /// What came of it so far.
    pub(crate) fn so_far(&self) -> SoFar {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |of: &AtomicU64| of.load(Relaxed);
        SoFar {
            broken: known.laws.iter().map(|(law, rows)| (*law, *rows)).collect(),
            since: known.last.map_or(self.began, |(began, _)| began).elapsed(),
            took: known.last.map(|(_, took)| took),
            runs: [
                ("kept", count(&self.kept)),
                ("broken", count(&self.broken)),
                ("failed", count(&self.failed)),
            ],
        }
    }
}

/// What came of auditing so far.
pub(crate) struct SoFar {
    /// The laws, each with the rows that broke it; none before the first audit.
    pub(crate) broken: Vec<(&'static str, usize)>,
    /// Since when the last audit that came to its end began, or since the start.
    pub(crate) since: Duration,
    /// How long it took.
    pub(crate) took: Option<Duration>,
    /// How many there were, by what came of them.
    pub(crate) runs: [(&'static str, u64); 3],
}
