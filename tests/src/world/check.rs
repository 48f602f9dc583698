//! The invariants, checked from outside: from what was committed and what the participants hold.
//!
//! Nothing here calls the core to learn what is right; only at the end are journals folded, to show that
//! the fold is what the coordinators believed (I15). The names I1 to I31 are those of the project's list
//! of invariants.

mod facts;
mod queue;
mod rest;

pub use facts::Facts;

use super::{
    participant::{Branch, Participants},
    shop::Unit,
};
use amends_saga::{
    Direction, Op, Record, SagaId, StepName,
    coordinator::{Fingerprint, Head},
};
use rest::{holds, stock};
use std::collections::BTreeMap;

/// A broken invariant, with the law it breaks.
pub type Violation = String;

/// Watches a world.
#[derive(Debug, Default)]
pub struct Checker {
    /// The sagas whose start is durable.
    pub sagas: BTreeMap<SagaId, Facts>,
    /// The saga of each key.
    pub keys: BTreeMap<String, SagaId>,
    /// Acknowledged starts: the key and body each caller was told about.
    pub acknowledged: Vec<(SagaId, String, Fingerprint)>,
    /// Broken invariants, in the order they were noticed.
    pub violations: Vec<Violation>,
}

impl Checker {
    /// Notes a broken invariant.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// Sees a successful write.
    pub fn committed(&mut self, id: SagaId, epoch: u64, after_seq: u64, head: &Head, records: &[Record]) {
        if after_seq == 0 {
            if let Some(key) = &head.key
                && let Some(other) = self.keys.insert(key.clone(), id)
            {
                self.violated(format!("I2: sagas {other} and {id} were both started under key {key}"));
            }
            self.sagas.insert(id, Facts::of(&records[0]));
        }
        let Some(facts) = self.sagas.get_mut(&id) else {
            return self.violated(format!("I14: {id} was written before it was started"));
        };
        let mut broken = Vec::new();
        if facts.seq != after_seq {
            broken.push(format!("I14: events of {id} follow {after_seq}, the journal ends at {}", facts.seq));
        }
        if epoch < facts.epoch.max(facts.claimed) {
            broken.push(format!("I13: {id} was written in epoch {epoch}, claimed in {}", facts.claimed));
        }
        facts.epoch = epoch;
        for record in records {
            facts.seq += 1;
            broken.extend(facts.event(id, record));
        }
        self.violations.append(&mut broken);
    }

    /// Sees a claim.
    pub fn claimed(&mut self, id: SagaId, epoch: u64) {
        let Some(facts) = self.sagas.get_mut(&id) else { return };
        if epoch <= facts.claimed.max(facts.epoch) {
            let before = facts.claimed.max(facts.epoch);
            self.violated(format!("I13: {id} was claimed with epoch {epoch} after {before}"));
            return;
        }
        facts.claimed = epoch;
    }

    /// Sees a call leave a coordinator.
    pub fn sent(&mut self, id: SagaId, step: &StepName, op: Op, believes: Direction) {
        let durable =
            self.sagas.get(&id).is_some_and(|facts| facts.intents.contains(&(facts.plan.unit(step), op)));
        if !durable {
            self.violated(format!(
                "I11: {} {step} of {id} was sent before its intent was durable",
                op.as_str()
            ));
        }
        if op == Op::Action
            && let Some(facts) = self.sagas.get_mut(&id)
        {
            facts.left.insert(facts.plan.unit(step));
        }
        if op == Op::Action && believes == Direction::Backward {
            self.violated(format!("I5: action {step} of {id} was sent after the saga turned round"));
        }
    }

    /// Sees an effect take place at a participant.
    pub fn took_effect(&mut self, branch: Branch, op: Op, shop: &Participants) {
        let (id, step) = branch;
        let barrier = &shop.barriers[&branch];
        let mut broken = Vec::new();
        if barrier.effects > 1 || barrier.undo_effects > 1 {
            broken.push(format!("I8: {} {step} of {id} took effect twice", op.as_str()));
        }
        if barrier.confirm_effects > 1 {
            broken.push(format!("I8: branch {step} of {id} was confirmed twice"));
        }
        if barrier.confirm_effects > 0 && barrier.undo_effects > 0 {
            broken.push(format!("I35: branch {step} of {id} was both confirmed and undone"));
        }
        if op == Op::Compensation && barrier.undo_effects > barrier.effects {
            broken.push(format!("I9: step {step} of {id} was undone but never done"));
        }
        match self.sagas.get(&id) {
            Some(facts) if facts.plan.is_open() && op == Op::Action => {
                if !facts.registered.contains(&step) {
                    broken.push(format!(
                        "I35: the work of branch {step} of {id} was done before it was registered"
                    ));
                }
            }
            Some(facts) if facts.intents.contains(&(step, op)) => {
                broken.extend(facts.order(branch, op, shop));
            }
            _ => broken.push(format!("I11: {} {step} of {id} took effect without an intent", op.as_str())),
        }
        broken.extend(stock(shop));
        self.violations.append(&mut broken);
    }

    /// The unit that a step's name means.
    pub(super) fn unit(&self, id: SagaId, step: &StepName) -> Unit {
        self.sagas.get(&id).map_or(Unit::MAX, |facts| facts.plan.unit(step))
    }

    /// Whether it is durable that a call took effect.
    pub(super) fn has_done(&self, id: SagaId, step: &StepName, op: Op) -> bool {
        self.sagas.get(&id).is_some_and(|facts| facts.done.contains(&(facts.plan.unit(step), op)))
    }

    /// Looks at everything once nothing can happen any more.
    pub fn at_rest(
        &mut self,
        shop: &Participants,
        pieces: i64,
        store: impl Fn(SagaId) -> Option<(Head, Vec<Record>)>,
    ) {
        let mut broken: Vec<Violation> = stock(shop);
        for (sku, stock) in shop.stock.iter().enumerate() {
            if stock.available + stock.held + stock.sold != pieces {
                broken.push(format!("I16: SKU {sku} is {stock:?}, which is not {pieces} in all"));
            }
        }
        broken.extend(holds(shop));
        for (id, key, fingerprint) in &self.acknowledged {
            match store(*id) {
                Some((head, _)) if head.key.as_ref() == Some(key) && head.fingerprint == *fingerprint => {}
                _ => broken.push(format!("I1: the acknowledged saga {id} of key {key} is not in the store")),
            }
        }
        for (id, facts) in &self.sagas {
            broken.extend(facts.at_rest(*id, shop));
            broken.extend(facts.agrees(*id, shop));
            match store(*id) {
                Some((head, records)) => broken.extend(facts.folds(*id, &head, &records)),
                None => broken.push(format!("I1: saga {id} has vanished")),
            }
        }
        for branch in shop.barriers.keys().filter(|branch| !self.sagas.contains_key(&branch.0)) {
            broken.push(format!("I11: step {} of {} is known to a participant only", branch.1, branch.0));
        }
        self.violations.append(&mut broken);
    }
}
