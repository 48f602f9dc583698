//! How far the feed is known: pure, and told what came.
//!
//! The invariant it keeps: **whatever changed up to [`Cursor::known_to`] is known.** So the cursor moves only with an
//! answer that begins at or before it. An answer that came late or to another question is taken for its states, and
//! moves nothing.

use super::remote::Batch;

/// How far which feed is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The feed; `None` before it had any flow.
    pub(crate) feed: Option<String>,
    /// The last flow whose changes are all known.
    pub(crate) known_to: i64,
}

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its states count, and with them this is known.
    Advance(Cursor),
    /// Its states count, and no more is known for it.
    Stay,
    /// It is of another feed: nothing of it counts, and nothing that is known.
    Anew,
}

impl Cursor {
    pub(crate) fn take(&self, batch: &Batch) -> Taken {
        match (&self.feed, &batch.feed) {
            (Some(known), Some(told)) if known == told => {}
            (None, None) => {}
            // The first flow came: nothing was known of this feed, and nothing that could be wrong.
            (None, Some(_)) if self.known_to == 0 => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return Taken::Anew,
        }
        if batch.after <= self.known_to && batch.next > self.known_to {
            return Taken::Advance(Cursor { feed: batch.feed.clone(), known_to: batch.next });
        }
        Taken::Stay
    }
}
