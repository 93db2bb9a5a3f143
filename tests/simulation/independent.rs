//! The collector's side of the log session, written from the protocol's text and apart from the real collector, over
//! a store that keeps only what was committed.
//!
//! It demands what the protocol promises: each boot's seqs come in order, each once, in a batch or in a lost range,
//! from exactly where Welcome said; and every frame is whole, whatever the network did.

use crate::collector::{Service, SessionId, push};
use crate::oracle::{Oracle, Stored};
use crate::rng::Rng;
use outpost_wire::Record;
use outpost_wire::limits::FRAME_MAX;
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
    out: Vec<u8>,
    ended: bool,
}

/// The independent collector.
pub struct Independent {
    rng: Rng,
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
    pub fn new(rng: Rng, commit_us: u64, ack_before_commit: bool) -> Independent {
        Independent {
            rng,
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

    /// Reads what has come; `false` when the agent broke the protocol.
    fn listen(&mut self, session: &mut Session, now: Instant, oracle: &mut Oracle) -> bool {
        let mut bytes = core::mem::take(&mut session.bytes);
        let mut at = 0;
        let mut healthy = true;
        if !session.greeted && bytes.len() >= PREFACE_LEN {
            healthy = bytes[..PREFACE_LEN] == preface(Mode::Clear);
            session.greeted = true;
            at = PREFACE_LEN;
        }
        while healthy && session.greeted {
            match Message::decode(&bytes[at..]) {
                Ok(Some((message, len))) => {
                    if let Err(problem) = self.take(session, message, now, oracle) {
                        oracle.violation(format!("{now}: session: {problem}"));
                        healthy = false;
                    }
                    at += len;
                }
                Ok(None) => break,
                Err(error) => {
                    oracle.violation(format!("{now}: session: a frame that cannot be read: {error:?}"));
                    healthy = false;
                }
            }
        }
        session.bytes = bytes.split_off(at.min(bytes.len()));
        healthy
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
        if self.ack_before_commit {
            for (place, &(_, next)) in session.boots.iter().enumerate() {
                push(&mut session.out, Message::Ack(Ack { boot: place as u8, seq: next - 1 }));
            }
        }
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
        push(&mut session.out, Message::Welcome(Welcome { features: 0, current, previous }));
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
            for (place, (boot, _)) in session.boots.iter().enumerate() {
                if let Some(shelf) = self.shelves.get(boot) {
                    push(&mut session.out, Message::Ack(Ack { boot: place as u8, seq: shelf.durable }));
                }
            }
        }
    }
}

impl Service for Independent {
    fn connect(&mut self, _now: Instant) -> SessionId {
        self.next_id += 1;
        let session = Session { bytes: Vec::new(), greeted: false, boots: Vec::new(), out: Vec::new(), ended: false };
        self.sessions.insert(self.next_id, session);
        self.next_id
    }

    fn receive(&mut self, now: Instant, id: SessionId, bytes: &[u8], oracle: &mut Oracle) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        session.bytes.extend_from_slice(bytes);
        session.ended |= !self.listen(&mut session, now, oracle);
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
