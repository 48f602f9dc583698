//! What goes into the shop's databases beside sagas: goods and catalogue, sent until it has arrived.

use super::patience::{Transient, keep_at};
use crate::{client::chain, settings::BaseUrl};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a participant did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    #[error("{name} at {url} does not answer: {why}")]
    Unreachable { name: &'static str, url: String, why: String },
    #[error("{name} at {url} answered {status}: {said}")]
    Refused { name: &'static str, url: String, status: StatusCode, said: String },
}

impl Transient for SiteError {
    fn is_transient(&self) -> bool {
        match self {
            SiteError::Unreachable { .. } => true,
            SiteError::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
            }
        }
    }
}

/// One participant.
#[derive(Debug, Clone)]
pub(super) struct Site {
    name: &'static str,
    base: BaseUrl,
    http: reqwest::Client,
    patience: Duration,
}

impl Site {
    /// A participant at an address; every request to it is tried for as long as `patience`.
    pub(super) fn new(name: &'static str, base: BaseUrl, patience: Duration) -> anyhow::Result<Site> {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let http = builder.connect_timeout(Duration::from_secs(5)).timeout(TIMEOUT).build()?;
        Ok(Site { name, base, http, patience })
    }

    /// Sends a body that takes effect once, however often it is sent.
    pub(super) async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<()> {
        let url = self.base.join(path);
        let request = || self.http.request(method.clone(), &url).json(body);
        keep_at(Instant::now() + self.patience, || self.ask(request(), &url)).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder, url: &str) -> Result<(), SiteError> {
        let (name, url) = (self.name, url.to_owned());
        let sent = async {
            let response: reqwest::Response = request.send().await?;
            let status = response.status();
            // An answer that does not arrive whole may have been given by a process that is gone.
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        match sent.await {
            Ok((status, _)) if status.is_success() => Ok(()),
            Ok((status, body)) => {
                let said = String::from_utf8_lossy(&body).chars().take(300).collect();
                Err(SiteError::Refused { name, url, status, said })
            }
            Err(error) => Err(SiteError::Unreachable { name, url, why: chain(&error) }),
        }
    }
}
