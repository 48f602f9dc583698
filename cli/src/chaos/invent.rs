//! What nobody has said, invented so that a definition can be rehearsed as it is: an input that fits its schema, and
//! outputs that have what its expressions read.
//!
//! Inventions are plain: the number 1, a short text, a list of one. Whoever needs better ones says them.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The members that a definition reads from the output of each step, as paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inventions {
    read: BTreeMap<String, BTreeSet<Vec<String>>>,
}

/// How deep a schema is followed.
const DEPTH_MAX: usize = 16;

impl Inventions {
    /// Finds every `steps.NAME.output.MEMBER` in a definition.
    pub(super) fn of(content: &Value) -> Inventions {
        let mut inventions = Inventions::default();
        inventions.look(content);
        inventions
    }

    fn look(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.look_at_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(members) => members.values().for_each(|member| self.look(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn look_at_text(&mut self, text: &str) {
        for (at, _) in text.match_indices("steps.") {
            let rest = &text[at + "steps.".len()..];
            let step = word(rest, true);
            let Some(mut rest) = rest[step.len()..].strip_prefix(".output") else { continue };
            let mut path = Vec::new();
            while let Some(after) = rest.strip_prefix('.') {
                let member = word(after, false);
                if member.is_empty() {
                    break;
                }
                path.push(member.to_owned());
                rest = &after[member.len()..];
            }
            if !path.is_empty() {
                self.read.entry(step.to_owned()).or_default().insert(path);
            }
        }
    }

    /// The output of a step whose call had this body: the body, with what is read from it and not there.
    pub(super) fn output(&self, step: &str, body: &Value) -> Value {
        let mut output = body.clone();
        for path in self.read.get(step).into_iter().flatten() {
            put(&mut output, path);
        }
        output
    }
}

/// The name at the beginning of a text; names of steps may have dashes.
fn word(text: &str, dashes: bool) -> &str {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || (dashes && letter == '-');
    &text[..text.find(|letter| !part(letter)).unwrap_or(text.len())]
}

/// Puts a member where there is none.
fn put(value: &mut Value, path: &[String]) {
    let Some((member, rest)) = path.split_first() else { return };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(members) = value else { return };
    let missing = if rest.is_empty() { json!(1) } else { Value::Object(Map::new()) };
    let found = members.entry(member.clone()).or_insert(missing);
    if !rest.is_empty() {
        put(found, rest);
    }
}

/// An input that fits a JSON Schema of the usual kind: what is required, as small as may be. `{number}` in a text stands
/// for the number of the saga.
pub(super) fn input(schema: Option<&Value>) -> Value {
    schema.map_or_else(|| json!({}), |schema| sample(schema, "input", 0))
}

fn sample(schema: &Value, name: &str, depth: usize) -> Value {
    for said in ["const", "default"] {
        if let Some(value) = schema.get(said) {
            return value.clone();
        }
    }
    for said in ["examples", "enum"] {
        if let Some(first) = schema.get(said).and_then(Value::as_array).and_then(|values| values.first()) {
            return first.clone();
        }
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None if schema.get("properties").is_some() => Some("object"),
        None => None,
    };
    let count = |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    match kind {
        _ if depth > DEPTH_MAX => Value::Null,
        Some("object") => object(schema, depth),
        Some("array") => {
            let item = schema.get("items").map_or(json!(1), |items| sample(items, name, depth + 1));
            Value::Array(vec![item; count("minItems").unwrap_or(1).min(64)])
        }
        Some("integer" | "number") => number(schema),
        Some("string") => json!(text(name, count("minLength").unwrap_or(0), count("maxLength"))),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!({}),
    }
}

fn object(schema: &Value, depth: usize) -> Value {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let members = required.filter_map(Value::as_str).map(|name| {
        let member = schema.get("properties").and_then(|properties| properties.get(name));
        (name.to_owned(), member.map_or(json!(1), |member| sample(member, name, depth + 1)))
    });
    Value::Object(members.collect())
}

fn number(schema: &Value) -> Value {
    let whole = |word: &str| schema.get(word).and_then(Value::as_i64);
    let least = whole("minimum").or(whole("exclusiveMinimum").map(|bound| bound.saturating_add(1)));
    let most = whole("maximum").or(whole("exclusiveMaximum").map(|bound| bound.saturating_sub(1)));
    json!(1.max(least.unwrap_or(1)).min(most.unwrap_or(i64::MAX)))
}

/// A text that differs from saga to saga where there is room for it.
fn text(name: &str, least: usize, most: Option<usize>) -> String {
    // The number of the saga takes up to seven letters.
    let mut text = if most.is_none_or(|most| most >= name.len() + 8) {
        format!("{name}-{{number}}")
    } else {
        "x".repeat(least.max(1))
    };
    while text.len() < least {
        text.push('x');
    }
    text
}

/// An input with `{number}` in its texts replaced by the number of the saga, and `{run}` by what tells this run from others.
pub(super) fn filled(value: &Value, number: u64, run: &str) -> Value {
    match value {
        Value::String(text) if text.contains('{') => {
            Value::String(text.replace("{number}", &number.to_string()).replace("{run}", run))
        }
        Value::Array(items) => items.iter().map(|item| filled(item, number, run)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), filled(member, number, run))).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amends_wire::definition::Text;

    #[test]
    fn outputs_have_what_is_read_from_them() {
        let content = json!({ "steps": [
            { "a": { "with": { "x": "${{ steps.quote-1.output.total * 2 }}" } } },
            { "b": { "with": "${{ steps.quote-1.output.deep.er | default(1) }} and ${{ steps.c.output }}" } },
        ]});
        let inventions = Inventions::of(&content);
        let body = json!({ "lines": [1] });
        assert_eq!(
            inventions.output("quote-1", &body),
            json!({ "lines": [1], "total": 1, "deep": { "er": 1 } })
        );
        assert_eq!(
            inventions.output("quote-1", &json!({ "total": 7, "deep": 1 })),
            json!({ "total": 7, "deep": { "er": 1 } })
        );
        assert_eq!(inventions.output("c", &json!([1])), json!([1]));
    }

    #[test]
    fn the_shops_definitions_get_inputs_that_fit() {
        for source in [
            include_str!("../../../sagas/checkout.yaml"),
            include_str!("../../../sagas/order.yaml"),
            include_str!("../../../sagas/parallel.yaml"),
        ] {
            let text = Text::read(source).expect("a definition");
            let input = filled(&input(text.to_json().get("input")), 7, "r");
            assert_eq!(text.check_input(&input), Ok(()), "{}: {input}", text.name);
            assert_eq!(input["order"], "order-7");
        }
    }

    #[test]
    fn samples_keep_to_their_bounds() {
        for (schema, expected) in [
            (json!({ "type": "integer", "minimum": 5 }), json!(5)),
            (json!({ "type": "number", "maximum": 0 }), json!(0)),
            (json!({ "enum": ["EUR", "USD"] }), json!("EUR")),
            (json!({ "type": "string", "minLength": 3, "maxLength": 3 }), json!("xxx")),
            (json!({ "type": ["string", "null"] }), json!("input-{number}")),
            (json!({ "type": "array", "minItems": 2, "items": { "type": "boolean" } }), json!([true, true])),
            (json!({ "type": "object", "required": ["a"] }), json!({ "a": 1 })),
        ] {
            assert_eq!(input(Some(&schema)), expected, "{schema}");
        }
    }
}
