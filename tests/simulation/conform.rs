//! The table of HTTP/1.1 (tests/support/conformance.rs) against the agent, in virtual time: a TCP client of smoltcp on
//! one end of a cable, the agent on the other, and nothing between them.

use crate::alone::{AGENT, AGENT_MAC, start, with_agent, with_checks};
use crate::answer::{Answer, Body, take_answer};
use crate::conformance::{Case, cases};
use crate::nic::AgentNic;
use crate::station::Station;
use outpost::agent::{Agent, Wake};
use outpost::http::routes::Route;
use outpost::limits;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

/// Steps of one wait at most: more is a pair that never comes to rest.
const STEPS: usize = 200_000;

/// Longer than everything that two hosts do by themselves on a good network, shorter than every deadline.
const SOON: Duration = Duration::from_millis(300);

/// Inputs up to this long are also sent byte by byte.
const SLOW: usize = 700;

/// A client on a cable to the agent.
pub struct Pair<'p, 'a> {
    agent: &'p mut Agent<'a>,
    nic: &'p mut AgentNic,
    station: Station,
    handle: SocketHandle,
    pub now: Instant,
    port: u16,
    received: Vec<u8>,
    /// The client takes nothing.
    deaf: bool,
}

impl<'p, 'a> Pair<'p, 'a> {
    pub fn new(agent: &'p mut Agent<'a>, nic: &'p mut AgentNic) -> Pair<'p, 'a> {
        let address = Ipv4Cidr::new(Ipv4Address::new(10, 1, 0, 20), 24);
        let mut station = Station::new(EthernetAddress([2, 0, 0, 0, 0, 20]), address, None, 7, start());
        let handle = station.tcp_socket(64 * 1024, 64 * 1024);
        assert_eq!(nic.mac, AGENT_MAC);
        Pair { agent, nic, station, handle, now: start(), port: 20_000, received: Vec::new(), deaf: false }
    }

    pub fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.station.sockets.get_mut(self.handle)
    }

    /// Lets this much time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..STEPS {
            let wake = self.agent.poll(self.now, self.nic);
            let to_station = self.nic.take_sent();
            self.station.nic.rx.extend(to_station);
            self.station.poll(self.now);
            let to_agent = core::mem::take(&mut self.station.nic.tx);
            let quiet = to_agent.is_empty();
            to_agent.into_iter().for_each(|frame| self.nic.arrive(frame));
            self.receive();
            let next = match (quiet, wake) {
                (false, _) => self.now,
                (true, Wake::At(at)) => self.station.wake(self.now).map_or(at, |other| other.min(at)),
                (true, _) => self.station.wake(self.now).unwrap_or(until),
            };
            let next = next.max(self.now + Duration::from_micros(1));
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
        }
        panic!("the pair does not come to rest at {}", self.now);
    }

    fn receive(&mut self) {
        if self.deaf {
            return;
        }
        let socket = self.station.sockets.get_mut::<tcp::Socket>(self.handle);
        let received = &mut self.received;
        while socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes))).is_ok() && socket.can_recv() {}
    }

    /// Opens a new connection; the one before is forgotten.
    pub fn open(&mut self) {
        self.socket().abort();
        self.pass(Duration::from_micros(10));
        self.received.clear();
        self.port += 1;
        let socket = self.station.sockets.get_mut::<tcp::Socket>(self.handle);
        socket.set_nagle_enabled(false);
        socket.connect(self.station.interface.context(), (AGENT, 80), self.port).unwrap();
        self.pass(Duration::from_millis(1));
        assert_eq!(self.socket().state(), State::Established);
    }

    /// Sends all of it, at most `piece` bytes in a segment.
    pub fn send(&mut self, bytes: &[u8], piece: usize) {
        for bytes in bytes.chunks(piece) {
            // A server that has closed may be told more; one that has reset cannot.
            if self.socket().can_send() {
                assert_eq!(self.socket().send_slice(bytes), Ok(bytes.len()), "64 KiB of room");
            }
            self.pass(Duration::from_micros(5));
        }
    }

    fn take(&mut self, body: Body) -> Result<Answer, String> {
        take_answer(&mut self.received, body)?.ok_or_else(|| {
            let rest = String::from_utf8_lossy(&self.received).into_owned();
            format!("no answer, but {rest:?} in state {}", self.station.sockets.get::<tcp::Socket>(self.handle).state())
        })
    }

    /// One good request on this connection, and its answer.
    fn is_alive(&mut self) -> Result<(), String> {
        self.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
        self.pass(SOON);
        let answer = self.take(Body::Ok)?;
        Body::Ok.check(&answer)?;
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    }

    /// Sends a case and compares what comes back.
    fn run(&mut self, case: &Case, piece: usize) -> Result<(), String> {
        self.open();
        self.send(&case.input, piece);
        self.pass(SOON);
        let mut end = None;
        for word in case.expected.split_ascii_whitespace() {
            let (digits, body) = word.strip_suffix('h').map_or((word, Body::Any), |digits| (digits, Body::Head));
            match digits.parse::<u16>() {
                Err(_) => end = Some(word),
                Ok(status) => {
                    let answer = self.take(body)?;
                    if answer.status != status {
                        return Err(format!("status {} instead of {status}", answer.status));
                    }
                    answer.demands()?;
                    // OPTIONS says nothing, HEAD neither.
                    if status == 200 && !matches!(&answer.body[..], b"ok" | b"") {
                        return Err(format!("body {:?}", String::from_utf8_lossy(&answer.body)));
                    }
                }
            }
        }
        if !self.received.is_empty() {
            return Err(format!("and then {:?}", String::from_utf8_lossy(&self.received)));
        }
        match (end, self.socket().state()) {
            (None, State::Established) => self.is_alive().map_err(|problem| format!("the next request: {problem}")),
            (Some("close"), State::CloseWait) => Ok(()),
            (Some("wait"), State::Established) => self.waits(),
            (end, state) => Err(format!("the connection is {state} instead of {}", end.unwrap_or("open"))),
        }
    }

    /// The deadline for a head passes: 408, and the end.
    fn waits(&mut self) -> Result<(), String> {
        let began = self.now;
        self.pass(limits::HEAD_TIME - Duration::from_secs(1));
        if !self.received.is_empty() || self.socket().state() != State::Established {
            return Err(format!("it did not wait: {:?}", String::from_utf8_lossy(&self.received)));
        }
        self.pass(Duration::from_secs(2));
        let answer =
            self.take(Body::Any).map_err(|problem| format!("{} after its last byte: {problem}", self.now - began))?;
        match (answer.status, self.socket().state()) {
            (408, State::CloseWait) => answer.demands(),
            (status, state) => Err(format!("status {status} and {state} instead of 408 and CLOSE-WAIT")),
        }
    }
}

#[test]
fn every_case_whole_and_byte_by_byte() {
    // Each line of the table is a hole that servers have had, or a client that was turned away.
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    with_agent(&[], |agent, nic| {
        let mut pair = Pair::new(agent, nic);
        let mut wrong = Vec::new();
        for case in &cases {
            for piece in [100_000, 1, 7] {
                if piece == 1 && case.input.len() > SLOW {
                    continue;
                }
                let Err(problem) = pair.run(case, piece) else { continue };
                let start = String::from_utf8_lossy(&case.input[..case.input.len().min(120)]);
                let (rfc, what) = (case.rfc, case.what);
                wrong.push(format!("RFC {rfc}: {what}, {piece} bytes at a time: {problem}\n    {start:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n  {}", wrong.len(), cases.len(), wrong.join("\n  "));
    });
}

#[test]
fn a_request_across_the_rings_end() {
    // smoltcp shows the ring up to its end only: a server that waits for the rest hangs after 48 requests.
    with_agent(&[], |agent, nic| {
        let mut pair = Pair::new(agent, nic);
        pair.open();
        for number in 0..300 {
            let request = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(number % 61));
            pair.send(request.as_bytes(), usize::MAX);
            pair.pass(Duration::from_millis(20));
            let answer = pair.take(Body::Ok).unwrap_or_else(|problem| panic!("request {number}: {problem}"));
            assert_eq!(answer.status, 200);
        }
    });
}

#[test]
fn idle_connections_and_deaf_clients_are_given_up_in_time() {
    // Each would keep its place, and the deaf one its answer buffers, for ever.
    with_agent(&[], |agent, nic| {
        let mut pair = Pair::new(agent, nic);
        pair.open();
        pair.is_alive().unwrap();
        pair.pass(limits::IDLE_TIME - Duration::from_secs(2));
        assert_eq!(pair.socket().state(), State::Established, "closed too early");
        pair.pass(Duration::from_secs(3));
        assert_eq!((pair.socket().state(), pair.received.as_slice()), (State::CloseWait, &b""[..]));

        pair.open();
        pair.deaf = true;
        pair.send(&b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(12), usize::MAX);
        // It stops within an answer, or before one that finds no room: the deadline is that of an answer or of a head.
        pair.pass(limits::HEAD_TIME - Duration::from_secs(2));
        assert_eq!(pair.socket().state(), State::Established, "given up too early");
        pair.pass(limits::SEND_TIME - limits::HEAD_TIME + Duration::from_secs(5));
        assert_eq!(pair.socket().state(), State::Closed, "not given up");

        pair.deaf = false;
        pair.open();
        pair.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
        pair.pass(SOON);
        let text = String::from_utf8(pair.take(Body::Any).unwrap().body).unwrap();
        // What the answer takes itself.
        let used = text.lines().find_map(|line| line.strip_prefix("outpost_http_answer_buffers_used "));
        assert_eq!(used, Some(Route::Metrics.buffers(0).to_string().as_str()), "answer buffers in use");
    });
}

#[test]
fn many_who_look_at_the_page_at_once_all_see_it() {
    // An incident brings everybody to the status page: a buffer each would be enough for 16 of them.
    const CROWD: usize = 40;
    // The page of these is more than a connection's send buffer takes.
    let check = |number: u8| {
        format!(
            r#"{{"name": "backup-{number}", "owner": "o", "impact": "i", "runbook": "r", "heartbeat": {{"period_s": 60, "grace_s": 9, "token_sha256": "{}"}}}}"#,
            format!("{number:02x}").repeat(32)
        )
    };
    let document = format!(r#"{{"checks": [{}]}}"#, (1..=20).map(check).collect::<Vec<_>>().join(","));
    with_checks(&document, |agent, nic| {
        let mut pair = Pair::new(agent, nic);
        // From here on our MAC addresses are known.
        pair.open();
        // Each takes so little at a time that all answers are under way together.
        let crowd: Vec<_> = (0..CROWD).map(|_| pair.station.tcp_socket(600, 600)).collect();
        for (port, handle) in (30_000..).zip(&crowd) {
            let socket = pair.station.sockets.get_mut::<tcp::Socket>(*handle);
            socket.connect(pair.station.interface.context(), (AGENT, 80), port).unwrap();
        }
        pair.pass(Duration::from_secs(2));
        for handle in &crowd {
            let socket = pair.station.sockets.get_mut::<tcp::Socket>(*handle);
            socket.send_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        let mut received = vec![Vec::new(); CROWD];
        for _ in 0..500 {
            pair.pass(Duration::from_millis(10));
            for (handle, received) in crowd.iter().zip(&mut received) {
                let socket = pair.station.sockets.get_mut::<tcp::Socket>(*handle);
                let _ = socket.recv(|bytes| (bytes.len(), received.extend_from_slice(bytes)));
            }
        }
        let pages: Vec<Answer> = received
            .iter_mut()
            .map(|received| take_answer(received, Body::Any).unwrap().expect("a whole page"))
            .collect();
        assert!(pages.iter().all(|page| page.status == 200 && page.body == pages[0].body));
        let len = limits::ANSWER_HEAD + pages[0].body.len();
        assert!(len > limits::CONNECTION_TX, "a page of {len} bytes is sent at once, and nothing is shared");

        // A moment later it is another one, and all buffers are free.
        pair.open();
        pair.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
        pair.pass(SOON);
        assert_ne!(pair.take(Body::Any).unwrap().body, pages[0].body);
        pair.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", usize::MAX);
        pair.pass(SOON);
        let text = String::from_utf8(pair.take(Body::Any).unwrap().body).unwrap();
        let used = text.lines().find_map(|line| line.strip_prefix("outpost_http_answer_buffers_used "));
        assert_eq!(used, Some(Route::Metrics.buffers(20).to_string().as_str()), "answer buffers in use");
    });
}
