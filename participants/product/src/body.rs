//! Reading a body member by member, collecting what does not fit with its JSON Pointer.
//!
//! Reading never repairs what was sent, and ignores members it is not asked for: a compensation is given its action's
//! whole body.

use std::ops::RangeInclusive;

use amends_wire::problem::Misfit;
use serde_json::Value;

/// The most misfits that are reported at once.
pub(crate) const MISFITS_MAX: usize = 20;

/// Collects what does not fit while reading on.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    misfits: Vec<Misfit>,
}

impl Reader {
    /// Gives out `value` when everything read so far fits.
    ///
    /// # Errors
    /// Everything that did not fit, at most [`MISFITS_MAX`].
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Misfit>> {
        match value {
            Some(value) if self.misfits.is_empty() => Ok(value),
            _ => Err(self.misfits),
        }
    }

    /// Notes something that does not fit.
    pub(crate) fn misfit(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.misfits.len() < MISFITS_MAX {
            self.misfits.push(Misfit { path: path.into(), message: message.into() });
        }
    }

    /// Reads a text of `chars` characters without control characters or a space at either end; `None` when it does not
    /// fit.
    pub(crate) fn text(
        &mut self,
        of: &Value,
        at: &str,
        member: &str,
        chars: RangeInclusive<usize>,
    ) -> Option<String> {
        let expected = || format!("a text of {} to {} characters", chars.start(), chars.end());
        let path = format!("{at}/{member}");
        match of.get(member) {
            Some(Value::String(text)) if !chars.contains(&text.chars().count()) => {
                self.misfit(path, format!("must be {}, not {} characters", expected(), text.chars().count()));
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                self.misfit(path, "must not contain control characters");
            }
            Some(Value::String(text)) if text.trim() != text => {
                self.misfit(path, "must not begin or end with a space");
            }
            Some(Value::String(text)) => return Some(text.clone()),
            Some(other) => self.misfit(path, format!("must be {}, not {}", expected(), shown(other))),
            None => self.misfit(path, format!("is missing: {}", expected())),
        }
        None
    }

    /// Reads an integer within `range`; `None` when it does not fit.
    pub(crate) fn integer(
        &mut self,
        of: &Value,
        at: &str,
        member: &str,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        let expected = || format!("an integer from {} to {}", range.start(), range.end());
        let integer = of.get(member).and_then(Value::as_i64).filter(|integer| range.contains(integer));
        if integer.is_none() {
            let message = match of.get(member) {
                Some(other) => format!("must be {}, not {}", expected(), shown(other)),
                None => format!("is missing: {}", expected()),
            };
            self.misfit(format!("{at}/{member}"), message);
        }
        integer
    }

    /// Reads a list of as many entries as `len` says; `None` when it does not fit.
    pub(crate) fn list<'a>(
        &mut self,
        of: &'a Value,
        member: &str,
        len: RangeInclusive<usize>,
    ) -> Option<&'a [Value]> {
        let expected = || format!("a list of {} to {} entries", len.start(), len.end());
        let message = match of.get(member) {
            Some(Value::Array(list)) if len.contains(&list.len()) => return Some(list),
            Some(Value::Array(list)) => format!("must be {}, not of {}", expected(), list.len()),
            Some(other) => format!("must be {}, not {}", expected(), shown(other)),
            None => format!("is missing: {}", expected()),
        };
        self.misfit(format!("/{member}"), message);
        None
    }
}

/// A member that is there and not null.
pub(crate) fn given<'a>(of: &'a Value, member: &str) -> Option<&'a Value> {
    of.get(member).filter(|value| !value.is_null())
}

/// A value as a message shows it: what a reader needs to recognise it, and not more.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("{:?}…", text.chars().take(40).collect::<String>())
        }
        scalar => scalar.to_string().chars().take(100).collect(),
    }
}
