//! The audit that a participant offers to whoever compares it with the sagas: `GET /saga-audit`.
//!
//! Every participant with a guarded operation has one, made from the barrier's rows: it says what became of each step,
//! and nothing of what was done. A participant that can say more gives [`Participant::saga_audit`] its own
//! [`SagaAudit`], most of which is what [`barrier::trail_sqlite`] finds, filled up from the tables beside it.
//!
//! It reads and never writes. The shape of a page stands in [`amends_wire::audit`].
//!
//! [`Participant::saga_audit`]: crate::Participant::saga_audit

use crate::{Readers, barrier};
use amends_wire::{
    audit::{Effect, Page, Query, bad_cursor},
    problem::{Problem, Slug},
};
use async_trait::async_trait;

/// What a participant's tables say of the steps it has seen.
#[async_trait]
pub trait SagaAudit: Send + Sync + 'static {
    /// One page, all of it from one snapshot.
    ///
    /// # Errors
    /// A cursor that no page has given, and the database's own.
    async fn page(&self, query: &Query) -> Result<Page, Failure>;
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No page has given this cursor.
    #[error("the cursor is none that a page has given")]
    Cursor,
    /// The database's own.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        match failure {
            Failure::Cursor => bad_cursor(),
            Failure::Database(error) => {
                tracing::warn!(%error, "the audit could not read the database");
                let detail = "the database cannot be read now; try again";
                Problem::new(Slug::StoreUnavailable, detail).retry_after(1)
            }
        }
    }
}

/// Where an audit stands that first walks along the barrier and then along rows of its own, by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the barrier: at its beginning, or after a row.
    Barrier(Option<barrier::After>),
    /// On the own rows: after the one of this number.
    Own(i64),
}

impl Place {
    /// Reads the cursor of a query; none is the beginning.
    ///
    /// # Errors
    /// [`Failure::Cursor`].
    pub fn read(query: &Query) -> Result<Place, Failure> {
        let Some(text) = &query.cursor else { return Ok(Place::Barrier(None)) };
        match text.split_once('.') {
            Some(("barrier", after)) => {
                Ok(Place::Barrier(Some(after.parse().map_err(|()| Failure::Cursor)?)))
            }
            Some(("own", after)) => Ok(Place::Own(after.parse().map_err(|_| Failure::Cursor)?)),
            _ => Err(Failure::Cursor),
        }
    }

    /// The cursor that leads here.
    pub fn cursor(&self) -> Option<String> {
        match self {
            Place::Barrier(None) => None,
            Place::Barrier(Some(after)) => Some(format!("barrier.{after}")),
            Place::Own(after) => Some(format!("own.{after}")),
        }
    }
}

/// An effect of which nothing is said but what became of it.
pub fn effect(step: &barrier::Step) -> Effect {
    Effect {
        saga: step.saga,
        step: step.step.clone(),
        op_state: step.state,
        at: step.at,
        effect: None,
        expires_at: None,
    }
}

/// The audit of a participant that has nothing to say but what the barrier knows.
pub(crate) struct BarrierAudit(pub(crate) Readers);

#[async_trait]
impl SagaAudit for BarrierAudit {
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        let Place::Barrier(after) = Place::read(query)? else { return Err(Failure::Cursor) };
        let window = barrier::Window { since: query.since, after, limit: query.limit };
        let trail = barrier::trail(&self.0, &window).await?;
        let next = trail.next.and_then(|next| Place::Barrier(Some(next)).cursor());
        Ok(Page { effects: trail.steps.iter().map(effect).collect(), findings: Vec::new(), next })
    }
}
