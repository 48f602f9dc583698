//! Definitions changed byte by byte, line by line, and in their structure.

use crate::{corpus::Corpus, dice::Dice};
use serde_json::{Map, Value, json};

/// Pieces that break things.
const PIECES: [&str; 44] = [
    "\"",
    "'",
    "${{",
    "}}",
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\t",
    "&a ",
    "*a",
    "!t ",
    "!!str ",
    "|",
    ">-",
    "#",
    "yes",
    "012",
    "é",
    "steps.",
    "input",
    "\u{1f600}",
    "\r\n",
    "\u{feff}",
    "\u{2028}",
    "\u{0}",
    "\u{85}",
    "\u{202e}",
    "\\ud800",
    "<<: *a",
    "? ",
    "%YAML 1.2",
    "---",
    "...",
    "~",
    "1e999",
    "-0",
    "99999999999999999999",
    "null",
    "@`",
];

/// Keys of the language and of its schemas, and some that are not.
const KEYS: [&str; 46] = [
    "saga",
    "version",
    "deadline",
    "input",
    "steps",
    "output",
    "action",
    "await",
    "compensation",
    "reason",
    "read_only",
    "with",
    "after",
    "when",
    "for_each",
    "parallel",
    "pivot",
    "retry",
    "timeout",
    "within",
    "unwind",
    "returns",
    "default",
    "operation",
    "quick",
    "attempts",
    "first",
    "factor",
    "max",
    "type",
    "properties",
    "items",
    "$ref",
    "$defs",
    "required",
    "additionalProperties",
    "enum",
    "const",
    "pattern",
    "maxItems",
    "prefixItems",
    "anyOf",
    "not",
    "format",
    "if",
    "x",
];

/// Expressions, and what is nearly one.
const EXPRESSIONS: [&str; 40] = [
    "input",
    "input.lines",
    "input.lines[0].sku",
    "input['order']",
    "steps.quote.output",
    "steps.order.output.total",
    "steps.x.output.y",
    "item",
    "item.sku",
    "index",
    "saga.id",
    "input.a | default(none)",
    "steps.hold.output | default([])",
    "steps.deduct.output is defined",
    "input.prepaid and not input.x",
    "1 + 2 * 3 ** 2",
    "'a' ~ input.order ~ 1.5",
    "[1, 'b', none, {}]",
    "{'a': [input]}",
    "range(10)",
    "input.lines | map(attribute='qty') | sum",
    "input.lines | selectattr('sku', 'gt', 1) | list",
    "a if b else c",
    "(input.a).b",
    "input.lines[1:2][::-1]",
    "input.a in [1, 2]",
    "input.a not in input.b",
    "dict(a=1)",
    "-input.n",
    "not not true",
    "input | length",
    "\"x\\\"y\"",
    "'}}'",
    "1 2",
    "",
    "input.",
    "now()",
    "input.a.b()",
    "((((((((1))))))))",
    "1e400",
];

/// Values to put anywhere.
fn value(dice: &mut Dice) -> Value {
    match dice.below(22) {
        0 => json!(null),
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(18446744073709551615u64),
        5 => json!(1.5e300),
        6 => json!(""),
        7 => json!("5m"),
        8 => json!("inventory.hold"),
        9 => json!("order@1"),
        10 => json!("none"),
        11 => json!([]),
        12 => json!({}),
        13 => {
            json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string"}}})
        }
        14 => json!({"$ref": "#/$defs/lines"}),
        15 => json!({"operation": "p.u", "with": "${{ steps.x.output }}"}),
        16 => json!("x".repeat(dice.below(3000))),
        17 => json!("é\u{1f600}\u{0}\u{2028}\u{feff}\\\"'"),
        18 => json!([1, [2, [3, [4, [5]]]]]),
        _ => json!(expression(dice)),
    }
}

fn expression(dice: &mut Dice) -> String {
    let (one, other) = (dice.pick(&EXPRESSIONS), dice.pick(&EXPRESSIONS));
    match dice.below(6) {
        0 => format!("${{{{ {one} and {other} }}}}"),
        1 => format!("a ${{{{ {one} }}}} b ${{{{ {other} }}}}"),
        2 => format!("${{{{ {one} == {other} }}}}"),
        _ => format!("${{{{ {one} }}}}"),
    }
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

/// Some pieces removed, repeated, or put in.
pub(crate) fn bytes(corpus: &Corpus, dice: &mut Dice) -> String {
    let mut text = dice.pick(&corpus.texts).clone();
    for _ in 0..1 + dice.below(6) {
        let from = boundary(&text, dice.below(text.len()));
        let to = boundary(&text, from + dice.below(30)).max(from);
        match dice.below(4) {
            0 => text.replace_range(from..to, ""),
            1 => {
                let copy = text[from..to].repeat(1 + dice.below(3));
                let at = boundary(&text, dice.below(text.len()));
                text.insert_str(at, &copy);
            }
            2 => text.replace_range(from..to, dice.pick::<&str>(&PIECES)),
            _ => text.insert_str(from, dice.pick::<&str>(&PIECES)),
        }
    }
    text
}

/// Some lines removed, repeated, moved, indented, or taken from another definition.
pub(crate) fn lines(corpus: &Corpus, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = dice.pick(&corpus.texts).lines().map(str::to_owned).collect();
    for _ in 0..1 + dice.below(6) {
        if lines.is_empty() {
            break;
        }
        let at = dice.below(lines.len());
        match dice.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(dice.below(lines.len()), lines[at].clone()),
            2 => lines.swap(at, dice.below(at + 1)),
            3 => lines[at].insert_str(0, "  "),
            4 => lines[at] = lines[at].trim_start_matches("  ").to_owned(),
            _ => {
                let other: Vec<&str> = dice.pick(&corpus.texts).lines().collect();
                let from = dice.below(other.len());
                let taken = other.iter().skip(from).take(1 + dice.below(8)).map(|line| (*line).to_owned());
                lines.splice(at..at, taken.collect::<Vec<_>>());
            }
        }
    }
    lines.join("\n")
}

/// A sound definition with some of its parts changed, as JSON.
pub(crate) fn tree(corpus: &Corpus, dice: &mut Dice) -> String {
    let mut root = dice.pick(&corpus.trees).clone();
    for _ in 0..1 + dice.below(4) {
        let donor = dice.pick(&corpus.trees);
        let count = size(&root);
        let mut left = dice.below(count);
        if let Some(place) = nth(&mut root, &mut left) {
            change(place, donor, dice);
        }
    }
    if dice.once_in(2) { format!("{root:#}") } else { root.to_string() }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    }
}

/// The value that is reached after `left` others.
fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        Value::Object(members) => members.iter_mut().find_map(|(_, member)| nth(member, left)),
        _ => None,
    }
}

fn change(place: &mut Value, donor: &Value, dice: &mut Dice) {
    match (dice.below(8), place) {
        (0..=2, Value::Object(members)) => {
            members.insert((*dice.pick(&KEYS)).to_owned(), value(dice));
        }
        (3, Value::Object(members)) => rename(members, dice),
        (4, Value::Object(members)) => {
            let keys: Vec<String> = members.keys().cloned().collect();
            members.remove(keys.get(dice.below(keys.len())).map_or("", String::as_str));
        }
        (0..=2, Value::Array(items)) => {
            let at = dice.below(items.len() + 1);
            let item = items.get(dice.below(items.len())).cloned().unwrap_or_else(|| value(dice));
            items.insert(at, item);
        }
        (3 | 4, Value::Array(items)) if !items.is_empty() => drop(items.remove(dice.below(items.len()))),
        (5, place) => {
            let mut left = dice.below(size(donor));
            if let Some(taken) = nth(&mut donor.clone(), &mut left) {
                *place = taken.clone();
            }
        }
        (_, place) => *place = value(dice),
    }
}

fn rename(members: &mut Map<String, Value>, dice: &mut Dice) {
    let keys: Vec<String> = members.keys().cloned().collect();
    if let Some(value) = keys.get(dice.below(keys.len())).and_then(|key| members.remove(key)) {
        members.insert((*dice.pick(&KEYS)).to_owned(), value);
    }
}
