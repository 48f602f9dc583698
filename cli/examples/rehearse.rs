//! A team puts its own saga through everything that can go wrong, as it would in a test.
//!
//! `cargo run -p amends --example rehearse` runs all of it. In a team's own repository each of the three functions is
//! a `#[tokio::test]`, with `amends` among the dev-dependencies.

use amends::chaos::{Mix, Rehearsal, RehearsalError, Share, StubAnswer};
use amends_wire::Name;
use serde_json::json;

/// The team's definition; in a test, `include_str!("../sagas/trip.yaml")`.
const TRIP: &str = "
saga: trip
input:
  type: object
  required: [trip, nights]
  properties: { trip: { type: string }, nights: { type: integer, minimum: 1, maximum: 30 } }
steps:
  - room:   { action: hotel.book, compensation: hotel.cancel, with: { trip: \"${{ input.trip }}\", nights: \"${{ input.nights }}\" } }
  - flight: { action: airline.book, compensation: airline.cancel, with: { trip: \"${{ input.trip }}\" } }
  - charge: { action: bank.charge, compensation: bank.refund, with: { trip: \"${{ input.trip }}\", amount: \"${{ steps.room.output.price + steps.flight.output.price }}\" } }
output: { charged: \"${{ steps.charge.output.amount }}\" }
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    amends::process::install_tls();
    the_standard_faults().await?;
    a_rough_day_with_a_full_airline().await?;
    our_own_participant().await
}

/// What every saga should pass: every call repeated, every step failing, every undo repeated.
async fn the_standard_faults() -> Result<(), RehearsalError> {
    let report = Rehearsal::of(TRIP)?.standard().await?;
    println!("{report}");
    report.assert_kept();
    Ok(())
}

/// Lost, doubled and late calls, reversals that fail, and a coordinator that is killed; and some flights are full.
async fn a_rough_day_with_a_full_airline() -> Result<(), RehearsalError> {
    let rehearsal = Rehearsal::of(TRIP)?
        .input(json!({ "trip": "trip-{number}", "nights": 3 }))
        .answer("hotel.book", json!({ "price": 300 }))
        .answer_with("airline.book", |call| match call.body["trip"].as_str() {
            Some(trip) if trip.ends_with('3') => StubAnswer::Refused("the flight is full".to_owned()),
            _ => StubAnswer::Done(json!({ "price": 120 })),
        })
        .mix(Mix { undo_fails_forever: Share::per_thousand(20), ..Mix::rough() })
        .sagas(100)
        .seed(2026);
    let report = rehearsal.run().await?;
    println!("{report}");
    report.assert_kept();
    assert!(report.outcomes.compensated >= 10, "full flights were made good");
    Ok(())
}

/// The team's own participant, served in the test: here the shop's inventory stands for it. Its calls go over HTTP,
/// its barrier and its database are the real ones, and its audit is compared with the sagas.
async fn our_own_participant() -> Result<(), Box<dyn std::error::Error>> {
    const RESERVE: &str = "
saga: reserve
steps:
  - stock: { action: inventory.deduct, compensation: inventory.restore, with: { order: \"${{ saga.id }}\", lines: [{ sku: 1, qty: 1 }] } }
  - label: { action: printer.print, compensation: none, reason: a printed label hurts nobody }
";
    let dir = tempfile::tempdir()?;
    let store = format!("sqlite:{}", dir.path().join("inventory.db").display());
    let inventory = amends_inventory::open(amends_inventory::Config::new(store)).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let participant = inventory.participant().clone();
    let registration = participant.registration(&url);
    let stop = tokio_util::sync::CancellationToken::new();
    let served = stop.clone();
    let serving = tokio::spawn(async move { amends_sdk::run(&participant, listener, None, served).await });

    let delivery = json!({ "biz_no": "opening", "lines": [{ "sku": 1, "qty": 1000 }] });
    reqwest::Client::new()
        .post(format!("{url}/replenish"))
        .json(&delivery)
        .send()
        .await?
        .error_for_status()?;

    let rehearsal = Rehearsal::of(RESERVE)?
        .participant(Name::parse("inventory")?, registration)
        .mix("rough,refuse=0.2".parse()?)
        .sagas(50);
    let report = rehearsal.run().await?;
    println!("{report}");
    report.assert_kept();
    stop.cancel();
    Ok(serving.await??)
}
