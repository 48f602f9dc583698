//! Reading the saga's identity from a request, as an axum extractor.

use super::{InSaga, Sagas};
use crate::Reply;
use amends_wire::{
    participant::SAGA_ID,
    problem::{Problem, Slug},
};
use axum::{
    extract::{FromRef, FromRequestParts, OptionalFromRequestParts},
    http::{HeaderMap, request::Parts},
};
use uuid::Uuid;

/// The id in the header `Saga-Id`, `None` where there is no such header.
pub(crate) fn id(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let bad = |what: &str| Problem::new(Slug::BadHeader, format!("the header {SAGA_ID} {what}"));
    let mut values = headers.get_all(&SAGA_ID).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("is given twice"));
    }
    let id = value.to_str().ok().and_then(|text| Uuid::try_parse(text).ok());
    id.map(Some).ok_or_else(|| bad("is no UUID"))
}

impl<S> FromRequestParts<S> for InSaga
where
    Sagas: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<InSaga, Reply> {
        let id = id(&parts.headers).map_err(|problem| Reply::problem(&problem))?;
        let id = id.ok_or_else(|| {
            let detail = "the header saga-id is missing: this is asked for within an open saga";
            Reply::problem(&Problem::new(Slug::BadHeader, detail))
        })?;
        Ok(Sagas::from_ref(state).saga(id))
    }
}

impl<S> OptionalFromRequestParts<S> for InSaga
where
    Sagas: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<InSaga>, Reply> {
        let id = id(&parts.headers).map_err(|problem| Reply::problem(&problem))?;
        Ok(id.map(|id| Sagas::from_ref(state).saga(id)))
    }
}
