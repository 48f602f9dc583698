//! The coordinator as a running thing: run loop, calls to participants, HTTP API, telemetry.
//!
//! Everything that decides lives in [`amends_saga`]; this crate waits, writes and calls. A request or an
//! answer becomes an input to the [`run`] loop, the loop writes what follows and then performs it.
//! [`Server::start`] puts the pieces together; the executable, the demo and the tests all use it.

mod address;
mod api;
mod auth;
mod bulk;
pub mod clock;
mod dispatch;
mod handle;
pub mod hooks;
mod http;
mod metrics;
mod monitor;
mod registry;
mod run;
mod trace;

pub use amends_saga::coordinator::Limits as SagaLimits;
pub use amends_wire::listen::Limits as ListenLimits;
pub use amends_wire::trace::Sample;
pub use auth::{Role, Tokens};
pub use dispatch::{BodyError, HttpTransport, Reply, Transport, TransportError};
pub use http::BODY_BYTES_MAX;
pub use metrics::Metrics;
pub use monitor::Monitoring;
pub use run::Timing;
pub use trace::Traces;

use amends_store::{Owner, Store};
use amends_wire::{listen, token::Tokens as CallbackTokens};
use api::App;
use dispatch::{Callbacks, Dispatcher};
use handle::{COMMANDS_MAX, Handle};
use registry::Registry;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use trace::Tracer;

/// The description of the HTTP API, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What a coordinator is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is called in journals and logs.
    pub name: String,
    /// Who may do what.
    pub tokens: Tokens,
    /// How many sagas it takes on.
    pub sagas: SagaLimits,
    /// What its listener bears.
    pub listen: ListenLimits,
    /// How its run loop keeps house.
    pub timing: Timing,
    /// What holds for operations and steps that say nothing else.
    pub defaults: amends_wire::definition::Defaults,
    /// Where traces go; none are made without it.
    pub traces: Option<Traces>,
    /// How the monitor works on the repair queue.
    pub monitor: Monitoring,
    /// The base address by which participants reach this coordinator for callbacks, such as
    /// `https://sagas.example.org`; the address it listens on where nothing is said.
    pub public_url: Option<String>,
    /// Who is told of repair items, at most [`hooks::HOOKS_MAX`].
    pub hooks: Vec<hooks::Hook>,
}

impl Config {
    /// That it may be used behind a listener.
    fn check(&self, address: SocketAddr) -> Result<(), StartError> {
        if !address.ip().is_loopback() && self.tokens.is_empty() {
            return Err(StartError::OpenWithoutToken(address));
        }
        Ok(hooks::Hook::check_all(&self.hooks)?)
    }
}

impl Default for Config {
    /// A coordinator on this machine, without tokens, traces or hooks.
    fn default() -> Self {
        Config {
            name: "amends".to_owned(),
            tokens: Tokens::default(),
            sagas: SagaLimits::default(),
            listen: ListenLimits::default(),
            timing: Timing::default(),
            defaults: amends_wire::definition::Defaults::default(),
            traces: None,
            monitor: Monitoring::default(),
            public_url: None,
            hooks: Vec::new(),
        }
    }
}

/// Why a coordinator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] amends_store::Error),
    /// The client for calls could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(#[from] reqwest::Error),
    /// Traces cannot be sent where they should go.
    #[error(transparent)]
    Traces(#[from] amends_wire::trace::export::Error),
    /// A hook cannot be used.
    #[error(transparent)]
    Hook(#[from] hooks::HookError),
    /// Beyond this machine, tokens are required.
    #[error(
        "listening on {0} is open to others than this machine, and no token is configured; set a token, \
         or listen on a loopback address"
    )]
    OpenWithoutToken(SocketAddr),
    /// The listener's address could not be read.
    #[error("the listener: {0}")]
    Listener(#[from] std::io::Error),
}

/// Says that this coordinator is there, and whom it tells of repair items.
async fn appear(store: &dyn Store, config: &Config, owner: &Owner) -> Result<(), StartError> {
    let lease_ms = u64::try_from(config.timing.lease.as_millis()).unwrap_or(u64::MAX);
    store.heartbeat(owner, lease_ms).await?;
    store.set_hooks(&hooks::for_store(&config.hooks)).await?;
    Ok(())
}

/// What goes on beside the run loop and changes no saga by itself.
struct Watchers {
    monitor: Monitoring,
    hooks: Vec<hooks::Hook>,
    dispatcher: Dispatcher,
    outbox: hooks::Nudge,
}

impl Watchers {
    /// Starts the monitor, the telling of hooks, and the checks of instances.
    fn start(self, app: &App, stop: &CancellationToken) -> [JoinHandle<()>; 3] {
        let Watchers { monitor: config, hooks, dispatcher, outbox } = self;
        let checking = registry::health::run(app.registry.clone(), dispatcher.clone(), stop.clone());
        let telling = hooks::run(app.clone(), hooks, outbox.clone(), stop.clone());
        let monitor = monitor::Monitor { app: app.clone(), dispatcher, outbox, config };
        let monitoring = monitor::run(monitor, stop.clone());
        [tokio::spawn(monitoring), tokio::spawn(telling), tokio::spawn(checking)]
    }
}

/// A running coordinator.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    stop_listening: CancellationToken,
    stop_driving: CancellationToken,
    stop_bulk: CancellationToken,
    bulk: JoinHandle<()>,
    stop_watching: CancellationToken,
    watching: [JoinHandle<()>; 3],
    ended: CancellationToken,
    listener: JoinHandle<bool>,
    driver: JoinHandle<()>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
}

impl Server {
    /// Starts a coordinator on `store` behind `listener`.
    ///
    /// Sagas without an owner are claimed and driven on at once.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        store: Arc<dyn Store>,
        listener: TcpListener,
    ) -> Result<Server, StartError> {
        let transport = Arc::new(HttpTransport::new()?);
        Server::start_with(config, store, listener, transport).await
    }

    /// As [`Server::start`], with calls going through `transport`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_with(
        config: Config,
        store: Arc<dyn Store>,
        listener: TcpListener,
        transport: Arc<dyn Transport>,
    ) -> Result<Server, StartError> {
        let address = listener.local_addr()?;
        config.check(address)?;
        let owner = Owner { incarnation: uuid::Uuid::now_v7(), name: config.name.clone() };
        appear(store.as_ref(), &config, &owner).await?;
        let registry = Arc::new(Registry::load(store.as_ref(), config.defaults).await?);
        let metrics = Arc::new(Metrics::new());
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let tracer = Tracer::start(config.traces, &config.name, &metrics)?;
        let public_url = config.public_url.unwrap_or_else(|| format!("http://{address}"));
        let callbacks = Callbacks::new(CallbackTokens::new(store.secret().await?), &public_url);
        let dispatcher = Dispatcher::new(
            transport,
            registry.clone(),
            metrics.clone(),
            tracer.clone(),
            commands.clone(),
            store.clone(),
            callbacks.clone(),
        );
        let (in_bulk, outbox) = (owner.clone(), hooks::Nudge::default());
        let driver = run::Loop::new(
            store.clone(),
            owner,
            registry.clone(),
            dispatcher.clone(),
            metrics.clone(),
            config.sagas,
            config.timing,
        )
        .telling(outbox.clone());
        let stopping = Arc::new(AtomicBool::new(false));
        let app = App {
            handle: Handle::new(commands),
            store,
            registry,
            metrics: metrics.clone(),
            bulk: bulk::Bulk::new(in_bulk),
            callbacks,
            stopping: stopping.clone(),
        };
        let [stop_listening, stop_driving, stop_bulk, stop_watching, ended] =
            std::array::from_fn(|_| CancellationToken::new());
        let bulk = tokio::spawn(bulk::run(app.clone(), stop_bulk.clone()));
        let watchers = Watchers { monitor: config.monitor, hooks: config.hooks, dispatcher, outbox };
        let watching = watchers.start(&app, &stop_watching);
        let router = api::router(app, config.tokens);
        let driver = drive(driver.run(taken, stop_driving.clone()), &ended);
        let listener = tokio::spawn(listen::serve(listener, router, config.listen, stop_listening.clone()));
        Ok(Server {
            address,
            stopping,
            stop_listening,
            stop_driving,
            ended,
            stop_bulk,
            bulk,
            stop_watching,
            watching,
            listener,
            driver,
            metrics,
            tracer,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Stops: takes no new work, answers what is being answered, lets calls in flight end within their
    /// grace, writes what came of them, and gives every saga back.
    pub async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop_bulk.cancel();
        self.stop_watching.cancel();
        let _ = self.bulk.await;
        self.stop_driving.cancel();
        let _ = self.driver.await;
        for watching in self.watching {
            let _ = watching.await;
        }
        self.stop_listening.cancel();
        let _ = self.listener.await;
        self.tracer.stop().await;
    }

    /// Waits until the run loop has ended by itself, which it does only by a fault. Harmless to ask again.
    pub async fn failed(&mut self) {
        self.ended.cancelled().await;
    }
}

/// Runs the run loop; `ended` is cancelled when it is over, however that comes about.
fn drive(driving: impl Future<Output = ()> + Send + 'static, ended: &CancellationToken) -> JoinHandle<()> {
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        driving.await;
    })
}
