//! A saga's journal, as a list and as a stream.

use super::{
    look::{ELSEWHERE, find, parse_id},
    unavailable,
};
use crate::{
    api::{App, query::Query},
    http::{Failure, Path, json},
};
use amends_saga::SagaId;
use amends_wire::api::{JournalItem, List};
use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures::Stream;
use http::StatusCode;
use std::{convert::Infallible, time::Duration};

/// Records read from the store at a time.
const PAGE: usize = 500;

/// `GET /v1/sagas/{id}/journal`
pub(crate) async fn journal(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let id = parse_id(&id)?;
    let query = Query::read(query.as_deref(), &["follow", "cursor", "limit"], &[])?;
    let after = query.number("cursor")?.unwrap_or(0);
    if query.flag("follow")? {
        find(&app, id).await?;
        let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
        return Ok(Sse::new(follow(app, id, after)).keep_alive(keep_alive).into_response());
    }
    let limit = query.limit()?;
    let mut records = app.store.journal(id, after, limit + 1).await.map_err(unavailable)?;
    if records.is_empty() {
        find(&app, id).await?;
    }
    let more = records.len() > limit;
    records.truncate(limit);
    let items: Vec<JournalItem> =
        (after + 1..).zip(&records).map(|(seq, record)| JournalItem::of(seq, record)).collect();
    let next = items.last().filter(|_| more).map(|item| item.seq.to_string());
    Ok(json(StatusCode::OK, &List { items, next }))
}

/// Streams the journal from `after` on as it becomes durable, and ends after its last event.
fn follow(app: App, id: SagaId, after: u64) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    async_stream::stream! {
        let mut seq = after;
        loop {
            // Ask for word first and read then: nothing can fall between.
            let mut grown = app.handle.follow(id).ok();
            let mut ended = false;
            loop {
                let Ok(records) = app.store.journal(id, seq, PAGE).await else { return };
                if records.is_empty() { break }
                for record in &records {
                    seq += 1;
                    // A completed saga that is reverted goes on behind its end.
                    ended = record.event.is_terminal();
                    let item = JournalItem::of(seq, record);
                    let event = sse::Event::default().id(seq.to_string()).event(item.kind.clone());
                    if let Ok(event) = event.json_data(&item) { yield Ok(event) }
                }
            }
            if ended { return }
            let word = match &mut grown {
                Some(grown) => tokio::time::timeout(Duration::from_secs(5), grown.recv()).await.ok().flatten(),
                None => None,
            };
            if app.is_stopping() { return }
            // No word will come of a saga that is not held here.
            if word.is_none() { tokio::time::sleep(ELSEWHERE).await }
        }
    }
}
