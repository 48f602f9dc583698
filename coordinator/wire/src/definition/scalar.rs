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

/// Words that YAML readers disagree on, with what to write instead.
fn trap(text: &str) -> Option<(String, String)> {
    let shown = shorten(text);
    let lower = text.to_ascii_lowercase();
    let trap = |meaning: &str, help: String| {
        Some((format!("the unquoted {shown} is read differently by different tools: {meaning}"), help))
    };
    match lower.as_str() {
        "yes" | "on" | "true" => {
            return trap("as true or as a text", format!("write true, or \"{shown}\" in quotes"));
        }
        "no" | "off" | "false" => {
            return trap("as false or as a text", format!("write false, or \"{shown}\" in quotes"));
        }
        "null" => return trap("as null or as a text", format!("write null, or \"{shown}\" in quotes")),
        ".inf" | "+.inf" | "-.inf" | ".nan" => {
            return trap("as a number that JSON lacks", format!("write \"{shown}\" in quotes"));
        }
        _ => {}
    }
    let digits = lower.trim_start_matches(['+', '-']);
    let sign = &lower[..lower.len() - digits.len()];
    let numeric = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let quoted = format!("write \"{shown}\" in quotes, or the number in decimal");
    if digits.len() > 1 && digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let rest = digits.trim_start_matches('0').replace(['.', '_'], "");
        if rest.bytes().all(|b| b.is_ascii_digit()) {
            return trap("its leading zero may be kept, dropped, or mean octal", quoted);
        }
    }
    if let Some(rest) = digits.strip_prefix("0x").or(digits.strip_prefix("0o")).or(digits.strip_prefix("0b"))
    {
        let hex = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
        return hex.then(|| trap("as a number or as a text", quoted)).flatten();
    }
    let odd = digits.contains('_') && numeric(&digits.replace('.', ""))
        || (sign == "+" || digits.starts_with('.') || digits.ends_with('.'))
            && digits.parse::<f64>().is_ok()
            && digits.bytes().any(|b| b.is_ascii_digit());
    if odd { trap("as a number or as a text", quoted) } else { None }
}

/// Whether a word is a number by JSON's grammar.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let begins = text.starts_with(|c: char| c.is_ascii_digit());
    begins && text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) && {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }
}
