//! Decides what follows from commands, in memory and in the order of their arrival; saves nothing.
//!
//! A [`Book`] holds the orders that a batch of commands is about, as the database has them at the start of the batch's
//! transaction. Deciding changes the book; afterwards the book says what changed, for a few statements to write it all.
//! Every order that changes carries the state and the version it was loaded with: its update is conditional on both.

use std::collections::{BTreeMap, BTreeSet};

use amends_wire::participant::CallOp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::command::{Command, Operation, OrderNo, Part, Placement, Refund};
use crate::money::{Currency, Minor};
use crate::state::{Change, State};

#[cfg(test)]
mod tests;

/// Who asks for a change, by what call.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// The saga's id.
    pub saga: &'a str,
    /// The step's name.
    pub step: &'a str,
    /// The operation called.
    pub operation: Operation,
    /// What the call is to its step.
    pub op: CallOp,
}

/// What a command comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It took effect, or had already.
    Done(Value),
    /// It conflicts with how things stand; nothing changed.
    Refused {
        /// Why, in a sentence.
        why: String,
        /// The same for machines.
        details: Value,
    },
}

/// An order as the book knows it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its number.
    pub number: OrderNo,
    /// The saga that placed it.
    pub saga: String,
    /// The step that placed it.
    pub step: String,
    /// Whose it is.
    pub customer: Option<String>,
    /// Where it stands.
    pub state: State,
    /// What its money is in.
    pub currency: Currency,
    /// What its lines come to.
    pub amount: Minor,
    /// How much of that was given back.
    pub refunded: Minor,
    /// How many events it has.
    pub version: i64,
    /// Its lines by SKU; empty where no command of the batch needs them.
    pub lines: BTreeMap<i64, OrderLine>,
}

/// A line of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLine {
    /// How many were ordered.
    pub qty: i64,
    /// The price of one.
    pub price: Minor,
    /// How many were refunded.
    pub refunded: i64,
    /// How many have left.
    pub shipped: i64,
}

/// The orders of a batch.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<OrderNo, Entry>,
    events: Vec<Event>,
    refunds: Vec<RefundRow>,
    refund_numbers: BTreeSet<String>,
}

#[derive(Debug)]
struct Entry {
    order: Order,
    /// State and version in the database; `None` for an order that is not there yet.
    stored: Option<(State, i64)>,
    /// SKUs whose stored lines changed.
    lines_changed: BTreeSet<i64>,
}

/// A step that an order took, as a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    order_no: OrderNo,
    version: i64,
    from_state: Option<State>,
    to_state: State,
    operation: &'static str,
    op: &'static str,
    note: Option<String>,
    saga: String,
    step: String,
}

/// Money given back, as a row with its lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefundRow {
    refund_no: String,
    order_no: OrderNo,
    amount_minor: Minor,
    reason: Option<String>,
    saga: String,
    step: String,
    #[serde(skip)]
    parts: Vec<Part>,
}

impl Cause<'_> {
    fn compensating(&self) -> bool {
        self.op == CallOp::Compensation
    }
}

impl Order {
    /// What is neither refunded nor shipped yet.
    fn open(&self) -> Vec<Part> {
        self.lines
            .iter()
            .map(|(sku, line)| Part { sku: *sku, qty: line.open() })
            .filter(|part| part.qty > 0)
            .collect()
    }

    /// What the answer to every operation says.
    fn view(&self) -> Value {
        json!({
            "order": self.number, "state": self.state, "total_minor": self.amount, "currency": self.currency,
            "refunded_minor": self.refunded,
        })
    }
}

impl OrderLine {
    fn open(&self) -> i64 {
        self.qty - self.refunded - self.shipped
    }
}

impl Book {
    /// Opens a book on these orders as they are stored, and on the refund numbers already taken.
    pub fn new(orders: impl IntoIterator<Item = Order>, refund_numbers: BTreeSet<String>) -> Book {
        let entry = |order: Order| {
            let stored = Some((order.state, order.version));
            (order.number.clone(), Entry { order, stored, lines_changed: BTreeSet::new() })
        };
        Book { entries: orders.into_iter().map(entry).collect(), refund_numbers, ..Book::default() }
    }

    /// Decides one command and, if it takes effect, enters it.
    pub fn decide(&mut self, cause: &Cause<'_>, command: &Command) -> Verdict {
        match command {
            Command::Create(placement) => self.create(cause, placement),
            Command::Reserve(order) => self.change(cause, order, Change::Reserve, None),
            Command::Pay(order, amount) => self.pay(cause, order, *amount),
            Command::Ship(order, parts) => self.ship(cause, order, parts.as_deref()),
            Command::Complete(order) => self.change(cause, order, Change::Complete, None),
            Command::Refund(refund) => self.refund(cause, refund),
            Command::Cancel(order, reason) => self.cancel(cause, order, reason.clone()),
        }
    }

    fn create(&mut self, cause: &Cause<'_>, placement: &Placement) -> Verdict {
        if let Some(entry) = self.entries.get(&placement.order) {
            return refused(&entry.order, format!("order {:?} exists already", placement.order.as_str()));
        }
        let line = |line: &crate::command::Line| {
            (line.sku, OrderLine { qty: line.qty, price: line.price, refunded: 0, shipped: 0 })
        };
        let order = Order {
            number: placement.order.clone(),
            saga: cause.saga.to_owned(),
            step: cause.step.to_owned(),
            customer: placement.customer.clone(),
            state: State::Created,
            currency: placement.currency,
            amount: placement.total,
            refunded: Minor::default(),
            version: 1,
            lines: placement.lines.iter().map(line).collect(),
        };
        self.events.push(event(cause, &order, None, None));
        let done = Verdict::Done(order.view());
        let entry = Entry { order, stored: None, lines_changed: BTreeSet::new() };
        self.entries.insert(placement.order.clone(), entry);
        done
    }

    fn pay(&mut self, cause: &Cause<'_>, number: &OrderNo, amount: Option<Minor>) -> Verdict {
        match (self.entries.get(number), amount) {
            (Some(entry), Some(amount)) if amount != entry.order.amount => {
                let order = &entry.order;
                let why = format!(
                    "order {:?} comes to {} {} in minor units, not {amount}",
                    number.as_str(),
                    order.amount,
                    order.currency
                );
                refused(order, why)
            }
            _ => self.change(cause, number, Change::Pay, None),
        }
    }

    fn ship(&mut self, cause: &Cause<'_>, number: &OrderNo, parts: Option<&[Part]>) -> Verdict {
        let (parts, rest) = match self.choose(cause, number, Change::ShipRest, parts) {
            Ok(chosen) => chosen,
            Err(verdict) => return verdict,
        };
        let change = if rest { Change::ShipRest } else { Change::ShipPart };
        if let Some(entry) = self.entries.get_mut(number) {
            entry.each(&parts, |line, qty| line.shipped += qty);
        }
        self.change(cause, number, change, None)
    }

    fn refund(&mut self, cause: &Cause<'_>, refund: &Refund) -> Verdict {
        if let Some(done) = self.undone(cause, &refund.order, &[State::Refunded, State::Cancelled]) {
            return done;
        }
        let (parts, rest) =
            match self.choose(cause, &refund.order, Change::RefundRest, refund.parts.as_deref()) {
                Ok(chosen) => chosen,
                Err(verdict) => return verdict,
            };
        let number = refund.number_or(cause.saga, cause.step);
        let Some(entry) = self.entries.get_mut(&refund.order) else { return missing(&refund.order) };
        if !self.refund_numbers.insert(number.clone()) {
            return refused(&entry.order, format!("refund {number:?} was made already"));
        }
        let before = entry.order.refunded;
        entry.each(&parts, |line, qty| line.refunded += qty);
        entry.order.refunded = entry.order.refunded_by_lines();
        let amount = entry.order.refunded.minus(before).unwrap_or_default();
        self.refunds.push(RefundRow {
            refund_no: number.clone(),
            order_no: refund.order.clone(),
            amount_minor: amount,
            reason: refund.reason.clone(),
            saga: cause.saga.to_owned(),
            step: cause.step.to_owned(),
            parts,
        });
        let change = if rest { Change::RefundRest } else { Change::RefundPart };
        match self.change(cause, &refund.order, change, refund.reason.clone()) {
            Verdict::Done(mut view) => {
                view["refund"] = json!({ "refund": number, "amount_minor": amount });
                Verdict::Done(view)
            }
            refused => refused,
        }
    }

    fn cancel(&mut self, cause: &Cause<'_>, number: &OrderNo, reason: Option<String>) -> Verdict {
        match self.entries.get(number) {
            Some(entry) if cause.compensating() && entry.order.saga != cause.saga => {
                let why = format!(
                    "order {:?} was placed by saga {}, and only that saga may undo it",
                    number.as_str(),
                    entry.order.saga
                );
                return refused(&entry.order, why);
            }
            _ => {}
        }
        match self.undone(cause, number, &[State::Cancelled]) {
            Some(done) => done,
            None => self.change(cause, number, Change::Cancel, reason),
        }
    }

    /// The answer to a compensation whose order already stands where it would bring it.
    fn undone(&self, cause: &Cause<'_>, number: &OrderNo, states: &[State]) -> Option<Verdict> {
        let order = &self.entries.get(number)?.order;
        (cause.compensating() && states.contains(&order.state)).then(|| Verdict::Done(order.view()))
    }

    /// Settles which goods a refund or a shipment is for, and whether they are all that is left.
    fn choose(
        &self,
        cause: &Cause<'_>,
        number: &OrderNo,
        change: Change,
        parts: Option<&[Part]>,
    ) -> Result<(Vec<Part>, bool), Verdict> {
        let Some(entry) = self.entries.get(number) else { return Err(missing(number)) };
        let order = &entry.order;
        if order.state.after(change).is_none() {
            return Err(conflict(cause, order));
        }
        let open = order.open();
        let Some(parts) = parts else { return Ok((open, true)) };
        let open_of = |sku| order.lines.get(&sku).map_or(0, OrderLine::open);
        let short: Vec<Value> = parts
            .iter()
            .filter(|part| part.qty > open_of(part.sku))
            .map(|part| json!({ "sku": part.sku, "asked": part.qty, "open": open_of(part.sku) }))
            .collect();
        if !short.is_empty() {
            let why = format!("order {:?} has less open than asked for", number.as_str());
            return Err(Verdict::Refused { why, details: json!({ "order": number, "lines": short }) });
        }
        Ok((parts.to_vec(), parts == open))
    }

    /// Takes an order to the state that `change` leads to, if it leads anywhere from where the order stands.
    fn change(
        &mut self,
        cause: &Cause<'_>,
        number: &OrderNo,
        change: Change,
        note: Option<String>,
    ) -> Verdict {
        let Some(entry) = self.entries.get_mut(number) else { return missing(number) };
        let Some(next) = entry.order.state.after(change) else { return conflict(cause, &entry.order) };
        let from = entry.order.state;
        entry.order.state = next;
        entry.order.version += 1;
        self.events.push(event(cause, &entry.order, Some(from), note));
        Verdict::Done(entry.order.view())
    }
}

impl Order {
    /// The money that stands for the refunded goods. It fits: it is no more than the lines come to.
    fn refunded_by_lines(&self) -> Minor {
        let of = |line: &OrderLine| line.price.times(line.refunded).unwrap_or_default();
        self.lines.values().fold(Minor::default(), |sum, line| sum.plus(of(line)).unwrap_or(sum))
    }
}

impl Entry {
    fn each(&mut self, parts: &[Part], change: impl Fn(&mut OrderLine, i64)) {
        for part in parts {
            if let Some(line) = self.order.lines.get_mut(&part.sku) {
                change(line, part.qty);
                self.lines_changed.insert(part.sku);
            }
        }
    }
}

/// What changed, ready to be written.
impl Book {
    /// The orders to insert, each with its lines.
    pub fn created(&self) -> impl Iterator<Item = &Order> {
        self.entries.values().filter(|entry| entry.stored.is_none()).map(|entry| &entry.order)
    }

    /// The stored orders to update, each with the state and the version it must still have.
    pub fn moved(&self) -> impl Iterator<Item = (&Order, State, i64)> {
        self.entries.values().filter_map(|entry| {
            let (state, version) = entry.stored?;
            (version != entry.order.version).then_some((&entry.order, state, version))
        })
    }

    /// The lines of stored orders to update.
    pub fn lines_changed(&self) -> impl Iterator<Item = (&OrderNo, i64, &OrderLine)> {
        self.entries.iter().filter(|(_, entry)| entry.stored.is_some()).flat_map(|(number, entry)| {
            let line = move |sku: &i64| Some((number, *sku, entry.order.lines.get(sku)?));
            entry.lines_changed.iter().filter_map(line)
        })
    }

    /// The events to append, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The refunds to insert.
    pub fn refunds(&self) -> &[RefundRow] {
        &self.refunds
    }
}

impl RefundRow {
    /// Its number.
    pub fn number(&self) -> &str {
        &self.refund_no
    }

    /// What it was for.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

fn event(cause: &Cause<'_>, order: &Order, from: Option<State>, note: Option<String>) -> Event {
    Event {
        order_no: order.number.clone(),
        version: order.version,
        from_state: from,
        to_state: order.state,
        operation: cause.operation.as_str(),
        op: cause.op.as_str(),
        note,
        saga: cause.saga.to_owned(),
        step: cause.step.to_owned(),
    }
}

fn missing(number: &OrderNo) -> Verdict {
    let why = format!("there is no order {:?}", number.as_str());
    Verdict::Refused { why, details: json!({ "order": number }) }
}

fn conflict(cause: &Cause<'_>, order: &Order) -> Verdict {
    let why = format!(
        "order {:?} is {}, which {} does not go with",
        order.number.as_str(),
        order.state,
        cause.operation
    );
    refused(order, why)
}

fn refused(order: &Order, why: String) -> Verdict {
    Verdict::Refused { why, details: json!({ "order": order.number, "state": order.state }) }
}
