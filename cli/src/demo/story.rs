//! One cart from its start to its end, and what came of it.

use super::carts::{Cart, Plot, REVERSALS_FAIL};
use crate::{
    client::{Client, Start},
    embedded::Embedded,
};
use amends_saga::{SagaId, Status};
use amends_sdk::faults::On;
use amends_wire::api::{JournalItem, List, RepairReason, RepairView, SagaView, StepStatus};
use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// How long a cart may take to come to where it is expected.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a cart.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// The cart.
    pub(super) name: &'static str,
    /// Its saga.
    pub(super) id: SagaId,
    /// What was done with it.
    pub(super) plot: Plot,
    /// What was in it.
    pub(super) cart: String,
    /// How its saga ended.
    pub(super) status: Status,
    /// How it was to end.
    pub(super) expected: Status,
    /// Whether it ended so, for the reason it should.
    pub(super) as_expected: bool,
    /// Attempts of actions.
    pub(super) action_attempts: u32,
    /// Attempts of compensations.
    pub(super) compensation_attempts: u32,
    /// Attempts of compensations that failed.
    pub(super) failed_reversals: usize,
    /// Why it turned round.
    pub(super) error: Option<String>,
    /// From its start to its end, in milliseconds.
    pub(super) ms: i64,
    /// What happened, in a few words.
    pub(super) happened: String,
    /// What that shows, in a sentence.
    pub(super) explanation: String,
}

/// Runs a cart to its end.
pub(super) async fn run(embedded: &Embedded, cart: &'static Cart) -> anyhow::Result<Told> {
    let client = &embedded.client;
    let mut repeated_is_same = true;
    if cart.plot == Plot::ReversalFails {
        embedded.order_faults.fail_next("create", On::Actions, 1, 409);
        embedded.inventory_faults.fail_next_compensations("release", REVERSALS_FAIL);
    }
    if cart.plot == Plot::Repaired {
        embedded.order_faults.fail_next("create", On::Actions, 1, 409);
        embedded.inventory_faults.fail_next("release", On::Compensations, 1, 409);
    }
    let (_, id) = start(client, cart).await?;
    let mut repaired = None;
    match cart.plot {
        Plot::Paid => pay(client, id, cart).await?,
        Plot::PaidAndRepeated => {
            let (status, again) = start(client, cart).await?;
            repeated_is_same = status == StatusCode::OK && again == id;
            pay(client, id, cart).await?;
        }
        Plot::Cancelled => {
            await_payment_step(client, id).await?;
            client.cancel::<SagaView>(id, Some("the customer changed their mind")).await?;
        }
        Plot::Repaired => repaired = Some(repair(client, id).await?),
        Plot::OutOfStock | Plot::ReversalFails => {}
    }
    let saga: SagaView = client.saga(id, Some(PATIENCE)).await?;
    let failed_reversals = failed_reversals(client, id).await?;
    let as_asked =
        repeated_is_same && repaired.as_ref().is_none_or(|item| item.reason == RepairReason::Refused);
    Ok(tell(cart, &saga, failed_reversals, as_asked))
}

/// Does what an operator does: finds the saga's item in the queue and has it tried again.
async fn repair(client: &Client, id: SagaId) -> anyhow::Result<RepairView> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let page: List<RepairView> = client.get("/v1/repairs", &[("saga", id.to_string())]).await?;
        if let Some(item) = page.items.into_iter().next() {
            let body = serde_json::json!({ "by": "demo", "note": "the warehouse has found the parcel" });
            let path = format!("/v1/repairs/{}/retry", item.id);
            let (_, item) = client.post::<RepairView>(&path, &body).await?;
            return Ok(item);
        }
        if tokio::time::Instant::now() > until {
            bail!("saga {id} opened no repair item within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn start(client: &Client, cart: &Cart) -> anyhow::Result<(StatusCode, SagaId)> {
    let input = RawValue::from_string(cart.input().to_string())?;
    let labels = [("order".to_owned(), cart.name.to_owned())].into();
    let start = Start { definition: "checkout", input: &input, key: Some(cart.name), labels };
    let (status, saga) = client.start::<SagaView>(&start, None).await?;
    Ok((status, saga.id))
}

/// Pays: the signal that the saga waits for, or will.
async fn pay(client: &Client, id: SagaId, cart: &Cart) -> anyhow::Result<()> {
    let payload =
        serde_json::json!({ "receipt": format!("R-{}", cart.name), "amount_minor": cart.total_minor() });
    let payload = RawValue::from_string(payload.to_string())?;
    client.signal::<SagaView>(id, "payment", Some(cart.name), &payload).await.context("the payment")?;
    Ok(())
}

/// Waits until the order is placed and only the payment is missing.
async fn await_payment_step(client: &Client, id: SagaId) -> anyhow::Result<()> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let saga: SagaView = client.saga(id, None).await?;
        let waits = saga.steps.iter().flatten().any(|step| step.status == StepStatus::Waiting);
        if waits || saga.ended_at.is_some() {
            return Ok(());
        }
        if tokio::time::Instant::now() > until {
            bail!("saga {id} did not come to its payment within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts the attempts of compensations that failed, in the saga's journal.
async fn failed_reversals(client: &Client, id: SagaId) -> anyhow::Result<usize> {
    let path = format!("/v1/sagas/{id}/journal");
    let journal: List<JournalItem> = client.get(&path, &[("limit", "500".to_owned())]).await?;
    let failed = |item: &&JournalItem| {
        item.kind == "call_failed" && item.rest.get("op").and_then(|op| op.as_str()) == Some("compensation")
    };
    Ok(journal.items.iter().filter(failed).count())
}

fn tell(cart: &Cart, saga: &SagaView, failed_reversals: usize, as_asked: bool) -> Told {
    let steps = || saga.steps.iter().flatten();
    let attempts = |op: Option<&amends_wire::api::OpView>| op.map_or(0, |op| op.attempts);
    let stopped_at = saga.error.as_ref().and_then(|error| error.step.as_ref()).map(ToString::to_string);
    let (expected, stops_at) = match cart.plot {
        Plot::Paid | Plot::PaidAndRepeated => (Status::Completed, None),
        Plot::OutOfStock => (Status::Compensated, Some("reserve")),
        Plot::ReversalFails | Plot::Repaired => (Status::Compensated, Some("order")),
        Plot::Cancelled => (Status::Compensated, None),
    };
    let reversals_expected = if cart.plot == Plot::ReversalFails { REVERSALS_FAIL as usize } else { 0 };
    let (happened, explanation) = words(cart);
    Told {
        name: cart.name,
        id: saga.id,
        plot: cart.plot,
        cart: cart.content(),
        status: saga.status,
        expected,
        as_expected: saga.status == expected
            && stopped_at.as_deref() == stops_at
            && failed_reversals == reversals_expected
            && as_asked,
        action_attempts: steps().map(|step| attempts(step.action.as_ref())).sum(),
        compensation_attempts: steps().map(|step| attempts(step.compensation.as_ref())).sum(),
        failed_reversals,
        error: saga.error.as_ref().map(|error| error.message.clone()),
        ms: saga.ended_at.map_or(0, |end| end.0.0.saturating_sub(saga.created_at.0.0)),
        happened,
        explanation,
    }
}

/// What happened to a cart, and what that shows.
fn words(cart: &Cart) -> (String, String) {
    let price = cart.price();
    match cart.plot {
        Plot::Paid => (
            format!("paid {price}"),
            "its stock was held, its order placed, the payment came, and the stock is sold.".to_owned(),
        ),
        Plot::PaidAndRepeated => (
            format!("started twice, paid {price}"),
            "the second start had the same key, so it gave the same saga; nothing was sold twice.".to_owned(),
        ),
        Plot::OutOfStock => (
            "refused: out of stock".to_owned(),
            "one vase is left and two were wanted; a cart is held whole or not at all, so nothing was taken."
                .to_owned(),
        ),
        Plot::Cancelled => (
            "cancelled before paying".to_owned(),
            "the order is cancelled and then the stock released: the steps are undone in reverse.".to_owned(),
        ),
        Plot::Repaired => (
            "turned away; undoing refused, repaired".to_owned(),
            "the inventory refused to give the stock back, so a repair item opened; somebody had it tried again, and the \
             saga went on to its end."
                .to_owned(),
        ),
        Plot::ReversalFails => (
            format!("turned away; undoing failed {REVERSALS_FAIL} times"),
            format!(
                "the order service said no, and giving the stock back failed {REVERSALS_FAIL} times; Amends kept at it \
                 until it worked."
            ),
        ),
    }
}
