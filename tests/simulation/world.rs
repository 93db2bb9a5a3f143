//! The world: hosts on two networks, one virtual clock, and a queue of what happens next.
//!
//! ```text
//!  clients, collector?, attacker ──┐                       ┌── clients, collector?
//!                          agent ──┤ 10.1.0.0/24   203.0.113.0/24
//!                                  └──── gateway, DHCP ────┘
//! ```
//!
//! What always holds: nothing in here asks for the time or for randomness but from the seed; hosts are polled in a
//! fixed order; so a seed decides every byte.

use crate::attacker::Attacker;
use crate::client::Client;
use crate::collector::{Collector, Mood, PORT, Service};
use crate::frames;
use crate::gateway::{DhcpMode, Gateway, Subnet, TimeMode, UTC_AT_START_US};
use crate::independent::Independent;
use crate::link::{Faults, Link};
use crate::nic::AgentNic;
use crate::oracle::Oracle;
use crate::probe;
use crate::real::Real;
use crate::rng::Rng;
use crate::scenario::{Change, Scenario};
use crate::station::Station;
use crate::syslog::{self, Syslog};
use outpost::agent::{Agent, Wake};
use outpost::crash::History;
use outpost::facts::Facts;
use outpost::limits::{LAST_WORDS, LOG_SEGMENT, WALL_LOOK};
use outpost::nic::Link as CardLink;
use outpost::resume::{Generation, Resumption, Watch};
use outpost_wire::session::LossReason;
use outpost_wire::{DependencyLog, Text};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetFrame, Ipv4Address, Ipv4Cidr};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::hash::{DefaultHasher, Hash, Hasher};

const AGENT: Ipv4Address = Ipv4Address::new(10, 1, 0, 50);
const AGENT_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 50]);
const ROUTERS: [Ipv4Address; 2] = [Ipv4Address::new(10, 1, 0, 1), Ipv4Address::new(203, 0, 113, 1)];
const SYSLOG: Ipv4Address = Ipv4Address::new(10, 1, 0, 11);
const PREFIX: u8 = 24;

/// After the network has healed, peers may still have a wrong neighbour for this long (smoltcp keeps one 60 s).
const RECOVERY: Duration = Duration::from_secs(75);

/// When everything must have come to rest, counted from the healing: the longest back-off, twice, and recovery.
const SETTLE: Duration = Duration::from_secs(300);

/// How long an orderly end may take in a network without faults.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// How long the collector gets to commit what came last.
const LAST_COMMIT: Duration = Duration::from_secs(1);

/// Polls of the agent in one second of virtual time at most, beside two for each frame that came: a retry each
/// millisecond, and as much again.
const POLLS_PER_SECOND: u64 = 2_000;

/// Steps of the world within one microsecond at most: more is a peer that never comes to rest.
const STEPS_PER_MOMENT: u64 = 20_000;

/// What a chattering library says, cut anywhere.
const LINE: &str =
    "the quick brown fox jumps over the lazy dog, again and again and again, until the ring is full of foxes";

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootEnd {
    /// The machine panicked, and is reset.
    Panic,
    /// The machine was reset.
    Reset,
    /// It was reset, and its memory suffered.
    DamagingReset,
    /// It noticed that it stood still, and may be a copy: from a snapshot, when there is one.
    Resumed(Resumption),
    /// The world's time is over.
    Over,
}

/// How far the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Faults may happen.
    Faults,
    /// They are over; what they held up is made good.
    Healed,
    /// All is made good, and the agent was asked to end; it must have by this moment.
    Ending(Instant),
    /// It has ended; the world goes on until this moment.
    Ended(Instant),
}

/// Who is at the end of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Agent,
    /// With its port.
    Gateway(usize),
    Collector,
    Attacker,
    Client(usize),
    Syslog,
}

struct Port {
    host: Host,
    mac: EthernetAddress,
    network: usize,
    /// What it sends carries IP options.
    ip_options: bool,
    up: Link,
    down: Link,
}

enum Event {
    Frame { port: usize, bytes: Vec<u8> },
    Change(Change),
}

/// What a run did, to be judged and compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of every frame sent, with its moment and sender, and of every stored row.
    pub hash: u64,
    pub violations: Vec<String>,
    pub frames: u64,
    pub polls: u64,
    pub emitted: usize,
    pub stored: usize,
    pub lost: u64,
    pub answered: u64,
    /// Of these, told to come again.
    pub busy: u64,
    pub sessions: u64,
    pub leases: u64,
    pub boots: usize,
    /// How sessions to the collector ended, as records tell it.
    pub ends: BTreeSet<&'static str>,
}

impl Outcome {
    /// Adds the numbers of another run.
    pub fn add(&mut self, other: &Outcome) {
        self.frames += other.frames;
        self.polls += other.polls;
        self.emitted += other.emitted;
        self.stored += other.stored;
        self.lost += other.lost;
        self.answered += other.answered;
        self.busy += other.busy;
        self.sessions += other.sessions;
        self.leases += other.leases;
        self.boots += other.boots;
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Outcome { frames, polls, emitted, stored, lost, answered, busy, sessions, leases, boots, .. } = self;
        write!(
            f,
            "{frames} frames, {polls} polls, {boots} boots, {leases} leases, {answered} requests answered \
             ({busy} of them: busy), {emitted} records emitted, {stored} stored, {lost} declared lost, in {sessions} sessions"
        )
    }
}

/// The world of one run.
pub struct World {
    scenario: Scenario,
    rng: Rng,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
    ports: Vec<Port>,
    pub nic: AgentNic,
    gateway: Gateway,
    pub collector: Collector,
    attacker: Attacker,
    clients: Vec<Client>,
    syslog: Syslog,
    /// What the agent says that this boot sent to it.
    sent_unacknowledged: u64,
    pub oracle: Oracle,
    agent_wake: Option<Instant>,
    /// Until when the agent is busy with its last poll, or the guest is paused.
    agent_busy: Instant,
    collector_wake: Option<Instant>,
    syslog_wake: Option<Instant>,
    client_wakes: Vec<Option<Instant>>,
    hash: DefaultHasher,
    frames: u64,
    polls: u64,
    /// The second that is being counted, its polls and its frames.
    second: (i64, u64, u64),
    /// Lines recorded in each poll.
    chatter: u8,
    stage: Stage,
    /// What each boot leaves for the next one, beside the log region.
    last_words: [u8; LAST_WORDS],
    /// What the machine's own clocks and its VMM say, and when they are looked at.
    watch: Watch,
    generation: Option<Generation>,
    look_at: Instant,
    /// The machine stood still and has not noticed.
    unnoticed: bool,
    /// The log region as it was at the last snapshot of this boot.
    snapshot: Option<Vec<u8>>,
    /// The machine has gone back to that snapshot.
    restored: bool,
}

impl World {
    pub fn new(scenario: Scenario) -> World {
        let mut rng = Rng::new(scenario.seed ^ 0x5eed_0000_0000_0000);
        let subnets = [0, 1].map(|network| Subnet {
            router: Ipv4Cidr::new(ROUTERS[network], PREFIX),
            router_mac: EthernetAddress([2, 0, 0, 0, 1, network as u8]),
        });
        let mut ports = Vec::new();
        let mut plug = |host, mac, network, faults: Faults, rng: &mut Rng| {
            // A frame is changed on its way up only: two flipped bits can cancel out in every checksum.
            let (up, down) = (Link::new(faults, rng.fork()), Link::new(Faults { corrupt: 0, ..faults }, rng.fork()));
            let ip_options = matches!(host, Host::Client(_)) && rng.chance(200);
            ports.push(Port { host, mac, network, ip_options, up, down });
        };
        let near = Faults { delay_us: (0, 0), ..scenario.faults };
        plug(Host::Agent, AGENT_MAC, 0, scenario.faults, &mut rng);
        plug(Host::Gateway(0), subnets[0].router_mac, 0, Faults::default(), &mut rng);
        plug(Host::Gateway(1), subnets[1].router_mac, 1, Faults::default(), &mut rng);

        let mut neighbours = vec![(AGENT, AGENT_MAC)];
        let mut station = |network: usize, number: u8, rng: &mut Rng| {
            let [a, b, c, _] = ROUTERS[network].octets();
            let address = Ipv4Address::new(a, b, c, number);
            let mac = EthernetAddress([2, 0, 0, 0, 2 + network as u8, number]);
            neighbours.push((address, mac));
            Station::new(mac, Ipv4Cidr::new(address, PREFIX), Some(ROUTERS[network]), rng.next(), Instant::ZERO)
        };
        let collector_network = usize::from(scenario.collector_outside);
        let collector = station(collector_network, 10, &mut rng);
        plug(Host::Collector, collector.mac, collector_network, near, &mut rng);
        let strict_from = if scenario.clean { Instant::ZERO } else { scenario.heal_at + RECOVERY };
        let clients: Vec<Client> = (0..scenario.clients)
            .map(|index| {
                let network = rng.below(2) as usize;
                let station = station(network, 20 + index as u8, &mut rng);
                plug(Host::Client(index), station.mac, network, near, &mut rng);
                // A client of a clean world waits until the agent has an address.
                let first = if scenario.clean && scenario.dhcp { 5_000 } else { rng.pick(&[0, 0, 1_000]) };
                Client::new(
                    station,
                    rng.fork(),
                    AGENT,
                    network == 0,
                    strict_from,
                    scenario.heal_at,
                    scenario.connections,
                    scenario.gap_us,
                    Instant::from_millis(first),
                )
            })
            .collect();
        let attacker = Attacker::new(EthernetAddress([2, 0, 0, 0, 9, 9]), AGENT_MAC, AGENT, rng.fork());
        plug(Host::Attacker, attacker.mac, 0, Faults::default(), &mut rng);

        // On the agent's network, in a stream of its own: the other parts of the world stay what they were.
        let mut later = Rng::new(!scenario.seed).fork();
        let syslog = Station::new(
            EthernetAddress([2, 0, 0, 0, 2, 11]),
            Ipv4Cidr::new(SYSLOG, PREFIX),
            Some(ROUTERS[0]),
            later.next(),
            Instant::ZERO,
        );
        plug(Host::Syslog, syslog.mac, 0, near, &mut later);

        let service: Box<dyn Service> = if scenario.real_collector {
            Box::new(Real::new(scenario.keyed))
        } else {
            let key = scenario.keyed.then_some(probe::KEY);
            Box::new(Independent::new(rng.fork(), key, scenario.commit_us, scenario.ack_before_commit))
        };
        let mut world = World {
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            ports,
            nic: AgentNic::new(AGENT_MAC, scenario.tx_queue),
            gateway: Gateway::new(subnets, neighbours, AGENT, scenario.lease_s, rng.fork()),
            collector: Collector::new(collector, rng.fork(), service),
            attacker,
            client_wakes: vec![Some(Instant::ZERO); clients.len()],
            clients,
            syslog: Syslog::new(syslog),
            sent_unacknowledged: 0,
            oracle: Oracle::default(),
            agent_wake: Some(scenario.first_poll),
            agent_busy: scenario.first_poll,
            collector_wake: Some(Instant::ZERO),
            syslog_wake: Some(Instant::ZERO),
            hash: DefaultHasher::new(),
            frames: 0,
            polls: 0,
            second: (0, 0, 0),
            chatter: 0,
            stage: Stage::Faults,
            last_words: [0; LAST_WORDS],
            watch: Watch::new(scenario.generation.then_some([1, 1])),
            generation: scenario.generation.then_some([1, 1]),
            look_at: Instant::ZERO,
            unnoticed: false,
            snapshot: None,
            restored: false,
            rng,
            scenario,
        };
        for (moment, change) in world.scenario.changes.clone() {
            world.push(moment, Event::Change(change));
        }
        world
    }

    /// Runs the scenario to its end; each boot's agent is adjusted before it runs.
    pub fn run(mut self, adjust: impl Fn(&mut Agent<'_>)) -> Outcome {
        let mut region = vec![0; self.scenario.region];
        loop {
            let end = self.boot(&mut region, &adjust);
            match end {
                BootEnd::Reset | BootEnd::Panic | BootEnd::Resumed(_) => {}
                BootEnd::DamagingReset => self.damage(&mut region),
                BootEnd::Over => break,
            }
        }
        self.judge(&region)
    }

    /// Flips bits of the log region, most of them where records are.
    fn damage(&mut self, region: &mut [u8]) {
        self.oracle.damage();
        for _ in 0..self.rng.range(1, 40) {
            let bytes = if self.rng.chance(500) { region.len() } else { region.len().min(20_000) };
            let place = self.rng.below(bytes as u64) as usize;
            region[place] ^= 1 << self.rng.below(8);
        }
    }

    /// From a reset to the next one: one boot, and those that begin because the machine stood still.
    fn boot(&mut self, region: &mut [u8], adjust: &impl Fn(&mut Agent<'_>)) -> BootEnd {
        let mut boot_id = self.rng.next() | 1;
        let mut last_words = self.last_words;
        let (mut words, mut history) = probe::begin(&mut last_words, boot_id);
        // Time of a boot starts with the machine's clock, which is the world's: a reset does not turn it back.
        self.now = self.now.max(self.scenario.first_poll);
        let end = loop {
            let end = self.life(boot_id, history, region, adjust);
            words.record_is_kept();
            self.snapshot = self.snapshot.take().filter(|_| matches!(end, BootEnd::Resumed(_)));
            let BootEnd::Resumed(resumed) = end else { break end };
            if let Some(snapshot) = self.snapshot.take().filter(|_| core::mem::take(&mut self.restored)) {
                region[..snapshot.len()].copy_from_slice(&snapshot);
            }
            boot_id = self.rng.next() | 1;
            history = words.renew(self.now, boot_id, resumed);
        };
        words.alive(self.now, 0);
        if end == BootEnd::Panic {
            probe::panic(&mut words, self.now, &mut self.oracle);
        }
        self.last_words = last_words;
        self.nic.reset();
        end
    }

    /// One boot, from `Agent::new` to its end.
    fn life(&mut self, boot_id: u64, history: History, region: &mut [u8], adjust: &impl Fn(&mut Agent<'_>)) -> BootEnd {
        let mut storage = probe::storage();
        self.oracle.boot(boot_id);
        let collector = core::net::SocketAddrV4::new(self.collector.station.address, PORT);
        let network = (!self.scenario.dhcp).then(|| (Ipv4Cidr::new(AGENT, PREFIX), ROUTERS[0]));
        self.oracle.safe_mode |= history.safe_mode;
        let facts = Facts { history, ..probe::facts(boot_id, self.rng.array()) };
        let syslog = self.scenario.syslog.then_some(core::net::SocketAddrV4::new(SYSLOG, syslog::PORT));
        let config = probe::config(network, Some((collector, self.scenario.keyed)), syslog);
        let mut agent = Agent::new(facts, config, &probe::NO_CHECKS, &mut storage, region, &mut self.nic, self.now);
        adjust(&mut agent);
        self.observe(&mut agent);
        (self.agent_wake, self.agent_busy) = (Some(self.now), self.now);
        self.live(&mut agent)
    }

    /// Lets time pass until the boot ends.
    fn live(&mut self, agent: &mut Agent<'_>) -> BootEnd {
        let over = self.scenario.heal_at + SETTLE;
        let mut steps = 0;
        loop {
            let queued = self.queue.first_key_value().map(|(&(moment, _), _)| moment);
            let agent_wake = self.agent_wake.map(|at| at.max(self.agent_busy));
            let agent_wake = agent_wake.filter(|_| !matches!(self.stage, Stage::Ended(_)));
            // Worlds in which nothing stands still are not woken for the look.
            let look = self.unnoticed.then(|| self.look_at.max(self.agent_busy));
            let wakes =
                [agent_wake, self.collector_wake, self.syslog_wake, queued, look.filter(|_| agent_wake.is_some())];
            let wakes = self.client_wakes.iter().copied().chain(wakes);
            let Some(next) = wakes.flatten().min() else { return BootEnd::Over };
            match self.stage {
                Stage::Ended(at) if next > at => return BootEnd::Over,
                Stage::Ending(deadline) if next > deadline => {
                    self.oracle.violation(format!("{next}: the agent was asked to end and goes on"));
                }
                Stage::Healed if self.at_rest() => {
                    agent.shut_down(self.now, outpost_wire::ShutdownCause::PowerButton);
                    self.observe(agent);
                    self.stage = Stage::Ending(self.now + SHUTDOWN);
                    self.agent_wake = Some(self.now);
                    continue;
                }
                _ => {}
            }
            if next > over || !self.oracle.violations.is_empty() {
                return BootEnd::Over;
            }
            steps = if next > self.now { 0 } else { steps + 1 };
            let wakes = (agent_wake, self.collector_wake, &self.client_wakes, queued);
            assert!(steps < STEPS_PER_MOMENT, "the simulation does not come to rest at {next}: {wakes:?}");
            self.now = self.now.max(next);
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                match entry.remove() {
                    Event::Frame { port, bytes } => self.arrive(port, bytes),
                    Event::Change(change @ (Change::Reset | Change::Panic)) => {
                        return if change == Change::Panic { BootEnd::Panic } else { BootEnd::Reset };
                    }
                    Event::Change(Change::DamagingReset) => return BootEnd::DamagingReset,
                    Event::Change(Change::Snapshot) => self.snapshot = Some(agent.log().region().concat()),
                    Event::Change(change) => self.change(change),
                }
            }
            let ended = matches!(self.stage, Stage::Ended(_));
            if !ended && let Some(resumed) = self.look(agent) {
                return BootEnd::Resumed(resumed);
            }
            if !ended && self.agent_wake.is_some_and(|at| at.max(self.agent_busy) <= self.now) {
                self.poll_agent(agent);
            }
            self.poll_peers();
        }
    }

    fn push(&mut self, moment: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((moment, self.queued), event);
    }

    fn poll_agent(&mut self, agent: &mut Agent<'_>) {
        let now = self.now;
        self.polls += 1;
        let second = now.secs();
        if second != self.second.0 {
            self.second = (second, 0, 0);
        }
        self.second.1 += 1;
        if self.second.1 > POLLS_PER_SECOND + 2 * self.second.2 {
            let (_, polls, frames) = self.second;
            self.oracle.violation(format!("{now}: the agent spins: {polls} polls for {frames} frames within a second"));
        }
        for _ in 0..self.chatter {
            let text = &LINE[..self.rng.below(LINE.len() as u64 + 1) as usize];
            agent.log().emit(
                now,
                None,
                DependencyLog { level: 3, target: Text::new("chatter"), text: Text::new(text) },
            );
        }
        let wake = agent.poll(now, &mut self.nic);
        self.observe(agent);
        probe::compare_losses(agent, &mut self.oracle);
        self.sent_unacknowledged = probe::account(agent, now, &mut self.oracle);
        probe::console(agent, now, &mut self.oracle);
        let done = now + Duration::from_micros(self.scenario.poll_us);
        self.agent_busy = done;
        self.agent_wake = match wake {
            Wake::At(at) => Some(at),
            Wake::OnFrame => None,
            Wake::PowerOff if matches!(self.stage, Stage::Ending(_)) => {
                self.stage = Stage::Ended(now + LAST_COMMIT);
                None
            }
            Wake::PowerOff => {
                self.oracle.violation(format!("{now}: the agent switches off, and nobody asked for it"));
                None
            }
        };
        for frame in self.nic.take_sent() {
            self.send(0, done, &frame);
        }
    }

    /// Notes the records that the last poll emitted.
    fn observe(&mut self, agent: &mut Agent<'_>) {
        probe::emitted(agent, &mut self.oracle);
    }

    fn poll_peers(&mut self) {
        let now = self.now;
        if self.collector_wake.is_some_and(|at| at <= now) {
            self.collector_wake = self.collector.poll(now, &mut self.oracle);
            let frames = core::mem::take(&mut self.collector.station.nic.tx);
            let port = self.port(Host::Collector);
            frames.iter().for_each(|frame| self.send(port, now, frame));
        }
        if self.syslog_wake.is_some_and(|at| at <= now) {
            self.syslog_wake = self.syslog.poll(now, &mut self.oracle);
            let frames = core::mem::take(&mut self.syslog.station.nic.tx);
            let port = self.port(Host::Syslog);
            frames.iter().for_each(|frame| self.send(port, now, frame));
        }
        for index in 0..self.clients.len() {
            if self.client_wakes[index].is_some_and(|at| at <= now) {
                self.client_wakes[index] = self.clients[index].poll(now);
                let frames = core::mem::take(&mut self.clients[index].station.nic.tx);
                let port = self.port(Host::Client(index));
                frames.iter().for_each(|frame| self.send(port, now, frame));
                let notes = core::mem::take(&mut self.clients[index].violations);
                notes.into_iter().for_each(|note| self.oracle.violation(note));
            }
        }
    }

    fn port(&self, host: Host) -> usize {
        self.ports.iter().position(|port| port.host == host).expect("every host has a port")
    }

    /// A host sends a frame: over its cable to the switch, and from there over the cables of those it is for.
    fn send(&mut self, from: usize, at: Instant, frame: &[u8]) {
        (from, at.total_micros(), frame).hash(&mut self.hash);
        self.frames += 1;
        let altered = self.ports[from].ip_options.then(|| frames::with_ip_options(frame));
        let frame = altered.as_deref().unwrap_or(frame);
        let mut arrivals = Vec::new();
        self.ports[from].up.carry(at, frame, |moment, bytes| arrivals.push((moment, bytes)));
        let network = self.ports[from].network;
        for (moment, bytes) in arrivals {
            let Ok(ethernet) = EthernetFrame::new_checked(&bytes) else { continue };
            let to = ethernet.dst_addr();
            for index in 0..self.ports.len() {
                let port = &mut self.ports[index];
                if index == from || port.network != network || !(to.is_broadcast() || to == port.mac) {
                    continue;
                }
                let mut copies = Vec::new();
                port.down.carry(moment, &bytes, |moment, bytes| copies.push((moment, bytes)));
                for (moment, bytes) in copies {
                    self.push(moment, Event::Frame { port: index, bytes });
                }
            }
        }
    }

    fn arrive(&mut self, port: usize, bytes: Vec<u8>) {
        let now = self.now;
        let soon = |wake: &mut Option<Instant>| *wake = Some(wake.map_or(now, |at| at.min(now)));
        match self.ports[port].host {
            Host::Agent => {
                self.attacker.see(&bytes);
                self.second.2 += 1;
                self.nic.arrive(bytes);
                soon(&mut self.agent_wake);
            }
            Host::Gateway(side) => {
                for (side, frame) in self.gateway.receive(now, side, &bytes) {
                    let out = self.port(Host::Gateway(side));
                    self.send(out, now, &frame);
                }
            }
            Host::Collector => {
                self.collector.station.nic.rx.push_back(bytes);
                soon(&mut self.collector_wake);
            }
            Host::Syslog => {
                self.syslog.station.nic.rx.push_back(bytes);
                soon(&mut self.syslog_wake);
            }
            Host::Client(index) => {
                self.clients[index].station.nic.rx.push_back(bytes);
                soon(&mut self.client_wakes[index]);
            }
            Host::Attacker => {}
        }
    }

    fn change(&mut self, change: Change) {
        let now = self.now;
        match change {
            Change::Collector(mood) => self.collector.set_mood(mood),
            Change::CollectorCrashes => self.collector.crash(),
            Change::CollectorRestarts => self.collector.restart(),
            Change::CollectorBacksUp => self.collector.service.back_up(),
            Change::CollectorRollsBack => self.collector.roll_back(),
            Change::SyslogCrashes => self.syslog.crash(),
            Change::SyslogRestarts => self.syslog.restart(),
            Change::Dhcp(mode) => self.gateway.dhcp = mode,
            Change::Time(mode) => self.gateway.time = mode,
            Change::AgentCut(cut) => self.cut(Host::Agent, cut),
            Change::CollectorCut(cut) => self.cut(Host::Collector, cut),
            Change::AgentLink(link) => {
                self.nic.link = link;
                self.cut(Host::Agent, link != CardLink::Up);
                self.agent_wake = Some(now);
            }
            Change::Pause(time) => self.agent_busy = self.agent_busy.max(now + time),
            Change::Burst => {
                let port = self.port(Host::Attacker);
                for frame in self.attacker.burst() {
                    self.send(port, now, &frame);
                }
            }
            Change::Chatter(lines) => self.chatter = lines,
            Change::Heal => self.heal(),
            Change::StandsStill(time) => self.stand_still(time),
            Change::Restored(time) if self.snapshot.is_some() => {
                self.restored = true;
                self.generation = self.generation.map(|[first, second]| [first, second + 1]);
                self.oracle.went_back();
                self.stand_still(time);
                // What the agent does until it notices is done by a copy that nobody hears of.
                self.look_at = now;
            }
            // There was a reset in between: it would go back to a boot that is no more.
            Change::Restored(_) => {}
            Change::Snapshot | Change::Reset | Change::DamagingReset | Change::Panic => {
                unreachable!("done where the agent is")
            }
        }
        (self.collector_wake, self.syslog_wake) = (Some(now), Some(now));
    }

    fn stand_still(&mut self, time: Duration) {
        self.unnoticed = true;
        self.gateway.stood_still_us += time.total_micros();
        self.oracle.stood_still(self.now, time);
    }

    /// Looks whether the machine stood still, as the image does. Returns how, when it may be a copy.
    fn look(&mut self, agent: &mut Agent<'_>) -> Option<Resumption> {
        let now = self.now;
        if now < self.look_at.max(self.agent_busy) && !self.watch.is_other(self.generation) {
            return None;
        }
        self.look_at = now + WALL_LOOK;
        // A clock of whole seconds, as the RTC is.
        let unix_s = (UTC_AT_START_US + now.total_micros() as u64 + self.gateway.stood_still_us) / 1_000_000;
        let resumed = self.watch.look(now, self.generation, Some(unix_s * 1_000_000))?;
        if !core::mem::take(&mut self.unnoticed) {
            self.oracle.violation(format!("{now}: the machine did not stand still: {resumed:?}"));
        }
        if resumed.copy {
            return Some(resumed);
        }
        agent.went_on(now, resumed);
        self.observe(agent);
        self.agent_wake = Some(now);
        None
    }

    fn cut(&mut self, host: Host, cut: bool) {
        let port = self.port(host);
        self.ports[port].up.cut = cut;
        self.ports[port].down.cut = cut;
    }

    /// All faults end; each client tries twice more when nothing of them can be left.
    fn heal(&mut self) {
        for port in &mut self.ports {
            for link in [&mut port.up, &mut port.down] {
                link.cut = false;
                link.faults = Faults { delay_us: link.faults.delay_us, ..Faults::default() };
            }
        }
        self.nic.link = CardLink::Up;
        self.collector.restart();
        self.collector.set_mood(Mood::Well);
        self.syslog.restart();
        self.gateway.dhcp = DhcpMode::Serve;
        self.gateway.time = TimeMode::Serve;
        self.chatter = 0;
        self.stage = Stage::Healed;
        for (client, wake) in self.clients.iter_mut().zip(&mut self.client_wakes) {
            client.set_budget(2, self.now + RECOVERY);
            *wake = Some(self.now);
        }
    }

    /// Whether nothing is left to happen that the oracle waits for.
    fn at_rest(&self) -> bool {
        let told = |&(boot, last): &(u64, u64)| self.collector.service.durable(boot) == last;
        let logged =
            !self.scenario.syslog || self.oracle.last().is_none_or(|(boot, last)| self.syslog.knows(boot, last));
        self.clients.iter().all(Client::done) && self.oracle.accountable().iter().all(told) && logged
    }

    /// Of the last boot the syslog server must know everything, but for what its TCP had when it was killed; and the
    /// agent must have counted just that.
    fn judge_syslog(&mut self) {
        let Some((boot, last)) = self.oracle.last().filter(|_| self.scenario.syslog) else { return };
        let unknown = (1..=last).filter(|&seq| !self.syslog.knows(boot, seq)).count() as u64;
        // What came and was not acknowledged by TCP before the connection broke may have left the ring since, because
        // the collector has it: then it is told again as skipped, and was not counted.
        let skipped = self.syslog.untold.get(&boot).cloned().unwrap_or_default();
        let records = self.syslog.records.get(&boot).map_or(0, |seqs| seqs.difference(&skipped).count() as u64);
        let killed = self.scenario.changes.iter().any(|(_, change)| *change == Change::SyslogCrashes);
        if unknown > 0 && !killed {
            self.oracle.violation(format!("the syslog server was never told of {unknown} records of {last}"));
        }
        if self.sent_unacknowledged != records + unknown {
            let sent = self.sent_unacknowledged;
            self.oracle.violation(format!("{sent} sent unacknowledged: {records} came and {unknown} are unknown"));
        }
    }

    fn judge(mut self, region: &[u8]) -> Outcome {
        let stored = self.collector.service.stored();
        if self.oracle.violations.is_empty() {
            self.judge_end(region);
        }
        for (boot, store) in &stored {
            store.rows.iter().for_each(|(&seq, body)| probe::seen(seq, body));
            (boot, &store.rows).hash(&mut self.hash);
            store.lost.iter().for_each(|&(from, to, reason)| (from, to, u8::from(reason)).hash(&mut self.hash));
        }
        Outcome {
            ends: core::mem::take(&mut self.oracle.ends),
            hash: self.hash.finish(),
            frames: self.frames,
            polls: self.polls,
            emitted: self.oracle.emitted_count(),
            stored: stored.values().map(|store| store.rows.len()).sum(),
            lost: stored.values().flat_map(|store| &store.lost).map(|(from, to, _)| to - from + 1).sum(),
            answered: self.clients.iter().map(|client| client.answered).sum(),
            busy: self.clients.iter().map(|client| client.busy).sum(),
            sessions: self.collector.sessions,
            leases: self.gateway.leases,
            boots: self.oracle.boots.len(),
            violations: self.oracle.violations,
        }
    }

    /// Whether there was a reason to lose anything.
    fn judge_losses<'s>(&mut self, lost: impl Iterator<Item = &'s (u64, u64, LossReason)>) {
        let happens = |what| self.scenario.changes.iter().any(|(_, change)| *change == what);
        let (rolls_back, damages) = (happens(Change::CollectorRollsBack), happens(Change::DamagingReset));
        // One lane of one boot may have only an eighth of the ring, and each boot begins segments of its own.
        let segments = self.scenario.region / LOG_SEGMENT;
        let overflows =
            self.oracle.emitted_bytes() > self.scenario.region / 8 || self.oracle.boots.len() > segments / 8;
        for &(from, to, reason) in lost {
            let possible = match reason {
                LossReason::Overflow => overflows || damages,
                LossReason::CollectorRolledBack => rolls_back,
                LossReason::Torn => damages,
                LossReason::Other(_) => false,
            };
            if !possible {
                self.oracle.violation(format!("seq {from} to {to} were lost ({reason:?}), and nothing is to blame"));
            }
        }
    }

    fn judge_end(&mut self, region: &[u8]) {
        let now = self.now;
        let stored = self.collector.service.stored();
        // The last records may still be on their way; all others must have arrived.
        let buffered = probe::buffered(region, &self.oracle, |boot| self.collector.service.durable(boot));
        let rolled_back = self.scenario.changes.iter().any(|(_, change)| *change == Change::CollectorRollsBack);
        self.oracle.judge(&stored, &buffered, rolled_back);
        self.judge_syslog();
        self.judge_losses(stored.values().flat_map(|store| &store.lost));
        let unfinished = self.clients.iter().filter(|client| !client.done()).count();
        if unfinished > 0 {
            self.oracle.violation(format!("{now}: {unfinished} clients have connections that never ended"));
        }
        if self.scenario.dhcp && self.gateway.leases == 0 {
            self.oracle.violation(format!("{now}: the agent never took a lease, and the server answers"));
        }
        if self.clients.iter().all(|client| client.answered == 0) {
            self.oracle.violation(format!("{now}: not one request was answered"));
        }
        // A reset loses what was counted and not yet told; and the clients do not see every answer.
        let (answered, recorded) = (self.clients.iter().map(|client| client.answered).sum(), self.oracle.requests);
        if recorded < answered && self.oracle.boots.len() == 1 {
            self.oracle.violation(format!("{now}: {answered} requests were answered and {recorded} recorded"));
        }
        // A server that says RATE is obeyed for 17 minutes, which no world lasts; nor is safe mode left in one.
        let misled = self.scenario.changes.iter().any(|(_, change)| *change == Change::Time(TimeMode::Nonsense));
        if self.oracle.clock_syncs == 0 && !misled && !self.oracle.safe_mode {
            self.oracle.violation(format!("{now}: the agent never learned the time"));
        }
        if self.unnoticed {
            self.oracle.violation(format!("{now}: the machine never noticed that it stood still"));
        }
        if self.collector.sessions == 0 {
            self.oracle.violation(format!("{now}: the agent never reached the collector"));
        }
    }
}
