//! Lines gathered into invoices: carts that are ordered, cancellations that bring goods back.
//!
//! Lines of one invoice need not stand together. Lines of one SKU are merged; an order has one price for a SKU, so a
//! line that says another is left out. An invoice that no order can hold is left out as a whole, line by line.

use super::{Reason, Reject, Sku, price::MINOR_MAX, row::Row};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The most lines of a cart, after merging.
pub const LINES_MAX: usize = 1000;

/// The most pieces of one SKU in a cart.
pub const QTY_MAX: i64 = 1_000_000;

/// The longest name in the catalogue, in characters.
const NAME_CHARS_MAX: usize = 200;

/// What the file says happened, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody orders.
    Cart(Cart),
    /// Goods come back.
    Return(Return),
}

/// An invoice that takes goods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// Its number.
    pub invoice: String,
    /// Whose it is; nothing for a guest.
    pub customer: Option<String>,
    /// At least one, each SKU once, ascending.
    pub lines: Vec<Line>,
}

/// One SKU of a cart, as a saga's input has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The SKU.
    pub sku: Sku,
    /// Pieces, 1 to [`QTY_MAX`].
    pub qty: i64,
    /// The price of one, in minor units.
    pub price_minor: i64,
}

/// An invoice that brings goods back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// Its number, with its `C`.
    pub invoice: String,
    /// At least one pair of SKU and pieces, ascending.
    pub lines: Vec<(Sku, i64)>,
}

/// What the file says of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goods {
    /// The first name it is given; its code when it is given none.
    pub name: String,
    /// The first price above 0 it is sold at; 0 when there is none.
    pub price_minor: i64,
    /// Pieces in all carts.
    pub ordered: i64,
    /// Pieces in all cancellations.
    pub returned: i64,
}

/// Invoices while the file is read.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    invoices: Vec<Invoice>,
    by_number: HashMap<String, usize>,
    names: BTreeMap<Sku, String>,
}

#[derive(Debug)]
struct Invoice {
    number: String,
    customer: Option<String>,
    is_return: bool,
    lines: BTreeMap<Sku, (i64, i64)>,
    rows: Vec<(u64, String)>,
}

impl Gathering {
    /// Adds a line to its invoice, or says why it does not belong to it.
    pub(super) fn add(&mut self, row: Row) -> Option<Reject> {
        let at = match self.by_number.get(&row.invoice) {
            Some(at) => *at,
            None => self.open(&row),
        };
        let invoice = &mut self.invoices[at];
        let line = invoice.lines.entry(row.sku).or_insert((0, row.price_minor));
        if line.1 != row.price_minor && !invoice.is_return {
            let detail =
                format!("price {} where an earlier line says {}, in minor units", row.price_minor, line.1);
            let (line, reason) = (row.line, Reason::PriceDiffers);
            return Some(Reject { line, invoice: row.invoice, stock_code: row.stock_code, reason, detail });
        }
        line.0 = line.0.saturating_add(row.qty);
        invoice.rows.push((row.line, row.stock_code));
        if invoice.customer.is_none() {
            invoice.customer = row.customer;
        }
        let name: String =
            row.name.chars().filter(|letter| !letter.is_control()).take(NAME_CHARS_MAX).collect();
        if !name.trim().is_empty() {
            self.names.entry(row.sku).or_insert_with(|| name.trim().to_owned());
        }
        None
    }

    fn open(&mut self, row: &Row) -> usize {
        self.invoices.push(Invoice {
            number: row.invoice.clone(),
            customer: row.customer.clone(),
            is_return: row.is_return(),
            lines: BTreeMap::new(),
            rows: Vec::new(),
        });
        let at = self.invoices.len() - 1;
        self.by_number.insert(row.invoice.clone(), at);
        at
    }

    /// The invoices in the order they began, what they are about, and the lines of those that no order can hold.
    pub(super) fn finish(mut self) -> (Vec<Event>, BTreeMap<Sku, Goods>, Vec<Reject>) {
        let (mut events, mut goods, mut rejects) = (Vec::new(), BTreeMap::new(), Vec::new());
        for invoice in std::mem::take(&mut self.invoices) {
            match invoice.fault() {
                Some((reason, detail)) => rejects.extend(invoice.rejects(reason, &detail)),
                None => {
                    invoice.count(&mut goods);
                    events.push(invoice.event());
                }
            }
        }
        for (sku, of) in &mut goods {
            of.name = self.names.remove(sku).unwrap_or_else(|| sku.code());
        }
        (events, goods, rejects)
    }
}

impl Invoice {
    /// Why no order can hold it.
    fn fault(&self) -> Option<(Reason, String)> {
        if self.lines.len() > LINES_MAX {
            let detail =
                format!("the invoice has {} lines; an order has at most {LINES_MAX}", self.lines.len());
            return Some((Reason::TooManyLines, detail));
        }
        if let Some((sku, (qty, _))) = self.lines.iter().find(|(_, (qty, _))| *qty > QTY_MAX) {
            let detail = format!("the invoice has {qty} of {}; an order has at most {QTY_MAX}", sku.code());
            return Some((Reason::QuantityTooLarge, detail));
        }
        let total: i128 = self.lines.values().map(|(qty, price)| i128::from(*qty) * i128::from(*price)).sum();
        if !self.is_return && total > i128::from(MINOR_MAX) {
            let detail = format!("the invoice comes to {total} minor units; an order to at most {MINOR_MAX}");
            return Some((Reason::AmountTooLarge, detail));
        }
        None
    }

    fn rejects(self, reason: Reason, detail: &str) -> impl Iterator<Item = Reject> {
        let (invoice, detail) = (self.number, detail.to_owned());
        self.rows.into_iter().map(move |(line, stock_code)| Reject {
            line,
            invoice: invoice.clone(),
            stock_code,
            reason,
            detail: detail.clone(),
        })
    }

    fn count(&self, goods: &mut BTreeMap<Sku, Goods>) {
        for (sku, (qty, price_minor)) in &self.lines {
            let of = goods.entry(*sku).or_default();
            if self.is_return {
                of.returned += qty;
            } else {
                of.ordered += qty;
                if of.price_minor == 0 {
                    of.price_minor = *price_minor;
                }
            }
        }
    }

    fn event(self) -> Event {
        if self.is_return {
            let lines = self.lines.into_iter().map(|(sku, (qty, _))| (sku, qty));
            return Event::Return(Return { invoice: self.number, lines: lines.collect() });
        }
        let lines = self.lines.into_iter().map(|(sku, (qty, price_minor))| Line { sku, qty, price_minor });
        Event::Cart(Cart { invoice: self.number, customer: self.customer, lines: lines.collect() })
    }
}
