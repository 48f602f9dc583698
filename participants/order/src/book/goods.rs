//! Which goods leave and which are given back: shipments and refunds, in one go, in parts and in several steps.
//!
//! The law of a line: refunded + refunding + shipped never exceeds what was ordered. A refund that is begun sets its
//! pieces aside; ending it turns them into refunded ones, calling it off makes them open again.

use serde_json::{Value, json};

use super::rows::{RefundRow, RefundState, ShipmentRow};
use super::{Book, Cause, Entry, Order, OrderLine, Verdict, conflict, missing, refused};
use crate::command::{OrderNo, Part, Refund, RefundEnd, Shipment, number_or};
use crate::money::Minor;
use crate::state::{Change, State};

impl Book {
    pub(super) fn ship(&mut self, cause: &Cause<'_>, shipment: &Shipment) -> Verdict {
        let (parts, rest) =
            match self.choose(cause, &shipment.order, Change::ShipRest, shipment.parts.as_deref()) {
                Ok(chosen) => chosen,
                Err(verdict) => return verdict,
            };
        let number = number_or(shipment.number.as_ref(), cause.saga, cause.step);
        let Some(entry) = self.entries.get_mut(&shipment.order) else { return missing(&shipment.order) };
        if !self.shipment_numbers.insert(number.clone()) {
            return refused(&entry.order, format!("shipment {number:?} has left already"));
        }
        entry.each(&parts, |line, qty| line.shipped += qty);
        let lines = json!(parts);
        self.shipments.push(ShipmentRow {
            ship_no: number.clone(),
            order_no: shipment.order.clone(),
            saga: cause.saga.to_owned(),
            step: cause.step.to_owned(),
            parts,
        });
        let change = if rest { Change::ShipRest } else { Change::ShipPart };
        let verdict = with(self.change(cause, &shipment.order, change, None), "shipment", json!(number));
        with(verdict, "lines", lines)
    }

    /// Gives money back in one go.
    pub(super) fn refund(&mut self, cause: &Cause<'_>, refund: &Refund) -> Verdict {
        if let Some(done) = self.undone(cause, &refund.order, &[State::Refunded, State::Cancelled]) {
            return done;
        }
        let number = number_or(refund.number.as_ref(), cause.saga, cause.step);
        let (amount, rest) =
            match self.set_aside(cause, refund, &number, (Change::RefundRest, RefundState::Done)) {
                Ok(set_aside) => set_aside,
                Err(verdict) => return verdict,
            };
        let change = if rest { Change::RefundRest } else { Change::RefundPart };
        let verdict = self.change(cause, &refund.order, change, refund.reason.clone());
        with(verdict, "refund", self.told(&number, amount))
    }

    /// Sets the pieces of a refund aside until it ends.
    ///
    /// One for all that is left is refused while another is under way: nobody knows yet what that leaves.
    pub(super) fn refund_begin(&mut self, cause: &Cause<'_>, refund: &Refund) -> Verdict {
        let entry = self.entries.get(&refund.order).filter(|_| refund.parts.is_none());
        if let Some(entry) = entry.filter(|entry| entry.order.state == State::Refunding) {
            return conflict(cause, &entry.order);
        }
        let number = refund.number.clone().unwrap_or_else(|| cause.saga.to_owned());
        let wanted = (Change::RefundBegin, RefundState::Begun);
        let (amount, _) = match self.set_aside(cause, refund, &number, wanted) {
            Ok(set_aside) => set_aside,
            Err(verdict) => return verdict,
        };
        let verdict = self.change(cause, &refund.order, Change::RefundBegin, refund.reason.clone());
        with(verdict, "refund", self.told(&number, amount))
    }

    /// What an answer says of a refund: its pieces as well, so that whoever moves the goods moves these and no others.
    fn told(&self, number: &str, amount: Minor) -> Value {
        let parts = self.refunds.get(number).map(|row| json!(row.parts()));
        json!({ "refund": number, "amount_minor": amount, "lines": parts })
    }

    /// Ends a refund that was begun: what it set aside is refunded now, or open again.
    pub(super) fn refund_end(&mut self, cause: &Cause<'_>, end: &RefundEnd) -> Verdict {
        let number = end.number.clone().unwrap_or_else(|| cause.saga.to_owned());
        let Some(entry) = self.entries.get_mut(&end.order) else { return missing(&end.order) };
        let refund = self.refunds.get_mut(&number).filter(|refund| refund.order_no == end.order);
        let Some(refund) = refund else {
            return refused(&entry.order, format!("order {:?} has no refund {number:?}", end.order.as_str()));
        };
        match refund.state {
            RefundState::Begun => {}
            RefundState::CalledOff if cause.compensating() && !end.done => {
                return Verdict::Done(entry.order.view());
            }
            RefundState::CalledOff | RefundState::Done => {
                let why = format!("refund {number:?} has ended already: {}", refund.state.as_str());
                return refused(&entry.order, why);
            }
        }
        refund.state = if end.done { RefundState::Done } else { RefundState::CalledOff };
        let (amount, state) = (refund.amount_minor, refund.state);
        entry.each(&refund.parts, |line, qty| {
            line.refunding -= qty;
            line.refunded += if end.done { qty } else { 0 };
        });
        entry.order.refunded = entry.order.refunded_by_lines();
        let change = entry.order.after_a_refund();
        let verdict = self.change(cause, &end.order, change, None);
        with(verdict, "refund", json!({ "refund": number, "amount_minor": amount, "state": state }))
    }

    /// Takes a refund's pieces from what is open and enters the refund. Says how much it is, and whether it is all that
    /// was left.
    fn set_aside(
        &mut self,
        cause: &Cause<'_>,
        refund: &Refund,
        number: &str,
        (change, state): (Change, RefundState),
    ) -> Result<(Minor, bool), Verdict> {
        let (parts, rest) = self.choose(cause, &refund.order, change, refund.parts.as_deref())?;
        self.whole_or_named(refund)?;
        self.goes_back_where_it_was_paid(cause, refund)?;
        let Some(entry) = self.entries.get_mut(&refund.order) else { return Err(missing(&refund.order)) };
        if self.refunds.contains_key(number) {
            return Err(refused(&entry.order, format!("refund {number:?} was made already")));
        }
        let amount = entry.order.price_of(&parts);
        entry.each(&parts, |line, qty| match state {
            RefundState::Begun => line.refunding += qty,
            RefundState::Done => line.refunded += qty,
            RefundState::CalledOff => {}
        });
        entry.order.refunded = entry.order.refunded_by_lines();
        let row = RefundRow {
            refund_no: number.to_owned(),
            order_no: refund.order.clone(),
            state,
            amount_minor: amount,
            reason: refund.reason.clone(),
            saga: cause.saga.to_owned(),
            step: cause.step.to_owned(),
            parts,
            stored: None,
        };
        self.refunds.insert(number.to_owned(), row);
        Ok((amount, rest))
    }

    /// Refuses a refund of all that is left where some has left: whoever asks for that wants the order undone, which it
    /// cannot be any more. What is still here comes back line by line.
    fn whole_or_named(&self, refund: &Refund) -> Result<(), Verdict> {
        let order = self.entries.get(&refund.order).map(|entry| &entry.order);
        match order.filter(|order| refund.parts.is_none() && order.has_shipped()) {
            Some(order) => {
                let number = refund.order.as_str();
                let why = format!("some of order {number:?} has left: name the lines that are to come back");
                Err(refused(order, why))
            }
            None => Ok(()),
        }
    }

    /// Refuses a refund by whoever would give the money back elsewhere than where it is. A payment that is undone is made
    /// good by the saga that made it, step by step.
    fn goes_back_where_it_was_paid(&self, cause: &Cause<'_>, refund: &Refund) -> Result<(), Verdict> {
        let Some(entry) = self.entries.get(&refund.order) else { return Err(missing(&refund.order)) };
        let number = refund.order.as_str();
        let why = match &entry.order.payment {
            _ if cause.compensating() => return Ok(()),
            Some(payment) if !refund.payment_service => format!(
                "order {number:?} was paid by payment {payment:?} of the payment service, and its money goes back there"
            ),
            None if refund.payment_service => {
                format!(
                    "order {number:?} was not paid through the payment service, which has nothing to give back"
                )
            }
            Some(_) | None => return Ok(()),
        };
        Err(refused(&entry.order, why))
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
        if open.is_empty() {
            return Err(refused(order, format!("order {:?} has nothing open", number.as_str())));
        }
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
}

impl Order {
    /// What is neither refunded, nor in a refund that is begun, nor shipped yet.
    fn open(&self) -> Vec<Part> {
        self.lines
            .iter()
            .map(|(sku, line)| Part { sku: *sku, qty: line.open() })
            .filter(|part| part.qty > 0)
            .collect()
    }

    /// The money that stands for the refunded goods. It fits: it is no more than the lines come to.
    fn refunded_by_lines(&self) -> Minor {
        let of = |line: &OrderLine| line.price.times(line.refunded).unwrap_or_default();
        self.lines.values().fold(Minor::default(), |sum, line| sum.plus(of(line)).unwrap_or(sum))
    }

    /// What these goods of it cost. It fits for the same reason.
    fn price_of(&self, parts: &[Part]) -> Minor {
        let of = |part: &Part| self.lines.get(&part.sku)?.price.times(part.qty);
        parts.iter().filter_map(of).fold(Minor::default(), |sum, price| sum.plus(price).unwrap_or(sum))
    }

    /// Whether some of it has left.
    fn has_shipped(&self) -> bool {
        self.lines.values().any(|line| line.shipped > 0)
    }

    /// Where the end of a refund leads.
    fn after_a_refund(&self) -> Change {
        let lines = || self.lines.values();
        if lines().any(|line| line.refunding > 0) {
            Change::RefundsGoOn
        } else if self.has_shipped() && lines().any(|line| line.open() > 0) {
            Change::RefundsEndPartShipped
        } else if self.has_shipped() {
            Change::RefundsEndShipped
        } else if lines().all(|line| line.refunded == 0) {
            Change::RefundsEndInNone
        } else if lines().all(|line| line.refunded == line.qty) {
            Change::RefundsEndInAll
        } else {
            Change::RefundsEndInPart
        }
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

/// Adds a member to the answer of what took effect.
fn with(verdict: Verdict, member: &str, value: Value) -> Verdict {
    match verdict {
        Verdict::Done(mut view) => {
            view[member] = value;
            Verdict::Done(view)
        }
        refused @ Verdict::Refused { .. } => refused,
    }
}
