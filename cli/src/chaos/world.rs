//! The coordinator of a rehearsal: in this process, on a store in memory, and stopped or killed when the plan says so.
//!
//! It has a runtime of its own, so that killing it ends everything it does at once, as SIGKILL does: what it has sent is
//! on its way, what it has written is there, and the rest is gone.

use super::{RehearsalError, network::Network};
use crate::{
    client::Client,
    process,
    settings::{BaseUrl, Listen},
};
use amends_saga::Name;
use amends_server::{Config, ListenLimits, SagaLimits, Server, Timing, Tokens};
use amends_store::{DefinitionRow, Store, memory::MemoryStore};
use amends_wire::{
    definition::{Defaults, Text},
    registration::Registration,
};
use std::{
    net::Ipv4Addr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{runtime::Runtime, sync::Mutex};

/// How long a killed coordinator's threads may take to let go.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How long a coordinator that is stopped waits for calls in flight.
const DRAIN: Duration = Duration::from_millis(500);

/// How a coordinator ends before the next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// In good order.
    Stopped,
    /// In the middle of whatever it did.
    Killed,
}

/// A coordinator and its successors on one store.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: MemoryStore,
    network: Network,
    config: Config,
    process: Mutex<Option<Process>>,
    client: RwLock<Client>,
}

/// One coordinator.
#[derive(Debug)]
struct Process {
    server: Option<Server>,
    /// There until the process has ended.
    runtime: Option<Runtime>,
}

impl World {
    /// Starts a coordinator that knows the definitions and the participants.
    pub(super) async fn start(
        store: MemoryStore,
        network: Network,
        config: Config,
        texts: &[Arc<Text>],
        participants: &[(Name, Registration)],
    ) -> Result<World, RehearsalError> {
        process::install_tls();
        for text in texts {
            let row = DefinitionRow {
                hash: text.hash.clone(),
                name: text.name.to_string(),
                version: text.version,
                registered: true,
                text: text.to_json().to_string(),
                created_at: amends_server::clock::now(),
            };
            store.put_definition(&row).await.map_err(|error| failed(&error))?;
        }
        let (process, base) = Process::start(store.clone(), network.clone(), config.clone()).await?;
        for (name, registration) in participants {
            register(&base, name, registration).await?;
        }
        let client = RwLock::new(Client::new(base, None).map_err(|error| failed(&error))?);
        Ok(World { store, network, config, process: Mutex::new(Some(process)), client })
    }

    /// A client of the coordinator that runs now.
    pub(super) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the coordinator and starts another that goes on with its sagas.
    pub(super) async fn restart(&self, how: Ended) -> Result<(), RehearsalError> {
        let mut process = self.process.lock().await;
        if let Some(process) = process.take() {
            process.end(how).await;
        }
        if how == Ended::Killed {
            // A lease is there to find out that a process is gone; here it is known.
            self.store.crash();
        }
        let (started, base) =
            Process::start(self.store.clone(), self.network.clone(), self.config.clone()).await?;
        *process = Some(started);
        let client = Client::new(base, None).map_err(|error| failed(&error))?;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    /// Stops the coordinator for good.
    pub(super) async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.end(Ended::Stopped).await;
        }
    }
}

impl Process {
    async fn start(
        store: MemoryStore,
        network: Network,
        config: Config,
    ) -> Result<(Process, BaseUrl), RehearsalError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("coordinator")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let starting = runtime.spawn(async move {
            let listener = process::listen(Listen((Ipv4Addr::LOCALHOST, 0).into())).await;
            let listener = listener.map_err(|error| RehearsalError::Coordinator(format!("{error:#}")))?;
            let transport = Arc::new(network);
            let started = Server::start_with(config, Arc::new(store), listener, transport).await;
            started.map_err(|error| failed(&error))
        });
        let mut process = Process { server: None, runtime: Some(runtime) };
        let server = starting.await.map_err(|error| failed(&error))??;
        let base = BaseUrl::of(server.address());
        process.server = Some(server);
        Ok((process, base))
    }

    async fn end(mut self, how: Ended) {
        let (Some(runtime), Some(server)) = (self.runtime.take(), self.server.take()) else { return };
        if how == Ended::Stopped {
            let _ = runtime.spawn(server.stop()).await;
        }
        // Waiting for its threads makes sure that nothing of it runs while the next one starts.
        let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GONE_WITHIN)).await;
    }
}

impl Drop for Process {
    /// A runtime must not be waited for within another one; an error on the way leads here.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A coordinator's configuration where nobody says otherwise.
pub(super) fn config() -> Config {
    Config {
        name: "rehearsal".to_owned(),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing: Timing { claim_every: Duration::from_millis(200), drain: DRAIN, ..Timing::default() },
        defaults: Defaults::default(),
        traces: None,
        ..Config::default()
    }
}

/// Registers a participant as it would itself.
async fn register(base: &BaseUrl, name: &Name, registration: &Registration) -> Result<(), RehearsalError> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| failed(&error))?;
    let path = base.join(&format!("/v1/participants/{name}"));
    let answer = client.put(path).json(registration).send().await.map_err(|error| failed(&error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let said = answer.text().await.unwrap_or_default();
    Err(RehearsalError::Participant(format!("participant \"{name}\" cannot be registered: {said}")))
}

fn failed(error: &dyn std::error::Error) -> RehearsalError {
    RehearsalError::Coordinator(crate::client::chain(error))
}
