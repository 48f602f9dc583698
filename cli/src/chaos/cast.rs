//! Who takes part: participants that are there, and stubs for all others.

use super::{
    RehearsalError, hurry,
    parts::{Parts, path},
    stubs::Stubs,
};
use amends_saga::Name;
use amends_server::{HttpTransport, Reply, Transport, TransportError};
use amends_wire::{
    definition::OperationName,
    participant::CallOp,
    registration::{OperationTerms, Registration},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet};

/// The host of the stubs' addresses; nothing can have this name.
const STUBS_HOST: &str = "stubs.invalid";

/// Every participant with what it offers: as it is registered, or, for a stub, what the definitions call.
pub(super) fn registrations(
    parts: &Parts,
    real: &BTreeMap<Name, Registration>,
    hurried: bool,
) -> Result<Vec<(Name, Registration)>, RehearsalError> {
    let mut found: BTreeMap<Name, Registration> = BTreeMap::new();
    let called = parts.texts().into_iter().flat_map(|text| text.operations());
    for OperationName { participant, operation } in called {
        if let Some(known) = real.get(&participant) {
            if !known.operations.contains_key(&operation) {
                let what = format!("participant \"{participant}\" does not offer \"{operation}\"");
                return Err(RehearsalError::Participant(what));
            }
            found.entry(participant).or_insert_with(|| one_by_one(known.clone(), hurried));
            continue;
        }
        let stub = found.entry(participant.clone()).or_insert_with(|| Registration {
            instances: vec![format!("http://{STUBS_HOST}/{participant}")],
            operations: BTreeMap::new(),
            secret: None,
            health: None,
            ttl: None,
        });
        stub.operations.insert(operation, OperationTerms::default());
    }
    Ok(found.into_iter().collect())
}

/// The steps, by path, whose action and compensation both go to stubs.
pub(super) fn stubbed_steps(parts: &Parts, real: &BTreeMap<Name, Registration>) -> BTreeSet<String> {
    let is_stub = |name: &Name| !real.contains_key(name);
    let mut found = BTreeSet::new();
    for (at, part) in parts.iter() {
        let steps = part.definition.steps().filter(|(_, step)| {
            let undo = step.undo().is_none_or(|undo| is_stub(&undo.operation.participant));
            step.call().is_some_and(|call| is_stub(&call.action.participant)) && undo
        });
        found.extend(steps.map(|(_, step)| path(at, &step.name)));
    }
    found
}

/// A registration without batches, each of whose calls can meet a fate of its own.
fn one_by_one(registration: Registration, hurried: bool) -> Registration {
    let operations = registration.operations.into_iter().map(|(name, terms)| {
        let terms = if hurried { hurry::operation(terms) } else { terms };
        (name, OperationTerms { batch: None, ..terms })
    });
    Registration { operations: operations.collect(), ttl: None, ..registration }
}

/// The participant of each step's action and compensation, by the step's path.
pub(super) fn callees(parts: &Parts) -> BTreeMap<(String, CallOp), String> {
    let mut found = BTreeMap::new();
    for (at, part) in parts.iter() {
        for (_, step) in part.definition.steps() {
            let action = step.call().map(|call| (CallOp::Action, &call.action));
            let undo = step.undo().map(|undo| (CallOp::Compensation, &undo.operation));
            for (op, operation) in action.into_iter().chain(undo) {
                found.insert((path(at, &step.name), op), operation.participant.to_string());
            }
        }
    }
    found
}

/// Stubs for their own addresses, HTTP for all others.
pub(super) struct Beyond {
    stubs: Stubs,
    http: HttpTransport,
}

impl Beyond {
    /// Makes the client for those that are there.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn new(stubs: Stubs) -> Result<Beyond, RehearsalError> {
        crate::process::install_tls();
        let http = HttpTransport::new();
        let http = http.map_err(|error| RehearsalError::Coordinator(crate::client::chain(&error)))?;
        Ok(Beyond { stubs, http })
    }
}

#[async_trait]
impl Transport for Beyond {
    async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Reply, TransportError> {
        if url.host_str() == Some(STUBS_HOST) {
            self.stubs.post(url, headers, body).await
        } else {
            self.http.post(url, headers, body).await
        }
    }
}
