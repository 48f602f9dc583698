//! Inventory's change feed and the catalogue that follows it, each with its own database, over real HTTP.
//!
//! Between them stands a proxy that loses answers, cuts them, delays them and tells old ones again. Whatever it does, the
//! catalogue shows in the end what inventory has, and never stops to.

mod world;

use std::time::{Duration, Instant};

use amends_tests::random::Random;
use world::{Catalogue, Line, Stock, agree};

/// SKUs of the small worlds.
const SKUS: i64 = 40;

/// The opening stock of the small worlds.
fn opening() -> Vec<(i64, i64)> {
    (1..=SKUS).map(|sku| (sku, 5 * sku)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y2_whatever_happens_on_the_way_availability_and_stock_agree_in_the_end() {
    for seed in 1..=6 {
        let mut random = Random::new(seed);
        let stock = Stock::open(&opening()).await;
        let line = Line::to(&stock.url, seed).await;
        let mut catalogue = Catalogue::open(SKUS).await;
        let mut following = Some(catalogue.follow(&line.url));
        for turn in 0..250 {
            stock.change(&mut random, turn, SKUS).await;
            match random.below(40) {
                // Stopped, killed and started again, with the database as it is.
                0 => drop(following.take()),
                1 => {
                    catalogue = catalogue.reopened().await;
                    following = Some(catalogue.follow(&line.url));
                }
                _ if following.is_none() && random.chance(300) => {
                    following = Some(catalogue.follow(&line.url));
                }
                _ if random.chance(200) => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => {}
            }
        }
        line.behave();
        following.get_or_insert_with(|| catalogue.follow(&line.url));
        agree(&stock, &catalogue, SKUS, &format!("seed {seed}")).await;
        let (asked, spoilt) = line.figures();
        assert!(spoilt > 5, "seed {seed}: the line was bad {spoilt} times in {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn y2_a_catalogue_that_was_stopped_for_ten_thousand_changes_is_equal_soon_after_it_starts() {
    let skus = 500;
    let stock = Stock::open(&(1..=skus).map(|sku| (sku, 1)).collect::<Vec<_>>()).await;
    let catalogue = Catalogue::open(skus).await;
    let following = catalogue.follow(&stock.url);
    agree(&stock, &catalogue, skus, "before").await;
    following.stop().await;
    let head = stock.head().await;
    for round in 1..=20 {
        let lines: Vec<(i64, i64)> = (1..=skus).map(|sku| (sku, (sku + round) % 7 + 1)).collect();
        stock.replenish(&format!("round-{round}"), &lines).await;
    }
    assert_eq!(stock.head().await - head, 10_000);
    let catalogue = catalogue.reopened().await;
    let began = Instant::now();
    let _following = catalogue.follow(&stock.url);
    agree(&stock, &catalogue, skus, "after").await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    // It went on from its cursor and did not begin anew.
    assert_eq!(catalogue.figure("amends_product_feed_restarts_total").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_inventory_at_the_same_place_replaces_what_was_known() {
    let catalogue = Catalogue::open(SKUS).await;
    let first = Stock::open(&opening()).await;
    let line = Line::to(&first.url, 0).await;
    line.behave();
    let following = catalogue.follow(&line.url);
    agree(&first, &catalogue, SKUS, "the first").await;
    // One with fewer flows, and one with more.
    let second = Stock::open(&[(3, 7)]).await;
    line.redirect(&second.url);
    agree(&second, &catalogue, SKUS, "the second").await;
    let third = Stock::open(&opening()).await;
    third.replenish("more", &opening()).await;
    line.redirect(&third.url);
    agree(&third, &catalogue, SKUS, "the third").await;
    assert_eq!(catalogue.figure("amends_product_feed_restarts_total").await, Some(3.0));
    following.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_is_told_while_it_lasts_and_gone_when_it_is_made_good() {
    let stock = Stock::open(&opening()).await;
    let line = Line::to(&stock.url, 0).await;
    line.behave();
    let catalogue = Catalogue::open(SKUS).await;
    assert_eq!(catalogue.figure("amends_product_feed_lag_flows").await, None, "nothing is followed yet");
    let _following = catalogue.follow(&line.url);
    agree(&stock, &catalogue, SKUS, "before").await;
    line.cut();
    stock.replenish("while it is cut", &opening()).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let known = catalogue.figure("amends_product_feed_known_seconds").await.expect("it follows");
    assert!(known >= 1.0, "everything was known {known} s ago");
    assert!(catalogue.figure("amends_product_feed_failures_total").await > Some(0.0));
    line.behave();
    agree(&stock, &catalogue, SKUS, "after").await;
    let late = catalogue.figure("amends_product_feed_lag_seconds").await.expect("it follows");
    let known = catalogue.figure("amends_product_feed_known_seconds").await.expect("it follows");
    assert_eq!(catalogue.figure("amends_product_feed_lag_flows").await, Some(0.0));
    assert!(known < 6.0, "everything was known {known} s ago, the last change came after {late} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_wait_do_not_hold_up_the_stop_of_inventory() {
    let stock = Stock::open(&opening()).await;
    let catalogue = Catalogue::open(SKUS).await;
    let _following = catalogue.follow(&stock.url);
    agree(&stock, &catalogue, SKUS, "before").await;
    let stream =
        reqwest::Client::new().get(format!("{}/feed", stock.url)).header("accept", "text/event-stream");
    let stream = stream.send().await.expect("a stream");
    let began = Instant::now();
    stock.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    let said = stream.text().await.expect("a stream that ended");
    assert!(said.contains("event: head"), "{said}");
}
