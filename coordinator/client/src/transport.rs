//! Sending: the coordinators in turn, attempts that are harmless, answers that are bounded.
//!
//! A connection that does not come about has sent nothing, so the next coordinator is asked at once, whatever the
//! call. After something was sent, a call is made again only if making it twice is the same as making it once.

use crate::{
    error::{Error, Tried},
    problem::Problem,
};
use amends_wire::problem::ReadProblem;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

/// The longest answer that is read, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A `Retry-After` beyond this is handed to the caller instead of slept through.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Connections to coordinators, and which of them answered last.
#[derive(Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    bases: Vec<String>,
    bearer: Option<HeaderValue>,
    timeout: Duration,
    backoff: ExponentialBuilder,
    preferred: AtomicUsize,
}

/// A call as it can be sent, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<(&'static str, Bytes)>,
    /// How long the coordinator is asked to wait before it answers.
    wait: Duration,
    is_repeatable: bool,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) at: String,
    pub(crate) body: Bytes,
    /// Whether an earlier attempt of the same call was sent and not answered.
    pub(crate) is_repeat: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call { is_repeatable: true, ..Call::new(Method::GET, path.into()) }
    }

    pub(crate) fn put(path: impl Into<String>) -> Call {
        Call { is_repeatable: true, ..Call::new(Method::PUT, path.into()) }
    }

    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call { is_repeatable: true, ..Call::new(Method::DELETE, path.into()) }
    }

    pub(crate) fn post(path: impl Into<String>) -> Call {
        Call::new(Method::POST, path.into())
    }

    fn new(method: Method, path: String) -> Call {
        Call { method, path, body: None, wait: Duration::ZERO, is_repeatable: false }
    }

    /// Says that making it twice is the same as making it once.
    pub(crate) fn repeatable(self) -> Call {
        Call { is_repeatable: true, ..self }
    }

    /// Adds parameters to the address.
    pub(crate) fn query(mut self, pairs: &[(&str, String)]) -> Call {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let query = query.finish();
        if !query.is_empty() {
            self.path = format!("{}?{query}", self.path);
        }
        self
    }

    /// Asks the coordinator to wait for the saga's end.
    pub(crate) fn wait(self, wait: Duration) -> Call {
        if wait.is_zero() {
            return self;
        }
        Call { wait, ..self }.query(&[("wait", format!("{}ms", wait.as_millis().max(1)))])
    }

    pub(crate) fn json(self, what: &'static str, body: &impl Serialize) -> Result<Call, Error> {
        let bytes = serde_json::to_vec(body).map_err(|why| Error::Unwritable { what, why })?;
        Ok(Call { body: Some(("application/json", bytes.into())), ..self })
    }

    pub(crate) fn text(self, media: &'static str, text: String) -> Call {
        Call { body: Some((media, text.into())), ..self }
    }

    /// Whether another attempt is harmless after this error.
    fn may_repeat(&self, error: &Error) -> bool {
        match error {
            Error::Unreachable { .. } => true,
            Error::Problem(problem) if problem.status == 429 => true,
            error => self.is_repeatable && error.is_transient(),
        }
    }
}

impl Answer {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Foreign {
            at: self.at.clone(),
            status: self.status,
            why: error.to_string(),
        })
    }
}

impl Transport {
    pub(crate) fn new(
        http: reqwest::Client,
        bases: Vec<String>,
        bearer: Option<HeaderValue>,
        timeout: Duration,
        backoff: ExponentialBuilder,
    ) -> Transport {
        Transport { http, bases, bearer, timeout, backoff, preferred: AtomicUsize::new(0) }
    }

    pub(crate) fn bases(&self) -> &[String] {
        &self.bases
    }

    /// Makes a call, again where that is harmless, and reads the whole answer.
    pub(crate) async fn answer(&self, call: &Call) -> Result<Answer, Error> {
        self.answer_or_no(call).await.map_err(|attempted| attempted.error)
    }

    /// As [`Transport::answer`], telling of a no as well whether an earlier attempt may have been carried out.
    pub(crate) async fn answer_or_no(&self, call: &Call) -> Result<Answer, Attempted> {
        let in_doubt = AtomicBool::new(false);
        let attempt = || async {
            let is_repeat = in_doubt.load(Ordering::Relaxed);
            let result = self.attempt(call).await.map(|answer| Answer { is_repeat, ..answer });
            if result.as_ref().is_err_and(|error| !error.is_definite()) {
                in_doubt.store(true, Ordering::Relaxed);
            }
            result.map_err(|error| Attempted { error, is_repeat })
        };
        self.retried(call, attempt).await
    }

    async fn retried<F, Fut>(&self, call: &Call, attempt: F) -> Result<Answer, Attempted>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Answer, Attempted>>,
    {
        attempt
            .retry(self.backoff)
            .when(|attempted: &Attempted| call.may_repeat(&attempted.error))
            .adjust(|attempted: &Attempted, wait: Option<Duration>| {
                let asked = attempted.error.retry_after().unwrap_or_default();
                wait.filter(|_| asked <= RETRY_AFTER_MAX).map(|wait| wait.max(asked))
            })
            .await
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Error> {
        let limit = self.timeout + call.wait;
        let (at, response) = self.open(call, limit).await?;
        let status = response.status();
        let body = read(response, limit).await.map_err(|why| Error::Unanswered { at: at.clone(), why })?;
        Ok(Answer { status, at, body, is_repeat: false })
    }

    /// Sends a call to the first coordinator that takes a connection, and waits for the head of a good answer.
    pub(crate) async fn open(&self, call: &Call, limit: Duration) -> Result<(String, Response), Error> {
        let start = self.preferred.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        for turn in 0..self.bases.len() {
            let ix = (start + turn) % self.bases.len();
            let at = format!("{}{}", self.bases[ix], call.path);
            match tokio::time::timeout(limit, self.request(call, &at).send()).await {
                Err(_) => {
                    self.preferred.store((ix + 1) % self.bases.len(), Ordering::Relaxed);
                    let why = format!("no answer within {:.1} s", limit.as_secs_f64());
                    return Err(Error::Unanswered { at, why });
                }
                Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                    tried.push(Tried { at: self.bases[ix].clone(), why: root_cause(&error) });
                }
                Ok(Err(error)) => {
                    self.preferred.store((ix + 1) % self.bases.len(), Ordering::Relaxed);
                    return Err(Error::Unanswered { at, why: root_cause(&error) });
                }
                Ok(Ok(response)) if response.status().is_success() => {
                    self.preferred.store(ix, Ordering::Relaxed);
                    return Ok((at, response));
                }
                Ok(Ok(response)) => {
                    // One that is stopping or has lost its store stays out of the way for a while.
                    let next = if response.status().is_server_error() { ix + 1 } else { ix };
                    self.preferred.store(next % self.bases.len(), Ordering::Relaxed);
                    return Err(no(at, response, limit).await);
                }
            }
        }
        Err(Error::Unreachable { tried })
    }

    fn request(&self, call: &Call, at: &str) -> RequestBuilder {
        let mut request = self.http.request(call.method.clone(), at);
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer.clone());
        }
        match &call.body {
            Some((media, bytes)) => request.header(header::CONTENT_TYPE, *media).body(bytes.clone()),
            None => request,
        }
    }
}

/// An error, and whether an earlier attempt of the same call may have been carried out.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) error: Error,
    pub(crate) is_repeat: bool,
}

/// Reads an answer that says no.
async fn no(at: String, response: Response, limit: Duration) -> Error {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let body = read(response, limit).await.unwrap_or_default();
    match serde_json::from_slice::<ReadProblem>(&body) {
        Ok(read) if read.slug.is_some() => Problem::of(status.as_u16(), read, retry_after).into(),
        _ => Error::Foreign { at, status, why: "the body is no problem description".to_owned() },
    }
}

/// Whole seconds; the other form, a date, is of no use between clocks that differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

async fn read(mut response: Response, limit: Duration) -> Result<Bytes, String> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the answer is longer than {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(limit, reading).await {
        Ok(done) => done.map(|()| body.into()),
        Err(_) => Err("the answer was cut short".to_owned()),
    }
}

/// What the network said, without the wrapping of the HTTP client.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().to_lowercase()
}

#[cfg(test)]
mod tests;
