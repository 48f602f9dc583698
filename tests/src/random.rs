//! A small repeatable source of randomness: the same seed gives the same values for ever, on any machine.

use amends_saga::hash::Mix;

/// A stream of values that looks random and is not.
#[derive(Debug, Clone)]
pub struct Random {
    mix: Mix,
    drawn: u64,
}

impl Random {
    /// Starts a stream.
    pub fn new(seed: u64) -> Random {
        Random { mix: Mix::new(seed), drawn: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        self.mix = self.mix.add(self.drawn);
        self.mix.finish()
    }

    /// A value below `end`, which is above zero.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "a value below zero does not exist");
        self.bits() % end
    }

    /// A value within `[low, high]`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high, "{low} is not below {high}");
        low + self.below((high - low) as u64 + 1) as i64
    }

    /// True `permille` times in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}
