//! A checkout flow: an order is started, followed event by event, paid, and its outcome told to the customer. Then the
//! customer changes their mind, and the completed order is undone.
//!
//! ```sh
//! amends demo --listen 127.0.0.1:7070          # a coordinator and a shop; in another terminal:
//! cargo run -p amends-client --example checkout
//! ```
//!
//! `AMENDS_COORDINATOR` names another coordinator, or several of them with commas between.

use amends_client::{Client, Detail, Error, SagaView, Signal, Start, Started, Status};
use futures::StreamExt;
use serde_json::json;
use std::{pin::pin, time::Duration};

/// How long the customer waits for each outcome.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let urls = std::env::var("AMENDS_COORDINATOR").unwrap_or_else(|_| "http://127.0.0.1:7070".to_owned());
    let client = urls.split(',').fold(Client::builder(), |builder, url| builder.coordinator(url)).build()?;

    // In a shop this is the number of the order: whoever places it again, even after a crash, gets the same saga.
    let order = format!("example-{}", std::process::id());
    let Some(started) = place(&client, &order).await? else { return Ok(()) };
    println!("order {order} is saga {}", started.saga.id);

    // The saga waits for the payment in one of its steps, or will; a signal may come early.
    let payment = Signal::of("payment").id(format!("{order}-card")).payload(&json!({ "paid_with": "card" }));
    client.signal(started.saga.id, &payment).await?;

    let journal = client.follow(started.saga.id, 0);
    let mut journal = pin!(journal);
    while let Some(event) = journal.next().await {
        let event = event?;
        let step = event.step.as_ref().map(|step| format!(" {step}")).unwrap_or_default();
        println!("  {:>2} {}{step}", event.seq, event.kind);
    }

    let saga = client.wait_end(started.saga.id, PATIENCE).await?;
    tell(&saga);
    if saga.status == Status::Completed {
        undo(&client, &saga).await?;
    }
    Ok(())
}

/// Places the order; `None` when it cannot be placed, which the customer is told.
async fn place(client: &Client, order: &str) -> anyhow::Result<Option<Started>> {
    let cart = json!({
        "order": order, "customer": "Ada", "currency": "EUR",
        "lines": [{ "sku": 1, "qty": 1 }, { "sku": 6, "qty": 2 }],
    });
    match client.start(Start::of("checkout").input(&cart).key(order).label("order", order)).await {
        Ok(started) => Ok(Some(started)),
        Err(Error::Problem(problem)) => match &problem.detail {
            Detail::Misfits(misfits) => {
                println!("the cart does not fit: {misfits:?}");
                Ok(None)
            }
            Detail::KeyReused { saga } => {
                println!("order {order} was placed with another cart: saga {saga}");
                Ok(None)
            }
            _ => Err(problem.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Undoes a completed order: the money goes back, the order is cancelled, the stock returns to the shelf.
async fn undo(client: &Client, saga: &SagaView) -> anyhow::Result<()> {
    client.revert(saga.id, Some("the customer changed their mind")).await?;
    match client.wait_end(saga.id, PATIENCE).await {
        Ok(saga) => tell(&saga),
        // It goes on without us; somebody may have to look at what is stuck.
        Err(Error::Timeout { known: Some(saga), .. }) => tell(&saga),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn tell(saga: &SagaView) {
    match saga.status {
        Status::Completed => println!("thank you: {}", saga.output.as_deref().unwrap_or_default()),
        Status::Compensated => {
            let why = saga.error.as_ref().map_or("it was undone", |error| error.message.as_str());
            println!("nothing is owed and nothing is held: {why}");
        }
        Status::Repair => println!("a step waits for an operator: {} items", saga.repairs.len()),
        Status::Running | Status::Compensating | Status::Abandoned => {
            println!("it is {}", saga.status.as_str())
        }
    }
}
