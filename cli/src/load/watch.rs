//! What is looked at while the load runs and after it: live figures, the shop's own laws, and whether all is at rest.

use super::{books::Watched, drive::Load};
use crate::{
    books::{self, Ledgers},
    globals::Globals,
    progress,
    shop::{Shop, ShopUrls},
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

/// What has not ended.
const UNDER_WAY: &str = "running,compensating";

/// Audits the shop's databases every so often until told to stop. One that is down just then is asked the next time.
pub(super) async fn laws(urls: ShopUrls, stop: CancellationToken) -> Watched {
    let mut watched = Watched::default();
    let Ok(shop) = Shop::new(urls) else { return watched };
    loop {
        tokio::select! {
            () = stop.cancelled() => return watched,
            () = tokio::time::sleep(LAWS_EVERY) => {}
        }
        let Ok(audits) = shop.audits().await else { continue };
        for audit in audits {
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

/// Waits until no saga is under way, or until it is too late for one to be, and reads everything.
///
/// # Errors
/// When coordinator or shop cannot be read.
pub(super) async fn settle(load: &Load, bar: &ProgressBar) -> anyhow::Result<Ledgers> {
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
    books::read(&site.coordinator, &site.urls).await.context("the books cannot be read")
}
