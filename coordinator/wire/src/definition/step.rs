//! One step of a definition: its keys, and what they mean together.

use super::{
    OperationName,
    diagnostic::Faults,
    fields::{Fields, name},
    template::{self, Located},
    tree::{Entry, Kind, Node, shorten},
};
use crate::registration::RetryTerms;
use amends_saga::{Millis, Name, definition::Template};
use serde_json::json;
use std::sync::Arc;

/// What a step does, as it is written; names of operations are not looked up yet.
#[derive(Debug)]
pub(crate) enum StepText {
    Call(Box<CallText>),
    Await(AwaitText),
}

/// A call as it is written.
#[derive(Debug)]
pub(crate) struct CallText {
    pub(crate) action: OperationName,
    pub(crate) with: Arc<dyn Template>,
    pub(crate) retry: RetryTerms,
    pub(crate) timeout: Option<Millis>,
    pub(crate) within: Option<Millis>,
    pub(crate) undo: UndoText,
}

/// How a step is made good again, as it is written.
#[derive(Debug)]
pub(crate) enum UndoText {
    ReadOnly,
    None { reason: String },
    Call { operation: OperationName, with: Option<Arc<dyn Template>>, retry: RetryTerms, eager: bool },
}

/// A wait as it is written.
#[derive(Debug)]
pub(crate) struct AwaitText {
    pub(crate) signal: Name,
    pub(crate) timeout: Millis,
    pub(crate) default: Option<Arc<dyn Template>>,
}

/// What the expressions of one step reach for: before it has run, and in its compensation.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) forward: Vec<Located>,
    pub(crate) undoing: Vec<Located>,
}

const CALL_KEYS: &[&str] = &[
    "action",
    "compensation",
    "reason",
    "read_only",
    "with",
    "after",
    "retry",
    "timeout",
    "within",
    "unwind",
];
const AWAIT_KEYS: &[&str] = &["await", "timeout", "default", "after"];
const ALL_KEYS: &[&str] = &[
    "action",
    "compensation",
    "reason",
    "read_only",
    "with",
    "after",
    "retry",
    "timeout",
    "within",
    "unwind",
    "await",
    "default",
];
const UNDO_KEYS: &[&str] = &["operation", "with", "retry"];
const DOES_HELP: &str = "give it an \"action\" to call or a signal to \"await\"";
const UNDO_HELP: &str = "give it \"compensation: PARTICIPANT.OPERATION\", or \"compensation: none\" with a                          \"reason\", or \"read_only: true\"";

/// Reads a step's body; `None` when a fault leaves nothing to work with.
pub(crate) fn read(
    step: &str,
    step_at: usize,
    body: &Node,
    source: &str,
    faults: &mut Faults,
) -> Option<(StepText, References)> {
    let what = format!("step \"{step}\"");
    let mut reader = Reader { source, references: References::default(), faults };
    let has = |key: &str| matches!(&body.kind, Kind::Map(entries) if entries.iter().any(|e| e.key == key));
    let text = match (has("action"), has("await")) {
        (true, true) => {
            let message = format!("{what} has both an \"action\" and an \"await\"");
            reader.faults.add(step_at, message, "make two steps of it");
            None
        }
        (false, true) => {
            let fields = Fields::of(body, format!("the waiting {what}"), AWAIT_KEYS, reader.faults)?;
            reader.waiting(&fields, step_at).map(StepText::Await)
        }
        (true, false) => {
            let fields = Fields::of(body, what, CALL_KEYS, reader.faults)?;
            reader.call(&fields, step_at).map(|call| StepText::Call(Box::new(call)))
        }
        (false, false) if matches!(body.kind, Kind::Null) => {
            reader.faults.add(step_at, format!("{what} does nothing"), DOES_HELP);
            None
        }
        (false, false) => {
            let fields = Fields::of(body, what.clone(), ALL_KEYS, reader.faults);
            // A kind of step of a later version has been told already.
            if fields.is_some_and(|fields| fields.get("saga").is_none()) {
                reader.faults.add(step_at, format!("{what} does nothing"), DOES_HELP);
            }
            None
        }
    };
    text.map(|text| (text, reader.references))
}

struct Reader<'a> {
    source: &'a str,
    references: References,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn waiting(&mut self, fields: &Fields<'_>, step_at: usize) -> Option<AwaitText> {
        let default = fields.get("default").map(|entry| self.template(&entry.value, false));
        if fields.get("timeout").is_none() {
            let message = format!("{} does not say how long", fields.what);
            self.faults.add(step_at, message, "give it a \"timeout\", such as 15m");
        }
        let (signal, timeout) = (fields.name("await", self.faults), fields.span("timeout", self.faults));
        Some(AwaitText { signal: signal?, timeout: timeout?, default })
    }

    fn call(&mut self, fields: &Fields<'_>, step_at: usize) -> Option<CallText> {
        let action = fields.get("action").and_then(|entry| self.operation(fields, entry));
        let with = match fields.get("with") {
            Some(entry) => self.template(&entry.value, false),
            None => template::fixed(json!({})),
        };
        let retry = fields.retry(false, self.faults);
        let (timeout, within) = (fields.span("timeout", self.faults), fields.span("within", self.faults));
        let undo = self.undo(fields, step_at);
        Some(CallText { action: action?, with, retry, timeout, within, undo: undo? })
    }

    /// Reads how the step is made good again, which every step has to say.
    fn undo(&mut self, fields: &Fields<'_>, step_at: usize) -> Option<UndoText> {
        let read_only = fields.flag("read_only", self.faults)?;
        let eager = fields.word("unwind", &["strict", "eager"], self.faults) == Some("eager");
        let reason = fields.get("reason");
        let compensation = fields.get("compensation");
        if let (Some(entry), true) = (compensation, read_only) {
            let message = format!("{} is read-only and has a compensation", fields.what);
            self.faults.add(entry.key_at, message, "remove one of the two");
            return None;
        }
        let none = compensation.is_some_and(|entry| entry.value.text() == Some("none"));
        if let (Some(reason), false) = (reason, none) {
            let message = format!("the \"reason\" of {} belongs to \"compensation: none\"", fields.what);
            self.faults.add(reason.key_at, message, "remove it, or write it as a comment");
        }
        if let (Some(unwind), true) = (fields.get("unwind"), none || read_only) {
            let message = format!("{} has nothing to unwind", fields.what);
            self.faults.add(unwind.key_at, message, "remove \"unwind\"");
        }
        match compensation {
            None if read_only => Some(UndoText::ReadOnly),
            None => {
                let message = format!("{} does not say how it is undone", fields.what);
                self.faults.add(step_at, message, UNDO_HELP);
                None
            }
            Some(entry) if none => self.no_compensation(fields, entry),
            Some(entry) => self.compensation(fields, entry, eager),
        }
    }

    fn no_compensation(&mut self, fields: &Fields<'_>, entry: &Entry) -> Option<UndoText> {
        if fields.get("reason").is_none() {
            let message = format!("{} has no compensation and does not say why", fields.what);
            self.faults.add(entry.key_at, message, "add a \"reason\" in a sentence");
        }
        Some(UndoText::None { reason: fields.sentence("reason", self.faults)? })
    }

    fn compensation(&mut self, fields: &Fields<'_>, entry: &Entry, eager: bool) -> Option<UndoText> {
        match &entry.value.kind {
            Kind::Text(..) => {
                let operation = self.operation(fields, entry)?;
                Some(UndoText::Call { operation, with: None, retry: RetryTerms::default(), eager })
            }
            Kind::Map(_) => {
                let what = format!("the compensation of {}", fields.what);
                let undo = Fields::of(&entry.value, what, UNDO_KEYS, self.faults)?;
                let with = undo.get("with").map(|entry| self.template(&entry.value, true));
                let retry = undo.retry(true, self.faults);
                let Some(operation) = undo.get("operation") else {
                    let message = format!("{} names no operation", undo.what);
                    self.faults.add(entry.key_at, message, "add \"operation: PARTICIPANT.OPERATION\"");
                    return None;
                };
                let operation = self.operation(&undo, operation)?;
                Some(UndoText::Call { operation, with, retry, eager })
            }
            Kind::Bad => None,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
                let found = entry.value.described();
                let message =
                    format!("\"compensation\" of {} is {found} and must be an operation", fields.what);
                self.faults.add(entry.value.at, message, UNDO_HELP);
                None
            }
        }
    }

    /// Reads `participant.operation`.
    fn operation(&mut self, fields: &Fields<'_>, entry: &Entry) -> Option<OperationName> {
        let text = fields.text(entry, self.faults)?;
        let at = entry.value.at;
        match text.split_once('.') {
            Some((participant, operation)) => Some(OperationName {
                participant: name(participant, at, self.faults)?,
                operation: name(operation, at, self.faults)?,
            }),
            None => {
                let message =
                    format!("\"{}\" of {} is \"{}\", no operation", entry.key, fields.what, shorten(text));
                self.faults.add(at, message, "write PARTICIPANT.OPERATION, such as inventory.hold");
                None
            }
        }
    }

    fn template(&mut self, node: &Node, undoing: bool) -> Arc<dyn Template> {
        let References { forward, undoing: backward } = &mut self.references;
        let references = if undoing { backward } else { forward };
        template::read(node, self.source, references, self.faults)
    }
}
