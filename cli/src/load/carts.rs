//! What is in a cart: how many lines, which SKUs, how many pieces of each.

use super::{catalogue::Catalogue, random::Random};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Carts of a hundred that name one SKU on two lines.
const SAME_SKU_TWICE: f64 = 2.0;

/// Lines of a grocery's cart: the mean, the deviation of the logarithm, and the most.
const GROCERY_MEAN: f64 = 10.0;
const GROCERY_SPREAD: f64 = 0.75;
const GROCERY_MAX: f64 = 60.0;

/// Carts of a flash sale of a hundred that want two pieces.
const FLASH_PAIRS: f64 = 20.0;

/// How often a SKU that is in the cart already is drawn anew before the cart is left smaller.
const DRAWS_MAX: usize = 20;

/// Who shops here, which says how large carts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Profile {
    /// Nearly always a single line
    Marketplace,
    /// Two or three lines, at times up to twenty
    Retail,
    /// Ten lines on average, up to sixty
    Grocery,
}

/// Shares of a hundred, and from how many to how many lines such carts have.
const MARKETPLACE: [(f64, i64, i64); 4] = [(88.0, 1, 1), (8.0, 2, 2), (2.5, 3, 3), (1.5, 4, 6)];
const RETAIL: [(f64, i64, i64); 7] =
    [(45.0, 1, 1), (22.0, 2, 2), (13.0, 3, 3), (8.0, 4, 4), (5.0, 5, 5), (6.0, 6, 10), (1.0, 11, 20)];
const PIECES: [(f64, i64, i64); 3] = [(85.0, 1, 1), (10.0, 2, 2), (5.0, 3, 5)];

impl Profile {
    /// Draws how many lines a cart has.
    pub(super) fn lines(self, random: &mut Random) -> i64 {
        match self {
            Profile::Marketplace => draw(&MARKETPLACE, random),
            Profile::Retail => draw(&RETAIL, random),
            Profile::Grocery => {
                let middle = GROCERY_MEAN.ln() - GROCERY_SPREAD * GROCERY_SPREAD / 2.0;
                let lines = (middle + GROCERY_SPREAD * random.normal()).exp();
                lines.round().clamp(1.0, GROCERY_MAX) as i64
            }
        }
    }
}

/// Draws by shares of a hundred; what is left over falls to the last.
fn draw(shares: &[(f64, i64, i64)], random: &mut Random) -> i64 {
    let mut at = random.unit() * 100.0;
    let mut picked = (1, 1);
    for (share, low, high) in shares {
        picked = (*low, *high);
        if at < *share {
            break;
        }
        at -= share;
    }
    random.between(picked.0, picked.1)
}

/// A cart: its lines in the order in which the customer chose them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cart {
    /// SKUs and pieces. A SKU may stand on two lines.
    pub(super) lines: Vec<(i64, i64)>,
}

impl Cart {
    /// Draws one.
    pub(super) fn draw(profile: Profile, catalogue: &Catalogue, random: &mut Random) -> Cart {
        let count = profile.lines(random).min(catalogue.ordinary());
        let mut lines = Vec::new();
        let mut chosen = BTreeSet::new();
        for _ in 0..count {
            let drawn = (0..DRAWS_MAX).map(|_| catalogue.draw(random)).find(|sku| !chosen.contains(sku));
            let Some(sku) = drawn else { break };
            chosen.insert(sku);
            lines.push((sku, draw(&PIECES, random)));
        }
        if random.percent(SAME_SKU_TWICE) {
            lines.push((lines[0].0, 1));
        }
        Cart { lines }
    }

    /// Draws one of the flash sale: one or two pieces of one of its SKUs.
    pub(super) fn of_flash(catalogue: &Catalogue, random: &mut Random) -> Cart {
        let skus: Vec<i64> = catalogue.flash().collect();
        let last = i64::try_from(skus.len()).unwrap_or(i64::MAX) - 1;
        let at = usize::try_from(random.between(0, last)).unwrap_or(0);
        let pieces = if random.percent(FLASH_PAIRS) { 2 } else { 1 };
        Cart { lines: vec![(skus[at], pieces)] }
    }

    /// Pieces by SKU.
    pub(super) fn pieces(&self) -> BTreeMap<i64, i64> {
        let mut pieces = BTreeMap::new();
        self.lines.iter().for_each(|(sku, qty)| *pieces.entry(*sku).or_default() += qty);
        pieces
    }

    /// What it comes to, in minor units.
    pub(super) fn total_minor(&self, catalogue: &Catalogue) -> i64 {
        self.lines.iter().map(|(sku, qty)| catalogue.price_minor(*sku) * qty).sum()
    }

    /// Its lines as sagas take them.
    pub(super) fn json(&self) -> Value {
        lines_json(&self.lines)
    }
}

/// Lines as sagas take them.
pub(super) fn lines_json(lines: &[(i64, i64)]) -> Value {
    lines.iter().map(|(sku, qty)| json!({ "sku": sku, "qty": qty })).collect()
}
