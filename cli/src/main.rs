//! The one executable, `amends`: a coordinator, the shop's participants, and everything that talks to them.
//!
//! `main` does what must happen once per process and nothing else: read the command line, find the settings,
//! set up the log and the TLS provider, build the runtime, and turn what a command says into an exit code.

use amends::args::Args;
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    amends::run(Args::parse())
}
