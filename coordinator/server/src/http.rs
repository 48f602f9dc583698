//! What every route shares: reading a body within its limits, and answering with a problem.

use amends_wire::problem::{MEDIA_TYPE, Problem, Slug};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that is answered with a problem.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Box<Problem>);

/// Makes a failure from a slug and a sentence.
pub(crate) fn problem(slug: Slug, detail: impl Into<String>) -> Failure {
    Failure(Box::new(Problem::new(slug, detail)))
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.0.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(secs) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A value answered as JSON with a status.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = (status, body).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => {
            problem(Slug::Internal, format!("the answer could not be written: {error}")).into_response()
        }
    }
}

/// The parameters in an address's path. What cannot be decoded names nothing.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Failure> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(parameters)) => Ok(Path(parameters)),
            Err(error) => Err(problem(Slug::NotFound, format!("the address: {}", error.body_text()))),
        }
    }
}

/// The kinds of body a route reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
}

/// A request's body, complete, within the limits of size and time.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) media: Media,
    pub(crate) bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Raw, Failure> {
        let media = media(request.headers())?;
        let bytes = read(request.into_body()).await?;
        Ok(Raw { media, bytes })
    }
}

impl Raw {
    /// The bytes of a JSON body. Every call reads an object; an array would be taken for its members in order.
    pub(crate) fn json(&self) -> Result<&[u8], Failure> {
        match self.media {
            Media::Json if self.bytes.trim_ascii_start().starts_with(b"[") => {
                Err(problem(Slug::MalformedBody, "the body is an array; send an object"))
            }
            Media::Json => Ok(&self.bytes),
            Media::Yaml => Err(problem(Slug::UnsupportedMediaType, "this call reads application/json")),
        }
    }
}

fn media(headers: &HeaderMap) -> Result<Media, Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Media::Json);
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Media::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Media::Yaml),
        other => Err(problem(
            Slug::UnsupportedMediaType,
            format!("\"{other}\" is not read here; send application/json"),
        )),
    }
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match collected {
        Err(_) => {
            Err(problem(Slug::RequestTimeout, format!("the body did not arrive within {BODY_TIMEOUT:?}")))
        }
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(problem(Slug::BodyTooLarge, format!("the body is longer than {BODY_BYTES_MAX} bytes")))
        }
        Ok(Err(error)) => Err(problem(Slug::MalformedBody, format!("the body was cut short: {error}"))),
    }
}
