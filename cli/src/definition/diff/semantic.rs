//! What differs between two definitions, in the language's own terms: steps that came and went, keys that changed,
//! what runs after what, what callers have to send.

use super::super::graph::model::{Graph, ModelError};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    /// Keys of the definition itself, except its steps and what it takes.
    pub(super) definition: Vec<Change>,
    /// The schema of what it takes.
    pub(super) input: Vec<Change>,
    /// Steps that differ: the second's in their order, then those that went.
    pub(super) steps: Vec<StepChange>,
    /// Whether steps that stand in both are written in another order; what runs when follows from `after` alone.
    pub(super) rearranged: bool,
    /// Members that the second needs and the first does not.
    pub(super) newly_required: Vec<String>,
}

/// A value that changed, came or went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Change {
    /// Where, from the outside in: `compensation.retry.attempts`.
    pub(super) path: String,
    /// What it was; absent where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Value>,
    /// What it is; absent where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Value>,
}

/// A step that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepChange {
    /// Its name.
    pub(super) name: String,
    /// How.
    pub(super) kind: StepChangeKind,
    /// What it waits for, where that differs or the step is new: sorted names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits_for: Option<Vec<String>>,
    /// What it waited for, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waited_for: Option<Vec<String>>,
    /// Its keys that differ.
    pub(super) changes: Vec<Change>,
}

/// How a step differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepChangeKind {
    /// It stands in the second only.
    Added,
    /// It stands in the first only.
    Removed,
    /// It stands in both.
    Changed,
}

impl Difference {
    /// Compares two definitions in their JSON form.
    ///
    /// # Errors
    /// [`ModelError`] of either.
    pub(super) fn of(before: &Value, after: &Value) -> Result<Difference, ModelError> {
        let (old, new) = (Steps::read(before)?, Steps::read(after)?);
        let mut steps: Vec<StepChange> = new.names.iter().filter_map(|name| old.step(&new, name)).collect();
        let gone = old.names.iter().filter(|name| !new.bodies.contains_key(*name));
        steps.extend(gone.map(|name| StepChange::bare(name, StepChangeKind::Removed)));
        let common = |steps: &Steps, other: &Steps| -> Vec<String> {
            steps.names.iter().filter(|name| other.bodies.contains_key(*name)).cloned().collect()
        };
        let schema = |content: &Value| content.get("input").cloned();
        Ok(Difference {
            definition: changes(&head(before), &head(after)),
            input: changes(&under("input", schema(before)), &under("input", schema(after))),
            rearranged: common(&old, &new) != common(&new, &old),
            newly_required: required(after).difference(&required(before)).cloned().collect(),
            steps,
        })
    }

    /// Whether sagas of both take the same and do the same.
    pub(super) fn is_empty(&self) -> bool {
        let Difference { definition, input, steps, rearranged: _, newly_required: _ } = self;
        definition.is_empty() && input.is_empty() && steps.is_empty()
    }
}

impl StepChange {
    fn bare(name: &str, kind: StepChangeKind) -> StepChange {
        StepChange { name: name.to_owned(), kind, waits_for: None, waited_for: None, changes: Vec::new() }
    }
}

/// A definition's steps, and what each waits for by name.
struct Steps {
    names: Vec<String>,
    bodies: BTreeMap<String, Value>,
    waits: BTreeMap<String, Vec<String>>,
}

impl Steps {
    fn read(content: &Value) -> Result<Steps, ModelError> {
        let graph = Graph::read(content)?;
        let mut waits: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for edge in graph.edges.iter().filter(|edge| !edge.implied) {
            waits
                .entry(graph.steps[edge.to].name.clone())
                .or_default()
                .push(graph.steps[edge.from].name.clone());
        }
        for names in waits.values_mut() {
            names.sort_unstable();
        }
        let items = content.get("steps").and_then(Value::as_array).into_iter().flatten();
        let bodies = items.filter_map(Value::as_object).flatten();
        let bodies = bodies.map(|(name, body)| (name.clone(), body_of(body))).collect();
        Ok(Steps { names: graph.steps.into_iter().map(|step| step.name).collect(), bodies, waits })
    }

    fn waits_for(&self, name: &str) -> Vec<String> {
        self.waits.get(name).cloned().unwrap_or_default()
    }

    /// How a step of `new` differs from the one here.
    fn step(&self, new: &Steps, name: &str) -> Option<StepChange> {
        let waits = new.waits_for(name);
        let Some(old) = self.bodies.get(name) else {
            let changes = changes(&Value::Null, &new.bodies[name]);
            let added = StepChange::bare(name, StepChangeKind::Added);
            return Some(StepChange { waits_for: Some(waits), changes, ..added });
        };
        let changes = changes(old, &new.bodies[name]);
        let waited = self.waits_for(name);
        let moved = waited != waits;
        if changes.is_empty() && !moved {
            return None;
        }
        let (waits_for, waited_for) = if moved { (Some(waits), Some(waited)) } else { (None, None) };
        Some(StepChange { waits_for, waited_for, changes, ..StepChange::bare(name, StepChangeKind::Changed) })
    }
}

/// A step's body in one form: without `after`, which is compared by what it means, and with its compensation and its
/// flags written out.
fn body_of(body: &Value) -> Value {
    let mut body = body.as_object().cloned().unwrap_or_default();
    body.remove("after");
    body.retain(|key, value| {
        !(matches!(key.as_str(), "pivot" | "read_only") && *value == Value::Bool(false))
    });
    let short = body.get("compensation").filter(|undo| undo.as_str().is_some_and(|undo| undo != "none"));
    if let Some(operation) = short.cloned() {
        body.insert("compensation".to_owned(), under("operation", Some(operation)));
    }
    Value::Object(body)
}

/// The definition without its steps and its schema.
fn head(content: &Value) -> Value {
    let mut head = content.as_object().cloned().unwrap_or_default();
    for key in ["saga", "version", "steps", "input"] {
        head.remove(key);
    }
    Value::Object(head)
}

fn under(key: &str, value: Option<Value>) -> Value {
    Value::Object(value.map(|value| Map::from_iter([(key.to_owned(), value)])).unwrap_or_default())
}

/// The members that an input has to have.
fn required(content: &Value) -> BTreeSet<String> {
    let names = content.pointer("/input/required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What differs between two values, each difference at the innermost place; lists differ as a whole.
pub(super) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    collect("", Some(before), Some(after), &mut changes);
    changes
}

fn collect(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    let objects = (before.and_then(Value::as_object), after.and_then(Value::as_object));
    // What came or went is told member by member at the outermost place only.
    let (old, new) = match objects {
        (Some(old), Some(new)) => (old, new),
        (None, Some(new)) if path.is_empty() => (&Map::new(), new),
        _ if before == after => return,
        _ => {
            let change = Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() };
            changes.push(change);
            return;
        }
    };
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect(&path, old.get(key), new.get(key), changes);
    }
}
