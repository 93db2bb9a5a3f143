//! Chaos with real processes: a guest under load, a collector that is killed again and again, a cut link, a reset.
//! In the end every record is accounted for, by what the store itself says. In the clear and with a key, side by side.
//!
//! Short here; `make chaos` sets OUTPOST_CHAOS=long.

use crate::lab::{Collector, Guest, OUTPOST, PATIENCE, Slot, config, image};
use outpost_qemu::{Accel, Forward, Machine, Network, Vm};
use outpost_wire::session::Mode;
use outpost_wire::{BootPreviousEnded, CATALOGUE, DrillRecord, Event};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

/// Records a second that the guest makes.
const LOAD: u64 = 600;

/// Longest life of a collector, and longest time without one, in milliseconds.
const LIFE_MS: u64 = 900;
const PAUSE_MS: u64 = 300;

/// How often it is killed, for how long the link is cut, and what must come of the load a second, on the mean: while
/// the guest is reset it makes none, which counts for more in a short run, and the machine may be busy with others.
fn measure() -> (u32, Duration, i64) {
    match std::env::var("OUTPOST_CHAOS").as_deref() {
        Ok("long") => (100, Duration::from_secs(60), 500),
        _ => (10, Duration::from_secs(5), 300),
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
fn clear_whatever_is_killed_every_record_is_accounted_for() {
    every_record_is_accounted_for(Mode::Clear);
}

#[test]
fn keyed_whatever_is_killed_every_record_is_accounted_for() {
    every_record_is_accounted_for(Mode::Keyed);
}

/// Every pipeline that was tried lost records without a word when its receiver was killed.
fn every_record_is_accounted_for(mode: Mode) {
    let _slot = Slot::take();
    let (kills, cut, load_min) = measure();
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("{mode:?}: seed {state}");
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let mut collector = Collector::start(folder.path(), 0, mode);
    let port = collector.port;
    let path = folder.path().join("config.json");
    fs::write(&path, config(port, mode, Some(json!({ "records_per_s": LOAD })))).unwrap();
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
        collector = Collector::start(folder.path(), port, mode);
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
    let seconds = began.0.elapsed().as_secs() as i64;
    guest.wait_ok("/livez");
    guest.power_down();

    let verified = Command::new(OUTPOST).arg("verify").arg(&store).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    println!(
        "{mode:?}: the collector killed {kills} times, the link cut for {cut:?}, the guest reset; {made} records in \
         {seconds} s, {} a second\n{said}",
        made / seconds.max(1)
    );
    assert!(made >= load_min * seconds, "that is no load, at least {load_min} a second were to be");
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert_eq!(said.matches(" 0 declared lost").count(), 2, "nothing had to be given up: {said}");
}
