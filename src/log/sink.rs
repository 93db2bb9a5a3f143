//! The sink: records straight to a syslog server (RFC 5424 over TCP), for who has no collector, or not only one.
//!
//! **Next hop only.** Syslog has no acknowledgement: all that can be known is that the next hop's TCP took the bytes.
//! So nothing that goes this way counts as delivered, nothing in the ring is freed by it, and what was sent is counted as
//! `sent_unacknowledged`.
//!
//! ```text
//! Waiting ─until─▶ Connecting ─▶ Open: fill the socket ─▶ TCP acknowledged all of it: sent ─┐
//!    ▲                 │           ▲ └─────────────────────────────────────────────────────┘
//!    └── back-off ◀────┴── closed, silent: what was not acknowledged by TCP is sent again
//! ```
//!
//! No IO of its own: its TCP socket is an argument. What always holds: records of a boot go out in the order of their
//! seqs, and what is missing between two is told by a message in its place; each wait has a deadline; on its way is at most
//! what the socket holds. Of the boot before this one the last [`LOG_SINK_LAST_WORDS`] go first: how it ended must not
//! depend on whether it could still say so, and their identity tells those that come twice.

use super::Log;
use super::names::Names;
use super::retry::{Retry, aim, is_known, is_reached};
use super::ring::{Reader, Step};
use super::ship::Phase;
use super::syslog::{From, Message};
use crate::limits::{
    LOG_ALIVE, LOG_BACKOFF_MAX, LOG_CONNECT_TIME, LOG_OUTAGE_REMINDER, LOG_SILENCE, LOG_SINK_LAST_WORDS, SINK_TX,
};
use crate::time::Time;
use core::fmt::Write;
use core::net::{Ipv4Addr, SocketAddrV4};
use heapless::String;
use outpost_wire::limits::AGENT_NAME_MAX;
use outpost_wire::{Ip4, Record, SessionEnd, SinkConnected, SinkLost};
use smoltcp::iface::Context;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;

/// Digits of an octet count and the space behind it.
const COUNT: usize = 6;

const _: () = assert!(crate::limits::LOG_SINK_MESSAGE < 100_000 && crate::limits::LOG_SINK_MESSAGE + COUNT <= SINK_TX);

/// The connection, for `/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkStatus {
    /// The syslog server; 0.0.0.0 as long as its name has no address.
    pub address: SocketAddrV4,
    /// How far the connection is; never [`Phase::Greeting`].
    pub phase: Phase,
    /// Since when it is open, or since when it is not.
    pub since: Instant,
    /// Attempts that failed, and connections that did not last, since one lasted.
    pub attempts: u32,
    /// How the last connection or attempt ended.
    pub last_end: Option<SessionEnd>,
}

/// The connection to a syslog server.
pub struct Sink {
    status: SinkStatus,
    agent: String<AGENT_NAME_MAX>,
    retry: Retry,
    state: State,
    /// What goes out next, of the boot before this one and of this one.
    readers: [Reader; 2],
    /// The same as it was when TCP had last acknowledged everything, and how many records of this boot went out since.
    sure: [Reader; 2],
    round: u64,
    /// All there is was taken.
    idle: bool,
    /// When an outage was told, and how many attempts failed since.
    lost_told: Option<Instant>,
    untold: u32,
    connected_told: bool,
}

#[derive(Clone, Copy)]
enum State {
    Waiting { until: Instant },
    Connecting { deadline: Instant },
    Open { opened: Instant, deadline: Instant },
}

impl Sink {
    /// A connection to this server, to be opened by the first `poll`. `seed` makes ports and back-off unguessable.
    pub fn new(address: SocketAddrV4, agent: &str, seed: u64, log: &Log<'_>, now: Instant) -> Sink {
        let previous = log.ring.boots().get(1).map_or(Reader::new(0, 1), |boot| {
            Reader::new(boot.id, (boot.acked + 1).max(boot.next.saturating_sub(LOG_SINK_LAST_WORDS)))
        });
        let readers = [previous, Reader::new(log.ring.current().id, 1)];
        Sink {
            status: SinkStatus { address, phase: Phase::Waiting, since: now, attempts: 0, last_end: None },
            // As long as a name may be.
            agent: String::try_from(agent).unwrap_or_default(),
            retry: Retry::new(seed),
            state: State::Waiting { until: now },
            readers,
            sure: readers,
            round: 0,
            idle: false,
            lost_told: None,
            untold: 0,
            connected_told: false,
        }
    }

    /// Where the server is: the address for the next attempt, another one after each that failed. Without any, the last
    /// one stays.
    pub fn aim(&mut self, addresses: &[Ipv4Addr]) {
        if matches!(self.state, State::Waiting { .. }) {
            aim(&mut self.status.address, addresses, self.status.attempts);
        }
    }

    /// How the connection is.
    pub fn status(&self) -> SinkStatus {
        self.status
    }

    /// Whether everything there is was taken by the next hop.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Drives the connection on its own TCP socket, in bounded time; returns when there is more to do if no segment
    /// and no record comes before.
    pub fn poll(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
        log: &mut Log<'_>,
        time: &Time,
        network_up: bool,
    ) -> Option<Instant> {
        self.idle = false;
        let step = match self.state {
            State::Waiting { .. } if !network_up || !is_known(self.status.address) => return None,
            _ if !network_up => Err(SessionEnd::NetworkDown),
            State::Waiting { until } if now < until => Ok(until),
            State::Waiting { .. } => self.connect(now, socket, cx),
            State::Connecting { deadline } => self.connecting(now, socket, log, time, deadline),
            State::Open { opened, deadline } => self.talk(now, socket, log, time, opened, deadline),
        };
        match step {
            Ok(deadline) => Some(deadline),
            Err(reason) => {
                let until = self.end(now, socket, log, reason);
                network_up.then_some(until)
            }
        }
    }

    fn connect(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, cx: &mut Context) -> Result<Instant, SessionEnd> {
        self.retry.dial(socket, cx, self.status.address)?;
        // Who only listens is never heard: TCP has to ask whether it is still there.
        socket.set_keep_alive(Some(LOG_ALIVE));
        let deadline = now + LOG_CONNECT_TIME;
        (self.state, self.status.phase) = (State::Connecting { deadline }, Phase::Connecting);
        Ok(deadline)
    }

    fn connecting(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &mut Log<'_>,
        time: &Time,
        deadline: Instant,
    ) -> Result<Instant, SessionEnd> {
        if !is_reached(socket, now, deadline)? {
            return Ok(deadline);
        }
        (self.status.phase, self.status.since) = (Phase::Connected, now);
        if !self.connected_told {
            self.connected_told = true;
            let (address, port) = self.address();
            log.emit(now, None, SinkConnected { address, port });
        }
        self.talk(now, socket, log, time, now, now + LOG_SILENCE)
    }

    /// Fills the socket whenever TCP has acknowledged all that was in it: so it is known what to send again when the
    /// connection breaks. `deadline` is for what is on its way.
    fn talk(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &mut Log<'_>,
        time: &Time,
        opened: Instant,
        mut deadline: Instant,
    ) -> Result<Instant, SessionEnd> {
        // A receiver has nothing to say. What it says all the same is passed over, or it would fill the window.
        let _ = socket.recv(|bytes| (bytes.len(), ()));
        if !socket.may_send() || !socket.may_recv() {
            return Err(SessionEnd::Closed);
        }
        if now >= opened + LOG_BACKOFF_MAX {
            // It lasts: the next outage is a new one.
            (self.status.attempts, self.lost_told) = (0, None);
        }
        if socket.send_queue() == 0 {
            self.sure = self.readers;
            log.sent_unacknowledged += core::mem::take(&mut self.round);
            deadline = now + LOG_SILENCE;
            self.fill(socket, log, time)?;
            self.idle = socket.send_queue() == 0;
        } else if now >= deadline {
            return Err(SessionEnd::Silent);
        }
        self.state = State::Open { opened, deadline };
        // Looked at now and then also when nothing happens, for a connection that died in silence.
        Ok(if self.idle { now + LOG_ALIVE } else { deadline })
    }

    /// Writes messages until the socket is full or nothing is left to tell.
    fn fill(&mut self, socket: &mut tcp::Socket<'_>, log: &Log<'_>, time: &Time) -> Result<(), SessionEnd> {
        let [previous, current] = &mut self.readers;
        for (reader, names) in [(previous, None), (current, Some(&log.names))] {
            while let Some((message, last, is_record)) = next_message(&self.agent, reader, log, names, time) {
                let mut count = String::<COUNT>::new();
                // It fits: a message has at most five digits of octets.
                let _ = write!(count, "{} ", message.len());
                if socket.send_capacity() - socket.send_queue() < count.len() + message.len() {
                    return Ok(());
                }
                for part in [count.as_bytes(), message.as_bytes()] {
                    socket.send_slice(part).map_err(|_| SessionEnd::Closed)?;
                }
                reader.pass(last);
                self.round += u64::from(is_record && names.is_some());
            }
        }
        Ok(())
    }

    /// Ends the connection or attempt, says so once per outage, and returns when the next attempt is due.
    fn end(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, log: &mut Log<'_>, reason: SessionEnd) -> Instant {
        socket.abort();
        (self.readers, self.round) = (self.sure, 0);
        let was_open = matches!(self.state, State::Open { .. });
        if was_open {
            self.status.since = now;
        }
        (self.status.phase, self.status.last_end) = (Phase::Waiting, Some(reason));
        self.status.attempts = self.status.attempts.saturating_add(1);
        self.untold = self.untold.saturating_add(u32::from(!was_open));
        if self.lost_told.is_none_or(|told| now >= told + LOG_OUTAGE_REMINDER) {
            (self.lost_told, self.connected_told) = (Some(now), false);
            let ((address, port), attempts) = (self.address(), core::mem::take(&mut self.untold));
            log.emit(now, None, SinkLost { address, port, reason, attempts });
        }
        let until = now + self.retry.wait(self.status.attempts);
        self.state = State::Waiting { until };
        until
    }

    fn address(&self) -> (Ip4, u16) {
        (Ip4(self.status.address.ip().octets()), self.status.address.port())
    }
}

/// What comes next for this reader, the last seq that it stands for, and whether it is a record.
fn next_message(
    agent: &str,
    reader: &mut Reader,
    log: &Log<'_>,
    names: Option<&Names>,
    time: &Time,
) -> Option<(Message, u64, bool)> {
    let from = From { agent, boot_id: reader.boot_id() };
    match reader.peek(&log.ring) {
        Step::End => None,
        Step::Lost(first, last, reason) => Some((from.lost(first, last, reason), last, false)),
        Step::Record(seq, body) => {
            // What is in the ring was encoded by us: it can be decoded.
            let record = Record::decode_body(seq, body).ok()?;
            // Monotonic time is that of a boot: of an earlier one no UTC is known here.
            let moment = Instant::from_micros(i64::try_from(record.mono_us).unwrap_or(i64::MAX));
            let utc = names.and_then(|_| time.now(moment));
            Some((from.record(&record, names, utc), seq, true))
        }
    }
}
