//! The flash sale: stock that is set apart for it with a limit for each customer, and what is unsold given back.
//!
//! Stock is moved by sagas, like everything else, so that a service that is killed meanwhile makes no difference.

use super::{drive::Load, plan::Flash, site::Site};
use crate::{
    client::{Client, Start},
    replay::patience::keep_at,
    shop::Stock,
};
use amends_saga::SagaId;
use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// How long stock may take to be set apart or to come back.
const MOVING_MAX: Duration = Duration::from_secs(30);

/// Questions after customers' shares that are under way at a time.
const AT_A_TIME: usize = 16;

/// Activities have numbers up to this.
const ACTIVITY_MAX: u64 = 1_000_000_000;

/// A flash sale under way.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    /// The activity's number.
    pub(super) activity: i64,
    /// How many pieces one customer may have.
    pub(super) limit: i64,
    /// Pieces of each SKU that were set apart.
    pub(super) set_apart: BTreeMap<i64, i64>,
    /// The ordinary stock of these SKUs when that was done.
    pub(super) ordinary: Vec<Stock>,
}

/// What is to be seen of a flash sale when all is at rest and the unsold has gone back.
#[derive(Debug, Clone)]
pub(super) struct SaleEnd {
    pub(super) sale: Sale,
    /// The stock in the activity's own records.
    pub(super) left: Vec<Stock>,
    /// Pieces of each SKU that went back to ordinary sales.
    pub(super) put_back: BTreeMap<i64, i64>,
    /// The ordinary stock of these SKUs.
    pub(super) ordinary: Vec<Stock>,
    /// Pieces that the inventory counts against each customer's limit.
    pub(super) counted: BTreeMap<String, i64>,
}

/// What a saga that moves stock yields.
#[derive(Debug, Deserialize)]
struct Moved {
    id: SagaId,
    status: String,
    output: Option<Lines>,
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Lines {
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    sku: i64,
    qty: i64,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Stock>,
}

/// An activity's stock.
#[derive(Debug, Deserialize)]
struct Activity {
    lines: Vec<Stock>,
}

/// What a customer has of an activity.
#[derive(Debug, Deserialize)]
struct Share {
    bought: i64,
}

impl Sale {
    /// Opens the activity and sets its stock apart.
    ///
    /// # Errors
    /// When the inventory cannot be reached, or has not enough.
    pub(super) async fn open(
        site: &Site,
        run: &str,
        flash: Flash,
        set_apart: BTreeMap<i64, i64>,
    ) -> anyhow::Result<Sale> {
        let activity = number(run);
        let body = json!({
            "activity": activity, "name": format!("flash sale of {run}"), "per_user_limit": flash.limit,
            "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2120-01-01T00:00:00Z",
        });
        let inventory = Client::new(site.urls.inventory.clone(), None)?;
        let until = Instant::now() + site.patience;
        let made = || inventory.post::<Value>("/activities", &body);
        keep_at(until, made).await.context("the flash sale's activity cannot be made")?;
        let lines: Vec<Value> =
            set_apart.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect();
        let input = json!({ "activity": activity, "lines": lines });
        let moved = run_saga(site, "set-apart", &format!("{run}-set-apart"), &input).await?;
        if moved.status != "completed" {
            bail!(
                "the flash sale's stock cannot be set apart: saga {} is {}: {:?}",
                moved.id,
                moved.status,
                moved.error
            );
        }
        let ordinary = ordinary(&inventory, until, set_apart.keys()).await?;
        Ok(Sale { activity, limit: flash.limit, set_apart, ordinary })
    }

    /// Gives back what is unsold, and reads what there is to be seen then.
    ///
    /// # Errors
    /// When the inventory cannot be read.
    pub(super) async fn close(&self, load: &Load, customers: BTreeSet<String>) -> anyhow::Result<SaleEnd> {
        let (site, activity) = (&load.site, self.activity);
        let input = json!({ "activity": activity });
        // Where all is sold there is nothing to put back, and the saga says so; what is still there is seen below.
        let moved = run_saga(site, "put-back", &format!("{}-put-back", load.run), &input).await?;
        let put_back = moved.output.unwrap_or_default().lines;
        let until = Instant::now() + site.patience;
        let inventory = Client::new(site.urls.inventory.clone(), None)?;
        let at = format!("/activities/{activity}");
        let left: Activity = keep_at(until, || inventory.get(&at, &[])).await.context("the activity")?;
        let counted = stream::iter(customers)
            .map(|customer| share(&inventory, until, activity, customer))
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(SaleEnd {
            sale: self.clone(),
            left: left.lines,
            put_back: put_back.into_iter().map(|line| (line.sku, line.qty)).collect(),
            ordinary: ordinary(&inventory, until, self.set_apart.keys()).await?,
            counted,
        })
    }
}

/// A number for the run's activity, so that two runs in one shop have two.
fn number(run: &str) -> i64 {
    let digest = Sha256::digest(run);
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    i64::try_from(1 + number % ACTIVITY_MAX).unwrap_or(1)
}

async fn ordinary(
    inventory: &Client,
    until: Instant,
    skus: impl Iterator<Item = &i64>,
) -> anyhow::Result<Vec<Stock>> {
    let skus: Vec<String> = skus.map(i64::to_string).collect();
    let query = [("sku", skus.join(","))];
    let page: Page =
        keep_at(until, || inventory.get("/stock", &query)).await.context("the ordinary stock")?;
    Ok(page.items)
}

async fn share(
    inventory: &Client,
    until: Instant,
    activity: i64,
    customer: String,
) -> anyhow::Result<(String, i64)> {
    let at = format!("/activities/{activity}/users/{customer}");
    let share: Share = keep_at(until, || inventory.get(&at, &[])).await.context("a customer's share")?;
    Ok((customer, share.bought))
}

/// Runs a saga of the load's own to its end.
async fn run_saga(site: &Site, definition: &str, key: &str, input: &Value) -> anyhow::Result<Moved> {
    let input = RawValue::from_string(input.to_string())?;
    let labels = BTreeMap::from([(super::drive::LABEL.to_owned(), key.to_owned())]);
    let start = Start { definition, input: &input, key: Some(key), labels };
    let until = Instant::now() + MOVING_MAX + site.patience;
    let (_, mut moved): (_, Moved) = keep_at(until, || site.coordinator.start(&start, None)).await?;
    while !matches!(moved.status.as_str(), "completed" | "compensated" | "repair") {
        if Instant::now() >= until {
            bail!("saga {} ({definition}) is still {}", moved.id, moved.status);
        }
        let id = moved.id;
        moved = keep_at(until, || site.coordinator.saga(id, Some(MOVING_MAX))).await?;
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_an_activity_of_its_own() {
        let numbers: BTreeSet<i64> = (0..1_000).map(|run| number(&format!("load{run}"))).collect();
        assert_eq!(numbers.len(), 1_000);
        assert!(numbers.iter().all(|number| (1..=1_000_000_000).contains(number)));
        assert_eq!(number("load1"), number("load1"));
    }
}
