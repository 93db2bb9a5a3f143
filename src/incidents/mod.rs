//! Incidents and maintenances: what people say of what is watched, shown where the rest is down.
//!
//! ```text
//! the configuration ─▶ Document ─┐
//! web server ─▶ fetch ─▶ verify ─▶ Document ─▶ what is shown ─▶ an event on each change
//! ```
//! A pulled document counts before the configured one, which it may not be older than. What always holds: what is shown
//! was signed, whole and by its rules right; whatever is refused, the last good one stays. It stays in memory only: after
//! a reset it is pulled again.

pub mod document;
mod fetch;
pub mod verify;

use crate::FAR;
use crate::config::{self, Incidents as Settings};
use crate::limits::{
    self, INCIDENT_LOOK, INCIDENT_RETRY_MAX, INCIDENT_RETRY_MIN, INCIDENT_RX, INCIDENT_TX, INCIDENTS, MAINTENANCES,
};
use crate::log::Log;
use crate::net::resolve::Resolver;
use crate::net::{Network, State};
use crate::nic::Nic;
use core::cmp::Ordering;
use document::Document;
use fetch::{Fetch, File, Progress};
use heapless::Vec;
use outpost_wire::{
    IncidentChanged, IncidentOverdue, IncidentRefusal, IncidentStatus, IncidentsAccepted, IncidentsRefused,
    MaintenanceEnded, MaintenanceStarted, Sha256, Text,
};
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};

/// The ports that pulls go out from, used in turn: below those of probes.
const FIRST_PORT: u16 = 32_512;
const PORTS: u16 = 256;

const _: () = assert!(INCIDENTS <= 16 && MAINTENANCES <= 16, "a bit of a u16 is kept for each");

/// The memory: about 25 KiB. Empty memory is all zeros: it is .bss in the image.
pub struct Memory<'a> {
    receive: [u8; INCIDENT_RX],
    send: [u8; INCIDENT_TX],
    sockets: Vec<SocketStorage<'a>, 1>,
    file: File,
    pulled: [Document; 2],
}

const _: () = assert!(size_of::<Memory<'_>>() + size_of::<Document>() <= 32 * 1024);

impl Memory<'_> {
    /// Empty memory.
    pub const fn new() -> Self {
        Memory {
            receive: [0; INCIDENT_RX],
            send: [0; INCIDENT_TX],
            sockets: Vec::new(),
            file: Vec::new(),
            pulled: [Document::new(), Document::new()],
        }
    }
}

impl Default for Memory<'_> {
    fn default() -> Self {
        Memory::new()
    }
}

/// How pulling goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulls {
    /// When a good document last came, new or the same.
    pub good_at: Option<Instant>,
    /// Why nothing was taken the last time, and the status of the server or 0; `None` when something was.
    pub refusal: Option<(IncidentRefusal, u16)>,
    /// How often nothing was taken since it last was, and since boot.
    pub failures: u32,
    /// See `failures`.
    pub failures_ever: u32,
}

/// What is told of incidents and maintenances, for answers.
#[derive(Clone, Copy)]
pub struct Told<'d> {
    /// What is shown; its revision is 0 when there is nothing.
    pub document: &'d Document,
    /// How pulling goes.
    pub pulls: &'d Pulls,
}

#[cfg(test)]
impl Told<'_> {
    /// That there is nothing to tell.
    pub const NOTHING: Told<'static> = Told {
        document: &Document::new(),
        pulls: &Pulls { good_at: None, refusal: None, failures: 0, failures_ever: 0 },
    };
}

/// What pulling needs from the agent.
pub struct Around<'w, 'a, N> {
    /// The time.
    pub now: Instant,
    /// The same in microseconds since 1970-01-01 UTC, where that is known.
    pub unix_us: Option<u64>,
    /// Where it is pulled from.
    pub settings: Option<&'w Settings>,
    /// The card.
    pub nic: &'w mut N,
    /// The network.
    pub network: &'w mut Network<'a>,
    /// The addresses of names.
    pub names: &'w Resolver,
    /// Where events go.
    pub log: &'w mut Log<'a>,
}

/// What is known of incidents and maintenances.
pub struct Incidents<'a> {
    configured: &'a Document,
    /// The pulled document, if there is one, and the place for the next.
    pulled: &'a mut [Document; 2],
    current: usize,
    /// The hash of the file that it was in.
    accepted: [u8; 8],
    /// What was told last: the refusal, and the hash of the file.
    told: Option<(IncidentRefusal, [u8; 8])>,
    pulls: Pulls,
    file: &'a mut File,
    set: SocketSet<'a>,
    fetch: Option<Fetch>,
    ports_used: u16,
    touched: bool,
    /// When to pull, when to look at the clock, and when TCP has something to do.
    fetch_at: Instant,
    look_at: Instant,
    tcp_at: Instant,
    /// A bit for each maintenance that is under way and was told, and for each incident that was told to be overdue.
    under_way: u16,
    overdue: u16,
}

impl<'a> Incidents<'a> {
    /// Shows what the configuration says. `seed` makes the ports of pulls differ from boot to boot.
    pub fn new(
        configured: &'a Document,
        memory: &'a mut Memory<'a>,
        has_server: bool,
        seed: u64,
        log: &mut Log<'_>,
        now: Instant,
    ) -> Incidents<'a> {
        let Memory { receive, send, sockets, file, pulled } = memory;
        // There is room for the one.
        let _ = sockets.push(SocketStorage::EMPTY);
        let mut set = SocketSet::new(sockets.as_mut_slice());
        set.add(Socket::new(SocketBuffer::new(&mut receive[..]), SocketBuffer::new(&mut send[..])));
        tell_changes(now, &Document::new(), configured, log);
        Incidents {
            configured,
            pulled,
            current: 0,
            accepted: [0; 8],
            told: None,
            pulls: Pulls::default(),
            file,
            set,
            fetch: None,
            ports_used: seed as u16 % PORTS,
            touched: false,
            fetch_at: if has_server { now } else { FAR },
            look_at: if has_server || configured.revision != 0 { now } else { FAR },
            tcp_at: FAR,
            under_way: 0,
            overdue: 0,
        }
    }

    /// What is shown; its revision is 0 when there is nothing.
    pub fn document(&self) -> &Document {
        self.pulled.get(self.current).filter(|document| document.revision != 0).unwrap_or(self.configured)
    }

    /// The same, and how pulling goes.
    pub fn told(&self) -> Told<'_> {
        Told { document: self.document(), pulls: &self.pulls }
    }

    /// The sockets of the pull that goes out from this port; it is looked at in the next `poll`.
    pub fn sockets_of(&mut self, port: u16) -> Option<&mut SocketSet<'a>> {
        if !(FIRST_PORT..FIRST_PORT + PORTS).contains(&port) {
            return None;
        }
        self.touched = true;
        Some(&mut self.set)
    }

    /// A neighbour may have become known: what waits for one goes on.
    pub fn neighbour_came(&mut self) {
        self.touched |= self.fetch.is_some();
    }

    /// When there is more to do, if no segment comes before.
    pub fn poll_at(&self) -> Instant {
        if self.touched { Instant::ZERO } else { self.fetch_at.min(self.look_at).min(self.tcp_at) }
    }

    /// Pulls when that is due and tells what is new; `true` when other targets may be in maintenance now.
    pub fn poll<N: Nic>(&mut self, around: &mut Around<'_, '_, N>) -> bool {
        if around.now < self.poll_at() {
            return false;
        }
        self.touched = false;
        self.pull(around);
        around.now >= self.look_at && self.look(around.now, around.unix_us, around.log)
    }

    #[inline(never)]
    fn pull<N: Nic>(&mut self, around: &mut Around<'_, '_, N>) {
        let now = around.now;
        let Some((settings, server)) = around.settings.and_then(|settings| Some((settings, settings.server.as_ref()?)))
        else {
            return;
        };
        if let Some(fetch) = &mut self.fetch {
            let socket = self.set.get_mut(SocketHandle::default());
            match fetch.poll(now, settings, socket, self.file) {
                Progress::Until(at) => self.fetch_at = at,
                Progress::Whole => {
                    self.fetch = None;
                    self.fetch_at = now + Duration::from_secs(settings.interval_s.into());
                    if let Err((reason, revision)) = self.take(now, around.unix_us, settings, around.log) {
                        let file = hash(self.file);
                        self.refuse(now, reason, 200, revision, file, around.log);
                    }
                }
                Progress::Failed(reason, status) => self.fail(now, reason, status, settings, around.log),
            }
        } else if now >= self.fetch_at {
            let addresses = around.names.addresses(&server.host);
            // Another one each time, where the name has several.
            let address = addresses.get(self.pulls.failures as usize % addresses.len().max(1)).copied();
            let from_port = FIRST_PORT + self.ports_used;
            match address {
                _ if around.network.state() != State::Up => self.fetch_at = now + limits::OFFLINE,
                None => self.fail(now, IncidentRefusal::NoAddress, 0, settings, around.log),
                Some(address) => {
                    self.ports_used = (self.ports_used + 1) % PORTS;
                    let socket = self.set.get_mut(SocketHandle::default());
                    self.fetch = Fetch::start(now, address, server, from_port, socket, around.network.context());
                    self.fetch_at = now + limits::PROBE_CONNECT_TIME;
                }
            }
        }
        if let Some(address) = self.fetch.as_ref().and_then(Fetch::seeks) {
            around.network.seek(now, around.nic, address);
            self.fetch_at = self.fetch_at.min(now + limits::ARP_AGAIN);
        }
        self.tcp_at = around.network.egress_for(now, around.nic, &mut self.set);
    }

    /// Nothing came: the next attempt waits longer each time.
    fn fail(&mut self, now: Instant, reason: IncidentRefusal, status: u16, settings: &Settings, log: &mut Log<'_>) {
        self.fetch = None;
        let longest = INCIDENT_RETRY_MAX.max(Duration::from_secs(settings.interval_s.into()));
        let wait = Duration::from_micros(INCIDENT_RETRY_MIN.total_micros() << self.pulls.failures.min(16));
        self.fetch_at = now + wait.min(longest);
        self.refuse(now, reason, status, 0, [0; 8], log);
    }

    /// Nothing is taken: what is shown stays.
    fn refuse(
        &mut self,
        now: Instant,
        reason: IncidentRefusal,
        status: u16,
        revision: u32,
        file: [u8; 8],
        log: &mut Log<'_>,
    ) {
        self.pulls.refusal = Some((reason, status));
        self.pulls.failures = self.pulls.failures.saturating_add(1);
        self.pulls.failures_ever = self.pulls.failures_ever.saturating_add(1);
        if self.told != Some((reason, file)) {
            self.told = Some((reason, file));
            let (kept_revision, failures) = (self.document().revision, self.pulls.failures);
            log.emit(now, None, IncidentsRefused { reason, revision, kept_revision, status, failures });
        }
    }

    /// Takes the file, if everything about it is right; else why not, and its revision where that was read.
    fn take(
        &mut self,
        now: Instant,
        unix_us: Option<u64>,
        settings: &Settings,
        log: &mut Log<'_>,
    ) -> Result<(), (IncidentRefusal, u32)> {
        let held = self.pulled.get(self.current).map_or(0, |document| document.revision);
        let file_hash = hash(self.file);
        if held == 0 || file_hash != self.accepted {
            let key = settings.public_key.as_ref().ok_or((IncidentRefusal::Signature, 0))?;
            let json = verify::open(self.file, key).map_err(|reason| (reason, 0))?;
            let next = 1 - self.current;
            let Some(document) = self.pulled.get_mut(next) else { return Ok(()) };
            config::read_pulled(json, document).map_err(|_| (IncidentRefusal::Document, 0))?;
            let (revision, expires_unix_s) = (document.revision, document.expires_at);
            let refusal = match revision.cmp(&held) {
                _ if revision < settings.min_revision.max(self.configured.revision) => Some(IncidentRefusal::Older),
                Ordering::Less => Some(IncidentRefusal::Older),
                Ordering::Equal => Some(IncidentRefusal::SameRevision),
                Ordering::Greater => None,
            };
            let expired = unix_us.is_some_and(|unix_us| unix_us / 1_000_000 >= expires_unix_s);
            if let Some(reason) = refusal.or(expired.then_some(IncidentRefusal::Expired)) {
                document.clear();
                return Err((reason, revision));
            }
            log.emit(now, None, IncidentsAccepted { revision, expires_unix_s });
            self.show(now, next, log);
            self.accepted = file_hash;
        }
        self.pulls = Pulls { good_at: Some(now), failures_ever: self.pulls.failures_ever, ..Pulls::default() };
        self.told = None;
        Ok(())
    }

    /// Shows another document, and tells what is new in it. What was told of maintenances and of what is overdue is kept
    /// for those that are in both.
    fn show(&mut self, now: Instant, next: usize, log: &mut Log<'_>) {
        let Some(new) = self.pulled.get(next) else { return };
        let old = self.document();
        tell_changes(now, old, new, log);
        let (mut under_way, mut overdue) = (0, 0);
        for (at, one) in old.maintenances().iter().enumerate().filter(|(at, _)| self.under_way >> at & 1 == 1) {
            let same = new.maintenances().iter().position(|other| new.text(other.id) == old.text(one.id));
            match same {
                Some(place) => under_way |= 1 << place,
                None => tell_end(now, old, at, log),
            }
        }
        for (_, one) in old.incidents().iter().enumerate().filter(|(at, _)| self.overdue >> at & 1 == 1) {
            let promised = |document: &Document, one| document.latest(one).map(|update| update.next_update_at);
            let same = new
                .incidents()
                .iter()
                .position(|other| new.text(other.id) == old.text(one.id) && promised(new, other) == promised(old, one));
            overdue |= same.map_or(0, |place| 1 << place);
        }
        (self.under_way, self.overdue) = (under_way, overdue);
        self.current = next;
        if let Some(before) = self.pulled.get_mut(1 - next) {
            before.clear();
        }
        self.look_at = now;
    }

    /// Tells what the clock alone has changed; `true` when maintenances have begun or ended, or may have.
    #[inline(never)]
    fn look(&mut self, now: Instant, unix_us: Option<u64>, log: &mut Log<'_>) -> bool {
        self.look_at = if self.document().revision == 0 { FAR } else { now + INCIDENT_LOOK };
        let Some(unix_us) = unix_us else { return false };
        let unix_s = unix_us / 1_000_000;
        let (mut under_way, mut overdue) = (0, 0);
        let document = self.document();
        for (at, one) in document.maintenances().iter().enumerate() {
            let (is, was) = (one.phase(unix_s) == Ordering::Equal, self.under_way >> at & 1 == 1);
            under_way |= u16::from(is) << at;
            if is && !was {
                let (maintenance, title) = (Text::new(document.text(one.id)), Text::new(document.text(one.title)));
                log.emit(now, None, MaintenanceStarted { maintenance, title, ends_unix_s: one.ends_at });
            } else if was && !is {
                tell_end(now, document, at, log);
            }
        }
        for (at, one) in document.incidents().iter().enumerate() {
            let Some(update) = document.latest(one).filter(|update| update.is_overdue(unix_s)) else { continue };
            overdue |= 1 << at;
            if self.overdue >> at & 1 == 0 {
                let (incident, title) = (Text::new(document.text(one.id)), Text::new(document.text(one.title)));
                log.emit(now, None, IncidentOverdue { incident, title, due_unix_s: update.next_update_at });
            }
        }
        if let Some(next) = document.next_moment(unix_s) {
            let wait = next.saturating_mul(1_000_000).saturating_sub(unix_us);
            self.look_at = self.look_at.min(now + Duration::from_micros(wait.min(INCIDENT_LOOK.total_micros())));
        }
        (self.under_way, self.overdue) = (under_way, overdue);
        true
    }
}

/// Tells what a document says that the one before did not. After a boot what is over is no news.
#[inline(never)]
fn tell_changes(now: Instant, old: &Document, new: &Document, log: &mut Log<'_>) {
    let find = |document: &Document, id: &str| document.incidents().iter().position(|one| document.text(one.id) == id);
    for one in new.incidents() {
        let Some(update) = new.latest(one) else { continue };
        let before = find(old, new.text(one.id)).and_then(|at| old.incidents().get(at));
        let same = before.is_some_and(|before| {
            let last = old.latest(before);
            before.impact == one.impact
                && last.is_some_and(|last| (last.posted_at, last.status) == (update.posted_at, update.status))
        });
        if !same && (old.revision != 0 || update.is_open()) {
            let changed = IncidentChanged {
                incident: Text::new(new.text(one.id)),
                title: Text::new(new.text(one.title)),
                status: update.status,
                impact: one.impact,
                posted_unix_s: update.posted_at,
                next_update_unix_s: update.next_update_at,
            };
            log.emit(now, None, changed);
        }
    }
    for (one, update) in old.open().filter(|(one, _)| find(new, old.text(one.id)).is_none()) {
        let changed = IncidentChanged {
            incident: Text::new(old.text(one.id)),
            title: Text::new(old.text(one.title)),
            status: IncidentStatus::Withdrawn,
            impact: one.impact,
            posted_unix_s: update.posted_at,
            next_update_unix_s: 0,
        };
        log.emit(now, None, changed);
    }
}

fn tell_end(now: Instant, document: &Document, at: usize, log: &mut Log<'_>) {
    if let Some(one) = document.maintenances().get(at) {
        let (maintenance, title) = (Text::new(document.text(one.id)), Text::new(document.text(one.title)));
        log.emit(now, None, MaintenanceEnded { maintenance, title });
    }
}

fn hash(file: &[u8]) -> [u8; 8] {
    Sha256::of(&[file]).first_chunk().copied().unwrap_or_default()
}
