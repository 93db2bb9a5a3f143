//! Host names: a small table of them, and the addresses that DNS servers give for them.
//!
//! ```text
//! due ─▶ asked: id, port and server of its own ─┬─ addresses ─▶ fresh for their TTL ─▶ due
//!  ▲                     ▲  timeout, no use of it│
//!  │                     └── the next server ◀───┤
//!  └── back-off ◀─ failed: the last good addresses stay, marked ◀─┘ no server is left, or the name is not there
//! ```
//!
//! One name is asked at a time, from a port of its own (RFC 5452, section 9.2), so that a forged answer has to guess
//! port and id. smoltcp's own resolver is not used: it hides the TTL. What always holds: an address that was good is
//! never forgotten, only replaced; each wait has a deadline; asking costs one packet at a time.

use super::answer::{self, Answer, Refusal};
use crate::config::{Host, HostName};
use crate::limits::{DNS_ADDRESSES, DNS_NAMES, DNS_REMIND, DNS_RETRY_MAX, DNS_RETRY_MIN, DNS_ROUNDS, DNS_TIMEOUT};
use crate::log::Log;
use crate::random::Random;
use core::net::Ipv4Addr;
use heapless::Vec;
use outpost_wire::{DnsFailed, DnsFailure, DnsResolved, Ip4, Text};
use smoltcp::socket::udp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};

const PORT: u16 = 53;

/// A name and what is known of it.
#[derive(Debug)]
pub struct Name {
    /// The name.
    pub host: HostName,
    /// The last good addresses, in numeric order; empty as long as there were none.
    pub addresses: Vec<Ipv4Addr, DNS_ADDRESSES>,
    /// When a server gave them, and for how long.
    pub answered: Option<(Instant, Duration)>,
    /// Why the last lookup failed; `None` when it did not.
    pub failure: Option<DnsFailure>,
    /// Lookups that failed since one did not.
    pub failures: u32,
    /// When it is asked for next.
    pub next: Instant,
    /// When a failure, and when a change, was last told.
    told: [Option<Instant>; 2],
}

impl Name {
    /// How it stands, in a word for people.
    pub fn state(&self) -> &'static str {
        match (self.failure, self.addresses.is_empty()) {
            (None, true) => "asking",
            (None, false) => "resolved",
            (Some(_), true) => "failed",
            (Some(_), false) => "kept",
        }
    }
}

/// A lookup under way.
#[derive(Debug)]
struct Lookup {
    /// Which name.
    name: usize,
    /// How many servers were asked, and why the last of them was of no use.
    tries: usize,
    reason: DnsFailure,
    /// The question on its way.
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u16,
    server: Ipv4Addr,
    deadline: Instant,
}

/// The names and the client that looks them up.
pub struct Resolver {
    names: Vec<Name, DNS_NAMES>,
    /// So many of them the agent itself needs.
    own: usize,
    lookup: Option<Lookup>,
    /// The server that was last of use is asked first.
    preferred: usize,
    random: Random,
    questions: u64,
    ignored: u64,
}

impl Resolver {
    /// A table of the names among these hosts. `seed` makes ids and ports unguessable.
    pub fn new<'h>(hosts: impl Iterator<Item = &'h Host>, seed: u64, now: Instant) -> Resolver {
        let random = Random::new(seed);
        let mut resolver =
            Resolver { names: Vec::new(), own: 0, lookup: None, preferred: 0, random, questions: 0, ignored: 0 };
        for host in hosts {
            if let Host::Name(name) = host {
                resolver.add(name, now);
            }
        }
        resolver.own = resolver.names.len();
        resolver
    }

    /// Looks up what is watched, too; whether that can be is not the agent's own health.
    pub fn watch<'h>(&mut self, names: impl Iterator<Item = &'h str>, now: Instant) {
        names.for_each(|name| self.add(name, now));
    }

    fn add(&mut self, name: &str, now: Instant) {
        let Ok(host) = HostName::try_from(name) else { return };
        if self.named(name).is_some() {
            return;
        }
        let (addresses, answered) = (Vec::new(), None);
        let (failure, failures, next, told) = (None, 0, now, [None; 2]);
        // There is room: the configuration counts the names of the agent's own keys, and refuses too many of checks.
        let _ = self.names.push(Name { host, addresses, answered, failure, failures, next, told });
    }

    /// All names.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Questions sent, and packets that were no answer to one.
    pub fn counts(&self) -> (u64, u64) {
        (self.questions, self.ignored)
    }

    /// Whether the last lookup of a name that the agent itself needs failed.
    pub fn fails(&self) -> bool {
        self.names.iter().take(self.own).any(|name| name.failure.is_some())
    }

    /// The addresses of a host, as far as they are known: that of a literal one is itself.
    pub fn addresses<'r>(&'r self, host: &'r Host) -> &'r [Ipv4Addr] {
        match host {
            Host::Address(address) => core::slice::from_ref(address),
            Host::Name(name) => self.named(name).map_or(&[], |name| &name.addresses),
        }
    }

    /// The first address of a host that is written out.
    pub fn address(&self, host: &str) -> Option<Ipv4Addr> {
        host.parse().ok().or_else(|| self.named(host)?.addresses.first().copied())
    }

    /// The addresses of several hosts: first one of each, as far as there is room.
    pub fn all<const N: usize>(&self, hosts: &[Host]) -> Vec<Ipv4Addr, N> {
        let mut all = Vec::new();
        for rank in 0..DNS_ADDRESSES {
            for address in hosts.iter().filter_map(|host| self.addresses(host).get(rank)) {
                if !all.contains(address) {
                    // What finds no room is one too many.
                    let _ = all.push(*address);
                }
            }
        }
        all
    }

    /// Takes in answers and asks for what is due; says whether addresses changed, and when there is more to do if no
    /// frame comes before. Without a network nothing is asked and nothing fails.
    pub fn poll(
        &mut self,
        now: Instant,
        socket: &mut udp::Socket<'_>,
        servers: &[Ipv4Addr],
        log: &mut Log<'_>,
    ) -> (bool, Option<Instant>) {
        let mut changed = false;
        // At most what the socket's buffer holds.
        while let Ok((bytes, from)) = socket.recv() {
            changed |= self.take_in(now, bytes, from.endpoint, log);
        }
        if let Some(Lookup { sent: sent @ Some(_), reason, .. }) = &mut self.lookup
            && sent.is_some_and(|sent| now >= sent.deadline)
        {
            (*sent, *reason) = (None, DnsFailure::Timeout);
        }
        // Each turn ends a lookup whose name is then not due, or sends.
        for _ in 0..=DNS_NAMES {
            let Some(lookup) = &mut self.lookup else {
                // Who has waited longest: names that fail come again soon, and must not keep the others from their turn.
                let due = self.names.iter().enumerate().filter(|(_, name)| now >= name.next);
                let Some((name, _)) = due.min_by_key(|(_, name)| name.next) else { break };
                self.lookup = Some(Lookup { name, tries: 0, reason: DnsFailure::NoServer, sent: None });
                continue;
            };
            if lookup.sent.is_some() {
                break;
            }
            let server = servers.get((self.preferred + lookup.tries) % servers.len().max(1));
            match server.filter(|_| lookup.tries < DNS_ROUNDS * servers.len()) {
                Some(&server) => {
                    lookup.tries += 1;
                    let number = self.random.number();
                    let sent = Sent { id: number as u16, server, deadline: now + DNS_TIMEOUT };
                    lookup.sent = Some(sent);
                    self.questions += 1;
                    if let Some(name) = self.names.get(lookup.name) {
                        ask(socket, &name.host, sent, number);
                    }
                }
                None => self.fail(now, log),
            }
        }
        let deadline = self.lookup.as_ref().and_then(|lookup| lookup.sent).map(|sent| sent.deadline);
        (changed, deadline.or(self.names.iter().map(|name| name.next).min()))
    }

    /// The server whose answer is awaited.
    pub fn awaited(&self) -> Option<Ipv4Addr> {
        Some(self.lookup.as_ref()?.sent?.server)
    }

    /// The network is gone, or our address is another: what is on its way counts for nothing, and asking begins anew.
    pub fn restart(&mut self, now: Instant) {
        self.lookup = None;
        for name in self.names.iter_mut().filter(|name| name.failure.is_some() || name.addresses.is_empty()) {
            name.next = now;
        }
    }

    fn named(&self, host: &str) -> Option<&Name> {
        self.names.iter().find(|name| name.host == host)
    }

    fn take_in(&mut self, now: Instant, bytes: &[u8], from: IpEndpoint, log: &mut Log<'_>) -> bool {
        let waiting = self.lookup.as_mut().and_then(|lookup| Some((lookup.sent?, lookup)));
        let said = match &waiting {
            Some((sent, lookup)) if from == IpEndpoint::new(IpAddress::Ipv4(sent.server), PORT) => {
                let host = self.names.get(lookup.name).map_or("", |name| &name.host);
                answer::parse(bytes, host, sent.id)
            }
            _ => Err(Refusal::NotOurs),
        };
        match (said, waiting) {
            (Ok(answer), Some((sent, lookup))) => {
                let name = lookup.name;
                self.preferred += lookup.tries - 1;
                self.lookup = None;
                self.names.get_mut(name).is_some_and(|name| name.succeed(now, answer, sent.server, log))
            }
            // The name is not there, or has no address: no other server knows it better.
            (Err(Refusal::Failed(reason @ (DnsFailure::NoSuchName | DnsFailure::NoAddress))), Some((_, lookup))) => {
                lookup.reason = reason;
                self.fail(now, log);
                false
            }
            (Err(Refusal::Failed(reason)), Some((_, lookup))) => {
                (lookup.sent, lookup.reason) = (None, reason);
                false
            }
            // The real answer may still come.
            _ => {
                self.ignored += 1;
                false
            }
        }
    }

    /// Ends the lookup without an answer.
    fn fail(&mut self, now: Instant, log: &mut Log<'_>) {
        let Some(lookup) = self.lookup.take() else { return };
        // A random half, so that a fleet does not come back all at once.
        let half = |wait: Duration, random: u64| {
            let half = wait.total_micros() / 2;
            Duration::from_micros(half + ((half * (random >> 32)) >> 32))
        };
        let random = self.random.number();
        let Some(name) = self.names.get_mut(lookup.name) else { return };
        let wait = (DNS_RETRY_MIN * (1 << name.failures.min(16))).min(DNS_RETRY_MAX);
        name.next = now + half(wait, random);
        name.failures = name.failures.saturating_add(1);
        name.failure = Some(lookup.reason);
        let [told, _] = &mut name.told;
        if told.is_none_or(|told| now >= told + DNS_REMIND) {
            *told = Some(now);
            let kept = ip4(name.addresses.first());
            let (reason, failures) = (lookup.reason, name.failures);
            log.emit(now, None, DnsFailed { name: Text::new(&name.host), reason, kept, failures });
        }
    }
}

impl Name {
    /// Takes over what a server said; whether the addresses are others than before.
    fn succeed(&mut self, now: Instant, answer: Answer, server: Ipv4Addr, log: &mut Log<'_>) -> bool {
        let failed = core::mem::take(&mut self.failure).is_some();
        self.failures = 0;
        (self.answered, self.next) = (Some((now, answer.ttl)), now + answer.ttl);
        let changed = answer.addresses != self.addresses;
        let before = ip4(self.addresses.first());
        self.addresses = answer.addresses;
        let [failure_told, change_told] = &mut self.told;
        // A zone that gives other addresses each time would fill the log.
        let is_news = changed && change_told.is_none_or(|told| now >= told + DNS_REMIND);
        if is_news || failed && failure_told.is_some() {
            (*failure_told, *change_told) = (None, Some(now));
            let address = ip4(self.addresses.first());
            let (addresses, ttl_s) = (self.addresses.len() as u8, answer.ttl.secs() as u32);
            let (name, server) = (Text::new(&self.host), Ip4(server.octets()));
            log.emit(now, None, DnsResolved { name, address, before, addresses, ttl_s, server });
        }
        changed
    }
}

/// Sends the question from a port that the one before did not have.
fn ask(socket: &mut udp::Socket<'_>, host: &str, sent: Sent, random: u64) {
    socket.close();
    // Below the dynamic range, where the time client's port is, and not 0: binding cannot fail.
    let _ = socket.bind(32_768 | ((random >> 16) & 0x3fff) as u16);
    let to = IpEndpoint::new(IpAddress::Ipv4(sent.server), PORT);
    // What cannot be sent (a server's address that is none) is as good as lost: the deadline is set.
    let _ = socket.send_slice(&answer::question(host, answer::ADDRESS, sent.id), to);
}

fn ip4(address: Option<&Ipv4Addr>) -> Ip4 {
    Ip4(address.map_or([0; 4], Ipv4Addr::octets))
}
