//! The audit that a participant offers to whoever compares it with the sagas: `GET /saga-audit`.
//!
//! Every participant with a guarded operation has one, made from the barrier's rows: it says what became of each step,
//! and nothing of what was done. A participant that can say more gives [`Participant::saga_audit`] its own
//! [`SagaAudit`], most of which is what [`barrier::trail_sqlite`] finds, filled up from the tables beside it.
//!
//! It reads and never writes. The shape of a page stands in [`amends_wire::audit`].
//!
//! [`Participant::saga_audit`]: crate::Participant::saga_audit

mod walk;

pub use walk::{Walk, walk};

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

/// Where an audit stands that first walks along the barrier, and then along tables of its own by the numbers of their
/// rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the barrier: at its beginning, or after a row.
    Barrier(Option<barrier::After>),
    /// On one of the own tables, at its beginning, or after the row of a number.
    Own {
        /// Which of the tables, from 0.
        table: usize,
        /// After which row; `None` stands for whichever is the first of the time that is asked about.
        after: Option<i64>,
    },
}

impl Place {
    /// Reads the cursor of a query; none is the beginning.
    ///
    /// # Errors
    /// [`Failure::Cursor`].
    pub fn read(query: &Query) -> Result<Place, Failure> {
        let Some(text) = &query.cursor else { return Ok(Place::Barrier(None)) };
        let place = match text.split_once('.') {
            Some(("barrier", after)) => after.parse().ok().map(|after| Place::Barrier(Some(after))),
            Some(("own", place)) => place.split_once('.').and_then(|(table, after)| {
                let after = if after.is_empty() { None } else { Some(after.parse().ok()?) };
                Some(Place::Own { table: table.parse().ok()?, after })
            }),
            _ => None,
        };
        place.ok_or(Failure::Cursor)
    }

    /// The cursor that leads here.
    pub fn cursor(&self) -> Option<String> {
        match self {
            Place::Barrier(None) => None,
            Place::Barrier(Some(after)) => Some(format!("barrier.{after}")),
            Place::Own { table, after: None } => Some(format!("own.{table}.")),
            Place::Own { table, after: Some(after) } => Some(format!("own.{table}.{after}")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_cursor_that_leads_back_to_it() {
        let query = |cursor| Query { cursor, ..Query::since(0) };
        for place in [
            Place::Barrier(None),
            Place::Own { table: 0, after: None },
            Place::Own { table: 1, after: Some(-1) },
            Place::Own { table: 1, after: Some(i64::MAX) },
        ] {
            assert_eq!(Place::read(&query(place.cursor())).ok(), Some(place));
        }
        for text in ["", "own", "own.", "own.x.", "own.0.x", "barrier.", "other.0.1"] {
            assert!(Place::read(&query(Some(text.to_owned()))).is_err(), "{text}");
        }
    }
}
