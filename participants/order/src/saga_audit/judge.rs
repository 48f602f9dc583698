//! One step: what was answered, which events tell of it and how the order stands, held against each other.

use std::collections::HashMap;

use amends_sdk::barrier::Step;
use amends_sdk::saga_audit::effect;
use amends_wire::audit::{Effect, EffectState, Reported, names};
use serde_json::{Value, json};

use super::rows::{Event, Order, Refund};
use crate::book::ALREADY;
use crate::command::Operation;
use crate::state::State;

/// A step and the order it is about.
struct Judging<'a> {
    step: &'a Step,
    number: &'a str,
    order: &'a Order,
    /// The events of its action.
    events: Vec<&'a Event>,
    /// What was called, as far as the rows still tell.
    operation: Option<Operation>,
    findings: &'a mut Vec<Reported>,
}

/// Says what was done for a step; whatever is wrong with it goes to `findings`.
pub(super) fn judge(step: &Step, orders: &HashMap<String, Order>, findings: &mut Vec<Reported>) -> Effect {
    let number = step.answer["order"].as_str();
    let Some((number, order)) = number.and_then(|number| Some((number, orders.get(number)?))) else {
        return effect(step);
    };
    let saga = step.saga.to_string();
    let is_mine = |event: &&Event| event.saga == saga && event.step == step.step && event.op == "action";
    let events: Vec<&Event> = order.events.iter().filter(is_mine).collect();
    let placed = order.head.as_ref().is_some_and(|head| head.saga == saga && head.step == step.step);
    let operation = match events.first() {
        Some(event) => Operation::named(&event.operation),
        None if placed => Some(Operation::Create),
        None => None,
    };
    let mut judging = Judging { step, number, order, events, operation, findings };
    match step.state {
        // Events of a step that has done nothing are met by the walk along the events.
        EffectState::Pending | EffectState::Barred => return effect(step),
        EffectState::Applied => judging.done(&saga),
        EffectState::Undone => {
            judging.done(&saga);
            judging.undone(&saga);
        }
    }
    Effect { effect: Some(judging.effect(&saga)), ..effect(step) }
}

impl Judging<'_> {
    /// The action has one event, and what it wrote is there.
    fn done(&mut self, saga: &str) {
        let ids: Vec<i64> = self.events.iter().map(|event| event.id).collect();
        let number = self.number;
        match ids.len() {
            0 if self.step.answer[ALREADY] == true => {}
            0 => self.find(names::EFFECT_LOST, format!("no event of order {number} tells of it"), json!({})),
            1 => {}
            count => {
                let message = format!("{count} events of order {number} tell of it");
                self.find(names::DOUBLED_EFFECT, message, json!({ "events": ids }));
            }
        }
        match self.operation {
            Some(Operation::Create) => self.placed(),
            Some(Operation::Refund | Operation::RefundBegin) => self.refunded(saga),
            _ if self.order.head.is_none() => self.gone(),
            _ => {}
        }
    }

    fn gone(&mut self) {
        let message = format!("order {} is gone", self.number);
        self.find(names::EFFECT_LOST, message, json!({}));
    }

    /// The order and all its lines are there, and come to what was answered.
    fn placed(&mut self) {
        let number = self.number;
        let Some(head) = &self.order.head else { return self.gone() };
        let lines = &self.order.lines;
        let last = lines.iter().map(|line| line.line_no).max().unwrap_or(0);
        let told = self.step.answer["total_minor"].as_i64();
        let sum: i128 = lines.iter().map(|line| i128::from(line.qty) * i128::from(line.price_minor)).sum();
        let detail = json!({
            "answered_minor": told, "amount_minor": head.amount_minor, "lines": lines.len(), "last_line": last,
            "lines_minor": i64::try_from(sum).ok(),
        });
        if lines.is_empty() || last != lines.len() as i64 {
            let message = format!("order {number} has {} lines, and the last is line {last}", lines.len());
            self.find(names::EFFECT_LOST, message, detail);
        } else if Some(head.amount_minor) != told || sum != i128::from(head.amount_minor) {
            let message = format!(
                "order {number} comes to {}, its lines to {sum}, and the caller was told {}",
                head.amount_minor,
                told.unwrap_or_default()
            );
            self.find(names::WRONG_QUANTITY, message, detail);
        }
    }

    /// The refund is there once, and is what was answered.
    fn refunded(&mut self, saga: &str) {
        let told = self.step.answer["refund"]["amount_minor"].as_i64();
        let made: Vec<&Refund> = self.refunds(saga);
        let amounts: Vec<i64> = made.iter().map(|refund| refund.amount_minor).collect();
        let (number, detail) = (self.number, json!({ "answered_minor": told, "refunds_minor": amounts }));
        match amounts[..] {
            [] => self.find(names::EFFECT_LOST, format!("the refund of order {number} is gone"), detail),
            [amount] if Some(amount) != told => {
                let message =
                    format!("the refund of order {number} is {amount}, not {}", told.unwrap_or_default());
                self.find(names::WRONG_QUANTITY, message, detail);
            }
            [_] => {}
            _ => self.find(
                names::DOUBLED_EFFECT,
                format!("{} refunds were made for it", amounts.len()),
                detail,
            ),
        }
    }

    /// The order stands where undoing the step leads.
    fn undone(&mut self, saga: &str) {
        let (Some(operation), Some(head)) = (self.operation, &self.order.head) else { return };
        let Some(state) = State::named(&head.state) else { return };
        let is_undone = match operation {
            Operation::Create => state == State::Cancelled,
            Operation::Pay => matches!(state, State::Refunded | State::Cancelled),
            Operation::RefundBegin => self.refunds(saga).iter().all(|refund| refund.state == "called_off"),
            Operation::Reserve
            | Operation::Ship
            | Operation::Complete
            | Operation::Refund
            | Operation::RefundEnd
            | Operation::RefundAbort
            | Operation::Cancel
            | Operation::TimeOut => true,
        };
        if !is_undone {
            let message = format!("{operation} is undone, but order {} is {state}", self.number);
            self.find(names::EFFECT_LEFT_BEHIND, message, json!({ "order": self.number, "state": state }));
        }
    }

    fn refunds(&self, saga: &str) -> Vec<&'_ Refund> {
        let step = &self.step.step;
        self.order.refunds.iter().filter(|refund| refund.saga == saga && refund.step == *step).collect()
    }

    /// What was done, in the words of the body.
    fn effect(&self, saga: &str) -> Value {
        let mut done = json!({ "order": self.number });
        match (self.operation, &self.order.head) {
            (Some(Operation::Create), Some(head)) => {
                let line = |line: &super::rows::Line| json!({ "sku": line.sku, "qty": line.qty, "price_minor": line.price_minor });
                done["customer"] = json!(head.customer);
                done["currency"] = json!(head.currency);
                done["lines"] = self.order.lines.iter().map(line).collect();
                done["total_minor"] = json!(head.amount_minor);
                done["total"] = json!(head.amount_minor);
            }
            (Some(Operation::Pay), Some(head)) => done["amount_minor"] = json!(head.amount_minor),
            (Some(Operation::Refund | Operation::RefundBegin), _) => {
                if let [refund] = self.refunds(saga)[..] {
                    let line = |(sku, qty): &(i64, i64)| json!({ "sku": sku, "qty": qty });
                    done["refund"] = json!(refund.number);
                    done["lines"] = refund.lines.iter().map(line).collect();
                }
            }
            _ => {}
        }
        done
    }

    fn find(&mut self, name: &str, message: String, detail: Value) {
        let mut detail = detail;
        detail["order"] = json!(self.number);
        self.findings.push(Reported {
            name: name.to_owned(),
            saga: Some(self.step.saga),
            step: Some(self.step.step.clone()),
            message,
            detail: Some(detail),
        });
    }
}
