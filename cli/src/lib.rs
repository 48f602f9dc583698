//! The commands of `amends`, as a library so that the executable is one line and tests reach the pieces.
//!
//! [`args`] says what can be asked for, [`settings`] where values come from when the command line is silent,
//! [`client`] how a coordinator is talked to, and [`books`] how the shop's databases are compared. One file or
//! directory per command does the rest. Nothing here decides about sagas: that is the coordinator's.

pub mod args;
pub mod bench;
pub mod books;
pub mod chaos;
pub mod client;
pub mod config;
pub mod definition;
pub mod demo;
pub mod embedded;
pub mod exit;
pub mod globals;
pub mod health;
pub mod load;
pub mod logs;
pub mod manual;
pub mod output;
pub mod participant;
pub mod process;
pub mod progress;
pub mod repair;
pub mod replay;
pub mod saga;
pub mod serve;
pub mod settings;
pub mod shop;
pub mod table;
pub mod verify;

use args::{Args, Command};
use exit::Exit;
use globals::Globals;
use std::process::ExitCode;

/// Runs one command to its end and says how the process is to end: 0 done, 1 it could not be done, 2 bad usage,
/// 3 the books do not balance. What went wrong goes to stderr, once, with its causes.
pub fn run(args: Args) -> ExitCode {
    match start(args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {}", client::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Completions(args) => return manual::completions(args),
        Command::Man(args) => return manual::pages(args),
        _ => {}
    }
    let mut globals = Globals::read(&args.globals)?;
    if matches!(args.command, Command::Chaos(_)) && globals.log.is_none() {
        // What a rehearsal provokes is told by its report.
        globals.log = Some("error".to_owned());
    }
    logs::start(&globals, args.command.log_filter())?;
    process::install_tls();
    let threads = match &args.command {
        Command::Serve(serve) => serve.threads(&globals)?,
        _ => process::THREADS,
    };
    process::runtime(threads)?.block_on(perform(args.command, &globals))
}

async fn perform(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Demo(args) => demo::run(args, globals).await,
        Command::Serve(args) => serve::run(args, globals).await,
        Command::Participant(command) => participant::run(command, globals).await,
        Command::Saga(command) => saga::run(command, globals).await,
        Command::Repair(command) => repair::run(command, globals).await,
        Command::Definition(command) => definition::run(command, globals).await,
        Command::Replay(args) => replay::run(args, globals).await,
        Command::Load(args) => load::run(*args, globals).await,
        Command::Bench(args) => bench::run(args, globals).await,
        Command::Chaos(args) => chaos::command::run(args, globals).await,
        Command::Verify(args) => verify::run(args, globals).await,
        Command::Config(args) => config::run(&args, globals),
        Command::Health(args) => health::run(&args, globals).await,
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::pages(&args),
    }
}
