//! A step that calls an operation, and how it is made good again.

use super::{CallText, PAST_REASON, Reader, UndoText};
use crate::{
    definition::{
        OperationName,
        called::Callee,
        fields::{Fields, name},
        template::{self, Place},
        tree::{Entry, Kind, shorten},
    },
    registration::RetryTerms,
};
use amends_saga::definition::CHILD_PARTICIPANT;
use serde_json::json;

pub(crate) const UNDO_KEYS: &[&str] = &["operation", "with", "retry"];
const UNDO_HELP: &str = "give it \"compensation: PARTICIPANT.OPERATION\", or \"compensation: none\" with a \
                         \"reason\", or \"read_only: true\"";

impl Reader<'_> {
    pub(super) fn call(&mut self, fields: &Fields<'_>) -> Option<CallText> {
        let action = fields.get("action").and_then(|entry| self.operation(fields, entry));
        let with = match fields.get("with") {
            Some(entry) => self.template(&entry.value, Place::With),
            None => template::fixed(json!({})),
        };
        let retry = fields.retry(false, self.faults);
        let (timeout, within) = (fields.span("timeout", self.faults), fields.span("within", self.faults));
        let undo = self.undo(fields);
        Some(CallText { action: action?, with, retry, timeout, within, undo: undo? })
    }

    /// Reads how the step is made good again, which every step before the pivot has to say.
    fn undo(&mut self, fields: &Fields<'_>) -> Option<UndoText> {
        let read_only = fields.flag("read_only", self.faults)?;
        let compensation = fields.get("compensation");
        if let (Some(entry), true) = (compensation, read_only) {
            let message = format!("{} is read-only and has a compensation", fields.what);
            self.faults.add(entry.key_at, message, "remove one of the two");
            return None;
        }
        let none = compensation.is_some_and(|entry| entry.value.text() == Some("none"));
        self.stray_reason(fields, none);
        let eager = self.unwind(fields, none || read_only);
        match (compensation, self.around.past) {
            (None, _) if read_only => Some(UndoText::ReadOnly),
            (None, Some(_)) => Some(UndoText::None { reason: PAST_REASON.to_owned() }),
            (None, None) => {
                let message = format!("{} does not say how it is undone", fields.what);
                self.faults.add(self.around.name_at, message, UNDO_HELP);
                None
            }
            (Some(_), _) if none => Some(UndoText::None { reason: self.reason(fields)? }),
            (Some(entry), Some(pivot)) => {
                let message =
                    format!("{} comes after the pivot \"{pivot}\" and has a compensation", fields.what);
                let help = "it could never be called: remove it, or put the step before the pivot";
                self.faults.add(entry.key_at, message, help);
                None
            }
            (Some(entry), None) => self.compensation(fields, entry, eager),
        }
    }

    /// Reads `unwind`, which needs something to undo; returns whether it is eager.
    pub(super) fn unwind(&mut self, fields: &Fields<'_>, nothing: bool) -> bool {
        if let Some(entry) = fields.get("unwind") {
            let past = self.around.past.map(|pivot| format!("comes after the pivot \"{pivot}\", so it"));
            if nothing || past.is_some() {
                let message = format!("{} {} has nothing to unwind", fields.what, past.unwrap_or_default());
                self.faults.add(entry.key_at, message.replace("  ", " "), "remove \"unwind\"");
            }
        }
        fields.word("unwind", &["strict", "eager"], self.faults) == Some("eager")
    }

    pub(super) fn stray_reason(&mut self, fields: &Fields<'_>, none: bool) {
        if let (Some(reason), false) = (fields.get("reason"), none) {
            let message = format!("the \"reason\" of {} belongs to \"compensation: none\"", fields.what);
            self.faults.add(reason.key_at, message, "remove it, or write it as a comment");
        }
    }

    /// Reads why there is no compensation.
    pub(super) fn reason(&mut self, fields: &Fields<'_>) -> Option<String> {
        if let (Some(entry), None) = (fields.get("compensation"), fields.get("reason")) {
            let message = format!("{} has no compensation and does not say why", fields.what);
            self.faults.add(entry.key_at, message, "add a \"reason\" in a sentence");
        }
        fields.sentence("reason", self.faults)
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
                let with = undo.get("with").map(|entry| self.template(&entry.value, Place::Undo));
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
        let halves = text.split_once('.').filter(|(one, other)| !one.is_empty() && !other.is_empty());
        let Some((participant, operation)) = halves else {
            let message =
                format!("\"{}\" of {} is \"{}\", no operation", entry.key, fields.what, shorten(text));
            self.faults.add(at, message, "write PARTICIPANT.OPERATION, such as inventory.hold");
            return None;
        };
        let (participant, operation) = (name(participant, at, self.faults), name(operation, at, self.faults));
        let participant = participant?;
        if participant.as_str() == CHILD_PARTICIPANT {
            let message = format!(
                "\"{}\" of {} calls \"{CHILD_PARTICIPANT}\", which is no participant",
                entry.key, fields.what
            );
            let help = "run another saga with \"saga: NAME\" in place of \"action\"";
            self.faults.add(at, message, help);
            return None;
        }
        let name = OperationName { participant, operation: operation? };
        self.called.push((at, Callee::Operation(name.clone())));
        Some(name)
    }
}
