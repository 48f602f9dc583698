//! `amends repair`: the repair queue, from the list to the settled item.

mod bulk;
mod filter;
mod view;
mod watch;

use crate::{
    client::{Client, ClientError},
    exit::Exit,
    globals::Globals,
    output::say,
    table,
};
use amends_wire::api::{List, RepairStatus, RepairView};
use anyhow::{Context, bail};
use filter::Filter;
use serde_json::{Map, Value, value::RawValue};
use std::{path::PathBuf, time::Duration};
use uuid::Uuid;

/// The shortest beginning of an id that is looked up.
const PREFIX_MIN: usize = 4;

/// How often a retried item is asked for until its round of attempts has ended.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What to do about stuck steps.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists items, the oldest first; without --status those that are not settled
    #[command(after_help = "\
Examples:
  amends repair list
  amends repair list --participant inventory --reason exhausted
  amends repair list --status settled --json")]
    List {
        /// Which.
        #[command(flatten)]
        filter: Box<Filter>,
        /// How many, at most 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// The next page: what the one before said
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Shows an item with everything that is known: attempts, body, what waits behind it, notes
    #[command(after_help = "\
An id may be shortened to its first letters where only one open item begins so.

Examples:
  amends repair show 8b37c800-3a04-87aa-abbc-ebcf3fdb7138
  amends repair show 8b37 --json")]
    Show {
        /// The item
        item: String,
    },
    /// Tries a stuck call again: one round of quick attempts
    #[command(after_help = "\
With --wait, ends with 0 when the step is undone and with 1 when it was parked again.

Examples:
  amends repair retry 8b37c800 --wait 30s
  amends repair retry 8b37c800 --input fixed.json --note 'the order number was missing'")]
    Retry {
        /// The item
        item: String,
        /// The file with another body to send, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// Wait for the round of attempts to end, at most this long
        #[arg(long, value_name = "TIME")]
        wait: Option<amends_wire::span::Span>,
        /// Why, for the journal
        #[arg(long)]
        note: Option<String>,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Says that a stuck step was made good by hand: it counts as undone, and the saga goes on
    #[command(after_help = "\
Examples:
  amends repair resolve 8b37c800 --note 'released the stock in the warehouse system, ticket 4711'")]
    Resolve {
        /// The item
        item: String,
        /// What was done, for the journal
        #[arg(long)]
        note: String,
        /// What the call should be taken to have answered, as JSON
        #[arg(long, value_name = "JSON")]
        output: Option<String>,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Leaves a stuck step undone: everything else is undone, and the saga ends abandoned
    #[command(after_help = "\
Examples:
  amends repair skip 8b37c800 --note 'the goodwill coupon stays with the customer'")]
    Skip {
        /// The item
        item: String,
        /// Why, for the journal
        #[arg(long)]
        note: String,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Gives the whole saga up as it stands: nothing else is sent. The last resort
    #[command(after_help = "\
Examples:
  amends repair abandon 8b37c800 --note 'a test order on a test shop'")]
    Abandon {
        /// The item
        item: String,
        /// Why, for the journal
        #[arg(long)]
        note: String,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Says who looks after an item
    #[command(after_help = "\
Examples:
  amends repair assign 8b37c800 ada")]
    Assign {
        /// The item
        item: String,
        /// Who
        assignee: String,
        /// Why, for the journal
        #[arg(long)]
        note: Option<String>,
        /// Who you are.
        #[command(flatten)]
        by: By,
    },
    /// Does one thing to many items: dry run, start, follow, stop, resume
    #[command(subcommand)]
    Bulk(bulk::Command),
    /// Shows the queue as it changes, until Ctrl-C
    #[command(after_help = "\
Examples:
  amends repair watch
  amends repair watch --participant inventory --every 5s")]
    Watch(watch::Args),
}

/// Who acts.
#[derive(Debug, Clone, clap::Args)]
pub struct By {
    /// Who you are, where no token says it [env: AMENDS_OPERATOR] [default: the user logged in]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl By {
    fn name(&self) -> Option<String> {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.by.clone().or_else(|| named("AMENDS_OPERATOR")).or_else(|| named("USER"))
    }
}

/// Does it.
///
/// # Errors
/// When a file cannot be read, or the coordinator says no.
pub async fn run(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    match command {
        Command::List { filter, limit, cursor } => list(&client, &filter, limit, cursor, globals).await,
        Command::Show { item } => {
            let id = find(&client, &item).await?;
            let raw: Box<RawValue> = client.get(&format!("/v1/repairs/{id}"), &[]).await?;
            print(&raw, globals)?;
            Ok(Exit::Done)
        }
        Command::Retry { item, input, wait, note, by } => {
            let mut body = said(note, &by);
            if let Some(path) = input {
                let text = crate::saga::read_json(Some(&path))?;
                body.insert("input".to_owned(), serde_json::from_str(text.get())?);
            }
            let id = find(&client, &item).await?;
            let raw = verb(&client, id, "retry", body).await?;
            match wait {
                None => print(&raw, globals).map(|_| Exit::Done),
                Some(wait) => await_round(&client, id, wait.millis().into(), globals).await,
            }
        }
        Command::Resolve { item, note, output, by } => {
            let mut body = said(Some(note), &by);
            if let Some(output) = output {
                let output = serde_json::from_str(&output).context("--output is not JSON")?;
                body.insert("output".to_owned(), output);
            }
            settle(&client, &item, "resolve", body, globals).await
        }
        Command::Skip { item, note, by } => {
            settle(&client, &item, "skip", said(Some(note), &by), globals).await
        }
        Command::Abandon { item, note, by } => {
            settle(&client, &item, "abandon", said(Some(note), &by), globals).await
        }
        Command::Assign { item, assignee, note, by } => {
            let mut body = said(note, &by);
            body.insert("assignee".to_owned(), assignee.into());
            settle(&client, &item, "assign", body, globals).await
        }
        Command::Bulk(command) => bulk::run(command, &client, globals).await,
        Command::Watch(args) => watch::run(&args, &client, globals).await,
    }
}

/// What every verb's body may say.
fn said(note: Option<String>, by: &By) -> Map<String, Value> {
    let mut body = Map::new();
    body.extend(note.map(|note| ("note".to_owned(), note.into())));
    body.extend(by.name().map(|by| ("by".to_owned(), by.into())));
    body
}

async fn verb(
    client: &Client,
    id: Uuid,
    verb: &str,
    body: Map<String, Value>,
) -> Result<Box<RawValue>, ClientError> {
    client.post(&format!("/v1/repairs/{id}/{verb}"), &Value::Object(body)).await.map(|(_, item)| item)
}

async fn settle(
    client: &Client,
    item: &str,
    word: &str,
    body: Map<String, Value>,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let id = find(client, item).await?;
    print(&verb(client, id, word, body).await?, globals)?;
    Ok(Exit::Done)
}

/// Waits until a round of attempts has ended, and says how.
async fn await_round(client: &Client, id: Uuid, wait: Duration, globals: &Globals) -> anyhow::Result<Exit> {
    let until = tokio::time::Instant::now() + wait;
    loop {
        let raw: Box<RawValue> = client.get(&format!("/v1/repairs/{id}"), &[]).await?;
        let item: RepairView = serde_json::from_str(raw.get())?;
        let is_over = item.status != RepairStatus::Retrying;
        if is_over || tokio::time::Instant::now() >= until {
            let item = print(&raw, globals)?;
            let how = item.settled.as_ref().map(|settled| settled.how);
            let again = how == Some(amends_saga::How::ParkedAgain) || !is_over;
            return Ok(if again { Exit::No } else { Exit::Done });
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn list(
    client: &Client,
    filter: &Filter,
    limit: u16,
    cursor: Option<String>,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let mut query = filter.query()?;
    query.push(("limit", limit.to_string()));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let page: List<RepairView> = client.get("/v1/repairs", &query).await?;
    if globals.json {
        table::print_json(&page)?;
        return Ok(Exit::Done);
    }
    if page.items.is_empty() {
        say!("no item fits: nothing waits for you here");
        return Ok(Exit::Done);
    }
    view::table(&page.items).print();
    if let Some(next) = page.next {
        say!("there are more: add --cursor {next}");
    }
    Ok(Exit::Done)
}

/// Prints an item: as the coordinator wrote it for programs, in words for people.
fn print(raw: &RawValue, globals: &Globals) -> anyhow::Result<RepairView> {
    let item: RepairView = serde_json::from_str(raw.get()).context("the coordinator's answer is no item")?;
    match globals.json {
        true => say!("{}", raw.get()),
        false => view::print(&item),
    }
    Ok(item)
}

/// An item's id from what was typed: all of it, or its beginning where one open item only begins so.
async fn find(client: &Client, typed: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = Uuid::parse_str(typed) {
        return Ok(id);
    }
    let letters = |c: char| c.is_ascii_hexdigit() || c == '-';
    if typed.len() < PREFIX_MIN || !typed.chars().all(letters) {
        bail!(
            "\"{typed}\" is no item's id; `amends repair list` shows them, and its first {PREFIX_MIN} letters are enough"
        );
    }
    let wanted = typed.to_ascii_lowercase();
    let page: List<RepairView> = client.get("/v1/repairs", &[("limit", "500".to_owned())]).await?;
    let is_whole = page.next.is_none();
    let fits = page.items.iter().map(|item| item.id).filter(|id| id.to_string().starts_with(&wanted));
    match fits.collect::<Vec<_>>()[..] {
        [id] if is_whole => Ok(id),
        [] if is_whole => bail!("no open item's id begins with \"{typed}\"; give a settled one's id in full"),
        _ => bail!("more than one open item's id may begin with \"{typed}\"; give the id in full"),
    }
}
