//! Folding one event into a saga: what each kind of event requires, and what it changes.
//!
//! Every precondition is an assertion that stays on in production: it names the law that the event
//! would break. Nothing here decides; what is folded has been decided, and mostly written, before.

mod repair;

use super::{
    Branch, Direction, Dynamic, FAILURES_MAX, OpPhase, OpState, Outcome, ParkReason, Saga, Signal, StepPhase,
    StepState,
};
use crate::{
    Json, StepName,
    answer::Report,
    definition::{Kind, Operation, StepIx, Undo},
    event::{BranchTerms, Cause, CauseKind, Event, Failure, Op},
    planted::{Bug, planted},
    repair::{How, Repair},
    time::Timestamp,
};

/// How a call ends that did nothing, as far as is known.
#[derive(Debug, Clone, Copy)]
enum End {
    Refused { contract: bool },
    Exhausted { unsent: bool },
}

impl Saga {
    /// Folds one event.
    ///
    /// # Panics
    /// When the event cannot follow: a bug of ours or a damaged journal.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        let reverts = self.outcome == Some(Outcome::Completed) && is_of_revert(event);
        assert!(!self.is_terminal() || reverts, "saga {} has ended; {event:?} cannot follow", self.id);
        self.seq += 1;
        self.updated_at = at;
        match event {
            Event::Started { .. } => panic!("saga {} was started twice", self.id),
            Event::TakenOver { epoch, .. } => self.taken_over(at, *epoch),
            Event::CallStarted { step, op, input } => self.call_started(at, step, *op, input),
            Event::CallDone { step, op, attempt, output } => self.call_done(at, step, *op, *attempt, output),
            Event::CallFailed { step, op, attempt, error, next_attempt_at } => {
                self.call_failed(at, step, *op, *attempt, error, *next_attempt_at);
            }
            Event::CallPending { step, op, attempt, next_poll_at, repair } => {
                let (_, call) = self.live(step, *op, *attempt);
                call.polls += 1;
                call.left = !planted(Bug::LeftForgotten);
                call.child_in_repair = *repair;
                call.phase = OpPhase::Pending { at: *next_poll_at };
            }
            Event::CallNotSeen { step, op, attempt } => {
                let (_, call) = self.live(step, *op, *attempt);
                call.polls = 0;
                call.phase = OpPhase::Due { at, ask: false };
            }
            Event::CallRefused { step, op, attempt, contract, error } => {
                self.call_ended(at, step, *op, *attempt, End::Refused { contract: *contract }, error);
            }
            Event::CallExhausted { step, op, attempt, unsent, error, .. } => {
                self.call_ended(at, step, *op, *attempt, End::Exhausted { unsent: *unsent }, error);
            }
            Event::CallUnprepared { step, op, message } => self.call_unprepared(at, step, *op, message),
            Event::StepSkipped { step } => {
                self.forward_step(step, |p| p == StepPhase::Pending).phase = StepPhase::Skipped;
            }
            Event::FannedOut { step, items } => {
                self.forward_step(step, |p| p == StepPhase::Pending).phase = StepPhase::Running;
                self.add_items(self.index(step), items);
            }
            Event::FanDone { step, output } => self.fan_done(step, output),
            Event::BranchRegistered { step, terms } => self.branch_registered(step, terms),
            Event::Renewed { deadline_at } => {
                assert!(self.committed_at.is_none(), "only an undecided saga is renewed");
                self.deadline_at = Some(*deadline_at);
            }
            Event::Committed => self.committed(at),
            Event::AwaitStarted { step, timeout_at } => {
                let waiting = StepPhase::Waiting { timeout_at: *timeout_at };
                self.forward_step(step, |p| p == StepPhase::Pending).phase = waiting;
            }
            Event::SignalReceived { signal, id, payload } => {
                let received = Signal { id: id.clone(), payload: payload.clone() };
                let before = self.signals.insert(signal.clone(), received);
                assert!(before.is_none(), "signal \"{signal}\" of saga {} counts once", self.id);
            }
            Event::AwaitDone { step, output, .. } => {
                let state = self.awaiting_step(step);
                state.phase = StepPhase::Done;
                state.output = Some(output.clone());
            }
            Event::AwaitTimedOut { step } => self.awaiting_step(step).phase = StepPhase::Refused,
            Event::Compensating { error, unsent } => self.turn(at, error, unsent),
            Event::Completed { output, fault } => self.completed(at, output, fault.as_ref()),
            Event::Compensated => self.compensated(at),
            Event::RepairAssigned { .. }
            | Event::RepairRetried { .. }
            | Event::RepairResolved { .. }
            | Event::RepairProven { .. }
            | Event::RepairSkipped { .. }
            | Event::RepairAbandoned { .. } => self.repaired(at, event),
            Event::Abandoned => self.abandoned(at),
        }
    }

    fn awaiting_step(&mut self, step: &StepName) -> &mut StepState {
        self.forward_step(step, |phase| matches!(phase, StepPhase::Waiting { .. }))
    }

    fn branch_registered(&mut self, step: &StepName, terms: &BranchTerms) {
        assert!(self.definition.is_open(), "only an open saga has branches");
        let undecided = self.direction == Direction::Forward && self.committed_at.is_none();
        assert!(undecided, "branch \"{step}\" comes before the decision");
        let branch = Dynamic::Branch(Box::new(Branch::new(step.clone(), terms.clone())));
        self.add(step.clone(), branch, StepPhase::Registered);
    }

    fn committed(&mut self, at: Timestamp) {
        assert!(self.definition.is_open(), "only an open saga is committed");
        assert_eq!(self.direction, Direction::Forward, "a saga that is rolled back is not committed");
        assert!(self.committed_at.is_none(), "a saga is committed once");
        self.committed_at = Some(at);
        for i in 0..self.steps.len() {
            if self.spec(StepIx(i as u16)).forward().is_none() {
                self.steps[i].phase = StepPhase::Done;
            }
        }
    }

    fn fan_done(&mut self, step: &StepName, output: &Json) {
        let fan = self.fan(self.index(step)).expect("a step that is done item by item is fanned out");
        let done = |ix| matches!(self.step(ix).phase, StepPhase::Done | StepPhase::Skipped);
        assert!(fan.items().all(done), "every item of step \"{step}\" is done");
        let state = self.forward_step(step, |p| p == StepPhase::Running);
        state.phase = StepPhase::Done;
        state.output = Some(output.clone());
    }

    fn completed(&mut self, at: Timestamp, output: &Json, fault: Option<&String>) {
        assert_eq!(self.direction, Direction::Forward, "only a saga going forward completes");
        let finished = |s: &StepState| matches!(s.phase, StepPhase::Done | StepPhase::Skipped);
        assert!(self.steps.iter().all(finished), "a completed saga has no open step");
        self.output = Some(output.clone());
        if let Some(message) = fault {
            assert!(self.is_past_pivot(), "a saga that can turn back does so");
            self.error = Some(Cause { step: None, kind: CauseKind::Refused, message: message.clone() });
        }
        self.end(at, Outcome::Completed);
    }

    fn compensated(&mut self, at: Timestamp) {
        assert_eq!(self.direction, Direction::Backward, "only a saga turned round is compensated");
        let owing = (0..self.steps.len()).any(|i| self.owes_undo(StepIx(i as u16)));
        assert!(!owing, "a compensated saga owes no undo");
        self.end(at, Outcome::Compensated);
    }

    fn end(&mut self, at: Timestamp, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.ended_at = Some(at);
    }

    fn index(&self, step: &StepName) -> StepIx {
        self.find_step(step)
            .unwrap_or_else(|| panic!("saga {} has no step \"{step}\" in {}", self.id, self.definition.name))
    }

    fn forward_step(&mut self, step: &StepName, allowed: impl Fn(StepPhase) -> bool) -> &mut StepState {
        let ix = self.index(step);
        assert_eq!(self.direction, Direction::Forward, "step \"{step}\" can only move while going forward");
        let state = &mut self.steps[usize::from(ix.0)];
        assert!(allowed(state.phase), "step \"{step}\" is {:?} and cannot take this event", state.phase);
        state
    }

    /// The call that attempt `attempt` belongs to, which must be open.
    fn live(&mut self, step: &StepName, op: Op, attempt: u32) -> (StepIx, &mut OpState) {
        let ix = self.index(step);
        let state = &mut self.steps[usize::from(ix.0)];
        let call = state.call_mut(op);
        let open = matches!(call.phase, OpPhase::Due { .. } | OpPhase::Pending { .. });
        assert!(open, "the {} of step \"{step}\" is {:?}, not in flight", op.as_str(), call.phase);
        assert_eq!(call.attempts, attempt, "an answer belongs to the attempt in flight");
        (ix, call)
    }

    fn call_started(&mut self, at: Timestamp, step: &StepName, op: Op, input: &Json) {
        let ix = self.index(step);
        let owed = self.owes_undo(ix);
        let direction = self.direction;
        let state = &mut self.steps[usize::from(ix.0)];
        let committed = self.committed_at.is_some();
        match op {
            Op::Action => {
                assert_eq!(direction, Direction::Forward, "no action starts after the turn");
                assert_eq!(state.phase, StepPhase::Pending, "an action starts once");
                state.phase = StepPhase::Running;
            }
            Op::Confirm => {
                assert!(committed, "a branch is made final once its saga is committed");
                assert_eq!(state.phase, StepPhase::Registered, "a branch is made final once");
                state.phase = StepPhase::Running;
            }
            Op::Compensation => {
                assert_eq!(direction, Direction::Backward, "no compensation starts before the turn");
                assert!(owed, "only a step that may have taken effect is undone");
                state.phase = StepPhase::Compensating;
            }
        }
        let call = state.call_mut(op);
        assert_eq!(call.phase, OpPhase::Idle, "a call starts once");
        call.phase = OpPhase::Due { at, ask: false };
        call.attempts = 1;
        call.started_at = Some(at);
        call.input = Some(input.clone());
    }

    fn call_done(&mut self, at: Timestamp, step: &StepName, op: Op, attempt: u32, output: &Json) {
        let (ix, call) = self.live(step, op, attempt);
        if let Some(repair) = call.repair.as_mut().filter(|repair| repair.is_unsettled()) {
            let by = repair.retried_by.clone();
            repair.settle(at, by.as_deref(), How::Retried);
        }
        call.phase = OpPhase::Done;
        call.output = Some(output.clone());
        let state = &mut self.steps[usize::from(ix.0)];
        match op {
            Op::Action | Op::Confirm => {
                assert_eq!(state.phase, StepPhase::Running);
                state.phase = StepPhase::Done;
                state.output = Some(output.clone());
            }
            Op::Compensation => {
                assert_eq!(state.phase, StepPhase::Compensating);
                state.phase = StepPhase::Compensated;
            }
        }
    }

    fn call_failed(
        &mut self,
        at: Timestamp,
        step: &StepName,
        op: Op,
        attempt: u32,
        error: &Report,
        next: Timestamp,
    ) {
        let ix = self.index(step);
        let ask = self.asks_status(ix, op);
        let (_, call) = self.live(step, op, attempt);
        let was_pending = matches!(call.phase, OpPhase::Pending { .. });
        call.note(at, error);
        call.spent += 1;
        call.doubt = !planted(Bug::DoubtForgotten);
        if was_pending {
            // The participant has the call; only the question is repeated.
            call.polls += 1;
            call.phase = OpPhase::Pending { at: next };
        } else {
            call.attempts += 1;
            call.polls = 0;
            call.phase = OpPhase::Due { at: next, ask };
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn call_ended(&mut self, at: Timestamp, step: &StepName, op: Op, attempt: u32, end: End, error: &Report) {
        let (ix, call) = self.live(step, op, attempt);
        let was_pending = matches!(call.phase, OpPhase::Pending { .. });
        call.note(at, error);
        let (phase, after, reason) = match end {
            End::Refused { contract } => {
                // That a question about a pending call was at fault says nothing of the call itself.
                call.doubt |= was_pending && contract;
                let reason = if contract { ParkReason::Contract } else { ParkReason::Refused };
                (OpPhase::Refused, StepPhase::Refused, reason)
            }
            End::Exhausted { unsent } => {
                call.doubt |= !unsent;
                call.spent += 1;
                (OpPhase::Open, StepPhase::Unknown, ParkReason::Exhausted)
            }
        };
        call.phase = phase;
        match op {
            Op::Compensation => self.park(at, ix, op, reason),
            Op::Action | Op::Confirm => {
                self.steps[usize::from(ix.0)].phase = after;
                if self.parks_forward() {
                    self.park(at, ix, op, reason);
                }
            }
        }
    }

    fn call_unprepared(&mut self, at: Timestamp, step: &StepName, op: Op, message: &str) {
        let ix = self.index(step);
        let state = &mut self.steps[usize::from(ix.0)];
        let call = state.call_mut(op);
        call.started_at = Some(at);
        call.note(at, &Report::new(None, message, 0));
        if op != Op::Compensation {
            assert_eq!(state.phase, StepPhase::Pending, "only a step not begun can be unprepared");
            state.phase = StepPhase::Refused;
        }
        if op == Op::Compensation || self.parks_forward() {
            self.park(at, ix, op, ParkReason::Contract);
        }
    }

    fn park(&mut self, at: Timestamp, ix: StepIx, op: Op, reason: ParkReason) {
        let undoes = op == Op::Compensation;
        assert_eq!(undoes, self.direction == Direction::Backward, "what is parked is what cannot go on");
        let saga = self.id;
        let state = &mut self.steps[usize::from(ix.0)];
        state.phase = StepPhase::Parked;
        let call = state.call_mut(op);
        let repair = Repair::open(saga, ix, op, reason, at, call.repair.as_deref());
        call.repair = Some(Box::new(repair));
        if !matches!(call.phase, OpPhase::Refused) {
            call.phase = OpPhase::Open;
        }
    }

    /// Puts every call that may have been sent by the old owner in doubt, and sends it again.
    fn taken_over(&mut self, at: Timestamp, epoch: u64) {
        assert!(epoch > self.epoch, "epoch {epoch} does not follow epoch {}", self.epoch);
        self.epoch = epoch;
        for i in 0..self.steps.len() {
            let ix = StepIx(i as u16);
            for op in [Op::Action, Op::Compensation] {
                let op = if op == Op::Action { self.forward_op(ix) } else { op };
                let ask = self.asks_status(ix, op);
                let draining = op == Op::Action && self.direction == Direction::Backward;
                let is_child = self.spec(ix).operation(op).is_some_and(Operation::is_child);
                let state = &mut self.steps[i];
                let call = state.call_mut(op);
                if let (true, OpPhase::Pending { .. }) = (is_child, call.phase) {
                    // The word of its end may have been lost with the old owner.
                    call.phase = OpPhase::Pending { at };
                }
                let open = matches!(call.phase, OpPhase::Due { .. } | OpPhase::Pending { .. });
                call.doubt |= open && !planted(Bug::TakeOverTrusts);
                let OpPhase::Due { at: due, .. } = call.phase else { continue };
                if planted(Bug::TakeOverTrusts) {
                    continue;
                }
                if draining {
                    call.phase = OpPhase::Open;
                    state.phase = StepPhase::Unknown;
                } else if due <= at {
                    call.attempts += 1;
                    call.polls = 0;
                    call.phase = OpPhase::Due { at, ask };
                }
            }
        }
    }

    /// Turns round: no further action is sent, and what is in flight is left to the barrier.
    fn turn(&mut self, at: Timestamp, error: &Cause, unsent: &[StepName]) {
        assert_eq!(self.direction, Direction::Forward, "a saga turns round once");
        if self.is_terminal() {
            let may = !self.is_past_pivot() || planted(Bug::RevertsPastPivot);
            assert!(may && !self.definition.is_open(), "there is no way back");
            (self.outcome, self.ended_at) = (None, None);
        } else {
            let may = !self.is_past_pivot() || planted(Bug::TurnsPastPivot);
            assert!(may, "past its pivot a saga only goes forward");
        }
        self.direction = Direction::Backward;
        self.turned_at = Some(at);
        self.error = Some(error.clone());
        let unsent: Vec<StepIx> = unsent.iter().map(|step| self.index(step)).collect();
        for i in 0..self.steps.len() {
            let ix = StepIx(i as u16);
            let fanned = self.is_fanned(ix);
            let kind = match self.dynamic.get(i.wrapping_sub(self.definition.len())) {
                Some(Dynamic::Branch(_)) => continue,
                Some(Dynamic::Item { of, .. }) => &self.definition.step(*of).kind,
                None => &self.definition.step(ix).kind,
            };
            let state = &mut self.steps[i];
            match (kind, state.phase) {
                (Kind::Await(_), StepPhase::Waiting { .. }) => state.phase = StepPhase::Skipped,
                // Its items say what is to be undone.
                (_, StepPhase::Running) if fanned => state.phase = StepPhase::Unknown,
                (_, StepPhase::Running) if unsent.contains(&ix) => {
                    state.action.phase = OpPhase::Open;
                    state.phase = StepPhase::Skipped;
                }
                (Kind::Call(call), StepPhase::Running) => {
                    let sent = matches!(state.action.phase, OpPhase::Due { at: due, .. } if due <= at);
                    if planted(Bug::InFlightNotUndone) {
                        state.action.phase = OpPhase::Open;
                        state.phase = StepPhase::Skipped;
                        continue;
                    }
                    if sent && !call.action.barrier && !matches!(call.undo, Undo::ReadOnly) {
                        continue;
                    }
                    state.action.phase = OpPhase::Open;
                    state.action.doubt = true;
                    state.phase = match call.undo {
                        Undo::ReadOnly => StepPhase::Skipped,
                        Undo::None { .. } | Undo::Call(_) => StepPhase::Unknown,
                    };
                }
                _ => {}
            }
        }
    }

    fn asks_status(&self, ix: StepIx, op: Op) -> bool {
        self.spec(ix).operation(op).is_some_and(|operation| operation.status || operation.is_child())
    }
}

fn is_of_revert(event: &Event) -> bool {
    match event {
        Event::TakenOver { .. } => true,
        Event::Compensating { error, .. } => error.kind == CauseKind::Reverted,
        _ => false,
    }
}

impl OpState {
    fn note(&mut self, at: Timestamp, report: &Report) {
        if self.failures.len() == FAILURES_MAX {
            // The first failure says how it began; the newest say how it stands.
            self.failures.remove(1);
        }
        self.failures.push(Failure { attempt: self.attempts, at, report: report.clone() });
    }
}
