//! Orders from a file, in the format of the public "Online Retail" data set.
//!
//! | column | is |
//! |---|---|
//! | `InvoiceNo` | the cart; one that begins with `C` is a cancellation and brings goods back |
//! | `StockCode` | the SKU, see [`code`]; or a service such as `POST`, which is no merchandise |
//! | `Description` | its name in the catalogue |
//! | `Quantity` | pieces; below zero in a cancellation |
//! | `UnitPrice` | decimal, see [`price`]; 0 is a gift when the customer is known, a correction of stock otherwise |
//! | `CustomerID` | whose it is; empty for a guest |
//!
//! The names of the second edition (`Invoice`, `Price`, `Customer ID`) are read as well; other columns are not.
//! The text may be UTF-8 or, as in the original, Latin-1. [`row`] judges each line by itself, [`carts`] gathers them
//! into invoices. Every line ends in an invoice or among the rejects, with its number and why.

pub mod carts;
pub mod code;
pub mod price;
pub mod row;

pub use carts::{Cart, Event, Goods, Line, Return};
pub use code::Sku;

use anyhow::{Context, bail};
use row::{Columns, Judged};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, path::Path};

/// The longest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// What a file says.
#[derive(Debug)]
pub struct Orders {
    /// Lines below the heading, each counted once.
    pub rows: u64,
    /// Carts and cancellations, in the order in which they begin in the file.
    pub events: Vec<Event>,
    /// Every line that is in none of them, ascending.
    pub rejects: Vec<Reject>,
    /// What is sold and brought back, by SKU.
    pub goods: BTreeMap<Sku, Goods>,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
}

/// A line that is in no cart and no cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Where it begins in the file, from 1; the heading is line 1.
    pub line: u64,
    /// Its invoice number as written.
    pub invoice: String,
    /// Its stock code as written.
    pub stock_code: String,
    /// The kind of reason.
    pub reason: Reason,
    /// This line, in a few words.
    pub detail: String,
}

/// Why a line is left out. The text of a reason is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It has too few columns.
    UnreadableRow,
    /// The invoice number is not a number, with or without `C` before it.
    BadInvoice,
    /// Carriage is not kept in stock.
    Postage,
    /// An entry by hand, of goods that are not named.
    ManualEntry,
    /// A discount.
    Discount,
    /// A fee, a commission or the bank's charge.
    Fee,
    /// Samples.
    Samples,
    /// A voucher.
    GiftVoucher,
    /// The stock code is none.
    UnknownCode,
    /// The quantity is no whole number, or 0.
    BadQuantity,
    /// Stock written off or found: a quantity below zero outside a cancellation, or neither price nor customer.
    StockCorrection,
    /// A cancellation that takes goods instead of bringing them back.
    PositiveInCancellation,
    /// The price is no decimal of at most two places, or below zero.
    BadPrice,
    /// The cart has the same SKU at another price; an order has one price for a SKU.
    PriceDiffers,
    /// Its invoice asks for more than 1 000 000 of a SKU.
    QuantityTooLarge,
    /// Its invoice has more than 1000 lines after merging.
    TooManyLines,
    /// Its invoice comes to more than an order can.
    AmountTooLarge,
}

impl Reason {
    /// The reason's text in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::UnreadableRow => "unreadable_row",
            Reason::BadInvoice => "bad_invoice",
            Reason::Postage => "postage",
            Reason::ManualEntry => "manual_entry",
            Reason::Discount => "discount",
            Reason::Fee => "fee",
            Reason::Samples => "samples",
            Reason::GiftVoucher => "gift_voucher",
            Reason::UnknownCode => "unknown_code",
            Reason::BadQuantity => "bad_quantity",
            Reason::StockCorrection => "stock_correction",
            Reason::PositiveInCancellation => "positive_in_cancellation",
            Reason::BadPrice => "bad_price",
            Reason::PriceDiffers => "price_differs",
            Reason::QuantityTooLarge => "quantity_too_large",
            Reason::TooManyLines => "too_many_lines",
            Reason::AmountTooLarge => "amount_too_large",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is longer than [`FILE_BYTES_MAX`], or lacks a column.
pub fn file(path: &Path) -> anyhow::Result<Orders> {
    let shown = path.display();
    let length = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    if length > FILE_BYTES_MAX {
        bail!("{shown} has {length} bytes, more than the {FILE_BYTES_MAX} that are read; replay it in parts");
    }
    let bytes = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    bytes_of(&bytes).with_context(|| format!("{shown} cannot be replayed"))
}

/// Reads a file's bytes.
///
/// # Errors
/// When there is no heading, or it lacks a column.
pub fn bytes_of(bytes: &[u8]) -> anyhow::Result<Orders> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let columns = Columns::find(reader.byte_headers()?)?;
    let mut carts = carts::Gathering::default();
    let mut rejects = Vec::new();
    let mut rows = 0;
    let mut record = csv::ByteRecord::new();
    // Reading from memory into bytes: with `flexible` there is nothing left that could fail.
    while reader.read_byte_record(&mut record)? {
        rows += 1;
        let line = record.position().map_or(0, csv::Position::line);
        match columns.judge(&record, line) {
            Judged::Good(row) => rejects.extend(carts.add(*row)),
            Judged::Bad(reject) => rejects.push(*reject),
        }
    }
    let (events, goods, refused) = carts.finish();
    rejects.extend(refused);
    rejects.sort_by_key(|reject| reject.line);
    Ok(Orders { rows, events, rejects, goods, digest: Sha256::digest(bytes).into() })
}
