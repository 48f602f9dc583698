//! The laws of shipping: what is sent out has left once, and after that nothing comes back.

use super::{Seen, new_check, note};
use crate::{
    books::Check,
    load::drive::{After, End, Told},
    shop::{Order, SetAside},
};
use amends_saga::Status;
use std::collections::BTreeMap;

impl Seen<'_> {
    /// What has left is what was sent, in the order's book and in the stock's.
    pub(super) fn what_was_sent_has_left(&self) -> Check {
        let law =
            "of an order, the pieces that have left are those of its completed shipments, in both books";
        self.each(
            "what_was_sent_has_left",
            law,
            |told| self.completed(told),
            |told| {
                let mut sent: BTreeMap<i64, i64> = BTreeMap::new();
                for parcel in &told.after.parcels {
                    let status = self.sagas.get(&parcel.saga).map(|saga| saga.status);
                    if (status == Some(Status::Completed)) != parcel.done {
                        return Some(format!("shipment {} was told done: {}", parcel.saga, parcel.done));
                    }
                    let part = parcel.part.iter().filter(|_| parcel.done);
                    part.for_each(|(sku, pieces)| *sent.entry(*sku).or_default() += pieces);
                }
                let order = self.orders.get(told.order.as_str()).copied();
                let stock = self.set_aside.get(told.order.as_str()).copied();
                let (ordered, taken) = (left_of_order(order), left_of_stock(stock));
                let differs = ordered != sent || taken != sent;
                differs.then(|| format!("sent {sent:?}, order: {ordered:?} left, stock: {taken:?} left"))
            },
        )
    }

    /// Who asks too late is told no, and neither goods nor money come back.
    pub(super) fn after_shipping_nothing_comes_back(&self) -> Check {
        let law = "who wants the money back after all has left is refused, and nothing comes back";
        let mut check = new_check("after_shipping_nothing_comes_back", law);
        for told in self.told {
            let After { regret: Some(regret), parcels, .. } = &told.after else { continue };
            let order = self.orders.get(told.order.as_str());
            let refunded = order.map_or(0, |order| order.refunded_minor);
            let stock = self.set_aside.get(told.order.as_str());
            let released: i64 = stock.iter().flat_map(|stock| &stock.lines).map(|line| line.released).sum();
            let was_refused =
                matches!(&regret.end, End::Compensated(reason) if reason.starts_with("refused"));
            let all_left = parcels.iter().all(|parcel| parcel.done);
            let wrong = !all_left || !was_refused || refunded != 0 || released != 0;
            note(&mut check, wrong.then(|| {
                format!(
                    "order {}: its customer was told {:?}; {refunded} of its money and {released} of its pieces are back",
                    told.order, regret.end
                )
            }));
        }
        check
    }
}

fn left_of_order(order: Option<&Order>) -> BTreeMap<i64, i64> {
    let mut left = BTreeMap::new();
    for line in order.iter().flat_map(|order| &order.lines) {
        *left.entry(line.sku).or_default() += line.shipped;
    }
    left.retain(|_, pieces| *pieces != 0);
    left
}

fn left_of_stock(stock: Option<&SetAside>) -> BTreeMap<i64, i64> {
    let lines = stock.iter().flat_map(|stock| &stock.lines);
    lines.filter(|line| line.shipped != 0).map(|line| (line.sku, line.shipped)).collect()
}

/// How many parcels were sent, how many of them left, and how many customers were told no afterwards.
pub(in crate::load) fn parcels(told: &[Told]) -> (usize, usize, usize) {
    let all = || told.iter().flat_map(|told| &told.after.parcels);
    let regrets = told.iter().filter_map(|told| told.after.regret.as_ref());
    (all().count(), all().filter(|parcel| parcel.done).count(), regrets.filter(|no| !no.is_done()).count())
}
