//! When carts arrive: a Poisson process whose rate may step up at half time, and a second one for a flash sale.
//!
//! The flash sale begins after a third of the run. Its rate decays as e^(-t / 20 s) from then on.

use super::{plan::Mix, random::Random};

/// After which time the rush of a flash sale has fallen to a third, in seconds.
pub(super) const FLASH_DECAY_S: f64 = 20.0;

/// The moments of both streams, merged, in seconds, and whether each is of the flash sale.
pub(super) struct Moments {
    base: Random,
    next_base: Option<f64>,
    flash: Random,
    /// The flash sale's arrivals so far, as moments of a process of rate 1.
    flash_work: f64,
    next_flash: Option<f64>,
    mix: Mix,
}

impl Moments {
    pub(super) fn new(seed: u64, mix: &Mix) -> Moments {
        let base = Random::of(seed, "arrivals", 0);
        let flash = Random::of(seed, "flash", 0);
        let mut moments =
            Moments { base, next_base: Some(0.0), flash, flash_work: 0.0, next_flash: None, mix: *mix };
        moments.step_base();
        moments.step_flash();
        moments
    }

    /// The next one is so much work of a process of rate 1 away, however the rate changes on the way there.
    fn step_base(&mut self) {
        let Some(at) = self.next_base else { return };
        let work = self.base.exponential();
        let (lasts, rate) = (self.mix.lasts.as_secs_f64(), self.mix.rate);
        let before_step = (lasts / 2.0 - at).max(0.0) * rate;
        let next = match work <= before_step {
            true => at + work / rate,
            false => at.max(lasts / 2.0) + (work - before_step) / (rate * self.mix.step),
        };
        self.next_base = Some(next).filter(|at| *at < lasts);
    }

    /// By time t after its beginning, peak × decay × (1 - e^(-t / decay)) carts of the flash sale are expected; turned
    /// round, that says when the next one comes.
    fn step_flash(&mut self) {
        let Some(sale) = self.mix.sale else { return };
        let lasts = self.mix.lasts.as_secs_f64();
        self.flash_work += self.flash.exponential();
        let left = 1.0 - self.flash_work / (sale.peak * FLASH_DECAY_S);
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
