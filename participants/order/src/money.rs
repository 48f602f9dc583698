//! Money: whole minor units and a currency, never a fraction and never an overflow.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// The largest amount in minor units: 2^53 - 1, which every JSON reader keeps exactly.
pub const MINOR_MAX: i64 = (1 << 53) - 1;

/// An amount in minor units of some currency, within 0..=[`MINOR_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Minor(i64);

/// An ISO 4217 code: three upper-case letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Why a text is not a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a currency of three upper-case letters, such as EUR")]
pub struct NotACurrency;

impl Minor {
    /// Takes an amount within 0..=[`MINOR_MAX`].
    pub fn new(minor: i64) -> Option<Minor> {
        (0..=MINOR_MAX).contains(&minor).then_some(Minor(minor))
    }

    /// The number of minor units.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The sum, unless it exceeds [`MINOR_MAX`].
    pub fn plus(self, other: Minor) -> Option<Minor> {
        self.0.checked_add(other.0).and_then(Minor::new)
    }

    /// The difference, unless it is below zero.
    pub fn minus(self, other: Minor) -> Option<Minor> {
        self.0.checked_sub(other.0).and_then(Minor::new)
    }

    /// The price of `qty` pieces at this price each, unless it exceeds [`MINOR_MAX`].
    pub fn times(self, qty: i64) -> Option<Minor> {
        self.0.checked_mul(qty).and_then(Minor::new)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Currency {
    /// The euro, which an order is in when it does not say.
    pub const EUR: Currency = Currency(*b"EUR");

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Currency, NotACurrency> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Currency(code)) } else { Err(NotACurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
