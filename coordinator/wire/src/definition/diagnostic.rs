//! What is wrong with a definition: where, what, and what to do about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Every fault found in a definition, in the order of the text; at least one, at most [`FAULTS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// The largest number of faults that are told at once.
pub const FAULTS_MAX: usize = 100;

/// The longest piece of a source line that is shown, in characters.
const SNIPPET_CHARS_MAX: usize = 120;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.line, self.column, self.message, self.help)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostics {
    /// Shows every fault with its line of the source and a caret under the place, as plain text.
    ///
    /// ```text
    /// error: there is no step "quot"
    ///   --> checkout.yaml:12:14
    ///    |
    /// 12 |       after: [quot]
    ///    |               ^
    ///    = help: did you mean "quote"?
    /// ```
    pub fn render(&self, file: &str, source: &str) -> String {
        let shown: Vec<String> = self.0.iter().map(|d| d.render(file, source)).collect();
        shown.join("\n")
    }
}

impl Diagnostic {
    fn render(&self, file: &str, source: &str) -> String {
        let Diagnostic { line, column, message, help } = self;
        let text = source.lines().nth(line - 1).unwrap_or("").replace('\t', " ");
        // A very long line is shown from a little before the place on.
        let skipped = if *column > SNIPPET_CHARS_MAX { column - SNIPPET_CHARS_MAX / 2 } else { 0 };
        let snippet: String = text.chars().skip(skipped).take(SNIPPET_CHARS_MAX).collect();
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let caret = " ".repeat(column - 1 - skipped);
        format!(
            "error: {message}\n{gutter} --> {file}:{line}:{column}\n{gutter} |\n{number} | {snippet}\n\
             {gutter} | {caret}^\n{gutter} = help: {help}\n"
        )
    }
}

/// Collects faults by their place in bytes; lines and columns are worked out once, at the end.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<(usize, String, String)>,
}

impl Faults {
    /// Notes a fault at byte `at` of the source.
    pub(crate) fn add(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        self.list.push((at, message.into(), help.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Orders the faults and finds their lines; `Ok` when there is none.
    pub(crate) fn finish(mut self, source: &str) -> Result<(), Diagnostics> {
        self.list.sort_by_key(|(at, ..)| *at);
        self.list.dedup();
        self.list.truncate(FAULTS_MAX);
        if self.list.is_empty() {
            return Ok(());
        }
        let diagnostic = |(at, message, help)| {
            let (line, column) = position(source, at);
            Diagnostic { line, column, message, help }
        };
        Err(Diagnostics(self.list.into_iter().map(diagnostic).collect()))
    }
}

/// The line and column of a byte, both from 1, the column in characters.
pub(crate) fn position(source: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(source.len())).rev().find(|i| source.is_char_boundary(*i)).unwrap_or(0);
    let before = &source[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
