//! A saga's state: the fold of its journal.
//!
//! ```text
//! running ──────────────► completed
//!    │
//!    ▼
//! compensating ─────────► compensated
//!    │      ▲
//!    ▼      │   (an operator settles the parked step)
//!   repair ─┘
//! ```
//!
//! [`Saga::apply`] is total over the events that can follow; any other event is a bug of ours or a
//! damaged journal, and panics with the law it breaks.

use crate::{
    Json, Name, SagaId,
    answer::Report,
    definition::{Definition, Kind, StepIx, Undo},
    event::{Cause, Event, Failure, Op, Record},
    hash::Mix,
    planted::{Bug, planted},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// One run of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Saga {
    /// Its id.
    pub id: SagaId,
    /// What it runs; pinned for its whole life.
    pub definition: Arc<Definition>,
    /// The number of events folded so far.
    pub seq: u64,
    /// The epoch of its present owner, from 1.
    pub epoch: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// What it was started with.
    pub input: Json,
    /// The caller's key.
    pub key: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// What the definition's `output` yielded.
    pub output: Option<Json>,
    /// Why it turned round.
    pub error: Option<Cause>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it turns round if it is still running.
    pub deadline_at: Option<Timestamp>,
    /// Signals that have arrived, by name.
    pub signals: BTreeMap<Name, Signal>,
    steps: Vec<StepState>,
}

/// Which way a saga goes. It turns once and never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Doing.
    Forward,
    /// Undoing.
    Backward,
}

/// How a saga ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Every step is done.
    Completed,
    /// Everything that may have been done is undone.
    Compensated,
}

/// A saga's status as callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Going forward.
    Running,
    /// Being undone.
    Compensating,
    /// A step cannot be undone; a repair item is open.
    Repair,
    /// Ended: every step is done.
    Completed,
    /// Ended: everything that may have been done is undone.
    Compensated,
    /// Ended by an operator with something left undone.
    Abandoned,
}

/// A signal that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Signal {
    /// The sender's id for it.
    pub id: Option<String>,
    /// What it carries.
    pub payload: Json,
}

/// A step's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepState {
    /// Where it stands.
    pub phase: StepPhase,
    /// Its action, or nothing sent yet.
    pub action: OpState,
    /// Its compensation, or nothing sent yet.
    pub compensation: OpState,
    /// What it yielded.
    pub output: Option<Json>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepPhase {
    /// Not begun.
    Pending,
    /// Its action is being called.
    Running,
    /// It waits for a signal.
    Waiting {
        /// Until when.
        timeout_at: Timestamp,
    },
    /// Its action took effect.
    Done,
    /// Its action was refused.
    Refused,
    /// Nobody knows whether its action took effect.
    Unknown,
    /// It was not needed.
    Skipped,
    /// Its compensation is being called.
    Compensating,
    /// It is undone.
    Compensated,
    /// Its compensation cannot go on by itself.
    Parked,
}

/// One of a step's calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OpState {
    /// Where it stands.
    pub phase: OpPhase,
    /// The highest attempt number handed out; 0 before the first.
    pub attempts: u32,
    /// Attempts that count against the budget.
    pub spent: u32,
    /// Status questions asked since the last attempt.
    pub polls: u32,
    /// Whether some attempt may have taken effect without our knowing.
    pub doubt: bool,
    /// The captured body.
    pub input: Option<Json>,
    /// The answer's body.
    pub output: Option<Json>,
    /// When the call was decided.
    pub started_at: Option<Timestamp>,
    /// Every attempt that did not succeed, oldest first, at most [`FAILURES_MAX`].
    pub failures: Vec<Failure>,
    /// Why it is parked.
    pub parked: Option<ParkReason>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum OpPhase {
    /// Not begun.
    #[default]
    Idle,
    /// An attempt is in flight from `at` on.
    Due {
        /// When.
        at: Timestamp,
        /// Whether the status is asked first.
        ask: bool,
    },
    /// The participant works on it; its status is asked from `at` on.
    Pending {
        /// When.
        at: Timestamp,
    },
    /// It took effect.
    Done,
    /// A definite no.
    Refused,
    /// Given up, or cut short by the turn, without a definite answer.
    Open,
}

/// Why a step is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// The budget of attempts or time is spent.
    Exhausted,
    /// The participant said a definite no.
    Refused,
    /// The call itself is wrong.
    Contract,
}

/// The number of failures kept with a call; the journal has them all.
pub const FAILURES_MAX: usize = 32;

impl Saga {
    /// Folds a saga's whole journal.
    ///
    /// # Panics
    /// When the first record is not [`Event::Started`] or a later one cannot follow.
    pub fn replay<'a>(
        id: SagaId,
        definition: Arc<Definition>,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Saga {
        let mut records = records.into_iter();
        let first = records.next().expect("a journal has at least one record");
        let mut saga = Saga::begin(id, definition, first);
        for record in records {
            saga.apply(record.at, &record.event);
        }
        saga
    }

    /// Makes a saga from its first record.
    ///
    /// # Panics
    /// When that is not [`Event::Started`].
    pub fn begin(id: SagaId, definition: Arc<Definition>, first: &Record) -> Saga {
        let Event::Started { input, key, labels, deadline_at, .. } = &first.event else {
            panic!("the first event of saga {id} is not \"started\"");
        };
        let idle = StepState {
            phase: StepPhase::Pending,
            action: OpState::default(),
            compensation: OpState::default(),
            output: None,
        };
        Saga {
            id,
            seq: 1,
            epoch: 1,
            direction: Direction::Forward,
            outcome: None,
            input: input.clone(),
            key: key.clone(),
            labels: labels.clone(),
            output: None,
            error: None,
            created_at: first.at,
            updated_at: first.at,
            ended_at: None,
            deadline_at: *deadline_at,
            signals: BTreeMap::new(),
            steps: vec![idle; definition.len()],
            definition,
        }
    }

    /// A step's state.
    pub fn step(&self, ix: StepIx) -> &StepState {
        &self.steps[usize::from(ix.0)]
    }

    /// The steps with their states, in the order they are written.
    pub fn steps(&self) -> impl Iterator<Item = (StepIx, &StepState)> {
        self.steps.iter().enumerate().map(|(i, state)| (StepIx(i as u16), state))
    }

    /// The status as callers see it.
    pub fn status(&self) -> Status {
        match (self.outcome, self.direction) {
            (Some(Outcome::Completed), _) => Status::Completed,
            (Some(Outcome::Compensated), _) => Status::Compensated,
            (None, _) if self.steps.iter().any(|s| s.phase == StepPhase::Parked) => Status::Repair,
            (None, Direction::Forward) => Status::Running,
            (None, Direction::Backward) => Status::Compensating,
        }
    }

    /// Whether the saga has ended.
    pub fn is_terminal(&self) -> bool {
        self.outcome.is_some()
    }

    /// The seed of the jitter of one of a step's calls.
    pub fn jitter(&self, ix: StepIx, op: Op) -> Mix {
        let (high, low) = self.id.as_u64_pair();
        Mix::new(high).add(low).add(u64::from(ix.0)).add(op as u64)
    }

    /// Whether a step may have taken effect and is not undone yet.
    ///
    /// A refusal proves that nothing was done only when no earlier attempt is in doubt.
    pub fn owes_undo(&self, ix: StepIx) -> bool {
        let state = self.step(ix);
        let has_undo = self.definition.step(ix).undo().is_some();
        let may_have_happened = match state.phase {
            StepPhase::Pending | StepPhase::Skipped | StepPhase::Compensated | StepPhase::Waiting { .. } => {
                false
            }
            StepPhase::Refused => state.action.doubt && !planted(Bug::RefusalTrusted),
            StepPhase::Unknown => !planted(Bug::UnknownNotUndone),
            StepPhase::Parked => !planted(Bug::ParkedCountsAsCompensated),
            StepPhase::Running | StepPhase::Done | StepPhase::Compensating => true,
        };
        has_undo && may_have_happened
    }

    /// Folds one event.
    ///
    /// # Panics
    /// When the event cannot follow: a bug of ours or a damaged journal.
    pub fn apply(&mut self, at: Timestamp, event: &Event) {
        assert!(!self.is_terminal(), "saga {} has ended; {event:?} cannot follow", self.id);
        self.seq += 1;
        self.updated_at = at;
        match event {
            Event::Started { .. } => panic!("saga {} was started twice", self.id),
            Event::TakenOver { epoch, .. } => self.taken_over(at, *epoch),
            Event::CallStarted { step, op, input } => self.call_started(at, step, *op, input),
            Event::CallDone { step, op, attempt, output } => self.call_done(step, *op, *attempt, output),
            Event::CallFailed { step, op, attempt, error, next_attempt_at } => {
                self.call_failed(at, step, *op, *attempt, error, *next_attempt_at);
            }
            Event::CallPending { step, op, attempt, next_poll_at } => {
                let (_, call) = self.live(step, *op, *attempt);
                call.polls += 1;
                call.phase = OpPhase::Pending { at: *next_poll_at };
            }
            Event::CallNotSeen { step, op, attempt } => {
                let (_, call) = self.live(step, *op, *attempt);
                call.polls = 0;
                call.phase = OpPhase::Due { at, ask: false };
            }
            Event::CallRefused { step, op, attempt, contract, error } => {
                let reason = if *contract { ParkReason::Contract } else { ParkReason::Refused };
                self.call_ended(at, step, *op, *attempt, OpPhase::Refused, reason, error);
            }
            Event::CallExhausted { step, op, attempt, error, .. } => {
                self.call_ended(at, step, *op, *attempt, OpPhase::Open, ParkReason::Exhausted, error);
            }
            Event::CallUnprepared { step, op, message } => self.call_unprepared(at, step, *op, message),
            Event::AwaitStarted { step, timeout_at } => {
                let state = self.forward_step(step, |p| p == StepPhase::Pending);
                state.phase = StepPhase::Waiting { timeout_at: *timeout_at };
            }
            Event::SignalReceived { signal, id, payload } => {
                let signal_state = Signal { id: id.clone(), payload: payload.clone() };
                let before = self.signals.insert(signal.clone(), signal_state);
                assert!(before.is_none(), "signal \"{signal}\" of saga {} counts once", self.id);
            }
            Event::AwaitDone { step, output, .. } => {
                let state = self.forward_step(step, |p| matches!(p, StepPhase::Waiting { .. }));
                state.phase = StepPhase::Done;
                state.output = Some(output.clone());
            }
            Event::AwaitTimedOut { step } => {
                let state = self.forward_step(step, |p| matches!(p, StepPhase::Waiting { .. }));
                state.phase = StepPhase::Refused;
            }
            Event::Compensating { error } => self.turn(at, error),
            Event::Completed { output } => {
                assert_eq!(self.direction, Direction::Forward, "only a saga going forward completes");
                let finished = |s: &StepState| matches!(s.phase, StepPhase::Done | StepPhase::Skipped);
                assert!(self.steps.iter().all(finished), "a completed saga has no open step");
                self.output = Some(output.clone());
                self.end(at, Outcome::Completed);
            }
            Event::Compensated => {
                assert_eq!(self.direction, Direction::Backward, "only a saga turned round is compensated");
                let owing = (0..self.steps.len()).any(|i| self.owes_undo(StepIx(i as u16)));
                assert!(!owing, "a compensated saga owes no undo");
                self.end(at, Outcome::Compensated);
            }
        }
    }

    fn end(&mut self, at: Timestamp, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.ended_at = Some(at);
    }

    fn index(&self, step: &Name) -> StepIx {
        self.definition
            .find(step)
            .unwrap_or_else(|| panic!("saga {} has no step \"{step}\" in {}", self.id, self.definition.name))
    }

    fn forward_step(&mut self, step: &Name, allowed: impl Fn(StepPhase) -> bool) -> &mut StepState {
        let ix = self.index(step);
        assert_eq!(self.direction, Direction::Forward, "step \"{step}\" can only move while going forward");
        let state = &mut self.steps[usize::from(ix.0)];
        assert!(allowed(state.phase), "step \"{step}\" is {:?} and cannot take this event", state.phase);
        state
    }

    /// The call that attempt `attempt` belongs to, which must be open.
    fn live(&mut self, step: &Name, op: Op, attempt: u32) -> (StepIx, &mut OpState) {
        let ix = self.index(step);
        let state = &mut self.steps[usize::from(ix.0)];
        let call = match op {
            Op::Action => &mut state.action,
            Op::Compensation => &mut state.compensation,
        };
        let open = matches!(call.phase, OpPhase::Due { .. } | OpPhase::Pending { .. });
        assert!(open, "the {} of step \"{step}\" is {:?}, not in flight", op.as_str(), call.phase);
        assert_eq!(call.attempts, attempt, "an answer belongs to the attempt in flight");
        (ix, call)
    }

    fn call_started(&mut self, at: Timestamp, step: &Name, op: Op, input: &Json) {
        let ix = self.index(step);
        let owed = self.owes_undo(ix);
        let direction = self.direction;
        let state = &mut self.steps[usize::from(ix.0)];
        let call = match op {
            Op::Action => {
                assert_eq!(direction, Direction::Forward, "no action starts after the turn");
                assert_eq!(state.phase, StepPhase::Pending, "an action starts once");
                state.phase = StepPhase::Running;
                &mut state.action
            }
            Op::Compensation => {
                assert_eq!(direction, Direction::Backward, "no compensation starts before the turn");
                assert!(owed, "only a step that may have taken effect is undone");
                state.phase = StepPhase::Compensating;
                &mut state.compensation
            }
        };
        assert_eq!(call.phase, OpPhase::Idle, "a call starts once");
        call.phase = OpPhase::Due { at, ask: false };
        call.attempts = 1;
        call.started_at = Some(at);
        call.input = Some(input.clone());
    }

    fn call_done(&mut self, step: &Name, op: Op, attempt: u32, output: &Json) {
        let (ix, call) = self.live(step, op, attempt);
        call.phase = OpPhase::Done;
        call.output = Some(output.clone());
        let state = &mut self.steps[usize::from(ix.0)];
        match op {
            Op::Action => {
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
        step: &Name,
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
    fn call_ended(
        &mut self,
        at: Timestamp,
        step: &Name,
        op: Op,
        attempt: u32,
        phase: OpPhase,
        reason: ParkReason,
        error: &Report,
    ) {
        let (ix, call) = self.live(step, op, attempt);
        let was_pending = matches!(call.phase, OpPhase::Pending { .. });
        call.note(at, error);
        call.phase = phase;
        // That a question about a pending call was at fault says nothing of the call itself.
        call.doubt |= was_pending && reason == ParkReason::Contract;
        if phase == OpPhase::Open {
            call.doubt = true;
            call.spent += 1;
        }
        match op {
            Op::Action => {
                let refused = phase == OpPhase::Refused;
                self.steps[usize::from(ix.0)].phase =
                    if refused { StepPhase::Refused } else { StepPhase::Unknown };
            }
            Op::Compensation => self.park(ix, reason),
        }
    }

    fn call_unprepared(&mut self, at: Timestamp, step: &Name, op: Op, message: &str) {
        let ix = self.index(step);
        let state = &mut self.steps[usize::from(ix.0)];
        match op {
            Op::Action => {
                assert_eq!(state.phase, StepPhase::Pending, "only a step not begun can be unprepared");
                state.phase = StepPhase::Refused;
            }
            Op::Compensation => {
                state.compensation.started_at = Some(at);
                state.compensation.note(at, &Report::new(None, message, 0));
                self.park(ix, ParkReason::Contract);
            }
        }
    }

    fn park(&mut self, ix: StepIx, reason: ParkReason) {
        assert_eq!(self.direction, Direction::Backward);
        let state = &mut self.steps[usize::from(ix.0)];
        state.phase = StepPhase::Parked;
        state.compensation.parked = Some(reason);
        if !matches!(state.compensation.phase, OpPhase::Refused) {
            state.compensation.phase = OpPhase::Open;
        }
    }

    /// Puts every call that may have been sent by the old owner in doubt, and sends it again.
    fn taken_over(&mut self, at: Timestamp, epoch: u64) {
        assert!(epoch > self.epoch, "epoch {epoch} does not follow epoch {}", self.epoch);
        self.epoch = epoch;
        for i in 0..self.steps.len() {
            let ix = StepIx(i as u16);
            for op in [Op::Action, Op::Compensation] {
                let ask = self.asks_status(ix, op);
                let draining = op == Op::Action && self.direction == Direction::Backward;
                let state = &mut self.steps[i];
                let call = match op {
                    Op::Action => &mut state.action,
                    Op::Compensation => &mut state.compensation,
                };
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
    fn turn(&mut self, at: Timestamp, error: &Cause) {
        assert_eq!(self.direction, Direction::Forward, "a saga turns round once");
        self.direction = Direction::Backward;
        self.error = Some(error.clone());
        for (state, (_, step)) in self.steps.iter_mut().zip(self.definition.steps()) {
            match (&step.kind, state.phase) {
                (Kind::Await(_), StepPhase::Waiting { .. }) => state.phase = StepPhase::Skipped,
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
        let step = self.definition.step(ix);
        match op {
            Op::Action => step.call().is_some_and(|call| call.action.status),
            Op::Compensation => step.undo().is_some_and(|undo| undo.operation.status),
        }
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

    /// The most recent failure.
    pub fn last_error(&self) -> Option<&Failure> {
        self.failures.last()
    }

    /// When the next attempt or question is due, if one is.
    pub fn next_at(&self) -> Option<Timestamp> {
        match self.phase {
            OpPhase::Due { at, .. } | OpPhase::Pending { at } => Some(at),
            OpPhase::Idle | OpPhase::Done | OpPhase::Refused | OpPhase::Open => None,
        }
    }
}
