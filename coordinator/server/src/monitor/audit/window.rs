//! One window of a participant's audit: what it says has happened within it, and what the sagas say of that.

use super::site::{self, SiteError};
use crate::{clock::now, monitor::Monitor};
use amends_saga::{Saga, SagaId, Status, Timestamp};
use amends_store::{Error, Filter, Stored};
use amends_wire::{
    api::{JournalItem, ParticipantView, SagaView},
    audit::{Audited, Finding, Page, Query, ReadError, SagaRecord, Sagas, Terms, compare, read_all},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Effects in a window: as soon as there are so many and it is long enough to show anything, it ends.
const EFFECTS: usize = 2_000;

/// Effects in a window, however short it is.
const EFFECTS_MAX: usize = 20_000;

/// How many settling times a window is long, where its effects allow.
const SETTLES: i64 = 5;

/// Completed sagas looked up in a window, at most; those beyond are not asked for their effects.
const SAGAS_MAX: usize = 20_000;

/// Sagas read at a time.
const PAGE: usize = 64;

/// How much longer the rest after a page is than the reading of it.
const RESTS: u32 = 3;

/// What a participant says of a window.
pub(super) struct Window<'a> {
    participant: &'a ParticipantView,
    audited: Audited,
    /// When reading began, in unix milliseconds.
    begun: i64,
    /// Where it ends, when that is not the present.
    cut_at: Option<i64>,
}

/// What has been read of a window.
#[derive(Default)]
struct Progress {
    effects: usize,
    cut_at: Option<i64>,
}

impl<'a> Window<'a> {
    /// Reads what a participant says from a moment on.
    pub(super) async fn read(
        monitor: &Monitor,
        participant: &'a ParticipantView,
        since: i64,
    ) -> Result<Result<Window<'a>, SiteError>, Error> {
        let begun = now().0;
        let settle_ms = settle_ms(monitor);
        let progress = Mutex::new(Progress::default());
        let fetch = |query: Query| {
            let progress = &progress;
            async move {
                let mut page = site::page(monitor, &participant.name, &query).await?;
                let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.take(&mut page, since.saturating_add(SETTLES * settle_ms));
                Ok(page)
            }
        };
        let read = read_all(Query::since(since), usize::MAX, fetch).await;
        let audited = match read {
            Ok(audited) => audited,
            Err(ReadError::Fetch(error)) => return Ok(Err(error)),
            Err(error @ (ReadError::Endless(_) | ReadError::TooMuch(_))) => {
                return Ok(Err(SiteError::Senseless(error.to_string())));
            }
        };
        let cut_at = progress.into_inner().unwrap_or_else(PoisonError::into_inner).cut_at;
        Ok(Ok(Window { participant, audited, begun, cut_at }))
    }

    /// Where it ends, in unix milliseconds.
    pub(super) fn until(&self) -> i64 {
        self.cut_at.unwrap_or(self.begun)
    }

    /// Whether it goes up to the present.
    pub(super) fn is_last(&self) -> bool {
        self.cut_at.is_none()
    }

    /// Looks the sagas up and says what does not agree.
    pub(super) async fn judge(&self, monitor: &Monitor) -> Result<Vec<Finding>, Error> {
        let settle_ms = settle_ms(monitor);
        let completed = self.completed(monitor, settle_ms).await?;
        let mut sagas = completed.clone();
        let mut wanted: Vec<SagaId> = self.audited.effects.iter().map(|effect| effect.saga).collect();
        wanted.dedup();
        wanted.retain(|id| !sagas.has(*id));
        for ids in wanted.chunks(PAGE) {
            let begun = Instant::now();
            for id in ids {
                match monitor.app.store.load(*id).await? {
                    Some(stored) => record(monitor, &stored).into_iter().for_each(|saga| sagas.add(saga)),
                    None => sagas.add_unknown(*id),
                }
            }
            tokio::time::sleep(begun.elapsed() * RESTS).await;
        }
        let is_traceless = |terms: &Value| terms.get("barrier").and_then(Value::as_bool) == Some(false);
        let traceless = self.participant.operations.iter().filter(|(_, terms)| is_traceless(terms));
        let traceless: BTreeSet<String> = traceless.map(|(name, _)| name.to_string()).collect();
        let terms = Terms { now: self.begun, settle_ms, traceless };
        let name = self.participant.name.as_str();
        // Of an effect it can always be said what it is; that one is missing, only of sagas that are within as a whole.
        let present = Audited { since: self.begun, ..self.audited.clone() };
        let mut findings = compare(name, &present, &sagas, &terms).findings;
        let whole = Audited { findings: Vec::new(), doubled: Vec::new(), ..self.audited.clone() };
        findings.extend(compare(name, &whole, &completed, &terms).findings);
        Ok(findings)
    }

    /// The sagas that have completed within the window and left nothing beyond it.
    async fn completed(&self, monitor: &Monitor, settle_ms: i64) -> Result<Sagas, Error> {
        let until = self.until().saturating_sub(settle_ms);
        let filter = Filter {
            statuses: vec![Status::Completed],
            created_after: Some(Timestamp(self.audited.since)),
            created_before: Some(Timestamp(until)),
            ..Filter::default()
        };
        let (mut sagas, mut after) = (Sagas::default(), None);
        while sagas.len() < SAGAS_MAX {
            let begun = Instant::now();
            let page = monitor.app.store.list(&filter, after, PAGE).await?;
            after = page.last().map(|stored| stored.id);
            let within = page.iter().filter(|stored| stored.head.updated_at.0 <= until);
            within.filter_map(|stored| record(monitor, stored)).for_each(|saga| sagas.add(saga));
            if page.len() < PAGE {
                break;
            }
            tokio::time::sleep(begun.elapsed() * RESTS).await;
        }
        Ok(sagas)
    }
}

impl Progress {
    /// Counts a page, and makes it the last when the window is long enough.
    fn take(&mut self, page: &mut Page, long_enough: i64) {
        self.effects += page.effects.len();
        let Some(last) = page.effects.last().map(|effect| effect.at) else { return };
        let is_enough = self.effects >= EFFECTS && last >= long_enough;
        if page.next.is_some() && (is_enough || self.effects >= EFFECTS_MAX) {
            page.next = None;
            self.cut_at = Some(last);
        }
    }
}

fn settle_ms(monitor: &Monitor) -> i64 {
    i64::try_from(monitor.config.audit_settle.as_millis()).unwrap_or(i64::MAX)
}

/// A saga as the comparison reads it; `None` when its definition is not known here.
fn record(monitor: &Monitor, stored: &Stored) -> Option<SagaRecord> {
    let definition = monitor.app.registry.definition_by_hash(&stored.head.hash)?;
    let saga = Saga::replay(stored.id, definition, &stored.records);
    Some(SagaRecord::read(&SagaView::of(&saga), &JournalItem::all(&stored.records)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::audit::{Effect, EffectState};

    fn page(effects: usize, at: i64) -> Page {
        let effect = Effect {
            saga: SagaId::nil(),
            step: "hold".to_owned(),
            op_state: EffectState::Applied,
            at,
            effect: None,
            expires_at: None,
        };
        Page { effects: vec![effect; effects], findings: Vec::new(), next: Some("on".to_owned()) }
    }

    /// Takes pages of 500 effects, `step_ms` apart; after how many the window ends.
    fn pages_taken(step_ms: i64) -> usize {
        let mut progress = Progress::default();
        (1..)
            .find(|n| {
                let mut page = page(500, *n as i64 * step_ms);
                progress.take(&mut page, 300_000);
                page.next.is_none()
            })
            .expect("a window ends")
    }

    #[test]
    fn a_window_is_as_long_as_it_must_be_and_no_larger_than_it_may() {
        for (step_ms, pages) in [(1_000_000, EFFECTS / 500), (30_000, 10), (1, EFFECTS_MAX / 500)] {
            assert_eq!(pages_taken(step_ms), pages, "{step_ms}");
        }
    }
}
