//! `amends saga list`.

use super::{label, print_list};
use crate::{client::Client, exit::Exit, globals::Globals, output::say, table};
use amends_wire::api::{List, SagaView};

/// Which sagas to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// With this status: running, compensating, repair, completed, compensated, abandoned; may stand several times
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Of this definition: name, or name@version
    #[arg(long, value_name = "NAME")]
    definition: Option<String>,
    /// With this label; may stand several times
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Started under this key
    #[arg(long)]
    key: Option<String>,
    /// Standing at this step now
    #[arg(long)]
    step: Option<String>,
    /// Waiting for this participant now
    #[arg(long)]
    participant: Option<String>,
    /// Accepted at this time or later, as 2026-11-20T18:00:00Z
    #[arg(long, value_name = "TIME")]
    created_after: Option<String>,
    /// Accepted before this time
    #[arg(long, value_name = "TIME")]
    created_before: Option<String>,
    /// How many, at most 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// The next page: what the one before said
    #[arg(long)]
    cursor: Option<String>,
}

pub(super) async fn run(client: &Client, args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let page: List<SagaView> = client.get("/v1/sagas", &query(args)).await?;
    if globals.json {
        table::print_json(&page)?;
        return Ok(Exit::Done);
    }
    if page.items.is_empty() {
        say!("no saga fits");
        return Ok(Exit::Done);
    }
    print_list(&page.items);
    if let Some(next) = page.next {
        say!("there are more: add --cursor {next}");
    }
    Ok(Exit::Done)
}

fn query(args: &Args) -> Vec<(&'static str, String)> {
    let mut query: Vec<(&'static str, String)> = vec![("limit", args.limit.to_string())];
    query.extend(args.status.iter().map(|status| ("status", status.clone())));
    query.extend(args.labels.iter().map(|(name, text)| ("label", format!("{name}:{text}"))));
    let single = [
        ("definition", &args.definition),
        ("key", &args.key),
        ("step", &args.step),
        ("participant", &args.participant),
        ("created_after", &args.created_after),
        ("created_before", &args.created_before),
        ("cursor", &args.cursor),
    ];
    query.extend(single.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    query
}
