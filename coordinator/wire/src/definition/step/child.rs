//! A step that runs another saga.

use super::{ChildText, ChildUndo, PAST_REASON, Reader};
use crate::definition::{
    called::Callee,
    fields::{Fields, name},
    template::{self, Place},
    tree::{Entry, shorten},
};
use amends_saga::{Name, definition::OPEN_NAME};
use serde_json::json;

impl Reader<'_> {
    pub(super) fn child(&mut self, fields: &Fields<'_>) -> Option<ChildText> {
        let saga = fields.get("saga").and_then(|entry| self.saga(fields, entry));
        let with = match fields.get("with") {
            Some(entry) => self.template(&entry.value, Place::With),
            None => template::fixed(json!({})),
        };
        let within = fields.span("within", self.faults);
        let undo = self.child_undo(fields);
        let (name, version) = saga?;
        Some(ChildText { name, version, with, within, undo: undo? })
    }

    /// Reads `name` or `name@version`.
    fn saga(&mut self, fields: &Fields<'_>, entry: &Entry) -> Option<(Name, Option<u32>)> {
        let (text, at) = (fields.text(entry, self.faults)?, entry.value.at);
        let (written, version) = text.split_once('@').map_or((text, None), |(name, v)| (name, Some(v)));
        let name = name(written, at, self.faults)?;
        if self.around.definition == Some(&name) {
            let message = format!("{} runs \"{name}\", the definition it is part of", fields.what);
            self.faults.add(at, message, "a saga cannot contain itself; name another definition");
            return None;
        }
        if name.as_str() == OPEN_NAME {
            let message = format!("{} runs \"{OPEN_NAME}\", which has no steps of its own", fields.what);
            self.faults.add(at, message, "open sagas are begun by a caller; name a registered definition");
            return None;
        }
        let Some(version) = version else {
            self.called.push((at, Callee::Saga(name.clone(), None)));
            return Some((name, None));
        };
        let number = version.parse::<u32>().ok().filter(|v| *v > 0 && v.to_string() == version);
        if number.is_none() {
            let message = format!("\"{}\" is no version of \"{name}\"", shorten(version));
            self.faults.add(at, message, format!("write \"{name}@1\", or \"{name}\" for the newest"));
        }
        self.called.push((at, Callee::Saga(name.clone(), Some(number?))));
        Some((name, number))
    }

    /// A child is reverted unless the step says that it stays.
    fn child_undo(&mut self, fields: &Fields<'_>) -> Option<ChildUndo> {
        let (compensation, reason) = (fields.get("compensation"), fields.get("reason"));
        let none = compensation.is_some_and(|entry| entry.value.text() == Some("none"));
        if let (Some(entry), false) = (compensation, none) {
            if !entry.value.is_bad() {
                let message =
                    format!("{} names a compensation, but undoing a saga is reverting it", fields.what);
                let help = "remove \"compensation\", or write \"compensation: none\" with a \"reason\"";
                self.faults.add(entry.key_at, message, help);
            }
            return None;
        }
        let eager = self.unwind(fields, none);
        self.stray_reason(fields, none);
        match (none, self.around.past) {
            (true, _) => Some(ChildUndo::None { reason: self.reason(fields)? }),
            (false, Some(_)) => Some(ChildUndo::None { reason: PAST_REASON.to_owned() }),
            (false, None) if reason.is_some() => None,
            (false, None) => Some(ChildUndo::Revert { eager }),
        }
    }
}
