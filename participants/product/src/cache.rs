//! The cache in front of the catalogue: what each SKU is, kept in this process for a few seconds.
//!
//! | what is found | is kept | |
//! |---|---|---|
//! | a SKU | [`Times::fresh`], a fifth more or less | so that what was read together does not grow old together |
//! | no such SKU | [`Times::unknown`] | so that asking for what is not there costs the database little |
//! | an error | not at all | a SKU read within [`Times::stale`] is served in its place, for [`Times::again`] at a time |
//!
//! All who miss the same SKU wait for one read ([`moka`]'s single flight), and all SKUs that are missed together are read
//! by one query ([`crate::gather`]).
//!
//! The invariant it keeps: **within this process nobody is given an older version than one whose write was answered
//! before.** A write names its versions to [`Cache::written`], and what is older counts as a miss, even when it was read
//! before the write and arrives after it. Other processes over the same database learn of a write when what they keep
//! has grown old, after [`FRESH_MAX`] at the latest.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use moka::Expiry;
use moka::future::Cache as Moka;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;

use crate::gather::{Error, Source, now_ms};
use crate::metrics::Figures;
use crate::quote::Sku;

#[cfg(test)]
mod tests;

/// The longest that a SKU is kept before it is read again, whatever is asked for; by default nothing older is served at all, not
/// even while the database is away.
pub const FRESH_MAX: Duration = Duration::from_secs(15);

/// SKUs that are kept, at most; those asked for least make room.
const SKUS_MAX: u64 = 100_000;

/// For how long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// What a SKU is. At most [`FRESH_MAX`], with what is added at random.
    pub fresh: Duration,
    /// That there is no such SKU.
    pub unknown: Duration,
    /// How old something may be that is served because the database cannot be read.
    pub stale: Duration,
    /// How long it is served before the database is tried again.
    pub again: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            fresh: Duration::from_secs(5),
            unknown: Duration::from_secs(5),
            stale: FRESH_MAX,
            again: Duration::from_secs(1),
        }
    }
}

/// What was read of a SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The SKU; `None` where there is no such SKU.
    pub sku: Option<Sku>,
    /// When it was read, in unix milliseconds.
    pub read_at: i64,
    lasts: Duration,
}

impl Kept {
    /// 0 where there is no such SKU, which is older than any version.
    fn version(&self) -> i64 {
        self.sku.as_ref().map_or(0, |sku| sku.version)
    }
}

/// The cache; cheap to clone.
#[derive(Clone)]
pub struct Cache {
    kept: Moka<i64, Arc<Kept>>,
    /// What was last read of each SKU, for when the database cannot be read.
    last: Moka<i64, Arc<Kept>>,
    /// The newest version of each SKU that was written here of late.
    newest: Moka<i64, i64>,
    source: Arc<dyn Source>,
    times: Times,
    spread: RandomState,
    figures: Arc<Figures>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("times", &self.times).finish_non_exhaustive()
    }
}

/// Each entry says itself how long it lasts.
struct Lasting;

impl Expiry<i64, Arc<Kept>> for Lasting {
    fn expire_after_create(&self, _: &i64, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(kept.lasts)
    }

    fn expire_after_update(
        &self,
        _: &i64,
        kept: &Arc<Kept>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.lasts)
    }
}

impl Cache {
    /// An empty cache before `source`.
    pub fn new(source: Arc<dyn Source>, times: Times, figures: Arc<Figures>) -> Cache {
        // A version must be remembered until nothing older can be served any more.
        let remembered = FRESH_MAX + times.stale;
        Cache {
            kept: Moka::builder().max_capacity(SKUS_MAX).expire_after(Lasting).build(),
            last: Moka::builder().max_capacity(SKUS_MAX).time_to_live(times.stale).build(),
            // By age and not by use: what was just written must not be the first to go.
            newest: Moka::builder()
                .max_capacity(SKUS_MAX)
                .time_to_live(remembered)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            source,
            times,
            spread: RandomState::new(),
            figures,
        }
    }

    /// What each SKU is, given with the least version that will do.
    ///
    /// That is meant for whoever knows of a version: when the database itself has only older ones, the newest is given.
    ///
    /// # Errors
    /// The source's, for a SKU that is not known from before either.
    pub async fn all(
        &self,
        wanted: impl Iterator<Item = (i64, i64)>,
    ) -> Result<HashMap<i64, Arc<Kept>>, Error> {
        let (mut found, mut missed) = (HashMap::new(), Vec::new());
        for (sku, least) in wanted {
            let least = least.max(self.newest.get(&sku).await.unwrap_or(0));
            match self.kept.get(&sku).await.filter(|kept| kept.version() >= least) {
                Some(kept) => {
                    found.insert(sku, kept);
                }
                None => missed.push((sku, least)),
            }
        }
        self.figures.cached(found.len(), missed.len());
        let reads = missed.into_iter().map(async |(sku, least)| Ok((sku, self.read(sku, least).await?)));
        found.extend(try_join_all(reads).await?);
        Ok(found)
    }

    /// Says that these versions were written, or may have been.
    pub async fn written(&self, versions: impl Iterator<Item = (i64, i64)>) {
        for (sku, version) in versions {
            let newer = async |newest: Option<moka::Entry<i64, i64>>| {
                newest.map_or(version, |newest| newest.into_value().max(version))
            };
            self.newest.entry(sku).and_upsert_with(newer).await;
            self.drop_older(sku, version).await;
        }
    }

    /// Reads a SKU that is not kept, or only in an older version than `least`.
    async fn read(&self, sku: i64, least: i64) -> Result<Arc<Kept>, Error> {
        self.drop_older(sku, least).await;
        let kept = self.join(sku, least).await?;
        if kept.version() >= least {
            return Ok(kept);
        }
        // The read that was joined may have begun before the write. This one has not, so what it finds is all there is.
        self.drop_older(sku, least).await;
        self.join(sku, least).await
    }

    /// Reads a SKU together with all who want it at the moment.
    async fn join(&self, sku: i64, least: i64) -> Result<Arc<Kept>, Error> {
        let read = self.kept.try_get_with(sku, self.load(sku, least)).await;
        read.map_err(|error| Error::clone(&error))
    }

    async fn load(&self, sku: i64, least: i64) -> Result<Arc<Kept>, Error> {
        let read_at = now_ms();
        match self.source.sku(sku).await {
            Ok(Some(found)) => {
                let kept = Arc::new(Kept { sku: Some(found), read_at, lasts: self.fresh_for(sku) });
                self.remember(sku, &kept).await;
                Ok(kept)
            }
            Ok(None) => {
                self.figures.unknown();
                Ok(Arc::new(Kept { sku: None, read_at, lasts: self.times.unknown.min(FRESH_MAX) }))
            }
            Err(error) => {
                let oldest =
                    read_at.saturating_sub(i64::try_from(self.times.stale.as_millis()).unwrap_or(i64::MAX));
                let will_do = |last: &Arc<Kept>| last.version() >= least && last.read_at >= oldest;
                let last = self.last.get(&sku).await.filter(will_do);
                self.figures.unread(last.is_some());
                let last = last.ok_or(error)?;
                Ok(Arc::new(Kept { lasts: self.times.again, ..Kept::clone(&last) }))
            }
        }
    }

    /// Keeps for bad times what was read, unless something newer was read meanwhile.
    async fn remember(&self, sku: i64, kept: &Arc<Kept>) {
        let newer = async |last: Option<moka::Entry<i64, Arc<Kept>>>| {
            last.map(moka::Entry::into_value)
                .filter(|last| last.version() > kept.version())
                .unwrap_or_else(|| kept.clone())
        };
        self.last.entry(sku).and_upsert_with(newer).await;
    }

    async fn drop_older(&self, sku: i64, than: i64) {
        let drop = async |kept: Option<moka::Entry<i64, Arc<Kept>>>| match kept {
            Some(kept) if kept.value().version() < than => Op::Remove,
            _ => Op::Nop,
        };
        self.kept.entry(sku).and_compute_with(drop).await;
    }

    /// How long a SKU is kept: a fifth more or less, at random.
    fn fresh_for(&self, sku: i64) -> Duration {
        let drawn = self.spread.hash_one((sku, Instant::now())) % 401;
        let spread = 0.8 + f64::from(u16::try_from(drawn).unwrap_or(0)) / 1000.0;
        self.times.fresh.mul_f64(spread).min(FRESH_MAX)
    }
}
