//! A saga's state: the fold of its journal.
//!
//! ```text
//! running ──────────────► completed
//!    │
//!    ▼
//! compensating ─────────► compensated
//!    │      ▲
//!    ▼      │   (an operator settles the parked step)
//!   repair ─┘───────────► abandoned (an operator left something undone)
//! ```
//!
//! [`Saga::apply`] is total over the events that can follow; any other event is a bug of ours or a
//! damaged journal, and panics with the law it breaks.

mod dynamic;
mod fold;

pub use dynamic::{Branch, DYNAMIC_MAX, Dynamic, FanState};

use crate::{
    Json, Name, SagaId, StepName,
    definition::{Definition, Kind, StepIx, Undo},
    event::{Cause, Event, Failure, Op, Parent, Record},
    hash::Mix,
    planted::{Bug, planted},
    repair::{How, Repair},
    time::{Millis, Timestamp},
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
    /// When it turned round, if it has.
    pub turned_at: Option<Timestamp>,
    /// When it turns round if it is still running.
    pub deadline_at: Option<Timestamp>,
    /// The saga it is run for, where it is a child.
    pub parent: Option<Parent>,
    /// When it was decided that an open saga goes on, if it was.
    pub committed_at: Option<Timestamp>,
    /// Signals that have arrived, by name.
    pub signals: BTreeMap<Name, Signal>,
    /// The states of the definition's steps, then those of the steps that came while the saga ran.
    steps: Vec<StepState>,
    /// What the latter are.
    dynamic: Vec<Dynamic>,
    /// Where they are, by name.
    by_name: BTreeMap<StepName, StepIx>,
    /// The items of the steps that are fanned out.
    fans: BTreeMap<StepIx, FanState>,
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
    /// Somebody decided to leave something undone.
    Abandoned,
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

impl Status {
    /// The word in bodies.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Compensating => "compensating",
            Status::Repair => "repair",
            Status::Completed => "completed",
            Status::Compensated => "compensated",
            Status::Abandoned => "abandoned",
        }
    }
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
    /// Its action, or of a branch its confirm; or nothing sent yet.
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
    /// It is a branch of an open saga that is not decided; it may have done something.
    Registered,
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
    /// Its compensation, or past the point of no return its action, cannot go on by itself.
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
    /// How often it was asked for again after a definite no. Each round is another call to the participant,
    /// which would repeat its no otherwise.
    pub round: u32,
    /// Whether some attempt may have taken effect without our knowing.
    pub doubt: bool,
    /// Whether the participant has said that it has the call: that cannot be taken back by not knowing it later.
    pub left: bool,
    /// Whether the child saga that is called stands in repair.
    pub child_in_repair: bool,
    /// The captured body.
    pub input: Option<Json>,
    /// The answer's body.
    pub output: Option<Json>,
    /// When the call was decided.
    pub started_at: Option<Timestamp>,
    /// Every attempt that did not succeed, oldest first, at most [`FAILURES_MAX`].
    pub failures: Vec<Failure>,
    /// Its newest repair item, while it is parked and ever after. Boxed, since few calls have one.
    pub repair: Option<Box<Repair>>,
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

/// The shortest time for which a saga is put to sleep.
pub const SLEEP_MIN: Millis = Millis::from_secs(30);

/// How long before a call is due its saga is woken.
pub const WAKE_EARLY: Millis = Millis::from_secs(1);

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
        let Event::Started { input, key, labels, deadline_at, parent, .. } = &first.event else {
            panic!("the first event of saga {id} is not \"started\"");
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
            turned_at: None,
            deadline_at: *deadline_at,
            parent: parent.clone(),
            committed_at: None,
            signals: BTreeMap::new(),
            steps: vec![StepState::new(StepPhase::Pending); definition.len()],
            dynamic: Vec::new(),
            by_name: BTreeMap::new(),
            fans: BTreeMap::new(),
            definition,
        }
    }

    /// The number of its steps, those included that came while it ran.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it has no step: an open saga without a branch.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A step's state.
    pub fn step(&self, ix: StepIx) -> &StepState {
        &self.steps[usize::from(ix.0)]
    }

    /// The steps with their states: first the definition's, in the order they are written, then those that
    /// came while the saga ran, in the order in which they did.
    pub fn steps(&self) -> impl Iterator<Item = (StepIx, &StepState)> {
        self.steps.iter().enumerate().map(|(i, state)| (StepIx(i as u16), state))
    }

    /// The status as callers see it.
    pub fn status(&self) -> Status {
        match (self.outcome, self.direction) {
            (Some(Outcome::Completed), _) => Status::Completed,
            (Some(Outcome::Compensated), _) => Status::Compensated,
            (Some(Outcome::Abandoned), _) => Status::Abandoned,
            (None, _) if self.steps.iter().any(StepState::is_in_repair) => Status::Repair,
            (None, Direction::Forward) => Status::Running,
            (None, Direction::Backward) => Status::Compensating,
        }
    }

    /// Whether an operator has settled some step in place of its participant.
    pub fn is_settled_by_hand(&self) -> bool {
        self.steps().any(|(_, state)| state.is_settled_by_hand())
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

    /// Whether something ends a step's action in time if no answer ever comes.
    pub fn is_bounded(&self, ix: StepIx) -> bool {
        let deadline = self.deadline_at.is_some() && !self.is_past_pivot();
        deadline || self.spec(ix).within().is_some()
    }

    /// Whether the saga only goes forward from here on.
    ///
    /// That is so once its pivot is done or passed over, or was sent and has no compensation of its own; and
    /// once an open saga is committed.
    pub fn is_past_pivot(&self) -> bool {
        if self.definition.is_open() {
            return self.committed_at.is_some();
        }
        let Some(pivot) = self.definition.pivot() else { return false };
        let state = self.step(pivot);
        match state.phase {
            StepPhase::Done | StepPhase::Skipped => self.direction == Direction::Forward,
            StepPhase::Running | StepPhase::Parked => !self.can_undo(pivot),
            StepPhase::Refused | StepPhase::Unknown => state.action.doubt && !self.can_undo(pivot),
            StepPhase::Pending
            | StepPhase::Waiting { .. }
            | StepPhase::Registered
            | StepPhase::Compensating
            | StepPhase::Compensated => false,
        }
    }

    /// Whether a step that cannot be done waits for an operator, because the saga cannot turn back for it.
    pub(crate) fn parks_forward(&self) -> bool {
        self.direction == Direction::Forward && self.is_past_pivot()
    }

    fn can_undo(&self, ix: StepIx) -> bool {
        match &self.spec(ix).kind {
            Kind::Call(call) => !matches!(call.undo, Undo::None { .. }),
            Kind::Branch(_) | Kind::Await(_) => true,
        }
    }

    /// When the saga, which waits for nothing in flight, has something to do by itself again; `None` when that
    /// is soon.
    ///
    /// Such a saga sleeps: nobody holds it until then, or until somebody wants something of it.
    pub fn sleeps_until(&self) -> Option<Timestamp> {
        if self.is_terminal() || self.is_shelved() {
            return None;
        }
        let mut wake = (!self.is_past_pivot() && self.direction == Direction::Forward)
            .then_some(self.deadline_at)
            .flatten();
        let mut at = |time: Timestamp| wake = Some(wake.map_or(time, |wake| wake.min(time)));
        for (ix, state) in self.steps() {
            match state.phase {
                StepPhase::Waiting { timeout_at } => at(timeout_at),
                StepPhase::Running | StepPhase::Compensating => {
                    let is_undone = state.phase == StepPhase::Compensating;
                    let call = if is_undone { &state.compensation } else { &state.action };
                    // Somewhat early, so that it is awake when its time has come.
                    if let Some(next) = call.next_at() {
                        at(Timestamp(next.0.saturating_sub(WAKE_EARLY.0 as i64)));
                    }
                    let within = self.spec(ix).within().filter(|_| !is_undone).zip(call.started_at);
                    if let Some((within, started)) = within {
                        at(started.after(within));
                    }
                }
                _ => {}
            }
        }
        wake.filter(|wake| *wake >= self.updated_at.after(SLEEP_MIN))
    }

    /// Whether a step may have taken effect and is not undone yet.
    ///
    /// A refusal, or that a call was never sent, proves that nothing was done only when no earlier attempt is in doubt.
    pub fn owes_undo(&self, ix: StepIx) -> bool {
        let state = self.step(ix);
        let has_undo = self.spec(ix).undo().is_some() && !self.is_fanned(ix);
        let may_have_happened = match state.phase {
            StepPhase::Pending | StepPhase::Skipped | StepPhase::Compensated | StepPhase::Waiting { .. } => {
                false
            }
            StepPhase::Refused => state.action.doubt && !planted(Bug::RefusalTrusted),
            StepPhase::Unknown => state.action.doubt && !planted(Bug::UnknownNotUndone),
            StepPhase::Parked => !planted(Bug::ParkedCountsAsCompensated),
            StepPhase::Running | StepPhase::Registered | StepPhase::Done | StepPhase::Compensating => true,
        };
        has_undo && may_have_happened
    }
}

impl StepState {
    fn new(phase: StepPhase) -> StepState {
        StepState { phase, action: OpState::default(), compensation: OpState::default(), output: None }
    }

    /// One of its calls.
    pub fn call(&self, op: Op) -> &OpState {
        match op {
            Op::Action | Op::Confirm => &self.action,
            Op::Compensation => &self.compensation,
        }
    }

    fn call_mut(&mut self, op: Op) -> &mut OpState {
        match op {
            Op::Action | Op::Confirm => &mut self.action,
            Op::Compensation => &mut self.compensation,
        }
    }

    /// Whether a repair item is open here, or in the child saga that is called.
    fn is_in_repair(&self) -> bool {
        let child = |call: &OpState| call.child_in_repair && matches!(call.phase, OpPhase::Pending { .. });
        self.phase == StepPhase::Parked || child(&self.action) || child(&self.compensation)
    }

    /// Whether an operator has settled the step in place of its participant.
    pub fn is_settled_by_hand(&self) -> bool {
        let settled = |call: &OpState| call.repair.as_ref()?.settled.as_ref().map(|settled| settled.how);
        let by_hand = |how: Option<How>| matches!(how, Some(How::Resolved | How::Skipped));
        by_hand(settled(&self.action)) || by_hand(settled(&self.compensation))
    }

    /// Whether an operator has decided that the step stays undone.
    pub fn is_left_undone(&self) -> bool {
        let how = self.compensation.repair.as_ref().and_then(|repair| repair.settled.as_ref());
        how.is_some_and(|settled| settled.how == How::Skipped)
    }
}

impl OpState {
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
