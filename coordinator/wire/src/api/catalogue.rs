//! What is registered: definitions and participants.

use super::Time;
use amends_saga::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A definition; lists leave `content` out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefinitionView {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its content in canonical form, as lower-case hex.
    pub hash: String,
    /// When it was registered.
    pub created_at: Time,
    /// The sagas that run this version and have not ended; only lists count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    /// The definition itself, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParticipantView {
    /// Its name.
    pub name: Name,
    /// Where it can be reached.
    pub instances: Vec<InstanceView>,
    /// What it offers, as it was registered; secrets are never shown.
    pub operations: BTreeMap<Name, Value>,
    /// Its circuit breaker.
    pub breaker: BreakerView,
    /// When it was last registered or refreshed.
    pub updated_at: Time,
}

/// One address of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its id.
    pub id: String,
    /// Its base URL.
    pub url: String,
    /// Whether its health check answers; null before the first.
    pub healthy: Option<bool>,
    /// When it is forgotten unless it is registered again; null when it stays.
    pub expires_at: Option<Time>,
}

/// A participant's circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Whether calls are sent.
    pub state: BreakerState,
    /// Until when an open breaker defers calls.
    pub until: Option<Time>,
}

/// The states of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls are sent.
    #[default]
    Closed,
    /// Calls are deferred.
    Open,
    /// One call is sent to see whether the participant is back.
    HalfOpen,
}
