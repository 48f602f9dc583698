//! Open sagas: what begins one, what registers a branch, what gives it more time.

use super::{
    body,
    start::{one_key, read_labels},
};
use crate::{
    canonical::{canonical, fingerprint},
    problem::{Problem, Slug},
    span::Span,
};
use amends_saga::{Json, Millis, Name};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

/// The shortest time an open saga may have to be decided.
pub const TIMEOUT_MIN: Millis = Millis::from_secs(1);
/// The longest.
pub const TIMEOUT_MAX: Millis = Millis::from_secs(24 * 3600);

/// `POST /v1/sagas/open`, read and checked.
///
/// ```json
/// { "timeout": "60s", "key": "trip-7", "labels": {"trip": "7"} }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// How long it has to be decided, from [`TIMEOUT_MIN`] to [`TIMEOUT_MAX`].
    pub timeout: Millis,
    /// The caller's key: the body's, or the `Idempotency-Key` header's.
    pub key: Option<String>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// SHA-256 over timeout and labels; the key is no part of it.
    pub fingerprint: [u8; 32],
}

/// `POST /v1/sagas/{id}/branches`, read and checked.
///
/// ```json
/// { "name": "seats", "compensation": "seats.free", "confirm": "seats.sell", "with": {"seat": "12A"} }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BranchRequest {
    /// Its name: the step of its work for the barrier.
    pub name: Name,
    /// What undoes it.
    pub compensation: OperationRef,
    /// What makes it final, where something does.
    pub confirm: Option<OperationRef>,
    /// The body of both; every number in it is kept exactly.
    pub with: Json,
}

/// `POST /v1/sagas/{id}/renew`, read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenewRequest {
    /// How long it has from now on, within the same bounds as at first.
    pub timeout: Millis,
}

/// An operation as callers name it: `participant.operation`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationRef {
    /// The participant.
    pub participant: Name,
    /// Its operation.
    pub operation: Name,
}

impl OpenRequest {
    /// Reads the body; `header_key` is the `Idempotency-Key` header's text.
    ///
    /// # Errors
    /// As [`body::read`]; `bad_key`, `key_conflict`, `bad_label`.
    pub fn read(bytes: &[u8], header_key: Option<&str>) -> Result<OpenRequest, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body<'a> {
            timeout: Span,
            #[serde(borrow, default)]
            key: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            labels: Option<&'a RawValue>,
        }
        let body: Body<'_> = body::read(bytes)?;
        let timeout = bounded(body.timeout)?;
        let labels_text = body.labels.map_or(Ok(b"{}".to_vec()), canonical)?;
        // No start of a definition has the same parts: its first is a JSON value.
        let fingerprint = fingerprint([&b"open"[..], timeout.0.to_string().as_bytes(), &labels_text]);
        let key = one_key(body.key.as_deref(), header_key)?;
        let labels = body.labels.map_or(Ok(BTreeMap::new()), read_labels)?;
        Ok(OpenRequest { timeout, key, labels, fingerprint })
    }
}

impl BranchRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// As [`body::read`]; `bad_name` for a name that is none; `number_not_exact`.
    pub fn read(bytes: &[u8]) -> Result<BranchRequest, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body<'a> {
            name: String,
            compensation: String,
            #[serde(default)]
            confirm: Option<String>,
            #[serde(borrow)]
            with: &'a RawValue,
        }
        let body: Body<'_> = body::read(bytes)?;
        let operation = |path: &str, text: &str| {
            text.parse::<OperationRef>().map_err(|why| body::misfit(Slug::BadName, path, why))
        };
        Ok(BranchRequest {
            name: Name::parse(&body.name)
                .map_err(|error| body::misfit(Slug::BadName, "/name", error.to_string()))?,
            compensation: operation("/compensation", &body.compensation)?,
            confirm: body.confirm.as_deref().map(|text| operation("/confirm", text)).transpose()?,
            with: body::exact(body.with)?,
        })
    }
}

impl RenewRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// As [`body::read`]; `malformed_body` for a time out of bounds.
    pub fn read(bytes: &[u8]) -> Result<RenewRequest, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            timeout: Span,
        }
        let Body { timeout } = body::read(bytes)?;
        Ok(RenewRequest { timeout: bounded(timeout)? })
    }
}

fn bounded(timeout: Span) -> Result<Millis, Problem> {
    let millis = timeout.millis();
    match (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&millis) {
        true => Ok(millis),
        false => {
            let (least, most) = (Span(TIMEOUT_MIN), Span(TIMEOUT_MAX));
            let why = format!("an open saga has from {least} to {most} to be decided, not {timeout}");
            Err(body::misfit(Slug::MalformedBody, "/timeout", why))
        }
    }
}

impl FromStr for OperationRef {
    type Err = String;

    fn from_str(text: &str) -> Result<OperationRef, String> {
        let Some((participant, operation)) = text.split_once('.') else {
            let shown: String = text.chars().take(80).collect();
            return Err(format!(
                "\"{}\" is not an operation: write participant.operation",
                shown.escape_debug()
            ));
        };
        let name = |text: &str| Name::parse(text).map_err(|error| error.to_string());
        Ok(OperationRef { participant: name(participant)?, operation: name(operation)? })
    }
}

impl fmt::Display for OperationRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.participant, self.operation)
    }
}

#[cfg(test)]
mod tests;
