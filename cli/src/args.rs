//! The command line as a type: one variant per command, the flags that hold for all of them, and the examples
//! that stand under every help text.

use crate::{
    bench, chaos, config, definition, demo, health, load, manual, participant, repair, replay, saga, serve,
    settings::{BaseUrl, LogFormat, Token},
    verify,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  amends demo                       coordinator and shop in one process, with carts that go wrong
  amends serve                      a coordinator on 127.0.0.1:7070, its sagas in ./amends-data
  amends participant inventory      the shop's stock on 127.0.0.1:7101, registered with it
  amends participant check URL      whether a participant of yours keeps the rules of the barrier
  amends definition register sagas/checkout.yaml
  amends saga start checkout --input cart.json --wait 10s
  amends saga follow 0193f2a0-…     the journal as it grows
  amends repair list                what could not be undone and waits for somebody

Values come from flags, the environment (AMENDS_…), or one TOML file; `amends config` shows them.
Exit codes: 0 done, 1 it could not be done, 2 bad usage, 3 the books do not balance.";

/// The widest help text, in columns.
const WIDTH: usize = 100;

/// A saga coordinator: drives steps over several databases and makes good what cannot go on.
#[derive(Debug, Parser)]
#[command(name = "amends", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, max_term_width = WIDTH)]
pub struct Args {
    /// Flags of every command.
    #[command(flatten)]
    pub globals: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that may stand before or after any command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub struct GlobalArgs {
    /// Where the coordinator answers [env: AMENDS_COORDINATOR] [default: http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL")]
    pub coordinator: Option<BaseUrl>,
    /// The bearer token: sent to the coordinator; `serve` accepts it with the role admin [env: AMENDS_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<Token>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// The TOML file with settings [env: AMENDS_CONFIG] [default: ./amends.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log on stderr: error, warn, info, debug, trace, or filters by module [env: AMENDS_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How to write the log [env: AMENDS_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows what sagas do: coordinator and shop in one process, real carts, failures, and a check of the books
    Demo(demo::Args),
    /// Runs a coordinator
    Serve(serve::Args),
    /// Runs one of the shop's participants, or puts one of yours to the test (check)
    #[command(subcommand)]
    Participant(participant::Command),
    /// Starts, shows, lists, follows, undoes and signals sagas; begins and decides open ones
    #[command(subcommand)]
    Saga(saga::Command),
    /// Lists, shows and settles what could not be undone
    #[command(subcommand)]
    Repair(repair::Command),
    /// Checks, draws, compares, registers, lists and shows definitions
    #[command(subcommand)]
    Definition(definition::Command),
    /// Runs carts from a file as sagas and checks the books
    Replay(replay::Args),
    /// Puts a shop under the load of a day made up from a seed, and checks the books
    Load(Box<load::Args>),
    /// Measures completed, durable sagas per second
    Bench(bench::Args),
    /// Rehearses a definition: runs it under faults and checks what must hold
    Chaos(chaos::command::Args),
    /// Holds what participants have done against what sagas say, and names the invariants kept and broken
    Verify(verify::Args),
    /// Shows every setting, its value and where it comes from
    Config(config::Args),
    /// Asks a coordinator whether it is well
    Health(health::Args),
    /// Prints a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Prints the manual page, or writes one per command into a directory
    Man(manual::ManArgs),
}

impl Command {
    /// What it logs where nobody says otherwise: what services do is worth telling, what goes wrong on purpose is not.
    pub fn log_filter(&self) -> &'static str {
        match self {
            Command::Serve(_) | Command::Participant(_) => "info",
            Command::Demo(_) | Command::Chaos(_) => "error",
            _ => "warn",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_and_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            if command.get_name() == "help" {
                return;
            }
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says what it does");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path} explains {}", arg.get_id());
            }
            if command.has_subcommands() {
                command.get_subcommands().for_each(|sub| check(sub, &path));
            } else {
                let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(shown.contains("amends "), "{path} shows an example");
                let wide: Vec<&str> = shown.lines().filter(|line| line.chars().count() > WIDTH).collect();
                assert!(wide.is_empty(), "{path}: these examples wrap: {wide:?}");
            }
        }
        let mut command = Args::command();
        command.build();
        for sub in command.get_subcommands() {
            check(sub, "amends");
        }
        assert!(EXAMPLES.lines().all(|line| line.chars().count() <= WIDTH));
    }
}
