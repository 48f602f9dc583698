//! What proves the coordinator: a simulated world and an exhaustive model over the production core.
//!
//! The library holds the machinery; the programs that run it are in `tests/`.

pub mod load;
pub mod model;
pub mod random;
pub mod world;
