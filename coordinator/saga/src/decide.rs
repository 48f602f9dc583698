//! What follows: from a saga and an input to the events that must be written.

use crate::{
    Json, Name, SagaId, StepName,
    answer::{Answer, Report},
    definition::{Definition, Kind, Misfits, Operation, STEPS_MAX, StepIx, UndoCall},
    due::{self, CallKey},
    event::{BranchTerms, Cause, CauseKind, Event, Op, Parent, Record},
    hash::Mix,
    planted::{Bug, planted},
    repair::{Audit, Verb},
    schedule::Schedule,
    state::{Direction, OpPhase, Saga, Status, StepPhase},
    time::{Millis, Timestamp},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};
use uuid::Uuid;

mod advance;
mod branches;
mod later;
mod repair;
mod returned;

pub use branches::has_branch;
pub use later::{child_id, revert};

/// Something that happened to a saga from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A call's answer.
    Answer {
        /// The call it answers; an answer to any other than the one in flight is stale and changes nothing.
        key: CallKey,
        /// What was said.
        answer: Answer,
    },
    /// Time has passed.
    Tick,
    /// A call has waited too long for its participant to be called at all.
    GiveUp {
        /// The call; any other than the one wanted is stale and changes nothing.
        key: CallKey,
    },
    /// Somebody wants the saga undone.
    Cancel {
        /// Why, in a sentence.
        reason: String,
    },
    /// A signal arrived.
    Signal {
        /// Its name.
        name: Name,
        /// The sender's id for it.
        id: Option<String>,
        /// What it carries.
        payload: Json,
    },
    /// A participant answers a call by itself, or a child saga has come to its end.
    Callback {
        /// The step.
        step: StepName,
        /// Which of its calls.
        op: Op,
        /// What was said.
        answer: Answer,
    },
    /// A branch of an open saga is registered.
    Branch {
        /// Its name.
        name: Name,
        /// How it is undone and made final.
        terms: Box<BranchTerms>,
    },
    /// An open saga gets until then to be decided.
    Renew {
        /// Until when.
        deadline_at: Timestamp,
    },
    /// An open saga is decided: its branches are made final.
    Commit,
    /// Somebody does something about a stuck step.
    Repair {
        /// The item.
        item: Uuid,
        /// What.
        verb: Verb,
        /// Who, why, from where.
        audit: Audit,
    },
    /// A new coordinator drives the saga.
    TakeOver {
        /// Its epoch, higher than any before.
        epoch: u64,
        /// Its name.
        owner: String,
    },
}

/// Why an input is not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// The saga has ended.
    Ended,
    /// The definition awaits no such signal.
    NoSuchSignal,
    /// The signal came too late, or another payload was taken.
    SignalConflict(&'static str),
    /// The saga only goes forward by now.
    PastPivot,
    /// Only a saga that has completed can be reverted.
    NotCompleted(Status),
    /// The saga has no such step.
    NoSuchStep,
    /// The call was never made, or was answered otherwise already; the text says which.
    AnswerConflict(&'static str),
    /// Only open sagas have branches and are committed.
    NotOpen,
    /// The open saga is decided, or rolled back, already.
    Decided,
    /// Something else was registered for a branch of this name.
    BranchConflict,
    /// The saga has as many branches as one may have.
    TooManyBranches,
    /// The saga has no such item, or another has followed it.
    NoSuchItem,
    /// The item is settled already.
    RepairSettled,
    /// The item is being tried again for somebody.
    RepairRetrying {
        /// For whom.
        by: String,
    },
    /// The call has no body that could be sent; the message says why.
    NoBody(String),
    /// The step must not return this.
    OutputDoesNotFit(Misfits),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Ended => f.write_str("the saga has ended"),
            Rejected::NoSuchSignal => f.write_str("the saga's definition awaits no such signal"),
            Rejected::SignalConflict(why) => f.write_str(why),
            Rejected::PastPivot => {
                f.write_str("the saga has passed its point of no return and can only go forward")
            }
            Rejected::NotCompleted(status) => {
                write!(f, "only a completed saga can be reverted, and this one is {}", status.as_str())
            }
            Rejected::NoSuchStep => f.write_str("the saga has no such step"),
            Rejected::AnswerConflict(why) => f.write_str(why),
            Rejected::NotOpen => f.write_str("the saga is not an open one"),
            Rejected::Decided => f.write_str("the saga is decided already"),
            Rejected::BranchConflict => f.write_str("another branch is registered under this name"),
            Rejected::TooManyBranches => {
                write!(f, "the saga has {STEPS_MAX} branches, and more it cannot have")
            }
            Rejected::NoSuchItem => {
                f.write_str("the saga has no such repair item, or a newer one has followed it")
            }
            Rejected::RepairSettled => f.write_str("the repair item is settled"),
            Rejected::RepairRetrying { by } => write!(f, "the item is being tried again for {by}"),
            Rejected::NoBody(why) => {
                write!(f, "no body can be made for the call ({why}); retry with an input")
            }
            Rejected::OutputDoesNotFit(misfits) => {
                write!(f, "the step's \"returns\" says otherwise: {misfits}")
            }
        }
    }
}

/// What a saga is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its id.
    pub id: SagaId,
    /// What it runs.
    pub definition: Arc<Definition>,
    /// Its input, which fits the definition's schema.
    pub input: Json,
    /// The caller's key.
    pub key: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// The saga it is run for, where it is a child.
    pub parent: Option<Parent>,
    /// How long an open saga has to be decided; of any other the definition says it.
    pub timeout: Option<Millis>,
    /// Whether it ends before it begins: a child that is undone before it was ever started, so that a start
    /// which comes late finds it ended.
    pub barred: bool,
}

impl Start {
    /// A start of a saga that is neither a child nor an open one, without key and labels.
    pub fn new(id: SagaId, definition: Arc<Definition>, input: Json) -> Start {
        let (key, labels, parent, timeout) = (None, BTreeMap::new(), None, None);
        Start { id, definition, input, key, labels, parent, timeout, barred: false }
    }
}

/// Decides the first events of a saga: that it started, and the calls that begin it.
pub fn start(start: Start, now: Timestamp) -> (Saga, Vec<Record>) {
    let definition = start.definition;
    let first = Record {
        at: now,
        event: Event::Started {
            definition: format!("{}@{}", definition.name, definition.version),
            hash: definition.hash.clone(),
            input: start.input,
            key: start.key,
            labels: start.labels,
            deadline_at: start.timeout.or(definition.deadline).map(|span| now.after(span)),
            parent: start.parent,
        },
    };
    let saga = Saga::begin(start.id, definition, &first);
    let mut draft = Draft { saga: Cow::Owned(saga), now, records: vec![first], waits: &|_| false };
    if start.barred {
        let message = "the saga was undone before it was started".to_owned();
        draft.turn(Cause { step: None, kind: CauseKind::Cancelled, message });
    }
    draft.advance();
    (draft.saga.into_owned(), draft.records)
}

/// Decides what follows from `input`; changes nothing.
///
/// No event at all is a fine answer: a stale reply, a repeated signal, a tick that came early.
///
/// # Errors
/// [`Rejected`] when the input cannot be taken, with the reason.
pub fn decide(saga: &Saga, input: Input, now: Timestamp) -> Result<Vec<Record>, Rejected> {
    decide_knowing(saga, input, now, &|_| false)
}

/// Does what [`decide`] does, where whoever makes the calls knows which of them wait and were not sent.
///
/// # Errors
/// As [`decide`].
pub(crate) fn decide_knowing(
    saga: &Saga,
    input: Input,
    now: Timestamp,
    waits: &dyn Fn(CallKey) -> bool,
) -> Result<Vec<Record>, Rejected> {
    if saga.is_terminal() {
        return match input {
            Input::Answer { .. } | Input::Tick | Input::GiveUp { .. } => Ok(Vec::new()),
            Input::Cancel { .. } | Input::TakeOver { .. } => Err(Rejected::Ended),
            Input::Callback { step, op, answer } => {
                later::repeated(saga, &step, op, &answer).map(|()| Vec::new())
            }
            Input::Branch { .. } | Input::Renew { .. } => Err(branches::decided(saga)),
            Input::Commit if saga.committed_at.is_some() => Ok(Vec::new()),
            Input::Commit => Err(branches::decided(saga)),
            Input::Repair { item, verb, audit } => {
                repair::repeated(saga, item, &verb, &audit).map(|()| Vec::new())
            }
            Input::Signal { name, .. } if !saga.definition.awaits(&name) => Err(Rejected::NoSuchSignal),
            Input::Signal { name, id, payload } => repeated_signal(saga, &name, id, &payload)
                .unwrap_or(Err(Rejected::SignalConflict("the saga has ended")))
                .map(|()| Vec::new()),
        };
    }
    let mut draft = Draft { saga: Cow::Borrowed(saga), now, records: Vec::new(), waits };
    match input {
        Input::Answer { key, answer } => draft.answer(key, answer),
        Input::Tick => draft.tick(),
        Input::GiveUp { key } => draft.give_up(key),
        Input::Cancel { reason } => draft.cancel(reason)?,
        Input::Callback { step, op, answer } => draft.callback(&step, op, answer)?,
        Input::Branch { name, terms } => draft.branch(name, *terms)?,
        Input::Renew { deadline_at } => draft.renew(deadline_at)?,
        Input::Commit => draft.commit()?,
        Input::Signal { name, id, payload } => draft.signal(name, id, payload)?,
        Input::Repair { item, verb, audit } => draft.repair(item, verb, audit)?,
        Input::TakeOver { epoch, owner } => draft.push(Event::TakenOver { epoch, owner }),
    }
    draft.advance();
    Ok(draft.records)
}

/// A saga as it would be with the events decided so far.
struct Draft<'a> {
    saga: Cow<'a, Saga>,
    now: Timestamp,
    records: Vec<Record>,
    /// Whether a call waits for its participant and was not sent.
    waits: &'a dyn Fn(CallKey) -> bool,
}

impl Draft<'_> {
    fn push(&mut self, event: Event) {
        self.saga.to_mut().apply(self.now, &event);
        self.records.push(Record { at: self.now, event });
    }

    fn name(&self, ix: StepIx) -> StepName {
        self.saga.step_name(ix)
    }

    /// Turns round; what was never sent is not undone.
    fn turn(&mut self, error: Cause) {
        let running = |ix: &StepIx| self.saga.step(*ix).phase == StepPhase::Running;
        let steps = (0..self.saga.len()).map(|i| StepIx(i as u16));
        let unsent = steps.filter(running).filter(|ix| self.is_unsent(*ix)).map(|ix| self.name(ix)).collect();
        self.push(Event::Compensating { error, unsent });
    }

    /// Whether no attempt of a step's action has left: this one waits for the participant, which never said that it has it,
    /// and none before is in doubt.
    fn is_unsent(&self, ix: StepIx) -> bool {
        let call = &self.saga.step(ix).action;
        let waits = due::current(&self.saga, ix, Op::Action).is_some_and(|key| (self.waits)(key));
        let waits = waits && !planted(Bug::UnsentUndone);
        let is_first = matches!(call.phase, OpPhase::Due { ask: false, .. });
        let has_left = call.left || call.doubt;
        waits && is_first && (!has_left || planted(Bug::WaitingTrusted))
    }

    /// Takes an answer to the call in flight.
    fn answer(&mut self, key: CallKey, answer: Answer) {
        if !due::is_in_flight(&self.saga, key) {
            return;
        }
        let (name, op, attempt) = (self.name(key.step), key.op, key.attempt);
        let draining = op == Op::Action && self.saga.direction == Direction::Backward;
        match self.as_it_counts(key, answer) {
            Answer::NotSeen | Answer::Pending { .. } if draining => {
                // The attempt in flight has ended; the compensation settles what is left of it.
                let error = Report::new(None, "no definite answer before the saga was undone", 0);
                self.push(Event::CallExhausted {
                    step: name,
                    op,
                    attempt,
                    timeout: false,
                    unsent: false,
                    error,
                });
            }
            Answer::Done(output) => self.push(Event::CallDone { step: name, op, attempt, output }),
            Answer::NotSeen => self.push(Event::CallNotSeen { step: name, op, attempt }),
            Answer::Refused(error) => {
                self.push(Event::CallRefused { step: name, op, attempt, contract: false, error });
            }
            Answer::Contract(error) => {
                self.push(Event::CallRefused { step: name, op, attempt, contract: true, error });
            }
            Answer::Pending { retry_after, repair } => {
                let child = self.saga.spec(key.step).operation(op).is_some_and(Operation::is_child);
                let schedule = if child { Schedule::CHILD } else { Schedule::POLL };
                let wait = retry_after.unwrap_or_else(|| schedule.delay(key.poll + 1, self.seed(key)));
                let next_poll_at = self.now.after(wait.max(Schedule::POLL_MIN));
                self.push(Event::CallPending { step: name, op, attempt, next_poll_at, repair });
            }
            Answer::Unknown { report, retry_after } if op == Op::Compensation => {
                let undo = self.saga.spec(key.step).undo().cloned();
                let undo = undo.expect("a compensation in flight has its operation");
                self.undo_unknown(key, name, &undo, report, retry_after);
            }
            Answer::Unknown { report, retry_after } => self.action_unknown(key, name, report, retry_after),
        }
    }

    fn action_unknown(&mut self, key: CallKey, step: StepName, error: Report, retry_after: Option<Millis>) {
        let (spec, state) = (self.saga.spec(key.step), &self.saga.step(key.step).action);
        let spent = state.spent + 1;
        let (attempts, delay) = spec.forward_retry(spent, self.seed(key));
        let delay = delay.max(retry_after.unwrap_or_default());
        let next_attempt_at = self.now.after(delay);
        let late = |limit: Option<Timestamp>| limit.is_some_and(|limit| next_attempt_at >= limit);
        let within = spec.within().zip(state.started_at).map(|(within, started)| started.after(within));
        let deadline = self.saga.deadline_at.filter(|_| !self.saga.is_past_pivot());
        let attempts = if state.is_retrying() { Schedule::QUICK.attempts } else { attempts };
        let (op, attempt) = (key.op, key.attempt);
        let draining = self.saga.direction == Direction::Backward;
        if draining || spent >= attempts {
            self.push(Event::CallExhausted { step, op, attempt, timeout: false, unsent: false, error });
        } else if late(within) || late(deadline) {
            self.push(Event::CallExhausted { step, op, attempt, timeout: true, unsent: false, error });
        } else {
            self.push(Event::CallFailed { step, op, attempt, error, next_attempt_at });
        }
    }

    fn undo_unknown(
        &mut self,
        key: CallKey,
        step: StepName,
        undo: &UndoCall,
        error: Report,
        retry_after: Option<Millis>,
    ) {
        let state = &self.saga.step(key.step).compensation;
        let spent = state.spent + 1;
        let delay = undo.retry.delay(spent, self.seed(key)).max(retry_after.unwrap_or_default());
        let next_attempt_at = self.now.after(delay);
        let limit = state.started_at.expect("a call in flight has started").after(undo.retry.within);
        let (op, attempt) = (Op::Compensation, key.attempt);
        let attempts_max = match state.is_retrying() && !planted(Bug::RetriedForEver) {
            true => undo.retry.quick.max(1),
            false => undo.retry.attempts_max(),
        };
        if spent >= attempts_max && !planted(Bug::RetriesUnbounded) {
            if planted(Bug::ExhaustedCountsAsCompensated) {
                return self.push(Event::CallDone { step, op, attempt, output: Json::default() });
            }
            self.push(Event::CallExhausted { step, op, attempt, timeout: false, unsent: false, error });
        } else if next_attempt_at >= limit {
            self.push(Event::CallExhausted { step, op, attempt, timeout: true, unsent: false, error });
        } else {
            self.push(Event::CallFailed { step, op, attempt, error, next_attempt_at });
        }
    }

    fn seed(&self, key: CallKey) -> Mix {
        self.saga.jitter(key.step, key.op)
    }

    fn give_up(&mut self, key: CallKey) {
        if key.op != Op::Compensation && due::is_in_flight(&self.saga, key) {
            let message =
                "the participant could not be called for too long: its breaker was open, or too much waited";
            self.out_of_time(key.step, key.op, key.attempt, message);
        }
    }

    /// Ends whatever has run out of time.
    fn tick(&mut self) {
        for i in 0..self.saga.len() {
            let ix = StepIx(i as u16);
            match self.saga.step(ix).phase {
                StepPhase::Waiting { timeout_at } if timeout_at <= self.now => self.time_is_up(ix),
                StepPhase::Running => self.tick_action(ix),
                StepPhase::Compensating => self.tick_undo(ix),
                _ => {}
            }
        }
    }

    fn time_is_up(&mut self, ix: StepIx) {
        let step = self.name(ix);
        self.push(match self.default_of(ix) {
            Some(output) => Event::AwaitDone { step, output, by_default: true },
            None => Event::AwaitTimedOut { step },
        });
    }

    fn tick_action(&mut self, ix: StepIx) {
        let state = self.saga.step(ix);
        if self.saga.direction == Direction::Backward || self.saga.is_fanned(ix) {
            return;
        }
        let limit = self.saga.spec(ix).within().zip(state.action.started_at);
        if limit.is_some_and(|(within, at)| at.after(within) <= self.now) {
            let (op, attempts) = (self.saga.forward_op(ix), state.action.attempts);
            let message = match self.is_unsent(ix) {
                true => "the step's \"within\" has passed before its participant could be called",
                false => "the step's \"within\" has passed",
            };
            self.out_of_time(ix, op, attempts, message);
        }
    }

    fn tick_undo(&mut self, ix: StepIx) {
        let call = &self.saga.step(ix).compensation;
        let undo = self.saga.spec(ix).undo().expect("a step being undone has a compensation");
        let Some(ends_at) = due::undo_ends_at(call, undo) else { return };
        if ends_at <= self.now {
            let message = match call.phase {
                OpPhase::Pending { .. } => "the compensation was still pending when its \"within\" passed",
                _ => "the participant could not be called before the compensation's \"within\" passed",
            };
            self.out_of_time(ix, Op::Compensation, call.attempts, message);
        }
    }

    fn out_of_time(&mut self, ix: StepIx, op: Op, attempt: u32, message: &str) {
        let error = Report::new(None, message, 0);
        let unsent = op == Op::Action && self.is_unsent(ix);
        self.push(Event::CallExhausted { step: self.name(ix), op, attempt, timeout: true, unsent, error });
    }

    fn cancel(&mut self, message: String) -> Result<(), Rejected> {
        if self.saga.is_past_pivot() && !planted(Bug::TurnsPastPivot) {
            return Err(Rejected::PastPivot);
        }
        if self.saga.direction == Direction::Forward {
            self.turn(Cause { step: None, kind: CauseKind::Cancelled, message });
        }
        Ok(())
    }

    fn signal(&mut self, signal: Name, id: Option<String>, payload: Json) -> Result<(), Rejected> {
        if !self.saga.definition.awaits(&signal) {
            return Err(Rejected::NoSuchSignal);
        }
        if let Some(repeat) = repeated_signal(&self.saga, &signal, id.clone(), &payload) {
            return repeat;
        }
        if self.saga.direction == Direction::Backward {
            return Err(Rejected::SignalConflict("the saga is being undone"));
        }
        if !self.still_awaits(&signal) {
            return Err(Rejected::SignalConflict("the time for this signal is up"));
        }
        self.may_signal(&signal, &payload)?;
        self.push(Event::SignalReceived { signal, id, payload });
        Ok(())
    }

    fn still_awaits(&self, signal: &Name) -> bool {
        self.saga.definition.steps().any(|(ix, step)| match (&step.kind, self.saga.step(ix).phase) {
            (Kind::Await(wait), StepPhase::Pending) => wait.signal == *signal,
            (Kind::Await(wait), StepPhase::Waiting { timeout_at }) => {
                wait.signal == *signal && timeout_at > self.now
            }
            _ => false,
        })
    }
}

/// What a signal that has been taken before is told, `None` when it has not.
fn repeated_signal(
    saga: &Saga,
    name: &Name,
    id: Option<String>,
    payload: &Json,
) -> Option<Result<(), Rejected>> {
    let taken = saga.signals.get(name)?;
    let same = (id.is_some() && id == taken.id) || (taken.payload == *payload);
    Some(if same {
        Ok(())
    } else {
        Err(Rejected::SignalConflict("another payload has been taken for this signal"))
    })
}

#[cfg(test)]
mod tests;
