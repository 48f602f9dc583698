//! What a definition calls, each with its place, held against what a coordinator knows.
//!
//! Registering a definition needs no participant and no other definition; starting a saga does. Whoever has a
//! coordinator at hand can be told before, as of any other fault.

use super::{Diagnostic, Diagnostics, FAULTS_MAX, OperationName, Text, diagnostic::position, suggest};
use amends_saga::Name;
use std::collections::BTreeSet;

/// What is registered with a coordinator, as far as a definition can name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// Every operation of every participant.
    pub operations: BTreeSet<OperationName>,
    /// Every definition with each of its versions.
    pub definitions: BTreeSet<(Name, u32)>,
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Callee {
    Operation(OperationName),
    Saga(Name, Option<u32>),
}

/// What is called, and where the definition says so.
#[derive(Debug)]
pub(crate) struct Called {
    line: usize,
    column: usize,
    callee: Callee,
}

impl Called {
    pub(crate) fn at(source: &str, at: usize, callee: Callee) -> Called {
        let (line, column) = position(source, at);
        Called { line, column, callee }
    }
}

impl Text {
    /// Checks that every operation and every definition it calls is registered.
    ///
    /// # Errors
    /// Each place that names one which is not, and what may have been meant.
    pub fn check_against(&self, registered: &Registered) -> Result<(), Diagnostics> {
        let missing = self.called.iter().filter_map(|Called { line, column, callee }| {
            let (message, help) = registered.lacks(callee)?;
            Some(Diagnostic { line: *line, column: *column, message, help })
        });
        let mut missing: Vec<Diagnostic> = missing.collect();
        missing.sort_by_key(|fault| (fault.line, fault.column));
        missing.truncate(FAULTS_MAX);
        if missing.is_empty() { Ok(()) } else { Err(Diagnostics(missing)) }
    }
}

impl Registered {
    /// What is wrong with naming it, and what to do.
    fn lacks(&self, callee: &Callee) -> Option<(String, String)> {
        match callee {
            Callee::Operation(name) => self.lacks_operation(name),
            Callee::Saga(name, version) => self.lacks_definition(name, *version),
        }
    }

    fn lacks_operation(&self, name: &OperationName) -> Option<(String, String)> {
        if self.operations.contains(name) {
            return None;
        }
        let OperationName { participant, operation } = name;
        let of_it: Vec<&str> = self
            .operations
            .iter()
            .filter(|other| other.participant == *participant)
            .map(|o| o.operation.as_str())
            .collect();
        if of_it.is_empty() {
            let known: BTreeSet<&str> =
                self.operations.iter().map(|other| other.participant.as_str()).collect();
            let help = match suggest::nearest(participant, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "start the participant or register it".to_owned(),
            };
            return Some((format!("no participant \"{participant}\" is registered"), help));
        }
        let message = format!("participant \"{participant}\" has no operation \"{operation}\"");
        Some((message, suggest::hint(operation, of_it, "operations")))
    }

    fn lacks_definition(&self, name: &Name, version: Option<u32>) -> Option<(String, String)> {
        let mut versions =
            self.definitions.iter().filter(|(other, _)| other == name).map(|(_, version)| *version);
        let Some(first) = versions.next() else {
            let known: BTreeSet<&str> = self.definitions.iter().map(|(other, _)| other.as_str()).collect();
            let help = match suggest::nearest(name, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "register it first".to_owned(),
            };
            return Some((format!("no definition \"{name}\" is registered"), help));
        };
        let version = version?;
        let versions: Vec<u32> = std::iter::once(first).chain(versions).collect();
        if versions.contains(&version) {
            return None;
        }
        let known: Vec<String> = versions.iter().rev().take(12).map(ToString::to_string).collect();
        let message = format!("definition \"{name}\" has no version {version}");
        Some((message, format!("versions here, newest first: {}", known.join(", "))))
    }
}
