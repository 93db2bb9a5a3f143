//! One session with one agent, without its socket: bytes in, bytes out, time as an argument.
//!
//! ```text
//! Preface ──▶ Hello ──▶ Greeted ──(commit)──▶ Open ──▶ ended
//! ```
//!
//! What always holds: Welcome and Ack speak only of what a commit has made durable; each seq of a boot is in Data
//! or in a Lost range, in order and without a gap, or the session ends; what waits here is bounded.

use super::access::Access;
use super::limits::{self, Deadlines};
use super::show::escape;
use super::store::{Boot, Greeted, Store};
use outpost_wire::limits::FRAME_MAX;
use outpost_wire::noise::{NotAuthentic, Opening, SEALED_MAX, TAG_LEN, Transport};
use outpost_wire::session::{Ack, Bye, ByeReason, Data, FrameError, Hello, LossReason, Lost, Message, Welcome};
use outpost_wire::session::{MAGIC, Mode, PREFACE_LEN, VERSION};
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The agent closed the connection, or it broke.
    Closed,
    /// What came first is not the preface of our protocol.
    NotOurs,
    /// The agent speaks this version, which we do not.
    Version(u8),
    /// The agent asks for this mode, which we do not serve.
    Mode(u8),
    /// The agent asks for a clear session, and only keyed ones are served.
    KeyRequired,
    /// The agent of this name, if it is that, did not prove that it knows its key.
    NotAuthenticated(String),
    /// An agent that proved to be the first of these says that it is the second.
    Hijack(String, String),
    /// A frame cannot be read.
    Frame(FrameError),
    /// Record number this of a batch cannot be read.
    Record(u64),
    /// The next seq of a boot is not the expected one.
    Gap {
        /// The seq that had to come, or an earlier one.
        expected: u64,
        /// The seq that came.
        got: u64,
    },
    /// A message that has no place where it came, or says what cannot be.
    Unexpected(&'static str),
    /// Something took longer than it may.
    Slow(&'static str),
    /// The store failed.
    Storage(String),
    /// The collector stops.
    Shutdown,
}

impl End {
    /// One word for counters.
    pub fn word(&self) -> &'static str {
        match self {
            End::Closed => "closed",
            End::NotOurs => "not_ours",
            End::Version(_) => "version",
            End::Mode(_) => "mode",
            End::KeyRequired => "key_required",
            End::NotAuthenticated(_) => "not_authenticated",
            End::Hijack(..) => "hijack",
            End::Frame(FrameError::Crc) => "crc",
            End::Frame(_) | End::Record(_) => "malformed",
            End::Gap { .. } => "gap",
            End::Unexpected(_) => "unexpected",
            End::Slow(_) => "slow",
            End::Storage(_) => "storage",
            End::Shutdown => "shutdown",
        }
    }

    /// What the agent is told; nothing when it is gone or was never one of ours.
    fn bye(&self) -> Option<ByeReason> {
        match self {
            // Who has not proven anything gets not one byte that depends on what it sent.
            End::Closed | End::NotOurs | End::NotAuthenticated(_) => None,
            End::KeyRequired => Some(ByeReason::KeyRequired),
            End::Version(_) | End::Mode(_) => Some(ByeReason::Version),
            End::Storage(_) => Some(ByeReason::Storage),
            End::Shutdown => Some(ByeReason::Shutdown),
            End::Frame(_) | End::Record(_) | End::Gap { .. } | End::Unexpected(_) | End::Hijack(..) | End::Slow(_) => {
                Some(ByeReason::Protocol)
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => write!(f, "the agent closed the connection"),
            End::NotOurs => write!(f, "what it sent is not Outpost's log protocol"),
            End::Version(version) => {
                write!(f, "it speaks version {version} of the protocol, this collector {VERSION}: update the older one")
            }
            End::Mode(1) => {
                write!(
                    f,
                    "it asks for a keyed session, and this collector has no keys: start it with --keys FILE, or remove \
                     collector.key from the agent's configuration"
                )
            }
            End::KeyRequired => write!(
                f,
                "it asks for a clear session, and this collector serves keyed ones only: give the agent a \
                 collector.key (outpost key new), or start the collector with --allow-clear"
            ),
            End::NotAuthenticated(agent) => write!(
                f,
                "it did not prove that it knows the key of {}: compare collector.key in its configuration, and its \
                 name, with the key file; or somebody else tries that name",
                escape(agent)
            ),
            End::Hijack(agent, claimed) => {
                write!(f, "it has the key of {} and says that it is {}", escape(agent), escape(claimed))
            }
            End::Mode(mode) => write!(f, "it asks for the unknown mode {mode}"),
            End::Frame(FrameError::Length) => write!(f, "a frame's length is zero or above {FRAME_MAX} bytes"),
            End::Frame(FrameError::Crc) => write!(f, "a frame was damaged on its way (CRC)"),
            End::Frame(FrameError::Body) => write!(f, "a frame's body is not what its kind says"),
            End::Record(seq) => write!(f, "the record with seq {seq} cannot be read"),
            End::Gap { expected, got } => {
                write!(
                    f,
                    "seq {got} came where {expected} had to: what lies between was neither sent nor declared lost"
                )
            }
            End::Unexpected(what) => write!(f, "{what}"),
            End::Slow(what) => write!(f, "{what}"),
            End::Storage(error) => write!(f, "the store failed: {error}"),
            End::Shutdown => write!(f, "the collector stops"),
        }
    }
}

/// A boot that this session speaks of.
#[derive(Debug)]
struct Cursor {
    boot: Boot,
    /// Everything before it was added to the store.
    expected: u64,
    /// Everything up to it is durable: set by a commit.
    durable: u64,
    /// The last Ack, or what Welcome said.
    told: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing is known of the agent; a keyed one has not answered for its name.
    Preface,
    Hello,
    /// Hello is in the store's transaction. Holds `next` of each boot.
    Greeted(Greeted, [u64; 2]),
    Open {
        session: i64,
        boots: [Option<Cursor>; 2],
    },
}

/// What a keyed session is sealed with.
#[derive(Debug)]
struct Channel {
    transport: Transport,
    /// The name that the key belongs to.
    agent: String,
    /// The beginning of a sealed frame whose end has not come.
    inbox: Vec<u8>,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    channel: Option<Channel>,
    peer: String,
    /// The beginning of a frame whose end has not come.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    opened: Duration,
    /// When the last whole frame came.
    heard: Duration,
    /// When the first byte in the inbox came.
    frame_began: Duration,
    /// When the outbox last shrank, or began to fill.
    sent: Duration,
    /// Whether the store's transaction holds something of this session.
    dirty: bool,
    ended: Option<Duration>,
}

impl Session {
    /// A session with this peer, just connected.
    pub fn new(now: Duration, peer: String) -> Session {
        Session {
            state: State::Preface,
            channel: None,
            peer,
            inbox: Vec::new(),
            outbox: Vec::new(),
            opened: now,
            heard: now,
            frame_began: now,
            sent: now,
            dirty: false,
            ended: None,
        }
    }

    /// Takes what came, in pieces of any size, adds it to the store and says how many frames it completed.
    pub fn receive(
        &mut self,
        now: Duration,
        now_us: i64,
        bytes: &[u8],
        access: &mut Access,
        store: &mut Store,
    ) -> Result<usize, End> {
        if self.inbox.is_empty() && self.channel.as_ref().is_none_or(|channel| channel.inbox.is_empty()) {
            self.frame_began = now;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        match &mut self.channel {
            Some(channel) => channel.open(bytes, &mut inbox)?,
            None => inbox.extend_from_slice(bytes),
        }
        if matches!(self.state, State::Preface) {
            self.preface(now, &mut inbox, access)?;
        }
        let (mut rest, mut frames) = (inbox.as_slice(), 0);
        while !matches!(self.state, State::Preface) {
            let Some((message, len)) = Message::decode(rest).map_err(End::Frame)? else { break };
            self.message(now_us, &message, store)?;
            rest = rest.get(len..).unwrap_or_default();
            frames += 1;
        }
        if frames > 0 {
            (self.heard, self.frame_began) = (now, now);
        }
        let taken = inbox.len() - rest.len();
        inbox.drain(..taken);
        self.inbox = inbox;
        Ok(frames)
    }

    /// The store's transaction is durable: Welcome or Ack may be said.
    pub fn committed(&mut self, now: Duration, now_us: i64, store: &mut Store) -> Result<(), End> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Hello) {
            State::Greeted(greeted, next) => self.welcome(now, now_us, greeted, next, store)?,
            State::Open { session, mut boots } => {
                for cursor in boots.iter_mut().flatten() {
                    cursor.durable = cursor.expected - 1;
                }
                self.state = State::Open { session, boots };
            }
            other => self.state = other,
        }
        self.acknowledge(now);
        Ok(())
    }

    /// Ends the session; the outbox may still hold a last message.
    pub fn end(&mut self, now: Duration, end: &End) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(now);
        self.dirty = false;
        self.inbox = Vec::new();
        if let Some(reason) = end.bye() {
            self.say(now, &Message::Bye(Bye { reason }));
        }
    }

    /// When it ended.
    pub fn ended(&self) -> Option<Duration> {
        self.ended
    }

    /// Whether the store's transaction holds something of this session.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The address of the other end, for people.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The row of this session in the store.
    pub fn row(&self) -> Option<i64> {
        match &self.state {
            State::Open { session, .. } => Some(*session),
            State::Greeted(greeted, _) => Some(greeted.session),
            _ => None,
        }
    }

    /// The boot that speaks, once Hello has come.
    pub fn boot(&self) -> Option<&Boot> {
        match &self.state {
            State::Open { boots: [current, _], .. } => current.as_ref().map(|cursor| &cursor.boot),
            State::Greeted(greeted, _) => greeted.boots[0].as_ref(),
            _ => None,
        }
    }

    /// What waits to be sent.
    pub fn outbox(&self) -> &[u8] {
        &self.outbox
    }

    /// So many bytes of the outbox were taken by the network.
    pub fn sent(&mut self, now: Duration, len: usize) {
        self.outbox.drain(..len.min(self.outbox.len()));
        self.sent = now;
        self.acknowledge(now);
    }

    /// The nearest deadline and what it means to miss it.
    pub fn deadline(&self, deadlines: &Deadlines) -> (Duration, &'static str) {
        if let Some(ended) = self.ended {
            return (ended + deadlines.linger, "it did not close in time");
        }
        let mut nearest = match self.state {
            State::Preface | State::Hello => (self.opened + deadlines.hello, "no Hello came in time"),
            _ => (self.heard + deadlines.silence, "it fell silent"),
        };
        let mut also = |at, what| {
            if at < nearest.0 {
                nearest = (at, what);
            }
        };
        let sealed = self.channel.as_ref().is_some_and(|channel| !channel.inbox.is_empty());
        if sealed || !self.inbox.is_empty() {
            also(self.frame_began + deadlines.frame, "a frame did not become whole in time");
        }
        if !self.outbox.is_empty() {
            also(self.sent + deadlines.send, "it does not take what is sent to it");
        }
        nearest
    }

    /// Takes what begins the session from the inbox, when all of it is there. Refuses at the first wrong byte, so that
    /// another protocol's client learns it at once.
    fn preface(&mut self, now: Duration, inbox: &mut Vec<u8>, access: &mut Access) -> Result<(), End> {
        if inbox.iter().zip(MAGIC).any(|(byte, magic)| *byte != magic) {
            return Err(End::NotOurs);
        }
        match inbox.get(MAGIC.len()) {
            Some(&version) if version != VERSION => return Err(End::Version(version)),
            _ => {}
        }
        const CLEAR: u8 = Mode::Clear as u8;
        const KEYED: u8 = Mode::Keyed as u8;
        match inbox.get(MAGIC.len() + 1) {
            None => {}
            Some(&CLEAR) if access.allows_clear() => {
                inbox.drain(..PREFACE_LEN);
                self.state = State::Hello;
            }
            Some(&CLEAR) => return Err(End::KeyRequired),
            Some(&KEYED) if access.has_keys() => self.prove(now, inbox, access)?,
            Some(&mode) => return Err(End::Mode(mode)),
        }
        Ok(())
    }

    /// Answers the opening of a keyed session when all of it is there; what comes after it is sealed.
    fn prove(&mut self, now: Duration, inbox: &mut Vec<u8>, access: &mut Access) -> Result<(), End> {
        let refused = |agent: &str| End::NotAuthenticated(agent.to_owned());
        let Some((opening, len)) = Opening::read(inbox).map_err(|_| refused("an impossible name"))? else {
            return Ok(());
        };
        let agent = opening.agent.to_owned();
        let (transport, answer) = access.answer(&opening).map_err(|_| refused(&agent))?;
        if self.outbox.is_empty() {
            self.sent = now;
        }
        self.outbox.extend_from_slice(&answer);
        self.state = State::Hello;
        let sealed = inbox.split_off(len);
        inbox.clear();
        self.channel.insert(Channel { transport, agent, inbox: Vec::new() }).open(&sealed, inbox)
    }

    fn message(&mut self, now_us: i64, message: &Message<'_>, store: &mut Store) -> Result<(), End> {
        let storage = |error: rusqlite::Error| End::Storage(error.to_string());
        match (&mut self.state, message) {
            (_, Message::Unknown(_)) => Ok(()),
            (State::Hello, Message::Hello(hello)) => {
                if let Some(channel) = self.channel.as_ref().filter(|channel| channel.agent != hello.agent) {
                    return Err(End::Hijack(channel.agent.clone(), hello.agent.to_owned()));
                }
                self.dirty = true;
                check(hello)?;
                let greeted = store.hello(hello, &self.peer, now_us).map_err(storage)?;
                let next = [hello.current.next, hello.previous.map_or(1, |range| range.next)];
                self.state = State::Greeted(greeted, next);
                Ok(())
            }
            (State::Open { boots, .. }, Message::Data(data)) => {
                self.dirty = true;
                cursor(boots, data.boot)?.data(data, now_us, store)
            }
            (State::Open { boots, .. }, Message::Lost(lost)) => {
                self.dirty = true;
                cursor(boots, lost.boot)?.lost(lost, now_us, store)
            }
            (State::Open { boots, .. }, Message::Alive(alive)) => {
                // What the agent has emitted and not sent yet is what `verify` calls the unknown tail.
                let cursor = cursor(boots, 0)?;
                if alive.next > cursor.expected && alive.next <= limits::SEQ_MAX {
                    self.dirty = true;
                    store.advance(&cursor.boot, cursor.expected - 1, alive.next, now_us).map_err(storage)?;
                }
                Ok(())
            }
            (State::Hello, _) => Err(End::Unexpected("its first message is not Hello")),
            (State::Greeted(..), _) => Err(End::Unexpected("it spoke before Welcome")),
            _ => Err(End::Unexpected("it sent a message that has no place in an open session")),
        }
    }

    fn welcome(
        &mut self,
        now: Duration,
        now_us: i64,
        greeted: Greeted,
        next: [u64; 2],
        store: &mut Store,
    ) -> Result<(), End> {
        let storage = |error: rusqlite::Error| End::Storage(error.to_string());
        let mut cursors = [None, None];
        for ((cursor, boot), next) in cursors.iter_mut().zip(greeted.boots).zip(next) {
            let Some(boot) = boot else { continue };
            let stored = store.durable(&boot).map_err(storage)?;
            let durable = stored.min(next - 1);
            if durable < stored {
                // A VM restored from a snapshot goes back in its own boot. Claiming more than it has emitted would
                // make it free records that were never stored; so it sends them, and they are kept as conflicts.
                self.dirty = true;
                let detail = json!({ "stored": stored, "next": next });
                store.oddity(&boot, "agent.rewound", detail, now_us).map_err(storage)?;
            }
            *cursor = Some(Cursor { boot, expected: durable + 1, durable, told: durable });
        }
        let told = cursors.each_ref().map(|cursor| cursor.as_ref().map_or(0, |cursor| cursor.told));
        self.state = State::Open { session: greeted.session, boots: cursors };
        self.say(now, &Message::Welcome(Welcome { features: 0, current: told[0], previous: told[1] }));
        Ok(())
    }

    /// Says what became durable, as far as there is room; the next time makes up for what had none.
    fn acknowledge(&mut self, now: Duration) {
        if self.ended.is_some() {
            return;
        }
        let State::Open { boots, .. } = &mut self.state else { return };
        let mut acks = [None, None];
        for ((number, cursor), ack) in (0..).zip(boots.iter_mut()).zip(&mut acks) {
            let Some(cursor) = cursor else { continue };
            // One frame of room stays free for Bye.
            if cursor.durable > cursor.told && self.outbox.len() + 2 * SEALED_MAX <= limits::OUTBOX {
                cursor.told = cursor.durable;
                *ack = Some(Ack { boot: number, seq: cursor.durable });
            }
        }
        for ack in acks.into_iter().flatten() {
            self.say(now, &Message::Ack(ack));
        }
    }

    fn say(&mut self, now: Duration, message: &Message<'_>) {
        if self.outbox.is_empty() {
            self.sent = now;
        }
        let mut buffer = [0; SEALED_MAX];
        let Some(len) = buffer.get_mut(2..2 + FRAME_MAX).and_then(|frame| message.encode(frame)) else { return };
        let bytes = match &mut self.channel {
            Some(channel) => channel.transport.seal(&mut buffer, len).and_then(|len| buffer.get(..len)),
            None => buffer.get(2..2 + len),
        };
        self.outbox.extend_from_slice(bytes.unwrap_or_default());
    }
}

impl Channel {
    /// Takes what came and appends the frames that it completes to `frames`.
    fn open(&mut self, bytes: &[u8], frames: &mut Vec<u8>) -> Result<(), End> {
        self.inbox.extend_from_slice(bytes);
        let mut rest = self.inbox.as_mut_slice();
        let mut opened = 0;
        loop {
            match self.transport.open(rest) {
                Err(NotAuthentic) => return Err(End::NotAuthenticated(self.agent.clone())),
                Ok(None) => break,
                Ok(Some(taken)) => {
                    frames.extend_from_slice(rest.get(2..taken - TAG_LEN).unwrap_or_default());
                    rest = rest.get_mut(taken..).unwrap_or_default();
                    opened += taken;
                }
            }
        }
        self.inbox.drain(..opened);
        Ok(())
    }
}

impl Cursor {
    fn data(&mut self, data: &Data<'_>, now_us: i64, store: &mut Store) -> Result<(), End> {
        let storage = |error: rusqlite::Error| End::Storage(error.to_string());
        self.accept(data.first_seq, data.first_seq)?;
        let mut next = data.first_seq;
        for record in data.records() {
            let record = record.map_err(|_| End::Record(next))?;
            self.accept(record.seq, record.seq)?;
            store.record(&self.boot, &record, now_us).map_err(storage)?;
            next = record.seq + 1;
            self.expected = self.expected.max(next);
        }
        store.advance(&self.boot, self.expected - 1, self.expected, now_us).map_err(storage)
    }

    fn lost(&mut self, lost: &Lost, now_us: i64, store: &mut Store) -> Result<(), End> {
        let storage = |error: rusqlite::Error| End::Storage(error.to_string());
        self.accept(lost.from, lost.to)?;
        if lost.to < self.expected {
            return Ok(());
        }
        // What we hold is not lost, whatever the agent knows of it.
        let from = lost.from.max(self.expected);
        store.lost(&self.boot, from, lost.to, lost.reason, now_us).map_err(storage)?;
        if lost.reason == LossReason::CollectorRolledBack {
            let detail = json!({ "from": from, "to": lost.to });
            store.oddity(&self.boot, "collector.rolled_back", detail, now_us).map_err(storage)?;
        }
        self.expected = lost.to + 1;
        store.advance(&self.boot, lost.to, self.expected, now_us).map_err(storage)
    }

    /// Whether these seqs may come now: the expected one next, or what was there before.
    fn accept(&self, from: u64, to: u64) -> Result<(), End> {
        if to > limits::SEQ_MAX - 1 {
            return Err(End::Unexpected("a seq is larger than the store can order"));
        }
        if from > self.expected {
            return Err(End::Gap { expected: self.expected, got: from });
        }
        Ok(())
    }
}

fn cursor(boots: &mut [Option<Cursor>; 2], number: u8) -> Result<&mut Cursor, End> {
    boots
        .get_mut(usize::from(number))
        .and_then(Option::as_mut)
        .ok_or(End::Unexpected("it speaks of a boot that Hello did not name"))
}

/// Hello's numbers make sense: everything after relies on it.
fn check(hello: &Hello<'_>) -> Result<(), End> {
    let ranges = [Some(hello.current), hello.previous];
    for range in ranges.into_iter().flatten() {
        if range.next == 0 || range.oldest > range.next || range.next > limits::SEQ_MAX {
            return Err(End::Unexpected("Hello names an impossible range of seqs"));
        }
    }
    if hello.previous.is_some_and(|previous| previous.boot_id == hello.current.boot_id) {
        return Err(End::Unexpected("Hello names one boot twice"));
    }
    Ok(())
}
