//! Attempts to reach a peer: when the next one is due, from which port it goes out, and to which address.

use crate::limits::{LOG_BACKOFF_MAX, LOG_BACKOFF_MIN};
use crate::random::Random;
use core::net::{Ipv4Addr, SocketAddrV4};
use smoltcp::time::Duration;

/// What must be unpredictable, or must not coincide, between attempts; nothing secret is made of it.
pub struct Retry {
    random: Random,
}

impl Retry {
    /// Two agents must not have the same seed.
    pub const fn new(seed: u64) -> Retry {
        Retry { random: Random::new(seed) }
    }

    /// A port of the dynamic range (RFC 6335, section 6), unpredictable (RFC 6056, section 3.3.1).
    pub fn port(&mut self) -> u16 {
        49_152 | (self.random.number() & 0x3fff) as u16
    }

    /// The wait after so many failures: doubling from [`LOG_BACKOFF_MIN`] to [`LOG_BACKOFF_MAX`], a random half of it,
    /// so that a fleet does not come back all at once.
    pub fn wait(&mut self, failures: u32) -> Duration {
        let most = LOG_BACKOFF_MIN * (2 << failures.saturating_sub(1).min(10));
        let half = most.min(LOG_BACKOFF_MAX).total_micros() / 2;
        Duration::from_micros(half + ((half * (self.random.number() >> 32)) >> 32))
    }
}

/// Takes the next of the peer's addresses after each attempt that failed; without any, the last one stays.
pub fn aim(peer: &mut SocketAddrV4, addresses: &[Ipv4Addr], failed: u32) {
    if let Some(address) = addresses.get(failed as usize % addresses.len().max(1)) {
        peer.set_ip(*address);
    }
}

/// Whether the peer has an address: 0.0.0.0 stands for a name that was not looked up yet.
pub fn is_known(peer: SocketAddrV4) -> bool {
    !peer.ip().is_unspecified()
}
