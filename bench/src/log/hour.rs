//! The reference hour: what one agent of a usual fleet records in an hour, the same to the byte in every run.
//!
//! What happens is made here, seeded; what becomes a record is decided by the agent's own log with its volume rules
//! (`outpost::log::Log`), in a region as large as the image's. The mix, which every comparison is made of:
//!
//! | who | how often | what is recorded |
//! |---|---|---|
//! | two HAProxy | every 2 s each, `OPTIONS /` | `http.request`, or `http.requests` where they meet in a second |
//! | six pollers of /livez, /readyz, /metrics | every 10 s each | the same |
//! | visitors of / | ten times 30 within 5 s | the same |
//! | callers with a trace | 120 | `transaction.bound` and `http.request` |
//! | a scan | 300 requests within 10 s, and 24 alone | `http.rejected`, `suppressed` |
//! | the agent's own upkeep | every 10 min | `clock.sync`, `dhcp.bound` |
//! | trouble | the collector restarts, the link flaps, connections are recycled, a server's time is not believed | what they say |
//! | a crash | after 40 min | `panic`, and a second boot with `boot.previous_ended` |
//!
//! What always holds: records are as the agent encodes them, of two boots, in order and without a gap.

use outpost::limits::LOG_REGION;
use outpost::log::{Log, Step};
use outpost_wire::*;
use smoltcp::time::Instant;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// How long it lasts.
const HOUR: u64 = 3600 * SECOND;

/// When the agent crashes, and how long its reset takes.
const CRASH: u64 = 2400 * SECOND;
const RESET: u64 = 80_000;

/// 2026-03-01T12:00:00Z in microseconds: when the hour begins.
pub const BEGIN_UNIX_US: u64 = 1_772_366_400 * SECOND;

/// The routes whose names each boot interns, in the agent's order.
const ROUTES: [&str; 10] =
    ["/", "/livez", "/readyz", "/healthz", "/health", "/status", "/metrics", "/events", "/about", "/config"];

const AGENT: Ip4 = Ip4([10, 20, 0, 15]);
const GATEWAY: Ip4 = Ip4([10, 20, 0, 1]);
const COLLECTOR: Ip4 = Ip4([10, 20, 3, 40]);
const TIME_SERVER: Ip4 = Ip4([10, 20, 0, 3]);

/// The hour's records.
pub struct Hour {
    /// The boot before the crash and the one after it.
    pub boots: [Boot; 2],
    /// Bytes of the log region that they took: whole segments, with their part of its index.
    pub ring_bytes: f64,
}

/// One boot's records.
pub struct Boot {
    /// Its id.
    pub id: u64,
    /// When it began, in microseconds since 1970-01-01 UTC.
    pub unix_us: u64,
    /// The encoded body of each record; the first has seq 1.
    pub bodies: Vec<Vec<u8>>,
}

impl Boot {
    /// Its records with their seqs.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        // What the agent encoded can be read.
        (1..).zip(&self.bodies).filter_map(|(seq, body)| Record::decode_body(seq, body).ok())
    }
}

impl Hour {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.boots.iter().map(|boot| boot.bodies.len()).sum()
    }
}

/// Something that happens to the agent.
enum Happening {
    /// A request is answered.
    Request { method: Method, route: &'static str, status: u16, client: [u8; 4], traced: bool },
    /// A request is refused.
    Rejected { status: u16, client: [u8; 4] },
    /// The agent has something to say.
    Event(Event<'static>),
}

/// Makes the hour.
pub fn reference() -> Hour {
    let mut happenings = pollers();
    happenings.extend(visitors());
    happenings.extend(strangers());
    happenings.extend(upkeep());
    happenings.extend(trouble());
    happenings.sort_by_key(|(at, _)| *at);

    let mut region = vec![0; LOG_REGION];
    let (mut first, mut second) = (Random(11), Random(12));
    let ids = [first.next(), second.next()];
    let panic = Panic {
        message: Text::new("index out of bounds: the len is 64 but the index is 64"),
        location: Text::new("src/http/pool.rs:212"),
        rip: 0x50_4a1c,
        backtrace: first.bytes(),
    };
    let mut log = Log::new(&mut region, ids[0]);
    start(&mut log, None);
    live(&mut log, &happenings, 0, CRASH, &mut first);
    log.emit(moment(CRASH), None, panic);
    let before = bodies(&log);
    drop(log);

    let mut log = Log::new(&mut region, ids[1]);
    let ended = BootPreviousEnded {
        cause: EndCause::Panic,
        last_seq: before.len() as u64,
        salvaged: before.len() as u64,
        torn: 0,
        boot_id: ids[0].to_be_bytes(),
        uptime_s: (CRASH / SECOND) as u32,
        abnormal_ends: 1,
        safe_mode: false,
    };
    start(&mut log, Some(ended));
    live(&mut log, &happenings, CRASH + RESET, HOUR, &mut second);
    let after = bodies(&log);
    let (size, used) = log.size_and_used();
    let ring_bytes = LOG_REGION as f64 * f64::from(used) / f64::from(size);
    let boot = |id, begin, bodies| Boot { id, unix_us: BEGIN_UNIX_US + begin, bodies };
    Hour { boots: [boot(ids[0], 0, before), boot(ids[1], CRASH + RESET, after)], ring_bytes }
}

/// What every boot begins with.
fn start(log: &mut Log<'_>, ended: Option<BootPreviousEnded>) {
    let started = BootStarted {
        version: Text::new("0.1.0"),
        revision: Text::new("7fb84001c2"),
        machine: Text::new("microvm, KVM"),
        memory_bytes: 12 << 20,
        entropy: EntropySource::Cpu,
        config: ConfigSource::Module,
        boot_us: 14_210,
    };
    log.emit(moment(14_210), None, started);
    if let Some(ended) = ended {
        log.emit(moment(14_230), None, ended);
    }
    for route in ROUTES {
        log.name(moment(14_260), route);
    }
    log.emit(moment(19_400), None, lease(4));
    log.emit(moment(19_400), None, NetworkUp { address: AGENT, prefix: 16, gateway: GATEWAY });
    log.emit(moment(41_700), None, connected(1));
    log.emit(moment(58_300), None, sync(58_300, 1_900, 0));
}

/// Lets everything that happens from `begin` to `end` happen to the log of a boot that started at `begin`.
fn live(log: &mut Log<'_>, happenings: &[(u64, Happening)], begin: u64, end: u64, random: &mut Random) {
    let mut transaction = 0;
    for (at, happening) in happenings.iter().filter(|(at, _)| (begin + SECOND..end).contains(at)) {
        let at = moment(at - begin);
        while log.poll_at() <= at {
            log.poll(log.poll_at());
        }
        match happening {
            Happening::Request { method, route, status, client, traced } => {
                transaction += 1;
                let bound = traced.then(|| {
                    let (trace_id, parent_id) = (random.bytes(), random.bytes());
                    TransactionBound { trace_id, parent_id, request_id: Text::new("") }
                });
                let route = log.name(at, route);
                // Most requests come whole and are answered by the poll that sees them.
                let duration_us = if random.below(20) == 0 { 60 + random.below(2_000) as u32 } else { 0 };
                let request =
                    HttpRequest { method: *method, route, status: *status, client: Ip4(*client), duration_us };
                log.http_request(at, transaction, request, bound);
            }
            Happening::Rejected { status, client } => {
                transaction += 1;
                let rejected = HttpRejected { status: *status, client: Ip4(*client) };
                log.emit_limited(at, Some(transaction), rejected);
            }
            Happening::Event(event) => {
                log.emit(at, None, *event);
            }
        }
    }
    let end = moment(end - begin);
    while log.poll_at() <= end {
        log.poll(log.poll_at());
    }
}

/// Those who ask again and again, each with its own clock.
fn pollers() -> Vec<(u64, Happening)> {
    let table: [(Method, &str, u64, [u8; 4]); 8] = [
        (Method::Options, "/", 2, [10, 20, 1, 11]),
        (Method::Options, "/", 2, [10, 20, 1, 12]),
        (Method::Get, "/livez", 10, [10, 20, 1, 21]),
        (Method::Get, "/livez", 10, [10, 20, 1, 22]),
        (Method::Get, "/readyz", 10, [10, 20, 2, 5]),
        (Method::Get, "/readyz", 10, [10, 20, 2, 6]),
        (Method::Get, "/metrics", 10, [10, 20, 4, 9]),
        (Method::Get, "/metrics", 10, [10, 20, 4, 10]),
    ];
    let mut random = Random(1);
    let mut happenings = Vec::new();
    for (method, route, every, client) in table {
        let phase = random.below(every * SECOND);
        for turn in 0..HOUR / (every * SECOND) {
            let at = turn * every * SECOND + phase + random.below(4_000);
            happenings.push((at, Happening::Request { method, route, status: 200, client, traced: false }));
        }
    }
    happenings
}

/// Visitors of the status page, in crowds, and callers whose requests belong to a trace.
fn visitors() -> Vec<(u64, Happening)> {
    let mut random = Random(2);
    let mut happenings = Vec::new();
    for crowd in 0..10 {
        for _ in 0..30 {
            let at = (crowd * 360 + 100) * SECOND + random.below(5 * SECOND);
            let client = [198, 51, 100, random.below(250) as u8 + 1];
            let request = Happening::Request { method: Method::Get, route: "/", status: 200, client, traced: false };
            happenings.push((at, request));
        }
    }
    for _ in 0..120 {
        let request = Happening::Request {
            method: Method::Get,
            route: "/status",
            status: 200,
            client: [10, 20, 5, 77],
            traced: true,
        };
        happenings.push((random.below(HOUR), request));
    }
    happenings
}

/// Broken clients, one at a time, and a scan.
fn strangers() -> Vec<(u64, Happening)> {
    let mut random = Random(3);
    let alone: Vec<u64> = (0..24).map(|_| random.below(HOUR)).collect();
    let scan: Vec<u64> = (0..300).map(|_| 1500 * SECOND + random.below(10 * SECOND)).collect();
    let mut rejected = |at| {
        let client = [203, 0, 113, random.below(8) as u8];
        (at, Happening::Rejected { status: if random.below(4) == 0 { 405 } else { 400 }, client })
    };
    alone.into_iter().chain(scan).map(&mut rejected).collect()
}

/// What the agent does by itself.
fn upkeep() -> Vec<(u64, Happening)> {
    let mut random = Random(4);
    let mut happenings = Vec::new();
    for turn in 1..6 {
        let at = turn * 600 * SECOND + random.below(SECOND);
        let (error, step) = (900 + random.below(1_500) as u32, random.below(400));
        happenings.push((at, Happening::Event(sync(at, error, step).into())));
        happenings.push((at + 90 * SECOND, Happening::Event(lease(2).into())));
    }
    happenings
}

/// What goes wrong in an hour in which little does.
fn trouble() -> Vec<(u64, Happening)> {
    let lost = CollectorLost { address: COLLECTOR, port: 7600, reason: SessionEnd::Closed, attempts: 0 };
    let link = NetworkDown { reason: DownReason::NoLink };
    let up = NetworkUp { address: AGENT, prefix: 16, gateway: GATEWAY };
    let clock = ClockRejected { server: TIME_SERVER, reason: ClockRefusal::Unsynchronised };
    let recycled = HttpRecycled { half_open: 212, idle: 0, refused: 0 };
    let line = "received an incoming ACK in SYN-SENT that does not match";
    let line = DependencyLog { level: 2, target: Text::new("smoltcp::socket::tcp"), text: Text::new(line) };
    let events: [(u64, Event<'static>); 9] = [
        (700, clock.into()),
        (1200, lost.into()),
        (1204, connected(1_500).into()),
        (1503, recycled.into()),
        (1506, recycled.into()),
        (1800, link.into()),
        (1802, up.into()),
        (1803, line.into()),
        (3100, clock.into()),
    ];
    events.into_iter().map(|(second, event)| (second * SECOND, Happening::Event(event))).collect()
}

fn sync(mono_us: u64, error_us: u32, step_us: u64) -> ClockSync {
    let unix_us = BEGIN_UNIX_US + mono_us;
    ClockSync { unix_us, error_us, stratum: 3, server: TIME_SERVER, step_us, backwards: step_us % 2 == 1 }
}

fn lease(waited_ms: u32) -> DhcpBound {
    DhcpBound { address: AGENT, prefix: 16, server: GATEWAY, router: GATEWAY, dns_servers: 2, waited_ms }
}

fn connected(resume_seq: u64) -> CollectorConnected {
    CollectorConnected { address: COLLECTOR, port: 7600, resume_seq, keyed: true }
}

fn moment(us: u64) -> Instant {
    Instant::from_micros(us.cast_signed())
}

/// All records of the log's boot.
fn bodies(log: &Log<'_>) -> Vec<Vec<u8>> {
    let mut reader = log.reader(1);
    let mut bodies = Vec::new();
    while let Step::Record(seq, body) = log.read(&mut reader) {
        bodies.push(body.to_vec());
        reader.pass(seq);
    }
    bodies
}

/// SplitMix64: the same numbers everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}
