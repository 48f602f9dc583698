//! Saying aloud that an item has grown old: first a warning, then a call.
//!
//! The store raises the level of each item once, with the event for the hooks in the same transaction; so however many
//! coordinators look, each item is told of once at each level.

use super::{Monitor, before};
use crate::clock::now;
use amends_saga::Timestamp;
use amends_store::{Error, repairs::Item};
use std::time::Duration;

/// Items raised at a time.
const PAGE: usize = 200;

/// Pages in one pass, at most; the next pass goes on.
const PAGES: usize = 50;

/// The level that calls somebody, and the one that warns. Whatever is old enough for both is told of once.
const PAGED: u8 = 2;
const WARNED: u8 = 1;

/// Looks for what has grown old, for ever.
pub(super) async fn run(monitor: Monitor) {
    loop {
        for (level, after) in [(PAGED, monitor.config.page_after), (WARNED, monitor.config.warn_after)] {
            if let Err(error) = raise(&monitor, level, after).await {
                tracing::warn!(%error, "items that have grown old could not be looked for");
            }
        }
        tokio::time::sleep(monitor.config.escalate_every).await;
    }
}

async fn raise(monitor: &Monitor, level: u8, after: Duration) -> Result<(), Error> {
    for _ in 0..PAGES {
        let at = now();
        let items = monitor.app.store.escalate(level, before(at, after), PAGE).await?;
        for item in &items {
            tell(monitor, item, level, at);
        }
        if !items.is_empty() {
            monitor.outbox.notify_one();
        }
        if items.len() < PAGE {
            break;
        }
    }
    Ok(())
}

fn tell(monitor: &Monitor, item: &Item, level: u8, at: Timestamp) {
    let (participant, step) = (&item.participant, item.step.as_deref().unwrap_or_default());
    let age_s = at.since(item.first_opened_at).0 / 1000;
    let (id, assignee, saga) = (item.item, item.assignee.as_deref(), item.saga.map(tracing::field::display));
    if level == PAGED {
        monitor.app.metrics.escalated("page");
        tracing::error!(item = %id, saga.id = saga, step.name = step, participant, assignee, age_s,
            "a repair item is old; somebody has to settle it now");
    } else {
        monitor.app.metrics.escalated("warn");
        tracing::warn!(item = %id, saga.id = saga, step.name = step, participant, assignee, age_s,
            "a repair item grows old");
    }
}
