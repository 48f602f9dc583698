//! Fault injection for users: a saga run many times while its calls are lost, doubled, refused and delayed, its
//! participants go away, and its coordinator dies; then what must hold is checked.
//!
//! `amends chaos` is this module behind a command. A team takes it as a dev-dependency and puts its own saga through
//! it, against stubs or against its own participants:
//!
//! ```
//! use amends::chaos::{Mix, Rehearsal};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let transfer = "
//! saga: transfer
//! steps:
//!   - withdraw: { action: bank.withdraw, compensation: bank.deposit, with: { amount: 5 } }
//!   - deposit: { action: bank.deposit, compensation: bank.withdraw, with: { amount: 5 } }
//! ";
//! let rehearsal = Rehearsal::of(transfer)?.sagas(20).seed(7).mix(Mix::mild());
//! rehearsal.run().await?.assert_kept();
//! rehearsal.standard().await?.assert_kept();
//! # Ok::<(), amends::chaos::RehearsalError>(())
//! # }).unwrap();
//! ```
//!
//! How it works: a coordinator runs in this process on a store in memory; where its calls leave for the participants
//! stands a network that gives each call the fate which the mix, the seed and the call determine; beyond it are
//! participants that are there, or stubs that obey the barrier and note what they do. In the end every [`Law`] is
//! checked over what was done, what the coordinator says, and the definition's graph.
//!
//! Times shrink: pauses between attempts are at most 80 ms unless [`Rehearsal::unhurried`] is said.

mod book;
mod cast;
pub mod command;
mod hurry;
mod invent;
mod laws;
mod mix;
mod network;
mod parts;
mod plan;
mod registered;
mod rehearsal;
mod report;
mod run;
mod standard;
mod stubs;
mod world;

pub use book::Injected;
pub use laws::{Breach, Law};
pub use mix::{BadMix, Down, Mix, PRESETS, Repeated, Share, Timed};
pub use plan::Fault;
pub use rehearsal::{Pace, Rehearsal, SAGAS_MAX};
pub use report::{Cause, Item, LawKept, Outcomes, Report, Times};
pub use stubs::{StubAnswer, StubCall};

/// Why a rehearsal could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The definition has faults: all of them, with their lines.
    #[error("the definition has faults\n\n{}", .0.trim_end())]
    Definition(String),
    /// What sagas are started with does not fit.
    #[error("{0}")]
    Input(String),
    /// An answer is for something that the definition does not call.
    #[error("{0}")]
    Answer(String),
    /// The definition of a saga that is run by a step is not there.
    #[error("{0}")]
    Child(String),
    /// A participant is not there, or does not offer what the definition calls.
    #[error("{0}")]
    Participant(String),
    /// The coordinator of the rehearsal cannot go on.
    #[error("the coordinator of the rehearsal: {0}")]
    Coordinator(String),
}
