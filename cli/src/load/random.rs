//! Numbers that look drawn and follow from a seed: SplitMix64, one independent stream for each thing that is drawn.
//!
//! Nothing here asks the clock or the system, so the same seed gives the same numbers on every machine. A stream is
//! named by what it is for and by a number, so that the cart of arrival 7 does not depend on how many numbers the
//! carts before it took.

/// The step between the states of a generator: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed` for `purpose`, the `index`th of its kind.
    pub(super) fn of(seed: u64, purpose: &str, index: u64) -> Random {
        let named = purpose.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte)));
        Random { state: mix(named ^ mix(index.wrapping_mul(GOLDEN))) }
    }

    /// The next number, all of its 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high, "there is a number to draw");
        let count = high.abs_diff(low).saturating_add(1);
        // The bias of a 64-bit product is far below what any run could show.
        let drawn = (u128::from(self.next()) * u128::from(count)) >> 64;
        low.saturating_add_unsigned(drawn as u64)
    }

    /// Whether something happens that happens in so many cases of a hundred.
    pub(super) fn percent(&mut self, share: f64) -> bool {
        self.unit() * 100.0 < share
    }

    /// A number from the exponential distribution with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// A number from the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
