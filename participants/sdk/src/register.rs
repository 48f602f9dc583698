//! Telling the coordinator where this participant is: at start until it listens, then again and again, and at the end
//! that it is gone.

use crate::{Error, outgoing};
use amends_wire::registration::Registration;
use backon::{ExponentialBuilder, Retryable};
use http::StatusCode;
use reqwest::RequestBuilder;
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a heartbeating instance stays without being heard of.
const TTL_SECS: u64 = 30;
/// How long signing off may take when the participant stops.
const SIGN_OFF: Duration = Duration::from_secs(2);

/// Registers one instance of a participant.
#[derive(Debug, Clone)]
pub struct Registrar {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
    registration: Registration,
}

impl Registrar {
    /// Prepares the registration of participant `name` with the coordinator at `coordinator`.
    ///
    /// # Errors
    /// [`Error::Client`] when the HTTP client cannot be made.
    pub fn new(
        coordinator: &str,
        token: Option<String>,
        name: &str,
        mut registration: Registration,
    ) -> Result<Registrar, Error> {
        registration.ttl = Some(amends_wire::span::Span::from_secs(TTL_SECS));
        // Shorter than the time after which the coordinator closes an idle connection.
        let client = outgoing::client(Duration::from_secs(5))?;
        let url = format!("{}/v1/participants/{name}", coordinator.trim_end_matches('/'));
        Ok(Registrar { client, url, token, registration })
    }

    /// Registers once, and gives the id under which the coordinator knows this instance, where it says one.
    ///
    /// # Errors
    /// A sentence that says what the coordinator said, or why it could not be reached.
    pub async fn register(&self) -> Result<Option<String>, String> {
        let request = self.signed(self.client.put(&self.url).json(&self.registration));
        let response = request.send().await.map_err(|error| format!("{}: {error}", self.url))?;
        if response.status().is_success() {
            let view = response.json::<Value>().await.unwrap_or_default();
            return Ok(self.registration.instances.first().and_then(|url| id_of(&view, url)));
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let body: String = body.chars().take(300).collect();
        Err(format!("{} answered {status}: {body}", self.url))
    }

    /// Takes an instance off again, so that no further call is sent to it.
    ///
    /// # Errors
    /// A sentence that says what the coordinator said, or why it could not be reached within 2 s.
    pub async fn sign_off(&self, instance: &str) -> Result<(), String> {
        let url = format!("{}/instances/{instance}", self.url);
        let request = self.signed(self.client.delete(&url)).timeout(SIGN_OFF);
        let response = request.send().await.map_err(|error| format!("{url}: {error}"))?;
        match response.status() {
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => Err(format!("{url} answered {status}")),
        }
    }

    /// Registers until it succeeds, then again as a heartbeat, until `stop`; then it signs off.
    ///
    /// Instances of different versions may run side by side: what counts is what was registered last, so an instance that
    /// offers less should be the first to go.
    pub async fn keep(self, stop: CancellationToken) {
        let mut instance = None;
        loop {
            let patience = ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(5))
                .with_jitter()
                .without_max_times();
            let registered = (|| self.register()).retry(patience).notify(|error, _| {
                tracing::warn!(%error, "not registered yet; trying again");
            });
            tokio::select! {
                done = registered => if let Ok(id) = done {
                    tracing::debug!(url = self.url, "registered");
                    instance = id;
                },
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(TTL_SECS / 3)) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Some(instance) = instance
            && let Err(error) = self.sign_off(&instance).await
        {
            tracing::warn!(%error, "not signed off; the registration ends by itself");
        }
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// The id of the instance at `url` in what the coordinator shows of a participant.
fn id_of(view: &Value, url: &str) -> Option<String> {
    let is_it = |instance: &&Value| {
        instance["url"].as_str().is_some_and(|shown| shown.trim_end_matches('/') == url.trim_end_matches('/'))
    };
    view["instances"].as_array()?.iter().find(is_it)?["id"].as_str().map(str::to_owned)
}
