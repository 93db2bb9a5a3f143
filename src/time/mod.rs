//! Wall time: asked from up to four NTP servers, believed with an error, never needed.
//!
//! Monotonic time comes in with every poll and never jumps; records carry nothing else. What is kept here is an
//! estimate of what UTC was at one moment of it, and how far off that may be. Each new one is told by a `clock.sync`
//! record, from which the collector gives every record of the boot its UTC, those before it included.
//!
//! The servers are asked one by one, each on its own schedule. Every answer gives an interval that should hold the true
//! time; the estimate is the narrowest of those that the most servers agree on (Marzullo's algorithm, RFC 5905,
//! section 11.2.1), so that one server that lies or is broken is outvoted by two that do not.

pub mod sntp;
pub mod utc;

use crate::log::Log;
use crate::random::Random;
use core::net::Ipv4Addr;
use heapless::Vec;
use outpost_wire::{ClockLost, ClockRefusal, ClockRejected, ClockSync, Ip4};
use smoltcp::socket::udp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint};
use sntp::Refusal;

/// Servers that are asked.
pub const SERVERS: usize = crate::limits::TIME_SERVERS;

const PORT: u16 = 123;

/// An answer is awaited this long.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The first [`QUICK`] requests follow each other this soon after a timeout, as NTP's initial burst does (RFC 5905,
/// section 7.3).
const RETRY: Duration = Duration::from_secs(2);

const QUICK: u32 = 4;

/// Then, up to the request of this number, a server that was never believed is sought every 16 s, timeout included: not
/// more often than RFC 4330, section 10, allows, and soon enough for a network that has just come up.
const SEEK: Duration = Duration::from_secs(14);

const SEEKING: u32 = 20;

/// A server that answers is asked this often. RFC 4330, section 10: at least 15 s, a minute is polite.
const INTERVAL: Duration = Duration::from_secs(64);

/// A server that said RATE is asked this often.
const SLOW_INTERVAL: Duration = Duration::from_secs(1024);

/// An answer counts this long.
const FRESH: Duration = Duration::from_secs(3 * 64 + 8);

/// The clock is told to be lost when it has not been confirmed for this long.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// An estimate is told again at least this often, so that the drift of the oscillator can be followed.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// Drift of an oscillator that nobody disciplines: 2^-16, about 15 parts in a million (RFC 5905: PHI).
const DRIFT_SHIFT: u32 = 16;

/// What UTC was at one moment of monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The moment.
    pub at: Instant,
    /// Microseconds since 1970-01-01 UTC.
    pub unix_us: u64,
    /// How far off that may be, in microseconds.
    pub error_us: u64,
    /// Stratum of the server it is from.
    pub stratum: u8,
    /// That server.
    pub server: Ipv4Addr,
}

impl Estimate {
    /// The estimate carried on to another moment: the error grows with the drift in between.
    pub fn carried_to(&self, now: Instant) -> Estimate {
        let passed = now.total_micros() - self.at.total_micros();
        Estimate {
            at: now,
            unix_us: self.unix_us.saturating_add_signed(passed),
            error_us: self.error_us + (passed.unsigned_abs() >> DRIFT_SHIFT),
            ..*self
        }
    }

    /// UTC minus monotonic time, in microseconds: the same number whenever it is asked.
    pub fn offset(&self) -> i64 {
        (self.unix_us as i64).wrapping_sub(self.at.total_micros())
    }
}

/// One server, as answers show it.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its last answer that was believed.
    pub sample: Option<Estimate>,
    /// Requests sent to it.
    pub asked: u32,
    /// Answers of it that were believed.
    pub believed: u32,
    /// It said that it will never answer.
    pub denied: bool,
    /// How long its last answer that was believed was on the way, both ways, without the time it took there.
    pub delay: Duration,
    interval: Duration,
    next: Instant,
    /// The request on its way: its nonce and when it was sent.
    waiting: Option<(u64, Instant)>,
}

impl Server {
    /// How it stands, in a word for people.
    pub fn state(&self, now: Instant) -> &'static str {
        match self {
            Server { denied: true, .. } => "denied",
            server if server.answers(now) => "answers",
            Server { asked: 0, .. } => "not_asked",
            Server { sample: None, waiting: Some(_), asked: 1, .. } => "waiting",
            _ => "silent",
        }
    }

    fn answers(&self, now: Instant) -> bool {
        self.sample.is_some_and(|sample| now - sample.at < FRESH)
    }

    /// When it is asked next, if it does not answer before.
    pub fn next(&self) -> Instant {
        self.waiting.map_or(self.next, |(_, sent)| sent + TIMEOUT)
    }

    /// How long to wait after a request without an answer.
    fn after_silence(&self) -> Duration {
        match self.asked {
            _ if self.interval > INTERVAL => self.interval,
            0..QUICK => RETRY,
            QUICK..SEEKING if self.believed == 0 => SEEK,
            _ => INTERVAL,
        }
    }
}

/// The client and the clock it keeps.
pub struct Time {
    servers: Vec<Server, SERVERS>,
    estimate: Option<Estimate>,
    told: Option<(Instant, Estimate)>,
    /// Since when no answer has been believed; `None` once that was told.
    alone_since: Option<Instant>,
    /// UTC of moment zero, as the first estimate had it: it does not move when later ones correct it.
    boot_unix_us: Option<i64>,
    /// By how much the last answer moved UTC, in microseconds.
    step_us: i64,
    random: Random,
}

impl Time {
    /// A clock that knows nothing. `seed` makes requests unguessable.
    pub fn new(servers: &[Ipv4Addr], seed: u64, now: Instant) -> Time {
        let mut time = Time {
            servers: Vec::new(),
            estimate: None,
            told: None,
            alone_since: Some(now),
            boot_unix_us: None,
            step_us: 0,
            random: Random::new(seed),
        };
        time.set_servers(servers, now);
        time
    }

    /// Asks these servers from now on (the first [`SERVERS`] of them). What is known of one that was asked before stays.
    pub fn set_servers(&mut self, servers: &[Ipv4Addr], now: Instant) {
        if self.servers.iter().map(|server| server.address).eq(servers.iter().copied().take(SERVERS)) {
            return;
        }
        self.alone_since = Some(now);
        let known = core::mem::take(&mut self.servers);
        let stays = |address| known.iter().find(|server| server.address == address).copied();
        let fresh = |address| Server {
            address,
            sample: None,
            asked: 0,
            believed: 0,
            denied: false,
            delay: Duration::ZERO,
            interval: RETRY,
            next: now,
            waiting: None,
        };
        let servers = servers.iter().take(SERVERS);
        self.servers = servers.map(|&address| stays(address).unwrap_or_else(|| fresh(address))).collect();
    }

    /// Whether each of the servers answers.
    pub fn all_answer(&self, now: Instant) -> bool {
        self.servers.iter().all(|server| server.answers(now))
    }

    /// Monotonic time stood still while UTC went on: nothing that was believed holds, and all servers are asked at once.
    pub fn forget(&mut self, now: Instant) {
        (self.estimate, self.alone_since) = (None, Some(now));
        for server in &mut self.servers {
            (server.sample, server.waiting, server.asked, server.interval, server.next) = (None, None, 0, RETRY, now);
        }
    }

    /// The servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// What UTC is now; `None` as long as no server has been believed.
    pub fn now(&self, now: Instant) -> Option<Estimate> {
        self.estimate.map(|estimate| estimate.carried_to(now))
    }

    /// Microseconds since 1970-01-01 UTC: as servers say, else as the machine does.
    pub fn unix_us(&self, now: Instant, wall: Option<&crate::facts::WallTime>) -> Option<u64> {
        let synchronised = self.now(now).map(|time| time.unix_us);
        synchronised.or_else(|| {
            let wall = wall?;
            Some(wall.unix_us.saturating_add_signed(now.total_micros() - wall.at.total_micros()))
        })
    }

    /// How far off UTC may be now, in microseconds; `None` as long as no server has been believed.
    pub fn error_us(&self, now: Instant) -> Option<u64> {
        self.now(now).map(|estimate| estimate.error_us)
    }

    /// What UTC is now by the word of all servers but this one.
    pub fn without(&self, server: Ipv4Addr, now: Instant) -> Option<Estimate> {
        agreed(&self.samples(now, Some(server)))
    }

    /// When the clock was last confirmed.
    pub fn last_sync(&self) -> Option<Instant> {
        self.estimate.map(|estimate| estimate.at)
    }

    /// How far off UTC was at that moment, at most, in microseconds.
    pub fn confirmed_error_us(&self) -> Option<u64> {
        self.estimate.map(|estimate| estimate.error_us)
    }

    /// By how much the last answer that was believed moved UTC, in microseconds; 0 at the first.
    pub fn step_us(&self) -> i64 {
        self.step_us
    }

    /// What UTC was at moment zero of this boot, in microseconds since 1970: as the first answer that was believed had
    /// it, and the same for the whole boot.
    pub fn boot_unix_us(&self) -> Option<i64> {
        self.boot_unix_us
    }

    /// Whether an answer was believed within the last minutes.
    pub fn is_confirmed(&self, now: Instant) -> bool {
        self.estimate.is_some_and(|estimate| now - estimate.at < LOST_AFTER)
    }

    /// The servers whose answers are awaited.
    pub fn awaited(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.servers.iter().filter(|server| server.waiting.is_some()).map(|server| server.address)
    }

    /// Reads answers and asks who is due, on a socket of its own; returns when there is more to do if no frame comes
    /// before.
    pub fn poll(&mut self, now: Instant, socket: &mut udp::Socket<'_>, up: bool, log: &mut Log<'_>) -> Option<Instant> {
        if self.servers.is_empty() {
            return None;
        }
        if !socket.is_open() {
            // The port is in the dynamic range (RFC 6335, section 6) and not 0: binding cannot fail.
            let port = 49152 + (self.random.number() % 16384) as u16;
            let _ = socket.bind(port);
        }
        while let Ok((bytes, from)) = socket.recv() {
            let IpAddress::Ipv4(address) = from.endpoint.addr;
            if from.endpoint.port == PORT {
                self.take_in(now, address, bytes, log);
            }
        }
        while let Some((server, request)) = up.then(|| self.ask(now)).flatten() {
            let to = IpEndpoint::new(IpAddress::Ipv4(server), PORT);
            // A full send buffer (no ARP answer yet) loses the request; it is sent again after its timeout.
            let _ = socket.send_slice(&request, to);
        }
        self.tell_lost(now, log);
        let due = self.servers.iter().filter(|server| !server.denied).map(|server| match server.waiting {
            Some((_, sent)) => sent + TIMEOUT,
            None => server.next.max(now),
        });
        let lost = self.alone_since.map(|since| since + LOST_AFTER);
        due.chain(lost).min()
    }

    /// The next request that is due, and for whom. A request without an answer is given up here.
    fn ask(&mut self, now: Instant) -> Option<(Ipv4Addr, [u8; sntp::PACKET])> {
        let nonce = self.random.number();
        for server in self.servers.iter_mut().filter(|server| !server.denied) {
            if let Some((_, sent)) = server.waiting
                && now >= sent + TIMEOUT
            {
                server.waiting = None;
                server.interval = server.after_silence();
                server.next = now + server.interval;
            }
            if server.waiting.is_none() && now >= server.next {
                server.asked = server.asked.saturating_add(1);
                server.waiting = Some((nonce, now));
                return Some((server.address, sntp::request(nonce)));
            }
        }
        None
    }

    fn take_in(&mut self, now: Instant, from: Ipv4Addr, bytes: &[u8], log: &mut Log<'_>) {
        let Some(server) = self.servers.iter_mut().find(|server| server.address == from) else { return };
        let Some((nonce, sent)) = server.waiting else { return };
        let answer = match sntp::parse(bytes, nonce) {
            Ok(answer) => answer,
            Err(refusal) => {
                log.emit_limited(now, None, ClockRejected { server: Ip4(from.octets()), reason: refusal.into() });
                match refusal {
                    // Not the answer to what we asked: the real one may still come.
                    Refusal::Malformed | Refusal::Origin => return,
                    Refusal::Denied => server.denied = true,
                    Refusal::Slower => server.interval = SLOW_INTERVAL,
                    Refusal::Unsynchronised | Refusal::Times | Refusal::Distance => server.interval = INTERVAL,
                }
                server.waiting = None;
                server.next = now + server.interval;
                return;
            }
        };
        let round_trip = (now - sent).total_micros().saturating_sub(answer.sent_us - answer.received_us);
        server.sample = Some(Estimate {
            at: now,
            unix_us: answer.sent_us + round_trip / 2,
            // One more for what whole microseconds cut off.
            error_us: round_trip.div_ceil(2) + answer.root_distance_us + 1,
            stratum: answer.stratum,
            server: from,
        });
        server.delay = Duration::from_micros(round_trip);
        server.waiting = None;
        server.believed = server.believed.saturating_add(1);
        server.interval = server.interval.max(INTERVAL);
        server.next = now + server.interval;
        self.choose(now, log);
    }

    /// What all servers but one say that UTC is now.
    fn samples(&self, now: Instant, without: Option<Ipv4Addr>) -> Vec<Estimate, SERVERS> {
        let servers = self.servers.iter().filter(|server| Some(server.address) != without);
        let samples = servers.filter_map(|server| server.sample);
        samples.filter(|sample| now - sample.at < FRESH).map(|sample| sample.carried_to(now)).collect()
    }

    /// Takes the narrowest sample that the most servers agree on.
    fn choose(&mut self, now: Instant, log: &mut Log<'_>) {
        let samples = self.samples(now, None);
        let Some(chosen) = agreed(&samples) else { return };
        let before = self.now(now);
        self.alone_since = Some(now);
        self.believe(chosen);
        let step = self.step_us;
        let tell = match (self.told, before) {
            (Some((told_at, told)), Some(before)) => {
                told.server != chosen.server
                    || step.unsigned_abs() > before.error_us + chosen.error_us
                    || chosen.error_us < told.error_us / 2
                    || now - told_at >= TELL_EVERY
            }
            _ => true,
        };
        if tell {
            self.told = Some((now, chosen));
            log.emit(
                now,
                None,
                ClockSync {
                    unix_us: chosen.unix_us,
                    error_us: u32::try_from(chosen.error_us).unwrap_or(u32::MAX),
                    stratum: chosen.stratum,
                    server: Ip4(chosen.server.octets()),
                    step_us: step.unsigned_abs(),
                    backwards: step < 0,
                },
            );
        }
    }

    /// Takes this for the time.
    pub(crate) fn believe(&mut self, chosen: Estimate) {
        self.step_us = self.estimate.map_or(0, |before| chosen.offset() - before.offset());
        self.boot_unix_us = self.boot_unix_us.or(Some(chosen.offset()));
        self.estimate = Some(chosen);
    }

    fn tell_lost(&mut self, now: Instant, log: &mut Log<'_>) {
        if self.alone_since.is_some_and(|since| now - since >= LOST_AFTER) {
            self.alone_since = None;
            let servers = self.servers.len() as u8;
            log.emit(now, None, ClockLost { servers, silent_s: LOST_AFTER.secs() as u32 });
        }
    }
}

/// The narrowest of the samples that hold a time which the most samples hold; `None` when three or more servers
/// answered and no two agree.
fn agreed(samples: &[Estimate]) -> Option<Estimate> {
    let holds = |sample: &Estimate, offset: i64| sample.offset().abs_diff(offset) <= sample.error_us;
    // The most-held time can be found at the low end of one of the intervals.
    let votes = |offset: i64| samples.iter().filter(|sample| holds(sample, offset)).count();
    let low_ends = samples.iter().map(|sample| sample.offset().saturating_sub_unsigned(sample.error_us));
    let best = low_ends.max_by_key(|&offset| votes(offset))?;
    if samples.len() > 2 && votes(best) < 2 {
        return None;
    }
    samples.iter().filter(|sample| holds(sample, best)).min_by_key(|sample| sample.error_us).copied()
}

impl From<Refusal> for ClockRefusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => ClockRefusal::Malformed,
            Refusal::Origin => ClockRefusal::Origin,
            Refusal::Unsynchronised => ClockRefusal::Unsynchronised,
            Refusal::Times => ClockRefusal::Times,
            Refusal::Distance => ClockRefusal::Distance,
            Refusal::Slower => ClockRefusal::Rate,
            Refusal::Denied => ClockRefusal::Denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(server: u8, unix_us: u64, error_us: u64) -> Estimate {
        let server = Ipv4Addr::new(10, 0, 0, server);
        Estimate { at: Instant::from_secs(5), unix_us, error_us, stratum: 2, server }
    }

    /// A server at 10.0.0.1 that answers what it is asked with this time, at once.
    struct Fake {
        time: Time,
        log: Log<'static>,
        told: Vec<&'static str, 64>,
        asked: u32,
    }

    impl Fake {
        fn new() -> Fake {
            let region = std::boxed::Box::leak(std::vec![0; 64 * 1024].into_boxed_slice());
            let time = Time::new(&[SERVER], 7, Instant::ZERO);
            Fake { time, log: Log::new(region, 1), told: Vec::new(), asked: 0 }
        }

        /// Asks what is due now and answers by `answer`, a packet changed from a good one.
        fn step(&mut self, now_s: i64, unix_s: u64, answer: impl Fn(&mut [u8; sntp::PACKET])) {
            let now = Instant::from_secs(now_s);
            while let Some((to, request)) = self.time.ask(now) {
                assert_eq!(to, SERVER);
                self.asked += 1;
                let mut packet = [0; sntp::PACKET];
                (packet[0], packet[1]) = (0x24, 3);
                packet[24..32].copy_from_slice(&request[40..]);
                for at in [32, 40] {
                    packet[at..at + 4].copy_from_slice(&((unix_s + 2_208_988_800) as u32).to_be_bytes());
                }
                answer(&mut packet);
                self.time.take_in(now, SERVER, &packet, &mut self.log);
            }
            self.time.tell_lost(now, &mut self.log);
        }

        /// The clock's events since the last call.
        fn events(&mut self) -> std::vec::Vec<outpost_wire::Event<'static>> {
            let mut events = std::vec::Vec::new();
            let mut reader = self.log.reader(self.told.len() as u64 + 1);
            while let crate::log::Step::Record(seq, body) = self.log.read(&mut reader) {
                let record = outpost_wire::Record::decode_body(seq, body).unwrap();
                let bytes = std::boxed::Box::leak(record.fields.to_vec().into_boxed_slice());
                events.push(outpost_wire::Event::decode(record.event, bytes).unwrap());
                let _ = self.told.push("");
                reader.pass(seq);
            }
            events
        }
    }

    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const GOOD: fn(&mut [u8; sntp::PACKET]) = |_| {};

    #[test]
    fn a_step_back_and_a_leap_second_are_told_and_change_no_monotonic_time() {
        // A clock that went back unseen puts the cause of an incident behind its effect.
        let mut fake = Fake::new();
        fake.step(1, 1_700_000_001, GOOD);
        let [outpost_wire::Event::ClockSync(first)] = fake.events()[..] else { panic!("no clock.sync") };
        assert_eq!((first.unix_us, first.step_us, first.stratum), (1_700_000_001_000_000, 0, 3));
        // The server inserts a leap second: UTC is told twice, our time goes back by one second.
        fake.step(65, 1_700_000_064, GOOD);
        let [outpost_wire::Event::ClockSync(leap)] = fake.events()[..] else { panic!("no clock.sync") };
        assert_eq!((leap.step_us, leap.backwards), (1_000_000, true));
        fake.step(129, 1_699_999_128, GOOD);
        let [outpost_wire::Event::ClockSync(back)] = fake.events()[..] else { panic!("no clock.sync") };
        assert_eq!((back.step_us, back.backwards), (1_000_000_000, true));
        assert_eq!(fake.time.now(Instant::from_secs(130)).unwrap().unix_us, 1_699_999_129_000_000);
        // Nothing new is nothing to tell, until ten minutes have passed.
        fake.step(193, 1_699_999_192, GOOD);
        assert!(fake.events().is_empty());
    }

    #[test]
    fn asks_politely_and_obeys() {
        // A client that hammers a public server is blocked by it, and rightly.
        let mut fake = Fake::new();
        (0..3600).for_each(|second| fake.step(second, 1_700_000_000 + second as u64, GOOD));
        assert_eq!(fake.asked, 57, "once, then every 64 s");
        let mut silent = Fake::new();
        (0..3600).for_each(|second| {
            while silent.time.ask(Instant::from_secs(second)).is_some() {
                silent.asked += 1
            }
        });
        assert!((65..75).contains(&silent.asked), "{}", silent.asked);
        let mut slow = Fake::new();
        let rate = |packet: &mut [u8; sntp::PACKET]| {
            packet[1] = 0;
            packet[12..16].copy_from_slice(b"RATE");
        };
        (0..3600).for_each(|second| slow.step(second, 1_700_000_000, rate));
        assert_eq!(slow.asked, 4, "a server that says RATE is asked every 1,024 s");
        let mut denied = Fake::new();
        let deny = |packet: &mut [u8; sntp::PACKET]| {
            packet[1] = 0;
            packet[12..16].copy_from_slice(b"DENY");
        };
        (0..3600).for_each(|second| denied.step(second, 1_700_000_000, deny));
        assert_eq!(denied.asked, 1, "a server that says DENY is never asked again");
    }

    #[test]
    fn a_forged_answer_does_not_displace_the_real_one() {
        // Who can send to us but not see what we ask must not be able to set the clock, or to keep it unset.
        let mut fake = Fake::new();
        let now = Instant::from_secs(1);
        let (_, request) = fake.time.ask(now).unwrap();
        let mut forged = [0; sntp::PACKET];
        (forged[0], forged[1]) = (0x24, 1);
        fake.time.take_in(now, SERVER, &forged, &mut fake.log);
        fake.time.take_in(now, Ipv4Addr::new(10, 0, 0, 9), &forged, &mut fake.log);
        assert!(fake.time.now(now).is_none());
        forged[24..32].copy_from_slice(&request[40..]);
        forged[32..36].copy_from_slice(&0xe000_0000u32.to_be_bytes());
        forged[40..44].copy_from_slice(&0xe000_0000u32.to_be_bytes());
        fake.time.take_in(now, SERVER, &forged, &mut fake.log);
        assert!(fake.time.now(now).is_some());
        assert!(matches!(
            fake.events()[..],
            [outpost_wire::Event::ClockRejected(_), outpost_wire::Event::ClockSync(_)]
        ));
    }

    #[test]
    fn silence_is_told_once() {
        let mut fake = Fake::new();
        fake.step(0, 1_700_000_000, GOOD);
        fake.events();
        for second in 1..2000 {
            let now = Instant::from_secs(second);
            while fake.time.ask(now).is_some() {}
            fake.time.tell_lost(now, &mut fake.log);
        }
        assert!(matches!(fake.events()[..], [outpost_wire::Event::ClockLost(lost)] if lost.silent_s == 600));
    }

    #[test]
    fn two_outvote_a_liar_however_sure_it_is() {
        // A server that is wrong claims the smallest error; believing the narrowest alone would follow it.
        let liar = sample(1, 9_000_000_000, 1);
        let honest = [sample(2, 1_000_000, 900), sample(3, 1_000_500, 700)];
        assert_eq!(agreed(&[liar, honest[0], honest[1]]).unwrap().server.octets()[3], 3);
        assert_eq!(agreed(&[honest[0], liar, honest[1]]).unwrap().server.octets()[3], 3);
        assert_eq!(agreed(&[liar, sample(2, 1_000_000, 9), sample(3, 2_000_000, 9)]), None, "no two agree");
        assert_eq!(agreed(&[liar]).unwrap().server.octets()[3], 1, "one server is all there is");
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn an_estimate_is_carried_both_ways_and_its_error_grows() {
        let then = sample(1, 1_000_000_000, 100);
        let later = then.carried_to(Instant::from_secs(5 + 65_536));
        assert_eq!((later.unix_us, later.error_us), (1_000_000_000 + 65_536_000_000, 100 + 1_000_000));
        assert_eq!(then.carried_to(Instant::from_secs(4)).unix_us, 999_000_000);
        assert_eq!(later.offset(), then.offset());
    }
}
