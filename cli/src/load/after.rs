//! What becomes of an order that is paid: shipped, refunded, or asked back when it is too late.

use super::{
    carts::lines_json,
    drive::{End, Parcel, Refund, Visit},
    plan::Part,
};
use serde_json::{Value, json};
use tokio::time::Instant;

impl Visit<'_> {
    /// Wants money back, part by part, each when the one before it is done.
    pub(super) async fn refund(&self, parts: &[Part]) -> anyhow::Result<Vec<Refund>> {
        let mut refunds = Vec::new();
        for (number, part) in (1..).zip(parts) {
            refunds.push(self.refund_part(self.load.site.refund(self.arrival.flash), number, part).await?);
        }
        Ok(refunds)
    }

    async fn refund_part(&self, definition: &str, number: usize, part: &Part) -> anyhow::Result<Refund> {
        let due = Instant::now();
        let refund = format!("{}-R{number}", self.order);
        let input = self.part(part, "refund", &refund);
        let saga = self.start(definition, &refund, &input).await?;
        let end = self.load.follow(saga).await?.end();
        if end == End::Completed {
            self.load.tally.refunding.add(due.elapsed());
        }
        Ok(Refund { saga, part: part.clone(), end })
    }

    /// Has the order sent out, parcel by parcel.
    pub(super) async fn ship(&self, parts: &[Part]) -> anyhow::Result<Vec<Parcel>> {
        let mut parcels = Vec::new();
        for (number, part) in (1..).zip(parts) {
            let due = Instant::now();
            let shipment = format!("{}-S{number}", self.order);
            let input = self.part(part, "shipment", &shipment);
            let saga = self.start("ship-parts", &shipment, &input).await?;
            let done = self.load.follow(saga).await?.end() == End::Completed;
            if done {
                self.load.tally.shipping.add(due.elapsed());
            }
            parcels.push(Parcel { saga, part: part.clone(), done });
        }
        Ok(parcels)
    }

    /// Wants the money for all of it back when all of it has left.
    pub(super) async fn regret(&self) -> anyhow::Result<Refund> {
        let all: Part = self.arrival.cart.pieces().into_iter().collect();
        self.refund_part(self.load.site.late_refund(), 1, &all).await
    }

    fn part(&self, part: &Part, kind: &str, number: &str) -> Value {
        json!({ "order": self.order, kind: number, "lines": lines_json(part) })
    }
}
