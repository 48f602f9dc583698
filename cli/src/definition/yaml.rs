//! A definition's JSON form as YAML, laid out as people write it: keys in the order in which the language is told,
//! one thing on a line.
//!
//! What is written here is read back as the same definition, whatever stands in it: a text that YAML could take for
//! something else, or that a terminal would obey, is quoted and escaped.

use serde_json::{Map, Value};

/// In which order keys are written, wherever they stand; others follow in their alphabetical order.
const ORDER: &[&str] = &[
    "saga",
    "version",
    "deadline",
    "input",
    "steps",
    "after",
    "when",
    "for_each",
    "parallel",
    "pivot",
    "action",
    "await",
    "read_only",
    "compensation",
    "operation",
    "reason",
    "with",
    "timeout",
    "default",
    "within",
    "retry",
    "quick",
    "attempts",
    "first",
    "factor",
    "max",
    "unwind",
    "returns",
    "output",
    "type",
    "required",
    "additionalProperties",
    "properties",
    "items",
];

/// The longest list that is written on one line, in bytes.
const LINE_LIST_MAX: usize = 70;

/// Writes a definition.
pub(super) fn write(content: &Value) -> String {
    let mut text = String::new();
    match content {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in ordered(members, &[]) {
                // A blank line sets the long parts of a definition apart.
                if matches!(key.as_str(), "input" | "steps" | "output") && !text.is_empty() {
                    text.push('\n');
                }
                member(&mut text, key, value, 0, key);
            }
        }
        other => {
            text.push_str(&inline(other));
            text.push('\n');
        }
    }
    text
}

/// Members in the order they are written. Below `with`, `default` and the like keys are a caller's own and stay in
/// alphabetical order.
fn ordered<'a>(members: &'a Map<String, Value>, free: &[&str]) -> Vec<(&'a String, &'a Value)> {
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    if free.is_empty() {
        let place = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
        members.sort_by_key(|(key, _)| place(key));
    }
    members
}

/// Writes `key: value`, indented; `path` says below which key it stands.
fn member(text: &mut String, key: &str, value: &Value, indent: usize, path: &str) {
    text.push_str(&" ".repeat(indent));
    text.push_str(&scalar(key));
    text.push(':');
    below(text, value, indent, path);
}

/// Writes what stands behind a colon.
fn below(text: &mut String, value: &Value, indent: usize, path: &str) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            for (key, value) in ordered(members, free(path)) {
                member(text, key, value, indent + 2, deeper(path, key));
            }
        }
        Value::Array(items) if !on_one_line(items) => {
            text.push('\n');
            for item in items {
                self::item(text, item, indent + 2, path);
            }
        }
        other => {
            text.push(' ');
            text.push_str(&inline(other));
            text.push('\n');
        }
    }
}

/// Writes `- value`; an object's first member stands behind the dash.
fn item(text: &mut String, value: &Value, indent: usize, path: &str) {
    let mut written = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in ordered(members, free(path)) {
                member(&mut written, key, value, indent + 2, deeper(path, key));
            }
        }
        Value::Array(items) if !on_one_line(items) => {
            for item in items {
                self::item(&mut written, item, indent + 2, path);
            }
        }
        other => written = format!("{}{}\n", " ".repeat(indent + 2), inline(other)),
    }
    text.push_str(&" ".repeat(indent));
    text.push_str("- ");
    text.push_str(written.trim_start_matches(' '));
}

/// What a path below a key is called: once inside a caller's own value, it stays there.
fn deeper<'a>(path: &'a str, key: &'a str) -> &'a str {
    if free(path).is_empty() { key } else { path }
}

/// Not empty where keys are a caller's own.
fn free(path: &str) -> &'static [&'static str] {
    const OWN: &[&str] = &["with", "default", "output"];
    if OWN.contains(&path) { OWN } else { &[] }
}

/// Whether a list is short and of plain things, such as names.
fn on_one_line(items: &[Value]) -> bool {
    let plain = items.iter().all(|item| !matches!(item, Value::Object(_) | Value::Array(_)));
    plain && items.iter().map(|item| inline(item).len() + 2).sum::<usize>() <= LINE_LIST_MAX
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// A text: as it is where nobody could take it for something else, otherwise in quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic()) || is_span(text);
    let rest = |glyph: char| glyph.is_ascii_alphanumeric() || "_-./@".contains(glyph);
    starts && text.chars().all(rest) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// A number and a unit, such as `15m`, is a text in YAML.
fn is_span(text: &str) -> bool {
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
    unit.len() < text.len() && ["ms", "s", "m", "h", "d"].contains(&unit)
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for glyph in text.chars() {
        match glyph {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(glyph)));
            }
            glyph if glyph.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(glyph))),
            glyph => quoted.push(glyph),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
