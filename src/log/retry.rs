//! Attempts to reach a peer: when the next one is due, and from which port it goes out.

use crate::limits::{LOG_BACKOFF_MAX, LOG_BACKOFF_MIN};
use smoltcp::time::Duration;

/// What must be unpredictable, or must not coincide, between attempts; nothing secret is made of it.
pub struct Retry {
    random: u64,
}

impl Retry {
    /// Two agents must not have the same seed.
    pub const fn new(seed: u64) -> Retry {
        Retry { random: seed }
    }

    /// A port of the dynamic range (RFC 6335, section 6), unpredictable (RFC 6056, section 3.3.1).
    pub fn port(&mut self) -> u16 {
        49_152 | (self.random() & 0x3fff) as u16
    }

    /// The wait after so many failures: doubling from [`LOG_BACKOFF_MIN`] to [`LOG_BACKOFF_MAX`], a random half of it,
    /// so that a fleet does not come back all at once.
    pub fn wait(&mut self, failures: u32) -> Duration {
        let most = LOG_BACKOFF_MIN * (2 << failures.saturating_sub(1).min(10));
        let half = most.min(LOG_BACKOFF_MAX).total_micros() / 2;
        Duration::from_micros(half + ((half * (self.random() >> 32)) >> 32))
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
