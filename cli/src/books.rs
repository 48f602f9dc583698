//! Do the books balance? Compares what four databases say about the same carts, once everything is at rest.
//!
//! Each participant audits its own database by its own laws; what no single database can say is checked here: that
//! the coordinator's sagas, the orders, the stock and the catalogue tell the same story. Reading ([`read`]) is apart
//! from comparing ([`compare()`]), which is a function of what was read.

mod compare;

pub use compare::compare;

use crate::{
    client::Client,
    output::say,
    shop::{Audit, Order, Product, SetAside, Shop, ShopUrls, Stock},
    table::{Tone, clean, painted},
};
use amends_wire::api::SagaView;
use serde::Serialize;
use std::collections::BTreeMap;

/// The most violations that are told of one check.
pub const VIOLATIONS_MAX: usize = 20;

/// What the four databases say.
#[derive(Debug, Clone, Default)]
pub struct Ledgers {
    /// Every saga of the coordinator, without steps.
    pub sagas: Vec<SagaView>,
    /// Every order.
    pub orders: Vec<Order>,
    /// All stock.
    pub stock: Vec<Stock>,
    /// What every order has set aside.
    pub set_aside: Vec<SetAside>,
    /// The catalogue.
    pub products: Vec<Product>,
    /// The participants' own audits, by name.
    pub audits: Vec<(&'static str, Audit)>,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check holds.
    Balanced,
    /// At least one does not.
    Unbalanced,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub law: &'static str,
    /// Whether it holds.
    pub kept: bool,
    /// How many things were looked at.
    pub looked_at: usize,
    /// What breaks it, at most [`VIOLATIONS_MAX`].
    pub violations: Vec<String>,
}

/// Sums over everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Figures {
    /// Pieces that ever came in.
    pub inbound: i64,
    /// Pieces free to be sold.
    pub usable: i64,
    /// Pieces set aside, sold but not shipped included.
    pub held: i64,
    /// Pieces that left the house.
    pub shipped: i64,
    /// Pieces that are paid for, shipped or not.
    pub sold: i64,
    /// Orders by state.
    pub orders: BTreeMap<String, usize>,
    /// Sagas by status.
    pub sagas: BTreeMap<&'static str, usize>,
    /// Money taken in and not given back, in minor units, by currency.
    pub paid_minor: BTreeMap<String, i64>,
}

/// What a check of the books found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Books {
    /// The verdict.
    pub verdict: Verdict,
    /// Every check.
    pub checks: Vec<Check>,
    /// The figures.
    pub figures: Figures,
}

/// Reads the four databases and compares them.
///
/// `expected_stock` is how many pieces of each SKU were ever brought in; nothing where that is not known. Call it
/// when no saga is under way: one that has not ended is itself a violation.
///
/// # Errors
/// When the coordinator or a participant does not answer.
pub async fn check(
    coordinator: &Client,
    shop: &ShopUrls,
    expected_stock: Option<&BTreeMap<i64, i64>>,
) -> anyhow::Result<Books> {
    Ok(compare(&read(coordinator, shop).await?, expected_stock))
}

/// Reads the four databases.
///
/// # Errors
/// When the coordinator or a participant does not answer.
pub async fn read(coordinator: &Client, shop: &ShopUrls) -> anyhow::Result<Ledgers> {
    let shop = Shop::new(shop.clone())?;
    let [inventory, order, product] = shop.audits().await?;
    Ok(Ledgers {
        sagas: coordinator.every_saga(&[]).await?,
        orders: shop.orders().await?,
        stock: shop.stock().await?,
        set_aside: shop.set_aside().await?,
        products: shop.products().await?,
        audits: vec![("inventory", inventory), ("order", order), ("product", product)],
    })
}

impl Books {
    /// Whether every check holds.
    pub fn balanced(&self) -> bool {
        self.verdict == Verdict::Balanced
    }

    /// Prints the verdict, the figures, and whatever does not hold.
    pub fn print(&self) {
        let figures = &self.figures;
        let (word, tone) = match self.verdict {
            Verdict::Balanced => ("balanced", Tone::Good),
            Verdict::Unbalanced => ("unbalanced", Tone::Bad),
        };
        say!("books: {}", painted(word, tone));
        say!(
            "  stock    {} in = {} on the shelf + {} set aside + {} shipped; {} of these are sold",
            figures.inbound,
            figures.usable,
            figures.held,
            figures.shipped,
            figures.sold
        );
        say!("  orders   {}", counted(figures.orders.iter()));
        say!("  sagas    {}", counted(figures.sagas.iter()));
        let money: Vec<String> = figures
            .paid_minor
            .iter()
            .map(|(currency, minor)| format!("{} {currency}", decimal(*minor)))
            .collect();
        say!("  money    {} taken", if money.is_empty() { "nothing".to_owned() } else { money.join(", ") });
        for check in &self.checks {
            let mark = if check.kept { painted("ok", Tone::Good) } else { painted("BROKEN", Tone::Bad) };
            say!("  {mark:<8} {} ({} looked at)", check.law, check.looked_at);
            for violation in &check.violations {
                say!("             {}", clean(violation));
            }
        }
    }
}

/// An amount in minor units with two decimals.
pub fn decimal(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.unsigned_abs() / 100, minor.unsigned_abs() % 100)
}

fn counted<'a, W: std::fmt::Display + 'a>(counts: impl Iterator<Item = (W, &'a usize)>) -> String {
    let words: Vec<String> = counts.map(|(word, count)| format!("{count} {word}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests;
