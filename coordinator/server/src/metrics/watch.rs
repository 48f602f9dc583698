//! What is counted of the repair queue, the participants' gates, the monitor and the hooks.
//!
//! Gauges show what a reading found; what an earlier one found and this one did not is set to 0, so that nothing
//! that is gone is shown. Labels are names of registered participants, steps and findings; the items of a fanned-out step
//! stand together under its name. The invariant: **no metric has more than [`SETS_MAX`] sets of labels**; what comes
//! after, such as the ever new names of branches, stands together under `other`.

use super::Metrics;
use amends_saga::{
    Name, RepairRow, Timestamp,
    gate::{BreakerState, GateView, Why},
};
use amends_store::repairs::Pile;
use amends_wire::audit::names;
use metrics::{Gauge, counter, gauge};
use std::collections::{BTreeMap, BTreeSet};

/// Sets of labels of one metric, at most.
pub(super) const SETS_MAX: usize = 1000;

/// What stands for whatever is beyond [`SETS_MAX`].
pub(super) const OTHER: &str = "other";

/// The ages by which unsettled items are told apart, in milliseconds: 15 min, 1 h, 24 h.
pub(crate) const AGES_MS: [u64; 3] = [900_000, 3_600_000, 86_400_000];

const AGES: [&str; 4] = ["15m", "1h", "24h", "older"];

/// What has been shown so far, so that it can be taken back.
#[derive(Default)]
pub(super) struct Shown {
    open: BTreeMap<(String, String), [Gauge; 4]>,
    anomalies: BTreeMap<&'static str, Gauge>,
    gates: BTreeMap<Name, (u64, [u64; 4])>,
    labelled: BTreeSet<(&'static str, [String; 2])>,
}

impl Shown {
    /// The labels themselves while there is room for them, else `other` for both.
    fn admit(&mut self, metric: &'static str, first: &str, second: &str) -> [String; 2] {
        let labels = [first.to_owned(), second.to_owned()];
        if self.labelled.contains(&(metric, labels.clone())) {
            return labels;
        }
        let taken = self.labelled.iter().filter(|(other, _)| *other == metric).count();
        if taken >= SETS_MAX {
            return [OTHER.to_owned(), OTHER.to_owned()];
        }
        self.labelled.insert((metric, labels.clone()));
        labels
    }
}

/// What became of one attempt to deliver to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Delivered,
    Failed,
    Dropped,
}

impl Metrics {
    /// Counts an item that has opened.
    pub(crate) fn repair_opened(&self, row: &RepairRow) {
        let reason = crate::trace::reason(row.reason);
        self.admitted("amends_repairs_opened_total", &row.participant, reason, |participant, reason| {
            counter!("amends_repairs_opened_total", "participant" => participant, "reason" => reason)
                .increment(1);
        });
    }

    /// Counts an item that is settled.
    pub(crate) fn repair_settled(&self, participant: &str, how: &str) {
        self.admitted("amends_repairs_settled_total", participant, how, |participant, how| {
            counter!("amends_repairs_settled_total", "participant" => participant, "how" => how).increment(1);
        });
    }

    /// Shows how many items are unsettled, by what a reading at `now` found.
    pub(crate) fn piles(&self, piles: &[Pile], now: Timestamp) {
        let mut open: BTreeMap<(String, String), [u64; 4]> = BTreeMap::new();
        let mut anomalies: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut shown = self.shown();
        for pile in piles {
            if pile.is_anomaly {
                *anomalies.entry(finding(&pile.step)).or_default() += pile.counts.iter().sum::<u64>();
                continue;
            }
            // Each set is shown in four ages.
            let key = (pile.participant.clone(), step(&pile.step).to_owned());
            let is_known = shown.open.contains_key(&key) || open.contains_key(&key);
            let fits = is_known || shown.open.len().max(open.len()) < SETS_MAX / AGES.len();
            let key = if fits { key } else { (OTHER.to_owned(), OTHER.to_owned()) };
            let ages = open.entry(key).or_default();
            ages.iter_mut().zip(&pile.ages).for_each(|(sum, count)| *sum += count);
        }
        let oldest = piles.iter().map(|pile| pile.oldest).min();
        metrics::with_local_recorder(&self.recorder, || {
            for key in open.keys().filter(|key| !shown.open.contains_key(*key)).cloned().collect::<Vec<_>>() {
                let gauges = AGES.map(|age| {
                    gauge!("amends_repairs_open", "participant" => key.0.clone(), "step" => key.1.clone(),
                        "age" => age)
                });
                shown.open.insert(key, gauges);
            }
            for name in
                anomalies.keys().filter(|name| !shown.anomalies.contains_key(*name)).collect::<Vec<_>>()
            {
                shown.anomalies.insert(name, gauge!("amends_anomalies_open", "name" => *name));
            }
            gauge!("amends_repairs_oldest_seconds")
                .set(oldest.map_or(0.0, |oldest| now.since(oldest).0 as f64 / 1000.0));
        });
        for (key, gauges) in &shown.open {
            let ages = open.get(key).copied().unwrap_or_default();
            gauges.iter().zip(ages).for_each(|(gauge, count)| gauge.set(count as f64));
        }
        for (name, gauge) in &shown.anomalies {
            gauge.set(anomalies.get(name).copied().unwrap_or_default() as f64);
        }
    }

    /// Shows how the gates stand.
    pub(crate) fn gates(&self, views: &[GateView]) {
        let mut shown = self.shown();
        metrics::with_local_recorder(&self.recorder, || {
            for view in views {
                let is_known = shown.gates.contains_key(&view.participant);
                // Each participant is shown with four reasons.
                if !is_known && shown.gates.len() >= SETS_MAX / 4 {
                    continue;
                }
                let before = shown
                    .gates
                    .insert(view.participant.clone(), (view.opened, view.deferred.map(|(_, n)| n)));
                gate(view, before.unwrap_or_default());
            }
        });
    }

    /// Counts items that have grown old.
    pub(crate) fn escalated(&self, level: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_repairs_escalated_total", "level" => level).increment(1);
        });
    }

    /// Counts a question about a stuck step.
    pub(crate) fn probed(&self, answer: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_monitor_probes_total", "answer" => answer).increment(1);
        });
    }

    /// Counts an item that the monitor has tried again.
    pub(crate) fn redriven(&self, participant: &str) {
        self.admitted("amends_monitor_redriven_total", participant, "", |participant, _| {
            counter!("amends_monitor_redriven_total", "participant" => participant).increment(1);
        });
    }

    /// Counts the audit of a participant.
    pub(crate) fn audited(&self, outcome: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_audit_runs_total", "outcome" => outcome).increment(1);
        });
    }

    /// Counts anomalies that were not known before.
    pub(crate) fn found(&self, name: &str) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_audit_findings_total", "name" => finding(name)).increment(1);
        });
    }

    /// Shows how many sagas make no progress.
    pub(crate) fn stuck(&self, sagas: usize) {
        metrics::with_local_recorder(&self.recorder, || gauge!("amends_sagas_stuck").set(sagas as f64));
    }

    /// Shows how many sagas are late that can only go on.
    pub(crate) fn overdue(&self, sagas: usize) {
        metrics::with_local_recorder(&self.recorder, || gauge!("amends_sagas_overdue").set(sagas as f64));
    }

    /// Shows how many events wait for their hooks.
    pub(crate) fn hooks_pending(&self, events: u64) {
        metrics::with_local_recorder(&self.recorder, || gauge!("amends_hooks_pending").set(events as f64));
    }

    /// Counts an attempt to deliver an event.
    pub(crate) fn hook(&self, outcome: Sent) {
        let outcome = match outcome {
            Sent::Delivered => "delivered",
            Sent::Failed => "failed",
            Sent::Dropped => "dropped",
        };
        metrics::with_local_recorder(&self.recorder, || {
            counter!("amends_hooks_total", "outcome" => outcome).increment(1);
        });
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn admitted(&self, metric: &'static str, first: &str, second: &str, count: impl FnOnce(String, String)) {
        let [first, second] = self.shown().admit(metric, first, second);
        metrics::with_local_recorder(&self.recorder, || count(first, second));
    }
}

/// A finding's name as a label: participants may have names of their own.
fn finding(name: &str) -> &'static str {
    names::ALL.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

/// A step's name as a label: that of an item is its step's, since there may be a thousand of them.
fn step(name: &str) -> &str {
    name.split_once('[').map_or(name, |(step, _)| step)
}

fn gate(view: &GateView, before: (u64, [u64; 4])) {
    let participant = view.participant.to_string();
    let state = match view.breaker {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    };
    gauge!("amends_breaker_state", "participant" => participant.clone()).set(state);
    gauge!("amends_participant_in_flight", "participant" => participant.clone()).set(view.in_flight as f64);
    gauge!("amends_participant_waiting", "participant" => participant.clone()).set(view.waiting as f64);
    counter!("amends_breaker_opened_total", "participant" => participant.clone())
        .increment(grown(view.opened, before.0));
    for ((why, count), before) in view.deferred.iter().zip(before.1) {
        let why = match why {
            Why::Limit => "limit",
            Why::Breaker => "breaker",
            Why::Budget => "budget",
            Why::Pace => "pace",
        };
        counter!("amends_calls_deferred_total", "participant" => participant.clone(), "why" => why)
            .increment(grown(*count, before));
    }
}

/// By how much a count has grown; one that has become smaller has begun again.
fn grown(count: u64, before: u64) -> u64 {
    count.checked_sub(before).unwrap_or(count)
}

pub(super) fn describe() {
    use metrics::{describe_counter, describe_gauge};
    describe_gauge!(
        "amends_repairs_open",
        "Unsettled repair items of stuck steps, by age since the first opening."
    );
    describe_gauge!(
        "amends_repairs_oldest_seconds",
        "The age of the oldest unsettled repair item; 0 without any."
    );
    describe_counter!("amends_repairs_opened_total", "Repair items opened for stuck steps, by reason.");
    describe_counter!("amends_repairs_settled_total", "Repair items of stuck steps settled, by how.");
    describe_counter!(
        "amends_repairs_escalated_total",
        "Items told of again because of their age, by level."
    );
    describe_gauge!("amends_anomalies_open", "Unsettled anomalies, by what was found.");
    describe_gauge!("amends_breaker_state", "A participant's breaker: 0 closed, 1 half-open, 2 open.");
    describe_counter!("amends_breaker_opened_total", "How often a participant's breaker has opened.");
    describe_gauge!("amends_participant_in_flight", "Calls to a participant sent and not yet answered.");
    describe_gauge!("amends_participant_waiting", "Calls that wait at a participant's gate.");
    describe_counter!("amends_calls_deferred_total", "Calls held back at a participant's gate, by why.");
    describe_gauge!("amends_sagas_stuck", "Live sagas whose next move is long overdue.");
    describe_gauge!("amends_sagas_overdue", "Sagas past their pivot whose deadline has passed.");
    describe_gauge!("amends_hooks_pending", "Events that wait to be delivered to hooks.");
    describe_counter!("amends_hooks_total", "Attempts to deliver events to hooks, by outcome.");
    describe_counter!("amends_monitor_probes_total", "Questions about stuck steps, by answer.");
    describe_counter!(
        "amends_monitor_redriven_total",
        "Items tried again because their participant recovered."
    );
    describe_counter!("amends_audit_runs_total", "Participants' audits held against the sagas, by outcome.");
    describe_counter!("amends_audit_findings_total", "Anomalies found that were not known before, by what.");
}

#[cfg(test)]
mod tests;
