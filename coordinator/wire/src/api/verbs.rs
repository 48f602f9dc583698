//! What callers send to a saga that runs.

use super::body;
use crate::problem::{Problem, Slug};
use amends_saga::{Json, Op, OpState, SagaId, StepName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::ops::RangeInclusive;

/// The longest reason in bytes.
pub const REASON_BYTES_MAX: usize = 4096;

/// The statuses that an answer can have.
const STATUSES: RangeInclusive<u16> = 200..=599;

/// `POST /v1/sagas/{id}/cancel`; the body may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, in a sentence; kept in the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `POST /v1/sagas/{id}/revert`; the body may be absent.
pub type RevertRequest = CancelRequest;

/// `POST /v1/sagas/{id}/rollback`; the body may be absent.
pub type RollbackRequest = CancelRequest;

/// `POST /v1/sagas/{id}/signals/{name}`.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalRequest {
    /// The sender's own id for the signal: a repeat with the same id is taken as one.
    pub id: Option<String>,
    /// What it carries; every number in it is kept exactly.
    pub payload: Json,
}

/// `POST /v1/sagas/{id}/steps/{step}/answer`: a participant answers a pending call.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerRequest {
    /// The call's `Saga-Token`.
    pub token: String,
    /// The status the participant would have answered with, read by the same table.
    pub status: u16,
    /// The body it would have answered with; null is none.
    pub body: Option<Json>,
}

/// What a participant is told that has answered a call: how the call stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    /// The saga.
    pub saga: SagaId,
    /// The step.
    pub step: StepName,
    /// Which of its calls was answered.
    pub op: Op,
    /// Where that call stands.
    pub status: super::OpStatus,
}

impl CancelRequest {
    /// Reads the body, which may be absent.
    ///
    /// # Errors
    /// As [`body::read_or_default`]; `malformed_body` for a reason longer than [`REASON_BYTES_MAX`].
    pub fn read(bytes: &[u8]) -> Result<CancelRequest, Problem> {
        let request: CancelRequest = body::read_or_default(bytes)?;
        match request.reason.as_ref().map_or(0, String::len) {
            0..=REASON_BYTES_MAX => Ok(request),
            bytes => {
                let why = format!("the reason has {bytes} bytes; it has at most {REASON_BYTES_MAX}");
                Err(body::misfit(Slug::MalformedBody, "/reason", why))
            }
        }
    }

    /// The reason, or what is said where there is none or a blank one.
    pub fn reason_or(self, usual: &str) -> String {
        let reason = self.reason.filter(|reason| !reason.trim().is_empty());
        reason.unwrap_or_else(|| usual.to_owned())
    }
}

impl SignalRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// As [`body::read`]; `number_not_exact`; `bad_key` for an id that is no key.
    pub fn read(bytes: &[u8]) -> Result<SignalRequest, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body<'a> {
            #[serde(default)]
            id: Option<String>,
            #[serde(borrow)]
            payload: &'a RawValue,
        }
        let Body { id, payload } = body::read(bytes)?;
        if let Some(id) = &id {
            super::start::check_key(id).map_err(|why| body::misfit(Slug::BadKey, "/id", why))?;
        }
        Ok(SignalRequest { id, payload: body::exact(payload)? })
    }
}

impl AnswerRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// As [`body::read`]; `malformed_body` for a status that no answer can have.
    pub fn read(bytes: &[u8]) -> Result<AnswerRequest, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            token: String,
            status: u16,
            #[serde(default)]
            body: Option<Json>,
        }
        let Body { token, status, body: answer } = body::read(bytes)?;
        if !STATUSES.contains(&status) {
            let why = format!("{status} is no status of an answer; those are from 200 to 599");
            return Err(body::misfit(Slug::MalformedBody, "/status", why));
        }
        Ok(AnswerRequest { token, status, body: answer })
    }
}

impl AnswerView {
    /// Shows one of a step's calls.
    pub fn of(saga: SagaId, step: StepName, op: Op, call: &OpState) -> AnswerView {
        AnswerView { saga, step, op, status: super::OpStatus::of(call) }
    }
}

#[cfg(test)]
mod tests;
