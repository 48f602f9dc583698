//! What nobody has said, invented so that a definition can be rehearsed as it is: an input that fits its schema, and
//! outputs that have what its expressions read.
//!
//! Inventions are plain: the number 1, a short text, a list of one. Whoever needs better ones says them.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What definitions want of their steps' outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inventions {
    /// The members that are read from the output of each step, as paths.
    read: BTreeMap<String, BTreeSet<Vec<String>>>,
    /// The schemas that outputs are to fit, by step and by the operation that it calls; none for one that waits.
    returns: BTreeMap<(String, String), Vec<Value>>,
}

/// How deep a schema is followed.
const DEPTH_MAX: usize = 16;

impl Inventions {
    /// Finds every `steps.NAME.output.MEMBER` in definitions, and what their steps are to return.
    pub(super) fn of<'a>(contents: impl IntoIterator<Item = &'a Value>) -> Inventions {
        let mut inventions = Inventions::default();
        for content in contents {
            inventions.look(content);
            let steps = content.get("steps").and_then(Value::as_array).into_iter().flatten();
            for (name, step) in steps.filter_map(Value::as_object).flatten() {
                let Some(schema) = step.get("returns") else { continue };
                let called = step.get("action").and_then(Value::as_str).unwrap_or_default();
                let key = (name.clone(), called.to_owned());
                inventions.returns.entry(key).or_default().push(schema.clone());
            }
        }
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
            let Some(rest) = rest[step.len()..].strip_prefix(".output") else { continue };
            // Of a list, each item is asked for what is read from one of them.
            let mut rest = past_index(rest);
            let mut path = Vec::new();
            while let Some(after) = rest.strip_prefix('.') {
                let member = word(after, false);
                if member.is_empty() {
                    break;
                }
                path.push(member.to_owned());
                rest = &after[member.len()..];
            }
            let read = self.read.entry(step.to_owned()).or_default();
            read.extend((!path.is_empty()).then_some(path));
            read.extend(attributes(rest).map(|member| vec![member]));
        }
    }

    /// The output of a step whose call of an operation had this body: the body, as far as the step may return it, with
    /// what it is to return and what is read from it.
    pub(super) fn output(&self, step: &str, operation: &str, body: &Value) -> Value {
        let step = step.split_once('[').map_or(step, |(step, _)| step);
        let mut output = body.clone();
        for schema in self.returns.get(&(step.to_owned(), operation.to_owned())).into_iter().flatten() {
            output = returned(schema, &output);
        }
        for path in self.read.get(step).into_iter().flatten() {
            put(&mut output, path);
        }
        output
    }
}

/// What follows the place of an item, as in `[0].total`.
fn past_index(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(_, rest)| rest)
}

/// The members that filters take from each item of a list, as in `| sum(attribute='total')`.
fn attributes(text: &str) -> impl Iterator<Item = String> {
    let text = text.split_once("}}").map_or(text, |(expression, _)| expression);
    let named = text.split("attribute=").skip(1);
    named
        .map(|rest| word(rest.trim_start_matches(['\'', '"']), false).to_owned())
        .filter(|word| !word.is_empty())
}

/// A body made to fit a schema: what the schema speaks of is as it says, and what it allows beside stays.
fn returned(schema: &Value, body: &Value) -> Value {
    let made = filled(
        &Sampling { root: schema, whole: true, children: &[], items: 1 }.of(schema, "output", 0),
        0,
        "r",
    );
    let (Value::Object(mut made), Value::Object(body)) = (made.clone(), body) else { return made };
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    for (name, member) in body {
        match made.get(name) {
            None if !is_closed => drop(made.insert(name.clone(), member.clone())),
            Some(wanted) if kind(wanted) == kind(member) && !wanted.is_object() && !wanted.is_array() => {
                // A text or number of the body may be out of bounds that the sample keeps to.
                let says = schema.get("properties").and_then(|all| all.get(name)).and_then(Value::as_object);
                if says.is_some_and(|says| says.keys().all(|word| word == "type")) {
                    made.insert(name.clone(), member.clone());
                }
            }
            Some(_) | None => {}
        }
    }
    Value::Object(made)
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
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
///
/// Of a member of which the schema says no more than that it is a list, or nothing, `children` are asked: the schemas of
/// the sagas that are run, to which inputs are mostly handed on under the same name.
/// Lists have `items` items where that is allowed.
pub(super) fn input(schema: Option<&Value>, children: &[&Value], items: usize) -> Value {
    let made = |schema| Sampling { root: schema, whole: false, children, items }.of(schema, "input", 0);
    schema.map_or_else(|| json!({}), made)
}

/// Making values that fit a schema.
struct Sampling<'a> {
    /// The whole schema, in which references point.
    root: &'a Value,
    /// Whether objects have every member that is spoken of, or only those that are required.
    whole: bool,
    /// Schemas that may know more of a member.
    children: &'a [&'a Value],
    /// How many items lists have where that is allowed.
    items: usize,
}

impl Sampling<'_> {
    fn of(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        for said in ["const", "default"] {
            if let Some(value) = schema.get(said) {
                return value.clone();
            }
        }
        let list = |word: &str| schema.get(word).and_then(Value::as_array);
        for said in ["examples", "enum"] {
            if let Some(first) = list(said).and_then(|values| values.first()) {
                return first.clone();
            }
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|at| self.target(at)) {
            return self.of(target, name, depth + 1);
        }
        if let Some(all) = list("allOf") {
            return self.of(&together(schema, all.iter().map(|one| self.followed(one))), name, depth + 1);
        }
        if let Some(first) = list("oneOf").or(list("anyOf")).and_then(|ways| ways.first()) {
            return self.of(&together(schema, [self.followed(first)]), name, depth + 1);
        }
        self.plain(schema, name, depth)
    }

    fn plain(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            Some(kind) => kind.as_str(),
            None if schema.get("properties").is_some() || schema.get("required").is_some() => Some("object"),
            None if schema.get("items").is_some() => Some("array"),
            None => None,
        };
        let count =
            |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        match kind {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                let item = schema.get("items").map_or(json!(1), |items| self.of(items, name, depth + 1));
                let least = count("minItems").unwrap_or(1).max(self.items);
                let most = count("maxItems").unwrap_or(usize::MAX).min(64);
                Value::Array((0..least.min(most)).map(|at| told_apart(&item, at)).collect())
            }
            Some("integer" | "number") => number(schema),
            Some("string") => json!(text(name, count("minLength").unwrap_or(0), count("maxLength"))),
            Some("boolean") => json!(true),
            Some("null") => Value::Null,
            _ => json!({}),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let spoken_of = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let mut names: BTreeSet<&str> = required.filter_map(Value::as_str).collect();
        if self.whole {
            names.extend(spoken_of.into_iter().flatten().map(|(name, _)| name.as_str()));
        }
        let members = names.into_iter().map(|name| {
            let member = spoken_of.and_then(|members| members.get(name));
            let known = member.filter(|member| says_enough(member));
            let value = match known.or_else(|| member.filter(|_| self.children.is_empty())) {
                Some(member) => self.of(member, name, depth + 1),
                None => self
                    .handed_on(name, depth)
                    .unwrap_or_else(|| member.map_or(json!(1), |member| self.of(member, name, depth + 1))),
            };
            (name.to_owned(), value)
        });
        Value::Object(members.collect())
    }

    /// What the first of the sagas that are run wants of a member of this name.
    fn handed_on(&self, name: &str, depth: usize) -> Option<Value> {
        self.children.iter().find_map(|schema| {
            let member = schema.get("properties")?.get(name)?;
            let inner = Sampling { root: schema, whole: self.whole, children: &[], items: self.items };
            Some(inner.of(member, name, depth + 1))
        })
    }

    /// What a reference within the schema points to; `None` for one that leads elsewhere.
    fn target(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    /// A schema, or what stands in its place where it is a reference.
    fn followed<'s>(&'s self, schema: &'s Value) -> &'s Value {
        schema.get("$ref").and_then(Value::as_str).and_then(|at| self.target(at)).unwrap_or(schema)
    }
}

/// An item in its place of a list: texts that differ from saga to saga differ within the list too.
fn told_apart(item: &Value, at: usize) -> Value {
    match item {
        Value::String(text) if at > 0 => json!(text.replace("{number}", &format!("{{number}}-{at}"))),
        Value::Array(items) => items.iter().map(|item| told_apart(item, at)).collect(),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), told_apart(member, at))).collect(),
        ),
        other => other.clone(),
    }
}

/// Whether a schema says what a value of it has within.
fn says_enough(schema: &Value) -> bool {
    let has = |word: &str| schema.get(word).is_some();
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => ["items", "default", "const", "enum", "examples"].into_iter().any(has),
        Some("object") => ["properties", "required", "default", "const", "enum"].into_iter().any(has),
        Some(_) => true,
        None => schema.as_object().is_some_and(|words| !words.is_empty()),
    }
}

/// A schema and those that hold beside it, as one: later words win, lists of required members add up.
fn together<'a>(schema: &Value, others: impl IntoIterator<Item = &'a Value>) -> Value {
    let own = schema.as_object().into_iter().flatten();
    let own = own.filter(|(word, _)| !matches!(word.as_str(), "allOf" | "oneOf" | "anyOf"));
    let mut all: Map<String, Value> = own.map(|(word, value)| (word.clone(), value.clone())).collect();
    for (word, value) in others.into_iter().filter_map(Value::as_object).flatten() {
        match (all.get_mut(word), value) {
            (Some(Value::Array(known)), Value::Array(more)) if word == "required" => {
                known.extend(more.clone())
            }
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
            _ => drop(all.insert(word.clone(), value.clone())),
        }
    }
    Value::Object(all)
}

fn number(schema: &Value) -> Value {
    let whole = |word: &str| schema.get(word).and_then(Value::as_i64);
    let least = whole("minimum").or(whole("exclusiveMinimum").map(|bound| bound.saturating_add(1)));
    let most = whole("maximum").or(whole("exclusiveMaximum").map(|bound| bound.saturating_sub(1)));
    json!(1.max(least.unwrap_or(1)).min(most.unwrap_or(i64::MAX)))
}

/// A text that differs from saga to saga where there is room for it.
fn text(name: &str, least: usize, most: Option<usize>) -> String {
    // The number of the saga takes up to seven letters, and the place in a list two more with its dash.
    let mut text = if most.is_none_or(|most| most >= name.len() + 11) {
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
        let inventions = Inventions::of([&content]);
        let body = json!({ "lines": [1] });
        assert_eq!(
            inventions.output("quote-1", "", &body),
            json!({ "lines": [1], "total": 1, "deep": { "er": 1 } })
        );
        assert_eq!(
            inventions.output("quote-1", "", &json!({ "total": 7, "deep": 1 })),
            json!({ "total": 7, "deep": { "er": 1 } })
        );
        assert_eq!(inventions.output("c", "", &json!([1])), json!([1]));
    }

    #[test]
    fn the_shops_definitions_get_inputs_that_fit() {
        for source in [
            include_str!("../../../sagas/checkout.yaml"),
            include_str!("../../../sagas/order.yaml"),
            include_str!("../../../sagas/parallel.yaml"),
            include_str!("../../../sagas/parcels.yaml"),
            include_str!("../../../sagas/refund.yaml"),
            include_str!("../../../sagas/order-and-ship.yaml"),
        ] {
            let text = Text::read(source).expect("a definition");
            let input = filled(&input(text.to_json().get("input"), &[], 1), 7, "r");
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
            assert_eq!(input(Some(&schema), &[], 1), expected, "{schema}");
        }
    }

    #[test]
    fn references_and_combinations_are_followed() {
        let schema = json!({
            "type": "object", "required": ["to", "lines"],
            "properties": {
                "to": { "$ref": "#/$defs/place" },
                "lines": { "type": "array", "items": { "allOf": [{ "$ref": "#/$defs/sku" }, { "required": ["qty"] }] } },
            },
            "$defs": {
                "place": { "oneOf": [{ "$ref": "#/$defs/city" }, { "type": "null" }] },
                "city": { "type": "object", "required": ["zip"], "properties": { "zip": { "const": 53111 } } },
                "sku": { "type": "object", "required": ["sku"], "properties": { "sku": { "minimum": 7, "type": "integer" } } },
                "loop": { "$ref": "#/$defs/loop" },
            },
        });
        let expected = json!({ "to": { "zip": 53111 }, "lines": [{ "sku": 7, "qty": 1 }] });
        assert_eq!(input(Some(&schema), &[], 1), expected);
        let endless = json!({ "$ref": "#/$defs/loop", "$defs": { "loop": { "$ref": "#/$defs/loop" } } });
        assert_eq!(input(Some(&endless), &[], 1), Value::Null);
        assert_eq!(input(Some(&json!({ "$ref": "elsewhere.json" })), &[], 1), json!({}));
    }

    #[test]
    fn outputs_are_what_steps_are_to_return() {
        let content = json!({ "steps": [
            { "hold": { "action": "p.hold", "returns": { "type": "object", "required": ["until"], "additionalProperties": false,
                "properties": { "until": { "type": "string", "minLength": 3 }, "order": { "type": "string" }, "n": { "type": "integer" } } } } },
            { "paid": { "await": "paid", "returns": { "type": "integer", "minimum": 3 } } },
            { "sum": { "with": "${{ steps.hold.output[0].n }} ${{ steps.quote.output | map(attribute='price') | sum }}" } },
        ]});
        let inventions = Inventions::of([&content]);
        let body = json!({ "order": "A", "n": "text", "more": 1 });
        let expected = json!({ "until": "until-0", "order": "A", "n": 1 });
        assert_eq!(inventions.output("hold[3]", "p.hold", &body), expected);
        assert_eq!(inventions.output("hold", "p.other", &json!({})), json!({ "n": 1 }));
        assert_eq!(inventions.output("paid", "", &json!({})), json!(3));
        assert_eq!(inventions.output("quote", "p.quote", &json!({})), json!({ "price": 1 }));
    }

    #[test]
    fn what_is_handed_on_is_made_as_the_child_wants_it() {
        let schema = json!({ "type": "object", "required": ["lines", "rest"],
            "properties": { "lines": { "type": "array", "minItems": 1 } } });
        let child = json!({ "properties": {
            "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } }, "rest": { "type": "boolean" } },
            "$defs": { "line": { "type": "object", "required": ["sku"], "properties": { "sku": { "const": 7 } } } } });
        let expected = json!({ "lines": [{ "sku": 7 }], "rest": true });
        assert_eq!(input(Some(&schema), &[&child], 1), expected);
        assert_eq!(input(Some(&schema), &[], 1), json!({ "lines": [1], "rest": 1 }));
        let listed = json!({ "type": "array", "maxItems": 2, "items": { "type": "string" } });
        assert_eq!(input(Some(&listed), &[], 3), json!(["input-{number}", "input-{number}-1"]));
    }
}
