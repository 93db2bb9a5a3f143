//! One probe: a connection to a target, and what comes of it.
//!
//! ```text
//! start ─▶ Connecting ────────────▶ Reading ───────────────────────────────────────▶ Outcome
//!            │ refused, timeout_connect  │ closed, malformed, timeout_response, status, body, banner, slow
//! ```
//! No IO of its own: its TCP socket is an argument. What always holds: a probe that was started gives exactly one outcome,
//! at its deadline at the latest, whatever the target does.

use super::response::{Needle, Reading, Response};
use super::standing::Outcome;
use crate::config::checks::{Check, Checks, Kind, Words};
use crate::limits::{PROBE_BANNER, PROBE_CONNECT_TIME, PROBE_TX};
use core::fmt::Write;
use core::net::Ipv4Addr;
use heapless::String;
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
    fn text(&self, words: Words) -> &'c str {
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
    /// What the target has to say first, and how much it has said.
    Banner(Needle<'c>, usize),
    Answer(Response<'c>),
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
                    State::Answer(response) => response.status(),
                    State::Connecting | State::Banner(..) => 0,
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
            State::Banner(needle, read) => read_banner(needle, read, socket),
            State::Answer(response) => read_answer(response, self.target, socket),
        };
        read.or_else(|| (now >= self.deadline).then_some(ProbeReason::TimeoutResponse))
    }

    /// The connection is open: asks what is to be asked. An error is the end of the probe.
    fn connected(&self, socket: &mut tcp::Socket<'_>) -> Result<State<'c>, ProbeReason> {
        match &self.target.check.kind {
            Kind::Tcp { banner } if self.target.text(*banner).is_empty() => Err(ProbeReason::Ok),
            Kind::Tcp { banner } => Ok(State::Banner(Needle::new(self.target.text(*banner).as_bytes()), 0)),
            Kind::Http { head, body, .. } => {
                let request = self.request().map_err(|_| ProbeReason::Malformed)?;
                socket.send_slice(request.as_bytes()).map_err(|_| ProbeReason::Closed)?;
                let needle = if *head { "" } else { self.target.text(*body) };
                Ok(State::Answer(Response::new(needle.as_bytes())))
            }
        }
    }

    /// RFC 9112, section 3; the trace of this probe joins the target's logs with ours (W3C Trace Context, section 3.2).
    fn request(&self) -> Result<String<PROBE_TX>, core::fmt::Error> {
        let check = self.target.check;
        let Kind::Http { path, head, .. } = &check.kind else { return Err(core::fmt::Error) };
        let mut request = String::new();
        write!(request, "{} {} HTTP/1.1\r\nHost: ", if *head { "HEAD" } else { "GET" }, self.target.text(*path))?;
        write!(request, "{}", check.peer.host)?;
        if check.peer.port != HTTP_PORT {
            write!(request, ":{}", check.peer.port)?;
        }
        write!(
            request,
            "\r\nUser-Agent: outpost/{}\r\nAccept: */*\r\nConnection: close\r\ntraceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
            crate::VERSION,
            self.trace.0,
            self.trace.1,
        )?;
        Ok(request)
    }
}

/// The port that a URL need not name.
pub const HTTP_PORT: u16 = 80;

fn read_banner(needle: &mut Needle<'_>, read: &mut usize, socket: &mut tcp::Socket<'_>) -> Option<ProbeReason> {
    while socket.can_recv() && !needle.found() && *read < PROBE_BANNER {
        let _ = socket.recv(|bytes| {
            let bytes = bytes.get(..PROBE_BANNER - *read).unwrap_or(bytes);
            bytes.iter().for_each(|&byte| needle.see(byte));
            *read += bytes.len();
            (bytes.len(), ())
        });
    }
    if needle.found() {
        return Some(ProbeReason::Ok);
    }
    if *read >= PROBE_BANNER {
        return Some(ProbeReason::Banner);
    }
    (!socket.may_recv()).then_some(ProbeReason::Closed)
}

fn read_answer(response: &mut Response<'_>, target: Target<'_>, socket: &mut tcp::Socket<'_>) -> Option<ProbeReason> {
    let mut reading = Reading::More;
    while socket.can_recv() && reading == Reading::More {
        reading = socket.recv(|bytes| (bytes.len(), response.read(bytes))).unwrap_or(Reading::More);
    }
    if reading == Reading::More && !socket.may_recv() {
        if !response.has_begun() {
            return Some(ProbeReason::Closed);
        }
        reading = response.end();
    }
    let Kind::Http { statuses, .. } = &target.check.kind else { return Some(ProbeReason::Malformed) };
    let status = response.status();
    let good = if statuses.is_empty() { (200..300).contains(&status) } else { statuses.contains(&status) };
    match reading {
        Reading::More => None,
        Reading::Malformed => Some(ProbeReason::Malformed),
        Reading::Done if !good => Some(ProbeReason::Status),
        Reading::Done if !response.found() => Some(ProbeReason::Body),
        Reading::Done => Some(ProbeReason::Ok),
    }
}
