//! What a customer wants a price for, read into values that cannot be wrong.

use std::collections::BTreeMap;

use amends_sdk::body::{Reader, given};
use amends_wire::problem::Misfit;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// The most lines a cart may have, before lines of the same SKU are merged.
pub const LINES_MAX: usize = 1000;

/// The largest quantity of one line.
pub const QTY_MAX: i64 = 1_000_000;

/// A whole cart: at least one line, each SKU once, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cart {
    /// How many of which SKU.
    pub lines: BTreeMap<i64, i64>,
    /// What the prices must be in; whatever they are in, if `None`, but all the same.
    pub currency: Option<String>,
}

impl Cart {
    /// Reads `{"lines": [{"sku": integer, "qty": integer}], "currency"?: text}`; other members are ignored.
    ///
    /// # Errors
    /// Everything that does not fit, at least one.
    pub fn read(body: &Value) -> Result<Cart, Vec<Misfit>> {
        let mut reader = Reader::default();
        let lines = reader.quantities(body, LINES_MAX, QTY_MAX);
        let currency = given(body, "currency").and_then(|_| read_currency(&mut reader, body, ""));
        reader.finish(Some(Cart { lines, currency }))
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
