//! What is registered: definitions and participants.

use crate::{Client, Error, segment, transport::Call};
use amends_wire::{
    api::{DefinitionView, List, ParticipantView},
    registration::Registration,
};
use http::StatusCode;

/// What registering brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered<T> {
    /// What stands there now.
    pub view: T,
    /// Whether it is new; otherwise it stood there before.
    pub is_new: bool,
}

impl Client {
    /// Registers a definition from its text, YAML or JSON. A version never changes: the same content again is fine.
    ///
    /// # Errors
    /// `definition_invalid` with every fault; `definition_exists` when the version has other content.
    pub async fn put_definition(
        &self,
        name: &str,
        version: u32,
        text: impl Into<String>,
    ) -> Result<Registered<DefinitionView>, Error> {
        let call = Call::put(format!("/v1/definitions/{}/{version}", segment(name)));
        let answer = self.transport.answer(&call.text("application/yaml", text.into())).await?;
        Ok(Registered { is_new: answer.status == StatusCode::CREATED, view: answer.read()? })
    }

    /// Reads one version of a definition, with its content.
    ///
    /// # Errors
    /// `unknown_definition`.
    pub async fn definition(&self, name: &str, version: u32) -> Result<DefinitionView, Error> {
        self.transport
            .answer(&Call::get(format!("/v1/definitions/{}/{version}", segment(name))))
            .await?
            .read()
    }

    /// Lists the versions of a definition.
    ///
    /// # Errors
    /// `unknown_definition`.
    pub async fn versions(&self, name: &str) -> Result<Vec<DefinitionView>, Error> {
        self.whole(Call::get(format!("/v1/definitions/{}", segment(name)))).await
    }

    /// Lists every version of every definition.
    ///
    /// # Errors
    /// As any call.
    pub async fn definitions(&self) -> Result<Vec<DefinitionView>, Error> {
        self.whole(Call::get("/v1/definitions")).await
    }

    /// Registers a participant, or refreshes the instances given and replaces its operations.
    ///
    /// # Errors
    /// `bad_registration`, `address_refused`.
    pub async fn put_participant(
        &self,
        name: &str,
        registration: &Registration,
    ) -> Result<Registered<ParticipantView>, Error> {
        let call = Call::put(format!("/v1/participants/{}", segment(name)));
        let answer = self.transport.answer(&call.json("the registration", registration)?).await?;
        Ok(Registered { is_new: answer.status == StatusCode::CREATED, view: answer.read()? })
    }

    /// Reads a participant: its instances, their health, its operations, its circuit breaker.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn participant(&self, name: &str) -> Result<ParticipantView, Error> {
        self.transport.answer(&Call::get(format!("/v1/participants/{}", segment(name)))).await?.read()
    }

    /// Lists the participants.
    ///
    /// # Errors
    /// As any call.
    pub async fn participants(&self) -> Result<Vec<ParticipantView>, Error> {
        self.whole(Call::get("/v1/participants")).await
    }

    /// Takes a participant out, with all its instances; false when there was none.
    ///
    /// # Errors
    /// As any call.
    pub async fn remove_participant(&self, name: &str) -> Result<bool, Error> {
        self.remove(format!("/v1/participants/{}", segment(name))).await
    }

    /// Takes one instance of a participant out; false when there was none.
    ///
    /// # Errors
    /// As any call.
    pub async fn remove_instance(&self, name: &str, instance: &str) -> Result<bool, Error> {
        self.remove(format!("/v1/participants/{}/instances/{}", segment(name), segment(instance))).await
    }

    async fn remove(&self, path: String) -> Result<bool, Error> {
        match self.transport.answer(&Call::delete(path)).await {
            Ok(_) => Ok(true),
            Err(Error::Problem(no)) if no.status == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn whole<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<Vec<T>, Error> {
        let list: List<T> = self.transport.answer(&call).await?.read()?;
        Ok(list.items)
    }
}
