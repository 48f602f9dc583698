//! A definition at a glance: its steps, what each does, and the sagas it runs.

use super::{
    OperationName, Text,
    step::{ChildUndo, KindText, StepText, UndoText},
};
use amends_saga::Name;

/// One step at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutline<'t> {
    /// Its name.
    pub name: &'t Name,
    /// What it does.
    pub kind: StepKind<'t>,
    /// The steps it waits for, in the order of the text; for the pivot, every step that does not come after it.
    pub after: Vec<&'t Name>,
    /// Whether it may be skipped.
    pub conditional: bool,
    /// Whether it is the pivot.
    pub pivot: bool,
    /// How many items are under way at a time, where it is done for the items of a list.
    pub parallel: Option<u32>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind<'t> {
    /// Calls an operation.
    Call {
        /// The operation.
        action: &'t OperationName,
        /// What undoes it, where something does.
        compensation: Option<&'t OperationName>,
        /// Whether it changes nothing.
        read_only: bool,
    },
    /// Waits for a signal.
    Await {
        /// The signal.
        signal: &'t Name,
    },
    /// Runs a saga.
    Saga {
        /// Its definition.
        name: &'t Name,
        /// The version; the newest where none is said.
        version: Option<u32>,
        /// Whether undoing reverts it.
        reverted: bool,
    },
}

impl Text {
    /// The steps at a glance, in the order they are written.
    pub fn outline(&self) -> impl Iterator<Item = StepOutline<'_>> {
        let parents = self.graph.parents.iter();
        self.steps.iter().zip(parents).map(|((name, step), parents)| StepOutline {
            name,
            kind: kind(step),
            after: parents.iter().map(|parent| &self.steps[*parent].0).collect(),
            conditional: step.when.is_some(),
            pivot: step.pivot,
            parallel: step.fan.as_ref().map(|fan| fan.parallel),
        })
    }

    /// The definitions whose sagas it runs as children, each once, with the version where one is said.
    pub fn children(&self) -> Vec<(Name, Option<u32>)> {
        let mut children: Vec<(Name, Option<u32>)> = Vec::new();
        for (_, step) in &self.steps {
            let KindText::Child(child) = &step.kind else { continue };
            let child = (child.name.clone(), child.version);
            if !children.contains(&child) {
                children.push(child);
            }
        }
        children
    }

    /// The operations the definition calls, each once, in the order of the text.
    pub fn operations(&self) -> Vec<OperationName> {
        let mut names: Vec<OperationName> = Vec::new();
        for step in self.outline() {
            let StepKind::Call { action, compensation, .. } = step.kind else { continue };
            for operation in std::iter::once(action).chain(compensation) {
                if !names.contains(operation) {
                    names.push(operation.clone());
                }
            }
        }
        names
    }
}

fn kind(step: &StepText) -> StepKind<'_> {
    match &step.kind {
        KindText::Call(call) => StepKind::Call {
            action: &call.action,
            compensation: match &call.undo {
                UndoText::Call { operation, .. } => Some(operation),
                UndoText::ReadOnly | UndoText::None { .. } => None,
            },
            read_only: matches!(call.undo, UndoText::ReadOnly),
        },
        KindText::Await(wait) => StepKind::Await { signal: &wait.signal },
        KindText::Child(child) => StepKind::Saga {
            name: &child.name,
            version: child.version,
            reverted: matches!(child.undo, ChildUndo::Revert { .. }),
        },
    }
}
