//! The saga as a value: what a saga is, what may follow, and what should be in flight now.
//!
//! Three functions carry the whole behaviour:
//!
//! - [`decide()`] looks at a saga and an [`Input`] and returns the events that follow; it changes nothing.
//! - [`Saga::apply`] folds one event into the saga; an event that cannot follow is a bug and panics.
//! - [`due()`] derives what should be in flight: calls, the next timer, parked steps.
//!
//! Starting, retrying, compensating and recovering all learn what to do from [`due()`]; recovery has no
//! code of its own. [`Coordinator`] holds many sagas and is driven alike by the server's run loop, the
//! simulator and the model checker.
//!
//! Nothing in this crate knows a runtime, a clock, a database, HTTP or randomness, and nothing iterates
//! in an order that differs between runs: the time is an argument, jitter is a hash, ids come from outside.
//! That is the invariant it keeps: the same inputs give the same events, on any machine, for ever.

pub mod answer;
pub mod coordinator;
mod decide;
pub mod definition;
mod due;
pub mod event;
pub mod gate;
pub mod hash;
pub mod name;
#[doc(hidden)]
pub mod planted;
pub mod repair;
pub mod schedule;
#[cfg(any(test, feature = "sketch"))]
pub mod sketch;
pub mod state;
pub mod time;

pub use answer::{Answer, Report};
pub use coordinator::Coordinator;

pub use decide::{Input, Rejected, Start, child_id, decide, has_branch, revert, start};
pub use definition::{Definition, Step, StepIx};
pub use due::{Call, CallKey, Due, Question, due};
pub use event::{BranchTerms, Cause, CauseKind, Event, Failure, Op, Parent, Record};
pub use name::{Name, StepName};
pub use repair::{Audit, How, Repair, RepairRow, RepairStatus, Verb};
pub use state::{Direction, OpPhase, OpState, Outcome, ParkReason, Saga, Status, StepPhase, StepState};
pub use time::{Millis, Timestamp};

/// A JSON value shared between the journal, the state and the calls in flight.
pub type Json = std::sync::Arc<serde_json::Value>;

/// The id of a saga: a UUID v7, so ids sort by their time of creation.
pub type SagaId = uuid::Uuid;
