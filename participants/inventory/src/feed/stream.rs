//! The feed as server-sent events.
//!
//! | event | data | |
//! |---|---|---|
//! | `state` | `{sku, usable, state, seq, as_of}` | one SKU |
//! | `head` | `{feed, next, head, as_of, since}` | ends a batch, and comes every [`BEAT`] in any case |
//!
//! Only `head` carries an id, the cursor to go on from: a stream that breaks within a batch is taken up before it, with
//! `Last-Event-ID` as browsers send it, or `after`. A stream ends after [`LIFE`], with the process, and when the
//! database cannot be read; its reader connects again. It is read at the reader's pace: a slow one finds fewer and
//! larger batches, and nothing gathers for it here. One that does not read at all loses its place to others after
//! [`LIFE`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use amends_wire::listen::Stopping;
use axum::response::Sse;
use axum::response::sse::Event;
use futures::Stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Feed;
use super::read::Batch;

/// What a reader accepts who wants a stream.
pub(super) const MEDIA_TYPE: &str = "text/event-stream";

/// The header with which a stream is taken up.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// How often a reader hears of the feed when nothing changes.
pub(super) const BEAT: Duration = Duration::from_secs(5);

/// How long a stream lasts.
pub(super) const LIFE: Duration = Duration::from_secs(300);

/// A reader of a stream.
struct Reading {
    feed: Feed,
    cursor: i64,
    limit: usize,
    /// What of the batch is not sent yet.
    waiting: VecDeque<Event>,
    ends: Instant,
    stopping: Stopping,
    _seated: oneshot::Sender<()>,
}

/// The stream that begins with `first`.
pub(super) fn answer(
    feed: Feed,
    first: Arc<Batch>,
    limit: usize,
    stopping: Stopping,
    seat: OwnedSemaphorePermit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ends = Instant::now() + LIFE;
    let reading = Reading {
        feed,
        cursor: first.next,
        limit,
        waiting: events(&first),
        ends,
        stopping,
        _seated: seated(seat),
    };
    Sse::new(futures::stream::unfold(reading, |mut reading| async {
        let event = reading.next().await?;
        Some((Ok(event), reading))
    }))
}

/// Gives the place back when what is returned is dropped, and after [`LIFE`] in any case.
fn seated(seat: OwnedSemaphorePermit) -> oneshot::Sender<()> {
    let (leaves, left) = oneshot::channel();
    tokio::spawn(async move {
        // It is left when the sender is gone; nothing is ever sent.
        let _ = tokio::time::timeout(LIFE, left).await;
        drop(seat);
    });
    leaves
}

impl Reading {
    /// The next event; `None` at the stream's end.
    async fn next(&mut self) -> Option<Event> {
        if self.waiting.is_empty() {
            if self.stopping.0.is_cancelled() || Instant::now() >= self.ends {
                return None;
            }
            let until = Instant::now() + BEAT;
            let batch = self.feed.after(self.cursor, self.limit, until, &self.stopping).await.ok()?;
            self.cursor = batch.next;
            self.waiting = events(&batch);
        }
        self.waiting.pop_front()
    }
}

fn events(batch: &Batch) -> VecDeque<Event> {
    let mut events: VecDeque<Event> = batch.events.iter().map(|state| event("state", state)).collect();
    let head = json!({ "feed": batch.feed, "next": batch.next, "head": batch.head, "as_of": batch.as_of,
                       "since": batch.since });
    events.push_back(event("head", &head).id(batch.next.to_string()));
    events
}

fn event(name: &str, data: &impl Serialize) -> Event {
    // These are numbers, names and times, which no text form refuses.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
