//! Host names: an agent whose collector, syslog server and time server are names, and two DNS servers that drop, lie, fail and
//! fall silent.
//!
//! The oracle stands outside the agent: it knows which address each name was truly given, and looks at where the agent's
//! packets go.

use crate::alone::{AGENT, AGENT_MAC, ask_long, start};
use crate::frames::{self, Route};
use crate::nic::AgentNic;
use crate::rng::Rng;
use crate::{events, probe};
use outpost::agent::{Agent, Wake};
use outpost::config::load;
use outpost::limits;
use outpost::log::{Reader, Step};
use outpost_wire::{DnsFailure, Event, Ip4, Record};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::*;
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: &[u8] = br#"{
    "network": {"static": {"address": "10.1.0.50/24", "gateway": "10.1.0.1", "dns": ["10.1.0.2", "10.1.0.3"]}},
    "collector": {"address": "logs.example.org:7600"},
    "sink": {"syslog": "syslog.example.org:601"},
    "time": {"servers": ["10.1.0.9", "ntp.example.org"]}
}"#;

/// The names, and the port by which their packets are known.
const NAMES: [(&str, u16); 3] = [("logs.example.org", 7600), ("syslog.example.org", 601), ("ntp.example.org", 123)];

/// Where only a forged answer leads.
const EVIL: [u8; 4] = [10, 1, 0, 66];

const SEEDS: u64 = 24;

/// What a DNS server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serve,
    Silent,
    /// Says that the name is not there.
    NoSuchName,
    /// Cannot find out.
    Fail,
    /// Forged answers race the real one: none has all of id, port, question and sender right.
    Hostile,
    /// Bytes that are no answer.
    Garbage,
}

/// The world around the agent.
struct Net {
    rng: Rng,
    servers: [Mode; 2],
    /// Packets lost, in thousandths.
    loss: u64,
    ttl_s: u32,
    /// The address of each name, and all that it ever had.
    zone: BTreeMap<&'static str, [u8; 4]>,
    given: BTreeMap<&'static str, BTreeSet<[u8; 4]>>,
    /// Where the last packet for each port went.
    last: BTreeMap<u16, [u8; 4]>,
    questions: u64,
    tickets: BTreeSet<(u16, u16)>,
    violations: Vec<String>,
}

impl Net {
    fn new(seed: u64) -> Net {
        let zone = NAMES.iter().zip(20..).map(|((name, _), last)| (*name, [10, 1, 0, last])).collect();
        Net {
            rng: Rng::new(seed),
            servers: [Mode::Serve; 2],
            loss: 0,
            ttl_s: 60,
            zone,
            given: BTreeMap::new(),
            last: BTreeMap::new(),
            questions: 0,
            tickets: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// The names move: within our subnet, or behind the gateway.
    fn move_names(&mut self) {
        for address in self.zone.values_mut() {
            if self.rng.chance(500) {
                let last = self.rng.range(70, 250) as u8;
                *address = if self.rng.chance(500) { [10, 1, 0, last] } else { [192, 0, 2, last] };
            }
        }
    }

    /// What comes back for a frame of the agent.
    fn answer(&mut self, now: Instant, frame: &[u8]) -> Vec<Vec<u8>> {
        let ethernet = EthernetFrame::new_checked(frame).expect("the agent sends whole frames");
        if ethernet.ethertype() == EthernetProtocol::Arp {
            return self.arp(ethernet.payload()).into_iter().collect();
        }
        let Ok(packet) = Ipv4Packet::new_checked(ethernet.payload()) else { return Vec::new() };
        let to = packet.dst_addr().octets();
        match packet.next_header() {
            IpProtocol::Tcp => {
                let segment = TcpPacket::new_checked(packet.payload()).expect("the agent sends whole segments");
                self.went(now, segment.dst_port(), to);
                Vec::new()
            }
            IpProtocol::Udp => {
                let datagram = UdpPacket::new_checked(packet.payload()).expect("the agent sends whole datagrams");
                if datagram.dst_port() == 53 {
                    return self.question(now, to, datagram.src_port(), datagram.payload());
                }
                // The literal time server is known without asking.
                if to != [10, 1, 0, 9] {
                    self.went(now, datagram.dst_port(), to);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn went(&mut self, now: Instant, port: u16, to: [u8; 4]) {
        let Some((name, _)) = NAMES.iter().find(|(_, known)| *known == port) else { return };
        if !self.given.get(name).is_some_and(|given| given.contains(&to)) {
            self.violations.push(format!("{now}: port {port} of {to:?}, which {name} never was"));
        }
        self.last.insert(port, to);
    }

    fn arp(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let ArpRepr::EthernetIpv4 { operation: ArpOperation::Request, target_protocol_addr: target, .. } =
            ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok()?
        else {
            return None;
        };
        let from_mac = mac(target.octets());
        Some(frames::arp(Route { from_mac, to_mac: AGENT_MAC, from: target, to: AGENT }, ArpOperation::Reply))
    }

    fn question(&mut self, now: Instant, to: [u8; 4], port: u16, payload: &[u8]) -> Vec<Vec<u8>> {
        self.questions += 1;
        let packet = DnsPacket::new_checked(payload).expect("the agent sends whole questions");
        let id = packet.transaction_id();
        self.tickets.insert((id, port));
        let (_, asked) = DnsQuestion::parse(packet.payload()).expect("a question");
        let labels =
            packet.parse_name(asked.name).map(|label| String::from_utf8_lossy(label.expect("a label")).into_owned());
        let name = labels.collect::<Vec<_>>().join(".");
        let Some((name, _)) = NAMES.iter().find(|(known, _)| *known == name) else {
            self.violations.push(format!("{now}: asked for {name}"));
            return Vec::new();
        };
        if packet.flags() != DnsFlags::RECURSION_DESIRED || !matches!(to, [10, 1, 0, 2 | 3]) {
            self.violations.push(format!("{now}: {:?} sent to {to:?}", packet.flags()));
        }
        if self.rng.chance(self.loss) {
            return Vec::new();
        }
        let address = self.zone[name];
        let reply = |from: [u8; 4], from_port: u16, to_port: u16, payload: &[u8]| {
            let route = Route { from_mac: mac(from), to_mac: AGENT_MAC, from: from.into(), to: AGENT };
            frames::udp(route, UdpRepr { src_port: from_port, dst_port: to_port }, payload)
        };
        let genuine = |id: u16, address: [u8; 4], ttl_s| answer(payload, id, 0x8180, Some((address, ttl_s)));
        match self.servers[usize::from(to[3] - 2)] {
            Mode::Silent => Vec::new(),
            Mode::Fail => vec![reply(to, 53, port, &answer(payload, id, 0x8182, None))],
            Mode::NoSuchName => vec![reply(to, 53, port, &answer(payload, id, 0x8183, None))],
            Mode::Garbage => {
                let mut bytes = genuine(id, EVIL, 60);
                let cut = self.rng.below(bytes.len() as u64) as usize;
                bytes.truncate(cut);
                vec![reply(to, 53, port, &bytes)]
            }
            mode => {
                let mut sent = Vec::new();
                if mode == Mode::Hostile {
                    let forged = genuine(id, EVIL, 60);
                    let mut other_name = forged.clone();
                    other_name[13] ^= 1;
                    let mut question = forged.clone();
                    question[2] = 1;
                    sent.extend([
                        reply(to, 53, port, &genuine(id ^ 1, EVIL, 60)),
                        reply(to, 53, port ^ 1, &forged),
                        reply(to, 54, port, &forged),
                        reply([10, 1, 0, 4], 53, port, &forged),
                        reply(to, 53, port, &other_name),
                        reply(to, 53, port, &question),
                    ]);
                }
                // More forged packets than the socket has room for would keep the real one out; it is asked for again.
                sent.truncate(limits::DNS_PACKETS - 1);
                if !self.rng.chance(self.loss) {
                    self.given.entry(name).or_default().insert(address);
                    sent.push(reply(to, 53, port, &genuine(id, address, self.ttl_s)));
                }
                sent
            }
        }
    }
}

/// The MAC of a machine, or of the router to it.
fn mac(address: [u8; 4]) -> EthernetAddress {
    EthernetAddress([2, 1, 1, 0, 0, if address[0] == 10 { address[3] } else { 1 }])
}

/// The question again, with these flags and perhaps an address.
fn answer(question: &[u8], id: u16, flags: u16, address: Option<([u8; 4], u32)>) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    if let Some((address, ttl_s)) = address {
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(ttl_s.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address);
    }
    bytes
}

/// The agent in that world.
struct World<'w, 'a> {
    agent: &'w mut Agent<'a>,
    nic: AgentNic,
    net: Net,
    now: Instant,
    reader: Reader,
    told: Vec<(Instant, String, Option<DnsFailure>, Ip4)>,
}

impl World<'_, '_> {
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            let wake = self.agent.poll(self.now, &mut self.nic);
            self.agent.console(self.now, &mut &mut [0; 4096][..]);
            for frame in self.nic.take_sent() {
                self.net.answer(self.now, &frame).into_iter().for_each(|frame| self.nic.arrive(frame));
            }
            self.take_events();
            let at = if let Wake::At(at) = wake { at } else { until };
            self.now = at.clamp(self.now + Duration::from_millis(1), self.now + Duration::from_secs(5));
        }
    }

    fn take_events(&mut self) {
        while let Step::Record(seq, body) = self.agent.log().read(&mut self.reader) {
            match Record::decode_body(seq, body).ok().and_then(|record| record.decode_event()) {
                Some(Event::DnsResolved(event)) => {
                    events::seen("dns.resolved");
                    self.told.push((self.now, event.name.as_str().to_owned(), None, event.address));
                }
                Some(Event::DnsFailed(event)) => {
                    events::seen("dns.failed");
                    self.told.push((self.now, event.name.as_str().to_owned(), Some(event.reason), event.kept));
                }
                _ => {}
            }
            self.reader.pass(seq);
        }
    }

    fn ask(&mut self, path: &str) -> String {
        let port = 20_000 + self.net.rng.below(10_000) as u16;
        ask_long(self.agent, &mut self.nic, self.now, port, path)
    }
}

fn with_world(seed: u64, test: impl FnOnce(&mut World<'_, '_>) + Send) {
    let run = || {
        let mut nic = AgentNic::new(AGENT_MAC, 256);
        let (mut storage, mut region) = (probe::storage(), vec![0; 1 << 20]);
        let config = load(Some(CONFIG));
        assert_eq!(config.problem_count, 0, "{:?}", config.problems);
        let facts = probe::facts(seed, [seed as u8; 32]);
        let mut agent = Agent::new(facts, config, &probe::NO_CHECKS, &mut storage, &mut region, &mut nic, start());
        let reader = agent.log().reader(1);
        test(&mut World { agent: &mut agent, nic, net: Net::new(seed), now: start(), reader, told: Vec::new() });
    };
    if let Err(panic) = probe::alone(run) {
        panic!("seed {seed}: {panic}");
    }
}

#[test]
fn every_seed_goes_only_where_dns_truly_led() {
    // A resolver that believes a stranger, or forgets an address because it cannot ask, loses the log.
    for seed in 0..SEEDS {
        with_world(seed, |world| {
            for _ in 0..8 {
                let net = &mut world.net;
                let modes = [
                    Mode::Serve,
                    Mode::Silent,
                    Mode::NoSuchName,
                    Mode::Fail,
                    Mode::Hostile,
                    Mode::Garbage,
                    Mode::Hostile,
                ];
                net.servers = [net.rng.pick(&modes), net.rng.pick(&modes)];
                net.loss = net.rng.pick(&[0, 0, 300, 700]);
                net.ttl_s = net.rng.pick(&[0, 5, 60, 200, u32::MAX]);
                net.move_names();
                let time = Duration::from_secs(net.rng.range(20, 400));
                world.run(time);
            }
            // Healed, every name is found again, and those who need it go there.
            let net = &mut world.net;
            (net.servers, net.loss) = ([Mode::Serve, Mode::Silent], 0);
            net.servers.rotate_left((seed % 2) as usize);
            world.run(limits::DNS_TTL_MAX + limits::DNS_RETRY_MAX + Duration::from_secs(60));
            let net = &world.net;
            let mut wrong = net.violations.clone();
            for (name, port) in NAMES.iter().filter(|(_, port)| *port != 123) {
                if net.last.get(port) != Some(&net.zone[name]) {
                    wrong.push(format!("{name} is {:?}, the agent goes to {:?}", net.zone[name], net.last.get(port)));
                }
            }
            // Four questions a lookup at most, and no lookup sooner than the floor of the TTL or of the back-off.
            let lookups = world.now.secs() as u64 / limits::DNS_TTL_MIN.secs() + 60;
            if net.questions > NAMES.len() as u64 * 4 * lookups {
                wrong.push(format!("{} questions", net.questions));
            }
            if (net.tickets.len() as u64) < net.questions * 99 / 100 {
                wrong.push(format!("{} of {} pairs of id and port are new", net.tickets.len(), net.questions));
            }
            assert_eq!(wrong, [""; 0]);
        });
    }
}

#[test]
fn while_dns_is_down_the_last_address_is_kept_and_marked() {
    // The first outage of DNS must not be the end of the log, and nobody may think that all is well.
    with_world(1, |world| {
        // smoltcp asks for one neighbour a second, and here each machine is one.
        world.run(Duration::from_secs(15));
        assert_eq!(world.net.last.get(&7600), Some(&[10, 1, 0, 20]));
        let status = world.ask("/status");
        assert!(
            status.contains(r#""name":"logs.example.org","state":"resolved","reason":null,"addresses":["10.1.0.20"]"#),
            "{status}"
        );
        assert!(status.contains(r#""address":"10.1.0.20:7600""#), "{status}");

        world.net.servers = [Mode::Silent; 2];
        // Each has its turn as soon as its TTL is over: those that fail and come again do not go before it.
        world.run(Duration::from_secs(60) + limits::DNS_TIMEOUT * (2 * 2 * NAMES.len() as u32));
        let status = world.ask("/status");
        assert_eq!(status.matches(r#""state":"kept","reason":"timeout""#).count(), NAMES.len(), "{status}");
        world.run(Duration::from_secs(110));
        world.net.last.clear();
        world.run(Duration::from_secs(60));
        assert_eq!(world.net.last.get(&7600), Some(&[10, 1, 0, 20]), "it is still tried");
        let status = world.ask("/status");
        let kept = r#""name":"logs.example.org","state":"kept","reason":"timeout","addresses":["10.1.0.20"]"#;
        assert!(status.contains(kept), "{status}");
        assert!(
            status.contains(
                r#"{"name":"network","status":"warn","reason":"a host name is not resolved, see names in /status""#
            ),
            "{status}"
        );
        let debug = world.ask("/debug/net");
        assert!(debug.contains(kept) && debug.contains(r#""what":"dns""#), "{debug}");
        let metrics = world.ask("/metrics");
        assert!(metrics.contains("outpost_dns_name{name=\"logs.example.org\",state=\"kept\"} 1\n"), "{metrics}");
        assert!(world.ask("/readyz").starts_with("HTTP/1.0 200 ") || world.ask("/readyz").contains(" 200 OK"));
        let failed: Vec<_> =
            world.told.iter().filter(|(_, name, reason, _)| name == NAMES[0].0 && reason.is_some()).collect();
        assert_eq!(failed.len(), 1, "told once: {failed:?}");
        assert_eq!((failed[0].2, failed[0].3), (Some(DnsFailure::Timeout), Ip4([10, 1, 0, 20])));

        // Another reason, and then another address.
        world.net.servers = [Mode::NoSuchName; 2];
        world.run(Duration::from_secs(90));
        assert!(world.ask("/status").contains(r#""state":"kept","reason":"no_such_name""#));
        world.net.servers = [Mode::Serve; 2];
        world.net.zone.insert("logs.example.org", [192, 0, 2, 7]);
        world.run(Duration::from_secs(90));
        assert_eq!(world.net.last.get(&7600), Some(&[192, 0, 2, 7]));
        let last = world.told.iter().rfind(|(_, name, ..)| name == NAMES[0].0).unwrap();
        assert_eq!((last.2, last.3), (None, Ip4([192, 0, 2, 7])));
        assert!(world.ask("/status").contains(r#""state":"resolved","reason":null,"addresses":["192.0.2.7"]"#));
        assert_eq!(world.net.violations, [""; 0]);
    });
}

#[test]
fn a_name_that_was_never_found_holds_up_nothing_else() {
    // A mistyped collector must not keep the time server's name from being asked for, or the console from saying so.
    with_world(2, |world| {
        world.net.servers = [Mode::NoSuchName; 2];
        world.run(Duration::from_secs(40));
        assert_eq!(world.net.last, BTreeMap::new());
        let status = world.ask("/status");
        assert!(
            status.contains(r#""name":"ntp.example.org","state":"failed","reason":"no_such_name","addresses":[]"#),
            "{status}"
        );
        assert!(status.contains(r#""collector":{"address":null,"state":"waiting""#), "{status}");
        world.net.servers = [Mode::Silent, Mode::Serve];
        world.run(Duration::from_secs(60));
        assert_eq!(world.net.last.len(), NAMES.len());
        assert_eq!(world.net.violations, [""; 0]);
    });
}
