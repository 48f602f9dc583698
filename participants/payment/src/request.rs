//! What a caller asks for, read from a body into values that cannot be wrong.

use amends_sdk::body::{Reader, does_not_fit, given};
use amends_wire::problem::Problem;
use serde_json::Value;

use crate::Mode;

/// The largest amount in minor units: 2^53 - 1, which every JSON reader keeps exactly.
pub(crate) const MINOR_MAX: i64 = (1 << 53) - 1;

/// The longest number of an order, a payment and a refund, in characters.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The longest that a pending call takes where its body says so, in milliseconds: a day.
const DELAY_MS_MAX: i64 = 86_400_000;

/// A charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) order: String,
    pub(crate) payment: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) manner: Manner,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) of: Of,
    pub(crate) number: Option<String>,
    pub(crate) amount: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) manner: Manner,
}

/// Which payment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// The one of this number.
    Payment(String),
    /// The one of this order.
    Order(String),
}

/// How a call wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) mode: Option<Mode>,
    pub(crate) delay_ms: Option<i64>,
}

/// Reads a charge.
pub(crate) fn charge(body: &Value) -> Result<Charge, Problem> {
    let mut reader = Reader::default();
    let order = reader.text(body, "", "order", 1..=NAME_CHARS_MAX);
    let payment = reader.text_if_any(body, "", "payment", 1..=NAME_CHARS_MAX).or_else(|| order.clone());
    let amount = reader.integer(body, "", "amount_minor", 0..=MINOR_MAX);
    let currency = read_currency(&mut reader, body);
    let manner = manner(&mut reader, body);
    let charge =
        (|| Some(Charge { order: order?, payment: payment?, amount: amount?, currency: currency?, manner }))(
        );
    reader.finish(charge).map_err(|misfits| does_not_fit(&misfits))
}

/// Reads a refund.
pub(crate) fn refund(body: &Value) -> Result<Refund, Problem> {
    let mut reader = Reader::default();
    let of = match given(body, "payment") {
        Some(_) => reader.text(body, "", "payment", 1..=NAME_CHARS_MAX).map(Of::Payment),
        None => reader.text(body, "", "order", 1..=NAME_CHARS_MAX).map(Of::Order),
    };
    let number = reader.text_if_any(body, "", "refund", 1..=NAME_CHARS_MAX);
    let amount = reader.integer_if_any(body, "", "amount_minor", 0..=MINOR_MAX);
    let reason = reader.text_if_any(body, "", "reason", 1..=REASON_CHARS_MAX);
    let manner = manner(&mut reader, body);
    let refund = of.map(|of| Refund { of, number, amount, reason, manner });
    reader.finish(refund).map_err(|misfits| does_not_fit(&misfits))
}

fn read_currency(reader: &mut Reader, body: &Value) -> Option<String> {
    let Some(value) = given(body, "currency") else { return Some("EUR".to_owned()) };
    let is_code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = value.as_str().filter(is_code);
    if code.is_none() {
        reader.misfit("/currency", "must be a currency of three upper-case letters, such as EUR");
    }
    code.map(str::to_owned)
}

fn manner(reader: &mut Reader, body: &Value) -> Manner {
    let mode = given(body, "mode").and_then(|value| {
        let mode = value.as_str().and_then(Mode::named);
        if mode.is_none() {
            reader.misfit("/mode", format!("must be one of {}", Mode::names()));
        }
        mode
    });
    Manner { mode, delay_ms: reader.integer_if_any(body, "", "delay_ms", 0..=DELAY_MS_MAX) }
}
