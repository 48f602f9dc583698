//! The catalogue against stock: what it shows of every SKU is what was usable at the flow up to which it knows, and no
//! change is unknown to it for longer than the settling time.
//!
//! A SKU that the catalogue shows nothing of counts as one of which it knows nothing, if it follows the stock at all.

use super::{Error, Given, Page, Side, Standing, page_of};
use crate::verify::gather::{Asked, Wanted, now_ms};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const LAW: &str = "availability_is_what_is_usable";

/// A SKU as the catalogue shows it.
#[derive(Debug, Deserialize)]
struct Product {
    sku: i64,
    #[serde(default)]
    availability: Option<Shown>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    usable: i64,
    #[serde(default)]
    seq: Option<i64>,
}

/// The catalogue of one service.
pub(super) struct Availability<'a> {
    of: &'a Asked,
    settle_ms: i64,
    /// Whether it shows what there is of anything.
    follows: bool,
}

impl<'a> Availability<'a> {
    pub(super) fn new(wanted: &Wanted, of: &'a Asked) -> Availability<'a> {
        let follows = of.totals["availabilities"].as_i64().is_some_and(|count| count > 0);
        Availability { of, settle_ms: wanted.settle_ms, follows }
    }

    fn given(&self, product: &Product) -> Option<Given<i64>> {
        let given = match &product.availability {
            Some(shown) => json!({ "sku": product.sku, "usable": shown.usable, "seq": shown.seq }),
            None if self.follows => json!({ "sku": product.sku, "usable": 0, "seq": 0 }),
            None => return None,
        };
        Some(Given { key: product.sku, given: Some(given) })
    }
}

impl Side for Availability<'_> {
    type Key = i64;

    const LAW: &'static str = LAW;
    const LIST: &'static str = "availability";
    const COLUMN: &'static str = "sku";

    async fn page(&mut self, after: &str) -> Result<(Vec<Given<i64>>, Option<String>), Error> {
        let Page { items, next } = page_of::<Product>(self.of, "/products", after).await?;
        Ok((items.iter().filter_map(|product| self.given(product)).collect(), next))
    }

    async fn again(&mut self, sku: &i64) -> Result<Standing<i64>, Error> {
        let product: Product = self.of.site.get(&format!("/products/{sku}"), &()).await?;
        Ok(self.given(&product).map_or(Standing::InMotion, Standing::Judge))
    }

    fn terms(&self) -> Value {
        json!({ "known_by": now_ms().saturating_sub(self.settle_ms) })
    }

    fn message(&self, row: &Value) -> String {
        let (of, sku, shown) = (&self.of.name, &row["sku"], &row["shown"]);
        match (row["usable_then"] == row["shown"], &row["seq"]) {
            (true, seq) => {
                format!(
                    "{of} shows {shown} of sku {sku} and knows of no change since flow {seq}; there are {}",
                    row["usable"]
                )
            }
            (false, Value::Null) => {
                format!("{of} shows {shown} of sku {sku}, and there are {}", row["usable"])
            }
            (false, seq) => {
                format!(
                    "{of} shows {shown} of sku {sku} as of flow {seq}, and there were {}",
                    row["usable_then"]
                )
            }
        }
    }
}
