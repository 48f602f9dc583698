//! Numbers and spans of time that have bounds, and the addresses of hooks.

use amends_saga::Millis;
use amends_server::hooks::{Hook, HookEvent};
use amends_wire::span::Span;
use std::{str::FromStr, time::Duration};

/// A span of time that is not nothing, such as `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(Span);

impl Period {
    /// As the runtime counts it.
    pub fn duration(self) -> Duration {
        self.0.millis().into()
    }

    /// As sagas count it.
    pub fn millis(self) -> Millis {
        self.0.millis()
    }
}

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Period, String> {
        let span: Span = text.parse().map_err(|error: amends_wire::span::BadSpan| error.to_string())?;
        match span.millis() {
            Millis(0) => Err("expected more than no time at all, such as 30s".to_owned()),
            _ => Ok(Period(span)),
        }
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within<const MIN: u32, const MAX: u32>(u32);

/// How often something is tried.
pub type Attempts = Within<1, 10_000>;

/// How often something is tried in line.
pub type Quick = Within<0, 100>;

impl<const MIN: u32, const MAX: u32> Within<MIN, MAX> {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Within<MIN, MAX> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Within).ok_or_else(|| format!("expected a whole number from {MIN} to {MAX}"))
    }
}

/// What each wait is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor(f64);

impl Factor {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Factor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Factor, &'static str> {
        let factor = text.parse().ok().filter(|factor| (1.0..=100.0).contains(factor));
        factor.map(Factor).ok_or("expected a number from 1 to 100")
    }
}

/// Where a hook is. It may hold a secret, so it is not shown whole.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(String);

impl HookUrl {
    /// The whole address.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for HookUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<HookUrl, String> {
        let checked = Hook::new(text, None, HookEvent::ALL.to_vec());
        checked.map(|_| HookUrl(text.to_owned())).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookUrl(…)")
    }
}

/// The secret that messages to a hook are signed with; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(String);

impl HookSecret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for HookSecret {
    type Err = String;
    fn from_str(text: &str) -> Result<HookSecret, String> {
        amends_wire::participant::Secret::parse(text).map(|_| HookSecret(text.to_owned()))
    }
}

impl std::fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?}");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_and_spans_have_bounds() {
        check::<Period>(&["1ms", "30s", "24h"], &["0s", "", "30", "-1s", "soon"]);
        check::<Attempts>(&["1", "10000"], &["0", "10001", "-1", "many"]);
        check::<Quick>(&["0", "100"], &["101", ""]);
        check::<Factor>(&["1", "1.5", "100"], &["0.5", "101", "NaN", "inf", "x"]);
    }

    #[test]
    fn a_hook_has_an_address_and_a_secret_that_are_not_shown() {
        check::<HookUrl>(&["https://example.com/a?b=c"], &["example.com", "http://169.254.169.254/"]);
        check::<HookSecret>(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], &["whsec_", "hunter2"]);
        let url: HookUrl = "https://example.com/s3cret".parse().expect("an address");
        assert!(!format!("{url:?}").contains("s3cret"));
    }
}
