//! What a caller asks for, read from a body into values that cannot be wrong.

use std::collections::BTreeMap;
use std::fmt;

use amends_sdk::body::{Reader, given};
use amends_wire::api::Time;
use amends_wire::problem::Misfit;
use serde::Serialize;
use serde_json::Value;

use crate::money::{Currency, MINOR_MAX, Minor};

#[cfg(test)]
mod tests;

/// The most lines a body may have, before lines of the same SKU are merged.
pub const LINES_MAX: usize = 1000;

/// The largest quantity of one line, and of all lines of a SKU together: what an order answers is one line of each SKU,
/// and whoever moves those goods takes no more in one.
pub const QTY_MAX: i64 = 1_000_000;

/// The longest order number, customer and refund number, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// The longest that an order may wait for its payment, in seconds: 31 days.
pub const PAY_WITHIN_S_MAX: i64 = 31 * 24 * 3600;

/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// What can be asked of the orders. Each is an operation of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Places an order; undone by [`Operation::Cancel`].
    Create,
    /// Notes that an order's stock is set aside.
    Reserve,
    /// Takes an order as paid; undone by [`Operation::Refund`].
    Pay,
    /// Sends out an order's goods, or some of them.
    Ship,
    /// Closes a shipped order.
    Complete,
    /// Gives back an order's money, or some of it.
    Refund,
    /// Begins to give back an order's money, or some of it; undone by [`Operation::RefundAbort`].
    RefundBegin,
    /// Ends a refund that was begun: the money is given back.
    RefundEnd,
    /// Calls a refund off that was begun.
    RefundAbort,
    /// Calls an order off.
    Cancel,
    /// Calls an order off that nobody has paid for in time.
    TimeOut,
}

/// A body that fits its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Place an order.
    Create(Placement),
    /// Note that the stock of an order is set aside.
    Reserve(OrderNo),
    /// Take an order as paid.
    Pay(Paid),
    /// Send goods out.
    Ship(Shipment),
    /// Close a shipped order.
    Complete(OrderNo),
    /// Give money back.
    Refund(Refund),
    /// Begin to give money back.
    RefundBegin(Refund),
    /// End a refund that was begun: done, or called off.
    RefundEnd(RefundEnd),
    /// Call an order off.
    Cancel(Cancel),
    /// Call an order off that nobody has paid for in time.
    TimeOut(OrderNo),
}

/// An order's number: 1 to [`NAME_CHARS_MAX`] characters, none of them a control character, no space at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OrderNo(String);

/// An order as it is placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its number, which no other order has.
    pub order: OrderNo,
    /// Whose it is.
    pub customer: Option<String>,
    /// What its prices are in.
    pub currency: Currency,
    /// Each SKU once, ascending; at least one.
    pub lines: Vec<Line>,
    /// What the lines come to.
    pub total: Minor,
    /// The customer's token, which no other order has.
    pub token: Option<String>,
    /// How long from now it may wait for its payment, in milliseconds.
    pub pay_within_ms: Option<i64>,
    /// Until when it may wait for its payment, in unix milliseconds. Of the two the earlier counts.
    pub pay_by: Option<i64>,
}

impl Placement {
    /// From when on it may be called off unpaid, when it is placed at `now`, in unix milliseconds.
    pub fn pay_deadline(&self, now: i64) -> Option<i64> {
        let within = self.pay_within_ms.map(|within| now.saturating_add(within));
        [within, self.pay_by].into_iter().flatten().min()
    }
}

/// So many of a SKU at a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The SKU, from 1.
    pub sku: i64,
    /// How many, from 1.
    pub qty: i64,
    /// The price of one.
    pub price: Minor,
}

/// So many of a SKU that an order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The SKU, from 1.
    pub sku: i64,
    /// How many, from 1.
    pub qty: i64,
}

/// An order that is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Which.
    pub order: OrderNo,
    /// What was paid, if it is said: it must be what the order comes to.
    pub amount: Option<Minor>,
    /// The number of the payment at the payment service, where it was paid through one.
    pub payment: Option<String>,
}

/// An order called off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    /// Which.
    pub order: OrderNo,
    /// Why.
    pub reason: Option<String>,
    /// Whether only if it was never paid: otherwise one whose money was all given back may be called off as well.
    pub unpaid: bool,
}

/// Money given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Of which order.
    pub order: OrderNo,
    /// The number it takes effect under, once; named after its saga and step if it has none.
    pub number: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// For which goods, each SKU once, ascending; for all that are left if `None`.
    pub parts: Option<Vec<Part>>,
    /// Whether whoever asks gives the money back at the payment service.
    pub payment_service: bool,
}

/// A refund that was begun and now ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundEnd {
    /// Of which order.
    pub order: OrderNo,
    /// The number it was begun under; named after its saga and step if it has none.
    pub number: Option<String>,
    /// Whether the money is given back, or all stays as it was.
    pub done: bool,
}

/// Goods that leave together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Of which order.
    pub order: OrderNo,
    /// The number it takes effect under, once; named after its saga and step if it has none.
    pub number: Option<String>,
    /// Which goods, each SKU once, ascending; all that are open if `None`.
    pub parts: Option<Vec<Part>>,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 11] = [
        Operation::Create,
        Operation::Reserve,
        Operation::Pay,
        Operation::Ship,
        Operation::Complete,
        Operation::Refund,
        Operation::RefundBegin,
        Operation::RefundEnd,
        Operation::RefundAbort,
        Operation::Cancel,
        Operation::TimeOut,
    ];

    /// The name, as addresses and registrations carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Reserve => "reserve",
            Operation::Pay => "pay",
            Operation::Ship => "ship",
            Operation::Complete => "complete",
            Operation::Refund => "refund",
            Operation::RefundBegin => "refund_begin",
            Operation::RefundEnd => "refund_end",
            Operation::RefundAbort => "refund_abort",
            Operation::Cancel => "cancel",
            Operation::TimeOut => "time_out",
        }
    }

    /// Reads a name.
    pub fn named(name: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.as_str() == name)
    }

    /// The operation that undoes it, if any.
    pub fn compensation(self) -> Option<Operation> {
        match self {
            Operation::Create => Some(Operation::Cancel),
            Operation::Pay => Some(Operation::Refund),
            Operation::RefundBegin => Some(Operation::RefundAbort),
            Operation::Reserve
            | Operation::Ship
            | Operation::Complete
            | Operation::Refund
            | Operation::RefundEnd
            | Operation::RefundAbort
            | Operation::Cancel
            | Operation::TimeOut => None,
        }
    }

    /// Reads a body. A compensation reads only which order it is about: what it undoes is the whole of its action.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(self, body: &Value, compensating: bool) -> Result<Command, Vec<Misfit>> {
        let mut reader = Reader::default();
        let whole = compensating || given(body, "lines").is_none();
        let command = match self {
            Operation::Create => read_placement(&mut reader, body).map(Command::Create),
            Operation::Reserve => read_order(&mut reader, body).map(Command::Reserve),
            Operation::Complete => read_order(&mut reader, body).map(Command::Complete),
            Operation::Cancel => {
                let order = read_order(&mut reader, body);
                let reason = read_reason(&mut reader, body, compensating);
                let unpaid = !compensating && read_flag(&mut reader, body, "unpaid");
                order.map(|order| Command::Cancel(Cancel { order, reason, unpaid }))
            }
            Operation::Pay => read_paid(&mut reader, body).map(Command::Pay),
            Operation::Ship => {
                let order = read_order(&mut reader, body);
                let number = reader.text_if_any(body, "", "ship_no", 1..=NAME_CHARS_MAX);
                let parts = (!whole).then(|| read_parts(&mut reader, body));
                order.map(|order| Command::Ship(Shipment { order, number, parts }))
            }
            Operation::Refund => read_refund(&mut reader, body, compensating).map(Command::Refund),
            Operation::RefundBegin => read_refund(&mut reader, body, false).map(Command::RefundBegin),
            Operation::RefundEnd => read_refund_end(&mut reader, body, true),
            Operation::RefundAbort => read_refund_end(&mut reader, body, false),
            Operation::TimeOut => read_order(&mut reader, body).map(Command::TimeOut),
        };
        reader.finish(command)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Command {
    /// The order it is about.
    pub fn order(&self) -> &OrderNo {
        match self {
            Command::Create(placement) => &placement.order,
            Command::Refund(refund) | Command::RefundBegin(refund) => &refund.order,
            Command::RefundEnd(end) => &end.order,
            Command::Ship(shipment) => &shipment.order,
            Command::Cancel(cancel) => &cancel.order,
            Command::Pay(paid) => &paid.order,
            Command::Reserve(order) | Command::Complete(order) | Command::TimeOut(order) => order,
        }
    }
}

/// The number that something takes effect under when a step of a saga asks for it: its own, or one named after both.
pub fn number_or(own: Option<&String>, saga: &str, step: &str) -> String {
    own.cloned().unwrap_or_else(|| format!("{saga}:{step}"))
}

impl OrderNo {
    /// Takes a number as it was stored.
    pub(crate) fn stored(text: String) -> OrderNo {
        OrderNo(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn read_order(reader: &mut Reader, body: &Value) -> Option<OrderNo> {
    reader.text(body, "", "order", 1..=NAME_CHARS_MAX).map(OrderNo)
}

fn read_reason(reader: &mut Reader, body: &Value, compensating: bool) -> Option<String> {
    (!compensating).then(|| reader.text_if_any(body, "", "reason", 1..=REASON_CHARS_MAX)).flatten()
}

/// Reads a member that is true or false; false where it is absent.
fn read_flag(reader: &mut Reader, body: &Value, member: &str) -> bool {
    let flag = given(body, member);
    if flag.is_some_and(|flag| !flag.is_boolean()) {
        reader.misfit(format!("/{member}"), "must be true or false");
    }
    flag.and_then(Value::as_bool).unwrap_or(false)
}

/// Reads `{"order", "amount_minor"?, "payment"?}`.
fn read_paid(reader: &mut Reader, body: &Value) -> Option<Paid> {
    let order = read_order(reader, body);
    let amount = reader.integer_if_any(body, "", "amount_minor", 0..=MINOR_MAX).and_then(Minor::new);
    let payment = reader.text_if_any(body, "", "payment", 1..=NAME_CHARS_MAX);
    order.map(|order| Paid { order, amount, payment })
}

/// Reads `{"order", "refund"?, "reason"?, "lines"?, "payment_service"?}`; `only_order` leaves out all but the first.
fn read_refund(reader: &mut Reader, body: &Value, only_order: bool) -> Option<Refund> {
    let order = read_order(reader, body);
    let number = (!only_order).then(|| reader.text_if_any(body, "", "refund", 1..=NAME_CHARS_MAX)).flatten();
    let reason = read_reason(reader, body, only_order);
    let parts = (!only_order && given(body, "lines").is_some()).then(|| read_parts(reader, body));
    let payment_service = !only_order && read_flag(reader, body, "payment_service");
    order.map(|order| Refund { order, number, reason, parts, payment_service })
}

/// Reads `{"order", "refund"?}`.
fn read_refund_end(reader: &mut Reader, body: &Value, done: bool) -> Option<Command> {
    let order = read_order(reader, body);
    let number = reader.text_if_any(body, "", "refund", 1..=NAME_CHARS_MAX);
    order.map(|order| Command::RefundEnd(RefundEnd { order, number, done }))
}

/// Reads `{"order", "customer"?, "currency"?, "lines": [{"sku", "qty", "price_minor"?}], "total"?, "token"?,
/// "pay_within_s"?, "pay_by"?}`.
fn read_placement(reader: &mut Reader, body: &Value) -> Option<Placement> {
    let order = read_order(reader, body);
    let customer = reader.text_if_any(body, "", "customer", 1..=NAME_CHARS_MAX);
    let token = reader.text_if_any(body, "", "token", 1..=NAME_CHARS_MAX);
    if token.is_some() && given(body, "customer").is_none() {
        reader.misfit("/customer", "is missing: a token belongs to a customer");
    }
    let pay_within = reader.integer_if_any(body, "", "pay_within_s", 1..=PAY_WITHIN_S_MAX);
    let pay_by = read_time(reader, body, "pay_by");
    let currency = match given(body, "currency") {
        None => Some(Currency::EUR),
        Some(value) => {
            let currency = value.as_str().and_then(|text| text.parse().ok());
            if currency.is_none() {
                reader.misfit("/currency", crate::money::NotACurrency.to_string());
            }
            currency
        }
    };
    let lines = read_lines(reader, body);
    let total = sum(lines.iter());
    if total.is_none() {
        reader.misfit("/lines", format!("come to more than {MINOR_MAX}, the largest amount"));
    }
    for member in ["total", "total_minor"] {
        let claimed = reader.integer_if_any(body, "", member, 0..=MINOR_MAX);
        if let (Some(claimed), Some(total)) = (claimed, total)
            && claimed != total.get()
            && !lines.is_empty()
        {
            reader.misfit(format!("/{member}"), format!("is {claimed}, but the lines come to {total}"));
        }
    }
    let pay_within_ms = pay_within.map(|seconds| seconds * 1000);
    Some(Placement {
        order: order?,
        customer,
        currency: currency?,
        lines,
        total: total?,
        token,
        pay_within_ms,
        pay_by,
    })
}

/// Reads a time in RFC 3339, if there is one, in unix milliseconds.
fn read_time(reader: &mut Reader, body: &Value, member: &str) -> Option<i64> {
    let time = given(body, member)?.as_str().and_then(|text| text.parse::<Time>().ok());
    if time.is_none() {
        reader.misfit(format!("/{member}"), "must be a time such as 2026-11-21T18:00:00.000Z");
    }
    time.map(|time| time.0.0)
}

/// What lines come to, unless it exceeds the largest amount.
pub(crate) fn sum<'a>(lines: impl Iterator<Item = &'a Line>) -> Option<Minor> {
    let mut sum = Minor::default();
    for line in lines {
        sum = sum.plus(line.price.times(line.qty)?)?;
    }
    Some(sum)
}

/// Reads, merges and sorts priced lines; what it returns counts only while there is no misfit.
///
/// Together they must fit as each must: past a pivot the goods are named by merged lines, and nobody may say no to those.
fn read_lines(reader: &mut Reader, body: &Value) -> Vec<Line> {
    let mut merged: BTreeMap<i64, Line> = BTreeMap::new();
    reader.each(body, "lines", 1..=LINES_MAX, |reader, sent, at| {
        let (sku, qty) = reader.sku_and_qty(sent, at, QTY_MAX)?;
        let price = reader.integer_if_any(sent, at, "price_minor", 0..=MINOR_MAX);
        let price = price.and_then(Minor::new).unwrap_or_default();
        let line = merged.entry(sku).or_insert(Line { sku, qty: 0, price });
        line.qty += qty;
        if line.price != price {
            let message = format!("is {price}, but another line of sku {sku} says {}", line.price);
            reader.misfit(format!("{at}/price_minor"), message);
        }
        Some(())
    });
    for line in merged.values().filter(|line| line.qty > QTY_MAX) {
        let Line { sku, qty, .. } = line;
        reader.misfit("/lines", format!("come to {qty} pieces of sku {sku}, more than {QTY_MAX}"));
    }
    merged.into_values().collect()
}

/// Reads, merges and sorts lines without a price; what it returns counts only while there is no misfit.
fn read_parts(reader: &mut Reader, body: &Value) -> Vec<Part> {
    let quantities = reader.quantities(body, LINES_MAX, QTY_MAX);
    quantities.into_iter().map(|(sku, qty)| Part { sku, qty }).collect()
}
