//! The members of one object of a definition: known keys taken out, unknown ones told, values typed.

use super::{
    diagnostic::Faults,
    expression::OPEN,
    suggest, template,
    tree::{Entry, Kind, Node, shorten},
};
use crate::{registration::RetryTerms, span::Span};
use amends_saga::{Millis, Name};
use std::ops::RangeInclusive;

pub(crate) const RETRY_KEYS: &[&str] = &["attempts", "first", "factor", "max"];
pub(crate) const UNDO_RETRY_KEYS: &[&str] = &["quick", "attempts", "first", "factor", "max", "within"];

/// An object whose keys have been checked.
pub(crate) struct Fields<'n> {
    /// What the object is, for messages: `step "quote"`.
    pub(crate) what: String,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Takes a node that must be an object with keys out of `known`.
    pub(crate) fn of(
        node: &'n Node,
        what: String,
        known: &'static [&'static str],
        faults: &mut Faults,
    ) -> Option<Fields<'n>> {
        Fields::of_kind(node, what, known, |_| None, faults)
    }

    /// The same for one kind of several: `elsewhere` says what to do about a key of another kind.
    pub(crate) fn of_kind(
        node: &'n Node,
        what: String,
        known: &'static [&'static str],
        elsewhere: fn(&str) -> Option<&'static str>,
        faults: &mut Faults,
    ) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            if !node.is_bad() {
                let message = format!("{what} is {} and must be an object", node.described());
                faults.add(node.at, message, format!("write its keys below it: {}", known.join(", ")));
            }
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let help = elsewhere(&entry.key)
                .map_or_else(|| suggest::hint(&entry.key, known.iter().copied(), "keys"), str::to_owned);
            faults.add(entry.key_at, format!("{what} has no key \"{}\"", shorten(&entry.key)), help);
        }
        Some(Fields { what, entries })
    }

    /// A member by its key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// A name.
    pub(crate) fn name(&self, key: &str, faults: &mut Faults) -> Option<Name> {
        let entry = self.get(key)?;
        let text = self.text(entry, faults)?;
        name(text, entry.value.at, faults)
    }

    /// A span of time that is longer than nothing.
    pub(crate) fn span(&self, key: &str, faults: &mut Faults) -> Option<Millis> {
        let entry = self.get(key)?;
        let help = "write a whole number and a unit, such as 100ms, 5s, 15m or 24h";
        let message = match &entry.value.kind {
            Kind::Bad => return None,
            Kind::Text(text, _) if text.contains(OPEN) => {
                template::refuse_expressions(&entry.value, &format!("\"{key}\" of {}", self.what), faults);
                return None;
            }
            Kind::Text(text, _) => match text.parse::<Span>() {
                Ok(span) if span.0 > Millis(0) => return Some(span.0),
                Ok(_) => format!("\"{key}\" of {} is no time at all", self.what),
                Err(_) => {
                    format!("\"{key}\" of {} is \"{}\", which is no span of time", self.what, shorten(text))
                }
            },
            Kind::Number(number) => format!("\"{key}\" of {} is {number} without a unit", self.what),
            _ => format!(
                "\"{key}\" of {} is {} and must be a span of time",
                self.what,
                entry.value.described()
            ),
        };
        faults.add(entry.value.at, message, help);
        None
    }

    /// A whole number within bounds.
    pub(crate) fn count(&self, key: &str, bounds: RangeInclusive<u32>, faults: &mut Faults) -> Option<u32> {
        let entry = self.get(key)?;
        if let Kind::Number(number) = &entry.value.kind
            && let Some(count) = number.as_u64().and_then(|n| u32::try_from(n).ok())
            && bounds.contains(&count)
        {
            return Some(count);
        }
        let help = format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        self.misfit(entry, "a whole number", help, faults);
        None
    }

    /// A number within bounds.
    fn factor(&self, key: &str, bounds: RangeInclusive<f64>, faults: &mut Faults) -> Option<f64> {
        let entry = self.get(key)?;
        if let Kind::Number(number) = &entry.value.kind
            && let Some(factor) = number.as_f64().filter(|factor| bounds.contains(factor))
        {
            return Some(factor);
        }
        let help = format!("write a number from {} to {}", bounds.start(), bounds.end());
        self.misfit(entry, "a number", help, faults);
        None
    }

    /// True or false, false where it is absent; `None` when it is something else.
    pub(crate) fn flag(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        let Some(entry) = self.get(key) else { return Some(false) };
        if let Kind::Bool(yes) = entry.value.kind {
            return Some(yes);
        }
        self.misfit(entry, "true or false", "write true or false, without quotes".to_owned(), faults);
        None
    }

    /// One of a few words.
    pub(crate) fn word(
        &self,
        key: &str,
        words: &[&'static str],
        faults: &mut Faults,
    ) -> Option<&'static str> {
        let entry = self.get(key)?;
        if let Some(word) = words.iter().find(|word| entry.value.text() == Some(word)) {
            return Some(word);
        }
        let help = format!("write one of {}", words.join(", "));
        self.misfit(entry, "one of a few words", help, faults);
        None
    }

    /// A text that may not be empty.
    pub(crate) fn sentence(&self, key: &str, faults: &mut Faults) -> Option<String> {
        let entry = self.get(key)?;
        let text = self.text(entry, faults)?;
        if text.trim().is_empty() {
            let message = format!("\"{key}\" of {} is empty", self.what);
            faults.add(entry.value.at, message, "say why in a sentence");
            return None;
        }
        Some(text.to_owned())
    }

    /// How something is tried again; `undo` reads what only compensations have.
    pub(crate) fn retry(&self, undo: bool, faults: &mut Faults) -> RetryTerms {
        let Some(entry) = self.get("retry") else { return RetryTerms::default() };
        let what = format!("the retry of {}", self.what);
        let Some(fields) =
            Fields::of(&entry.value, what, if undo { UNDO_RETRY_KEYS } else { RETRY_KEYS }, faults)
        else {
            return RetryTerms::default();
        };
        let (first, max) = (fields.span("first", faults), fields.span("max", faults));
        if let (Some(first), Some(max)) = (first, max)
            && first > max
        {
            let (first, max) = (Span(first), Span(max));
            let at = fields.get("max").map_or(entry.key_at, |max| max.value.at);
            let message = format!("the first wait {first} of {} is longer than the longest {max}", self.what);
            faults.add(at, message, "lower \"first\" or raise \"max\"");
        }
        RetryTerms {
            quick: if undo { fields.count("quick", 1..=100, faults) } else { None },
            attempts: fields.count("attempts", if undo { 0..=10_000 } else { 1..=10_000 }, faults),
            first: first.map(Span),
            factor: fields.factor("factor", 1.0..=100.0, faults),
            max: max.map(Span),
            within: if undo { fields.span("within", faults).map(Span) } else { None },
        }
    }

    /// A member's text; anything else is a fault.
    pub(crate) fn text(&self, entry: &'n Entry, faults: &mut Faults) -> Option<&'n str> {
        let text = entry.value.text().filter(|text| !text.contains(OPEN));
        if text.is_none() {
            self.misfit(
                entry,
                "a text",
                "write a word or a sentence, in quotes if need be".to_owned(),
                faults,
            );
        }
        text
    }

    fn misfit(&self, entry: &Entry, wanted: &str, help: String, faults: &mut Faults) {
        let (key, value) = (&entry.key, &entry.value);
        template::refuse_expressions(value, &format!("\"{key}\" of {}", self.what), faults);
        if value.is_bad() || value.text().is_some_and(|text| text.contains(OPEN)) {
            return;
        }
        let message = format!("\"{key}\" of {} is {} and must be {wanted}", self.what, value.told());
        faults.add(value.at, message, help);
    }
}

/// Reads a name.
pub(crate) fn name(text: &str, at: usize, faults: &mut Faults) -> Option<Name> {
    Name::parse(text)
        .map_err(|_| {
            if text.contains(OPEN) {
                faults.add(at, "a name cannot be an expression", "write the name itself");
                return;
            }
            let help = "use a lower-case letter, then up to 62 of a-z, 0-9, _ and -";
            faults.add(at, format!("\"{}\" is not a name", shorten(text)), help);
        })
        .ok()
}
