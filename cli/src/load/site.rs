//! What is put under load: a coordinator and a shop, and how the load prepares them.

use super::{catalogue::Catalogue, definitions::Definitions, plan::Plan, watch::Telling};
use crate::{
    client::Client,
    replay::patience::keep_at,
    settings::BaseUrl,
    shop::{Item, Shop, ShopUrls},
};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
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

/// What prices are in.
pub(super) const CURRENCY: &str = "EUR";

/// Goods in one load of the catalogue or one delivery, at most.
const GOODS: usize = 1_000;

/// Loads and deliveries that are under way at a time.
const AT_A_TIME: usize = 4;

/// Where the load goes.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) coordinator: Client,
    pub(super) urls: ShopUrls,
    /// How customers of ordinary sales pay.
    pub(super) pays: Payment,
    /// Where the payment service answers, where there is one.
    pub(super) payments: Option<BaseUrl>,
    /// What is run.
    pub(super) definitions: Definitions,
    /// How long an order may wait for its payment.
    pub(super) hold: Duration,
    /// How long somebody who does not answer is asked again.
    pub(super) patience: Duration,
}

impl Site {
    /// How an order is paid: a flash sale's always through the payment service.
    pub(super) fn payment(&self, flash: bool) -> Payment {
        if flash { Payment::Provider } else { self.pays }
    }

    /// The definition that places an order.
    pub(super) fn placing(&self, flash: bool) -> &str {
        if flash { &self.definitions.sale } else { &self.definitions.checkout }
    }

    /// The definition that refunds an order.
    pub(super) fn refund(&self, flash: bool) -> &'static str {
        match self.payment(flash) {
            Payment::Signal => "refund",
            Payment::Provider => "refund-in-parts",
        }
    }

    /// The definition by which a refund is asked for that is bound to be refused: where there is a payment service, one
    /// whose first step can be called off, so that a no is a no although an answer before it was lost.
    pub(super) fn late_refund(&self) -> &'static str {
        if self.payments.is_some() { "refund-in-parts" } else { "refund" }
    }

    /// Registers the definitions, fills the catalogue and brings the goods in. Doing so again changes nothing.
    ///
    /// # Errors
    /// When somebody does not answer, or says no.
    pub(super) async fn prepare(&self, run: &str, plan: &Plan, telling: &mut Telling) -> anyhow::Result<()> {
        for (name, text) in &self.definitions.texts {
            let until = Instant::now() + self.patience;
            let register = || self.coordinator.register::<serde_json::Value>(name, 1, text.clone());
            keep_at(until, register)
                .await
                .with_context(|| format!("the definition {name}@1 cannot be registered"))?;
        }
        self.fill(run, plan, telling).await
    }

    /// Fills the catalogue and brings the goods in, thousand by thousand, some at a time.
    async fn fill(&self, run: &str, plan: &Plan, telling: &mut Telling) -> anyhow::Result<()> {
        let shop = Shop::new(self.urls.clone())?;
        let shop = &shop;
        let all = plan.catalogue().all();
        let chunks = (1..=all).step_by(GOODS).map(|first| {
            let skus = first..=all.min(first + GOODS as i64 - 1);
            async move {
                let stock: BTreeMap<i64, i64> = skus
                    .clone()
                    .map(|sku| (sku, plan.stock(sku)))
                    .filter(|(_, pieces)| *pieces > 0)
                    .collect();
                let items: Vec<Item> = skus.clone().map(|sku| item(plan.catalogue(), sku)).collect();
                let number = format!("{run}-stock-{}", (first - 1) / GOODS as i64);
                tokio::try_join!(shop.load(&items), async {
                    if stock.is_empty() { Ok(()) } else { shop.replenish(&number, &stock).await }
                })?;
                anyhow::Ok(skus.count())
            }
        });
        let mut filling = stream::iter(chunks).buffered(AT_A_TIME);
        let mut brought_in = 0;
        while let Some(skus) = filling.try_next().await? {
            brought_in += skus;
            telling.tell(&format!("{brought_in} of {all} SKUs brought in"));
        }
        Ok(())
    }
}

fn item(catalogue: &Catalogue, sku: i64) -> Item {
    Item {
        sku,
        name: format!("item {sku}"),
        price_minor: catalogue.price_minor(sku),
        currency: CURRENCY.to_owned(),
    }
}
