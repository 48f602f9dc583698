//! The cache before a catalogue that can be slow, fail and change at any moment.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use tokio::time::sleep;

use super::*;
use crate::quote::Status;

/// A catalogue in memory.
#[derive(Default)]
struct Shelf {
    skus: Mutex<HashMap<i64, Sku>>,
    reads: AtomicU64,
    away: AtomicBool,
    /// How long a read takes after it has seen what it will tell, in milliseconds.
    slow_ms: AtomicU64,
}

fn sku(version: i64) -> Sku {
    let (name, currency) = (format!("v{version}"), "EUR".to_owned());
    Sku { name, price_minor: version, currency, status: Status::OnSale, version, price_version: version }
}

#[async_trait]
impl Source for Shelf {
    async fn sku(&self, sku: i64) -> Result<Option<Sku>, Error> {
        self.reads.fetch_add(1, SeqCst);
        let found = self.skus.lock().expect("not poisoned").get(&sku).cloned();
        sleep(Duration::from_millis(self.slow_ms.load(SeqCst))).await;
        if self.away.load(SeqCst) { Err(Error::Unavailable("away".into())) } else { Ok(found) }
    }
}

impl Shelf {
    fn put(&self, number: i64, version: i64) {
        self.skus.lock().expect("not poisoned").insert(number, sku(version));
    }

    fn reads(&self) -> u64 {
        self.reads.load(SeqCst)
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A shelf with SKU 1 in version 1, and a cache before it.
fn cache(times: Times) -> (Arc<Shelf>, Cache) {
    let shelf = Arc::new(Shelf::default());
    shelf.put(1, 1);
    (shelf.clone(), Cache::new(shelf, times, Arc::default()))
}

/// The version of a SKU; 0 if there is none.
async fn version(cache: &Cache, number: i64) -> Result<i64, Error> {
    let found = cache.all([(number, 0)].into_iter()).await?;
    Ok(found[&number].version())
}

#[tokio::test]
async fn all_who_miss_a_sku_wait_for_one_read() {
    let (shelf, cache) = cache(Times::default());
    shelf.slow_ms.store(50, SeqCst);
    let asked = (0..200).map(|_| version(&cache, 1));
    let versions = try_join_all(asked).await.expect("read");
    assert_eq!((versions, shelf.reads()), (vec![1; 200], 1));
}

#[tokio::test]
async fn what_is_kept_is_read_again_only_when_it_has_grown_old() {
    let (shelf, cache) = cache(Times { fresh: ms(200), ..Times::default() });
    for _ in 0..100 {
        assert_eq!(version(&cache, 1).await, Ok(1));
    }
    assert_eq!(shelf.reads(), 1);
    // Another process writes.
    shelf.put(1, 2);
    sleep(ms(300)).await;
    assert_eq!((version(&cache, 1).await, shelf.reads()), (Ok(2), 2));
}

#[tokio::test]
async fn that_there_is_no_such_sku_is_kept_as_well_and_not_for_long() {
    let (shelf, cache) = cache(Times { unknown: ms(100), ..Times::default() });
    for _ in 0..100 {
        assert_eq!(version(&cache, 9).await, Ok(0));
    }
    assert_eq!(shelf.reads(), 1);
    sleep(ms(150)).await;
    shelf.put(9, 1);
    assert_eq!((version(&cache, 9).await, shelf.reads()), (Ok(1), 2));
}

#[tokio::test]
async fn a_sku_that_is_new_is_found_as_soon_as_its_write_is_answered() {
    let (shelf, cache) = cache(Times::default());
    assert_eq!(version(&cache, 9).await, Ok(0));
    shelf.put(9, 1);
    cache.written([(9, 1)].into_iter()).await;
    assert_eq!(version(&cache, 9).await, Ok(1));
}

#[tokio::test]
async fn what_was_read_is_served_while_the_database_is_away_for_so_long_and_no_longer() {
    let times = Times { fresh: ms(50), stale: ms(600), again: ms(50), ..Times::default() };
    let (shelf, cache) = cache(times);
    assert_eq!(version(&cache, 1).await, Ok(1));
    shelf.away.store(true, SeqCst);
    sleep(ms(100)).await;
    for _ in 0..100 {
        assert_eq!(version(&cache, 1).await, Ok(1));
    }
    assert!(shelf.reads() <= 4, "a database that is away is asked seldom, not {} times", shelf.reads());
    sleep(ms(700)).await;
    assert_eq!(version(&cache, 1).await, Err(Error::Unavailable("away".into())));
    // What was never read has nothing to be served.
    assert!(version(&cache, 9).await.is_err());
    shelf.away.store(false, SeqCst);
    assert_eq!((version(&cache, 1).await, version(&cache, 9).await), (Ok(1), Ok(0)), "an error is not kept");
}

#[tokio::test]
async fn what_a_write_replaced_is_not_served_even_while_the_database_is_away() {
    let (shelf, cache) = cache(Times::default());
    assert_eq!(version(&cache, 1).await, Ok(1));
    shelf.put(1, 2);
    cache.written([(1, 2)].into_iter()).await;
    shelf.away.store(true, SeqCst);
    assert!(version(&cache, 1).await.is_err());
}

#[tokio::test]
async fn a_read_from_before_a_write_does_not_bring_the_old_back() {
    let (shelf, cache) = cache(Times::default());
    shelf.slow_ms.store(200, SeqCst);
    let early = tokio::spawn({
        let cache = cache.clone();
        async move { version(&cache, 1).await }
    });
    sleep(ms(50)).await;
    shelf.put(1, 2);
    cache.written([(1, 2)].into_iter()).await;
    // This one joins the read from before the write, and must not be content with what it brings.
    assert_eq!(version(&cache, 1).await, Ok(2));
    assert!(early.await.expect("no panic").is_ok());
    assert_eq!(version(&cache, 1).await, Ok(2));
}

#[tokio::test]
async fn who_knows_of_a_newer_version_gets_it_and_one_that_does_not_exist_does_no_harm() {
    let (shelf, cache) = cache(Times::default());
    assert_eq!(version(&cache, 1).await, Ok(1));
    shelf.put(1, 2);
    let found = cache.all([(1, 2)].into_iter()).await.expect("read");
    assert_eq!(found[&1].version(), 2);
    let found = cache.all([(1, i64::MAX)].into_iter()).await.expect("read");
    assert_eq!(found[&1].version(), 2);
    cache.written([(1, 3)].into_iter()).await;
    assert_eq!(version(&cache, 1).await, Ok(2), "a write that failed after all");
}

#[test]
fn what_was_read_together_does_not_grow_old_together() {
    let times = |fresh| Times { fresh, ..Times::default() };
    let (_, usual) = cache(times(ms(5000)));
    let drawn: Vec<Duration> = (1..=1000).map(|sku| usual.fresh_for(sku)).collect();
    assert!(drawn.iter().all(|lasts| (ms(4000)..=ms(6001)).contains(lasts)), "{drawn:?}");
    assert!(drawn.iter().max().expect("some") > &ms(5800) && drawn.iter().min().expect("some") < &ms(4200));
    let (_, long) = cache(times(ms(100_000)));
    assert!((1..=100).all(|sku| long.fresh_for(sku) == FRESH_MAX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_given_an_older_version_than_one_whose_write_was_answered() {
    let (shelf, cache) = cache(Times { fresh: ms(3), ..Times::default() });
    shelf.slow_ms.store(1, SeqCst);
    let answered: Arc<[AtomicI64; 4]> = Arc::new([const { AtomicI64::new(0) }; 4]);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (shelf, cache, answered) = (shelf.clone(), cache.clone(), answered.clone());
        tasks.spawn(async move {
            for version in 1..=150 {
                shelf.put(number, version);
                tokio::task::yield_now().await;
                cache.written([(number, version)].into_iter()).await;
                answered[number as usize].store(version, SeqCst);
                sleep(ms(version as u64 % 3)).await;
            }
        });
    }
    for reader in 0..8 {
        let (cache, answered) = (cache.clone(), answered.clone());
        tasks.spawn(async move {
            for turn in 0..400 {
                let number = (reader + turn) % 4;
                let least = answered[number as usize].load(SeqCst);
                let found = version(&cache, number).await.expect("read");
                assert!(
                    found >= least,
                    "version {found} of {number} after the write of {least} was answered"
                );
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}
