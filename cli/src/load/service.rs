//! One of the shop's services as the load starts it: as `amends participant` would, and with faults where asked.

use super::fleet::Orders;
use crate::{
    exit::Exit,
    globals::Globals,
    process,
    settings::{BaseUrl, Listen, Store},
};
use amends_inventory::sweep::HttpOrders;
use amends_sdk::{
    Registering, Sagas,
    faults::{Faults, On},
};
use anyhow::{Context, bail};
use std::time::Duration;

/// How often the inventory looks for holds whose time is up.
const OVERDUE_EVERY: Duration = Duration::from_secs(1);

/// How often the order service looks for orders that nobody pays for.
const UNPAID_EVERY: Duration = Duration::from_millis(500);

/// How long a provider takes with what is pending, and how long after an order's time late money comes in.
const PENDING: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(5);

/// What undoes something, by service.
const REVERSALS: [(&str, &[&str]); 3] = [
    ("inventory", &["release", "restore"]),
    ("order", &["cancel", "refund", "refund_abort"]),
    ("payment", &["refund"]),
];

/// Serves one of them until the process is ended.
///
/// # Errors
/// When there is no such service, it cannot listen, or its database cannot be used.
pub(super) async fn serve(
    name: &str,
    place: Place<'_>,
    orders: &Orders,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let store = place.store.to_string();
    let stop = process::stop_on_signal()?;
    let (coordinator, token) =
        (globals.coordinator.to_string(), globals.token.as_ref().map(|token| token.reveal().to_owned()));
    let faults = faults(name, orders);
    let hold = Duration::from_millis(orders.hold.millis().0);
    let (participant, _following) = match name {
        "inventory" => {
            let config = amends_inventory::Config::new(store);
            let config = amends_inventory::Config { hold_for: hold, faults: Some(faults), ..config };
            let inventory = amends_inventory::open(config).await?;
            if let Some(order) = place.order {
                tokio::spawn(inventory.sweep_holds(HttpOrders::at(&order.to_string())?, OVERDUE_EVERY));
            }
            (inventory.participant().clone(), None)
        }
        "order" => {
            let config = amends_order::Config { faults, ..amends_order::Config::new(store) };
            let order = amends_order::open(config).await?;
            let sagas = Sagas::at(&coordinator, token.clone())?;
            tokio::spawn(order.call_off_unpaid(sagas, UNPAID_EVERY));
            (order.participant().clone(), None)
        }
        "payment" => {
            let config = amends_payment::Config { faults, ..amends_payment::Config::new(store) };
            let behaviour = amends_payment::Behaviour::default().taking(PENDING, hold + LATE);
            (amends_payment::open(config, behaviour).await?.participant().clone(), None)
        }
        "product" => {
            let product = amends_product::open(amends_product::Config::new(store)).await?;
            let inventory = place.inventory.map(ToString::to_string);
            let following = inventory.map(|inventory| product.follow(&inventory)).transpose()?;
            (product.participant().clone(), following)
        }
        other => bail!("the shop has no service \"{other}\""),
    };
    let listener = process::listen(place.listen).await?;
    process::announce(listener.local_addr()?);
    let registering = Registering { coordinator, token, advertise: None };
    amends_sdk::run(&participant, listener, Some(registering), stop).await.context("the service stopped")?;
    Ok(Exit::Done)
}

/// Where a service is and whom it listens to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) listen: Listen,
    pub(super) store: &'a Store,
    /// The order service that the inventory asks about holds whose time is up.
    pub(super) order: Option<&'a BaseUrl>,
    /// The inventory whose changes the catalogue follows.
    pub(super) inventory: Option<&'a BaseUrl>,
}

/// Of the calls that undo something, half of the share fails before anything is done, and half loses its answer.
fn faults(name: &str, orders: &Orders) -> Faults {
    let faults = Faults::new();
    let share = orders.reversals_fail / 200.0;
    if share > 0.0 {
        for operation in REVERSALS.iter().filter(|(service, _)| *service == name).flat_map(|(_, all)| *all) {
            faults.fail_some(operation, On::Compensations, share, orders.seed);
            faults.lose_answers(operation, On::Compensations, share, orders.seed.wrapping_add(1));
        }
    }
    faults
}
