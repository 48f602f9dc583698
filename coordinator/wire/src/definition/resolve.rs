//! From text to definition: operations are looked up, and the terms of text, registration and deployment
//! are put in order.

use super::{
    OperationName, Text,
    step::{AwaitText, CallText, ChildText, ChildUndo, KindText, UndoText},
};
use crate::registration::{OperationTerms, RetryTerms};
use amends_saga::{
    Definition, Millis, Name, Step, StepIx,
    definition::{AwaitStep, CHILD_PARTICIPANT, CallStep, Kind, Operation, Returns, Target, Undo, UndoCall},
    schedule::{Schedule, UndoSchedule},
};
use std::{fmt, sync::Arc};

/// What holds where neither the definition nor the operation's registration says anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// The bound on one attempt.
    pub timeout: Millis,
    /// How an action is tried again.
    pub action: Schedule,
    /// How a compensation is tried again.
    pub compensation: UndoSchedule,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            timeout: Millis::from_secs(5),
            action: Schedule::ACTION,
            compensation: UndoSchedule::DEFAULT,
        }
    }
}

/// Operations that a definition calls and nobody has registered; at least one, each once, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOperations(pub Vec<OperationName>);

impl fmt::Display for UnknownOperations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        write!(f, "{} {verb} not registered; start the participant or register it", names.join(", "))
    }
}

impl std::error::Error for UnknownOperations {}

impl Text {
    /// Looks every operation up and fills in the terms: the definition's own words win over the
    /// operation's registration, and that over the deployment's defaults, member by member.
    ///
    /// # Errors
    /// Every operation that is not registered.
    pub fn resolve(
        &self,
        terms: &dyn Fn(&Name, &Name) -> Option<OperationTerms>,
        defaults: &Defaults,
    ) -> Result<Definition, UnknownOperations> {
        let children = Name::parse(CHILD_PARTICIPANT).expect("a constant name is one");
        let mut resolver = Resolver { terms, defaults, children, unknown: Vec::new() };
        let steps: Vec<Step> = self
            .steps
            .iter()
            .zip(&self.graph.parents)
            .map(|((name, step), parents)| Step {
                name: name.clone(),
                kind: resolver.kind(&step.kind),
                after: parents.iter().map(|parent| StepIx(*parent as u16)).collect(),
                when: step.when.clone(),
                pivot: step.pivot,
                fan: step.fan.clone(),
                returns: step.returns.clone().map(|schema| schema as Arc<dyn Returns>),
            })
            .collect();
        if !resolver.unknown.is_empty() {
            return Err(UnknownOperations(resolver.unknown));
        }
        let (name, hash) = (self.name.clone(), self.hash.clone());
        let definition = Definition::new(name, self.version, hash, self.deadline, steps, self.output.clone());
        Ok(definition.expect("the graph was checked when the text was read"))
    }
}

struct Resolver<'a> {
    terms: &'a dyn Fn(&Name, &Name) -> Option<OperationTerms>,
    defaults: &'a Defaults,
    /// The name under which child sagas are called.
    children: Name,
    unknown: Vec<OperationName>,
}

impl Resolver<'_> {
    fn kind(&mut self, step: &KindText) -> Kind {
        match step {
            KindText::Call(call) => Kind::Call(self.call(call)),
            KindText::Child(child) => Kind::Call(self.child(child)),
            KindText::Await(AwaitText { signal, timeout, default }) => {
                Kind::Await(AwaitStep { signal: signal.clone(), timeout: *timeout, default: default.clone() })
            }
        }
    }

    /// A child saga is called like an operation; undoing it calls it too, and reverts it.
    fn child(&self, child: &ChildText) -> CallStep {
        let operation = Operation {
            participant: self.children.clone(),
            name: child.name.clone(),
            timeout: self.defaults.timeout,
            status: true,
            barrier: true,
            target: Target::Saga { version: child.version },
        };
        let undo = match &child.undo {
            ChildUndo::None { reason } => Undo::None { reason: reason.clone() },
            ChildUndo::Revert { eager } => Undo::Call(UndoCall {
                operation: operation.clone(),
                with: None,
                retry: self.defaults.compensation,
                eager: *eager,
            }),
        };
        let (with, within) = (child.with.clone(), child.within);
        CallStep { action: operation, with, retry: self.defaults.action, within, undo }
    }

    fn call(&mut self, call: &CallText) -> CallStep {
        let terms = self.look_up(&call.action);
        let retry = [call.retry, terms.retry.unwrap_or_default()];
        let undo = match &call.undo {
            UndoText::ReadOnly => Undo::ReadOnly,
            UndoText::None { reason } => Undo::None { reason: reason.clone() },
            UndoText::Call { operation, with, retry, eager } => {
                let terms = self.look_up(operation);
                let retry = [*retry, terms.retry.unwrap_or_default()];
                Undo::Call(UndoCall {
                    operation: self.operation(operation, &terms, None),
                    with: with.clone(),
                    retry: undo_schedule(&retry, &self.defaults.compensation),
                    eager: *eager,
                })
            }
        };
        CallStep {
            action: self.operation(&call.action, &terms, call.timeout),
            with: call.with.clone(),
            retry: schedule(&retry, &self.defaults.action),
            within: call.within,
            undo,
        }
    }

    fn look_up(&mut self, name: &OperationName) -> OperationTerms {
        let terms = (self.terms)(&name.participant, &name.operation);
        if terms.is_none() && !self.unknown.contains(name) {
            self.unknown.push(name.clone());
        }
        terms.unwrap_or_default()
    }

    fn operation(&self, name: &OperationName, terms: &OperationTerms, own: Option<Millis>) -> Operation {
        let registered = terms.timeout.map(|span| span.0);
        Operation {
            participant: name.participant.clone(),
            name: name.operation.clone(),
            timeout: own.or(registered).unwrap_or(self.defaults.timeout),
            status: terms.status,
            barrier: terms.barrier,
            target: Target::Participant,
        }
    }
}

/// Takes each member from the first that has it.
fn schedule(terms: &[RetryTerms], default: &Schedule) -> Schedule {
    let first = terms.iter().find_map(|t| t.first).map_or(default.first, |span| span.0);
    let max = terms.iter().find_map(|t| t.max).map_or(default.max, |span| span.0);
    Schedule {
        attempts: terms.iter().find_map(|t| t.attempts).unwrap_or(default.attempts),
        // A first wait said alone may be longer than the longest said elsewhere; then it is the longest.
        max: max.max(first),
        first,
        factor: terms.iter().find_map(|t| t.factor).unwrap_or(default.factor),
    }
}

/// How a call that must not be given up is tried again: each member from the first of the terms that has it, else
/// the deployment's.
pub fn undo_schedule(terms: &[RetryTerms], default: &UndoSchedule) -> UndoSchedule {
    UndoSchedule {
        quick: terms.iter().find_map(|t| t.quick).unwrap_or(default.quick),
        slow: schedule(terms, &default.slow),
        within: terms.iter().find_map(|t| t.within).map_or(default.within, |span| span.0),
    }
}
