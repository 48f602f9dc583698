//! What an unquoted word of YAML means: JSON's words and numbers, or a text; traps are told.
//!
//! YAML readers disagree on `yes`, `012`, `0x1F`, `1_000` and their like. A definition is read by people and
//! by more than one tool, so none of these is given a meaning: each is a fault that says what to write.

use super::{
    diagnostic::Faults,
    tree::{Kind, shorten},
};
use serde_json::value::RawValue;
use std::ops::Range;

/// What an unquoted word means: JSON's words and numbers, and any text that is no trap.
pub(super) fn plain(text: &str, raw: Range<usize>, faults: &mut Faults) -> Kind {
    let at = raw.start;
    match text {
        "" | "~" | "null" => return Kind::Null,
        "true" => return Kind::Bool(true),
        "false" => return Kind::Bool(false),
        _ => {}
    }
    if let Some((message, help)) = trap(text) {
        faults.add(at, message, help);
        return Kind::Bad;
    }
    if is_json_number(text) {
        if !crate::canonical::keeps(text) {
            let message = format!("the number {} cannot be kept exactly", shorten(text));
            faults.add(at, message, "put it into quotes, or use fewer digits");
            return Kind::Bad;
        }
        if let Ok(number) = serde_json::from_str(text) {
            return Kind::Number(number);
        }
    }
    Kind::Text(text.to_owned(), raw)
}

/// Words that YAML readers disagree on: the fault, and what to write instead.
fn trap(text: &str) -> Option<(String, String)> {
    let shown = shorten(text);
    let (meaning, instead) = match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => ("as true or as a text", "write true, or"),
        "no" | "off" | "false" => ("as false or as a text", "write false, or"),
        "null" => ("as null or as a text", "write null, or"),
        ".inf" | "+.inf" | "-.inf" | ".nan" => ("as a number that JSON lacks", "write"),
        lower => (odd_number(lower)?, "write the number in plain decimal, or"),
    };
    let message = format!("the unquoted {shown} is read differently by different tools: {meaning}");
    Some((message, format!("{instead} \"{shown}\" in quotes")))
}

/// Says how a number that JSON would write otherwise is read by others.
fn odd_number(lower: &str) -> Option<&'static str> {
    const EITHER: Option<&str> = Some("as a number or as a text");
    let number = lower.trim_start_matches(['+', '-']);
    for prefix in ["0x", "0o", "0b"] {
        if let Some(rest) = number.strip_prefix(prefix) {
            let digits = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
            return if digits { EITHER } else { None };
        }
    }
    let first = number.bytes().next()?;
    let numeric = number.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b'.');
    let points = number.matches('.').count();
    if !numeric || points > 1 || !number.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded = first == b'0' && number[1..].starts_with(|c: char| c.is_ascii_digit());
    let odd = lower.starts_with('+') || first == b'.' || number.ends_with('.') || number.contains('_');
    match (padded, odd) {
        (true, _) => Some("its leading zero may be kept, dropped, or mean octal"),
        (false, true) => EITHER,
        (false, false) => None,
    }
}

/// Whether a word is a number by JSON's grammar.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let begins = text.starts_with(|c: char| c.is_ascii_digit());
    begins && text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) && {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }
}
