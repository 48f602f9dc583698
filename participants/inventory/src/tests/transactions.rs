//! How many transactions carts cost, counted where the database writes them down: in its log, in which every transaction
//! ends with a page that says so. And what a crowd of carts leaves waiting.

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

/// Carts that come within a moment on an ordinary day.
const NOMINAL: u128 = 80;

/// A figure of the service, as it tells it.
async fn figure(shop: &Shop, name: &str) -> f64 {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = shop.inventory.router().oneshot(request).await.unwrap();
    let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    line.and_then(|line| line.split(' ').next_back())
        .unwrap_or_else(|| panic!("{name} is not told:\n{text}"))
        .parse()
        .unwrap()
}

/// Sends so many carts at once, waits until all of them are taken, and says how many transactions that took.
async fn spike(shop: &Arc<Shop>, carts: u128, first: u128) -> f64 {
    const TRANSACTIONS: &str = "amends_participant_writer_transaction_calls_count";
    let before = figure(shop, TRANSACTIONS).await;
    let mut sent = JoinSet::new();
    for saga in first..first + carts {
        let shop = Arc::clone(shop);
        sent.spawn(async move {
            let body = cart(&format!("o{saga}"), &[((saga % 5) as i64 + 1, 1)]);
            shop.act("hold", step(saga, "take"), &body).await
        });
    }
    for (status, answer) in sent.join_all().await {
        assert_eq!(status, 200, "{answer}");
    }
    figure(shop, TRANSACTIONS).await - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_ten_times_the_carts_and_then_three_quarters_more_share_transactions() {
    let stock: Vec<(i64, i64)> = (1..=5).map(|sku| (sku, 100_000)).collect();
    let shop = Arc::new(Shop::open(&stock).await);
    let (mut first, mut all) = (1, 0);
    for carts in [NOMINAL, 10 * NOMINAL, 10 * NOMINAL * 7 / 4] {
        let transactions = spike(&shop, carts, first).await;
        println!("{carts} carts took {transactions} transactions");
        // The more wait the more share a transaction, so that a spike costs a few more of them and not ten times as many.
        let most = if carts == NOMINAL { carts as f64 / 2.0 } else { carts as f64 / 4.0 };
        assert!(transactions <= most, "{carts} carts at once took {transactions} transactions");
        first += 100_000;
        all += carts as i64;
    }
    let audit = shop.audit().await;
    assert!(audit.kept && audit.totals.held == all, "{all}: {audit:#?}");
}
