//! The feed's addresses.
//!
//! | call | |
//! |---|---|
//! | `GET /feed?after=812&wait=20s&limit=1000` | the states of what changed after flow 812; waits for a change if there is none |
//! | the same with `Accept: text/event-stream` | the same without end, as [`stream`] |
//! | `GET /feed/state?after=7&limit=1000` | the states of all SKUs, ascending, in pages; the first page's `head` is the cursor to go on from |
//!
//! A batch is `{"feed", "after", "next", "head", "as_of", "since", "events": [{"sku", "usable", "state", "seq", "as_of"}]}`.
//! Ask again with `next` as `after`. When `feed` is another than before, or the answer is 410, what is known belongs to
//! another inventory, or to this one from before a restore: forget it and begin with the state. 503 means that too
//! many read, or that the database cannot be read now.

use amends_sdk::Reply;
use amends_wire::listen::Stopping;
use amends_wire::problem::{Problem, Slug};
use amends_wire::span::Span;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use sqlx::SqlitePool;
use std::time::Duration;
use tokio::time::Instant;

use super::stream::{self, LAST_EVENT_ID};
use super::{Error, Feed, READERS_MAX};

/// The most SKUs of one answer.
const LIMIT_MAX: usize = 5000;

/// SKUs of one answer when nobody says how many.
const LIMIT_DEFAULT: usize = 1000;

/// The longest that a call waits for a change.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The addresses above, over a database.
pub(crate) fn router(pool: &SqlitePool) -> Router {
    Router::new().route("/feed", get(changes)).route("/feed/state", get(state)).with_state(Feed::new(pool))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    after: Option<i64>,
    wait: Option<Span>,
    #[serde(default = "limit_default")]
    limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    after: i64,
    #[serde(default = "limit_default")]
    limit: usize,
}

fn limit_default() -> usize {
    LIMIT_DEFAULT
}

/// An answer that is no batch.
struct Failure(Reply);

impl Failure {
    fn bad_query(detail: impl Into<String>) -> Failure {
        Failure(Reply::problem(&Problem::new(Slug::BadQuery, detail)))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Beyond { .. } => Failure(Reply::gone(error.to_string())),
            Error::Database(error) => {
                tracing::warn!(%error, "the feed could not be read");
                let detail = "the inventory's database cannot be read now; try again";
                Failure(Reply::problem(&Problem::new(Slug::StoreUnavailable, detail).retry_after(1)))
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

async fn changes(
    State(feed): State<Feed>,
    query: Result<Query<Changes>, QueryRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|rejection| Failure::bad_query(rejection.body_text()))?;
    let limit = within(query.limit)?;
    let streamed = wants_stream(&request);
    let resumed = request.headers().get(LAST_EVENT_ID).filter(|_| streamed);
    let after = match resumed.map(|id| id.to_str().ok().and_then(|id| id.parse().ok())) {
        Some(Some(id)) => id,
        Some(None) => return Err(Failure::bad_query("Last-Event-ID is none of this feed's")),
        None => query.after.unwrap_or(0),
    };
    if after < 0 {
        return Err(Failure::bad_query(format!("after must be 0 or more, not {after}")));
    }
    let wait = query.wait.map_or(Duration::ZERO, |wait| Duration::from_millis(wait.0.0));
    if wait > WAIT_MAX {
        return Err(Failure::bad_query(format!("wait must be at most {} s", WAIT_MAX.as_secs())));
    }
    let seat = feed.seat().ok_or_else(|| {
        let reason = format!("{READERS_MAX} readers follow the feed already; try again");
        Failure(Reply::unavailable(reason, Some(1)))
    })?;
    let stopping = request.extensions().get::<Stopping>().cloned().unwrap_or_default();
    let until = Instant::now() + if streamed { Duration::ZERO } else { wait };
    let batch = feed.after(after, limit, until, &stopping).await?;
    Ok(if streamed {
        stream::answer(feed, batch, limit, stopping, seat).into_response()
    } else {
        ([(CACHE_CONTROL, "no-store")], Json(&*batch)).into_response()
    })
}

async fn state(
    State(feed): State<Feed>,
    query: Result<Query<Whole>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|rejection| Failure::bad_query(rejection.body_text()))?;
    let page = feed.page(query.after, within(query.limit)?).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

fn within(limit: usize) -> Result<usize, Failure> {
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::bad_query(format!("limit must be an integer from 1 to {LIMIT_MAX}, not {limit}")))
}

fn wants_stream(request: &Request) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|media| media.split(';').next().is_some_and(|media| media.trim() == stream::MEDIA_TYPE))
}
