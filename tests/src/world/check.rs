//! The invariants, checked from outside: from what was committed and what the participants hold.
//!
//! Nothing here calls the core to learn what is right; only at the end are journals folded, to show that
//! the fold is what the coordinators believed (I15). The names I1 to I24 are those of the project's list
//! of invariants.

mod queue;

use super::{
    count::Situation,
    participant::{Branch, Hold, Order, Participants},
    shop::{Cart, Plan},
};
use amends_saga::{
    CauseKind, Direction, Event, Op, Record, Saga, SagaId, Status,
    coordinator::{Fingerprint, Head},
};
use std::collections::{BTreeMap, BTreeSet};

/// A broken invariant, with the law it breaks.
pub type Violation = String;

/// What is known of one saga from its durable journal.
#[derive(Debug)]
pub struct Facts {
    /// What it runs.
    pub plan: &'static Plan,
    /// Its cart.
    pub cart: Cart,
    /// The calls whose intent is durable.
    pub intents: BTreeSet<(u16, Op)>,
    /// The steps parked now.
    pub parked: BTreeSet<u16>,
    /// The steps that were ever parked.
    pub ever_parked: BTreeSet<u16>,
    /// How often each of them was.
    pub times_parked: BTreeMap<u16, usize>,
    /// The steps being retried for somebody.
    pub retried: BTreeSet<u16>,
    /// The steps an operator says are made good by hand.
    pub by_hand: BTreeSet<u16>,
    /// The steps an operator leaves undone.
    pub skipped: BTreeSet<u16>,
    /// Whether an operator has given it up.
    pub given_up: bool,
    /// What was asked for by operators and is in the journal.
    pub asked: BTreeSet<String>,
    /// The attempts that failed, by call.
    pub failed: BTreeMap<(u16, Op), u32>,
    /// Whether it turned round.
    pub turned: bool,
    /// How it ended.
    pub ended: Option<Status>,
    /// The epoch of its last successful write.
    pub epoch: u64,
    /// The highest epoch ever claimed.
    pub claimed: u64,
    /// The number of events.
    pub seq: u64,
}

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
            broken.extend(facts.event(id, &record.event));
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
    pub fn sent(&mut self, id: SagaId, step: u16, op: Op, believes: Direction) {
        let durable = self.sagas.get(&id).is_some_and(|facts| facts.intents.contains(&(step, op)));
        if !durable {
            self.violated(format!(
                "I11: {} {step} of {id} was sent before its intent was durable",
                op.as_str()
            ));
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
        if op == Op::Compensation && barrier.undo_effects > barrier.effects {
            broken.push(format!("I9: step {step} of {id} was undone but never done"));
        }
        match self.sagas.get(&id) {
            Some(facts) if facts.intents.contains(&(step, op)) => {
                broken.extend(facts.order(branch, op, shop))
            }
            _ => broken.push(format!("I11: {} {step} of {id} took effect without an intent", op.as_str())),
        }
        broken.extend(stock(shop));
        self.violations.append(&mut broken);
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

impl Facts {
    fn of(first: &Record) -> Facts {
        let Event::Started { hash, input, .. } = &first.event else {
            panic!("a journal begins with its start");
        };
        Facts {
            plan: Plan::find(hash),
            cart: Cart::from_json(input),
            intents: BTreeSet::new(),
            parked: BTreeSet::new(),
            ever_parked: BTreeSet::new(),
            times_parked: BTreeMap::new(),
            retried: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            skipped: BTreeSet::new(),
            given_up: false,
            asked: BTreeSet::new(),
            failed: BTreeMap::new(),
            turned: false,
            ended: None,
            epoch: 1,
            claimed: 1,
            seq: 0,
        }
    }

    fn event(&mut self, id: SagaId, event: &Event) -> Option<Violation> {
        let step =
            event.step().map(|name| self.plan.definition.find(name).expect("a step of its definition").0);
        if let Some(status) = self.ended {
            return Some(format!("I4: {id} had ended {status:?}, then came {event:?}"));
        }
        match event {
            Event::CallStarted { op, .. } => return self.begun(id, step.expect("a call has a step"), *op),
            Event::CallFailed { op, .. } => {
                let step = step.expect("a call has a step");
                let max = self.attempts_max(step, *op);
                let failed = self.failed.entry((step, *op)).or_default();
                *failed += 1;
                if *failed >= max {
                    return Some(format!(
                        "I24: {} {step} of {id} failed {failed} times and goes on",
                        op.as_str()
                    ));
                }
            }
            Event::CallExhausted { op, timeout, .. } => {
                let step = step.expect("a call has a step");
                let failed = self.failed.get(&(step, *op)).copied().unwrap_or(0) + 1;
                let spent = failed >= self.attempts_max(step, *op);
                if *op == Op::Compensation {
                    self.park(step);
                    if !spent && !timeout {
                        return Some(format!("I22: step {step} of {id} was parked after {failed} attempts"));
                    }
                }
            }
            Event::CallRefused { op: Op::Compensation, .. }
            | Event::CallUnprepared { op: Op::Compensation, .. } => {
                self.park(step.expect("a call has a step"));
            }
            Event::CallDone { op: Op::Compensation, .. } => drop(self.retried.remove(&step.expect("a step"))),
            Event::Compensating { .. } | Event::Completed { .. } | Event::Compensated | Event::Abandoned => {
                return self.turns(id, event);
            }
            Event::RepairAssigned { audit, .. }
            | Event::RepairRetried { audit, .. }
            | Event::RepairResolved { audit, .. }
            | Event::RepairProven { audit, .. }
            | Event::RepairSkipped { audit, .. }
            | Event::RepairAbandoned { audit, .. } => {
                let step = step.expect("an item has a step");
                return self.repaired(id, step, event, audit.note.as_deref().unwrap_or_default());
            }
            _ => {}
        }
        None
    }

    fn begun(&mut self, id: SagaId, step: u16, op: Op) -> Option<Violation> {
        let first = self.intents.insert((step, op));
        match op {
            Op::Action | Op::Confirm if self.turned => {
                Some(format!("I5: {id} began step {step} after the turn"))
            }
            Op::Compensation if !self.turned => {
                Some(format!("I5: {id} undoes step {step} without having turned round"))
            }
            _ if !first => Some(format!("I14: {id} began {} {step} twice", op.as_str())),
            _ => None,
        }
    }

    /// Sees a saga turn round or end.
    fn turns(&mut self, id: SagaId, event: &Event) -> Option<Violation> {
        match event {
            Event::Compensating { .. } if std::mem::replace(&mut self.turned, true) => {
                return Some(format!("I5: {id} turned round twice"));
            }
            Event::Completed { .. } => {
                self.ended = Some(Status::Completed);
                if self.turned {
                    return Some(format!("I5: {id} completed after it had turned round"));
                }
            }
            Event::Compensated => {
                self.ended = Some(Status::Compensated);
                if !self.skipped.is_empty() {
                    return Some(format!(
                        "I7: {id} is called compensated with {:?} left undone",
                        self.skipped
                    ));
                }
                if !self.parked.is_empty() {
                    return Some(format!(
                        "I22: {id} is called compensated with steps {:?} parked",
                        self.parked
                    ));
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

    fn park(&mut self, step: u16) {
        self.parked.insert(step);
        self.ever_parked.insert(step);
        *self.times_parked.entry(step).or_default() += 1;
        self.retried.remove(&step);
    }

    /// Sees what an operator has done: once for each time it was asked for, and only to a stuck step.
    fn repaired(&mut self, id: SagaId, step: u16, event: &Event, asked: &str) -> Option<Violation> {
        // Who looks after an item is whoever was named last, also when a repeat names them again.
        let is_new = self.asked.insert(asked.to_owned());
        if !is_new && !matches!(event, Event::RepairAssigned { .. }) {
            return Some(format!("I31: \"{asked}\" was done twice to {id}"));
        }
        if !self.parked.contains(&step) && !self.retried.contains(&step) {
            return Some(format!("I22: {event:?} of {id} meets a step that is not stuck"));
        }
        if matches!(event, Event::RepairAssigned { .. }) {
            return None;
        }
        self.parked.remove(&step);
        self.retried.remove(&step);
        match event {
            Event::RepairRetried { .. } => {
                self.retried.insert(step);
                self.failed.remove(&(step, Op::Compensation));
            }
            Event::RepairResolved { .. } => drop(self.by_hand.insert(step)),
            Event::RepairSkipped { .. } => drop(self.skipped.insert(step)),
            Event::RepairAbandoned { .. } => self.given_up = true,
            _ => {}
        }
        None
    }

    fn attempts_max(&self, step: u16, op: Op) -> u32 {
        let is_retried = self.retried.contains(&step);
        let step = self.plan.definition.step(amends_saga::StepIx(step));
        match op {
            Op::Compensation if is_retried => step.undo().expect("a step with an undo").retry.quick.max(1),
            Op::Action | Op::Confirm => step.call().expect("a step that calls").retry.attempts,
            Op::Compensation => step.undo().expect("a step with an undo").retry.attempts_max(),
        }
    }

    /// Whether an effect comes in its turn: nothing is undone while something built on it stands.
    fn order(&self, (id, step): Branch, op: Op, shop: &Participants) -> Option<Violation> {
        let stands = |other: u16| {
            shop.barriers.get(&(id, other)).is_some_and(|barrier| barrier.effects > barrier.undo_effects)
        };
        match op {
            Op::Compensation => {
                let mut later = self.plan.later[usize::from(step)].iter().copied();
                let standing =
                    later.find(|l| stands(*l) && self.plan.has_undo(*l) && !self.ever_parked.contains(l))?;
                Some(format!("I10: step {step} of {id} was undone while step {standing} stood"))
            }
            Op::Action | Op::Confirm => {
                let undone = |other: u16| {
                    shop.barriers.get(&(id, other)).is_some_and(|barrier| barrier.undo_effects > 0)
                };
                let before = (0..self.plan.later.len() as u16)
                    .filter(|u| self.plan.later[usize::from(*u)].contains(&step));
                // A parked step that was passed over is known to be in doubt: a repair item holds it.
                let mut before =
                    before.filter(|_| self.plan.has_undo(step) && !self.ever_parked.contains(&step));
                let gone = before.find(|u| undone(*u))?;
                Some(format!("I10: step {step} of {id} took effect after step {gone} before it was undone"))
            }
        }
    }

    fn at_rest(&self, id: SagaId, shop: &Participants) -> Vec<Violation> {
        let mut broken = Vec::new();
        for step in (0..self.plan.later.len() as u16).filter(|step| self.plan.has_effect(*step)) {
            let barrier = shop.barriers.get(&(id, step)).cloned().unwrap_or_default();
            let (did, undid) = (barrier.effects, barrier.undo_effects);
            match self.ended {
                Some(Status::Completed) if (did, undid) != (1, 0) => {
                    broken.push(format!(
                        "I6: {id} completed with step {step} done {did} and undone {undid} times"
                    ));
                }
                Some(Status::Compensated)
                    if did != undid && self.plan.has_undo(step) && !self.by_hand.contains(&step) =>
                {
                    broken.push(format!(
                        "I7: {id} is compensated with step {step} done {did} and undone {undid} times"
                    ));
                }
                Some(Status::Abandoned)
                    if did != undid && self.plan.has_undo(step) && !self.given_up && !self.is_debt(step) =>
                {
                    broken.push(format!(
                        "I7: {id} left only {:?} undone, and step {step} is done {did} and undone {undid} times",
                        self.skipped
                    ));
                }
                None if did != undid && self.plan.has_undo(step) && !self.holds_up(step) => {
                    broken.push(format!("I22: step {step} of {id} stands and no repair item holds it"));
                }
                _ => {}
            }
        }
        if self.ended.is_none() && self.parked.is_empty() {
            broken.push(format!("I3: {id} has neither ended nor is it parked"));
        }
        broken
    }

    /// The situations that a saga's journal shows to have been reached.
    pub fn summary(&self, records: &[Record]) -> Vec<Situation> {
        let mut found = Vec::new();
        found.extend(match self.ended {
            Some(Status::Completed) => Some(Situation::Completed),
            Some(Status::Compensated) => Some(Situation::Compensated),
            _ => None,
        });
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let mut doubted: BTreeSet<&str> = BTreeSet::new();
        let mut refused: BTreeSet<&str> = BTreeSet::new();
        let mut parked = false;
        let mut retried = false;
        for record in records {
            found.extend(repair_situation(&record.event, &mut retried));
            match &record.event {
                Event::CallStarted { step, op: Op::Action, .. } => drop(open.insert(step)),
                Event::CallStarted { step, op: Op::Compensation, .. } => {
                    found.extend(refused.contains(step.as_str()).then_some(Situation::RefusedInDoubt));
                    found.extend(parked.then_some(Situation::PassedOver));
                }
                Event::CallDone { step, op: Op::Action, .. } => drop(open.remove(step.as_str())),
                Event::CallFailed { step, op: Op::Action, .. } => drop(doubted.insert(step)),
                Event::TakenOver { .. } => doubted.extend(open.iter()),
                Event::CallRefused { step, op: Op::Action, .. } => {
                    open.remove(step.as_str());
                    refused.extend(doubted.get(step.as_str()));
                }
                Event::CallRefused { op: Op::Compensation, contract, .. } => {
                    parked = true;
                    let refused = Situation::ParkedRefused;
                    found.push(if *contract { Situation::ParkedContract } else { refused });
                }
                Event::CallExhausted { op: Op::Compensation, .. } => {
                    parked = true;
                    found.push(Situation::ParkedExhausted);
                }
                Event::CallExhausted { step, op: Op::Action, timeout, .. } => {
                    open.remove(step.as_str());
                    found.extend(timeout.then_some(Situation::Overdue));
                }
                Event::AwaitDone { by_default: true, .. } => found.push(Situation::PaymentDefault),
                Event::Compensating { error } => {
                    found.extend((!open.is_empty()).then_some(Situation::ParallelAtTurn));
                    found.extend((error.kind == CauseKind::Cancelled).then_some(Situation::CancelWon));
                    let deadline = error.kind == CauseKind::Timeout && error.message.contains("deadline");
                    found.extend(deadline.then_some(Situation::DeadlinePassed));
                }
                _ => {}
            }
        }
        found
    }

    /// Whether an operator has taken a step out of the coordinator's hands.
    fn is_debt(&self, step: u16) -> bool {
        self.by_hand.contains(&step) || self.skipped.contains(&step)
    }

    /// Whether a step is parked, or waits for one that is.
    fn holds_up(&self, step: u16) -> bool {
        self.parked.contains(&step)
            || self.plan.later[usize::from(step)].iter().any(|l| self.parked.contains(l))
    }

    /// Whether the three databases tell one story of the saga.
    fn agrees(&self, id: SagaId, shop: &Participants) -> Vec<Violation> {
        let mut broken = Vec::new();
        let has = |action: &str| {
            self.plan
                .definition
                .steps()
                .any(|(_, s)| s.call().is_some_and(|c| c.action.name.as_str() == action))
        };
        let hold = shop.holds.get(&self.cart.order).map(|(hold, _)| *hold);
        let order = shop.orders.get(&self.cart.order).copied();
        let counted = shop.counted.get(&self.cart.order).copied().unwrap_or(0);
        let pieces: i64 = self.cart.lines.iter().map(|line| line.pieces).sum();
        match self.ended {
            Some(Status::Completed) => {
                let held = if has("confirm") { Hold::Sold } else { Hold::Held };
                let ordered = if has("pay") { Order::Paid } else { Order::Created };
                if hold != Some(held) || order != Some(ordered) || (has("record") && counted != pieces) {
                    broken.push(format!(
                        "I20: {id} completed with {hold:?}, {order:?}, {counted} of {pieces} counted"
                    ));
                }
            }
            Some(Status::Compensated) if self.by_hand.is_empty() => {
                let held = matches!(hold, Some(Hold::Held | Hold::Sold));
                let ordered = matches!(order, Some(Order::Created | Order::Paid));
                if held || ordered || counted != 0 {
                    broken.push(format!(
                        "I20: {id} is compensated with {hold:?}, {order:?}, {counted} counted"
                    ));
                }
            }
            _ => {}
        }
        broken
    }

    /// Whether the journal folds to what the store says beside it.
    fn folds(&self, id: SagaId, head: &Head, records: &[Record]) -> Vec<Violation> {
        let saga = Saga::replay(id, self.plan.definition.clone(), records);
        let mut broken = Vec::new();
        if Head::of(&saga, head.fingerprint) != *head {
            broken.push(format!("I15: the head of {id} is not what its journal folds to"));
        }
        if records.len() as u64 != self.seq {
            broken.push(format!("I14: {id} has {} events, {} were committed", records.len(), self.seq));
        }
        broken
    }
}

/// What an event tells of the repair queue; `retried` says whether a retry is under way.
fn repair_situation(event: &Event, retried: &mut bool) -> Option<Situation> {
    match event {
        Event::RepairRetried { .. } => {
            *retried = true;
            None
        }
        Event::TakenOver { .. } => retried.then_some(Situation::RetriedAcrossTakeOver),
        Event::CallDone { op: Op::Compensation, .. } => {
            std::mem::take(retried).then_some(Situation::RetriedWell)
        }
        Event::CallRefused { op: Op::Compensation, .. }
        | Event::CallExhausted { op: Op::Compensation, .. } => {
            std::mem::take(retried).then_some(Situation::ParkedAgain)
        }
        Event::RepairResolved { .. } => Some(Situation::ResolvedByHand),
        Event::RepairProven { .. } => Some(Situation::ProvenUndone),
        Event::RepairSkipped { .. } => Some(Situation::LeftUndone),
        Event::RepairAbandoned { .. } => Some(Situation::GivenUp),
        _ => None,
    }
}

fn stock(shop: &Participants) -> Vec<Violation> {
    let oversold = shop.stock.iter().enumerate().filter(|(_, s)| s.available < 0 || s.held < 0 || s.sold < 0);
    oversold.map(|(sku, stock)| format!("I17: SKU {sku} is {stock:?}")).collect()
}

/// Whether every piece set aside or sold belongs to a cart that is held or sold in full.
fn holds(shop: &Participants) -> Vec<Violation> {
    let mut held = vec![0; shop.stock.len()];
    let mut sold = vec![0; shop.stock.len()];
    for (hold, lines) in shop.holds.values() {
        for line in lines {
            match hold {
                Hold::Held => held[line.sku] += line.pieces,
                Hold::Sold => sold[line.sku] += line.pieces,
                Hold::Released => {}
            }
        }
    }
    let wrong = shop.stock.iter().enumerate().filter(|(sku, s)| (s.held, s.sold) != (held[*sku], sold[*sku]));
    wrong.map(|(sku, stock)| format!("I18, I19: SKU {sku} is {stock:?}, its carts say otherwise")).collect()
}
