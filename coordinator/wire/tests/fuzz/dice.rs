//! Chance that comes back: numbers from a seed and a round.

use amends_saga::hash::Mix;

/// A row of numbers.
#[derive(Debug)]
pub(crate) struct Dice(Mix);

impl Dice {
    pub(crate) fn new(seed: u64, round: u64) -> Dice {
        Dice(Mix::new(seed).add(round))
    }

    /// A number below `bound`, which is taken for at least one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.add(1);
        (self.0.finish() % bound.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}
