//! Folding what operators have done about stuck steps.

use crate::{
    Json, Saga, StepName,
    definition::StepIx,
    event::{Event, Op},
    planted::{Bug, planted},
    repair::{Audit, How, MONITOR, Repair, RepairStatus},
    state::{OpPhase, OpState, Outcome, StepPhase},
    time::Timestamp,
};
use uuid::Uuid;

impl Saga {
    /// Folds an event about an item.
    ///
    /// # Panics
    /// When it is about none.
    pub(super) fn repaired(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::RepairAssigned { step, item, assignee, audit, .. } => {
                let (_, _, repair) = self.open_item(step, *item);
                if repair.status == RepairStatus::Open {
                    repair.status = RepairStatus::Assigned;
                }
                repair.assignee = Some(assignee.clone());
                repair.note(at, audit);
            }
            Event::RepairRetried { step, item, input, audit, .. } => {
                self.repair_retried(at, step, *item, input.as_ref(), audit);
            }
            Event::RepairResolved { step, item, output, audit, .. } => {
                self.made_good(at, step, *item, audit, How::Resolved, output.as_ref());
            }
            Event::RepairProven { step, item, output, audit, .. } => {
                self.made_good(at, step, *item, audit, How::Proven, Some(output));
            }
            Event::RepairSkipped { step, item, audit, .. } => {
                let to =
                    if planted(Bug::SkipCountsAsDone) { StepPhase::Compensated } else { StepPhase::Skipped };
                let (ix, op) = self.settle(at, step, *item, audit, How::Skipped, to);
                self.steps[usize::from(ix.0)].call_mut(op).phase = OpPhase::Open;
            }
            Event::RepairAbandoned { step, item, audit, .. } => {
                let (_, _, repair) = self.open_item(step, *item);
                repair.note(at, audit);
                repair.settle(at, Some(&audit.by), How::Abandoned);
            }
            other => unreachable!("{other:?} is not about a repair item"),
        }
    }

    /// The item an operator's event is about, which must be the step's newest and not settled.
    fn open_item(&mut self, step: &StepName, item: Uuid) -> (StepIx, Op, &mut Repair) {
        let ix = self.index(step);
        let forward = self.forward_op(ix);
        let state = &mut self.steps[usize::from(ix.0)];
        let stuck = [StepPhase::Parked, StepPhase::Compensating, StepPhase::Running].contains(&state.phase);
        assert!(stuck, "step \"{step}\" is {:?}, and only a stuck one is repaired", state.phase);
        let is_it = |call: &OpState| call.open_repair().is_some_and(|repair| repair.item == item);
        let op = if is_it(&state.action) { forward } else { Op::Compensation };
        let repair = state.call_mut(op).repair.as_deref_mut();
        let repair = repair.filter(|repair| repair.item == item && repair.is_unsettled());
        (ix, op, repair.unwrap_or_else(|| panic!("item {item} of step \"{step}\" is not open")))
    }

    /// Settles an item in place of the participant; the step stands at `to` from now on.
    fn settle(
        &mut self,
        at: Timestamp,
        step: &StepName,
        item: Uuid,
        audit: &Audit,
        how: How,
        to: StepPhase,
    ) -> (StepIx, Op) {
        let (ix, op, repair) = self.open_item(step, item);
        repair.note(at, audit);
        repair.settle(at, Some(&audit.by), how);
        self.steps[usize::from(ix.0)].phase = to;
        (ix, op)
    }

    /// Settles an item by its call having taken effect after all, or something as good.
    fn made_good(
        &mut self,
        at: Timestamp,
        step: &StepName,
        item: Uuid,
        audit: &Audit,
        how: How,
        output: Option<&Json>,
    ) {
        let (ix, op) = self.settle(at, step, item, audit, how, StepPhase::Compensated);
        let state = &mut self.steps[usize::from(ix.0)];
        if op != Op::Compensation {
            state.phase = StepPhase::Done;
            state.output = Some(output.cloned().unwrap_or_default());
        }
        let call = state.call_mut(op);
        call.phase = OpPhase::Done;
        call.output = output.cloned();
    }

    /// Begins one more round of attempts under a number that no answer still on its way has.
    fn repair_retried(
        &mut self,
        at: Timestamp,
        step: &StepName,
        item: Uuid,
        input: Option<&Json>,
        audit: &Audit,
    ) {
        let (ix, op, repair) = self.open_item(step, item);
        repair.note(at, audit);
        repair.status = RepairStatus::Retrying;
        repair.retried_by = Some(audit.by.clone());
        repair.redrives += u32::from(audit.by == MONITOR);
        // A changed body has never been seen there, so there is nothing to ask about.
        let ask = input.is_none() && self.asks_status(ix, op);
        let state = &mut self.steps[usize::from(ix.0)];
        assert_eq!(state.phase, StepPhase::Parked, "only a parked step is tried again");
        state.phase = if op == Op::Compensation { StepPhase::Compensating } else { StepPhase::Running };
        let call = state.call_mut(op);
        // A compensation's no is not kept by its participant, an action's is.
        let anew = op != Op::Compensation && call.phase == OpPhase::Refused;
        call.round += u32::from(anew);
        if let Some(input) = input {
            call.input = Some(input.clone());
        }
        assert!(call.input.is_some(), "a call that is tried again has a body");
        call.attempts += 1;
        call.spent = 0;
        call.polls = 0;
        call.started_at = Some(at);
        call.phase = OpPhase::Due { at, ask: ask && call.attempts > 1 && !anew };
    }

    /// Ends the saga as it stands, and with it every item that is still open.
    pub(super) fn abandoned(&mut self, at: Timestamp) {
        let by_decision = self.items().any(|(_, _, repair)| {
            let how = repair.settled.as_ref().map(|settled| settled.how);
            matches!(how, Some(How::Abandoned | How::Skipped))
        });
        assert!(by_decision, "a saga is abandoned only by somebody's decision");
        for state in &mut self.steps {
            for call in [&mut state.action, &mut state.compensation] {
                if let Some(repair) = call.repair.as_deref_mut().filter(|repair| repair.is_unsettled()) {
                    repair.settle(at, None, How::Abandoned);
                }
            }
            for call in [&mut state.action, &mut state.compensation] {
                if matches!(call.phase, OpPhase::Due { .. } | OpPhase::Pending { .. }) {
                    call.phase = OpPhase::Open;
                }
            }
            if matches!(state.phase, StepPhase::Running | StepPhase::Compensating) {
                state.phase = StepPhase::Unknown;
            }
        }
        self.end(at, Outcome::Abandoned);
    }
}
