//! Looking for sagas that are late and can only go on: past their pivot, a deadline turns nobody round.
//!
//! Somebody is told instead. Each such saga is logged once by each coordinator, and their number is shown, from which
//! an alert follows. No item is opened: the saga moves, and where it does not its stuck step has an item already. Only
//! definitions with a deadline and a pivot can have such sagas, and of those only sagas that are older than the
//! deadline are read, so the look costs what it finds. An open saga's time is that of its decision, which once made is
//! never late.

use super::{Monitor, before};
use crate::clock::now;
use amends_saga::{Definition, Saga, SagaId, Status, StepPhase, Timestamp};
use amends_store::{Error, Filter, Stored};
use amends_wire::Name;
use std::{collections::BTreeSet, time::Duration};

/// Sagas read at a time, with their journals.
const PAGE: usize = 64;

/// Sagas read in one pass, at most: the oldest. What is beyond is told of when those have ended.
const PASS_MAX: usize = 2048;

/// The rest after each page.
const REST: Duration = Duration::from_millis(50);

/// Looks, for ever.
pub(super) async fn run(monitor: Monitor) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(monitor.config.stuck_every).await;
        match pass(&monitor).await {
            Ok(found) => told = tell(&monitor, found, &told),
            Err(error) => tracing::debug!(%error, "sagas past their deadline could not be looked for"),
        }
    }
}

/// A saga that is late.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Late {
    saga: SagaId,
    definition: Name,
    by: Duration,
    /// The steps that it stands at.
    at: Vec<String>,
}

/// Shows and logs what was found, each saga once; returns what has been told of and is still late.
fn tell(monitor: &Monitor, found: Vec<Late>, told: &BTreeSet<SagaId>) -> BTreeSet<SagaId> {
    monitor.app.metrics.overdue(found.len());
    for Late { saga, definition, by, at } in untold(&found, told) {
        tracing::warn!(
            saga.id = %saga, %definition, late_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX), steps = ?at,
            "the deadline of a saga has passed, and past its pivot it only goes forward"
        );
    }
    found.into_iter().map(|late| late.saga).collect()
}

/// Those that nobody has been told of yet.
fn untold<'a>(found: &'a [Late], told: &'a BTreeSet<SagaId>) -> impl Iterator<Item = &'a Late> {
    found.iter().filter(|late| !told.contains(&late.saga))
}

async fn pass(monitor: &Monitor) -> Result<Vec<Late>, Error> {
    let mut found = Vec::new();
    let mut left = PASS_MAX;
    for filter in filters(monitor).await? {
        let mut after = None;
        while left > 0 {
            let size = PAGE.min(left);
            let page = monitor.app.store.list(&filter, after, size).await?;
            left -= page.len();
            after = page.last().map(|stored| stored.id);
            found.extend(page.iter().filter_map(|stored| judged(monitor, stored)));
            if page.len() < size {
                break;
            }
            tokio::time::sleep(REST).await;
        }
    }
    Ok(found)
}

/// Which sagas may be late: those of each definition that has live ones and allows it.
async fn filters(monitor: &Monitor) -> Result<Vec<Filter>, Error> {
    let registered = monitor.app.registry.definition_rows();
    let mut filters = Vec::new();
    for (name, version, _) in monitor.app.store.versions().await? {
        let row = registered.iter().find(|row| row.name == name && row.version == version);
        let definition = row.map(|row| monitor.app.registry.definition_by_hash(&row.hash));
        let created_before = match definition {
            // Given with the start of a saga: of those there may be several of one name.
            None => None,
            Some(definition) => match definition.as_deref().and_then(allowed) {
                None => continue,
                Some(deadline) => Some(before(now(), deadline)),
            },
        };
        let (definition, version) = (Some(name), Some(version));
        let statuses = vec![Status::Running, Status::Repair];
        filters.push(Filter { statuses, definition, version, created_before, ..Filter::default() });
    }
    Ok(filters)
}

/// How old a saga of a definition is when it can be late; `None` when it never can.
fn allowed(definition: &Definition) -> Option<Duration> {
    definition.pivot()?;
    definition.deadline.map(Duration::from)
}

fn judged(monitor: &Monitor, stored: &Stored) -> Option<Late> {
    let definition = monitor.app.registry.definition_by_hash(&stored.head.hash)?;
    late(&Saga::replay(stored.id, definition, &stored.records), now())
}

/// How late a saga is that only goes forward; `None` for any other.
fn late(saga: &Saga, now: Timestamp) -> Option<Late> {
    let only_goes_on = !saga.is_terminal() && !saga.definition.is_open() && saga.is_past_pivot();
    let deadline = saga.deadline_at.filter(|deadline| only_goes_on && *deadline <= now)?;
    let stands = |phase| {
        matches!(
            phase,
            StepPhase::Running | StepPhase::Waiting { .. } | StepPhase::Parked | StepPhase::Unknown
        )
    };
    let at = saga.steps().filter(|(_, state)| stands(state.phase));
    Some(Late {
        saga: saga.id,
        definition: saga.definition.name.clone(),
        by: Duration::from(now.since(deadline)),
        at: at.take(8).map(|(ix, _)| saga.step_name(ix).to_string()).collect(),
    })
}

#[cfg(test)]
mod tests;
