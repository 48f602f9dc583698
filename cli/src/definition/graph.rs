//! `amends definition graph`: a definition as a drawing, coloured by one of its sagas where one is named.
//!
//! The pieces: [`model`] reads what is to be drawn, [`mod@run`] how a saga stands, [`face`] what is written in the boxes,
//! [`layout`] where they stand; [`svg`] and [`mermaid`] write it down.

mod face;
mod layout;
mod legend;
mod mermaid;
pub(super) mod model;
mod run;
mod style;
mod svg;

use super::source::{Content, Place};
use crate::{exit::Exit, globals::Globals, output::say};
use amends_saga::SagaId;
use amends_wire::api::SagaView;
use anyhow::Context;
use model::Graph;
use run::Run;
use std::path::PathBuf;

/// What to draw.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, - for standard input, or what is registered: name, or name@version; may be left out with --saga
    #[arg(value_name = "FILE|NAME[@VERSION]", required_unless_present = "saga")]
    definition: Option<Place>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,
    /// Colour it by how this saga stands
    #[arg(long, value_name = "ID")]
    saga: Option<SagaId>,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A drawing that stands alone
    Svg,
    /// A flowchart for Markdown pages that render Mermaid
    Mermaid,
}

pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let saga = match args.saga {
        Some(id) => Some(globals.client()?.saga::<SagaView>(id, None).await?),
        None => None,
    };
    let graph = match (&args.definition, &saga) {
        (place, Some(saga)) => of_saga(place.as_ref(), saga, globals).await?,
        (Some(place), None) => read(&place.content(globals).await?)?,
        (None, None) => anyhow::bail!("name a definition or a saga"),
    };
    let run = saga.as_ref().map(Run::of);
    let drawing = match args.format {
        Format::Svg => svg::draw(&graph, run.as_ref()),
        Format::Mermaid => mermaid::draw(&graph, run.as_ref()),
    };
    give(args, &graph, &drawing, globals)?;
    Ok(Exit::Done)
}

/// The graph of a saga's own definition; of an open saga, its branches.
async fn of_saga(place: Option<&Place>, saga: &SagaView, globals: &Globals) -> anyhow::Result<Graph> {
    if saga.open {
        anyhow::ensure!(place.is_none(), "saga {} is open: it has branches and no definition", saga.id);
        return Ok(Graph::of_branches(saga));
    }
    let own = Place::Registered { name: saga.definition.to_string(), version: Some(saga.version) };
    let content = match place {
        None => own.content(globals).await?,
        Some(Place::Registered { name, version: None }) if *name == saga.definition.as_str() => {
            own.content(globals).await?
        }
        Some(place) => place.content(globals).await?,
    };
    let graph = read(&content)?;
    anyhow::ensure!(
        graph.name == saga.definition.as_str() && graph.version == u64::from(saga.version),
        "saga {} runs {}@{}, and {} is {}@{}; leave the definition out to draw the saga's own",
        saga.id,
        saga.definition,
        saga.version,
        content.label,
        graph.name,
        graph.version
    );
    Ok(graph)
}

fn read(content: &Content) -> anyhow::Result<Graph> {
    Graph::read(&content.json).with_context(|| format!("{} cannot be drawn", content.label))
}

fn give(args: &Args, graph: &Graph, drawing: &str, globals: &Globals) -> anyhow::Result<()> {
    if let Some(path) = &args.output {
        std::fs::write(path, drawing).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    match (&args.output, globals.json) {
        (None, false) => say!("{}", drawing.trim_end()),
        (Some(path), false) => {
            say!("{}@{} is drawn in {}", graph.name, graph.version, path.display());
        }
        (path, true) => crate::table::print_json(&serde_json::json!({
            "definition": graph.name,
            "version": graph.version,
            "format": if args.format == Format::Svg { "svg" } else { "mermaid" },
            "file": path,
            "drawing": path.is_none().then_some(drawing),
        }))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
