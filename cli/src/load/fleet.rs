//! A coordinator and a shop of the load's own: processes on databases in one folder, killed in turn where asked.
//!
//! A process that is killed gets no chance to tidy up. It is started again on the same database and the same port, so
//! that it is where the others look for it.

use crate::{bench::processes::Process, client::Client, settings::BaseUrl, shop::ShopUrls};
use amends_wire::span::Span;
use anyhow::{Context, bail};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long the services may take to register, and a killed process to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a killed process is away.
const AWAY: Duration = Duration::from_millis(100);

/// The shop's services, in the order in which they are killed; the coordinator comes after them.
const SERVICES: [&str; 4] = ["order", "inventory", "product", "payment"];

/// How often each was killed.
pub(super) type Kills = BTreeMap<&'static str, u32>;

/// What the processes are told beside where they listen.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Orders {
    pub(super) hold: Span,
    /// Calls of a hundred that undo something and fail.
    pub(super) reversals_fail: f64,
    pub(super) seed: u64,
}

/// The processes and their folder.
#[derive(Debug)]
pub(super) struct Fleet {
    slots: Vec<Mutex<Slot>>,
    client: Client,
    urls: ShopUrls,
    payments: BaseUrl,
    path: PathBuf,
    /// The folder, when it goes with the fleet.
    _folder: Option<tempfile::TempDir>,
}

/// A process, or where one is to be.
#[derive(Debug)]
struct Slot {
    name: &'static str,
    args: Vec<String>,
    process: Option<Process>,
}

impl Slot {
    fn start(name: &'static str, path: &Path, args: Vec<String>) -> anyhow::Result<Slot> {
        let mut slot = Slot { name, args, process: None };
        slot.run(path, "127.0.0.1:0")?;
        Ok(slot)
    }

    fn run(&mut self, path: &Path, listen: &str) -> anyhow::Result<()> {
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        args.extend(["--listen", listen]);
        self.process = Some(Process::start(self.name, path, &args)?);
        Ok(())
    }

    fn url(&self) -> &str {
        self.process.as_ref().map_or("", |process| process.url.as_str())
    }

    /// Kills it and starts it again where it was.
    fn kill(&mut self, path: &Path) -> anyhow::Result<()> {
        let address = self.url().trim_start_matches("http://").to_owned();
        drop(self.process.take());
        let killed = Instant::now();
        loop {
            std::thread::sleep(AWAY);
            // Its port may be taken for a while: by a connection that somebody has opened from there in the meantime.
            match self.run(path, &address) {
                Err(_) if killed.elapsed() < PATIENCE => {}
                done => {
                    return done.with_context(|| format!("{} was killed and did not come back", self.name));
                }
            }
        }
    }
}

impl Fleet {
    /// Starts everything in `data`, or in a folder that is gone afterwards, and waits until all are registered.
    ///
    /// # Errors
    /// When a process does not start, or does not register in time.
    pub(super) async fn start(data: Option<&Path>, orders: &Orders) -> anyhow::Result<Fleet> {
        let folder = match data {
            Some(data) => {
                std::fs::create_dir_all(data)
                    .with_context(|| format!("{} cannot be made", data.display()))?;
                None
            }
            None => Some(tempfile::Builder::new().prefix("amends-load").tempdir()?),
        };
        let path = folder
            .as_ref()
            .map_or_else(|| data.unwrap_or(Path::new(".")).to_owned(), |f| f.path().to_owned());
        if path.join("coordinator.db").exists() {
            bail!(
                "{} holds the databases of an earlier run; name an empty folder with --data",
                path.display()
            );
        }
        let store = |name: &str| format!("sqlite:{}", path.join(format!("{name}.db")).display());
        let serve = ["serve", "--sagas-max", "1000000", "--store", &store("coordinator")].map(str::to_owned);
        let coordinator = Slot::start("coordinator", &path, serve.to_vec())?;
        let base = coordinator.url().to_owned();
        let mut slots: Vec<Slot> = Vec::new();
        for name in &SERVICES {
            let mut args = service_args(name, &base, &store(name), orders);
            match *name {
                "inventory" => args.extend(["--order".to_owned(), slots[0].url().to_owned()]),
                "product" => args.extend(["--inventory".to_owned(), slots[1].url().to_owned()]),
                _ => {}
            }
            slots.push(Slot::start(name, &path, args)?);
        }
        let url = |slot: &Slot| slot.url().parse().map_err(|why| anyhow::anyhow!("{}: {why}", slot.url()));
        let client = Client::new(url(&coordinator)?, None)?;
        let urls = ShopUrls { order: url(&slots[0])?, inventory: url(&slots[1])?, product: url(&slots[2])? };
        let payments = url(&slots[3])?;
        slots.push(coordinator);
        let slots = slots.into_iter().map(Mutex::new).collect();
        let fleet = Fleet { slots, client, urls, payments, path, _folder: folder };
        fleet.await_registered().await?;
        Ok(fleet)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn urls(&self) -> &ShopUrls {
        &self.urls
    }

    /// Where the payment service answers.
    pub(super) fn payments(&self) -> BaseUrl {
        self.payments.clone()
    }

    async fn await_registered(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for name in SERVICES {
            let address = format!("/v1/participants/{name}");
            while let Err(error) = self.client.get::<serde_json::Value>(&address, &[]).await {
                if begun.elapsed() > PATIENCE {
                    return Err(error)
                        .with_context(|| format!("{name} has not registered within {PATIENCE:?}"));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Kills one process after the other, one every so often, for so long or until told to stop; says how often each
    /// was. What came before is to come to its end afterwards: were the coordinator killed on and on, more often than
    /// its lease lasts, sagas would wait for one lease after the other.
    ///
    /// # Errors
    /// When one does not come back.
    pub(super) async fn kill_in_turn(
        self: Arc<Self>,
        every: Duration,
        lasts: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<Kills> {
        let mut kills = Kills::new();
        let over = tokio::time::sleep(lasts);
        tokio::pin!(over);
        for at in (0..self.slots.len()).cycle() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = &mut over => break,
                () = tokio::time::sleep(every) => {}
            }
            let fleet = Arc::clone(&self);
            let killed = tokio::task::spawn_blocking(move || {
                let mut slot = fleet.slots[at].lock().unwrap_or_else(PoisonError::into_inner);
                slot.kill(&fleet.path).map(|()| slot.name)
            });
            *kills.entry(killed.await.context("a kill panicked")??).or_default() += 1;
        }
        Ok(kills)
    }
}

/// What a service of the fleet is started with.
fn service_args(name: &str, coordinator: &str, store: &str, orders: &Orders) -> Vec<String> {
    let args = ["load", "--serve", name, "--coordinator", coordinator, "--store", store, "--hold"];
    let mut args: Vec<String> = args.map(str::to_owned).to_vec();
    args.extend([orders.hold.to_string(), "--seed".to_owned(), orders.seed.to_string()]);
    args.extend(["--reversals-fail".to_owned(), orders.reversals_fail.to_string()]);
    args
}
