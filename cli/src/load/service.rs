//! One of the shop's services as the load starts it: as `amends participant` would, and with faults where asked.

use super::fleet::Orders;
use crate::{
    exit::Exit,
    globals::Globals,
    process,
    settings::{Listen, Store},
};
use amends_sdk::{
    Participant, Registering,
    faults::{Faults, On},
};
use anyhow::{Context, bail};
use std::time::Duration;

/// What undoes something, by service.
const REVERSALS: [(&str, &[&str]); 2] =
    [("inventory", &["release", "restore"]), ("order", &["cancel", "refund"])];

/// Serves one of them until the process is ended.
///
/// # Errors
/// When there is no such service, it cannot listen, or its database cannot be used.
pub(super) async fn serve(
    name: &str,
    listen: Listen,
    store: &Store,
    orders: &Orders,
    globals: &Globals,
) -> anyhow::Result<Exit> {
    let faults = faults(name, orders);
    let participant = open(name, store, orders, faults).await?;
    let listener = process::listen(listen).await?;
    let registering = Registering {
        coordinator: globals.coordinator.to_string(),
        token: globals.token.as_ref().map(|token| token.reveal().to_owned()),
        advertise: None,
    };
    let stop = process::stop_on_signal()?;
    process::announce(listener.local_addr()?);
    amends_sdk::run(&participant, listener, Some(registering), stop).await.context("the service stopped")?;
    Ok(Exit::Done)
}

async fn open(name: &str, store: &Store, orders: &Orders, faults: Faults) -> anyhow::Result<Participant> {
    let store = store.to_string();
    let participant = match name {
        "inventory" => {
            let hold_for = Duration::from_millis(orders.hold.millis().0);
            let config = amends_inventory::Config::new(store);
            let config = amends_inventory::Config { hold_for, faults: Some(faults), ..config };
            amends_inventory::open(config).await?.participant().clone()
        }
        "order" => {
            let config = amends_order::Config { faults, ..amends_order::Config::new(store) };
            amends_order::open(config).await?.participant().clone()
        }
        "product" => amends_product::open(amends_product::Config::new(store)).await?.participant().clone(),
        other => bail!("the shop has no service \"{other}\""),
    };
    Ok(participant)
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
