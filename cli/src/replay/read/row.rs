//! One line of the file, judged by itself.

use super::{Reason, Reject, Sku, price};
use anyhow::bail;
use csv::ByteRecord;

/// The longest invoice number, in characters, with its `C`.
const INVOICE_CHARS_MAX: usize = 20;

/// The longest customer number, in characters.
const CUSTOMER_CHARS_MAX: usize = 64;

/// Where each column stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    invoice: usize,
    code: usize,
    name: usize,
    quantity: usize,
    price: usize,
    customer: usize,
}

/// A line of a cart or of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    /// The number in upper case.
    pub(super) invoice: String,
    pub(super) stock_code: String,
    pub(super) sku: Sku,
    pub(super) name: String,
    /// Pieces that are taken, or brought back by a cancellation; from 1.
    pub(super) qty: i64,
    pub(super) price_minor: i64,
    pub(super) customer: Option<String>,
}

impl Row {
    pub(super) fn is_return(&self) -> bool {
        self.invoice.starts_with('C')
    }
}

/// What a line turned out to be.
#[derive(Debug)]
pub(super) enum Judged {
    Good(Box<Row>),
    Bad(Box<Reject>),
}

/// The reason and what to say of it.
type Fault = (Reason, String);

impl Columns {
    /// Finds the columns by their names, in any order and case.
    pub(super) fn find(heading: &ByteRecord) -> anyhow::Result<Columns> {
        let plain = |name: &[u8]| -> String {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            name.chars().filter(char::is_ascii_alphanumeric).collect()
        };
        let names: Vec<String> = heading.iter().map(plain).collect();
        let find = |wanted: &[&str]| match names.iter().position(|name| wanted.contains(&name.as_str())) {
            Some(place) => Ok(place),
            None => bail!(
                "its first line has no column {}; expected InvoiceNo,StockCode,Description,Quantity,InvoiceDate,\
                 UnitPrice,CustomerID,Country",
                wanted[0]
            ),
        };
        Ok(Columns {
            invoice: find(&["invoiceno", "invoice"])?,
            code: find(&["stockcode"])?,
            name: find(&["description"])?,
            quantity: find(&["quantity"])?,
            price: find(&["unitprice", "price"])?,
            customer: find(&["customerid"])?,
        })
    }

    /// Judges a line.
    pub(super) fn judge(&self, record: &ByteRecord, line: u64) -> Judged {
        let field = |place: usize| record.get(place).map(text).unwrap_or_default();
        let (invoice, stock_code) = (field(self.invoice), field(self.code));
        let row = self.read(record, line, &invoice, &stock_code);
        match row {
            Ok(row) => Judged::Good(Box::new(row)),
            Err((reason, detail)) => {
                Judged::Bad(Box::new(Reject { line, invoice, stock_code, reason, detail }))
            }
        }
    }

    fn read(&self, record: &ByteRecord, line: u64, invoice: &str, stock_code: &str) -> Result<Row, Fault> {
        let last =
            [self.invoice, self.code, self.name, self.quantity, self.price, self.customer].into_iter().max();
        let expected = last.unwrap_or_default() + 1;
        if record.len() < expected {
            let detail = format!("{} columns where at least {expected} are expected", record.len());
            return Err((Reason::UnreadableRow, detail));
        }
        let field = |place: usize| text(&record[place]);
        let invoice = read_invoice(invoice)?;
        let sku = Sku::read(stock_code).map_err(|reason| (reason, shown("stock code", stock_code)))?;
        let qty = read_quantity(&field(self.quantity), invoice.starts_with('C'))?;
        let price = field(self.price);
        let price_minor =
            price::minor(&price).map_err(|why| (Reason::BadPrice, format!("price {price:?} {why}")))?;
        let customer = read_customer(&field(self.customer));
        if price_minor == 0 && customer.is_none() && !invoice.starts_with('C') {
            return Err((Reason::StockCorrection, "neither price nor customer".to_owned()));
        }
        let (stock_code, name) = (stock_code.to_owned(), field(self.name));
        Ok(Row { line, invoice, stock_code, sku, name, qty, price_minor, customer })
    }
}

fn read_invoice(text: &str) -> Result<String, Fault> {
    let invoice = text.to_ascii_uppercase();
    let digits = invoice.strip_prefix('C').unwrap_or(&invoice);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && invoice.len() <= INVOICE_CHARS_MAX {
        return Ok(invoice);
    }
    Err((Reason::BadInvoice, shown("invoice number", text)))
}

/// The pieces of a line, from 1: taken by a cart, brought back by a cancellation.
fn read_quantity(text: &str, is_return: bool) -> Result<i64, Fault> {
    let quantity: i64 = text.parse().map_err(|_| (Reason::BadQuantity, shown("quantity", text)))?;
    match (quantity, is_return) {
        (0, _) => Err((Reason::BadQuantity, "quantity 0".to_owned())),
        (i64::MIN, _) => Err((Reason::BadQuantity, shown("quantity", text))),
        (..0, false) => Err((Reason::StockCorrection, format!("quantity {quantity} outside a cancellation"))),
        (1.., true) => {
            Err((Reason::PositiveInCancellation, format!("quantity {quantity} in a cancellation")))
        }
        _ => Ok(quantity.abs()),
    }
}

/// A customer's number; spreadsheets like to write it as `17850.0`.
fn read_customer(text: &str) -> Option<String> {
    let number = text.strip_suffix(".0").unwrap_or(text);
    let fits =
        (1..=CUSTOMER_CHARS_MAX).contains(&number.chars().count()) && !number.chars().any(char::is_control);
    fits.then(|| number.to_owned())
}

/// A field as text, without spaces around it: UTF-8 where it is that, Latin-1 otherwise.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().trim().to_owned(),
    }
}

fn shown(what: &str, text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{what} {short:?}")
}
