//! Plain paths, such as `input.lines` and `steps.quote.output.total`: walked directly over the values.
//!
//! Almost every expression is one. It yields exactly what the expression language would, without a copy
//! of what it does not reach; the tests hold the two against each other.

use super::token::{Token, TokenKind};
use amends_saga::definition::Scope;
use serde_json::Value;
use std::sync::Arc;

/// A path from one of the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    root: Root,
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    Input,
    Output(String),
    SagaId,
    Item,
    Index,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Key(String),
    Index(usize),
}

impl Path {
    /// Reads a path, `None` when the expression is something else.
    pub(crate) fn read(tokens: &[Token<'_>]) -> Option<Path> {
        let (first, rest) = tokens.split_first()?;
        let mut members = members(rest)?;
        let root = match first.text {
            "input" => Root::Input,
            "item" => Root::Item,
            "index" => Root::Index,
            "saga" if members == [Member::Key("id".into())] => {
                members.clear();
                Root::SagaId
            }
            "steps" => {
                let [Member::Key(step), Member::Key(output), ..] = &members[..] else { return None };
                if output != "output" {
                    return None;
                }
                let root = Root::Output(step.clone());
                members.drain(..2);
                root
            }
            _ => return None,
        };
        Some(Path { root, members })
    }

    /// Returns what stands at the path.
    ///
    /// # Errors
    /// Which part is missing.
    pub(crate) fn find(&self, scope: &Scope<'_>) -> Result<Found, String> {
        let start = match &self.root {
            Root::Input => Arc::clone(scope.input()),
            Root::Output(step) => {
                scope.output(step).ok_or_else(|| format!("step \"{step}\" has no output yet"))?
            }
            Root::SagaId => Arc::new(Value::String(scope.id().to_string())),
            Root::Item => Arc::clone(scope.item().ok_or("there is no item here")?.0),
            Root::Index => Arc::new(scope.item().ok_or("there is no item here")?.1.into()),
        };
        if self.members.is_empty() {
            return Ok(Found::Whole(start));
        }
        let mut here: &Value = &start;
        for (i, member) in self.members.iter().enumerate() {
            here = match (member, here) {
                (Member::Key(key), Value::Object(map)) => map.get(key),
                (Member::Index(index), Value::Array(list)) => list.get(*index),
                (Member::Index(_), Value::String(text)) => {
                    return character(text, &self.members[i..]).map(Found::Part);
                }
                _ => None,
            }
            .ok_or_else(|| missing(member))?;
        }
        Ok(Found::Part(here.clone()))
    }
}

/// A character of a text, which is a text of one character again.
fn character(text: &str, members: &[Member]) -> Result<Value, String> {
    let mut found = text.to_owned();
    for member in members {
        let char = match member {
            Member::Index(index) => found.chars().nth(*index),
            Member::Key(_) => None,
        };
        found = char.ok_or_else(|| missing(member))?.to_string();
    }
    Ok(Value::String(found))
}

/// What a path led to: a whole value that is shared, or a part of one that is copied.
#[derive(Debug)]
pub(crate) enum Found {
    Whole(Arc<Value>),
    Part(Value),
}

impl Found {
    /// The value, wherever it is.
    pub(crate) fn value(&self) -> &Value {
        match self {
            Found::Whole(value) => value,
            Found::Part(value) => value,
        }
    }
}

fn missing(member: &Member) -> String {
    match member {
        Member::Key(key) => format!("there is no \"{key}\""),
        Member::Index(index) => format!("there is no item {index}"),
    }
}

/// The tokens that a path takes which begins with the first of them.
pub(crate) fn extent(tokens: &[Token<'_>]) -> usize {
    let mut taken = 1;
    while let Some((_, used)) = tokens.get(taken..).and_then(member) {
        taken += used;
    }
    taken
}

fn members(mut rest: &[Token<'_>]) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (member, used) = member(rest)?;
        members.push(member);
        rest = &rest[used..];
    }
    Some(members)
}

/// Reads one member of a path, with the number of tokens it takes.
fn member(tokens: &[Token<'_>]) -> Option<(Member, usize)> {
    match tokens {
        [dot, name, ..] if dot.is(".") && name.kind == TokenKind::Word => {
            Some((Member::Key(name.text.to_owned()), 2))
        }
        [open, text, close, ..] if open.is("[") && close.is("]") && text.kind == TokenKind::Text => {
            Some((Member::Key(text.plain_text()?.to_owned()), 3))
        }
        [open, index, close, ..] if open.is("[") && close.is("]") && index.kind == TokenKind::Number => {
            Some((Member::Index(index.text.parse().ok()?), 3))
        }
        _ => None,
    }
}
