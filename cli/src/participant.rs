//! `amends participant`: one of the shop's participants as a process of its own, and a check of anybody's.

pub mod check;

use crate::{
    exit::Exit,
    globals::Globals,
    process,
    settings::{BaseUrl, Listen, Store, keys, keys::ParticipantKeys},
};
use amends_inventory::activity::late;
use amends_inventory::alert;
use amends_inventory::sweep::{self, HttpOrders};
use amends_sdk::{Participant, Registering, Sagas, Tracer};
use amends_wire::span::Span;
use anyhow::Context;
use std::time::Duration;

/// Which participant.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The shop's stock: holds, deducts and gives back whole carts
    #[command(after_help = INVENTORY_EXAMPLES)]
    Inventory(InventoryArgs),
    /// The shop's orders: placed, paid, shipped, refunded, cancelled
    #[command(after_help = ORDER_EXAMPLES)]
    Order(Args),
    /// A payment provider: charges and refunds, answered at once, late, twice, or never
    #[command(after_help = PAYMENT_EXAMPLES)]
    Payment(PaymentArgs),
    /// The shop's catalogue: what is sold, and what a cart costs
    #[command(after_help = PRODUCT_EXAMPLES)]
    Product(ProductArgs),
    /// Checks that a participant, in whatever language, keeps the contract under every fault of delivery
    Check(Box<check::Args>),
}

const INVENTORY_EXAMPLES: &str = "\
It registers itself with the coordinator and goes on doing so, so it may be started first.

Examples:
  amends participant inventory
  amends participant inventory --orders http://127.0.0.1:7102
  amends participant inventory --listen 127.0.0.1:0 --store sqlite:/var/lib/amends/inventory.db
  curl -X POST http://127.0.0.1:7101/replenish -H 'content-type: application/json' \\
       -d '{\"biz_no\": \"delivery-1\", \"lines\": [{\"sku\": 1, \"qty\": 100}]}'
  curl http://127.0.0.1:7101/audit";

const ORDER_EXAMPLES: &str = "\
It registers itself with the coordinator and goes on doing so, so it may be started first.

Examples:
  amends participant order
  amends participant order --listen 0.0.0.0:7102 --advertise http://10.0.0.7:7102 \\
       --coordinator http://10.0.0.5:7070
  curl http://127.0.0.1:7102/orders";

const PAYMENT_EXAMPLES: &str = "\
It moves no money, and behaves as those do that move it: at_once, callback, double_callback, poll,
late, never, declined_later, declined. Several with weights: each payment meets one of them.

Examples:
  amends participant payment
  amends participant payment --behaviour at_once=80,callback=15,declined=5
  curl http://127.0.0.1:7104/payments";

const PRODUCT_EXAMPLES: &str = "\
It registers itself with the coordinator and goes on doing so, so it may be started first.

Examples:
  amends participant product
  amends participant product --follow http://127.0.0.1:7101
  curl -X PUT http://127.0.0.1:7103/catalogue -H 'content-type: application/json' \\
       -d '{\"items\": [{\"sku\": 1, \"name\": \"Walnut Desk\", \"price_minor\": 64900}]}'
  curl http://127.0.0.1:7103/products";

/// How a participant runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address to listen on; port 0 picks a free one [env: AMENDS_LISTEN] [default: 127.0.0.1:7101, :7102, :7103, :7104]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// Where its data is kept [env: AMENDS_STORE] [default: sqlite:./amends-data/PARTICIPANT.db]
    #[arg(long, value_name = "sqlite:PATH")]
    store: Option<Store>,
    /// The address it registers, where that is not the one it listens on [env: AMENDS_ADVERTISE]
    #[arg(long, value_name = "URL")]
    advertise: Option<BaseUrl>,
    /// Send traces to this OpenTelemetry collector (OTLP over HTTP) [env: AMENDS_OTLP]
    #[arg(long, value_name = "URL")]
    otlp: Option<BaseUrl>,
    /// How often it checks its own laws; 0s for never [env: AMENDS_AUDIT_EVERY] [default: 5m]
    #[arg(long, value_name = "TIME")]
    audit_every: Option<Span>,
}

/// How an inventory runs.
#[derive(Debug, clap::Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    common: Args,
    /// Ask this order service about holds whose time is up [env: AMENDS_ORDERS]
    #[arg(long, value_name = "URL")]
    orders: Option<BaseUrl>,
}

/// How a payment provider runs.
#[derive(Debug, clap::Args)]
pub struct PaymentArgs {
    #[command(flatten)]
    common: Args,
    /// How charges are answered: one mode, or several with weights [env: AMENDS_BEHAVIOUR] [default: at_once]
    #[arg(long, value_name = "MODES")]
    behaviour: Option<amends_payment::Behaviour>,
}

/// How a catalogue runs.
#[derive(Debug, clap::Args)]
pub struct ProductArgs {
    #[command(flatten)]
    common: Args,
    /// Show the stock of this inventory, following its change feed [env: AMENDS_FOLLOW]
    #[arg(long, value_name = "URL")]
    follow: Option<BaseUrl>,
}

/// Between two looks for orders that nobody has paid for in time.
const UNPAID_EVERY: Duration = Duration::from_secs(1);

/// Runs the participant until it is told to stop, or checks one.
///
/// # Errors
/// When it cannot listen or its database cannot be used; [`check::run`] has its own.
pub async fn run(command: Command, globals: &Globals) -> anyhow::Result<Exit> {
    match command {
        Command::Inventory(InventoryArgs { common, orders }) => {
            let orders: Option<BaseUrl> = globals.settings.get(&keys::INVENTORY_ORDERS, orders)?;
            let store = prepare(&common, &keys::INVENTORY, globals)?;
            let inventory = amends_inventory::open(amends_inventory::Config::new(store.to_string())).await?;
            tokio::spawn(inventory.watch_low_stock(alert::EVERY));
            tokio::spawn(inventory.return_leftovers(late::EVERY));
            if let Some(orders) = orders {
                tokio::spawn(inventory.sweep_holds(HttpOrders::at(&orders.to_string())?, sweep::EVERY));
            }
            serve(common, inventory.participant(), &keys::INVENTORY, globals).await
        }
        Command::Order(args) => {
            let store = prepare(&args, &keys::ORDER, globals)?;
            let order = amends_order::open(amends_order::Config::new(store.to_string())).await?;
            let token = globals.token.as_ref().map(|token| token.reveal().to_owned());
            let sagas = Sagas::at(&globals.coordinator.to_string(), token)?;
            tokio::spawn(order.call_off_unpaid(sagas, UNPAID_EVERY));
            serve(args, order.participant(), &keys::ORDER, globals).await
        }
        Command::Payment(PaymentArgs { common, behaviour }) => {
            let behaviour = globals.settings.require(&keys::PAYMENT_BEHAVIOUR, behaviour)?;
            let store = prepare(&common, &keys::PAYMENT, globals)?;
            let config = amends_payment::Config::new(store.to_string());
            let payment = amends_payment::open(config, behaviour).await?;
            serve(common, payment.participant(), &keys::PAYMENT, globals).await
        }
        Command::Product(ProductArgs { common, follow }) => {
            let follow: Option<BaseUrl> = globals.settings.get(&keys::PRODUCT_FOLLOW, follow)?;
            let store = prepare(&common, &keys::PRODUCT, globals)?;
            let product = amends_product::open(amends_product::Config::new(store.to_string())).await?;
            let _following = follow.map(|inventory| product.follow(&inventory.to_string())).transpose()?;
            serve(common, product.participant(), &keys::PRODUCT, globals).await
        }
        Command::Check(args) => check::run(*args, globals).await,
    }
}

/// Finds the store and makes its directory.
fn prepare(args: &Args, keys: &ParticipantKeys, globals: &Globals) -> anyhow::Result<Store> {
    let store: Store = globals.settings.require(keys.store, args.store.clone())?;
    store.make_directory()?;
    Ok(store)
}

async fn serve(
    args: Args,
    participant: &Participant,
    keys: &ParticipantKeys,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let listen: Listen = globals.settings.require(keys.listen, args.listen)?;
    let advertise: Option<BaseUrl> = globals.settings.get(keys.advertise, args.advertise)?;
    if listen.0.ip().is_unspecified() && advertise.is_none() {
        anyhow::bail!(
            "{listen} is every address of this machine, and the coordinator needs one to call; name it with --advertise"
        );
    }
    let listener = process::listen(listen).await?;
    let registering = Registering {
        coordinator: globals.coordinator.to_string(),
        token: globals.token.as_ref().map(|token| token.reveal().to_owned()),
        advertise: advertise.map(|url| url.to_string()),
    };
    let every: Span = globals.settings.require(keys.audit_every, args.audit_every)?;
    let every = Some(Duration::from(every.millis())).filter(|every| !every.is_zero());
    let mut participant = participant.clone().audit_every(every);
    if let Some(collector) = globals.settings.get(&keys::OTLP, args.otlp)? {
        let tracer = Tracer::start(&collector.to_string(), participant.name())?;
        participant = participant.traces(&tracer);
    }
    let stop = process::stop_on_signal()?;
    let address = listener.local_addr()?;
    tracing::info!(participant = participant.name(), %address, "the participant runs");
    process::announce(address);
    amends_sdk::run(&participant, listener, Some(registering), stop)
        .await
        .context("the participant stopped")?;
    tracing::info!(participant = participant.name(), "the participant has stopped");
    Ok(Exit::Done)
}
