//! `amends definition`: check, draw, compare, register, list and show the descriptions of sagas.

mod check;
mod diff;
mod graph;
mod list;
mod register;
mod source;
mod yaml;

use crate::{exit::Exit, globals::Globals, output::say, table};
use anyhow::Context;
use source::Place;
use std::path::PathBuf;

/// What to do with definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tells every fault of a definition with its line; without a coordinator unless --registered is given
    #[command(after_help = "\
Ends with 1 when there is a fault. What is sound and may yet be a mistake is told as advice.

Examples:
  amends definition check sagas/checkout.yaml
  amends definition check --json sagas/*.yaml
  amends definition check --registered sagas/checkout.yaml")]
    Check(check::Args),
    /// Draws a definition: what runs after what, and how it is undone
    #[command(after_help = "\
Examples:
  amends definition graph sagas/checkout.yaml -o checkout.svg
  amends definition graph checkout@1 --format mermaid
  amends definition graph --saga 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 -o run.svg")]
    Graph(graph::Args),
    /// Compares two definitions step by step, and says what that means for running sagas
    #[command(after_help = "\
Ends with 1 when they differ.

Examples:
  amends definition diff checkout@1 checkout@2
  amends definition diff checkout sagas/checkout.yaml --brief
  amends definition diff checkout@1 - --json < next.yaml")]
    Diff(diff::Args),
    /// Registers definitions; a version never changes its content
    #[command(after_help = "\
Registering the same again changes nothing; ends with 1 when a version has other content already.

Examples:
  amends definition register sagas/checkout.yaml
  amends definition register sagas/*.yaml --coordinator http://10.0.0.5:7070")]
    Register {
        /// The files; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Lists the registered definitions, and on request which versions sagas still run on
    #[command(after_help = "\
Examples:
  amends definition list
  amends definition list checkout
  amends definition list --running --json")]
    List(list::Args),
    /// Shows a registered definition, as YAML or with --json
    #[command(after_help = "\
What is shown is the definition as it runs: comments and layout of the file are not kept.

Examples:
  amends definition show checkout
  amends definition show checkout@1 --json")]
    Show {
        /// Its name, or name@version; the highest version where none is named
        #[arg(value_name = "NAME[@VERSION]")]
        definition: Place,
    },
}

/// Does it.
///
/// # Errors
/// When a file cannot be read, or the coordinator says no.
pub async fn run(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Check(args) => check::run(&args, globals).await,
        Command::Graph(args) => graph::run(&args, globals).await,
        Command::Diff(args) => diff::run(&args, globals).await,
        Command::Register { files } => register::run(&files, globals).await,
        Command::List(args) => list::run(&args, globals).await,
        Command::Show { definition } => show(&definition, globals).await,
    }
}

/// Prints a version as it is written, or as the coordinator tells it for programs.
async fn show(place: &Place, globals: &Globals) -> anyhow::Result<Exit> {
    let Place::Registered { name, version } = place else {
        anyhow::bail!("name what is registered, as checkout or checkout@1; to look at a file, check it");
    };
    let view = source::registered(&globals.client()?, name, *version).await?;
    if globals.json {
        table::print_json(&view)?;
        return Ok(Exit::Done);
    }
    let content = view.content.context("the coordinator's answer holds no definition")?;
    say!("# {}@{}, registered {}, hash {}", view.name, view.version, view.created_at, view.hash);
    say!("{}", yaml::write(&content).trim_end());
    Ok(Exit::Done)
}

/// A text as one segment of a path.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}
