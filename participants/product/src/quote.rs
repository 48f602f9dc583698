//! Prices a cart: pure, from the catalogue as it was read.
//!
//! A quote is for the whole cart or not at all. It says what things cost now; it sets nothing aside and promises no
//! stock.

use amends_wire::api::Time;
use serde::Serialize;

use crate::cart::Cart;

#[cfg(test)]
mod tests;

/// The largest amount in minor units: 2^53 - 1, which every JSON reader keeps exactly.
pub const MINOR_MAX: i64 = (1 << 53) - 1;

/// A SKU of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sku {
    /// Its name.
    pub name: String,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What the price is in.
    pub currency: String,
    /// Whether it can be bought.
    pub status: Status,
    /// The version of the last write that counted.
    pub version: i64,
    /// The version of the write that brought the price.
    pub price_version: i64,
}

/// Whether a SKU can be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can.
    OnSale,
    /// Not at the moment.
    OffSale,
    /// Never again.
    Discontinued,
}

/// What a cart costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quote {
    /// Each SKU once, ascending.
    pub lines: Vec<PricedLine>,
    /// What the lines come to.
    pub total_minor: i64,
    /// The same again, under the name that definitions like to use.
    pub total: i64,
    /// What it is in.
    pub currency: String,
    /// When the prices were read.
    pub as_of: Time,
}

/// A line with its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PricedLine {
    /// The SKU.
    pub sku: i64,
    /// How many.
    pub qty: i64,
    /// The price of one.
    pub price_minor: i64,
    /// The price of all of them.
    pub amount_minor: i64,
    /// The SKU's name.
    pub name: String,
    /// Which of its prices this is.
    pub price_version: i64,
}

/// Why a cart has no price; nothing of it can be bought as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// In a sentence.
    #[serde(skip)]
    pub why: String,
    /// Every line that stands in the way, ascending; empty when it is the cart as a whole.
    pub lines: Vec<RefusedLine>,
}

/// A line that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedLine {
    /// The SKU.
    pub sku: i64,
    /// How many were asked for.
    pub qty: i64,
    /// What is wrong with it.
    pub reason: Reason,
    /// What one costs now, where the price has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_minor: Option<i64>,
    /// Which of its prices that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_version: Option<i64>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The catalogue has no such SKU.
    Unknown,
    /// It is not on sale at the moment.
    OffSale,
    /// It is not sold any more.
    Discontinued,
    /// Its price is in another currency than the cart's.
    OtherCurrency,
    /// Its price is another one than the cart says its customer has seen.
    PriceChanged,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 3] = [Status::OnSale, Status::OffSale, Status::Discontinued];

    /// The name, as bodies and rows carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::OnSale => "on_sale",
            Status::OffSale => "off_sale",
            Status::Discontinued => "discontinued",
        }
    }

    /// Reads a name.
    pub fn named(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Prices a cart from what `find` knows of its SKUs, read at `as_of`.
///
/// # Errors
/// A [`Refusal`] when a line is unknown, not on sale, in another currency or not at the price that was seen, or the
/// total exceeds [`MINOR_MAX`].
pub fn quote<'a>(
    cart: &'a Cart,
    find: impl Fn(i64) -> Option<&'a Sku>,
    as_of: Time,
) -> Result<Quote, Refusal> {
    let first = || cart.lines.keys().find_map(|sku| find(*sku)).map(|sku| sku.currency.as_str());
    let currency = cart.currency.as_deref().or_else(first).unwrap_or_default();
    let (mut lines, mut refused) = (Vec::with_capacity(cart.lines.len()), Vec::new());
    let mut total: Option<i64> = Some(0);
    for (&sku, &qty) in &cart.lines {
        let known = find(sku);
        match purchasable(known, currency, cart.seen.get(&sku).copied()) {
            Err(reason) => refused.push(RefusedLine::new(sku, qty, reason, known)),
            Ok(known) => {
                let amount = known.price_minor.checked_mul(qty).filter(|amount| *amount <= MINOR_MAX);
                total = total.zip(amount).and_then(|(total, amount)| total.checked_add(amount));
                total = total.filter(|total| *total <= MINOR_MAX);
                let (price_minor, name) = (known.price_minor, known.name.clone());
                lines.push(PricedLine {
                    sku,
                    qty,
                    price_minor,
                    amount_minor: amount.unwrap_or(MINOR_MAX),
                    name,
                    price_version: known.price_version,
                });
            }
        }
    }
    if !refused.is_empty() {
        let why = format!("{} of {} lines cannot be bought", refused.len(), cart.lines.len());
        return Err(Refusal { why, lines: refused });
    }
    let Some(total) = total else {
        let why = format!("the cart comes to more than {MINOR_MAX}, the largest amount");
        return Err(Refusal { why, lines: Vec::new() });
    };
    Ok(Quote { lines, total_minor: total, total, currency: currency.to_owned(), as_of })
}

fn purchasable<'a>(sku: Option<&'a Sku>, currency: &str, seen: Option<i64>) -> Result<&'a Sku, Reason> {
    let sku = sku.ok_or(Reason::Unknown)?;
    match sku.status {
        Status::OffSale => Err(Reason::OffSale),
        Status::Discontinued => Err(Reason::Discontinued),
        Status::OnSale if sku.currency != currency => Err(Reason::OtherCurrency),
        Status::OnSale if seen.is_some_and(|seen| seen != sku.price_version) => Err(Reason::PriceChanged),
        Status::OnSale => Ok(sku),
    }
}

impl RefusedLine {
    fn new(sku: i64, qty: i64, reason: Reason, known: Option<&Sku>) -> RefusedLine {
        let now = known.filter(|_| reason == Reason::PriceChanged);
        let (price_minor, price_version) = (now.map(|sku| sku.price_minor), now.map(|sku| sku.price_version));
        RefusedLine { sku, qty, reason, price_minor, price_version }
    }
}
