//! The coordinator through its HTTP API, over real sockets: what it accepts, what it refuses and how, and what
//! it makes of participants that misbehave. The store is in memory, so that it can be told to fail as well.

mod access;
mod answers;
mod bad_input;
mod bulk;
mod callbacks;
mod catalogue;
mod children;
mod claiming;
mod faults;
mod hardening;
mod hooks;
mod language;
mod lists;
mod meta;
mod metrics;
mod monitor;
mod open;
mod operators;
mod repairs;
mod returns;
mod reverting;
mod starting;
mod stub;
mod verbs;
mod world;
