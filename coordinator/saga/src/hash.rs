//! A small, stable, seedless hash: the source of jitter and of derived ids. Not for security.

/// Accumulates values into 64 bits; the same values in the same order give the same result for ever.
#[derive(Debug, Clone, Copy)]
pub struct Mix(u64);

impl Mix {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Mix {
        Mix(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Adds a number.
    #[must_use]
    pub const fn add(self, value: u64) -> Mix {
        // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut z = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ value.wrapping_mul(0xd6e8_feb8_6659_fd93);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Mix(z ^ (z >> 31))
    }

    /// Adds bytes, their length included.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Mix {
        bytes.chunks(8).fold(self.add(bytes.len() as u64), |mix, chunk| {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix.add(u64::from_le_bytes(word))
        })
    }

    /// The 64 bits.
    pub const fn finish(self) -> u64 {
        self.add(0).0
    }
}
