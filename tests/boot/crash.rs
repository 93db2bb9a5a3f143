//! What a crash leaves: whatever ends a boot, the next one has its records, and knows how it ended.

use crate::lab::{Guest, Lab, OUTPOST, PATIENCE, Stored, debug_image, get};
use outpost_qemu::{Accel, Machine, Vm};
use outpost_wire::session::Mode;
use outpost_wire::{BootPreviousEnded, EndCause, Event};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddrV4;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a guest makes load before it is reset: some thousand records.
const LOAD: Duration = Duration::from_secs(3);

/// A guest with this drill, and the devices that `extra` names.
fn drilled(lab: &Lab, machine: Machine, drill: Value, extra: &[&str]) -> Vm {
    Vm {
        config: Some(lab.file("drill.json", &lab.config(Some(drill)))),
        extra: extra.iter().map(ToString::to_string).collect(),
        ..lab.vm(machine, machine.nics()[0], Accel::Tcg)
    }
}

/// Whether every session of the guest was of this mode, by its own records: those that were salvaged went by one.
fn went_by(lab: &Lab, mode: Mode) -> bool {
    let sessions = lab.wait_for("collector.connected", 1);
    sessions.iter().all(|record| {
        let Event::CollectorConnected(session) = record.event() else { panic!("{record:?}") };
        session.keyed == (mode == Mode::Keyed)
    })
}

/// How the first boot ended, as the second one says; and the first one's records, all of them.
fn first_end(lab: &Lab) -> (BootPreviousEnded, Vec<Stored>) {
    let ends = lab.wait_for("boot.previous_ended", 1);
    let Event::BootPreviousEnded(end) = ends[0].event() else { panic!("{:?}", ends[0]) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let first: Vec<Stored> = lab.stored().into_iter().filter(|record| record.boot != ends[0].boot).collect();
        let boot = first.first().map(|record| record.boot);
        let first: Vec<Stored> = first.into_iter().filter(|record| Some(record.boot) == boot).collect();
        let seqs = first.iter().map(|record| record.seq as u64);
        if seqs.eq(1..=end.last_seq) {
            return (end, first);
        }
        assert!(Instant::now() < deadline, "{} of {} records of the first boot", first.len(), end.last_seq);
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_panic_is_told_by_the_next_boot() {
    // A crash whose cause is gone with it happens again.
    for (machine, mode) in [(Machine::Microvm, Mode::Clear), (Machine::Q35, Mode::Keyed)] {
        let lab = Lab::of(mode);
        let _guest = Guest::boot(&drilled(&lab, machine, json!({ "panic_after_s": 4 }), &[]));
        let (end, records) = first_end(&lab);
        assert_eq!((end.cause, end.abnormal_ends, end.torn), (EndCause::Panic, 1, 0), "{machine}");
        assert!((4..10).contains(&end.uptime_s), "{machine}: {} s", end.uptime_s);
        let Some(Event::Panic(panic)) = records.last().map(Stored::event) else { panic!("{:?}", records.last()) };
        assert!(panic.message.as_str().starts_with("drill: "), "{panic:?}");
        assert!(panic.location.as_str().starts_with("boot/image.rs:"), "{panic:?}");
        assert!(went_by(&lab, mode), "{machine}");
        let named = symbolized(&panic.backtrace);
        assert!(named.contains("fail at ") && named.contains("boot/image.rs:"), "{named}");
    }
}

/// What `outpost symbolize` makes of a backtrace as a record shows it.
fn symbolized(backtrace: &[u8]) -> String {
    let mut child = Command::new(OUTPOST)
        .arg("symbolize")
        .arg(debug_image())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let digits: String = backtrace.iter().map(|byte| format!("{byte:02x}")).collect();
    child.stdin.take().unwrap().write_all(format!("panic backtrace={digits}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "every address is in the image's code");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_reset_in_the_middle_of_load_loses_nothing() {
    // The reset button, or a triple fault, leaves no time for anything: what is in the ring must be enough.
    for (machine, mode) in [(Machine::Microvm, Mode::Keyed), (Machine::Q35, Mode::Clear)] {
        let lab = Lab::of(mode);
        let mut guest = Guest::boot(&drilled(&lab, machine, json!({ "records_per_s": 500 }), &[]));
        guest.wait_ok("/livez");
        // What is logged behind a cut link is nowhere but in the region.
        guest.set_link(false);
        thread::sleep(LOAD);
        guest.running.qmp().system_reset().unwrap();
        guest.set_link(true);
        let (end, records) = first_end(&lab);
        assert_eq!(end.cause, EndCause::Reset, "{machine}");
        assert!(end.salvaged > 500 && records.len() as u64 == end.last_seq, "{machine}: {end:?}");
        guest.wait_ok("/livez");
        assert!(went_by(&lab, mode), "{machine}");
        guest.power_down();
        let store = lab.file("asked", "").with_file_name("store.db");
        let verified = Command::new(OUTPOST).arg("verify").arg(store).output().unwrap();
        assert!(verified.status.success(), "{machine}: {}", String::from_utf8_lossy(&verified.stdout));
    }
}

#[test]
fn a_hang_is_ended_by_the_watchdog() {
    // A machine that stands still serves nobody until somebody looks.
    for (machine, device) in [(Machine::Microvm, "ib700"), (Machine::Q35, "i6300esb"), (Machine::Pc, "ib700")] {
        let lab = Lab::new();
        let extra = ["-device", device, "-action", "watchdog=reset"];
        let mut guest = Guest::boot(&drilled(&lab, machine, json!({ "hang_after_s": 5 }), &extra));
        let about = guest.wait_ok("/about").body;
        assert!(about.contains(&format!(r#""watchdog":"{device}"#)), "{about}");
        assert!(about.contains(r#""last_reset":"power_on""#), "{about}");
        guest.wait_for_line(&["a machine that stands still"]);
        let (end, _) = first_end(&lab);
        assert_eq!(end.cause, EndCause::Watchdog, "{machine} with {device}: {end:?}");
    }
}

#[test]
fn the_host_is_told_of_a_panic_and_of_nothing_else() {
    // A host that switches off whatever says "panicked" takes the records with it, and none knows of a reset it is not
    // told of.
    for (machine, device) in [(Machine::Pc, "pvpanic"), (Machine::Q35, "pvpanic-pci")] {
        for (on_panic, told, not_told) in
            [("reset", "GUEST_CRASHLOADED", "GUEST_PANICKED"), ("stop", "GUEST_PANICKED", "GUEST_CRASHLOADED")]
        {
            let lab = Lab::new();
            let mut vm =
                drilled(&lab, machine, json!({ "panic_after_s": 2 }), &["-device", device, "-action", "panic=pause"]);
            vm.command_line = format!("outpost.on_panic={on_panic}");
            let mut guest = Guest::boot(&vm);
            let deadline = Instant::now() + PATIENCE;
            while !guest.running.qmp().told_of(told).unwrap() {
                assert!(Instant::now() < deadline, "{machine} with {device} and {on_panic}: nothing was told");
                thread::sleep(Duration::from_millis(50));
            }
            assert!(!guest.running.qmp().told_of(not_told).unwrap(), "{machine} with {device} and {on_panic}");
            if on_panic == "reset" {
                assert_eq!(first_end(&lab).0.cause, EndCause::Panic, "{machine} with {device}");
            }
        }
        let lab = Lab::new();
        let quiet = Vm {
            extra: ["-device", device, "-no-shutdown"].map(String::from).into(),
            ..lab.vm(machine, machine.nics()[0], Accel::Tcg)
        };
        let mut guest = Guest::boot(&quiet);
        guest.wait_ok("/livez");
        guest.running.qmp().system_powerdown().unwrap();
        lab.wait_for("shutdown", 1);
        guest.wait_status("shutdown", PATIENCE);
        let qmp = guest.running.qmp();
        assert!(!qmp.told_of("GUEST_PANICKED").unwrap() && !qmp.told_of("GUEST_CRASHLOADED").unwrap(), "{machine}");
    }
}

#[test]
fn a_crash_loop_ends_in_safe_mode() {
    // A machine that crashes as soon as it serves must still say so, and why.
    let lab = Lab::new();
    let mut guest = Guest::boot(&drilled(&lab, Machine::Microvm, json!({ "panic_after_s": 1 }), &[]));
    guest.wait_for_line(&["boot.previous_ended", "safe_mode=true"]);
    let http: SocketAddrV4 = guest.running.forwarded(80).unwrap();
    guest.wait_ok("/livez");
    let ready = get(http, "/readyz").unwrap();
    assert!(ready.status == 503 && ready.body.contains("[-]boot failed: safe mode"), "{ready:?}");
    let about = guest.wait_ok("/about").body;
    assert!(about.contains(r#""last_reset":"panic""#) && about.contains(r#""safe_mode":true"#), "{about}");
    let ends = lab.wait_for("boot.previous_ended", 3);
    let Some(Event::BootPreviousEnded(last)) = ends.last().map(Stored::event) else { panic!("{ends:?}") };
    assert_eq!((last.cause, last.abnormal_ends, last.safe_mode), (EndCause::Panic, 3, true));
    assert_eq!(lab.wait_for("panic", 3).len(), 3, "each boot's panic, under its own id, and no other");
    // The drill would have come again by now.
    thread::sleep(Duration::from_secs(3));
    guest.wait_ok("/livez");
    assert_eq!(guest.running.serial().text().matches("outpost: panic:").count(), 3);
}
