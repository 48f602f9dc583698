//! Canonical JSON: one text for all texts that mean the same, and fingerprints of it.
//!
//! Members are sorted by key, space is dropped and strings are written with the fewest escapes; numbers
//! stay as they are written, so `1` and `1.0` differ. A repeated key, nesting beyond [`DEPTH_MAX`] and a
//! number that would not be kept exactly are refused rather than silently changed: two callers who see
//! the same fingerprint have asked for the same thing.
//!
//! The scanner walks text that is known to be JSON ([`RawValue`]), once, and copies what needs no change.

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{fmt, ops::Range};

/// The deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 64;

/// Digits that any double keeps, whatever they are (`f64::DIGITS`).
const SAFE_DIGITS: usize = f64::DIGITS as usize;

/// Why a JSON text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An object has two members of one key.
    RepeatedKey {
        /// The member, as `lines[3].sku`.
        path: String,
    },
    /// Arrays and objects are nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A string has an escape that is no character, such as half of a surrogate pair.
    BadString {
        /// Where it stands.
        path: String,
    },
    /// A number that would be rounded.
    InexactNumber {
        /// Where it stands.
        path: String,
        /// The number as written, cut to 40 bytes.
        number: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::RepeatedKey { path } => write!(f, "\"{path}\" appears twice; keep one"),
            Fault::TooDeep => {
                write!(f, "arrays and objects are nested deeper than {DEPTH_MAX} levels; flatten them")
            }
            Fault::BadString { path } => {
                write!(f, "the text at \"{path}\" has an escape that is no character; send it as UTF-8")
            }
            Fault::InexactNumber { path, number } => write!(
                f,
                "the number {number} at \"{path}\" cannot be kept exactly; send a 64-bit integer, fewer \
                 digits, or a text"
            ),
        }
    }
}

impl std::error::Error for Fault {}

/// Returns the canonical form of a JSON text.
///
/// # Errors
/// The first [`Fault`] met.
pub fn canonical(raw: &RawValue) -> Result<Vec<u8>, Fault> {
    let mut scan = Scan::new(raw.get());
    scan.value(0).map_err(|fault| scan.located(fault))?;
    Ok(scan.out)
}

/// Checks that every number of a JSON text survives [`serde_json::Value`] unchanged.
///
/// # Errors
/// [`Fault::InexactNumber`] with the path, or what else keeps the text from a canonical form.
pub fn exact_numbers(raw: &RawValue) -> Result<(), Fault> {
    canonical(raw).map(drop)
}

/// Returns how deeply arrays and objects are nested in a text that may or may not be JSON.
///
/// Called before anything recursive reads the text.
pub fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (_, _) => {}
        }
    }
    deepest
}

/// Hashes `parts` so that no two different lists of parts are confused: SHA-256 over lengths and bytes.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Writes bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// One pass over a text that is JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    out: Vec<u8>,
    /// Where we are, for messages: the parts of the path, kept only while descending.
    path: Vec<Part>,
}

/// A part of a path: a key, by its place in the output, or an index.
enum Part {
    Key(Range<usize>),
    Index(usize),
}

/// A fault whose path is still to be filled in.
enum Unplaced {
    RepeatedKey,
    TooDeep,
    BadString,
    InexactNumber(String),
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Scan<'a> {
        Scan { text, at: 0, out: Vec::with_capacity(text.len()), path: Vec::new() }
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Unplaced> {
        self.skip_space();
        match self.peek() {
            b'{' | b'[' if depth == DEPTH_MAX => Err(Unplaced::TooDeep),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            _ => self.bare(),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Unplaced> {
        self.open(b'[');
        let mut index = 0;
        while !self.closes(b']') {
            self.path.push(Part::Index(index));
            if index > 0 {
                self.out.push(b',');
            }
            self.value(depth + 1)?;
            self.path.pop();
            index += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), Unplaced> {
        self.open(b'{');
        let start = self.out.len();
        let mut members: Vec<(Range<usize>, Range<usize>)> = Vec::with_capacity(8);
        while !self.closes(b'}') {
            let from = self.out.len();
            self.string()?;
            let key = from..self.out.len();
            self.path.push(Part::Key(key.clone()));
            self.skip_space();
            self.open(b':');
            self.value(depth + 1)?;
            self.path.pop();
            members.push((key, from..self.out.len()));
        }
        self.sort_members(start, members)?;
        self.out.push(b'}');
        Ok(())
    }

    /// Puts the members written from `start` on, so far without commas, into the order of their keys.
    fn sort_members(
        &mut self,
        start: usize,
        mut members: Vec<(Range<usize>, Range<usize>)>,
    ) -> Result<(), Unplaced> {
        let out = &self.out;
        members.sort_by(|a, b| out[a.0.clone()].cmp(&out[b.0.clone()]));
        if let Some(twins) = members.windows(2).find(|w| out[w[0].0.clone()] == out[w[1].0.clone()]) {
            self.path.push(Part::Key(twins[0].0.clone()));
            return Err(Unplaced::RepeatedKey);
        }
        let mut sorted = Vec::with_capacity(self.out.len() - start + members.len());
        for (i, (_, member)) in members.into_iter().enumerate() {
            if i > 0 {
                sorted.push(b',');
            }
            sorted.extend_from_slice(&self.out[member]);
        }
        self.out.truncate(start);
        self.out.append(&mut sorted);
        Ok(())
    }

    /// Copies one character that the grammar demands here.
    fn open(&mut self, byte: u8) {
        debug_assert_eq!(self.peek(), byte);
        self.at += 1;
        self.out.push(byte);
    }

    /// Steps over space and a comma, and over the closing character if it is here.
    fn closes(&mut self, byte: u8) -> bool {
        self.skip_space();
        if self.peek() == b',' {
            self.at += 1;
            self.skip_space();
        }
        // The end of the text closes everything; it cannot come early in text that is JSON.
        let closes = self.peek() == byte || self.at >= self.text.len();
        self.at += usize::from(closes);
        closes
    }

    fn string(&mut self) -> Result<(), Unplaced> {
        let from = self.at;
        self.at += 1;
        let mut plain = true;
        while self.at < self.text.len() && self.peek() != b'"' {
            let escape = self.peek() == b'\\';
            plain &= !escape;
            self.at += 1 + usize::from(escape);
        }
        self.at = (self.at + 1).min(self.text.len());
        let written = &self.text[from..self.at];
        if plain {
            self.out.extend_from_slice(written.as_bytes());
            return Ok(());
        }
        let text: String = serde_json::from_str(written).map_err(|_| Unplaced::BadString)?;
        serde_json::to_writer(&mut self.out, &text).map_err(|_| Unplaced::BadString)
    }

    /// A number, `true`, `false` or `null`.
    fn bare(&mut self) -> Result<(), Unplaced> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|b| !is_bare(b)).unwrap_or(rest.len()).max(1).min(rest.len());
        let word = rest.get(..length).unwrap_or(rest);
        self.at += word.len();
        let number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if number && !keeps(word) {
            return Err(Unplaced::InexactNumber(word.chars().take(40).collect()));
        }
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn located(&self, fault: Unplaced) -> Fault {
        let path = self.path_text();
        match fault {
            Unplaced::RepeatedKey => Fault::RepeatedKey { path },
            Unplaced::TooDeep => Fault::TooDeep,
            Unplaced::BadString => Fault::BadString { path },
            Unplaced::InexactNumber(number) => Fault::InexactNumber { path, number },
        }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for part in &self.path {
            match part {
                Part::Index(i) => text.push_str(&format!("[{i}]")),
                Part::Key(range) => {
                    let dot = if text.is_empty() { "" } else { "." };
                    let key: String = serde_json::from_slice(&self.out[range.clone()]).unwrap_or_default();
                    text.push_str(&format!("{dot}{}", key.chars().take(80).collect::<String>()));
                }
            }
        }
        text
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Whether a JSON number means the same after it has been read and written again.
pub(crate) fn keeps(number: &str) -> bool {
    let integer = !number.contains(['.', 'e', 'E']);
    if integer && (number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()) {
        return true;
    }
    let Some((digits, exponent)) = decimal(number) else { return false };
    if digits.len() <= SAFE_DIGITS && (-290..=290).contains(&exponent) {
        return !integer || digits.is_empty();
    }
    let Ok(float) = number.parse::<f64>() else { return false };
    let kept = float.is_finite() && decimal(&format!("{float:e}")).is_some_and(|d| d == (digits, exponent));
    kept && !integer
}

/// A number as its significant digits and the power of ten of the last of them.
fn decimal(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().ok().filter(|e| (-10_000..=10_000).contains(e))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return Some((String::new(), 0));
    }
    let dropped = all.len() - all.trim_end_matches('0').len();
    let last = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(dropped).ok()?;
    Some((digits.to_owned(), last))
}

#[cfg(test)]
mod tests;
