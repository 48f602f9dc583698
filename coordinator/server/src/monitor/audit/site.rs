//! A participant's audit as it is read: signed as calls are, from whichever instance answers.

use crate::{
    dispatch::{BodyError, TransportError},
    monitor::Monitor,
    registry::Instance,
};
use amends_saga::Name;
use amends_wire::audit::{PATH, Page, Query};
use std::{fmt::Write, time::Duration};

/// How long one page may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why a participant does not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    /// It offers no audit.
    #[error("it offers no audit")]
    NotOffered,
    /// It has no instance.
    #[error("it has no registered instance")]
    NoInstance,
    /// It did not answer.
    #[error("{0}")]
    Silent(TransportError),
    /// Its answer could not be read.
    #[error("{0}")]
    Unread(BodyError),
    /// It answered something else.
    #[error("it answered with status {0}")]
    Refused(u16),
    /// What it answered is no page.
    #[error("what it answered is no page: {0}")]
    NoPage(serde_json::Error),
    /// Its pages make no sense.
    #[error("{0}")]
    Senseless(String),
}

/// Reads a page from the first instance that answers.
pub(super) async fn page(monitor: &Monitor, name: &Name, query: &Query) -> Result<Page, SiteError> {
    let mut last = SiteError::NoInstance;
    for instance in monitor.app.registry.instances(name) {
        match ask(monitor, &instance, query).await {
            Err(error @ (SiteError::Silent(_) | SiteError::Unread(_))) => last = error,
            Err(error @ SiteError::Refused(500..)) => last = error,
            answered => return answered,
        }
    }
    Err(last)
}

async fn ask(monitor: &Monitor, instance: &Instance, query: &Query) -> Result<Page, SiteError> {
    let mut url = instance.below(PATH);
    url.set_query(Some(&text(query)));
    let reply = monitor.dispatcher.look(instance, &url, TIMEOUT).await.map_err(SiteError::Silent)?;
    match reply.status.as_u16() {
        200..=299 => {}
        404 | 405 | 501 => return Err(SiteError::NotOffered),
        other => return Err(SiteError::Refused(other)),
    }
    let body = reply.body.map_err(SiteError::Unread)?;
    serde_json::from_slice(&body).map_err(SiteError::NoPage)
}

fn text(query: &Query) -> String {
    let mut text = format!("since={}&limit={}", query.since, query.limit);
    if let Some(cursor) = &query.cursor {
        let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        let _ = write!(text, "&cursor={cursor}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_sent_as_it_was_given() {
        let query = Query { cursor: Some("a b&c=d/ü".to_owned()), ..Query::since(7) };
        let sent = text(&query);
        let read: Vec<(String, String)> = form_urlencoded::parse(sent.as_bytes()).into_owned().collect();
        assert_eq!(Query::read(&read).expect("a query"), query);
    }
}
