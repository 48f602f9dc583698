//! One HTTP exchange with a participant, with every default that is unsafe for this work turned off.

use super::Reply;
use crate::address::Resolver;
use amends_saga::Millis;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reqwest::Url;
use std::time::Duration;

/// The largest answer read from a participant, in bytes; a longer one is no definite answer.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The largest page that is read of what a participant shows, in bytes.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;

/// The largest answer to a health check that is read to its end, in bytes.
const PROBE_BYTES_MAX: usize = 16 << 10;

/// Why there is no answer at all. Whether the call took effect is then not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No instance of the participant is registered.
    #[error("the participant has no registered instance; register it with PUT /v1/participants/{{name}}")]
    NotRegistered,
    /// The participant has instances, and none of them offers the operation.
    #[error(
        "no instance of the participant offers this operation any more; the call goes on as soon as one registers it \
         again"
    )]
    NotOffered,
    /// The operation's timeout passed.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Nobody takes a connection at the address: nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Broken(String),
}

/// Why an answer's body could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than is read.
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The connection ended before the body did.
    #[error("the answer was cut short: {0}")]
    Cut(String),
}

/// Something that can post a body to a participant.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Transport: Send + Sync {
    /// Posts `body` to `url`.
    ///
    /// # Errors
    /// [`TransportError::Refused`] when nobody takes the connection, [`TransportError::Broken`] when no answer came.
    async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, TransportError>;

    /// Reads what `url` shows. A transport that carries calls only says that there is nothing.
    ///
    /// # Errors
    /// [`TransportError::Broken`] when no answer came.
    async fn get(&self, _url: &Url, _headers: HeaderMap) -> Result<Reply, TransportError> {
        Ok(Reply { status: http::StatusCode::NOT_FOUND, retry_after: None, body: Ok(Bytes::new()) })
    }

    /// Asks `url` for the status it answers with. A transport that carries calls only says that there is nothing.
    ///
    /// # Errors
    /// [`TransportError::Broken`] when no answer came.
    async fn probe(&self, _url: &Url, _headers: HeaderMap) -> Result<http::StatusCode, TransportError> {
        Ok(http::StatusCode::NOT_FOUND)
    }
}

/// HTTP/1.1 with keep-alive.
///
/// No redirect is followed (a redirect would carry the body and its signature to another host), no proxy
/// variable is read, nothing is retried behind our back, no cookie or referer is kept, nothing is
/// decompressed, and every address is checked when it is connected to.
#[derive(Debug, Clone)]
pub struct HttpTransport {
    client: reqwest::Client,
}

impl HttpTransport {
    /// Makes the client.
    ///
    /// # Errors
    /// When the TLS backend cannot be set up.
    pub fn new() -> Result<HttpTransport, reqwest::Error> {
        Ok(HttpTransport { client: client()? })
    }
}

/// A client for calls to addresses that others have given.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(2))
        .pool_max_idle_per_host(256)
        .pool_idle_timeout(Duration::from_secs(8))
        .dns_resolver(Resolver)
        .user_agent(concat!("amends/", env!("CARGO_PKG_VERSION")))
        .build()
}

#[async_trait]
impl Transport for HttpTransport {
    async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, TransportError> {
        let sent = self.client.post(url.clone()).headers(headers).body(body).send().await;
        read(sent, ANSWER_BYTES_MAX).await
    }

    async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Reply, TransportError> {
        read(self.client.get(url.clone()).headers(headers).send().await, PAGE_BYTES_MAX).await
    }

    async fn probe(&self, url: &Url, headers: HeaderMap) -> Result<http::StatusCode, TransportError> {
        let sent = self.client.get(url.clone()).headers(headers).send().await;
        // What it says beside its status is read only so that the connection can be used again.
        Ok(read(sent, PROBE_BYTES_MAX).await?.status)
    }
}

async fn read(sent: reqwest::Result<reqwest::Response>, bytes_max: usize) -> Result<Reply, TransportError> {
    let mut response = sent.map_err(|error| broken(&error))?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = read_capped(&mut response, bytes_max).await;
    Ok(Reply { status, retry_after, body })
}

fn broken(error: &reqwest::Error) -> TransportError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        let io = inner.downcast_ref::<std::io::Error>();
        if error.is_connect() && io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return TransportError::Refused(chain(error));
        }
        cause = inner.source();
    }
    TransportError::Broken(chain(error))
}

async fn read_capped(response: &mut reqwest::Response, bytes_max: usize) -> Result<Bytes, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(BodyError::TooLong);
    }
    let mut first = match response.chunk().await {
        Ok(Some(chunk)) => chunk,
        Ok(None) => return Ok(Bytes::new()),
        Err(error) => return Err(BodyError::Cut(chain(&error))),
    };
    let mut rest: Option<BytesMut> = None;
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(rest.map_or(first, BytesMut::freeze)),
            Ok(Some(chunk)) => {
                let body = rest.get_or_insert_with(|| BytesMut::from(&std::mem::take(&mut first)[..]));
                body.extend_from_slice(&chunk);
                if body.len() > bytes_max {
                    return Err(BodyError::TooLong);
                }
            }
            Err(error) => return Err(BodyError::Cut(chain(&error))),
        }
    }
}

/// `Retry-After` in whole seconds or as an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse::<u64>() {
        return Some(Millis(secs.saturating_mul(1000)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(amends_saga::Timestamp(at.as_millisecond()).since(crate::clock::now()))
}

/// An error with everything behind it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
