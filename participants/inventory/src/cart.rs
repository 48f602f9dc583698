//! What a caller asks for, read into values that cannot be wrong.
//!
//! A [`Cart`] holds its lines merged by SKU and in the one global order of SKUs, so that whoever works on it meets
//! the stock in the same order as everybody else. Reading reports every misfit it finds, up to [`MISFITS_MAX`],
//! each with a JSON Pointer; it never repairs what was sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use amends_wire::problem::Misfit;
use serde::Serialize;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// The most lines a cart may have, before lines of the same SKU are merged.
pub const LINES_MAX: usize = 1000;

/// The largest quantity of one line.
pub const QTY_MAX: i64 = 1_000_000;

/// The most lines one replenishment may have.
pub const REPLENISH_LINES_MAX: usize = 10_000;

/// The largest quantity that one line of a replenishment brings in.
pub const REPLENISH_QTY_MAX: i64 = 1_000_000_000;

/// The longest order number, in characters.
pub const ORDER_CHARS_MAX: usize = 64;

/// The most misfits that are reported at once.
pub const MISFITS_MAX: usize = 20;

/// A stock-keeping unit's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Sku(i64);

impl Sku {
    /// Takes a number from 1 upwards.
    pub fn new(number: i64) -> Option<Sku> {
        (number >= 1).then_some(Sku(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order's number, or the number of a replenishment: 1 to [`ORDER_CHARS_MAX`] characters, none of them a control
/// character, without a space at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OrderNo(Arc<str>);

impl OrderNo {
    /// Takes a text that fits.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn new(text: &str) -> Result<OrderNo, &'static str> {
        let chars = text.chars().count();
        if !(1..=ORDER_CHARS_MAX).contains(&chars) {
            return Err("must have 1 to 64 characters");
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters");
        }
        if text.trim() != text {
            return Err("must not begin or end with a space");
        }
        Ok(OrderNo(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Takes a text that was checked when it was first read, as the database has it.
    pub(crate) fn stored(text: &str) -> OrderNo {
        OrderNo(text.into())
    }
}

impl fmt::Display for OrderNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The SKU.
    pub sku: Sku,
    /// How many, from 1.
    pub qty: i64,
}

/// An order's lines: at least one, each SKU once, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    order: OrderNo,
    lines: Vec<Line>,
}

impl Cart {
    /// Reads `{"order": text, "lines": [{"sku": integer, "qty": integer}]}`; other members are ignored.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Cart, Vec<Misfit>> {
        let mut reader = Reader::default();
        let order = reader.number(body, "order");
        let lines = reader.lines(body, LINES_MAX, QTY_MAX);
        match (order, reader.misfits.is_empty()) {
            (Some(order), true) => Ok(Cart { order, lines }),
            _ => Err(reader.misfits),
        }
    }

    /// The order it belongs to.
    pub fn order(&self) -> &OrderNo {
        &self.order
    }

    /// The lines, ascending by SKU.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// Goods that come in under a number of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    biz_no: OrderNo,
    lines: Vec<Line>,
}

impl Delivery {
    /// Reads `{"biz_no": text, "lines": [{"sku": integer, "qty": integer}]}`; other members are ignored.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Delivery, Vec<Misfit>> {
        let mut reader = Reader::default();
        let biz_no = reader.number(body, "biz_no");
        let lines = reader.lines(body, REPLENISH_LINES_MAX, REPLENISH_QTY_MAX);
        match (biz_no, reader.misfits.is_empty()) {
            (Some(biz_no), true) => Ok(Delivery { biz_no, lines }),
            _ => Err(reader.misfits),
        }
    }

    /// The number it comes under; it takes effect once.
    pub fn biz_no(&self) -> &OrderNo {
        &self.biz_no
    }

    /// The lines, ascending by SKU.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// All quantities together.
    pub fn qty(&self) -> i64 {
        self.lines.iter().map(|line| line.qty).sum()
    }

    /// The lines as one text, the same for the same goods whatever order they were sent in.
    pub fn canonical(&self) -> String {
        self.lines.iter().map(|line| format!("{}:{},", line.sku, line.qty)).collect()
    }
}

/// Reads the order that `{"order": text}` names; other members are ignored.
///
/// # Errors
/// What does not fit.
pub fn read_order(body: &Value) -> Result<OrderNo, Vec<Misfit>> {
    let mut reader = Reader::default();
    reader.number(body, "order").ok_or(reader.misfits)
}

/// Collects what does not fit while reading on.
#[derive(Default)]
struct Reader {
    misfits: Vec<Misfit>,
}

impl Reader {
    fn misfit(&mut self, path: String, message: impl Into<String>) {
        if self.misfits.len() < MISFITS_MAX {
            self.misfits.push(Misfit { path, message: message.into() });
        }
    }

    fn number(&mut self, body: &Value, member: &str) -> Option<OrderNo> {
        let path = || format!("/{member}");
        match body.get(member) {
            Some(Value::String(text)) => match OrderNo::new(text) {
                Ok(number) => return Some(number),
                Err(why) => self.misfit(path(), format!("{why}, not {}", shown(&body[member]))),
            },
            Some(other) => self.misfit(path(), format!("must be a text, not {}", shown(other))),
            None => self.misfit(path(), "is missing: a text of 1 to 64 characters"),
        }
        None
    }

    /// Reads, merges and sorts the lines; what it returns counts only while there is no misfit.
    fn lines(&mut self, body: &Value, lines_max: usize, qty_max: i64) -> Vec<Line> {
        let sent = match body.get("lines") {
            Some(Value::Array(sent)) if (1..=lines_max).contains(&sent.len()) => sent,
            Some(Value::Array(sent)) => {
                self.misfit("/lines".into(), format!("must have 1 to {lines_max} lines, not {}", sent.len()));
                return Vec::new();
            }
            Some(other) => {
                self.misfit("/lines".into(), format!("must be a list of lines, not {}", shown(other)));
                return Vec::new();
            }
            None => {
                self.misfit("/lines".into(), "is missing: a list of lines");
                return Vec::new();
            }
        };
        let mut merged: BTreeMap<Sku, i64> = BTreeMap::new();
        for (index, line) in sent.iter().enumerate() {
            let sku = self.integer(line, index, "sku", i64::MAX).and_then(Sku::new);
            let qty = self.integer(line, index, "qty", qty_max);
            if let (Some(sku), Some(qty)) = (sku, qty) {
                // At most ten thousand lines of at most a thousand million: the sum fits with room to spare.
                *merged.entry(sku).or_default() += qty;
            }
        }
        merged.into_iter().map(|(sku, qty)| Line { sku, qty }).collect()
    }

    fn integer(&mut self, line: &Value, index: usize, member: &str, max: i64) -> Option<i64> {
        let path = format!("/lines/{index}/{member}");
        let Some(value) = line.get(member) else {
            self.misfit(path, format!("is missing: an integer from 1 to {max}"));
            return None;
        };
        let integer = value.as_i64().filter(|integer| (1..=max).contains(integer));
        if integer.is_none() {
            self.misfit(path, format!("must be an integer from 1 to {max}, not {}", shown(value)));
        }
        integer
    }
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
