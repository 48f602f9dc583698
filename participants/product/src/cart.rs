//! What a customer wants a price for, read into values that cannot be wrong.

use std::collections::BTreeMap;

use amends_sdk::body::{Reader, given};
use amends_wire::problem::Misfit;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// The most lines a cart may have, before lines of the same SKU are merged.
pub const LINES_MAX: usize = 1000;

/// The largest quantity of one line, and of all lines of a SKU together.
pub const QTY_MAX: i64 = 1_000_000;

/// A whole cart: at least one line, each SKU once, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// How many of which SKU.
    pub lines: BTreeMap<i64, i64>,
    /// What the prices must be in; whatever they are in, if `None`, but all the same.
    pub currency: Option<String>,
    /// Which price of a SKU the customer has seen, where the cart says so; it is bought at that price or not at all.
    pub seen: BTreeMap<i64, i64>,
}

impl Cart {
    /// Reads `{"lines": [{"sku": integer, "qty": integer, "price_version"?: integer}], "currency"?: text}`; other
    /// members are ignored. Of several prices that were seen of a SKU the oldest counts.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Cart, Vec<Misfit>> {
        let mut reader = Reader::default();
        let (mut lines, mut seen) = (BTreeMap::new(), BTreeMap::new());
        let read = |reader: &mut Reader, line: &Value, at: &str| {
            let version = reader.integer_if_any(line, at, "price_version", 1..=i64::MAX);
            Some((reader.sku_and_qty(line, at, QTY_MAX)?, version))
        };
        for ((sku, qty), version) in reader.each(body, "lines", 1..=LINES_MAX, read) {
            *lines.entry(sku).or_default() += qty;
            if let Some(version) = version {
                let oldest = seen.entry(sku).or_insert(version);
                *oldest = version.min(*oldest);
            }
        }
        for (sku, qty) in lines.iter().filter(|(_, qty)| **qty > QTY_MAX) {
            reader.misfit("/lines", format!("come to {qty} pieces of sku {sku}, more than {QTY_MAX}"));
        }
        let currency = given(body, "currency").and_then(|_| read_currency(&mut reader, body, ""));
        reader.finish(Some(Cart { lines, currency, seen }))
    }
}

/// Reads a currency of three upper-case letters.
pub(crate) fn read_currency(reader: &mut Reader, of: &Value, at: &str) -> Option<String> {
    let is_code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = of.get("currency").and_then(Value::as_str).filter(is_code);
    if code.is_none() {
        reader
            .misfit(format!("{at}/currency"), "must be a currency of three upper-case letters, such as EUR");
    }
    code.map(str::to_owned)
}
