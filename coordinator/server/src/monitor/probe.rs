//! Asking participants about stuck steps, and settling what turns out to be undone.
//!
//! An answer may have been lost, a person may have undone something at the participant itself, or a deployment may have
//! healed it: the participant knows, so it is asked, slowly. Each participant has a walk of its own through its items,
//! which goes on where the pass before ended; so every item has its turn, however many there are and wherever they stand.
//! A participant whose breaker is not closed is left alone.

use super::{Monitor, turn::Turn};
use crate::{api::find_saga, bulk::pace::Pace, clock::now};
use amends_saga::{
    Answer, Call, CallKey, Name, Question, Timestamp,
    hash::Mix,
    repair::{RepairStatus, Verb},
};
use amends_store::{
    Error,
    repairs::{Item, ItemFilter, Place},
};
use amends_wire::problem::Slug;
use futures::{StreamExt, stream, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Participants asked at a time.
const PARTICIPANTS_AT_ONCE: usize = 16;

/// Questions to one participant on their way at a time.
const QUESTIONS_AT_ONCE: usize = 8;

/// Items read at a time.
const PAGE: usize = 128;

/// Pages read of one participant in one pass, at most.
const PAGES: usize = 64;

/// Unknown answers in a row after which a participant is left alone until the next pass.
const UNKNOWNS_MAX: u32 = 3;

/// Why an item was settled.
const PROVEN: &str = "asked for the status of the compensation, the participant says that it is undone";

/// Where each participant's walk goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Walks(BTreeMap<String, (Timestamp, Uuid)>);

/// Asks, for ever.
pub(super) async fn run(monitor: Monitor) {
    loop {
        tokio::time::sleep(jittered(monitor.config.probe_every)).await;
        if let Err(error) = pass(&monitor).await {
            tracing::warn!(%error, "stuck steps could not be asked about");
        }
    }
}

/// A span within a tenth of `every`, so that coordinators that started together do not go on together.
fn jittered(every: Duration) -> Duration {
    let seed = Mix::new(now().0.unsigned_abs()).add(u64::from(std::process::id())).finish();
    every.mul_f64(0.9 + 0.2 * (seed % 1024) as f64 / 1024.0)
}

async fn pass(monitor: &Monitor) -> Result<(), Error> {
    let Some(mut turn) = Turn::take(monitor, "probe", monitor.config.probe_every).await? else {
        return Ok(());
    };
    let Walks(mut walks) = turn.progress();
    let piles = monitor.app.store.piles(now(), &[]).await?;
    let waiting = piles.iter().filter(|pile| !pile.is_anomaly && pile.counts[0] + pile.counts[1] > 0);
    let mut names: Vec<Name> = waiting.filter_map(|pile| Name::parse(&pile.participant).ok()).collect();
    names.sort_unstable();
    names.dedup();
    walks.retain(|name, _| names.iter().any(|known| known.as_str() == name));
    let until = Instant::now() + monitor.config.probe_every;
    let place = |name: &Name| walks.get(name.as_str()).map(|&(opened_at, item)| Place { opened_at, item });
    let from: Vec<(Name, Option<Place>)> =
        names.into_iter().map(|name| (name.clone(), place(&name))).collect();
    let walking = from.into_iter().map(|(name, from)| async move {
        let reached = walk(monitor, &name, from, until).await;
        (name, reached)
    });
    let mut walking = stream::iter(walking).buffer_unordered(PARTICIPANTS_AT_ONCE);
    while let Some((name, reached)) = walking.next().await {
        match reached {
            Ok(Some(place)) => drop(walks.insert(name.to_string(), (place.opened_at, place.item))),
            Ok(None) => drop(walks.remove(name.as_str())),
            Err(error) => tracing::warn!(%error, participant = %name, "stuck steps could not be asked about"),
        }
    }
    drop(walking);
    turn.keep(monitor, &Walks(walks)).await.map(drop)
}

/// Asks about one participant's items from a place on; where to go on next time, `None` at the end of them.
async fn walk(
    monitor: &Monitor,
    name: &Name,
    from: Option<Place>,
    until: Instant,
) -> Result<Option<Place>, Error> {
    let filter = ItemFilter {
        statuses: vec![RepairStatus::Open, RepairStatus::Assigned],
        anomalies: Some(false),
        participant: Some(name.to_string()),
        ..ItemFilter::default()
    };
    let mut asking = Asking::new(monitor, name, until);
    let mut place = from;
    for _ in 0..PAGES {
        let rows = monitor.app.store.items(&filter, place, PAGE).await?;
        let is_last = rows.len() < PAGE;
        for row in rows {
            if !asking.may_go_on() {
                asking.finish().await;
                return Ok(place);
            }
            place = Some(Place { opened_at: row.opened_at, item: row.item });
            asking.about(row).await;
        }
        if is_last {
            asking.finish().await;
            return Ok(None);
        }
    }
    asking.finish().await;
    Ok(place)
}

/// The questions to one participant in one pass.
struct Asking<'a> {
    monitor: &'a Monitor,
    name: &'a Name,
    until: Instant,
    pace: Pace,
    left: u32,
    unknowns: u32,
    under_way: FuturesUnordered<futures::future::BoxFuture<'a, bool>>,
}

impl<'a> Asking<'a> {
    fn new(monitor: &'a Monitor, name: &'a Name, until: Instant) -> Asking<'a> {
        let per_second = monitor.config.probes_per_second;
        let left = f64::from(per_second) * monitor.config.probe_every.as_secs_f64();
        let (pace, under_way) = (Pace::new(per_second), FuturesUnordered::new());
        Asking { monitor, name, until, pace, left: left.ceil() as u32, unknowns: 0, under_way }
    }

    fn may_go_on(&self) -> bool {
        let is_called = self.monitor.app.registry.gates().is_closed(self.name);
        is_called && self.left > 0 && self.unknowns < UNKNOWNS_MAX && Instant::now() < self.until
    }

    async fn about(&mut self, row: Item) {
        if !offers_status(self.monitor, self.name, &row) {
            return;
        }
        self.left -= 1;
        self.pace.turn().await;
        while self.under_way.len() >= QUESTIONS_AT_ONCE {
            self.next().await;
        }
        let monitor = self.monitor;
        self.under_way.push(Box::pin(async move { ask(monitor, &row).await }));
    }

    async fn next(&mut self) {
        match self.under_way.next().await {
            Some(true) => self.unknowns = 0,
            Some(false) => self.unknowns += 1,
            None => {}
        }
    }

    async fn finish(mut self) {
        while !self.under_way.is_empty() {
            self.next().await;
        }
    }
}

fn offers_status(monitor: &Monitor, name: &Name, row: &Item) -> bool {
    let operation = row.operation.as_deref().and_then(|operation| Name::parse(operation).ok());
    operation.is_some_and(|operation| monitor.app.registry.offers_status(name, &operation))
}

/// Asks about one item; `false` when no definite answer came.
async fn ask(monitor: &Monitor, row: &Item) -> bool {
    let Some((saga, epoch, call)) = question(monitor, row).await else { return true };
    let answer = monitor.dispatcher.ask(saga, epoch, call).await;
    monitor.app.metrics.probed(match &answer {
        Answer::Done(_) => "done",
        Answer::Pending { .. } => "pending",
        Answer::Refused(_) => "refused",
        Answer::Contract(_) => "contract",
        Answer::NotSeen => "not_seen",
        Answer::Unknown { .. } => "unknown",
    });
    match answer {
        Answer::Done(output) => prove(monitor, row, output).await,
        Answer::Unknown { .. } => return false,
        Answer::Pending { .. } | Answer::Refused(_) | Answer::Contract(_) | Answer::NotSeen => {}
    }
    true
}

/// The question about an item's call; `None` when there is nothing to ask, as when it was settled meanwhile.
async fn question(monitor: &Monitor, row: &Item) -> Option<(Uuid, u64, Call)> {
    let saga = find_saga(&monitor.app, row.saga?).await.ok()?;
    let (ix, op, repair) = saga.find_item(row.item)?;
    if !matches!(repair.status, RepairStatus::Open | RepairStatus::Assigned) {
        return None;
    }
    let state = saga.step(ix).call(op);
    let (attempt, question) = (state.attempts.max(1), Question::Status);
    let call = Call {
        key: CallKey { step: ix, op, attempt, poll: 0, question },
        step: saga.step_name(ix),
        operation: saga.spec(ix).operation(op)?.clone(),
        body: state.input.clone()?,
        round: state.round,
        at: now(),
    };
    Some((saga.id, saga.epoch, call))
}

async fn prove(monitor: &Monitor, row: &Item, output: amends_saga::Json) {
    match monitor.give(row, Verb::Prove { output }, PROVEN).await {
        Ok(()) => {
            let (participant, step) = (&row.participant, row.step.as_deref());
            tracing::info!(item = %row.item, participant, step.name = step, "a stuck step turns out to be undone");
        }
        Err(problem) if problem.slug == Slug::RepairSettled => {}
        Err(problem) => {
            tracing::warn!(item = %row.item, %problem, "a step that is undone could not be settled")
        }
    }
}
