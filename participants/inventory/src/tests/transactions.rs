//! How many transactions carts cost, counted where the database writes them down: in its log, in which every transaction
//! ends with a page that says so. And what a crowd of carts leaves waiting.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::*;

const LOG_HEADER: usize = 32;
const PAGE_HEADER: usize = 24;

/// The transactions in the log of a database.
fn transactions(shop: &Shop) -> usize {
    let file = shop.store.strip_prefix("sqlite:").unwrap();
    let log = std::fs::read(format!("{file}-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, &log[16..24]);
    let pages = log[LOG_HEADER..].chunks_exact(PAGE_HEADER + page);
    // What is left of a log that began anew bears another salt. The last page of a transaction says how large the database is.
    pages.take_while(|one| &one[8..16] == salt).filter(|one| one[4..8] != [0; 4]).count()
}

fn calls(first: u128, count: u128, sku: i64) -> Value {
    let call = |saga: u128| {
        let saga_id = Uuid::from_u128(saga);
        json!({"saga": saga_id, "step": "take", "op": "action", "attempt": 1, "key": format!("{saga}/take"),
            "body": cart(&format!("o{saga}"), &[(sku, 1)])})
    };
    json!({ "calls": (first..first + count).map(call).collect::<Vec<_>>() })
}

#[tokio::test]
async fn h1_by_the_row_route_every_cart_has_a_transaction_of_its_own_and_by_the_merged_route_they_share_one()
{
    let shop = Shop::open(&[(1, 100), (2, 100)]).await;
    assert_eq!(shop.post("/routes", &json!({"sku": 2, "mode": "row"})).await.0, 200);
    for (first, sku, expected) in [(1, 1, 1), (100, 2, 20), (200, 1, 1)] {
        let before = transactions(&shop);
        let (status, answer) = shop.post("/hold/batch", &calls(first, 20, sku)).await;
        let results = answer["results"].as_array().unwrap();
        assert!(status == 200 && results.iter().all(|one| one["status"] == 200), "{answer}");
        assert_eq!(transactions(&shop) - before, expected, "twenty carts of sku {sku}");
    }
    assert_eq!((shop.stock(1).await, shop.stock(2).await), ((60, 40), (80, 20)));
    shop.assert_sound().await;
}

/// Carts a second on an ordinary day.
const NOMINAL: u32 = 80;

/// How often carts arrive.
const TICK: Duration = Duration::from_millis(25);

/// Sends so many carts a second for a while, whatever is answered and however late; the longest that one of the last
/// carts was late, counted from when it was due.
async fn arrivals(shop: &Arc<Shop>, per_second: u32, lasts: Duration, first: u128) -> Duration {
    let (begin, ticks) = (Instant::now(), (lasts.as_millis() / TICK.as_millis()) as u32);
    let mut sent = JoinSet::new();
    let each = u128::from(per_second * TICK.as_millis() as u32 / 1000);
    for tick in 0..ticks {
        let due = begin + TICK * tick;
        tokio::time::sleep_until(due.into()).await;
        let (shop, body) =
            (Arc::clone(shop), calls(first + u128::from(tick) * each, each, i64::from(tick % 5) + 1));
        sent.spawn(async move {
            let (status, answer) = shop.post("/hold/batch", &body).await;
            let results = answer["results"].as_array().unwrap();
            assert!(status == 200 && results.iter().all(|one| one["status"] == 200), "{answer}");
            (tick, due.elapsed())
        });
    }
    let late = sent.join_all().await;
    late.into_iter().filter(|(tick, _)| *tick >= ticks * 3 / 4).map(|(_, late)| late).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_ten_times_the_carts_and_then_three_quarters_more_leave_no_backlog() {
    let stock: Vec<(i64, i64)> = (1..=5).map(|sku| (sku, 100_000)).collect();
    let shop = Arc::new(Shop::open(&stock).await);
    let (mut first, mut carts, second) = (1, 0, Duration::from_secs(1));
    for (per_second, lasts) in
        [(NOMINAL, second), (10 * NOMINAL, 3 * second), (10 * NOMINAL * 7 / 4, 3 * second)]
    {
        let late = arrivals(&shop, per_second, lasts, first).await;
        // A backlog that grew would make the last carts the latest, by most of the time that it grew.
        assert!(late < Duration::from_secs(1), "{per_second} a second: the last were {late:?} late");
        first += 100_000;
        carts += i64::from(per_second * lasts.as_secs() as u32);
    }
    let audit = shop.audit().await;
    assert!(audit.kept && audit.totals.held == carts, "{carts}: {audit:#?}");
}
