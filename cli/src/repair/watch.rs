//! `amends repair watch`: the queue on the terminal as it changes.
//!
//! On a terminal the view is drawn again and again in place; where a program reads, every change is a line.

use super::{filter::Filter, view};
use crate::{
    client::{Client, ClientError},
    exit::Exit,
    globals::Globals,
    output::say,
    table::{Table, Tone, painted},
};
use amends_wire::{
    api::{List, ParticipantView, RepairView, SummaryView},
    span::Span,
};
use std::{collections::BTreeMap, fmt::Write as _, io::IsTerminal, time::Duration};
use uuid::Uuid;

/// Items shown at a time.
const SHOWN: usize = 20;

/// Leaves the screen empty with the cursor at its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// What to watch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which.
    #[command(flatten)]
    filter: Filter,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s")]
    every: Span,
}

/// One look.
struct Look {
    summary: SummaryView,
    items: Vec<RepairView>,
    has_more: bool,
    participants: Vec<ParticipantView>,
}

pub(super) async fn run(args: &Args, client: &Client, globals: &Globals) -> anyhow::Result<Exit> {
    let every: Duration = Duration::from(args.every.millis()).max(Duration::from_millis(200));
    let in_place = std::io::stdout().is_terminal() && !globals.json;
    let mut known = BTreeMap::new();
    let mut first = true;
    loop {
        match look(args, client).await {
            Ok(look) if in_place => say!("{CLEAR}{}", screen(&look, client)),
            Ok(look) => changes(&look, &mut known, globals),
            Err(error) if first || !transient(&error) => return Err(error),
            Err(error) => {
                eprintln!("{}", painted(&format!("waiting for the coordinator: {error}"), Tone::Warn))
            }
        }
        first = false;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

fn transient(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(ClientError::is_transient)
}

async fn look(args: &Args, client: &Client) -> anyhow::Result<Look> {
    let mut query = args.filter.query()?;
    query.push(("limit", SHOWN.to_string()));
    let page: List<RepairView> = client.get("/v1/repairs", &query).await?;
    let summary = client.get("/v1/repairs/summary", &[]).await?;
    let participants: List<ParticipantView> = client.get("/v1/participants", &[]).await?;
    Ok(Look { summary, has_more: page.next.is_some(), items: page.items, participants: participants.items })
}

fn screen(look: &Look, client: &Client) -> String {
    let summary = &look.summary;
    let mut text = format!(
        "repair queue of {}   {} open, {} assigned, {} retrying",
        client.base(),
        summary.open,
        summary.assigned,
        summary.retrying
    );
    if let Some(oldest) = summary.oldest_opened_at {
        let _ = write!(text, ", the oldest for {}", view::age(oldest));
    }
    let _ = write!(text, "\n\n{}\n", participants(&look.participants).text());
    if look.items.is_empty() {
        let _ = write!(text, "\n{}", painted("nothing waits for you", Tone::Good));
    } else {
        let _ = write!(text, "\n{}", view::table(&look.items).text());
    }
    if look.has_more {
        text.push_str("\nand more; `amends repair list` pages through all of them");
    }
    text.push_str("\n\nCtrl-C ends this view");
    text
}

fn participants(list: &[ParticipantView]) -> Table {
    let mut table = Table::new(&["participant", "breaker", "until"]);
    for participant in list {
        let state = view::word(&participant.breaker.state);
        let tone = if state == "closed" { Tone::Good } else { Tone::Bad };
        let until = participant.breaker.until.map(|at| at.to_string()).unwrap_or_default();
        table.toned([(participant.name.to_string(), Tone::Plain), (state, tone), (until, Tone::Faint)]);
    }
    table
}

/// A line for each item that is new, changed or gone since the last look.
fn changes(look: &Look, known: &mut BTreeMap<Uuid, String>, globals: &Globals) {
    let now: BTreeMap<Uuid, String> =
        look.items.iter().map(|item| (item.id, view::word(&item.status))).collect();
    for item in &look.items {
        let status = &now[&item.id];
        if known.get(&item.id) == Some(status) {
            continue;
        }
        match globals.json {
            true => say!("{}", serde_json::to_string(item).unwrap_or_default()),
            false => say!("{}  {status}  {}  {}", item.id, view::step(item), view::word(&item.reason)),
        }
    }
    for id in known.keys().filter(|id| !now.contains_key(id) && !look.has_more) {
        match globals.json {
            true => say!("{}", serde_json::json!({ "id": id, "status": "settled" })),
            false => say!("{id}  settled"),
        }
    }
    *known = now;
}
