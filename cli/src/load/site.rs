//! What is put under load: a coordinator and a shop, and how the load prepares them.

use super::{catalogue::Catalogue, plan::Plan};
use crate::{
    client::Client,
    replay::patience::keep_at,
    shop::{Item, Shop, ShopUrls},
};
use amends_wire::span::Span;
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The checkout that is run, and the refund; both as they are shipped.
const CHECKOUT: &str = include_str!("../../../sagas/checkout.yaml");
const REFUND: &str = include_str!("../../../sagas/refund.yaml");

/// How long the shipped checkout waits for a payment.
pub(super) const HOLD: Span = Span::from_secs(15 * 60);

/// What prices are in.
pub(super) const CURRENCY: &str = "EUR";

/// Goods in one load of the catalogue or one delivery, at most.
const GOODS: usize = 1_000;

/// The name of the refund's definition.
pub(super) const REFUND_NAME: &str = "refund";

/// Where the load goes.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) coordinator: Client,
    pub(super) urls: ShopUrls,
    /// The checkout's definition.
    pub(super) checkout: String,
    /// How long an order may wait for its payment.
    pub(super) hold: Duration,
    /// How long somebody who does not answer is asked again.
    pub(super) patience: Duration,
}

/// The checkout's name and text when orders wait for their payment so long.
///
/// Another time is another definition, because a definition never changes.
///
/// # Errors
/// When the time is longer than the shipped one, for the saga's own deadline follows close behind that.
pub(super) fn checkout(hold: Span) -> anyhow::Result<(String, String)> {
    if hold == HOLD {
        return Ok(("checkout".to_owned(), CHECKOUT.to_owned()));
    }
    if hold > HOLD || hold.millis().0 < 100 {
        bail!("an order waits for its payment from 100ms to {HOLD}, not {hold}; choose another --hold");
    }
    let name = format!("checkout-{hold}");
    let text = CHECKOUT.replacen("saga: checkout\n", &format!("saga: {name}\n"), 1);
    let changed = text.replacen(&format!("timeout: {HOLD}\n"), &format!("timeout: {hold}\n"), 1);
    if changed == text || !changed.contains(&format!("saga: {name}\n")) {
        bail!("the shipped checkout has no payment that waits {HOLD}; leave out --hold");
    }
    Ok((name, changed))
}

impl Site {
    /// Registers the definitions, fills the catalogue and brings the goods in. Doing so again changes nothing.
    pub(super) async fn prepare(
        &self,
        hold: Span,
        run: &str,
        plan: &Plan,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let (name, text) = checkout(hold)?;
        for (name, text) in [(name.as_str(), text.as_str()), (REFUND_NAME, REFUND)] {
            let until = Instant::now() + self.patience;
            let register = || self.coordinator.register::<serde_json::Value>(name, 1, text.to_owned());
            keep_at(until, register)
                .await
                .with_context(|| format!("the definition {name}@1 cannot be registered"))?;
        }
        let shop = Shop::new(self.urls.clone())?;
        let catalogue = plan.catalogue();
        let skus: Vec<i64> = catalogue.skus().collect();
        for (number, skus) in skus.chunks(GOODS).enumerate() {
            shop.load(&items(catalogue, skus)).await?;
            let stock: BTreeMap<i64, i64> = stock(catalogue, skus.iter().copied());
            if !stock.is_empty() {
                shop.replenish(&format!("{run}-stock-{number}"), &stock).await?;
            }
            bar.set_message(format!(
                "{} of {} SKUs brought in",
                number * GOODS + skus.len(),
                catalogue.skus().count()
            ));
        }
        Ok(())
    }
}

fn items(catalogue: &Catalogue, skus: &[i64]) -> Vec<Item> {
    let item = |sku: &i64| Item {
        sku: *sku,
        name: format!("item {sku}"),
        price_minor: catalogue.price_minor(*sku),
        currency: CURRENCY.to_owned(),
    };
    skus.iter().map(item).collect()
}

/// How much of these is brought in; SKUs of which there is none are left out.
pub(super) fn stock(catalogue: &Catalogue, skus: impl Iterator<Item = i64>) -> BTreeMap<i64, i64> {
    skus.map(|sku| (sku, catalogue.stock(sku))).filter(|(_, pieces)| *pieces > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::definition::Text;

    #[test]
    fn the_checkout_waits_as_long_as_it_is_told() {
        assert_eq!(checkout(HOLD).expect("the shipped one").0, "checkout");
        let (name, text) = checkout(Span::from_secs(20)).expect("a shorter one");
        assert_eq!(name, "checkout-20s");
        assert!(text.contains("timeout: 20s\n") && !text.contains("timeout: 15m\n"));
        let read = Text::read(&text);
        assert!(read.is_ok(), "{read:?}");
        assert!(checkout(Span::from_secs(3600)).is_err());
    }
}
