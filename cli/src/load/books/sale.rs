//! The laws of a flash sale: it sells what was set apart and nothing else, and nobody gets more than a share.

use super::{new_check, note};
use crate::{
    books::Check,
    load::{
        drive::{End, Told},
        sale::SaleEnd,
    },
    shop::{SetAside, Stock},
};
use std::collections::{BTreeMap, BTreeSet};

/// The three laws; that ordinary stock is untouched can be said only where nobody else sells from it.
pub(super) fn laws(end: &SaleEnd, told: &[Told], set_aside: &[SetAside], own: bool) -> Vec<Check> {
    let mut checks =
        vec![sells_what_was_set_apart(end, told, set_aside), nobody_above_the_limit(end, told, set_aside)];
    if own {
        checks.push(ordinary_stock_is_untouched(end));
    }
    checks
}

fn sells_what_was_set_apart(end: &SaleEnd, told: &[Told], set_aside: &[SetAside]) -> Check {
    let law = "of each SKU of the flash sale, what its orders have and what went back is what was set apart";
    let mut check = new_check("a_sale_sells_what_was_set_apart", law);
    let orders: BTreeSet<&str> =
        told.iter().filter(|told| told.arrival.flash).map(|told| told.order.as_str()).collect();
    let mut taken: BTreeMap<i64, i64> = BTreeMap::new();
    for order in set_aside.iter().filter(|order| orders.contains(order.order.as_str())) {
        for line in &order.lines {
            *taken.entry(line.sku).or_default() += line.held + line.confirmed + line.shipped;
        }
    }
    let left: BTreeMap<i64, &Stock> = end.left.iter().map(|stock| (stock.sku, stock)).collect();
    for (sku, apart) in &end.sale.set_apart {
        let of = |pieces: &BTreeMap<i64, i64>| pieces.get(sku).copied().unwrap_or(0);
        let (taken, back) = (of(&taken), of(&end.put_back));
        let (unsold, gone) = left.get(sku).map_or((0, 0), |stock| (stock.usable, stock.held + stock.shipped));
        let wrong = taken > *apart || taken + back != *apart || gone != taken || unsold != 0;
        note(&mut check, wrong.then(|| {
            format!(
                "sku {sku}: {apart} set apart, orders have {taken} and the activity says {gone}, {back} went back, {unsold} are left"
            )
        }));
    }
    check
}

fn nobody_above_the_limit(end: &SaleEnd, told: &[Told], set_aside: &[SetAside]) -> Check {
    let has =
        |order: &SetAside| order.lines.iter().map(|line| line.held + line.confirmed + line.shipped).sum();
    let has: BTreeMap<&str, i64> = set_aside.iter().map(|order| (order.order.as_str(), has(order))).collect();
    let law = "no customer has more of the flash sale than the limit, and each as many as are counted";
    let mut check = new_check("no_customer_above_the_limit", law);
    let mut bought: BTreeMap<String, i64> = BTreeMap::new();
    for told in told.iter().filter(|told| told.arrival.flash) {
        let pieces: i64 = match told.end {
            End::Completed => told.arrival.cart.pieces().values().sum(),
            End::Compensated(_) | End::Left => 0,
            // Its customer lost patience and does not know.
            End::Lost(_) => has.get(told.order.as_str()).copied().unwrap_or(0),
        };
        *bought.entry(told.arrival.customer()).or_default() += pieces;
    }
    for (customer, bought) in bought {
        let counted = end.counted.get(&customer).copied().unwrap_or(0);
        let wrong = bought > end.sale.limit || counted != bought;
        let limit = end.sale.limit;
        note(
            &mut check,
            wrong.then(|| format!("{customer}: bought {bought} of {limit}, {counted} are counted")),
        );
    }
    check
}

fn ordinary_stock_is_untouched(end: &SaleEnd) -> Check {
    let law = "the flash sale takes nothing from the ordinary stock of its SKUs, and gives back only what is unsold";
    let mut check = new_check("a_sale_leaves_ordinary_stock_alone", law);
    let before: BTreeMap<i64, &Stock> = end.sale.ordinary.iter().map(|stock| (stock.sku, stock)).collect();
    for stock in &end.ordinary {
        let had = before.get(&stock.sku).map_or(Stock::default(), |stock| **stock);
        let back = end.put_back.get(&stock.sku).copied().unwrap_or(0);
        let (usable, inbound) = (had.usable + back, had.inbound + back);
        let expected = Stock { sku: stock.sku, usable, inbound, available: stock.available, ..had };
        let differs = *stock != expected;
        note(&mut check, differs.then(|| format!("expected {expected:?}, there is {stock:?}")));
    }
    check
}
