//! What a caller asks for, read into values that cannot be wrong.
//!
//! A [`Cart`] holds its lines merged by record and in the one global order of records, so that whoever works on it meets
//! the stock in the same order as everybody else. How a body is read, and what is said of one that does not fit, is the
//! sdk's [`Reader`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use amends_sdk::body::{Reader, given};
use amends_wire::canonical::{self, hex};
use amends_wire::problem::Misfit;
use serde::Serialize;
use serde_json::Value;

use crate::record::RecordKey;
use crate::version::Versions;

#[cfg(test)]
mod tests;

/// The most lines a cart may have, before lines of the same record are merged.
pub const LINES_MAX: usize = 1000;

/// The largest quantity of one line.
pub const QTY_MAX: i64 = 1_000_000;

/// The most lines one replenishment may have.
pub const REPLENISH_LINES_MAX: usize = 10_000;

/// The largest quantity that one line of a replenishment brings in.
pub const REPLENISH_QTY_MAX: i64 = 1_000_000_000;

/// The longest order number, in characters.
pub const ORDER_CHARS_MAX: usize = 64;

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

/// How much of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The record.
    pub record: RecordKey,
    /// How many, from 1.
    pub qty: i64,
}

impl Line {
    /// The SKU.
    pub fn sku(&self) -> Sku {
        self.record.sku
    }
}

/// An order's lines: at least one, each record once, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    order: OrderNo,
    lines: Vec<Line>,
}

impl Cart {
    /// Reads `{"order": text, "lines": [{"sku": integer, "qty": integer}]}`; a line may name its record by more than
    /// the SKU, see [`crate::record`], and other members are ignored.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Cart, Vec<Misfit>> {
        let mut reader = Reader::default();
        let order = read_number(&mut reader, body, "order");
        let lines = read_lines(&mut reader, body, LINES_MAX, QTY_MAX);
        reader.finish(order.map(|order| Cart { order, lines }))
    }

    /// The order it belongs to.
    pub fn order(&self) -> &OrderNo {
        &self.order
    }

    /// The lines, ascending by record.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The same order's cart with other lines, which must ascend by record.
    pub(crate) fn with_lines(&self, lines: Vec<Line>) -> Cart {
        Cart { order: self.order.clone(), lines }
    }
}

/// Goods that come in under a number of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    biz_no: OrderNo,
    lines: Vec<Line>,
    versions: Versions,
}

impl Delivery {
    /// Reads `{"biz_no": text, "lines": [{"sku": integer, "qty": integer, "if_version": integer or nothing}]}`; other
    /// members are ignored.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Delivery, Vec<Misfit>> {
        let mut reader = Reader::default();
        let biz_no = read_number(&mut reader, body, "biz_no");
        let lines = read_lines(&mut reader, body, REPLENISH_LINES_MAX, REPLENISH_QTY_MAX);
        let versions = Versions::read(&mut reader, body);
        reader.finish(biz_no.map(|biz_no| Delivery { biz_no, lines, versions }))
    }

    /// The number it comes under; it takes effect once.
    pub fn biz_no(&self) -> &OrderNo {
        &self.biz_no
    }

    /// The lines, ascending by record.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The versions under which it was made, where it names any.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// All quantities together.
    pub fn qty(&self) -> i64 {
        self.lines.iter().map(|line| line.qty).sum()
    }

    /// The lines as one text, the same for the same goods whatever order they were sent in.
    pub fn canonical(&self) -> String {
        canonical(&self.lines)
    }
}

/// Some or all of what an order has taken and paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The order.
    pub order: OrderNo,
    /// The number it comes under, if it has one; it takes effect once.
    pub number: Option<OrderNo>,
    /// The lines, ascending by record; none of them is everything that is left.
    pub lines: Vec<Line>,
}

impl Part {
    /// Reads `{"order": text, "refund_no": text or nothing, "lines": […]}`.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read_refund(body: &Value) -> Result<Part, Vec<Misfit>> {
        Part::read(body, "refund_no", true)
    }

    /// Reads `{"order": text, "ship_no": text or nothing, "lines": […] or nothing}`.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read_shipment(body: &Value) -> Result<Part, Vec<Misfit>> {
        Part::read(body, "ship_no", given(body, "lines").is_some())
    }

    fn read(body: &Value, number: &str, has_lines: bool) -> Result<Part, Vec<Misfit>> {
        let mut reader = Reader::default();
        let order = read_number(&mut reader, body, "order");
        let number = reader.text_if_any(body, "", number, 1..=ORDER_CHARS_MAX);
        let number = number.map(|text| OrderNo(text.into()));
        let lines = if has_lines { read_lines(&mut reader, body, LINES_MAX, QTY_MAX) } else { Vec::new() };
        reader.finish(order.map(|order| Part { order, number, lines }))
    }

    /// The same for the same part of the same order, whatever order its lines were sent in.
    pub fn fingerprint(&self) -> String {
        let lines = canonical(&self.lines);
        hex(&canonical::fingerprint([self.order.as_str().as_bytes(), lines.as_bytes()]))
    }
}

/// Lines as one text.
fn canonical(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}:{},", line.record, line.qty)).collect()
}

/// Reads the order that `{"order": text}` names; other members are ignored.
///
/// # Errors
/// What does not fit.
pub fn read_order(body: &Value) -> Result<OrderNo, Vec<Misfit>> {
    let mut reader = Reader::default();
    let order = read_number(&mut reader, body, "order");
    reader.finish(order)
}

/// Reads a number of the kind that orders have; what it returns counts only while there is no misfit.
pub(crate) fn read_number(reader: &mut Reader, body: &Value, member: &str) -> Option<OrderNo> {
    reader.text(body, "", member, 1..=ORDER_CHARS_MAX).map(|text| OrderNo(text.into()))
}

/// Reads, merges and sorts the lines; what it returns counts only while there is no misfit.
fn read_lines(reader: &mut Reader, body: &Value, lines_max: usize, qty_max: i64) -> Vec<Line> {
    let read = |reader: &mut Reader, line: &Value, at: &str| {
        let record = RecordKey::read(reader, line, at);
        let qty = reader.integer(line, at, "qty", 1..=qty_max);
        Some((record?, qty?))
    };
    let mut quantities: BTreeMap<RecordKey, i64> = BTreeMap::new();
    for (record, qty) in reader.each(body, "lines", 1..=lines_max, read) {
        *quantities.entry(record).or_default() += qty;
    }
    quantities.into_iter().map(|(record, qty)| Line { record, qty }).collect()
}
