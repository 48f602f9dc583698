//! What a registration may say, and how the coordinator reads it.

use super::Registration;
use serde_json::{Value, json};

/// Reads a registration of one operation's terms beside `release`, and checks it.
fn check(terms: Value) -> Result<Registration, String> {
    let body =
        json!({ "instances": ["http://127.0.0.1:7101"], "operations": { "hold": terms, "release": {} } });
    read(&body)
}

fn read(body: &Value) -> Result<Registration, String> {
    let registration: Registration =
        serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
    registration.check().map(|()| registration)
}

#[test]
fn what_is_left_out_is_not_written_either() {
    let text = json!({
        "instances": ["http://127.0.0.1:7101"],
        "operations": {
            "hold": { "compensation": "release", "timeout": "5s", "status": true, "batch": { "max": 64 },
                      "retry": { "attempts": 5, "first": "100ms", "factor": 2.0, "max": "5s" } },
            "release": {},
            "quote": { "barrier": false },
        },
        "ttl": "30s",
    });
    let registration = read(&text).expect("it is right");
    assert!(registration.operations.iter().all(|(name, terms)| terms.barrier == (name.as_str() != "quote")));
    assert_eq!(serde_json::to_value(&registration).expect("JSON"), text);
}

#[test]
fn what_contradicts_itself_or_breaks_a_limit_is_named() {
    for (terms, says) in [
        (json!({ "compensation": "restore" }), "names compensation \"restore\", which is not among"),
        (json!({ "confirm": "seal" }), "names confirm \"seal\""),
        (json!({ "compensation": "Release" }), "is not a name"),
        (json!({ "timeout": "0s" }), "\"timeout\" is from 1ms to 1h"),
        (json!({ "timeout": "2h" }), "\"timeout\" is from 1ms to 1h"),
        (json!({ "timeout": 5 }), "invalid type"),
        (json!({ "batch": { "max": 0 } }), "\"batch.max\" is from 1 to 1024"),
        (json!({ "batch": { "max": 1025 } }), "\"batch.max\" is from 1 to 1024"),
        (json!({ "retry": { "attempts": 0 } }), "\"retry.attempts\" is from 1"),
        (json!({ "retry": { "factor": 0.5 } }), "\"retry.factor\" is from 1"),
        (json!({ "retry": { "first": "10s", "max": "5s" } }), "longer than \"retry.max\" 5s"),
        (json!({ "undo": "release" }), "unknown field `undo`"),
    ] {
        let said = check(terms.clone()).expect_err("it is wrong");
        assert!(said.contains(says), "{terms}: \"{said}\" does not say \"{says}\"");
    }
}

#[test]
fn instances_health_and_ttl_have_their_bounds() {
    let body = |member: &str, value: Value| {
        let mut body = json!({ "instances": ["http://127.0.0.1:1"], "operations": { "hold": {} } });
        body[member] = value;
        body
    };
    for (member, value, says) in [
        ("instances", json!([]), "give 1 to 64"),
        ("instances", json!(vec!["http://127.0.0.1:1"; 65]), "give 1 to 64"),
        ("operations", json!({}), "give 1 to 256"),
        ("health", json!("healthz"), "begins with \"/\""),
        ("ttl", json!("999ms"), "at least 1s"),
    ] {
        let said = read(&body(member, value.clone())).expect_err("it is wrong");
        assert!(said.contains(says), "{member} {value}: \"{said}\" does not say \"{says}\"");
    }
}

#[cfg(feature = "definition")]
#[test]
fn the_schema_of_an_operations_body_is_one() {
    let order =
        json!({ "type": "object", "required": ["order"], "properties": { "order": { "type": "string" } } });
    let kept = check(json!({ "input": order })).expect("a schema");
    let name = amends_saga::Name::parse("hold").expect("a name");
    assert_eq!(kept.operations[&name].input, Some(order.clone()));
    for (schema, says) in [
        (json!("text"), "must be a JSON Schema"),
        (json!({ "type": "text" }), "not a JSON Schema"),
        (json!({ "$ref": "#/$defs/nothing" }), "names nothing in this schema"),
        (json!({ "$ref": "http://elsewhere/" }), "names nothing in this schema"),
        (json!({ "description": "x".repeat(70_000) }), "more than 65536"),
    ] {
        let said = check(json!({ "input": schema })).expect_err("it is none");
        assert!(
            said.contains(says) && said.contains("\"input\""),
            "{schema}: \"{said}\" does not say \"{says}\""
        );
    }
    let misfits = |input: Value| crate::definition::check_with(&order, &input);
    assert_eq!(misfits(json!({ "order": "1" })), Ok(()));
    assert_eq!(misfits(json!({ "order": 1 })).expect_err("a misfit")[0].path, "/order");
}
