//! The agent. [`Agent::poll`] is its table of contents: everything happens there, in a fixed and bounded order.
//!
//! Parts never call each other: the agent hands each the `&mut` it needs. `health` is the only meeting point, `log`
//! the only exit for events.

use crate::config::checks::Checks;
use crate::config::{Drill, Host, Loaded};
use crate::content::Content;
use crate::crash::{History, LastBoot};
use crate::drill::{Drills, Failure};
use crate::facts::Facts;
use crate::health::{Check, Health, Reason};
use crate::http::server::{self, Server, Surroundings};
use crate::incidents::{self, Incidents};
use crate::limits;
use crate::log::{Identity, Log, Phase, Security, Ship, Sink};
use crate::net::frame::{self, Sort};
use crate::net::link::Hop;
use crate::net::neighbours::Mac;
use crate::net::resolve::Resolver;
use crate::net::{self, Network};
use crate::nic::{Link, Nic};
use crate::resume::Resumption;
use crate::time::Time;
use crate::view::Parts;
use crate::vitals::Vitals;
use crate::watch::{self, Watch};
use crate::{FAR, sooner};
use outpost_wire::noise::{Ephemerals, Key};
use outpost_wire::{
    AgentIsolated, AgentRejoined, BootPreviousEnded, BootStarted, ConfigInvalid, ConfigSource, ContentLoaded,
    ContentRefused, DownReason, DrillStarted, EndCause, EntropySource, MachineResumed, SessionEnd, Sha256, Shutdown,
    ShutdownCause, Text,
};
use smoltcp::phy::RxToken;
use smoltcp::time::{Duration, Instant};

/// What the agent asks of the machine after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Call again at this moment, or earlier when a frame arrives.
    At(Instant),
    /// Call again when a frame arrives.
    OnFrame,
    /// The agent has ended in order: switch the machine off.
    PowerOff,
}

/// The memory of the agent: static in the image, leaked in a test. Empty memory is all zeros: .bss in the image.
#[derive(Default)]
pub struct Storage<'a> {
    network: net::Memory<'a>,
    server: server::Memory<'a>,
    watch: watch::Memory<'a>,
    incidents: incidents::Memory<'a>,
}

impl Storage<'_> {
    /// Empty memory.
    pub const fn new() -> Self {
        Storage {
            network: net::Memory::new(),
            server: server::Memory::new(),
            watch: watch::Memory::new(),
            incidents: incidents::Memory::new(),
        }
    }
}

/// While the agent is not ready, the serial console says why this often.
const DIAGNOSE_EVERY: Duration = Duration::from_secs(10);

/// What the agent's health takes from the clock alone is looked at this often.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// At an orderly end the log gets this long to reach the collector.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// A clock that may be off by more than this is worth a warning, in microseconds: logs of two machines no longer join.
const CLOCK_ERROR_US: u64 = 500_000;

/// The agent.
pub struct Agent<'a> {
    /// What serving looks at and does not change.
    parts: Parts,
    network: Network<'a>,
    server: Server<'a>,
    watch: Watch<'a>,
    incidents: Incidents<'a>,
    log: Log<'a>,
    /// When anything but connections and the log has something to do. Whoever touches such a part outside of the polls
    /// that are for them sets it to zero.
    due: Instant,
    /// When the ways to the collector and to a syslog server have something to do, if no frame comes before.
    ship_at: Instant,
    sink_at: Instant,
    /// How many records both have been told of.
    seen_emitted: u64,
    /// When the host names of the configuration have something to do, if no frame comes before.
    names_at: Instant,
    /// When the clock has something to do, if no frame comes before.
    time_at: Instant,
    /// When health is judged again, and the state of the network that it was judged by.
    judge_at: Instant,
    judged: net::State,
    drills: Option<Drills>,
    diagnose_at: Instant,
    /// Set when the agent is to end: by then at the latest.
    ending: Option<Instant>,
}

impl<'a> Agent<'a> {
    /// An agent for this machine. `now` is the moment of the call, `log_region` the log's memory as the last
    /// boot left it. Nothing is sent before the first poll.
    pub fn new<N: Nic>(
        facts: Facts,
        config: Loaded,
        checks: &'a Checks,
        storage: &'a mut Storage<'a>,
        log_region: &'a mut [u8],
        nic: &mut N,
        now: Instant,
    ) -> Agent<'a> {
        let [connection_seed, network_seed, ship_seed, time_seed, sink_seed, names_seed, watch_seed, incidents_seed] =
            seeds(&facts.seed);
        let mut facts = facts;
        let (log_region, days) = split_days(log_region);
        let mut log = Log::new(log_region, facts.boot_id);
        for &(event, severity) in &config.config.severity.0 {
            log.set_severity(event, severity);
        }
        log.emit(
            now,
            None,
            BootStarted {
                version: Text::new(crate::VERSION),
                revision: Text::new(facts.revision),
                machine: Text::new(&facts.machine),
                memory_bytes: facts.memory_bytes,
                entropy: facts.entropy,
                config: config.source,
                boot_us: now.total_micros().max(0) as u64,
            },
        );
        if let Some(Drill { panic_after_s, hang_after_s, records_per_s, .. }) = config.config.drill {
            let [panic_after_s, hang_after_s, records_per_s] =
                [panic_after_s, hang_after_s, records_per_s].map(|asked| asked.unwrap_or(0));
            log.emit(now, None, DrillStarted { panic_after_s, hang_after_s, records_per_s });
        }
        tell_previous(&mut facts.history, &mut log, now);
        if let Some(resumed) = facts.history.resumed {
            let old_boot = facts.history.last.as_ref().map_or(0, |last| last.boot_id);
            log.emit(now, None, machine_resumed(resumed, old_boot, facts.boot_id));
        }
        if let Some(problem) = config.problems.first() {
            let (pointer, text) = (Text::new(&problem.pointer), Text::new(&problem.text));
            log.emit(now, None, ConfigInvalid { pointer, problem: text, errors: config.problem_count });
        }
        tell_content(&facts.content, checks, &mut log, now);
        let settings = &config.config;
        let ship = settings.collector.as_ref().map(|collector| {
            let identity = Identity { agent: settings.name.clone(), image_id: facts.image_id, hashes: None };
            let security = match &collector.key {
                None => Security::Clear,
                Some(_) if facts.entropy == EntropySource::Weak => Security::Refused,
                Some(key) => Security::Keyed(Key::new(key.0), Ephemerals::new(&facts.seed)),
            };
            Ship::new(collector.address.literal(), identity, security, ship_seed, now)
        });
        let sink =
            settings.sink.as_ref().map(|sink| Sink::new(sink.syslog.literal(), &settings.name, sink_seed, &log, now));
        let safe_until = facts.history.safe_mode.then_some(Instant::ZERO + limits::SAFE_MODE_TIME);
        let drills = settings.drill.filter(|_| safe_until.is_none()).map(|asked| Drills::new(asked, now));
        let mut names = Resolver::new(settings.hosts().map(|(_, host)| host), names_seed, now);
        let time = Time::new(&names.all::<{ limits::TIME_SERVERS }>(&settings.time.servers), time_seed, now);
        let Storage { network, server, watch, incidents } = storage;
        let watch = Watch::new(checks, watch, days, facts.boot_id, watch_seed, now);
        names.watch(checks.names(), now);
        let has_server = settings.incidents.as_ref().is_some_and(|incidents| incidents.server.is_some());
        let incidents = Incidents::new(checks.document(), incidents, has_server, incidents_seed, &mut log, now);
        let network = Network::new(&settings.network, network, nic, network_seed, now);
        let server = Server::new(
            settings.http.port,
            settings.http.connections_per_source,
            limits::CONNECTIONS,
            server,
            connection_seed,
            &mut log,
            now,
        );
        Agent {
            network,
            server,
            watch,
            incidents,
            log,
            due: Instant::ZERO,
            ship_at: now,
            sink_at: now,
            seen_emitted: 0,
            names_at: now,
            time_at: now,
            judge_at: now,
            judged: net::State::Starting,
            drills,
            diagnose_at: now + DIAGNOSE_EVERY,
            ending: None,
            parts: Parts {
                started: now,
                facts,
                loaded: config,
                health: Health::new(now),
                vitals: Vitals::default(),
                names,
                time,
                ship,
                sink,
                safe_until,
            },
        }
    }

    /// Does everything that is due, in bounded time, and says when there is more to do.
    pub fn poll<N: Nic>(&mut self, now: Instant, nic: &mut N) -> Wake {
        self.ingress(now, nic);
        let link = nic.link();
        // Most polls are for connections alone.
        let due = now >= self.due.min(self.judge_at) || link != self.network.link();
        if due {
            self.look_around(now, nic, link);
        }
        let heard = self.serve(now, nic);
        let log_at = self.log.poll_at();
        if due || heard || self.has_news() || self.log.is_due(now, log_at) {
            self.tell(now, nic);
            nic.flush();
            return self.wake(now);
        }
        nic.flush();
        // Of what is beside connections nothing was touched, so that it is due when it was before.
        wake_at(self.due.min(log_at).min(self.server.poll_at(now)))
    }

    /// Does what is due beside connections, as far as answers depend on it.
    #[inline(never)]
    fn look_around<N: Nic>(&mut self, now: Instant, nic: &mut N, link: Link) {
        if self.network.poll(now, link, &mut self.log) {
            self.server.abandon_all();
            self.parts.names.restart(now);
            (self.names_at, self.time_at) = (now, now);
        }
        self.look_up(now, nic);
        self.keep_time(now, nic);
        if self.parts.safe_until.is_some_and(|until| now >= until) {
            self.parts.safe_until = None;
            self.judge_at = now;
        }
        if now >= self.judge_at || self.network.state() != self.judged {
            self.judge(now);
        }
        self.tell_incidents(now, nic);
        self.watch(now, nic);
    }

    /// Has the log, and whoever takes its records, do what is due; then what all of that wants to send goes out.
    #[inline(never)]
    fn tell<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if let Some(drills) = &mut self.drills {
            drills.make_load(now, &mut self.log);
        }
        self.log.poll(now);
        self.ship(now);
        self.network.egress(now, nic);
    }

    /// Takes in what the card has, at most [`limits::FRAMES_PER_POLL`] frames.
    fn ingress<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        let mac = self.network.mac();
        for _ in 0..limits::FRAMES_PER_POLL {
            if self.server.is_full() {
                self.serve(now, nic);
            }
            let Some((received, reply)) = nic.receive(now) else { return };
            received.consume(|frame| {
                let hop = Hop { source: mac, destination: frame::source(frame) };
                let stray = match frame::sort(frame, mac, self.network.ip()) {
                    Sort::Tcp(segment) if segment.opens && self.network.is_broadcast(segment.flow.address.into()) => {
                        return;
                    }
                    Sort::Tcp(segment) if segment.to_port == self.server.port() => {
                        let direct = self.network.direct();
                        match self.server.ingress(now, segment, frame, reply, hop, direct) {
                            Ok(()) => return,
                            Err(reply) => reply,
                        }
                    }
                    Sort::Tcp(segment) if self.network.opened(segment.to_port) => {
                        self.due = Instant::ZERO;
                        (self.ship_at, self.sink_at) = (Instant::ZERO, Instant::ZERO);
                        return self.network.ingress(now, frame, reply);
                    }
                    Sort::Tcp(segment) => {
                        self.due = Instant::ZERO;
                        match self.watch.sockets_of(segment.to_port) {
                            Some(set) => return self.network.ingress_for(now, frame, reply, set),
                            None => match self.incidents.sockets_of(segment.to_port) {
                                Some(set) => return self.network.ingress_for(now, frame, reply, set),
                                None => reply,
                            },
                        }
                    }
                    Sort::Icmp | Sort::Udp if self.is_for_a_probe(now, frame) => return,
                    Sort::Icmp => reply,
                    Sort::Udp | Sort::Other => {
                        self.due = Instant::ZERO;
                        // It may say that somebody else has our address.
                        self.judge_at = now;
                        // Or where a target is.
                        self.watch.neighbour_came(now);
                        self.incidents.neighbour_came();
                        self.network.ingress(now, frame, reply);
                        if self.network.has_ntp() {
                            self.time_at = Instant::ZERO;
                        }
                        if self.network.has_dns() {
                            self.names_at = Instant::ZERO;
                        }
                        return;
                    }
                };
                self.network.ingress_stray(now, frame, stray, hop);
            });
        }
    }

    /// Takes in an ICMP or UDP packet, if it is for a probe.
    #[inline(never)]
    fn is_for_a_probe(&mut self, now: Instant, frame: &[u8]) -> bool {
        let heard = self.network.packet(frame).is_some_and(|packet| self.watch.hear(now, &packet));
        if heard {
            self.due = Instant::ZERO;
        }
        heard
    }

    /// Looks up the host names that are due, and wakes those who use them when they have other addresses.
    fn look_up<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if now < self.names_at {
            return;
        }
        if self.parts.names.names().is_empty() || self.network.state() != net::State::Up {
            self.names_at = if self.parts.names.names().is_empty() { FAR } else { now + limits::OFFLINE };
            return;
        }
        self.judge_at = now;
        let servers = self.network.address().map(|address| address.dns.clone()).unwrap_or_default();
        let (changed, at) = self.parts.names.poll(now, self.network.dns(), &servers, &mut self.log);
        self.names_at = at.unwrap_or(FAR);
        if let Some(server) = self.parts.names.awaited() {
            self.network.seek(now, nic, server);
        }
        if changed {
            (self.ship_at, self.sink_at, self.time_at) = (now, now, now);
        }
    }

    /// The time servers that DHCP names are used where the config names none. Those that answer stay as long as all do:
    /// a name may have other servers behind it each time it is asked for.
    fn follow_time_servers(&mut self, now: Instant) {
        let configured = &self.parts.loaded.config.time.servers;
        let leased = self.network.address().filter(|_| configured.is_empty()).map(|address| address.ntp.clone());
        let servers = leased.unwrap_or_else(|| self.parts.names.all(configured));
        let by_name = configured.iter().any(|host| matches!(host, Host::Name(_)));
        let settled = self.parts.time.servers().len() >= servers.len() && self.parts.time.all_answer(now);
        if !(servers.is_empty() || by_name && settled) {
            self.parts.time.set_servers(&servers, now);
        }
    }

    /// Asks the time servers that are due, and takes in what they say. Not in safe mode.
    fn keep_time<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if let Some(until) = self.parts.safe_until {
            self.time_at = until;
        }
        if now < self.time_at {
            return;
        }
        let up = self.network.state() == net::State::Up;
        self.judge_at = now;
        self.follow_time_servers(now);
        self.time_at = self.parts.time.poll(now, self.network.ntp(), up, &mut self.log).unwrap_or(FAR);
        for server in self.parts.time.awaited() {
            self.network.seek(now, nic, server);
        }
        if !up {
            self.time_at = self.time_at.max(now + limits::OFFLINE);
        }
    }

    /// Brings the agent's own health up to date. Where what it looks at may have changed `judge_at` is set; what only
    /// passes with time is looked at once in [`JUDGE_EVERY`].
    fn judge(&mut self, now: Instant) {
        self.judge_at = now + JUDGE_EVERY;
        self.judged = self.network.state();
        let listens = self.judged == net::State::Up && self.watch.isolated_since().is_none();
        self.watch.listen(now, listens);
        let network = match self.judged {
            net::State::Up if self.watch.isolated_since().is_some() => Reason::Isolated,
            net::State::Up if self.network.has_conflict(now) => Reason::DuplicateAddress,
            net::State::Up if self.network.flaps(now) => Reason::LinkFlaps,
            net::State::Up if self.parts.names.fails() => Reason::NamesUnresolved,
            net::State::Up => Reason::Ok,
            net::State::Starting => Reason::Starting,
            net::State::Down(DownReason::NoNic) => Reason::NoNic,
            net::State::Down(DownReason::NoLink) => Reason::NoLink,
            net::State::Down(_) => Reason::NoAddress,
        };
        let config = match (self.parts.loaded.problem_count, self.parts.loaded.source) {
            (1.., _) => Reason::ConfigInvalid,
            (0, _) if self.parts.facts.content.problem().is_some() => Reason::ContentRefused,
            (0, ConfigSource::Default) => Reason::ConfigAbsent,
            (0, _) => Reason::Ok,
        };
        let clock = match (self.parts.time.error_us(now), &self.parts.facts.wall) {
            (Some(error_us), _) if error_us > CLOCK_ERROR_US => Reason::ClockError,
            (Some(_), _) => Reason::Ok,
            (None, Some(_)) => Reason::Unsynchronised,
            (None, None) => Reason::ClockUnknown,
        };
        let collector = match &self.parts.ship {
            None if self.parts.sink.is_some() => Reason::NextHopOnly,
            None => Reason::NoCollector,
            Some(ship) if ship.status().last_end == Some(SessionEnd::WeakEntropy) => Reason::KeyRefused,
            Some(_) if self.ring_is_filling() => Reason::RingFilling,
            Some(ship) if ship.status().phase != Phase::Connected => match ship.status().last_end {
                Some(SessionEnd::RefusedStorage) => Reason::CollectorFull,
                Some(SessionEnd::RefusedKey) => Reason::KeyRequired,
                Some(SessionEnd::RefusedVersion) => Reason::OtherVersion,
                _ => Reason::Disconnected,
            },
            Some(_) if self.log.lost_lately(now) => Reason::RecordsLost,
            Some(ship) if !ship.status().keyed => Reason::NotAuthenticated,
            Some(_) => Reason::Ok,
        };
        let entropy = if self.parts.facts.entropy == EntropySource::Weak { Reason::WeakEntropy } else { Reason::Ok };
        let memory = if self.parts.vitals.stack_is_high() { Reason::StackHigh } else { Reason::Ok };
        let boot = match (self.parts.safe_until, self.parts.loaded.config.drill) {
            _ if self.ending.is_some() => Reason::ShuttingDown,
            (Some(_), _) => Reason::SafeMode,
            (None, Some(_)) => Reason::Drill,
            (None, None) => Reason::Ok,
        };
        let maintenance = if self.parts.loaded.config.http.maintenance { Reason::Maintenance } else { Reason::Ok };
        for (check, reason) in [
            (Check::Network, network),
            (Check::Config, config),
            (Check::Clock, clock),
            (Check::Collector, collector),
            (Check::Entropy, entropy),
            (Check::Memory, memory),
            (Check::Maintenance, maintenance),
            (Check::Boot, boot),
        ] {
            self.parts.health.set(check, reason, now);
        }
    }

    /// Whether the ring is nearly full.
    fn ring_is_filling(&self) -> bool {
        let (size, used) = self.log.size_and_used();
        u64::from(used) * 100 > u64::from(size) * limits::LOG_FILL_HIGH
    }

    /// Pulls incidents and maintenances when that is due, and marks the targets of maintenances. Not in safe mode.
    fn tell_incidents<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if now < self.incidents.poll_at() || self.parts.safe_until.is_some() {
            return;
        }
        let unix_us = self.parts.time.unix_us(now, self.parts.facts.wall.as_ref());
        let (network, names, log) = (&mut self.network, &self.parts.names, &mut self.log);
        let settings = self.parts.loaded.config.incidents.as_ref();
        let around = &mut incidents::Around { now, unix_us, settings, nic, network, names, log };
        if self.incidents.poll(around)
            && let Some(unix_us) = unix_us
        {
            let document = self.incidents.document();
            self.watch.set_maintained(|target| document.is_maintained(target, unix_us / 1_000_000));
        }
    }

    /// Probes the targets that are due. Not in safe mode.
    fn watch<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        if self.parts.safe_until.is_none() {
            let (network, names, time, log) = (&mut self.network, &self.parts.names, &self.parts.time, &mut self.log);
            let (wall, content) = (self.parts.facts.wall.as_ref(), &self.parts.facts.content);
            self.watch.poll(&mut watch::Around { now, nic, network, names, time, wall, content, log });
            if self.watch.wonders(now) {
                self.wonder(now, nic);
            }
        }
    }

    /// Asks who else answers than the targets, and says so when it is we who are cut off.
    #[inline(never)]
    fn wonder<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        let lately = |heard: Instant| now < heard + watch::ANSWER_TIME;
        let acknowledged = |ship: &Ship| {
            let overdue = self.log.oldest_unacked_us().is_some_and(|us| !lately(Instant::from_micros(us as i64)));
            let heard = ship.status().last_ack;
            let answers = ship.status().phase == Phase::Connected && (!overdue || heard.is_some_and(lately));
            watch::Witness { answers, heard }
        };
        let collector = self.parts.ship.as_ref().map(acknowledged);
        let heard = self.network.gateway_heard(now, nic);
        let gateway = heard.map(|heard| watch::Witness { answers: heard.is_some_and(lately), heard });
        let witnesses = watch::Witnesses { gateway, collector };
        let Some(turn) = self.watch.judge(now, &witnesses, &mut self.log) else { return };
        let seconds = |time: Duration| u32::try_from(time.secs()).unwrap_or(u32::MAX);
        match turn {
            watch::Turn::Isolated(quiet, targets) => {
                let (gateway, collector) = (gateway.is_some(), collector.is_some());
                let event = AgentIsolated { quiet_s: seconds(quiet), targets: targets as u8, gateway, collector };
                self.log.emit(now, None, event);
            }
            watch::Turn::Rejoined(time) => {
                self.log.emit(now, None, AgentRejoined { isolated_s: seconds(time) });
            }
        }
        self.judge(now);
    }

    /// Answers what came. `true` when somebody who is watched was heard.
    fn serve<N: Nic>(&mut self, now: Instant, nic: &mut N) -> bool {
        let (parts, incidents) = (&self.parts, &self.incidents);
        let (network, watch, log) = (&mut self.network, &mut self.watch, &mut self.log);
        self.server.serve(&mut Surroundings { now, nic, network, parts, incidents, watch, log })
    }

    /// Sends records to the collector and to the syslog server.
    fn ship(&mut self, now: Instant) {
        let emitted = self.log.emitted();
        let news = core::mem::replace(&mut self.seen_emitted, emitted) != emitted;
        if !news && now < self.ship_at.min(self.sink_at) {
            return;
        }
        let up = self.network.state() == net::State::Up;
        let settings = &self.parts.loaded.config;
        if news || now >= self.ship_at {
            self.ship_at = FAR;
            if let (Some(ship), Some(collector)) = (&mut self.parts.ship, &settings.collector) {
                ship.aim(self.parts.names.addresses(&collector.address.host));
                ship.identify(now, || [settings.hash(self.watch.checks()), settings.severity.hash()]);
                let (socket, context) = self.network.collector();
                self.judge_at = now;
                self.ship_at = ship.poll(now, socket, context, &mut self.log, up).unwrap_or(FAR);
            }
        }
        if news || now >= self.sink_at {
            self.sink_at = FAR;
            if let (Some(sink), Some(settings)) = (&mut self.parts.sink, &settings.sink) {
                sink.aim(self.parts.names.addresses(&settings.syslog.host));
                let (socket, context) = self.network.sink();
                self.sink_at = sink.poll(now, socket, context, &mut self.log, &self.parts.time, up).unwrap_or(FAR);
            }
        }
    }

    /// Whether whoever takes records has taken all.
    fn is_flushed(&self) -> bool {
        (self.parts.ship.is_none() || self.log.stats().buffered == 0)
            && self.parts.sink.as_ref().is_none_or(Sink::is_idle)
    }

    /// Whether there are records that those who take them were not told of.
    fn has_news(&self) -> bool {
        self.log.emitted() != self.seen_emitted
    }

    #[inline(never)]
    fn wake(&mut self, now: Instant) -> Wake {
        if let Some(end) = self.ending
            && (now >= end || self.is_flushed())
        {
            return Wake::PowerOff;
        }
        // What one of the two emitted is news for the other, which the next poll has to see.
        if self.has_news() {
            return Wake::At(now);
        }
        self.due = self.next_due().min(self.watch_at());
        wake_at(self.due.min(self.log.poll_at()).min(self.server.poll_at(now)))
    }

    /// When checks or incidents have something to do, which frames and serving may change. Not in safe mode.
    fn watch_at(&self) -> Instant {
        if self.parts.safe_until.is_none() { self.watch.poll_at().min(self.incidents.poll_at()) } else { FAR }
    }

    /// When anything but connections, checks, incidents and the log next has something to do, if no frame comes before.
    fn next_due(&self) -> Instant {
        let mut at = self.network.poll_at();
        at = at.min(self.ship_at).min(self.sink_at).min(self.time_at).min(self.names_at);
        at = sooner(sooner(at, self.parts.safe_until), self.ending);
        if let Some(drills) = &self.drills {
            at = sooner(at, drills.poll_at());
        }
        if !self.parts.health.is_ready() {
            at = at.min(self.diagnose_at);
        }
        at
    }

    /// The operator asked for an orderly end: the log is flushed within a bound, then `poll` says `PowerOff`.
    pub fn shut_down(&mut self, now: Instant, cause: ShutdownCause) {
        if self.ending.is_none() {
            let uptime_s = (now - self.parts.started).secs();
            self.log.end(now, Shutdown { cause, uptime_s });
            // A session that is still being opened may yet take all there is.
            let reachable =
                (self.parts.ship.is_some() || self.parts.sink.is_some()) && self.network.state() == net::State::Up;
            (self.due, self.judge_at) = (Instant::ZERO, Instant::ZERO);
            self.ending = Some(if reachable { now + FLUSH_TIME } else { now });
        }
    }

    /// The machine stood still and is no copy: it goes on, and asks what UTC is now.
    pub fn went_on(&mut self, now: Instant, resumed: Resumption) {
        self.log.emit(now, None, machine_resumed(resumed, self.parts.facts.boot_id, self.parts.facts.boot_id));
        self.parts.time.forget(now);
        (self.due, self.time_at) = (Instant::ZERO, now);
    }

    /// Lends the agent what its checks need to talk TLS; without it they fail. `watch::tls::attend` makes the futures.
    pub fn lend_sessions(&mut self, sessions: watch::tls::Sessions<'a>) {
        let is_strong = self.parts.facts.entropy != EntropySource::Weak;
        self.watch.lines().lend(sessions, &self.parts.facts.seed, is_strong);
    }

    /// Takes back what was lent.
    pub fn take_sessions(&mut self) -> watch::tls::Sessions<'a> {
        self.watch.lines().take()
    }

    /// The boot is over without an end, for the machine may be a copy: gives back what the next one is made of.
    pub fn retire(self) -> (Facts, Loaded) {
        (self.parts.facts, self.parts.loaded)
    }

    /// Takes in how the machine is doing; once a second is often enough.
    pub fn observe(&mut self, vitals: Vitals) {
        self.parts.vitals = vitals;
        self.judge_at = Instant::ZERO;
    }

    /// How the machine is to fail now, because the configuration it was booted with asks for a drill.
    pub fn drill(&self, now: Instant) -> Option<Failure> {
        self.drills.as_ref()?.due(now)
    }

    /// Whether [`Agent::console`] may have a line. Asked in every turn, and nearly always there is none.
    #[inline(always)]
    pub fn has_to_say(&self) -> bool {
        !self.parts.health.is_ready() || self.log.has_to_show()
    }

    /// Writes at most a few of the lines that the serial console has not shown yet; `true` when there are more.
    #[inline(never)]
    pub fn console<W: embedded_io::Write>(&mut self, now: Instant, out: &mut W) -> bool {
        if !self.parts.health.is_ready() && now >= self.diagnose_at {
            self.diagnose_at = now + DIAGNOSE_EVERY;
            // A console that takes nothing must not stop the agent.
            let _ = self.diagnose(now, out);
        }
        self.log.console(now, out)
    }

    fn diagnose<W: embedded_io::Write>(
        &self,
        now: Instant,
        out: &mut W,
    ) -> Result<(), embedded_io::WriteFmtError<W::Error>> {
        write!(out, "not ready: link {}, ", self.network.link().name())?;
        self.diagnose_network(now, out)?;
        self.diagnose_peers(out)?;
        let remedy = match self.network.state() {
            net::State::Down(DownReason::NoNic) => {
                " There is no network card. Give the VM a virtio-net device (-device virtio-net-pci or virtio-net-device)."
            }
            net::State::Down(DownReason::NoLink) => {
                " The network card has no link. Connect it to a bridge or network (QEMU: set_link, -netdev)."
            }
            net::State::Starting | net::State::Down(_) => {
                " No DHCP server has answered. Check that one serves this network, or set network.static in the config."
            }
            net::State::Up => "",
        };
        out.write_all(remedy.as_bytes()).map_err(embedded_io::WriteFmtError::Other)?;
        if let Some(problem) = self.parts.loaded.problems.first() {
            write!(out, " config ({}) {problem}.", problem.source.word().unwrap_or("other"))?;
        }
        if let Some(sink) = &self.parts.sink {
            write!(out, " syslog at {}: next hop only, nothing is acknowledged.", sink.status().address)?;
        }
        if self.parts.loaded.config.http.maintenance {
            write!(out, " http.maintenance is on.")?;
        }
        if self.parts.safe_until.is_some() {
            let (minutes, ends) = (limits::SAFE_MODE_TIME.secs() / 60, self.parts.facts.history.abnormal_ends);
            write!(
                out,
                " safe mode after {ends} abnormal ends in a row: ends after {minutes} minutes, or by a power-down."
            )?;
        }
        write!(out, "\r\n")
    }

    /// Address, gateway and DNS, as they stand on the line of [`Agent::diagnose`].
    fn diagnose_network<W: embedded_io::Write>(
        &self,
        now: Instant,
        out: &mut W,
    ) -> Result<(), embedded_io::WriteFmtError<W::Error>> {
        let Some(address) = self.network.address() else {
            let asked_s = self.network.searching_for(now).map_or(0, |searching| searching.secs());
            return write!(out, "address none (asked for {asked_s} s)");
        };
        write!(out, "address {}", address.cidr)?;
        match address.lease {
            Some(lease) => write!(out, " from {}", lease.server)?,
            None => write!(out, " as configured")?,
        }
        match address.gateway {
            Some(gateway) => match self.network.neighbours().find(gateway) {
                Some(known) => write!(out, ", gateway {gateway} at {}", Mac(known.mac))?,
                None => write!(out, ", gateway {gateway} (no ARP answer yet)")?,
            },
            None => write!(out, ", gateway none")?,
        }
        match address.dns.first() {
            Some(first) => write!(out, ", DNS {first}")?,
            None => write!(out, ", DNS none")?,
        }
        for name in self.parts.names.names() {
            let failure = name.failure.and_then(|failure| failure.word().ok());
            write!(out, ", {} {}", name.host, failure.unwrap_or(name.state()))?;
        }
        Ok(())
    }

    /// Time servers and collector, as they stand on the line of [`Agent::diagnose`].
    fn diagnose_peers<W: embedded_io::Write>(&self, out: &mut W) -> Result<(), embedded_io::WriteFmtError<W::Error>> {
        let servers = self.parts.time.servers();
        let believed = servers.iter().filter(|server| server.believed > 0).count();
        match servers.len() {
            0 => write!(out, ", NTP none")?,
            count => write!(out, ", NTP {believed} of {count} answered")?,
        }
        match self.parts.ship.as_ref().map(Ship::status) {
            None => write!(out, ", collector none."),
            Some(session) => {
                write!(out, ", collector {} {} ({} failed", session.address, session.phase.name(), session.attempts)?;
                match session.last_end.and_then(|end| end.word().ok()) {
                    Some(why) => write!(out, ", {why})."),
                    None => write!(out, ")."),
                }
            }
        }
    }

    /// The log: for what the machine itself has to say, and for who looks at the records from outside.
    pub fn log(&mut self) -> &mut Log<'a> {
        &mut self.log
    }

    /// What the image does after a panic.
    pub fn on_panic(&self) -> crate::config::OnPanic {
        self.parts.loaded.config.on_panic
    }
}

fn wake_at(at: Instant) -> Wake {
    if at < FAR { Wake::At(at) } else { Wake::OnFrame }
}

/// The memory that survives resets: the ring, and behind it the days of checks where there is room for both.
fn split_days(region: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    let days = if region.len() >= limits::LOG_REGION / 4 { watch::DAYS_REGION } else { 0 };
    region.split_at_mut(region.len() - days)
}

/// Takes over what the boot before this one left, and says how it ended.
fn tell_previous(history: &mut History, log: &mut Log<'_>, now: Instant) {
    if let Some(left) = &history.record {
        log.adopt(left);
    }
    if history.last.is_none() {
        // Its last words did not survive, its records did.
        history.last =
            log.previous().map(|boot| LastBoot { boot_id: boot.id, cause: EndCause::Unknown, uptime: Duration::ZERO });
    }
    let Some(last) = &history.last else { return };
    let held = log.earlier(last.boot_id);
    let known = held.or(log.previous().filter(|boot| boot.id == last.boot_id));
    let event = BootPreviousEnded {
        cause: last.cause,
        last_seq: known.map_or(0, |boot| boot.next - 1),
        salvaged: held.map_or(0, |boot| boot.held),
        torn: log.salvage().torn,
        boot_id: last.boot_id.to_be_bytes(),
        uptime_s: u32::try_from(last.uptime.secs()).unwrap_or(u32::MAX),
        abnormal_ends: history.abnormal_ends,
        safe_mode: history.safe_mode,
    };
    log.emit(now, None, event);
}

/// Says what pages came along.
fn tell_content(content: &Content, checks: &Checks, log: &mut Log<'_>, now: Instant) {
    if let Some(reason) = content.problem() {
        log.emit(now, None, ContentRefused { reason });
    }
    if !content.is_empty() {
        let missing = checks.list().iter().filter(|check| !content.has_runbook(checks.text(check.runbook)));
        let event = ContentLoaded {
            runbooks: content.runbooks() as u16,
            missing: missing.count() as u16,
            bytes: content.len() as u32,
            digest: content.digest().first_chunk().copied().unwrap_or_default(),
        };
        log.emit(now, None, event);
    }
}

fn machine_resumed(resumed: Resumption, old_boot: u64, new_boot: u64) -> MachineResumed {
    MachineResumed {
        sign: resumed.sign,
        jump_us: resumed.jump_us.unsigned_abs(),
        backwards: resumed.jump_us < 0,
        old_boot: old_boot.to_be_bytes(),
        new_boot: new_boot.to_be_bytes(),
    }
}

/// Independent numbers, none of which tells anything of the seed: what is made of them can be seen on the wire,
/// and the keys of sessions come from the same seed.
fn seeds(seed: &[u8; 32]) -> [u64; 8] {
    [0u8, 1, 2, 3, 4, 5, 6, 7].map(|number| {
        let digest = Sha256::of(&[seed, &[number]]);
        digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    })
}
