//! How fast lists of SKUs are read: one by one, gathered into one query, and from the cache; and how many quotes of five
//! SKUs a second the cache answers when everybody wants the same five.
//!
//! `cargo run --release -p amends-product --example reads_bench [SKUS] [SECONDS]`, 100,000 and 3 if they are not given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_product::cache::{Cache, Times};
use amends_product::gather::{Gather, Source};
use amends_product::load::read_items;
use amends_product::prices::Prices;
use amends_product::{SQLITE, cart::Cart, table};
use amends_sdk::Database;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

/// SKUs of a list.
const LIST: i64 = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let skus: i64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let seconds = Duration::from_secs(arguments.next().map_or(Ok(3), |text| text.parse())?);
    let folder = tempfile::tempdir()?;
    let store = format!("sqlite:{}", folder.path().join("product.db").display());
    let database = Database::open(&store, &SQLITE).await?;
    fill(&store, skus).await?;

    let gather = Arc::new(Gather::start(database.readers()));
    let one_by_one = rate(seconds, async |turn| {
        for sku in list(turn, skus) {
            gather.sku(sku).await.expect("it is read");
        }
    });
    let one_by_one = one_by_one.await;
    println!("lists of {LIST}, one by one   {one_by_one:>10.0} /s");
    let gathered = rate(seconds, async |turn| {
        let asked = list(turn, skus).map(|sku| gather.sku(sku));
        futures::future::try_join_all(asked).await.expect("they are read");
    });
    let gathered = gathered.await;
    println!("lists of {LIST}, gathered     {gathered:>10.0} /s   {:.1} times", gathered / one_by_one);
    let cache = Cache::new(gather, Times::default(), Arc::default());
    let cached = rate(seconds, async |turn| {
        let wanted = list(turn % 20, skus).map(|sku| (sku, 0));
        cache.all(wanted).await.expect("they are read");
    });
    let cached = cached.await;
    println!("lists of {LIST}, from cache   {cached:>10.0} /s   {:.1} times", cached / one_by_one);
    println!("quotes of five hot SKUs  {:>10.0} /s", quotes(&cache, seconds).await);
    Ok(())
}

/// The SKUs of a list: spread over the catalogue, another list every turn.
fn list(turn: i64, skus: i64) -> impl Iterator<Item = i64> {
    (0..LIST).map(move |at| (turn * LIST + at) * 7919 % skus + 1)
}

async fn fill(store: &str, skus: i64) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = SqliteConnection::connect(store).await?;
    let all: Vec<i64> = (1..=skus).collect();
    for some in all.chunks(1000) {
        let item =
            |sku: &i64| json!({ "sku": sku, "name": format!("sku {sku}"), "price_minor": sku % 9000 + 100 });
        let items: Vec<Value> = some.iter().map(item).collect();
        let items = read_items(&json!({ "items": items })).expect("items that fit");
        let mut transaction = connection.begin().await?;
        table::upsert(&mut transaction, &items, 0).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// How often something is done a second, one after the other.
async fn rate(seconds: Duration, mut once: impl AsyncFnMut(i64)) -> f64 {
    let began = Instant::now();
    let mut turns = 0;
    while began.elapsed() < seconds {
        once(turns).await;
        turns += 1;
    }
    turns as f64 / began.elapsed().as_secs_f64()
}

/// How many quotes a second two readers get.
async fn quotes(cache: &Cache, seconds: Duration) -> f64 {
    let lines: Vec<Value> = (1..=5).map(|sku| json!({ "sku": sku, "qty": 1 })).collect();
    let cart = Cart::read(&json!({ "lines": lines })).expect("a cart");
    let readers = (0..2).map(|_| {
        let (prices, cart) = (Prices::of_cache(cache), cart.clone());
        tokio::spawn(async move {
            let (began, mut quoted) = (Instant::now(), 0);
            while began.elapsed() < seconds {
                prices.of(&cart).await.expect("it is read").expect("a price");
                quoted += 1;
            }
            f64::from(quoted) / began.elapsed().as_secs_f64()
        })
    });
    futures::future::join_all(readers).await.into_iter().map(|rate| rate.expect("no panic")).sum()
}
