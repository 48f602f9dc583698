//! What a participant answers to one call.

use amends_wire::{
    participant::{BatchResult, CallOp},
    problem::{MEDIA_TYPE, Problem},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// An answer: a status and a JSON body. The coordinator reads the status by its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; for an action it is the step's output.
    pub body: Value,
    /// Whole seconds to wait before the next attempt.
    pub retry_after: Option<u64>,
}

impl Reply {
    /// It took effect.
    pub fn done(output: Value) -> Reply {
        Reply { status: 200, body: output, retry_after: None }
    }

    /// A definite no: nothing was done. `details` must be an object; its members stand beside the message.
    pub fn refused(message: impl Into<String>, details: Value) -> Reply {
        let mut body = json!({ "message": message.into() });
        if let (Some(body), Value::Object(details)) = (body.as_object_mut(), details) {
            body.extend(details);
        }
        Reply { status: 409, body, retry_after: None }
    }

    /// It is being worked on; the coordinator asks again after `retry_after` seconds, unless a
    /// [`Callback`](crate::Callback) was quicker.
    pub fn pending(retry_after: Option<u64>) -> Reply {
        Reply { status: 202, body: Value::Null, retry_after }
    }

    /// It cannot be said; the call is to be repeated.
    pub fn unavailable(message: impl Into<String>, retry_after: Option<u64>) -> Reply {
        Reply { status: 503, body: json!({ "message": message.into() }), retry_after }
    }

    /// The call itself is wrong.
    pub fn problem(problem: &Problem) -> Reply {
        let body = serde_json::to_value(problem).unwrap_or_default();
        Reply { status: problem.status(), body, retry_after: problem.retry_after }
    }

    /// It is forgotten here: to a compensation, there is nothing left to undo.
    pub fn gone(message: impl Into<String>) -> Reply {
        Reply { status: 410, body: json!({ "message": message.into() }), retry_after: None }
    }

    /// Whether every further attempt of an `op` is answered with this, so that it is kept with the barrier's row.
    ///
    /// What is done or pending is kept, and so is every no to an action: its attempts must be answered alike, and
    /// its compensation must know that there is nothing to undo. A no to a compensation or a confirm is not kept,
    /// for somebody will put right what stands in its way and try again. 5xx, 408 and 429 are never kept.
    pub fn is_kept(&self, op: CallOp) -> bool {
        match self.status {
            200..=299 | 410 | 425 => true,
            408 | 429 => false,
            300..=499 => op == CallOp::Action,
            _ => false,
        }
    }

    /// Whether it is a definite no, after which nothing of the call may be left.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, 300..=499) && !matches!(self.status, 408 | 425 | 429)
    }

    /// As an entry of a batch's answer.
    pub fn into_result(self) -> BatchResult {
        BatchResult { status: self.status, body: self.body, retry_after: self.retry_after }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = self.status >= 400 && self.body.get("title").is_some();
        let media = if problem { MEDIA_TYPE } else { "application/json" };
        let body = match self.body {
            Value::Null => Vec::new(),
            value => serde_json::to_vec(&value).unwrap_or_default(),
        };
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if let Some(secs) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

#[cfg(test)]
mod tests;
