//! What a participant says of itself when it registers: where it is and what it offers.
//!
//! ```json
//! { "instances": ["http://127.0.0.1:7101"],
//!   "operations": { "hold":    {"compensation": "release", "timeout": "5s", "status": true, "batch": {"max": 64}},
//!                   "release": {}, "confirm": {} },
//!   "ttl": "30s" }
//! ```

use crate::span::Span;
use amends_saga::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The path of the health check of participants that name none.
pub const HEALTH_PATH: &str = "/healthz";
/// The most instances one registration may bring.
pub const INSTANCES_MAX: usize = 64;
/// The longest schema of an operation's body, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// The most operations one participant may offer.
pub const OPERATIONS_MAX: usize = 256;
/// The largest batch.
pub const BATCH_MAX: u32 = 1024;
/// The shortest secret in bytes, once decoded.
pub const SECRET_BYTES_MIN: usize = 16;

/// The body of `PUT /v1/participants/{name}`.
///
/// Registering again adds or refreshes the given instances and replaces the operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Base URLs, one for each instance.
    pub instances: Vec<String>,
    /// What it offers, by name.
    pub operations: BTreeMap<Name, OperationTerms>,
    /// The secret its calls are signed with, as `whsec_` and base64. Written, never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The path of its health check; `/healthz` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// How long the instances stay without being registered again; for ever where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// What holds for one operation. A definition's own words win over these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationTerms {
    /// The operation that undoes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Name>,
    /// The operation that makes it final in an open saga.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Name>,
    /// The bound on one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Whether it answers status questions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status: bool,
    /// Its batch form, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batching>,
    /// Whether a barrier guards it, so that it refuses to act after its compensation.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub barrier: bool,
    /// How it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryTerms>,
    /// JSON Schema (2020-12) of the body it takes; a body that an operator has edited is checked against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// The batch form of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// Calls in one batch, at most; from 1 to [`BATCH_MAX`].
    pub max: u32,
}

/// How an operation is tried again; what is absent falls to the next in line.
///
/// `quick` and `within` mean something for compensations only.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryTerms {
    /// Quick attempts in line, the first included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quick: Option<u32>,
    /// Attempts; for a compensation those after the quick ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The first wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Span>,
    /// What each further wait is multiplied by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The longest wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// The age at which no further attempt is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

impl Default for OperationTerms {
    fn default() -> Self {
        OperationTerms {
            compensation: None,
            confirm: None,
            timeout: None,
            status: false,
            batch: None,
            barrier: true,
            retry: None,
            input: None,
        }
    }
}

impl Registration {
    /// Checks what the types cannot say; URLs are checked by the coordinator, which knows its policy.
    ///
    /// # Errors
    /// A sentence that names the place and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.instances.is_empty() || self.instances.len() > INSTANCES_MAX {
            let count = self.instances.len();
            return Err(format!("\"instances\" has {count} URLs; give 1 to {INSTANCES_MAX}"));
        }
        if self.operations.is_empty() || self.operations.len() > OPERATIONS_MAX {
            let count = self.operations.len();
            return Err(format!("\"operations\" has {count} members; give 1 to {OPERATIONS_MAX}"));
        }
        if self.health.as_ref().is_some_and(|path| !path.starts_with('/') || path.len() > 256) {
            return Err("\"health\" is a path that begins with \"/\", such as /healthz".to_owned());
        }
        if self.ttl.is_some_and(|ttl| ttl < Span::from_secs(1)) {
            return Err("\"ttl\" is at least 1s".to_owned());
        }
        self.operations.iter().try_for_each(|(name, terms)| self.check_operation(name, terms))
    }

    fn check_operation(&self, name: &Name, terms: &OperationTerms) -> Result<(), String> {
        for (word, other) in [("compensation", &terms.compensation), ("confirm", &terms.confirm)] {
            if let Some(other) = other
                && !self.operations.contains_key(other)
            {
                return Err(format!(
                    "operation \"{name}\" names {word} \"{other}\", which is not among the operations"
                ));
            }
        }
        if terms.timeout.is_some_and(|timeout| timeout.0.0 == 0 || timeout > Span::from_secs(3600)) {
            return Err(format!("operation \"{name}\": \"timeout\" is from 1ms to 1h"));
        }
        if terms.batch.is_some_and(|batch| batch.max == 0 || batch.max > BATCH_MAX) {
            return Err(format!("operation \"{name}\": \"batch.max\" is from 1 to {BATCH_MAX}"));
        }
        if let Some(schema) = &terms.input {
            check_schema(schema).map_err(|what| format!("operation \"{name}\": \"input\": {what}"))?;
        }
        match terms.retry {
            Some(retry) => retry.check().map_err(|what| format!("operation \"{name}\": {what}")),
            None => Ok(()),
        }
    }
}

impl RetryTerms {
    /// Checks the bounds.
    ///
    /// # Errors
    /// A sentence that names the member and its bounds.
    pub fn check(&self) -> Result<(), String> {
        if self.attempts.is_some_and(|n| n == 0 || n > 10_000) {
            return Err("\"retry.attempts\" is from 1 to 10000".to_owned());
        }
        if self.quick.is_some_and(|n| n > 100) {
            return Err("\"retry.quick\" is from 0 to 100".to_owned());
        }
        if self.factor.is_some_and(|factor| !(1.0..=100.0).contains(&factor)) {
            return Err("\"retry.factor\" is from 1 to 100".to_owned());
        }
        if let (Some(first), Some(max)) = (self.first, self.max)
            && first > max
        {
            return Err(format!("\"retry.first\" {first} is longer than \"retry.max\" {max}"));
        }
        Ok(())
    }
}

fn check_schema(schema: &Value) -> Result<(), String> {
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        return Err(format!("the schema has {bytes} bytes, more than {SCHEMA_BYTES_MAX}"));
    }
    well_formed(schema)
}

#[cfg(feature = "definition")]
fn well_formed(schema: &Value) -> Result<(), String> {
    crate::definition::check_schema(schema)
}

/// A participant carries no reader of schemas: the coordinator refuses what is none.
#[cfg(not(feature = "definition"))]
fn well_formed(_: &Value) -> Result<(), String> {
    Ok(())
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_yes(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests;
