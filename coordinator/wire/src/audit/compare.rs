//! Holding a participant's audit against the sagas.

use super::{
    Audited, Effect, EffectState, LAWS, Reported, SagaRecord, StepRecord,
    comparison::{Comparison, Debt, Finding, LawResult},
    differ::difference,
    law::broken_by,
    names,
};
use crate::api::StepStatus;
use amends_saga::{SagaId, Status};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The most findings that are kept of one comparison; the laws count them all.
const FINDINGS_MAX: usize = 1000;

/// The most debts that are kept of one comparison.
const DEBTS_MAX: usize = 1000;

/// The sagas that were looked up.
#[derive(Debug, Clone, Default)]
pub struct Sagas {
    known: BTreeMap<SagaId, SagaRecord>,
    unknown: BTreeSet<SagaId>,
}

impl Sagas {
    /// Adds a saga; one that is there already is replaced.
    pub fn add(&mut self, saga: SagaRecord) {
        self.known.insert(saga.id, saga);
    }

    /// Notes that the coordinator knows no saga of this id.
    pub fn add_unknown(&mut self, id: SagaId) {
        self.unknown.insert(id);
    }

    /// Whether a saga was looked up, with whatever result. One that was not proves nothing.
    pub fn has(&self, id: SagaId) -> bool {
        self.known.contains_key(&id) || self.unknown.contains(&id)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Those that are known, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = &SagaRecord> {
        self.known.values()
    }
}

/// What a comparison goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The moment at which reading began, in unix milliseconds: what changed since is in motion.
    pub now: i64,
    /// How long sagas and effects must have been at rest to be judged, in milliseconds; more than the clocks of
    /// coordinator and participant are ever apart.
    pub settle_ms: i64,
    /// The participant's operations without a barrier: it keeps no trace of them, so none is missed.
    pub traceless: BTreeSet<String>,
}

/// Holds what one participant says against the sagas.
///
/// Every saga that was accepted at least the settling time after `audited.since`, has completed and is at rest must
/// have left its effects there; every effect there must be what its saga says. Pure: the same arguments give the same
/// answer.
pub fn compare(participant: &str, audited: &Audited, sagas: &Sagas, terms: &Terms) -> Comparison {
    let mut comparing = Comparing::new(participant, sagas, terms);
    audited.findings.iter().for_each(|reported| comparing.reported(reported));
    for (saga, step) in &audited.doubled {
        comparing.doubled(*saga, step);
    }
    audited.effects.iter().for_each(|effect| comparing.effect(effect));
    comparing.missing(audited);
    comparing.finish()
}

struct Comparing<'a> {
    sagas: &'a Sagas,
    terms: &'a Terms,
    result: Comparison,
    found: BTreeSet<(String, Option<SagaId>, Option<String>)>,
}

impl<'a> Comparing<'a> {
    fn new(participant: &str, sagas: &'a Sagas, terms: &'a Terms) -> Comparing<'a> {
        let result = |law: &super::Law| LawResult {
            id: law.id.to_owned(),
            name: law.name.to_owned(),
            law: law.law.to_owned(),
            checked: 0,
            broken: 0,
        };
        let result = Comparison {
            participant: participant.to_owned(),
            laws: LAWS.iter().map(result).collect(),
            findings: Vec::new(),
            debts: Vec::new(),
            judged: 0,
            in_motion: 0,
        };
        Comparing { sagas, terms, result, found: BTreeSet::new() }
    }

    /// Takes over what the participant says of itself.
    fn reported(&mut self, reported: &Reported) {
        let Reported { name, saga, step, message, detail } = reported;
        self.find(name, *saga, step.as_deref(), message.clone(), detail.clone());
    }

    fn doubled(&mut self, saga: SagaId, step: &str) {
        let message = format!("step {step} is shown applied twice at the same moment");
        self.find(names::DOUBLED_EFFECT, Some(saga), Some(step), message, None);
    }

    /// Judges one effect, unless it is still in motion.
    fn effect(&mut self, effect: &Effect) {
        let Terms { now, settle_ms, .. } = *self.terms;
        let id = effect.saga;
        let is_young = effect.at.saturating_add(settle_ms) > now;
        if is_young || effect.op_state == EffectState::Pending {
            self.result.in_motion += 1;
        } else if let Some(saga) = self.sagas.known.get(&id) {
            self.of_saga(effect, saga);
        } else if self.sagas.unknown.contains(&id) {
            self.result.judged += 1;
            self.check("no_orphan_effects");
            if effect.op_state == EffectState::Applied {
                let message = "the coordinator knows no such saga".to_owned();
                self.of_effect(names::EFFECT_WITHOUT_A_SAGA, effect, message, None);
            }
        } else {
            self.result.in_motion += 1;
        }
    }

    fn of_saga(&mut self, effect: &Effect, saga: &SagaRecord) {
        if !saga.is_at_rest(self.terms.now, self.terms.settle_ms) {
            self.result.in_motion += 1;
            return;
        }
        self.result.judged += 1;
        self.check("no_orphan_effects");
        // These two are the participant's own findings: it says of every step whether there is something to find.
        match effect.op_state {
            EffectState::Barred => self.check("barred_has_no_effect"),
            EffectState::Applied | EffectState::Undone | EffectState::Pending => {
                self.check("nothing_is_done_twice");
            }
        }
        let Some(step) = saga.step(&effect.step) else {
            // Of a saga that has left nothing its steps need not be known.
            if saga.status == Status::Compensated {
                self.check("compensated_left_nothing");
            }
            if effect.op_state == EffectState::Applied {
                let message = format!("the saga has no call or branch \"{}\"", effect.step);
                self.of_effect(names::EFFECT_WITHOUT_A_SAGA, effect, message, None);
            }
            return;
        };
        if !step.is_at(&self.result.participant) {
            // Two participants may share a database, and then each shows the other's rows as well.
            return;
        }
        match saga.status {
            Status::Completed => self.of_completed(effect, step),
            Status::Compensated => self.of_compensated(effect, step),
            Status::Abandoned => self.of_abandoned(effect, step),
            Status::Running | Status::Compensating | Status::Repair => {}
        }
        if effect.op_state == EffectState::Applied {
            self.expiry(effect, saga);
        }
    }

    fn of_completed(&mut self, effect: &Effect, step: &StepRecord) {
        self.check("completed_took_effect");
        let is_done = step.status == StepStatus::Done;
        match effect.op_state {
            EffectState::Applied if step.is_by_hand && is_done => {}
            _ if step.is_by_hand => self.debt(effect, "its saga completed, and an operator settled the step"),
            EffectState::Applied if is_done => self.what_was_asked(effect, step),
            EffectState::Applied => {
                let message = format!("its saga completed without it: the step is {}", word(step.status));
                self.of_effect(names::EFFECT_LEFT_BEHIND, effect, message, None);
            }
            EffectState::Undone if is_done => {
                let message = "its saga completed, but it is undone here".to_owned();
                self.of_effect(names::UNDONE_THOUGH_COMPLETED, effect, message, None);
            }
            // The work of a branch may be refused, and its saga committed without it by whoever knows that.
            EffectState::Barred if step.branch.is_some() => {}
            EffectState::Barred if is_done => {
                let message = "its saga completed, but it was refused here".to_owned();
                self.of_effect(names::EFFECT_LOST, effect, message, None);
            }
            EffectState::Undone | EffectState::Barred | EffectState::Pending => {}
        }
    }

    fn of_compensated(&mut self, effect: &Effect, step: &StepRecord) {
        self.check("compensated_left_nothing");
        match effect.op_state {
            EffectState::Applied if step.is_by_hand => {
                self.debt(effect, "its saga was compensated, and an operator settled the step");
            }
            EffectState::Applied if step.is_compensable => self.left_behind(effect, "compensated", step),
            EffectState::Applied | EffectState::Undone | EffectState::Barred | EffectState::Pending => {}
        }
    }

    /// What an abandoned saga has left is known, and somebody has answered for it; what it says to have undone is not.
    fn of_abandoned(&mut self, effect: &Effect, step: &StepRecord) {
        let is_said_undone = step.status == StepStatus::Compensated && !step.is_by_hand;
        if effect.op_state != EffectState::Applied || !step.is_compensable {
            return;
        }
        self.check("compensated_left_nothing");
        match is_said_undone {
            true => self.left_behind(effect, "abandoned", step),
            false => self.debt(effect, "its saga was abandoned by an operator"),
        }
    }

    fn left_behind(&mut self, effect: &Effect, ended: &str, step: &StepRecord) {
        let status = word(step.status);
        let message = format!("its saga was {ended} and its step is {status}, but it still stands here");
        self.of_effect(names::EFFECT_LEFT_BEHIND, effect, message, None);
    }

    /// Checks that what was done is what the action's body asked for.
    fn what_was_asked(&mut self, effect: &Effect, step: &StepRecord) {
        let (Some(done), Some(asked)) = (&effect.effect, &step.sent) else { return };
        self.check("effects_are_what_was_asked");
        let Some(found) = difference(done, asked) else { return };
        let name = if found.is_quantity { names::WRONG_QUANTITY } else { names::EFFECT_DIFFERS };
        let message =
            format!("at {} was done {}, asked was {}", found.path, brief(&found.done), brief(&found.asked));
        self.of_effect(name, effect, message, Some(found.detail()));
    }

    fn expiry(&mut self, effect: &Effect, saga: &SagaRecord) {
        let Some(expires_at) = effect.expires_at else { return };
        self.check("holds_end_in_time");
        let over_ms = self.terms.now.saturating_sub(expires_at);
        if over_ms > self.terms.settle_ms {
            let status = word(saga.status);
            let message = format!("it should have ended {} s ago, and its saga is {status}", over_ms / 1000);
            let detail = json!({ "expires_at": expires_at });
            self.of_effect(names::HOLD_PAST_ITS_EXPIRY, effect, message, Some(detail));
        }
    }

    /// Looks for steps that are done and of which the participant says nothing.
    fn missing(&mut self, audited: &Audited) {
        let Terms { now, settle_ms, .. } = *self.terms;
        let seen: BTreeSet<(SagaId, &str)> =
            audited.effects.iter().map(|effect| (effect.saga, effect.step.as_str())).collect();
        let (sagas, covered_from) = (self.sagas, audited.since.saturating_add(settle_ms));
        let completed = sagas.iter().filter(|saga| {
            let is_due = saga.status == Status::Completed && saga.is_at_rest(now, settle_ms);
            is_due && saga.created_at >= covered_from
        });
        for (saga, step) in completed.flat_map(|saga| saga.steps.iter().map(move |step| (saga, step))) {
            let Some(operation) = self.trace(step) else { continue };
            if seen.contains(&(saga.id, step.name.as_str())) {
                continue;
            }
            self.check("completed_took_effect");
            let message = format!("its saga completed, but there is no trace of {operation} here");
            self.find(names::EFFECT_LOST, Some(saga.id), Some(&step.name), message, None);
        }
    }

    /// The operation of a completed saga's step of which the participant must have a trace.
    fn trace<'s>(&self, step: &'s StepRecord) -> Option<&'s str> {
        let is_done = step.status == StepStatus::Done && !step.is_by_hand;
        let operation = step.trace_at(&self.result.participant).filter(|_| is_done)?;
        (!self.terms.traceless.contains(operation)).then_some(operation)
    }

    fn of_effect(&mut self, name: &str, effect: &Effect, message: String, detail: Option<Value>) {
        let detail = detail.or_else(|| effect.effect.as_ref().map(|done| json!({ "effect": done })));
        self.find(name, Some(effect.saga), Some(&effect.step), message, detail);
    }

    fn debt(&mut self, effect: &Effect, message: &str) {
        if self.result.debts.len() < DEBTS_MAX {
            self.result.debts.push(Debt {
                participant: self.result.participant.clone(),
                saga: effect.saga,
                step: effect.step.clone(),
                message: format!("{message}; it is {} here", effect.op_state.as_str()),
            });
        }
    }

    /// Counts that something was held against a law.
    fn check(&mut self, law: &str) {
        if let Some(law) = self.result.laws.iter_mut().find(|known| known.name == law) {
            law.checked += 1;
        }
    }

    /// Notes what breaks a law, each thing once.
    fn find(
        &mut self,
        name: &str,
        saga: Option<SagaId>,
        step: Option<&str>,
        message: String,
        detail: Option<Value>,
    ) {
        let about_one = saga.is_some().then(|| (name.to_owned(), saga, step.map(str::to_owned)));
        if about_one.is_some_and(|key| !self.found.insert(key)) {
            return;
        }
        let law = broken_by(name).unwrap_or(name).to_owned();
        self.break_law(&law);
        if self.result.findings.len() < FINDINGS_MAX {
            self.result.findings.push(Finding {
                name: name.to_owned(),
                law,
                participant: self.result.participant.clone(),
                saga,
                step: step.map(str::to_owned),
                message,
                detail,
            });
        }
    }

    /// What a participant found in steps that were not judged was held against its law all the same.
    fn finish(mut self) -> Comparison {
        self.result.laws.iter_mut().for_each(|law| law.checked = law.checked.max(law.broken));
        self.result
    }

    fn break_law(&mut self, name: &str) {
        if let Some(law) = self.result.laws.iter_mut().find(|known| known.name == name) {
            law.broken += 1;
            return;
        }
        self.result.laws.push(LawResult {
            id: String::new(),
            name: name.to_owned(),
            law: "the participant's own law".to_owned(),
            checked: 1,
            broken: 1,
        });
    }
}

/// A status as the API writes it.
fn word(status: impl Serialize) -> String {
    match serde_json::to_value(status) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// JSON in one short line.
fn brief(value: &Value) -> String {
    const CHARS_MAX: usize = 160;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
