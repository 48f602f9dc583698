//! The tokens of an expression: enough to bound it, to find its end, and to see which names it uses.
//!
//! minijinja parses what is left; our own look comes first because a parser that recurses must not be
//! given unbounded text, and because names have to be checked against the definition's steps.

use super::Refusal;

/// The longest expression in bytes.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 4096;
/// The largest number of tokens of an expression.
pub(crate) const TOKENS_MAX: usize = 500;

/// A token and where it stands in the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'s> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'s str,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name; a step's name after `steps.` may contain dashes.
    Word,
    Number,
    /// A text with its quotes.
    Text,
    Symbol,
}

/// An expression cut into tokens.
#[derive(Debug)]
pub(crate) struct Tokens<'s> {
    /// The expression without the marks around it.
    pub(crate) source: &'s str,
    pub(crate) list: Vec<Token<'s>>,
    /// The bytes up to and with the closing `}}`.
    pub(crate) consumed: usize,
}

const PAIRS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

/// Cuts the text after `${{` into tokens, up to the `}}` that closes it.
///
/// # Errors
/// What keeps it from being an expression, with the byte at which.
pub(crate) fn tokens(text: &str) -> Result<Tokens<'_>, Refusal> {
    let mut list: Vec<Token<'_>> = Vec::new();
    let mut braces = 0usize;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return Err(Refusal::new(at, "the expression is not closed", "end it with }}"));
        };
        if at > EXPRESSION_BYTES_MAX {
            let message = format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes");
            return Err(Refusal::new(0, message, "let a participant compute this"));
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if braces == 0 && rest.starts_with("}}") {
            return Ok(Tokens { source: &text[..at], list, consumed: at + 2 });
        }
        let (kind, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' if names_step(&list) => (TokenKind::Word, name_length(rest, true)),
            'a'..='z' | 'A'..='Z' | '_' => (TokenKind::Word, name_length(rest, false)),
            '0'..='9' => (TokenKind::Number, number_length(rest)),
            '"' | '\'' => (TokenKind::Text, text_length(rest, at)?),
            _ if PAIRS.iter().any(|pair| rest.starts_with(pair)) => (TokenKind::Symbol, 2),
            _ if "+-*/%~|.,:()[]{}<>=".contains(first) => (TokenKind::Symbol, 1),
            _ => {
                let message = format!("the character {first:?} has no meaning in an expression");
                return Err(Refusal::new(at, message, "remove it, or put text into quotes"));
            }
        };
        match first {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        list.push(Token { kind, text: &rest[..length], at });
        if list.len() > TOKENS_MAX {
            let message = format!("the expression has more than {TOKENS_MAX} tokens");
            return Err(Refusal::new(0, message, "let a participant compute this"));
        }
        at += length;
    }
}

/// Whether `steps.` stands before, so that a step's name follows.
fn names_step(before: &[Token<'_>]) -> bool {
    match before {
        [.., dot, steps, last] => last.is(".") && steps.text == "steps" && !dot.is("."),
        [steps, last] => last.is(".") && steps.text == "steps",
        _ => false,
    }
}

fn name_length(text: &str, dashes: bool) -> usize {
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || dashes && b == b'-';
    text.bytes().position(|b| !part(b)).unwrap_or(text.len())
}

fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (here, next) = (bytes[at], bytes.get(at + 1).copied().unwrap_or(0));
        let exponent = at > 0 && matches!(bytes[at - 1], b'e' | b'E') && matches!(here, b'+' | b'-');
        let fraction = here == b'.' && next.is_ascii_digit();
        if !(here.is_ascii_alphanumeric() || here == b'_' || fraction || exponent && next.is_ascii_digit()) {
            break;
        }
        at += 1;
    }
    at
}

fn text_length(text: &str, at: usize) -> Result<usize, Refusal> {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Ok(i + 1),
            _ => {}
        }
    }
    Err(Refusal::new(at, "a text in the expression is not closed", "end it with the quote it began with"))
}

impl Token<'_> {
    /// The byte behind it.
    pub(crate) fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// Whether it is this symbol.
    pub(crate) fn is(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// Whether it is this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }

    /// What a text without escapes says.
    pub(crate) fn plain_text(&self) -> Option<&str> {
        let inner = self.text.get(1..self.text.len().checked_sub(1)?)?;
        (self.kind == TokenKind::Text && !inner.contains('\\')).then_some(inner)
    }
}
