//! Definitions written in code: exactly the language of the text, checked by its reader.
//!
//! ```
//! use amends_client::definition::{Definition, call, signal};
//! use serde_json::json;
//! use std::time::Duration;
//!
//! let transfer = Definition::named("transfer")
//!     .version(1)
//!     .deadline(Duration::from_secs(600))
//!     .input(json!({ "type": "object", "properties": { "amount": { "type": "integer" } } }))
//!     .step(
//!         call("withdraw", "bank.withdraw")
//!             .compensation("bank.deposit")
//!             .with(json!({ "amount": "${{ input.amount }}" })),
//!     )
//!     .step(signal("approval", "approved").timeout("1h"))
//!     .output(json!({ "receipt": "${{ steps.withdraw.output.receipt }}" }))
//!     .build()?;
//! assert_eq!(transfer.name(), "transfer");
//! # Ok::<(), amends_client::Error>(())
//! ```
//!
//! What comes out has the same content, and so the same hash, as the text that says the same: a definition may be
//! registered from either. A span is given as a [`Duration`](std::time::Duration) or as the language writes it,
//! `"24h"`; the two are the same time and, where `24h` is written `1d`, not the same content.

mod step;
mod terms;

pub use step::{AwaitStep, CallStep, ChildStep, Step, call, child, signal};
pub use terms::{After, Compensation, Retry, Spell, expr, retry, undo};

use crate::{
    Client, Error,
    catalogue::Registered,
    start::{Start, What},
};
use amends_wire::{
    api::DefinitionView,
    definition::{Diagnostics, Text},
};
use serde_json::{Map, Value, value::RawValue};

/// A definition as it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    content: Map<String, Value>,
    steps: Vec<Value>,
}

/// A definition that has no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    name: String,
    version: u32,
    hash: String,
    json: String,
}

impl Definition {
    /// Begins a definition of this name.
    pub fn named(name: impl Into<String>) -> Definition {
        let mut content = Map::new();
        content.insert("saga".to_owned(), Value::String(name.into()));
        Definition { content, steps: Vec::new() }
    }

    /// Its version, from 1; 1 where nothing is said.
    #[must_use]
    pub fn version(self, version: u32) -> Definition {
        self.set("version", version)
    }

    /// How long a saga may go forward.
    #[must_use]
    pub fn deadline(self, span: impl Into<Spell>) -> Definition {
        self.set("deadline", span.into())
    }

    /// JSON Schema (2020-12) of what a saga is started with.
    #[must_use]
    pub fn input(self, schema: impl Into<Value>) -> Definition {
        self.set("input", schema.into())
    }

    /// Adds a step, which follows the one before it unless it says otherwise.
    #[must_use]
    pub fn step(mut self, step: impl Into<Step>) -> Definition {
        self.steps.push(step.into().into_value());
        self
    }

    /// What a saga yields when it completes.
    #[must_use]
    pub fn output(self, output: impl Into<Value>) -> Definition {
        self.set("output", output.into())
    }

    /// The content as the language's JSON, unchecked.
    pub fn to_value(&self) -> Value {
        let mut content = self.content.clone();
        content.insert("steps".to_owned(), Value::Array(self.steps.clone()));
        Value::Object(content)
    }

    /// Checks the whole as the coordinator would.
    ///
    /// # Errors
    /// [`Error::Definition`] with every fault; lines and columns count within [`Definition::to_text`].
    pub fn build(&self) -> Result<Built, Error> {
        self.check().map_err(Error::Definition)
    }

    /// The content as JSON text, unchecked, as the diagnostics count its lines.
    pub fn to_text(&self) -> String {
        format!("{:#}", self.to_value())
    }

    fn check(&self) -> Result<Built, Diagnostics> {
        let json = self.to_text();
        let text = Text::read(&json)?;
        Ok(Built { name: text.name.to_string(), version: text.version, hash: text.hash, json })
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Definition {
        self.content.insert(key.to_owned(), value.into());
        self
    }
}

impl Built {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// SHA-256 of its content in canonical form, as lower-case hex: the same as that of a text which says the same.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The definition as JSON text of the language.
    pub fn json(&self) -> &str {
        &self.json
    }
}

impl Start {
    /// Starts a definition that was written in code, without registering it.
    pub fn built(definition: &Built) -> Start {
        let raw = RawValue::from_string(definition.json.clone()).map_err(|error| error.to_string());
        Start::what(What::Whole(raw))
    }
}

impl Client {
    /// Registers a definition that was written in code.
    ///
    /// # Errors
    /// As [`Client::put_definition`].
    pub async fn register(&self, definition: &Built) -> Result<Registered<DefinitionView>, Error> {
        self.put_definition(&definition.name, definition.version, definition.json.clone()).await
    }
}

#[cfg(test)]
mod tests;
