//! Who is calling and what is asked, read strictly from headers or from an entry of a batch.

use crate::Callback;
use amends_wire::{
    participant::{self as wire, BatchCall, CallOp},
    problem::{Problem, Slug},
};
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use std::{
    any::Any,
    str::FromStr,
    sync::{Arc, OnceLock},
};
use uuid::Uuid;

/// The longest step name: a name of 63 bytes and an item's index.
const STEP_BYTES_MAX: usize = 80;
/// The longest idempotency key.
const KEY_BYTES_MAX: usize = 256;

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The saga's id.
    pub saga: Uuid,
    /// The step's name.
    pub step: String,
    /// What is asked.
    pub op: CallOp,
    /// With [`CallOp::Status`], which call is asked about.
    pub status_of: CallOp,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The round, 0 at first: one more each time an operator has a refused action tried anew.
    pub round: u32,
    /// The epoch of the coordinator that calls.
    pub epoch: u64,
    /// The same for every attempt of one op, and of one round.
    pub key: String,
    /// How to answer later, where the coordinator said so; see [`Reply::pending`](crate::Reply::pending).
    pub callback: Option<Callback>,
}

/// One call of one operation.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who is calling.
    pub caller: Caller,
    /// The operation.
    pub operation: String,
    /// The body.
    pub body: Value,
    /// What was read of it; see [`Call::read`].
    read: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.caller == other.caller && self.operation == other.operation && self.body == other.body
    }
}

impl Call {
    /// A call.
    pub fn new(caller: Caller, operation: impl Into<String>, body: Value) -> Call {
        Call { caller, operation: operation.into(), body, read: OnceLock::new() }
    }

    /// What `read` makes of this call, made once and remembered with it.
    ///
    /// A [`Body`](crate::Body) looks at a call more than once: before it waits, and within the transaction. One type is
    /// remembered for a call; another is made anew each time.
    pub fn read<T: Any + Send + Sync>(&self, read: impl Fn(&Call) -> T) -> Arc<T> {
        let kept = self.read.get_or_init(|| Arc::new(read(self)));
        Arc::clone(kept).downcast().unwrap_or_else(|_| Arc::new(read(self)))
    }
}

impl Caller {
    /// Reads the headers of a single call.
    ///
    /// # Errors
    /// A problem that names the header and what it should hold.
    pub fn from_headers(headers: &HeaderMap) -> Result<Caller, Problem> {
        let op: CallOp = read(headers, &wire::SAGA_OP)?;
        let status_of = match op {
            CallOp::Status => read(headers, &wire::SAGA_STATUS_OF)?,
            other => other,
        };
        let (saga, step) = (read(headers, &wire::SAGA_ID)?, text(headers, &wire::SAGA_STEP)?);
        let url = maybe(headers, &wire::SAGA_CALLBACK)?;
        let callback = Callback::read((saga, step, status_of), url, maybe(headers, &wire::SAGA_TOKEN)?)?;
        let caller = Caller {
            saga,
            step: step.to_owned(),
            op,
            status_of,
            attempt: read(headers, &wire::SAGA_ATTEMPT)?,
            round: read_or(headers, &wire::SAGA_ROUND, 0)?,
            epoch: read_or(headers, &wire::SAGA_EPOCH, 0)?,
            key: text(headers, &wire::IDEMPOTENCY_KEY)?.to_owned(),
            callback,
        };
        caller.checked()
    }

    /// Reads an entry of a batch.
    ///
    /// # Errors
    /// A problem that names the member and what it should hold.
    pub fn from_batch(call: &BatchCall) -> Result<Caller, Problem> {
        let status_of = match (call.op, call.status_of) {
            (CallOp::Status, None) => return Err(bad("\"status_of\" is missing beside op \"status\"")),
            (CallOp::Status, Some(of)) => of,
            (op, _) => op,
        };
        let (url, token) = (call.callback.as_deref(), call.token.as_deref());
        let callback = Callback::read((call.saga, &call.step, status_of), url, token)?;
        let caller = Caller {
            saga: call.saga,
            step: call.step.clone(),
            op: call.op,
            status_of,
            attempt: call.attempt,
            round: call.round,
            epoch: call.epoch,
            key: call.key.clone(),
            callback,
        };
        caller.checked()
    }

    fn checked(self) -> Result<Caller, Problem> {
        let step_ok = (1..=STEP_BYTES_MAX).contains(&self.step.len())
            && self.step.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-[]".contains(&b));
        if !step_ok {
            return Err(bad(format!("the step's name has 1 to {STEP_BYTES_MAX} of a-z, 0-9, _, -, [ and ]")));
        }
        if self.attempt == 0 {
            return Err(bad("attempts are numbered from 1"));
        }
        if self.key.is_empty() || self.key.len() > KEY_BYTES_MAX {
            return Err(bad(format!("the idempotency key has 1 to {KEY_BYTES_MAX} bytes")));
        }
        if self.status_of == CallOp::Status {
            return Err(bad("a status is asked of an action, a compensation or a confirm"));
        }
        Ok(self)
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Slug::BadHeader, detail)
}

fn maybe<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    if headers.contains_key(name) { text(headers, name).map(Some) } else { Ok(None) }
}

/// A header that stands once, as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| bad(format!("the header {name} is missing")))?;
    if values.next().is_some() {
        return Err(bad(format!("the header {name} is given twice")));
    }
    value.to_str().map_err(|_| bad(format!("the header {name} is not plain text")))
}

fn read<T: FromStr<Err: std::fmt::Display>>(headers: &HeaderMap, name: &HeaderName) -> Result<T, Problem> {
    text(headers, name)?.parse().map_err(|error| bad(format!("the header {name}: {error}")))
}

fn read_or<T: FromStr<Err: std::fmt::Display>>(
    headers: &HeaderMap,
    name: &HeaderName,
    absent: T,
) -> Result<T, Problem> {
    if headers.contains_key(name) { read(headers, name) } else { Ok(absent) }
}
