//! The order service, as far as the sweep asks it.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What became of an order whose time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is called off, now or before.
    CalledOff,
    /// It is paid, or may still be paid.
    Alive,
    /// There is no such order.
    Absent,
    /// The answer says none of this: ask again.
    Unclear,
}

/// Why the order service could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the order service could not be asked: {0}")]
pub struct AskError(pub String);

/// Whoever decides whether an order may still be paid.
#[async_trait]
pub trait OrderService: Send + Sync + 'static {
    /// Says that the time of these orders is up, at most [`super::ORDERS_MAX`], and hears what became of each, in their order.
    /// Asking twice is the same as once.
    async fn expire(&self, orders: &[&str]) -> Result<Vec<Fate>, AskError>;
}

/// An order service over HTTP: `POST {url}/expire {"orders": […]}`, answered with `{"results": [{"status", …}]}` where 200
/// is called off, 409 alive and 404 absent.
#[derive(Debug, Clone)]
pub struct HttpOrders {
    url: String,
    client: reqwest::Client,
}

impl HttpOrders {
    /// The order service at an address such as `http://127.0.0.1:7102`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn at(url: &str) -> Result<HttpOrders, AskError> {
        // The address may be https: the client needs a provider, and the first one installed counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(2))
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| AskError(error.to_string()))?;
        Ok(HttpOrders { url: format!("{}/expire", url.trim_end_matches('/')), client })
    }
}

#[async_trait]
impl OrderService for HttpOrders {
    async fn expire(&self, orders: &[&str]) -> Result<Vec<Fate>, AskError> {
        let failed = |said: String| AskError(format!("{}: {said}", self.url));
        let request = self.client.post(&self.url).json(&json!({ "orders": orders }));
        let mut response = request.send().await.map_err(|error| failed(error.to_string()))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(error.to_string()))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(failed(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let results = body["results"].as_array().filter(|results| results.len() == orders.len());
        match (status, results) {
            (200, Some(results)) => Ok(results.iter().map(|result| fate(&result["status"])).collect()),
            (200, None) => Err(failed("the answer does not have a result for each order".into())),
            (status, _) => Err(failed(format!("answered {status}"))),
        }
    }
}

fn fate(status: &Value) -> Fate {
    match status.as_u64() {
        Some(200) => Fate::CalledOff,
        Some(409) => Fate::Alive,
        Some(404) => Fate::Absent,
        _ => Fate::Unclear,
    }
}
