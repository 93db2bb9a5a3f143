//! A syslog server: reads messages of RFC 5424 by octet counting, and judges what it is told.
//!
//! Of each boot, messages must come in the order of their seqs on each connection, with nothing left out that is not
//! told as such, and each must be of a record that was emitted. Across connections records may come again, and those may
//! be missing that the server's TCP had when it was killed: the protocol cannot tell.

use crate::gateway::UTC_AT_START_US;
use crate::oracle::Oracle;
use crate::station::Station;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// Its port.
pub const PORT: u16 = 601;

/// Connections it holds at the same time.
const SOCKETS: usize = 4;

/// A connection whose other end says nothing when TCP asks it is over.
const SILENCE: Duration = Duration::from_secs(60);

/// One connection: what was not understood yet, and the seq that must come next of each boot.
struct Line {
    handle: SocketHandle,
    bytes: Vec<u8>,
    next: BTreeMap<u64, u64>,
}

/// The server.
pub struct Syslog {
    pub station: Station,
    lines: Vec<Line>,
    down: bool,
    /// Seqs that it was told of each boot: as records, and as what will not come.
    pub records: BTreeMap<u64, BTreeSet<u64>>,
    pub untold: BTreeMap<u64, BTreeSet<u64>>,
}

impl Syslog {
    pub fn new(mut station: Station) -> Syslog {
        let lines = (0..SOCKETS).map(|_| line(&mut station)).collect();
        Syslog { station, lines, down: false, records: BTreeMap::new(), untold: BTreeMap::new() }
    }

    /// Its machine dies, with what was not read yet.
    pub fn crash(&mut self) {
        self.down = true;
        self.station.nic.rx.clear();
        for old in &mut self.lines {
            self.station.sockets.remove(old.handle);
            *old = line(&mut self.station);
        }
    }

    /// It is back.
    pub fn restart(&mut self) {
        self.down = false;
    }

    /// Whether it was told of this seq, in a record or as one that will not come.
    pub fn knows(&self, boot: u64, seq: u64) -> bool {
        let among = |told: &BTreeMap<u64, BTreeSet<u64>>| told.get(&boot).is_some_and(|seqs| seqs.contains(&seq));
        among(&self.records) || among(&self.untold)
    }

    /// Does what is due and says when to come back.
    pub fn poll(&mut self, now: Instant, oracle: &mut Oracle) -> Option<Instant> {
        if self.down {
            self.station.nic.rx.clear();
            return None;
        }
        self.station.poll(now);
        for index in 0..self.lines.len() {
            self.hear(index, oracle);
        }
        self.station.poll(now);
        self.station.wake(now)
    }

    fn hear(&mut self, index: usize, oracle: &mut Oracle) {
        let line = &mut self.lines[index];
        let socket = self.station.sockets.get_mut::<tcp::Socket>(line.handle);
        if socket.state() == State::Closed {
            (line.bytes, line.next) = (Vec::new(), BTreeMap::new());
            socket.set_timeout(Some(SILENCE));
            socket.set_keep_alive(Some(SILENCE / 4));
            socket.listen(PORT).expect("a closed socket listens");
            return;
        }
        while socket.can_recv() {
            if socket.recv(|data| (data.len(), line.bytes.extend_from_slice(data))).is_err() {
                break;
            }
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        let mut at = 0;
        while let Some((message, len)) = split(&line.bytes[at..]) {
            at += len;
            let Some(told) = understand(message) else {
                oracle.violation(format!("syslog: {:?}", String::from_utf8_lossy(message)));
                return;
            };
            let next = line.next.entry(told.boot).or_insert(told.from);
            if told.from != *next {
                oracle.violation(format!("syslog: boot {:x}: {} came where {next} was to come", told.boot, told.from));
            }
            *next = told.to + 1;
            if !oracle.was_emitted(told.boot, told.to) {
                oracle.violation(format!("syslog: boot {:x}: {} was never emitted", told.boot, told.to));
            }
            if told.utc_error_us.is_some_and(|(off, error)| !oracle.may_be_off(off, error)) {
                oracle.violation(format!(
                    "syslog: off by {:?}: {}",
                    told.utc_error_us,
                    String::from_utf8_lossy(message)
                ));
            }
            let among = if told.is_record { &mut self.records } else { &mut self.untold };
            among.entry(told.boot).or_default().extend(told.from..=told.to);
        }
        line.bytes.drain(..at);
    }
}

fn line(station: &mut Station) -> Line {
    Line { handle: station.tcp_socket(4096, 1024), bytes: Vec::new(), next: BTreeMap::new() }
}

/// The first message and how many bytes it takes with its count (RFC 6587, section 3.4.1).
fn split(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let digits = bytes.iter().position(|&byte| byte == b' ')?;
    let count: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    Some((bytes.get(digits + 1..digits + 1 + count)?, digits + 1 + count))
}

/// What a message tells of.
struct Told {
    boot: u64,
    from: u64,
    to: u64,
    is_record: bool,
    /// How far off its UTC is, and how far it may be.
    utc_error_us: Option<(u64, u64)>,
}

/// Reads a message as RFC 5424, section 6, has it; `None` when it is none of ours.
fn understand(message: &[u8]) -> Option<Told> {
    let message = std::str::from_utf8(message).ok()?;
    let value = |name: &str| message.split_once(&format!(" {name}=\""))?.1.split_once('"').map(|(value, _)| value);
    let mut header = message.splitn(7, ' ');
    let (priority, timestamp, host, app) = (header.next()?, header.next()?, header.next()?, header.next()?);
    let (boot, event, rest) = (header.next()?, header.next()?, header.next()?);
    let [agent, in_uid, place] = value("uid")?.split('/').collect::<Vec<_>>()[..] else { return None };
    let sound = priority.strip_prefix('<')?.strip_suffix(">1")?.parse::<u8>().ok()? / 8 == 3
        && (host, app, agent) == ("simulated", "outpost", "simulated")
        && boot == in_uid
        && rest.starts_with("[timeQuality ");
    let seqs = |text: &str| text.split('-').map(|seq| seq.parse().ok()).collect::<Option<Vec<u64>>>();
    let (from, to, is_record) = match place.strip_prefix(event).and_then(|rest| rest.strip_prefix('-')) {
        Some(range) => {
            let [from, to] = seqs(range)?[..] else { return None };
            (from, to, false)
        }
        None => (place.parse().ok()?, place.parse().ok()?, true),
    };
    let utc_error_us = if timestamp == "-" {
        None
    } else {
        let told = timestamp.parse::<jiff::Timestamp>().ok()?.as_microsecond();
        let truth = UTC_AT_START_US + value("mono_us")?.parse::<u64>().ok()?;
        Some((told.cast_unsigned().abs_diff(truth), value("syncAccuracy")?.parse().ok()?))
    };
    sound.then_some(Told { boot: u64::from_str_radix(boot, 16).ok()?, from, to, is_record, utc_error_us })
}
