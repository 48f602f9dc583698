//! Stock codes: which are merchandise, and what number an item has.
//!
//! The number follows from the code alone, so that every run, on every machine, gives an item the same one: the code
//! in upper case (`85123a` and `85123A` are the same item), read in base 36 behind a leading 1 (so that `0123` is not
//! `123`). With at most [`CODE_CHARS_MAX`] characters it stays below 2^53, which every JSON reader keeps exactly.

use super::Reason;
use serde::Serialize;
use std::fmt;

/// The longest stock code, in characters.
pub const CODE_CHARS_MAX: usize = 10;

/// The fewest digits of a stock code; services have fewer.
const DIGITS_MIN: usize = 4;

/// An item's number, from 36.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Sku(i64);

impl Sku {
    /// Reads a stock code.
    ///
    /// # Errors
    /// The reason for which it is no merchandise.
    pub fn read(text: &str) -> Result<Sku, Reason> {
        let code = text.trim().to_ascii_uppercase();
        if let Some(reason) = service(&code) {
            return Err(reason);
        }
        let digits = code.bytes().filter(u8::is_ascii_digit).count();
        let is_item = digits >= DIGITS_MIN || code.starts_with("DCGS") || code == "PADS";
        if !is_item || code.len() > CODE_CHARS_MAX {
            return Err(Reason::UnknownCode);
        }
        let digit = |letter: char| letter.to_digit(36).map(i64::from).ok_or(Reason::UnknownCode);
        code.chars().try_fold(1, |number, letter| Ok(number * 36 + digit(letter)?)).map(Sku)
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The code it was made from, in upper case.
    pub fn code(self) -> String {
        let mut letters = Vec::new();
        let mut rest = self.0;
        while rest > 1 {
            let digit = u32::try_from(rest % 36).unwrap_or_default();
            letters.extend(char::from_digit(digit, 36));
            rest /= 36;
        }
        letters.iter().rev().collect::<String>().to_ascii_uppercase()
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a code stands for that is no merchandise.
fn service(code: &str) -> Option<Reason> {
    match code {
        "POST" | "DOT" | "C2" | "C3" => Some(Reason::Postage),
        "M" => Some(Reason::ManualEntry),
        "D" => Some(Reason::Discount),
        "S" => Some(Reason::Samples),
        "BANK CHARGES" | "AMAZONFEE" | "CRUK" | "B" => Some(Reason::Fee),
        _ if code.starts_with("GIFT_") => Some(Reason::GiftVoucher),
        _ if code.starts_with("TEST") => Some(Reason::UnknownCode),
        _ => None,
    }
}
