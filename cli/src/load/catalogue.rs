//! What the shop sells: SKUs with prices and stock, and how popular each is.
//!
//! Popularity is Zipf's law: the item of rank r is wanted in proportion to 1 / r^s, with s = 0.99 as in the YCSB
//! benchmark. Ranks are scrambled over the SKUs, so that popular ones do not lie side by side in any table.

use super::random::Random;

/// How steep popularity is where nobody says otherwise.
pub(super) const SKEW: f64 = 0.99;

/// The SKUs of the flash sale; they follow the ordinary ones.
pub(super) const FLASH_SKUS: i64 = 5;

/// The middle price, in minor units, and how far prices spread around it (the deviation of their logarithm).
const PRICE_MEDIAN: f64 = 8_000.0;
const PRICE_SPREAD: f64 = 1.1;

/// The highest price, in minor units.
const PRICE_MAX: f64 = 10_000_000.0;

/// A catalogue: SKUs from 1 to `skus`, and behind them those of the flash sale.
#[derive(Debug)]
pub(super) struct Catalogue {
    seed: u64,
    skus: i64,
    /// The SKU of each rank.
    ranked: Vec<u32>,
    /// The share of all demand that falls on ranks up to and including each.
    pub(super) shares: Vec<f64>,
}

impl Catalogue {
    /// The catalogue of a seed, with `skus` ordinary SKUs.
    ///
    /// # Panics
    /// When there is no SKU, or more than 32 bits count.
    pub(super) fn new(seed: u64, skus: u32, skew: f64) -> Catalogue {
        assert!(skus > 0, "a shop sells something");
        let mut ranked: Vec<u32> = (1..=skus).collect();
        let mut random = Random::of(seed, "ranks", 0);
        for last in (1..ranked.len()).rev() {
            let other = random.between(0, i64::try_from(last).unwrap_or(i64::MAX));
            ranked.swap(last, usize::try_from(other).unwrap_or(last));
        }
        let mut sum = 0.0;
        let weights = (1..=skus).map(|rank| f64::from(rank).powf(-skew));
        let mut shares: Vec<f64> = weights.map(|weight| add(&mut sum, weight)).collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Catalogue { seed, skus: i64::from(skus), ranked, shares }
    }

    /// How many SKUs there are, from 1 on, those of the flash sale last.
    pub(super) fn all(&self) -> i64 {
        self.skus + FLASH_SKUS
    }

    /// How many ordinary SKUs there are.
    pub(super) fn ordinary(&self) -> i64 {
        self.skus
    }

    /// The SKUs of the flash sale.
    pub(super) fn flash(&self) -> impl Iterator<Item = i64> {
        self.skus + 1..=self.skus + FLASH_SKUS
    }

    /// Draws an ordinary SKU by its popularity.
    pub(super) fn draw(&self, random: &mut Random) -> i64 {
        let at = random.unit();
        let rank = self.shares.partition_point(|share| *share <= at).min(self.ranked.len() - 1);
        i64::from(self.ranked[rank])
    }

    /// What one piece costs, in minor units.
    pub(super) fn price_minor(&self, sku: i64) -> i64 {
        let mut random = Random::of(self.seed, "price", sku.unsigned_abs());
        let price = PRICE_MEDIAN * (PRICE_SPREAD * random.normal()).exp();
        price.round().clamp(1.0, PRICE_MAX) as i64
    }

    /// How many pieces there are at first. Most SKUs have some dozens, some have hundreds, and of every twenty one is
    /// down to its last pieces or has none.
    pub(super) fn stock(&self, sku: i64) -> i64 {
        let mut random = Random::of(self.seed, "stock", sku.unsigned_abs());
        match random.unit() {
            kind if kind < 0.70 => random.between(20, 200),
            kind if kind < 0.95 => random.between(200, 2_000),
            _ => random.between(0, 5),
        }
    }

    /// How many pieces of a SKU the flash sale sets apart: thousands.
    pub(super) fn flash_units(&self, sku: i64) -> i64 {
        Random::of(self.seed, "flash units", sku.unsigned_abs()).between(1_000, 10_000)
    }
}

fn add(sum: &mut f64, weight: f64) -> f64 {
    *sum += weight;
    *sum
}
