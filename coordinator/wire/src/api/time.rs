//! Instants as the API writes them: `2026-11-20T18:00:00.000Z`.

use amends_saga::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// An instant, written as RFC 3339 in UTC with three digits of milliseconds.
///
/// Reading accepts any offset and any number of digits; what is finer than a millisecond is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Timestamp);

/// Says why a text is not a [`Time`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a time: write it as 2026-11-20T18:00:00.000Z")]
pub struct BadTime(String);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Time {
        Time(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.0.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let at = jiff::Timestamp::from_millisecond(self.0.0).unwrap_or(end);
        f.write_str(&PRINTER.timestamp_to_string(&at))
    }
}

impl FromStr for Time {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Time, BadTime> {
        let at: jiff::Timestamp = text.parse().map_err(|_| BadTime(text.chars().take(80).collect()))?;
        Ok(Time(Timestamp(at.as_millisecond())))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_197_600_000, "2026-11-20T18:00:00.000Z"),
            (1_795_197_600_007, "2026-11-20T18:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time(Timestamp(ms)).to_string(), text);
            assert_eq!(text.parse(), Ok(Time(Timestamp(ms))));
        }
    }

    #[test]
    fn offsets_are_read_and_the_end_of_time_is_written() {
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), Ok(Time(Timestamp(0))));
        assert_eq!(Time(Timestamp(i64::MAX)).to_string(), "9999-12-30T22:00:00.999Z");
        let error = "yesterday".parse::<Time>().expect_err("no time");
        assert_eq!(error.to_string(), "\"yesterday\" is not a time: write it as 2026-11-20T18:00:00.000Z");
    }
}
