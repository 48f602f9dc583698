//! A participant as a coordinator calls it, with everything that was sent and what came of it written down.
//!
//! Every exchange has an end: connecting takes at most [`CONNECT_TIMEOUT`], the whole of it the caller's timeout, and
//! of an answer no more than [`ANSWER_BYTES_MAX`] is read. Nothing is tried again behind the caller's back.

use super::request::{Payload, Request};
use crate::{client::chain, settings::BaseUrl};
use amends_wire::participant::{Secret, sign};
use reqwest::{Method, Response};
use serde_json::Value;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer that is read, in bytes; the coordinator reads no more either.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The most exchanges of one check that are kept; what follows is counted only.
const EXCHANGES_MAX: usize = 64;

/// The most characters of an answer that are shown.
const SHOWN_CHARS_MAX: usize = 300;

/// A body, as it is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// JSON; an empty body is null.
    Json(Value),
    /// Something else, or more than is read; the beginning of it.
    Other(String),
}

/// What a participant answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Came {
    pub(super) status: u16,
    pub(super) media: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) is_empty: bool,
    pub(super) body: Body,
}

/// A request and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) sent: Request,
    /// The answer, or why there is none.
    pub(super) came: Result<Came, String>,
}

/// A participant that is called.
#[derive(Debug)]
pub(super) struct Peer {
    http: reqwest::Client,
    base: BaseUrl,
    secret: Option<Secret>,
    timeout: Duration,
    /// Numbers the requests, so that each has an id of its own.
    asked: AtomicU64,
    exchanges: Mutex<Vec<Exchange>>,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed<'a> {
    /// With the secret that was given, if one was.
    Rightly,
    /// Not at all.
    Never,
    /// With this secret.
    With(&'a Secret),
    /// With the right secret, so many seconds ago.
    Before(i64),
}

impl Peer {
    /// # Errors
    /// When the system gives no HTTP client.
    pub(super) fn new(base: BaseUrl, secret: Option<Secret>, timeout: Duration) -> reqwest::Result<Peer> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let builder = builder.retry(reqwest::retry::never()).http1_only().tcp_nodelay(true);
        // A connection that the other side closes while it is idle would look like a call without an answer.
        let builder = builder.pool_max_idle_per_host(0).connect_timeout(CONNECT_TIMEOUT);
        let http = builder.user_agent(concat!("amends/", env!("CARGO_PKG_VERSION"))).build()?;
        let exchanges = Mutex::new(Vec::new());
        Ok(Peer { http, base, secret, timeout, asked: AtomicU64::new(0), exchanges })
    }

    pub(super) fn base(&self) -> &BaseUrl {
        &self.base
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn is_signing(&self) -> bool {
        self.secret.is_some()
    }

    /// Everything that was exchanged since the last time this was asked.
    pub(super) fn take_exchanges(&self) -> Vec<Exchange> {
        std::mem::take(&mut *self.exchanges())
    }

    /// Sends a request, signed as the coordinator would.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn send(&self, request: Request) -> Result<Came, String> {
        self.send_signed(request, Signed::Rightly).await
    }

    /// Sends a request that is signed in its own way.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn send_signed(&self, mut request: Request, how: Signed<'_>) -> Result<Came, String> {
        self.sign(&mut request, how);
        let came = self.exchange(&request).await;
        let mut exchanges = self.exchanges();
        if exchanges.len() < EXCHANGES_MAX {
            exchanges.push(Exchange { sent: request, came: came.clone() });
        }
        came
    }

    fn sign(&self, request: &mut Request, how: Signed<'_>) {
        let (secret, age) = match how {
            Signed::Rightly => (self.secret.as_ref(), 0),
            Signed::Before(age) => (self.secret.as_ref(), age),
            Signed::With(secret) => (Some(secret), 0),
            Signed::Never => (None, 0),
        };
        let Some(secret) = secret else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("check-{}-{}", since.as_nanos(), self.asked.fetch_add(1, Ordering::Relaxed));
        let at = i64::try_from(since.as_secs()).unwrap_or(i64::MAX) - age;
        for (name, value) in sign(secret, &id, at, request.payload.bytes()) {
            request.headers.push((name.as_str().to_owned(), value));
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Came, String> {
        let method = if request.is_get { Method::GET } else { Method::POST };
        let mut sending = self.http.request(method, &request.url);
        for (name, value) in &request.headers {
            sending = sending.header(name, value);
        }
        if !matches!(request.payload, Payload::None) {
            sending = sending.body(request.payload.bytes().to_vec());
        }
        let answered = async {
            let response = sending.send().await.map_err(|error| chain(&error.without_url()))?;
            read(response).await
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(came) => came,
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }

    fn exchanges(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(mut response: Response) -> Result<Came, String> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let media = header("content-type").map(str::to_owned);
    let retry_after = header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            let body = Body::Other(format!("more than {ANSWER_BYTES_MAX} bytes"));
            return Ok(Came { status, media, retry_after, is_empty: false, body });
        }
        bytes.extend_from_slice(&chunk);
    }
    let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
    let body = match serde_json::from_slice(&bytes) {
        _ if is_empty => Body::Json(Value::Null),
        Ok(value) => Body::Json(value),
        Err(_) => Body::Other(String::from_utf8_lossy(&bytes).chars().take(SHOWN_CHARS_MAX).collect()),
    };
    Ok(Came { status, media, retry_after, is_empty, body })
}

impl Came {
    /// Done: a 2xx that is not pending, with a body that can be read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.status, 200..=299) && self.status != 202 && matches!(self.body, Body::Json(_))
    }

    /// Done, or nothing left to undo.
    pub(super) fn is_undone(&self) -> bool {
        self.is_done() || self.status == 410
    }

    /// A definite no, of whichever kind.
    pub(super) fn is_no(&self) -> bool {
        matches!(self.status, 300..=499) && !self.is_passing()
    }

    /// Being worked on.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.status, 202 | 425)
    }

    /// No definite answer: pending, or unknown.
    pub(super) fn is_passing(&self) -> bool {
        self.is_pending() || self.is_unknown()
    }

    /// Unknown: it may have been done.
    pub(super) fn is_unknown(&self) -> bool {
        let unreadable = matches!(self.status, 200..=299) && matches!(self.body, Body::Other(_));
        matches!(self.status, 408 | 429 | 500..) || unreadable
    }

    /// Whether two answers of the same call are alike: the status, and what was done in all its words.
    pub(super) fn is_like(&self, other: &Came) -> bool {
        self.status == other.status && (!self.is_done() || self.body == other.body)
    }

    /// The answer in one line.
    pub(super) fn said(&self) -> String {
        let body = match &self.body {
            Body::Json(Value::Null) if self.is_empty => "without a body".to_owned(),
            Body::Json(value) => value.to_string(),
            Body::Other(text) => text.clone(),
        };
        let body: String = body.chars().take(SHOWN_CHARS_MAX).collect();
        format!("{} {body}", self.status)
    }
}
