//! `amends saga`: start, show, list and follow sagas, turn them round, signal them, and decide open ones.

mod body;
mod list;
mod open;
mod steps;
mod view;

pub(crate) use body::read_json;
pub use view::status_word;

use crate::{
    client::{Client, ClientError, Start},
    exit::Exit,
    globals::Globals,
    output::say,
    table::{self, Tone, painted},
};
use amends_saga::{SagaId, Status};
use amends_wire::{
    api::{JournalItem, SagaView},
    span::Span,
};
use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// How often a followed journal is taken up again after the coordinator went away.
const FOLLOW_TRIES: u32 = 60;

/// Between two tries.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// What to do with sagas.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Starts a saga
    #[command(after_help = "\
Starting twice with the same key and input gives the same saga; with another input it is refused.
With --wait, ends with 1 when the saga was compensated or stands in repair, otherwise with 0.

Examples:
  amends saga start checkout --input cart.json --key order-1001 --label order=1001 --wait 10s
  echo '{\"order\": \"1001\", \"lines\": [{\"sku\": 1, \"qty\": 2}]}' | amends saga start checkout@1 --input -")]
    Start(StartArgs),
    /// Shows a saga and its steps
    #[command(after_help = "\
Examples:
  amends saga show 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10
  amends saga show 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --wait 30s --json")]
    Show {
        /// Its id
        id: SagaId,
        /// Wait for its end, at most this long and at most 60s
        #[arg(long, value_name = "TIME")]
        wait: Option<Span>,
        /// Show every item of a step that is done for each item of a list, however many there are
        #[arg(long)]
        items: bool,
    },
    /// Lists sagas, newest first
    #[command(after_help = "\
Examples:
  amends saga list --status running --status compensating
  amends saga list --definition checkout --label order=1001 --json
  amends saga list --participant inventory --limit 200")]
    List(list::Args),
    /// Prints a saga's journal, and each further event as it happens, until the saga ends
    #[command(after_help = "\
Each line is an event; with --json it is one JSON object. When the coordinator restarts, it goes on.

Examples:
  amends saga follow 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10
  amends saga follow 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --json | jq .type")]
    Follow {
        /// Its id
        id: SagaId,
    },
    /// Turns a running saga round, so that everything it did is undone
    #[command(after_help = "\
Examples:
  amends saga cancel 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --reason 'the customer called'
  amends saga cancel 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --wait 30s")]
    Cancel(UndoArgs),
    /// Undoes a saga that is completed, as when an order is cancelled before it ships
    #[command(after_help = "\
What lies beyond its pivot cannot be undone, nor what an open saga was committed to; it says so.

Examples:
  amends saga revert 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --reason 'sent back unopened'
  amends saga revert 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --wait 30s --json")]
    Revert(UndoArgs),
    /// Sends a signal to a saga that waits for it, or will
    #[command(after_help = "\
Examples:
  amends saga signal 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 payment --payload '{\"receipt\": \"R-17\"}'
  amends saga signal 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 payment --payload @receipt.json
  amends saga signal 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 payment --id R-17")]
    Signal {
        /// Its id
        id: SagaId,
        /// The signal's name
        name: String,
        /// What it carries: JSON, or @ and the file it stands in; @- is standard input
        #[arg(long, value_name = "JSON|@FILE", default_value = "null")]
        payload: String,
        /// Your own id for it: sent again with the same id it counts once
        #[arg(long = "id", value_name = "ID")]
        signal_id: Option<String>,
    },
    /// Begins an open saga: its branches are registered while it runs
    #[command(after_help = "\
When nobody decides within its time, it is rolled back.

Examples:
  amends saga open --timeout 30s --label order=1001
  id=$(amends saga open --timeout 5m --key order-1001 --json | jq -r .id)")]
    Open(open::OpenArgs),
    /// Registers a branch of an open saga, before its work is done
    #[command(after_help = "\
Doing it again with the same words changes nothing. After the decision no branch is taken any more.

Examples:
  amends saga branch 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 hold --compensation inventory.release \\
    --confirm inventory.confirm --with '{\"order\": \"1001\"}'
  amends saga branch 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 place \\
    --compensation order.cancel --with @order.json")]
    Branch(open::BranchArgs),
    /// Decides that an open saga's work stays: its branches are confirmed
    #[command(after_help = "\
After it nothing can be rolled back.

Examples:
  amends saga commit 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10
  amends saga commit 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --wait 10s")]
    Commit(open::CommitArgs),
    /// Decides that an open saga's work is undone: the last branch first
    #[command(after_help = "\
Examples:
  amends saga rollback 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --reason 'the card was declined'
  amends saga rollback 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --wait 10s")]
    Rollback(UndoArgs),
    /// Gives an open saga more time to be decided
    #[command(after_help = "\
Examples:
  amends saga renew 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --timeout 5m")]
    Renew(open::RenewArgs),
}

/// What to undo.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// Its id
    id: SagaId,
    /// Why, for the journal
    #[arg(long)]
    reason: Option<String>,
    /// Wait until it is undone, at most this long and at most 60s; ends with 1 when it then is not
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
}

/// The verbs that undo a saga.
#[derive(Debug, Clone, Copy)]
enum Undoing {
    Cancel,
    Revert,
    Rollback,
}

/// What to start.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// The definition: name, or name@version
    definition: String,
    /// The file with the input, as JSON; - is standard input [default: an empty object]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Your own key for it: started again with the same key it is the same saga
    #[arg(long)]
    key: Option<String>,
    /// A label to find it by; may stand several times
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Wait for its end, at most this long and at most 60s
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
}

/// Reads `name=text`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected name=text, such as order=1001".to_owned()),
    }
}

/// Does it.
///
/// # Errors
/// When the input cannot be read, or the coordinator says no.
pub async fn run(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    match command {
        Command::Start(args) => start(&client, &args, globals).await,
        Command::Show { id, wait, items } => {
            let raw = client.saga::<Box<RawValue>>(id, wait.map(duration)).await?;
            let saga = read(&raw)?;
            match globals.json {
                true => say!("{}", raw.get()),
                false => view::print(&saga, items),
            }
            Ok(Exit::Done)
        }
        Command::List(args) => list::run(&client, &args, globals).await,
        Command::Follow { id } => follow(&client, id, globals).await,
        Command::Cancel(args) => undo(&client, Undoing::Cancel, &args, globals).await,
        Command::Revert(args) => undo(&client, Undoing::Revert, &args, globals).await,
        Command::Rollback(args) => undo(&client, Undoing::Rollback, &args, globals).await,
        Command::Signal { id, name, payload, signal_id } => {
            let payload = body::read_value(&payload, "--payload")?;
            let name = crate::definition::escaped(&name);
            let (status, saga) =
                client.signal::<Box<RawValue>>(id, &name, signal_id.as_deref(), &payload).await?;
            if !globals.json && status == StatusCode::ACCEPTED {
                say!("the signal is kept until the saga waits for it");
            }
            print(&saga, globals)?;
            Ok(Exit::Done)
        }
        Command::Open(args) => open::open(&client, &args, globals).await,
        Command::Branch(args) => open::branch(&client, &args, globals).await,
        Command::Commit(args) => open::commit(&client, &args, globals).await,
        Command::Renew(args) => open::renew(&client, &args, globals).await,
    }
}

/// Turns a saga round, and waits until it is undone where that is asked for.
async fn undo(client: &Client, verb: Undoing, args: &UndoArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let path = match verb {
        Undoing::Cancel => "cancel",
        Undoing::Revert => "revert",
        Undoing::Rollback => "rollback",
    };
    let body = match &args.reason {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    };
    let (_, raw) = client.post::<Box<RawValue>>(&format!("/v1/sagas/{}/{path}", args.id), &body).await?;
    ended(client, args.id, raw, args.wait, Status::Compensated, globals).await
}

/// Prints a saga that was told something; with `wait` as it stands at its end, and whether that is the one wanted.
async fn ended(
    client: &Client,
    id: SagaId,
    told: Box<RawValue>,
    wait: Option<Span>,
    wanted: Status,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let Some(wait) = wait else {
        print(&told, globals)?;
        return Ok(Exit::Done);
    };
    let saga = print(&client.saga::<Box<RawValue>>(id, Some(duration(wait))).await?, globals)?;
    Ok(if saga.status == wanted { Exit::Done } else { Exit::No })
}

async fn start(client: &Client, args: &StartArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let input = read_json(args.input.as_deref())?;
    let labels: BTreeMap<String, String> = args.labels.iter().cloned().collect();
    let start = Start { definition: &args.definition, input: &input, key: args.key.as_deref(), labels };
    let wait = args.wait.map(duration);
    let (status, raw) = client.start::<Box<RawValue>>(&start, wait).await?;
    if !globals.json && status == StatusCode::OK {
        say!("this key was used before with the same input: it is the same saga");
    }
    let saga = print(&raw, globals)?;
    Ok(if wait.is_some() { outcome(saga.status) } else { Exit::Done })
}

/// How waiting for a saga ends the process.
fn outcome(status: Status) -> Exit {
    match status {
        Status::Completed | Status::Running | Status::Compensating => Exit::Done,
        Status::Compensated | Status::Repair | Status::Abandoned => Exit::No,
    }
}

/// Prints a saga: as the coordinator wrote it for programs, as a table for people.
fn print(raw: &RawValue, globals: &Globals) -> anyhow::Result<SagaView> {
    let saga = read(raw)?;
    match globals.json {
        true => say!("{}", raw.get()),
        false => view::print(&saga, false),
    }
    Ok(saga)
}

fn read(raw: &RawValue) -> anyhow::Result<SagaView> {
    serde_json::from_str(raw.get()).context("the coordinator's answer is no saga")
}

async fn follow(client: &Client, id: SagaId, globals: &Globals) -> anyhow::Result<Exit> {
    let each = |item: &JournalItem, text: &str| match globals.json {
        true => say!("{text}"),
        false => say!("{}", view::journal_line(item)),
    };
    let mut seq = 0;
    let mut tries = 0;
    loop {
        let before = seq;
        match client.follow(id, seq, each).await {
            Ok(last) => seq = last,
            Err(error) if seq == 0 || !error.is_transient() => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "the journal broke off"),
        }
        match client.saga::<SagaView>(id, None).await {
            Ok(saga) if saga.ended_at.is_some() => return Ok(Exit::Done),
            Ok(_) => {}
            Err(error) if !error.is_transient() => return Err(error.into()),
            Err(error) => note_gone(tries, &error),
        }
        tries = if seq > before { 0 } else { tries + 1 };
        if tries > FOLLOW_TRIES {
            bail!(
                "the coordinator at {} went away and did not come back; follow the saga again later",
                client.base()
            );
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

fn note_gone(tries: u32, error: &ClientError) {
    if tries == 0 {
        eprintln!("{}", painted(&format!("waiting for the coordinator: {error}"), Tone::Warn));
    }
}

fn duration(span: Span) -> Duration {
    span.millis().into()
}

/// Prints a list of sagas.
fn print_list(sagas: &[SagaView]) {
    let mut table = table::Table::new(&["saga", "definition", "status", "key", "labels", "updated", "why"]);
    for saga in sagas {
        table.row(view::list_row(saga));
    }
    table.print();
}
