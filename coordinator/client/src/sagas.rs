//! Sagas: start, read, wait for the end, list, cancel, revert, signal.

use crate::{
    Client, Error,
    error::Error::Timeout,
    start::{Start, Started},
    transport::{Answer, Attempted, Call},
};
use amends_wire::{
    CauseKind, SagaId, Status,
    api::{SagaView, Time},
};
use futures::Stream;
use http::StatusCode;
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::time::{Duration, Instant};

/// The longest that one request waits; longer waits are made of several, so that a coordinator may go away.
const WAIT_STEP: Duration = Duration::from_secs(20);

/// Between two looks at a saga of which no coordinator tells anything.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A signal, to be handed to [`Client::signal`].
#[derive(Debug, Clone)]
pub struct Signal {
    name: String,
    id: Option<String>,
    payload: Result<Box<RawValue>, String>,
}

/// Which sagas a list is about; each member narrows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sagas {
    /// With one of these statuses.
    pub status: Vec<Status>,
    /// Of this definition: `name` or `name@version`.
    pub definition: Option<String>,
    /// With each of these labels.
    pub labels: Vec<(String, String)>,
    /// Started under this key.
    pub key: Option<String>,
    /// Standing at this step now.
    pub step: Option<String>,
    /// Standing at a step of this participant now.
    pub participant: Option<String>,
    /// Accepted at this time or later.
    pub created_after: Option<Time>,
    /// Accepted before this time.
    pub created_before: Option<Time>,
}

impl Signal {
    /// A signal of this name; its payload is null where nothing is said.
    pub fn of(name: impl Into<String>) -> Signal {
        Signal { name: name.into(), id: None, payload: Ok(RawValue::NULL.to_owned()) }
    }

    /// What it carries.
    #[must_use]
    pub fn payload(mut self, payload: &impl Serialize) -> Signal {
        self.payload = serde_json::value::to_raw_value(payload).map_err(|error| error.to_string());
        self
    }

    /// The sender's own id for it, such as a payment's: a repeat with the same id counts as one.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Signal {
        self.id = Some(id.into());
        self
    }
}

/// Whether a saga has ended, be it done, undone or given up.
pub fn has_ended(saga: &SagaView) -> bool {
    match saga.status {
        Status::Completed | Status::Compensated | Status::Abandoned => true,
        Status::Running | Status::Compensating | Status::Repair => false,
    }
}

impl Client {
    /// Starts a saga. When the start waits, the answer comes at the saga's end, or as the saga stands when the time
    /// is up, which is no error.
    ///
    /// Dropping the future does not stop the saga.
    ///
    /// # Errors
    /// [`Error::Problem`] with a slug such as `input_does_not_fit`, `unknown_definition`, `key_reused` or
    /// `too_many_sagas`; [`Error::Unanswered`] when every attempt was sent and none answered: repeat it with the
    /// same key.
    pub async fn start(&self, start: Start) -> Result<Started, Error> {
        let call = Call::post("/v1/sagas").json("the start", &start.body()?)?.repeatable();
        let began = Instant::now();
        let answer = self.transport.answer(&call.wait(start.wait.min(WAIT_STEP))).await?;
        let mut saga: SagaView = answer.read()?;
        // What an unanswered attempt of this very call began is new to the caller.
        let is_new = match answer.status {
            StatusCode::CREATED => true,
            StatusCode::OK => answer.is_repeat,
            _ => saga_is_fresh(&answer),
        };
        let rest = start.wait.saturating_sub(began.elapsed());
        if !has_ended(&saga) && !rest.is_zero() {
            saga = match self.wait_end(saga.id, rest).await {
                Ok(saga) => saga,
                Err(Timeout { known: Some(known), .. }) => *known,
                Err(Timeout { known: None, .. }) => saga,
                Err(error) => return Err(error),
            };
        }
        Ok(Started { saga, is_new, key: start.key_text().to_owned() })
    }

    /// Starts a saga and waits for its end.
    ///
    /// # Errors
    /// As [`Client::start`] and [`Client::wait_end`].
    pub async fn run(&self, start: Start, timeout: Duration) -> Result<SagaView, Error> {
        let began = Instant::now();
        let started = self.start(start.wait(timeout.min(WAIT_STEP))).await?;
        match has_ended(&started.saga) {
            true => Ok(started.saga),
            false => self.wait_end(started.saga.id, timeout.saturating_sub(began.elapsed())).await,
        }
    }

    /// Reads a saga as it stands.
    ///
    /// # Errors
    /// `not_found` when there is none; else as any call.
    pub async fn get(&self, id: SagaId) -> Result<SagaView, Error> {
        self.transport.answer(&Call::get(path(id))).await?.read()
    }

    /// Waits for a saga's end, whatever becomes of the coordinators meanwhile.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the saga as it was last seen; a problem that waiting does not help against, such as
    /// `not_found`.
    pub async fn wait_end(&self, id: SagaId, timeout: Duration) -> Result<SagaView, Error> {
        let began = Instant::now();
        let (mut known, mut last) = (None, None);
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            let call = Call::get(path(id)).wait(left.min(WAIT_STEP));
            // The time given bounds the attempts as well.
            let looked = tokio::time::timeout(left.max(LOOK_AGAIN), self.transport.answer(&call)).await;
            match looked.map(|answer| answer.and_then(|answer| answer.read::<SagaView>())) {
                Ok(Ok(saga)) if has_ended(&saga) => return Ok(saga),
                Ok(Ok(saga)) => (known, last) = (Some(Box::new(saga)), None),
                Ok(Err(error)) if error.is_transient() => last = Some(Box::new(error)),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(Timeout { known, waited: began.elapsed(), last });
            }
            if last.is_some() {
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        }
    }

    /// Lists sagas, newest first and without their steps, page by page as the stream is read.
    pub fn list(&self, sagas: &Sagas) -> impl Stream<Item = Result<SagaView, Error>> + Send + use<> {
        self.pages("/v1/sagas", sagas.query())
    }

    /// Asks for a running saga to be undone. Asking again changes nothing.
    ///
    /// # Errors
    /// `saga_ended` when it has ended by itself; a problem that says so when its pivot has passed.
    pub async fn cancel(&self, id: SagaId, reason: Option<&str>) -> Result<SagaView, Error> {
        self.turn_round(id, "cancel", reason, CauseKind::Cancelled).await
    }

    /// Asks for a completed saga to be undone, as when an order is cancelled before it ships.
    ///
    /// # Errors
    /// A problem when it has not completed, or when its pivot has passed.
    pub async fn revert(&self, id: SagaId, reason: Option<&str>) -> Result<SagaView, Error> {
        self.turn_round(id, "revert", reason, CauseKind::Reverted).await
    }

    /// Sends a signal to a saga; a step that waits for it goes on, and one not yet reached finds it waiting.
    ///
    /// # Errors
    /// `no_such_signal` when the definition awaits none of this name; `signal_conflict` when the time is up or
    /// another payload was taken.
    pub async fn signal(&self, id: SagaId, signal: &Signal) -> Result<Signalled, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            payload: &'a RawValue,
        }
        let unwritable = |why: &String| Error::Unwritable {
            what: "the signal's payload",
            why: serde::ser::Error::custom(why),
        };
        let payload = signal.payload.as_deref().map_err(unwritable)?;
        let call = Call::post(format!("{}/signals/{}", path(id), crate::segment(&signal.name)));
        let body = Body { id: signal.id.as_deref(), payload };
        let answer = self.transport.answer(&call.json("the signal", &body)?.repeatable()).await?;
        Ok(Signalled { is_taken: answer.status == StatusCode::OK, saga: answer.read()? })
    }

    /// Cancels or reverts. A repeat that comes after its own first attempt has done its work is told so by the
    /// saga, and not by the coordinator's no.
    async fn turn_round(
        &self,
        id: SagaId,
        verb: &str,
        reason: Option<&str>,
        kind: CauseKind,
    ) -> Result<SagaView, Error> {
        let call = Call::post(format!("{}/{verb}", path(id))).repeatable();
        let call = match reason {
            Some(reason) => call.json("the reason", &json!({ "reason": reason }))?,
            None => call,
        };
        match self.transport.answer_or_no(&call).await {
            Ok(answer) => answer.read(),
            Err(Attempted { error, is_repeat: true })
                if error.problem().is_some_and(|no| no.status == 409) =>
            {
                let saga = self.get(id).await?;
                let done = saga.error.as_ref().is_some_and(|cause| cause.kind == kind);
                if done { Ok(saga) } else { Err(error) }
            }
            Err(Attempted { error, .. }) => Err(error),
        }
    }
}

/// What became of a signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Signalled {
    /// Whether a step has taken it; otherwise it is kept for a step that is not reached yet.
    pub is_taken: bool,
    /// The saga after it.
    pub saga: SagaView,
}

impl Sagas {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query: Vec<(&'static str, String)> = Vec::new();
        query.extend(self.status.iter().map(|status| ("status", status.as_str().to_owned())));
        query.extend(self.labels.iter().map(|(name, text)| ("label", format!("{name}:{text}"))));
        let texts = [
            ("definition", &self.definition),
            ("key", &self.key),
            ("step", &self.step),
            ("participant", &self.participant),
        ];
        query.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
        let times = [("created_after", self.created_after), ("created_before", self.created_before)];
        query.extend(times.into_iter().filter_map(|(name, time)| Some((name, time?.to_string()))));
        query
    }
}

/// A start that waited in vain is answered alike whether it is new; only a repeat within this call is known.
fn saga_is_fresh(answer: &Answer) -> bool {
    !answer.is_repeat
}

pub(crate) fn path(id: SagaId) -> String {
    format!("/v1/sagas/{id}")
}
