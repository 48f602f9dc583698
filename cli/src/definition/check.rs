//! `amends definition check`: every fault of a definition, with its line; against a coordinator what it lacks as well.

use super::source::Source;
use crate::{exit::Exit, globals::Globals, output::say, table};
use amends_wire::{
    api::{DefinitionView, List, ParticipantView},
    definition::{Diagnostic, Diagnostics, OperationName, Registered, Text},
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also tell what they call and the coordinator does not know; the files themselves count as known
    #[arg(long)]
    registered: bool,
}

pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let sources = args.files.iter().map(|file| Source::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut read: Vec<(Source, Result<Text, Diagnostics>)> = sources
        .into_iter()
        .map(|source| (source.parse(), source))
        .map(|(text, source)| (source, text))
        .collect();
    if args.registered {
        let mut known = known(globals).await?;
        let own = read.iter().filter_map(|(_, text)| text.as_ref().ok());
        known.definitions.extend(own.map(|text| (text.name.clone(), text.version)));
        for (_, text) in &mut read {
            let missing = text.as_ref().ok().and_then(|text| text.check_against(&known).err());
            if let Some(missing) = missing {
                *text = Err(missing);
            }
        }
    }
    match globals.json {
        true => {
            table::print_json(&read.iter().map(|(source, text)| told(source, text)).collect::<Vec<_>>())?;
        }
        false => read.iter().for_each(|(source, text)| say(source, text)),
    }
    let faulty = read.iter().any(|(_, text)| text.is_err());
    Ok(if faulty { Exit::No } else { Exit::Done })
}

/// What the coordinator knows.
async fn known(globals: &Globals) -> anyhow::Result<Registered> {
    let client = globals.client()?;
    let participants: List<ParticipantView> = client.get("/v1/participants", &[]).await?;
    let definitions: List<DefinitionView> = client.get("/v1/definitions", &[]).await?;
    let operations = participants.items.into_iter().flat_map(|view| {
        let ParticipantView { name: participant, operations, .. } = view;
        operations
            .into_keys()
            .map(move |operation| OperationName { participant: participant.clone(), operation })
    });
    Ok(Registered {
        operations: operations.collect(),
        definitions: definitions.items.into_iter().map(|view| (view.name, view.version)).collect(),
    })
}

fn say(source: &Source, read: &Result<Text, Diagnostics>) {
    match read {
        Ok(text) => {
            let steps = text.steps().count();
            let steps = format!("{steps} step{}", if steps == 1 { "" } else { "s" });
            say!("{}: {}@{} is well formed ({steps})", source.name, text.name, text.version);
            text.advice().iter().for_each(|advice| say!("{}", advised(source, advice)));
        }
        Err(faults) => say!("{}", faults.render(&source.name, &source.text)),
    }
}

/// A piece of advice, shown as a fault is.
fn advised(source: &Source, advice: &Diagnostic) -> String {
    let shown = Diagnostics(vec![advice.clone()]).render(&source.name, &source.text);
    match shown.strip_prefix("error: ") {
        Some(rest) => format!("advice: {rest}"),
        None => shown,
    }
}

/// A file's result for programs.
pub(super) fn told(source: &Source, read: &Result<Text, Diagnostics>) -> Value {
    match read {
        Ok(text) => json!({
            "file": source.name, "ok": true, "name": text.name, "version": text.version, "hash": text.hash,
            "diagnostics": [], "advice": text.advice(),
        }),
        Err(faults) => json!({ "file": source.name, "ok": false, "diagnostics": faults }),
    }
}
