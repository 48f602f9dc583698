//! Starting a saga from within a participant: what a service has decided by itself is carried through by a definition.

use super::{ATTEMPTS_MAX, Sagas};
use crate::outgoing;
use serde_json::{Value, json};
use uuid::Uuid;

/// Why a saga was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The coordinator does not take the start as it is: an unknown definition, an input that does not fit, a key that
    /// stands for another start, a missing token.
    #[error("the coordinator refused the start with {status}: {said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The coordinator gave no definite answer. The saga may be started: start it again under the same key.
    #[error("the coordinator could not be asked: {0}")]
    Unavailable(String),
}

impl Sagas {
    /// Starts `definition` (`name` for its newest version, or `name@version`) under a key: starting it again with the
    /// same input is the same saga. Says its id; does not wait for its end.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(&self, definition: &str, key: &str, input: &Value) -> Result<Uuid, StartError> {
        let inner = &*self.0;
        let body = json!({ "definition": definition, "key": key, "input": input });
        let url = format!("{}/v1/sagas", inner.base);
        let answer = outgoing::post(&inner.client, &url, inner.token.as_deref(), &body, ATTEMPTS_MAX).await;
        let answer = answer.map_err(|error| StartError::Unavailable(error.to_string()))?;
        let id = answer.body["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        match (answer.status, id) {
            (200..=299, Some(id)) => Ok(id),
            (status, _) => Err(StartError::Refused { status, said: answer.said() }),
        }
    }
}
