//! Every machine and card: it serves, has its address from DHCP, and what it logs is in the store.

use crate::lab::{Guest, Lab, PATIENCE, can_run};
use crate::support::{Why, left_out};
use outpost_qemu::{Accel, Machine, Nic};
use outpost_wire::{Event, Ip4};
use std::process::Command;

/// The address that QEMU's user network leases first.
const LEASED: Ip4 = Ip4([10, 0, 2, 15]);

macro_rules! on_every_machine {
    ($($name:ident: $machine:ident, $nic:ident, $accel:ident;)*) => {
        $(
            #[test]
            fn $name() {
                if can_run(Accel::$accel, concat!("serve::", stringify!($name))) {
                    serves(Machine::$machine, Nic::$nic, Accel::$accel);
                }
            }
        )*
    };
}
on_every_machine! {
    microvm_mmio_v1: Microvm, MmioV1, Tcg;
    microvm_mmio_v2: Microvm, MmioV2, Tcg;
    microvm_mmio_v2_kvm: Microvm, MmioV2, Kvm;
    q35_pci_modern: Q35, PciModern, Tcg;
    q35_pci_transitional: Q35, PciTransitional, Tcg;
    pc_pci_modern: Pc, PciModern, Tcg;
    pc_pci_transitional: Pc, PciTransitional, Tcg;
}

/// A driver that finds the card and moves no frame, a clock that stands still, an interrupt that never comes: each
/// boots, and says that it serves.
fn serves(machine: Machine, nic: Nic, accel: Accel) {
    let lab = Lab::new();
    let mut guest = Guest::boot(&lab.vm(machine, nic, accel));
    let answer = guest.wait_ok("/livez");
    assert_eq!(answer.body.trim_end(), "ok", "{answer:?}");
    assert!(answer.head.contains("\r\nContent-Type: text/plain"), "{answer:?}");
    guest.wait_ok("/readyz");
    ask_with_curl(&guest);

    let started = lab.wait_for("boot.started", 1);
    let Event::BootStarted(event) = started[0].event() else { panic!("{:?}", started[0]) };
    let memory_mib = event.memory_bytes / (1024 * 1024);
    assert!((11..=12).contains(&memory_mib), "{memory_mib} MiB, with -m 12");
    let bound = lab.wait_for("dhcp.bound", 1);
    let Event::DhcpBound(event) = bound[0].event() else { panic!("{:?}", bound[0]) };
    assert_eq!(event.address, LEASED);
    let requests = lab.wait_for("http.request", 1);
    assert!(requests.iter().any(|record| matches!(record.event(), Event::HttpRequest(event) if event.status == 200)));

    guest.power_down();
    assert_complete(&lab);
}

fn ask_with_curl(guest: &Guest) {
    let curl = Command::new("curl").args(["-sS", "-i", "--max-time", "20", &guest.url("/livez")]).output();
    match curl {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.contains("\r\nContent-Length: "), "{text}");
        }
        Err(error) => left_out(Why::Skipped, "curl against /livez", &format!("curl does not start: {error}")),
    }
}

/// After a clean end the store has every record of the boot, the last one says how it ended.
fn assert_complete(lab: &Lab) {
    lab.wait_for("shutdown", 1);
    let stored = lab.stored();
    let seqs: Vec<i64> = stored.iter().map(|record| record.seq).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as i64), "records are missing: {seqs:?}");
    assert!(matches!(stored.last().map(|record| record.event()), Some(Event::Shutdown(_))), "{stored:?}");
}

#[test]
fn twenty_boots_in_a_row() {
    // A race between boot and the first frame shows once in a dozen boots, and then in production.
    let lab = Lab::new();
    for boot in 1..=20 {
        let mut guest = Guest::boot(&lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg));
        assert_eq!(guest.wait_ok("/livez").body.trim_end(), "ok", "boot {boot}");
        lab.wait_for("boot.started", boot);
    }
    let mut boots: Vec<i64> = lab.records("boot.started").iter().map(|record| record.boot).collect();
    boots.dedup();
    assert_eq!(boots.len(), 20, "each boot has an id of its own");
}

#[test]
fn a_reset_guest_serves_again() {
    // A device or a log region left over from before the reset must not stop the next boot.
    for machine in Machine::ALL {
        let lab = Lab::new();
        let mut guest = Guest::boot(&lab.vm(machine, machine.nics()[0], Accel::Tcg));
        guest.wait_ok("/livez");
        lab.wait_for("boot.started", 1);
        guest.running.qmp().system_reset().unwrap();
        let started = lab.wait_for("boot.started", 2);
        assert_ne!(started[0].boot, started[1].boot, "{machine}");
        guest.wait_ok("/livez");
    }
}

#[test]
fn a_plain_processor_is_enough() {
    // QEMU's default processor has no RDRAND, no SMEP and no invariant TSC.
    let lab = Lab::new();
    let mut vm = lab.vm(Machine::Pc, Nic::PciTransitional, Accel::Tcg);
    vm.cpu = Some(String::from("qemu64"));
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/readyz");
    guest.running.wait_for("boot.started", PATIENCE).unwrap();
}
