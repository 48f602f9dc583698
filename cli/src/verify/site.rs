//! A participant as an audit asks it: signed where it wants that, at whichever of its instances answers.

use crate::client::chain;
use amends_wire::{
    api::ParticipantView,
    audit::{self, Page, Query},
    participant::{Secret, sign},
    problem::ReadProblem,
};
use reqwest::{RequestBuilder, Response, StatusCode, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one page may take.
const TIMEOUT: Duration = Duration::from_secs(40);

/// The longest page that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 << 20;

/// How often an instance is asked for the same page, and how long the first pause is.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// Why a participant does not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    /// It offers nothing of the kind.
    #[error("{0} offers none")]
    NotOffered(String),
    /// It wants a signature, or another one.
    #[error("{url} wants its calls signed ({said}); give its secret with --secret")]
    Unsigned { url: String, said: String },
    /// It does not answer, or not in time.
    #[error("{url} does not answer: {why}")]
    Unreachable { url: String, why: String },
    /// It answered something else.
    #[error("{url} answered {status}: {said}")]
    Refused { url: String, status: StatusCode, said: String },
}

impl SiteError {
    /// Whether the same question may be answered a moment later, or elsewhere.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            SiteError::Unreachable { .. } => true,
            SiteError::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 429)
            }
            SiteError::NotOffered(_) | SiteError::Unsigned { .. } => false,
        }
    }
}

/// One participant.
#[derive(Debug)]
pub(super) struct Site {
    http: reqwest::Client,
    /// Its instances, those that are well first.
    instances: Vec<String>,
    secret: Option<Secret>,
    /// Numbers the requests, so that each has an id of its own.
    asked: AtomicU64,
}

/// The HTTP client that participants are asked with.
pub(super) fn http() -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let builder = builder.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
    builder.user_agent(concat!("amends/", env!("CARGO_PKG_VERSION"))).build()
}

impl Site {
    pub(super) fn new(http: reqwest::Client, view: &ParticipantView, secret: Option<Secret>) -> Site {
        let mut instances: Vec<(bool, String)> = view
            .instances
            .iter()
            .map(|instance| (instance.healthy == Some(false), instance.url.trim_end_matches('/').to_owned()))
            .collect();
        instances.sort_by_key(|(is_ill, _)| *is_ill);
        let instances = instances.into_iter().map(|(_, url)| url).collect();
        Site { http, instances, secret, asked: AtomicU64::new(0) }
    }

    /// One page of the audit.
    pub(super) async fn page(&self, query: &Query) -> Result<Page, SiteError> {
        self.get(audit::PATH, query).await
    }

    /// Reads what stands at a path, from the first instance that answers.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl serde::Serialize,
    ) -> Result<T, SiteError> {
        self.first(path, |url| (self.http.get(url).query(query), "")).await
    }

    /// Asks with a body, JSON, what may be asked any number of times.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, SiteError> {
        let json = (CONTENT_TYPE, "application/json");
        self.first(path, |url| (self.http.post(url).header(json.0.clone(), json.1).body(body.clone()), &body))
            .await
    }

    /// The first answer that is one, of the instances in turn.
    async fn first<'a, T: DeserializeOwned>(
        &self,
        path: &str,
        request: impl Fn(&str) -> (RequestBuilder, &'a str),
    ) -> Result<T, SiteError> {
        let mut last = SiteError::Unreachable { url: path.to_owned(), why: "it has no instance".to_owned() };
        for instance in &self.instances {
            let url = format!("{instance}{path}");
            let mut pause = PAUSE;
            for attempt in 1..=TRIES {
                match self.ask(&url, request(&url)).await {
                    Err(error) if error.is_transient() => last = error,
                    answered => return answered,
                }
                if attempt < TRIES {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        Err(last)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        url: &str,
        (mut request, body): (RequestBuilder, &str),
    ) -> Result<T, SiteError> {
        if let Some(secret) = &self.secret {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let id = format!("verify-{}-{}", since.as_nanos(), self.asked.fetch_add(1, Ordering::Relaxed));
            let at = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            for (name, value) in sign(secret, &id, at, body.as_bytes()) {
                request = request.header(name, value);
            }
        }
        let unreachable = |why| SiteError::Unreachable { url: url.to_owned(), why };
        let response = request.send().await.map_err(|error| unreachable(chain(&error.without_url())))?;
        let status = response.status();
        let body = read(response).await.map_err(unreachable)?;
        if status.is_success() {
            let refused = |error: serde_json::Error| SiteError::Refused {
                url: url.to_owned(),
                status,
                said: format!("which is no such page: {error}"),
            };
            return serde_json::from_slice(&body).map_err(refused);
        }
        let said = match serde_json::from_slice::<ReadProblem>(&body) {
            Ok(problem) => problem.to_string(),
            Err(_) => String::from_utf8_lossy(&body).chars().take(200).collect(),
        };
        let url = url.to_owned();
        Err(match status.as_u16() {
            404 | 405 | 501 => SiteError::NotOffered(url),
            401 => SiteError::Unsigned { url, said },
            _ => SiteError::Refused { url, status, said },
        })
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(format!("its answer is longer than {BODY_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
