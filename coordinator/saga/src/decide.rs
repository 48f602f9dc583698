//! What follows: from a saga and an input to the events that must be written.

use crate::{
    Json, Name, SagaId,
    answer::{Answer, Report},
    definition::{AwaitStep, CallStep, Definition, Kind, Scope, StepIx, UndoCall},
    due::{self, CallKey},
    event::{Cause, CauseKind, Event, Op, Record},
    hash::Mix,
    planted::{Bug, planted},
    repair::{Audit, Verb},
    schedule::Schedule,
    state::{Direction, OpPhase, Saga, StepPhase},
    time::{Millis, Timestamp},
};
use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};
use uuid::Uuid;

mod repair;

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
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Ended => f.write_str("the saga has ended"),
            Rejected::NoSuchSignal => f.write_str("the saga's definition awaits no such signal"),
            Rejected::SignalConflict(why) => f.write_str(why),
            Rejected::NoSuchItem => {
                f.write_str("the saga has no such repair item, or a newer one has followed it")
            }
            Rejected::RepairSettled => f.write_str("the repair item is settled"),
            Rejected::RepairRetrying { by } => write!(f, "the item is being tried again for {by}"),
            Rejected::NoBody(why) => {
                write!(f, "no body can be made for the call ({why}); retry with an input")
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
            deadline_at: definition.deadline.map(|span| now.after(span)),
        },
    };
    let saga = Saga::begin(start.id, definition, &first);
    let mut draft = Draft { saga: Cow::Owned(saga), now, records: vec![first] };
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
    if saga.is_terminal() {
        return match input {
            Input::Answer { .. } | Input::Tick | Input::GiveUp { .. } => Ok(Vec::new()),
            Input::Cancel { .. } | Input::TakeOver { .. } => Err(Rejected::Ended),
            Input::Repair { item, verb, audit } => {
                repair::repeated(saga, item, &verb, &audit).map(|()| Vec::new())
            }
            Input::Signal { name, .. } if !saga.definition.awaits(&name) => Err(Rejected::NoSuchSignal),
            Input::Signal { name, id, payload } => repeated_signal(saga, &name, id, &payload)
                .unwrap_or(Err(Rejected::SignalConflict("the saga has ended")))
                .map(|()| Vec::new()),
        };
    }
    let mut draft = Draft { saga: Cow::Borrowed(saga), now, records: Vec::new() };
    match input {
        Input::Answer { key, answer } => draft.answer(key, answer),
        Input::Tick => draft.tick(),
        Input::GiveUp { key } => draft.give_up(key),
        Input::Cancel { reason } => draft.cancel(reason),
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
}

impl Draft<'_> {
    fn push(&mut self, event: Event) {
        self.saga.to_mut().apply(self.now, &event);
        self.records.push(Record { at: self.now, event });
    }

    fn name(&self, ix: StepIx) -> Name {
        self.saga.definition.step(ix).name.clone()
    }

    /// Takes an answer to the call in flight.
    fn answer(&mut self, key: CallKey, answer: Answer) {
        let definition = self.saga.definition.clone();
        if usize::from(key.step.0) >= definition.len() || !due::is_in_flight(&self.saga, key) {
            return;
        }
        let step = definition.step(key.step);
        let (name, op, attempt) = (step.name.clone(), key.op, key.attempt);
        let draining = op == Op::Action && self.saga.direction == Direction::Backward;
        match answer {
            Answer::NotSeen | Answer::Pending { .. } if draining => {
                // The attempt in flight has ended; the compensation settles what is left of it.
                let error = Report::new(None, "no definite answer before the saga was undone", 0);
                self.push(Event::CallExhausted { step: name, op, attempt, timeout: false, error });
            }
            Answer::Done(output) => self.push(Event::CallDone { step: name, op, attempt, output }),
            Answer::NotSeen => self.push(Event::CallNotSeen { step: name, op, attempt }),
            Answer::Refused(error) => {
                self.push(Event::CallRefused { step: name, op, attempt, contract: false, error });
            }
            Answer::Contract(error) => {
                self.push(Event::CallRefused { step: name, op, attempt, contract: true, error });
            }
            Answer::Pending { retry_after } => {
                let wait = retry_after.unwrap_or_else(|| Schedule::POLL.delay(key.poll + 1, self.seed(key)));
                let next_poll_at = self.now.after(wait.max(Schedule::POLL_MIN));
                self.push(Event::CallPending { step: name, op, attempt, next_poll_at });
            }
            Answer::Unknown { report, retry_after } => match (op, step.call(), step.undo()) {
                (Op::Action, Some(call), _) => self.action_unknown(key, name, call, report, retry_after),
                (Op::Compensation, _, Some(undo)) => {
                    self.undo_unknown(key, name, undo, report, retry_after);
                }
                (Op::Action | Op::Compensation, _, _) => unreachable!("a call in flight has its operation"),
            },
        }
    }

    fn action_unknown(
        &mut self,
        key: CallKey,
        step: Name,
        call: &CallStep,
        error: Report,
        retry_after: Option<Millis>,
    ) {
        let state = &self.saga.step(key.step).action;
        let spent = state.spent + 1;
        let delay = call.retry.delay(spent, self.seed(key)).max(retry_after.unwrap_or_default());
        let next_attempt_at = self.now.after(delay);
        let late = |limit: Option<Timestamp>| limit.is_some_and(|limit| next_attempt_at >= limit);
        let within = call.within.zip(state.started_at).map(|(within, started)| started.after(within));
        let (op, attempt) = (Op::Action, key.attempt);
        let draining = self.saga.direction == Direction::Backward;
        if draining || spent >= call.retry.attempts {
            self.push(Event::CallExhausted { step, op, attempt, timeout: false, error });
        } else if late(within) || late(self.saga.deadline_at) {
            self.push(Event::CallExhausted { step, op, attempt, timeout: true, error });
        } else {
            self.push(Event::CallFailed { step, op, attempt, error, next_attempt_at });
        }
    }

    fn undo_unknown(
        &mut self,
        key: CallKey,
        step: Name,
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
            self.push(Event::CallExhausted { step, op, attempt, timeout: false, error });
        } else if next_attempt_at >= limit {
            self.push(Event::CallExhausted { step, op, attempt, timeout: true, error });
        } else {
            self.push(Event::CallFailed { step, op, attempt, error, next_attempt_at });
        }
    }

    fn seed(&self, key: CallKey) -> Mix {
        self.saga.jitter(key.step, key.op)
    }

    fn give_up(&mut self, key: CallKey) {
        if key.op == Op::Action && due::is_in_flight(&self.saga, key) {
            let message =
                "the participant could not be called for too long: its breaker was open, or too much waited";
            self.out_of_time(key.step, key.op, key.attempt, message);
        }
    }

    /// Ends whatever has run out of time.
    fn tick(&mut self) {
        let definition = self.saga.definition.clone();
        for (ix, step) in definition.steps() {
            match &step.kind {
                Kind::Await(wait) => self.tick_await(ix, wait),
                Kind::Call(call) => {
                    self.tick_action(ix, call);
                    if let Some(undo) = step.undo() {
                        self.tick_undo(ix, undo);
                    }
                }
            }
        }
    }

    fn tick_await(&mut self, ix: StepIx, wait: &AwaitStep) {
        let StepPhase::Waiting { timeout_at } = self.saga.step(ix).phase else { return };
        if timeout_at > self.now {
            return;
        }
        let step = self.name(ix);
        match &wait.default {
            None => self.push(Event::AwaitTimedOut { step }),
            Some(default) => match default.render(&Scope::new(&self.saga)) {
                Ok(output) => self.push(Event::AwaitDone { step, output, by_default: true }),
                Err(_) => self.push(Event::AwaitTimedOut { step }),
            },
        }
    }

    fn tick_action(&mut self, ix: StepIx, call: &CallStep) {
        let state = self.saga.step(ix);
        if self.saga.direction == Direction::Backward || state.phase != StepPhase::Running {
            return;
        }
        let limit = call.within.zip(state.action.started_at).map(|(within, at)| at.after(within));
        if limit.is_some_and(|limit| limit <= self.now) {
            let message = "the step's \"within\" has passed";
            self.out_of_time(ix, Op::Action, state.action.attempts, message);
        }
    }

    fn tick_undo(&mut self, ix: StepIx, undo: &UndoCall) {
        let state = self.saga.step(ix);
        if state.phase != StepPhase::Compensating {
            return;
        }
        let Some(ends_at) = due::undo_ends_at(&state.compensation, undo) else { return };
        if ends_at <= self.now {
            let message = match state.compensation.phase {
                OpPhase::Pending { .. } => "the compensation was still pending when its \"within\" passed",
                _ => "the participant could not be called before the compensation's \"within\" passed",
            };
            self.out_of_time(ix, Op::Compensation, state.compensation.attempts, message);
        }
    }

    fn out_of_time(&mut self, ix: StepIx, op: Op, attempt: u32, message: &str) {
        let error = Report::new(None, message, 0);
        self.push(Event::CallExhausted { step: self.name(ix), op, attempt, timeout: true, error });
    }

    fn cancel(&mut self, message: String) {
        if self.saga.direction == Direction::Forward {
            self.push(Event::Compensating {
                error: Cause { step: None, kind: CauseKind::Cancelled, message },
            });
        }
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

    /// Follows every consequence until there is nothing more to decide.
    fn advance(&mut self) {
        loop {
            let before = self.records.len();
            if self.saga.is_terminal() {
                return;
            }
            match self.saga.direction {
                Direction::Forward => self.advance_forward(),
                Direction::Backward => self.advance_backward(),
            }
            if self.records.len() == before {
                return;
            }
        }
    }

    fn advance_forward(&mut self) {
        if let Some(error) = self.failed_step() {
            return self.push(Event::Compensating { error });
        }
        if self.saga.deadline_at.is_some_and(|deadline| deadline <= self.now) {
            let error = Cause {
                step: self.only_open_step(),
                kind: CauseKind::Timeout,
                message: "the saga's deadline has passed".to_owned(),
            };
            return self.push(Event::Compensating { error });
        }
        let definition = self.saga.definition.clone();
        for (ix, step) in definition.steps() {
            match (&step.kind, self.saga.step(ix).phase) {
                (_, StepPhase::Pending) if self.is_ready(&step.after) => self.begin_step(ix, &step.kind),
                (Kind::Await(wait), StepPhase::Waiting { .. }) => self.take_signal(ix, wait),
                _ => {}
            }
        }
        if self.records.last().is_none_or(|r| !r.event.is_terminal()) && self.all_done() {
            self.complete(&definition);
        }
    }

    fn is_ready(&self, after: &[StepIx]) -> bool {
        after.iter().all(|a| matches!(self.saga.step(*a).phase, StepPhase::Done | StepPhase::Skipped))
    }

    fn all_done(&self) -> bool {
        self.saga.steps().all(|(_, s)| matches!(s.phase, StepPhase::Done | StepPhase::Skipped))
    }

    fn begin_step(&mut self, ix: StepIx, kind: &Kind) {
        let step = self.name(ix);
        match kind {
            Kind::Await(wait) => {
                self.push(Event::AwaitStarted { step, timeout_at: self.now.after(wait.timeout) });
            }
            Kind::Call(call) => match call.with.render(&Scope::new(&self.saga)) {
                Ok(input) => self.push(Event::CallStarted { step, op: Op::Action, input }),
                Err(message) => self.push(Event::CallUnprepared { step, op: Op::Action, message }),
            },
        }
    }

    fn take_signal(&mut self, ix: StepIx, wait: &AwaitStep) {
        if let Some(signal) = self.saga.signals.get(&wait.signal) {
            let output = signal.payload.clone();
            self.push(Event::AwaitDone { step: self.name(ix), output, by_default: false });
        }
    }

    fn complete(&mut self, definition: &Definition) {
        let output = match definition.output() {
            None => Ok(Json::default()),
            Some(template) => template.render(&Scope::new(&self.saga)),
        };
        self.push(match output {
            Ok(output) => Event::Completed { output },
            Err(message) => {
                let message = format!("the saga's output: {message}");
                Event::Compensating { error: Cause { step: None, kind: CauseKind::Refused, message } }
            }
        });
    }

    /// The first step that cannot be done, as the reason to turn round.
    fn failed_step(&self) -> Option<Cause> {
        let definition = &self.saga.definition;
        definition.steps().find_map(|(ix, step)| {
            let state = self.saga.step(ix);
            let said = |fallback: &str| {
                state.action.last_error().map_or(fallback.to_owned(), |f| f.report.message.clone())
            };
            let (kind, message) = match (state.phase, &step.kind) {
                (StepPhase::Refused, Kind::Await(_)) => {
                    (CauseKind::Timeout, "the awaited signal did not come in time".to_owned())
                }
                (StepPhase::Refused, Kind::Call(_)) => (CauseKind::Refused, self.refusal(ix, said)),
                (StepPhase::Unknown, _) if self.timed_out(&step.name) => {
                    (CauseKind::Timeout, said("the step took too long"))
                }
                (StepPhase::Unknown, _) => (CauseKind::Unknown, said("no definite answer came")),
                _ => return None,
            };
            Some(Cause { step: Some(step.name.clone()), kind, message })
        })
    }

    fn refusal(&self, ix: StepIx, said: impl Fn(&str) -> String) -> String {
        let name = &self.saga.definition.step(ix).name;
        let unprepared = self.records.iter().rev().find_map(|r| match &r.event {
            Event::CallUnprepared { step, message, .. } if step == name => Some(message.clone()),
            Event::CallRefused { step, contract: true, error, .. } if step == name => {
                Some(format!("the call was not accepted: {}", error.message))
            }
            _ => None,
        });
        unprepared.unwrap_or_else(|| said("refused"))
    }

    fn timed_out(&self, name: &Name) -> bool {
        self.records
            .iter()
            .any(|r| matches!(&r.event, Event::CallExhausted { step, timeout: true, .. } if step == name))
    }

    fn only_open_step(&self) -> Option<Name> {
        let open = |s: StepPhase| matches!(s, StepPhase::Running | StepPhase::Waiting { .. });
        let mut steps = self.saga.steps().filter(|(_, s)| open(s.phase));
        let (first, more) = (steps.next(), steps.next());
        first.filter(|_| more.is_none()).map(|(ix, _)| self.name(ix))
    }

    fn advance_backward(&mut self) {
        let definition = self.saga.definition.clone();
        for (ix, step) in definition.steps() {
            if step.undo().is_some() && self.saga.owes_undo(ix) && self.undo_may_begin(ix) {
                self.begin_undo(ix);
            }
        }
        let owing = self.saga.steps().any(|(ix, _)| self.saga.owes_undo(ix));
        let draining = self.saga.steps().any(|(_, s)| s.phase == StepPhase::Running);
        if !owing && !draining {
            let left_undone = self.saga.steps().any(|(_, s)| s.is_left_undone());
            let left_undone = left_undone && !planted(Bug::SkipCountsAsDone);
            self.push(if left_undone { Event::Abandoned } else { Event::Compensated });
        }
    }

    /// Whether a step's undo has not begun and every step after it is undone, or parked and passed over.
    fn undo_may_begin(&self, ix: StepIx) -> bool {
        let begun =
            |s: StepPhase| matches!(s, StepPhase::Running | StepPhase::Compensating | StepPhase::Parked);
        if begun(self.saga.step(ix).phase) {
            return false;
        }
        if planted(Bug::ForwardUndo) {
            let mut steps = self.saga.definition.steps();
            let comes_after = |earlier: StepIx| self.saga.definition.descendants(earlier).contains(&ix);
            return !steps.any(|(earlier, _)| comes_after(earlier) && self.saga.owes_undo(earlier));
        }
        self.saga.definition.descendants(ix).iter().all(|later| {
            let state = self.saga.step(*later);
            if planted(Bug::UndoDoesNotWait) && state.phase == StepPhase::Compensating {
                return true;
            }
            let passed_over = state.phase == StepPhase::Parked
                && self.saga.definition.step(*later).undo().is_some_and(|undo| undo.eager);
            let still_running = state.phase == StepPhase::Running;
            passed_over || (!self.saga.owes_undo(*later) && !still_running)
        })
    }

    fn begin_undo(&mut self, ix: StepIx) {
        let (step, op) = (self.name(ix), Op::Compensation);
        self.push(match self.undo_body(ix) {
            Ok(input) => Event::CallStarted { step, op, input },
            Err(message) => Event::CallUnprepared { step, op, message },
        });
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
