//! Answering a pending call later: the handle that a handler keeps, and the request that it makes.
//!
//! A handler whose work outlives the request keeps the call's [`Callback`] beside the work, in its own database, and
//! replies [`Reply::pending`]. When the work has ended it does two things, in this order:
//!
//! 1. [`Callback::settle`], in the transaction that ends the work. From here on every attempt of the call and every
//!    status question is answered with the end. When it says [`Settled::Overtaken`], the step was compensated in the
//!    meantime: undo the work in this transaction and leave it at that.
//! 2. [`Callback::done`], [`Callback::refused`] or [`Callback::answer`], which tell the coordinator at once. It would
//!    ask by itself sooner or later, so nothing is lost when this fails, or is never reached.
//!
//! `examples/pending.rs` is a participant that does so.

use crate::{
    Reply, Tx,
    barrier::{self, Settled},
    outgoing,
};
use amends_wire::{
    participant::CallOp,
    problem::{Problem, Slug},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fmt, sync::OnceLock, time::Duration};
use uuid::Uuid;

/// The longest address of a callback in bytes.
const URL_BYTES_MAX: usize = 2048;
/// The longest token in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// How often an answer is sent at most: about half a minute of pauses.
const ATTEMPTS_MAX: usize = 9;

/// Which call is answered, where, and by which token. As JSON it can be kept through a restart; keep it as secret as the
/// work itself, for whoever has it can answer the call.
///
/// ```json
/// { "saga": "0193…", "step": "print", "op": "action", "url": "http://…/answer", "token": "…" }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// The saga.
    pub saga: Uuid,
    /// The step.
    pub step: String,
    /// Which of the step's calls is pending.
    pub op: CallOp,
    url: String,
    token: String,
}

/// Why a callback was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// Another answer was taken before: by a callback, a status question, or because the saga went on without it.
    #[error("another answer was taken before: {0}")]
    Conflict(String),
    /// The coordinator does not know the call or the token, or cannot read the answer. Sending it again is useless.
    #[error("the coordinator refused the answer with {status}: {said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The coordinator could not be reached in half a minute. It asks for the status by itself when it is back.
    #[error("the coordinator could not be told: {0}")]
    Unreachable(String),
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Callback { saga, step, op, url, token: _ } = self;
        f.debug_struct("Callback")
            .field("saga", saga)
            .field("step", step)
            .field("op", op)
            .field("url", url)
            .finish_non_exhaustive()
    }
}

impl Callback {
    /// Reads what came with a call.
    ///
    /// # Errors
    /// A problem when the address is no `http` or `https` URL, either is too long, or one stands without the other.
    pub(crate) fn read(
        (saga, step, op): (Uuid, &str, CallOp),
        url: Option<&str>,
        token: Option<&str>,
    ) -> Result<Option<Callback>, Problem> {
        let bad = |what: String| Err(Problem::new(Slug::BadHeader, what));
        let (url, token) = match (url, token) {
            (None, None) => return Ok(None),
            (Some(url), Some(token)) => (url, token),
            _ => return bad("saga-callback and saga-token are given together or not at all".to_owned()),
        };
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return bad(format!("the callback's token has 1 to {TOKEN_BYTES_MAX} bytes"));
        }
        let is_plain = |url: &reqwest::Url| {
            ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none()
        };
        if url.len() > URL_BYTES_MAX || !reqwest::Url::parse(url).is_ok_and(|url| is_plain(&url)) {
            return bad(format!(
                "the callback's address is an http or https URL of at most {URL_BYTES_MAX} bytes without user info"
            ));
        }
        Ok(Some(Callback { saga, step: step.to_owned(), op, url: url.to_owned(), token: token.to_owned() }))
    }

    /// Keeps the call's final answer, in the transaction that ends its work; see [`barrier::settle`].
    ///
    /// # Errors
    /// The database's own; then the transaction must be rolled back.
    pub async fn settle(&self, tx: &mut Tx<'_>, reply: &Reply) -> Result<Settled, sqlx::Error> {
        barrier::settle(tx, self.saga, &self.step, self.op, reply).await
    }

    /// Tells the coordinator that it took effect, with the step's output. Telling it again is the same as once.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub async fn done(&self, output: Value) -> Result<(), CallbackError> {
        self.answer(&Reply::done(output)).await
    }

    /// Tells the coordinator a definite no: nothing was done, and nothing will be.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub async fn refused(&self, reason: impl Into<String>) -> Result<(), CallbackError> {
        self.answer(&Reply::refused(reason, json!({}))).await
    }

    /// Tells the coordinator any answer; its status is read as if it had come as the call's own answer.
    ///
    /// Where nothing definite comes back it is sent again, for about half a minute.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub async fn answer(&self, reply: &Reply) -> Result<(), CallbackError> {
        // No connection is kept: one would belong to the runtime that opened it.
        static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
        let client = match CLIENT.get() {
            Some(client) => client,
            None => {
                let made = outgoing::client(Duration::ZERO);
                let made = made.map_err(|error| CallbackError::Unreachable(error.to_string()))?;
                CLIENT.get_or_init(|| made)
            }
        };
        let body = json!({ "token": self.token, "status": reply.status, "body": reply.body });
        let answer = outgoing::post(client, &self.url, None, &body, ATTEMPTS_MAX).await;
        let answer = answer.map_err(|error| CallbackError::Unreachable(error.to_string()))?;
        match answer.status {
            200..=299 => Ok(()),
            409 => Err(CallbackError::Conflict(answer.said())),
            status => Err(CallbackError::Refused { status, said: answer.said() }),
        }
    }
}

#[cfg(test)]
mod tests;
