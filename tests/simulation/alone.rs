//! The agent alone with its card: single frames in, single frames out, for what needs no world.

use crate::attacker::Attacker;
use crate::frames::{self, Route};
use crate::nic::AgentNic;
use crate::probe;
use crate::rng::Rng;
use outpost::agent::{Agent, Wake};
use outpost::config::checks::Checks;
use outpost::config::{self, Config, Network};
use outpost::vitals::{Stack, Vitals};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Address, Ipv4Cidr, TcpPacket, TcpSeqNumber,
};

pub const AGENT: Ipv4Address = Ipv4Address::new(10, 1, 0, 50);
pub const AGENT_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 50]);
pub const PEER: Route = Route {
    from_mac: EthernetAddress([2, 0, 0, 0, 0, 20]),
    to_mac: AGENT_MAC,
    from: Ipv4Address::new(10, 1, 0, 20),
    to: AGENT,
};
const PEER_PORT: u16 = 40_000;

/// An answer that takes longer than this would cost a client its patience: well below a retransmission.
const SOON: Duration = Duration::from_millis(5);

/// Polls of one step at most.
const POLLS: usize = 5_000;

/// Runs `test` with an agent of a static address that is about to be polled for the first time, at 1 s; `waiting`
/// came in while the machine booted.
pub fn with_agent(waiting: &[Vec<u8>], test: impl FnOnce(&mut Agent<'_>, &mut AgentNic) + Send) {
    with_configured(|_| {}, waiting, test);
}

/// The same, with changes to its configuration.
pub fn with_configured(
    change: impl FnOnce(&mut Config) + Send,
    waiting: &[Vec<u8>],
    test: impl FnOnce(&mut Agent<'_>, &mut AgentNic) + Send,
) {
    if let Err(panic) = probe::alone(|| with_agent_here(change, waiting, test)) {
        panic!("{panic}");
    }
}

/// An agent that watches what this document of checks says.
pub fn with_checks(document: &str, test: impl FnOnce(&mut Agent<'_>, &mut AgentNic) + Send) {
    let outcome = probe::alone(|| {
        let mut table = Checks::new();
        let loaded = config::load_into(Some(document.as_bytes()), &mut table);
        assert_eq!(loaded.problem_count, 0, "{:?}", loaded.problems);
        let mut nic = AgentNic::new(AGENT_MAC, 256);
        let mut storage = probe::storage();
        let mut region = vec![0; 1 << 20];
        let config = probe::config(Some((Ipv4Cidr::new(AGENT, 24), Ipv4Address::new(10, 1, 0, 1))), None, None);
        let facts = probe::facts(1, [1; 32]);
        let mut agent = Agent::new(facts, config, &table, &mut storage, &mut region, &mut nic, start());
        test(&mut agent, &mut nic);
    });
    if let Err(panic) = outcome {
        panic!("{panic}");
    }
}

fn with_agent_here(
    change: impl FnOnce(&mut Config),
    waiting: &[Vec<u8>],
    test: impl FnOnce(&mut Agent<'_>, &mut AgentNic),
) {
    let mut nic = AgentNic::new(AGENT_MAC, 256);
    waiting.iter().for_each(|frame| nic.arrive(frame.clone()));
    let mut storage = probe::storage();
    let mut region = vec![0; 64 * 1024];
    let mut config = probe::config(Some((Ipv4Cidr::new(AGENT, 24), Ipv4Address::new(10, 1, 0, 1))), None, None);
    change(&mut config.config);
    let facts = probe::facts(1, [1; 32]);
    let mut agent =
        Agent::new(facts, config, &probe::NO_CHECKS, &mut storage, &mut region, &mut nic, Instant::from_secs(1));
    test(&mut agent, &mut nic);
}

/// Polls as the image does from `from` to `until`; returns what was sent.
pub fn run(agent: &mut Agent<'_>, nic: &mut AgentNic, from: Instant, until: Instant) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut now = from;
    for _ in 0..POLLS {
        let wake = agent.poll(now, nic);
        // Without a reader of its console an agent that is not ready would ask for one again and again.
        agent.console(now, &mut &mut [0; 4096][..]);
        sent.extend(nic.take_sent());
        match wake {
            Wake::At(at) if at.max(now) < until => now = at.max(now + Duration::from_micros(1)),
            Wake::At(_) | Wake::OnFrame => return sent,
            Wake::PowerOff => panic!("the agent ended by itself"),
        }
    }
    panic!("the agent spins: {POLLS} polls from {from} to {now}");
}

/// The number of the SYN|ACK to this port, when one was sent.
pub fn accepted(sent: &[Vec<u8>], port: u16) -> Option<TcpSeqNumber> {
    let number = |segment: &TcpPacket<&[u8]>| (segment.syn() && segment.ack()).then(|| segment.seq_number());
    sent.iter().find_map(|frame| frames::tcp_to(frame, port, number).flatten())
}

fn accepts(sent: &[Vec<u8>], port: u16) -> bool {
    accepted(sent, port).is_some()
}

pub fn start() -> Instant {
    Instant::from_secs(1)
}

#[test]
fn a_frame_that_waits_before_the_first_poll_is_served() {
    // A SYN that came during the boot was answered with RST: the client's first check failed.
    for waiting in 1..=3 {
        let frames: Vec<_> = (0..waiting).map(|number| frames::syn(PEER, PEER_PORT + number, 80)).collect();
        with_agent(&frames, |agent, nic| {
            let sent = run(agent, nic, start(), start() + SOON);
            for number in 0..waiting {
                assert!(accepts(&sent, PEER_PORT + number), "connection {number} of {waiting} was not accepted");
            }
        });
    }
}

#[test]
fn options_in_the_ip_header_do_not_hide_the_segment() {
    // With the header's length taken for 20 bytes the ports are wrong, and the client gets RST.
    with_agent(&[frames::with_ip_options(&frames::syn(PEER, PEER_PORT, 80))], |agent, nic| {
        assert!(accepts(&run(agent, nic, start(), start() + SOON), PEER_PORT));
    });
}

#[test]
fn a_closed_port_says_so() {
    // Silence would make a client wait for minutes.
    with_agent(&[frames::syn(PEER, PEER_PORT, 81)], |agent, nic| {
        let sent = run(agent, nic, start(), start() + SOON);
        assert!(sent.iter().any(|frame| frames::tcp_to(frame, PEER_PORT, |segment| segment.rst()) == Some(true)));
    });
}

#[test]
fn arp_and_ping_are_answered() {
    // A gateway that gets no ARP answer sends nothing; an operator's first test is a ping.
    let whom = frames::arp(Route { to_mac: EthernetAddress::BROADCAST, ..PEER }, ArpOperation::Request);
    with_agent(&[whom, frames::ping(PEER, 1)], |agent, nic| {
        let sent = run(agent, nic, start(), start() + SOON);
        let to_peer = |kind: EthernetProtocol| {
            sent.iter().any(|frame| {
                let frame = EthernetFrame::new_checked(frame).expect("the agent sends whole frames");
                frame.ethertype() == kind && frame.dst_addr() == PEER.from_mac && frame.src_addr() == AGENT_MAC
            })
        };
        assert!(to_peer(EthernetProtocol::Arp), "no ARP reply");
        assert!(to_peer(EthernetProtocol::Ipv4), "no echo reply");
    });
}

#[test]
fn what_comes_from_a_broadcast_address_is_dropped() {
    // Whoever answers it helps to flood a network (RFC 1122, section 3.2.1.3).
    let everybody = Route { from: Ipv4Address::new(10, 1, 0, 255), ..PEER };
    let frames = |from| [frames::syn(from, PEER_PORT, 80), frames::syn(from, PEER_PORT, 81), frames::ping(from, 1)];
    for (from, answers) in [(everybody, 0), (PEER, 3)] {
        with_agent(&frames(from), |agent, nic| {
            let sent = run(agent, nic, start(), start() + SOON);
            let to = |frame: &&Vec<u8>| frame[30..34] == from.from.octets();
            assert_eq!(sent.iter().filter(|frame| frame.len() >= 34).filter(to).count(), answers, "{from:?}");
        });
    }
}

/// Opens a connection from this port and sends `data` on it; what comes back.
pub fn converse(
    agent: &mut Agent<'_>,
    nic: &mut AgentNic,
    now: Instant,
    port: u16,
    data: &[u8],
) -> Option<Vec<Vec<u8>>> {
    nic.arrive(frames::syn(PEER, port, 80));
    let server = accepted(&run(agent, nic, now, now + Duration::from_micros(10)), port)?;
    nic.arrive(frames::first_data(PEER, port, 80, server, data));
    Some(run(agent, nic, now, now + Duration::from_millis(50)))
}

/// Asks for a path on a connection from this port: the answer, as far as it fits the agent's send buffer.
pub fn ask(agent: &mut Agent<'_>, nic: &mut AgentNic, now: Instant, port: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let answer = converse(agent, nic, now, port, request.as_bytes()).expect("the connection is accepted");
    let bytes = answer
        .iter()
        .filter_map(|frame| frames::tcp_to(frame, port, |segment: &TcpPacket<&[u8]>| segment.payload().to_vec()));
    String::from_utf8(bytes.flatten().collect()).expect("answers are text")
}

/// The same for an answer of any length.
pub fn ask_long(agent: &mut Agent<'_>, nic: &mut AgentNic, now: Instant, port: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let mut sent = converse(agent, nic, now, port, request.as_bytes()).expect("the connection is accepted");
    let (mut bytes, mut now) = (Vec::new(), now);
    while let Some(next) = sent
        .iter()
        .filter_map(|frame| {
            frames::tcp_to(frame, port, |segment: &TcpPacket<&[u8]>| {
                bytes.extend_from_slice(segment.payload());
                (!segment.payload().is_empty()).then(|| segment.seq_number() + segment.payload().len())
            })
        })
        .flatten()
        .last()
    {
        now += Duration::from_millis(1);
        nic.arrive(frames::acknowledge(PEER, port, 80, request.len(), next));
        sent = run(agent, nic, now, now + Duration::from_micros(10));
    }
    String::from_utf8(bytes).expect("answers are text")
}

#[test]
fn idle_and_half_open_connections_lock_nobody_out() {
    // A thousand connections that say nothing, and a thousand that never complete, cost an attacker nothing.
    const EACH: u16 = 1000;
    with_agent(&[], |agent, nic| {
        let mut now = start();
        for number in 0..EACH {
            assert!(converse(agent, nic, now, 10_000 + number, b"").is_some(), "idle connection {number}");
            now += Duration::from_millis(1);
        }
        for number in 0..EACH {
            nic.arrive(frames::syn(PEER, 20_000 + number, 80));
            run(agent, nic, now, now + Duration::from_micros(10));
            now += Duration::from_millis(1);
        }
        for number in 0..10 {
            let answer = converse(agent, nic, now, 30_000 + number, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
            let answer = answer.unwrap_or_else(|| panic!("client {number} was not accepted"));
            let ok = |segment: &TcpPacket<&[u8]>| segment.payload().starts_with(b"HTTP/1.1 200 ");
            let answered = answer.iter().any(|frame| frames::tcp_to(frame, 30_000 + number, ok) == Some(true));
            assert!(answered, "client {number} was not answered within 50 ms");
            now += Duration::from_millis(100);
        }
    });
}

#[test]
fn as_many_slow_readers_of_metrics_are_served_as_there_is_room_for() {
    // An answer is rendered into room for the longest that there can be; who kept that would turn others away for nothing.
    with_agent(&[], |agent, nic| {
        for number in 0..6 {
            // Nobody reads on after the first segments.
            let answer = converse(agent, nic, start(), 10_000 + number, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
            let answer = answer.unwrap_or_else(|| panic!("client {number} was not accepted"));
            let ok = |segment: &TcpPacket<&[u8]>| segment.payload().starts_with(b"HTTP/1.1 200 ");
            let answered = answer.iter().any(|frame| frames::tcp_to(frame, 10_000 + number, ok) == Some(true));
            assert!(answered, "client {number} got something else");
        }
        let metrics = ask_long(agent, nic, start(), 20_000, "/metrics");
        assert!(metrics.contains("outpost_http_connections_given_up_total 0"), "{metrics}");
    });
}

#[test]
fn a_stack_that_was_nearly_full_is_told_and_stops_nothing() {
    // The overflow that follows one day is a crash; the warning before it must not take the agent out of service.
    with_agent(&[], |agent, nic| {
        let ask =
            |agent: &mut Agent<'_>, nic: &mut AgentNic, port: u16, path: &str| ask(agent, nic, start(), port, path);
        let told =
            |status: &str| status.contains(r#"{"name":"memory","status":"warn","reason":"a stack was over 90 % full""#);
        assert!(!told(&ask(agent, nic, 40_001, "/status")));
        let mut vitals = Vitals::default();
        vitals.stacks[0] = Stack { name: "main", bytes: 131_072, high_water: 120_000 };
        agent.observe(vitals);
        let status = ask(agent, nic, 40_002, "/status");
        assert!(told(&status), "{status}");
        assert!(ask(agent, nic, 40_003, "/readyz").starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn an_answer_that_is_known_by_heart_follows_health() {
    // A poller whose request comes again and again would be told for ever what was true at its second one.
    with_agent(&[], |agent, nic| {
        let mut port = 40_000;
        for high_water in [0, 120_000, 0, 120_000] {
            let mut vitals = Vitals::default();
            vitals.stacks[0] = Stack { name: "main", bytes: 131_072, high_water };
            agent.observe(vitals);
            for time in 0..4 {
                for path in ["/livez", "/readyz"] {
                    port += 1;
                    let answer = ask(agent, nic, start(), port, path);
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    let degraded = answer.contains("\r\nx-envoy-degraded: true\r\n");
                    assert_eq!(degraded, high_water > 0, "{path}, {time} times before: {answer}");
                }
            }
        }
    });
}

#[test]
fn after_any_garbage_the_agent_still_serves() {
    // A length or field that is believed panics, hangs, or leaves the agent deaf.
    const BURSTS: u64 = 400;
    let mut rng = Rng::new(4);
    let mut attacker = Attacker::new(EthernetAddress([2, 0, 0, 0, 9, 9]), AGENT_MAC, AGENT, rng.fork());
    attacker.see(&frames::syn(PEER, PEER_PORT, 80));
    attacker.see(&frames::ping(PEER, 1));
    with_agent(&[], |agent, nic| {
        let mut now = start();
        for burst in 0..BURSTS {
            for frame in attacker.burst() {
                nic.arrive(frame);
                if rng.chance(300) {
                    run(agent, nic, now, now + Duration::from_micros(1));
                }
            }
            let next = now + Duration::from_millis(rng.below(500));
            run(agent, nic, now, next);
            now = next;
            let port = 30_000 + burst as u16;
            nic.arrive(frames::syn(PEER, port, 80));
            let sent = run(agent, nic, now, now + Duration::from_millis(100));
            assert!(accepts(&sent, port), "deaf after burst {burst}");
            now += Duration::from_millis(100);
        }
    });
}

#[test]
fn while_not_ready_one_line_tells_every_step_of_the_way_out() {
    // Who has only the serial console must see from one line which step is missing.
    with_agent(&[], |agent, nic| {
        nic.link = outpost::nic::Link::Down;
        let mut line = |nic: &mut AgentNic, seconds: i64| {
            let now = start() + Duration::from_secs(seconds as u64);
            agent.poll(now, nic);
            let mut buffer = [0; 4096];
            let mut room = &mut buffer[..];
            agent.console(now, &mut room);
            let left = room.len();
            let text = String::from_utf8_lossy(&buffer[..4096 - left]).into_owned();
            text.lines().find(|line| line.starts_with("not ready:")).map(str::to_owned)
        };
        assert_eq!(line(nic, 9), None, "every 10 s");
        let told = line(nic, 11).expect("a line");
        let steps = "not ready: link down, address 10.1.0.50/24 as configured, gateway 10.1.0.1 (no ARP answer yet), \
                     DNS none, NTP 0 of 1 answered, collector none. The network card has no link.";
        assert!(told.starts_with(steps), "{told}");
        let router = Route { from: Ipv4Address::new(10, 1, 0, 1), ..PEER };
        nic.arrive(frames::arp(router, ArpOperation::Reply));
        let told = line(nic, 22).expect("a line");
        assert!(told.contains(", gateway 10.1.0.1 at 02:00:00:00:00:14,"), "{told}");
        assert_eq!(line(nic, 23), None, "not more often");
    });
}

#[test]
fn a_discover_that_nobody_heard_is_repeated_after_4_s() {
    // A bridge that does not forward yet swallows the first one. With smoltcp's own 10 s a boot under libvirt took 13 s.
    let by_dhcp = |config: &mut Config| config.network = Network::Dhcp;
    with_configured(by_dhcp, &[], |agent, nic| {
        let mut discovers = |from_ms: u64, until_ms: u64| {
            let at = |ms| start() + Duration::from_millis(ms);
            let sent = run(agent, nic, at(from_ms), at(until_ms));
            // UDP to port 67 in a frame without options.
            sent.iter().filter(|frame| frame.get(23) == Some(&17) && frame.get(36..38) == Some(&[0, 67])).count()
        };
        assert_eq!(
            [discovers(0, 3_900), discovers(3_900, 4_200), discovers(4_200, 7_900), discovers(7_900, 8_300)],
            [1, 1, 0, 1]
        );
    });
}
