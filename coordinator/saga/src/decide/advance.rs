//! What follows by itself: steps that can begin, what is to be undone next, and the saga's end.

use super::{Definition, Draft};
use crate::{
    Json, StepName,
    definition::{AwaitStep, FAN_MAX, Fan, Kind, Scope, StepIx, Template},
    event::{Cause, CauseKind, Event, Op},
    planted::{Bug, planted},
    state::{DYNAMIC_MAX, Direction, FanState, StepPhase},
};
use serde_json::Value;
use std::sync::Arc;

impl Draft<'_> {
    /// Follows every consequence until there is nothing more to decide.
    pub(super) fn advance(&mut self) {
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
            return self.turn(error);
        }
        let past_pivot = self.saga.is_past_pivot() && !planted(Bug::TurnsPastPivot);
        if !past_pivot && self.saga.deadline_at.is_some_and(|deadline| deadline <= self.now) {
            let error = Cause {
                step: self.only_open_step(),
                kind: CauseKind::Timeout,
                message: match self.saga.definition.is_open() {
                    true => "the saga was not decided in time".to_owned(),
                    false => "the saga's deadline has passed".to_owned(),
                },
            };
            return self.turn(error);
        }
        let definition = self.saga.definition.clone();
        for (ix, step) in definition.steps() {
            match (&step.kind, self.saga.step(ix).phase) {
                (_, StepPhase::Pending) if self.is_ready(&step.after) => self.begin_step(ix),
                (Kind::Await(wait), StepPhase::Waiting { .. }) => self.take_signal(ix, wait),
                (_, StepPhase::Running) => {
                    if let (Some(state), Some(fan)) = (self.saga.fan(ix), &step.fan) {
                        self.go_on_with_items(ix, state, fan);
                    }
                }
                _ => {}
            }
        }
        if definition.is_open() {
            self.confirm_branches();
        }
        let undecided = definition.is_open() && self.saga.committed_at.is_none();
        if !undecided && self.records.last().is_none_or(|r| !r.event.is_terminal()) && self.all_done() {
            self.complete(&definition);
        }
    }

    fn is_ready(&self, after: &[StepIx]) -> bool {
        after.iter().all(|a| matches!(self.saga.step(*a).phase, StepPhase::Done | StepPhase::Skipped))
    }

    fn all_done(&self) -> bool {
        self.saga.steps().all(|(_, s)| matches!(s.phase, StepPhase::Done | StepPhase::Skipped))
    }

    /// Begins a step whose turn has come, if it is needed at all.
    fn begin_step(&mut self, ix: StepIx) {
        let definition = self.saga.definition.clone();
        let step = definition.step(ix);
        match step.when.as_ref().map(|when| self.is_needed(when)) {
            None | Some(Ok(true)) => {}
            Some(Ok(false)) => return self.push(Event::StepSkipped { step: self.name(ix) }),
            Some(Err(message)) => return self.unprepared(ix, message),
        }
        match (&step.fan, &step.kind) {
            (Some(fan), _) => match self.list(fan) {
                Ok(items) => {
                    self.push(Event::FannedOut { step: self.name(ix), items });
                    let state = self.saga.fan(ix).expect("the step was fanned out");
                    self.go_on_with_items(ix, state, fan);
                }
                Err(message) => self.unprepared(ix, message),
            },
            (None, Kind::Await(wait)) => {
                let timeout_at = self.now.after(wait.timeout);
                self.push(Event::AwaitStarted { step: self.name(ix), timeout_at });
            }
            (None, _) => self.begin_call(ix),
        }
    }

    fn begin_call(&mut self, ix: StepIx) {
        let with = self.saga.spec(ix).call().expect("a step that is called has a call").with.clone();
        match with.render(&Scope::doing(&self.saga, ix)) {
            Ok(input) => self.push(Event::CallStarted { step: self.name(ix), op: Op::Action, input }),
            Err(message) => self.unprepared(ix, message),
        }
    }

    fn unprepared(&mut self, ix: StepIx, message: String) {
        self.push(Event::CallUnprepared { step: self.name(ix), op: Op::Action, message });
    }

    fn is_needed(&self, when: &Arc<dyn Template>) -> Result<bool, String> {
        match *when.render(&Scope::new(&self.saga))? {
            Value::Bool(needed) => Ok(needed),
            ref other => Err(format!("\"when\" must yield true or false and yields {other}")),
        }
    }

    fn list(&self, fan: &Fan) -> Result<Json, String> {
        let items = fan.over.render(&Scope::new(&self.saga))?;
        let Some(list) = items.as_array() else {
            return Err(format!("\"for_each\" must yield a list and yields {}", brief(&items)));
        };
        let dynamic = self.saga.len() - self.saga.definition.len();
        if list.len() > FAN_MAX || dynamic + list.len() > DYNAMIC_MAX {
            let count = list.len();
            return Err(format!(
                "\"for_each\" yields {count} items; a step takes {FAN_MAX} at most, and a saga {DYNAMIC_MAX}"
            ));
        }
        Ok(items)
    }

    /// Begins as many items as may be under way at a time, and ends the step when all are done.
    fn go_on_with_items(&mut self, ix: StepIx, state: FanState, fan: &Fan) {
        let parallel = if planted(Bug::FanUnbounded) { usize::MAX } else { fan.parallel.max(1) as usize };
        let phase = |draft: &Self, item| draft.saga.step(item).phase;
        let busy = |p: StepPhase| matches!(p, StepPhase::Running | StepPhase::Parked);
        let mut under_way = state.items().filter(|item| busy(phase(self, *item))).count();
        let failed = |p: StepPhase| matches!(p, StepPhase::Refused | StepPhase::Unknown);
        for item in state.items() {
            if under_way >= parallel {
                return;
            }
            if phase(self, item) == StepPhase::Pending {
                self.begin_call(item);
                if failed(phase(self, item)) {
                    return;
                }
                under_way += 1;
            }
        }
        let done = |p: StepPhase| matches!(p, StepPhase::Done | StepPhase::Skipped);
        if state.items().all(|item| done(phase(self, item))) {
            let output = |item| self.saga.step(item).output.as_deref().cloned().unwrap_or_default();
            let outputs: Vec<Value> = state.items().map(output).collect();
            self.push(Event::FanDone { step: self.name(ix), output: Arc::new(outputs.into()) });
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
        let fault = |message: String| format!("the saga's output: {message}");
        self.push(match output {
            Ok(output) => Event::Completed { output, fault: None },
            Err(message) if self.saga.is_past_pivot() => {
                Event::Completed { output: Json::default(), fault: Some(fault(message)) }
            }
            Err(message) => Event::Compensating {
                error: Cause { step: None, kind: CauseKind::Refused, message: fault(message) },
                unsent: Vec::new(),
            },
        });
    }

    /// The first step that cannot be done, as the reason to turn round.
    fn failed_step(&self) -> Option<Cause> {
        self.saga.steps().find_map(|(ix, state)| {
            let name = self.saga.step_name(ix);
            let last = state.action.last_error();
            let said =
                |fallback: &str| last.map_or(fallback.to_owned(), |failure| failure.report.message.clone());
            let (kind, message) = match (state.phase, &self.saga.spec(ix).kind) {
                (StepPhase::Refused, Kind::Await(_)) if last.is_none() => {
                    (CauseKind::Timeout, "the awaited signal did not come in time".to_owned())
                }
                (StepPhase::Refused, _) => (CauseKind::Refused, self.refusal(&name, said)),
                // Of a step that is fanned out the items speak.
                (StepPhase::Unknown, _) if self.saga.is_fanned(ix) => return None,
                (StepPhase::Unknown, _) if self.timed_out(&name) => {
                    (CauseKind::Timeout, said("the step took too long"))
                }
                (StepPhase::Unknown, _) => (CauseKind::Unknown, said("no definite answer came")),
                _ => return None,
            };
            Some(Cause { step: Some(name), kind, message })
        })
    }

    fn refusal(&self, name: &StepName, said: impl Fn(&str) -> String) -> String {
        let contract = self.records.iter().rev().find_map(|r| match &r.event {
            Event::CallRefused { step, contract: true, error, .. } if step == name => {
                Some(format!("the call was not accepted: {}", error.message))
            }
            _ => None,
        });
        contract.unwrap_or_else(|| said("refused"))
    }

    fn timed_out(&self, name: &StepName) -> bool {
        self.records
            .iter()
            .any(|r| matches!(&r.event, Event::CallExhausted { step, timeout: true, .. } if step == name))
    }

    fn only_open_step(&self) -> Option<StepName> {
        let open = |s: StepPhase| matches!(s, StepPhase::Running | StepPhase::Waiting { .. });
        let mut steps = self.saga.steps().filter(|(ix, s)| open(s.phase) && !self.saga.is_fanned(*ix));
        let (first, more) = (steps.next(), steps.next());
        first.filter(|_| more.is_none()).map(|(ix, _)| self.name(ix))
    }

    fn advance_backward(&mut self) {
        for i in 0..self.saga.len() {
            let ix = StepIx(i as u16);
            if self.saga.base(ix) != ix {
                continue;
            }
            match self.saga.fan(ix) {
                Some(fan) if self.later_is_undone(ix) => self.undo_items(ix, fan),
                None if self.saga.spec(ix).undo().is_some()
                    && self.saga.owes_undo(ix)
                    && self.undo_may_begin(ix) =>
                {
                    self.begin_undo(ix);
                }
                _ => {}
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
        self.later_is_undone(ix)
    }

    fn later_is_undone(&self, ix: StepIx) -> bool {
        self.saga.undone_before(ix).into_iter().all(|later| self.is_undone_or_passed_over(later))
    }

    fn is_undone_or_passed_over(&self, ix: StepIx) -> bool {
        let state = self.saga.step(ix);
        if planted(Bug::UndoDoesNotWait) && state.phase == StepPhase::Compensating {
            return true;
        }
        let still_running = state.phase == StepPhase::Running;
        self.is_passed_over(ix) || (!self.saga.owes_undo(ix) && !still_running)
    }

    fn is_passed_over(&self, ix: StepIx) -> bool {
        self.saga.step(ix).phase == StepPhase::Parked
            && self.saga.spec(ix).undo().is_some_and(|undo| undo.eager)
    }

    /// Undoes the items of a fanned-out step, the last first, no more at a time than were done at a time.
    fn undo_items(&mut self, ix: StepIx, fan: FanState) {
        let parallel = self.saga.spec(ix).fan.as_ref().map_or(1, |fan| fan.parallel.max(1)) as usize;
        let busy =
            |p: StepPhase| matches!(p, StepPhase::Running | StepPhase::Compensating | StepPhase::Parked);
        let is_busy = |draft: &Self, item| busy(draft.saga.step(item).phase) && !draft.is_passed_over(item);
        let mut under_way = fan.items().filter(|item| is_busy(self, *item)).count();
        let mut items: Vec<StepIx> = fan.items().rev().collect();
        if planted(Bug::ItemsUndoneInOrder) {
            items.reverse();
        }
        for item in items {
            if under_way >= parallel {
                return;
            }
            let begun = busy(self.saga.step(item).phase);
            if !begun && self.saga.owes_undo(item) {
                self.begin_undo(item);
                under_way += usize::from(is_busy(self, item));
            }
        }
    }

    fn begin_undo(&mut self, ix: StepIx) {
        let (step, op) = (self.name(ix), Op::Compensation);
        self.push(match self.undo_body(ix) {
            Ok(input) => Event::CallStarted { step, op, input },
            Err(message) => Event::CallUnprepared { step, op, message },
        });
    }
}

fn brief(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
