//! The collector host: a TCP listener in front of a collector, and all that can happen to such a host.
//!
//! Two collectors stand behind it, chosen by the seed: the real one, and an independent one that knows the protocol
//! only by its text and refuses what the real one tolerates.

use crate::oracle::{Oracle, Stored};
use crate::rng::Rng;
use crate::station::Station;
use outpost_wire::limits::FRAME_MAX;
use outpost_wire::session::{Ack, Bye, ByeReason, Message, Welcome};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use std::collections::BTreeMap;

/// The collector's port.
pub const PORT: u16 = 7600;

/// Connections it holds at the same time.
const SOCKETS: usize = 4;

/// A connection that says nothing for this long is over.
const SILENCE: Duration = Duration::from_secs(60);

/// Names a session; never given twice.
pub type SessionId = u64;

/// A collector without its sockets.
pub trait Service {
    /// An agent connected.
    fn connect(&mut self, now: Instant) -> SessionId;

    /// Bytes came from it.
    fn receive(&mut self, now: Instant, id: SessionId, bytes: &[u8], oracle: &mut Oracle);

    /// Does what is due and says when there is more.
    fn poll(&mut self, now: Instant) -> Option<Instant>;

    /// What waits to be sent to it.
    fn outbox(&self, id: SessionId) -> &[u8];

    /// So many bytes of that were sent.
    fn sent(&mut self, now: Instant, id: SessionId, len: usize);

    /// Whether the session has ended: its connection is to be closed when its outbox is empty.
    fn has_ended(&self, id: SessionId) -> bool;

    /// Whether it ended so long ago that its connection must go at once.
    fn must_go(&self, now: Instant, id: SessionId) -> bool;

    /// Its connection is gone.
    fn disconnect(&mut self, now: Instant, id: SessionId);

    /// The process is killed and started again: what was not committed is gone, and so are the sessions.
    fn crash(&mut self);

    /// A backup of the store is made.
    fn back_up(&mut self);

    /// After a crash: the store is what the backup holds.
    fn restore(&mut self);

    /// What is stored, for the oracle.
    fn stored(&self) -> BTreeMap<u64, Stored>;

    /// Up to where this boot is stored, or stored as lost.
    fn durable(&self, boot: u64) -> u64;
}

/// How the host behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// It does not listen: connections are refused.
    Away,
    /// It accepts and says nothing.
    Mute,
    /// It answers with bytes that are no frames, and with frames that make no sense.
    Mad,
    /// It says Bye to everyone.
    Full,
}

/// A socket and the session on it.
struct Line {
    handle: SocketHandle,
    session: Option<SessionId>,
    /// What a host that is not well wants to say.
    nonsense: Vec<u8>,
    heard: Instant,
}

/// The collector host.
pub struct Collector {
    pub station: Station,
    pub service: Box<dyn Service>,
    rng: Rng,
    lines: Vec<Line>,
    mood: Mood,
    down: bool,
    /// Sessions that were opened.
    pub sessions: u64,
}

impl Collector {
    pub fn new(mut station: Station, rng: Rng, service: Box<dyn Service>) -> Collector {
        let lines = (0..SOCKETS)
            .map(|_| Line {
                handle: station.tcp_socket(8192, 4096),
                session: None,
                nonsense: Vec::new(),
                heard: Instant::ZERO,
            })
            .collect();
        Collector { station, service, rng, lines, mood: Mood::Well, down: false, sessions: 0 }
    }

    /// The host dies: connections and whatever was not committed are gone.
    pub fn crash(&mut self) {
        self.down = true;
        self.service.crash();
        self.drop_connections();
    }

    /// The host is back, with what its disk holds.
    pub fn restart(&mut self) {
        self.down = false;
    }

    /// The host dies and comes back with the backup.
    pub fn roll_back(&mut self) {
        self.crash();
        self.service.restore();
        self.restart();
    }

    /// The host behaves so from now on; what it had is gone, as after a restart of its process.
    pub fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
        self.service.crash();
        self.drop_connections();
    }

    fn drop_connections(&mut self) {
        self.station.nic.rx.clear();
        for line in &mut self.lines {
            line.session = None;
            line.nonsense.clear();
            self.station.sockets.remove(line.handle);
            line.handle = self.station.tcp_socket(8192, 4096);
        }
    }

    /// Does what is due and says when to come back.
    pub fn poll(&mut self, now: Instant, oracle: &mut Oracle) -> Option<Instant> {
        if self.down {
            self.station.nic.rx.clear();
            return None;
        }
        self.station.poll(now);
        for index in 0..self.lines.len() {
            self.hear(index, now, oracle);
        }
        let service = self.service.poll(now);
        for index in 0..self.lines.len() {
            self.speak(index, now);
        }
        self.station.poll(now);
        let open = self.lines.iter().filter(|line| line.session.is_some());
        let silence = open.map(|line| (line.heard + SILENCE).max(now + Duration::from_millis(1)));
        silence.chain(service).chain(self.station.wake(now)).min()
    }

    /// Takes in what came on one line.
    fn hear(&mut self, index: usize, now: Instant, oracle: &mut Oracle) {
        let line = &mut self.lines[index];
        let socket = self.station.sockets.get_mut::<tcp::Socket>(line.handle);
        match socket.state() {
            State::Closed => {
                if let Some(id) = line.session.take() {
                    self.service.disconnect(now, id);
                }
                if self.mood != Mood::Away {
                    socket.set_timeout(Some(SILENCE));
                    socket.listen(PORT).expect("a closed socket listens");
                }
                return;
            }
            State::Listen | State::SynReceived | State::SynSent => return,
            _ => {}
        }
        if line.session.is_none() && socket.may_recv() {
            line.session = Some(self.service.connect(now));
            line.heard = now;
            self.sessions += u64::from(self.mood == Mood::Well);
        }
        let Some(id) = line.session else { return };
        while socket.can_recv() {
            line.heard = now;
            let mut bytes = Vec::new();
            if socket.recv(|data| (data.len(), bytes.extend_from_slice(data))).is_err() {
                break;
            }
            match self.mood {
                Mood::Well => self.service.receive(now, id, &bytes, oracle),
                Mood::Mad => babble(&mut self.rng, &mut line.nonsense),
                Mood::Full if line.nonsense.is_empty() => {
                    push(&mut line.nonsense, Message::Bye(Bye { reason: ByeReason::Storage }));
                }
                Mood::Full | Mood::Mute | Mood::Away => {}
            }
        }
    }

    /// Sends what waits for one line, and ends it when it is over.
    fn speak(&mut self, index: usize, now: Instant) {
        let line = &mut self.lines[index];
        let socket = self.station.sockets.get_mut::<tcp::Socket>(line.handle);
        let Some(id) = line.session else { return };
        if socket.can_send() {
            let sent = socket.send_slice(&line.nonsense).unwrap_or(0);
            line.nonsense.drain(..sent);
            let sent = socket.send_slice(self.service.outbox(id)).unwrap_or(0);
            self.service.sent(now, id, sent);
        }
        let silent = self.service.outbox(id).is_empty() && line.nonsense.is_empty();
        if now >= line.heard + SILENCE || self.service.must_go(now, id) {
            socket.abort();
            self.service.disconnect(now, id);
        } else if !socket.may_recv() || (self.service.has_ended(id) && silent) {
            socket.close();
        }
    }
}

/// Nonsense of one of the kinds that an agent may meet.
fn babble(rng: &mut Rng, out: &mut Vec<u8>) {
    let boot = rng.pick(&[0, 1, 2, 255]);
    let seq = u64::MAX;
    match rng.below(6) {
        0 => out.extend(rng.bytes(64)),
        1 => push(out, Message::Ack(Ack { boot, seq })),
        2 => push(out, Message::Welcome(Welcome { features: u32::MAX, current: seq, previous: seq })),
        3 => out.extend([0xff, 0xff, 9, 9]),
        4 => out.extend([0, 0, 0, 0]),
        _ => push(out, Message::Bye(Bye { reason: ByeReason::Other(77) })),
    }
}

/// Appends a message as a frame.
pub fn push(out: &mut Vec<u8>, message: Message<'_>) {
    let mut frame = [0; FRAME_MAX];
    let len = message.encode(&mut frame).expect("every message fits a frame");
    out.extend_from_slice(&frame[..len]);
}
