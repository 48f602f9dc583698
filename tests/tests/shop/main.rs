//! The sagas of a shop over its four services: a coordinator, inventory, order, product and payment in one process, each
//! on a database file of its own, speaking HTTP to each other. What only this test can show is that the definitions in
//! `sagas/` and the services fit.

mod races;
mod world;

use amends_client::{Signal, Start, Status};
use amends_sdk::faults::On;
use serde_json::{Value, json};
use std::time::Duration;
use world::{Pace, World};

fn cart(order: &str, mode: &str) -> Value {
    json!({ "order": order, "mode": mode, "lines": [{ "sku": 1, "qty": 2 }, { "sku": 2, "qty": 1 }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_however_the_provider_answers() {
    let world = World::start(20).await;
    for mode in ["at_once", "callback", "double_callback", "poll"] {
        let saga = world.run("place-and-pay", &cart(mode, mode)).await;
        assert_eq!(saga.status, Status::Completed, "{mode}: {:?}", saga.error);
        assert_eq!(world.order(mode).await["state"], "paid", "{mode}");
        assert_eq!(world.payment(mode).await["state"], "paid", "{mode}");
    }
    for mode in ["declined", "declined_later"] {
        let saga = world.run("place-and-pay", &cart(mode, mode)).await;
        assert_eq!(saga.status, Status::Compensated, "{mode}: {saga:?}");
        assert_eq!(world.order(mode).await["state"], "cancelled", "{mode}");
    }
    assert_eq!(world.usable(1).await, 20 - 4 * 2, "what was declined is back on the shelf");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t4_who_paid_for_goods_that_are_gone_gets_the_money_back() {
    let world = World::start(3).await;
    let sagas = ["A", "B", "C"].map(|order| (order, cart(order, "callback")));
    let ran =
        futures::future::join_all(sagas.iter().map(|(_, cart)| world.run("charge-then-deduct", cart))).await;
    let paid = ran.iter().filter(|saga| saga.status == Status::Completed).count();
    assert_eq!(paid, 1, "there are three of SKU 1, and each wants two");
    for ((order, _), saga) in sagas.iter().zip(&ran) {
        let (state, money) = match saga.status {
            Status::Completed => ("paid", "paid"),
            _ => ("cancelled", "refunded"),
        };
        assert_eq!(world.order(order).await["state"], state, "{order}");
        assert_eq!(world.payment(order).await["state"], money, "{order}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_and_goods_go_back_in_parts_and_never_too_much() {
    let world = World::start(10).await;
    world.completes("place-and-pay", &cart("A", "at_once")).await;
    let part = |refund: &str, sku: i64| json!({ "order": "A", "refund": refund, "lines": [{ "sku": sku, "qty": 1 }] });
    let wanted = [part("R-1", 1), part("R-2", 1), part("R-3", 1), part("R-4", 2), part("R-5", 2)];
    let ran = futures::future::join_all(wanted.iter().map(|input| world.run("refund-in-parts", input))).await;
    let done = ran.iter().filter(|saga| saga.status == Status::Completed).count();
    assert_eq!(done, 3, "two of SKU 1 and one of SKU 2 were bought");
    let (order, payment) = (world.order("A").await, world.payment("A").await);
    assert_eq!((&order["state"], &payment["state"]), (&json!("refunded"), &json!("refunded")));
    assert_eq!(order["refunded_minor"], payment["refunded_minor"]);
    assert_eq!((world.usable(1).await, world.usable(2).await), (10, 10));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_a_paid_order_is_cancelled_and_after_shipping_nothing_is_given_back() {
    let world = World::start(10).await;
    world.completes("place-and-pay", &cart("A", "callback")).await;
    world.completes("cancel-paid", &json!({ "order": "A" })).await;
    assert_eq!(world.order("A").await["state"], "cancelled");
    assert_eq!((&world.payment("A").await["state"], world.usable(1).await), (&json!("refunded"), 10));

    world.completes("place-and-pay", &cart("B", "poll")).await;
    let ship = |number: &str, sku: i64, qty: i64| json!({ "order": "B", "shipment": number, "lines": [{ "sku": sku, "qty": qty }] });
    world.completes("ship-parts", &ship("S-1", 1, 1)).await;
    assert_eq!(world.order("B").await["state"], "part_shipped");
    let refund = json!({ "order": "B", "refund": "R-9", "lines": [{ "sku": 1, "qty": 2 }] });
    assert_eq!(world.run("refund-in-parts", &refund).await.status, Status::Compensated);
    assert_eq!(world.run("cancel-paid", &json!({ "order": "B" })).await.status, Status::Compensated);
    assert_eq!(world.run("ship-parts", &ship("S-1", 1, 1)).await.status, Status::Compensated, "it has left");
    world.completes("ship-parts", &ship("S-2", 1, 1)).await;
    world.completes("ship-parts", &ship("S-3", 2, 1)).await;
    assert_eq!((&world.order("B").await["state"], world.usable(1).await), (&json!("shipped"), 8));
    assert_eq!(world.payment("B").await["state"], "paid");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_before_it_leaves_is_given_back_and_the_order_is_shipped() {
    let world = World::start(10).await;
    world.completes("place-and-pay", &cart("A", "at_once")).await;
    let first = json!({ "order": "A", "shipment": "S-1", "lines": [{ "sku": 1, "qty": 1 }] });
    world.completes("ship-parts", &first).await;
    let lines = json!([{ "sku": 1, "qty": 1 }, { "sku": 2, "qty": 1 }]);
    world.completes("refund-in-parts", &json!({ "order": "A", "refund": "R-1", "lines": lines })).await;
    let (order, payment) = (world.order("A").await, world.payment("A").await);
    assert_eq!((&order["state"], &order["refunded_minor"]), (&json!("shipped"), &json!(1250)), "{order}");
    assert_eq!((&payment["state"], &payment["refunded_minor"]), (&json!("part_refunded"), &json!(1250)));
    assert_eq!(
        (world.usable(1).await, world.usable(2).await),
        (9, 10),
        "one piece has left, the others are back"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_that_would_leave_the_money_where_it_is_is_refused() {
    let world = World::start(10).await;
    world.completes("place-and-pay", &cart("A", "at_once")).await;
    let part = json!({ "order": "A", "refund": "R-1", "lines": [{ "sku": 1, "qty": 1 }] });
    assert_eq!(world.run("cancel-order", &json!({ "order": "A" })).await.status, Status::Compensated);
    assert_eq!(world.run("refund", &part).await.status, Status::Compensated);
    assert_eq!(
        (&world.order("A").await["state"], world.usable(1).await),
        (&json!("paid"), 8),
        "nothing has changed"
    );
    world.completes("cancel-paid", &json!({ "order": "A" })).await;
    assert_eq!(world.payment("A").await["state"], "refunded");

    let by_signal = json!({ "order": "B", "lines": [{ "sku": 1, "qty": 1 }] });
    let saga = world.start_saga("checkout", &by_signal).await;
    world
        .client
        .signal(saga, &Signal::of("payment").payload(&json!({ "paid": true })))
        .await
        .expect("it is taken");
    let ended = world.client.wait_end(saga, world::PATIENCE).await.expect("it ends");
    assert_eq!(ended.status, Status::Completed, "{:?}", ended.error);
    assert_eq!(world.run("cancel-paid", &json!({ "order": "B" })).await.status, Status::Compensated);
    assert_eq!(
        world.order("B").await["state"],
        "paid",
        "nothing has changed, and nothing waits for a person"
    );
    world.completes("cancel-order", &json!({ "order": "B" })).await;
    world.quiet().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_free_is_sold_and_comes_back_last() {
    let world = World::start(10).await;
    let free = json!({ "order": "gift", "lines": [{ "sku": 3, "qty": 1 }] });
    world.completes("place-and-pay", &free).await;
    world.completes("cancel-paid", &json!({ "order": "gift" })).await;
    let both = json!({ "order": "A", "lines": [{ "sku": 1, "qty": 1 }, { "sku": 3, "qty": 1 }] });
    world.completes("place-and-pay", &both).await;
    let part = |refund: &str, sku: i64| json!({ "order": "A", "refund": refund, "lines": [{ "sku": sku, "qty": 1 }] });
    world.completes("refund-in-parts", &part("R-1", 1)).await;
    assert_eq!(world.payment("A").await["state"], "refunded");
    world.completes("refund-in-parts", &part("R-2", 3)).await;
    assert_eq!((&world.order("A").await["state"], world.usable(3).await), (&json!("refunded"), 10));
    world.quiet().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_pays_for_is_called_off_and_its_stock_released() {
    let world = World::start(10).await;
    let hurried = world.hurried("place-and-pay", &[("pay_within_s: 900", "pay_within_s: 1")]).await;
    let waiting = world.start_saga(&hurried, &cart("A", "never")).await;
    world
        .until(|| async { world.order("A").await["state"] == "cancelled" && world.usable(1).await == 10 })
        .await;
    assert_eq!(world.payment("A").await["state"], "pending", "the provider is still at it");
    world.client.cancel(waiting, None).await.expect("it is cancelled");
    let ended = world.client.wait_end(waiting, world::PATIENCE).await.expect("it ends");
    assert_eq!(ended.status, Status::Compensated);
    assert_eq!(world.payment("A").await["state"], "void");

    let saga = world.run("call-off", &json!({ "order": "A" })).await;
    assert_eq!(saga.status, Status::Compensated, "it is called off already");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_after_its_goods_were_held_is_not_placed() {
    let pace = Pace { hold: Duration::from_millis(300), ..Pace::CALM };
    let world = World::at(pace, 10).await;
    world.order_faults.delay("create", On::Actions, Duration::from_millis(900));
    for (order, saga) in [("A", "place-and-pay"), ("B", "checkout")] {
        let input = json!({ "order": order, "lines": [{ "sku": 1, "qty": 2 }] });
        let ended = world.run(saga, &input).await;
        assert_eq!(ended.status, Status::Compensated, "{saga}: {ended:?}");
        assert!(format!("{:?}", ended.error).contains("which has passed"), "{saga}: {:?}", ended.error);
        assert_eq!(world.order(order).await["status"], 404, "{saga}");
    }
    assert_eq!(world.usable(1).await, 10);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_flash_sale_keeps_to_its_stock_and_to_each_customers_share() {
    let world = World::start(10).await;
    world.activity(7, 2, 3).await;
    let buy = |order: &str, customer: &str, token: Option<&str>| json!({ "order": order, "customer": customer, "token": token, "activity": 7, "sku": 1, "qty": 2 });
    let token = world.token("ada").await;
    let mut first = buy("A", "ada", Some(&token));
    world.completes("flash-sale", &first).await;
    first["order"] = json!("A-again");
    assert_eq!(world.run("flash-sale", &first).await.status, Status::Compensated, "ada has had her share");
    let mut second = buy("B", "bob", None);
    second.as_object_mut().expect("an object").remove("token");
    assert_eq!(
        world.run("flash-sale", &second).await.status,
        Status::Compensated,
        "one is left, bob wants two"
    );
    second["qty"] = json!(1);
    second["order"] = json!("C");
    world.completes("flash-sale", &second).await;
    assert_eq!(world.payment("C").await["amount_minor"], 1000, "the catalogue says what one costs");
    let mut cheap = buy("D", "eve", None);
    cheap.as_object_mut().expect("an object").remove("token");
    cheap["price_minor"] = json!(1);
    let start = Start::of("flash-sale").input(&cheap);
    assert!(world.client.start(start).await.is_err(), "a price is not the customer's to say");
    assert_eq!(world.usable(1).await, 7, "ordinary stock is what it was when the sale began");
    world.end().await;
}
