//! An HTTP client host: opens connections, sends its conversations whole or byte by byte, and judges what comes
//! back.
//!
//! What it demands always: answers in order, each as its request asked for, nothing else, and no connection that
//! stays open and silent. What it demands where there are no faults and no resets: every connection is accepted
//! and every request is answered.

use crate::answer::take_answer;
use crate::http::Conversation;
use crate::rng::Rng;
use crate::station::Station;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

/// Connections a client has open at the same time, at most.
const SLOTS: usize = 6;

/// After this long without an answer and without a fault, a live connection hangs.
const HANG: Duration = Duration::from_secs(75);

/// How long an idle connection is kept for the server to close.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection whose peer does not acknowledge for this long is given up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often an idle connection asks whether the peer is still there: a reset guest answers with RST.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How the client ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// FIN after the last answer.
    Close,
    /// RST after the last answer (HAProxy's check).
    Abort,
    /// FIN after the last request, before its answer.
    HalfClose,
    /// RST in the middle.
    Vanish,
    /// Nothing: the server closes, because it was asked to or by its idle deadline.
    Wait,
}

struct Connection {
    conversation: Conversation,
    answered: usize,
    busy: u64,
    sent: usize,
    received: Vec<u8>,
    /// Bytes per write and the gap between writes.
    chunk: usize,
    gap: Duration,
    next_send: Instant,
    end: End,
    /// When something last went well.
    progress: Instant,
    established: bool,
    strict: bool,
    /// We have closed or aborted.
    ended: bool,
}

struct Slot {
    handle: SocketHandle,
    connection: Option<Connection>,
}

/// The client.
pub struct Client {
    pub station: Station,
    rng: Rng,
    slots: Vec<Slot>,
    server: Ipv4Address,
    operator: bool,
    /// Connections opened from here on meet no fault: each must be accepted and answered in full.
    strict_from: Instant,
    /// Connections still to be opened.
    budget: u64,
    next_open: Instant,
    gap_us: u64,
    next_port: u16,
    /// Since when the network has been without faults.
    calm_since: Instant,
    /// Requests answered as they must be; those of refusable conversations are not counted.
    pub answered: u64,
    /// Of these, how many were told to come again, as others had the answer buffers.
    pub busy: u64,
    pub violations: Vec<String>,
}

impl Client {
    #[expect(clippy::too_many_arguments, reason = "what a scenario decides about a client")]
    pub fn new(
        mut station: Station,
        mut rng: Rng,
        server: Ipv4Address,
        operator: bool,
        strict_from: Instant,
        calm_since: Instant,
        budget: u64,
        gap_us: u64,
        first_open: Instant,
    ) -> Client {
        let slots = (0..SLOTS).map(|_| Slot { handle: station.tcp_socket(4096, 4096), connection: None }).collect();
        let next_port = 20_000 + rng.below(20_000) as u16;
        Client {
            station,
            rng,
            slots,
            server,
            operator,
            strict_from,
            calm_since,
            budget,
            next_open: first_open,
            gap_us,
            next_port,
            answered: 0,
            busy: 0,
            violations: Vec::new(),
        }
    }

    /// Opens no more connections than these, from `first_open` on.
    pub fn set_budget(&mut self, budget: u64, first_open: Instant) {
        self.budget = budget;
        self.next_open = first_open;
    }

    /// Whether all connections have ended.
    pub fn done(&self) -> bool {
        self.budget == 0 && self.slots.iter().all(|slot| slot.connection.is_none())
    }

    /// Does what is due and says when to come back.
    pub fn poll(&mut self, now: Instant) -> Option<Instant> {
        self.station.poll(now);
        for index in 0..self.slots.len() {
            if self.slots[index].connection.is_some() {
                self.drive(index, now);
            } else if self.budget > 0 && now >= self.next_open {
                self.open(index, now);
            }
        }
        self.station.poll(now);
        let free = self.slots.iter().any(|slot| slot.connection.is_none());
        let opens = (self.budget > 0 && free).then_some(self.next_open);
        let sends = self.slots.iter().filter_map(|slot| {
            let connection = slot.connection.as_ref()?;
            let waits = connection.progress.max(self.calm_since).max(now) + HANG;
            // What could not be sent although it was due waits for the window: a segment will wake us.
            let unsent = connection.sent < connection.conversation.bytes.len() && !connection.ended;
            Some(if unsent && connection.next_send > now { connection.next_send } else { waits })
        });
        sends.chain(opens).chain(self.station.wake(now)).min()
    }

    fn open(&mut self, index: usize, now: Instant) {
        let rng = &mut self.rng;
        let conversation = match rng.below(10) {
            0 => Conversation::bad(rng),
            1 => Conversation::truncated(rng),
            _ => {
                let count = rng.range(1, 12) as usize;
                Conversation::good(rng, count, self.operator)
            }
        };
        let len = conversation.bytes.len();
        let (chunk, gap_us) = match rng.below(4) {
            // Byte by byte, but within the server's deadline for a request.
            0 => (1, 1_000_000 / len.max(1) as u64),
            1 => (rng.range(1, 200) as usize, rng.below(5_000)),
            _ => (len, 0),
        };
        let closes = conversation.expected.last().is_some_and(|last| last.closes);
        let end = match rng.below(10) {
            _ if closes || conversation.refusable => End::Wait,
            0..=3 => End::Close,
            4..=5 => End::Abort,
            6 => End::HalfClose,
            7 => End::Vanish,
            _ => End::Wait,
        };
        let slot = &mut self.slots[index];
        let socket = self.station.sockets.get_mut::<tcp::Socket>(slot.handle);
        if socket.state() != State::Closed {
            // TIME-WAIT: forget it, as a host does that reuses the port.
            socket.abort();
            self.next_open = now + Duration::from_millis(1);
            return;
        }
        socket.set_timeout(Some(TIMEOUT));
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_nagle_enabled(false);
        self.next_port = if self.next_port >= 60_000 { 20_000 } else { self.next_port + 1 };
        let opened = socket.connect(self.station.interface.context(), (self.server, 80), self.next_port);
        opened.expect("a closed socket connects");
        slot.connection = Some(Connection {
            conversation,
            answered: 0,
            busy: 0,
            sent: 0,
            received: Vec::new(),
            chunk,
            gap: Duration::from_micros(gap_us),
            next_send: now,
            end,
            progress: now,
            established: false,
            strict: now >= self.strict_from,
            ended: false,
        });
        self.budget -= 1;
        self.next_open = now + Duration::from_micros(self.rng.below(2 * self.gap_us + 1));
    }

    /// Takes one connection as far as it goes now.
    fn drive(&mut self, index: usize, now: Instant) {
        let slot = &mut self.slots[index];
        let Some(connection) = &mut slot.connection else { return };
        let socket = self.station.sockets.get_mut::<tcp::Socket>(slot.handle);
        let local = socket.local_endpoint();
        if !connection.established && socket.may_send() {
            connection.established = true;
            connection.progress = now;
        }
        let before = (connection.answered, connection.busy);
        let received = connection.receive(socket, now);
        if !connection.conversation.refusable {
            self.answered += (connection.answered - before.0) as u64;
            self.busy += connection.busy - before.1;
        }
        let verdict = received.and_then(|()| {
            connection.send(socket, now);
            connection.end(socket, &mut self.rng, now);
            connection.verdict(socket.state(), now, self.calm_since, socket.send_queue())
        });
        match verdict {
            Ok(false) => {}
            Ok(true) => slot.connection = None,
            Err(problem) => {
                let note = format!(
                    "{now}: client {}, {local:?}, state {}, {:?}, sent {} of {}, answered {} of {}: {problem}",
                    self.station.address,
                    socket.state(),
                    connection.end,
                    connection.sent,
                    connection.conversation.bytes.len(),
                    connection.answered,
                    connection.conversation.expected.len(),
                );
                self.violations.push(note);
                socket.abort();
                slot.connection = None;
            }
        }
    }
}

impl Connection {
    fn unanswered(&self) -> bool {
        self.answered < self.conversation.expected.len()
    }

    fn asked_to_close(&self) -> bool {
        self.conversation.refusable || self.conversation.expected.last().is_some_and(|last| last.closes)
    }

    fn receive(&mut self, socket: &mut tcp::Socket<'_>, now: Instant) -> Result<(), String> {
        while socket.can_recv() {
            let received = &mut self.received;
            let taken = socket.recv(|bytes| {
                received.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            if taken.is_err() {
                break;
            }
        }
        while let Some(expectation) = self.conversation.expected.get(self.answered) {
            let Some(answer) = take_answer(&mut self.received, expectation.body)? else { break };
            if answer.status == 408 && !self.strict {
                // What the network delayed too long is refused; the rest of the conversation goes with it.
                self.conversation.refusable = true;
            } else {
                expectation.check(&answer)?;
                self.busy += u64::from(expectation.found_busy(&answer));
            }
            self.answered += 1;
            self.progress = now;
        }
        if self.received.is_empty() || self.unanswered() || self.conversation.refusable {
            return Ok(());
        }
        Err(format!("bytes that nobody asked for: {:?}", String::from_utf8_lossy(&self.received)))
    }

    fn send(&mut self, socket: &mut tcp::Socket<'_>, now: Instant) {
        let rest = &self.conversation.bytes[self.sent..];
        if rest.is_empty() || now < self.next_send || !socket.can_send() || self.ended {
            return;
        }
        let chunk = &rest[..rest.len().min(self.chunk)];
        self.sent += socket.send_slice(chunk).unwrap_or(0);
        self.next_send = now + self.gap;
    }

    /// Ends the connection when its time has come.
    fn end(&mut self, socket: &mut tcp::Socket<'_>, rng: &mut Rng, now: Instant) {
        if self.ended || !self.established {
            return;
        }
        let all_sent = self.sent == self.conversation.bytes.len();
        match self.end {
            _ if socket.state() == State::CloseWait => socket.close(),
            End::Close if !self.unanswered() => socket.close(),
            End::Abort if !self.unanswered() => socket.abort(),
            End::HalfClose if all_sent => socket.close(),
            End::Wait if now > self.progress + PATIENCE && !self.unanswered() && !self.asked_to_close() => {
                socket.close()
            }
            End::Vanish if self.sent > 0 && rng.chance(200) => socket.abort(),
            _ => return,
        }
        self.ended = true;
        self.progress = now;
    }

    /// Whether the connection is over, or what is wrong with it.
    fn verdict(&self, state: State, now: Instant, calm_since: Instant, unacknowledged: usize) -> Result<bool, String> {
        let may_lack_answers = !self.strict || self.conversation.refusable || self.end == End::Vanish;
        match state {
            State::Closed | State::TimeWait | State::LastAck if self.unanswered() && !may_lack_answers => {
                Err("it was closed before every request was answered".into())
            }
            State::Closed if self.strict && !self.ended && !self.conversation.refusable => Err("it was reset".into()),
            State::Closed | State::TimeWait => Ok(true),
            _ if now > self.progress.max(calm_since) + HANG && unacknowledged == 0 => Err("it hangs".into()),
            _ => Ok(false),
        }
    }
}
