//! Targets that behave as a script says, and what the agent finds: its outcomes, its beliefs and its schedule.
//!
//! One machine with a port for each target, on a cable of a millisecond. What the agent believes is compared with the
//! script, its schedule with when segments were on the cable: never with its own counters.

use crate::alone::{AGENT, AGENT_MAC};
use crate::nic::AgentNic;
use crate::packets::{self, Packets};
use crate::probe;
use crate::station::Station;
use crate::tls::{Conversation, Tls};
use outpost::agent::{Agent, Wake};
use outpost::config::{self, Network, checks::Checks};
use outpost::content::Content;
use outpost::facts::WallTime;
use outpost::log::Step;
use outpost_wire::{Event, ProbeReason};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetFrame, IpCidr, Ipv4Address, Ipv4Cidr, Ipv4Packet, TcpPacket};
use std::collections::VecDeque;

const TARGETS: Ipv4Address = Ipv4Address::new(10, 1, 0, 20);
const FIRST_PORT: u16 = 8000;

/// From one end of the cable to the other.
pub const DELAY: Duration = Duration::from_millis(1);

/// Steps of one world at most.
const STEPS: usize = 2_000_000;

/// What a target does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Says this when it was asked something, and closes.
    Answers(&'static str),
    /// Leads whoever asks for `/health` to this place, and answers [`OK`] to any other.
    Leads(&'static str),
    /// Says this at once, and stays.
    Greets(&'static str),
    /// Takes what comes and says nothing.
    Hangs,
    /// Says this when it was asked, one byte in 100 ms.
    Trickles(&'static str),
    /// Nothing listens.
    Refuses,
    /// Its machine is away: SYNs are lost.
    Lost,
    /// Speaks TLS in this way.
    Tls(Tls),
}

/// The end of the cable that a frame goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    Back,
}

struct Target {
    handle: SocketHandle,
    /// From when on it does what.
    script: Vec<(Instant, Manner)>,
    asked: Vec<u8>,
    said: usize,
    next: Instant,
    tls: Conversation,
}

/// The world.
pub struct World {
    /// Those that are no station: they answer single packets.
    pub packets: Packets,
    station: Station,
    targets: Vec<Target>,
    /// Frames on their way: when they arrive, and in which direction.
    cable: VecDeque<(Instant, Way, Vec<u8>)>,
    /// SYNs to each target: when they left the agent.
    pub syns: Vec<Vec<Instant>>,
    /// What the agent logged: when, and of which target.
    pub events: Vec<(Instant, usize, Told)>,
    /// The targets that it said whose they are, and whether it said that this is an exercise.
    introduced: Vec<String>,
    exercise: bool,
    pub requests: Vec<Vec<u8>>,
    /// Days of checks as the log has them: name, day, good and bad probes.
    pub days: Vec<(String, u32, u32, u32)>,
    /// How many days each boot found, and how many of them damaged.
    pub kept: Vec<(u16, u16)>,
    /// What came along, and how many days of it each boot restored and left out.
    pub content: Content,
    pub restored: Vec<(u16, u16)>,
    /// What the machine's clock said at moment zero.
    pub wall: Option<WallTime>,
    /// The DNS server that the agent asks.
    pub dns: Option<Ipv4Address>,
}

/// An event of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Failed(ProbeReason, u16),
    Up,
    Down,
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n";

impl World {
    pub fn new(scripts: Vec<Vec<(Instant, Manner)>>) -> World {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 20]);
        let mut station = Station::new(mac, Ipv4Cidr::new(TARGETS, 24), None, 1, Instant::ZERO);
        station.interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(Ipv4Address::new(10, 1, 0, 21).into(), 24)).expect("a second address fits")
        });
        let target = |script| Target {
            handle: station.tcp_socket(4096, 4096),
            script,
            asked: Vec::new(),
            said: 0,
            next: Instant::ZERO,
            tls: Conversation::default(),
        };
        let targets: Vec<Target> = scripts.into_iter().map(target).collect();
        let syns = vec![Vec::new(); targets.len()];
        World {
            packets: Packets::default(),
            station,
            targets,
            cable: VecDeque::new(),
            syns,
            events: Vec::new(),
            introduced: Vec::new(),
            exercise: false,
            requests: Vec::new(),
            days: Vec::new(),
            kept: Vec::new(),
            content: Content::NONE,
            restored: Vec::new(),
            dns: None,
            wall: None,
        }
    }

    /// Runs an agent with these checks for so long.
    pub fn run(&mut self, checks: &str, until: Instant) {
        self.run_over(&mut vec![0; 1 << 20], checks, Instant::ZERO, until);
    }

    /// The same over memory as the last boot left it, from this moment on.
    pub fn run_over(&mut self, region: &mut [u8], checks: &str, from: Instant, until: Instant) {
        let outcome = probe::alone(|| {
            let mut storage = probe::storage();
            let mut table = Checks::new();
            let loaded = config::load_into(Some(checks.as_bytes()), &mut table);
            assert_eq!(loaded.problem_count, 0, "{:?}", loaded.problems);
            let mut config = probe::config(Some((Ipv4Cidr::new(AGENT, 24), Ipv4Address::new(10, 1, 0, 1))), None, None);
            if let (Network::Static(network), Some(server)) = (&mut config.config.network, self.dns) {
                network.dns.push(server).expect("there is room for one");
            }
            (config.config.http, config.config.drill) = (loaded.config.http, loaded.config.drill);
            let mut nic = AgentNic::new(AGENT_MAC, 256);
            let mut facts = probe::facts(1 + from.total_micros() as u64, [1; 32]);
            (facts.wall, facts.content) = (self.wall, self.content);
            let mut agent = Agent::new(facts, config, &table, &mut storage, region, &mut nic, from);
            if table.secure() > 0 {
                agent.lend_sessions(probe::sessions());
            }
            self.live(&mut agent, &mut nic, from, until);
        });
        if let Err(panic) = outcome {
            panic!("{panic}");
        }
    }

    fn live(&mut self, agent: &mut Agent<'_>, nic: &mut AgentNic, from: Instant, until: Instant) {
        let (mut now, mut seen) = (from, 0);
        for _ in 0..STEPS {
            let wake = agent.poll(now, nic);
            agent.console(now, &mut &mut [0; 4096][..]);
            for frame in nic.take_sent() {
                self.note(now, &frame);
                self.carry(now + DELAY, Way::Out, frame);
            }
            seen = self.read(agent, seen);
            let targets = self.act(now);
            for frame in core::mem::take(&mut self.station.nic.tx) {
                self.carry(now + DELAY, Way::Back, frame);
            }
            let agent_at = match wake {
                Wake::At(at) => at.max(now + Duration::from_micros(1)),
                Wake::OnFrame => until,
                Wake::PowerOff => panic!("the agent ended by itself"),
            };
            let cable = self.cable.front().map_or(until, |(at, ..)| *at);
            now = agent_at.min(cable).min(targets.max(now + Duration::from_micros(1))).min(until);
            if now == until {
                return;
            }
            while self.cable.front().is_some_and(|(at, ..)| *at <= now) {
                match self.cable.pop_front() {
                    Some((_, Way::Out, frame)) if self.answer(now, &frame) => {}
                    Some((_, Way::Out, frame)) if !self.is_lost(now, &frame) => {
                        // One by one: the end of a connection and the next one may come in the same moment.
                        self.station.nic.rx.push_back(frame);
                        self.act(now);
                    }
                    Some((_, Way::Back, frame)) => nic.arrive(frame),
                    _ => {}
                }
            }
        }
        panic!("more than {STEPS} steps until {now}");
    }

    /// Gives a frame to who answers single packets; `false` when it is for none of them.
    fn answer(&mut self, now: Instant, frame: &[u8]) -> bool {
        let Some(answers) = self.packets.take(now, frame) else { return false };
        for (after, frame) in answers {
            self.carry(now + after + DELAY, Way::Back, frame);
        }
        true
    }

    /// Puts a frame on the cable, which is in order.
    fn carry(&mut self, at: Instant, way: Way, frame: Vec<u8>) {
        let place = self.cable.partition_point(|(arrives, ..)| *arrives <= at);
        self.cable.insert(place, (at, way, frame));
    }

    /// Lets each target do what its script says; returns when one has something to do.
    fn act(&mut self, now: Instant) -> Instant {
        self.station.poll(now);
        let mut wake = Instant::from_micros(i64::MAX / 2);
        for (number, target) in self.targets.iter_mut().enumerate() {
            let manner = manner(&target.script, now);
            let socket = self.station.sockets.get_mut::<tcp::Socket>(target.handle);
            match socket.state() {
                State::Closed | State::TimeWait if !matches!(manner, Manner::Refuses) => {
                    (target.asked, target.said, target.tls) = (Vec::new(), 0, Conversation::default());
                    socket.abort();
                    socket.listen(FIRST_PORT + number as u16).expect("a closed socket listens");
                }
                State::Listen if manner == Manner::Refuses => socket.abort(),
                _ => {}
            }
            if socket.can_recv() {
                let _ = socket.recv(|bytes| (bytes.len(), target.asked.extend_from_slice(bytes)));
                if target.asked.ends_with(b"\r\n\r\n") {
                    self.requests.push(target.asked.clone());
                }
            }
            let was_asked = target.asked.ends_with(b"\r\n\r\n");
            match manner {
                Manner::Answers(text) if was_asked && target.said == 0 && socket.can_send() => {
                    target.said = socket.send_slice(text.as_bytes()).unwrap_or(0);
                    socket.close();
                }
                Manner::Leads(place) if was_asked && target.said == 0 && socket.can_send() => {
                    let leads = target.asked.windows(8).any(|part| part == b" /health");
                    let there =
                        format!("HTTP/1.1 302 Found\r\nServer: x\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
                    let text = if leads { there.as_str() } else { OK };
                    target.said = socket.send_slice(text.as_bytes()).unwrap_or(0);
                    socket.close();
                }
                Manner::Greets(text) if target.said == 0 && socket.can_send() => {
                    target.said = socket.send_slice(text.as_bytes()).unwrap_or(0);
                }
                Manner::Trickles(text) if was_asked && target.said < text.len() && socket.can_send() => {
                    if now >= target.next {
                        target.said += socket.send_slice(&text.as_bytes()[target.said..=target.said]).unwrap_or(0);
                        target.next = now + Duration::from_millis(100);
                    }
                    wake = wake.min(target.next);
                }
                Manner::Tls(manner) => {
                    target.tls.go_on(manner, core::mem::take(&mut target.asked));
                    while socket.can_send() && !target.tls.out.is_empty() {
                        let count = socket.send_slice(&target.tls.out).unwrap_or(0);
                        target.tls.out.drain(..count);
                    }
                    if target.tls.is_over() {
                        socket.close();
                    }
                }
                _ => {}
            }
            if socket.state() == State::CloseWait {
                socket.close();
            }
        }
        self.station.poll(now);
        wake.min(self.station.wake(now).unwrap_or(wake))
    }

    fn note(&mut self, now: Instant, frame: &[u8]) {
        if let Some((number, true)) = segment(frame)
            && let Some(syns) = self.syns.get_mut(number)
        {
            syns.push(now);
        }
    }

    fn is_lost(&self, now: Instant, frame: &[u8]) -> bool {
        let Some((number, _)) = segment(frame) else { return false };
        self.targets.get(number).is_some_and(|target| manner(&target.script, now) == Manner::Lost)
    }

    /// Reads the agent's log, from behind the last seq that was read.
    fn read(&mut self, agent: &mut Agent<'_>, seen: u64) -> u64 {
        let log = agent.log();
        let mut reader = log.reader(seen + 1);
        let mut last = seen;
        while let Step::Record(seq, body) = log.read(&mut reader) {
            probe::seen(seq, body);
            let record = outpost_wire::Record::decode_body(seq, body).expect("ours");
            let (check, told) = match record.decode_event() {
                Some(Event::ProbeFailed(event)) => (event.check, Some(Told::Failed(event.reason, event.status))),
                Some(Event::TargetUp(event)) => (event.check, Some(Told::Up)),
                Some(Event::TargetDown(event)) => (event.check, Some(Told::Down)),
                Some(Event::TargetWatched(said)) => {
                    assert_eq!((said.owner.as_str(), said.impact.as_str(), said.runbook.as_str()), ("o", "i", "r"));
                    self.introduced.push(log.name_text(said.check).expect("it has a name").to_string());
                    (said.check, None)
                }
                Some(Event::CheckDay(day)) => {
                    let name = log.name_text(day.check).expect("it has a name").to_string();
                    self.days.push((name, day.day, day.good, day.bad));
                    (day.check, None)
                }
                Some(Event::HistoryKept(found)) => {
                    self.kept.push((found.days, 0));
                    (outpost_wire::NameId(0), None)
                }
                Some(Event::HistoryDamaged(found)) => {
                    self.kept.last_mut().expect("what is kept is told first").1 = found.days;
                    (outpost_wire::NameId(0), None)
                }
                Some(Event::HistoryRestored(found)) => {
                    self.restored.push((found.days, found.left_out));
                    (outpost_wire::NameId(0), None)
                }
                Some(Event::DrillStarted(_)) => {
                    self.exercise = true;
                    (outpost_wire::NameId(0), None)
                }
                _ => (outpost_wire::NameId(0), None),
            };
            if let Some(told) = told {
                assert!(record.transaction.is_some_and(|transaction| transaction > 1 << 31), "{record:?}");
                let name = log.name_text(check).expect("it has a name");
                assert!(self.introduced.iter().any(|known| *known == *name), "{name} is told of before whose it is");
                let number = name.strip_prefix("target-").and_then(|number| number.parse().ok()).expect("our name");
                self.events.push((Instant::from_micros(record.mono_us as i64), number, told));
            }
            reader.pass(seq);
            last = seq;
        }
        last
    }

    /// What was wrong with one target in every probe; `None` when it was up from first to last.
    pub fn found(&self, number: usize) -> Option<ProbeReason> {
        let told = self.told(number);
        if told == [Told::Up] {
            return None;
        }
        assert_eq!(told.iter().filter(|told| **told == Told::Down).count(), 1, "target {number}: {told:?}");
        let mut reasons = told.iter().filter_map(|told| match told {
            Told::Failed(reason, 0) => Some(*reason),
            _ => None,
        });
        let first = reasons.next();
        assert!(reasons.all(|reason| Some(reason) == first) && !told.contains(&Told::Up), "target {number}: {told:?}");
        first
    }

    /// What was told of one target.
    pub fn told(&self, number: usize) -> Vec<Told> {
        self.events.iter().filter(|(_, of, _)| *of == number).map(|(.., told)| *told).collect()
    }
}

fn manner(script: &[(Instant, Manner)], now: Instant) -> Manner {
    script.iter().rev().find(|(from, _)| *from <= now).map_or(Manner::Refuses, |(_, manner)| *manner)
}

/// The target that a frame of the agent is for, and whether it is a SYN.
fn segment(frame: &[u8]) -> Option<(usize, bool)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let segment = TcpPacket::new_checked(packet.payload()).ok()?;
    Some((usize::from(segment.dst_port().checked_sub(FIRST_PORT)?), segment.syn()))
}

/// A document of checks: of each target what stands in `kind`, with `{}` for its address and port, `{ip}` for the address
/// of one that is asked by single packets.
pub fn document(kinds: &[&str], interval_s: u64, timeout_s: u64) -> String {
    let check = |(number, kind): (usize, &&str)| {
        let kind = kind.replace("{}", &format!("{TARGETS}:{}", FIRST_PORT as usize + number));
        let kind = kind.replace("{ip}", &packets::address(number).to_string());
        format!(
            r#"{{"name": "target-{number}", "owner": "o", "impact": "i", "runbook": "r", "interval_s": {interval_s},
                "timeout_s": {timeout_s}, {kind}}}"#
        )
    };
    let checks: Vec<String> = kinds.iter().enumerate().map(check).collect();
    format!(r#"{{"drill": {{"exercise": true}}, "checks": [{}]}}"#, checks.join(","))
}

pub fn always(manner: Manner) -> Vec<(Instant, Manner)> {
    vec![(Instant::ZERO, manner)]
}

pub const PAGE: &str = r#""http": {"url": "http://{}/health"}"#;

#[test]
fn each_way_to_be_bad_has_its_reason() {
    // "Down" alone sends people to look in the wrong place.
    use Manner::*;
    let tcp = r#""tcp": {"address": "{}"}"#;
    let banner = r#""tcp": {"address": "{}", "banner": "SSH-2.0"}"#;
    let body = r#""http": {"url": "http://{}/", "body": "is well"}"#;
    let statuses = r#""http": {"url": "http://{}/", "status": [200, 503]}"#;
    /// What stands in the configuration, what the target does, and what is wrong with that.
    type Row = (&'static str, Manner, Option<(ProbeReason, u16)>);
    let table: [Row; 19] = [
        (PAGE, Answers(OK), None),
        (tcp, Hangs, None),
        (banner, Greets("SSH-2.0-x\r\n"), None),
        (body, Answers(OK), None),
        (statuses, Answers("HTTP/1.1 503 No\r\n\r\n"), None),
        (body, Trickles("HTTP/1.1 200 OK\r\n\r\nis well"), None),
        (PAGE, Refuses, Some((ProbeReason::Refused, 0))),
        (PAGE, Lost, Some((ProbeReason::TimeoutConnect, 0))),
        (tcp, Lost, Some((ProbeReason::TimeoutConnect, 0))),
        (PAGE, Hangs, Some((ProbeReason::TimeoutResponse, 0))),
        (banner, Hangs, Some((ProbeReason::TimeoutResponse, 0))),
        (PAGE, Answers(""), Some((ProbeReason::Closed, 0))),
        (PAGE, Answers("SSH-2.0-x\r\n"), Some((ProbeReason::Malformed, 0))),
        (PAGE, Answers("HTTP/1.1 200 OK\r\nServer: x"), Some((ProbeReason::Malformed, 200))),
        (PAGE, Answers("HTTP/1.1 500 Oh\r\n\r\n"), Some((ProbeReason::Status, 500))),
        (body, Answers("HTTP/1.1 200 OK\r\n\r\nall is ill"), Some((ProbeReason::Body, 200))),
        (banner, Greets("220 mail ESMTP\r\n"), Some((ProbeReason::TimeoutResponse, 0))),
        (body, Trickles(OK), Some((ProbeReason::TimeoutResponse, 200))),
        (r#""slow_ms": 3, "http": {"url": "http://{}/"}"#, Answers(OK), Some((ProbeReason::Slow, 200))),
    ];
    let mut world = World::new(table.iter().map(|row| always(row.1)).collect());
    world.run(&document(&table.map(|row| row.0), 10, 4), Instant::from_secs(60));
    for (number, (kind, manner, bad)) in table.into_iter().enumerate() {
        let told = world.told(number);
        match bad {
            None => assert_eq!(told, [Told::Up], "{kind} {manner:?}"),
            Some((reason, status)) => {
                assert_eq!(told.iter().filter(|told| **told == Told::Down).count(), 1, "{kind} {manner:?}: {told:?}");
                let others = told.iter().filter(|told| **told != Told::Down && **told != Told::Failed(reason, status));
                assert_eq!(others.count(), 0, "{kind} {manner:?}: {told:?}");
            }
        }
    }
    let request = String::from_utf8(world.requests[0].clone()).expect("text");
    assert!(request.contains(&format!("\r\nHost: {TARGETS}:80")), "{request}");
    assert!(request.contains("\r\nUser-Agent: outpost/"), "{request}");
    assert!(request.contains("\r\ntraceparent: 00-0000000000000001"), "{request}");
}

#[test]
fn targets_that_hang_do_not_move_the_others() {
    // The known disease of probers: 16 of 20 that hang, and the healthy ones are looked at every minute instead.
    let mut scripts: Vec<_> = (0..4).map(|_| always(Manner::Answers(OK))).collect();
    scripts.extend((0..8).map(|_| always(Manner::Hangs)));
    scripts.extend((0..8).map(|_| always(Manner::Lost)));
    let mut world = World::new(scripts);
    world.run(&document(&[PAGE; 20], 2, 2), Instant::from_secs(600));
    for (number, syns) in world.syns.iter().enumerate() {
        // A SYN that is lost is sent again, within the same probe.
        let mut starts = syns.clone();
        starts.dedup_by(|later, earlier| *later < *earlier + Duration::from_millis(1_900));
        assert!((298..=300).contains(&starts.len()), "{number}: {}", starts.len());
        // The first waits for ARP.
        for pair in starts[1..].windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_secs(2), "{number} at {}", pair[1]);
        }
    }
    assert!((0..4).all(|number| world.told(number) == [Told::Up]));
    assert!((4..20).all(|number| world.told(number).contains(&Told::Down)));
}

#[test]
fn the_log_tells_the_script() {
    // An outage that is told late, twice, or not at all is what postmortems are about.
    let at = |s| Instant::from_secs(s);
    let script = vec![
        (at(0), Manner::Answers(OK)),
        (at(100), Manner::Hangs),
        // Too short to be believed.
        (at(205), Manner::Answers(OK)),
        (at(300), Manner::Refuses),
        (at(315), Manner::Answers(OK)),
        (at(400), Manner::Answers("HTTP/1.1 502 Bad Gateway\r\n\r\n")),
        (at(500), Manner::Answers(OK)),
    ];
    let mut world = World::new(vec![script]);
    world.run(&document(&[PAGE], 10, 5), at(700));
    let edges: Vec<_> = world
        .events
        .iter()
        .filter(|(.., told)| !matches!(told, Told::Failed(..)))
        .map(|(at, _, told)| (*told, *at))
        .collect();
    // Two good or three bad ones, 10 s apart, and 5 s for the last to be given up.
    let expected = [
        (Told::Up, 0, 20),
        (Told::Down, 100 + 20, 100 + 35),
        (Told::Up, 205, 205 + 20),
        (Told::Down, 400 + 20, 400 + 30),
        (Told::Up, 500 + 10, 500 + 20),
    ];
    assert_eq!(edges.len(), expected.len(), "{edges:?}");
    assert_eq!(world.introduced, ["target-0"], "once in a boot");
    assert!(world.exercise, "the boot says that it is one");
    for ((told, when), (expected, from, to)) in edges.iter().zip(expected) {
        assert_eq!(*told, expected, "{edges:?}");
        assert!((at(from)..=at(to)).contains(when), "{told:?} at {when}, expected from {from} to {to} s");
    }
}
