//! Attempts to reach a peer: when the next one is due, from which port it goes out, and to which address.

use crate::limits::{LOG_BACKOFF_MAX, LOG_BACKOFF_MIN, LOG_SILENCE};
use crate::random::Random;
use core::net::{Ipv4Addr, SocketAddrV4};
use outpost_wire::SessionEnd;
use smoltcp::iface::Context;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};

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
    fn port(&mut self) -> u16 {
        49_152 | (self.random.number() & 0x3fff) as u16
    }

    /// Begins an attempt to reach this peer.
    pub fn dial(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
        peer: SocketAddrV4,
    ) -> Result<(), SessionEnd> {
        socket.abort();
        socket.connect(cx, (*peer.ip(), peer.port()), self.port()).map_err(|_| SessionEnd::NetworkDown)?;
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(LOG_SILENCE));
        Ok(())
    }

    /// The wait after so many failures: doubling from [`LOG_BACKOFF_MIN`] to [`LOG_BACKOFF_MAX`], a random half of it,
    /// so that a fleet does not come back all at once.
    pub fn wait(&mut self, failures: u32) -> Duration {
        let most = LOG_BACKOFF_MIN * (2 << failures.saturating_sub(1).min(10));
        let half = most.min(LOG_BACKOFF_MAX).total_micros() / 2;
        Duration::from_micros(half + ((half * (self.random.number() >> 32)) >> 32))
    }
}

/// Whether the peer has answered, who has until the deadline.
pub fn is_reached(socket: &tcp::Socket<'_>, now: Instant, deadline: Instant) -> Result<bool, SessionEnd> {
    match socket.state() {
        tcp::State::SynSent | tcp::State::SynReceived if now < deadline => Ok(false),
        tcp::State::SynSent | tcp::State::SynReceived => Err(SessionEnd::ConnectTimeout),
        tcp::State::Established | tcp::State::CloseWait => Ok(true),
        _ => Err(SessionEnd::ConnectRefused),
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
