//! Telling the coordinator where this participant is: at start until it listens, then again and again.

use crate::{Error, outgoing};
use amends_wire::registration::Registration;
use backon::{ExponentialBuilder, Retryable};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a heartbeating instance stays without being heard of.
const TTL_SECS: u64 = 30;

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

    /// Registers once.
    ///
    /// # Errors
    /// A sentence that says what the coordinator said, or why it could not be reached.
    pub async fn register(&self) -> Result<(), String> {
        let mut request = self.client.put(&self.url).json(&self.registration);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| format!("{}: {error}", self.url))?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let body: String = body.chars().take(300).collect();
        Err(format!("{} answered {status}: {body}", self.url))
    }

    /// Registers until it succeeds, then again as a heartbeat, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
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
                done = registered => if done.is_ok() { tracing::debug!(url = self.url, "registered") },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(TTL_SECS / 3)) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
