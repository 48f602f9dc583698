//! What is checked when all is at rest: the shop's own books, and what only the load can say because it knows what it
//! asked for.
//!
//! The first are those of [`crate::books`], over the sagas that place orders. The second compare what every customer
//! was told with what coordinator, orders and stock have to show.

use super::{
    definitions::{charges, places},
    drive::{End, Load, Told},
    evidence::Evidence,
    plan::Fate,
};
use crate::{
    books::{self, Books, Check, Ledgers, VIOLATIONS_MAX, Verdict},
    shop::{Order, Payment, SetAside, Shown, Stock},
};
use amends_saga::{SagaId, Status};
use amends_wire::api::SagaView;
use std::collections::BTreeMap;

mod sale;
mod shipping;

pub(super) use shipping::parcels;

/// How much longer than its time a hold may live, in milliseconds.
const GRACE_MS: f64 = 60_000.0;

/// What was seen of the shop's own laws while the load ran: what broke, and how often they were asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    pub(super) asked: usize,
    pub(super) broken: Vec<String>,
}

/// Checks everything.
pub(super) fn check(load: &Load, told: &[Told], evidence: Evidence, watched: &Watched) -> Books {
    let Evidence { mut ledgers, payments, shown, sale, own } = evidence;
    let shown = shown.map(|shown| availability(&shown, &ledgers.stock));
    if let Some(sale) = &sale {
        add(&mut ledgers.stock, &sale.left);
    }
    let plan = &load.plan;
    let expected = own.then(|| {
        let stock = (1..=plan.catalogue().all()).map(|sku| (sku, plan.stock(sku)));
        stock.filter(|(_, pieces)| *pieces > 0).collect()
    });
    let mut books = compare(&mut ledgers, expected.as_ref());
    let seen = Seen::of(load, told, &ledgers);
    books.checks.retain(|check| check.name != "every_saga_has_ended");
    books.checks.extend([
        seen.nothing_is_forgotten(),
        seen.every_saga_has_ended(),
        seen.one_cart_one_saga(),
        seen.customers_were_told_the_truth(),
        seen.who_does_not_pay_gets_nothing(),
        seen.no_hold_outlives_its_time(),
        seen.orders_cost_what_their_carts_do(),
        seen.refunds_are_what_was_asked_for(),
        seen.what_was_sent_has_left(),
        seen.after_shipping_nothing_comes_back(),
        looks_are_answered(load),
        laws_kept_throughout(watched),
    ]);
    books.checks.extend(shown);
    books.checks.extend(payments.map(|payments| money(&payments, &seen)));
    books.checks.extend(sale.iter().flat_map(|sale| sale::laws(sale, told, &ledgers.set_aside, own)));
    if books.checks.iter().any(|check| !check.kept) {
        books.verdict = Verdict::Unbalanced;
    }
    books
}

/// Compares the databases over those sagas only that place orders: the others work on orders that are there.
fn compare(ledgers: &mut Ledgers, expected: Option<&BTreeMap<i64, i64>>) -> Books {
    let sagas = std::mem::take(&mut ledgers.sagas);
    let (placing, others) = sagas.into_iter().partition(|saga| places(saga.definition.as_str()));
    ledgers.sagas = placing;
    let books = books::compare(ledgers, expected);
    ledgers.sagas.extend(others);
    books
}

/// Adds an activity's stock to the ordinary stock of the same SKUs.
fn add(stock: &mut [Stock], activity: &[Stock]) {
    for special in activity {
        for ordinary in stock.iter_mut().filter(|stock| stock.sku == special.sku) {
            ordinary.usable += special.usable;
            ordinary.held += special.held;
            ordinary.shipped += special.shipped;
            ordinary.inbound += special.inbound;
        }
    }
}

/// Whether the catalogue shows what there is.
fn availability(shown: &[Shown], stock: &[Stock]) -> Check {
    let law = "of every SKU, the catalogue shows as many as the inventory has for sale";
    let mut check = new_check("availability_agrees", law);
    let stock: BTreeMap<i64, i64> = stock.iter().map(|stock| (stock.sku, stock.for_sale())).collect();
    for shown in shown {
        let (shows, has) =
            (shown.availability.map(|told| told.usable), stock.get(&shown.sku).copied().unwrap_or(0));
        let differs = shows.unwrap_or(0) != has;
        note(&mut check, differs.then(|| format!("sku {}: shows {shows:?}, there are {has}", shown.sku)));
    }
    check
}

/// Whether the payments are those of the orders that are paid through the payment service.
fn money(payments: &[Payment], seen: &Seen<'_>) -> Check {
    let law = "of every order, what was paid and not given back is what its lines come to less its refunds";
    let mut check = new_check("payments_are_those_of_the_orders", law);
    let mut paid: BTreeMap<&str, i64> = BTreeMap::new();
    for payment in payments {
        // What is pending, void or declined is no money; what was given back is counted off.
        let came_in = matches!(payment.state.as_str(), "paid" | "part_refunded" | "refunded");
        let net = if came_in { payment.amount_minor - payment.refunded_minor } else { 0 };
        *paid.entry(&payment.order).or_default() += net;
    }
    for order in seen.orders.values().filter(|order| seen.is_charged(order)) {
        let is_unpaid = matches!(order.state.as_str(), "created" | "reserved" | "cancelled");
        let due = if is_unpaid { 0 } else { order.total_minor - order.refunded_minor };
        let paid = paid.remove(order.order.as_str()).unwrap_or(0);
        let differs = paid != due;
        note(&mut check, differs.then(|| format!("order {}: {due} due, {paid} paid", order.order)));
    }
    for (order, paid) in paid.into_iter().filter(|(_, paid)| *paid != 0) {
        note(&mut check, Some(format!("order {order}: {paid} paid, and there is no such order")));
    }
    check
}

fn looks_are_answered(load: &Load) -> Check {
    let law = "every look at the catalogue and every question to the inventory was answered";
    let mut check = new_check("looks_are_answered", law);
    let tally = &load.tally;
    let unanswered = tally.unanswered.now();
    note(
        &mut check,
        (unanswered > 0).then(|| format!("{unanswered} were not, however often they were sent")),
    );
    check.looked_at = tally.reading.count() + tally.quoting.count();
    check
}

fn laws_kept_throughout(watched: &Watched) -> Check {
    let law = "each database kept its own laws whenever it was asked during the run";
    let mut check = new_check("laws_kept_throughout", law);
    check.looked_at = watched.asked;
    check.kept = watched.broken.is_empty();
    check.violations = watched.broken.iter().take(VIOLATIONS_MAX).cloned().collect();
    check
}

/// What the customers say, beside what the databases say.
struct Seen<'a> {
    load: &'a Load,
    told: &'a [Told],
    sagas: BTreeMap<SagaId, &'a SagaView>,
    orders: BTreeMap<&'a str, &'a Order>,
    set_aside: BTreeMap<&'a str, &'a SetAside>,
}

impl<'a> Seen<'a> {
    fn of(load: &'a Load, told: &'a [Told], ledgers: &'a Ledgers) -> Seen<'a> {
        let sagas = ledgers.sagas.iter().map(|saga| (saga.id, saga)).collect();
        let orders = ledgers.orders.iter().map(|order| (order.order.as_str(), order)).collect();
        let set_aside = ledgers.set_aside.iter().map(|order| (order.order.as_str(), order)).collect();
        Seen { load, told, sagas, orders, set_aside }
    }

    /// Whether an order is paid through the payment service.
    fn is_charged(&self, order: &Order) -> bool {
        let placed_by = order.saga.parse().ok().and_then(|id: SagaId| self.sagas.get(&id));
        placed_by.is_some_and(|saga| charges(saga.definition.as_str()))
    }

    /// Checks every cart that `concerns` picks.
    fn each(
        &self,
        name: &'static str,
        law: &'static str,
        concerns: impl Fn(&Told) -> bool,
        wrong: impl Fn(&Told) -> Option<String>,
    ) -> Check {
        let mut check = new_check(name, law);
        for told in self.told.iter().filter(|told| concerns(told)) {
            note(&mut check, wrong(told).map(|why| format!("order {}: {why}", told.order)));
        }
        check
    }

    fn saga(&self, told: &Told) -> Option<&'a SagaView> {
        self.sagas.get(&told.saga?).copied()
    }

    fn completed(&self, told: &Told) -> bool {
        self.saga(told).is_some_and(|saga| saga.status == Status::Completed)
    }

    fn nothing_is_forgotten(&self) -> Check {
        let law = "every cart was acknowledged, and the coordinator has the saga it was acknowledged with";
        self.each(
            "nothing_is_forgotten",
            law,
            |_| true,
            |told| match (&told.end, told.saga) {
                (End::Lost(why), _) => Some(why.clone()),
                (_, None) => Some("it was never acknowledged".to_owned()),
                (_, Some(id)) => (!self.sagas.contains_key(&id))
                    .then(|| format!("saga {id} was acknowledged and is not there")),
            },
        )
    }

    fn every_saga_has_ended(&self) -> Check {
        let law = "every saga is completed or undone; none is under way or waits for repair";
        let mut check = new_check("every_saga_has_ended", law);
        for saga in self.sagas.values() {
            let ended = matches!(saga.status, Status::Completed | Status::Compensated);
            let word = crate::saga::status_word(saga.status);
            note(&mut check, (!ended).then(|| format!("saga {} ({}) is {word}", saga.id, saga.definition)));
        }
        check
    }

    fn one_cart_one_saga(&self) -> Check {
        let law = "a cart that is submitted twice is one saga";
        self.each(
            "one_cart_one_saga",
            law,
            |told| told.again.is_some(),
            |told| (told.again != told.saga).then(|| format!("{:?} and {:?}", told.saga, told.again)),
        )
    }

    fn customers_were_told_the_truth(&self) -> Check {
        let law = "what a customer was told of the end of their cart is how it ended";
        let is_told = |told: &Told| matches!(told.end, End::Completed | End::Compensated(_));
        self.each("customers_were_told_the_truth", law, is_told, |told| {
            let says = told.end == End::Completed;
            (says != self.completed(told)).then(|| format!("its customer was told {:?}", told.end))
        })
    }

    fn who_does_not_pay_gets_nothing(&self) -> Check {
        let law = "an order that is cancelled or never paid is not completed";
        let is_unpaid = |told: &Told| matches!(told.arrival.fate, Fate::Leaves | Fate::Cancels(_));
        self.each("who_does_not_pay_gets_nothing", law, is_unpaid, |told| {
            self.completed(told).then(|| format!("its customer {:?}, and it completed", told.arrival.fate))
        })
    }

    /// Looked at while the load ran: at rest there is no hold left that could be late.
    fn no_hold_outlives_its_time(&self) -> Check {
        let law = "no hold that nobody paid for lives longer than a minute past its time";
        let seen = self.load.tally.overdue.spread();
        let late = (seen.max_ms > GRACE_MS).then(|| format!("one was {:.1} s past it", seen.max_ms / 1000.0));
        let mut check = new_check("no_hold_outlives_its_time", law);
        note(&mut check, late);
        check.looked_at = seen.count;
        check
    }

    fn orders_cost_what_their_carts_do(&self) -> Check {
        let law = "a completed cart's order has its pieces, and costs their prices in the catalogue";
        let mut check = self.each(
            "orders_cost_what_their_carts_do",
            law,
            |told| self.completed(told),
            |told| {
                let Some(order) = self.orders.get(told.order.as_str()) else {
                    return Some("there is no order".to_owned());
                };
                let mut ordered: BTreeMap<i64, i64> = BTreeMap::new();
                order.lines.iter().for_each(|line| *ordered.entry(line.sku).or_default() += line.qty);
                let wanted = told.arrival.cart.pieces();
                let total = told.arrival.cart.total_minor(self.load.plan.catalogue());
                let differs = ordered != wanted || order.total_minor != total;
                differs.then(|| {
                    format!("wanted {wanted:?} for {total}, got {ordered:?} for {}", order.total_minor)
                })
            },
        );
        check.looked_at = check.looked_at.max(1);
        check
    }

    fn refunds_are_what_was_asked_for(&self) -> Check {
        let law = "of an order, the pieces and the money that came back are those of its completed refunds";
        self.each(
            "refunds_are_what_was_asked_for",
            law,
            |told| self.completed(told),
            |told| {
                let order = self.orders.get(told.order.as_str())?;
                let mut asked: BTreeMap<i64, i64> = BTreeMap::new();
                for refund in told.after.refunds.iter().chain(&told.after.regret) {
                    let view = self.sagas.get(&refund.saga);
                    let completed = view.is_some_and(|saga| saga.status == Status::Completed);
                    if completed != refund.is_done() {
                        return Some(format!("refund {} was told {:?}", refund.saga, refund.end));
                    }
                    let part = refund.part.iter().filter(|_| completed);
                    part.for_each(|(sku, pieces)| *asked.entry(*sku).or_default() += pieces);
                }
                let mut back: BTreeMap<i64, i64> = BTreeMap::new();
                order.lines.iter().for_each(|line| *back.entry(line.sku).or_default() += line.refunded);
                back.retain(|_, pieces| *pieces != 0);
                let catalogue = self.load.plan.catalogue();
                let money: i64 = asked.iter().map(|(sku, pieces)| catalogue.price_minor(*sku) * pieces).sum();
                let differs = back != asked || order.refunded_minor != money;
                differs.then(|| {
                    format!("asked {asked:?} for {money}, got {back:?} for {}", order.refunded_minor)
                })
            },
        )
    }
}

/// How many refunds of goods that had not left were begun, and how many were done.
pub(super) fn refunds(told: &[Told]) -> (usize, usize) {
    let all = || told.iter().flat_map(|told| &told.after.refunds);
    (all().count(), all().filter(|refund| refund.is_done()).count())
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

#[cfg(test)]
mod tests;
