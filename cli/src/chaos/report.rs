//! What a rehearsal has shown: outcomes, faults met, items in the repair queue, and the laws kept and broken.

mod text;

use super::{
    book::{Content, Injected},
    laws::{Breach, Ending, Endings, Law, Verdict, by_id, is_at_rest},
};
use amends_saga::{SagaId, Status};
use amends_wire::{api::RepairReason, participant::CallOp};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Breaches and items kept at most; beyond, they are counted.
const KEPT_MAX: usize = 1_000;

/// What was run.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) definition: String,
    pub(super) seed: u64,
    pub(super) faults: String,
    pub(super) sagas: u64,
    pub(super) took: Duration,
}

/// What a rehearsal has shown.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The definition, `name@version`.
    pub definition: String,
    /// The seed.
    pub seed: u64,
    /// The mix of faults, in its written form.
    pub faults: String,
    /// Sagas started.
    pub sagas: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Calls that the coordinator sent, by what they asked.
    pub calls: BTreeMap<CallOp, u64>,
    /// Faults that calls met, by kind.
    pub injected: BTreeMap<&'static str, u64>,
    /// From start to end, of the sagas that ended.
    pub times: Times,
    /// Why sagas turned round, the most frequent first.
    pub causes: Vec<Cause>,
    /// The items in the repair queue at the end, by saga; at most 1,000 of them.
    pub repairs: Vec<Item>,
    /// Every law that was checked.
    pub laws: Vec<LawKept>,
    /// Where laws were broken; at most 1,000 places.
    pub breaches: Vec<Breach>,
    /// Whether every law was kept.
    pub kept: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    #[serde(skip)]
    every_fault: Vec<Injected>,
}

/// How many sagas ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Outcomes {
    /// Every step done.
    pub completed: u64,
    /// Everything undone.
    pub compensated: u64,
    /// Waiting for an operator.
    pub in_repair: u64,
    /// Given up by an operator.
    pub abandoned: u64,
    /// Still under way when patience was over, or lost.
    pub never_ended: u64,
}

/// Times from start to end, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Times {
    /// Half of the sagas took no longer.
    pub p50_ms: u64,
    /// 99 of 100 took no longer.
    pub p99_ms: u64,
    /// None took longer.
    pub max_ms: u64,
}

/// Why sagas turned round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// At which step; `None` for a deadline or a cancellation.
    pub step: Option<String>,
    /// What was said.
    pub message: String,
    /// How many of them.
    pub sagas: u64,
}

/// A repair item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The number of the saga, from 0.
    pub saga: u64,
    /// The saga's id.
    pub id: SagaId,
    /// The step that cannot be undone.
    pub step: String,
    /// The operation that does not work.
    pub operation: String,
    /// Why it is here.
    pub reason: RepairReason,
    /// The attempts made.
    pub attempts: u32,
}

/// A law that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LawKept {
    /// The law.
    pub law: Law,
    /// In how many places it could have been broken; 0 says that this run shows nothing about it.
    pub checked: u64,
    /// In how many places it was.
    pub broken: u64,
}

impl Report {
    /// Children are judged, but counted with the sagas that they are run for.
    pub(super) fn new(facts: Facts, endings: &[Ending], seen: Content, verdict: Verdict) -> Report {
        let rehearsed: Vec<Ending> =
            endings.iter().filter(|ending| ending.path.is_empty()).cloned().collect();
        let (all, endings) = (by_id(endings), &rehearsed[..]);
        let mut injected: BTreeMap<&'static str, u64> = BTreeMap::new();
        for one in &seen.injected {
            *injected.entry(one.fault.as_str()).or_default() += 1;
        }
        let mut every_fault = seen.injected;
        every_fault.sort_unstable();
        let mut report = Report {
            definition: facts.definition,
            seed: facts.seed,
            faults: facts.faults,
            sagas: facts.sagas,
            outcomes: outcomes(endings, &all),
            calls: seen.calls,
            injected,
            times: times(endings),
            causes: causes(endings),
            repairs: items(endings),
            laws: Vec::new(),
            breaches: verdict.breaches,
            kept: true,
            took_ms: u64::try_from(facts.took.as_millis()).unwrap_or(u64::MAX),
            every_fault,
        };
        report.count_laws(&verdict.checked);
        report
    }

    fn count_laws(&mut self, checked: &BTreeMap<Law, u64>) {
        for law in Law::ALL {
            let broken = self.breaches.iter().filter(|breach| breach.law == law).count() as u64;
            let checked = checked.get(&law).copied();
            if checked.is_some() || broken > 0 {
                self.laws.push(LawKept { law, checked: checked.unwrap_or(0), broken });
            }
        }
        self.kept = self.breaches.is_empty();
        self.breaches.truncate(KEPT_MAX);
        self.repairs.truncate(KEPT_MAX);
    }

    /// One report of several runs of the same definition. Times are the worst of them.
    pub(super) fn together(faults: &str, reports: Vec<Report>) -> Report {
        let mut reports = reports.into_iter();
        let mut all = reports.next().expect("a definition has at least one step");
        all.faults = faults.to_owned();
        for next in reports {
            all.sagas += next.sagas;
            all.took_ms += next.took_ms;
            all.outcomes = all.outcomes.plus(next.outcomes);
            all.times = all.times.worse(next.times);
            add(&mut all.calls, next.calls);
            add(&mut all.injected, next.injected);
            add_causes(&mut all.causes, next.causes);
            all.repairs.extend(next.repairs);
            all.breaches.extend(next.breaches);
            all.every_fault.extend(next.every_fault);
            for law in next.laws {
                match all.laws.iter_mut().find(|own| own.law == law.law) {
                    Some(own) => {
                        own.checked += law.checked;
                        own.broken += law.broken;
                    }
                    None => all.laws.push(law),
                }
            }
            all.kept &= next.kept;
        }
        all.laws.sort_unstable_by_key(|law| law.law);
        all.breaches.truncate(KEPT_MAX);
        all.repairs.truncate(KEPT_MAX);
        all
    }

    /// Every fault that a call has met, by saga, step, call and attempt.
    ///
    /// Of one seed they are the same in every run whose steps follow one another; where steps run side by side, or a
    /// participant is down for a while, which calls are made depends on the time as well.
    pub fn every_fault(&self) -> &[Injected] {
        &self.every_fault
    }

    /// Fails, with the whole report, when a law was broken.
    ///
    /// # Panics
    /// When a law was broken.
    pub fn assert_kept(&self) {
        assert!(self.kept, "a law was broken\n\n{self}");
    }

    /// What this run does not show, as sentences for people.
    pub fn shortcomings(&self) -> Vec<String> {
        let outcomes = &self.outcomes;
        let mut told = Vec::new();
        if outcomes.completed == 0 {
            told.push(
                "no saga completed: see why they turned round, and give better answers or milder faults"
                    .to_owned(),
            );
        }
        if outcomes.compensated + outcomes.in_repair == 0 {
            told.push("no saga was undone: nothing is shown about reversals".to_owned());
        }
        told
    }
}

impl Outcomes {
    fn plus(self, other: Outcomes) -> Outcomes {
        Outcomes {
            completed: self.completed + other.completed,
            compensated: self.compensated + other.compensated,
            in_repair: self.in_repair + other.in_repair,
            abandoned: self.abandoned + other.abandoned,
            never_ended: self.never_ended + other.never_ended,
        }
    }
}

impl Times {
    fn worse(self, other: Times) -> Times {
        Times {
            p50_ms: self.p50_ms.max(other.p50_ms),
            p99_ms: self.p99_ms.max(other.p99_ms),
            max_ms: self.max_ms.max(other.max_ms),
        }
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key).or_default() += count;
    }
}

fn add_causes(to: &mut Vec<Cause>, from: Vec<Cause>) {
    for cause in from {
        match to.iter_mut().find(|own| (&own.step, &own.message) == (&cause.step, &cause.message)) {
            Some(own) => own.sagas += cause.sagas,
            None => to.push(cause),
        }
    }
    to.sort_by_key(|cause| std::cmp::Reverse(cause.sagas));
}

fn outcomes(endings: &[Ending], all: &Endings<'_>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for ending in endings {
        let counted = match &ending.view {
            Some(view) => match view.status {
                Status::Completed => &mut outcomes.completed,
                Status::Compensated => &mut outcomes.compensated,
                Status::Abandoned => &mut outcomes.abandoned,
                Status::Repair if is_at_rest(view, all) => &mut outcomes.in_repair,
                Status::Repair | Status::Running | Status::Compensating => &mut outcomes.never_ended,
            },
            None => &mut outcomes.never_ended,
        };
        *counted += 1;
    }
    outcomes
}

fn times(endings: &[Ending]) -> Times {
    let views = endings.iter().filter_map(|ending| ending.view.as_ref());
    let took = views.filter_map(|view| {
        let ended = view.ended_at.as_ref()?;
        u64::try_from(ended.0.0.saturating_sub(view.created_at.0.0)).ok()
    });
    let mut took: Vec<u64> = took.collect();
    took.sort_unstable();
    // The nearest rank: the smallest time that so many of a hundred do not exceed.
    let rank = |percent: usize| {
        took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0)
    };
    Times { p50_ms: rank(50), p99_ms: rank(99), max_ms: took.last().copied().unwrap_or(0) }
}

fn causes(endings: &[Ending]) -> Vec<Cause> {
    let mut counted: BTreeMap<(Option<String>, String), u64> = BTreeMap::new();
    for error in endings.iter().filter_map(|ending| ending.view.as_ref()?.error.as_ref()) {
        let step = error.step.as_ref().map(ToString::to_string);
        *counted.entry((step, error.message.clone())).or_default() += 1;
    }
    let mut causes: Vec<Cause> =
        counted.into_iter().map(|((step, message), sagas)| Cause { step, message, sagas }).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.sagas));
    causes
}

fn items(endings: &[Ending]) -> Vec<Item> {
    let of = |ending: &Ending| -> Vec<Item> {
        let repairs = ending.view.iter().flat_map(|view| &view.repairs);
        let items = repairs.map(|repair| Item {
            saga: ending.number,
            id: ending.id,
            step: repair.step.as_ref().map(ToString::to_string).unwrap_or_default(),
            operation: repair.operation.clone().unwrap_or_default(),
            reason: repair.reason,
            attempts: repair.attempts,
        });
        items.collect()
    };
    endings.iter().flat_map(of).collect()
}
