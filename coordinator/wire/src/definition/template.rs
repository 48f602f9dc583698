//! Values with expressions in them: a step's `with`, `when` and `for_each`, an await's `default`, a
//! definition's `output`.
//!
//! A text that is exactly one expression yields the expression's value, whatever its type; a text with
//! expressions in it yields a text; lists and objects are rendered member by member.

use super::{
    diagnostic::Faults,
    expression::{Expression, Found, OPEN, OUTPUT_BYTES_MAX, Reference},
    tree::{Entry, Kind, Node},
};
use amends_saga::{
    Json,
    definition::{Scope, Template},
};
use serde_json::{Map, Value};
use std::{ops::Range, sync::Arc};

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Parsed(Piece);

#[derive(Debug)]
enum Piece {
    /// No expression here or below.
    Fixed(Json),
    /// One expression, with its type.
    Typed(Expression),
    /// A text with expressions in it.
    Mixed(Vec<Part>),
    List(Vec<Piece>),
    Map(Vec<(String, Piece)>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Expression(Expression),
}

/// Where in a definition an expression stands, which decides what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a step's condition.
    When,
    /// In the list a step is fanned out over.
    ForEach,
    /// In the body of an action.
    With,
    /// In the body of a compensation.
    Undo,
    /// In the default of a wait.
    Default,
    /// In the output of the definition.
    Output,
}

/// A reference, the byte of the definition at which it stands, and where that is.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) at: usize,
    pub(crate) place: Place,
    pub(crate) reference: Reference,
    /// Whether the expression says what to do where the value is undefined.
    pub(crate) guarded: bool,
}

/// Reads a template and what it references.
pub(crate) fn read(
    node: &Node,
    source: &str,
    place: Place,
    references: &mut Vec<Located>,
    faults: &mut Faults,
) -> Arc<dyn Template> {
    let mut reader = Reader { source, role: place, references, faults };
    Arc::new(Parsed(reader.piece(node)))
}

/// Whether a node is one expression with nothing around it.
pub(crate) fn is_one_expression(node: &Node) -> bool {
    let inner = node.text().and_then(|text| text.strip_prefix(OPEN));
    // What is not closed is told when the expression is read.
    inner.is_some_and(|inner| Expression::read(inner).map_or(true, |(_, consumed)| consumed == inner.len()))
}

/// A template that always yields the same.
pub(crate) fn fixed(value: Value) -> Arc<dyn Template> {
    Arc::new(Parsed(Piece::Fixed(Arc::new(value))))
}

/// Notes a fault for every expression in a place that takes none.
pub(crate) fn refuse_expressions(node: &Node, place: &str, faults: &mut Faults) {
    if node.text().is_some_and(|text| text.contains(OPEN)) {
        let message = format!("{place} cannot be an expression");
        faults.add(node.at, message, "write the value itself; expressions stand in with, default and output");
    }
}

struct Reader<'a> {
    source: &'a str,
    role: Place,
    references: &'a mut Vec<Located>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn piece(&mut self, node: &Node) -> Piece {
        match &node.kind {
            Kind::Text(text, raw) if text.contains(OPEN) => self.text(text, raw.clone()),
            Kind::List(items) => gather_list(items.iter().map(|item| self.piece(item)).collect()),
            Kind::Map(entries) => {
                gather_map(entries.iter().map(|entry| (entry.key.clone(), self.member(entry))).collect())
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(..) | Kind::Bad => {
                Piece::Fixed(Arc::new(node.to_json()))
            }
        }
    }

    fn member(&mut self, entry: &Entry) -> Piece {
        if entry.key.contains(OPEN) {
            let help = "write the key as it is; only values may be expressions";
            self.faults.add(entry.key_at, "a key cannot be an expression", help);
        }
        self.piece(&entry.value)
    }

    fn text(&mut self, text: &str, raw: Range<usize>) -> Piece {
        let mut parts = Vec::new();
        let mut rest = text;
        // Where the next opening mark stands in the source; escapes may make this a little early.
        let mut from = raw.start;
        while let Some(open) = rest.find(OPEN) {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let written = self.source.get(from..raw.end).unwrap_or("");
            let at = written.find(OPEN).map_or(raw.start, |found| from + found);
            let inner = &rest[open + OPEN.len()..];
            match Expression::read(inner) {
                Ok((expression, consumed)) => {
                    self.note(&expression, at, &inner[..consumed]);
                    parts.push(Part::Expression(expression));
                    rest = &inner[consumed..];
                    from = at + OPEN.len();
                }
                Err(refusal) => {
                    let place = self.place(at, refusal.at, inner);
                    self.faults.add(place, refusal.message, refusal.help);
                    return Piece::Fixed(Json::default());
                }
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expression(expression)]) => Piece::Typed(expression),
            Ok(one) => Piece::Mixed(one.into()),
            Err(parts) => Piece::Mixed(parts),
        }
    }

    fn note(&mut self, expression: &Expression, at: usize, written: &str) {
        for used in expression.references() {
            let at = self.place(at, used.at, written);
            let (reference, guarded) = (used.reference.clone(), used.guarded);
            self.references.push(Located { at, place: self.role, reference, guarded });
        }
    }

    /// The byte of the definition at which byte `offset` of an expression stands. Where the expression is
    /// written with escapes or over several lines, that is its beginning.
    fn place(&self, at: usize, offset: usize, inner: &str) -> usize {
        let begins = at + OPEN.len();
        let seen = &inner[..offset.min(inner.len())];
        let plain = self.source.get(begins..).is_some_and(|source| source.starts_with(seen));
        if plain && offset > 0 { begins + offset } else { at }
    }
}

fn gather_list(pieces: Vec<Piece>) -> Piece {
    let fixed: Option<Vec<Value>> = pieces.iter().map(Piece::as_fixed).collect();
    fixed.map_or(Piece::List(pieces), |items| Piece::Fixed(Arc::new(Value::Array(items))))
}

fn gather_map(pieces: Vec<(String, Piece)>) -> Piece {
    let fixed: Option<Map<String, Value>> =
        pieces.iter().map(|(key, piece)| Some((key.clone(), piece.as_fixed()?))).collect();
    fixed.map_or(Piece::Map(pieces), |members| Piece::Fixed(Arc::new(Value::Object(members))))
}

impl Piece {
    fn as_fixed(&self) -> Option<Value> {
        match self {
            Piece::Fixed(value) => Some(Value::clone(value)),
            Piece::Typed(_) | Piece::Mixed(_) | Piece::List(_) | Piece::Map(_) => None,
        }
    }
}

impl Template for Parsed {
    fn render(&self, scope: &Scope<'_>) -> Result<Json, String> {
        let mut rendering = Rendering { scope, left: OUTPUT_BYTES_MAX };
        match &self.0 {
            Piece::Fixed(value) => Ok(Arc::clone(value)),
            Piece::Typed(expression) => match expression.evaluate(scope)? {
                Found::Whole(value) => {
                    rendering.spend(weight(&value))?;
                    Ok(value)
                }
                Found::Part(value) => rendering.kept(value).map(Arc::new),
            },
            piece => rendering.piece(piece).map(Arc::new),
        }
    }
}

/// One rendering, with what is left of its bound.
struct Rendering<'a> {
    scope: &'a Scope<'a>,
    left: usize,
}

impl Rendering<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<Value, String> {
        match piece {
            Piece::Fixed(value) => self.kept(Value::clone(value)),
            Piece::Typed(expression) => match expression.evaluate(self.scope)? {
                Found::Whole(value) => {
                    self.spend(weight(&value))?;
                    Ok(Arc::unwrap_or_clone(value))
                }
                Found::Part(value) => self.kept(value),
            },
            Piece::Mixed(parts) => self.mixed(parts),
            Piece::List(pieces) => {
                pieces.iter().map(|piece| self.piece(piece)).collect::<Result<_, _>>().map(Value::Array)
            }
            Piece::Map(pieces) => {
                let members = pieces.iter().map(|(key, piece)| Ok((key.clone(), self.piece(piece)?)));
                members.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
        }
    }

    fn mixed(&mut self, parts: &[Part]) -> Result<Value, String> {
        let mut text = String::new();
        for part in parts {
            let before = text.len();
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Expression(expression) => {
                    let value = match expression.evaluate(self.scope)? {
                        Found::Whole(value) => Arc::unwrap_or_clone(value),
                        Found::Part(value) => value,
                    };
                    match value {
                        Value::String(string) => text.push_str(&string),
                        Value::Number(number) => text.push_str(&number.to_string()),
                        Value::Bool(yes) => text.push_str(if yes { "true" } else { "false" }),
                        Value::Null | Value::Array(_) | Value::Object(_) => {
                            let (shown, what) = (expression.shown(), described(&value));
                            return Err(format!(
                                "expression \"{shown}\" yields {what}, which cannot stand inside a text"
                            ));
                        }
                    }
                }
            }
            self.spend(text.len() - before)?;
        }
        Ok(Value::String(text))
    }

    fn kept(&mut self, value: Value) -> Result<Value, String> {
        self.spend(weight(&value))?;
        Ok(value)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| format!("the value is larger than {OUTPUT_BYTES_MAX} bytes"))?;
        Ok(())
    }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// About how many bytes a value takes as JSON.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| weight(item) + 1).sum::<usize>(),
        Value::Object(members) => 2 + members.iter().map(|(k, v)| k.len() + 4 + weight(v)).sum::<usize>(),
    }
}
