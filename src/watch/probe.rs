//! One probe: what all kinds have in common. How each kind asks, and what it makes of the answer, stands in a file of its
//! own ([`super::http`], [`super::tcp`]).
//!
//! ```text
//! start ─▶ Connecting ────────────▶ the kind's own ─────────────────────────────────▶ Outcome
//!            │ refused, timeout_connect  │ what the kind says, timeout_response, slow
//! ```
//! No IO of its own: its TCP socket is an argument. What always holds: a probe that was started gives exactly one outcome,
//! at its deadline at the latest, whatever the target does.

use super::http::Page;
use super::standing::Outcome;
use super::tcp::Greeting;
use crate::config::checks::{Check, Checks, Kind, Words};
use crate::limits::PROBE_CONNECT_TIME;
use core::net::Ipv4Addr;
use outpost_wire::ProbeReason;
use smoltcp::iface::Context;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};

/// What is probed.
#[derive(Clone, Copy)]
pub struct Target<'c> {
    /// The check.
    pub check: &'c Check,
    /// The table that it stands in.
    pub checks: &'c Checks,
    /// The address of its host.
    pub address: Ipv4Addr,
}

impl<'c> Target<'c> {
    /// A text of the check.
    pub fn text(&self, words: Words) -> &'c str {
        self.checks.text(words)
    }
}

/// A probe on its way.
pub struct Probe<'c> {
    target: Target<'c>,
    /// W3C trace id and span id of this probe, sent to whoever is asked.
    trace: (u128, u64),
    started: Instant,
    /// Of the state, and of the whole.
    deadline: Instant,
    end: Instant,
    state: State<'c>,
}

enum State<'c> {
    Connecting,
    Greeting(Greeting<'c>),
    Page(Page<'c>),
}

/// How far a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on; to be looked at again at this moment, or when a segment comes.
    Until(Instant),
    /// This came of it.
    Ended(Outcome),
}

impl<'c> Probe<'c> {
    /// Begins to connect; `None` when the network cannot do that now.
    pub fn start(
        now: Instant,
        target: Target<'c>,
        from_port: u16,
        trace: (u128, u64),
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
    ) -> Option<Probe<'c>> {
        socket.abort();
        socket.connect(cx, (target.address, target.check.peer.port), from_port).ok()?;
        socket.set_nagle_enabled(false);
        let timeout = Duration::from_secs(target.check.timeout_s.into());
        // Also for when nobody looks any more: what is left half-closed goes away.
        socket.set_timeout(Some(timeout));
        let deadline = now + timeout.min(PROBE_CONNECT_TIME);
        Some(Probe { target, trace, started: now, deadline, end: now + timeout, state: State::Connecting })
    }

    /// When it is to be looked at if no segment comes before.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the connection is still to come about.
    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    /// The address that is probed.
    pub fn address(&self) -> Ipv4Addr {
        self.target.address
    }

    /// Goes on, in bounded time.
    pub fn poll(&mut self, now: Instant, socket: &mut tcp::Socket<'_>) -> Progress {
        match self.step(now, socket) {
            None => Progress::Until(self.deadline),
            Some(reason) => {
                // A target that did what it should is left in order, another at once.
                if reason == ProbeReason::Ok {
                    socket.close()
                } else {
                    socket.abort()
                }
                let took = now - self.started;
                let slow = match self.target.check.slow_ms {
                    0 => false,
                    slow_ms => took > Duration::from_millis(slow_ms.into()),
                };
                let reason = if slow && reason == ProbeReason::Ok { ProbeReason::Slow } else { reason };
                let status = match &self.state {
                    State::Page(page) => page.status(),
                    State::Connecting | State::Greeting(_) => 0,
                };
                Progress::Ended(Outcome { at: now, took, reason, status })
            }
        }
    }

    fn step(&mut self, now: Instant, socket: &mut tcp::Socket<'_>) -> Option<ProbeReason> {
        if matches!(self.state, State::Connecting) {
            match socket.state() {
                tcp::State::SynSent | tcp::State::SynReceived if now < self.deadline => return None,
                tcp::State::SynSent | tcp::State::SynReceived => return Some(ProbeReason::TimeoutConnect),
                tcp::State::Closed => return Some(ProbeReason::Refused),
                _ => {}
            }
            self.deadline = self.end;
            match self.connected(socket) {
                Ok(state) => self.state = state,
                Err(reason) => return Some(reason),
            }
        }
        let read = match &mut self.state {
            State::Connecting => None,
            State::Greeting(greeting) => greeting.read(socket),
            State::Page(page) => page.read(socket),
        };
        read.or_else(|| (now >= self.deadline).then_some(ProbeReason::TimeoutResponse))
    }

    /// The connection is open: begins what the kind has to do. An error is the end of the probe.
    fn connected(&self, socket: &mut tcp::Socket<'_>) -> Result<State<'c>, ProbeReason> {
        match &self.target.check.kind {
            Kind::Tcp { banner } => Greeting::begin(self.target.text(*banner)).map(State::Greeting),
            Kind::Http { .. } => Page::begin(self.target, self.trace, socket).map(State::Page),
        }
    }
}
