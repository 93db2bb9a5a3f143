//! The collector without sockets, threads and clock: all sessions, the store, and when to commit.
//!
//! ```text
//! connect, receive, disconnect ─▶ sessions ─▶ store's transaction
//! poll ─▶ commit ─▶ Welcome and Ack into the outboxes, what was stored into the output
//! ```
//!
//! The server drives it with real sockets and the simulation with seeded ones: the same code, and so the same
//! rules. What always holds: one transaction serves all sessions, and when it fails, every session that has
//! something in it ends; so no session ever believes in something that is not in the store.

use super::access::Access;
use super::limits::{self, Deadlines};
use super::retention::Retention;
use super::session::{End, Session};
use super::show::{Output, escape};
use super::store::{Boot, OpenError, Store};
use crate::forward::{self, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Names a session; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The moment of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since any moment.
    pub monotonic: Duration,
    /// Microseconds since 1970-01-01 UTC; may jump.
    pub unix_us: i64,
}

/// The newest session of an agent name.
#[derive(Debug)]
struct Newest {
    id: SessionId,
    since: Duration,
    /// Whether an older one that still speaks was told of: once per newer session bounds how often.
    told: bool,
}

/// An agent, and when it was last heard.
#[derive(Debug)]
struct Watched {
    boot: Boot,
    heard: Duration,
    /// Whether that it is silent was told.
    silent: bool,
}

impl Watched {
    /// When it has to be told of; nothing when it was.
    fn silent_at(&self) -> Option<Duration> {
        (!self.silent).then_some(self.heard + limits::AGENT_SILENT)
    }
}

/// All sessions and the store.
#[derive(Debug)]
pub struct Collector {
    store: Store,
    access: Access,
    deadlines: Deadlines,
    retention: Retention,
    /// When retention looks again.
    retire_at: Duration,
    /// Every agent whose boots are in the store.
    agents: BTreeMap<Arc<str>, Watched>,
    sessions: BTreeMap<SessionId, Session>,
    next_id: u64,
    /// The newest session of each agent name.
    newest: BTreeMap<Arc<str>, Newest>,
    /// When the transaction that waits must be committed.
    commit_at: Option<Duration>,
    /// Whether the last commit failed.
    failing: bool,
    output: Vec<Output>,
    notices: Notices,
    ended: BTreeMap<&'static str, u64>,
}

impl Collector {
    /// A collector with this store and no session.
    pub fn new(store: Store, access: Access, deadlines: Deadlines) -> Collector {
        Collector {
            store,
            access,
            deadlines,
            retention: Retention::default(),
            retire_at: Duration::ZERO,
            agents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_id: 0,
            newest: BTreeMap::new(),
            commit_at: None,
            failing: false,
            output: Vec::new(),
            notices: Notices::default(),
            ended: BTreeMap::new(),
        }
    }

    /// Lets the oldest records go.
    pub fn with_retention(self, retention: Retention) -> Collector {
        Collector { retention, ..self }
    }

    /// An agent connected; `None` when there are as many sessions as there may be.
    pub fn connect(&mut self, now: Now, peer: String) -> Option<SessionId> {
        if self.sessions.len() >= limits::SESSIONS {
            *self.ended.entry("no_room").or_default() += 1;
            self.notice(now, format!("{peer}: refused, there are {} sessions already", limits::SESSIONS));
            return None;
        }
        let id = SessionId(self.next_id);
        self.next_id += 1;
        self.sessions.insert(id, Session::new(now.monotonic, peer));
        Some(id)
    }

    /// Bytes came from an agent.
    pub fn receive(&mut self, now: Now, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.ended().is_some() {
            return;
        }
        let greeted_before = session.boot().is_some();
        let result = session.receive(now.monotonic, now.unix_us, bytes, &mut self.access, &mut self.store);
        let greeted = session.boot().is_some();
        match result {
            Ok(frames) => {
                if greeted && !greeted_before {
                    self.opened(now, id);
                } else if greeted && frames > 0 {
                    self.check_name(now, id);
                }
                if greeted && frames > 0 {
                    self.heard(now, id);
                }
            }
            Err(End::Storage(error)) => self.storage_failed(now, &error),
            Err(end) => self.end(now, id, &end),
        }
        if self.store.is_dirty() && self.commit_at.is_none() {
            self.commit_at = Some(now.monotonic + limits::GROUP_COMMIT);
        }
        if self.store.pending() >= limits::GROUP_COMMIT_ROWS {
            self.commit(now);
        }
    }

    /// The agent's connection is gone.
    pub fn disconnect(&mut self, now: Now, id: SessionId) {
        self.end(now, id, &End::Closed);
        self.sessions.remove(&id);
    }

    /// Does what is due; returns when it wants to be called again at the latest.
    pub fn poll(&mut self, now: Now) -> Option<Duration> {
        let late: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.ended().is_none())
            .map(|(id, session)| (*id, session.deadline(&self.deadlines)))
            .filter(|(_, (at, _))| *at <= now.monotonic)
            .collect();
        for (id, (_, what)) in late {
            self.end(now, id, &End::Slow(what));
        }
        if self.commit_at.is_some_and(|at| at <= now.monotonic) {
            self.commit(now);
        }
        self.look_for_silence(now);
        self.retire(now);
        if let Some(line) = self.notices.held_back(now.monotonic) {
            self.output.push(Output::Notice(line));
        }
        let deadlines = self.sessions.values().map(|session| session.deadline(&self.deadlines).0);
        let retire = (!self.retention.is_none()).then_some(self.retire_at);
        let silence = self.agents.values().filter_map(Watched::silent_at).min();
        deadlines.chain(self.commit_at).chain(self.notices.wake()).chain(retire).chain(silence).min()
    }

    /// What waits to be sent on a session.
    pub fn outbox(&self, id: SessionId) -> &[u8] {
        self.sessions.get(&id).map_or(&[], Session::outbox)
    }

    /// The network took so many bytes of it.
    pub fn sent(&mut self, now: Now, id: SessionId, len: usize) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.sent(now.monotonic, len);
        }
    }

    /// Whether the session has ended: send what is in its outbox and disconnect it.
    pub fn has_ended(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_none_or(|session| session.ended().is_some())
    }

    /// Whether the session has ended so long ago that its connection must go, whatever the agent does.
    pub fn must_go(&self, now: Now, id: SessionId) -> bool {
        let late =
            |session: &Session| session.ended().is_some() && session.deadline(&self.deadlines).0 <= now.monotonic;
        self.sessions.get(&id).is_none_or(late)
    }

    /// The sessions there are, with those that have ended and not been disconnected.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.keys().copied()
    }

    /// Sessions that ended so far, by reason.
    pub fn ended(&self) -> &BTreeMap<&'static str, u64> {
        &self.ended
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What there is to show since the last call.
    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.output)
    }

    /// A line of the server, among those that are bounded per second.
    pub fn notice(&mut self, now: Now, line: String) {
        if self.notices.allow(now.monotonic) {
            self.output.push(Output::Notice(line));
        }
    }

    /// Ends in order: commits and acknowledges what came, and says Bye to every agent.
    pub fn shut_down(&mut self, now: Now) {
        self.commit(now);
        for id in self.sessions().collect::<Vec<_>>() {
            self.end(now, id, &End::Shutdown);
        }
        self.commit(now);
    }

    fn opened(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let Some(boot) = session.boot() else { return };
        let line = format!("{}: session of {} (boot {:016x})", session.peer(), escape(&boot.agent), boot.boot_id);
        self.newest.insert(boot.agent.clone(), Newest { id, since: now.monotonic, told: false });
        self.notice(now, line);
    }

    /// A session that speaks although a newer one of its name is open: two machines have one name. (A session that
    /// only lingers is what an agent leaves behind that lost its link or was reset.)
    fn check_name(&mut self, now: Now, id: SessionId) {
        let Some(boot) = self.sessions.get(&id).and_then(Session::boot).cloned() else { return };
        let Some(newest) = self.newest.get_mut(&boot.agent) else { return };
        if newest.id == id || newest.told || now.monotonic < newest.since + limits::DUPLICATE_GRACE {
            return;
        }
        newest.told = true;
        let other = self.sessions.get(&newest.id);
        let detail = json!({
            "peer": self.sessions.get(&id).map(Session::peer),
            "other_peer": other.map(Session::peer),
            "other_boot": other.and_then(Session::boot).map(|boot| format!("{:016x}", boot.boot_id)),
        });
        if let Err(error) = self.store.oddity(&boot, "agent.duplicate_name", detail, now.unix_us) {
            self.storage_failed(now, &error.to_string());
        }
    }

    /// Something whole came from an agent.
    fn heard(&mut self, now: Now, id: SessionId) {
        let Some(boot) = self.sessions.get(&id).and_then(Session::boot).cloned() else { return };
        let agent = boot.agent.clone();
        let before = self.agents.insert(agent, Watched { boot: boot.clone(), heard: now.monotonic, silent: false });
        if let Some(Watched { heard, silent: true, .. }) = before {
            let silent_s = now.monotonic.saturating_sub(heard).as_secs();
            self.tell(now, &boot, "agent.back", json!({ "silent_s": silent_s }));
        }
    }

    /// Tells once of each agent that has fallen silent. Those that were before this collector started are found
    /// by what the store holds: [`Collector::watch`].
    fn look_for_silence(&mut self, now: Now) {
        let silent: Vec<_> = self
            .agents
            .values_mut()
            .filter(|agent| agent.silent_at().is_some_and(|at| at <= now.monotonic))
            .map(|agent| {
                agent.silent = true;
                (agent.boot.clone(), now.monotonic.saturating_sub(agent.heard).as_secs())
            })
            .collect();
        for (boot, silent_s) in silent {
            self.tell(now, &boot, "agent.silent", json!({ "silent_s": silent_s }));
        }
    }

    /// Watches the agents that the store knows, as if they had been heard just now: one that never comes back is told
    /// of, but not again by each collector that starts.
    pub fn watch(&mut self, now: Now) -> Result<(), OpenError> {
        let agents = self.store.agents().map_err(|error| OpenError::of(&error))?;
        for (boot, silent) in agents {
            self.agents.insert(boot.agent.clone(), Watched { boot, heard: now.monotonic, silent });
        }
        Ok(())
    }

    /// Takes nothing more in, for this reason, or everything again.
    pub fn refuse(&mut self, reason: Option<String>) {
        self.store.refuse(reason);
    }

    /// Why it does not do its work, where it does not.
    pub fn problem(&self) -> Option<String> {
        self.store.refused().map(str::to_owned).or_else(|| self.failing.then(|| "the store fails".to_owned()))
    }

    /// What there is to measure, as Prometheus text. The disk is that of the store, in bytes.
    pub fn metrics(&self, now: Now, disk_size: u64, disk_free: u64) -> String {
        let mut out = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, rows: Vec<(String, f64)>| {
            let _ = writeln!(out, "# HELP outpost_collector_{name} {help}\n# TYPE outpost_collector_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(out, "outpost_collector_{name}{labels} {value}");
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        let label = |name: &str, value: &str| format!("{{{name}=\"{}\"}}", label_value(value));
        let open = self.sessions.values().filter(|session| session.ended().is_none()).count();
        metric("sessions", "gauge", "Sessions that are open.", one(open as f64));
        let ended = self.ended.iter().map(|(why, count)| (label("reason", why), *count as f64)).collect();
        metric("sessions_ended_total", "counter", "Sessions that ended, by reason.", ended);
        metric("agents", "gauge", "Agents that the store knows.", one(self.agents.len() as f64));
        let by_agent = |value: &dyn Fn(&Watched) -> f64| {
            self.agents.iter().map(|(agent, watched)| (label("agent", agent), value(watched))).collect::<Vec<_>>()
        };
        let age = by_agent(&|agent| now.monotonic.saturating_sub(agent.heard).as_secs_f64());
        metric("agent_last_heard_seconds", "gauge", "How long ago an agent was heard, or the collector started.", age);
        let silent = by_agent(&|agent| f64::from(u8::from(agent.silent)));
        metric("agent_silent", "gauge", "Whether an agent has been silent for longer than a minute.", silent);
        let durable = by_agent(&|agent| self.store.durable(&agent.boot).map_or(f64::NAN, |seq| seq as f64));
        metric("agent_durable_seq", "gauge", "Up to which seq the newest boot of an agent is stored.", durable);
        let bytes = self.store.used_bytes().map_or(f64::NAN, |bytes| bytes as f64);
        metric("store_bytes", "gauge", "Bytes of the store that hold something.", one(bytes));
        metric("disk_size_bytes", "gauge", "Bytes of the disk of the store.", one(disk_size as f64));
        metric("disk_free_bytes", "gauge", "Those of them that are free.", one(disk_free as f64));
        let failing = f64::from(u8::from(self.problem().is_some()));
        metric("failing", "gauge", "Whether nothing is acknowledged.", one(failing));
        if let Ok(receivers) = forward::receivers(self.store.connection()) {
            let waiting = |it: &Receiver| (label("forwarder", &it.name), it.waiting as f64);
            let rows = receivers.iter().map(waiting).collect();
            metric("forwarder_waiting_records", "gauge", "Seqs that a forwarder's receiver does not have yet.", rows);
            let age = |it: &Receiver| (label("forwarder", &it.name), (now.unix_us - it.arrived_us).max(0) as f64 / 1e6);
            let rows = receivers.iter().map(age).collect();
            metric("forwarder_last_arrival_seconds", "gauge", "How long ago a receiver last took anything.", rows);
            let refused = |it: &Receiver| (label("forwarder", &it.name), it.refused as f64);
            let rows = receivers.iter().map(refused).collect();
            metric("forwarder_refused_records_total", "counter", "Records that a receiver would not take.", rows);
            let problems = receivers.iter().filter(|it| it.name.starts_with("notify=")).flat_map(|it| {
                let of = |state| format!("{{forwarder=\"{}\",state=\"{state}\"}}", label_value(&it.name));
                [(of("open"), it.open as f64), (of("held"), it.held as f64)]
            });
            metric("problems", "gauge", "Problems told to a receiver and not over, or held.", problems.collect());
        }
        out
    }

    /// Adds an oddity to the store.
    fn tell(&mut self, now: Now, boot: &Boot, event: &str, detail: Value) {
        match self.store.oddity(boot, event, detail, now.unix_us) {
            Ok(()) => self.commit_at = self.commit_at.or(Some(now.monotonic + limits::GROUP_COMMIT)),
            Err(error) => self.storage_failed(now, &error.to_string()),
        }
    }

    /// Lets the oldest records go, a batch at a time.
    fn retire(&mut self, now: Now) {
        if self.retention.is_none() || now.monotonic < self.retire_at || self.failing {
            return;
        }
        match self.store.retire(self.retention, now.unix_us) {
            Ok(0) => self.retire_at = now.monotonic + limits::RETIRE_EVERY,
            Ok(_) => {
                self.retire_at = now.monotonic + limits::RETIRE_PAUSE;
                self.commit_at = self.commit_at.or(Some(now.monotonic + limits::GROUP_COMMIT));
            }
            Err(error) => {
                self.retire_at = now.monotonic + limits::RETIRE_EVERY;
                self.storage_failed(now, &error.to_string());
            }
        }
    }

    fn end(&mut self, now: Now, id: SessionId, end: &End) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.ended().is_some() {
            return;
        }
        let (row, agent) = (session.row(), session.boot().map(|boot| boot.agent.clone()));
        let who = agent.as_ref().map_or(String::new(), |agent| format!(" ({})", escape(agent)));
        let line = format!("{}{who}: session ended: {end}", session.peer());
        session.end(now.monotonic, end);
        *self.ended.entry(end.word()).or_default() += 1;
        if let Some(agent) = agent
            && self.newest.get(&agent).is_some_and(|newest| newest.id == id)
        {
            self.newest.remove(&agent);
        }
        if let (Some(row), false) = (row, self.failing) {
            match self.store.close_session(row, end.word(), now.unix_us) {
                Ok(()) => self.commit_at = self.commit_at.or(Some(now.monotonic + limits::GROUP_COMMIT)),
                Err(error) => self.storage_failed(now, &error.to_string()),
            }
        }
        self.notice(now, line);
    }

    /// Commits what waits; only then the sessions are told.
    fn commit(&mut self, now: Now) {
        self.commit_at = None;
        if !self.store.is_dirty() {
            return;
        }
        match self.store.commit() {
            Ok(stored) => {
                self.output.extend(stored.into_iter().map(Output::Stored));
                if std::mem::take(&mut self.failing) {
                    self.output.push(Output::Notice("the store works again".to_owned()));
                }
            }
            Err(error) => return self.storage_failed(now, &error.to_string()),
        }
        let mut failed = None;
        for session in self.sessions.values_mut().filter(|session| session.ended().is_none()) {
            if let Err(end) = session.committed(now.monotonic, now.unix_us, &mut self.store) {
                failed = Some(end.to_string());
            }
        }
        if let Some(error) = failed {
            self.storage_failed(now, &error);
        } else if self.store.is_dirty() {
            self.commit_at = Some(now.monotonic + limits::GROUP_COMMIT);
        }
    }

    /// Nothing since the last commit is in the store: whoever sent it must send it again.
    fn storage_failed(&mut self, now: Now, error: &str) {
        self.store.roll_back();
        self.commit_at = None;
        if !std::mem::replace(&mut self.failing, true) {
            self.output.push(Output::Notice(format!(
                "the store failed: {error}. Nothing is acknowledged until it works again; agents keep their records. \
                 Look at the disk: is it full?"
            )));
        }
        let dirty: Vec<_> = self.sessions.iter().filter(|(_, session)| session.is_dirty()).map(|(id, _)| *id).collect();
        for id in dirty {
            self.end(now, id, &End::Storage(error.to_owned()));
        }
    }
}

/// A text as the value of a label.
fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Bounds how many lines a second about sessions are shown; whoever connects decides how many there are.
#[derive(Debug, Default)]
struct Notices {
    second: Duration,
    shown: u32,
    held_back: u64,
}

impl Notices {
    fn allow(&mut self, now: Duration) -> bool {
        if now >= self.second + Duration::from_secs(1) {
            (self.second, self.shown) = (now, 0);
        }
        self.shown += 1;
        if self.shown > limits::NOTICES_PER_SECOND {
            self.held_back += 1;
            return false;
        }
        true
    }

    fn held_back(&mut self, now: Duration) -> Option<String> {
        if self.held_back == 0 || now < self.second + Duration::from_secs(1) {
            return None;
        }
        Some(format!("{} more lines about sessions were held back", std::mem::take(&mut self.held_back)))
    }

    fn wake(&self) -> Option<Duration> {
        (self.held_back > 0).then(|| self.second + Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outpost_wire::session::{Ack, BootRange, Bye, ByeReason, DataWriter, Hello, Message, Mode, Welcome, preface};
    use outpost_wire::{Severity, limits::FRAME_MAX};

    const STEP: Duration = Duration::from_millis(1);

    fn at(monotonic: Duration) -> Now {
        Now { monotonic, unix_us: 1_700_000_000_000_000 + monotonic.as_micros() as i64 }
    }

    fn collector() -> Collector {
        Collector::new(Store::in_memory().unwrap(), Access::clear(), Deadlines::default())
    }

    fn frame(message: &Message<'_>) -> Vec<u8> {
        let mut frame = [0; FRAME_MAX];
        let len = message.encode(&mut frame).unwrap();
        frame[..len].to_vec()
    }

    fn greeting(boot_id: u64) -> Vec<u8> {
        let current = BootRange { boot_id, oldest: 1, next: 1 };
        let ids = ([0; 8], [0; 32], [0; 8]);
        let hello = Hello {
            features: 0,
            agent: "a",
            current,
            previous: None,
            catalogue: ids.0,
            image_id: ids.1,
            config: ids.2,
            severities: [0; 8],
        };
        [&preface(Mode::Clear)[..], &frame(&Message::Hello(hello))].concat()
    }

    fn record(seq: u64) -> Vec<u8> {
        let mut frame = [0; FRAME_MAX];
        let mut writer = DataWriter::new(&mut frame, 0, seq).unwrap();
        assert!(writer.push(seq, &[1, Severity::INFO.number(), 0, 4, 0]));
        let len = writer.finish().unwrap();
        frame[..len].to_vec()
    }

    /// Connects and waits for Welcome; the outbox is empty after.
    fn open(collector: &mut Collector, now: Duration) -> SessionId {
        let id = collector.connect(at(now), "peer".to_owned()).unwrap();
        collector.receive(at(now), id, &greeting(7));
        collector.poll(at(now + limits::GROUP_COMMIT));
        assert!(matches!(said(collector, id, now)[..], [Said::Welcome(_)]));
        id
    }

    #[derive(Debug, PartialEq)]
    enum Said {
        Welcome(Welcome),
        Ack(Ack),
        Bye(Bye),
    }

    /// Takes what was said on a session.
    fn said(collector: &mut Collector, id: SessionId, now: Duration) -> Vec<Said> {
        let bytes = collector.outbox(id).to_vec();
        collector.sent(at(now), id, bytes.len());
        let (mut rest, mut all) = (&bytes[..], Vec::new());
        while let Some((message, len)) = Message::decode(rest).unwrap() {
            all.push(match message {
                Message::Welcome(welcome) => Said::Welcome(welcome),
                Message::Ack(ack) => Said::Ack(ack),
                Message::Bye(bye) => Said::Bye(bye),
                other => panic!("{other:?}"),
            });
            rest = &rest[len..];
        }
        all
    }

    #[test]
    fn nothing_is_said_before_the_commit() {
        // An Ack that overtakes its commit is a lost record as soon as the power goes in between.
        let mut collector = collector();
        let mut now = Duration::ZERO;
        let id = collector.connect(at(now), "peer".to_owned()).unwrap();
        collector.receive(at(now), id, &greeting(7));
        assert_eq!(collector.poll(at(now)), Some(limits::GROUP_COMMIT));
        assert_eq!(said(&mut collector, id, now), []);
        now = limits::GROUP_COMMIT;
        collector.poll(at(now));
        assert_eq!(said(&mut collector, id, now), [Said::Welcome(Welcome { features: 0, current: 0, previous: 0 })]);
        collector.receive(at(now), id, &record(1));
        collector.receive(at(now + STEP), id, &record(2));
        collector.poll(at(now + limits::GROUP_COMMIT - STEP));
        assert_eq!(said(&mut collector, id, now), []);
        assert!(collector.take_output().iter().all(|output| !matches!(output, Output::Stored(_))));
        collector.poll(at(now + limits::GROUP_COMMIT));
        assert_eq!(said(&mut collector, id, now), [Said::Ack(Ack { boot: 0, seq: 2 })]);
        assert_eq!(collector.take_output().len(), 2);
    }

    #[test]
    fn the_network_may_cut_anywhere() {
        // TCP keeps no boundaries; a decoder that wants whole frames per read works until it does not.
        let now = Duration::ZERO;
        for piece in [1, 2, 3, 7, 20, 1000] {
            let mut collector = collector();
            let id = collector.connect(at(now), "peer".to_owned()).unwrap();
            greeting(7).chunks(piece).for_each(|bytes| collector.receive(at(now), id, bytes));
            collector.poll(at(now + limits::GROUP_COMMIT));
            assert!(matches!(said(&mut collector, id, now)[..], [Said::Welcome(_)]), "pieces of {piece}");
            let records: Vec<u8> = (1..=50).flat_map(record).collect();
            records.chunks(piece).for_each(|bytes| collector.receive(at(now), id, bytes));
            collector.poll(at(now + limits::GROUP_COMMIT));
            assert_eq!(said(&mut collector, id, now), [Said::Ack(Ack { boot: 0, seq: 50 })], "pieces of {piece}");
        }
    }

    #[test]
    fn a_session_whose_records_could_not_be_stored_ends_and_the_next_one_resumes() {
        // What was rolled back must not be believed stored by any session that sent it.
        let mut collector = collector();
        let now = Duration::ZERO;
        let id = open(&mut collector, now);
        let pages: u32 = collector.store.pragma("page_count");
        collector.store.set_pragma("max_page_count", pages);
        let mut seq = 1;
        while !collector.has_ended(id) {
            collector.receive(at(now), id, &record(seq));
            seq += 1;
            assert!(seq < 10_000, "the store never became full");
        }
        assert_eq!(said(&mut collector, id, now), [Said::Bye(Bye { reason: ByeReason::Storage })]);
        collector.poll(at(now + limits::GROUP_COMMIT));
        assert!(collector.take_output().iter().all(|output| !matches!(output, Output::Stored(_))));
        collector.store.set_pragma("max_page_count", 1_000_000);
        let id = open(&mut collector, now);
        collector.receive(at(now), id, &record(1));
        collector.poll(at(now + limits::GROUP_COMMIT));
        assert_eq!(said(&mut collector, id, now), [Said::Ack(Ack { boot: 0, seq: 1 })]);
    }

    #[test]
    fn whoever_is_too_slow_is_closed_at_its_deadline_and_not_before() {
        // A client that connects and does nothing must not hold one of a bounded number of places for ever.
        let deadlines = Deadlines::default();
        let start = Duration::from_secs(5);
        let closed_after = |mut collector: Collector, id, start: Duration, limit: Duration| {
            assert!(collector.poll(at(start)).is_some_and(|wake| wake <= start + limit));
            collector.poll(at(start + limit - STEP));
            assert!(!collector.has_ended(id), "too early");
            collector.poll(at(start + limit));
            assert!(collector.has_ended(id), "too late");
            assert!(!collector.must_go(at(start + limit), id));
            assert!(collector.must_go(at(start + limit + deadlines.linger), id));
        };
        let mut collector = self::collector();
        let id = collector.connect(at(start), "peer".to_owned()).unwrap();
        collector.receive(at(start + STEP), id, &greeting(7)[..20]);
        closed_after(collector, id, start, deadlines.hello);

        let mut collector = self::collector();
        let id = open(&mut collector, start);
        closed_after(collector, id, start, deadlines.silence);

        // Bytes that do not complete a frame do not count as life.
        let mut collector = self::collector();
        let id = open(&mut collector, start);
        let frame = record(1);
        collector.receive(at(start), id, &frame[..2]);
        collector.receive(at(start + deadlines.frame - STEP), id, &frame[2..4]);
        closed_after(collector, id, start, deadlines.frame);

        let mut collector = self::collector();
        let id = open(&mut collector, start);
        collector.receive(at(start), id, &record(1));
        let acked = start + limits::GROUP_COMMIT;
        collector.poll(at(acked));
        assert!(!collector.outbox(id).is_empty());
        closed_after(collector, id, acked, deadlines.send);
    }

    #[test]
    fn a_client_that_never_reads_costs_a_bounded_outbox() {
        // Acks are cumulative: those held back for want of room are made up by the next.
        let mut collector = collector();
        let now = Duration::ZERO;
        let id = open(&mut collector, now);
        for seq in 1..=1000 {
            collector.receive(at(now), id, &record(seq));
            collector.poll(at(now + limits::GROUP_COMMIT));
            assert!(collector.outbox(id).len() <= limits::OUTBOX);
        }
        let first = said(&mut collector, id, now);
        assert!(first.len() < 1000);
        assert_eq!(said(&mut collector, id, now), [Said::Ack(Ack { boot: 0, seq: 1000 })]);
    }

    #[test]
    fn sessions_and_the_lines_about_them_are_bounded() {
        // A flood of connections must cost neither memory without bound nor a terminal full of lines.
        let mut collector = collector();
        let now = Duration::ZERO;
        let ids: Vec<_> =
            (0..limits::SESSIONS + 100).map_while(|_| collector.connect(at(now), "peer".to_owned())).collect();
        assert_eq!(ids.len(), limits::SESSIONS);
        for id in &ids {
            collector.receive(at(now), *id, b"GET / HTTP/1.1\r\n");
        }
        assert_eq!(collector.ended().get("not_ours"), Some(&(limits::SESSIONS as u64)));
        assert_eq!(collector.take_output().len(), limits::NOTICES_PER_SECOND as usize);
        assert_eq!(collector.connect(at(now), "peer".to_owned()), None, "those that linger still hold their place");
        ids.iter().for_each(|id| collector.disconnect(at(now), *id));
        collector.poll(at(Duration::from_secs(1)));
        assert!(matches!(&collector.take_output()[..], [Output::Notice(line)] if line.contains("held back")));
        assert!(collector.connect(at(now), "peer".to_owned()).is_some());
    }

    #[test]
    fn one_commit_does_not_grow_without_bound() {
        // An agent that catches up fast would otherwise make one transaction of its whole ring.
        let mut collector = collector();
        let now = Duration::ZERO;
        let id = open(&mut collector, now);
        (1..=limits::GROUP_COMMIT_ROWS as u64).for_each(|seq| collector.receive(at(now), id, &record(seq)));
        assert!(!collector.store().is_dirty(), "as many as one commit may have are waiting");
    }

    #[test]
    fn an_agent_that_falls_silent_is_told_of_once_and_so_is_its_return() {
        // Nobody looks at a log that nothing is written to: silence has to speak.
        let oddities = |collector: &mut Collector| -> Vec<String> {
            let stored = |output| match output {
                Output::Stored(stored) if stored.event.starts_with("agent.") && stored.event != "agent.rewound" => {
                    Some(stored.event)
                }
                _ => None,
            };
            collector.take_output().into_iter().filter_map(stored).collect()
        };
        let mut collector = collector();
        let id = open(&mut collector, Duration::ZERO);
        collector.receive(at(Duration::ZERO), id, &record(1));
        collector.disconnect(at(STEP), id);
        collector.poll(at(limits::GROUP_COMMIT));
        let silent = limits::AGENT_SILENT;
        assert!(collector.poll(at(silent - STEP)).is_some_and(|wake| wake <= silent));
        assert_eq!(oddities(&mut collector), [""; 0]);
        collector.poll(at(silent));
        collector.poll(at(silent + limits::GROUP_COMMIT));
        assert_eq!(oddities(&mut collector), ["agent.silent"]);
        collector.poll(at(10 * silent));
        assert_eq!(oddities(&mut collector), [""; 0], "told once");
        // Neither does a collector that is started anew tell it again.
        collector.agents.clear();
        collector.watch(at(10 * silent)).unwrap();
        collector.poll(at(20 * silent));
        collector.poll(at(20 * silent + limits::GROUP_COMMIT));
        assert_eq!(oddities(&mut collector), [""; 0]);
        open(&mut collector, 21 * silent);
        collector.poll(at(21 * silent + 2 * limits::GROUP_COMMIT));
        assert_eq!(oddities(&mut collector), ["agent.back"]);
    }

    #[test]
    fn the_oldest_records_go_in_batches_and_the_others_stay() {
        // Retention that takes one record too many destroys evidence; one that takes all at once stops the acks.
        let keep_us = Some(3_600_000_000);
        let mut collector = collector().with_retention(Retention { keep_us, max_bytes: None });
        let id = open(&mut collector, Duration::ZERO);
        (1..=3000).for_each(|seq| collector.receive(at(Duration::ZERO), id, &record(seq)));
        collector.poll(at(limits::GROUP_COMMIT));
        let hour = Duration::from_secs(3600);
        let before = hour - Duration::from_secs(1);
        let id = {
            collector.disconnect(at(before), id);
            let id = collector.connect(at(before), "peer".to_owned()).unwrap();
            collector.receive(at(before), id, &greeting(8));
            collector.poll(at(before + limits::GROUP_COMMIT));
            id
        };
        (1..=10).for_each(|seq| collector.receive(at(before), id, &record(seq)));
        collector.poll(at(before));
        let count = |collector: &Collector, sql: &str| -> i64 {
            collector.store.connection().query_row(sql, [], |row| row.get(0)).unwrap()
        };
        const RECORDS: &str = "SELECT count(*) FROM records";
        collector.poll(at(hour));
        assert_eq!(count(&collector, RECORDS), 3010, "exactly an hour old is not older than an hour");
        let mut now = hour + limits::RETIRE_EVERY;
        collector.poll(at(now));
        assert_eq!(count(&collector, RECORDS), 1010, "one batch");
        for _ in 0..3 {
            now += limits::RETIRE_PAUSE;
            collector.poll(at(now));
        }
        assert_eq!(count(&collector, RECORDS), 10);
        assert_eq!(count(&collector, "SELECT count(*) FROM retired WHERE from_seq = 1 AND to_seq = 3000"), 1);
        // By size: everything may have to go.
        collector.retention = Retention { keep_us: None, max_bytes: Some(1) };
        collector.poll(at(now + limits::RETIRE_EVERY));
        assert_eq!(count(&collector, RECORDS), 0);
        assert_eq!(count(&collector, "SELECT to_seq FROM retired ORDER BY boot DESC"), 10);
    }
}
