//! A saga of a definition nobody wrote, driven for a while: its expressions meet real values, and its values
//! stay within their bound.

use crate::dice::Dice;
use amends_saga::{Answer, Definition, Input, Report, Saga, Start, Timestamp, decide, definition::Kind, due};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The largest body, in bytes of JSON: the bound on a template's value, and what its texts gain by escapes.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The answers given.
const ANSWERS_MAX: usize = 24;

/// An input that may fit a schema, or anything.
pub(crate) fn input(dice: &mut Dice, schema: Option<&Value>) -> Value {
    match (schema, dice.below(4)) {
        (Some(schema), 0..=2) => fitting(schema, dice, 0),
        _ => anything(dice),
    }
}

fn anything(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => json!(null),
        1 => json!({"total": 12, "lines": [{"sku": 1, "qty": 2}, {"sku": 9, "qty": 1}], "order": "A-1"}),
        2 => json!([1, "b", {"c": null}]),
        3 => json!("text"),
        _ => {
            json!({"order": "A-1", "lines": [], "prepaid": true, "parcels": [{"lines": [1]}, {"lines": [2]}]})
        }
    }
}

fn fitting(schema: &Value, dice: &mut Dice, depth: usize) -> Value {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("");
    if depth > 8 {
        return json!(null);
    }
    match kind {
        "object" => {
            let members = schema.get("properties").and_then(Value::as_object);
            let members = members.into_iter().flatten().take(16);
            let members = members.filter(|_| !dice.once_in(8)).collect::<Vec<_>>();
            Value::Object(
                members
                    .into_iter()
                    .map(|(k, v)| (k.clone(), fitting(v, dice, depth + 1)))
                    .collect::<Map<_, _>>(),
            )
        }
        "array" => {
            let item = schema.get("items").cloned().unwrap_or_default();
            Value::Array((0..dice.below(4)).map(|_| fitting(&item, dice, depth + 1)).collect())
        }
        "string" => json!("A-1"),
        "integer" | "number" => json!(dice.below(9)),
        "boolean" => json!(dice.once_in(2)),
        _ => anything(dice),
    }
}

/// Starts a saga and answers what it asks for.
pub(crate) fn run(definition: Arc<Definition>, input: Value, dice: &mut Dice) {
    let id = "01890000-0000-7000-8000-000000000001".parse().expect("an id");
    let (mut saga, _) = amends_saga::start(Start::new(id, definition, Arc::new(input)), Timestamp(0));
    for round in 0..ANSWERS_MAX {
        let now = Timestamp(1_000 * (round as i64 + 1));
        let Some(input) = next(&saga, dice) else { break };
        for record in decide(&saga, input, now).unwrap_or_default() {
            saga.apply(record.at, &record.event);
        }
    }
}

/// What happens next: an answer to a call, a signal, now and then a refusal or the passing of time.
fn next(saga: &Saga, dice: &mut Dice) -> Option<Input> {
    let calls = due(saga).calls;
    for call in &calls {
        let bytes = call.body.to_string().len();
        assert!(bytes <= BODY_BYTES_MAX, "a body of {bytes} bytes for {}", call.step);
    }
    if let Some(call) = calls.get(dice.below(calls.len())) {
        let answer = match dice.below(8) {
            0 => Answer::Refused(Report::new(Some(409), "no", 1)),
            _ => Answer::Done(Arc::new(anything(dice))),
        };
        return Some(Input::Answer { key: call.key, answer });
    }
    let mut signals = saga.definition.steps().filter_map(|(_, step)| match &step.kind {
        Kind::Await(wait) => Some(wait.signal.clone()),
        Kind::Call(_) | Kind::Branch(_) => None,
    });
    let name = signals.next()?;
    if saga.is_terminal() {
        return None;
    }
    Some(Input::Signal { name, id: None, payload: Arc::new(anything(dice)) })
}
