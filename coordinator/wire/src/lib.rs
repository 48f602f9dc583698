//! What crosses a boundary: participant calls and answers, API bodies, problem types, definition text.
//!
//! Nothing here opens a socket by itself or reads a clock. A participant in any language can be written from
//! [`participant`] and [`registration`] alone; the definition reader stands behind the feature
//! `definition`, so that a participant does not carry it.

pub mod api;
pub mod audit;
pub mod canonical;
#[cfg(feature = "definition")]
pub mod definition;
#[cfg(feature = "listen")]
pub mod listen;
pub mod participant;
pub mod problem;
pub mod registration;
pub mod span;
pub mod token;
pub mod trace;

pub use amends_saga::{CauseKind, Json, Millis, Name, Op, SagaId, Status, StepName};
