//! The JSON Schema of a definition's input: compiled when the definition is read, checked at every start.
//!
//! Drafts are 2020-12. Nothing is fetched: references stay inside the schema. So that checking an input
//! takes bounded time, references may not recur, and may not unfold to more than [`UNFOLDED_MAX`] parts;
//! patterns run on an engine that never backtracks.

use super::{
    diagnostic::{Diagnostics, Faults},
    suggest,
    tree::{self, Entry, Kind, Node, shorten},
};
use crate::problem::Misfit;
use amends_saga::{
    Json,
    definition::{self, Misfits, Returns},
};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::{collections::HashMap, fmt};

/// The parts a schema may have once every reference is replaced by what it names.
const UNFOLDED_MAX: u64 = 20_000;
/// The misfits told at once.
const MISFITS_MAX: usize = 32;
/// Keys of a schema that lead out of it or make it recur by name.
const REFUSED: [&str; 4] = ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$anchor"];

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// A compiled schema.
pub(crate) struct Schema {
    validator: Validator,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Reads the schema below `input` or `returns`; `None` when it has a fault.
    pub(crate) fn read(entry: &Entry, faults: &mut Faults) -> Option<Schema> {
        let node = &entry.value;
        if !matches!(node.kind, Kind::Map(_) | Kind::Bool(_)) {
            if !node.is_bad() {
                let message = format!("\"{}\" is {} and must be a JSON Schema", entry.key, node.described());
                faults.add(node.at, message, "write an object, such as { type: object }");
            }
            return None;
        }
        let mut references = References { root: node, faults, unfolded: HashMap::new(), sound: true };
        references.walk(node, true);
        let size = references.size(node, &mut Vec::new());
        let sound = references.sound;
        if sound && size > UNFOLDED_MAX {
            let message = format!("the schema unfolds to more than {UNFOLDED_MAX} parts");
            faults.add(entry.key_at, message, "use fewer references, or describe less");
            return None;
        }
        if !sound {
            return None;
        }
        let value = node.to_json();
        match compile(&value) {
            Ok(validator) => Some(Schema { validator }),
            Err(error) => {
                let path = error.instance_path().as_str();
                let place = lookup(node, path).unwrap_or(node);
                if let (true, Some(name)) = (path.ends_with("/type"), place.text()) {
                    let message =
                        format!("this is not a JSON Schema: there is no type \"{}\"", shorten(name));
                    faults.add(place.at, message, suggest::hint(name, TYPES, "types"));
                } else {
                    let message = format!("this is not a JSON Schema: {}", shorten(&error.to_string()));
                    faults.add(place.at, message, "see https://json-schema.org/understanding-json-schema");
                }
                None
            }
        }
    }

    /// Reads a schema that stands alone, by the same rules.
    ///
    /// # Errors
    /// Its first fault, in a sentence that says what to do.
    pub(crate) fn alone(value: &Value) -> Result<Schema, String> {
        let mut faults = Faults::default();
        let source = format!("{value:#}");
        let node = tree::read(&source, &mut faults);
        let entry = node.map(|value| Entry { key: "input".to_owned(), key_at: 0, value });
        let schema = entry.and_then(|entry| Schema::read(&entry, &mut faults));
        let first = |diagnostics: Diagnostics| {
            let first = diagnostics.0.into_iter().next();
            first.map_or_else(String::new, |fault| format!("{}; {}", fault.message, fault.help))
        };
        faults.finish(&source).map_err(first)?;
        schema.ok_or_else(|| "it cannot be read".to_owned())
    }

    /// Checks an input.
    ///
    /// # Errors
    /// Every misfit, up to [`MISFITS_MAX`].
    pub(crate) fn check(&self, input: &Value) -> Result<(), Vec<Misfit>> {
        if self.validator.is_valid(input) {
            return Ok(());
        }
        let misfit = |error: jsonschema::ValidationError<'_>| Misfit {
            path: error.instance_path().as_str().to_owned(),
            message: error.to_string().chars().take(300).collect(),
        };
        Err(self.validator.iter_errors(input).take(MISFITS_MAX).map(misfit).collect())
    }
}

impl Returns for Schema {
    fn check(&self, output: &Json) -> Result<(), Misfits> {
        let known = |Misfit { path, message }| definition::Misfit { path, message };
        Schema::check(self, output).map_err(|misfits| Misfits(misfits.into_iter().map(known).collect()))
    }
}

fn compile(schema: &Value) -> Result<Validator, jsonschema::ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(true)
        .build(schema)
}

/// A look at a schema's references before it is compiled.
struct References<'n, 'f> {
    root: &'n Node,
    faults: &'f mut Faults,
    /// The unfolded size of what a reference names, by its place.
    unfolded: HashMap<usize, u64>,
    sound: bool,
}

impl<'n> References<'n, '_> {
    /// Notes what leads out of the schema.
    fn walk(&mut self, node: &'n Node, top: bool) {
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|item| self.walk(item, false)),
            Kind::Map(entries) => {
                for entry in entries {
                    if REFUSED.contains(&entry.key.as_str()) || entry.key == "$id" && !top {
                        let message = format!("\"{}\" is not supported here", entry.key);
                        self.fault(entry.key_at, message, "refer to \"#/$defs/NAME\" instead");
                    }
                    self.walk(&entry.value, false);
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) => {}
            Kind::Bad => self.sound = false,
        }
    }

    fn fault(&mut self, at: usize, message: String, help: &str) {
        self.faults.add(at, message, help);
        self.sound = false;
    }

    /// The number of parts with every reference replaced; notes references that recur or lead nowhere.
    fn size(&mut self, node: &'n Node, open: &mut Vec<usize>) -> u64 {
        match &node.kind {
            Kind::List(items) => items.iter().fold(1, |sum, item| self.size(item, open).saturating_add(sum)),
            Kind::Map(entries) => entries.iter().fold(1u64, |sum, entry| {
                let below = self.size(&entry.value, open);
                let named = match (entry.key.as_str(), entry.value.text()) {
                    ("$ref", Some(reference)) => self.named(reference, entry.value.at, open),
                    _ => 0,
                };
                sum.saturating_add(below).saturating_add(named)
            }),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => 1,
        }
    }

    fn named(&mut self, reference: &str, at: usize, open: &mut Vec<usize>) -> u64 {
        let target = reference.strip_prefix('#').and_then(|pointer| lookup(self.root, pointer));
        let Some(target) = target else {
            let message = format!("\"{}\" names nothing in this schema", shorten(reference));
            self.fault(at, message, "refer to \"#/$defs/NAME\" and define it below \"$defs\"");
            return 0;
        };
        if open.contains(&target.at) || contains(target, at) {
            let message = format!("\"{}\" contains itself", shorten(reference));
            self.fault(at, message, "describe a bounded number of levels instead");
            return 0;
        }
        if let Some(size) = self.unfolded.get(&target.at) {
            return *size;
        }
        open.push(target.at);
        let size = self.size(target, open);
        open.pop();
        self.unfolded.insert(target.at, size);
        size
    }
}

/// Whether the byte `at` lies inside a node.
fn contains(node: &Node, at: usize) -> bool {
    match &node.kind {
        Kind::List(items) => items.iter().any(|item| contains(item, at)),
        Kind::Map(entries) => entries.iter().any(|entry| contains(&entry.value, at)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => node.at == at,
    }
}

/// Follows a JSON Pointer (RFC 6901), which may be percent-encoded in a reference only where nobody does.
pub(super) fn lookup<'n>(root: &'n Node, pointer: &str) -> Option<&'n Node> {
    if pointer.is_empty() {
        return Some(root);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(root, |node, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        match &node.kind {
            Kind::Map(entries) => Some(&entries.iter().find(|entry| entry.key == part)?.value),
            Kind::List(items) => items.get(part.parse::<usize>().ok()?),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => None,
        }
    })
}
