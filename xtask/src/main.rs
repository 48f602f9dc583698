//! `cargo xtask`: what developers and CI run.
//!
//! One command brings up everything a test can ask for and takes it down again, whatever happens: the database
//! servers come from the distribution's packages, run as an unprivileged account on free ports, and keep their data in
//! a scratch directory. Nothing is skipped: a server that cannot be had is an error that names what to install.
//!
//! Every process started here is known to a [`keeper`], a second process that cleans up when this one ends, be
//! it by returning, by Ctrl-C or by `kill -9`. So there is one road to a clean machine, and it is always taken.

mod account;
mod cargo;
mod command;
mod keeper;
mod packages;
mod promtool;
mod run;
mod scratch;
mod servers;
mod tally;

use std::process::ExitCode;

use command::Command;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [keeper::ROLE] {
        keeper::keep();
        return ExitCode::SUCCESS;
    }
    let command = match Command::parse(&arguments) {
        Ok(command) => command,
        Err(mistake) => {
            eprintln!("xtask: {mistake}\n\n{}", command::HELP);
            return ExitCode::from(2);
        }
    };
    match run::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
