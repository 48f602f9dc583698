//! `amends repair bulk`: one verb for many items, as a job that can be followed, stopped and resumed.

use super::{By, filter::Filter, said, view};
use crate::{client::Client, exit::Exit, globals::Globals, output::say, progress, table};
use amends_wire::api::{JobStatus, JobView, List, PreviewView};
use anyhow::bail;
use serde_json::{Value, value::RawValue};
use std::time::Duration;
use uuid::Uuid;

/// How often a followed job is asked for.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What to do with bulk jobs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Starts a job: one verb for every item that fits and is open now
    #[command(after_help = "\
Begin with --dry-run: it says how many items are meant, and changes nothing.

Examples:
  amends repair bulk start retry --participant inventory --dry-run
  amends repair bulk start retry --participant inventory --follow
  amends repair bulk start resolve --step refund --note 'refunded from the bank file of 20 Nov'")]
    Start {
        /// What: retry, resolve, skip, abandon or assign
        action: String,
        /// Which.
        #[command(flatten)]
        filter: Box<Filter>,
        /// Every open item: needed where no other flag narrows
        #[arg(long)]
        all: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Why, for the journals
        #[arg(long)]
        note: Option<String>,
        /// Who looks after them, for assign
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
        /// Items a second, at most
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5000))]
        per_second: Option<u32>,
        /// Show the progress until it ends
        #[arg(long)]
        follow: bool,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Lists jobs, newest first
    #[command(after_help = "Examples:\n  amends repair bulk list")]
    List,
    /// Shows a job
    #[command(after_help = "Examples:\n  amends repair bulk show 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10")]
    Show {
        /// The job
        job: Uuid,
    },
    /// Shows a job's progress until it ends or is stopped
    #[command(after_help = "Examples:\n  amends repair bulk follow 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10")]
    Follow {
        /// The job
        job: Uuid,
    },
    /// Stops a job; what it has done stays done
    #[command(after_help = "Examples:\n  amends repair bulk stop 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10")]
    Stop {
        /// The job
        job: Uuid,
    },
    /// Goes on with a stopped job where it stood
    #[command(after_help = "Examples:\n  amends repair bulk resume 0193f2a0-5c1e-7d3b-9c55-2f1d8a8a4e10")]
    Resume {
        /// The job
        job: Uuid,
    },
}

pub(super) async fn run(command: Command, client: &Client, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Start { action, filter, all, dry_run, note, to, per_second, follow, by } => {
            if filter.is_empty() && !all {
                bail!("no flag says which items are meant; narrow them, or say --all");
            }
            let mut body = said(note, &by);
            body.insert("action".to_owned(), action.into());
            body.insert("filter".to_owned(), filter.body());
            body.extend(all.then(|| ("all".to_owned(), true.into())));
            body.extend(dry_run.then(|| ("dry_run".to_owned(), true.into())));
            body.extend(to.map(|to| ("assignee".to_owned(), to.into())));
            body.extend(per_second.map(|rate| ("per_second".to_owned(), rate.into())));
            start(client, Value::Object(body), dry_run, follow, globals).await
        }
        Command::List => list(client, globals).await,
        Command::Show { job } => {
            print(&client.get::<Box<RawValue>>(&path(job), &[]).await?, globals)?;
            Ok(Exit::Done)
        }
        Command::Follow { job } => watch(client, job, globals).await,
        Command::Stop { job } => change(client, job, "stop", globals).await,
        Command::Resume { job } => change(client, job, "resume", globals).await,
    }
}

fn path(job: Uuid) -> String {
    format!("/v1/repairs/bulk/{job}")
}

async fn start(
    client: &Client,
    body: Value,
    dry_run: bool,
    follow: bool,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let (_, raw): (_, Box<RawValue>) = client.post("/v1/repairs/bulk", &body).await?;
    if !dry_run {
        let job = print(&raw, globals)?;
        return if follow { watch(client, job.id, globals).await } else { Ok(Exit::Done) };
    }
    if globals.json {
        say!("{}", raw.get());
        return Ok(Exit::Done);
    }
    let preview: PreviewView = serde_json::from_str(raw.get())?;
    say!("{} items are meant; nothing was changed", preview.matched);
    if preview.matched == 0 {
        return Ok(Exit::Done);
    }
    let mut piles = table::Table::new(&["items", "participant", "definition", "step", "reason"]);
    for pile in preview.by {
        let [definition, step] =
            [pile.definition, pile.step].map(|name| name.unwrap_or_else(|| "-".to_owned()));
        piles.row([pile.items.to_string(), pile.participant, definition, step, view::word(&pile.reason)]);
    }
    piles.print();
    say!("the oldest of them:");
    view::table(&preview.sample).print();
    Ok(Exit::Done)
}

async fn list(client: &Client, globals: &Globals) -> anyhow::Result<Exit> {
    let raw: Box<RawValue> = client.get("/v1/repairs/bulk", &[]).await?;
    if globals.json {
        say!("{}", raw.get());
        return Ok(Exit::Done);
    }
    let jobs: List<JobView> = serde_json::from_str(raw.get())?;
    if jobs.items.is_empty() {
        say!("there was no bulk job yet");
        return Ok(Exit::Done);
    }
    let mut rows = table::Table::new(&["job", "action", "status", "total", "done", "failed", "skipped"]);
    for job in jobs.items {
        let counts = [job.total, job.done, job.failed, job.skipped].map(|count| count.to_string());
        let words = [job.id.to_string(), view::word(&job.action), view::word(&job.status)];
        rows.row(words.into_iter().chain(counts));
    }
    rows.print();
    Ok(Exit::Done)
}

async fn change(client: &Client, job: Uuid, word: &str, globals: &Globals) -> anyhow::Result<Exit> {
    let path = format!("{}/{word}", path(job));
    let (_, raw): (_, Box<RawValue>) = client.post(&path, &Value::Object(serde_json::Map::new())).await?;
    print(&raw, globals)?;
    Ok(Exit::Done)
}

fn print(raw: &RawValue, globals: &Globals) -> anyhow::Result<JobView> {
    let job: JobView = serde_json::from_str(raw.get())?;
    if globals.json {
        say!("{}", raw.get());
        return Ok(job);
    }
    let (action, status) = (view::word(&job.action), view::word(&job.status));
    let JobView { id, total, done, failed, skipped, .. } = &job;
    say!("job {id}  {action} {status}: {done} of {total} done, {failed} failed, {skipped} skipped");
    for error in &job.errors {
        say!("  item {}: {}", error.item, crate::table::clean(&error.detail));
    }
    Ok(job)
}

/// Shows a bar until the job no longer runs.
async fn watch(client: &Client, id: Uuid, globals: &Globals) -> anyhow::Result<Exit> {
    let bar = progress::steps(globals, 0);
    loop {
        let raw: Box<RawValue> = client.get(&path(id), &[]).await?;
        let job: JobView = serde_json::from_str(raw.get())?;
        bar.set_length(job.total);
        bar.set_position(job.done + job.failed + job.skipped);
        bar.set_message(format!("{} failed, {} skipped", job.failed, job.skipped));
        if job.status != JobStatus::Running {
            bar.finish_and_clear();
            let job = print(&raw, globals)?;
            return Ok(if job.failed > 0 { Exit::No } else { Exit::Done });
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
