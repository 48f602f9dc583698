//! `amends load`: a shop's day, made up from a seed, run against real services, and its books checked.
//!
//! [`mod@plan`] says what customers do, [`drive`] does it when it is due, [`sale`] sets stock apart for a flash sale,
//! [`fleet`] runs the shop and kills it, `watch` tells how it goes, [`evidence`] reads the databases when all is at rest,
//! and [`books`] holds what customers were told against what is in them.

mod after;
mod books;
mod browse;
mod carts;
mod catalogue;
mod definitions;
mod drive;
mod evidence;
mod fleet;
mod moments;
mod options;
mod plan;
mod random;
mod report;
mod sale;
mod service;
mod site;
mod tally;
mod watch;

use crate::{
    client::Client,
    exit::Exit,
    globals::Globals,
    settings::{BaseUrl, Source, keys},
    shop::ShopUrls,
    table,
};
use anyhow::{Context, bail};
use definitions::Definitions;
use drive::{Load, Told};
use evidence::Evidence;
use fleet::{Fleet, Kills, Orders};
use options::time;
use report::{Report, Took};
use sale::Sale;
use service::Place;
use site::Site;
use std::{sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;
use watch::Telling;

pub use options::Args;

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
    let plan = args.plan()?;
    let is_named = globals.flags.iter().any(|(name, _)| *name == "coordinator")
        || globals.settings.text(&keys::COORDINATOR).is_some_and(|(_, source)| source != Source::Default);
    let (site, fleet) = match is_named {
        true => (named(&args, globals).await?, None),
        false => {
            let definitions = Definitions::new(args.payment, true, args.hold)?;
            let fleet = Arc::new(Fleet::start(args.data.as_deref(), &orders).await?);
            let (client, urls) = (fleet.client().clone(), fleet.urls().clone());
            (site(&args, (client, urls, Some(fleet.payments())), definitions), Some(fleet))
        }
    };
    let run = args.run.clone().unwrap_or_else(|| format!("load{:x}", args.seed));
    let mut telling = Telling::new(globals, "the shop is filled");
    site.prepare(&run, &plan, &mut telling).await.context("the shop cannot be filled")?;
    let sale = match plan.sale() {
        Some(flash) => Some(Sale::open(&site, &run, flash, plan.set_apart().collect()).await?),
        None => None,
    };
    watch::caught_up(&site, &mut telling).await.context("the catalogue cannot be asked")?;
    drop(telling);
    let load = Arc::new(Load::new(site, plan, run, sale)?);
    put_under_load(&args, globals, load, fleet).await
}

/// The shop of a coordinator that runs.
async fn named(args: &Args, globals: &Globals) -> anyhow::Result<Site> {
    if args.data.is_some() || args.kill_every.is_some() || args.reversals_fail > 0.0 {
        bail!(
            "--data, --kill-every and --reversals-fail are for a shop of the load's own; leave out --coordinator"
        );
    }
    let coordinator = globals.client()?;
    let urls = ShopUrls::registered(&coordinator).await?;
    let payments = match ShopUrls::address_of(&coordinator, "payment").await {
        Err(error) if args.needs_payments() => return Err(error),
        payments => payments.ok(),
    };
    let definitions = Definitions::new(args.payment, payments.is_some(), args.hold)?;
    Ok(site(args, (coordinator, urls, payments), definitions))
}

fn site(
    args: &Args,
    (coordinator, urls, payments): (Client, ShopUrls, Option<BaseUrl>),
    definitions: Definitions,
) -> Site {
    let (pays, hold, patience) = (args.payment, time(args.hold), time(args.patience));
    Site { coordinator, urls, pays, payments, definitions, hold, patience }
}

async fn put_under_load(
    args: &Args,
    globals: &Globals,
    load: Arc<Load>,
    fleet: Option<Arc<Fleet>>,
) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch::laws(load.site.clone(), stop.clone()));
    let figures =
        tokio::spawn(watch::figures(Arc::clone(&load), time(args.lasts), globals.clone(), stop.clone()));
    let fresh = tokio::spawn(watch::freshness(Arc::clone(&load), stop.clone()));
    let at_rest = CancellationToken::new();
    let holds = tokio::spawn(watch::overdue(Arc::clone(&load), at_rest.clone()));
    let killing = args.kill_every.zip(fleet.clone());
    let killing = killing
        .map(|(every, fleet)| tokio::spawn(fleet.kill_in_turn(time(every), time(args.lasts), stop.clone())));

    let begun = Instant::now();
    let told = drive::run(&load).await?;
    let carts = begun.elapsed();
    stop.cancel();
    let kills = match killing {
        Some(killing) => killing.await.context("the killing panicked")??,
        None => Kills::new(),
    };
    figures.await.context("the live figures panicked")?;
    fresh.await.context("the watch over the catalogue panicked")?;
    let watched = watching.await.context("the watch panicked")?;
    let settling = Instant::now();
    let mut telling = Telling::new(globals, "until all is at rest");
    evidence::settle(&load).await;
    at_rest.cancel();
    holds.await.context("the watch over the holds panicked")?;
    let took = Took { carts, settling: settling.elapsed() };
    let evidence = evidence(&load, &told, fleet.is_some(), &mut telling).await?;
    drop(telling);
    let books = books::check(&load, &told, evidence, &watched);
    let report = Report::new(args.seed, &load, &told, took, kills, books);
    match globals.json {
        true => table::print_json(&report)?,
        false => report.print(),
    }
    Ok(if report.books.balanced() { Exit::Done } else { Exit::No })
}

/// Gives back what a flash sale has not sold, and reads the books.
async fn evidence(
    load: &Load,
    told: &[Told],
    follows: bool,
    telling: &mut Telling,
) -> anyhow::Result<Evidence> {
    let mut end = None;
    if let Some(sale) = &load.sale {
        let customers = told.iter().filter(|told| told.arrival.flash).map(|told| told.arrival.customer());
        end = Some(sale.close(load, customers.collect()).await.context("the flash sale cannot be closed")?);
    }
    let evidence = evidence::read(load, follows, telling).await.context("the books cannot be read")?;
    Ok(Evidence { sale: end, ..evidence })
}
