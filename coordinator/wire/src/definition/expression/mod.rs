//! `${{ … }}`: typed expressions over a saga's input and the outputs of its steps.
//!
//! An expression is bounded before it is parsed (length, tokens), checked for the names it uses, and
//! compiled when the definition is read; evaluating it is deterministic, fuelled, and bounded in the size
//! of its value. Something undefined is an error and never an empty value.

mod engine;
mod guard;
mod infer;
mod names;
mod path;
mod shape;
mod syntax;
mod token;

pub(crate) use engine::OUTPUT_BYTES_MAX;
pub(crate) use guard::{Run, implied};
pub(crate) use infer::{Complaint, World, infer};
pub(crate) use path::Found;
pub(crate) use shape::{Kinds, Shape};
pub(crate) use syntax::Expr;

use amends_saga::definition::Scope;
use names::Used;
use std::fmt;

/// What an expression begins with; `}}` ends it.
pub(crate) const OPEN: &str = "${{";

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The byte after the opening mark at which.
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Refusal {
    fn new(at: usize, message: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal { at, message: message.into(), help: help.into() }
    }
}

/// A parsed expression.
pub(crate) struct Expression {
    source: String,
    form: Form,
}

/// An expression as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) expression: Expression,
    /// The bytes it takes, the closing mark included.
    pub(crate) consumed: usize,
    /// How it is built, for the checks that come before it is evaluated.
    pub(crate) syntax: Expr,
}

enum Form {
    /// A plain path, walked directly.
    Path(path::Path),
    /// Anything else.
    Compiled(Box<engine::Program>),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl Expression {
    /// Reads the text after an opening mark, up to its closing one.
    ///
    /// # Errors
    /// A [`Refusal`] with the place.
    pub(crate) fn read(text: &str) -> Result<Read, Refusal> {
        let tokens = token::tokens(text)?;
        let references = names::references(&tokens.list)?;
        let source = tokens.source.trim();
        if source.is_empty() {
            return Err(Refusal::new(0, "the expression is empty", "write what it yields, such as input"));
        }
        let form = match path::Path::read(&tokens.list) {
            Some(path) => Form::Path(path),
            None => Form::Compiled(Box::new(compile(&tokens, &references)?)),
        };
        let syntax = syntax::read(&tokens.list).ok_or_else(|| {
            let help = "write it more plainly, with parentheses around its parts";
            Refusal::new(0, "the expression cannot be followed", help)
        })?;
        let expression = Expression { source: source.to_owned(), form };
        Ok(Read { expression, consumed: tokens.consumed, syntax })
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// A sentence naming the expression and what it met.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Found, String> {
        let value = match &self.form {
            Form::Path(path) => path.find(scope),
            Form::Compiled(program) => program.evaluate(scope).map(Found::Part),
        };
        value.map_err(|error| format!("expression \"{}\": {error}", self.shown()))
    }

    /// Its source, cut to 120 characters.
    pub(crate) fn shown(&self) -> String {
        let mut shown: String = self.source.chars().take(120).collect();
        if shown.len() < self.source.len() {
            shown.push('…');
        }
        shown
    }
}

/// Hands the expression to minijinja with three spellings changed: a step's name that has a dash becomes a
/// text in brackets, `*` is kept to numbers, and a guarded path becomes one name, undefined where any part
/// of the path is missing.
fn compile(tokens: &token::Tokens<'_>, references: &[Used]) -> Result<engine::Program, Refusal> {
    let mut source = String::with_capacity(tokens.source.len() + 16);
    let (mut guarded, mut seen) = (Vec::new(), Vec::new());
    let (mut copied, mut i) = (0, 0);
    while let Some(token) = tokens.list.get(i) {
        let mut used = 1;
        if token.is("*") {
            source.push_str(&tokens.source[copied..token.at]);
            // Minus twice changes no number and refuses everything else on the right side.
            source.push_str(&format!(" |{} * - - ", engine::FACTOR));
            copied = token.end();
        } else if let Some(reference) = references.iter().find(|used| used.at == token.at) {
            let extent = path::extent(&tokens.list[i..]);
            match path::Path::read(&tokens.list[i..i + extent]).filter(|_| reference.guarded) {
                Some(path) => {
                    source.push_str(&tokens.source[copied..token.at]);
                    source.push_str(&engine::guarded_name(guarded.len()));
                    guarded.push(path);
                    copied = tokens.list[i + extent - 1].end();
                    used = extent;
                }
                None => seen.push(reference.reference.clone()),
            }
        } else if token.kind == token::TokenKind::Word && token.text.contains('-') {
            let dot = tokens.list[i - 1].at;
            source.push_str(&tokens.source[copied..dot]);
            source.push_str(&format!("[\"{}\"]", token.text));
            copied = token.end();
        }
        i += used;
    }
    source.push_str(&tokens.source[copied..]);
    engine::Program::compile(source, guarded, seen).map_err(|error| {
        let message = format!("the expression cannot be read: {error}");
        Refusal::new(0, message, "check brackets, quotes and operators")
    })
}

#[cfg(test)]
mod tests;
