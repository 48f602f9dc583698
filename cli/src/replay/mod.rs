//! `amends replay`: real orders from a file, run as sagas, and the books checked afterwards.
//!
//! [`read`] turns the file into carts and cancellations, [`mod@run`] brings each to its end, `ledger` says whether what
//! the shop has to show is right. What is replayed against is a coordinator and shop that run elsewhere, or, when
//! nobody names one, a pair of its own in this process (`embedded`).

mod embedded;
mod ledger;
pub(crate) mod patience;
pub mod read;
mod report;
pub mod run;
mod site;

use crate::{
    books,
    client::Client,
    exit::Exit,
    globals::Globals,
    progress,
    settings::{BaseUrl, Source, keys},
    shop::ShopUrls,
    table,
};
use amends_wire::span::Span;
use anyhow::Context;
use embedded::Embedded;
use ledger::Ledger;
use read::Orders;
use report::{Outcome, Report};
use run::{House, Replay, Stock};
use sha2::{Digest, Sha256};
use site::Site;
use std::{future::Future, path::PathBuf, time::Duration};
use tokio::time::Instant;

/// The orders that are replayed when no file is named.
pub const EXAMPLE: &[u8] = include_bytes!("../../data/orders.csv");

/// The longest name of a run, in characters.
const RUN_CHARS_MAX: usize = 32;

/// Replays orders from a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is CSV as the public \"Online Retail\" data set has it, with the columns InvoiceNo,
StockCode, Description, Quantity, UnitPrice and CustomerID. Every invoice is one cart and one
saga; one whose number begins with C brings goods back. Lines that are no merchandise or make no
sense are counted by reason, and told one by one with --rejects. A line without a price is a
gift when it has a customer, and a correction of stock, which is left out, when it has none.

An interrupted replay may be run again: it finds what it has done and ends with the same ledger.
Without --coordinator it runs a coordinator and a shop of its own, in --data or in a directory
that is gone afterwards.

Examples:
  amends replay                                 a small example that is shipped
  amends replay online-retail.csv --stock 50 --rejects left-out.csv
  amends replay online-retail.csv --coordinator http://127.0.0.1:7070 --concurrency 64 --json

Exit codes: 0 every saga ended and the books balance, 3 not so, 1 it could not be replayed.")]
pub struct Args {
    /// The file of orders [default: the shipped example]
    #[arg(value_name = "FILE.csv")]
    file: Option<PathBuf>,
    /// Pieces of every SKU there are at first: a number, or ample for as many as the file orders
    #[arg(long, value_name = "PIECES|ample", default_value = "ample")]
    stock: Stock,
    /// Carts under way at a time; with 1 the outcome is the same every time even when stock is scarce
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Replay only so many invoices, from the beginning of the file
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// What keys and order numbers begin with [default: from the file's content and the stock]
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    run: Option<String>,
    /// How long a coordinator or participant that does not answer is asked again
    #[arg(long, value_name = "TIME", default_value = "120s")]
    patience: Span,
    /// Write every line that is left out to this file, as CSV
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Where its own coordinator and shop keep their databases
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the inventory answers [default: as registered with the coordinator]
    #[arg(long, value_name = "URL")]
    inventory: Option<BaseUrl>,
    /// Where the orders answer [default: as registered with the coordinator]
    #[arg(long, value_name = "URL")]
    order: Option<BaseUrl>,
    /// Where the catalogue answers [default: as registered with the coordinator]
    #[arg(long, value_name = "URL")]
    product: Option<BaseUrl>,
}

/// Replays the orders.
///
/// # Errors
/// When the file cannot be read, or the coordinator or the shop cannot be reached for as long as patience lasts.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let orders = match &args.file {
        Some(path) => read::file(path)?,
        None => read::bytes_of(EXAMPLE)?,
    };
    if let Some(path) = &args.rejects {
        report::write_rejects(path, &orders.rejects)?;
    }
    let is_named = globals.flags.iter().any(|(name, _)| *name == "coordinator")
        || globals.settings.text(&keys::COORDINATOR).is_some_and(|(_, source)| source != Source::Default);
    if is_named {
        if let Some(data) = &args.data {
            anyhow::bail!(
                "--data {} is for a coordinator of the replay's own, and {} is named; leave out one of them",
                data.display(),
                globals.coordinator
            );
        }
        let patience = patience(&args);
        let client = globals.client()?;
        let urls = find_shop(&args, &client, patience).await?;
        return replay(&args, globals, &orders, &client, urls).await;
    }
    let embedded =
        Embedded::start(args.data.as_deref()).await.context("no coordinator could be started here")?;
    let done = replay(&args, globals, &orders, embedded.client(), embedded.urls().clone()).await;
    embedded.stop().await;
    done
}

async fn replay(
    args: &Args,
    globals: &Globals,
    orders: &Orders,
    coordinator: &Client,
    urls: ShopUrls,
) -> anyhow::Result<Exit> {
    let patience = patience(args);
    let run = args.run.clone().unwrap_or_else(|| default_run(orders, args.stock));
    let house = House {
        coordinator: coordinator.clone(),
        inventory: Site::new("the inventory", urls.inventory.clone(), patience)?,
        product: Site::new("the catalogue", urls.product.clone(), patience)?,
    };
    let replay = Replay { house: &house, run: &run, stock: args.stock, patience };
    replay.prepare(orders).await?;
    let events = &orders.events[..args.limit.unwrap_or(usize::MAX).min(orders.events.len())];
    let bar = progress::steps(globals, events.len() as u64);
    let begun = Instant::now();
    let ended = replay.drive(events, usize::from(args.concurrency), &bar).await;
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    let ledgers = insist(patience, || books::read(coordinator, &urls)).await?;
    let ledger = Ledger::new(&run, args.stock, orders, &ended, &ledgers);
    let (books, digest) = (ledger.books(), ledger.digest());
    let file = args
        .file
        .as_ref()
        .map_or_else(|| "the shipped example".to_owned(), |file| file.display().to_string());
    let outcome = Outcome { file, run: &run, orders, ended: &ended, books: &books, ledger: digest, elapsed };
    let report = Report::new(outcome);
    if globals.json {
        table::print_json(&report)?;
    } else {
        report.print(&books);
    }
    Ok(if report.is_good() { Exit::Done } else { Exit::Broken })
}

/// The shop's addresses: those that were named, and for the others what the coordinator has.
async fn find_shop(args: &Args, client: &Client, patience: Duration) -> anyhow::Result<ShopUrls> {
    if let (Some(inventory), Some(order), Some(product)) = (&args.inventory, &args.order, &args.product) {
        return Ok(ShopUrls { inventory: inventory.clone(), order: order.clone(), product: product.clone() });
    }
    // Participants that were just started register within a moment; one that is not there is soon told of.
    let registered = insist(patience.min(Duration::from_secs(15)), || ShopUrls::registered(client)).await?;
    Ok(ShopUrls {
        inventory: args.inventory.clone().unwrap_or(registered.inventory),
        order: args.order.clone().unwrap_or(registered.order),
        product: args.product.clone().unwrap_or(registered.product),
    })
}

/// Reads something until it can be read or patience is over, twice a second.
async fn insist<T, F, R>(patience: Duration, read: F) -> anyhow::Result<T>
where
    F: Fn() -> R,
    R: Future<Output = anyhow::Result<T>>,
{
    let until = Instant::now() + patience;
    loop {
        match read().await {
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(500)).await,
            done => return done,
        }
    }
}

fn patience(args: &Args) -> Duration {
    Duration::from_millis(args.patience.millis().0)
}

/// A name that the same file and the same stock always give.
fn default_run(orders: &Orders, stock: Stock) -> String {
    let digest = Sha256::new().chain_update(orders.digest).chain_update(format!("stock={stock}")).finalize();
    format!("r{}", ledger::hex(&digest[..6]))
}

fn run_name(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits && (1..=RUN_CHARS_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {RUN_CHARS_MAX} lower-case letters, digits and underscores"))
}
