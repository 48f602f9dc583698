//! Names of definitions, steps, participants, operations and signals.

use serde::{Deserialize, Serialize};
use std::{fmt, ops::Deref, sync::Arc};

/// A name that matches `[a-z][a-z0-9_-]{0,62}`.
///
/// Parsed at the edge; whoever holds a `Name` need not check it again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Says why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName(String);

/// The longest name in bytes.
pub const NAME_BYTES_MAX: usize = 63;

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// [`BadName`] when the text is empty, too long, or has a character outside the rule.
    pub fn parse(text: &str) -> Result<Name, BadName> {
        let mut bytes = text.bytes();
        let first_ok = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let rest_ok = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if first_ok && rest_ok && text.len() <= NAME_BYTES_MAX {
            Ok(Name(text.into()))
        } else {
            Err(BadName(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not a name: use a lower-case letter, then up to 62 of a-z, 0-9, _ and -",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for BadName {}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;
    fn try_from(text: String) -> Result<Name, BadName> {
        Name::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
    }
}

/// The name of a step of one saga: a [`Name`], followed by `[i]` for item `i` of a fanned-out step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepName(Arc<str>);

impl StepName {
    /// Parses the name of a step.
    ///
    /// # Errors
    /// [`BadName`] when the text is neither a [`Name`] nor one with the number of an item behind it.
    pub fn parse(text: &str) -> Result<StepName, BadName> {
        let (base, index) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((base, index)) => (base, Some(index)),
            None => (text, None),
        };
        let is_plain = |index: &str| index.parse::<u32>().is_ok_and(|number| number.to_string() == index);
        let bad = |_| BadName(text.chars().take(80).collect());
        Name::parse(base).map_err(bad)?;
        match index.is_none_or(is_plain) {
            true => Ok(StepName(text.into())),
            false => Err(BadName(text.chars().take(80).collect())),
        }
    }

    /// The name of item `index` of a fanned-out step.
    pub fn item(of: &Name, index: u32) -> StepName {
        StepName(format!("{of}[{index}]").into())
    }

    /// The name of the step in the definition.
    pub fn base(&self) -> &str {
        self.0.split_once('[').map_or(&self.0, |(base, _)| base)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for StepName {
    fn from(name: Name) -> StepName {
        StepName(name.0)
    }
}

impl From<&Name> for StepName {
    fn from(name: &Name) -> StepName {
        StepName(name.0.clone())
    }
}

impl Deref for StepName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for StepName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<Name> for StepName {
    fn eq(&self, name: &Name) -> bool {
        *self.0 == *name.0
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for StepName {
    type Error = BadName;
    fn try_from(text: String) -> Result<StepName, BadName> {
        StepName::parse(&text)
    }
}

impl From<StepName> for String {
    fn from(name: StepName) -> String {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests;
