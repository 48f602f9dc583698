//! What a participant with a database of its own is told when it opens.

use crate::{Secret, faults::Faults};

/// How to open a participant.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its data is kept: `sqlite:PATH`, `postgres://…` or `mysql://…`, as far as it has tables for it.
    pub store: String,
    /// Calls must be signed with one of these; unsigned calls are taken where there are none.
    pub secrets: Vec<Secret>,
    /// What goes wrong, for tests and demonstrations.
    pub faults: Faults,
}

impl Config {
    /// A participant that keeps its data at `store`, without signatures and faults.
    pub fn new(store: impl Into<String>) -> Config {
        Config { store: store.into(), secrets: Vec::new(), faults: Faults::new() }
    }
}
