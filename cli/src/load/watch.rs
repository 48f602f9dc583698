//! What is looked at while the load runs: live figures, the shop's own laws, and how fresh the catalogue is.

use super::{books::Watched, drive::Load, site::Site};
use crate::{
    client::Client,
    globals::Globals,
    progress,
    shop::{Shop, ShopUrls},
};
use indicatif::ProgressBar;
use std::{io::IsTerminal, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two looks at the live figures, and between two lines of them where nobody looks at a terminal.
const FIGURES_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Between two audits, and how many times as long as one takes at least, so that audits of large books are no load.
const LAWS_EVERY: Duration = Duration::from_secs(10);
const LAWS_REST: u32 = 10;

/// Between two looks at how far the catalogue knows the inventory's changes, and at how long holds are past their time.
const FRESHNESS_EVERY: Duration = Duration::from_millis(250);
const OVERDUE_EVERY: Duration = Duration::from_millis(250);

/// The inventory's own figure of the longest.
const OVERDUE: &str = "amends_inventory_holds_overdue_seconds ";

/// The catalogue's own figures of it: how long ago it knew all, and how many changes it does not know.
const KNOWN: &str = "amends_product_feed_known_seconds ";
const BEHIND: &str = "amends_product_feed_lag_flows ";

/// Latencies that live figures are made of.
const RECENT: usize = 1_000;

/// Tells on stderr how something long goes: beside a bar on a terminal, otherwise as a line now and then.
#[derive(Debug)]
pub(super) struct Telling {
    bar: ProgressBar,
    is_seen: bool,
    begun: Instant,
    told: Instant,
}

impl Telling {
    pub(super) fn new(globals: &Globals, message: &str) -> Telling {
        Telling::beside(progress::busy(globals, message), globals)
    }

    fn beside(bar: ProgressBar, globals: &Globals) -> Telling {
        let is_seen = std::io::stderr().is_terminal() && !globals.json;
        let begun = Instant::now();
        Telling { bar, is_seen, begun, told: begun }
    }

    /// Tells how it goes now.
    pub(super) fn tell(&mut self, line: &str) {
        if !self.is_seen && self.told.elapsed() >= LINE_EVERY {
            eprintln!("{:>5} s  {line}", self.begun.elapsed().as_secs());
            self.told = Instant::now();
        }
        self.bar.set_message(line.to_owned());
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Audits the shop's databases every so often until told to stop. One that is down just then is asked the next time.
pub(super) async fn laws(site: Site, stop: CancellationToken) -> Watched {
    let mut watched = Watched::default();
    let Ok(shop) = Shop::new(site.urls.clone()) else { return watched };
    let mut pause = LAWS_EVERY;
    loop {
        tokio::select! {
            () = stop.cancelled() => return watched,
            () = tokio::time::sleep(pause) => {}
        }
        let begun = Instant::now();
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
        pause = LAWS_EVERY.max(begun.elapsed() * LAWS_REST);
    }
}

/// Notes every so often how long ago the catalogue last knew all of the inventory's changes, until told to stop.
pub(super) async fn freshness(load: Arc<Load>, stop: CancellationToken) {
    let Ok(product) = Client::new(load.site.urls.product.clone(), None) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FRESHNESS_EVERY) => {}
        }
        let Ok(metrics) = product.text("/metrics").await else { continue };
        if let Some(age) = known_before(&metrics) {
            load.tally.behind.add(age);
        }
    }
}

/// Notes every so often how long the hold that is longest past its time is past it, until told to stop.
pub(super) async fn overdue(load: Arc<Load>, stop: CancellationToken) {
    let Ok(inventory) = Client::new(load.site.urls.inventory.clone(), None) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(OVERDUE_EVERY) => {}
        }
        let Ok(metrics) = inventory.text("/metrics").await else { continue };
        let seconds = figure(&metrics, OVERDUE).map(Duration::try_from_secs_f64);
        if let Some(Ok(seconds)) = seconds {
            load.tally.overdue.add(seconds);
        }
    }
}

/// Waits until the catalogue knows all that has changed by now, or has had the time for it, so that a day begins with a
/// catalogue that shows what there is. One that follows nobody is not waited for.
pub(super) async fn caught_up(site: &Site, telling: &mut Telling) -> anyhow::Result<()> {
    let product = Client::new(site.urls.product.clone(), None)?;
    let begun = Instant::now();
    while begun.elapsed() < site.patience {
        let metrics = product.text("/metrics").await?;
        let Some(age) = known_before(&metrics) else { return Ok(()) };
        if age < begun.elapsed() {
            return Ok(());
        }
        let behind = figure(&metrics, BEHIND).unwrap_or_default();
        telling.tell(&format!("the catalogue has {behind} changes to learn of"));
        tokio::time::sleep(FRESHNESS_EVERY).await;
    }
    Ok(())
}

/// How long ago all changes were known, as the catalogue's metrics tell it; nothing where it follows nobody.
fn known_before(metrics: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(figure(metrics, KNOWN)?).ok()
}

fn figure(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Tells on stderr how it goes, until told to stop: as a bar on a terminal, otherwise as a line now and then.
pub(super) async fn figures(load: Arc<Load>, lasts: Duration, globals: Globals, stop: CancellationToken) {
    let mut telling = Telling::beside(progress::steps(&globals, lasts.as_secs()), &globals);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FIGURES_EVERY) => {}
        }
        telling.bar.set_position(telling.begun.elapsed().as_secs().min(lasts.as_secs()));
        telling.tell(&line(&load));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_the_catalogue_knows_is_read_off_its_metrics() {
        let metrics =
            "# TYPE amends_product_feed_known_seconds gauge\namends_product_feed_known_seconds 0.125\n";
        assert_eq!(known_before(metrics), Some(Duration::from_millis(125)));
        assert_eq!(known_before("amends_product_cache_total{outcome=\"hit\"} 7\n"), None);
    }
}
