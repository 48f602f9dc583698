//! What operators, and the monitor in their place, may do about a stuck step.
//!
//! Every verb is idempotent: what the same person asks for again, and already has, changes nothing. Of two
//! people who want different things one is first, and the other is told.

use super::{Draft, Rejected};
use crate::{
    Json, Op,
    definition::{Kind, Scope, StepIx},
    event::Event,
    repair::{Audit, How, Repair, RepairStatus, Verb},
    state::Saga,
};
use uuid::Uuid;

/// What a verb on an item that is settled is told: nothing new when it is the verb that settled it.
pub(super) fn repeated(saga: &Saga, item: Uuid, verb: &Verb, audit: &Audit) -> Result<(), Rejected> {
    let (_, _, repair) = saga.find_item(item).ok_or(Rejected::NoSuchItem)?;
    match &repair.settled {
        Some(settled) if settled.by.as_ref() == Some(&audit.by) && settles_so(verb, settled.how) => Ok(()),
        _ => Err(Rejected::RepairSettled),
    }
}

fn settles_so(verb: &Verb, how: How) -> bool {
    match verb {
        Verb::Retry { .. } => how == How::Retried,
        Verb::Resolve { .. } => how == How::Resolved,
        Verb::Prove { .. } => how == How::Proven,
        Verb::Skip => how == How::Skipped,
        Verb::Abandon => how == How::Abandoned,
        Verb::Assign { .. } => false,
    }
}

impl Draft<'_> {
    /// Takes a verb about an item.
    pub(super) fn repair(&mut self, item: Uuid, verb: Verb, audit: Audit) -> Result<(), Rejected> {
        let (ix, op, repair) = self.saga.find_item(item).ok_or(Rejected::NoSuchItem)?;
        if !repair.is_unsettled() {
            return repeated(&self.saga, item, &verb, &audit);
        }
        let step = self.name(ix);
        match verb {
            Verb::Retry { input } => return self.retry(ix, op, item, input, audit),
            Verb::Assign { assignee } if repair.assignee.as_ref() == Some(&assignee) => {}
            Verb::Assign { assignee } => self.push(Event::RepairAssigned { step, op, item, assignee, audit }),
            Verb::Resolve { output } => {
                self.may_stand_for(ix, op, output.as_ref())?;
                self.push(Event::RepairResolved { step, op, item, output, audit });
            }
            Verb::Prove { output } => {
                self.may_stand_for(ix, op, Some(&output))?;
                self.push(Event::RepairProven { step, op, item, output, audit });
            }
            Verb::Skip => self.push(Event::RepairSkipped { step, op, item, audit }),
            Verb::Abandon => {
                self.push(Event::RepairAbandoned { step, op, item, audit });
                self.push(Event::Abandoned);
            }
        }
        Ok(())
    }

    fn retry(
        &mut self,
        ix: StepIx,
        op: Op,
        item: Uuid,
        input: Option<Json>,
        audit: Audit,
    ) -> Result<(), Rejected> {
        let call = self.saga.step(ix).call(op);
        let repair = call.repair.as_deref().expect("an item that was found is there");
        if repair.status == RepairStatus::Retrying {
            return asked_again(repair, call.input.as_ref(), input.as_ref(), &audit);
        }
        let input = match (&call.input, input) {
            (Some(_), None) => None,
            (_, Some(edited)) => Some(edited),
            (None, None) => Some(self.body(ix, op).map_err(Rejected::NoBody)?),
        };
        if self.saga.is_fanned(ix) || self.saga.spec(ix).operation(op).is_none() {
            let why = "the step calls nobody by itself; resolve it with an output, or skip it";
            return Err(Rejected::NoBody(why.to_owned()));
        }
        self.push(Event::RepairRetried { step: self.name(ix), op, item, input, audit });
        Ok(())
    }

    /// The body of one of a step's calls as the definition makes it.
    fn body(&self, ix: StepIx, op: Op) -> Result<Json, String> {
        match (op, &self.saga.spec(ix).kind) {
            (Op::Compensation, _) => self.undo_body(ix),
            (_, Kind::Call(call)) => call.with.render(&Scope::doing(&self.saga, ix)),
            (_, Kind::Branch(branch)) => Ok(branch.input.clone()),
            (_, Kind::Await(_)) => Err("the step calls nobody".to_owned()),
        }
    }

    /// The body of a step's compensation as the definition makes it.
    pub(super) fn undo_body(&self, ix: StepIx) -> Result<Json, String> {
        let spec = self.saga.spec(ix);
        let undo = spec.undo().expect("a step being undone has a compensation");
        match (&undo.with, &spec.kind) {
            (_, Kind::Branch(branch)) => Ok(branch.input.clone()),
            (Some(template), _) => template.render(&Scope::undoing(&self.saga, ix)),
            (None, _) => {
                Ok(self.saga.step(ix).action.input.clone().expect("an action that was sent has a body"))
            }
        }
    }
}

/// What a second retry is told while the first is being made.
fn asked_again(
    repair: &Repair,
    sent: Option<&Json>,
    input: Option<&Json>,
    audit: &Audit,
) -> Result<(), Rejected> {
    let by = repair.retried_by.clone().unwrap_or_default();
    let same = by == audit.by && (input.is_none() || input == sent);
    if same { Ok(()) } else { Err(Rejected::RepairRetrying { by }) }
}
