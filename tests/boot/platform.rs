//! Machines that lack what a PC always had: each comes up, tells the time, serves, and comes back after a panic.
//!
//! A VMM leaves out what it likes; what is missing must not be waited for, nor be missed only when it is needed.

use crate::lab::{Guest, Lab, Stored, get};
use outpost_qemu::{Accel, Machine, Nic};
use outpost_wire::{EndCause, Event};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

macro_rules! machines {
    ($($name:ident: $machine:ident, $nic:ident, $arguments:expr, clock $clock:expr;)*) => {
        $(
            #[test]
            fn $name() {
                comes_up_and_comes_back(Machine::$machine, Nic::$nic, $arguments, $clock);
            }
        )*
    };
}
machines! {
    microvm_without_rtc: Microvm, MmioV2, "-machine rtc=off", clock "tsc (PIT)";
    microvm_without_pit: Microvm, MmioV2, "-machine pit=off", clock "tsc (APIC)";
    microvm_without_pic_pit_and_rtc: Microvm, MmioV2, "-machine pic=off,pit=off,rtc=off", clock "tsc (APIC)";
    // No RSDP in start_info and none in memory; no register to reset by.
    microvm_without_acpi: Microvm, MmioV2, "-machine acpi=off", clock "tsc (PIT)";
    microvm_with_nothing: Microvm, MmioV1, "-machine acpi=off,pic=off,pit=off,rtc=off", clock "tsc (APIC)";
    q35_without_pic_and_pit: Q35, PciTransitional, "-machine pic=off,pit=off,hpet=off", clock "tsc (APIC)";
    pc_without_acpi: Pc, PciTransitional, "-machine acpi=off", clock "tsc (PIT)";
    // So large a BAR leaves no room for others below 4 GiB: the card's registers lie above.
    q35_with_registers_above_4_gib: Q35, PciModern,
        "-object memory-backend-ram,id=big,size=8G,share=on,reserve=off -device ivshmem-plain,memdev=big", clock "tsc (PIT)";
    // Neither MSI-X nor, without AML, any other interrupt.
    pc_without_msix: Pc, PciModern, "-global virtio-net-pci.vectors=0", clock "tsc (PIT)";
}

fn comes_up_and_comes_back(machine: Machine, nic: Nic, arguments: &str, clock: &str) {
    let lab = Lab::new();
    let mut vm = lab.vm(machine, nic, Accel::Tcg);
    vm.config = Some(lab.file("drill.json", &lab.config(Some(json!({ "panic_after_s": 4 })))));
    vm.extra = arguments.split(' ').map(String::from).collect();
    let mut guest = Guest::boot(&vm);
    let about: Value = serde_json::from_str(&guest.wait_ok("/about").body).unwrap();
    assert_eq!(about["clock"], clock, "{about}");
    tells_the_time(&guest);
    // Whatever resets this machine, it must work, and the log must survive it.
    let ends = lab.wait_for("boot.previous_ended", 1);
    let Some(Event::BootPreviousEnded(end)) = ends.first().map(Stored::event) else { panic!("{ends:?}") };
    assert_eq!((end.cause, end.torn), (EndCause::Panic, 0), "{end:?}");
    lab.wait_for("panic", 1);
    guest.wait_ok("/livez");
}

/// By a clock that runs too fast or too slow every timeout is wrong.
fn tells_the_time(guest: &Guest) {
    let uptime = || -> f64 {
        let metrics = get(guest.http(), "/metrics").unwrap().body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("outpost_uptime_seconds "));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no uptime in {metrics}"))
    };
    let asked = Instant::now();
    let first = uptime();
    let answered = Instant::now();
    thread::sleep(Duration::from_secs(1));
    let shortest = answered.elapsed().as_secs_f64();
    let passed = uptime() - first;
    let longest = asked.elapsed().as_secs_f64();
    assert!((shortest * 0.97..longest * 1.03).contains(&passed), "{passed} s there, {shortest} to {longest} s here");
}
