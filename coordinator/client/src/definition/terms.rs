//! The small parts of steps: spans, expressions, what comes before, retries, compensations.

use amends_wire::{Millis, span::Span};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A span of time as the language writes it: `"15m"`, or a [`Duration`] in whole milliseconds, rounded up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spell(String);

/// What a step comes after: one name, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct After(Value);

/// How a call is tried again; what is absent falls to the operation's registration and then to the deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retry(Map<String, Value>);

/// What undoes a step: an operation's name alone, or [`undo`] with more to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Compensation(Value);

/// Begins to say how a call is tried again.
pub fn retry() -> Retry {
    Retry::default()
}

/// Begins a compensation that says more than its operation.
pub fn undo(operation: impl Into<String>) -> Compensation {
    Compensation(json!({ "operation": operation.into() }))
}

/// An expression as a value: `expr("input.lines")` is `"${{ input.lines }}"`.
pub fn expr(source: &str) -> Value {
    Value::String(format!("${{{{ {source} }}}}"))
}

impl Retry {
    /// Attempts; for a compensation those after the quick ones.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Retry {
        self.set("attempts", attempts)
    }

    /// The first wait.
    #[must_use]
    pub fn first(self, span: impl Into<Spell>) -> Retry {
        self.set("first", span.into())
    }

    /// What each further wait is multiplied by, from 1 to 100. A whole number is written as one.
    #[must_use]
    pub fn factor(self, factor: f64) -> Retry {
        // Only numbers from 1 to 100 are read; what is out of range stays as it is and is told with the others.
        match factor.fract() == 0.0 && (0.0..=1_000.0).contains(&factor) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            true => self.set("factor", factor as u32),
            false => self.set("factor", factor),
        }
    }

    /// The longest wait.
    #[must_use]
    pub fn max(self, span: impl Into<Spell>) -> Retry {
        self.set("max", span.into())
    }

    /// Quick attempts in line, the first included; of a compensation only.
    #[must_use]
    pub fn quick(self, attempts: u32) -> Retry {
        self.set("quick", attempts)
    }

    /// The age at which no further attempt is made; of a compensation only.
    #[must_use]
    pub fn within(self, span: impl Into<Spell>) -> Retry {
        self.set("within", span.into())
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Retry {
        self.0.insert(key.to_owned(), value.into());
        self
    }
}

impl Compensation {
    /// The body it is sent; the action's where nothing is said.
    #[must_use]
    pub fn with(self, body: impl Into<Value>) -> Compensation {
        self.set("with", body.into())
    }

    /// How it is tried again.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Compensation {
        self.set("retry", retry)
    }

    fn set(self, key: &str, value: impl Into<Value>) -> Compensation {
        let mut members = match self.0 {
            Value::Object(members) => members,
            operation => Map::from_iter([("operation".to_owned(), operation)]),
        };
        members.insert(key.to_owned(), value.into());
        Compensation(Value::Object(members))
    }
}

impl From<&str> for Spell {
    fn from(text: &str) -> Spell {
        Spell(text.to_owned())
    }
}

impl From<String> for Spell {
    fn from(text: String) -> Spell {
        Spell(text)
    }
}

impl From<Duration> for Spell {
    fn from(time: Duration) -> Spell {
        let millis = time.as_nanos().div_ceil(1_000_000);
        Spell(Span(Millis(u64::try_from(millis).unwrap_or(u64::MAX))).to_string())
    }
}

impl From<Spell> for Value {
    fn from(span: Spell) -> Value {
        Value::String(span.0)
    }
}

impl From<Retry> for Value {
    fn from(retry: Retry) -> Value {
        Value::Object(retry.0)
    }
}

impl From<&str> for Compensation {
    fn from(operation: &str) -> Compensation {
        Compensation(Value::String(operation.to_owned()))
    }
}

impl From<String> for Compensation {
    fn from(operation: String) -> Compensation {
        Compensation(Value::String(operation))
    }
}

impl From<Compensation> for Value {
    fn from(compensation: Compensation) -> Value {
        compensation.0
    }
}

impl From<&str> for After {
    fn from(step: &str) -> After {
        After(Value::String(step.to_owned()))
    }
}

impl<const N: usize> From<[&str; N]> for After {
    fn from(steps: [&str; N]) -> After {
        After(steps.into_iter().collect())
    }
}

impl From<Vec<String>> for After {
    fn from(steps: Vec<String>) -> After {
        After(steps.into_iter().collect())
    }
}

impl From<After> for Value {
    fn from(after: After) -> Value {
        after.0
    }
}
