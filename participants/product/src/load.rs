//! What is loaded into the catalogue: SKUs with a version, and what inventory says there is of them.

use amends_sdk::body::{Reader, given};
use amends_wire::problem::Misfit;
use serde::Serialize;
use serde_json::Value;

use crate::cart::read_currency;
use crate::quote::{MINOR_MAX, Status};

/// The most items in one load.
pub const ITEMS_MAX: usize = 1000;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// The longest description of one SKU (`attrs`), in bytes of JSON.
pub const ATTRS_BYTES_MAX: usize = 4096;

/// A SKU as it is loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The SKU, from 1.
    pub sku: i64,
    /// The product it belongs to; one of its own number if it does not say.
    pub spu: i64,
    /// Its name.
    pub name: String,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// What the price is in.
    pub currency: String,
    /// Whether it can be bought.
    pub status: Status,
    /// Whatever else describes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attrs: Option<Value>,
    /// From 1; only a newer one than the stored one counts.
    pub version: i64,
}

/// What inventory says there is of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Availability {
    /// The SKU, from 1.
    pub sku: i64,
    /// How many.
    pub usable: i64,
    /// `in_stock`, `low` or `sold_out`.
    pub state: String,
    /// Only a newer one than the stored one counts.
    pub seq: i64,
}

/// Reads `{"items": [{"sku", "spu"?, "name", "price_minor", "currency"?, "status"?, "attrs"?, "version"?}]}`.
///
/// Without them, the currency is `EUR`, the status `on_sale` and the version 1.
///
/// # Errors
/// Everything that does not fit, at least one.
pub fn read_items(body: &Value) -> Result<Vec<Item>, Vec<Misfit>> {
    read_each(body, read_item)
}

/// Reads `{"items": [{"sku", "usable", "state"?, "seq"}]}`; without a state it follows from `usable`.
///
/// # Errors
/// Everything that does not fit, at least one.
pub fn read_availability(body: &Value) -> Result<Vec<Availability>, Vec<Misfit>> {
    read_each(body, read_available)
}

fn read_each<T>(
    body: &Value,
    read: impl Fn(&mut Reader, &Value, &str) -> Option<T>,
) -> Result<Vec<T>, Vec<Misfit>> {
    let mut reader = Reader::default();
    let items = reader.each(body, "items", 1..=ITEMS_MAX, read);
    reader.finish(Some(items))
}

fn read_item(reader: &mut Reader, item: &Value, at: &str) -> Option<Item> {
    let sku = reader.integer(item, at, "sku", 1..=i64::MAX);
    let spu = given(item, "spu").map(|_| reader.integer(item, at, "spu", 1..=i64::MAX));
    let name = reader.text(item, at, "name", 1..=NAME_CHARS_MAX);
    let price_minor = reader.integer(item, at, "price_minor", 0..=MINOR_MAX);
    let currency = match given(item, "currency") {
        None => Some("EUR".to_owned()),
        Some(_) => read_currency(reader, item, at),
    };
    let status = read_status(reader, item, at);
    let attrs = given(item, "attrs").cloned();
    let attrs_fit = |attrs: &Value| attrs.is_object() && attrs.to_string().len() <= ATTRS_BYTES_MAX;
    if attrs.as_ref().is_some_and(|attrs| !attrs_fit(attrs)) {
        reader.misfit(format!("{at}/attrs"), format!("must be an object of at most {ATTRS_BYTES_MAX} bytes"));
    }
    let version = match given(item, "version") {
        None => Some(1),
        Some(_) => reader.integer(item, at, "version", 1..=i64::MAX),
    };
    Some(Item {
        sku: sku?,
        spu: spu.unwrap_or(sku)?,
        name: name?,
        price_minor: price_minor?,
        currency: currency?,
        status: status?,
        attrs,
        version: version?,
    })
}

fn read_status(reader: &mut Reader, item: &Value, at: &str) -> Option<Status> {
    let Some(sent) = given(item, "status") else { return Some(Status::OnSale) };
    let status = sent.as_str().and_then(Status::named);
    if status.is_none() {
        reader.misfit(format!("{at}/status"), "must be on_sale, off_sale or discontinued");
    }
    status
}

fn read_available(reader: &mut Reader, item: &Value, at: &str) -> Option<Availability> {
    let sku = reader.integer(item, at, "sku", 1..=i64::MAX);
    let usable = reader.integer(item, at, "usable", 0..=i64::MAX);
    let seq = reader.integer(item, at, "seq", 0..=i64::MAX);
    let state = match given(item, "state").map(|state| state.as_str()) {
        None => usable.map(|usable| if usable > 0 { "in_stock" } else { "sold_out" }),
        Some(Some(state @ ("in_stock" | "low" | "sold_out"))) => Some(state),
        Some(_) => {
            reader.misfit(format!("{at}/state"), "must be in_stock, low or sold_out");
            None
        }
    };
    Some(Availability { sku: sku?, usable: usable?, state: state?.to_owned(), seq: seq? })
}
