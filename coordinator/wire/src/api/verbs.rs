//! What callers send to a saga that runs.

use amends_saga::Json;
use serde::Deserialize;

/// `POST /v1/sagas/{id}/cancel`; the body may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, in a sentence; kept in the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /v1/sagas/{id}/signals/{name}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// The sender's own id for the signal: a repeat with the same id is taken as one.
    #[serde(default)]
    pub id: Option<String>,
    /// What it carries.
    pub payload: Json,
}

/// `POST /v1/sagas/{id}/steps/{step}/answer`: a participant answers a pending call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// The call's `Saga-Token`.
    pub token: String,
    /// The status the participant would have answered with, read by the same table.
    pub status: u16,
    /// The body it would have answered with.
    #[serde(default)]
    pub body: Option<Json>,
}
