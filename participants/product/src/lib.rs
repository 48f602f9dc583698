//! The catalogue, as a participant of sagas: what can be bought, what a whole cart costs, and what there is of it.
//!
//! | operation | body | |
//! |---|---|---|
//! | `quote` | `{"lines": [{"sku", "qty", "price_version"?}], "currency"?}` | reads only; nothing to undo |
//!
//! A quote answers `{"lines": [{"sku", "qty", "price_minor", "amount_minor", "name", "price_version"}], "total_minor",
//! "total", "currency", "as_of"}`, lines of the same SKU merged and ascending. A cart with a SKU that is unknown, not on
//! sale, in another currency or not at the price its customer has seen is refused (409) with every such line and its
//! `reason` in `lines`; a body that does not fit is answered 422 with each place in `errors`. A cart has 1 to 1000 lines
//! of 1 to 1 000 000 pieces.
//!
//! The way of a quote: [`cart`] reads it, [`cache`] has the SKUs that were asked for within the last seconds, [`gather`]
//! reads the others in one query, [`quote`] prices it. The catalogue is filled by [`load`]s, each write counting only
//! when it is newer, and forgotten by the cache with its write; [`audit`] checks it. What there is of a SKU follows
//! inventory's change feed ([`follow`]). [`metrics`] says how cache and feed fare. Reading goes through a pool of its own
//! and never waits for a writer.

use amends_sdk::body::does_not_fit;
use amends_sdk::{Call, Database, Error, Operation, Participant, Reply, Writer};
use axum::Router;
use std::sync::Arc;

pub use amends_sdk::Config;
pub use follow::Following;

pub mod audit;
pub mod cache;
pub mod cart;
pub mod follow;
pub mod gather;
mod http;
pub mod load;
pub mod metrics;
pub mod prices;
pub mod quote;
mod saga_audit;
pub mod table;

use cache::{Cache, Times};
use cart::Cart;
use gather::Gather;
use metrics::{Figures, Lag};
use prices::Prices;

#[cfg(test)]
mod tests;

/// The participant's name.
pub const NAME: &str = "product";

/// The quotes that one batch may carry.
pub const BATCH_MAX: u32 = 64;

/// The scripts that make a product database, in order.
pub const SQLITE: [&str; 2] = [
    include_str!("../../../migrations/product/sqlite/0001_product.sql"),
    include_str!("../../../migrations/product/sqlite/0002_prices_and_feed.sql"),
];

/// The catalogue of a shop.
#[derive(Debug, Clone)]
pub struct Product {
    participant: Participant,
    writer: Writer,
    figures: Arc<Figures>,
}

/// Opens the catalogue, making its database where there is none, and starts its readers and its writer.
///
/// They end when the last clone of the catalogue and of its router is dropped.
///
/// # Errors
/// [`Error::UnknownStore`] for an address that is not `sqlite:PATH`, [`Error::Database`] and [`Error::Io`] when it
/// cannot be opened or was made by a newer version.
pub async fn open(config: Config) -> Result<Product, Error> {
    let database = Database::open(&config.store, &SQLITE).await?;
    let (writer, figures) = (Writer::start(&database), Arc::new(Figures::default()));
    let cache = Cache::new(Arc::new(Gather::start(database.readers())), Times::default(), figures.clone());
    let prices = Prices::of_cache(&cache);
    let participant = Participant::new(NAME)
        .secrets(config.secrets)
        .faults(&config.faults)
        .saga_audit(Arc::new(saga_audit::CatalogueAudit(database.readers().clone())))
        .audits(Arc::new(audit::CatalogueLaws(database.readers().clone())))
        .figures(figures.clone())
        .routes(http::router(writer.clone(), cache))
        .plain(Operation::new("quote").batch(BATCH_MAX), move |call| {
            let prices = prices.clone();
            async move { answer(&prices, call).await }
        });
    Ok(Product { participant, writer, figures })
}

impl Product {
    /// The participant, to be run as a process of its own or registered.
    pub fn participant(&self) -> &Participant {
        &self.participant
    }

    /// Follows the change feed of the inventory at this base URL, from where it was followed to before, until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// When no HTTP client can be made. An inventory that does not answer is asked again for as long as it takes.
    pub fn follow(&self, inventory: &str) -> Result<Following, follow::Error> {
        follow::follow(&self.writer, &self.figures, inventory)
    }

    /// How far inventory's feed is known.
    pub fn lag(&self) -> Lag {
        self.figures.lag()
    }

    /// The router that serves the operations, the loads and what may be read.
    pub fn router(&self) -> Router {
        self.participant.router()
    }
}

async fn answer(prices: &Prices, call: Call) -> Reply {
    let cart = match Cart::read(&call.body) {
        Ok(cart) => cart,
        Err(misfits) => return Reply::problem(&does_not_fit(&misfits)),
    };
    match prices.of(&cart).await {
        Ok(Ok(quote)) => match serde_json::to_value(quote) {
            Ok(output) => Reply::done(output),
            Err(error) => Reply::unavailable(error.to_string(), None),
        },
        Ok(Err(refusal)) => Reply::refused(refusal.why, serde_json::json!({ "lines": refusal.lines })),
        Err(error) => Reply::unavailable(error.to_string(), Some(1)),
    }
}
