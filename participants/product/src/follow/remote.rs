//! Asks inventory for its feed: bounded in time and size, no redirect, no proxy, and nothing is taken that does not fit.

use std::time::Duration;

use amends_wire::api::Time;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::load::Availability;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long an answer may take, beyond what it was told to wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// SKUs of one answer.
const LIMIT: usize = 1000;

/// A state of a SKU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct State {
    pub(crate) sku: i64,
    pub(crate) usable: i64,
    pub(crate) state: Level,
    pub(crate) seq: i64,
}

/// How much there is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    InStock,
    Low,
    SoldOut,
}

/// What changed after a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Batch {
    pub(crate) feed: Option<String>,
    pub(crate) after: i64,
    pub(crate) next: i64,
    pub(crate) head: i64,
    pub(crate) since: Option<Time>,
    pub(crate) events: Vec<State>,
}

/// A page of the whole state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Page {
    pub(crate) feed: Option<String>,
    pub(crate) head: i64,
    pub(crate) events: Vec<State>,
    #[serde(deserialize_with = "next")]
    pub(crate) next: Option<i64>,
}

/// Reads the SKU to go on after, which is sent as text.
fn next<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

impl From<State> for Availability {
    fn from(state: State) -> Availability {
        let word = match state.state {
            Level::InStock => "in_stock",
            Level::Low => "low",
            Level::SoldOut => "sold_out",
        };
        Availability { sku: state.sku, usable: state.usable, state: word.to_owned(), seq: state.seq }
    }
}

impl Batch {
    /// What it says of the SKUs.
    pub(crate) fn states(&self) -> Vec<Availability> {
        self.events.iter().cloned().map(Into::into).collect()
    }

    fn fits(&self) -> bool {
        let in_order = 0 <= self.after && self.after <= self.next && self.next <= self.head;
        in_order && self.events.iter().all(|state| state.fits(self.head))
    }
}

impl State {
    fn fits(&self, head: i64) -> bool {
        self.sku >= 1 && self.usable >= 0 && (0..=head).contains(&self.seq)
    }
}

/// An inventory's feed.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    client: reqwest::Client,
    base: String,
}

impl Remote {
    pub(crate) fn new(base: &str) -> Result<Remote, Error> {
        // Inventory may be https: the client needs a provider, and the first one installed counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Remote { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// What changed after `cursor`, waiting for it up to `wait`; `None` when the feed does not go that far.
    pub(crate) async fn after(&self, cursor: i64, wait: Duration) -> Result<Option<Batch>, Error> {
        let path = format!("/feed?after={cursor}&limit={LIMIT}&wait={}ms", wait.as_millis());
        let batch: Option<Batch> = self.get(&path, wait + PATIENCE).await?;
        match batch {
            Some(batch) if !batch.fits() => Err(Error::Remote("an answer has numbers out of range".into())),
            batch => Ok(batch),
        }
    }

    /// The states of the SKUs above `sku`.
    pub(crate) async fn state(&self, sku: i64) -> Result<Page, Error> {
        let path = format!("/feed/state?after={sku}&limit={LIMIT}");
        let page: Option<Page> = self.get(&path, PATIENCE).await?;
        let page = page.ok_or_else(|| Error::Remote("its state is gone".into()))?;
        let goes_on = page.next.is_none_or(|next| next > sku);
        if !goes_on || page.head < 0 || !page.events.iter().all(|state| state.fits(page.head)) {
            return Err(Error::Remote("a page of its state has numbers out of range".into()));
        }
        Ok(page)
    }

    /// Gets JSON; `None` when it is gone.
    async fn get<T: DeserializeOwned>(&self, path: &str, within: Duration) -> Result<Option<T>, Error> {
        let unanswered = |error: reqwest::Error| Error::Remote(format!("{path}: {error}"));
        let request = self.client.get(format!("{}{path}", self.base)).timeout(within);
        let mut response = request.send().await.map_err(unanswered)?;
        match response.status().as_u16() {
            200 => {}
            410 => return Ok(None),
            other => return Err(Error::Remote(format!("{path} was answered {other}"))),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Error::Remote(format!(
                    "{path} was answered with more than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::Remote(format!("{path}: {error}")))
    }
}
