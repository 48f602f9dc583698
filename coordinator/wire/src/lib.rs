//! What crosses a boundary: participant calls and answers, API bodies, problem types, definition text.
//!
//! Nothing here opens a socket or reads a clock. A participant in any language can be written from
//! [`participant`] and [`registration`] alone; the definition reader stands behind the feature
//! `definition`, so that a participant does not carry it.

pub mod api;
pub mod canonical;
#[cfg(feature = "definition")]
pub mod definition;
pub mod participant;
pub mod problem;
pub mod registration;
pub mod span;
