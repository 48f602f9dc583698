//! What customers look at beside their carts: goods in the catalogue, and what of other carts could be had.
//!
//! Every look is due at its own moment, and one that goes unanswered because somebody was killed is sent again; its
//! latency counts from when it was due. A quote asks the inventory itself, so where the catalogue was looked at for one
//! of the same SKUs just before, the two can be compared: that is how often what is shown is what there is.

use super::{drive::Load, plan::Look};
use crate::{client::Client, replay::patience::keep_at, shop::Shown};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// What the inventory says of a cart.
#[derive(Debug, Deserialize)]
struct Quote {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    sku: i64,
    available: i64,
}

/// The services that are looked at.
#[derive(Debug)]
pub(super) struct Windows {
    product: Client,
    inventory: Client,
}

impl Windows {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When the system gives no HTTP client.
    pub(super) fn new(urls: &crate::shop::ShopUrls) -> anyhow::Result<Windows> {
        let product = Client::new(urls.product.clone(), None)?;
        Ok(Windows { product, inventory: Client::new(urls.inventory.clone(), None)? })
    }
}

impl Load {
    /// Looks at whatever the customer of an arrival looks at, each when it is due.
    pub(super) async fn browse(&self, index: u64, due: Instant) {
        let looks = self.plan.looks(index).into_iter().map(|look| self.look(look, due));
        futures::future::join_all(looks).await;
    }

    async fn look(&self, look: Look, due: Instant) {
        let (Look::Read(after, _) | Look::Quote(after, _)) = look;
        let due = due + after;
        tokio::time::sleep_until(due).await;
        let answered = match look {
            Look::Read(_, sku) => self.shown(sku, Some(due)).await.map(drop),
            Look::Quote(_, cart) => self.quote(&cart.json(), cart.lines[0].0, due).await,
        };
        if let Err(error) = answered {
            tracing::warn!(%error, "a customer's look was never answered");
            self.tally.unanswered.one_more();
        }
    }

    /// What the catalogue shows of a SKU's stock.
    async fn shown(&self, sku: i64, due: Option<Instant>) -> anyhow::Result<Option<i64>> {
        let address = format!("/products/{sku}");
        let shown: Shown = keep_at(self.until(), || self.windows.product.get(&address, &[])).await?;
        if let Some(due) = due {
            self.tally.reading.add(due.elapsed());
        }
        Ok(shown.availability.map(|told| told.usable))
    }

    /// Asks what of a cart could be had, and compares what the catalogue shows of one of its SKUs.
    async fn quote(&self, lines: &serde_json::Value, sku: i64, due: Instant) -> anyhow::Result<()> {
        let body = json!({ "lines": lines });
        let quote = || self.windows.inventory.post::<Quote>("/stock/quote", &body);
        let (_, quote) = keep_at(self.until(), quote).await?;
        self.tally.quoting.add(due.elapsed());
        let shown = self.shown(sku, None).await?.unwrap_or(0);
        let available = quote.lines.iter().find(|line| line.sku == sku).map_or(0, |line| line.available);
        self.tally.compared.one_more();
        if shown == available {
            self.tally.agreed.one_more();
        }
        Ok(())
    }
}
