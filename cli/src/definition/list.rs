//! `amends definition list`: what is registered, and which versions sagas still run on.

use super::diff::short;
use crate::{
    client::{Client, ClientError},
    exit::Exit,
    globals::Globals,
    output::say,
    table::{self, Table},
};
use amends_wire::api::{DefinitionView, List, SagaView};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most sagas of one version that are counted where the coordinator does not say how many there are.
const COUNTED_MAX: u64 = 10_000;

/// What to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The definition's name; all of them where none is named
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only versions that sagas still run on, with their number
    #[arg(long)]
    running: bool,
}

/// A version as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listed {
    /// How many of its sagas have not ended; absent where nobody has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live: Option<u64>,
    #[serde(flatten)]
    view: DefinitionView,
}

pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let mut items = fetch(&client, args).await?;
    let newest = newest(&items);
    if args.running {
        for item in &mut items {
            if item.live.is_none() {
                item.live = Some(count(&client, &item.view).await?);
            }
        }
        items.retain(|item| item.live.is_some_and(|live| live > 0));
    }
    if globals.json {
        table::print_json(&List::whole(items))?;
        return Ok(Exit::Done);
    }
    match (items.is_empty(), args.running) {
        (true, true) => say!("no saga is running"),
        (true, false) => {
            say!("no definition is registered; register one with `amends definition register FILE`")
        }
        (false, _) => print(&items, &newest),
    }
    Ok(Exit::Done)
}

async fn fetch(client: &Client, args: &Args) -> Result<Vec<Listed>, ClientError> {
    let path = match &args.name {
        Some(name) => format!("/v1/definitions/{}", super::escaped(name)),
        None => "/v1/definitions".to_owned(),
    };
    let live: &[(&str, String)] = if args.running { &[("live", "true".to_owned())] } else { &[] };
    let asked: Result<List<Listed>, ClientError> = client.get(&path, live).await;
    match asked {
        // A coordinator that does not count them says that it knows no such parameter.
        Err(ClientError::Refused { status: StatusCode::BAD_REQUEST, .. }) if args.running => {
            let plain: List<Listed> = client.get(&path, &[]).await?;
            Ok(plain.items)
        }
        asked => Ok(asked?.items),
    }
}

/// Counts the sagas of a version that have not ended, up to [`COUNTED_MAX`].
async fn count(client: &Client, view: &DefinitionView) -> Result<u64, ClientError> {
    let mut query =
        vec![("definition", format!("{}@{}", view.name, view.version)), ("limit", "500".to_owned())];
    query.extend(["running", "compensating", "repair"].map(|status| ("status", status.to_owned())));
    let mut count = 0;
    loop {
        let page: List<SagaView> = client.get("/v1/sagas", &query).await?;
        count += page.items.len() as u64;
        let Some(next) = page.next.filter(|_| count < COUNTED_MAX) else { return Ok(count) };
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", next));
    }
}

/// The highest version of each name.
fn newest(items: &[Listed]) -> BTreeMap<String, u32> {
    let mut newest: BTreeMap<String, u32> = BTreeMap::new();
    for item in items {
        let highest = newest.entry(item.view.name.to_string()).or_default();
        *highest = item.view.version.max(*highest);
    }
    newest
}

fn print(items: &[Listed], newest: &BTreeMap<String, u32>) {
    let counted = items.iter().any(|item| item.live.is_some());
    let columns = ["definition", "live sagas", "registered", "hash"];
    let shown =
        |row: [String; 4]| row.into_iter().enumerate().filter(move |(column, _)| counted || *column != 1);
    let heading: Vec<&str> = columns
        .into_iter()
        .enumerate()
        .filter(|(column, _)| counted || *column != 1)
        .map(|(_, name)| name)
        .collect();
    let mut table = Table::new(&heading);
    for item in items {
        let (name, version) = (&item.view.name, item.view.version);
        let live = match item.live {
            Some(live) if live >= COUNTED_MAX => format!("{live} or more"),
            Some(live) => live.to_string(),
            None => "-".to_owned(),
        };
        let hash = short(&item.view.hash);
        let row = [format!("{name}@{version}"), live, item.view.created_at.to_string(), hash];
        table.row(shown(row).map(|(_, cell)| cell));
    }
    table.print();
    let old = items.iter().filter(|item| newest[item.view.name.as_str()] > item.view.version);
    let old: Vec<String> = old
        .filter(|item| item.live.is_some_and(|live| live > 0))
        .map(|item| format!("{}@{}", item.view.name, item.view.version))
        .collect();
    if !old.is_empty() {
        say!("sagas still run on {}, though there is a newer version; they end on it", old.join(", "));
    }
}
