//! Reading a body member by member, collecting what does not fit with its JSON Pointer.
//!
//! Reading never repairs what was sent, and ignores members it is not asked for: a compensation is given its action's
//! whole body. What a [`Reader`] gives out counts only when [`Reader::finish`] says that everything fits.

use amends_wire::problem::{Misfit, Problem, Slug};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The most misfits that are reported at once.
pub const MISFITS_MAX: usize = 20;

/// The most characters of a text that a message shows.
const SHOWN_CHARS_MAX: usize = 40;

/// Collects what does not fit while reading on.
///
/// ```
/// use amends_sdk::body::Reader;
/// use serde_json::json;
///
/// let body = json!({ "order": "A-1", "lines": [{ "sku": 9, "qty": 1 }, { "sku": 9, "qty": 0 }] });
/// let mut reader = Reader::default();
/// let order = reader.text(&body, "", "order", 1..=64);
/// let lines = reader.quantities(&body, 1000, 1_000_000);
/// let misfits = reader.finish(order.map(|order| (order, lines))).expect_err("a line of nothing");
/// assert_eq!(misfits[0].path, "/lines/1/qty");
/// assert_eq!(misfits[0].message, "must be an integer from 1 to 1000000, not 0");
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    misfits: Vec<Misfit>,
}

impl Reader {
    /// Gives out `value` when everything read so far fits.
    ///
    /// # Errors
    /// Everything that did not fit, at most [`MISFITS_MAX`], in the order it was read.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Misfit>> {
        match value {
            Some(value) if self.misfits.is_empty() => Ok(value),
            _ => Err(self.misfits),
        }
    }

    /// Notes something that does not fit; beyond [`MISFITS_MAX`] nothing is noted any more.
    pub fn misfit(&mut self, path: impl Into<String>, message: impl Into<String>) {
        if self.misfits.len() < MISFITS_MAX {
            self.misfits.push(Misfit { path: path.into(), message: message.into() });
        }
    }

    /// Reads a text of `chars` characters without control characters or a space at either end; `None` when it does not
    /// fit.
    ///
    /// `at` is the path of `of`: empty for the body itself.
    pub fn text(
        &mut self,
        of: &Value,
        at: &str,
        member: &str,
        chars: RangeInclusive<usize>,
    ) -> Option<String> {
        let expected = || format!("a text of {} to {} characters", chars.start(), chars.end());
        let message = match of.get(member) {
            Some(Value::String(text)) if !chars.contains(&text.chars().count()) => {
                format!("must be {}, not {} characters", expected(), text.chars().count())
            }
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                "must not contain control characters".to_owned()
            }
            Some(Value::String(text)) if text.trim() != text => {
                "must not begin or end with a space".to_owned()
            }
            Some(Value::String(text)) => return Some(text.clone()),
            other => unlike(other, &expected()),
        };
        self.misfit(format!("{at}/{member}"), message);
        None
    }

    /// Reads a text as [`Reader::text`] does; absent or null is `None` and no misfit.
    pub fn text_if_any(
        &mut self,
        of: &Value,
        at: &str,
        member: &str,
        chars: RangeInclusive<usize>,
    ) -> Option<String> {
        given(of, member).and_then(|_| self.text(of, at, member, chars))
    }

    /// Reads an integer within `range`; `None` when it does not fit.
    ///
    /// A number with a fraction is none, not even `1.0`.
    pub fn integer(&mut self, of: &Value, at: &str, member: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let sent = of.get(member);
        let integer = sent.and_then(Value::as_i64).filter(|integer| range.contains(integer));
        if integer.is_none() {
            let expected = format!("an integer from {} to {}", range.start(), range.end());
            self.misfit(format!("{at}/{member}"), unlike(sent, &expected));
        }
        integer
    }

    /// Reads an integer as [`Reader::integer`] does; absent or null is `None` and no misfit.
    pub fn integer_if_any(
        &mut self,
        of: &Value,
        at: &str,
        member: &str,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        given(of, member).and_then(|_| self.integer(of, at, member, range))
    }

    /// Reads a list of the body, of as many entries as `len` says, entry by entry: `read` is given each with its path.
    ///
    /// Entries for which `read` has nothing are left out; a list that does not fit is empty.
    pub fn each<T>(
        &mut self,
        body: &Value,
        member: &str,
        len: RangeInclusive<usize>,
        mut read: impl FnMut(&mut Reader, &Value, &str) -> Option<T>,
    ) -> Vec<T> {
        let expected = || format!("a list of {} to {} entries", len.start(), len.end());
        let message = match body.get(member) {
            Some(Value::Array(list)) if len.contains(&list.len()) => {
                let entries = list.iter().enumerate();
                let read = |(index, entry)| read(self, entry, &format!("/{member}/{index}"));
                return entries.filter_map(read).collect();
            }
            Some(Value::Array(list)) => format!("must be {}, not of {}", expected(), list.len()),
            other => unlike(other, &expected()),
        };
        self.misfit(format!("/{member}"), message);
        Vec::new()
    }

    /// Reads `{"sku": integer, "qty": integer}`, both from 1, as `(sku, qty)`.
    pub fn sku_and_qty(&mut self, line: &Value, at: &str, qty_max: i64) -> Option<(i64, i64)> {
        let sku = self.integer(line, at, "sku", 1..=i64::MAX);
        let qty = self.integer(line, at, "qty", 1..=qty_max);
        Some((sku?, qty?))
    }

    /// Reads `{"lines": [{"sku", "qty"}]}` of 1 to `lines_max` lines: how many of which SKU, ascending, lines of the
    /// same SKU added up.
    ///
    /// `lines_max` and `qty_max` are limits of what is sent; a sum may be `lines_max` times `qty_max`, which must be
    /// an `i64`.
    pub fn quantities(&mut self, body: &Value, lines_max: usize, qty_max: i64) -> BTreeMap<i64, i64> {
        let read = |reader: &mut Reader, line: &Value, at: &str| reader.sku_and_qty(line, at, qty_max);
        let mut quantities = BTreeMap::new();
        for (sku, qty) in self.each(body, "lines", 1..=lines_max, read) {
            *quantities.entry(sku).or_default() += qty;
        }
        quantities
    }
}

/// A member that is there and not null.
pub fn given<'a>(of: &'a Value, member: &str) -> Option<&'a Value> {
    of.get(member).filter(|value| !value.is_null())
}

/// The problem (422) that a body does not fit: the first misfit in words, all of them in `errors`.
pub fn does_not_fit(misfits: &[Misfit]) -> Problem {
    let first = misfits.first().map(|misfit| format!("{} {}", misfit.path, misfit.message));
    Problem::new(Slug::InputDoesNotFit, first.unwrap_or_default()).with("errors", misfits)
}

/// Says that `sent` is not what was expected, or not there.
fn unlike(sent: Option<&Value>, expected: &str) -> String {
    match sent {
        Some(sent) => format!("must be {expected}, not {}", shown(sent)),
        None => format!("is missing: {expected}"),
    }
}

/// A value as a message shows it: what a reader needs to recognise it, and not more.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            format!("{:?}…", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
        }
        scalar => scalar.to_string().chars().take(100).collect(),
    }
}

#[cfg(test)]
mod tests;
