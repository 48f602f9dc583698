//! What every store must do, as checks that any implementation can be run through.

pub mod sample;
