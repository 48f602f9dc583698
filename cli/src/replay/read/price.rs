//! Prices: decimal text to whole minor units, exactly and without a float on the way.

/// The largest amount in minor units: 2^53 - 1, which every JSON reader keeps exactly.
pub const MINOR_MAX: i64 = (1 << 53) - 1;

/// Reads a price of hundredths: `2`, `2.5`, `2.55`, `.55`, `2.550`.
///
/// # Errors
/// What is wrong with it. A price with a part of a minor unit is refused, not rounded.
pub fn minor(text: &str) -> Result<i64, &'static str> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("is below zero");
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !are_digits(whole) || !are_digits(fraction) {
        return Err("is no decimal number");
    }
    let (cents, rest) = fraction.split_at(fraction.len().min(2));
    if rest.bytes().any(|digit| digit != b'0') {
        return Err("has a part of a minor unit");
    }
    let number = format!("{whole}{cents:0<2}");
    number.parse().ok().filter(|minor| *minor <= MINOR_MAX).ok_or("is too large")
}
