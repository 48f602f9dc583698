//! What is put under load: a coordinator and a shop, and how the load prepares them.

use super::{catalogue::Catalogue, plan::Plan};
use crate::{
    client::Client,
    replay::patience::keep_at,
    settings::BaseUrl,
    shop::{Item, Shop, ShopUrls},
};
use amends_wire::span::Span;
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How customers pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Payment {
    /// They send the signal that checkout.yaml waits for
    Signal,
    /// Through the payment service, which answers at once, later, twice, or never, with place-and-pay.yaml
    Provider,
}

/// The sagas that are run: to place an order, to refund one, and what the order service starts for those that nobody
/// pays for; all as they are shipped.
const CHECKOUT: &str = include_str!("../../../sagas/checkout.yaml");
const REFUND: &str = include_str!("../../../sagas/refund.yaml");
const PLACE_AND_PAY: &str = include_str!("../../../sagas/place-and-pay.yaml");
const REFUND_IN_PARTS: &str = include_str!("../../../sagas/refund-in-parts.yaml");
const TIME_OUT: &str = include_str!("../../../sagas/time-out.yaml");

/// How long the shipped checkout waits for a payment.
pub(super) const HOLD: Span = Span::from_secs(15 * 60);

/// What prices are in.
pub(super) const CURRENCY: &str = "EUR";

/// Goods in one load of the catalogue or one delivery, at most.
const GOODS: usize = 1_000;

/// Where the load goes.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) coordinator: Client,
    pub(super) urls: ShopUrls,
    /// Where the payment service answers, when customers pay through it.
    pub(super) payments: Option<BaseUrl>,
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
pub(super) fn checkout(payment: Payment, hold: Span) -> anyhow::Result<(String, String)> {
    let (name, text) = match payment {
        Payment::Signal => ("checkout", CHECKOUT),
        Payment::Provider => ("place-and-pay", PLACE_AND_PAY),
    };
    if hold == HOLD {
        return Ok((name.to_owned(), text.to_owned()));
    }
    if hold > HOLD || hold.millis().0 < 1_000 {
        bail!("an order waits for its payment from 1s to {HOLD}, not {hold}; choose another --hold");
    }
    let seconds = hold.millis().0.div_ceil(1_000);
    let changed = match payment {
        Payment::Signal => vec![(format!("timeout: {HOLD}\n"), format!("timeout: {hold}\n"))],
        Payment::Provider => vec![
            (format!("within: {HOLD}\n"), format!("within: {hold}\n")),
            ("pay_within_s: 900\n".to_owned(), format!("pay_within_s: {seconds}\n")),
        ],
    };
    let own = format!("{name}-{hold}");
    let mut text = text.replacen(&format!("saga: {name}\n"), &format!("saga: {own}\n"), 1);
    for (shipped, wanted) in changed {
        if !text.contains(&shipped) {
            bail!("the shipped {name} does not say \"{}\"; leave out --hold", shipped.trim());
        }
        text = text.replacen(&shipped, &wanted, 1);
    }
    Ok((own, text))
}

impl Site {
    /// How customers pay.
    pub(super) fn payment(&self) -> Payment {
        if self.payments.is_some() { Payment::Provider } else { Payment::Signal }
    }

    /// The refund's definition.
    pub(super) fn refund(&self) -> &'static str {
        match self.payment() {
            Payment::Signal => "refund",
            Payment::Provider => "refund-in-parts",
        }
    }

    /// Registers the definitions, fills the catalogue and brings the goods in. Doing so again changes nothing.
    pub(super) async fn prepare(
        &self,
        hold: Span,
        run: &str,
        plan: &Plan,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let (name, text) = checkout(self.payment(), hold)?;
        let shipped = [("refund", REFUND), ("refund-in-parts", REFUND_IN_PARTS), ("time-out", TIME_OUT)];
        for (name, text) in [(name.as_str(), text.as_str())].into_iter().chain(shipped) {
            if name == "refund-in-parts" && self.payments.is_none() {
                continue;
            }
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
        for (payment, shipped, own) in [
            (Payment::Signal, "checkout", "checkout-20s"),
            (Payment::Provider, "place-and-pay", "place-and-pay-20s"),
        ] {
            assert_eq!(checkout(payment, HOLD).expect("the shipped one").0, shipped);
            let (name, text) = checkout(payment, Span::from_secs(20)).expect("a shorter one");
            assert_eq!(name, own);
            assert!(!text.contains(": 15m\n") && !text.contains(": 900\n"), "{text}");
            let read = Text::read(&text);
            assert!(read.is_ok(), "{read:?}");
            assert!(checkout(payment, Span::from_secs(3600)).is_err());
        }
    }
}
