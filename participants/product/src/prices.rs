//! Prices whole carts through the cache.

use std::collections::HashMap;
use std::sync::Arc;

use amends_saga::Timestamp;
use amends_wire::api::Time;

use crate::cache::{Cache, Kept};
use crate::cart::Cart;
use crate::gather::{Error, now_ms};
use crate::quote::{Quote, Refusal, quote};

/// What prices carts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Prices {
    cache: Cache,
}

impl Prices {
    /// Prices from a cache.
    pub fn of_cache(cache: &Cache) -> Prices {
        Prices { cache: cache.clone() }
    }

    /// Prices a cart, or says why it has no price. The quote counts as of when the oldest of its prices was read.
    ///
    /// # Errors
    /// [`Error`], when a SKU could neither be read nor has been known within the last minute.
    pub async fn of(&self, cart: &Cart) -> Result<Result<Quote, Refusal>, Error> {
        // A customer who saw a newer price than is kept here proves that what is kept is old.
        let wanted = cart.lines.keys().map(|sku| (*sku, cart.seen.get(sku).copied().unwrap_or(0)));
        let kept: HashMap<i64, Arc<Kept>> = self.cache.all(wanted).await?;
        let as_of = kept.values().map(|kept| kept.read_at).min().unwrap_or_else(now_ms);
        Ok(quote(cart, |sku| kept.get(&sku).and_then(|kept| kept.sku.as_ref()), Time(Timestamp(as_of))))
    }
}
