//! A request as it goes out, and as a `curl` command that repeats it.

use amends_wire::participant::CallOp;
use serde_json::Value;
use std::fmt::Write as _;
use uuid::Uuid;

/// What a request carries.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Payload {
    /// Nothing.
    None,
    /// A text.
    Text(String),
    /// Bytes that no shell takes as an argument, and the command that makes them.
    Made { by: String, bytes: Vec<u8> },
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) url: String,
    /// In the order they are sent; signatures come last.
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Payload,
    pub(super) is_get: bool,
}

/// A call of one operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) operation: String,
    pub(super) saga: Uuid,
    pub(super) step: String,
    pub(super) op: CallOp,
    /// With [`CallOp::Status`], which call is asked about.
    pub(super) of: CallOp,
    pub(super) attempt: u32,
    /// From 0: one more each time an operator has a refused action tried anew.
    pub(super) round: u32,
    pub(super) epoch: u64,
    pub(super) body: Value,
}

impl Payload {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Payload::None => b"",
            Payload::Text(text) => text.as_bytes(),
            Payload::Made { bytes, .. } => bytes,
        }
    }
}

impl Request {
    pub(super) fn get(url: String) -> Request {
        Request { url, headers: Vec::new(), payload: Payload::None, is_get: true }
    }

    pub(super) fn post(url: String, headers: Vec<(String, String)>, payload: Payload) -> Request {
        let mut all = vec![("content-type".to_owned(), "application/json".to_owned())];
        all.extend(headers);
        Request { url, headers: all, payload, is_get: false }
    }

    /// The command that sends the same again. A signature in it holds for 5 minutes.
    pub(super) fn curl(&self) -> String {
        let mut text = String::new();
        let made = match &self.payload {
            Payload::Made { by, .. } => {
                let _ = write!(text, "{by} | ");
                Some("@-".to_owned())
            }
            Payload::Text(body) => Some(quoted(body)),
            Payload::None => None,
        };
        let _ = write!(text, "curl -i {}", quoted(&self.url));
        for (name, value) in &self.headers {
            let _ = write!(text, " -H {}", quoted(&format!("{name}: {value}")));
        }
        match made {
            Some(body) => {
                let _ = write!(text, " --data-binary {body}");
            }
            None if !self.is_get => text.push_str(" -X POST"),
            None => {}
        }
        text
    }
}

impl Ask {
    /// The same of another attempt, made by a later owner of the saga.
    pub(super) fn attempt(&self, attempt: u32) -> Ask {
        Ask { attempt, epoch: self.epoch + u64::from(attempt) - 1, ..self.clone() }
    }

    /// The same about another step.
    pub(super) fn at(&self, step: &str) -> Ask {
        Ask { step: step.to_owned(), ..self.clone() }
    }

    /// The same with another body.
    pub(super) fn with(&self, body: Value) -> Ask {
        Ask { body, ..self.clone() }
    }

    /// The same, tried anew by an operator.
    pub(super) fn round(&self, round: u32) -> Ask {
        Ask { round, ..self.clone() }
    }

    /// The question what became of this call.
    pub(super) fn status(&self) -> Ask {
        Ask { op: CallOp::Status, of: self.op, ..self.clone() }
    }

    /// The same for every attempt.
    fn key(&self) -> String {
        let key = format!("{}/{}/{}", self.saga, self.step, self.of);
        if self.round == 0 { key } else { format!("{key}:r{}", self.round) }
    }

    /// The headers, as the coordinator sends them.
    pub(super) fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("saga-id", self.saga.to_string()),
            ("saga-step", self.step.clone()),
            ("saga-op", self.op.to_string()),
            ("saga-attempt", self.attempt.to_string()),
            ("saga-epoch", self.epoch.to_string()),
            ("idempotency-key", self.key()),
        ];
        if self.round > 0 {
            headers.push(("saga-round", self.round.to_string()));
        }
        if self.op == CallOp::Status {
            headers.push(("saga-status-of", self.of.to_string()));
        }
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The call as an entry of a batch.
    pub(super) fn entry(&self) -> Value {
        let mut entry = serde_json::json!({
            "saga": self.saga, "step": self.step, "op": self.op, "attempt": self.attempt, "epoch": self.epoch,
            "key": self.key(), "body": self.body,
        });
        if self.round > 0 {
            entry["round"] = serde_json::json!(self.round);
        }
        if self.op == CallOp::Status {
            entry["status_of"] = serde_json::json!(self.of);
        }
        entry
    }
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
