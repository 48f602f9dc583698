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
use std::collections::BTreeMap;

/// The most sagas of one version that are counted one by one, where the coordinator does not say how many there are.
const COUNTED_MAX: u64 = 10_000;

/// What to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The definition's name; all of them where none is named
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only versions that sagas still run on
    #[arg(long)]
    running: bool,
}

pub(super) async fn run(args: &Args, globals: &Globals) -> anyhow::Result<Exit> {
    let path = match &args.name {
        Some(name) => format!("/v1/definitions/{}", super::escaped(name)),
        None => "/v1/definitions".to_owned(),
    };
    let client = globals.client()?;
    let mut list: List<DefinitionView> = client.get(&path, &[]).await?;
    let newest = newest(&list.items);
    if args.running {
        for item in list.items.iter_mut().filter(|item| item.live.is_none()) {
            item.live = Some(count(&client, item).await?);
        }
        list.items.retain(is_live);
    }
    if globals.json {
        table::print_json(&list)?;
        return Ok(Exit::Done);
    }
    match (list.items.is_empty(), args.running) {
        (true, true) => say!("no saga is running"),
        (true, false) => {
            say!("no definition is registered; register one with `amends definition register FILE`");
        }
        (false, _) => print(&list.items, &newest),
    }
    Ok(Exit::Done)
}

fn is_live(item: &DefinitionView) -> bool {
    item.live.is_some_and(|live| live > 0)
}

/// Counts the sagas of a version that have not ended, up to [`COUNTED_MAX`].
async fn count(client: &Client, item: &DefinitionView) -> Result<u64, ClientError> {
    let version = format!("{}@{}", item.name, item.version);
    let mut query = vec![("definition", version), ("limit", "500".to_owned())];
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
fn newest(items: &[DefinitionView]) -> BTreeMap<String, u32> {
    let mut newest: BTreeMap<String, u32> = BTreeMap::new();
    for item in items {
        let highest = newest.entry(item.name.to_string()).or_default();
        *highest = item.version.max(*highest);
    }
    newest
}

fn print(items: &[DefinitionView], newest: &BTreeMap<String, u32>) {
    let mut table = Table::new(&["definition", "live sagas", "registered", "hash"]);
    for item in items {
        let (name, live) = (
            format!("{}@{}", item.name, item.version),
            item.live.map_or("-".to_owned(), |live| live.to_string()),
        );
        table.row([name, live, item.created_at.to_string(), short(&item.hash)]);
    }
    table.print();
    let is_old = |item: &&DefinitionView| newest[item.name.as_str()] > item.version && is_live(item);
    let old: Vec<String> =
        items.iter().filter(is_old).map(|item| format!("{}@{}", item.name, item.version)).collect();
    if !old.is_empty() {
        say!("sagas still run on {}, though there is a newer version; they end on it", old.join(", "));
    }
}
