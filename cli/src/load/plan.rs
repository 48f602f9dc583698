//! What customers do: when each cart arrives, what is in it, and what becomes of it.
//!
//! A plan follows from a seed and the [`Mix`] alone. Arrivals are an open loop: they come when they come, however long
//! the ones before them take. The base of them is a Poisson process; a flash sale adds a second one whose rate decays
//! as e^(-t / 20 s) from its beginning.

use super::{
    carts::{Cart, Profile},
    catalogue::Catalogue,
    random::Random,
};
use std::time::Duration;

/// After which time the rush of a flash sale has fallen to a third, in seconds.
pub(super) const FLASH_DECAY_S: f64 = 20.0;

/// When a duplicate comes after the submission it repeats, at the latest.
const DUPLICATE_WITHIN: Duration = Duration::from_secs(2);

/// How long customers take before they pay or change their mind, at the longest.
const THINKING: Duration = Duration::from_millis(1_500);

/// Parts of a refund, at most.
const PARTS_MAX: i64 = 3;

/// How many of a hundred do what; all the others pay and keep what they bought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mix {
    pub(super) profile: Profile,
    /// Carts a second.
    pub(super) rate: f64,
    /// How long carts arrive.
    pub(super) lasts: Duration,
    /// Are submitted twice.
    pub(super) duplicates: f64,
    /// Are never paid.
    pub(super) unpaid: f64,
    /// Are cancelled before they are paid.
    pub(super) cancels: f64,
    /// Are refunded, half of them as a whole and half in parts.
    pub(super) refunds: f64,
    /// The flash sale's carts a second at its beginning, where there is one.
    pub(super) flash: Option<f64>,
}

/// A cart that arrives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Arrival {
    /// Its number, from 0, in the order of arrival.
    pub(super) index: u64,
    /// When, from the beginning of the run.
    pub(super) at: Duration,
    /// Whether it is of the flash sale.
    pub(super) flash: bool,
    /// What is in it.
    pub(super) cart: Cart,
    /// Who buys.
    pub(super) customer: u32,
    /// How long after it the same submission comes again, where it does.
    pub(super) again: Option<Duration>,
    /// What becomes of it.
    pub(super) fate: Fate,
    /// How a payment provider behaves for it.
    pub(super) mode: &'static str,
}

/// How often of a hundred a provider behaves how, for a customer who pays.
const MODES: [(f64, &str); 6] = [
    (70.0, "at_once"),
    (15.0, "callback"),
    (8.0, "poll"),
    (4.0, "double_callback"),
    (2.0, "declined"),
    (1.0, "declined_later"),
];

/// How often of a hundred the money of a customer who does not pay comes in after all, when it is too late.
const LATE: f64 = 20.0;

/// What a customer does with a cart that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// Pays after a while.
    Pays(Duration),
    /// Pays after a while, and wants money back: in these parts, each once, one after the other.
    Refunds(Duration, Vec<Part>),
    /// Changes their mind after a while.
    Cancels(Duration),
    /// Is never heard of again.
    Leaves,
}

/// A part of a refund: SKUs and pieces.
pub(super) type Part = Vec<(i64, i64)>;

/// Everything that will happen.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    mix: Mix,
    catalogue: Catalogue,
}

impl Plan {
    pub(super) fn new(seed: u64, catalogue: Catalogue, mix: Mix) -> Plan {
        Plan { seed, mix, catalogue }
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// All arrivals, in their order.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = Arrival> + '_ {
        let moments = Moments::new(self.seed, &self.mix);
        (0..).zip(moments).map(|(index, (at, flash))| self.arrival(index, at, flash))
    }

    fn arrival(&self, index: u64, at: f64, flash: bool) -> Arrival {
        let mut random = Random::of(self.seed, "cart", index);
        let cart = match flash {
            true => Cart::of_flash(&self.catalogue, &mut random),
            false => Cart::draw(self.mix.profile, &self.catalogue, &mut random),
        };
        let customer = u32::try_from(random.between(1, 100_000)).unwrap_or(1);
        let again = random.percent(self.mix.duplicates).then(|| DUPLICATE_WITHIN.mul_f64(random.unit()));
        let fate = self.fate(&cart, &mut random);
        let mode = mode(&fate, &mut random);
        Arrival { index, at: Duration::from_secs_f64(at), flash, cart, customer, again, fate, mode }
    }

    fn fate(&self, cart: &Cart, random: &mut Random) -> Fate {
        let thinks = THINKING.mul_f64(random.unit());
        let drawn = random.unit() * 100.0;
        let (unpaid, cancels) = (self.mix.unpaid, self.mix.unpaid + self.mix.cancels);
        match drawn {
            drawn if drawn < unpaid => Fate::Leaves,
            drawn if drawn < cancels => Fate::Cancels(thinks),
            drawn if drawn < cancels + self.mix.refunds => Fate::Refunds(thinks, parts(cart, random)),
            _ => Fate::Pays(thinks),
        }
    }
}

fn mode(fate: &Fate, random: &mut Random) -> &'static str {
    let mut at = random.unit() * 100.0;
    match fate {
        Fate::Leaves if at < LATE => return "late",
        Fate::Leaves | Fate::Cancels(_) => return "never",
        Fate::Pays(_) | Fate::Refunds(..) => {}
    }
    for (share, mode) in MODES {
        if at < share {
            return mode;
        }
        at -= share;
    }
    "at_once"
}

/// How a cart is refunded: as a whole, or some of it in two or three parts. No part is empty.
fn parts(cart: &Cart, random: &mut Random) -> Vec<Part> {
    let mut left: Vec<(i64, i64)> = cart.pieces().into_iter().collect();
    if random.percent(50.0) {
        return vec![left];
    }
    let mut parts = Vec::new();
    for _ in 0..random.between(2, PARTS_MAX) {
        let mut part = Part::new();
        for (sku, pieces) in &mut left {
            let back = random.between(0, *pieces);
            *pieces -= back;
            if back > 0 {
                part.push((*sku, back));
            }
        }
        if !part.is_empty() {
            parts.push(part);
        }
    }
    if parts.is_empty() { vec![vec![(left[0].0, 1)]] } else { parts }
}

/// The moments of both streams, merged, in seconds, and whether each is of the flash sale.
struct Moments {
    base: Random,
    next_base: Option<f64>,
    flash: Random,
    /// The flash sale's arrivals so far, as moments of a process of rate 1.
    flash_work: f64,
    next_flash: Option<f64>,
    mix: Mix,
}

impl Moments {
    fn new(seed: u64, mix: &Mix) -> Moments {
        let base = Random::of(seed, "arrivals", 0);
        let flash = Random::of(seed, "flash", 0);
        let mut moments =
            Moments { base, next_base: Some(0.0), flash, flash_work: 0.0, next_flash: None, mix: *mix };
        moments.step_base();
        moments.step_flash();
        moments
    }

    fn step_base(&mut self) {
        let gap = self.base.exponential() / self.mix.rate;
        let lasts = self.mix.lasts.as_secs_f64();
        self.next_base = self.next_base.map(|at| at + gap).filter(|at| *at < lasts);
    }

    /// The flash sale begins after a third of the run. By time t after that, peak × decay × (1 - e^(-t / decay)) carts
    /// are expected; turned round, that says when the next one comes.
    fn step_flash(&mut self) {
        let Some(peak) = self.mix.flash else { return };
        let lasts = self.mix.lasts.as_secs_f64();
        self.flash_work += self.flash.exponential();
        let left = 1.0 - self.flash_work / (peak * FLASH_DECAY_S);
        let after = (left > 0.0).then(|| -FLASH_DECAY_S * left.ln());
        self.next_flash = after.map(|after| lasts / 3.0 + after).filter(|at| *at < lasts);
    }
}

impl Iterator for Moments {
    type Item = (f64, bool);

    fn next(&mut self) -> Option<(f64, bool)> {
        let flash_is_next = match (self.next_base, self.next_flash) {
            (base, Some(flash)) => base.is_none_or(|base| flash < base),
            (_, None) => false,
        };
        if flash_is_next {
            let at = self.next_flash?;
            self.step_flash();
            return Some((at, true));
        }
        let at = self.next_base?;
        self.step_base();
        Some((at, false))
    }
}

#[cfg(test)]
mod tests;
