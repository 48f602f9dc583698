//! What the shop has to show for the file when all is at rest: the books, and one number to compare runs by.
//!
//! The books are those of [`crate::books`] and two checks that only a replay can make, because it knows the file: of
//! every SKU, what was there plus what came back is what is usable plus what is ordered; and every cart has its order
//! exactly when its saga completed, line by line.

use super::{
    read::{Cart, Event, Orders, Sku},
    run::{End, Ended, Stock},
};
use crate::{
    books::{self, Books, Check, Ledgers, VIOLATIONS_MAX, Verdict},
    shop::Order,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// A replay's file, what became of it, and what the databases say.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    orders: &'a Orders,
    ended: BTreeMap<usize, &'a End>,
    stock: Stock,
    ledgers: &'a Ledgers,
    /// Orders that stand, by invoice.
    standing: BTreeMap<&'a str, Vec<&'a Order>>,
    /// Whether the shop has orders of others.
    is_shared: bool,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        run: &'a str,
        stock: Stock,
        orders: &'a Orders,
        ended: &'a [Ended],
        ledgers: &'a Ledgers,
    ) -> Ledger<'a> {
        let mut standing: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
        let own: BTreeSet<i64> = orders.goods.keys().map(|sku| sku.get()).collect();
        let mut is_shared = ledgers.stock.iter().any(|stock| !own.contains(&stock.sku));
        for order in &ledgers.orders {
            match invoice_of(run, &order.order) {
                None => is_shared = true,
                Some(_) if !stands(order) => {}
                Some(invoice) => standing.entry(invoice).or_default().push(order),
            }
        }
        let ended = ended.iter().map(|ended| (ended.index, &ended.end)).collect();
        Ledger { orders, ended, stock, ledgers, standing, is_shared }
    }

    /// Checks the books.
    pub(super) fn books(&self) -> Books {
        let brought = self.brought();
        // In a shop with goods of others nobody can say what is to be there in all.
        let expected = (!self.is_shared).then_some(&brought);
        let mut books = books::compare(self.ledgers, expected);
        books.checks.push(self.stock_is_accounted_for(&brought));
        books.checks.push(self.carts_have_their_orders());
        if books.checks.iter().any(|check| !check.kept) {
            books.verdict = Verdict::Unbalanced;
        }
        books
    }

    /// SHA-256 over every cart with the state and lines of its order (or `none`), ascending, and over what is usable
    /// of every SKU of the file, ascending; lower-case hex. Names of runs and sagas are not part of it.
    pub(super) fn digest(&self) -> String {
        let mut lines: Vec<String> = self.carts().map(|(_, cart)| self.order_line(cart)).collect();
        lines.sort_unstable();
        let usable: BTreeMap<i64, i64> =
            self.ledgers.stock.iter().map(|stock| (stock.sku, stock.usable)).collect();
        let stock = self
            .orders
            .goods
            .keys()
            .map(|sku| format!("stock {sku} {}\n", usable.get(&sku.get()).copied().unwrap_or_default()));
        let mut hasher = Sha256::new();
        lines.into_iter().chain(stock).for_each(|line| hasher.update(line));
        hex(&hasher.finalize())
    }

    fn order_line(&self, cart: &Cart) -> String {
        let mut text = format!("order {}", cart.invoice);
        match self.standing.get(cart.invoice.as_str()).map(Vec::as_slice) {
            None | Some([]) => text.push_str(" none"),
            Some(orders) => {
                for order in orders {
                    let _ = write!(text, " {} {}", order.state, order.total_minor);
                    for (sku, qty) in lines_of(order) {
                        let _ = write!(text, " {sku}x{qty}");
                    }
                }
            }
        }
        text.push('\n');
        text
    }

    fn carts(&self) -> impl Iterator<Item = (&'a End, &'a Cart)> {
        let of = |(index, end): (&usize, &&'a End)| match self.orders.events.get(*index) {
            Some(Event::Cart(cart)) => Some((*end, cart)),
            _ => None,
        };
        self.ended.iter().filter_map(of)
    }

    /// What was brought in for this replay, by SKU: before the first cart and by cancellations.
    fn brought(&self) -> BTreeMap<i64, i64> {
        let first = |(sku, of): (&Sku, &super::read::Goods)| (sku.get(), self.stock.of(of.ordered));
        let mut brought: BTreeMap<i64, i64> = self.orders.goods.iter().map(first).collect();
        for (index, end) in &self.ended {
            if let (End::Returned, Some(Event::Return(back))) = (end, self.orders.events.get(*index)) {
                back.lines.iter().for_each(|(sku, qty)| *brought.entry(sku.get()).or_default() += qty);
            }
        }
        brought.retain(|_, pieces| *pieces > 0);
        brought
    }

    fn stock_is_accounted_for(&self, brought: &BTreeMap<i64, i64>) -> Check {
        let law = "of every SKU of the file, there at first + brought back = usable + ordered";
        let mut check = new_check("stock_is_accounted_for", law);
        let mut ordered: BTreeMap<i64, i64> = BTreeMap::new();
        for order in self.ledgers.orders.iter().filter(|order| stands(order)) {
            order
                .lines
                .iter()
                .for_each(|line| *ordered.entry(line.sku).or_default() += line.qty - line.refunded);
        }
        let stock: BTreeMap<i64, _> = self.ledgers.stock.iter().map(|stock| (stock.sku, stock)).collect();
        for sku in self.orders.goods.keys().map(|sku| sku.get()) {
            let of = |pieces: &BTreeMap<i64, i64>| pieces.get(&sku).copied().unwrap_or_default();
            let (brought, ordered) = (of(brought), of(&ordered));
            let (usable, inbound) = stock.get(&sku).map_or((0, 0), |stock| (stock.usable, stock.inbound));
            let fits =
                usable + ordered == inbound && brought <= inbound && (self.is_shared || brought == inbound);
            note(&mut check, (!fits).then(|| {
                format!("sku {sku}: {brought} brought in by the replay, {inbound} in all, {usable} usable, {ordered} ordered")
            }));
        }
        check
    }

    fn carts_have_their_orders(&self) -> Check {
        let law = "a cart has one order with its lines when its saga completed, and none otherwise";
        let mut check = new_check("carts_have_their_orders", law);
        for (end, cart) in self.carts() {
            let standing = self.standing.get(cart.invoice.as_str()).map(Vec::as_slice).unwrap_or_default();
            let wrong = match (end, standing) {
                (End::Completed, [order]) => differs(cart, order),
                (End::Completed, orders) => {
                    Some(format!("its saga completed, and it has {} orders", orders.len()))
                }
                (End::Compensated(_), []) => None,
                (End::Compensated(_), [order, ..]) => {
                    Some(format!("its saga was undone, but {} stands", order.order))
                }
                (End::Returned | End::Failed(_), _) => None,
            };
            note(&mut check, wrong.map(|why| format!("invoice {}: {why}", cart.invoice)));
        }
        check
    }
}

/// The invoice of an order number of this run.
fn invoice_of<'a>(run: &str, order: &'a str) -> Option<&'a str> {
    let rest = order.strip_prefix(run)?.strip_prefix('-')?;
    rest.split('-').next().filter(|invoice| invoice.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether an order still has its goods.
fn stands(order: &Order) -> bool {
    !matches!(order.state.as_str(), "cancelled" | "refunded")
}

fn lines_of(order: &Order) -> BTreeMap<i64, i64> {
    order.lines.iter().map(|line| (line.sku, line.qty - line.refunded)).collect()
}

fn differs(cart: &Cart, order: &Order) -> Option<String> {
    let wanted: BTreeMap<i64, i64> = cart.lines.iter().map(|line| (line.sku.get(), line.qty)).collect();
    let total: i64 = cart.lines.iter().map(|line| line.qty * line.price_minor).sum();
    let ordered = lines_of(order);
    if order.state != "paid" && order.state != "part_refunded" && order.state != "shipped" {
        return Some(format!("its saga completed, but {} is {}", order.order, order.state));
    }
    let wrong = ordered != wanted || order.total_minor != total;
    wrong.then(|| {
        format!(
            "it wants {wanted:?} for {total}, and {} has {ordered:?} for {}",
            order.order, order.total_minor
        )
    })
}

fn new_check(name: &'static str, law: &'static str) -> Check {
    Check { name, law, kept: true, looked_at: 0, violations: Vec::new() }
}

fn note(check: &mut Check, wrong: Option<String>) {
    check.looked_at += 1;
    if let Some(wrong) = wrong {
        check.kept = false;
        if check.violations.len() < VIOLATIONS_MAX {
            check.violations.push(wrong);
        }
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
