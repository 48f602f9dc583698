//! Looking for sagas that nobody moves.
//!
//! Every live saga has a next move: a call that is due, a timer, a signal's time-out. One whose next move is long overdue
//! and whose participant's gate stands open is stuck, which by design never happens: its coordinator stands still, its
//! definition is lost, or there is a fault of ours. It is counted and logged, once each; no item is opened, since there is
//! no verb that would help. Sagas that wait for an operator are shelved, and stand in the repair queue instead.

use super::{Monitor, before, millis};
use crate::clock::now;
use amends_saga::{Saga, SagaId, Status, Timestamp, due};
use amends_store::{Error, Filter};
use std::{collections::BTreeSet, time::Duration};

/// Sagas read at a time, with their journals.
const PAGE: usize = 64;

/// Sagas looked at in one pass, at most; the next pass goes on.
const PASS_MAX: usize = 2048;

/// The rest after each page.
const REST: Duration = Duration::from_millis(50);

/// Sagas remembered as told of, at most.
const TOLD_MAX: usize = 1000;

/// One walk through all that are live, over as many passes as it takes.
#[derive(Default)]
struct Walk {
    /// The last saga looked at; `None` at the beginning.
    after: Option<SagaId>,
    /// Found so far in this walk.
    found: usize,
    /// Found in the walk before.
    before: usize,
    told: BTreeSet<SagaId>,
}

/// Looks, for ever.
pub(super) async fn run(monitor: Monitor) {
    let mut walk = Walk::default();
    loop {
        tokio::time::sleep(monitor.config.stuck_every).await;
        if let Err(error) = pass(&monitor, &mut walk).await {
            tracing::debug!(%error, "sagas without progress could not be looked for");
        }
        monitor.app.metrics.stuck(walk.found.max(walk.before));
    }
}

async fn pass(monitor: &Monitor, walk: &mut Walk) -> Result<(), Error> {
    let after = monitor.config.stuck_after;
    let filter = Filter {
        statuses: vec![Status::Running, Status::Compensating],
        created_before: Some(before(now(), after)),
        ..Filter::default()
    };
    for _ in 0..PASS_MAX / PAGE {
        let page = monitor.app.store.list(&filter, walk.after, PAGE).await?;
        walk.after = page.last().map(|stored| stored.id);
        let is_last = page.len() < PAGE;
        for stored in page {
            let Some(definition) = monitor.app.registry.definition_by_hash(&stored.head.hash) else {
                walk.tell(stored.id, "its definition is missing");
                continue;
            };
            let saga = Saga::replay(stored.id, definition, &stored.records);
            let is_open = |name: &_| monitor.app.registry.gates().is_closed(name);
            if let Some(why) = overdue(&saga, now(), after, is_open) {
                walk.tell(stored.id, why);
            }
        }
        if is_last {
            (walk.after, walk.before, walk.found) = (None, walk.found, 0);
            break;
        }
        tokio::time::sleep(REST).await;
    }
    Ok(())
}

impl Walk {
    fn tell(&mut self, saga: SagaId, why: &str) {
        self.found += 1;
        if self.told.len() < TOLD_MAX && self.told.insert(saga) {
            tracing::error!(saga.id = %saga, why, "a saga makes no progress");
        }
    }
}

/// Why a saga counts as stuck; `None` while it moves, or waits for something that has its time.
///
/// `is_open` says whether calls to a participant go: what waits at its gate is held back on purpose.
fn overdue(
    saga: &Saga,
    now: Timestamp,
    after: Duration,
    is_open: impl Fn(&amends_saga::Name) -> bool,
) -> Option<&'static str> {
    let after = millis(after);
    if saga.is_terminal() || saga.is_shelved() || saga.updated_at.after(after) > now {
        return None;
    }
    let due = due(saga);
    if due.wake_at.is_some_and(|at| at.after(after) <= now) {
        return Some("a timer of it is long overdue");
    }
    if due.calls.is_empty() && due.wake_at.is_none() && due.parked.is_empty() {
        return Some("it waits for nothing");
    }
    let is_late = |call: &amends_saga::Call| {
        let answered_by = call.at.after(call.operation.timeout).after(after);
        answered_by <= now && is_open(&call.operation.participant)
    };
    due.calls.iter().any(is_late).then_some("a call of it is long overdue")
}

#[cfg(test)]
mod tests;
