//! Answers that come by themselves, and what happens to a saga that has completed.

use super::{Draft, Rejected};
use crate::{
    SagaId, StepName,
    answer::Answer,
    due,
    event::{Cause, CauseKind, Event, Op, Record},
    hash::Mix,
    planted::{Bug, planted},
    state::{Direction, OpPhase, Outcome, Saga},
    time::Timestamp,
};
use std::borrow::Cow;

/// Derives the id of the child saga that a step runs, so that every attempt of it means the same one.
///
/// `round` counts how often the step was asked for again after its child had been undone. The id has the
/// parent's time, so that a list shows the two side by side.
pub fn child_id(parent: SagaId, step: &StepName, round: u32) -> SagaId {
    let (high, low) = parent.as_u64_pair();
    // The seed is the word "children": ids of other kinds derived from the same values differ.
    let mix = Mix::new(u64::from_le_bytes(*b"children")).add(high).add(low);
    let mix = mix.bytes(step.as_bytes()).add(u64::from(round));
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&mix.add(1).finish().to_be_bytes());
    bytes[6..8].copy_from_slice(&mix.add(2).finish().to_be_bytes()[..2]);
    bytes[..6].copy_from_slice(&parent.as_bytes()[..6]);
    uuid::Builder::from_bytes(bytes)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// Turns a saga round that has completed: everything it did is undone, as if it had failed at its very end.
///
/// The saga is one that `owner` has just taken, with `epoch`.
///
/// # Errors
/// [`Rejected::PastPivot`] for one with a pivot and for an open one, [`Rejected::NotCompleted`] for any other
/// that has not completed; that includes one that is being reverted, or has been.
pub fn revert(
    saga: &Saga,
    reason: String,
    epoch: u64,
    owner: &str,
    now: Timestamp,
) -> Result<Vec<Record>, Rejected> {
    if saga.outcome != Some(Outcome::Completed) {
        return Err(Rejected::NotCompleted(saga.status()));
    }
    if saga.definition.is_open() || (saga.is_past_pivot() && !planted(Bug::RevertsPastPivot)) {
        return Err(Rejected::PastPivot);
    }
    let mut draft = Draft { saga: Cow::Borrowed(saga), now, records: Vec::new(), waits: &|_| false };
    draft.push(Event::TakenOver { epoch, owner: owner.to_owned() });
    let error = Cause { step: None, kind: CauseKind::Reverted, message: reason };
    draft.turn(error);
    draft.advance();
    Ok(draft.records)
}

/// What an answer to a call that is over is told: nothing new when it is the answer that ended it.
pub(super) fn repeated(saga: &Saga, step: &StepName, op: Op, answer: &Answer) -> Result<(), Rejected> {
    let ix = saga.find_step(step).ok_or(Rejected::NoSuchStep)?;
    let call = saga.step(ix).call(op);
    let last = call.last_error().map(|failure| (failure.report.status, &failure.report.message));
    let same = match (call.phase, answer) {
        (OpPhase::Done, Answer::Done(output)) => call.output.as_ref() == Some(output),
        (OpPhase::Refused, Answer::Refused(report) | Answer::Contract(report)) => {
            last == Some((report.status, &report.message))
        }
        (OpPhase::Idle, _) => return Err(Rejected::AnswerConflict("this call has not been made")),
        _ => false,
    };
    match same {
        true => Ok(()),
        false => Err(Rejected::AnswerConflict("the call has another answer already, or was given up")),
    }
}

impl Draft<'_> {
    /// Takes an answer that comes by itself; it is that of whatever attempt is in flight.
    pub(super) fn callback(&mut self, step: &StepName, op: Op, answer: Answer) -> Result<(), Rejected> {
        let ix = self.saga.find_step(step).ok_or(Rejected::NoSuchStep)?;
        let is_forward = op != Op::Compensation;
        if is_forward && op != self.saga.forward_op(ix) {
            return Err(Rejected::NoSuchStep);
        }
        let draining = is_forward && self.saga.direction == Direction::Backward;
        match due::current(&self.saga, ix, op) {
            Some(key) if !draining || due::is_in_flight(&self.saga, key) => {
                self.may_answer(ix, op, &answer)?;
                self.answer(key, answer);
                Ok(())
            }
            _ => repeated(&self.saga, step, op, &answer),
        }
    }
}
