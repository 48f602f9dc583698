//! Definition text: the language a saga is written in, read with every fault told at once.
//!
//! ```yaml
//! saga: transfer                 # the name
//! version: 1                     # from 1; 1 where nothing is said
//! deadline: 10m                  # how long it may go forward
//! input:                         # JSON Schema of what it is started with
//!   type: object
//! steps:                         # each follows the one before it unless `after` says otherwise
//!   - withdraw:
//!       action: bank.withdraw
//!       compensation: bank.deposit
//!       with: { amount: "${{ input.amount }}" }
//!   - approval:
//!       await: approved
//!       timeout: 1h
//!   - notify:
//!       when: "${{ input.notify }}"    # left out where this is false
//!       saga: notify@1                 # a saga as a step; undoing it reverts it
//! output: { receipt: "${{ steps.withdraw.output.receipt }}" }
//! ```
//!
//! The reference is `sagas/README.md`, with an example of every key.
//!
//! Reading goes in stages that each keep going after a fault: YAML or JSON to a [`tree`] with places, the
//! steps' names and what they wait for to a [`graph`], each step to a typed one, and every expression
//! against both and the schemas: a step may use only what lies before it on every path, and only in a way
//! that some value allows ([`visibility`]). What comes out is a [`Text`]: it still names operations and other
//! definitions without knowing them, so registering one needs no participant. [`Text::resolve`] looks the
//! operations up and gives the core's [`amends_saga::Definition`]; [`Text::check_against`] tells where something
//! is called that a coordinator does not know.

mod called;
mod diagnostic;
mod expression;
mod fields;
mod graph;
mod outline;
mod resolve;
mod scalar;
mod schema;
mod step;
mod suggest;
mod template;
mod tree;
mod visibility;

pub use called::Registered;
pub use diagnostic::{Diagnostic, Diagnostics, FAULTS_MAX};
pub use outline::{StepKind, StepOutline};
pub use resolve::{Defaults, UnknownOperations, undo_schedule};

use crate::{
    canonical,
    problem::{Misfit, Problem, Slug},
};
use amends_saga::{
    Millis, Name,
    definition::{OPEN_NAME, STEPS_MAX, Template},
};
use called::Called;
use diagnostic::Faults;
use fields::Fields;
use graph::{Graph, Vertex};
use schema::Schema;
use serde_json::{Value, value::RawValue};
use std::{fmt, sync::Arc};
use step::{Around, StepText};
use template::Place;
use tree::{Entry, Kind, Node};
use visibility::{Sight, Visibility};

/// A definition as it is written: checked in itself, its operations not looked up.
#[derive(Debug)]
pub struct Text {
    /// Its name.
    pub name: Name,
    /// Its version, from 1.
    pub version: u32,
    /// How long a saga may go forward.
    pub deadline: Option<Millis>,
    /// SHA-256 of the canonical form of its content, as lower-case hex; YAML and JSON of the same content
    /// have the same.
    pub hash: String,
    schema: Option<Schema>,
    steps: Vec<(Name, StepText)>,
    called: Vec<Called>,
    advice: Vec<Diagnostic>,
    graph: Graph,
    output: Option<Arc<dyn Template>>,
    content: Value,
}

/// `participant.operation`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationName {
    /// The participant.
    pub participant: Name,
    /// Its operation.
    pub operation: Name,
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.participant, self.operation)
    }
}

/// JSON Schema (2020-12) of the language, for editors. Reading checks more than a schema can say.
pub const LANGUAGE_SCHEMA: &str = include_str!("../../../../sagas/definition.schema.json");

const KEYS: &[&str] = &["saga", "version", "deadline", "input", "steps", "output"];

impl Text {
    /// Reads a definition from YAML or JSON text.
    ///
    /// # Errors
    /// Every fault, with line, column and what to do.
    pub fn read(source: &str) -> Result<Text, Diagnostics> {
        let mut faults = Faults::default();
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let text = tree::read(source, &mut faults).and_then(|root| assemble(&root, source, &mut faults));
        faults.finish(source)?;
        Ok(text.expect("a text without a fault was assembled"))
    }

    /// Reads a definition that stands in a request as JSON; lines and columns count within it.
    ///
    /// # Errors
    /// As [`Text::read`].
    pub fn read_json(raw: &RawValue) -> Result<Text, Diagnostics> {
        Text::read(raw.get()).or_else(|diagnostics| {
            // JSON may be laid out in ways that YAML does not read; laid out anew it can be.
            let value: Result<Value, _> = serde_json::from_str(raw.get());
            let again = value.ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
            again.and_then(|again| Text::read(&again).ok()).ok_or(diagnostics)
        })
    }

    /// Checks an input against the definition's schema.
    ///
    /// # Errors
    /// Each place that does not fit and why, up to 32.
    pub fn check_input(&self, input: &Value) -> Result<(), Vec<Misfit>> {
        self.schema.as_ref().map_or(Ok(()), |schema| schema.check(input))
    }

    /// Checks what a step returned against its `returns`; a step that has none may return anything.
    ///
    /// # Errors
    /// Each place that does not fit and why, up to 32.
    pub fn check_returned(&self, step: &str, output: &Value) -> Result<(), Vec<Misfit>> {
        let step = self.steps.iter().find(|(name, _)| name.as_str() == step);
        let schema = step.and_then(|(_, step)| step.returns.as_ref());
        schema.map_or(Ok(()), |schema| schema.check(output))
    }

    /// What is sound and may yet be a mistake, in the order of the text: a member that may be absent and is
    /// used without a default.
    pub fn advice(&self) -> &[Diagnostic] {
        &self.advice
    }

    /// The definition as JSON: the same language, without comments and layout.
    pub fn to_json(&self) -> &Value {
        &self.content
    }

    /// The names of the steps, in the order they are written.
    pub fn steps(&self) -> impl Iterator<Item = &Name> {
        self.steps.iter().map(|(name, _)| name)
    }
}

impl From<Diagnostics> for Problem {
    fn from(diagnostics: Diagnostics) -> Problem {
        let detail = match &diagnostics.0[..] {
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            [] => "the definition has faults".to_owned(),
        };
        Problem::new(Slug::DefinitionInvalid, detail).with("diagnostics", &diagnostics)
    }
}

impl From<UnknownOperations> for Problem {
    fn from(unknown: UnknownOperations) -> Problem {
        let names: Vec<String> = unknown.0.iter().map(ToString::to_string).collect();
        Problem::new(Slug::UnknownOperation, unknown.to_string()).with("operations", names)
    }
}

/// Checks that a value is a JSON Schema as `input` of a definition or an operation may be one.
///
/// # Errors
/// Its first fault, in a sentence that says what to do.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    Schema::alone(schema).map(drop)
}

/// Checks an input against a schema that [`check_schema`] has passed; one that it has not lets nothing through.
///
/// # Errors
/// Each place that does not fit and why, up to 32.
pub fn check_with(schema: &Value, input: &Value) -> Result<(), Vec<Misfit>> {
    let broken = |what: String| vec![Misfit { path: String::new(), message: format!("the schema: {what}") }];
    Schema::alone(schema).map_err(broken)?.check(input)
}

/// Puts the parts of a definition together; whatever is wrong is noted and the rest still looked at.
fn assemble(root: &Node, source: &str, faults: &mut Faults) -> Option<Text> {
    let fields = Fields::of(root, "the definition".to_owned(), KEYS, faults)?;
    for (key, help) in [("saga", "begin with \"saga: NAME\""), ("steps", "list its steps below \"steps:\"")] {
        if fields.get(key).is_none() {
            faults.add(root.at, format!("the definition has no \"{key}\""), help);
        }
    }
    let name = fields.name("saga", faults);
    if let (Some(entry), true) =
        (fields.get("saga"), name.as_ref().is_some_and(|name| name.as_str() == OPEN_NAME))
    {
        let message = format!("\"{OPEN_NAME}\" is the definition of open sagas");
        faults.add(entry.value.at, message, "choose another name");
    }
    let version = fields.count("version", 1..=u32::MAX, faults).unwrap_or(1);
    let deadline = fields.span("deadline", faults);
    let schema = fields.get("input").and_then(|entry| Schema::read(entry, faults));
    let bodies = fields.get("steps").map_or(Vec::new(), |entry| list_steps(entry, faults));
    let (vertices, bodies): (Vec<Vertex<'_>>, Vec<&Node>) = bodies.into_iter().unzip();
    let graph = Graph::read(&vertices, faults);
    let read: Vec<step::Read> = vertices
        .iter()
        .zip(&bodies)
        .enumerate()
        .map(|(i, (vertex, body))| {
            let past = graph.pivot.filter(|_| graph.is_past_pivot(i)).map(|pivot| &vertices[pivot].name);
            let around =
                Around { definition: name.as_ref(), name: &vertex.name, name_at: vertex.name_at, past };
            step::read(around, body, source, faults)
        })
        .collect();
    let mut of_output = Vec::new();
    let output = fields.get("output");
    let output = output.map(|e| template::read(&e.value, source, Place::Output, &mut of_output, faults));

    let sights: Vec<Sight> = bodies.iter().map(|body| Sight::of(body)).collect();
    // A schema with a fault says nothing.
    let input = fields.get("input").filter(|_| schema.is_some()).map(|entry| entry.value.to_json());
    let input = input.as_ref();
    let mut advice = Faults::default();
    let seen = Visibility { source, vertices: &vertices, steps: &sights, graph: &graph, input };
    for (i, step) in read.iter().enumerate() {
        seen.check(&step.written, Some(i), faults, &mut advice);
    }
    seen.check(&of_output, None, faults, &mut advice);

    if !faults.is_empty() {
        return None;
    }
    let names: Vec<Name> = vertices.into_iter().map(|vertex| vertex.name).collect();
    let called = read.iter().flat_map(|step| &step.called);
    let called = called.map(|(at, callee)| Called::at(source, *at, callee.clone())).collect();
    let steps = names.into_iter().zip(read).filter_map(|(name, read)| Some((name, read.step?))).collect();
    let content = root.to_json();
    let hash = content_hash(&content);
    let advice = advice.finish(source).err().map_or(Vec::new(), |advice| advice.0);
    Some(Text { name: name?, version, deadline, hash, schema, steps, called, advice, graph, output, content })
}

/// The hash of a content, whatever order its members are kept in.
fn content_hash(content: &Value) -> String {
    let text = content.to_string();
    let canonical =
        serde_json::from_str::<&RawValue>(&text).ok().and_then(|raw| canonical::canonical(raw).ok());
    let canonical = canonical.expect("what was read has exact numbers, distinct keys and bounded depth");
    canonical::hex(&canonical::fingerprint([&canonical[..]]))
}

/// Reads the list of steps: objects of one member, the step's name.
fn list_steps<'n>(entry: &'n Entry, faults: &mut Faults) -> Vec<(Vertex<'n>, &'n Node)> {
    let Kind::List(items) = &entry.value.kind else {
        if !entry.value.is_bad() {
            let message = format!("\"steps\" is {} and must be a list", entry.value.described());
            faults.add(entry.value.at, message, "write each step as \"- NAME:\" with its keys below");
        }
        return Vec::new();
    };
    if items.is_empty() {
        faults.add(entry.value.at, "the definition has no step", "list at least one below \"steps:\"");
    }
    if items.len() > STEPS_MAX {
        let message = format!("{} steps exceed the limit of {STEPS_MAX}", items.len());
        faults.add(entry.value.at, message, "split the definition");
    }
    let mut steps: Vec<(Vertex<'n>, &'n Node)> = Vec::new();
    for item in items.iter().take(STEPS_MAX) {
        let Some((vertex, body)) = list_step(item, faults) else { continue };
        if steps.iter().any(|(other, _)| other.name == vertex.name) {
            let message = format!("two steps are named \"{}\"", vertex.name);
            faults.add(vertex.name_at, message, "rename one of the two");
        } else {
            steps.push((vertex, body));
        }
    }
    steps
}

fn list_step<'n>(item: &'n Node, faults: &mut Faults) -> Option<(Vertex<'n>, &'n Node)> {
    let one = match &item.kind {
        Kind::Map(entries) => match &entries[..] {
            [one] => Ok(one),
            [_, second, ..] => Err((second.key_at, "a step is an object of one member, its name")),
            [] => Err((item.at, "a step is empty")),
        },
        Kind::Bad => return None,
        _ => Err((item.at, "a step is an object of one member, its name")),
    };
    let entry = match one {
        Ok(entry) => entry,
        Err((at, message)) => {
            faults.add(at, message, "write \"- NAME:\" and indent the step's keys below the name");
            return None;
        }
    };
    let name = fields::name(&entry.key, entry.key_at, faults)?;
    let after = entry.value.member("after");
    let pivot = entry.value.member("pivot").filter(|entry| matches!(entry.value.kind, Kind::Bool(true)));
    Some((Vertex { name, name_at: entry.key_at, after, pivot }, &entry.value))
}

#[cfg(test)]
mod tests;
