//! What customers do: when each cart arrives, what is in it, and what becomes of it.
//!
//! A plan follows from a seed and the [`Mix`] alone. Arrivals are an open loop: they come when they come
//! ([`mod@super::moments`]), however long the ones before them take.

use super::{
    carts::{Cart, Profile},
    catalogue::Catalogue,
    moments::{FLASH_DECAY_S, Moments},
    random::Random,
};
use std::time::Duration;

/// When a duplicate comes after the submission it repeats, at the latest.
const DUPLICATE_WITHIN: Duration = Duration::from_secs(2);

/// How long customers take before they pay or change their mind, at the longest.
const THINKING: Duration = Duration::from_millis(1_500);

/// How long after its cart is due a customer looks at other goods, at the longest.
const LOOKING: Duration = Duration::from_secs(1);

/// Parts of a refund, at most.
const PARTS_MAX: i64 = 3;

/// Customers of ordinary sales.
const CUSTOMERS: i64 = 100_000;

/// Carts of a flash sale for each of its customers, on average, so that some want more than their share.
const FLASH_CARTS_EACH: f64 = 1.5;

/// How many of a hundred do what; all the others pay and keep what they bought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mix {
    pub(super) profile: Profile,
    /// Carts a second.
    pub(super) rate: f64,
    /// How many times as many from half time on.
    pub(super) step: f64,
    /// How long carts arrive.
    pub(super) lasts: Duration,
    /// Are submitted twice.
    pub(super) duplicates: f64,
    /// Are never paid.
    pub(super) unpaid: f64,
    /// Are cancelled before they are paid.
    pub(super) cancels: f64,
    /// Are refunded before they ship, half of them as a whole and half in parts.
    pub(super) refunds: f64,
    /// Are shipped, half of them in two parts.
    pub(super) ships: f64,
    /// Are shipped, and asked to be refunded after that.
    pub(super) regrets: f64,
    /// Looks at a SKU in the catalogue, for each cart.
    pub(super) reads: u32,
    /// Questions to the inventory about a whole cart, for each cart.
    pub(super) quotes: u32,
    /// The flash sale, where there is one.
    pub(super) sale: Option<Flash>,
}

/// A flash sale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Flash {
    /// Carts a second at its beginning.
    pub(super) peak: f64,
    /// How many pieces one customer may have.
    pub(super) limit: i64,
    /// Pieces of each of its SKUs; from the seed where nobody says.
    pub(super) units: Option<u32>,
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

impl Arrival {
    /// The customer's name.
    pub(super) fn customer(&self) -> String {
        format!("c{}", self.customer)
    }
}

/// What a customer looks at besides, and how long after the cart is due.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look {
    /// A SKU in the catalogue.
    Read(Duration, i64),
    /// What of a cart can be had.
    Quote(Duration, Cart),
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
    /// Pays after a while, and it is shipped in these parts. Who regrets it wants the money back when all has left.
    Ships { thinks: Duration, parts: Vec<Part>, regrets: bool },
    /// Changes their mind after a while.
    Cancels(Duration),
    /// Is never heard of again.
    Leaves,
}

/// A part of an order that is refunded or shipped: SKUs and pieces.
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

    /// The flash sale, where there is one.
    pub(super) fn sale(&self) -> Option<Flash> {
        self.mix.sale
    }

    /// How many pieces of each of its SKUs the flash sale sets apart.
    pub(super) fn set_apart(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        let units = self.mix.sale.and_then(|sale| sale.units).map(i64::from);
        self.catalogue.flash().map(move |sku| (sku, units.unwrap_or_else(|| self.catalogue.flash_units(sku))))
    }

    /// How many pieces of a SKU are brought in: what is sold in ordinary sales, and what a flash sale sets apart of it.
    pub(super) fn stock(&self, sku: i64) -> i64 {
        let is_sold = self.mix.sale.is_some() && sku > self.catalogue.ordinary();
        let apart = is_sold.then(|| self.set_apart().find(|(flash, _)| *flash == sku)).flatten();
        self.catalogue.stock(sku) + apart.map_or(0, |(_, units)| units)
    }

    /// What the customer of an arrival looks at.
    pub(super) fn looks(&self, index: u64) -> Vec<Look> {
        let mut random = Random::of(self.seed, "looks", index);
        let mut looks = Vec::new();
        for _ in 0..self.mix.reads {
            looks.push(Look::Read(LOOKING.mul_f64(random.unit()), self.catalogue.draw(&mut random)));
        }
        for _ in 0..self.mix.quotes {
            let after = LOOKING.mul_f64(random.unit());
            looks.push(Look::Quote(after, Cart::draw(self.mix.profile, &self.catalogue, &mut random)));
        }
        looks
    }

    fn arrival(&self, index: u64, at: f64, flash: bool) -> Arrival {
        let mut random = Random::of(self.seed, "cart", index);
        let cart = match flash {
            true => Cart::of_flash(&self.catalogue, &mut random),
            false => Cart::draw(self.mix.profile, &self.catalogue, &mut random),
        };
        let customers = if flash { self.flash_customers() } else { CUSTOMERS };
        let customer = u32::try_from(random.between(1, customers)).unwrap_or(1);
        let again = random.percent(self.mix.duplicates).then(|| DUPLICATE_WITHIN.mul_f64(random.unit()));
        let fate = self.fate(&cart, &mut random);
        let mode = mode(&fate, &mut random);
        Arrival { index, at: Duration::from_secs_f64(at), flash, cart, customer, again, fate, mode }
    }

    /// As many as leave each with more than one cart, so that some of them want more than they may have.
    fn flash_customers(&self) -> i64 {
        let carts = self.mix.sale.map_or(0.0, |sale| sale.peak * FLASH_DECAY_S);
        ((carts / FLASH_CARTS_EACH) as i64).clamp(1, CUSTOMERS)
    }

    fn fate(&self, cart: &Cart, random: &mut Random) -> Fate {
        let thinks = THINKING.mul_f64(random.unit());
        let mut drawn = random.unit() * 100.0;
        let mut falls = |share: f64| {
            let falls = drawn < share;
            drawn -= share;
            falls
        };
        let Mix { unpaid, cancels, refunds, regrets, ships, .. } = self.mix;
        if falls(unpaid) {
            return Fate::Leaves;
        }
        if falls(cancels) {
            return Fate::Cancels(thinks);
        }
        if falls(refunds) {
            return Fate::Refunds(thinks, parts(cart, random));
        }
        let regrets = falls(regrets);
        if regrets || falls(ships) {
            return Fate::Ships { thinks, parts: shipments(cart, random), regrets };
        }
        Fate::Pays(thinks)
    }
}

fn mode(fate: &Fate, random: &mut Random) -> &'static str {
    let mut at = random.unit() * 100.0;
    match fate {
        Fate::Leaves if at < LATE => return "late",
        Fate::Leaves | Fate::Cancels(_) => return "never",
        Fate::Pays(_) | Fate::Refunds(..) | Fate::Ships { .. } => {}
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

/// How a cart is shipped: as a whole, or half of the time in two parts where it can be parted.
fn shipments(cart: &Cart, random: &mut Random) -> Vec<Part> {
    let (mut first, mut second) = (Part::new(), Part::new());
    let in_two = random.percent(50.0);
    for (sku, pieces) in cart.pieces() {
        let now = if in_two { random.between(0, pieces) } else { pieces };
        first.push((sku, now));
        second.push((sku, pieces - now));
    }
    let mut parts = vec![first, second];
    parts.iter_mut().for_each(|part| part.retain(|(_, pieces)| *pieces > 0));
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests;
