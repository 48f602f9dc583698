//! What the durable journal of one saga says, event by event, and the laws that it must keep.
//!
//! Steps are known by name here and numbered by the shop's own count, so that nothing depends on how the core
//! numbers those that come while a saga runs.

use super::Violation;
use crate::world::{
    participant::{Branch, Participants},
    shop::{Cart, Plan, Unit},
};
use amends_saga::{CauseKind, Event, Op, Record, SagaId, Status, Timestamp, schedule::Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of one saga from its durable journal.
#[derive(Debug)]
pub struct Facts {
    /// What it runs.
    pub plan: &'static Plan,
    /// Its cart.
    pub cart: Cart,
    /// The calls whose intent is durable.
    pub intents: BTreeSet<(Unit, Op)>,
    /// The forward calls without a definite end so far.
    pub running: BTreeSet<Unit>,
    /// The compensations under way.
    pub undoing: BTreeSet<Unit>,
    /// The calls that took effect, as the journal has it.
    pub done: BTreeSet<(Unit, Op)>,
    /// The forward calls of which an attempt is in doubt.
    pub doubted: BTreeSet<Unit>,
    /// The forward calls of which an attempt was sent.
    pub left: BTreeSet<Unit>,
    /// The forward calls that were accepted for later.
    pub pending: BTreeSet<Unit>,
    /// The steps that were not needed.
    pub unneeded: BTreeSet<Unit>,
    /// How many items each fanned-out step has.
    pub fans: BTreeMap<Unit, u16>,
    /// The branches, in the order in which they were registered.
    pub registered: Vec<Unit>,
    /// When it turns round if it is undecided.
    pub deadline_at: Option<Timestamp>,
    /// Whether it only goes forward from here on.
    pub past: bool,
    /// The steps parked now.
    pub parked: BTreeSet<Unit>,
    /// The steps that were ever parked.
    pub ever_parked: BTreeSet<Unit>,
    /// How often each of them was.
    pub times_parked: BTreeMap<Unit, usize>,
    /// The steps being retried for somebody.
    pub retried: BTreeSet<Unit>,
    /// The steps an operator says are made good by hand.
    pub by_hand: BTreeSet<Unit>,
    /// The steps an operator leaves undone.
    pub skipped: BTreeSet<Unit>,
    /// The steps an operator does without, in a saga that only goes forward.
    pub waived: BTreeSet<Unit>,
    /// Whether an operator has given it up.
    pub given_up: bool,
    /// What was asked for by operators and is in the journal.
    pub asked: BTreeSet<String>,
    /// The attempts that failed, by call.
    pub failed: BTreeMap<(Unit, Op), u32>,
    /// Whether it turned round.
    pub turned: bool,
    /// Whether it was completed and then turned round.
    pub reverted: bool,
    /// How it ended.
    pub ended: Option<Status>,
    /// The epoch of its last successful write.
    pub epoch: u64,
    /// The highest epoch ever claimed.
    pub claimed: u64,
    /// The number of events.
    pub seq: u64,
}

impl Facts {
    pub(super) fn of(first: &Record) -> Facts {
        let Event::Started { hash, input, deadline_at, .. } = &first.event else {
            panic!("a journal begins with its start");
        };
        Facts {
            plan: Plan::find(hash),
            cart: Cart::from_json(input),
            intents: BTreeSet::new(),
            running: BTreeSet::new(),
            undoing: BTreeSet::new(),
            done: BTreeSet::new(),
            doubted: BTreeSet::new(),
            left: BTreeSet::new(),
            pending: BTreeSet::new(),
            unneeded: BTreeSet::new(),
            fans: BTreeMap::new(),
            registered: Vec::new(),
            deadline_at: *deadline_at,
            past: false,
            parked: BTreeSet::new(),
            ever_parked: BTreeSet::new(),
            times_parked: BTreeMap::new(),
            retried: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            skipped: BTreeSet::new(),
            waived: BTreeSet::new(),
            given_up: false,
            asked: BTreeSet::new(),
            failed: BTreeMap::new(),
            turned: false,
            reverted: false,
            ended: None,
            epoch: 1,
            claimed: 1,
            seq: 0,
        }
    }

    pub(super) fn event(&mut self, id: SagaId, record: &Record) -> Option<Violation> {
        let event = &record.event;
        let reverts = match event {
            Event::TakenOver { .. } => true,
            Event::Compensating { error, .. } => error.kind == CauseKind::Reverted,
            _ => false,
        };
        if let Some(status) = self.ended.filter(|status| !(reverts && *status == Status::Completed)) {
            return Some(format!("I4: {id} had ended {status:?}, then came {event:?}"));
        }
        match event.step() {
            Some(name) => self.unit_event(id, self.plan.unit(name), record),
            None => self.saga_event(id, event),
        }
    }

    fn saga_event(&mut self, id: SagaId, event: &Event) -> Option<Violation> {
        match event {
            Event::TakenOver { .. } => self.doubted.extend(self.running.iter()),
            Event::Renewed { deadline_at } => self.deadline_at = Some(*deadline_at),
            Event::Committed if self.turned || self.past => {
                return Some(format!("I35: {id} was committed after it was decided"));
            }
            Event::Committed => self.past = true,
            Event::Compensating { .. } | Event::Completed { .. } | Event::Compensated | Event::Abandoned => {
                return self.turns(id, event);
            }
            _ => {}
        }
        None
    }

    fn unit_event(&mut self, id: SagaId, unit: Unit, record: &Record) -> Option<Violation> {
        let event = &record.event;
        match event {
            Event::CallStarted { op, .. } => return self.begun(id, unit, *op),
            Event::StepSkipped { .. } => {
                self.unneeded.insert(unit);
                self.past |= self.plan.pivot() == Some(unit);
            }
            Event::FannedOut { items, .. } => {
                let count = items.as_array().map_or(0, Vec::len) as u16;
                self.fans.insert(unit, count);
            }
            Event::BranchRegistered { .. } => return self.branch(id, unit, record.at),
            Event::CallFailed { op, .. } => {
                let max = self.attempts_max(unit, *op);
                let failed = self.failed.entry((unit, *op)).or_default();
                *failed += 1;
                if *op != Op::Compensation {
                    self.doubted.insert(unit);
                }
                if *failed >= max {
                    return Some(format!(
                        "I24: {} {unit} of {id} failed {failed} times and goes on",
                        op.as_str()
                    ));
                }
            }
            Event::CallPending { op, .. } if *op != Op::Compensation => drop(self.pending.insert(unit)),
            Event::CallNotSeen { op, .. } if *op != Op::Compensation => drop(self.pending.remove(&unit)),
            Event::CallDone { op, .. } => return self.did(id, unit, *op),
            Event::CallExhausted { op, .. }
            | Event::CallRefused { op, .. }
            | Event::CallUnprepared { op, .. } => return self.fails(id, unit, *op, event),
            Event::RepairAssigned { audit, op, .. }
            | Event::RepairRetried { audit, op, .. }
            | Event::RepairResolved { audit, op, .. }
            | Event::RepairProven { audit, op, .. }
            | Event::RepairSkipped { audit, op, .. }
            | Event::RepairAbandoned { audit, op, .. } => {
                return self.repaired(id, (unit, *op), event, audit.note.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        None
    }

    fn begun(&mut self, id: SagaId, unit: Unit, op: Op) -> Option<Violation> {
        if !self.intents.insert((unit, op)) {
            return Some(format!("I14: {id} began {} {unit} twice", op.as_str()));
        }
        let of_step = |set: &BTreeSet<Unit>, plan: &Plan| {
            let base = plan.base(unit);
            set.iter().filter(|other| plan.base(**other) == base).count()
        };
        if op == Op::Compensation {
            self.undoing.insert(unit);
            if !self.turned {
                return Some(format!("I5: {id} undoes step {unit} without having turned round"));
            }
        } else {
            self.running.insert(unit);
            if self.plan.pivot() == Some(unit) && !self.plan.has_undo(unit) {
                self.past = true;
            }
            if self.turned {
                return Some(format!("I5: {id} began step {unit} after the turn"));
            }
            if self.unneeded.contains(&unit) {
                return Some(format!("I32: {id} began step {unit}, which is not needed"));
            }
        }
        let under_way = if op == Op::Compensation { &self.undoing } else { &self.running };
        let (count, most) = (of_step(under_way, self.plan), self.plan.parallel(unit));
        (!self.plan.is_open() && count > most).then(|| {
            format!(
                "I33: {count} items of step {} of {id} are under way, {most} may be",
                self.plan.base(unit)
            )
        })
    }

    /// Sees a branch registered: before the decision, and while there is time.
    fn branch(&mut self, id: SagaId, unit: Unit, at: Timestamp) -> Option<Violation> {
        let in_time = self.deadline_at.is_none_or(|deadline| at < deadline);
        if self.turned || self.past || !in_time {
            return Some(format!("I35: branch {unit} of {id} was registered after the decision"));
        }
        let is_new = !self.registered.contains(&unit);
        self.registered.push(unit);
        (!is_new).then(|| format!("I35: branch {unit} of {id} was registered twice"))
    }

    fn did(&mut self, id: SagaId, unit: Unit, op: Op) -> Option<Violation> {
        self.running.remove(&unit);
        self.retried.remove(&unit);
        if op == Op::Compensation {
            self.undoing.remove(&unit);
        } else {
            self.past |= self.plan.pivot() == Some(unit);
        }
        let is_new = self.done.insert((unit, op));
        (!is_new).then(|| format!("I36: {} {unit} of {id} was answered twice", op.as_str()))
    }

    fn fails(&mut self, id: SagaId, unit: Unit, op: Op, event: &Event) -> Option<Violation> {
        let failed = self.failed.get(&(unit, op)).copied().unwrap_or(0) + 1;
        let early = match event {
            Event::CallExhausted { timeout, .. } => failed < self.attempts_max(unit, op) && !timeout,
            _ => false,
        };
        if self.done.contains(&(unit, op)) {
            return Some(format!("I36: {} {unit} of {id} was answered in two ways", op.as_str()));
        }
        self.running.remove(&unit);
        self.undoing.remove(&unit);
        let unsent = matches!(event, Event::CallExhausted { unsent: true, .. });
        if unsent && self.left.contains(&unit) {
            return Some(format!("I41: step {unit} of {id} counts as never sent and was"));
        }
        let exhausted = matches!(event, Event::CallExhausted { unsent: false, .. });
        let misled =
            matches!(event, Event::CallRefused { contract: true, .. }) && self.pending.contains(&unit);
        if op != Op::Compensation && (exhausted || misled) {
            self.doubted.insert(unit);
        }
        if op != Op::Compensation && self.plan.pivot() == Some(unit) && !self.doubted.contains(&unit) {
            // A pivot that was refused was not passed.
            self.past = false;
        }
        if op != Op::Compensation && !self.past {
            return None;
        }
        self.park(unit);
        early.then(|| format!("I22: step {unit} of {id} was parked after {failed} attempts"))
    }

    /// Sees a saga turn round or end.
    fn turns(&mut self, id: SagaId, event: &Event) -> Option<Violation> {
        match event {
            Event::Compensating { unsent, .. } => {
                self.reverted = self.ended.take().is_some();
                let sent = unsent.iter().find(|step| self.left.contains(&self.plan.unit(step)));
                if let Some(step) = sent {
                    return Some(format!("I41: step {step} of {id} counts as never sent and was"));
                }
                if self.past {
                    return Some(format!("I37: {id} turned round past its point of no return"));
                }
                if std::mem::replace(&mut self.turned, true) {
                    return Some(format!("I5: {id} turned round twice"));
                }
                // The barrier keeps what comes late of these.
                self.running.clear();
            }
            Event::Completed { .. } => {
                self.ended = Some(Status::Completed);
                if self.turned {
                    return Some(format!("I5: {id} completed after it had turned round"));
                }
                if !self.parked.is_empty() {
                    return Some(format!("I38: {id} completed with steps {:?} parked", self.parked));
                }
            }
            Event::Compensated => {
                self.ended = Some(Status::Compensated);
                if !self.skipped.is_empty() {
                    let left = &self.skipped;
                    return Some(format!("I7: {id} is called compensated with {left:?} left undone"));
                }
                if !self.parked.is_empty() {
                    let parked = &self.parked;
                    return Some(format!("I22: {id} is called compensated with steps {parked:?} parked"));
                }
            }
            Event::Abandoned => {
                self.ended = Some(Status::Abandoned);
                if self.skipped.is_empty() && !self.given_up {
                    return Some(format!("I31: {id} is abandoned and nobody asked for it"));
                }
            }
            _ => {}
        }
        None
    }

    fn park(&mut self, unit: Unit) {
        self.parked.insert(unit);
        self.ever_parked.insert(unit);
        *self.times_parked.entry(unit).or_default() += 1;
        self.retried.remove(&unit);
    }

    /// Sees what an operator has done: once for each time it was asked for, and only to a stuck step.
    fn repaired(
        &mut self,
        id: SagaId,
        (unit, op): Branched,
        event: &Event,
        asked: &str,
    ) -> Option<Violation> {
        // Who looks after an item is whoever was named last, also when a repeat names them again.
        let is_new = self.asked.insert(asked.to_owned());
        if !is_new && !matches!(event, Event::RepairAssigned { .. }) {
            return Some(format!("I31: \"{asked}\" was done twice to {id}"));
        }
        if !self.parked.contains(&unit) && !self.retried.contains(&unit) {
            return Some(format!("I22: {event:?} of {id} meets a step that is not stuck"));
        }
        if matches!(event, Event::RepairAssigned { .. }) {
            return None;
        }
        self.parked.remove(&unit);
        self.retried.remove(&unit);
        self.running.remove(&unit);
        self.undoing.remove(&unit);
        match event {
            Event::RepairRetried { .. } => {
                self.retried.insert(unit);
                self.failed.remove(&(unit, op));
                // One whose body could not be made begins only now.
                self.intents.insert((unit, op));
                if op == Op::Compensation {
                    self.undoing.insert(unit)
                } else {
                    self.running.insert(unit)
                };
            }
            Event::RepairResolved { .. } => drop(self.by_hand.insert(unit)),
            Event::RepairSkipped { .. } if op == Op::Compensation => drop(self.skipped.insert(unit)),
            Event::RepairSkipped { .. } => drop(self.waived.insert(unit)),
            Event::RepairAbandoned { .. } => self.given_up = true,
            _ => {}
        }
        None
    }

    fn attempts_max(&self, unit: Unit, op: Op) -> u32 {
        let is_retried = self.retried.contains(&unit);
        let Some(step) = self.plan.step(unit) else {
            let terms = self.cart.branch_terms(unit).1;
            return match (op, is_retried) {
                (Op::Compensation, true) => terms.undo_retry.quick.max(1),
                (Op::Compensation, false) => terms.undo_retry.attempts_max(),
                (_, true) => Schedule::QUICK.attempts,
                (_, false) => terms.retry.attempts_max(),
            };
        };
        match op {
            Op::Compensation if is_retried => step.undo().expect("a step with an undo").retry.quick.max(1),
            Op::Action | Op::Confirm if is_retried => Schedule::QUICK.attempts,
            Op::Action | Op::Confirm => step.call().expect("a step that calls").retry.attempts,
            Op::Compensation => step.undo().expect("a step with an undo").retry.attempts_max(),
        }
    }

    /// A step of the definition, or its items in its place.
    pub(super) fn members(&self, base: Unit) -> Vec<Unit> {
        match self.fans.get(&base) {
            Some(count) => (0..*count).map(|index| self.plan.item(base, index)).collect(),
            None => vec![base],
        }
    }

    /// Everything that is done and undone by itself.
    pub(super) fn units(&self) -> Vec<Unit> {
        if self.plan.is_open() {
            return self.registered.clone();
        }
        (0..self.plan.later.len() as u16).flat_map(|base| self.members(base)).collect()
    }

    /// The units that came after one.
    pub(super) fn later(&self, unit: Unit) -> Vec<Unit> {
        if self.plan.is_open() {
            let place = self.registered.iter().position(|other| *other == unit);
            return self.registered.iter().skip(place.map_or(usize::MAX, |at| at + 1)).copied().collect();
        }
        let later = self.plan.later[usize::from(self.plan.base(unit))].iter();
        later.flat_map(|base| self.members(*base)).collect()
    }

    /// Whether an effect comes in its turn: nothing is undone while something built on it stands.
    pub(super) fn order(&self, (id, unit): Branch, op: Op, shop: &Participants) -> Option<Violation> {
        let of = |other: Unit| shop.barriers.get(&(id, other));
        let stands = |other: Unit| of(other).is_some_and(|barrier| barrier.effects > barrier.undo_effects);
        match op {
            Op::Compensation => {
                let standing = self.later(unit).into_iter().find(|later| {
                    stands(*later) && self.plan.has_undo(*later) && !self.ever_parked.contains(later)
                });
                if let Some(standing) = standing {
                    return Some(format!("I10: step {unit} of {id} was undone while step {standing} stood"));
                }
                let siblings = self.members(self.plan.base(unit)).into_iter().filter(|other| *other > unit);
                let waits =
                    |other: &Unit| stands(*other) && !self.intents.contains(&(*other, Op::Compensation));
                let waiting = siblings.filter(|_| !self.plan.is_open()).find(waits)?;
                Some(format!("I34: item {unit} of {id} was undone before item {waiting}"))
            }
            Op::Action => {
                let undone = |other: Unit| of(other).is_some_and(|barrier| barrier.undo_effects > 0);
                // A parked step that was passed over is known to be in doubt: a repair item holds it.
                if !self.plan.has_undo(unit) || self.ever_parked.contains(&unit) {
                    return None;
                }
                let mut before =
                    self.units().into_iter().filter(|before| self.later(*before).contains(&unit));
                let gone = before.find(|before| undone(*before))?;
                Some(format!("I10: step {unit} of {id} took effect after step {gone} before it was undone"))
            }
            Op::Confirm => None,
        }
    }
}

type Branched = (Unit, Op);
