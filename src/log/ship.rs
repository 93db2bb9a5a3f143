//! Shipping: the agent's side of the log session.

use super::Log;
use core::net::SocketAddrV4;
use heapless::String;
use outpost_wire::SessionEnd;
use outpost_wire::limits::AGENT_NAME_MAX;
use smoltcp::iface::Context;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;

/// Who we say we are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name from the config.
    pub agent: String<AGENT_NAME_MAX>,
    /// The image id.
    pub image_id: [u8; 32],
    /// The first 8 bytes of the SHA-256 of the redacted config, or zeros.
    pub config: [u8; 8],
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two attempts, or without a network.
    Waiting,
    /// A connection is being opened.
    Connecting,
    /// Hello is sent; Welcome has not come yet.
    Greeting,
    /// Records travel.
    Connected,
}

/// The session, for `/status` and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The collector.
    pub address: SocketAddrV4,
    /// How far the session is.
    pub phase: Phase,
    /// Since when it is connected, or since when it is not.
    pub since: Instant,
    /// When the collector last acknowledged anything.
    pub last_ack: Option<Instant>,
    /// Attempts that failed since it was last connected.
    pub attempts: u32,
    /// How the last session or attempt ended.
    pub last_end: Option<SessionEnd>,
}

/// The session to the collector.
pub struct Ship {
    status: Status,
}

impl Ship {
    /// A session to this collector, to be opened by the first `poll`. `seed` makes ports and back-off unguessable.
    pub fn new(address: SocketAddrV4, identity: Identity, seed: u64, now: Instant) -> Ship {
        let _ = (identity, seed);
        let status = Status { address, phase: Phase::Waiting, since: now, last_ack: None, attempts: 0, last_end: None };
        Ship { status }
    }

    /// Drives the session on its own TCP socket (send buffer of 4 KiB or more, receive buffer of 512 bytes or
    /// more), in bounded time; returns when there is more to do if no segment arrives before.
    pub fn poll(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
        log: &mut Log<'_>,
        network_up: bool,
    ) -> Option<Instant> {
        let _ = (now, socket, cx, log, network_up);
        None
    }

    /// How the session is.
    pub fn status(&self) -> Status {
        self.status
    }
}
