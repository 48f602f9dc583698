//! The coordinator's HTTP API as functions: typed where a command looks inside, raw where it only prints.
//!
//! Every failure becomes a sentence that says what to do: an address at which nothing listens, a refusal with its
//! problem, an answer that is none. Redirects are not followed and proxies are not used; every call has an end.

mod events;

use crate::settings::{BaseUrl, Token};
use amends_saga::SagaId;
use amends_wire::{
    api::{JournalItem, List, SagaView},
    problem::ReadProblem,
};
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use std::{error::Error, time::Duration};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take, beside what it was asked to wait for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a followed journal may be silent; the coordinator sends a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The most misfits of a refused body that are told.
const MISFITS_SHOWN_MAX: usize = 10;

/// Why a call did not bring what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error(
        "no coordinator answers at {at} ({why}); start one with `amends serve`, or name it with --coordinator"
    )]
    Unreachable {
        /// The coordinator's address.
        at: BaseUrl,
        /// What the network said.
        why: String,
    },
    /// It took too long.
    #[error("the coordinator at {at} did not answer within {} s; ask again, or see `amends health`", .after.as_secs())]
    TimedOut {
        /// The coordinator's address.
        at: BaseUrl,
        /// The time allowed.
        after: Duration,
    },
    /// It said no.
    #[error("{}", said(.problem, *.status))]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        problem: Box<ReadProblem>,
    },
    /// It answered something that no coordinator answers.
    #[error("{at} answered {status}, but not as a coordinator does: {why}; is --coordinator right?")]
    Foreign {
        /// The address asked.
        at: String,
        /// The HTTP status.
        status: StatusCode,
        /// What does not fit.
        why: String,
    },
    /// The system gives no HTTP client.
    #[error("the HTTP client could not be made: {0}")]
    Setup(reqwest::Error),
}

impl ClientError {
    /// The problem's slug, when the coordinator said no.
    pub fn slug(&self) -> Option<&str> {
        match self {
            ClientError::Refused { problem, .. } => problem.slug.as_deref(),
            _ => None,
        }
    }

    /// Whether trying again may help: nobody answered, or the coordinator asks for patience.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => true,
            ClientError::Refused { status, .. } => matches!(status.as_u16(), 408 | 429 | 503),
            ClientError::Foreign { .. } | ClientError::Setup(_) => false,
        }
    }
}

/// An error with all its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A problem as one sentence with what does not fit and what to do; a detail that repeats the title is told once.
fn said(problem: &ReadProblem, status: StatusCode) -> String {
    let mut text = match problem.detail.as_str() {
        detail if detail == problem.title => problem.title.clone(),
        _ => problem.to_string(),
    };
    let misfits =
        problem.extra.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for misfit in misfits.iter().take(MISFITS_SHOWN_MAX) {
        let part = |member: &str| misfit.get(member).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("\n  {} {}", part("path"), part("message")));
    }
    if misfits.len() > MISFITS_SHOWN_MAX {
        text.push_str(&format!("\n  and {} more", misfits.len() - MISFITS_SHOWN_MAX));
    }
    if status == StatusCode::UNAUTHORIZED {
        text.push_str("; give the token with --token or AMENDS_TOKEN");
    }
    text
}

/// A start: what `POST /v1/sagas` takes.
#[derive(Debug, Clone, Serialize)]
pub struct Start<'a> {
    /// `name` or `name@version`.
    pub definition: &'a str,
    /// The input, as JSON text.
    pub input: &'a RawValue,
    /// The caller's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The caller's labels.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// A client of one coordinator. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: BaseUrl,
    token: Option<Token>,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`].
    pub fn new(base: BaseUrl, token: Option<Token>) -> Result<Client, ClientError> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let builder = builder.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        let http = builder.user_agent(concat!("amends/", env!("CARGO_PKG_VERSION"))).build();
        Ok(Client { http: http.map_err(ClientError::Setup)?, base, token })
    }

    /// Where the coordinator is.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Starts a saga; with `wait` the answer comes at its end, or as it stands when the time is up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start<T: DeserializeOwned>(
        &self,
        start: &Start<'_>,
        wait: Option<Duration>,
    ) -> Result<(StatusCode, T), ClientError> {
        let request = self.request(Method::POST, "/v1/sagas").json(start);
        self.answer(waiting(request, wait), TIMEOUT + wait.unwrap_or_default()).await
    }

    /// Reads a saga; with `wait` at its end, or as it stands when the time is up.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn saga<T: DeserializeOwned>(
        &self,
        id: SagaId,
        wait: Option<Duration>,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, &format!("/v1/sagas/{id}"));
        let answer = self.answer(waiting(request, wait), TIMEOUT + wait.unwrap_or_default()).await;
        answer.map(|(_, saga)| saga)
    }

    /// Reads whatever stands at a path, such as a list, with these parameters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).query(query);
        self.answer(request, TIMEOUT).await.map(|(_, value)| value)
    }

    /// Posts a body to a path, such as a verb about a repair item or an open saga.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(StatusCode, T), ClientError> {
        self.answer(self.request(Method::POST, path).json(body), TIMEOUT).await
    }

    /// Reads a text, such as the metrics.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.bytes(self.request(Method::GET, path), TIMEOUT).await?.1;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads every saga that fits these parameters, page by page, newest first, without steps.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn every_saga(&self, query: &[(&str, String)]) -> Result<Vec<SagaView>, ClientError> {
        let mut query = query.to_vec();
        query.push(("limit", "500".to_owned()));
        let mut sagas = Vec::new();
        loop {
            let page: List<SagaView> = self.get("/v1/sagas", &query).await?;
            sagas.extend(page.items);
            let Some(next) = page.next else { return Ok(sagas) };
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", next));
        }
    }

    /// Asks for a saga to be compensated.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel<T: DeserializeOwned>(
        &self,
        id: SagaId,
        reason: Option<&str>,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/sagas/{id}/cancel"));
        let body = serde_json::json!({ "reason": reason });
        self.answer(request.json(&body), TIMEOUT).await.map(|(_, saga)| saga)
    }

    /// Sends a signal to a saga.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn signal<T: DeserializeOwned>(
        &self,
        id: SagaId,
        name: &str,
        signal_id: Option<&str>,
        payload: &RawValue,
    ) -> Result<(StatusCode, T), ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            payload: &'a RawValue,
        }
        let request = self.request(Method::POST, &format!("/v1/sagas/{id}/signals/{name}"));
        self.answer(request.json(&Body { id: signal_id, payload }), TIMEOUT).await
    }

    /// Registers a definition's text; 201 is new, 200 is the same again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn register<T: DeserializeOwned>(
        &self,
        name: &str,
        version: u32,
        text: String,
    ) -> Result<(StatusCode, T), ClientError> {
        let request = self.request(Method::PUT, &format!("/v1/definitions/{name}/{version}"));
        self.answer(request.header(header::CONTENT_TYPE, "application/yaml").body(text), TIMEOUT).await
    }

    /// Hands over the journal from after `after_seq` on, line by line, as long as the coordinator sends it.
    ///
    /// `each` gets the item and its JSON text. Returns the last sequence number when the stream ends, be it that
    /// the saga ended or that the coordinator went away.
    ///
    /// # Errors
    /// [`ClientError`], from the opening of the stream only.
    pub async fn follow(
        &self,
        id: SagaId,
        after_seq: u64,
        mut each: impl FnMut(&JournalItem, &str),
    ) -> Result<u64, ClientError> {
        let path = format!("/v1/sagas/{id}/journal");
        let query = [("follow", "true".to_owned()), ("cursor", after_seq.to_string())];
        let request = self.request(Method::GET, &path).query(&query);
        let mut stream = self.send(request, TIMEOUT).await?.bytes_stream();
        let mut lines = events::Lines::default();
        let mut seq = after_seq;
        while let Ok(Some(Ok(bytes))) = tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            for data in lines.push(&bytes) {
                let Ok(item) = serde_json::from_str::<JournalItem>(&data) else { continue };
                if item.seq > seq {
                    seq = item.seq;
                    each(&item, &data);
                }
            }
        }
        Ok(seq)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.base.join(path));
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// Sends a request and waits for the head of a good answer.
    async fn send(&self, request: RequestBuilder, limit: Duration) -> Result<Response, ClientError> {
        let sent = tokio::time::timeout(limit, request.send()).await;
        let response = match sent {
            Err(_) => return Err(ClientError::TimedOut { at: self.base.clone(), after: limit }),
            Ok(Err(error)) => {
                return Err(ClientError::Unreachable { at: self.base.clone(), why: root_cause(&error) });
            }
            Ok(Ok(response)) => response,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, at) = (response.status(), response.url().to_string());
        let body = read(response, limit).await.unwrap_or_default();
        match serde_json::from_slice::<ReadProblem>(&body) {
            Ok(problem) if !problem.title.is_empty() => {
                Err(ClientError::Refused { status, problem: Box::new(problem) })
            }
            _ => {
                Err(ClientError::Foreign { at, status, why: "the body is no problem description".to_owned() })
            }
        }
    }

    async fn bytes(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let response = self.send(request, limit).await?;
        let (status, at) = (response.status(), response.url().to_string());
        let body = read(response, limit).await.map_err(|why| ClientError::Foreign { at, status, why })?;
        Ok((status, body))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<(StatusCode, T), ClientError> {
        let (status, body) = self.bytes(request, limit).await?;
        let value = serde_json::from_slice(&body).map_err(|error| ClientError::Foreign {
            at: self.base.to_string(),
            status,
            why: error.to_string(),
        })?;
        Ok((status, value))
    }
}

fn waiting(request: RequestBuilder, wait: Option<Duration>) -> RequestBuilder {
    match wait {
        Some(wait) => request.query(&[("wait", format!("{}ms", wait.as_millis()))]),
        None => request,
    }
}

async fn read(mut response: Response, limit: Duration) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let reading = async {
        while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(format!("the body is longer than {BODY_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(limit, reading).await {
        Ok(done) => done.map(|()| body),
        Err(_) => Err("the body did not arrive in time".to_owned()),
    }
}

/// What the network said, without the wrapping of the HTTP client.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().to_lowercase()
}

#[cfg(test)]
mod tests;
