//! What a caller asks for, read into values that cannot be wrong.
//!
//! A [`Cart`] holds its lines merged by SKU and in the one global order of SKUs, so that whoever works on it meets
//! the stock in the same order as everybody else. How a body is read, and what is said of one that does not fit, is the
//! sdk's [`Reader`].

use std::fmt;
use std::sync::Arc;

use amends_sdk::body::Reader;
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
        let order = read_number(&mut reader, body, "order");
        let lines = read_lines(&mut reader, body, LINES_MAX, QTY_MAX);
        reader.finish(order.map(|order| Cart { order, lines }))
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
        let biz_no = read_number(&mut reader, body, "biz_no");
        let lines = read_lines(&mut reader, body, REPLENISH_LINES_MAX, REPLENISH_QTY_MAX);
        reader.finish(biz_no.map(|biz_no| Delivery { biz_no, lines }))
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
    let order = read_number(&mut reader, body, "order");
    reader.finish(order)
}

fn read_number(reader: &mut Reader, body: &Value, member: &str) -> Option<OrderNo> {
    reader.text(body, "", member, 1..=ORDER_CHARS_MAX).map(|text| OrderNo(text.into()))
}

/// Reads, merges and sorts the lines; what it returns counts only while there is no misfit.
fn read_lines(reader: &mut Reader, body: &Value, lines_max: usize, qty_max: i64) -> Vec<Line> {
    let quantities = reader.quantities(body, lines_max, qty_max);
    quantities.into_iter().map(|(sku, qty)| Line { sku: Sku(sku), qty }).collect()
}
