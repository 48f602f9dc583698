//! One step: what was answered, what the flows tell and how the holds stand, held against each other.

use std::collections::BTreeMap;

use amends_sdk::barrier::Step;
use amends_sdk::saga_audit::effect;
use amends_wire::audit::{Effect, EffectState, Reported, names};
use serde_json::{Value, json};

use super::rows::{Books, Flow, Hold};
use crate::ledger::FlowOp;

/// A line of an answer.
struct Line {
    sku: i64,
    qty: i64,
    hold: i64,
}

/// What a step's rows say, and what is wrong with them.
struct Judging<'a> {
    step: &'a Step,
    flows: Vec<&'a Flow>,
    /// The holds that the step made.
    made: Vec<&'a Hold>,
    /// Every hold of the order.
    holds: &'a [Hold],
    lines: Vec<Line>,
    findings: &'a mut Vec<Reported>,
}

/// Says what was done for a step; whatever is wrong with it goes to `findings`.
pub(super) fn judge(step: &Step, books: &Books, findings: &mut Vec<Reported>) -> Effect {
    let order = step.answer["order"].as_str();
    let holds = order.map_or(&[][..], |order| books.holds(order));
    let cause = (step.saga.to_string(), step.step.clone());
    let made: Vec<&Hold> = holds.iter().filter(|hold| hold.made_by == cause).collect();
    let flows = books.flows(step.saga, &step.step);
    // A step that sets something aside may have it confirmed as well, which is another call of the same step.
    let takes = !made.is_empty() || flows.iter().any(is_taking);
    let is_told =
        |flow: &&Flow| !is_transfer(flow) && is_of_action(flow, step.state) && (is_taking(flow) || !takes);
    let flows = flows.iter().filter(is_told).collect();
    let mut judging = Judging { step, flows, made, holds, lines: lines(&step.answer), findings };
    match step.state {
        EffectState::Pending => {}
        EffectState::Barred => judging.barred(),
        EffectState::Applied => judging.done(),
        EffectState::Undone => {
            judging.done();
            judging.undone(&cause);
        }
    }
    Effect {
        effect: order.map(|order| judging.effect(order)),
        expires_at: judging.expires_at(),
        ..effect(step)
    }
}

/// Whether a flow tells of a step's action rather than of its undoing.
fn is_of_action(flow: &Flow, state: EffectState) -> bool {
    let gives_back = [FlowOp::Release as i64, FlowOp::Restore as i64].contains(&flow.op);
    let reinstates = flow.op == FlowOp::Reinstate as i64;
    let undoes = gives_back && state == EffectState::Undone;
    !(reinstates || undoes)
}

fn lines(answer: &Value) -> Vec<Line> {
    let line = |line: &Value| {
        Some(Line { sku: line["sku"].as_i64()?, qty: line["qty"].as_i64()?, hold: line["hold"].as_i64()? })
    };
    answer["lines"].as_array().into_iter().flatten().filter_map(line).collect()
}

impl Judging<'_> {
    /// A call that was refused, or undone before it came, has written nothing.
    fn barred(&mut self) {
        if let Some(flow) = self.flows.first() {
            let message =
                format!("the step has done nothing, but flow {} tells of {} pieces", flow.id, flow.qty);
            self.find(names::EFFECT_THOUGH_BARRED, message, json!({ "flow": flow.id, "qty": flow.qty }));
        }
    }

    /// Of each line that was answered there is one flow, and the hold it names.
    fn done(&mut self) {
        for Line { sku, qty, hold } in std::mem::take(&mut self.lines) {
            let told: Vec<&Flow> =
                self.flows.iter().filter(|flow| flow.hold == Some(hold)).copied().collect();
            let kept = self.holds.iter().find(|kept| kept.id == hold).cloned();
            let about = format!("{qty} of sku {sku} in hold {hold}");
            let detail = json!({
                "sku": sku, "hold": hold, "answered": qty, "hold_qty": kept.as_ref().map(|hold| hold.qty),
                "flows": told.iter().map(|flow| json!({ "flow": flow.id, "qty": flow.qty })).collect::<Vec<_>>(),
            });
            let made = told.iter().any(|flow| is_taking(flow))
                || kept.as_ref().is_some_and(|hold| self.has_made(hold));
            match (kept, &told[..]) {
                (None, []) => {
                    self.find(names::EFFECT_LOST, format!("{about}: hold and flow are gone"), detail)
                }
                (None, _) => self.find(names::EFFECT_LOST, format!("{about}: the hold is gone"), detail),
                (_, []) => self.find(names::EFFECT_LOST, format!("{about}: no flow tells of it"), detail),
                (_, [_, _, ..]) => {
                    self.find(
                        names::DOUBLED_EFFECT,
                        format!("{about}: {} flows tell of it", told.len()),
                        detail,
                    );
                }
                (_, [flow]) if flow.qty != qty => {
                    let message = format!("{about}: its flow says {}", flow.qty);
                    self.find(names::WRONG_QUANTITY, message, detail);
                }
                (Some(hold), _) if made && hold.qty != qty => {
                    self.find(names::WRONG_QUANTITY, format!("{about}: the hold says {}", hold.qty), detail);
                }
                (Some(_), [_]) => {}
            }
            self.lines.push(Line { sku, qty, hold });
        }
        self.beside();
    }

    /// Nothing was written beside what was answered.
    fn beside(&mut self) {
        let answered: Vec<i64> = self.lines.iter().map(|line| line.hold).collect();
        let is_beside = |hold: Option<i64>| hold.is_none_or(|hold| !answered.contains(&hold));
        if let Some(flow) = self.flows.iter().find(|flow| is_beside(flow.hold)).copied() {
            let message =
                format!("flow {} tells of {} pieces that the caller was not told of", flow.id, flow.qty);
            self.find(names::DOUBLED_EFFECT, message, json!({ "flow": flow.id, "qty": flow.qty }));
        } else if let Some(hold) = self.made.iter().find(|hold| is_beside(Some(hold.id))).copied() {
            let message = format!("hold {} has {} pieces that the caller was not told of", hold.id, hold.qty);
            self.find(names::DOUBLED_EFFECT, message, json!({ "hold": hold.id, "qty": hold.qty }));
        }
    }

    /// Nothing of what the step made or confirmed still stands.
    fn undone(&mut self, cause: &(String, String)) {
        let open = self.made.iter().find(|hold| hold.open != 0).copied();
        let is_confirmed =
            |hold: &&Hold| hold.state == 2 && hold.open != 0 && hold.confirmed_by.as_ref() == Some(cause);
        if let Some(hold) = open.or_else(|| self.holds.iter().find(is_confirmed)) {
            let message = format!("the step is undone, but hold {} still has {} pieces", hold.id, hold.open);
            self.find(names::EFFECT_LEFT_BEHIND, message, json!({ "hold": hold.id, "open": hold.open }));
        }
    }

    fn has_made(&self, hold: &Hold) -> bool {
        self.made.iter().any(|made| made.id == hold.id)
    }

    /// What was done, in the words of the body. The holds are the books' word for what was taken; where one is gone, its
    /// flow speaks for it.
    fn effect(&self, order: &str) -> Value {
        let mut taken: BTreeMap<i64, i64> = BTreeMap::new();
        for hold in &self.made {
            *taken.entry(hold.sku.unwrap_or_default()).or_default() += hold.qty;
        }
        let orphaned = |flow: &&&Flow| {
            let is_kept = self.holds.iter().any(|hold| flow.hold == Some(hold.id));
            is_taking(flow) && !is_kept
        };
        for flow in self.flows.iter().filter(orphaned) {
            *taken.entry(flow.sku.unwrap_or_default()).or_default() += flow.qty;
        }
        // A short hold is asked for more than it may have taken.
        if taken.is_empty() || self.step.answer.get("short_no").is_some() {
            return json!({ "order": order });
        }
        let lines: Vec<Value> = taken.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        json!({ "order": order, "lines": lines })
    }

    fn expires_at(&self) -> Option<i64> {
        self.made.iter().filter(|hold| hold.state == 1).filter_map(|hold| hold.expires_at).min()
    }

    fn find(&mut self, name: &str, message: String, detail: Value) {
        self.findings.push(Reported {
            name: name.to_owned(),
            saga: Some(self.step.saga),
            step: Some(self.step.step.clone()),
            message,
            detail: Some(detail),
        });
    }
}

/// Whether a flow moves stock between records, for no order.
fn is_transfer(flow: &Flow) -> bool {
    [FlowOp::ActivityAllocate as i64, FlowOp::ActivityReturn as i64].contains(&flow.op)
}

fn is_taking(flow: &Flow) -> bool {
    [FlowOp::Hold as i64, FlowOp::Deduct as i64].contains(&flow.op)
}
