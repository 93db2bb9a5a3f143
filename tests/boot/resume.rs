//! A machine that is stopped and goes on: paused, or copied out of a snapshot. Copies must not be taken for each other.

use crate::lab::{Guest, Lab, OUTPOST, PATIENCE, can_run};
use outpost_qemu::{Accel, Machine, Vm};
use outpost_wire::{EndCause, Event, MachineResumed, ResumeSign};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than the image takes for a jump of the wall clock, of which it sees whole seconds.
const STANDSTILL: Duration = Duration::from_secs(8);

const GENERATION: [&str; 2] = ["-device", "vmgenid,guid=auto"];

fn vm(lab: &Lab, machine: Machine, extra: &[&str]) -> Vm {
    Vm { extra: extra.iter().map(ToString::to_string).collect(), ..lab.vm(machine, machine.nics()[0], Accel::Tcg) }
}

fn boot_id(guest: &mut Guest) -> String {
    let about: Value = serde_json::from_str(&guest.wait_ok("/about").body).unwrap();
    about["boot_id"].as_str().unwrap().to_owned()
}

/// Writes the whole machine into a file, and ends it.
fn snapshot(mut guest: Guest, file: &Path) {
    let qmp = guest.running.qmp();
    qmp.execute("migrate", json!({ "uri": format!("exec:cat > {}", file.display()) })).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = qmp.execute("query-migrate", json!({})).unwrap();
        match answer["status"].as_str() {
            Some("completed") => break,
            Some("failed") => panic!("{answer}"),
            _ => assert!(Instant::now() < deadline, "{answer}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The boots that said that they are resumed, in the order of their boots' rows.
fn resumed(lab: &Lab, count: usize) -> Vec<MachineResumed> {
    let records = lab.wait_for("machine.resumed", count);
    let event = |record: &crate::lab::Stored| match record.event() {
        Event::MachineResumed(event) => event,
        other => panic!("{other:?}"),
    };
    records.iter().map(event).collect()
}

fn hex(id: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

#[test]
fn two_copies_of_one_snapshot_part() {
    // Two machines under one boot id give two records one name, and one of the two is lost at the collector.
    for (machine, extra, sign) in [
        (Machine::Q35, &GENERATION[..], ResumeSign::Generation),
        // Without a generation id only the wall clock tells.
        (Machine::Microvm, &[], ResumeSign::WallClock),
    ] {
        let lab = Lab::new();
        let mut first = Guest::boot(&vm(&lab, machine, extra));
        let original = boot_id(&mut first);
        lab.wait_for("collector.connected", 1);
        let file = lab.folder().join("snapshot");
        snapshot(first, &file);
        if sign == ResumeSign::WallClock {
            thread::sleep(STANDSTILL);
        }
        let incoming = format!("exec:cat {}", file.display());
        let restore = [extra, &["-incoming", &incoming]].concat();
        let mut copies = [0, 1].map(|_| Guest::boot(&vm(&lab, machine, &restore)));
        let found = resumed(&lab, 2);
        let ids = copies.each_mut().map(boot_id);
        assert!(ids[0] != ids[1] && !ids.contains(&original), "{machine}: {ids:?}, copies of {original}");
        for event in &found {
            assert_eq!((event.sign, hex(event.old_boot)), (sign, original.clone()), "{machine}: {event:?}");
            assert!(ids.contains(&hex(event.new_boot)), "{machine}: {event:?}");
            assert!(sign == ResumeSign::Generation || event.jump_us > 5_000_000, "{machine}: {event:?}");
        }
        let ends = lab.wait_for("boot.previous_ended", 2);
        for end in &ends {
            let Event::BootPreviousEnded(end) = end.event() else { panic!("{end:?}") };
            assert_eq!((end.cause, hex(end.boot_id), end.torn), (EndCause::Resumed, original.clone(), 0), "{end:?}");
        }
        // Each has an address and a session of its own, and ends in order.
        lab.wait_for("collector.connected", 3);
        copies.iter_mut().for_each(Guest::power_down);
        lab.wait_for("shutdown", 2);
        let verified = Command::new(OUTPOST).arg("verify").arg(lab.folder().join("store.db")).output().unwrap();
        assert!(verified.status.success(), "{machine}: {}", String::from_utf8_lossy(&verified.stdout));
    }
}

#[test]
fn a_pause_is_no_more_than_that_with_a_generation_id() {
    // Every nightly backup that pauses the VM would else end its boot and its connections.
    pause(Machine::Q35, Accel::Tcg, &GENERATION, true);
}

#[test]
fn a_pause_without_a_generation_id_may_be_a_copy() {
    // The clock chip tells.
    pause(Machine::Microvm, Accel::Tcg, &[], false);
}

#[test]
fn a_pause_is_seen_by_kvmclock() {
    // A microvm under KVM has no clock chip, and kvmclock itself stands still with the machine.
    if can_run(Accel::Kvm, "resume::a_pause_is_seen_by_kvmclock") {
        pause(Machine::Microvm, Accel::Kvm, &[], false);
    }
}

/// Pauses a machine, and sees whether its boot goes on as the `same`.
fn pause(machine: Machine, accel: Accel, extra: &[&str], same: bool) {
    let lab = Lab::new();
    let mut guest = Guest::boot(&Vm { accel, ..vm(&lab, machine, extra) });
    let before = boot_id(&mut guest);
    lab.wait_for("collector.connected", 1);
    guest.running.qmp().execute("stop", json!({})).unwrap();
    thread::sleep(STANDSTILL);
    guest.running.qmp().execute("cont", json!({})).unwrap();
    let event = resumed(&lab, 1)[0];
    assert_eq!((event.sign, hex(event.old_boot), event.backwards), (ResumeSign::WallClock, before.clone(), false));
    let jump = Duration::from_micros(event.jump_us);
    assert!(jump + Duration::from_secs(2) > STANDSTILL && jump < PATIENCE, "{machine}: {event:?}");
    assert_eq!(event.old_boot == event.new_boot, same, "{machine}: {event:?}");
    assert_eq!(boot_id(&mut guest), hex(event.new_boot), "{machine}");
    assert_eq!(lab.records("boot.started").len(), if same { 1 } else { 2 }, "{machine}");
    guest.power_down();
    lab.wait_for("shutdown", 1);
}
