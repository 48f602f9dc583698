//! What must hold once nothing can happen any more, and what a saga's life has shown.

use super::{Facts, Violation};
use crate::world::{
    count::Situation,
    participant::{Hold, Order, Participants},
    shop::{Cart, Unit},
};
use amends_saga::{CauseKind, Event, Op, Record, Saga, SagaId, Status, coordinator::Head};
use std::collections::BTreeSet;

impl Facts {
    pub(super) fn at_rest(&self, id: SagaId, shop: &Participants) -> Vec<Violation> {
        let mut broken = Vec::new();
        for unit in self.units().into_iter().filter(|unit| self.plan.has_effect(*unit)) {
            broken.extend(self.unit_at_rest(id, unit, shop));
        }
        if self.ended.is_none() && self.parked.is_empty() {
            broken.push(format!("I3: {id} has neither ended nor is it parked"));
        }
        broken
    }

    fn unit_at_rest(&self, id: SagaId, unit: Unit, shop: &Participants) -> Option<Violation> {
        let barrier = shop.barriers.get(&(id, unit)).cloned().unwrap_or_default();
        let (did, undid) = (barrier.effects, barrier.undo_effects);
        let has_undo = self.plan.has_undo(unit);
        let by_hand = self.by_hand.contains(&unit) || self.waived.contains(&unit);
        let wanted = u32::from(!self.unneeded.contains(&self.plan.base(unit)));
        match self.ended {
            Some(Status::Completed) if (did, undid) != (wanted, 0) && !by_hand => {
                Some(format!("I6: {id} completed with step {unit} done {did} and undone {undid} times"))
            }
            Some(Status::Completed) if self.plan.is_open() && !by_hand => {
                let confirms = u32::from(self.cart.branch_terms(unit).1.confirm.is_some());
                let confirmed = barrier.confirm_effects;
                (confirmed != confirms)
                    .then(|| format!("I35: {id} completed with branch {unit} confirmed {confirmed} times"))
            }
            Some(Status::Compensated) if did != undid && has_undo && !by_hand => {
                Some(format!("I7: {id} is compensated with step {unit} done {did} and undone {undid} times"))
            }
            Some(Status::Abandoned) if did != undid && has_undo && !self.given_up && !self.is_debt(unit) => {
                let skipped = &self.skipped;
                Some(format!(
                    "I7: {id} left only {skipped:?} undone, and step {unit} is done {did} and undone {undid} times"
                ))
            }
            None if self.turned && did != undid && has_undo && !self.holds_up(unit) => {
                Some(format!("I22: step {unit} of {id} stands and no repair item holds it"))
            }
            None if !self.turned && did < wanted && !by_hand && !self.waits_for_item(unit) => {
                Some(format!("I38: step {unit} of {id} is not done and no repair item is open for it"))
            }
            _ => None,
        }
    }

    /// Whether a step that is not done is parked itself, or comes after one that is.
    fn waits_for_item(&self, unit: Unit) -> bool {
        let base = self.plan.base(unit);
        let held = |parked: &Unit| {
            *parked == unit || self.plan.base(*parked) == base || self.later(*parked).contains(&unit)
        };
        // The confirm of a branch stands in for its work, which the caller did.
        self.parked.iter().any(held) || self.plan.is_open()
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
            found.extend(self.life(&record.event));
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
                Event::CallExhausted { step, op: Op::Action, timeout, unsent, .. } => {
                    open.remove(step.as_str());
                    found.extend(unsent.then_some(Situation::NeverSent));
                    found.extend(timeout.then_some(Situation::Overdue));
                }
                Event::AwaitDone { by_default: true, .. } => found.push(Situation::PaymentDefault),
                Event::Compensating { error, unsent } => {
                    found.extend((!unsent.is_empty()).then_some(Situation::NeverSent));
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

    /// What an event tells of what the language can do.
    fn life(&self, event: &Event) -> Option<Situation> {
        match event {
            Event::StepSkipped { .. } => Some(Situation::NotNeeded),
            Event::FanDone { .. } => Some(Situation::ItemsDone),
            Event::CallStarted { step, op: Op::Compensation, .. } if step.contains('[') => {
                Some(Situation::ItemsUndone)
            }
            Event::BranchRegistered { .. } => Some(Situation::BranchRegistered),
            Event::Renewed { .. } => Some(Situation::Renewed),
            Event::Committed => Some(Situation::Committed),
            Event::Compensating { error, .. } if error.kind == CauseKind::Reverted => {
                Some(Situation::Reverted)
            }
            Event::Compensating { error, .. } if self.plan.is_open() => Some(match error.kind {
                CauseKind::Timeout => Situation::OpenTimedOut,
                _ => Situation::RolledBack,
            }),
            Event::CallStarted { op: Op::Confirm, .. } => Some(Situation::ConfirmSent),
            Event::CallRefused { step, op, .. } | Event::CallExhausted { step, op, .. }
                if *op != Op::Compensation && self.ever_parked.contains(&self.plan.unit(step)) =>
            {
                (!self.turned).then_some(Situation::ParkedForward)
            }
            Event::RepairRetried { op, .. } if *op != Op::Compensation => Some(Situation::RetriedForward),
            Event::RepairSkipped { op, .. } if *op != Op::Compensation => Some(Situation::DoneWithout),
            Event::RepairProven { op, .. } if *op != Op::Compensation => Some(Situation::ProvenDone),
            _ => None,
        }
    }

    /// Whether an operator has taken a step out of the coordinator's hands.
    fn is_debt(&self, unit: Unit) -> bool {
        self.by_hand.contains(&unit) || self.skipped.contains(&unit)
    }

    /// Whether a step is parked, or waits for one that is.
    fn holds_up(&self, unit: Unit) -> bool {
        let siblings = self.members(self.plan.base(unit)).into_iter();
        self.parked.contains(&unit)
            || self.later(unit).into_iter().chain(siblings).any(|l| self.parked.contains(&l))
    }

    /// Whether the three databases tell one story of the saga.
    pub(super) fn agrees(&self, id: SagaId, shop: &Participants) -> Option<Violation> {
        if self.plan.is_open() {
            return None;
        }
        let action = |name: &str| {
            let named = |s: &amends_saga::Step| s.call().is_some_and(|c| c.action.name.as_str() == name);
            self.plan.definition.steps().find(|(_, s)| named(s)).map(|(ix, s)| (ix, s.fan.is_some()))
        };
        let parts = self.cart.parts();
        let whole = std::slice::from_ref(&self.cart);
        let held = match action("hold") {
            Some((_, true)) => &parts[..],
            _ => whole,
        };
        let hold = |cart: &Cart| shop.holds.get(&cart.order).map(|(hold, _)| *hold);
        let order = shop.orders.get(&self.cart.order).copied();
        let counted = |cart: &Cart| shop.counted.get(&cart.order).copied().unwrap_or(0);
        let all: i64 = counted(&self.cart) + parts.iter().map(counted).sum::<i64>();
        let pieces: i64 = self.cart.lines.iter().map(|line| line.pieces).sum();
        let counts = self.plan.definition.steps().filter(|(ix, step)| {
            let records = step.call().is_some_and(|call| call.action.name.as_str() == "record");
            records && !self.unneeded.contains(&ix.0)
        });
        let wanted = pieces * counts.count() as i64;
        let stands = |hold: Option<Hold>| matches!(hold, Some(Hold::Held | Hold::Sold));
        match self.ended {
            Some(Status::Completed) if self.by_hand.is_empty() && self.waived.is_empty() => {
                let end = if action("confirm").is_some() { Hold::Sold } else { Hold::Held };
                let ordered = if action("pay").is_some() { Order::Paid } else { Order::Created };
                let agree = held.iter().all(|cart| hold(cart) == Some(end)) && order == Some(ordered);
                (!agree || all != wanted).then(|| {
                    format!(
                        "I20: {id} completed with {order:?}, {all} of {wanted} counted, or with another hold"
                    )
                })
            }
            Some(Status::Compensated) if self.by_hand.is_empty() => {
                let ordered = matches!(order, Some(Order::Created | Order::Paid));
                let left = held.iter().any(|cart| stands(hold(cart))) || ordered || all != 0;
                left.then(|| {
                    format!("I20: {id} is compensated with {order:?}, {all} counted, or with a hold")
                })
            }
            _ => None,
        }
    }

    /// Whether the journal folds to what the store says beside it.
    pub(super) fn folds(&self, id: SagaId, head: &Head, records: &[Record]) -> Vec<Violation> {
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

pub(super) fn stock(shop: &Participants) -> Vec<Violation> {
    let oversold = shop.stock.iter().enumerate().filter(|(_, s)| s.available < 0 || s.held < 0 || s.sold < 0);
    oversold.map(|(sku, stock)| format!("I17: SKU {sku} is {stock:?}")).collect()
}

/// Whether every piece set aside or sold belongs to a cart that is held or sold in full.
pub(super) fn holds(shop: &Participants) -> Vec<Violation> {
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
