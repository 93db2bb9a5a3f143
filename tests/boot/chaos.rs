//! Chaos with real processes: a guest under load, a collector that is killed again and again, a cut link, a reset.
//! In the end every record is accounted for, by what the store itself says.
//!
//! Short here; `make chaos` sets OUTPOST_CHAOS=long.

use crate::lab::{Guest, OUTPOST, PATIENCE, Slot, image, port_in};
use outpost_qemu::{Accel, Forward, Machine, Network, Vm};
use outpost_wire::{BootPreviousEnded, CATALOGUE, DrillRecord, Event};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, io};

/// Records a second that the guest makes.
const LOAD: u64 = 600;

/// What must have come of it a second, on the mean and on a busy machine: it does nothing while it is reset.
const LOAD_MIN: i64 = 300;

/// Longest life of a collector, and longest time without one, in milliseconds.
const LIFE_MS: u64 = 900;
const PAUSE_MS: u64 = 300;

/// How often it is killed, and for how long the link is cut.
fn measure() -> (u32, Duration) {
    match std::env::var("OUTPOST_CHAOS").as_deref() {
        Ok("long") => (100, Duration::from_secs(60)),
        _ => (10, Duration::from_secs(5)),
    }
}

/// A collector process; killed by SIGKILL when it is dropped.
struct Collector {
    child: Child,
    port: u16,
}

impl Collector {
    fn start(store: &Path, port: u16) -> Collector {
        let mut child = Command::new(OUTPOST)
            .args(["collect", "--listen", &format!("127.0.0.1:{port}"), "--store"])
            .arg(store)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let port = port_in(&line).unwrap_or_else(|| panic!("the collector did not say where it listens: {line}"));
        // It must not block on a full pipe later.
        thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        Collector { child, port }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let (_, _) = (self.child.kill(), self.child.wait());
    }
}

fn read<T: FromSql>(store: &Path, query: &str, event: u16) -> T {
    let store = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.query_row(query, [event], |row| row.get(0)).unwrap()
}

/// How many records of this event the store has.
fn count(store: &Path, event: u16) -> i64 {
    read(store, "SELECT count(*) FROM records WHERE event = ?1", event)
}

/// The last seq of the first boot, as the second one says, and the highest that the store has of it.
fn last_of_first(store: &Path) -> (u64, u64) {
    let id = BootPreviousEnded::SPEC.id;
    let fields: Vec<u8> = read(store, "SELECT fields FROM records WHERE event = ?1", id);
    let Some(Event::BootPreviousEnded(end)) = Event::decode(id, &fields) else { panic!("{fields:?}") };
    let stored: i64 =
        read(store, "SELECT max(seq) FROM records WHERE boot != (SELECT boot FROM records WHERE event = ?1)", id);
    (end.last_seq, stored as u64)
}

fn wait_for(store: &Path, event: u16, wanted: i64) {
    let deadline = Instant::now() + PATIENCE;
    let name = CATALOGUE.iter().find(|spec| spec.id == event).map_or("?", |spec| spec.name);
    while count(store, event) < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} {name} in the store", count(store, event));
        thread::sleep(Duration::from_millis(100));
    }
}

/// The next number below `end` (xorshift64, Marsaglia 2003): moments need no better.
fn below(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % end
}

#[test]
fn whatever_is_killed_every_record_is_accounted_for() {
    // Every pipeline that was tried lost records without a word when its receiver was killed.
    let _slot = Slot::take();
    let (kills, cut) = measure();
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {state}, {kills} kills, link cut for {cut:?}");
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let mut collector = Collector::start(&store, 0);
    let port = collector.port;
    let config = json!({
        "name": "chaos", "collector": { "address": format!("10.0.2.2:{port}") }, "drill": { "records_per_s": LOAD },
    });
    let path = folder.path().join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    let network = Network::User(vec![Forward::to(80)]);
    let mut guest =
        Guest::boot(&Vm { accel: Accel::Tcg, config: Some(path), network, ..Vm::new(Machine::Microvm, image()) });
    guest.wait_ok("/livez");
    wait_for(&store, DrillRecord::SPEC.id, LOAD as i64);
    let began = (Instant::now(), count(&store, DrillRecord::SPEC.id));

    for _ in 0..kills {
        thread::sleep(Duration::from_millis(below(&mut state, LIFE_MS)));
        drop(collector);
        thread::sleep(Duration::from_millis(below(&mut state, PAUSE_MS)));
        collector = Collector::start(&store, port);
    }
    // The reset comes before the link is back: what was logged meanwhile is nowhere but in the region.
    guest.set_link(false);
    thread::sleep(cut);
    guest.running.qmp().system_reset().unwrap();
    guest.set_link(true);
    wait_for(&store, BootPreviousEnded::SPEC.id, 1);
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut stored) = last_of_first(&store);
    while stored < last {
        assert!(Instant::now() < deadline, "the first boot ended with {last}, the store has it up to {stored}");
        thread::sleep(Duration::from_millis(100));
        (last, stored) = last_of_first(&store);
    }
    let made = count(&store, DrillRecord::SPEC.id) - began.1;
    let wanted = LOAD_MIN * began.0.elapsed().as_secs() as i64;
    assert!(made >= wanted, "{made} records are no load, at least {wanted} were to be");
    guest.wait_ok("/livez");
    guest.power_down();

    let verified = Command::new(OUTPOST).arg("verify").arg(&store).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    println!("{said}");
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert_eq!(said.matches(" 0 declared lost").count(), 2, "nothing had to be given up: {said}");
}
