//! Where the simulation touches the agent: what it is given at boot, and how what it emits is seen.

use crate::events;
use crate::oracle::Oracle;
use core::net::{Ipv4Addr, SocketAddrV4};
use outpost::agent::{Agent, Storage};
use outpost::config::checks::Checks;
use outpost::config::{Collector, Config, Host, Loaded, Network, Origins, Secret, Sink, StaticNetwork, Time};
use outpost::crash::{History, LastWords, WatchdogVerdict};
use outpost::facts::Facts;
use outpost::limits::{LAST_WORDS, TLS_CHECKS};
use outpost::log::Step;
use outpost::watch::tls::{Buffers, Session, Sessions, Slot, attend};
use outpost_wire::limits::{FIELDS_MAX, RECORD_MAX};
use outpost_wire::{ConfigSource, EndCause, EntropySource, Event, Panic, Record, Text};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Cidr;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// Memory for one boot, as the image's .bss: empty each time. It borrows from itself and so can be dropped only as
/// bytes, which is all there is to it: it owns no heap.
pub fn storage<'a>() -> Box<ManuallyDrop<Storage<'a>>> {
    Box::new(ManuallyDrop::new(Storage::new()))
}

/// Sessions of TLS for one agent, where the image has them in static memory.
pub fn sessions<'a>() -> Sessions<'a> {
    let session = |_| {
        let (slot, buffers): (&Slot, &mut Buffers) = (Box::leak(Box::default()), Box::leak(Box::default()));
        let future: Pin<Box<dyn Future<Output = Infallible>>> = Box::pin(attend(slot, buffers));
        Session::new(slot, Box::leak(Box::new(future)).as_mut())
    };
    (0..TLS_CHECKS).map(session).collect()
}

/// An agent that watches nobody.
pub static NO_CHECKS: Checks = Checks::new();

/// Stack of a thread that makes a `Storage`, which passes over it.
const STACK: usize = 64 << 20;

/// Libraries inside the agent write their lines into one queue of the process, so worlds run one after the other.
static ONE_WORLD: Mutex<()> = Mutex::new(());

/// Runs a world on a stack with room for it; a panic becomes its text.
pub fn alone<R: Send>(world: impl FnOnce() -> R + Send) -> Result<R, String> {
    let _one = ONE_WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, world).expect("a thread");
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_string()
        })
    })
}

/// A machine with this boot id.
pub fn facts(boot_id: u64, seed: [u8; 32]) -> Facts {
    Facts {
        boot_id,
        seed,
        entropy: EntropySource::Virtio,
        machine: "simulation".try_into().expect("fits"),
        boot_path: "pvh",
        memory_bytes: 16 << 20,
        clock: "simulation",
        wall: None,
        image_id: [7; 32],
        revision: "simulation",
        phases: heapless::Vec::new(),
        history: History::default(),
        content: outpost::content::Content::NONE,
        watchdog: None,
    }
}

/// The name of the agent.
pub const AGENT: &str = "simulated";

/// The secret of keyed sessions.
pub const KEY: [u8; 32] = [0x5e; 32];

/// A configuration with this network (none: DHCP) and collector, with a key or without, and syslog server.
pub fn config(
    network: Option<(Ipv4Cidr, Ipv4Addr)>,
    collector: Option<(SocketAddrV4, bool)>,
    syslog: Option<SocketAddrV4>,
) -> Loaded {
    let network = network.map_or(Network::Dhcp, |(address, gateway)| {
        Network::Static(StaticNetwork { address, gateway: Some(gateway), dns: heapless::Vec::new() })
    });
    // With DHCP the lease names them.
    let servers = [&network].into_iter().filter_map(|network| match network {
        Network::Static(network) => network.gateway.map(Host::Address),
        Network::Dhcp => None,
    });
    let config = Config {
        time: Time { servers: servers.collect() },
        name: AGENT.try_into().expect("fits"),
        network,
        collector: collector
            .map(|(address, keyed)| Collector { address: address.into(), key: keyed.then_some(Secret(KEY)) }),
        sink: syslog.map(|syslog| Sink { syslog: syslog.into() }),
        ..Config::default()
    };
    Loaded {
        config,
        source: ConfigSource::Module,
        origins: Origins::DEFAULT,
        problems: heapless::Vec::new(),
        problem_count: 0,
    }
}

/// Begins a boot's last words, and reads those of the boot before it.
pub fn begin(block: &mut [u8; LAST_WORDS], boot_id: u64) -> (LastWords<'_>, History) {
    LastWords::begin(block, boot_id, WatchdogVerdict::Quiet, |_| Duration::ZERO)
}

/// What the image writes when it panics: the next boot gives the record its seq, the one after the last.
pub fn panic(words: &mut LastWords<'_>, now: Instant, oracle: &mut Oracle) {
    let (message, location) = (Text::new("a panic of the simulation"), Text::new("nowhere"));
    let panic = Panic { message, location, rip: 0, backtrace: [0; 32] };
    words.panic(now, EndCause::Panic, panic);
    let (event, mut fields, mut body) = (Event::from(panic), [0; FIELDS_MAX], [0; RECORD_MAX]);
    let len = event.encode(&mut fields).expect("fits");
    let (spec, mono_us) = (event.spec(), now.total_micros() as u64);
    let record =
        Record { seq: 1, mono_us, severity: spec.severity, transaction: None, event: spec.id, fields: &fields[..len] };
    let len = record.encode_body(&mut body).expect("fits");
    let seq = oracle.last().map_or(1, |(_, last)| last + 1);
    oracle.emit(seq, &body[..len]);
}

/// Notes the event of a stored record, unless the simulation itself emitted it.
pub fn seen(seq: u64, body: &[u8]) {
    let Some(event) = Record::decode_body(seq, body).ok().and_then(|record| record.decode_event()) else { return };
    if !matches!(event, Event::DependencyLog(_) | Event::Panic(_)) {
        events::seen(event.spec().name);
    }
}

/// Tells the oracle of every record that was emitted since it was last told.
pub fn emitted(agent: &mut Agent<'_>, oracle: &mut Oracle) {
    let Some((_, last)) = oracle.last() else { return };
    let log = agent.log();
    let mut reader = log.reader(last + 1);
    loop {
        match log.read(&mut reader) {
            Step::Record(seq, body) => {
                oracle.emit(seq, body);
                reader.pass(seq);
            }
            // In the least ring that there is, full of earlier boots, a record may give way within its own poll. Nobody
            // will ever see its bytes, so it must be declared lost.
            Step::Lost(from, to, _) => {
                (from..=to).for_each(|seq| oracle.emit(seq, &[]));
                reader.pass(to);
            }
            Step::End => return,
        }
    }
}

/// Compares what was declared lost with the ring, where nothing that was lost can be.
pub fn compare_losses(agent: &mut Agent<'_>, oracle: &mut Oracle) {
    for (from, to) in oracle.take_declared() {
        for seq in [from, from + (to - from) / 2, to] {
            let log = agent.log();
            let mut reader = log.reader(seq);
            if matches!(log.read(&mut reader), Step::Record(found, _) if found == seq) {
                oracle.violation(format!("seq {from} to {to} were declared lost, and {seq} is in the ring"));
            }
        }
    }
}

/// The agent's own account: the law, and what it says of a syslog server, which frees nothing and delivers nothing.
pub fn account(agent: &mut Agent<'_>, now: Instant, oracle: &mut Oracle) -> u64 {
    let stats = agent.log().stats();
    if stats.emitted != stats.delivered + stats.lost + stats.buffered || stats.sent_unacknowledged > stats.emitted {
        oracle.violation(format!("{now}: the law does not hold: {stats:?}"));
    }
    stats.sent_unacknowledged
}

/// Reads the console as the image does, and checks that what it says is text.
pub fn console(agent: &mut Agent<'_>, now: Instant, oracle: &mut Oracle) {
    let mut screen = [0u8; 4096];
    let mut room = &mut screen[..];
    agent.console(now, &mut room);
    let free = room.len();
    let written = &screen[..screen.len() - free];
    let harmless = |text: &str| text.chars().all(|c| c == '\n' || c == '\r' || !c.is_control());
    if !core::str::from_utf8(written).is_ok_and(harmless) {
        oracle.violation(format!("{now}: the console shows what is not text: {:?}", String::from_utf8_lossy(written)));
    }
}

/// From which seq on the ring still holds each boot's records.
pub fn buffered(_region: &[u8], oracle: &Oracle, durable: impl Fn(u64) -> u64) -> BTreeMap<u64, u64> {
    oracle.boots.iter().map(|&(boot, last)| (boot, last.max(durable(boot)) + 1)).collect()
}
