//! Making a client: which coordinators, which token, and how patient it is.

use crate::{Client, Error, transport::Transport};
use http::HeaderValue;
use reqwest::Url;
use std::{sync::Arc, time::Duration};

/// Most coordinators one client may be given.
const COORDINATORS_MAX: usize = 32;

/// Makes a [`Client`].
#[derive(Debug, Clone)]
pub struct Builder {
    coordinators: Vec<String>,
    token: Option<String>,
    connect_timeout: Duration,
    timeout: Duration,
    attempts: usize,
    first_wait: Duration,
    longest_wait: Duration,
    idle_connections: usize,
    idle_timeout: Duration,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            coordinators: Vec::new(),
            token: None,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            attempts: 5,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
            idle_connections: 32,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Builder {
    /// Adds a coordinator's address, such as `http://127.0.0.1:7070`. Of several, the one that answered last is
    /// asked first, and the next in turn when it takes no connection.
    #[must_use]
    pub fn coordinator(mut self, url: impl Into<String>) -> Builder {
        self.coordinators.push(url.into());
        self
    }

    /// The token that is sent with every call.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Builder {
        self.token = Some(token.into());
        self
    }

    /// How long a connection may take to come about; 2 s where nothing is said.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Builder {
        self.connect_timeout = limit;
        self
    }

    /// How long one answer may take, beside what it was asked to wait for; 10 s where nothing is said.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Builder {
        self.timeout = limit;
        self
    }

    /// How often a call is made at most, the first time included; 5 where nothing is said, 1 for never again.
    ///
    /// Only calls that may be repeated are made again after they were sent: reading, registering, and every start,
    /// which always has a key. A call that no coordinator has taken is made again in any case.
    #[must_use]
    pub fn attempts(mut self, attempts: usize) -> Builder {
        self.attempts = attempts.max(1);
        self
    }

    /// The waits between attempts: from `first` on twice as long each time up to `longest`, jittered. A
    /// coordinator's `Retry-After` counts where it is longer; one beyond 30 s ends the attempts.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Builder {
        (self.first_wait, self.longest_wait) = (first, longest.max(first));
        self
    }

    /// The connections kept for the next call: how many for each coordinator, and for how long.
    #[must_use]
    pub fn pool(mut self, connections: usize, idle: Duration) -> Builder {
        (self.idle_connections, self.idle_timeout) = (connections, idle);
        self
    }

    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setup`] with what to correct.
    pub fn build(self) -> Result<Client, Error> {
        if self.coordinators.is_empty() || self.coordinators.len() > COORDINATORS_MAX {
            let count = self.coordinators.len();
            return Err(Error::Setup(format!(
                "{count} coordinators are named; name 1 to {COORDINATORS_MAX}"
            )));
        }
        let bases = self.coordinators.iter().map(|text| base(text)).collect::<Result<Vec<_>, _>>()?;
        let bearer = self.token.as_deref().map(bearer).transpose()?;
        // Whoever uses TLS in this process has chosen its cryptography already, or has no preference.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.idle_connections)
            .pool_idle_timeout(self.idle_timeout)
            .user_agent(concat!("amends-client/", env!("CARGO_PKG_VERSION")));
        let http = builder.build().map_err(|error| Error::Setup(format!("no HTTP client: {error}")))?;
        let backoff = backon::ExponentialBuilder::default()
            .with_jitter()
            .with_factor(2.0)
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .with_max_times(self.attempts - 1);
        Ok(Client { transport: Arc::new(Transport::new(http, bases, bearer, self.timeout, backoff)) })
    }
}

/// Reads a coordinator's address and takes off what a path is appended to.
fn base(text: &str) -> Result<String, Error> {
    let bad = |why: &str| Error::Setup(format!("\"{text}\" is no coordinator's address: {why}"));
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(bad("write it as http://127.0.0.1:7070"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("give the token with `token`, not in the address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it ends with the path"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let bad = |_| Error::Setup("the token has characters that no header may have".to_owned());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(bad)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
