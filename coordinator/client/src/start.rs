//! Starting a saga: what to run, with what, and under which key.

use crate::error::Error;
use amends_wire::api::SagaView;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// A start, to be handed to [`Client::start`](crate::Client::start).
///
/// Every start has a key, so that making it twice starts one saga: the caller's own, which also holds when the
/// caller itself is restarted, or else one that is made with the start. A clone has the same key.
///
/// ```
/// use amends_client::Start;
/// use serde_json::json;
/// use std::time::Duration;
///
/// let start = Start::of("checkout")
///     .input(&json!({ "order": "1001", "lines": [{ "sku": 1, "qty": 2 }] }))
///     .key("order-1001")
///     .label("order", "1001")
///     .wait(Duration::from_secs(10));
/// assert_eq!(start.key_text(), "order-1001");
/// ```
#[derive(Debug, Clone)]
pub struct Start {
    definition: What,
    input: Result<Box<RawValue>, String>,
    key: String,
    labels: BTreeMap<String, String>,
    pub(crate) wait: Duration,
}

/// What is to run.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// `name` or `name@version`.
    Named(String),
    /// A whole definition, as JSON text.
    Whole(Result<Box<RawValue>, String>),
}

/// What a start brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The saga, as it stood when the answer was given.
    pub saga: SagaView,
    /// Whether this call started it; otherwise an earlier one with the same key did.
    pub is_new: bool,
    /// The key under which it was started.
    pub key: String,
}

impl Start {
    /// Starts a registered definition: `checkout` for its newest version, or `checkout@1`.
    pub fn of(definition: impl Into<String>) -> Start {
        Start::what(What::Named(definition.into()))
    }

    /// Starts a whole definition, which need not be registered, given as any value that is written as the
    /// language's JSON.
    pub fn whole(definition: &impl Serialize) -> Start {
        Start::what(What::Whole(to_raw_value(definition).map_err(|error| error.to_string())))
    }

    pub(crate) fn what(definition: What) -> Start {
        Start {
            definition,
            input: to_raw_value(&serde_json::Map::new()).map_err(|error| error.to_string()),
            key: Uuid::now_v7().to_string(),
            labels: BTreeMap::new(),
            wait: Duration::ZERO,
        }
    }

    /// What the saga is started with; `{}` where nothing is said. Numbers are sent exactly as they are written.
    #[must_use]
    pub fn input(mut self, input: &impl Serialize) -> Start {
        self.input = to_raw_value(input).map_err(|error| error.to_string());
        self
    }

    /// The caller's own key, such as an order's number: 1 to 256 bytes.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Start {
        self.key = key.into();
        self
    }

    /// Adds a label, by which the saga can be found again; at most 16.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, text: impl Into<String>) -> Start {
        self.labels.insert(name.into(), text.into());
        self
    }

    /// Waits for the saga's end, and takes it as it stands when the time is up.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Start {
        self.wait = wait;
        self
    }

    /// The key it is started under.
    pub fn key_text(&self) -> &str {
        &self.key
    }

    /// The request's body.
    pub(crate) fn body(&self) -> Result<Body<'_>, Error> {
        let written = |what, part: &Result<Box<RawValue>, String>| match part {
            Ok(raw) => Ok(raw.clone()),
            Err(why) => Err(Error::Unwritable { what, why: serde::ser::Error::custom(why) }),
        };
        Ok(Body {
            definition: match &self.definition {
                What::Named(name) => Written::Name(name),
                What::Whole(raw) => Written::Whole(written("the definition", raw)?),
            },
            input: written("the input", &self.input)?,
            key: &self.key,
            labels: &self.labels,
        })
    }
}

/// What `POST /v1/sagas` takes.
#[derive(Debug, Serialize)]
pub(crate) struct Body<'a> {
    definition: Written<'a>,
    input: Box<RawValue>,
    key: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Debug)]
enum Written<'a> {
    Name(&'a str),
    Whole(Box<RawValue>),
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Written::Name(name) => serializer.serialize_str(name),
            Written::Whole(raw) => raw.serialize(serializer),
        }
    }
}
