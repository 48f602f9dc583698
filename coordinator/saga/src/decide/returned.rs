//! Outputs that are not as their step says: not taken, whoever brings them.
//!
//! An answer that came to a call leaves the call in doubt, as any answer that cannot be read does. Whoever
//! brings an output by himself (a callback, a signal, an operator) is told, and nothing changes.

use super::{Draft, Rejected};
use crate::{
    Json, Name,
    answer::{Answer, Report},
    definition::{AwaitStep, Kind, Misfits, Scope, StepIx},
    due::CallKey,
    event::Op,
    planted::{Bug, planted},
    state::StepPhase,
};

impl Draft<'_> {
    /// An answer as it counts: what the step must not return is no answer.
    pub(super) fn as_it_counts(&self, key: CallKey, answer: Answer) -> Answer {
        match self.misfits(key.step, key.op, &answer) {
            None => answer,
            Some(misfits) => {
                let message = format!("the answer does not fit the step's \"returns\": {misfits}");
                Answer::Unknown { report: Report::new(None, message, 0), retry_after: None }
            }
        }
    }

    /// That a participant which answers by itself answers what the step may return.
    ///
    /// A child saga has ended and will not answer otherwise: what it yields counts as an answer that came.
    pub(super) fn may_answer(&self, ix: StepIx, op: Op, answer: &Answer) -> Result<(), Rejected> {
        let is_child = self.saga.spec(ix).operation(op).is_some_and(|operation| operation.is_child());
        match self.misfits(ix, op, answer) {
            Some(misfits) if !is_child => Err(Rejected::OutputDoesNotFit(misfits)),
            _ => Ok(()),
        }
    }

    fn misfits(&self, ix: StepIx, op: Op, answer: &Answer) -> Option<Misfits> {
        match answer {
            Answer::Done(output) if op == Op::Action && !planted(Bug::ReturnsUnchecked) => {
                self.saga.spec(ix).check_returned(output).err()
            }
            _ => None,
        }
    }

    /// That a signal carries what every step that still awaits it may return.
    pub(super) fn may_signal(&self, signal: &Name, payload: &Json) -> Result<(), Rejected> {
        let awaits = |step: &crate::Step| matches!(&step.kind, Kind::Await(wait) if wait.signal == *signal);
        let open = |ix| matches!(self.saga.step(ix).phase, StepPhase::Pending | StepPhase::Waiting { .. });
        let mut steps = self.saga.definition.steps().filter(|(ix, step)| awaits(step) && open(*ix));
        steps.try_for_each(|(_, step)| step.check_returned(payload)).map_err(Rejected::OutputDoesNotFit)
    }

    /// That a step which goes forward by somebody's word has an output it may return; none counts as null.
    pub(super) fn may_stand_for(&self, ix: StepIx, op: Op, output: Option<&Json>) -> Result<(), Rejected> {
        if op != Op::Action {
            return Ok(());
        }
        let (spec, output) = (self.saga.spec(ix), output.cloned().unwrap_or_default());
        let checked = match self.saga.base(ix) == ix && spec.fan.is_some() {
            true => spec.check_list(&output),
            false => spec.check_returned(&output),
        };
        checked.map_err(Rejected::OutputDoesNotFit)
    }

    /// What a wait goes on with when its time is up, `None` where it cannot.
    ///
    /// Past the pivot there is no way back for the sake of a value: one that does not fit is taken, and null for
    /// one that cannot be made.
    pub(super) fn default_of(&self, ix: StepIx) -> Option<Json> {
        let Kind::Await(AwaitStep { default: Some(default), .. }) = &self.saga.spec(ix).kind else {
            return None;
        };
        let forward = self.saga.parks_forward();
        match default.render(&Scope::new(&self.saga)) {
            Ok(output) if forward || self.saga.spec(ix).check_returned(&output).is_ok() => Some(output),
            Err(_) if forward => Some(Json::default()),
            Ok(_) | Err(_) => None,
        }
    }
}
