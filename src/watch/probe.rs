//! One probe: what all kinds have in common. How each kind asks, and what it makes of the answer, stands in a file of its
//! own ([`super::http`], [`super::tcp`], [`super::icmp`], [`super::dns`], [`super::ntp`]).
//!
//! ```text
//! start ─┬─▶ Connecting (TCP) ──────────▶ the kind's own ────────────────────────────▶ Outcome
//!        │     │ refused, timeout_connect,  │ what the kind says, timeout_response, slow
//!        │     │ unreachable                │
//!        └─▶ a question of one packet ──────┘
//! ```
//! No IO of its own: its TCP socket and the network are arguments. What always holds: a probe that was started gives exactly one outcome,
//! at its deadline at the latest, whatever the target does.

use super::http::Page;
use super::icmp::Undelivered;
use super::question::Question;
use super::standing::Outcome;
use super::stream::Stream;
use super::tcp::Greeting;
use super::tls::Line;
use crate::config::checks::{Check, Checks, Kind, Words};
use crate::limits::PROBE_CONNECT_TIME;
use crate::net::Network;
use crate::net::frame::{self, Packet};
use crate::net::resolve::Resolver;
use crate::nic::Nic;
use crate::time::Time;
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
    /// Where it is by now.
    address: Ipv4Addr,
    started: Instant,
    /// Of the state, and of the whole.
    deadline: Instant,
    end: Instant,
    state: State<'c>,
}

/// How a probe is told from all others.
pub struct Ways {
    /// The port that its connection goes out from.
    pub from_port: u16,
    /// The number of its check.
    pub number: u16,
    /// What nobody else knows.
    pub nonce: u64,
    /// W3C trace id and span id.
    pub trace: (u128, u64),
}

enum State<'c> {
    Connecting {
        /// Whether a router, or the target itself, says that it cannot be reached. Anybody may say so who guesses a port, so
        /// the connection still has its time to come about: it is a reason, not an end (RFC 5927, section 5.2).
        unreachable: bool,
        /// The page that another has led to.
        page: Option<Page<'c>>,
    },
    Asking(Question),
    /// The connection is open, and becomes one of TLS, for the page that another has led to.
    Securing(Option<Page<'c>>),
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
    /// Begins to connect, or to ask; `None` when the network cannot do that now.
    pub fn start(
        now: Instant,
        target: Target<'c>,
        ways: Ways,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
    ) -> Option<Probe<'c>> {
        let timeout = Duration::from_secs(target.check.timeout_s.into());
        let state = match &target.check.kind {
            Kind::Icmp | Kind::Dns { .. } | Kind::Ntp { .. } => State::Asking(Question::new(ways.number, ways.nonce)),
            // Nobody is asked.
            Kind::Heartbeat { .. } => return None,
            Kind::Tcp { .. } | Kind::Http { .. } => {
                connect(socket, cx, (target.address, target.check.peer.port), ways.from_port, timeout)?;
                State::Connecting { unreachable: false, page: None }
            }
        };
        let deadline = now + timeout.min(PROBE_CONNECT_TIME);
        let (trace, address) = (ways.trace, target.address);
        Some(Probe { target, trace, address, started: now, deadline, end: now + timeout, state })
    }

    /// When it is to be looked at if no segment comes before.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the connection is still to come about, or the question to be sent.
    pub fn is_connecting(&self) -> bool {
        match &self.state {
            State::Connecting { .. } => true,
            State::Asking(question) => question.sent().is_none(),
            State::Securing(_) | State::Greeting(_) | State::Page(_) => false,
        }
    }

    /// Whether the target has accepted a connection.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Securing(_) | State::Greeting(_) | State::Page(_))
    }

    /// Sends what is one packet, as soon as the way is known.
    pub fn send<N: Nic>(&mut self, now: Instant, nic: &mut N, network: &mut Network<'_>) {
        let State::Asking(question) = &mut self.state else { return };
        let Some(own) = network.ip().filter(|_| question.sent().is_none()) else { return };
        let (protocol, packet) = question.packet(self.target, own);
        if network.send(now, nic, self.target.address, protocol, &packet) {
            question.is_sent(now, &packet);
            self.deadline = self.end;
        }
    }

    /// Takes in a packet that may be the answer; `false` when it is not.
    pub fn hear(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        match &mut self.state {
            State::Asking(question) => question.hear(now, self.target, packet),
            _ => false,
        }
    }

    /// Takes in that a packet could not be delivered; `false` when it is none of this probe.
    pub fn is_undelivered(&mut self, undelivered: &Undelivered) -> bool {
        match &mut self.state {
            _ if undelivered.to != self.address => false,
            State::Asking(question) => question.is_unreachable(&undelivered.head),
            State::Connecting { unreachable, .. } if undelivered.protocol == frame::PROTOCOL_TCP => {
                *unreachable = true;
                true
            }
            _ => false,
        }
    }

    /// The address that is probed.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Goes on, in bounded time; `None` when the answer leads elsewhere: then [`Probe::follow`] goes on.
    pub fn poll(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        time: &Time,
        line: Option<&mut Line<'_, '_>>,
    ) -> Option<Progress> {
        let mut again = false;
        match self.step(now, socket, time, line, &mut again) {
            None if matches!(&self.state, State::Page(page) if page.leads()) => {
                socket.abort();
                None
            }
            None => Some(Progress::Until(if again { now } else { self.deadline })),
            Some(reason) => {
                // A target that did what it should is left in order, another at once.
                if reason == ProbeReason::Ok {
                    socket.close()
                } else {
                    socket.abort()
                }
                Some(Progress::Ended(self.outcome(now, reason)))
            }
        }
    }

    /// Begins to connect to where the answer leads, if it may lead there.
    pub fn follow(
        &mut self,
        now: Instant,
        names: &Resolver,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
        from_port: u16,
    ) -> Progress {
        let nowhere = State::Connecting { unreachable: false, page: None };
        let State::Page(mut page) = core::mem::replace(&mut self.state, nowhere) else {
            return Progress::Ended(self.outcome(now, ProbeReason::Redirect));
        };
        let connected = page.follow(names).and_then(|to| {
            connect(socket, cx, to, from_port, self.end - now)?;
            Some(to.0)
        });
        let Some(address) = connected else {
            self.state = State::Page(page);
            return Progress::Ended(self.outcome(now, ProbeReason::Redirect));
        };
        self.state = State::Connecting { unreachable: false, page: Some(page) };
        (self.address, self.deadline) = (address, self.end.min(now + PROBE_CONNECT_TIME));
        Progress::Until(self.deadline)
    }

    fn outcome(&self, now: Instant, reason: ProbeReason) -> Outcome {
        let took = now - self.started;
        let slow = match self.target.check.slow_ms {
            0 => false,
            slow_ms => took > Duration::from_millis(slow_ms.into()),
        };
        let reason = if slow && reason == ProbeReason::Ok { ProbeReason::Slow } else { reason };
        let status = match &self.state {
            State::Page(page) => page.status(),
            State::Connecting { .. } | State::Asking(_) | State::Securing(_) | State::Greeting(_) => 0,
        };
        Outcome { at: now, took, reason, status }
    }

    /// `again` when it could go on at once, but somebody else comes first.
    fn step(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        time: &Time,
        mut line: Option<&mut Line<'_, '_>>,
        again: &mut bool,
    ) -> Option<ProbeReason> {
        if let State::Connecting { unreachable, page } = &self.state {
            match socket.state() {
                tcp::State::SynSent | tcp::State::SynReceived if now < self.deadline => return None,
                tcp::State::SynSent | tcp::State::SynReceived if *unreachable => return Some(ProbeReason::Unreachable),
                tcp::State::SynSent | tcp::State::SynReceived => return Some(ProbeReason::TimeoutConnect),
                tcp::State::Closed => return Some(ProbeReason::Refused),
                _ => {}
            }
            self.deadline = self.end;
            let state = match (&self.target.check.tls, &mut line) {
                (None, _) => self.connected(socket),
                (Some(_), Some(line)) => {
                    line.begin(self.target, page.as_ref().and_then(Page::listed));
                    Ok(State::Securing(self.take_page()))
                }
                // Nobody lent us a session.
                (Some(_), None) => Err(ProbeReason::Tls),
            };
            match state {
                Ok(state) => self.state = state,
                Err(reason) => return Some(reason),
            }
        }
        let (stream, failure): (&mut dyn Stream, _) = match line.filter(|_| self.target.check.tls.is_some()) {
            None => (socket, None),
            Some(line) => {
                *again = line.poll(socket);
                if let State::Securing(_) = self.state {
                    match line.judge(self.target).map(|()| self.connected(line)) {
                        // Without a word it was not open yet.
                        Err(reason) => return reason.or_else(|| self.too_late(now)),
                        Ok(state) => match state {
                            Ok(state) => (self.state, *again) = (state, true),
                            Err(reason) => return Some(reason),
                        },
                    }
                }
                let failure = line.failure();
                (line, failure)
            }
        };
        let read = match &mut self.state {
            State::Connecting { .. } | State::Securing(_) => None,
            State::Asking(question) if question.sent().is_none() => {
                return (now >= self.deadline).then_some(ProbeReason::TimeoutConnect);
            }
            State::Asking(question) => question.outcome(self.target, time),
            State::Greeting(greeting) => greeting.read(stream),
            State::Page(page) => page.read(stream),
        };
        read.or(failure).or_else(|| self.too_late(now))
    }

    /// The page that another has led to.
    fn take_page(&mut self) -> Option<Page<'c>> {
        match &mut self.state {
            State::Connecting { page, .. } | State::Securing(page) => page.take(),
            State::Asking(_) | State::Greeting(_) | State::Page(_) => None,
        }
    }

    fn too_late(&self, now: Instant) -> Option<ProbeReason> {
        (now >= self.deadline).then_some(ProbeReason::TimeoutResponse)
    }

    /// The connection is open: begins what the kind has to do. An error is the end of the probe.
    fn connected(&mut self, stream: &mut dyn Stream) -> Result<State<'c>, ProbeReason> {
        let page = self.take_page();
        match &self.target.check.kind {
            Kind::Tcp { banner } => Greeting::begin(self.target.text(*banner)).map(State::Greeting),
            Kind::Http { .. } => {
                let mut page = page.unwrap_or_else(|| Page::new(self.target));
                page.ask(self.trace, stream)?;
                Ok(State::Page(page))
            }
            // They have no connection.
            Kind::Icmp | Kind::Dns { .. } | Kind::Ntp { .. } | Kind::Heartbeat { .. } => Err(ProbeReason::Malformed),
        }
    }
}

/// Opens a connection; `None` when that cannot be done now.
fn connect(
    socket: &mut tcp::Socket<'_>,
    cx: &mut Context,
    to: (Ipv4Addr, u16),
    from_port: u16,
    timeout: Duration,
) -> Option<()> {
    socket.abort();
    socket.connect(cx, to, from_port).ok()?;
    socket.set_nagle_enabled(false);
    // Also for when nobody looks any more: what is left half-closed goes away.
    socket.set_timeout(Some(timeout));
    Some(())
}
