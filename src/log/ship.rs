//! Shipping: the agent's side of the log session (`outpost_wire::session`).
//!
//! ```text
//! Waiting ─until─▶ Connecting ─(with a key: Proving)─▶ Greeting ─Welcome─▶ Open ─┐
//!    ▲                  │ deadline, refused              │ deadline           │ closed, silent, Bye, protocol
//!    └── back-off ◀─────┴────────────────────────────────┴────────────────────┘
//! ```
//!
//! With a key each session begins with a handshake of its own (`outpost_wire::noise`), and every frame travels
//! sealed: until the collector has proven that it knows the key, nothing is said but our name, and no byte that it
//! did not seal is believed.
//!
//! No IO of its own: its TCP socket is an argument. A session resumes where the collector says it is and never
//! believes that it holds more than was ever sent. What always holds: of each boot every seq is told in order and
//! once per session, in a record or as lost; nothing is freed before the collector acknowledged it; each wait has
//! a deadline, and what is on its way is bounded ([`LOG_IN_FLIGHT`] frames: counted in what was really sent, for a
//! distance between seqs may be all gap and would stop the session for good).
//!
//! Earlier boots come first, the oldest of them as Hello's `previous`; when it is done and there is another one,
//! a new session tells that.

use super::Log;
use super::retry::{Retry, aim, is_known, is_reached};
use super::ring::{Reader, Step};
use crate::limits::{
    LOG_ALIVE, LOG_BACKOFF_MIN, LOG_BATCH_HOLD, LOG_BATCH_RECORDS, LOG_CONNECT_TIME, LOG_FRAMES_PER_POLL,
    LOG_IN_FLIGHT, LOG_OUTAGE_REMINDER, LOG_SILENCE, SERVE_FIRST,
};
use core::net::{Ipv4Addr, SocketAddrV4};
use heapless::{String, Vec};
use outpost_wire::limits::{AGENT_NAME_MAX, FRAME_MAX};
use outpost_wire::noise::{Ephemerals, HANDSHAKE_LEN, Initiator, Key, OPENING_MAX, SEALED_MAX, TAG_LEN, Transport};
use outpost_wire::session::{
    Ack, Alive, BootRange, ByeReason, DataWriter, Hello, Lost, Message, Mode, Welcome, preface,
};
use outpost_wire::{CATALOGUE_HASH, CollectorConnected, CollectorLost, Ip4, SessionEnd};
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
    /// The first 8 bytes of the SHA-256 of the redacted config, and of the severity rules alone, as [`Ship::identify`] was
    /// told; zeros until then.
    pub hashes: Option<[[u8; 8]; 2]>,
}

/// How the session is kept from strangers.
#[derive(Debug)]
pub enum Security {
    /// Not at all: no key is configured.
    Clear,
    /// By this key, with handshakes of these secrets.
    Keyed(Key, Ephemerals),
    /// A key is configured, but our randomness can be guessed: no session is opened, and records are kept.
    Refused,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two attempts, or without a network.
    Waiting,
    /// A connection is being opened.
    Connecting,
    /// The key is being proven, or Hello is sent and Welcome has not come yet.
    Greeting,
    /// Records travel.
    Connected,
}

impl Phase {
    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Connecting => "connecting",
            Phase::Greeting => "greeting",
            Phase::Connected => "connected",
        }
    }
}

/// The session, for `/status` and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The collector; 0.0.0.0 as long as its name has no address.
    pub address: SocketAddrV4,
    /// How far the session is.
    pub phase: Phase,
    /// Since when it is connected, or since when it is not.
    pub since: Instant,
    /// When the collector last acknowledged anything.
    pub last_ack: Option<Instant>,
    /// Attempts that failed since the collector last acknowledged anything.
    pub attempts: u32,
    /// How the last session or attempt ended.
    pub last_end: Option<SessionEnd>,
    /// Whether a session is, or would be, authenticated and encrypted.
    pub keyed: bool,
}

/// The session to the collector.
pub struct Ship {
    status: Status,
    identity: Identity,
    security: Security,
    retry: Retry,
    state: State,
    channel: Channel,
    /// What was sent and is not acknowledged; kept after a session ended, until Welcome says what of it arrived.
    in_flight: Vec<Sent, LOG_IN_FLIGHT>,
    /// The highest seq of the current boot that was ever sent.
    sent: u64,
    inbox: [u8; SEALED_MAX],
    inbox_len: usize,
    outage: Option<Outage>,
}

#[derive(Clone, Copy)]
enum State {
    Waiting { until: Instant },
    Connecting { deadline: Instant },
    Proving { deadline: Instant },
    Greeting { deadline: Instant, previous: Option<u64> },
    Open(Session),
}

/// What frames travel in.
#[allow(clippy::large_enum_variant, reason = "there is one, and no heap")]
enum Channel {
    /// Nothing around them.
    Clear,
    /// A handshake is under way: no frame may travel.
    Proving(Initiator),
    /// Sealed.
    Keyed(Transport),
}

/// A session in which records travel.
#[derive(Clone, Copy)]
struct Session {
    /// The boots of Hello: the current one and the previous one.
    readers: [Option<Reader>; 2],
    /// When a frame last came, or when the first one was sent that owes us an answer.
    heard: Instant,
    /// When a frame was last sent.
    said: Instant,
    /// Since when something waits for a batch to fill.
    held_since: Option<Instant>,
}

/// One frame on its way.
#[derive(Clone, Copy)]
struct Sent {
    boot_id: u64,
    from: u64,
    to: u64,
    lost: bool,
}

/// A time without the collector, told by one record when it begins and by reminders when it lasts.
struct Outage {
    told: Instant,
    /// A bit for each reason, by its number, that asks somebody to act and was told.
    told_reasons: u32,
    attempts: u32,
}

/// What a collector may say.
enum Heard {
    Welcome(Welcome),
    Ack(Ack),
    Bye(ByeReason),
    Unknown,
}

impl Ship {
    /// A session to this collector, to be opened [`SERVE_FIRST`] after `now`. `seed` makes ports and back-off unguessable.
    pub fn new(address: SocketAddrV4, identity: Identity, security: Security, seed: u64, now: Instant) -> Ship {
        let keyed = matches!(security, Security::Keyed(..));
        let (phase, last_end) = (Phase::Waiting, None);
        let status = Status { address, phase, since: now, last_ack: None, attempts: 0, last_end, keyed };
        Ship {
            status,
            identity,
            security,
            channel: Channel::Clear,
            retry: Retry::new(seed),
            state: State::Waiting { until: now + SERVE_FIRST },
            in_flight: Vec::new(),
            sent: 0,
            inbox: [0; SEALED_MAX],
            inbox_len: 0,
            outage: None,
        }
    }

    /// Drives the session on its own TCP socket (send buffer of 4 KiB or more), in bounded time; returns when there
    /// is more to do if no segment arrives before.
    pub fn poll(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        cx: &mut Context,
        log: &mut Log<'_>,
        network_up: bool,
    ) -> Option<Instant> {
        let step = match self.state {
            State::Waiting { .. } if !network_up || !is_known(self.status.address) => return None,
            State::Waiting { .. } if matches!(self.security, Security::Refused) => {
                self.refuse(now, log);
                return None;
            }
            _ if !network_up => Err(SessionEnd::NetworkDown),
            State::Waiting { until } if now < until => Ok(until),
            State::Waiting { .. } => self.connect(now, socket, cx),
            State::Connecting { deadline } => self.connecting(now, socket, log, deadline),
            State::Proving { deadline } => self.proving(now, socket, log, deadline),
            State::Greeting { deadline, previous } => self.greeting(now, socket, log, deadline, previous),
            State::Open(session) => self.converse(now, socket, log, session),
        };
        match step {
            Ok(deadline) => Some(deadline),
            Err(reason) => {
                let until = self.end(now, socket, log, reason);
                network_up.then_some(until)
            }
        }
    }

    /// What is said of the configuration. It is asked for when the first session is due: a boot has no time for hashes.
    pub fn identify(&mut self, now: Instant, hashes: impl FnOnce() -> [[u8; 8]; 2]) {
        let waits = matches!(self.state, State::Waiting { until } if now < until);
        if !waits && self.identity.hashes.is_none() {
            self.identity.hashes = Some(hashes());
        }
    }

    /// Where the collector is: the address for the next attempt, another one after each that failed. Without any, the
    /// last one stays.
    pub fn aim(&mut self, addresses: &[Ipv4Addr]) {
        if matches!(self.state, State::Waiting { .. }) {
            aim(&mut self.status.address, addresses, self.status.attempts);
        }
    }

    /// How the session is.
    pub fn status(&self) -> Status {
        self.status
    }

    fn connect(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, cx: &mut Context) -> Result<Instant, SessionEnd> {
        self.retry.dial(socket, cx, self.status.address)?;
        self.inbox_len = 0;
        let deadline = now + LOG_CONNECT_TIME;
        (self.state, self.status.phase) = (State::Connecting { deadline }, Phase::Connecting);
        Ok(deadline)
    }

    fn connecting(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &Log<'_>,
        deadline: Instant,
    ) -> Result<Instant, SessionEnd> {
        if !is_reached(socket, now, deadline)? {
            return Ok(deadline);
        }
        let Security::Keyed(key, ephemerals) = &mut self.security else {
            self.channel = Channel::Clear;
            send(socket, &preface(Mode::Clear))?;
            return self.greet(now, socket, log);
        };
        let mut opening = [0; OPENING_MAX];
        let (initiator, len) = Initiator::begin(key, &self.identity.agent, ephemerals.fresh(), &mut opening)
            .ok_or(SessionEnd::NotAuthenticated)?;
        send(socket, opening.get(..len).unwrap_or_default())?;
        self.channel = Channel::Proving(initiator);
        let deadline = now + LOG_CONNECT_TIME;
        (self.state, self.status.phase) = (State::Proving { deadline }, Phase::Greeting);
        Ok(deadline)
    }

    /// Waits for the collector's half of the handshake. A connection that ends here was closed by one who does not
    /// know the key of our name; what is in its way looks the same.
    fn proving(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &Log<'_>,
        deadline: Instant,
    ) -> Result<Instant, SessionEnd> {
        let wanted = self.inbox.get_mut(self.inbox_len..HANDSHAKE_LEN).unwrap_or_default();
        self.inbox_len += socket.recv_slice(wanted).map_err(|_| SessionEnd::NotAuthenticated)?;
        let answer = match self.inbox.first_chunk::<HANDSHAKE_LEN>() {
            Some(answer) if self.inbox_len == HANDSHAKE_LEN => answer,
            _ if now >= deadline => return Err(SessionEnd::Silent),
            _ => return Ok(deadline),
        };
        let Channel::Proving(initiator) = core::mem::replace(&mut self.channel, Channel::Clear) else {
            return Err(SessionEnd::Protocol);
        };
        self.channel = Channel::Keyed(initiator.finish(answer).map_err(|_| SessionEnd::NotAuthenticated)?);
        self.inbox_len = 0;
        self.greet(now, socket, log)
    }

    /// Says Hello.
    fn greet(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, log: &Log<'_>) -> Result<Instant, SessionEnd> {
        let range = |boot: super::Boot| BootRange { boot_id: boot.id, oldest: log.ring.oldest(boot), next: boot.next };
        let previous = log.ring.boots()[1..].last().copied();
        let [config, severities] = self.identity.hashes.unwrap_or_default();
        let hello = Hello {
            features: 0,
            agent: &self.identity.agent,
            current: range(log.ring.current()),
            previous: previous.map(range),
            catalogue: CATALOGUE_HASH,
            image_id: self.identity.image_id,
            config,
            severities,
        };
        send_message(socket, &mut self.channel, &Message::Hello(hello))?;
        let deadline = now + LOG_CONNECT_TIME;
        self.state = State::Greeting { deadline, previous: previous.map(|boot| boot.id) };
        self.status.phase = Phase::Greeting;
        Ok(deadline)
    }

    fn greeting(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &mut Log<'_>,
        deadline: Instant,
        previous: Option<u64>,
    ) -> Result<Instant, SessionEnd> {
        match self.next_message(socket)? {
            None if now < deadline => Ok(deadline),
            None => Err(SessionEnd::Silent),
            Some(Heard::Unknown) => Ok(now),
            Some(Heard::Ack(_)) => Err(SessionEnd::Protocol),
            Some(Heard::Bye(reason)) => Err(refused(reason)),
            Some(Heard::Welcome(welcome)) => self.welcome(now, log, welcome, previous),
        }
    }

    /// Resumes where the collector is. What it claims beyond what was sent (its store may know more of this boot
    /// than a machine that was restored from a snapshot) is sent all the same: it must not free what was not.
    fn welcome(
        &mut self,
        now: Instant,
        log: &mut Log<'_>,
        welcome: Welcome,
        previous: Option<u64>,
    ) -> Result<Instant, SessionEnd> {
        let current = log.ring.current();
        if welcome.current >= current.next {
            return Err(SessionEnd::Protocol);
        }
        let durable = welcome.current.min(self.sent);
        self.acknowledged(log, current.id, durable);
        self.in_flight.clear();
        let previous = previous.and_then(|id| {
            let boot = *log.ring.boots().iter().find(|boot| boot.id == id)?;
            let durable = welcome.previous.min(boot.next - 1);
            log.acknowledge(id, durable, 0);
            Some(Reader::new(id, durable + 1))
        });
        let resume = durable + 1;
        #[cfg(feature = "seeded-bugs")]
        let resume = log.spoil_resume(resume);
        let readers = [Some(Reader::new(current.id, resume)), previous];
        self.state = State::Open(Session { readers, heard: now, said: now, held_since: None });
        (self.status.phase, self.status.since) = (Phase::Connected, now);
        self.outage = None;
        let (address, port) = self.address();
        log.emit(now, None, CollectorConnected { address, port, resume_seq: durable + 1, keyed: self.status.keyed });
        Ok(now)
    }

    fn converse(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &mut Log<'_>,
        mut session: Session,
    ) -> Result<Instant, SessionEnd> {
        let mut more = true;
        for _ in 0..LOG_FRAMES_PER_POLL {
            let Some(heard) = self.next_message(socket)? else {
                more = false;
                break;
            };
            session.heard = now;
            match heard {
                Heard::Ack(ack) => self.ack(now, log, &session, ack)?,
                Heard::Bye(reason) => return Err(refused(reason)),
                Heard::Welcome(_) => return Err(SessionEnd::Protocol),
                Heard::Unknown => {}
            }
        }
        more |= self.tell(now, socket, log, &mut session)?;
        if now >= session.said + LOG_ALIVE && room(socket) >= SEALED_MAX {
            send_message(socket, &mut self.channel, &Message::Alive(Alive { next: log.ring.current().next }))?;
            session.said = now;
        }
        let owed = !self.in_flight.is_empty();
        if owed && now >= session.heard + LOG_SILENCE {
            return Err(SessionEnd::Silent);
        }
        self.state = State::Open(session);
        self.turn_to_next_boot(now, socket, log, &session);
        let hold = session.held_since.map(|since| since + LOG_BATCH_HOLD);
        // Without room Alive waits for a segment, or for the silence that ends the session.
        let alive = (room(socket) >= SEALED_MAX).then_some(session.said + LOG_ALIVE);
        let silence = owed.then_some(session.heard + LOG_SILENCE);
        let deadlines = [alive, hold, silence, more.then_some(now)];
        Ok(deadlines.into_iter().flatten().min().unwrap_or(session.said + LOG_SILENCE))
    }

    /// An acknowledgement is believed only for what this session has told.
    fn ack(&mut self, now: Instant, log: &mut Log<'_>, session: &Session, ack: Ack) -> Result<(), SessionEnd> {
        let reader = session.readers.get(usize::from(ack.boot)).copied().flatten().ok_or(SessionEnd::Protocol)?;
        if ack.seq >= reader.next_seq() {
            return Err(SessionEnd::Protocol);
        }
        self.acknowledged(log, reader.boot_id(), ack.seq);
        (self.status.last_ack, self.status.attempts) = (Some(now), 0);
        Ok(())
    }

    /// Frees what is durable. Of what was on its way up to there, records count as delivered and losses do not.
    fn acknowledged(&mut self, log: &mut Log<'_>, boot_id: u64, seq: u64) {
        let acked = log.ring.boots().iter().find(|boot| boot.id == boot_id).map_or(seq, |boot| boot.acked);
        let mut delivered = 0;
        self.in_flight.retain(|sent| {
            if sent.boot_id == boot_id && !sent.lost {
                delivered += (sent.to.min(seq) + 1).saturating_sub(sent.from.max(acked + 1));
            }
            sent.boot_id != boot_id || sent.to > seq
        });
        log.acknowledge(boot_id, seq, delivered);
    }

    /// Sends what there is to tell, as far as the window and the socket have room; `true` when more could be sent at
    /// once.
    fn tell(
        &mut self,
        now: Instant,
        socket: &mut tcp::Socket<'_>,
        log: &mut Log<'_>,
        session: &mut Session,
    ) -> Result<bool, SessionEnd> {
        for _ in 0..LOG_FRAMES_PER_POLL {
            if self.in_flight.is_full() || room(socket) < SEALED_MAX {
                // Both are made room for by a segment that arrives.
                session.held_since = None;
                return Ok(false);
            }
            let Some((place, reader, step)) = next_step(log, &mut session.readers) else {
                session.held_since = None;
                return Ok(false);
            };
            #[cfg(feature = "seeded-bugs")]
            let Some(step) = log.spoil_step(step, reader) else { continue };
            let from = reader.next_seq();
            if place == 0 && hold_back(now, log, from, &mut session.held_since) {
                return Ok(false);
            }
            let lost = match step {
                Told::Lost(to, reason) => {
                    send_message(socket, &mut self.channel, &Message::Lost(Lost { boot: place, from, to, reason }))?;
                    reader.pass(to);
                    true
                }
                Told::Records => {
                    send_records(socket, &mut self.channel, log, place, reader)?;
                    false
                }
            };
            let sent = Sent { boot_id: reader.boot_id(), from, to: reader.next_seq() - 1, lost };
            if self.in_flight.is_empty() {
                session.heard = now;
            }
            session.said = now;
            let _ = self.in_flight.push(sent);
            if place == 0 {
                self.sent = self.sent.max(sent.to);
                if lost {
                    log.renew_names(now, sent.from, sent.to);
                }
            }
        }
        Ok(true)
    }

    /// When the boot that this session told of first is done, and others wait, a new session begins with the next.
    fn turn_to_next_boot(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, log: &Log<'_>, session: &Session) {
        let earlier = &log.ring.boots()[1..];
        let told = session.readers[1].map(|reader| reader.boot_id());
        if told.is_some_and(|id| !earlier.is_empty() && earlier.iter().all(|boot| boot.id != id)) {
            socket.abort();
            self.state = State::Waiting { until: now + LOG_BACKOFF_MIN };
            (self.status.phase, self.status.since) = (Phase::Waiting, now);
        }
    }

    /// Ends the session or attempt, says so once per outage, and returns when the next attempt is due.
    fn end(&mut self, now: Instant, socket: &mut tcp::Socket<'_>, log: &mut Log<'_>, reason: SessionEnd) -> Instant {
        socket.abort();
        self.channel = Channel::Clear;
        let attempt = !matches!(self.state, State::Open(_));
        if !attempt {
            self.status.since = now;
        }
        (self.status.phase, self.status.last_end) = (Phase::Waiting, Some(reason));
        self.status.attempts = self.status.attempts.saturating_add(1);
        let outage =
            self.outage.get_or_insert(Outage { told: now - LOG_OUTAGE_REMINDER, told_reasons: 0, attempts: 0 });
        outage.attempts = outage.attempts.saturating_add(attempt.into());
        // A stranger in the collector's place, or what it refuses us for, is worth a record, however the outage began.
        let asks = matches!(
            reason,
            SessionEnd::NotAuthenticated
                | SessionEnd::RefusedVersion
                | SessionEnd::RefusedKey
                | SessionEnd::RefusedStorage
                | SessionEnd::RefusedProtocol
        );
        let news = u32::from(asks) << (u8::from(reason) % 32) & !outage.told_reasons;
        if news != 0 || now >= outage.told + LOG_OUTAGE_REMINDER {
            outage.told_reasons |= news;
            let attempts = core::mem::take(&mut outage.attempts);
            outage.told = now;
            let (address, port) = self.address();
            log.emit(now, None, CollectorLost { address, port, reason, attempts });
        }
        let until = now + self.retry.wait(self.status.attempts);
        self.state = State::Waiting { until };
        until
    }

    /// Says once that there will be no session.
    fn refuse(&mut self, now: Instant, log: &mut Log<'_>) {
        if self.status.last_end.is_none() {
            let ((address, port), reason) = (self.address(), SessionEnd::WeakEntropy);
            self.status.last_end = Some(reason);
            log.emit(now, None, CollectorLost { address, port, reason, attempts: 0 });
        }
    }

    fn address(&self) -> (Ip4, u16) {
        (Ip4(self.status.address.ip().octets()), self.status.address.port())
    }

    /// The next whole message, put together from whatever pieces came.
    fn next_message(&mut self, socket: &mut tcp::Socket<'_>) -> Result<Option<Heard>, SessionEnd> {
        // Either what is there is a message, or one read makes it one, or it is not all there.
        for _ in 0..2 {
            let inbox = self.inbox.get_mut(..self.inbox_len).unwrap_or_default();
            let (frame, sealed) = match &mut self.channel {
                Channel::Clear => (&*inbox, None),
                Channel::Proving(_) => return Err(SessionEnd::Protocol),
                Channel::Keyed(transport) => match transport.open(inbox).map_err(|_| SessionEnd::NotAuthenticated)? {
                    Some(taken) => (inbox.get(2..taken - TAG_LEN).unwrap_or_default(), Some(taken)),
                    None => (&[][..], None),
                },
            };
            match Message::decode(frame).map_err(|_| SessionEnd::Protocol)? {
                Some((_, len)) if sealed.is_some() && len != frame.len() => return Err(SessionEnd::Protocol),
                None if sealed.is_some() => return Err(SessionEnd::Protocol),
                Some((message, len)) => {
                    let heard = match message {
                        Message::Welcome(welcome) => Heard::Welcome(welcome),
                        Message::Ack(ack) => Heard::Ack(ack),
                        Message::Bye(bye) => Heard::Bye(bye.reason),
                        Message::Unknown(_) => Heard::Unknown,
                        Message::Hello(_) | Message::Data(_) | Message::Lost(_) | Message::Alive(_) => {
                            return Err(SessionEnd::Protocol);
                        }
                    };
                    let taken = sealed.unwrap_or(len);
                    self.inbox.copy_within(taken..self.inbox_len, 0);
                    self.inbox_len -= taken;
                    return Ok(Some(heard));
                }
                None => {
                    // `recv_slice` also takes what stands across the end of the socket's ring.
                    let free = &mut self.inbox[self.inbox_len..];
                    self.inbox_len += socket.recv_slice(free).map_err(|_| SessionEnd::Closed)?;
                }
            }
        }
        Ok(None)
    }
}

/// How a session ends that the collector ends for this reason.
fn refused(reason: ByeReason) -> SessionEnd {
    match reason {
        ByeReason::Version => SessionEnd::RefusedVersion,
        ByeReason::KeyRequired => SessionEnd::RefusedKey,
        ByeReason::Storage => SessionEnd::RefusedStorage,
        ByeReason::Shutdown => SessionEnd::RefusedShutdown,
        ByeReason::Protocol => SessionEnd::RefusedProtocol,
        ByeReason::Other(_) => SessionEnd::Refused,
    }
}

/// What the next frame tells.
#[derive(Clone, Copy)]
pub(super) enum Told {
    Records,
    Lost(u64, outpost_wire::session::LossReason),
}

/// The boot to tell of next, by its place in Hello, and what: the previous one first.
fn next_step<'s>(log: &Log<'_>, readers: &'s mut [Option<Reader>; 2]) -> Option<(u8, &'s mut Reader, Told)> {
    let [current, previous] = readers;
    for (place, reader) in [(1, previous), (0, current)] {
        let Some(reader) = reader else { continue };
        match reader.peek(&log.ring) {
            Step::End => {}
            Step::Record(..) => return Some((place, reader, Told::Records)),
            Step::Lost(_, to, reason) => return Some((place, reader, Told::Lost(to, reason))),
        }
    }
    None
}

/// Whether little enough waits, and for a short enough time, that a fuller batch is worth the wait.
fn hold_back(now: Instant, log: &Log<'_>, next: u64, held_since: &mut Option<Instant>) -> bool {
    let since = *held_since.get_or_insert(now);
    log.ring.current().next - next < LOG_BATCH_RECORDS && now < since + LOG_BATCH_HOLD
}

fn send_records(
    socket: &mut tcp::Socket<'_>,
    channel: &mut Channel,
    log: &Log<'_>,
    place: u8,
    reader: &mut Reader,
) -> Result<(), SessionEnd> {
    send_frame(socket, channel, |frame| {
        let mut writer = DataWriter::new(frame, place, reader.next_seq())?;
        while let Step::Record(seq, body) = reader.peek(&log.ring)
            && writer.push(seq, body)
        {
            reader.pass(seq);
        }
        writer.finish()
    })
}

fn send_message(socket: &mut tcp::Socket<'_>, channel: &mut Channel, message: &Message<'_>) -> Result<(), SessionEnd> {
    send_frame(socket, channel, |frame| message.encode(frame))
}

/// Sends the frame that `write` makes, sealed where the session is keyed.
fn send_frame(
    socket: &mut tcp::Socket<'_>,
    channel: &mut Channel,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Result<(), SessionEnd> {
    let mut buffer = [0; SEALED_MAX];
    let len = buffer.get_mut(2..2 + FRAME_MAX).and_then(write).ok_or(SessionEnd::Protocol)?;
    let bytes = match channel {
        Channel::Clear => buffer.get(2..2 + len),
        Channel::Proving(_) => None,
        Channel::Keyed(transport) => transport.seal(&mut buffer, len).and_then(|len| buffer.get(..len)),
    };
    send(socket, bytes.ok_or(SessionEnd::Protocol)?)
}

/// Sends all of it or ends the session: half a frame would be the end of its framing.
fn send(socket: &mut tcp::Socket<'_>, bytes: &[u8]) -> Result<(), SessionEnd> {
    match socket.send_slice(bytes) {
        Ok(len) if len == bytes.len() => Ok(()),
        _ => Err(SessionEnd::Closed),
    }
}

fn room(socket: &tcp::Socket<'_>) -> usize {
    socket.send_capacity() - socket.send_queue()
}

#[cfg(test)]
mod tests;
