//! An agent's parts without the agent: for tests of what answers say about states that are hard to bring about.

use super::{Known, View};
use crate::config::checks::Checks;
use crate::config::{self, Loaded};
use crate::crash::History;
use crate::facts::{Facts, Phase};
use crate::health::Health;
use crate::http::counters::Counters;
use crate::http::pool::{self, Pool};
use crate::http::probes::Probes;
use crate::incidents::{self, Incidents};
use crate::limits;
use crate::log::{Identity, Log, Security, Ship};
use crate::net::resolve::Resolver;
use crate::net::{self, Network};
use crate::nic::{self, Link, Nic};
use crate::time::Time;
use crate::vitals::Vitals;
use crate::watch::{self, Watch};
use outpost_wire::EntropySource;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use std::thread;

/// An open incident with two updates, one that is over, and a maintenance under way.
pub const INCIDENTS: &str = r#"{"name": "x", "incidents": {"document": {"revision": 1,
    "issued_at": "2026-11-22T13:30:00Z", "expires_at": "2026-11-23T13:30:00Z",
    "incidents": [
        {"id": "pay", "title": "Payments fail", "impact": "major", "targets": ["shop"], "updates": [
            {"status": "investigating", "posted_at": "2026-11-22T13:00:00Z", "text": "We look at \"it\"."},
            {"status": "monitoring", "posted_at": "2026-11-22T13:30:00Z", "text": "It is repaired."}]},
        {"id": "old", "title": "Old", "impact": "none", "updates": [
            {"status": "resolved", "posted_at": "2026-11-21T13:00:00Z", "text": "It is over."}]}],
    "maintenances": [{"id": "db", "title": "Database", "starts_at": "2026-11-22T13:00:00Z",
        "ends_at": "2026-11-22T15:00:00Z", "targets": ["shop"], "text": "It is moved."}]}}}"#;

/// The parts, all to be changed by a test.
pub struct Fixture {
    pub now: Instant,
    pub facts: Facts,
    pub loaded: Loaded,
    pub health: Health,
    pub names: Resolver,
    pub time: Time,
    pub vitals: Vitals,
    pub ship: Option<Ship>,
    pub network: Network<'static>,
    pub watch: Watch<'static>,
    pub incidents: Incidents<'static>,
    pub log: Log<'static>,
    pub pool: Pool<'static>,
    pub counters: Counters,
    pub probes: Probes,
    pub nic: nic::Counters,
}

/// Runs `test` with the parts of an agent of this configuration that started at 1 s, at 2 s, without a network.
pub fn with(document: &str, test: impl FnOnce(&mut Fixture) + Send) {
    // The memory passes over the stack on its way to the heap, where it stays.
    let outcome = thread::scope(|scope| {
        let run = || test(&mut Fixture::new(document));
        thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, run).unwrap().join()
    });
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// A boot of the image like any other.
pub fn facts() -> Facts {
    Facts {
        boot_id: 0xb007,
        seed: [1; 32],
        entropy: EntropySource::Virtio,
        machine: "test".try_into().unwrap(),
        boot_path: "pvh",
        memory_bytes: 16 << 20,
        clock: "test",
        wall: None,
        image_id: [7; 32],
        revision: "test",
        phases: heapless::Vec::new(),
        history: History::default(),
        content: crate::content::Content::NONE,
        watchdog: None,
    }
}

impl Fixture {
    fn new(document: &str) -> Fixture {
        let started = Instant::from_secs(1);
        let checks = Box::leak(Box::new(Checks::new()));
        let loaded = config::load_into(Some(document.as_bytes()), checks);
        assert_eq!(loaded.problem_count, 0, "{:?}", loaded.problems);
        let identity = Identity { agent: loaded.config.name.clone(), image_id: [7; 32], hashes: None };
        let collector = loaded.config.collector.as_ref();
        let ship =
            collector.map(|collector| Ship::new(collector.address.literal(), identity, Security::Clear, 1, started));
        let mut log = Log::new(vec![0; 64 * 1024].leak(), 0xb007);
        let memory = Box::leak(Box::new(incidents::Memory::new()));
        let incidents = Incidents::new(checks.document(), memory, false, 1, &mut log, started);
        let names = Resolver::new(loaded.config.hosts().map(|(_, host)| host), 1, started);
        Fixture {
            now: Instant::from_secs(2),
            facts: Facts { phases: [Phase { name: "memory", took_us: 1_500 }].into_iter().collect(), ..facts() },
            health: Health::new(started),
            time: Time::new(&names.all::<{ limits::TIME_SERVERS }>(&loaded.config.time.servers), 1, started),
            names,
            vitals: Vitals::default(),
            ship,
            network: Network::new(
                &loaded.config.network,
                Box::leak(Box::new(net::Memory::new())),
                &mut Card,
                1,
                started,
            ),
            watch: Watch::new(
                checks,
                Box::leak(Box::new(watch::Memory::new())),
                vec![0; watch::DAYS_REGION].leak(),
                0xb007,
                1,
                started,
            ),
            incidents,
            log,
            pool: Pool::new(Box::leak(Box::new(pool::Memory::new())), limits::CONNECTIONS, 1),
            counters: Counters::default(),
            probes: Probes::new(),
            nic: nic::Counters::default(),
            loaded,
        }
    }

    /// What an answer is rendered from.
    pub fn view(&self) -> View<'_, 'static> {
        View {
            now: self.now,
            known: Known {
                started: Instant::from_secs(1),
                facts: &self.facts,
                loaded: &self.loaded,
                health: &self.health,
                names: &self.names,
                time: &self.time,
                vitals: &self.vitals,
                ship: &self.ship,
                sink: &None,
                incidents: self.incidents.told(),
                safe_mode: false,
            },
            network: &self.network,
            watch: &self.watch,
            log: &self.log,
            pool: &self.pool,
            counters: &self.counters,
            probes: &self.probes,
            answers_in_use: 1,
            nic: self.nic,
        }
    }
}

/// A card that gives and takes nothing.
struct Card;

/// A frame that never comes, and room that there never is.
enum Never {}

impl RxToken for Never {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl TxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

impl Device for Card {
    type RxToken<'a> = Never;
    type TxToken<'a> = Never;

    fn receive(&mut self, _: Instant) -> Option<(Never, Never)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Never> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ethernet, 1514);
        capabilities
    }
}

impl Nic for Card {
    fn mac(&self) -> EthernetAddress {
        EthernetAddress([2, 0, 0, 0, 0, 1])
    }

    fn link(&mut self) -> Link {
        Link::Up
    }

    fn counters(&self) -> nic::Counters {
        nic::Counters::default()
    }

    fn flush(&mut self) {}
}
