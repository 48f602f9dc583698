//! Lists that come in pages.

use crate::{Client, Error, transport::Call};
use amends_wire::api::List;
use futures::Stream;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Items asked for at a time: as many as a coordinator gives.
const PAGE: &str = "500";

impl Client {
    /// Every item of a list, one page after the other as the stream is read; an error ends it.
    pub(crate) fn pages<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        query: Vec<(&'static str, String)>,
    ) -> impl Stream<Item = Result<T, Error>> + Send + use<T> {
        let transport = Arc::clone(&self.transport);
        async_stream::try_stream! {
            let mut cursor: Option<String> = None;
            loop {
                let mut query = query.clone();
                query.push(("limit", PAGE.to_owned()));
                query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
                let page: List<T> = transport.answer(&Call::get(path).query(&query)).await?.read()?;
                for item in page.items {
                    yield item;
                }
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
    }
}
