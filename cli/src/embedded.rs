//! A coordinator and the shop's three participants in this very process, each on its own SQLite file and its own
//! loopback listener. They talk HTTP to each other as separate processes do; nothing is shared but the address space.

use crate::{
    client::Client,
    process, serve,
    settings::{BaseUrl, Listen, Store},
    shop::ShopUrls,
};
use amends_sdk::{Participant, Registering, faults::Faults};
use amends_server::{Config, ListenLimits, SagaLimits, Server, Timing, Tokens};
use amends_wire::{
    api::{List, ParticipantView},
    definition::Defaults,
};
use anyhow::{Context, bail};
use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// The definitions that are registered: the shop's own, compiled in.
const DEFINITIONS: [(&str, &str); 2] = [
    ("sagas/checkout.yaml", include_str!("../../sagas/checkout.yaml")),
    ("sagas/order.yaml", include_str!("../../sagas/order.yaml")),
];

/// How long the participants may take to be registered.
const REGISTERED_WITHIN: Duration = Duration::from_secs(20);

/// Everything that runs, and the handles on it.
#[derive(Debug)]
pub struct Embedded {
    /// A client of the coordinator.
    pub client: Client,
    /// Where the participants answer.
    pub shop: ShopUrls,
    /// What goes wrong in the inventory.
    pub inventory_faults: Faults,
    /// What goes wrong in the order service.
    pub order_faults: Faults,
    server: Server,
    participants: Vec<JoinHandle<()>>,
    following: amends_product::Following,
    stop: CancellationToken,
}

impl Embedded {
    /// Starts everything on databases in `dir`, the coordinator listening on `listen`, and waits until every
    /// participant is registered.
    ///
    /// # Errors
    /// When an address is taken, or a database cannot be used.
    pub async fn start(dir: &Path, listen: Listen) -> anyhow::Result<Embedded> {
        let listener = process::listen(listen).await?;
        let base = BaseUrl::of(listener.local_addr()?);
        let server = start_coordinator(dir, listener).await?;
        let client = Client::new(base.clone(), None)?;

        let (inventory_faults, order_faults) = (Faults::new(), Faults::new());
        let store = |name: &str| Store::at(dir.join(format!("{name}.db"))).to_string();
        let inventory = amends_inventory::open(amends_inventory::Config {
            faults: Some(inventory_faults.clone()),
            ..amends_inventory::Config::new(store("inventory"))
        });
        let order = amends_order::open(amends_order::Config {
            faults: order_faults.clone(),
            ..amends_order::Config::new(store("order"))
        });
        let product = amends_product::open(amends_product::Config::new(store("product")));
        let (inventory, order, product) = (inventory.await?, order.await?, product.await?);

        let stop = CancellationToken::new();
        let mut participants = Vec::new();
        let mut urls = Vec::new();
        for participant in [inventory.participant(), order.participant(), product.participant()] {
            let (url, task) = start_participant(participant.clone(), &base, &stop).await?;
            urls.push(url);
            participants.push(task);
        }
        await_registered(&client, &urls).await?;
        let following = product.follow(&urls[0].to_string())?;
        let [inventory, order, product] =
            urls.try_into().map_err(|_| anyhow::anyhow!("three participants run"))?;
        let shop = ShopUrls { inventory, order, product };
        Ok(Embedded { client, shop, inventory_faults, order_faults, server, participants, following, stop })
    }

    /// Waits for a fault that the coordinator cannot go on from.
    pub async fn failed(&mut self) {
        self.server.failed().await;
    }

    /// Stops everything, the coordinator first.
    pub async fn stop(self) {
        self.server.stop().await;
        self.following.stop().await;
        self.stop.cancel();
        for participant in self.participants {
            let _ = participant.await;
        }
    }
}

async fn start_coordinator(dir: &Path, listener: TcpListener) -> anyhow::Result<Server> {
    let store = serve::open(&Store::at(dir.join("coordinator.db")), false, "amends demo").await?;
    for (file, source) in DEFINITIONS {
        serve::register(&store, file, source).await?;
    }
    let config = Config {
        name: "demo".to_owned(),
        tokens: Tokens::default(),
        sagas: SagaLimits::default(),
        listen: ListenLimits::default(),
        timing: Timing::default(),
        defaults: Defaults::default(),
        traces: None,
        ..Config::default()
    };
    Server::start(config, Arc::new(store), listener).await.context("the coordinator does not start")
}

async fn start_participant(
    participant: Participant,
    coordinator: &BaseUrl,
    stop: &CancellationToken,
) -> anyhow::Result<(BaseUrl, JoinHandle<()>)> {
    let listener = process::listen(Listen((Ipv4Addr::LOCALHOST, 0).into())).await?;
    let url = BaseUrl::of(listener.local_addr()?);
    let registering =
        Registering { coordinator: coordinator.to_string(), token: None, advertise: Some(url.to_string()) };
    let stop = stop.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = amends_sdk::run(&participant, listener, Some(registering), stop).await {
            tracing::error!(%error, participant = participant.name(), "a participant stopped");
        }
    });
    Ok((url, task))
}

/// Waits until the coordinator knows an instance at each of `urls`.
async fn await_registered(client: &Client, urls: &[BaseUrl]) -> anyhow::Result<()> {
    let until = Instant::now() + REGISTERED_WITHIN;
    loop {
        let list: List<ParticipantView> = client.get("/v1/participants", &[]).await?;
        let known: Vec<String> = list
            .items
            .iter()
            .flat_map(|participant| &participant.instances)
            .map(|instance| instance.url.trim_end_matches('/').to_owned())
            .collect();
        if urls.iter().all(|url| known.contains(&url.to_string())) {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!(
                "the participants were not registered within {} s; see --log info",
                REGISTERED_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
