//! What a participant counts of itself: `GET /metrics`, as Prometheus reads it.
//!
//! | name | kind | says |
//! |---|---|---|
//! | `amends_participant_calls_total{operation,op,outcome}` | counter | calls, those of a batch one by one: `done`, `pending`, `refused`, `early`, `gone`, `invalid` or `unavailable` |
//! | `amends_participant_call_seconds{operation}` | histogram | how long a call took, from its headers to its answer |
//! | `amends_participant_batch_calls{operation}` | histogram | calls in a request of the batch form |
//! | `amends_participant_writer_transaction_calls` | histogram | calls that were committed together |
//! | `amends_participant_writer_halved_total` | counter | transactions that failed and were run again in halves |
//! | `amends_participant_writer_failed_total` | counter | calls that could not be carried out, and were answered 503 |
//! | `amends_participant_writer_waiting` | gauge | calls and tasks that wait for the writer |
//! | `amends_participant_barrier_total{outcome}` | counter | what calls were when they met the barrier: `first`, `repeat`, `late`, `null` or `mismatch` |
//! | `amends_participant_audit_broken{law}` | gauge | rows that break a law of the participant's own, as the last audit found them; at most 20 are counted |
//! | `amends_participant_audit_last_seconds` | gauge | how long ago the last audit that came to its end began; from the start, where there was none yet |
//! | `amends_participant_audit_duration_seconds` | gauge | how long it took |
//! | `amends_participant_audit_runs_total{outcome}` | counter | audits: `kept`, `broken`, or `failed` where the database could not be read |
//!
//! What concerns audits is left out where none are made. Every one of these has the label `participant`. Below them
//! stand the participant's own figures ([`Figures`]).
//!
//! Counting costs a call a few atomic additions; there is no lock and no text before somebody asks. The invariant it
//! keeps: **the number of series is bounded by the operations and the laws, whatever is sent**.

mod audit;
mod calls;
mod text;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use calls::Calls;
pub use text::Text;
pub(crate) use writer::WriterFigures;

use crate::{Writer, audit::Auditing};
use async_trait::async_trait;
use axum::{Router, response::IntoResponse, routing::get};
use http::header::CONTENT_TYPE;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// The type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Between two looks at the database for a participant's own figures, whoever asks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a participant says of itself beside its calls: of what it does for a living.
#[async_trait]
pub trait Figures: Send + Sync + 'static {
    /// Looks at what has to be read for the figures, where anything has. It is called every few seconds while the
    /// participant runs, and never twice at a time.
    ///
    /// # Errors
    /// The database's own; the figures then stay as they were.
    async fn look(&self) -> Result<(), sqlx::Error> {
        Ok(())
    }

    /// Writes the figures. Their names say whose they are, and they have no label `participant`.
    fn write(&self, text: &mut Text);
}

/// A participant's own figures, looked at no more often than every [`LOOK_EVERY`].
#[derive(Clone)]
pub(crate) struct Looked {
    figures: Arc<dyn Figures>,
    at: Arc<Mutex<Option<Instant>>>,
}

impl Looked {
    pub(crate) fn new(figures: Arc<dyn Figures>) -> Looked {
        Looked { figures, at: Arc::default() }
    }

    /// Looks, unless somebody just has.
    pub(crate) async fn look(&self) {
        let mut at = self.at.lock().await;
        if at.is_some_and(|at| at.elapsed() < LOOK_EVERY / 2) {
            return;
        }
        if let Err(error) = self.figures.look().await {
            tracing::warn!(%error, "the figures of this participant could not be read now");
        }
        *at = Some(Instant::now());
    }

    /// Looks for ever, so that what is to be told is told although nobody asks.
    pub(crate) async fn watch(&self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Everything there is to tell of one participant.
pub(crate) struct Exported {
    pub(crate) participant: Arc<str>,
    pub(crate) calls: BTreeMap<String, Arc<Calls>>,
    /// Each with a queue of its own; those of one database share its figures.
    pub(crate) writers: Vec<Writer>,
    /// Where it checks its own laws.
    pub(crate) auditing: Option<Arc<Auditing>>,
    pub(crate) own: Vec<Looked>,
}

impl Exported {
    /// The address at which it is told.
    pub(crate) fn router(self) -> Router {
        let exported = Arc::new(self);
        Router::new().route(
            "/metrics",
            get(move || {
                let exported = Arc::clone(&exported);
                async move { ([(CONTENT_TYPE, MEDIA_TYPE)], exported.text().await).into_response() }
            }),
        )
    }

    async fn text(&self) -> String {
        let mut text = Text::of(&self.participant);
        calls::write(&self.calls, &mut text);
        writer::write(&self.writers, &mut text);
        if let Some(auditing) = &self.auditing {
            audit::write(&auditing.so_far(), &mut text);
        }
        text.go_on_without_a_name();
        for own in &self.own {
            own.look().await;
            own.figures.write(&mut text);
        }
        text.to_string()
    }
}
