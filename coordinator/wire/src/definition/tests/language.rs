//! The published schema and the reference of the language against the reader: the same keys, the same verdicts.

use super::*;
use crate::definition::step::{call::UNDO_KEYS, keys};
use std::collections::BTreeSet;

const REFERENCE: &str = include_str!("../../../../../sagas/README.md");

fn published() -> Value {
    serde_json::from_str(LANGUAGE_SCHEMA).expect("json")
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().map(|members| members.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[test]
fn the_published_schema_fits_every_definition_that_comes_along() {
    let language = jsonschema::draft202012::new(&published()).expect("a schema");
    for source in COME_ALONG {
        let text = read(source);
        let misfits: Vec<String> = language.iter_errors(text.to_json()).map(|e| e.to_string()).collect();
        assert_eq!(misfits, [""; 0], "{}", text.name);
    }
}

/// A key the reader knows and the schema lacks would be underlined while it is written, and the other way
/// round an editor would offer what is then refused.
#[test]
fn the_published_schema_has_the_keys_that_the_reader_knows() {
    let schema = published();
    let set = |keys: &[&'static str]| keys.iter().copied().collect::<BTreeSet<&str>>();
    for (part, known) in [
        (&schema, KEYS),
        (&schema["$defs"]["call"], keys::CALL_KEYS),
        (&schema["$defs"]["child"], keys::CHILD_KEYS),
        (&schema["$defs"]["await"], keys::AWAIT_KEYS),
        (&schema["$defs"]["compensation"], UNDO_KEYS),
        (&schema["$defs"]["retry"], fields::RETRY_KEYS),
        (&schema["$defs"]["compensation"]["properties"]["retry"], fields::UNDO_RETRY_KEYS),
    ] {
        assert_eq!(keys(&part["properties"]), set(known));
    }
    let of_kinds = [keys::CALL_KEYS, keys::CHILD_KEYS, keys::AWAIT_KEYS].concat();
    assert_eq!(set(keys::ALL_KEYS), set(&of_kinds));
}

#[test]
fn every_key_of_the_published_schema_is_described() {
    let schema = published();
    let definitions = &schema["$defs"];
    for part in [&schema, &definitions["call"], &definitions["child"], &definitions["await"]] {
        for (key, value) in part["properties"].as_object().expect("properties") {
            let named = value["$ref"].as_str().and_then(|name| schema.pointer(&name[1..]));
            let described =
                value.get("description").or_else(|| named.and_then(|named| named.get("description")));
            assert!(
                described.is_some() || ["version", "saga"].contains(&key.as_str()),
                "{key} is not described"
            );
        }
    }
}

#[test]
fn the_published_schema_agrees_with_the_reader() {
    let language = jsonschema::draft202012::new(&published()).expect("a schema");
    let step = |step: Value| json!({"saga": "a", "steps": [{"x": step}]});
    let call = |more: Value| {
        let mut call = json!({"action": "p.o", "read_only": true});
        call.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"saga": "a", "input": true, "steps": [{"x": call}]})
    };
    let past = |more: Value| {
        let pivot = json!({"action": "p.o", "compensation": "none", "reason": "r", "pivot": true});
        json!({"saga": "a", "steps": [{"x": pivot}, {"y": more}]})
    };
    for (definition, fits) in [
        (step(json!({"action": "p.o", "read_only": true})), true),
        (step(json!({"action": "p.o", "compensation": "none", "reason": "r"})), true),
        (step(json!({"action": "p.o", "compensation": {"operation": "p.u", "retry": {"quick": 1}}})), true),
        (step(json!({"await": "s", "timeout": "1s", "default": null, "after": []})), true),
        (step(json!({"saga": "other"})), true),
        (step(json!({"saga": "other@2", "with": {"a": 1}, "within": "1h", "unwind": "eager"})), true),
        (step(json!({"saga": "other", "compensation": "none", "reason": "r"})), true),
        (call(json!({"when": "${{ input.a }}"})), true),
        (call(json!({"for_each": "${{ input.a }}", "parallel": 100})), true),
        (call(json!({"for_each": [1, 2], "with": "${{ item }}"})), true),
        (call(json!({"pivot": true, "returns": {"type": "object"}})), true),
        (call(json!({"pivot": false, "for_each": [1]})), true),
        (past(json!({"action": "p.o"})), true),
        (past(json!({"saga": "other"})), true),
        (past(json!({"action": "p.o", "compensation": "none", "reason": "r"})), true),
        (step(json!({"action": "p.o"})), false),
        (step(json!({"action": "p.o", "pivot": true})), false),
        (step(json!({"action": "p.o", "compensation": "none"})), false),
        (step(json!({"action": "p.o", "compensation": "p.u", "reason": "r"})), false),
        (step(json!({"action": "p.o", "compensation": "p.u", "read_only": true})), false),
        (step(json!({"action": "saga.o", "read_only": true})), false),
        (step(json!({"await": "s"})), false),
        (step(json!({"await": "s", "timeout": "1s", "pivot": true})), false),
        (step(json!({"await": "s", "timeout": "1s", "for_each": [1]})), false),
        (step(json!({"await": "s", "timeout": "0s"})), false),
        (step(json!({"action": "o", "read_only": true})), false),
        (step(json!({"saga": "Other"})), false),
        (step(json!({"saga": "other@0"})), false),
        (step(json!({"saga": "other@one"})), false),
        (step(json!({"saga": "open"})), false),
        (step(json!({"saga": "other", "compensation": "p.u"})), false),
        (step(json!({"saga": "other", "compensation": "none"})), false),
        (step(json!({"saga": "other", "reason": "r"})), false),
        (step(json!({"saga": "other", "retry": {"attempts": 2}})), false),
        (step(json!({"saga": "other", "action": "p.o", "read_only": true})), false),
        (call(json!({"retry": {"quick": 1}})), false),
        (call(json!({"timeout": 5})), false),
        (call(json!({"when": true})), false),
        (call(json!({"when": "input.a"})), false),
        (call(json!({"parallel": 2})), false),
        (call(json!({"for_each": [1], "parallel": 101})), false),
        (call(json!({"for_each": "lines"})), false),
        (call(json!({"for_each": {"a": 1}})), false),
        (call(json!({"for_each": [1], "pivot": true})), false),
        (call(json!({"when": "${{ input.a }}", "pivot": true})), false),
        (call(json!({"unwind": "eager"})), false),
        (call(json!({"returns": "text"})), false),
        (json!({"saga": "a", "steps": []}), false),
        (json!({"saga": "open", "steps": [{"x": {"await": "s", "timeout": "1s"}}]}), false),
        (json!({"steps": [{"x": {"await": "s", "timeout": "1s"}}]}), false),
    ] {
        assert_eq!(Text::read(&definition.to_string()).is_ok(), fits, "the reader on {definition}");
        assert_eq!(language.is_valid(&definition), fits, "the schema on {definition}");
    }
}

/// Every example of the reference is read: whole definitions as they are, and single steps within one.
#[test]
fn the_examples_of_the_reference_are_read() {
    let mut read_examples = 0;
    for block in REFERENCE.split("```yaml\n").skip(1) {
        let example = block.split("```").next().expect("a block");
        let whole = if example.contains("\nsteps:") { example.to_owned() } else { around(example) };
        assert!(
            Text::read(&whole).is_ok(),
            "{}",
            Text::read(&whole).expect_err("a fault").render("README.md", &whole)
        );
        read_examples += 1;
    }
    assert!(read_examples >= 10, "{read_examples}");
}

#[test]
fn the_reference_names_every_definition_that_comes_along() {
    for source in COME_ALONG {
        let name = read(source).name;
        assert!(REFERENCE.contains(&format!("[`{name}.yaml`]({name}.yaml)")), "{name}");
    }
}

/// A definition around the steps of an example.
fn around(steps: &str) -> String {
    format!("saga: example\nsteps:\n- quote: {{ action: product.quote, read_only: true }}\n{steps}")
}

/// Every key of the language has its row and stands in an example.
#[test]
fn the_reference_has_every_key() {
    let examples: String = REFERENCE.split("```").skip(1).step_by(2).collect();
    for key in [KEYS, keys::ALL_KEYS, UNDO_KEYS, fields::UNDO_RETRY_KEYS].concat() {
        assert!(REFERENCE.contains(&format!("`{key}")), "no row for {key}");
        assert!(examples.contains(&format!("{key}:")), "no example of {key}");
    }
}
