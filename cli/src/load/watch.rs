//! What is looked at while the load runs and after it: live figures, the shop's own laws, and whether all is at rest.

use super::{
    books::{Evidence, Watched},
    drive::Load,
    site::Site,
};
use crate::{
    books::{self, Ledgers},
    globals::Globals,
    progress,
    shop::{Shop, ShopUrls, Shown},
};
use amends_wire::api::{List, SagaView};
use anyhow::Context;
use indicatif::ProgressBar;
use std::{io::IsTerminal, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks at the live figures, and between two lines of them where nobody looks at a terminal.
const FIGURES_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Between two audits.
const LAWS_EVERY: Duration = Duration::from_secs(10);

/// Latencies that live figures are made of.
const RECENT: usize = 1_000;

/// How long after the last hold's end sagas may take to end.
const SETTLING_MAX: Duration = Duration::from_secs(90);

/// How long the catalogue may take to learn of the last change.
const CATCHING_UP_MAX: Duration = Duration::from_secs(15);

/// What has not ended.
const UNDER_WAY: &str = "running,compensating";

/// Audits the shop's databases every so often until told to stop. One that is down just then is asked the next time.
pub(super) async fn laws(site: Site, stop: CancellationToken) -> Watched {
    let mut watched = Watched::default();
    let Ok(shop) = Shop::new(site.urls.clone()) else { return watched };
    loop {
        tokio::select! {
            () = stop.cancelled() => return watched,
            () = tokio::time::sleep(LAWS_EVERY) => {}
        }
        let ShopUrls { inventory, order, product } = &site.urls;
        for service in [inventory, order, product].into_iter().chain(&site.payments) {
            let Ok(audit) = shop.audit_of(service).await else { continue };
            for law in audit.invariants {
                watched.asked += 1;
                if !law.kept {
                    watched.broken.push(format!("{}: {:?}", law.name, law.violations));
                }
            }
        }
    }
}

/// Tells on stderr how it goes, until told to stop: as a bar on a terminal, otherwise as a line now and then.
pub(super) async fn figures(load: Arc<Load>, lasts: Duration, globals: Globals, stop: CancellationToken) {
    let is_seen = std::io::stderr().is_terminal() && !globals.json;
    let bar = progress::steps(&globals, lasts.as_secs());
    let begun = Instant::now();
    let mut told = begun;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(FIGURES_EVERY) => {}
        }
        let line = line(&load);
        bar.set_position(begun.elapsed().as_secs().min(lasts.as_secs()));
        if !is_seen && told.elapsed() >= LINE_EVERY {
            eprintln!("{:>5} s  {line}", begun.elapsed().as_secs());
            told = Instant::now();
        }
        bar.set_message(line);
    }
    bar.finish_and_clear();
}

fn line(load: &Load) -> String {
    let tally = &load.tally;
    let (arrived, accepted) = (tally.arrived.now(), tally.accepted.now());
    let (completed, undone) = (tally.completed.now(), tally.undone.now());
    let under_way = arrived.saturating_sub(completed + undone + tally.lost.now());
    let (accepting, paying) = (tally.accepting.recent(RECENT), tally.paying.recent(RECENT));
    format!(
        "{arrived} carts, {accepted} accepted (p99 {:.0} ms), {completed} paid (p99 {:.0} ms), {undone} not, {under_way} here",
        accepting.p99_ms, paying.p99_ms
    )
}

/// Waits until no saga is under way, or until it is too late for one to be, and reads everything. `follows` says that
/// the catalogue follows the inventory, and is waited for as well.
///
/// # Errors
/// When coordinator or shop cannot be read.
pub(super) async fn settle(load: &Load, follows: bool, bar: &ProgressBar) -> anyhow::Result<Evidence> {
    let site = &load.site;
    let until = Instant::now() + site.hold + SETTLING_MAX;
    loop {
        let query = [("status", UNDER_WAY.to_owned()), ("limit", "1".to_owned())];
        let open = site.coordinator.get::<List<SagaView>>("/v1/sagas", &query).await;
        let at_rest = open.is_ok_and(|open| open.items.is_empty());
        if at_rest || Instant::now() >= until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bar.set_message("the books are read");
    let mut ledgers = books::read(&site.coordinator, &site.urls).await.context("the books cannot be read")?;
    let shop = Shop::new(site.urls.clone())?;
    let mut payments = None;
    if let Some(base) = &site.payments {
        ledgers.audits.push(("payment", shop.audit_of(base).await?));
        payments = Some(shop.payments(base).await?);
    }
    let shown = match follows {
        true => Some(shown(&shop, &ledgers).await?),
        false => None,
    };
    Ok(Evidence { ledgers, payments, shown, own: follows })
}

/// What the catalogue shows, once it has caught up, or when it has had the time for it.
async fn shown(shop: &Shop, ledgers: &Ledgers) -> anyhow::Result<Vec<Shown>> {
    let until = Instant::now() + CATCHING_UP_MAX;
    loop {
        let shown = shop.shown().await?;
        if Instant::now() >= until || super::books::availability(&shown, ledgers).kept {
            return Ok(shown);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
