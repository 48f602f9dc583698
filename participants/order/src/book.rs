//! Decides what follows from commands, in memory and in the order of their arrival; saves nothing.
//!
//! A [`Book`] holds the orders that a batch of commands is about, as the database has them at the start of the batch's
//! transaction. Deciding changes the book; afterwards the book says what changed, for a few statements to write it all.
//! Every order that changes carries the state and the version it was loaded with: its update is conditional on both.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot};

use amends_saga::Timestamp;
use amends_wire::api::Time;
use amends_wire::participant::CallOp;
use serde_json::{Value, json};

use crate::command::{Cancel, Command, Operation, OrderNo, Paid, Placement};
use crate::money::{Currency, Minor};
use crate::state::{Change, State};

mod goods;
mod rows;

pub use rows::{Event, RefundRow, RefundState, ShipmentRow};

#[cfg(test)]
mod tests;

/// The member of an answer to a time-out that says that the order was called off before, so that nothing was done.
pub(crate) const ALREADY: &str = "already";

/// Who asks for a change, by what call.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// The saga's id; empty where no saga asks.
    pub saga: &'a str,
    /// The step's name.
    pub step: &'a str,
    /// The operation called.
    pub operation: Operation,
    /// What the call is to its step.
    pub op: CallOp,
    /// The time, in unix milliseconds.
    pub now: i64,
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
    /// From when on it may be called off unpaid, in unix milliseconds.
    pub pay_deadline: Option<i64>,
    /// The payment it was paid by, where that was one of a payment service.
    pub payment: Option<String>,
    /// The token it was placed with; only on its way into the database.
    pub token: Option<String>,
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
    /// How many are in refunds that are begun.
    pub refunding: i64,
    /// How many have left.
    pub shipped: i64,
}

/// What of the database a batch may meet, beside the orders.
#[derive(Debug, Default)]
pub struct Known {
    /// Refunds by their number.
    pub refunds: Vec<RefundRow>,
    /// Numbers of shipments that are taken.
    pub shipments: BTreeSet<String>,
    /// Tokens that are used, each with its customer and the number of its order.
    pub tokens: BTreeMap<(String, String), String>,
}

/// The orders of a batch.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<OrderNo, Entry>,
    events: Vec<Event>,
    refunds: BTreeMap<String, RefundRow>,
    shipments: Vec<ShipmentRow>,
    shipment_numbers: BTreeSet<String>,
    tokens: BTreeMap<(String, String), String>,
    timed_out: Vec<OrderNo>,
}

#[derive(Debug)]
struct Entry {
    order: Order,
    /// State and version in the database; `None` for an order that is not there yet.
    stored: Option<(State, i64)>,
    /// SKUs whose stored lines changed.
    lines_changed: BTreeSet<i64>,
}

impl Cause<'_> {
    fn compensating(&self) -> bool {
        self.op == CallOp::Compensation
    }
}

impl Order {
    /// What the answer to every operation says.
    fn view(&self) -> Value {
        let mut view = json!({
            "order": self.number, "state": self.state, "total_minor": self.amount, "currency": self.currency,
            "refunded_minor": self.refunded,
        });
        if let (State::Created | State::Reserved, Some(deadline)) = (self.state, self.pay_deadline) {
            view["pay_by"] = json!(Time(Timestamp(deadline)));
        }
        if let Some(payment) = &self.payment {
            view["payment"] = json!(payment);
        }
        view
    }
}

impl OrderLine {
    fn open(&self) -> i64 {
        self.qty - self.refunded - self.refunding - self.shipped
    }
}

impl Book {
    /// Opens a book on these orders as they are stored, and on what else the batch may meet.
    pub fn new(orders: impl IntoIterator<Item = Order>, known: Known) -> Book {
        let entry = |order: Order| {
            let stored = Some((order.state, order.version));
            (order.number.clone(), Entry { order, stored, lines_changed: BTreeSet::new() })
        };
        let Known { refunds, shipments, tokens } = known;
        Book {
            entries: orders.into_iter().map(entry).collect(),
            refunds: refunds.into_iter().map(|refund| (refund.number().to_owned(), refund)).collect(),
            shipment_numbers: shipments,
            tokens,
            ..Book::default()
        }
    }

    /// Decides one command and, if it takes effect, enters it.
    pub fn decide(&mut self, cause: &Cause<'_>, command: &Command) -> Verdict {
        match command {
            Command::Create(placement) => self.create(cause, placement),
            Command::Reserve(order) => self.change(cause, order, Change::Reserve, None),
            Command::Pay(paid) => self.pay(cause, paid),
            Command::Ship(shipment) => self.ship(cause, shipment),
            Command::Complete(order) => self.change(cause, order, Change::Complete, None),
            Command::Refund(refund) => self.refund(cause, refund),
            Command::RefundBegin(refund) => self.refund_begin(cause, refund),
            Command::RefundEnd(end) => self.refund_end(cause, end),
            Command::Cancel(cancel) => self.cancel(cause, cancel),
            Command::TimeOut(order) => self.time_out(cause, order),
        }
    }

    fn create(&mut self, cause: &Cause<'_>, placement: &Placement) -> Verdict {
        if let Some(entry) = self.entries.get(&placement.order) {
            return refused(&entry.order, format!("order {:?} exists already", placement.order.as_str()));
        }
        let pay_deadline = placement.pay_deadline(cause.now);
        if let Some(deadline) = pay_deadline.filter(|deadline| *deadline <= cause.now) {
            return too_late(&placement.order, deadline);
        }
        if let (Some(token), Some(customer)) = (&placement.token, &placement.customer) {
            match self.tokens.entry((customer.clone(), token.clone())) {
                Slot::Occupied(taken) => return used(taken.get()),
                Slot::Vacant(free) => free.insert(placement.order.as_str().to_owned()),
            };
        }
        let line = |line: &crate::command::Line| {
            (line.sku, OrderLine { qty: line.qty, price: line.price, refunded: 0, refunding: 0, shipped: 0 })
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
            pay_deadline,
            payment: None,
            token: placement.token.clone(),
            lines: placement.lines.iter().map(line).collect(),
        };
        self.events.push(Event::new(cause, &order, None, None));
        let done = Verdict::Done(order.view());
        let entry = Entry { order, stored: None, lines_changed: BTreeSet::new() };
        self.entries.insert(placement.order.clone(), entry);
        done
    }

    fn pay(&mut self, cause: &Cause<'_>, paid: &Paid) -> Verdict {
        let Some(entry) = self.entries.get_mut(&paid.order) else { return missing(&paid.order) };
        let order = &mut entry.order;
        if let Some(amount) = paid.amount.filter(|amount| *amount != order.amount) {
            let (number, total, currency) = (paid.order.as_str(), order.amount, order.currency);
            let why = format!("order {number:?} comes to {total} {currency} in minor units, not {amount}");
            return refused(order, why);
        }
        if order.state.after(Change::Pay).is_some() {
            order.payment.clone_from(&paid.payment);
        }
        self.change(cause, &paid.order, Change::Pay, None)
    }

    fn cancel(&mut self, cause: &Cause<'_>, cancel: &Cancel) -> Verdict {
        let number = &cancel.order;
        match self.entries.get(number) {
            Some(entry) if cancel.unpaid && entry.order.state == State::Refunded => {
                return conflict(cause, &entry.order);
            }
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
            None => self.change(cause, number, Change::Cancel, cancel.reason.clone()),
        }
    }

    /// Of payment and time-out one wins: both leave from created or reserved, and neither goes back there.
    fn time_out(&mut self, cause: &Cause<'_>, number: &OrderNo) -> Verdict {
        let Some(order) = self.entries.get(number).map(|entry| &entry.order) else { return missing(number) };
        match (order.state, order.pay_deadline) {
            (State::Cancelled, _) => {
                let mut view = order.view();
                view[ALREADY] = json!(true);
                return Verdict::Done(view);
            }
            (State::Created | State::Reserved, Some(deadline)) if deadline > cause.now => {
                return refused(order, format!("order {:?} may still be paid for", number.as_str()));
            }
            _ => {}
        }
        let verdict = self.change(cause, number, Change::TimeOut, Some("nobody paid in time".to_owned()));
        if cause.saga.is_empty() && matches!(verdict, Verdict::Done(_)) {
            self.timed_out.push(number.clone());
        }
        verdict
    }

    /// The answer to a compensation whose order already stands where it would bring it.
    fn undone(&self, cause: &Cause<'_>, number: &OrderNo, states: &[State]) -> Option<Verdict> {
        let order = &self.entries.get(number)?.order;
        (cause.compensating() && states.contains(&order.state)).then(|| Verdict::Done(order.view()))
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
        self.events.push(Event::new(cause, &entry.order, Some(from), note));
        Verdict::Done(entry.order.view())
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

    /// The refunds that are new, ascending by number.
    pub fn refunds(&self) -> impl Iterator<Item = &RefundRow> {
        self.refunds.values().filter(|refund| refund.is_new())
    }

    /// The stored refunds that ended, ascending by number.
    pub fn refunds_ended(&self) -> impl Iterator<Item = &RefundRow> {
        self.refunds.values().filter(|refund| refund.has_ended())
    }

    /// The shipments to insert.
    pub fn shipments(&self) -> &[ShipmentRow] {
        &self.shipments
    }

    /// The orders that were called off because nobody paid in time, without a saga that gives their goods back.
    pub fn timed_out(&self) -> &[OrderNo] {
        &self.timed_out
    }
}

fn missing(number: &OrderNo) -> Verdict {
    let why = format!("there is no order {:?}", number.as_str());
    Verdict::Refused { why, details: json!({ "order": number }) }
}

/// An order that nobody could pay for any more is not placed: its goods are as good as released.
fn too_late(number: &OrderNo, deadline: i64) -> Verdict {
    let pay_by = Time(Timestamp(deadline));
    let why = format!("order {:?} was to be paid by {pay_by}, which has passed", number.as_str());
    Verdict::Refused { why, details: json!({ "order": number, "pay_by": pay_by }) }
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

fn used(order: &str) -> Verdict {
    let why = format!("the token was used for order {order:?}");
    Verdict::Refused { why, details: json!({ "order": order, "token": "used" }) }
}
