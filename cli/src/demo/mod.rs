//! `amends demo`: coordinator and shop in one process, eight carts, and a check of the books.

mod carts;
mod report;
mod story;

use crate::{
    books, embedded::Embedded, exit::Exit, globals::Globals, process, progress, settings::Listen, shop::Shop,
};
use anyhow::{Context, bail};
use report::Report;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Instant,
};

/// Shows what sagas do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Eight carts are run: four are paid, one is refused for stock, one is cancelled, and two are turned
away by the order service while the inventory does not give their stock back: for one it fails three
times and then works, for the other it refuses, so that a repair item opens and is retried by hand.
Then the shop's databases are compared, and coordinator and shop go on serving until Ctrl-C.

Ends with 0 when every cart ended as expected and the books balance, with 3 when not.

Examples:
  amends demo
  amends demo --exit --json | jq .books
  amends demo --data ./demo --listen 127.0.0.1:7070")]
pub struct Args {
    /// End after the check of the books, in place of going on serving
    #[arg(long)]
    exit: bool,
    /// The directory for the databases, which are kept; a temporary one, removed at the end, where none is named
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The coordinator's address; any free port of this machine where none is named
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
}

/// Runs the demo.
///
/// # Errors
/// When an address is taken, a database cannot be used, or something does not answer.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let stop = process::stop_on_signal()?;
    let listen = args.listen.unwrap_or(Listen((Ipv4Addr::LOCALHOST, 0).into()));
    if !listen.0.ip().is_loopback() {
        bail!(
            "the demo has no tokens and serves this machine only; listen on 127.0.0.1, or use `amends serve`"
        );
    }
    let temporary = match &args.data {
        Some(_) => None,
        None => {
            Some(tempfile::tempdir().context("no temporary directory can be made; name one with --data")?)
        }
    };
    let dir = args.data.as_deref().or(temporary.as_ref().map(|dir| dir.path())).unwrap_or(Path::new("."));
    refuse_used(dir)?;
    let mut embedded = Embedded::start(dir, listen).await?;
    let report = tokio::select! {
        report = perform(&embedded, begun, globals) => report,
        () = stop.cancelled() => {
            embedded.stop().await;
            bail!("the demo was stopped before its end");
        }
    };
    let exit = match &report {
        Ok(report) if report.is_as_expected() => Exit::Done,
        Ok(_) => Exit::Broken,
        Err(_) => Exit::No,
    };
    if let (false, Ok(report)) = (args.exit, &report) {
        if !globals.json {
            report::print_what_next(&embedded, report);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = embedded.failed() => tracing::error!("the coordinator has failed"),
        }
    }
    embedded.stop().await;
    report.map(|_| exit)
}

/// Fills the shop, runs the carts, checks the books, and tells.
async fn perform(embedded: &Embedded, begun: Instant, globals: &Globals) -> anyhow::Result<Report> {
    if !globals.json {
        report::print_opening(embedded.client.base());
    }
    let shop = Shop::new(embedded.shop.clone())?;
    shop.load(&carts::catalogue()).await?;
    let stock: BTreeMap<i64, i64> = carts::stock();
    shop.replenish("opening-stock", &stock).await?;

    let bar = progress::steps(globals, carts::CARTS.len() as u64);
    let mut told = Vec::new();
    for cart in &carts::CARTS {
        bar.set_message(cart.name);
        told.push(story::run(embedded, cart).await.with_context(|| format!("cart \"{}\"", cart.name))?);
        bar.inc(1);
    }
    bar.finish_and_clear();

    let books = books::check(&embedded.client, &embedded.shop, Some(&stock)).await?;
    let report = Report::new(told, books, embedded.client.base(), begun.elapsed());
    match globals.json {
        true => crate::table::print_json(&report)?,
        false => report.print(),
    }
    Ok(report)
}

/// An earlier demo's carts would be counted into this one's books.
fn refuse_used(dir: &Path) -> anyhow::Result<()> {
    if dir.join("coordinator.db").exists() {
        bail!("{} holds the databases of an earlier run; name an empty directory with --data", dir.display());
    }
    Ok(())
}
