//! `amends saga`: start, show, list, follow, cancel and signal.

mod list;
mod view;

pub use view::{status_word, step_rows};

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
use serde_json::value::RawValue;
use std::{collections::BTreeMap, io::Read, path::PathBuf, time::Duration};

/// The longest input that is read, in bytes.
const INPUT_BYTES_MAX: u64 = 16 << 20;

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
  amends saga cancel 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 --reason 'the customer called'")]
    Cancel {
        /// Its id
        id: SagaId,
        /// Why, for the journal
        #[arg(long)]
        reason: Option<String>,
    },
    /// Sends a signal to a saga that waits for it, or will
    #[command(after_help = "\
Examples:
  amends saga signal 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 payment --payload '{\"receipt\": \"R-17\"}'
  amends saga signal 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10 payment --id R-17")]
    Signal {
        /// Its id
        id: SagaId,
        /// The signal's name
        name: String,
        /// What it carries, as JSON
        #[arg(long, value_name = "JSON", default_value = "null")]
        payload: String,
        /// Your own id for it: sent again with the same id it counts once
        #[arg(long = "id", value_name = "ID")]
        signal_id: Option<String>,
    },
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
        Command::Show { id, wait } => show(&client, id, wait.map(duration), globals).await,
        Command::List(args) => list::run(&client, &args, globals).await,
        Command::Follow { id } => follow(&client, id, globals).await,
        Command::Cancel { id, reason } => {
            print(&client.cancel::<Box<RawValue>>(id, reason.as_deref()).await?, globals)?;
            Ok(Exit::Done)
        }
        Command::Signal { id, name, payload, signal_id } => {
            let payload = RawValue::from_string(payload)
                .context("--payload is not JSON; a text needs quotes of its own: --payload '\"paid\"'")?;
            let name = crate::definition::escaped(&name);
            let (status, saga) =
                client.signal::<Box<RawValue>>(id, &name, signal_id.as_deref(), &payload).await?;
            if !globals.json && status == StatusCode::ACCEPTED {
                say!("the signal is kept until the saga waits for it");
            }
            print(&saga, globals)?;
            Ok(Exit::Done)
        }
    }
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

async fn show(
    client: &Client,
    id: SagaId,
    wait: Option<Duration>,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    print(&client.saga::<Box<RawValue>>(id, wait).await?, globals)?;
    Ok(Exit::Done)
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
    let saga: SagaView = serde_json::from_str(raw.get()).context("the coordinator's answer is no saga")?;
    match globals.json {
        true => say!("{}", raw.get()),
        false => view::print(&saga),
    }
    Ok(saga)
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

/// Reads a body from a file; the text is passed on as it is, so that no number changes.
pub(crate) fn read_json(path: Option<&std::path::Path>) -> anyhow::Result<Box<RawValue>> {
    let Some(path) = path else { return Ok(RawValue::from_string("{}".to_owned())?) };
    let mut text = String::new();
    let is_input = path == std::path::Path::new("-");
    let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
    let read = match is_input {
        true => std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)),
    };
    read.with_context(|| format!("{name} cannot be read"))?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        bail!("{name} is longer than {INPUT_BYTES_MAX} bytes");
    }
    RawValue::from_string(text.trim().to_owned()).with_context(|| format!("{name} is not JSON"))
}

/// Prints a list of sagas.
fn print_list(sagas: &[SagaView]) {
    let mut table = table::Table::new(&["saga", "definition", "status", "key", "labels", "updated", "why"]);
    for saga in sagas {
        table.row(view::list_row(saga));
    }
    table.print();
}
