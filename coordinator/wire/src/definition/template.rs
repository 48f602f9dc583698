//! Values with expressions in them: a step's `with`, `when` and `for_each`, an await's `default`, a
//! definition's `output`.
//!
//! A text that is exactly one expression yields the expression's value, whatever its type; a text with
//! expressions in it yields a text; lists and objects are rendered member by member.

use super::{
    diagnostic::Faults,
    expression::{Expr, Expression, Found, OPEN, OUTPUT_BYTES_MAX, Read},
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
    /// The list a step is fanned out over.
    ForEach,
    /// In an item of such a list that is written out.
    Listed,
    /// In the body of an action.
    With,
    /// In the body of a compensation.
    Undo,
    /// In the default of a wait.
    Default,
    /// In the output of the definition.
    Output,
}

/// An expression as it is written in a definition.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) place: Place,
    /// Whether it stands alone, or is part of a text.
    pub(crate) alone: bool,
    pub(crate) syntax: Expr,
    /// The byte of the definition at which its opening mark stands.
    pub(crate) at: usize,
    /// The text behind that mark, without escapes.
    pub(crate) text: String,
}

impl Written {
    /// The byte of the definition at which byte `offset` of the expression stands. Where the expression is
    /// written with escapes or over several lines, that is its beginning.
    pub(crate) fn place_of(&self, offset: usize, source: &str) -> usize {
        place_of(self.at, &self.text, offset, source)
    }
}

fn place_of(at: usize, text: &str, offset: usize, source: &str) -> usize {
    let begins = at + OPEN.len();
    let seen = text.get(..offset.min(text.len())).unwrap_or("");
    let plain = source.get(begins..).is_some_and(|source| source.starts_with(seen));
    if plain && offset > 0 { begins + offset } else { at }
}

/// Reads a template and notes its expressions.
pub(crate) fn read(
    node: &Node,
    source: &str,
    place: Place,
    written: &mut Vec<Written>,
    faults: &mut Faults,
) -> Arc<dyn Template> {
    let mut reader = Reader { source, role: place, written, faults };
    Arc::new(Parsed(reader.piece(node)))
}

/// Whether a node is one expression with nothing around it.
pub(crate) fn is_one_expression(node: &Node) -> bool {
    let inner = node.text().and_then(|text| text.strip_prefix(OPEN));
    // What is not closed is told when the expression is read.
    inner.is_some_and(|inner| Expression::read(inner).map_or(true, |read| read.consumed == inner.len()))
}

/// Whether there is no expression in a node or below it.
pub(crate) fn is_fixed(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text, _) => !text.contains(OPEN),
        Kind::List(items) => items.iter().all(is_fixed),
        Kind::Map(entries) => entries.iter().all(|entry| is_fixed(&entry.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => true,
        Kind::Bad => false,
    }
}

/// A template that always yields the same.
pub(crate) fn fixed(value: Value) -> Arc<dyn Template> {
    Arc::new(Parsed(Piece::Fixed(Arc::new(value))))
}

/// Notes a fault for every expression in a place that takes none.
pub(crate) fn refuse_expressions(node: &Node, place: &str, faults: &mut Faults) {
    if node.text().is_some_and(|text| text.contains(OPEN)) {
        let message = format!("{place} cannot be an expression");
        faults.add(
            node.at,
            message,
            "write the value itself; expressions stand in with, when, for_each, default and output",
        );
    }
}

struct Reader<'a> {
    source: &'a str,
    role: Place,
    written: &'a mut Vec<Written>,
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
        let before = self.written.len();
        let mut rest = text;
        // Where the next opening mark stands in the source; escapes may make this a little early.
        let mut from = raw.start;
        while let Some(open) = rest.find(OPEN) {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let shown = self.source.get(from..raw.end).unwrap_or("");
            let at = shown.find(OPEN).map_or(raw.start, |found| from + found);
            let inner = &rest[open + OPEN.len()..];
            match Expression::read(inner) {
                Ok(Read { expression, consumed, syntax }) => {
                    let text = inner[..consumed].to_owned();
                    self.written.push(Written { place: self.role, alone: false, syntax, at, text });
                    parts.push(Part::Expression(expression));
                    rest = &inner[consumed..];
                    from = at + OPEN.len();
                }
                Err(refusal) => {
                    let place = place_of(at, inner, refusal.at, self.source);
                    self.faults.add(place, refusal.message, refusal.help);
                    return Piece::Fixed(Json::default());
                }
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expression(expression)]) => {
                self.written[before..].iter_mut().for_each(|one| one.alone = true);
                Piece::Typed(expression)
            }
            Ok(one) => Piece::Mixed(one.into()),
            Err(parts) => Piece::Mixed(parts),
        }
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
