//! Trying again what an outage has left in the queue, once the participant is back.
//!
//! Only items whose budget was spent are tried again: a refusal, or a call that is wrong, repeats itself. What somebody
//! looks after is theirs. Each chain of items is tried again a few times, however often the participant comes and goes, and
//! the verbs are paced, so that a participant that has just recovered is not met with all of them at once; the calls
//! themselves go through its gate.
//!
//! A participant to which nobody calls any more proves nothing: its breaker stays half-open. Then one item is tried in
//! place of a probe, now and then, and what becomes of it opens the gate for the others.

use super::Monitor;
use crate::{api::find_saga, bulk::pace::Pace, clock::now};
use amends_saga::{
    Name, ParkReason, Timestamp,
    gate::{BreakerState, GateView},
    repair::{RepairStatus, Verb},
};
use amends_store::{
    Error,
    repairs::{Item, ItemFilter, Place},
};
use amends_wire::problem::Slug;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Participants whose items are tried again at a time; others wait for their turn.
const PARTICIPANTS_AT_ONCE: usize = 16;

/// Verbs on their way at a time for one participant.
const VERBS_AT_ONCE: usize = 8;

/// Items read at a time.
const PAGE: usize = 64;

/// Between two items tried in place of a probe, at first and at most.
const CANARY_FIRST: Duration = Duration::from_secs(60);
const CANARY_MAX: Duration = Duration::from_secs(15 * 60);

/// Why an item was tried again.
const RECOVERED: &str = "its participant answers again";
const CANARY: &str = "to see whether its participant answers again";

/// The recoveries that are dealt with, or being dealt with.
type Seen = Arc<Mutex<BTreeMap<Name, Timestamp>>>;

/// Looks for recoveries, for ever.
pub(super) async fn run(monitor: Monitor) {
    let seen = Seen::default();
    let mut canaries: BTreeMap<Name, (Instant, Duration)> = BTreeMap::new();
    let mut working = JoinSet::new();
    loop {
        while working.try_join_next().is_some() {}
        for view in monitor.app.registry.gates().all().values() {
            match view.breaker {
                BreakerState::Closed => {
                    canaries.remove(&view.participant);
                    if working.len() < PARTICIPANTS_AT_ONCE
                        && let Some(since) = recovered(view, &seen)
                    {
                        let (monitor, seen, name) = (monitor.clone(), seen.clone(), view.participant.clone());
                        working.spawn(async move { all_of(&monitor, &name, since, &seen).await });
                    }
                }
                BreakerState::HalfOpen => canary(&monitor, view, &mut canaries).await,
                BreakerState::Open => {}
            }
        }
        tokio::time::sleep(monitor.config.redrive_every).await;
    }
}

/// When a participant has recovered, where that has not been dealt with; it is from now on.
fn recovered(view: &GateView, seen: &Seen) -> Option<Timestamp> {
    let since = view.recovered_at?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    (seen.insert(view.participant.clone(), since) != Some(since)).then_some(since)
}

/// Tries everything of a participant again that was opened before it recovered.
async fn all_of(monitor: &Monitor, name: &Name, since: Timestamp, seen: &Seen) {
    match walk(monitor, name, since).await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(participant = %name, items = count, "items were tried again after a recovery")
        }
        Err(error) => {
            tracing::warn!(participant = %name, %error, "items could not be tried again after a recovery");
            // The next look deals with it again.
            seen.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }
}

async fn walk(monitor: &Monitor, name: &Name, since: Timestamp) -> Result<usize, Error> {
    let filter = spent(name, since);
    let (mut place, mut count) = (None, 0);
    let mut pace = Pace::new(monitor.config.redrives_per_second);
    loop {
        let rows = monitor.app.store.items(&filter, place, PAGE).await?;
        let is_last = rows.len() < PAGE;
        place = rows.last().map(|row| Place { opened_at: row.opened_at, item: row.item }).or(place);
        let mut under_way = FuturesUnordered::new();
        for row in rows {
            pace.turn().await;
            // Should it fall ill again, its next recovery goes on with the rest.
            if !monitor.app.registry.gates().is_closed(name) {
                break;
            }
            if under_way.len() >= VERBS_AT_ONCE {
                count += usize::from(under_way.next().await == Some(true));
            }
            under_way.push(async move { retry(monitor, &row, RECOVERED).await });
        }
        while let Some(done) = under_way.next().await {
            count += usize::from(done);
        }
        if is_last || !monitor.app.registry.gates().is_closed(name) {
            return Ok(count);
        }
    }
}

/// The items of a participant whose budget was spent before a moment and that nobody looks after.
fn spent(name: &Name, before: Timestamp) -> ItemFilter {
    ItemFilter {
        statuses: vec![RepairStatus::Open],
        anomalies: Some(false),
        participant: Some(name.to_string()),
        reason: Some(ParkReason::Exhausted),
        opened_before: Some(before),
        ..ItemFilter::default()
    }
}

/// Tries one item again; says whether it was.
async fn retry(monitor: &Monitor, row: &Item, why: &str) -> bool {
    if !may_be_tried(monitor, row).await {
        return false;
    }
    match monitor.give(row, Verb::Retry { input: None }, why).await {
        Ok(()) => {
            monitor.app.metrics.redriven(&row.participant);
            true
        }
        Err(problem) => {
            if !matches!(problem.slug, Slug::RepairSettled | Slug::RepairRetrying) {
                tracing::warn!(item = %row.item, %problem, "an item could not be tried again after a recovery");
            }
            false
        }
    }
}

/// Whether an item's chain has been tried again seldom enough. One that was parked a few times only needs no closer look.
async fn may_be_tried(monitor: &Monitor, row: &Item) -> bool {
    let max = monitor.config.redrives_max;
    if row.number <= max {
        return true;
    }
    let Some(saga) = row.saga else { return false };
    match find_saga(&monitor.app, saga).await {
        Ok(saga) => saga.find_item(row.item).is_some_and(|(_, _, repair)| repair.redrives < max),
        Err(_) => false,
    }
}

/// Tries one item of a participant that nobody calls, at most once in a while that doubles.
async fn canary(monitor: &Monitor, view: &GateView, canaries: &mut BTreeMap<Name, (Instant, Duration)>) {
    let at = Instant::now();
    let known = canaries.get(&view.participant).copied();
    if view.waiting > 0 || view.in_flight > 0 || known.is_some_and(|(next, _)| next > at) {
        return;
    }
    let wait = known.map_or(CANARY_FIRST, |(_, wait)| (wait * 2).min(CANARY_MAX));
    canaries.insert(view.participant.clone(), (at + wait, wait));
    match monitor.app.store.items(&spent(&view.participant, now()), None, PAGE).await {
        Ok(rows) => {
            for row in rows {
                if retry(monitor, &row, CANARY).await {
                    return;
                }
            }
        }
        Err(error) => {
            tracing::warn!(participant = %view.participant, %error, "no item could be tried as a probe")
        }
    }
}
