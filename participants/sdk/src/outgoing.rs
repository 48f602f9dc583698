//! Requests to the coordinator: bounded in time and size, no redirect, no proxy, repeated a few times where no definite
//! answer comes.

use crate::Error;
use backon::{ExponentialBuilder, Retryable};
use http::header;
use serde_json::Value;
use std::time::Duration;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The first pause before a request is repeated; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A definite answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its body; null where it is empty or no JSON.
    pub(crate) body: Value,
}

/// No definite answer, and why.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(crate) struct Unanswered {
    said: String,
    retry_after: Option<Duration>,
}

/// A client for requests to the coordinator.
pub(crate) fn client(idle: Duration) -> Result<reqwest::Client, Error> {
    // The coordinator may be https: the client needs a provider, and the first one installed counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(2))
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(if idle.is_zero() { 0 } else { 16 })
        .timeout(Duration::from_secs(10))
        .build()?;
    Ok(client)
}

/// Posts JSON until it is answered definitely, `attempts` times at most. The request must be one that may be repeated.
///
/// # Errors
/// [`Unanswered`] with what the last attempt came to.
pub(crate) async fn post(
    client: &reqwest::Client,
    url: &str,
    token: Option<&str>,
    body: &Value,
    attempts: usize,
) -> Result<Answer, Unanswered> {
    let patience = ExponentialBuilder::default()
        .with_min_delay(PAUSE_FIRST)
        .with_max_delay(PAUSE_MAX)
        .with_factor(2.0)
        .with_jitter()
        .with_max_times(attempts.saturating_sub(1));
    (|| once(client, url, token, body))
        .retry(patience)
        .adjust(|unanswered, pause| pause.map(|pause| unanswered.retry_after.map_or(pause, |wait| wait.max(pause))))
        .notify(|unanswered, pause| {
            tracing::debug!(url, error = %unanswered, pause_ms = pause.as_millis(), "asking the coordinator again");
        })
        .await
}

async fn once(
    client: &reqwest::Client,
    url: &str,
    token: Option<&str>,
    body: &Value,
) -> Result<Answer, Unanswered> {
    let unanswered = |said: String| Unanswered { said, retry_after: None };
    let mut request = client.post(url).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let mut response =
        request.send().await.map_err(|error| unanswered(format!("{url}: {}", whole(&error))))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|secs| secs.parse().ok()).map(Duration::from_secs);
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| unanswered(format!("{url}: {}", whole(&error))))?
    {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(unanswered(format!("{url} answered more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    let answer = Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default() };
    match status {
        200..=407 | 409..=428 | 430..=499 => Ok(answer),
        _ => Err(Unanswered {
            said: format!("{url} answered {status}: {}", answer.said()),
            retry_after: retry_after.map(|wait| wait.min(RETRY_AFTER_MAX)),
        }),
    }
}

/// An error with everything beneath it, since the top line alone says only that something could not be sent.
fn whole(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut beneath = std::error::Error::source(error);
    while let Some(error) = beneath {
        said = format!("{said}: {error}");
        beneath = error.source();
    }
    said
}

impl Answer {
    /// The sentence in it, at most 300 characters; the body itself where it has none.
    pub(crate) fn said(&self) -> String {
        let sentence = ["detail", "message", "title"].iter().find_map(|member| self.body[member].as_str());
        let text = sentence.map_or_else(|| self.body.to_string(), str::to_owned);
        text.chars().take(300).collect()
    }

    /// The slug of a problem.
    pub(crate) fn slug(&self) -> &str {
        self.body["slug"].as_str().unwrap_or_default()
    }
}
