//! Races over the real services: a time-out, a customer who calls off, a sweep and a payment meet at the same order, and
//! afterwards those who want a paid order cancelled, refunded and shipped. In each exactly one wins, by one update of the
//! order's row; whoever loses undoes what it did by itself. Nothing is oversold, nothing lost, and nobody has to be asked.
//!
//! The table of who wins and how it ends is in `sagas/README.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_client::wire::api::SagaView;
use amends_client::{Signal, Start, Status};
use amends_sdk::faults::On;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{PATIENCE, Pace, World};

/// Orders in each race.
const ORDERS: u64 = 240;

/// How long an order may wait for its payment.
const HOLD: Duration = Duration::from_millis(1_000);

/// Orders that begin one after the other, so that a race is one of time and not of load.
const APART: Duration = Duration::from_millis(5);

/// A second to pay, and money that comes in so many milliseconds after it was asked for as the customer is called.
const LATE: [(&str, &str); 2] = [
    ("pay_within_s: 900", "pay_within_s: 1"),
    (
        "mode: \"${{ input.mode | default(none) }}\"",
        "mode: late\n        delay_ms: \"${{ input.customer | int }}\"",
    ),
];

fn hurried() -> Pace {
    Pace { hold: HOLD, late: HOLD, look: Duration::from_millis(20) }
}

/// A number that looks drawn and follows from two others.
fn drawn(seed: u64, at: u64) -> u64 {
    let mixed = (seed << 32 | at).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// Moments around the end of an order's time: most of them within a few milliseconds of it.
fn moment(seed: u64, at: u64) -> Duration {
    let spread = if at.is_multiple_of(4) { 400 } else { 60 };
    HOLD + Duration::from_millis(drawn(seed, at) % (2 * spread)) - Duration::from_millis(spread)
}

fn cart(order: &str) -> Value {
    json!({ "order": order, "lines": [{ "sku": 1, "qty": 2 }, { "sku": 2, "qty": 1 }] })
}

/// Makes the step between confirmed and paid last, so that others fall into it.
fn widen(world: &World) {
    world.order_faults.delay("pay", On::Actions, Duration::from_millis(15));
    world.inventory_faults.delay("confirm", On::Actions, Duration::from_millis(5));
}

/// Runs a saga for each order, one beginning shortly after the other, and `beside` next to each of them.
async fn race<F: Future<Output = ()>>(
    world: &World,
    definition: &str,
    beside: impl Fn(u64, String, amends_client::SagaId) -> F,
) -> Vec<SagaView> {
    let beside = &beside;
    let one = |at: u64| async move {
        sleep(APART * u32::try_from(at).expect("a few")).await;
        let order = format!("A-{at}");
        let mut input = cart(&order);
        if definition != "checkout" {
            input["customer"] = json!(moment(4, at).as_millis().to_string());
        }
        let id = world.start_saga(definition, &input).await;
        beside(at, order, id).await;
        world.client.wait_end(id, PATIENCE).await.expect("it ends")
    };
    join_all((0..ORDERS).map(one)).await
}

async fn pay(world: &World, id: amends_client::SagaId) {
    // When the saga has turned round already, the customer is told so.
    let _ = world.client.signal(id, &Signal::of("payment").payload(&json!({ "receipt": "R" }))).await;
}

/// Checks that each order has one end, in all the books, and nothing waits for a person.
async fn settled(world: World, sagas: &[SagaView], stock: i64) {
    world.quiet().await;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, saga) in sagas.iter().enumerate() {
        let order = world.order(&format!("A-{at}")).await;
        let state = order["state"].as_str().unwrap_or("none").to_owned();
        match saga.status {
            Status::Completed => {
                assert_eq!(state, "paid", "A-{at}");
                *ends.entry("paid").or_default() += 1;
            }
            Status::Compensated => {
                assert!(
                    ["cancelled", "none"].contains(&state.as_str()),
                    "A-{at} is {state}: {:?}",
                    saga.error
                );
                let step = saga.error.as_ref().and_then(|error| error.step.as_ref());
                let at = step.map_or("nowhere", |step| match step.as_str() {
                    "confirm" => "at confirm",
                    "paid" | "pay" => "at paid",
                    _ => "before",
                });
                *ends.entry(at).or_default() += 1;
            }
            other => panic!("A-{at} is {other:?}: {saga:?}"),
        }
        if !world.payment(&format!("A-{at}")).await["state"].is_null() {
            let money = world.payment(&format!("A-{at}")).await["state"].clone();
            let expected: &[&str] =
                if state == "paid" { &["paid"] } else { &["refunded", "void", "declined"] };
            assert!(expected.iter().any(|state| money == *state), "A-{at} is {state} and its money {money}");
        }
    }
    let paid = i64::try_from(ends.get("paid").copied().unwrap_or_default()).expect("a few");
    println!("{ends:?}");
    // Who wins how often is the machine's affair: a slow one may let the same side win every time.
    assert_eq!((world.usable(1).await, world.usable(2).await), (stock - 2 * paid, stock - paid), "{ends:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_is_paid_while_its_time_ends_has_one_winner_and_parks_nothing() {
    let world = World::at(hurried(), 1_000).await;
    widen(&world);
    let sagas = race(&world, "checkout", |at, _, id| {
        let world = &world;
        async move {
            sleep(moment(1, at)).await;
            pay(world, id).await;
        }
    })
    .await;
    settled(world, &sagas, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_and_the_end_of_an_orders_time_have_one_winner_and_park_nothing() {
    let world = World::at(hurried(), 1_000).await;
    widen(&world);
    let hurried = world.hurried("place-and-pay", &LATE).await;
    let sagas = race(&world, &hurried, |_, _, _| async {}).await;
    settled(world, &sagas, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_taken_at_payment_and_the_end_of_an_orders_time_have_one_winner_and_park_nothing() {
    let world = World::at(hurried(), 1_000).await;
    widen(&world);
    let hurried = world.hurried("charge-then-deduct", &LATE).await;
    let sagas = race(&world, &hurried, |_, _, _| async {}).await;
    settled(world, &sagas, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_calls_off_while_paying_has_one_end_and_parks_nothing() {
    let world = World::start(1_000).await;
    widen(&world);
    let sagas = race(&world, "checkout", |at, order, id| {
        let world = &world;
        async move {
            let early = Duration::from_millis(20 + drawn(2, at) % 60);
            let off = async {
                sleep(early).await;
                world.run("call-off", &json!({ "order": order })).await;
            };
            let paying = async {
                sleep(Duration::from_millis(20 + drawn(3, at) % 60)).await;
                pay(world, id).await;
            };
            tokio::join!(off, paying);
            // Whoever has called off before there was an order pays; whoever came too late has paid.
            pay(world, id).await;
        }
    })
    .await;
    settled(world, &sagas, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_that_is_cancelled_refunded_and_shipped_at_once_parks_nothing() {
    let world = World::start(1_000).await;
    let mut wanted = Vec::new();
    let orders: Vec<String> = (0..60).map(|at| format!("A-{at}")).collect();
    for order in &orders {
        let mut paid = cart(order);
        paid["mode"] = json!("at_once");
        world.completes("place-and-pay", &paid).await;
    }
    for (at, order) in (0..).zip(&orders) {
        let part = |sku: u64| json!([{ "sku": sku, "qty": 1 }]);
        let refund = |number: u64, sku: u64| json!({ "order": order, "refund": format!("{order}-R{number}"), "lines": part(sku) });
        let mut here = vec![
            ("refund-in-parts", refund(1, 1)),
            ("refund-in-parts", refund(1, 1)),
            ("refund-in-parts", refund(2, 2)),
            ("cancel-paid", json!({ "order": order })),
            ("ship-parts", json!({ "order": order, "shipment": format!("{order}-S"), "lines": part(1) })),
            ("call-off", json!({ "order": order })),
            ("ship", json!({ "order": order })),
        ];
        for place in 0..here.len() {
            let other = usize::try_from(drawn(at, place as u64)).expect("small") % here.len();
            here.swap(place, other);
        }
        wanted.extend(here);
    }
    let run = |(at, (definition, input)): (usize, (&'static str, Value))| {
        let world = &world;
        async move {
            sleep(APART * u32::try_from(at / 7).expect("a few")).await;
            let started = world.client.start(Start::of(definition).input(&input)).await.expect("it starts");
            (definition, started.saga.id)
        }
    };
    let started = join_all(wanted.into_iter().enumerate().map(run)).await;
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for (definition, id) in started {
        // Goods that have left are on their way for days; that they have arrived ends it.
        let _ = world.client.signal(id, &Signal::of("delivered").payload(&json!({}))).await;
        let saga = world.client.wait_end(id, PATIENCE).await.expect("it ends");
        assert!([Status::Completed, Status::Compensated].contains(&saga.status), "{definition}: {saga:?}");
        *done.entry(definition).or_default() += usize::from(saga.status == Status::Completed);
    }
    println!("{done:?}");
    world.quiet().await;
    for order in &orders {
        let (seen, money) = (world.order(order).await, world.payment(order).await);
        let state = seen["state"].as_str().expect("a state");
        let all_ends = ["paid", "part_refunded", "cancelled", "part_shipped", "shipped", "done", "refunded"];
        assert!(all_ends.contains(&state), "{order} is {state}");
        assert_eq!(seen["refunded_minor"], money["refunded_minor"], "{order} is {state}");
    }
    world.end().await;
}
