//! Numbers that must not coincide or be foreseen: ports, back-off, the nonces of requests. Nothing secret is made of them.

/// SplitMix64: who sees one of its numbers knows nothing of the next without the seed's other bits.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Two agents must not have the same seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
