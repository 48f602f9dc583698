//! Open sagas: branches are registered while the work goes on, and then all are kept or all are undone.

use crate::{
    Client, Error,
    sagas::path,
    transport::{Attempted, Call},
};
use amends_wire::{
    CauseKind, Name, SagaId,
    api::SagaView,
    participant::{SAGA_BRANCH, SAGA_ID},
    problem::Slug,
    span::Span,
};
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// An open saga to begin, to be handed to [`Client::open`].
#[derive(Debug, Clone, Serialize)]
pub struct Open {
    timeout: Span,
    key: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// A branch to register: what undoes it, what makes it final, and the body of both.
#[derive(Debug, Clone)]
pub struct Branch {
    name: String,
    compensation: String,
    confirm: Option<String>,
    with: Result<Box<RawValue>, String>,
}

/// An open saga in the hands of whoever decides it. Dropping it decides nothing: the saga rolls back when its time
/// is up.
#[derive(Debug, Clone)]
pub struct OpenSaga {
    client: Client,
    id: SagaId,
}

impl Open {
    /// An open saga that rolls back unless it is decided within this time.
    pub fn within(timeout: Duration) -> Open {
        Open { timeout: span(timeout), key: Uuid::now_v7().to_string(), labels: BTreeMap::new() }
    }

    /// The caller's own key: beginning again under it gives the same saga.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Open {
        self.key = key.into();
        self
    }

    /// Adds a label, by which the saga can be found again; at most 16.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, text: impl Into<String>) -> Open {
        self.labels.insert(name.into(), text.into());
        self
    }
}

impl Branch {
    /// A branch that `compensation`, as `inventory.release`, undoes.
    pub fn of(name: impl Into<String>, compensation: impl Into<String>) -> Branch {
        let with = serde_json::value::to_raw_value(&json!({})).map_err(|error| error.to_string());
        Branch { name: name.into(), compensation: compensation.into(), confirm: None, with }
    }

    /// The operation that makes it final when the saga is committed.
    #[must_use]
    pub fn confirm(mut self, operation: impl Into<String>) -> Branch {
        self.confirm = Some(operation.into());
        self
    }

    /// The body that compensation and confirm are sent; `{}` where nothing is said.
    #[must_use]
    pub fn with(mut self, body: &impl Serialize) -> Branch {
        self.with = serde_json::value::to_raw_value(body).map_err(|error| error.to_string());
        self
    }
}

impl Client {
    /// Begins an open saga.
    ///
    /// # Errors
    /// `bad_key`, `key_reused`, `too_many_sagas`; else as any call.
    pub async fn open(&self, open: &Open) -> Result<OpenSaga, Error> {
        let call = Call::post("/v1/sagas/open").json("the open saga", open)?.repeatable();
        let saga: SagaView = self.transport.answer(&call).await?.read()?;
        Ok(self.join(saga.id))
    }

    /// Takes part in an open saga that somebody else began.
    pub fn join(&self, id: SagaId) -> OpenSaga {
        OpenSaga { client: self.clone(), id }
    }
}

impl OpenSaga {
    /// Its id.
    pub fn id(&self) -> SagaId {
        self.id
    }

    /// The header by which a service that is called learns of the saga and can register its own branches.
    pub fn identity(&self) -> (HeaderName, HeaderValue) {
        let value = HeaderValue::from_str(&self.id.to_string());
        (SAGA_ID, value.expect("a UUID is plain text"))
    }

    /// The headers by which a participant's own operation joins the saga as the branch `name`, where it is called
    /// directly: it registers the branch, and does its work behind its barrier.
    pub fn joining(&self, name: &Name) -> [(HeaderName, HeaderValue); 2] {
        let value = HeaderValue::from_str(name.as_str());
        [self.identity(), (SAGA_BRANCH, value.expect("a name is plain text"))]
    }

    /// Reads the saga; its branches are its steps.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get(&self) -> Result<SagaView, Error> {
        self.client.get(self.id).await
    }

    /// Registers a branch, before its work is done. Doing it again changes nothing.
    ///
    /// # Errors
    /// A conflict when the saga is decided, or when another branch has the name; `unknown_operation`.
    pub async fn branch(&self, branch: &Branch) -> Result<SagaView, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            name: &'a str,
            compensation: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            confirm: Option<&'a str>,
            with: &'a RawValue,
        }
        let unwritable = |why: &String| Error::Unwritable {
            what: "the branch's body",
            why: serde::ser::Error::custom(why),
        };
        let body = Body {
            name: &branch.name,
            compensation: &branch.compensation,
            confirm: branch.confirm.as_deref(),
            with: branch.with.as_deref().map_err(unwritable)?,
        };
        self.call("branches", &body).await
    }

    /// Decides that the work stays: every confirm is called. Nothing can be rolled back from here on.
    ///
    /// # Errors
    /// A conflict when it was rolled back, as after its time.
    pub async fn commit(&self) -> Result<SagaView, Error> {
        self.call("commit", &json!({})).await
    }

    /// Decides that the work is undone: every branch's compensation is called, the last one first.
    ///
    /// # Errors
    /// A conflict when it was committed.
    pub async fn rollback(&self, reason: Option<&str>) -> Result<SagaView, Error> {
        let body = reason.map_or(json!({}), |reason| json!({ "reason": reason }));
        match self.attempted("rollback", &body).await {
            Err(Attempted { error, is_repeat: true })
                if error.problem().is_some_and(|no| no.is(Slug::SagaEnded)) =>
            {
                let saga = self.get().await?;
                let done = saga.error.as_ref().is_some_and(|cause| cause.kind == CauseKind::Cancelled);
                if done { Ok(saga) } else { Err(error) }
            }
            other => other.map_err(|attempted| attempted.error),
        }
    }

    /// Gives the saga this much more time from now on.
    ///
    /// # Errors
    /// A conflict when it is decided.
    pub async fn renew(&self, timeout: Duration) -> Result<SagaView, Error> {
        self.call("renew", &json!({ "timeout": span(timeout) })).await
    }

    /// Waits for the end of every confirm or compensation.
    ///
    /// # Errors
    /// As [`Client::wait_end`].
    pub async fn wait_end(&self, timeout: Duration) -> Result<SagaView, Error> {
        self.client.wait_end(self.id, timeout).await
    }

    async fn call(&self, verb: &str, body: &impl Serialize) -> Result<SagaView, Error> {
        self.attempted(verb, body).await.map_err(|attempted| attempted.error)
    }

    async fn attempted(&self, verb: &str, body: &impl Serialize) -> Result<SagaView, Attempted> {
        let plain = |error| Attempted { error, is_repeat: false };
        let call =
            Call::post(format!("{}/{verb}", path(self.id))).json("the request", body).map_err(plain)?;
        let answer = self.client.transport.answer_or_no(&call.repeatable()).await?;
        answer.read().map_err(plain)
    }
}

/// A span in whole milliseconds, never shorter than what was asked for.
fn span(time: Duration) -> Span {
    let millis = time.as_nanos().div_ceil(1_000_000);
    Span(amends_wire::Millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}
