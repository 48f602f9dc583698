//! What must hold after a rehearsal, whatever went wrong in it.
//!
//! The laws are checked over what the participants did, what the coordinator says of each saga, and the definition's
//! graph; none of them asks the coordinator why. Where participants are real, what they did is what their answers
//! showed, so a second effect of one call cannot be seen here: their own audit tells it.

mod members;

use super::{
    book::{Content, Effect, What},
    parts::{Parts, base, path},
};
use amends_saga::{Definition, RepairStatus, SagaId, Status, StepName, definition::Undo};
use amends_wire::api::{JournalItem, RepairView, SagaView, StepStatus, StepView};
pub(super) use members::Endings;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// A start that was acknowledged is there afterwards, as one saga.
    NothingLost,
    /// Every saga ends completed or compensated, or stands in repair.
    EverySagaEnds,
    /// Every saga ends as the fault asks; for faults that ask for one end.
    EndsAsExpected,
    /// No call takes effect twice.
    AtMostOnce,
    /// A completed saga has done every step and undone none.
    CompletedIsDone,
    /// A compensated saga has left nothing behind.
    CompensatedIsUndone,
    /// A step is undone after the steps that came after it.
    ReverseOrder,
    /// Nothing takes effect once its step was undone.
    NothingAfterUndo,
    /// Nothing is undone that was never done.
    UndoneWasDone,
    /// Every attempt of a call is answered alike.
    AnsweredAlike,
    /// A step that cannot be undone is in the repair queue, once.
    StuckIsQueued,
    /// A journal has no gap and ends with the saga's end.
    JournalIsWhole,
    /// The participants' own audits agree with the journals.
    BooksAgree,
}

impl Law {
    /// Every law, in the order of the report.
    pub const ALL: [Law; 13] = [
        Law::NothingLost,
        Law::EverySagaEnds,
        Law::EndsAsExpected,
        Law::AtMostOnce,
        Law::CompletedIsDone,
        Law::CompensatedIsUndone,
        Law::ReverseOrder,
        Law::NothingAfterUndo,
        Law::UndoneWasDone,
        Law::AnsweredAlike,
        Law::StuckIsQueued,
        Law::JournalIsWhole,
        Law::BooksAgree,
    ];

    /// The law as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Law::NothingLost => "nothing acknowledged is lost",
            Law::EverySagaEnds => "every saga ends completed or compensated, or stands in repair",
            Law::EndsAsExpected => "every saga ends as the fault asks",
            Law::AtMostOnce => "no call takes effect twice",
            Law::CompletedIsDone => "a completed saga has done every step and undone none",
            Law::CompensatedIsUndone => "a compensated saga has left nothing behind",
            Law::ReverseOrder => "steps are undone in reverse order",
            Law::NothingAfterUndo => "nothing takes effect once its step was undone",
            Law::UndoneWasDone => "nothing is undone that was never done",
            Law::AnsweredAlike => "every attempt of a call is answered alike",
            Law::StuckIsQueued => "a step that cannot be undone is in the repair queue, once",
            Law::JournalIsWhole => "every journal is whole",
            Law::BooksAgree => "the participants' audits agree with the journals",
        }
    }
}

/// A law broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The law.
    pub law: Law,
    /// The number of the saga, from 0; `None` where it is none of the rehearsal's.
    pub saga: Option<u64>,
    /// The saga's id.
    pub id: Option<SagaId>,
    /// The step, where it is about one.
    pub step: Option<String>,
    /// What happened, as a sentence.
    pub what: String,
}

/// A saga at the end of a rehearsal.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Of a child, the number of the saga that it is run for.
    pub(super) number: u64,
    pub(super) id: SagaId,
    /// Its path; empty unless it is a child.
    pub(super) path: String,
    /// As the coordinator shows it; `None` when it does not know it.
    pub(super) view: Option<SagaView>,
    pub(super) journal: Vec<JournalItem>,
}

/// What a saga is to end as: its status, and the step at which it turns round, or stands in repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) status: Status,
    pub(super) at: Option<String>,
}

/// Everything that the laws look at.
pub(super) struct Evidence<'a> {
    pub(super) parts: &'a Parts,
    pub(super) endings: &'a [Ending],
    /// The items that are not settled, as the repair queue lists them.
    pub(super) queue: &'a [RepairView],
    pub(super) seen: &'a Content,
    /// The steps, by path, of which every effect was seen, and not only what answers showed of them.
    pub(super) exact: &'a BTreeSet<String>,
    pub(super) expected: Option<&'a Expected>,
}

/// The laws that were checked, each with how often it could have been broken, and every breach.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) checked: BTreeMap<Law, u64>,
    pub(super) breaches: Vec<Breach>,
}

/// Checks every law that the evidence allows to check.
pub(super) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut effects: BTreeMap<SagaId, Vec<&Effect>> = BTreeMap::new();
    for effect in &evidence.seen.effects {
        effects.entry(effect.saga).or_default().push(effect);
    }
    let mut verdict = Verdict::default();
    let endings = by_id(evidence.endings);
    for ending in evidence.endings {
        let own = effects.get(&ending.id).cloned().unwrap_or_default();
        let (by_saga, endings) = (&effects, &endings);
        Judge { evidence, ending, endings, effects: own, by_saga, verdict: &mut verdict }.judge();
    }
    // What is left belongs to sagas that the coordinator started and nobody was told of.
    for (id, own) in effects.iter().filter(|(id, _)| !endings.contains_key(id)) {
        let id = *id;
        for effect in own {
            let what = "took effect for a saga that nobody was told of".to_owned();
            let step = Some(effect.step.clone());
            verdict.breaches.push(Breach { law: Law::NothingLost, saga: None, id: Some(id), step, what });
        }
    }
    verdict
}

/// Every ending by its id.
pub(super) fn by_id(endings: &[Ending]) -> Endings<'_> {
    endings.iter().map(|ending| (ending.id, ending)).collect()
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    ending: &'a Ending,
    endings: &'a Endings<'a>,
    /// Its own.
    effects: Vec<&'a Effect>,
    by_saga: &'a BTreeMap<SagaId, Vec<&'a Effect>>,
    verdict: &'a mut Verdict,
}

impl<'a> Judge<'a> {
    fn judge(&mut self) {
        self.check(Law::NothingLost, 1);
        let Some(view) = &self.ending.view else {
            return self.breach(
                Law::NothingLost,
                None,
                "was acknowledged, and the coordinator does not know it",
            );
        };
        self.ends(view);
        self.journal(view);
        self.queue(view);
        self.strangers(view);
        self.at_most_once();
        self.outcome(view);
        self.order();
        self.answers();
    }

    fn check(&mut self, law: Law, times: usize) {
        *self.verdict.checked.entry(law).or_default() += times as u64;
    }

    fn breach(&mut self, law: Law, step: Option<&str>, what: impl Into<String>) {
        let (saga, id) = (Some(self.ending.number), Some(self.ending.id));
        let breach = Breach { law, saga, id, step: step.map(str::to_owned), what: what.into() };
        self.verdict.breaches.push(breach);
    }

    fn ends(&mut self, view: &SagaView) {
        self.check(Law::EverySagaEnds, 1);
        let is_settled = match view.status {
            Status::Completed | Status::Compensated | Status::Abandoned => true,
            Status::Repair => is_at_rest(view, self.endings),
            Status::Running | Status::Compensating => false,
        };
        if !is_settled {
            let standing: Vec<String> = steps(view)
                .filter(|step| {
                    matches!(
                        step.status,
                        StepStatus::Running | StepStatus::Waiting | StepStatus::Compensating
                    )
                })
                .map(|step| step.name.to_string())
                .collect();
            let (status, at) = (word(view.status), standing.join(", "));
            self.breach(
                Law::EverySagaEnds,
                None,
                format!("is still {status} when patience is over, at {at}"),
            );
        }
        self.expected(view);
    }

    /// Checks that the rehearsed saga ends as it was to.
    fn expected(&mut self, view: &SagaView) {
        let Some(expected) = self.evidence.expected.filter(|_| self.ending.path.is_empty()) else { return };
        self.check(Law::EndsAsExpected, 1);
        let at = view.error.as_ref().and_then(|error| error.step.as_ref()).map(ToString::to_string);
        let because = view.error.as_ref().map_or(String::new(), |error| format!(": {}", error.message));
        if view.status != expected.status {
            let (is, was) = (word(view.status), word(expected.status));
            let what = format!("is {is}, and was to be {was}{because}");
            return self.breach(Law::EndsAsExpected, at.as_deref(), what);
        }
        let Some(wanted) = &expected.at else { return };
        if expected.status == Status::Repair {
            let mut stuck = view.repairs.iter().filter_map(|item| item.step.as_ref());
            if !stuck.any(|step| step.as_str() == wanted) {
                self.breach(Law::EndsAsExpected, None, format!("was to stand in repair at step {wanted}"));
            }
        } else if at.as_ref() != Some(wanted) {
            let what = format!("turned round here, and was to at step {wanted}{because}");
            self.breach(Law::EndsAsExpected, at.as_deref(), what);
        }
    }

    fn journal(&mut self, view: &SagaView) {
        self.check(Law::JournalIsWhole, 1);
        let journal = &self.ending.journal;
        if let Some((i, item)) = journal.iter().enumerate().find(|(i, item)| item.seq != *i as u64 + 1) {
            let what = format!("has number {} at place {} of its journal", item.seq, i + 1);
            return self.breach(Law::JournalIsWhole, None, what);
        }
        let last = journal.last().map_or("nothing", |item| item.kind.as_str());
        let is_end = matches!(last, "completed" | "compensated" | "abandoned");
        if is_end != view.ended_at.is_some() {
            let status = word(view.status);
            self.breach(Law::JournalIsWhole, None, format!("is {status}, and its journal ends with {last}"));
        }
    }

    fn queue(&mut self, view: &SagaView) {
        // A fanned-out step shows how its items stand, and it is they that are stuck. The items of the sagas that it
        // runs are listed with a saga too, and looked for with those.
        let stuck = |step: &&StepView| step.status == StepStatus::Parked && step.items.is_none();
        let parked: BTreeSet<&str> = steps(view).filter(stuck).map(|step| step.name.as_str()).collect();
        let own: Vec<&RepairView> =
            view.repairs.iter().filter(|item| item.saga == Some(self.ending.id)).collect();
        self.check(Law::StuckIsQueued, parked.len().max(own.len()));
        let mut queued: BTreeSet<&str> = BTreeSet::new();
        for item in own {
            let step = item.step.as_ref().map_or("", StepName::as_str);
            if !parked.contains(step) && item.status != RepairStatus::Retrying {
                self.breach(Law::StuckIsQueued, Some(step), "has an open repair item and is not stuck");
            }
            if !queued.insert(step) {
                self.breach(Law::StuckIsQueued, Some(step), "has two open repair items");
            }
        }
        for step in parked.difference(&queued) {
            self.breach(Law::StuckIsQueued, Some(step), "cannot be undone and has no repair item");
        }
        let own = self.evidence.queue.iter().filter(|item| item.saga == Some(self.ending.id));
        let listed: BTreeSet<&str> =
            own.map(|item| item.step.as_ref().map_or("", StepName::as_str)).collect();
        for step in queued.difference(&listed) {
            self.breach(Law::StuckIsQueued, Some(step), "has a repair item, and the queue does not list it");
        }
        for step in listed.difference(&queued) {
            self.breach(Law::StuckIsQueued, Some(step), "is listed in the queue, and has no repair item");
        }
    }

    /// Checks that what was done was done for steps that the saga has.
    fn strangers(&mut self, view: &SagaView) {
        let known: BTreeSet<&str> =
            steps(view).filter(|step| step.items.is_none()).map(|step| step.name.as_str()).collect();
        let strange: BTreeSet<String> = self
            .effects
            .iter()
            .filter(|effect| !known.contains(effect.step.as_str()))
            .map(|effect| effect.step.clone())
            .collect();
        for step in strange {
            let what = "took effect, and the saga calls nobody for this step";
            self.breach(Law::NothingLost, Some(&step), what);
        }
    }

    fn at_most_once(&mut self) {
        let exact = |effect: &&&Effect| self.is_exact(&effect.step);
        let mut seen: BTreeMap<(&str, What), usize> = BTreeMap::new();
        for effect in self.effects.iter().filter(exact) {
            *seen.entry((effect.step.as_str(), effect.what)).or_default() += 1;
        }
        self.check(Law::AtMostOnce, seen.len());
        for ((step, what), times) in &seen {
            if *times > 1 {
                let done = if *what == What::Applied { "was applied" } else { "was undone" };
                self.breach(Law::AtMostOnce, Some(step), format!("{done} {times} times"));
            }
        }
        for (step, what) in seen.keys() {
            if *what == What::Undone {
                self.check(Law::UndoneWasDone, 1);
                if !seen.contains_key(&(*step, What::Applied)) {
                    self.breach(Law::UndoneWasDone, Some(step), "was undone, and was never applied");
                }
            }
        }
    }

    fn outcome(&mut self, view: &SagaView) {
        let Some(definition) = self.definition() else { return };
        for (_, step) in definition.steps() {
            let Some(call) = step.call() else { continue };
            for member in self.members(step) {
                if call.action.is_child() {
                    if member.status != StepStatus::Skipped {
                        self.child_outcome(view.status, member, &call.undo);
                    }
                    continue;
                }
                self.call_outcome(view.status, member, &call.undo);
            }
        }
    }

    fn call_outcome(&mut self, status: Status, member: &StepView, undo: &Undo) {
        let name = member.name.as_str();
        let (applied, undone) = (self.first(name, What::Applied), self.first(name, What::Undone));
        match status {
            Status::Completed => {
                self.check(Law::CompletedIsDone, 1);
                if applied.is_none() && member.status != StepStatus::Skipped {
                    self.breach(Law::CompletedIsDone, Some(name), "was never applied");
                }
                if undone.is_some() {
                    self.breach(Law::CompletedIsDone, Some(name), "was undone");
                }
            }
            Status::Compensated => {
                let owes = matches!(undo, Undo::Call(_));
                let may_be_there = applied.is_some() || (!self.is_exact(name) && self.is_doubtful(name));
                self.check(Law::CompensatedIsUndone, usize::from(owes));
                if owes && may_be_there && undone.is_none() {
                    let what = "may have been applied and is not undone";
                    self.breach(Law::CompensatedIsUndone, Some(name), what);
                }
            }
            Status::Running | Status::Compensating | Status::Repair | Status::Abandoned => {}
        }
        self.late(name, undone);
    }

    /// What it has run.
    fn definition(&self) -> Option<&'a Definition> {
        self.evidence.parts.at(&self.ending.path).map(|part| part.definition.as_ref())
    }

    /// Whether every effect of a step was seen.
    fn is_exact(&self, step: &str) -> bool {
        self.evidence.exact.contains(&base(&path(&self.ending.path, step)))
    }

    /// Checks that nothing took effect after its step was undone, or after its action was barred.
    fn late(&mut self, step: &str, undone: Option<(u64, u64)>) {
        let closed = undone.into_iter().chain(self.first(step, What::Barred)).map(|(_, ended)| ended).min();
        let Some(closed) = closed else { return };
        self.check(Law::NothingAfterUndo, 1);
        let is_late =
            |effect: &&&Effect| effect.step == step && effect.what == What::Applied && effect.began > closed;
        let late = self.effects.iter().filter(is_late).count();
        if late > 0 {
            self.breach(Law::NothingAfterUndo, Some(step), "took effect after it was undone");
        }
    }

    fn answers(&mut self) {
        let unlike = self.evidence.seen.unlike.iter().filter(|(id, _, _)| *id == self.ending.id);
        let unlike: Vec<(String, String)> =
            unlike.map(|(_, step, told)| (step.clone(), told.clone())).collect();
        self.check(Law::AnsweredAlike, self.effects.len());
        for (step, told) in unlike {
            self.breach(Law::AnsweredAlike, Some(&step), told);
        }
    }

    /// When a step's call was first done: when it arrived, and when it was done.
    fn first(&self, step: &str, what: What) -> Option<(u64, u64)> {
        let found = self.effects.iter().find(|effect| effect.step == step && effect.what == what);
        found.map(|effect| (effect.began, effect.ended))
    }

    /// Whether an action may have taken effect where nobody looks on.
    fn is_doubtful(&self, step: &str) -> bool {
        self.evidence.seen.doubtful.contains(&(self.ending.id, step.to_owned()))
    }
}

/// The steps at which a saga in repair still goes on; those that run sagas do as long as these do. `None` for a saga
/// that is not in repair.
pub(super) fn moving(view: &SagaView) -> Option<Vec<&StepView>> {
    let moves = |step: &&StepView| {
        let is_moving =
            matches!(step.status, StepStatus::Running | StepStatus::Waiting | StepStatus::Compensating);
        is_moving && step.items.is_none()
    };
    (view.status == Status::Repair).then(|| steps(view).filter(moves).collect())
}

/// Whether nothing but an operator can make a saga go on, nor those that it runs.
pub(super) fn is_at_rest(view: &SagaView, endings: &Endings<'_>) -> bool {
    let rests = |step: &&StepView| {
        let child = step.child.and_then(|child| endings.get(&child)?.view.as_ref());
        child.is_some_and(|child| is_at_rest(child, endings))
    };
    moving(view).is_some_and(|moving| moving.iter().all(rests))
}

fn steps(view: &SagaView) -> impl Iterator<Item = &amends_wire::api::StepView> {
    view.steps.iter().flatten()
}

/// A status as callers write it.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Repair => "in repair",
        Status::Completed => "completed",
        Status::Compensated => "compensated",
        Status::Abandoned => "abandoned",
    }
}

#[cfg(test)]
mod tests;
