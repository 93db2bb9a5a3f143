//! The power button: the boot ends in order, within a bound, and the collector knows that it was asked to.

use crate::lab::{Collector, Guest, Lab, PATIENCE};
use outpost_qemu::{Accel, Machine};
use outpost_wire::session::Mode;
use outpost_wire::{EndCause, Event, ShutdownCause};
use std::time::Duration;

/// What an end without anybody to tell may take: the agent's own bound is 3 s.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn pressed_twice_it_is_one_end() {
    // Who sees nothing happen presses again; the second press must neither cut the first end short nor be another.
    for machine in Machine::ALL {
        let lab = Lab::new();
        let mut guest = Guest::boot(&lab.vm(machine, machine.nics()[0], Accel::Tcg));
        guest.wait_ok("/livez");
        guest.running.qmp().system_powerdown().unwrap();
        // QEMU may have ended in between.
        let _ = guest.running.qmp().system_powerdown();
        let status = guest.running.wait_exit(PATIENCE).unwrap_or_else(|error| panic!("{machine}: {error}"));
        assert!(status.success(), "{machine}: {status}");
        let ends = lab.wait_for("shutdown", 1);
        let Event::Shutdown(end) = ends[0].event() else { panic!("{:?}", ends[0]) };
        assert_eq!((ends.len(), end.cause), (1, ShutdownCause::PowerButton), "{machine}");
    }
}

#[test]
fn without_a_collector_the_end_is_bounded_and_survives() {
    // A collector that is down must not keep a machine from being switched off, and its RAM may yet come back: QEMU's
    // -no-shutdown leaves it, as a reset after a failed power-off does.
    for machine in Machine::ALL {
        let lab = Lab::new();
        let folder = lab.folder().join("away");
        std::fs::create_dir(&folder).unwrap();
        let away = Collector::start(&folder, 0, Mode::Clear);
        let mut vm = lab.vm(machine, machine.nics()[0], Accel::Tcg);
        vm.config = Some(lab.file("away.json", &crate::lab::config(away.port, Mode::Clear, None)));
        vm.extra = vec![String::from("-no-shutdown")];
        let mut guest = Guest::boot(&vm);
        guest.wait_ok("/livez");
        let port = away.port;
        drop(away);
        guest.running.qmp().system_powerdown().unwrap();
        guest.wait_status("shutdown", BOUND);
        let back = Collector::start(lab.folder(), port, Mode::Clear);
        guest.running.qmp().system_reset().unwrap();
        guest.running.qmp().execute("cont", serde_json::json!({})).unwrap();
        let ends = lab.wait_for("boot.previous_ended", 1);
        let Event::BootPreviousEnded(end) = ends[0].event() else { panic!("{:?}", ends[0]) };
        assert_eq!((end.cause, end.abnormal_ends), (EndCause::Shutdown, 0), "{machine}: {end:?}");
        assert_eq!(lab.wait_for("shutdown", 1).len(), 1, "{machine}");
        drop(back);
    }
}
