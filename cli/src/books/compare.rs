//! The comparison itself: a function of what was read.

use super::{Books, Check, Figures, Ledgers, VIOLATIONS_MAX, Verdict};
use crate::{
    saga::status_word,
    shop::{Order, SetAside, SetAsideLine},
};
use amends_saga::Status;
use amends_wire::api::SagaView;
use std::collections::{BTreeMap, BTreeSet};

/// Compares what the databases say.
pub fn compare(ledgers: &Ledgers, expected_stock: Option<&BTreeMap<i64, i64>>) -> Books {
    let by_order = ByOrder::of(ledgers);
    let mut checks = vec![
        audits_are_clean(ledgers),
        stock_is_conserved(ledgers),
        nothing_is_oversold(ledgers),
        every_saga_has_ended(ledgers),
        completed_means_paid(&by_order),
        compensated_means_nothing_left(&by_order),
        orders_agree_with_stock(&by_order),
        nothing_comes_from_nowhere(&by_order),
        everything_sold_is_in_the_catalogue(ledgers),
    ];
    if let Some(expected) = expected_stock {
        checks.insert(2, stock_is_what_came_in(ledgers, expected));
    }
    let balanced = checks.iter().all(|check| check.kept);
    let verdict = if balanced { Verdict::Balanced } else { Verdict::Unbalanced };
    Books { verdict, checks, figures: figures(ledgers) }
}

/// What the databases say about each order number.
struct ByOrder<'a> {
    orders: BTreeMap<&'a str, About<'a>>,
}

/// What the databases say about one order number.
#[derive(Default)]
struct About<'a> {
    /// Every saga whose input names it.
    sagas: Vec<&'a SagaView>,
    order: Option<&'a Order>,
    set_aside: Option<&'a SetAside>,
}

impl<'a> ByOrder<'a> {
    fn of(ledgers: &'a Ledgers) -> ByOrder<'a> {
        let mut orders: BTreeMap<&str, About<'_>> = BTreeMap::new();
        for saga in &ledgers.sagas {
            if let Some(order) = saga.input.get("order").and_then(|order| order.as_str()) {
                orders.entry(order).or_default().sagas.push(saga);
            }
        }
        for order in &ledgers.orders {
            orders.entry(&order.order).or_default().order = Some(order);
        }
        for set_aside in &ledgers.set_aside {
            orders.entry(&set_aside.order).or_default().set_aside = Some(set_aside);
        }
        ByOrder { orders }
    }

    /// Checks every order number that `concerns` picks.
    fn each(
        &self,
        name: &'static str,
        law: &'static str,
        concerns: impl Fn(&About<'_>) -> bool,
        wrong: impl Fn(&About<'_>) -> Option<String>,
    ) -> Check {
        let mut looking = Looking::at(name, law);
        for (number, about) in self.orders.iter().filter(|(_, about)| concerns(about)) {
            looking.note(wrong(about).map(|why| format!("order {number}: {why}")));
        }
        looking.done()
    }
}

impl About<'_> {
    fn completed(&self) -> Option<&SagaView> {
        self.sagas.iter().copied().find(|saga| saga.status == Status::Completed)
    }

    /// Whether every saga about it ended by being undone.
    fn only_compensated(&self) -> bool {
        !self.sagas.is_empty() && self.sagas.iter().all(|saga| saga.status == Status::Compensated)
    }

    fn settled(&self) -> bool {
        self.sagas.iter().all(|saga| matches!(saga.status, Status::Completed | Status::Compensated))
    }

    fn lines(&self) -> &[SetAsideLine] {
        self.set_aside.map(|set_aside| set_aside.lines.as_slice()).unwrap_or_default()
    }

    fn is_paid(&self) -> bool {
        let paid = ["paid", "part_shipped", "shipped", "done", "part_refunded", "refunded"];
        self.order.is_some_and(|order| paid.contains(&order.state.as_str()))
    }
}

/// A check under way.
struct Looking(Check);

impl Looking {
    fn at(name: &'static str, law: &'static str) -> Looking {
        Looking(Check { name, law, kept: true, looked_at: 0, violations: Vec::new() })
    }

    /// Notes that one more thing was looked at, and what is wrong with it.
    fn note(&mut self, wrong: Option<String>) {
        self.0.looked_at += 1;
        if let Some(wrong) = wrong {
            self.0.kept = false;
            if self.0.violations.len() < VIOLATIONS_MAX {
                self.0.violations.push(wrong);
            }
        }
    }

    fn done(self) -> Check {
        self.0
    }
}

fn audits_are_clean(ledgers: &Ledgers) -> Check {
    let mut looking = Looking::at("audits_are_clean", "each database keeps its own laws");
    for (participant, audit) in &ledgers.audits {
        for law in &audit.invariants {
            let wrong = (!law.kept).then(|| format!("{participant}: {}: {:?}", law.name, law.violations));
            looking.note(wrong);
        }
        if !audit.kept && audit.invariants.iter().all(|law| law.kept) {
            looking.note(Some(format!("{participant}: its audit says no without a reason")));
        }
    }
    looking.done()
}

fn stock_is_conserved(ledgers: &Ledgers) -> Check {
    let mut looking =
        Looking::at("stock_is_conserved", "of every SKU, on the shelf + set aside + shipped = came in");
    for stock in &ledgers.stock {
        let sum = stock.usable + stock.held + stock.shipped;
        let wrong = sum != stock.inbound || stock.usable < 0 || stock.held < 0 || stock.shipped < 0;
        looking.note(wrong.then(|| format!("sku {}: {stock:?}", stock.sku)));
    }
    looking.done()
}

fn stock_is_what_came_in(ledgers: &Ledgers, expected: &BTreeMap<i64, i64>) -> Check {
    let mut looking = Looking::at("stock_is_what_came_in", "of every SKU, as many came in as were sent");
    let found: BTreeMap<i64, i64> = ledgers.stock.iter().map(|stock| (stock.sku, stock.inbound)).collect();
    for sku in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
        let of = |stock: &BTreeMap<i64, i64>| stock.get(sku).copied().unwrap_or(0);
        let (found, expected) = (of(&found), of(expected));
        looking
            .note((found != expected).then(|| format!("sku {sku}: {expected} were sent, {found} came in")));
    }
    looking.done()
}

fn nothing_is_oversold(ledgers: &Ledgers) -> Check {
    let mut looking = Looking::at(
        "nothing_is_oversold",
        "orders have set aside what the stock says, and no more than came in",
    );
    let mut open: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for line in ledgers.set_aside.iter().flat_map(|set_aside| &set_aside.lines) {
        let sums = open.entry(line.sku).or_default();
        sums.0 += line.held + line.confirmed;
        sums.1 += line.shipped;
    }
    for stock in &ledgers.stock {
        let (held, shipped) = open.remove(&stock.sku).unwrap_or_default();
        let wrong = (held, shipped) != (stock.held, stock.shipped) || held + shipped > stock.inbound;
        looking.note(wrong.then(|| {
            format!(
                "sku {}: orders have {held} set aside and {shipped} shipped, the stock says {stock:?}",
                stock.sku
            )
        }));
    }
    for sku in open.keys() {
        looking.note(Some(format!("sku {sku}: orders have set it aside, but there is no stock of it")));
    }
    looking.done()
}

fn every_saga_has_ended(ledgers: &Ledgers) -> Check {
    let mut looking = Looking::at("every_saga_has_ended", "no saga is under way or waits for repair");
    for saga in &ledgers.sagas {
        let open = matches!(saga.status, Status::Running | Status::Compensating | Status::Repair);
        looking.note(open.then(|| format!("saga {} is {}", saga.id, status_word(saga.status))));
    }
    looking.done()
}

fn completed_means_paid(by_order: &ByOrder<'_>) -> Check {
    let wrong = |about: &About<'_>| {
        let Some(order) = about.order else {
            return Some("its saga completed, but there is no order".to_owned());
        };
        let completed: Vec<&&SagaView> =
            about.sagas.iter().filter(|saga| saga.status == Status::Completed).collect();
        if completed.len() > 1 {
            return Some(format!("{} sagas completed for it", completed.len()));
        }
        if !about.is_paid() {
            return Some(format!("its saga completed, but it is {}", order.state));
        }
        if about.completed().is_some_and(|saga| saga.id.to_string() != order.saga) {
            return Some(format!("it was placed by saga {}, but another one completed", order.saga));
        }
        let quoted = about.completed().and_then(|saga| saga.output.as_ref()?.get("total")?.as_i64());
        let differs = quoted.filter(|quoted| *quoted != order.total_minor);
        differs.map(|quoted| format!("it was quoted at {quoted} and placed at {}", order.total_minor))
    };
    let law = "a completed saga's order is placed by it, paid, and costs what was quoted";
    by_order.each("completed_means_paid", law, |about| about.completed().is_some(), wrong)
}

fn compensated_means_nothing_left(by_order: &ByOrder<'_>) -> Check {
    let wrong = |about: &About<'_>| {
        if let Some(order) =
            about.order.filter(|order| !matches!(order.state.as_str(), "cancelled" | "refunded"))
        {
            return Some(format!("its saga was compensated, but it is {}", order.state));
        }
        let left = about.lines().iter().find(|line| line.held + line.confirmed + line.shipped > 0);
        left.map(|line| format!("its saga was compensated, but it still has stock: {line:?}"))
    };
    let law = "a compensated saga's order is cancelled or was never placed, and all its stock is back";
    by_order.each("compensated_means_nothing_left", law, |about| about.only_compensated(), wrong)
}

fn orders_agree_with_stock(by_order: &ByOrder<'_>) -> Check {
    let wrong = |about: &About<'_>| {
        let mut ordered: BTreeMap<i64, i64> = BTreeMap::new();
        let order = about.order.filter(|order| order.state != "cancelled");
        for line in order.iter().flat_map(|order| &order.lines) {
            *ordered.entry(line.sku).or_default() += line.qty - line.refunded;
        }
        let mut kept: BTreeMap<i64, i64> = BTreeMap::new();
        for line in about.lines() {
            *kept.entry(line.sku).or_default() += line.confirmed + line.shipped;
        }
        let waiting: i64 = about.lines().iter().map(|line| line.held).sum();
        ordered.retain(|_, qty| *qty != 0);
        kept.retain(|_, qty| *qty != 0);
        if waiting != 0 {
            return Some(format!("{waiting} pieces are held for it although nothing is under way"));
        }
        (ordered != kept).then(|| format!("ordered {ordered:?}, set aside {kept:?} (sku: pieces)"))
    };
    let law = "for every settled order, what was ordered is what was taken from stock, SKU by SKU";
    by_order.each("orders_agree_with_stock", law, |about| about.settled(), wrong)
}

fn nothing_comes_from_nowhere(by_order: &ByOrder<'_>) -> Check {
    let wrong = |about: &About<'_>| {
        let unknown = about.sagas.is_empty();
        unknown.then(|| "it is in a database, but the coordinator knows no saga for it".to_owned())
    };
    let law = "every order in a database belongs to a saga of the coordinator";
    by_order.each("nothing_comes_from_nowhere", law, |_| true, wrong)
}

fn everything_sold_is_in_the_catalogue(ledgers: &Ledgers) -> Check {
    let mut looking =
        Looking::at("everything_sold_is_in_the_catalogue", "every SKU of an order is in the catalogue");
    let known: BTreeSet<i64> = ledgers.products.iter().map(|product| product.sku).collect();
    let ordered = ledgers.orders.iter().flat_map(|order| &order.lines).map(|line| line.sku);
    for sku in ordered.collect::<BTreeSet<_>>() {
        looking.note(
            (!known.contains(&sku)).then(|| format!("sku {sku} was sold, but is not in the catalogue")),
        );
    }
    looking.done()
}

fn figures(ledgers: &Ledgers) -> Figures {
    let mut figures = Figures::default();
    for stock in &ledgers.stock {
        figures.inbound += stock.inbound;
        figures.usable += stock.usable;
        figures.held += stock.held;
        figures.shipped += stock.shipped;
    }
    let lines = ledgers.set_aside.iter().flat_map(|set_aside| &set_aside.lines);
    figures.sold = lines.map(|line| line.confirmed + line.shipped).sum();
    for order in &ledgers.orders {
        *figures.orders.entry(order.state.clone()).or_default() += 1;
        if !matches!(order.state.as_str(), "created" | "reserved" | "cancelled") {
            *figures.paid_minor.entry(order.currency.clone()).or_default() +=
                order.total_minor - order.refunded_minor;
        }
    }
    for saga in &ledgers.sagas {
        *figures.sagas.entry(status_word(saga.status)).or_default() += 1;
    }
    figures
}
