//! `amends load`: a shop's day, made up from a seed, run against real services, and its books checked.
//!
//! [`mod@plan`] says what customers do, [`drive`] does it when it is due, [`fleet`] runs the shop and kills it, `watch`
//! tells how it goes, and [`books`] holds what customers were told against what the databases have to show.

mod books;
mod carts;
mod catalogue;
mod drive;
mod fleet;
mod plan;
mod random;
mod report;
mod service;
mod site;
mod tally;
mod watch;

use crate::{
    client::Client,
    exit::Exit,
    globals::Globals,
    progress,
    settings::{BaseUrl, Listen, Source, Store, keys},
    shop::ShopUrls,
    table,
};
use amends_wire::span::Span;
use anyhow::{Context, bail};
use carts::Profile;
use catalogue::{Catalogue, SKEW};
use drive::{ASKING_MAX, Load};
use fleet::{Fleet, Kills, Orders};
use plan::{Mix, Plan};
use report::{Report, Took};
use service::Place;
use site::{Payment, Site};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tally::Tally;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The flash sale's carts a second at its beginning, in carts a second of all others, where nobody says.
const FLASH_FACTOR: f64 = 5.0;

/// Puts a shop under load.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Customers come at their own pace, however long the ones before them take, and every latency counts
from when something was due. What they do follows from --seed alone: the same seed gives the same
goods, carts, payments, refunds and duplicates. Shares are given in percent of all carts.

It starts a coordinator and a shop as processes of its own, in a folder that is gone afterwards,
unless --coordinator names one that runs. Afterwards it waits until all is at rest and compares
what every customer was told with what sagas, orders, stock and catalogue have to show.

Examples:
  amends load                                    a minute of 100 carts a second
  amends load --rate 300 --lasts 5m --hold 20s --flash --reversals-fail 20 --kill-every 15s
  amends load --skus 1000000 --profile grocery --seed 42 --json > load.json
  amends load --coordinator http://127.0.0.1:7070 --rate 50

Ends with 0 when every check of the books holds, with 1 when one does not; it names which.")]
pub struct Args {
    /// Which of all days it is; the same seed gives the same day
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Different goods the shop sells; a flash sale has five more
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    skus: u32,
    /// Carts a second
    #[arg(long, value_name = "NUMBER", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// How long carts arrive
    #[arg(long, value_name = "TIME", default_value = "60s")]
    lasts: Span,
    /// How large carts are
    #[arg(long, value_enum, default_value_t = Profile::Retail)]
    profile: Profile,
    /// How customers pay
    #[arg(long, value_enum, default_value_t = Payment::Signal)]
    payment: Payment,
    /// Are submitted twice within two seconds
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    duplicates: f64,
    /// Are never paid, so that their hold expires
    #[arg(long, value_name = "PERCENT", default_value_t = 12.0, value_parser = percent)]
    unpaid: f64,
    /// Are refunded after they are paid, half of them in parts
    #[arg(long, value_name = "PERCENT", default_value_t = 4.0, value_parser = percent)]
    refunds: f64,
    /// Are cancelled before they are paid
    #[arg(long, value_name = "PERCENT", default_value_t = 3.0, value_parser = percent)]
    cancels: f64,
    /// How long an order waits for its payment; 15m is what shops do
    #[arg(long, value_name = "TIME", default_value_t = Span::from_secs(15))]
    hold: Span,
    /// A flash sale of five SKUs after a third of the time: at its beginning so many carts a second, five times the
    /// rate where no number is given, and a third of that every 20 s
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, value_parser = rate)]
    flash: Option<Option<f64>>,
    /// Calls that undo something and fail, half of them after they took effect
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    reversals_fail: f64,
    /// Kill one of its own processes so often, each in turn
    #[arg(long, value_name = "TIME")]
    kill_every: Option<Span>,
    /// What keys and order numbers begin with [default: from the seed]
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    run: Option<String>,
    /// How long a coordinator that does not answer is asked again
    #[arg(long, value_name = "TIME", default_value = "120s")]
    patience: Span,
    /// Where its own coordinator and shop keep their databases
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serves one of the shop's services for a load that started it
    #[arg(long, hide = true, value_name = "NAME", requires = "store", requires = "listen")]
    serve: Option<String>,
    /// Where that service keeps its data
    #[arg(long, hide = true, value_name = "STORE")]
    store: Option<Store>,
    /// Where that service listens
    #[arg(long, hide = true, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// The order service that it asks about holds whose time is up
    #[arg(long, hide = true, value_name = "URL")]
    order: Option<BaseUrl>,
    /// The inventory whose changes that service follows
    #[arg(long, hide = true, value_name = "URL")]
    inventory: Option<BaseUrl>,
}

/// Runs the load.
///
/// # Errors
/// When a process cannot be started or does not come back, or the shop cannot be filled or read.
pub async fn run(args: Args, globals: &Globals) -> anyhow::Result<Exit> {
    let orders = Orders { hold: args.hold, reversals_fail: args.reversals_fail, seed: args.seed };
    if let (Some(name), Some(store), Some(listen)) = (&args.serve, &args.store, args.listen) {
        let (order, inventory) = (args.order.as_ref(), args.inventory.as_ref());
        let place = Place { listen, store, order, inventory };
        return service::serve(name, place, &orders, globals).await;
    }
    let plan = plan(&args)?;
    site::checkout(args.payment, args.hold)?;
    let is_named = globals.flags.iter().any(|(name, _)| *name == "coordinator")
        || globals.settings.text(&keys::COORDINATOR).is_some_and(|(_, source)| source != Source::Default);
    if !is_named {
        let fleet = Arc::new(Fleet::start(args.data.as_deref(), &orders, args.payment).await?);
        let site = site(&args, fleet.client().clone(), fleet.urls().clone(), fleet.payments())?;
        return put_under_load(&args, globals, plan, site, Some(fleet)).await;
    }
    if args.data.is_some() || args.kill_every.is_some() || args.reversals_fail > 0.0 {
        bail!(
            "--data, --kill-every and --reversals-fail are for a shop of the load's own; leave out --coordinator"
        );
    }
    let client = globals.client()?;
    let urls = ShopUrls::registered(&client).await?;
    let payments = match args.payment {
        Payment::Signal => None,
        Payment::Provider => Some(ShopUrls::address_of(&client, "payment").await?),
    };
    let site = site(&args, client, urls, payments)?;
    put_under_load(&args, globals, plan, site, None).await
}

fn site(args: &Args, coordinator: Client, urls: ShopUrls, payments: Option<BaseUrl>) -> anyhow::Result<Site> {
    let checkout = site::checkout(args.payment, args.hold)?.0;
    let (hold, patience) = (time(args.hold), time(args.patience));
    Ok(Site { coordinator, urls, payments, checkout, hold, patience })
}

async fn put_under_load(
    args: &Args,
    globals: &Globals,
    plan: Plan,
    site: Site,
    fleet: Option<Arc<Fleet>>,
) -> anyhow::Result<Exit> {
    let run = args.run.clone().unwrap_or_else(|| format!("load{:x}", args.seed));
    let bar = progress::busy(globals, "the shop is filled");
    site.prepare(args.hold, &run, &plan, &bar).await.context("the shop cannot be filled")?;
    bar.finish_and_clear();
    let load = Arc::new(Load { site, plan, run, tally: Tally::default(), asking: Semaphore::new(ASKING_MAX) });
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch::laws(load.site.clone(), stop.clone()));
    let figures =
        tokio::spawn(watch::figures(Arc::clone(&load), time(args.lasts), globals.clone(), stop.clone()));
    let killing = args.kill_every.zip(fleet.clone());
    let killing = killing.map(|(every, fleet)| tokio::spawn(fleet.kill_in_turn(time(every), stop.clone())));

    let begun = Instant::now();
    let told = drive::run(&load).await?;
    let carts = begun.elapsed();
    stop.cancel();
    let kills = match killing {
        Some(killing) => killing.await.context("the killing panicked")??,
        None => Kills::new(),
    };
    figures.await.context("the live figures panicked")?;
    let watched = watching.await.context("the watch panicked")?;
    let settling = Instant::now();
    let bar = progress::busy(globals, "until all is at rest");
    let evidence = watch::settle(&load, fleet.is_some(), &bar).await?;
    bar.finish_and_clear();
    let took = Took { carts, settling: settling.elapsed() };
    let books = books::check(&load, &told, &evidence, &watched);
    let report = Report::new(args.seed, &load, &told, took, kills, books);
    match globals.json {
        true => table::print_json(&report)?,
        false => report.print(),
    }
    Ok(if report.books.balanced() { Exit::Done } else { Exit::No })
}

/// Makes up the day.
fn plan(args: &Args) -> anyhow::Result<Plan> {
    let shares = args.unpaid + args.cancels + args.refunds;
    if shares > 100.0 {
        bail!("--unpaid, --cancels and --refunds are {shares} % together; make them 100 or less");
    }
    let mix = Mix {
        profile: args.profile,
        rate: args.rate,
        lasts: time(args.lasts),
        duplicates: args.duplicates,
        unpaid: args.unpaid,
        cancels: args.cancels,
        refunds: args.refunds,
        flash: args.flash.map(|peak| peak.unwrap_or(args.rate * FLASH_FACTOR)),
    };
    Ok(Plan::new(args.seed, Catalogue::new(args.seed, args.skus, SKEW), mix))
}

fn time(span: Span) -> Duration {
    Duration::from_millis(span.millis().0)
}

fn percent(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 100".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    rate.ok_or_else(|| "expected carts a second, from 0.01 to 100000".to_owned())
}

fn run_name(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits && (1..=32).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 32 lower-case letters, digits and underscores".to_owned())
}
