//! The collector's side of the log session, written from the protocol's text and apart from the real collector, over
//! a store that keeps only what was committed.
//!
//! It demands what the protocol promises: each boot's seqs come in order, each once, in a batch or in a lost range,
//! from exactly where Welcome said; and every frame is whole, whatever the network did. With a key it opens no clear
//! session, and without one no keyed one.

use crate::collector::{Service, SessionId, push};
use crate::oracle::{Oracle, Stored};
use crate::probe;
use crate::rng::Rng;
use outpost_wire::Record;
use outpost_wire::limits::FRAME_MAX;
use outpost_wire::noise::{Ephemerals, Key, Opening, SEALED_MAX, TAG_LEN, Transport};
use outpost_wire::session::{Ack, Hello, LossReason, Message, Mode, PREFACE_LEN, Welcome, preface};
use smoltcp::time::{Duration, Instant};
use std::collections::BTreeMap;

/// What one boot's records became, as far as the store knows.
#[derive(Clone, Debug, Default)]
struct Shelf {
    stored: Stored,
    /// Everything up to here is stored, or stored as lost.
    durable: u64,
}

/// One thing that was received and is to be committed.
#[derive(Clone, Debug)]
enum Entry {
    Row { boot: u64, seq: u64, body: Vec<u8> },
    Lost { boot: u64, from: u64, to: u64, reason: LossReason },
}

struct Session {
    bytes: Vec<u8>,
    /// The preface has come.
    greeted: bool,
    /// The boots by their place in Hello, each with the seq that must come next.
    boots: Vec<(u64, u64)>,
    /// What frames are sealed by, in a keyed session.
    transport: Option<Box<Transport>>,
    out: Vec<u8>,
    ended: bool,
}

impl Session {
    fn say(&mut self, message: Message<'_>) {
        let Some(transport) = &mut self.transport else { return push(&mut self.out, message) };
        let mut sealed = [0; SEALED_MAX];
        let len = message.encode(&mut sealed[2..2 + FRAME_MAX]).expect("every message fits a frame");
        let len = transport.seal(&mut sealed, len).expect("every frame can be sealed");
        self.out.extend_from_slice(&sealed[..len]);
    }

    /// The first whole frame of what came, opened where it was sealed, and how many bytes it took.
    fn next_frame(&mut self) -> Result<Option<(Vec<u8>, usize)>, String> {
        if let Some(transport) = &mut self.transport {
            let opened = transport.open(&mut self.bytes).map_err(|_| "a sealed frame that does not open")?;
            return Ok(opened.map(|taken| (self.bytes[2..taken - TAG_LEN].to_vec(), taken)));
        }
        match Message::decode(&self.bytes) {
            Ok(next) => Ok(next.map(|(_, len)| (self.bytes[..len].to_vec(), len))),
            Err(error) => Err(format!("a frame that cannot be read: {error:?}")),
        }
    }
}

/// The independent collector.
pub struct Independent {
    rng: Rng,
    /// The key that every session must have; `None`: none may.
    key: Option<Key>,
    ephemerals: Ephemerals,
    sessions: BTreeMap<SessionId, Session>,
    next_id: SessionId,
    shelves: BTreeMap<u64, Shelf>,
    backup: BTreeMap<u64, Shelf>,
    pending: Vec<Entry>,
    commit_at: Option<Instant>,
    commit_us: u64,
    /// The named bug "ack before commit".
    ack_before_commit: bool,
}

impl Independent {
    /// A collector that commits within so many microseconds.
    pub fn new(rng: Rng, key: Option<[u8; 32]>, commit_us: u64, ack_before_commit: bool) -> Independent {
        Independent {
            ephemerals: Ephemerals::new(&rng.clone().array()),
            rng,
            key: key.map(Key::new),
            sessions: BTreeMap::new(),
            next_id: 0,
            shelves: BTreeMap::new(),
            backup: BTreeMap::new(),
            pending: Vec::new(),
            commit_at: None,
            commit_us,
            ack_before_commit,
        }
    }

    /// Reads what has come; an error when the agent broke the protocol.
    fn listen(&mut self, session: &mut Session, now: Instant, oracle: &mut Oracle) -> Result<(), String> {
        if !session.greeted {
            let Some(begin) = session.bytes.first_chunk::<PREFACE_LEN>() else { return Ok(()) };
            let mode = if self.key.is_some() { Mode::Keyed } else { Mode::Clear };
            if *begin != preface(mode) {
                return Err(format!("not the preface of {mode:?}: {begin:?}"));
            }
            let mut taken = PREFACE_LEN;
            if let Some(key) = &self.key {
                let opening = Opening::read(&session.bytes).map_err(|_| "an opening that cannot be one")?;
                let Some((opening, len)) = opening else { return Ok(()) };
                if opening.agent != probe::AGENT {
                    return Err(format!("{opening:?}"));
                }
                let answered = opening.answer(key, self.ephemerals.fresh());
                let (transport, answer) = answered.map_err(|_| "the agent does not know the key")?;
                session.transport = Some(Box::new(transport));
                session.out.extend(answer);
                taken = len;
            }
            session.greeted = true;
            session.bytes.drain(..taken);
        }
        while let Some((frame, taken)) = session.next_frame()? {
            session.bytes.drain(..taken);
            let (message, len) = match Message::decode(&frame) {
                Ok(Some(whole)) => whole,
                other => return Err(format!("a frame that cannot be read: {other:?}")),
            };
            if len != frame.len() {
                return Err(format!("{} bytes behind a frame", frame.len() - len));
            }
            self.take(session, message, now, oracle)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        session: &mut Session,
        message: Message<'_>,
        now: Instant,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        match message {
            Message::Hello(hello) if session.boots.is_empty() => {
                self.welcome(session, &hello, oracle);
                return Ok(());
            }
            _ if session.boots.is_empty() => return Err(format!("{message:?} before Hello")),
            Message::Data(data) => {
                for record in data.records() {
                    let record: Record<'_> = record.map_err(|error| format!("a record: {error:?}"))?;
                    let mut body = [0; FRAME_MAX];
                    let len = record.encode_body(&mut body).ok_or("a record that is too long")?;
                    let boot = self.advance(session, data.boot, record.seq, record.seq, oracle)?;
                    oracle.received(boot, record.seq, &body[..len]);
                    self.pending.push(Entry::Row { boot, seq: record.seq, body: body[..len].to_vec() });
                }
            }
            Message::Lost(lost) => {
                let boot = self.advance(session, lost.boot, lost.from, lost.to, oracle)?;
                oracle.declare_lost(boot, lost.from, lost.to);
                self.pending.push(Entry::Lost { boot, from: lost.from, to: lost.to, reason: lost.reason });
            }
            Message::Alive(alive) => {
                let last = oracle.last().map_or(0, |(_, last)| last);
                if session.boots[0].0 == oracle.last().map_or(0, |(boot, _)| boot) && alive.next > last + 1 {
                    return Err(format!("{alive:?} when {last} was the last record"));
                }
                return Ok(());
            }
            other => return Err(format!("{other:?} from an agent")),
        }
        let mut acks = Vec::new();
        if self.ack_before_commit {
            for (place, &(_, next)) in session.boots.iter().enumerate() {
                acks.push(Ack { boot: place as u8, seq: next - 1 });
            }
        }
        acks.into_iter().for_each(|ack| session.say(Message::Ack(ack)));
        let commit_at = now + Duration::from_micros(self.rng.below(self.commit_us + 1));
        self.commit_at = Some(self.commit_at.map_or(commit_at, |at| at.min(commit_at)));
        Ok(())
    }

    /// Seqs from `from` to `to` are told now: they must be the next ones of their boot.
    fn advance(
        &mut self,
        session: &mut Session,
        place: u8,
        from: u64,
        to: u64,
        oracle: &mut Oracle,
    ) -> Result<u64, String> {
        let (boot, next) =
            session.boots.get_mut(usize::from(place)).ok_or_else(|| format!("boot {place} is not in Hello"))?;
        if from != *next {
            // Noted and not refused, so that the store shows what became of it.
            let (boot, next) = (*boot, *next);
            oracle.violation(format!("boot {boot:x}: the agent told {from}..={to} where {next} was to come"));
        }
        *next = (*next).max(to + 1);
        Ok(*boot)
    }

    fn welcome(&mut self, session: &mut Session, hello: &Hello<'_>, oracle: &mut Oracle) {
        // The agent has one session at a time: what older ones brought is committed first, then they are over.
        self.commit();
        self.sessions.values_mut().for_each(|older| older.ended = true);
        if let Some((boot, last)) = oracle.last()
            && boot == hello.current.boot_id
            && (hello.current.next > last + 1 || hello.current.oldest > hello.current.next)
        {
            oracle.violation(format!("{:?} when {last} was the last record", hello.current));
        }
        let durable = |boot| self.shelves.get(&boot).map_or(0, |shelf| shelf.durable);
        let current = durable(hello.current.boot_id);
        let previous = hello.previous.map(|range| (range.boot_id, durable(range.boot_id)));
        session.boots = vec![(hello.current.boot_id, current + 1)];
        session.boots.extend(previous.map(|(boot, durable)| (boot, durable + 1)));
        let previous = previous.map_or(0, |(_, durable)| durable);
        session.say(Message::Welcome(Welcome { features: 0, current, previous }));
    }

    /// Makes what is pending durable, then acknowledges it.
    fn commit(&mut self) {
        self.commit_at = None;
        for entry in core::mem::take(&mut self.pending) {
            match entry {
                Entry::Row { boot, seq, body } => {
                    let shelf = self.shelves.entry(boot).or_default();
                    if shelf.stored.rows.insert(seq, body).is_some() {
                        shelf.stored.twice.push(seq);
                    }
                    shelf.durable = shelf.durable.max(seq);
                }
                Entry::Lost { boot, from, to, reason } => {
                    let shelf = self.shelves.entry(boot).or_default();
                    shelf.stored.lost.push((from, to, reason));
                    shelf.durable = shelf.durable.max(to);
                }
            }
        }
        for session in self.sessions.values_mut().filter(|session| !session.ended) {
            for place in 0..session.boots.len() {
                if let Some(shelf) = self.shelves.get(&session.boots[place].0) {
                    session.say(Message::Ack(Ack { boot: place as u8, seq: shelf.durable }));
                }
            }
        }
    }
}

impl Service for Independent {
    fn connect(&mut self, _now: Instant) -> SessionId {
        self.next_id += 1;
        let (bytes, out, boots) = (Vec::new(), Vec::new(), Vec::new());
        let session = Session { bytes, greeted: false, boots, transport: None, out, ended: false };
        self.sessions.insert(self.next_id, session);
        self.next_id
    }

    fn receive(&mut self, now: Instant, id: SessionId, bytes: &[u8], oracle: &mut Oracle) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        session.bytes.extend_from_slice(bytes);
        if let Err(problem) = self.listen(&mut session, now, oracle) {
            oracle.violation(format!("{now}: session: {problem}"));
            session.ended = true;
        }
        self.sessions.insert(id, session);
    }

    fn poll(&mut self, now: Instant) -> Option<Instant> {
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit();
        }
        self.commit_at
    }

    fn outbox(&self, id: SessionId) -> &[u8] {
        self.sessions.get(&id).map_or(&[], |session| &session.out)
    }

    fn sent(&mut self, _now: Instant, id: SessionId, len: usize) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.out.drain(..len);
        }
    }

    fn has_ended(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_none_or(|session| session.ended)
    }

    fn must_go(&self, _now: Instant, _id: SessionId) -> bool {
        false
    }

    fn disconnect(&mut self, _now: Instant, id: SessionId) {
        self.sessions.remove(&id);
    }

    fn crash(&mut self) {
        self.pending.clear();
        self.commit_at = None;
        self.sessions.clear();
    }

    fn back_up(&mut self) {
        self.backup = self.shelves.clone();
    }

    fn restore(&mut self) {
        self.shelves = self.backup.clone();
    }

    fn stored(&self) -> BTreeMap<u64, Stored> {
        self.shelves.iter().map(|(&boot, shelf)| (boot, shelf.stored.clone())).collect()
    }

    fn durable(&self, boot: u64) -> u64 {
        self.shelves.get(&boot).map_or(0, |shelf| shelf.durable)
    }
}
