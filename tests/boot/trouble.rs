//! What is wrong with a machine stands on its serial console, in a sentence with the remedy.

use crate::lab::{Guest, Lab, PATIENCE, image, wait_for_line};
use outpost_qemu::{Accel, Machine, Network, Nic, Vm};

#[test]
fn without_a_card() {
    // An image that boots deaf and says nothing is found by the next incident.
    for machine in Machine::ALL {
        let vm = Vm { nic: None, network: Network::Silent, ..Vm::new(machine, image()) };
        let mut running = vm.start().unwrap();
        wait_for_line(&mut running, &["no network card", "virtio-net"]);
    }
}

#[test]
fn without_an_answer_to_dhcp() {
    // A bridge without a DHCP server is the most common mistake with a new VM.
    let vm = Vm { network: Network::Silent, ..Vm::new(Machine::Microvm, image()) };
    let mut running = vm.start().unwrap();
    wait_for_line(&mut running, &["DHCP", "network.static"]);
}

#[test]
fn with_too_little_memory() {
    // Without the check the image would be loaded beyond the end of RAM and die without a word.
    for machine in Machine::ALL {
        let vm = Vm { memory_mib: 6, ..Vm::new(machine, image()) };
        let mut running = vm.start().unwrap();
        wait_for_line(&mut running, &["MiB of RAM", "QEMU: -m"]);
    }
}

#[test]
fn with_a_broken_configuration() {
    // A typing error in the configuration must neither prevent the boot nor stay unknown.
    let lab = Lab::new();
    let mut vm = lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg);
    let text = format!(r#"{{"collector":{{"address":"10.0.2.2:{}"}},"http":{{"port":"eighty"}}}}"#, lab.port());
    vm.config = Some(lab.file("broken.json", &text));
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    guest.wait_for_line(&["/http/port"]);
    guest.running.wait_for("eighty", PATIENCE).unwrap();
    lab.wait_for("config.invalid", 1);
}
