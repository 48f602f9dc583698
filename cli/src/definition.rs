//! `amends definition`: check, draw, compare, register, list and show the descriptions of sagas.

mod diff;
mod graph;
mod source;
mod yaml;

use crate::{
    exit::Exit,
    globals::Globals,
    output::say,
    table::{self, Table},
};
use amends_wire::{
    api::{DefinitionView, List},
    definition::{Diagnostics, Text},
};
use anyhow::Context;
use reqwest::StatusCode;
use serde_json::{Value, json};
use source::Source;
use std::path::PathBuf;

/// What to do with definitions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tells every fault of a definition with its line, without a coordinator
    #[command(after_help = "\
Ends with 1 when there is a fault.

Examples:
  amends definition check sagas/checkout.yaml
  amends definition check --json sagas/*.yaml")]
    Check {
        /// The files; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
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
Examples:
  amends definition register sagas/checkout.yaml
  amends definition register sagas/*.yaml --coordinator http://10.0.0.5:7070")]
    Register {
        /// The files; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Lists the registered definitions
    #[command(after_help = "\
Examples:
  amends definition list
  amends definition list --json")]
    List,
    /// Shows a definition's content, as JSON
    #[command(after_help = "\
Examples:
  amends definition show checkout
  amends definition show checkout@1")]
    Show {
        /// Its name, or name@version; the highest version where none is named
        #[arg(value_name = "NAME[@VERSION]")]
        name: String,
    },
}

/// Does it.
///
/// # Errors
/// When a file cannot be read, or the coordinator says no.
pub async fn run(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Check { files } => check(&files, globals),
        Command::Graph(args) => graph::run(&args, globals).await,
        Command::Diff(args) => diff::run(&args, globals).await,
        Command::Register { files } => register(&files, globals).await,
        Command::List => list(globals).await,
        Command::Show { name } => show(&name, globals).await,
    }
}

fn check(files: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    let mut results = Vec::new();
    for file in files {
        let source = Source::read(file)?;
        let read = source.parse();
        if read.is_err() {
            exit = Exit::No;
        }
        if globals.json {
            results.push(checked(&source, &read));
            continue;
        }
        match read {
            Ok(text) => say!(
                "{}: {}@{} is well formed ({})",
                source.name,
                text.name,
                text.version,
                steps(text.steps().count())
            ),
            Err(faults) => say!("{}", faults.render(&source.name, &source.text)),
        }
    }
    if globals.json {
        table::print_json(&results)?;
    }
    Ok(exit)
}

fn checked(source: &Source, read: &Result<Text, Diagnostics>) -> Value {
    match read {
        Ok(text) => json!({
            "file": source.name, "ok": true, "name": text.name, "version": text.version, "hash": text.hash,
            "diagnostics": [],
        }),
        Err(faults) => json!({ "file": source.name, "ok": false, "diagnostics": faults }),
    }
}

async fn register(files: &[PathBuf], globals: &Globals) -> anyhow::Result<Exit> {
    let sources = files.iter().map(|file| Source::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    // All are read before the first is sent: a fault in the last one registers none.
    let mut texts = Vec::new();
    for source in &sources {
        match source.parse() {
            Ok(text) => texts.push((text, source)),
            Err(faults) => {
                say!("{}", faults.render(&source.name, &source.text).trim_end());
                return Ok(Exit::No);
            }
        }
    }
    let client = globals.client()?;
    let mut registered = Vec::new();
    for (text, source) in texts {
        let (status, view) =
            client.register::<DefinitionView>(text.name.as_str(), text.version, source.text.clone()).await?;
        if !globals.json {
            let said = if status == StatusCode::CREATED { "registered" } else { "was registered already" };
            say!("{}@{} {said}", view.name, view.version);
        }
        registered.push(DefinitionView { content: None, ..view });
    }
    if globals.json {
        table::print_json(&registered)?;
    }
    Ok(Exit::Done)
}

async fn list(globals: &Globals) -> anyhow::Result<Exit> {
    let list: List<DefinitionView> = globals.client()?.get("/v1/definitions", &[]).await?;
    if globals.json {
        table::print_json(&list)?;
        return Ok(Exit::Done);
    }
    if list.items.is_empty() {
        say!("no definition is registered; register one with `amends definition register FILE`");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["definition", "registered", "hash"]);
    for item in list.items {
        let hash: String = item.hash.chars().take(12).collect();
        table.row([format!("{}@{}", item.name, item.version), item.created_at.to_string(), hash]);
    }
    table.print();
    Ok(Exit::Done)
}

async fn show(name: &str, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let (name, version) = match name.split_once('@') {
        Some((name, version)) => (name, version.to_owned()),
        None => {
            let versions: List<DefinitionView> =
                client.get(&format!("/v1/definitions/{}", escaped(name)), &[]).await?;
            let highest = versions.items.iter().map(|view| view.version).max();
            (name, highest.context("no version of it is registered")?.to_string())
        }
    };
    let path = format!("/v1/definitions/{}/{}", escaped(name), escaped(&version));
    let view: DefinitionView = client.get(&path, &[]).await?;
    match globals.json {
        true => table::print_json(&view)?,
        false => table::print_json(&view.content)?,
    }
    Ok(Exit::Done)
}

/// A text as one segment of a path.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

fn steps(count: usize) -> String {
    format!("{count} step{}", if count == 1 { "" } else { "s" })
}
