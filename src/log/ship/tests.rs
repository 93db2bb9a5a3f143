//! The session against a scripted collector over real smoltcp sockets: whatever the connection does, the collector
//! ends up with every seq once, as the very bytes that were emitted or as declared lost.

use super::*;
use crate::limits::LOG_SEGMENT;
use outpost_wire::noise::Opening;
use outpost_wire::session::{Bye, ByeReason, LossReason, PREFACE_LEN};
use outpost_wire::{Event, Method, NameId, NetworkDown, Record};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Duration;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

/// A wire with both ends at one interface.
#[derive(Default)]
struct Loop(VecDeque<Vec<u8>>);

struct Frame(Vec<u8>);
struct Slot<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Loop {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Slot<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Slot<'_>)> {
        let frame = self.0.pop_front()?;
        Some((Frame(frame), Slot(&mut self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        Some(Slot(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// What the collector holds of one boot: `None` where a record was declared lost.
type Stored = BTreeMap<u64, Option<Vec<u8>>>;

/// A collector whose answers the tests control.
#[derive(Default)]
struct Collector {
    store: BTreeMap<u64, Stored>,
    reasons: Vec<Lost>,
    inbox: Vec<u8>,
    /// What was unsealed and is not a whole frame.
    clear: Vec<u8>,
    outbox: Vec<u8>,
    /// The boots of this session's Hello.
    boots: Vec<u64>,
    told: [u64; 2],
    /// The boots in the order in which something of them came.
    order: Vec<u64>,
    hellos: usize,
    /// Whether it acknowledges.
    acks: bool,
    /// Its key, where it serves keyed sessions alone.
    key: Option<Key>,
    ephemerals: Option<Ephemerals>,
    channel: Option<Transport>,
    /// Handshakes that it answered.
    proven: usize,
    /// What every opening of a session began with: the agent's handshake messages.
    openings: Vec<Vec<u8>>,
    /// Most bytes it hands to TCP at once.
    piece: usize,
    alive: usize,
}

impl Collector {
    fn durable(&self, boot: u64) -> u64 {
        self.store.get(&boot).and_then(|stored| stored.keys().next_back()).copied().unwrap_or(0)
    }

    fn say(&mut self, message: Message<'_>) {
        let mut frame = [0; FRAME_MAX];
        let len = message.encode(&mut frame).unwrap();
        let Some(channel) = &mut self.channel else { return self.outbox.extend_from_slice(&frame[..len]) };
        let mut sealed = [0; SEALED_MAX];
        sealed[2..2 + len].copy_from_slice(&frame[..len]);
        let len = channel.seal(&mut sealed, len).unwrap();
        self.outbox.extend_from_slice(&sealed[..len]);
    }

    /// Answers the agent's opening; closes (`false`) when it is not from one who knows the key.
    fn prove(&mut self, key: &Key) -> bool {
        let Some((opening, len)) = Opening::read(&self.inbox).unwrap() else { return true };
        assert_eq!(opening.agent, "a");
        let ephemerals = self.ephemerals.get_or_insert_with(|| Ephemerals::new(&[77; 32]));
        self.openings.push(self.inbox[..len].to_vec());
        let Ok((channel, answer)) = opening.answer(key, ephemerals.fresh()) else { return false };
        self.inbox.drain(..len);
        self.outbox.extend_from_slice(&answer);
        self.channel = Some(channel);
        self.proven += 1;
        true
    }

    /// What came in sealed frames, as clear ones; `false` when the session must close.
    fn unseal(&mut self) -> bool {
        let Some(key) = self.key.clone() else { return true };
        if self.channel.is_none() && !self.prove(&key) {
            return false;
        }
        let Some(channel) = &mut self.channel else { return true };
        while let Some(taken) = channel.open(&mut self.inbox).unwrap() {
            self.clear.extend_from_slice(&self.inbox[2..taken - TAG_LEN]);
            self.inbox.drain(..taken);
        }
        true
    }

    fn hear(&mut self) -> bool {
        if self.key.is_some() {
            let go_on = self.unseal();
            let sealed = core::mem::take(&mut self.inbox);
            self.inbox = core::mem::take(&mut self.clear);
            self.listen_to();
            self.clear = core::mem::replace(&mut self.inbox, sealed);
            return go_on;
        }
        self.listen_to();
        true
    }

    fn listen_to(&mut self) {
        let greeted = self.key.is_some() || !self.boots.is_empty();
        if !greeted && self.inbox.len() < PREFACE_LEN {
            return;
        }
        if !greeted {
            assert_eq!(self.inbox[..PREFACE_LEN], preface(Mode::Clear));
        }
        let mut at = if greeted { 0 } else { PREFACE_LEN };
        let inbox = core::mem::take(&mut self.inbox);
        while let Some((message, len)) = Message::decode(&inbox[at..]).unwrap() {
            at += len;
            match message {
                Message::Hello(hello) => {
                    self.hellos += 1;
                    self.boots = vec![hello.current.boot_id];
                    self.boots.extend(hello.previous.map(|boot| boot.boot_id));
                    let durable = |place: usize| self.boots.get(place).map_or(0, |boot| self.durable(*boot));
                    self.told = [durable(0), durable(1)];
                    let [current, previous] = self.told;
                    self.say(Message::Welcome(Welcome { features: 0, current, previous }));
                }
                Message::Data(data) => {
                    for record in data.records() {
                        let record = record.unwrap();
                        let mut bytes = vec![0; 300];
                        let len = record.encode_body(&mut bytes).unwrap();
                        self.take(data.boot, record.seq, record.seq, Some(&bytes[..len]));
                    }
                }
                Message::Lost(lost) => {
                    self.take(lost.boot, lost.from, lost.to, None);
                    self.reasons.push(lost);
                }
                Message::Alive(_) => self.alive += 1,
                other => panic!("{other:?}"),
            }
        }
        self.inbox = inbox[at..].to_vec();
        for place in 0..self.boots.len() {
            let durable = self.durable(self.boots[place]);
            if self.acks && durable > self.told[place] {
                self.told[place] = durable;
                self.say(Message::Ack(Ack { boot: place as u8, seq: durable }));
            }
        }
    }

    fn take(&mut self, place: u8, from: u64, to: u64, bytes: Option<&[u8]>) {
        let boot = self.boots[usize::from(place)];
        assert_eq!(from, self.durable(boot) + 1, "boot {boot}: a seq was passed over or came twice");
        self.order.push(boot);
        let stored = self.store.entry(boot).or_default();
        (from..=to).for_each(|seq| assert!(stored.insert(seq, bytes.map(<[u8]>::to_vec)).is_none()));
    }
}

struct World<'a> {
    now: Instant,
    wire: Loop,
    iface: Interface,
    sockets: SocketSet<'a>,
    client: SocketHandle,
    server: SocketHandle,
    ship: Ship,
    log: Log<'a>,
    collector: Collector,
    network_up: bool,
    listening: bool,
    next_poll: Option<Instant>,
    /// What was emitted in this boot, as read back at once.
    emitted: BTreeMap<u64, Vec<u8>>,
}

const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Address::new(192, 0, 2, 1), 7600);

fn ring(segments: usize) -> Vec<u8> {
    vec![0; 512 + segments * (LOG_SEGMENT + 40)]
}

impl<'a> World<'a> {
    fn new(region: &'a mut [u8], boot_id: u64, collector: Collector) -> World<'a> {
        let now = Instant::from_secs(1);
        let mut wire = Loop::default();
        let mut iface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, now);
        iface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(Ipv4Address::new(192, 0, 2, 1).into(), 24)).unwrap();
        });
        let mut sockets = SocketSet::new(Box::leak(Box::new([SocketStorage::EMPTY; 2])).as_mut_slice());
        let mut socket = |rx: usize, tx: usize| {
            let buffer = |len| tcp::SocketBuffer::new(vec![0; len].leak());
            sockets.add(tcp::Socket::new(buffer(rx), buffer(tx)))
        };
        // A receive buffer of an odd size, so that frames stand across its end all the time.
        let (client, server) = (socket(101, 4096), socket(65_535, 4096));
        let identity = Identity { agent: "a".try_into().unwrap(), image_id: [0; 32], hashes: None };
        // The agent's key is that of the collector, unless a test changes either.
        let keyed = |key: &Key| Security::Keyed(key.clone(), Ephemerals::new(&[boot_id as u8; 32]));
        let security = collector.key.as_ref().map_or(Security::Clear, keyed);
        World {
            now,
            wire,
            iface,
            sockets,
            client,
            server,
            ship: Ship::new(ADDRESS, identity, security, 42, now),
            log: Log::new(region, boot_id),
            collector: Collector { acks: true, piece: usize::MAX, ..collector },
            network_up: true,
            listening: true,
            next_poll: Some(now),
            emitted: BTreeMap::new(),
        }
    }

    /// Goes on for so many milliseconds.
    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            // Time in which nothing can happen is passed over.
            let tcp = self.iface.poll_at(self.now, &self.sockets);
            let due = if self.wire.0.is_empty() { tcp.into_iter().chain(self.next_poll).min() } else { None };
            let quiet = self.wire.0.is_empty() && self.collector.outbox.is_empty();
            let next = if quiet { due.unwrap_or(end) } else { self.now };
            self.now = next.min(end).max(self.now + Duration::from_millis(1));
            // The ship is called only when it asked for it or a segment came: a wrong deadline stalls the session.
            if !self.wire.0.is_empty() || self.next_poll.is_some_and(|at| at <= self.now) {
                self.iface.poll(self.now, &mut self.wire, &mut self.sockets);
                self.poll_ship();
            }
            // On this wire the far end's acknowledgement comes within the same poll: it is a segment, too.
            let went = !self.wire.0.is_empty();
            self.iface.poll(self.now, &mut self.wire, &mut self.sockets);
            if went {
                self.next_poll = Some(self.now);
            }
            self.serve();
        }
    }

    fn poll_ship(&mut self) {
        let before = self.log.stats().emitted;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.client);
        self.next_poll = self.ship.poll(self.now, socket, self.iface.context(), &mut self.log, self.network_up);
        (before + 1..=self.log.stats().emitted).for_each(|seq| self.note(seq));
    }

    fn serve(&mut self) {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.server);
        if !socket.is_open() && self.listening {
            socket.listen(ADDRESS.port()).unwrap();
            self.collector.boots.clear();
            self.collector.inbox.clear();
            self.collector.clear.clear();
            self.collector.channel = None;
            self.collector.outbox.clear();
        }
        if socket.state() == tcp::State::CloseWait {
            socket.abort();
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), self.collector.inbox.extend_from_slice(bytes))).unwrap();
        }
        if !self.collector.hear() {
            socket.close();
            // What a real one does: it reads no more.
            self.collector.inbox.clear();
        }
        let piece = self.collector.outbox.len().min(self.collector.piece);
        if socket.may_send() {
            let sent = socket.send_slice(&self.collector.outbox[..piece]).unwrap();
            self.collector.outbox.drain(..sent);
        }
    }

    /// The collector's end dies: what was on its way to it is gone.
    fn reset(&mut self) {
        self.sockets.get_mut::<tcp::Socket<'_>>(self.server).abort();
    }

    fn emit<'e>(&mut self, event: impl Into<Event<'e>>) -> u64 {
        let seq = self.log.emit(self.now, Some(7), event);
        self.note(seq);
        self.next_poll = Some(self.now);
        seq
    }

    fn note(&mut self, seq: u64) {
        let mut reader = self.log.reader(seq);
        let Step::Record(_, bytes) = self.log.read(&mut reader) else { panic!("{seq} is not there") };
        self.emitted.insert(seq, bytes.to_vec());
    }

    fn requests(&mut self, count: u64) {
        for _ in 0..count {
            self.request();
        }
    }

    /// A vital record.
    fn flap(&mut self) {
        self.emit(NetworkDown { reason: outpost_wire::DownReason::NoLink });
    }

    fn request(&mut self) -> u64 {
        let client = Ip4([192, 0, 2, 9]);
        self.emit(outpost_wire::HttpRequest {
            method: Method::Get,
            route: NameId(1),
            status: 200,
            client,
            duration_us: 9,
        })
    }

    /// Everything is told, and told truly: nothing is missing, nothing changed, the counts agree with the identities.
    fn check(&self, boot_id: u64) {
        let stats = self.log.stats();
        assert_eq!(stats.emitted, stats.delivered + stats.lost + stats.buffered);
        assert_eq!((stats.buffered, self.log.pending()), (0, 0), "{:?}", self.ship.status());
        let stored = &self.collector.store[&boot_id];
        assert!(stored.keys().copied().eq(1..=stats.emitted));
        for (seq, bytes) in stored {
            assert!(bytes.as_ref().is_none_or(|bytes| Some(bytes) == self.emitted.get(seq)), "seq {seq} was changed");
        }
        assert_eq!(stored.values().filter(|bytes| bytes.is_some()).count() as u64, stats.delivered);
    }
}

#[test]
fn every_seq_arrives_once_however_often_the_connection_dies() {
    // Resets at random moments, overflow while the collector is away, late acks, one byte at a time: the collector
    // asserts on every frame that nothing is passed over and nothing comes twice.
    for seed in 0..16u64 {
        let mut random = seed;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        let mut region = ring(8 + seed as usize % 5);
        let key = (seed % 4 == 3).then(|| Key::new([9; 32]));
        let mut world = World::new(&mut region, 5, Collector { key, ..Collector::default() });
        world.collector.piece = if seed % 3 == 0 { 1 } else { usize::MAX };
        for _ in 0..60 {
            let burst = if below(4) == 0 { below(1500) } else { below(20) };
            for _ in 0..burst {
                if below(20) == 0 {
                    world.flap();
                } else {
                    world.request();
                }
            }
            let stats = world.log.stats();
            assert_eq!(stats.emitted, stats.delivered + stats.lost + stats.buffered);
            world.collector.acks = below(4) > 0;
            world.listening = below(8) > 0;
            if below(3) == 0 {
                world.reset();
            }
            world.run(below(400));
        }
        (world.collector.acks, world.listening) = (true, true);
        world.reset();
        world.run(30_000);
        world.check(5);
        let stats = world.log.stats();
        assert!(world.collector.hellos > 3 && stats.delivered > 500, "seed {seed}: {stats:?}");
    }
}

#[test]
fn overflow_without_a_session_is_declared_and_does_not_stop_it() {
    // A window counted in seqs would be all gap after an overflow and never open again.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector { acks: false, ..Collector::default() });
    world.collector.acks = false;
    world.requests(200);
    world.run(500);
    world.listening = false;
    world.reset();
    world.requests(20_000);
    world.listening = true;
    world.collector.acks = true;
    world.run(20_000);
    world.check(5);
    assert!(world.log.stats().lost > 10_000);
    assert!(world.collector.reasons.iter().all(|lost| lost.reason == LossReason::Overflow));
    assert!(world.collector.reasons.len() < 20, "{} ranges", world.collector.reasons.len());
}

#[test]
fn a_collector_that_lost_its_store_is_told_what_will_never_come() {
    // After a rollback the agent must neither skip the gap silently nor name ids that nobody knows any more.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    let id = world.log.name(world.now, "/livez");
    world.note(1);
    for _ in 0..30 {
        world.requests(100);
        (0..20).for_each(|_| world.flap());
        world.run(100);
    }
    assert_eq!((world.log.pending(), world.collector.reasons.len()), (0, 0));
    let delivered = world.log.stats().delivered;
    world.collector.store.clear();
    world.reset();
    world.run(3000);
    let stored = &world.collector.store[&5];
    assert!(stored.keys().copied().eq(1..=world.log.stats().emitted));
    let gap = world.collector.reasons[0];
    assert_eq!((gap.from, gap.reason), (1, LossReason::CollectorRolledBack));
    let again = stored.range(gap.to..).filter_map(|(seq, bytes)| {
        let bytes = bytes.as_ref()?;
        Record::decode_body(*seq, bytes).ok()?.decode_event()
    });
    let is_name =
        |event: &Event<'_>| matches!(event, Event::Intern(name) if name.id == id && name.text.as_str() == "/livez");
    assert_eq!(again.filter(is_name).count(), 1);
    let stats = world.log.stats();
    assert_eq!((stats.lost, stats.buffered), (0, 0), "it was delivered once: {stats:?}");
    assert!(stats.delivered > delivered);
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    // A forged or broken ack would free records that nobody holds.
    type Forge = fn(u64) -> Message<'static>;
    let cases: [(&str, Forge); 5] = [
        ("beyond what was sent", |next| Message::Ack(Ack { boot: 0, seq: next })),
        ("absurd", |_| Message::Ack(Ack { boot: 0, seq: u64::MAX })),
        ("of a boot that Hello did not name", |_| Message::Ack(Ack { boot: 1, seq: 1 })),
        ("of a place that cannot be", |_| Message::Ack(Ack { boot: 200, seq: 1 })),
        ("a second Welcome", |next| Message::Welcome(Welcome { features: 0, current: next - 1, previous: 0 })),
    ];
    for (case, forged) in cases {
        let mut region = ring(8);
        let mut world = World::new(&mut region, 5, Collector::default());
        world.collector.acks = false;
        world.requests(100);
        world.run(500);
        let message = forged(world.log.stats().emitted + 1);
        world.collector.say(message);
        world.run(100);
        assert_eq!(world.log.stats().delivered, 0, "{case}");
        assert_eq!(world.ship.status().last_end, Some(SessionEnd::Protocol), "{case}");
        world.collector.acks = true;
        world.run(5000);
        world.check(5);
    }
}

#[test]
fn a_welcome_is_believed_only_up_to_what_was_sent() {
    // A machine restored from a snapshot meets a store that knows its future: its records must not be freed unsent.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.requests(10);
    let future: Stored = (1..=10).map(|seq| (seq, None)).collect();
    world.collector.store.insert(5, future.clone());
    // This collector's store would refuse the repetition: look at what is sent to it.
    world.collector.acks = false;
    world.log.ring.oldest(world.log.ring.current());
    world.listening = true;
    let mut sent = Vec::new();
    for _ in 0..100 {
        world.now += Duration::from_millis(1);
        world.poll_ship();
        world.iface.poll(world.now, &mut world.wire, &mut world.sockets);
        let socket = world.sockets.get_mut::<tcp::Socket<'_>>(world.server);
        if !socket.is_open() {
            socket.listen(ADDRESS.port()).unwrap();
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), sent.extend_from_slice(bytes))).unwrap();
        }
        if sent.len() > PREFACE_LEN && world.collector.hellos == 0 {
            world.collector.hellos = 1;
            let mut frame = [0; 64];
            let len = Message::Welcome(Welcome { features: 0, current: 10, previous: 0 }).encode(&mut frame).unwrap();
            socket.send_slice(&frame[..len]).unwrap();
        }
    }
    let (hello, len) = Message::decode(&sent[PREFACE_LEN..]).unwrap().unwrap();
    assert!(matches!(hello, Message::Hello(_)));
    let Ok(Some((Message::Data(data), _))) = Message::decode(&sent[PREFACE_LEN + len..]) else { panic!("no records") };
    assert_eq!(data.first_seq, 1);
    assert_eq!(world.log.stats().delivered, 0);
}

#[test]
fn earlier_boots_come_first_and_each_under_its_own_id() {
    // What a crash loop left is worth nothing when it is mixed up, or sent after the ring needed its room.
    let mut region = ring(16);
    for boot in 1..=3 {
        let mut log = Log::new(&mut region, boot);
        for _ in 0..boot {
            log.emit(Instant::from_secs(1), None, NetworkDown { reason: outpost_wire::DownReason::NoNic });
        }
    }
    let mut world = World::new(&mut region, 9, Collector::default());
    assert_eq!(world.log.stats().salvaged, 6);
    world.request();
    world.run(3000);
    for boot in 1..=3 {
        assert!(world.collector.store[&boot].keys().copied().eq(1..=boot), "boot {boot}");
        assert!(world.collector.store[&boot].values().all(Option::is_some));
    }
    assert_eq!((world.collector.hellos, world.log.stats().salvaged), (3, 0));
    world.collector.order.dedup();
    assert_eq!(world.collector.order[0], 1, "{:?}", world.collector.order);
    world.collector.order.retain(|boot| *boot != 9);
    assert_eq!(world.collector.order, [1, 2, 3]);
    world.check(9);
    assert_eq!(world.ship.status().phase, Phase::Connected);
}

#[test]
fn an_outage_is_one_record_and_attempts_back_off() {
    // A collector that is away for a night must not fill the log with itself, nor be hammered by a fleet.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.listening = false;
    let mut attempts = vec![];
    for _ in 0..12_000 {
        world.run(10);
        let count = world.ship.status().attempts;
        if attempts.len() < count as usize {
            attempts.push(world.now);
        }
    }
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::ConnectRefused));
    assert_eq!(world.log.stats().emitted, 1, "one record for the whole outage");
    let waits: Vec<u64> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).total_millis()).collect();
    assert!(waits[0] >= 200 && waits.iter().all(|wait| *wait <= 10_020), "{waits:?}");
    assert!(waits[6..].iter().all(|wait| *wait >= 5_000), "{waits:?}");
    world.run(600_000);
    assert_eq!(world.log.stats().emitted, 2, "a long outage is told again");
    world.listening = true;
    world.run(11_000);
    world.check(5);
    assert_eq!((world.log.stats().emitted, world.ship.status().attempts), (3, 0));
}

#[test]
fn silence_is_noticed_only_where_an_answer_is_owed() {
    // An idle session must stay up for days; one whose collector hangs must not.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.run(1000);
    world.run(300_000);
    assert_eq!((world.collector.hellos, world.ship.status().phase), (1, Phase::Connected));
    assert!((19..=21).contains(&world.collector.alive), "{} Alive in five minutes", world.collector.alive);
    world.collector.acks = false;
    world.request();
    world.run(44_000);
    assert_eq!(world.ship.status().phase, Phase::Connected);
    world.run(2_000);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::Silent));
    assert_eq!(world.log.stats().buffered, 2, "the request and the record about the collector");
}

#[test]
fn refusals_network_loss_and_garbage_end_the_session_with_their_reason() {
    // Each end must say why, and none may cost a record.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.run(500);
    for (reason, end) in [
        (ByeReason::Version, SessionEnd::RefusedVersion),
        (ByeReason::KeyRequired, SessionEnd::RefusedKey),
        (ByeReason::Storage, SessionEnd::RefusedStorage),
        (ByeReason::Shutdown, SessionEnd::RefusedShutdown),
        (ByeReason::Protocol, SessionEnd::RefusedProtocol),
        (ByeReason::Other(77), SessionEnd::Refused),
    ] {
        world.collector.say(Message::Bye(Bye { reason }));
        world.run(20);
        assert_eq!(world.ship.status().last_end, Some(end));
        world.run(2000);
    }
    world.collector.outbox.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    world.run(20);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::Protocol));
    world.run(2000);
    world.network_up = false;
    world.request();
    world.run(20);
    assert_eq!((world.ship.status().last_end, world.next_poll), (Some(SessionEnd::NetworkDown), None));
    world.network_up = true;
    world.next_poll = Some(world.now);
    world.run(2000);
    world.reset();
    world.run(20);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::Closed));
    world.run(2000);
    assert_eq!(world.collector.hellos, 10);
    world.check(5);
}

#[test]
fn few_records_wait_for_company_and_many_do_not() {
    // A frame per record costs ten times its bytes; a batch that waits too long makes the log late.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.run(1000);
    let start = world.log.stats().delivered;
    for _ in 0..10 {
        world.request();
        world.run(1);
    }
    assert_eq!(world.ship.in_flight.len(), 0, "nothing is sent yet");
    world.run(9);
    assert_eq!(world.log.stats().delivered, start, "nothing can be acknowledged yet");
    world.run(10);
    assert_eq!(world.log.stats().delivered, start + 10);
    world.requests(LOG_BATCH_RECORDS);
    world.run(5);
    assert_eq!(world.log.stats().delivered, start + 10 + LOG_BATCH_RECORDS);
}

fn keyed(region: &mut [u8]) -> World<'_> {
    World::new(region, 5, Collector { key: Some(Key::new([9; 32])), ..Collector::default() })
}

#[test]
fn a_keyed_session_carries_everything_and_nothing_in_the_clear() {
    // A key that leaves a name, a record or an ack readable, or a handshake that is repeated, is no key.
    let mut region = ring(8);
    let mut world = keyed(&mut region);
    world.requests(200);
    world.run(1000);
    for _ in 0..3 {
        world.reset();
        world.requests(50);
        world.run(3000);
    }
    world.check(5);
    assert_eq!((world.collector.hellos, world.collector.proven), (4, 4));
    assert!(world.ship.status().keyed);
    let keyed =
        world.emitted.values().filter_map(|body| match Record::decode_body(1, body).unwrap().decode_event().unwrap() {
            Event::CollectorConnected(event) => Some(event.keyed),
            _ => None,
        });
    assert!(keyed.eq([true; 4]));
    let openings = &world.collector.openings;
    assert!((1..4).all(|at| openings[..at].iter().all(|before| *before != openings[at])), "a handshake came twice");
}

#[test]
fn a_collector_with_another_key_is_told_of_once_and_gets_nothing() {
    // A key mistyped on one side must not look like a network that is down, and must cost no record.
    let mut region = ring(8);
    let mut world = keyed(&mut region);
    world.listening = false;
    world.run(2000);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::ConnectRefused));
    world.listening = true;
    world.collector.key = Some(Key::new([8; 32]));
    world.requests(20);
    world.run(60_000);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::NotAuthenticated));
    assert_eq!((world.collector.hellos, world.collector.proven), (0, 0));
    assert!(world.collector.openings.len() > 5, "it goes on trying");
    let told: Vec<_> = world
        .emitted
        .values()
        .filter_map(|body| match Record::decode_body(1, body).unwrap().decode_event().unwrap() {
            Event::CollectorLost(event) => Some(event.reason),
            _ => None,
        })
        .collect();
    assert_eq!(told, [SessionEnd::ConnectRefused, SessionEnd::NotAuthenticated], "once each");
    world.collector.key = Some(Key::new([9; 32]));
    world.run(12_000);
    world.check(5);
}

#[test]
fn a_stranger_in_the_collectors_place_frees_nothing() {
    // Without authentication any host on the collector's address can acknowledge, which erases logs.
    type Forge = fn(&mut Collector);
    let clear = |message: Message<'_>| {
        let mut frame = [0; FRAME_MAX];
        let len = message.encode(&mut frame).unwrap();
        frame[..len].to_vec()
    };
    let ack = clear(Message::Ack(Ack { boot: 0, seq: 5 }));
    let cases: [(&str, Forge); 4] = [
        ("an ack whose last byte was changed", |collector| {
            collector.say(Message::Ack(Ack { boot: 0, seq: 5 }));
            *collector.outbox.last_mut().unwrap() ^= 1;
        }),
        ("an ack sealed with another key", |collector| {
            let (mut out, key) = ([0; OPENING_MAX], Key::new([1; 32]));
            let (_, len) = Initiator::begin(&key, "a", Ephemerals::new(&[1; 32]).fresh(), &mut out).unwrap();
            let (opening, _) = Opening::read(&out[..len]).unwrap().unwrap();
            let (channel, _) = opening.answer(&key, Ephemerals::new(&[2; 32]).fresh()).unwrap();
            collector.channel = Some(channel);
            collector.say(Message::Ack(Ack { boot: 0, seq: 5 }));
        }),
        ("an ack that was sent before", |collector| {
            collector.say(Message::Ack(Ack { boot: 0, seq: 0 }));
            let again = collector.outbox.clone();
            collector.outbox.extend(again);
        }),
        ("a length that cannot be", |collector| collector.outbox.extend([0xff, 0xff])),
    ];
    for (case, forge) in cases {
        let mut region = ring(8);
        let mut world = keyed(&mut region);
        world.collector.acks = false;
        world.requests(100);
        world.run(500);
        forge(&mut world.collector);
        world.run(100);
        assert_eq!(world.log.stats().delivered, 0, "{case}");
        assert_eq!(world.ship.status().last_end, Some(SessionEnd::NotAuthenticated), "{case}");
        world.collector.acks = true;
        world.run(5000);
        world.check(5);
    }
    // In the clear, instead of the handshake and after it.
    for (after, bytes) in [(false, ack.clone()), (true, ack)] {
        let mut region = ring(8);
        let mut world = keyed(&mut region);
        if after {
            world.collector.acks = false;
            world.requests(10);
            world.run(500);
            world.collector.outbox.extend(bytes);
            world.run(100);
        } else {
            world.collector.key = None;
            world.now += Duration::from_millis(1);
            world.run(0);
            for _ in 0..100 {
                world.now += Duration::from_millis(1);
                world.poll_ship();
                world.iface.poll(world.now, &mut world.wire, &mut world.sockets);
                let socket = world.sockets.get_mut::<tcp::Socket<'_>>(world.server);
                if !socket.is_open() {
                    socket.listen(ADDRESS.port()).unwrap();
                } else if socket.can_recv() {
                    socket.recv(|bytes| (bytes.len(), ())).unwrap();
                    socket.send_slice(&bytes.repeat(10)).unwrap();
                }
            }
        }
        assert_eq!(world.log.stats().delivered, 0);
        assert_eq!(world.ship.status().last_end, Some(SessionEnd::NotAuthenticated), "after the handshake: {after}");
    }
}

#[test]
fn with_weak_entropy_a_key_is_not_used_and_that_is_said() {
    // A handshake that can be guessed gives the session away; falling back to clear text would be worse.
    let mut region = ring(8);
    let mut world = World::new(&mut region, 5, Collector::default());
    world.ship.security = Security::Refused;
    world.requests(10);
    world.run(60_000);
    assert_eq!(world.collector.hellos, 0);
    assert_eq!(world.ship.status().last_end, Some(SessionEnd::WeakEntropy));
    assert_eq!((world.log.stats().emitted, world.log.stats().buffered), (11, 11), "one record says so, all are kept");
}
