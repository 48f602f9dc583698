//! A call to a participant as it stands on the wire: headers, the batch envelope, signatures.
//!
//! A single call is `POST {instance}/{operation}` with the operation's body and the headers named here. A
//! batch is `POST {instance}/{operation}/batch` with a [`Batch`], answered by [`BatchResults`] in the same
//! order. What an answer's status means is decided by the core's table.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The saga's id.
pub const SAGA_ID: HeaderName = HeaderName::from_static("saga-id");
/// The step's name.
pub const SAGA_STEP: HeaderName = HeaderName::from_static("saga-step");
/// The name of a branch: who asks for an operation with this and [`SAGA_ID`], and without [`SAGA_OP`], has it join the
/// open saga.
pub const SAGA_BRANCH: HeaderName = HeaderName::from_static("saga-branch");
/// What is asked: a [`CallOp`].
pub const SAGA_OP: HeaderName = HeaderName::from_static("saga-op");
/// The attempt, from 1.
pub const SAGA_ATTEMPT: HeaderName = HeaderName::from_static("saga-attempt");
/// The round, 0 where it is absent: one more each time an operator has a refused action tried anew.
pub const SAGA_ROUND: HeaderName = HeaderName::from_static("saga-round");
/// The epoch of the coordinator that calls.
pub const SAGA_EPOCH: HeaderName = HeaderName::from_static("saga-epoch");
/// With `Saga-Op: status`, which call is asked about.
pub const SAGA_STATUS_OF: HeaderName = HeaderName::from_static("saga-status-of");
/// The one-time token of a callback.
pub const SAGA_TOKEN: HeaderName = HeaderName::from_static("saga-token");
/// Where a callback is sent.
pub const SAGA_CALLBACK: HeaderName = HeaderName::from_static("saga-callback");
/// The same for every attempt of one op.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The id of a signed message.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// When a message was signed, in seconds since 1970.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The signatures, `v1,` and base64, several separated by spaces.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How far a signature's time may be from the verifier's clock, in seconds.
pub const SIGNATURE_WINDOW_SECS: i64 = 300;

/// What is asked of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOp {
    /// Do it.
    Action,
    /// Undo it.
    Compensation,
    /// Make it final.
    Confirm,
    /// Say how it stands.
    Status,
}

/// Many calls of one operation in one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The calls; their order is the order of the results.
    pub calls: Vec<BatchCall>,
}

/// One call of a batch: what the headers of a single call say, and its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchCall {
    /// The saga's id.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// What is asked.
    pub op: CallOp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The round, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub round: u32,
    /// The epoch of the coordinator that calls.
    #[serde(default)]
    pub epoch: u64,
    /// The idempotency key.
    pub key: String,
    /// With `op` status, which call is asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_of: Option<CallOp>,
    /// The one-time token of a callback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Where a callback is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// The trace context of this call, where the coordinator records it; see [`crate::trace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The body.
    pub body: Value,
}

/// The answers of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchResults {
    /// One for each call, in the order of the calls.
    pub results: Vec<BatchResult>,
}

/// One call's answer within a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchResult {
    /// The HTTP status the call alone would have been answered with.
    pub status: u16,
    /// The body it would have had.
    #[serde(default)]
    pub body: Value,
    /// Whole seconds to wait before the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_first(round: &u32) -> bool {
    *round == 0
}

impl CallOp {
    /// The word in headers and bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            CallOp::Action => "action",
            CallOp::Compensation => "compensation",
            CallOp::Confirm => "confirm",
            CallOp::Status => "status",
        }
    }
}

impl fmt::Display for CallOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CallOp {
    type Err = String;
    fn from_str(text: &str) -> Result<CallOp, String> {
        match text {
            "action" => Ok(CallOp::Action),
            "compensation" => Ok(CallOp::Compensation),
            "confirm" => Ok(CallOp::Confirm),
            "status" => Ok(CallOp::Status),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(format!("\"{}\" is not action, compensation, confirm or status", shown.escape_debug()))
            }
        }
    }
}

/// A secret shared by coordinator and participant; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads a secret: `whsec_` and base64 of at least 16 bytes, as Standard Webhooks writes it.
    ///
    /// # Errors
    /// A sentence that says what a secret looks like; it does not repeat the text.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let what = "a secret is \"whsec_\" and base64 of 16 to 64 random bytes";
        let encoded = text.strip_prefix("whsec_").ok_or(what)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| what)?;
        if !(16..=64).contains(&bytes.len()) {
            return Err(what.to_owned());
        }
        Ok(Secret(bytes))
    }

    /// Writes it as text.
    pub fn expose(&self) -> String {
        format!("whsec_{}", BASE64_STANDARD.encode(&self.0))
    }

    fn mac(&self, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Signs a message as Standard Webhooks describes and returns the three headers.
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> [(HeaderName, String); 3] {
    let signature = secret.mac(id, timestamp, body).finalize().into_bytes();
    [
        (WEBHOOK_ID, id.to_owned()),
        (WEBHOOK_TIMESTAMP, timestamp.to_string()),
        (WEBHOOK_SIGNATURE, format!("v1,{}", BASE64_STANDARD.encode(signature))),
    ]
}

/// Checks a message's signature in constant time against any of several secrets, so that keys can rotate.
///
/// # Errors
/// A sentence: the time is outside the window of 5 minutes, or no signature fits.
pub fn verify(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    signatures: &str,
    now_secs: i64,
    body: &[u8],
) -> Result<(), &'static str> {
    let at: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is not a number of seconds")?;
    if now_secs.abs_diff(at) > SIGNATURE_WINDOW_SECS.unsigned_abs() {
        return Err("webhook-timestamp is more than 5 minutes off; compare the clocks");
    }
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|one| BASE64_STANDARD.decode(one).ok())
        .collect();
    let fits = |secret: &Secret| {
        given.iter().any(|signature| secret.mac(id, at, body).verify_slice(signature).is_ok())
    };
    if secrets.iter().any(fits) { Ok(()) } else { Err("webhook-signature fits no known secret") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_published_example_verifies() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let body = br#"{"test": 2432232314}"#;
        let [_, _, (_, signature)] = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_flipped_byte_and_a_stale_time_are_refused() {
        let (old, new) = (Secret(vec![1; 24]), Secret(vec![2; 24]));
        let body = b"{\"a\":1}";
        let [(_, id), (_, at), (_, signature)] = sign(&new, "m1", 1_000_000, body);
        let check =
            |body: &[u8], id: &str, now| verify(&[old.clone(), new.clone()], id, &at, &signature, now, body);
        assert_eq!(check(body, &id, 1_000_200), Ok(()));
        for i in 0..body.len() {
            let mut altered = body.to_vec();
            altered[i] ^= 1;
            assert!(check(&altered, &id, 1_000_000).is_err(), "byte {i}");
        }
        assert!(check(body, "m2", 1_000_000).is_err());
        assert!(check(body, &id, 1_000_301).is_err());
        assert!(verify(&[old], &id, &at, &signature, 1_000_000, body).is_err());
    }
}
