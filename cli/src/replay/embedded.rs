//! A coordinator and a shop of this process's own, for a replay that is told of no coordinator.
//!
//! They speak HTTP over loopback, as everywhere, and keep their databases in one directory. The ports are kept there
//! as well: after a crash the participants are back where the sagas under way look for them.

use crate::{
    client::Client,
    serve,
    settings::{BaseUrl, Store},
    shop::ShopUrls,
};
use amends_sdk::{Participant, Registering};
use amends_server::{Config, ListenLimits, SagaLimits, Server, Timing, Tokens};
use amends_store::Store as _;
use amends_wire::definition::Defaults;
use anyhow::Context;
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What runs in this process.
#[derive(Debug)]
pub(super) struct Embedded {
    server: Server,
    participants: Vec<JoinHandle<Result<(), amends_sdk::Error>>>,
    stop: CancellationToken,
    client: Client,
    urls: ShopUrls,
    /// The directory, when it goes with the process.
    _folder: Option<tempfile::TempDir>,
}

impl Embedded {
    /// Starts them in `data`, or in a directory that is gone afterwards.
    pub(super) async fn start(data: Option<&Path>) -> anyhow::Result<Embedded> {
        let folder = match data {
            Some(data) => {
                std::fs::create_dir_all(data)
                    .with_context(|| format!("{} cannot be made", data.display()))?;
                None
            }
            None => Some(tempfile::Builder::new().prefix("amends-replay").tempdir()?),
        };
        let path: PathBuf = match (&folder, data) {
            (Some(folder), _) => folder.path().to_owned(),
            (None, data) => data.unwrap_or(Path::new(".")).to_owned(),
        };
        let at = |name: &str| Store::at(path.join(format!("{name}.db"))).to_string();
        let store = serve::open(&Store::at(path.join("coordinator.db")), false, "replay").await?;
        let inventory = amends_inventory::open(amends_inventory::Config::new(at("inventory"))).await?;
        let order = amends_order::open(amends_order::Config::new(at("order"))).await?;
        let product = amends_product::open(amends_product::Config::new(at("product"))).await?;
        let participants = [inventory.participant(), order.participant(), product.participant()];
        let mut places = Vec::new();
        for participant in participants {
            let place = Place::take(&path, participant.name()).await?;
            if place.moved {
                store.delete_participant(participant.name()).await?;
            }
            places.push(place);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Server::start(config(), Arc::new(store), listener).await?;
        let base = BaseUrl::of(server.address());
        let urls =
            ShopUrls { inventory: places[0].url()?, order: places[1].url()?, product: places[2].url()? };
        let stop = CancellationToken::new();
        let running = participants.into_iter().zip(places);
        let running =
            running.map(|(participant, place)| serve_one(participant, place, &base, &stop)).collect();
        let client = Client::new(base, None)?;
        Ok(Embedded { server, participants: running, stop, client, urls, _folder: folder })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn urls(&self) -> &ShopUrls {
        &self.urls
    }

    /// Stops them in order: the coordinator first, so that it finishes what it is calling.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        self.stop.cancel();
        for participant in self.participants {
            let _ = participant.await;
        }
    }
}

fn config() -> Config {
    Config {
        name: "replay".to_owned(),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing: Timing::default(),
        defaults: Defaults::default(),
        traces: None,
        ..Config::default()
    }
}

fn serve_one(
    participant: &Participant,
    place: Place,
    coordinator: &BaseUrl,
    stop: &CancellationToken,
) -> JoinHandle<Result<(), amends_sdk::Error>> {
    let (participant, stop) = (participant.clone(), stop.clone());
    let registering = Registering { coordinator: coordinator.to_string(), token: None, advertise: None };
    tokio::spawn(async move { amends_sdk::run(&participant, place.listener, Some(registering), stop).await })
}

/// Where a participant listens.
struct Place {
    listener: TcpListener,
    /// Whether it was somewhere else before.
    moved: bool,
}

impl Place {
    /// Takes the port it had the last time, or another one when that is taken.
    async fn take(folder: &Path, name: &str) -> anyhow::Result<Place> {
        let file = folder.join(format!("{name}.port"));
        let before: Option<u16> =
            std::fs::read_to_string(&file).ok().and_then(|port| port.trim().parse().ok());
        if let Some(port) = before
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
        {
            return Ok(Place { listener, moved: false });
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        std::fs::write(&file, port.to_string())
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(Place { listener, moved: before.is_some() })
    }

    fn url(&self) -> anyhow::Result<BaseUrl> {
        Ok(BaseUrl::of(self.listener.local_addr()?))
    }
}
