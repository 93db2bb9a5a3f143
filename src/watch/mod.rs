//! Watching others: each check in slots of its own, each probe on a connection of its own, so that a target that hangs
//! costs nobody else anything.
//!
//! ```text
//! schedule (when) ─▶ probe (what happens) ─▶ standing (what is believed) ─▶ an event on each change
//!                                        └─▶ history (the last outcomes), days (the last 90), changes (for the feed)
//! ```
//! As with the server's connections, each socket is alone in its set: a frame, a timer or a slot meets one check, however
//! many there are. Which one a segment is for its port says. What always holds: after a boot everything is unknown; what
//! targets do never changes the agent's own health.

pub mod brought;
mod changes;
mod days;
mod dns;
mod heartbeat;
mod history;
mod http;
mod icmp;
mod isolation;
mod lag;
mod ntp;
mod probe;
mod question;
mod response;
mod schedule;
mod seen;
mod standing;
mod stream;
mod tcp;
pub mod tls;

pub use changes::{Change, Changes};
pub use days::{Day, Days, REGION as DAYS_REGION};
pub use dns::{DNS_PORT, is_name, is_value};
pub use history::{History, Past};
pub use http::{HTTP_PORT, HTTPS_PORT, Place};
pub use icmp::Undelivered;
pub use isolation::{ANSWER_TIME, Turn, Witness, Witnesses};
pub use lag::{LAGS, Lag};
pub use ntp::NTP_PORT;
pub use response::{Reading, Response};
pub use seen::Seen;
pub use standing::{Belief, Outcome, Rules, Standing};

use crate::config::checks::{Check, Checks, Kind};
use crate::content::{self, Content};
use crate::facts::WallTime;
use crate::http::answer;
use crate::http::beat::Beat;
use crate::limits::{self, CHECKS, PROBE_RX, PROBE_TX};
use crate::log::Log;
use crate::net::resolve::Resolver;
use crate::net::{Network, State, frame};
use crate::nic::Nic;
use crate::random::Random;
use crate::time::Time;
use crate::{FAR, sooner};
use core::net::Ipv4Addr;
use heapless::Vec;
use heartbeat::Pulse;
use isolation::Isolation;
use outpost_wire::{
    CheckDay, HistoryDamaged, HistoryKept, HistoryRestored, Ip4, ProbeFailed, ProbeReason, TargetDown, TargetUp,
    TargetWatched, Text,
};
use probe::{Probe, Progress, Target, Ways};
use schedule::Slots;
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// The first of the ports that probes go out from; behind it each check has [`PORTS`] of its own. Below the dynamic range
/// (RFC 6335, section 6), from which the agent's other connections go out.
const FIRST_PORT: u16 = 32_768;

/// Ports of one check, used in turn: a pair of ports comes again after as many probes, when its last connection is
/// forgotten everywhere.
const PORTS: u16 = 256;

const _: () = assert!(FIRST_PORT as usize + CHECKS * PORTS as usize <= 49_152);
const _: () = assert!(CHECKS <= 64, "a bit of a u64 is kept for each");

/// The transactions of probes are numbered from here, those of requests from 1.
const FIRST_TRANSACTION: u32 = 1 << 31;

const HOUR_US: u64 = 3_600_000_000;

/// The memory of all checks. Empty memory is all zeros: it is .bss in the image.
pub struct Memory<'a> {
    receive: [[u8; PROBE_RX]; CHECKS],
    send: [[u8; PROBE_TX]; CHECKS],
    sockets: Vec<SocketStorage<'a>, CHECKS>,
    watched: Vec<Watched<'a>, CHECKS>,
}

impl Memory<'_> {
    /// Empty memory.
    pub const fn new() -> Self {
        Memory {
            receive: [[0; PROBE_RX]; CHECKS],
            send: [[0; PROBE_TX]; CHECKS],
            sockets: Vec::new(),
            watched: Vec::new(),
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Memory::new()
    }
}

/// One check at work.
pub struct Watched<'a> {
    number: u8,
    check: &'a Check,
    set: SocketSet<'a>,
    probe: Option<Probe<'a>>,
    slots: Slots,
    /// Of one who pushes; nothing else of it is used then.
    pulse: Option<Pulse>,
    /// When TCP or the probe has something to do, if no segment comes before.
    due: Instant,
    /// How many of its ports were used.
    ports_used: u16,
    belief: Belief,
    /// What makes it down, as soon as somebody else is heard.
    held: Option<Edge>,
    history: History,
    counters: Counters,
    /// Whether a maintenance of it is under way.
    maintenance: bool,
    /// Which of the sessions of TLS is its own, and the certificate that was shown last.
    session: Option<u8>,
    seen: Option<Seen>,
    /// The transaction of the last probe, and the address that it went to.
    transaction: u32,
    address: Option<Ipv4Addr>,
}

/// A probe that changes what is believed.
#[derive(Clone, Copy, Debug)]
struct Edge {
    outcome: Outcome,
    transaction: u32,
    address: Ip4,
}

/// What to show of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Too few probes agree so far.
    Unknown,
    /// Evidence is too old: what was believed may not be so any more.
    Stale,
    /// The last probes were good.
    Up,
    /// The last probes were bad.
    Down,
}

impl Shown {
    /// All of them.
    pub const ALL: [Shown; 4] = [Shown::Unknown, Shown::Stale, Shown::Up, Shown::Down];

    /// As it is written in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Shown::Unknown => "unknown",
            Shown::Stale => "stale",
            Shown::Up => "up",
            Shown::Down => "down",
        }
    }
}

/// What was counted of one check since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Probes that were started.
    pub probes: u64,
    /// Of those, the bad ones, by the number of the reason.
    pub failures: [u32; ProbeReason::WORDS.len()],
    /// Slots that passed by unused.
    pub missed: u64,
    /// How late the last probe started.
    pub lag: Duration,
}

impl Watched<'_> {
    /// Its number: its place in the configuration.
    pub fn number(&self) -> usize {
        self.number.into()
    }

    /// What is watched.
    pub fn check(&self) -> &Check {
        self.check
    }

    /// What is believed of the target.
    pub fn belief(&self) -> &Belief {
        &self.belief
    }

    /// Its last outcomes.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether a maintenance of it is under way.
    pub fn is_maintained(&self) -> bool {
        self.maintenance
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Says what the configuration says about it, so that who reads its events knows whom to call.
    #[inline(never)]
    fn introduce(&self, now: Instant, checks: &Checks, log: &mut Log<'_>) {
        let Check { name, owner, impact, runbook, .. } = self.check;
        let [owner, impact, runbook] = [owner, impact, runbook].map(|words| checks.text(*words));
        let check = log.name(now, checks.text(*name));
        let (owner, impact, runbook) = (Text::new(owner), Text::new(impact), Text::new(runbook));
        log.emit(now, None, TargetWatched { check, owner, impact, runbook });
    }

    /// The certificate that it showed last, if it uses TLS and showed one.
    pub fn certificate(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// Takes in what a probe found, and tells what is new.
    fn take(&mut self, outcome: Outcome, name: &str, past: &mut Ledger<'_>, log: &mut Log<'_>) {
        let Outcome { at: now, reason, status, .. } = outcome;
        let took_us = u32::try_from(outcome.took.total_micros()).unwrap_or(u32::MAX);
        let address = Ip4(self.address.map_or([0; 4], |address| address.octets()));
        let transaction = Some(self.transaction);
        let rules = Rules { rise: self.check.rise, fall: self.check.fall };
        // Who accepted the connection was heard then; that nothing more came is no news of ourselves.
        let accepted =
            reason == ProbeReason::TimeoutResponse && matches!(self.check.kind, Kind::Http { .. } | Kind::Tcp { .. });
        if !accepted {
            past.isolation.see(self.number, &outcome);
        }
        let doubted = Isolation::doubts(&outcome);
        let counts = !doubted || past.listens_since.is_some_and(|since| now - outcome.took >= since);
        let changes = counts && self.belief.take(outcome, rules);
        if counts && outcome.is_evidence() {
            self.history.push(outcome.is_good(), outcome.took);
            past.days.add(self.number.into(), outcome.is_good());
        }
        if !outcome.is_good() {
            if let Some(count) = self.counters.failures.get_mut(usize::from(u8::from(reason))) {
                *count = count.saturating_add(1);
            }
            let check = log.name(now, name);
            log.emit_limited(now, transaction, ProbeFailed { check, reason, status, took_us, address });
        }
        let edge = Edge { outcome, transaction: self.transaction, address };
        if changes && doubted {
            past.isolation.hold(now, self.number);
            self.held.get_or_insert(edge);
        } else if outcome.is_evidence() && !doubted {
            past.isolation.let_go(self.number);
            self.held = None;
            if changes {
                self.turn(now, edge, name, past, log);
            }
        }
    }

    /// From here on the target is believed to be as this edge says, and that is told.
    fn turn(&mut self, now: Instant, edge: Edge, name: &str, past: &mut Ledger<'_>, log: &mut Log<'_>) {
        let Edge { outcome, address, .. } = edge;
        let Outcome { reason, status, .. } = outcome;
        let took_us = u32::try_from(outcome.took.total_micros()).unwrap_or(u32::MAX);
        let (before, since) = self.belief.turn(&outcome);
        let lasted_s = match before {
            Standing::Unknown => 0,
            Standing::Up | Standing::Down => u32::try_from((outcome.at - since).secs()).unwrap_or(u32::MAX),
        };
        let (check, maintenance, transaction) = (log.name(now, name), self.maintenance, Some(edge.transaction));
        if outcome.is_good() {
            log.emit(now, transaction, TargetUp { check, down_s: lasted_s, took_us, maintenance });
        } else {
            log.emit(now, transaction, TargetDown { check, reason, status, up_s: lasted_s, address, maintenance });
        }
        past.changes.push(Change { number: self.number, outcome, lasted_s });
    }

    /// Takes in what one who pushes said, or did not say in time.
    fn hear_of(
        &mut self,
        outcome: Outcome,
        transaction: u32,
        checks: &Checks,
        past: &mut Ledger<'_>,
        log: &mut Log<'_>,
    ) {
        self.transaction = transaction;
        self.counters.probes += 1;
        if self.counters.probes == 1 {
            self.introduce(outcome.at, checks, log);
        }
        self.take(outcome, checks.text(self.check.name), past, log);
    }

    /// What to show of the target, and since when it is so.
    pub fn shown(&self, now: Instant) -> (Shown, Instant) {
        let interval = self.check.interval();
        let (standing, since) = self.belief.standing();
        match (self.belief.stale_since(now, interval), standing) {
            (Some(since), _) => (Shown::Stale, since),
            (None, Standing::Unknown) => (Shown::Unknown, since),
            (None, Standing::Up) => (Shown::Up, since),
            (None, Standing::Down) => (Shown::Down, since),
        }
    }
}

/// What probing needs from the agent.
pub struct Around<'w, 'a, N> {
    /// The time.
    pub now: Instant,
    /// The card.
    pub nic: &'w mut N,
    /// The network.
    pub network: &'w mut Network<'a>,
    /// The addresses of names.
    pub names: &'w Resolver,
    /// What our own clock says, and what the machine's said at boot.
    pub time: &'w Time,
    /// See `time`.
    pub wall: Option<&'w WallTime>,
    /// What came along, days of the checks among it.
    pub content: &'w Content,
    /// Where events go.
    pub log: &'w mut Log<'a>,
}

/// What is kept of all checks together.
struct Ledger<'a> {
    days: Days<'a>,
    changes: Changes,
    isolation: Isolation,
    lag: Lag,
    /// Since when others can reach us, if they can: what silence says of before is about ourselves.
    listens_since: Option<Instant>,
}

/// All checks at work.
pub struct Watch<'a> {
    checks: &'a Checks,
    watched: &'a mut [Watched<'a>],
    past: Ledger<'a>,
    /// The hour since 1970-01-01 UTC whose counts were told.
    told_hour: Option<u64>,
    boot_id: u64,
    /// A bit for each check that a segment came for.
    touched: u64,
    /// When the earliest has something to do.
    due: Instant,
    transactions: u32,
    random: Random,
    lines: tls::Lines<'a>,
}

impl<'a> Watch<'a> {
    /// Watches what the configuration names. `days` is memory as the last boot left it, see [`DAYS_REGION`]; `seed` makes
    /// what answers have to repeat unguessable.
    pub fn new(
        checks: &'a Checks,
        memory: &'a mut Memory<'a>,
        days: &'a mut [u8],
        boot_id: u64,
        seed: u64,
        now: Instant,
    ) -> Watch<'a> {
        let Memory { receive, send, sockets, watched } = memory;
        while sockets.len() < checks.list().len() && sockets.push(SocketStorage::EMPTY).is_ok() {}
        let parts = sockets.chunks_mut(1).zip(receive).zip(send);
        let mut secure = 0;
        for (number, (check, ((storage, receive), send))) in checks.list().iter().zip(parts).enumerate() {
            let mut set = SocketSet::new(storage);
            set.add(Socket::new(SocketBuffer::new(&mut receive[..]), SocketBuffer::new(&mut send[..])));
            let slots = Slots::new(checks.text(check.name), check.interval(), now);
            let pulse = Pulse::new(check, now);
            let session = check.tls.map(|_| secure);
            secure += u8::from(session.is_some());
            let fresh = Watched {
                number: number as u8,
                check,
                session,
                seen: None,
                set,
                probe: None,
                slots,
                pulse,
                due: pulse.map_or(slots.next(), |pulse| pulse.due()),
                ports_used: (seed >> (number % 57)) as u16 % PORTS,
                belief: Belief::new(now),
                held: None,
                history: History::new(),
                counters: Counters::default(),
                maintenance: false,
                transaction: 0,
                address: None,
            };
            // There is room for each check of a table.
            let _ = watched.push(fresh);
        }
        let probed = watched.iter().filter(|one| one.pulse.is_none()).count();
        Watch {
            checks,
            watched: watched.as_mut_slice(),
            past: Ledger {
                days: Days::new(checks, days),
                changes: Changes::new(),
                isolation: Isolation::new(probed),
                lag: Lag::default(),
                listens_since: None,
            },
            told_hour: None,
            boot_id,
            touched: 0,
            due: now,
            transactions: FIRST_TRANSACTION,
            random: Random::new(seed),
            lines: tls::Lines::new(),
        }
    }

    /// What checks that use TLS talk over. Without it they fail.
    pub fn lines(&mut self) -> &mut tls::Lines<'a> {
        &mut self.lines
    }

    /// The checks' texts.
    pub fn checks(&self) -> &'a Checks {
        self.checks
    }

    /// All checks, in the order of the configuration.
    pub fn all(&self) -> &[Watched<'a>] {
        self.watched
    }

    /// The last 90 days of each, by its number.
    pub fn days(&self) -> &Days<'a> {
        &self.past.days
    }

    /// What became up or down lately.
    pub fn changes(&self) -> &Changes {
        &self.past.changes
    }

    /// Marks those of which a maintenance is under way: what becomes of them is told as ever, and says so.
    pub fn set_maintained(&mut self, is_maintained: impl Fn(&str) -> bool) {
        for watched in self.watched.iter_mut() {
            watched.maintenance = is_maintained(self.checks.text(watched.check.name));
        }
    }

    /// The sockets of the probe that goes out from this port; it is looked at in the next `poll`.
    pub fn sockets_of(&mut self, port: u16) -> Option<&mut SocketSet<'a>> {
        let number = check_of(port)?;
        let watched = self.watched.get_mut(number)?;
        self.touched |= 1 << number;
        Some(&mut watched.set)
    }

    /// Takes in a packet of ICMP or UDP, if it is for a probe: an answer, or a message that it could not be delivered.
    pub fn hear(&mut self, now: Instant, packet: &frame::Packet<'_>) -> bool {
        let undelivered = icmp::Undelivered::read(packet.body).filter(|_| packet.protocol == frame::PROTOCOL_ICMP);
        let number = match (&undelivered, packet.protocol) {
            (Some(undelivered), _) => undelivered.number(check_of),
            (None, frame::PROTOCOL_ICMP) => icmp::replied(packet.body).map(usize::from),
            (None, _) => {
                packet.body.first_chunk::<4>().and_then(|ports| check_of(u16::from_be_bytes([ports[2], ports[3]])))
            }
        };
        let Some(number) = number else { return false };
        let Some(probe) = self.watched.get_mut(number).and_then(|watched| watched.probe.as_mut()) else { return false };
        let heard = match &undelivered {
            Some(undelivered) => probe.is_undelivered(undelivered),
            None => probe.hear(now, packet),
        };
        self.touched |= u64::from(heard) << number;
        heard
    }

    /// A neighbour may have become known: what waits for one goes on.
    pub fn neighbour_came(&mut self, now: Instant) {
        self.past.isolation.look_soon(now);
        for (number, watched) in self.watched.iter().enumerate() {
            self.touched |= u64::from(watched.probe.is_some()) << number;
        }
    }

    /// How late probes started, of all checks.
    pub fn lag(&self) -> Lag {
        self.past.lag
    }

    /// Since when we ourselves are cut off, if we are.
    pub fn isolated_since(&self) -> Option<Instant> {
        self.past.isolation.since()
    }

    /// Whether it is to be asked now who else answers.
    pub fn wonders(&self, now: Instant) -> bool {
        self.past.isolation.look_at().is_some_and(|at| now >= at)
    }

    /// Judges whether it is them or us; what is new. Edges that somebody vouches for are told.
    pub fn judge(&mut self, now: Instant, witnesses: &Witnesses, log: &mut Log<'_>) -> Option<Turn> {
        let turn = self.past.isolation.judge(now, witnesses);
        let held = self.past.isolation.held();
        for one in self.watched.iter_mut().filter(|one| turn.is_none() && held >> one.number & 1 == 1) {
            if let Some(edge) = one.held.take_if(|edge| self.past.isolation.is_settled(now, edge.outcome.at, witnesses))
            {
                self.past.isolation.let_go(one.number);
                one.turn(now, edge, self.checks.text(one.check.name), &mut self.past, log);
            }
        }
        turn
    }

    /// Whether others can reach us now. When they cannot, silence until now was ours, too.
    pub fn listen(&mut self, now: Instant, listens: bool) {
        if self.past.listens_since.is_some() == listens {
            return;
        }
        self.past.listens_since = listens.then_some(now);
        for one in self.watched.iter_mut() {
            if let Some(pulse) = &mut one.pulse {
                pulse.restart(now);
            }
            if !listens {
                one.held = None;
                one.belief.forget_failures();
                self.past.isolation.let_go(one.number);
            }
        }
        self.due = now;
    }

    /// Takes in a signal; `false` when nobody waits for this token.
    pub fn beat(&mut self, now: Instant, transaction: u32, beat: Beat, log: &mut Log<'_>) -> bool {
        let Some(token) = beat.token else { return false };
        let mut found = None;
        // All are compared, and each whole: how long it takes says nothing of how near a guess is.
        for (number, one) in self.watched.iter().enumerate() {
            if let Kind::Heartbeat { token: known, .. } = &one.check.kind
                && bool::from(known.ct_eq(&token))
            {
                found = Some(number);
            }
        }
        let Some((number, one)) = found.and_then(|number| Some((number, self.watched.get_mut(number)?))) else {
            return false;
        };
        if let Some(outcome) = one.pulse.as_mut().and_then(|pulse| pulse.hear(now, beat.signal, one.check.slow_ms)) {
            one.hear_of(outcome, transaction, self.checks, &mut self.past, log);
        }
        // Its next deadline is another one.
        self.touched |= 1 << number;
        true
    }

    /// Starts what is due, goes on with what has news, and says on which checks' beliefs changed by an event each.
    pub fn poll<N: Nic>(&mut self, around: &mut Around<'_, '_, N>) {
        let now = around.now;
        if self.touched == 0 && now < self.due {
            return;
        }
        if let (Some(time), Some(booted_us)) = (around.time.now(now), around.time.boot_unix_us()) {
            self.know(now, time.unix_us, booted_us.max(0) as u64, around.content, around.log);
        }
        let touched = core::mem::take(&mut self.touched);
        let first = self.lines.begin_poll();
        let count = self.watched.len();
        // Whoever had the turn last comes last.
        for number in (0..count).map(|number| (first + number) % count) {
            if touched >> number & 1 == 1 || now >= self.watched[number].due {
                self.visit(number, around);
            }
        }
        self.due = self.watched.iter().map(|watched| watched.due).min().unwrap_or(FAR);
    }

    /// Keeps days and hours of UTC: says once what is left of earlier boots, and every hour what the day is like so far.
    // Seldom needed, and not what a visit is about.
    #[inline(never)]
    fn know(&mut self, now: Instant, unix_us: u64, booted_us: u64, content: &Content, log: &mut Log<'_>) {
        let hour = unix_us / HOUR_US;
        if self.told_hour == Some(hour) {
            return;
        }
        let over = self.told_hour.replace(hour).map(|before| (before / 24) as u32);
        let brought = content.page(content::Kind::History).unwrap_or_default();
        if let Some(found) = self.past.days.know(unix_us, booted_us, brought::days(self.checks, brought)) {
            log.emit(now, None, HistoryKept { days: found.kept });
            if found.damaged > 0 {
                log.emit(now, None, HistoryDamaged { days: found.damaged });
            }
            if !brought.is_empty() {
                log.emit(now, None, HistoryRestored { days: found.restored, left_out: found.left_out });
            }
        }
        let Some(day) = over else { return };
        for (number, watched) in self.watched.iter().enumerate() {
            if let Some(Day { good, bad }) = self.past.days.read(number, day) {
                let check = log.name(now, self.checks.text(watched.check.name));
                log.emit(now, None, CheckDay { check, day, good, bad });
            }
        }
    }

    /// As if a probe had found this, and there were no witness to wait for.
    #[cfg(test)]
    pub fn find(&mut self, number: usize, outcome: Outcome, log: &mut Log<'_>) {
        self.past.listens_since = Some(Instant::ZERO);
        let one = &mut self.watched[number];
        one.take(outcome, self.checks.text(one.check.name), &mut self.past, log);
        assert_eq!(self.judge(outcome.at, &Witnesses::default(), log), None);
    }

    /// As if this were a day's history.
    #[cfg(test)]
    pub fn days_mut(&mut self) -> &mut Days<'a> {
        &mut self.past.days
    }

    /// When there is more to do, if no segment comes before.
    pub fn poll_at(&self) -> Instant {
        let due = if self.touched != 0 { Instant::ZERO } else { self.due };
        sooner(due, self.past.isolation.look_at())
    }
}

/// UTC in seconds since 1970: from time servers, or else as the machine had it at boot; `None` when nobody says.
fn utc_s(now: Instant, time: &Time, wall: Option<&WallTime>) -> Option<i64> {
    let carried = || wall.map(|wall| wall.unix_us.saturating_add_signed((now.total_micros()) - wall.at.total_micros()));
    let unix_us = time.now(now).map(|estimate| estimate.unix_us).or_else(carried)?;
    i64::try_from(unix_us / 1_000_000).ok()
}

/// The number of the check that this port is one of, if it is one.
fn check_of(port: u16) -> Option<usize> {
    Some(usize::from(port.checked_sub(FIRST_PORT)? / PORTS))
}

/// The next of the ports of a check.
fn next_port(number: usize, used: &mut u16) -> u16 {
    let port = FIRST_PORT + number as u16 * PORTS + *used;
    *used = (*used + 1) % PORTS;
    port
}

impl<'a> Watch<'a> {
    fn visit<N: Nic>(&mut self, number: usize, around: &mut Around<'_, '_, N>) {
        let Around { now, nic, network, names, time, wall, log, .. } = around;
        let now = *now;
        let Some(one) = self.watched.get_mut(number) else { return };
        if let Some(pulse) = &mut one.pulse {
            if self.past.listens_since.is_none() {
                pulse.restart(now);
            } else if let Some(outcome) = pulse.silence(now) {
                self.transactions = self.transactions.wrapping_add(1) | FIRST_TRANSACTION;
                one.hear_of(outcome, self.transactions, self.checks, &mut self.past, log);
            }
            one.due = one.pulse.map_or(FAR, |pulse| pulse.due());
            return;
        }
        let name = self.checks.text(one.check.name);
        let mut end = FAR;
        if let Some(probe) = &mut one.probe {
            probe.send(now, *nic, network);
            let socket = one.set.get_mut(SocketHandle::default());
            let mut line = one.session.and_then(|session| self.lines.line(session, number, utc_s(now, time, *wall)));
            let was_open = probe.is_open();
            let mut progress = probe.poll(now, socket, time, line.as_mut());
            if !was_open && probe.is_open() {
                self.past.isolation.hear(now);
            }
            if progress.is_none() {
                // What is left of the connection goes first.
                network.egress_for(now, *nic, &mut one.set);
                let from_port = next_port(number, &mut one.ports_used);
                let socket = one.set.get_mut(SocketHandle::default());
                progress = Some(probe.follow(now, names, socket, network.context(), from_port));
                one.address = Some(probe.address());
            }
            if let (Some(Progress::Ended(_)), Some(line)) = (progress, &mut line) {
                one.seen = line.end().or(one.seen.take());
            }
            match progress {
                None => {}
                Some(Progress::Until(deadline)) => {
                    end = deadline;
                    if probe.is_connecting() {
                        network.seek(now, *nic, probe.address());
                        end = end.min(now + limits::ARP_AGAIN);
                    }
                }
                Some(Progress::Ended(outcome)) => {
                    one.probe = None;
                    one.take(outcome, name, &mut self.past, log);
                }
            }
        }
        if let Some(slot) = one.slots.due(now) {
            one.counters.missed += slot.missed;
            one.counters.lag = slot.lag;
            self.past.lag.add(slot.lag);
            one.counters.probes += 1;
            if one.counters.probes == 1 {
                one.introduce(now, self.checks, log);
            }
            // Wraps after months; what is joined by it is much nearer.
            self.transactions = self.transactions.wrapping_add(1) | FIRST_TRANSACTION;
            one.transaction = self.transactions;
            let address = names.addresses(&one.check.peer.host).first().copied();
            let from_port = next_port(number, &mut one.ports_used);
            let span = answer::span(self.boot_id, one.transaction);
            let trace = (u128::from(self.boot_id) << 64 | u128::from(one.transaction), span);
            let began = match address {
                _ if network.state() != State::Up => Err(ProbeReason::NoNetwork),
                None => Err(ProbeReason::Dns),
                Some(address) => {
                    one.address = Some(address);
                    let target = Target { check: one.check, checks: self.checks, address };
                    let socket = one.set.get_mut(SocketHandle::default());
                    let ways = Ways { from_port, number: number as u16, nonce: self.random.number(), trace };
                    Probe::start(now, target, ways, socket, network.context()).ok_or(ProbeReason::NoNetwork)
                }
            };
            match began {
                Ok(mut probe) => {
                    probe.send(now, *nic, network);
                    end = probe.deadline().min(now + limits::ARP_AGAIN);
                    network.seek(now, *nic, probe.address());
                    one.probe = Some(probe);
                }
                Err(reason) => {
                    let outcome = Outcome { at: now, took: Duration::ZERO, reason, status: 0 };
                    one.take(outcome, name, &mut self.past, log);
                }
            }
        }
        let tcp = network.egress_for(now, *nic, &mut one.set);
        one.due = end.min(one.slots.next()).min(tcp);
    }
}
