//! Spans of time as people write them: `100ms`, `5s`, `15m`, `24h`, `7d`.

use amends_saga::Millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// A span of time, read from and written as text with a unit; whole numbers only, at most [`SPAN_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Millis);

/// The longest span: ten years.
pub const SPAN_MAX: Millis = Millis::from_secs(10 * 365 * 24 * 3600);

/// Says why a text is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a span of time: write a whole number and a unit, such as 100ms, 5s, 15m, 24h or 7d")]
pub struct BadSpan(String);

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Span {
        Span(Millis::from_secs(secs))
    }

    /// The span in milliseconds.
    pub const fn millis(self) -> Millis {
        self.0
    }
}

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Span, BadSpan> {
        let bad = || BadSpan(text.chars().take(40).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        let millis = number.checked_mul(*factor).filter(|ms| *ms <= SPAN_MAX.0).ok_or_else(bad)?;
        Ok(Span(Millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0;
        let unit = UNITS.iter().find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{}{name}", ms / factor),
            None => f.write_str("0ms"),
        }
    }
}

impl From<Millis> for Span {
    fn from(millis: Millis) -> Span {
        Span(millis)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_in_their_largest_whole_unit() {
        for (text, ms, written) in [
            ("100ms", 100, "100ms"),
            ("5s", 5_000, "5s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("15m", 900_000, "15m"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0ms"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.0.0, span.to_string().as_str()), (ms, written), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        for text in ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "5sec", "99999999999999999999s", "4000d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
