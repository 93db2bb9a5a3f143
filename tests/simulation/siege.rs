//! A siege: an attacker takes all it can get, and a poller asks every 20 ms and must be answered within 100 ms, always.
//!
//! Time is exact here: a millisecond of the attacker's and the poller's is a millisecond of the agent's. The agent's
//! table has room for 1,024 connections.

use crate::alone::{AGENT, AGENT_MAC, start, with_agent};
use crate::frames::{self, Route};
use crate::nic::AgentNic;
use outpost::agent::{Agent, Wake};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address, TcpControl, TcpRepr, TcpSeqNumber};

/// What both promise: the answer's time, from SYN to the first byte of the answer.
const PROMISE: Duration = Duration::from_millis(100);

/// How often the poller asks.
const EVERY: Duration = Duration::from_millis(20);

/// How far time goes in one step, as on a network with this delay.
const STEP: Duration = Duration::from_millis(1);

/// Polls of the agent in one step at most.
const POLLS: usize = 200;

/// Longer than the grace of a half-open connection, several times over.
const LENGTH: Duration = Duration::from_secs(4);

/// What an attacker does.
#[derive(Clone, Copy)]
struct Attack {
    /// Connections that it opens at once.
    at_once: u16,
    /// Handshakes that it begins in each millisecond from then on.
    each_ms: u16,
    /// Whether it completes these, too.
    completes: bool,
    /// What it says on each connection that it completes.
    says: &'static [u8],
    /// How much it would take in return.
    window: u16,
    /// What the poller asks for meanwhile.
    path: &'static str,
}

struct Siege<'s, 'a> {
    agent: &'s mut Agent<'a>,
    nic: &'s mut AgentNic,
    now: Instant,
    attack: Attack,
    /// Handshakes that the attacker has begun; the last one's number makes its address and port.
    begun: u32,
    /// The poller's port, and since when it waits for its answer.
    port: u16,
    asked: Option<Instant>,
    answers: Vec<Duration>,
}

const POLLER: Ipv4Address = Ipv4Address::new(10, 1, 0, 30);

fn route(from: Ipv4Address) -> Route {
    Route { from_mac: EthernetAddress([2, 0, 0, 0, 0, from.octets()[3]]), to_mac: AGENT_MAC, from, to: AGENT }
}

fn segment(src_port: u16, control: TcpControl, server: Option<TcpSeqNumber>, window: u16, data: &[u8]) -> TcpRepr<'_> {
    TcpRepr {
        src_port,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(if server.is_some() { 1001 } else { 1000 }),
        ack_number: server.map(|number| number + 1),
        window_len: window,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: data,
    }
}

impl Siege<'_, '_> {
    /// The attacker's addresses are few, its ports are many.
    fn attacker(number: u32) -> (Ipv4Address, u16) {
        (Ipv4Address::new(10, 1, 0, 200 + (number / 50_000) as u8), 10_000 + (number % 50_000) as u16)
    }

    fn begin(&mut self) {
        let (from, port) = Siege::attacker(self.begun);
        self.begun += 1;
        self.nic.arrive(frames::syn(route(from), port, 80));
    }

    /// One step: what the agent was sent a step ago is answered now.
    fn step(&mut self, begin: u16) {
        for _ in 0..begin {
            self.begin();
        }
        if self.asked.is_none() && self.now.total_millis() % EVERY.total_millis() as i64 == 0 {
            self.port = self.port.wrapping_add(1).max(1024);
            self.asked = Some(self.now);
            self.nic.arrive(frames::syn(route(POLLER), self.port, 80));
        }
        let until = self.now + STEP;
        for polls in 0.. {
            assert!(polls < POLLS, "the agent spins at {}", self.now);
            match self.agent.poll(self.now, self.nic) {
                Wake::At(at) if at < until => self.now = at.max(self.now + Duration::from_micros(1)),
                _ => break,
            }
        }
        self.now = until;
        for frame in self.nic.take_sent() {
            self.receive(&frame);
        }
        if let Some(asked) = self.asked {
            assert!(self.now - asked <= PROMISE, "at {} the poller has waited since {asked}", self.now);
        }
    }

    fn receive(&mut self, frame: &[u8]) {
        let look = |segment: &smoltcp::wire::TcpPacket<&[u8]>| {
            let opens = segment.syn() && segment.ack();
            (opens, segment.rst(), segment.seq_number(), segment.payload().starts_with(b"HTTP/1.1 200 "))
        };
        if let Some((opens, refused, number, answered)) = frames::tcp_to(frame, self.port, look)
            && frame[30..34] == POLLER.octets()
        {
            assert!(!refused, "the poller was reset at {}", self.now);
            if opens {
                let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.attack.path);
                let data = segment(self.port, TcpControl::Psh, Some(number), 64_000, request.as_bytes());
                self.nic.arrive(frames::tcp(route(POLLER), &data));
            } else if answered && let Some(asked) = self.asked.take() {
                self.answers.push(self.now - asked);
                // As HAProxy ends its checks.
                let mut end = segment(self.port, TcpControl::Rst, Some(number), 0, b"");
                end.seq_number = TcpSeqNumber(1001) + 27 + self.attack.path.len();
                self.nic.arrive(frames::tcp(route(POLLER), &end));
            }
            return;
        }
        let port = u16::from_be_bytes([frame[36], frame[37]]);
        let Some((true, _, number, _)) = frames::tcp_to(frame, port, look) else { return };
        let to = Ipv4Address::new(frame[30], frame[31], frame[32], frame[33]);
        let held = u32::from(port - 10_000) < u32::from(self.attack.at_once) && to.octets()[3] == 200;
        if held || self.attack.completes {
            let data = segment(port, TcpControl::Psh, Some(number), self.attack.window, self.attack.says);
            self.nic.arrive(frames::tcp(route(to), &data));
        }
    }
}

/// Runs an attack; how long the poller's answers took.
fn besiege(attack: Attack) {
    with_agent(&[], |agent, nic| {
        let mut siege =
            Siege { agent, nic, now: start(), attack, begun: 0, port: 1024, asked: None, answers: Vec::new() };
        while siege.begun < u32::from(attack.at_once) {
            siege.step(20);
        }
        let until = siege.now + LENGTH;
        while siege.now < until {
            siege.step(attack.each_ms);
        }
        let worst = siege.answers.iter().max().copied().unwrap_or_default();
        println!("{} handshakes begun, {} answers, the slowest after {worst}", siege.begun, siege.answers.len());
        assert!(siege.answers.len() as u64 >= LENGTH.total_millis() / EVERY.total_millis() - 5);
    });
}

/// Connections that say nothing.
const SILENT: Attack =
    Attack { at_once: 1000, each_ms: 0, completes: false, says: b"", window: 64_000, path: "/livez" };

#[test]
fn a_thousand_idle_and_a_thousand_half_open() {
    // What Hermit dies of: they cost an attacker nothing, and the table has room for 1,024.
    besiege(Attack { each_ms: 1, ..SILENT });
}

#[test]
fn a_flood_of_handshakes() {
    // Ten times as many a second as the table has room for.
    besiege(Attack { each_ms: 10, ..SILENT });
}

#[test]
fn a_flood_of_idle_connections() {
    // Completed, so that no half-open connection gives way for them.
    besiege(Attack { each_ms: 5, completes: true, ..SILENT });
}

#[test]
fn heads_that_never_end() {
    // Slowloris: each has begun a request, so none of them is idle.
    besiege(Attack { at_once: 1024, each_ms: 2, completes: true, says: b"GET /livez HTTP/1.1\r\nX: ", ..SILENT });
}

/// Seven requests: more answers than a send buffer takes.
const UNREAD: &[u8] = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn answers_that_are_never_taken() {
    // Each waits for room that never comes, so none of them is idle.
    besiege(Attack { at_once: 1024, each_ms: 2, completes: true, says: UNREAD, window: 0, ..SILENT });
}

#[test]
fn rendered_answers_that_are_never_taken() {
    // There are 16 shared buffers; whoever holds them all keeps everybody else from /status, /metrics and the page.
    let says = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    besiege(Attack { at_once: 100, each_ms: 1, completes: true, says, window: 0, path: "/metrics" });
}
