//! Which names an expression uses, and whether the language knows them.

use super::{
    Refusal,
    engine::{FILTERS, FUNCTIONS, TESTS},
    path,
    token::{Token, TokenKind},
};
use crate::definition::suggest;

/// What an expression reaches for, with the byte at which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The whole input.
    Input,
    /// One member of the input.
    InputMember(String),
    /// A step's output.
    Output(String),
    /// The saga's id.
    SagaId,
    /// The item a fanned-out step is done for.
    Item,
    /// Its place in the list, from 0.
    Index,
}

/// A reference and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// The byte after the opening mark.
    pub(crate) at: usize,
    pub(crate) reference: Reference,
    /// Whether the expression says what to do where the value is undefined.
    pub(crate) guarded: bool,
}

const KEYWORDS: [&str; 13] =
    ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"];
const NAMES_HELP: &str =
    "an expression sees input, steps.NAME.output and saga.id, and item and index below for_each";
const ROOTS: [&str; 5] = ["input", "steps", "saga", "item", "index"];

/// Finds every reference.
///
/// # Errors
/// The first name the language does not know.
pub(crate) fn references(tokens: &[Token<'_>]) -> Result<Vec<Used>, Refusal> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if token.is("*") || token.is("**") {
            refuse_unpacking(tokens, i)?;
        }
        if token.kind != TokenKind::Word {
            continue;
        }
        let before = i.checked_sub(1).map(|i| &tokens[i]);
        let after = tokens.get(i + 1);
        let before_is = |symbol: &str| before.is_some_and(|t| t.is(symbol));
        let after_is = |symbol: &str| after.is_some_and(|t| t.is(symbol));
        if before_is(".") {
            if after_is("(") {
                let help = "use a filter: VALUE | upper";
                return Err(Refusal::new(token.at, "values have no methods here", help));
            }
        } else if before_is("|") {
            known(token, FILTERS, "filter")?;
        } else if is_test(tokens, i) {
            if !(token.text == "not" && before.is_some_and(|t| t.is_word("is"))) {
                known(token, TESTS, "test")?;
            }
        } else if KEYWORDS.contains(&token.text) {
            continue;
        } else if after_is("(") {
            known(token, FUNCTIONS, "function")?;
        } else if !after_is("=") {
            let (reference, guarded) = (root(tokens, i)?, is_guarded(tokens, i));
            found.push(Used { at: token.at, reference, guarded });
        }
    }
    Ok(found)
}

/// Whether a path is followed by what takes it even where it is undefined: a default, or the question.
fn is_guarded(tokens: &[Token<'_>], i: usize) -> bool {
    let (before, path) = tokens.split_at(i);
    let mut rest = &path[path::extent(path)..];
    // In parentheses it is the same path.
    for open in before.iter().rev() {
        match rest {
            [close, more @ ..] if open.is("(") && close.is(")") => rest = more,
            _ => break,
        }
    }
    match rest {
        [pipe, filter, ..] if pipe.is("|") => filter.is_word("default"),
        [is, not, test, ..] if is.is_word("is") && not.is_word("not") => asks(test),
        [is, test, ..] if is.is_word("is") => asks(test),
        _ => false,
    }
}

fn asks(test: &Token<'_>) -> bool {
    test.is_word("defined") || test.is_word("undefined")
}

/// Whether the word names a test: it follows `is` or `is not`.
fn is_test(tokens: &[Token<'_>], i: usize) -> bool {
    let word = |back: usize, text: &str| i.checked_sub(back).is_some_and(|i| tokens[i].is_word(text));
    word(1, "is") || word(1, "not") && word(2, "is")
}

fn known(token: &Token<'_>, words: &[&str], what: &str) -> Result<(), Refusal> {
    if words.contains(&token.text) {
        return Ok(());
    }
    let help = suggest::hint(token.text, words.iter().copied(), &format!("{what}s"));
    Err(Refusal::new(token.at, format!("there is no {what} \"{}\"", token.text), help))
}

fn refuse_unpacking(tokens: &[Token<'_>], i: usize) -> Result<(), Refusal> {
    let prefix = i.checked_sub(1).is_none_or(|i| tokens[i].is("(") || tokens[i].is(","));
    let help = "write each argument out";
    if prefix { Err(Refusal::new(tokens[i].at, "arguments cannot be unpacked", help)) } else { Ok(()) }
}

/// Reads what a name at the beginning of a path reaches for.
fn root(tokens: &[Token<'_>], i: usize) -> Result<Reference, Refusal> {
    let token = &tokens[i];
    let member = |i: usize| member(&tokens[i.min(tokens.len())..]);
    match token.text {
        "input" => Ok(match member(i + 1) {
            Some((name, _)) => Reference::InputMember(name.to_owned()),
            None => Reference::Input,
        }),
        "steps" => {
            let Some((name, used)) = member(i + 1) else {
                let help = "write steps.NAME.output with the step's name";
                return Err(Refusal::new(token.at, "\"steps\" is not followed by a step's name", help));
            };
            if member(i + 1 + used).is_none_or(|(name, _)| name != "output") {
                let help = format!("write steps.{name}.output");
                return Err(Refusal::new(token.at, "of a step only its output can be used", help));
            }
            Ok(Reference::Output(name.to_owned()))
        }
        "item" => Ok(Reference::Item),
        "index" => Ok(Reference::Index),
        "saga" if member(i + 1).is_some_and(|(name, _)| name == "id") => Ok(Reference::SagaId),
        "saga" => Err(Refusal::new(token.at, "of the saga only its id can be used", "write saga.id")),
        other => {
            let help = match suggest::nearest(other, ROOTS) {
                Some(near) => format!("did you mean \"{near}\"? {NAMES_HELP}"),
                None => format!("{NAMES_HELP}; a name with a dash is written input[\"a-b\"]"),
            };
            Err(Refusal::new(token.at, format!("there is no \"{other}\" here"), help))
        }
    }
}

/// Reads `.name` or `["name"]` with the number of tokens it takes.
fn member<'s>(tokens: &[Token<'s>]) -> Option<(&'s str, usize)> {
    match tokens {
        [dot, name, ..] if dot.is(".") && name.kind == TokenKind::Word => Some((name.text, 2)),
        [open, text, close, ..] if open.is("[") && close.is("]") && text.plain_text().is_some() => {
            Some((&text.text[1..text.text.len() - 1], 3))
        }
        _ => None,
    }
}
