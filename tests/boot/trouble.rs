//! What is wrong with a machine stands on its serial console, in a sentence with the remedy.

use crate::lab::{Guest, Lab, PATIENCE, image, wait_for_line};
use outpost_qemu::{Accel, Machine, Network, Nic, Vm};
use outpost_wire::session::Mode;
use serde_json::{Value, json};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn without_a_card() {
    // An image that boots deaf and says nothing is found by the next incident.
    for machine in Machine::ALL {
        let vm = Vm { nic: None, network: Network::Silent, ..Vm::new(machine, image()) };
        let mut running = vm.start().unwrap();
        wait_for_line(&mut running, &["link absent", "no network card", "virtio-net"]);
    }
}

#[test]
fn without_an_answer_to_dhcp() {
    // A bridge without a DHCP server is the most common mistake with a new VM.
    let vm = Vm { network: Network::Silent, ..Vm::new(Machine::Microvm, image()) };
    let mut running = vm.start().unwrap();
    wait_for_line(&mut running, &["link up", "address none", "NTP none", "collector none", "DHCP", "network.static"]);
}

#[test]
fn with_too_little_memory() {
    // Without the check the image would be loaded beyond the end of RAM and die without a word.
    for machine in Machine::ALL {
        let vm = Vm { memory_mib: 8, ..Vm::new(machine, image()) };
        let mut running = vm.start().unwrap();
        wait_for_line(&mut running, &["MiB of RAM", "QEMU: -m"]);
    }
    // Here what is packed ends beyond RAM.
    let vm = Vm { memory_mib: 6, ..Vm::new(Machine::Microvm, image()) };
    let mut running = vm.start().unwrap();
    wait_for_line(&mut running, &["outpost: the image is damaged, or", "less memory", "QEMU: -m"]);
}

#[test]
fn with_a_damaged_image() {
    // A VMM does not look at what it loads: one bit, and the image would be unpacked into something else and run.
    let packed = fs::read(image()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (middle, last) = (packed.len() / 2, packed.len() - 1);
    // The entry's segment begins with the length of the block; its place in the file is in the first program header.
    let length = usize::from(u16::from_le_bytes([packed[0x48], packed[0x49]]));
    let block = packed.len() - u32::from_le_bytes(packed[length..length + 4].try_into().unwrap()) as usize;
    // The highest bit of a word: a product keeps it where it is, so that two of them could hide each other.
    let high = |word: usize| block + 4 * word + 3;
    for (name, bit, places) in [
        ("first", 4, vec![block]),
        ("middle", 4, vec![middle]),
        ("last", 4, vec![last]),
        ("two", 0x80, vec![high(250), high(50_000)]),
        ("length", 0x80, vec![length + 3]),
    ] {
        let mut damaged = packed.clone();
        places.iter().for_each(|place| damaged[*place] ^= bit);
        let path = folder.path().join(format!("{name}.elf"));
        fs::write(&path, damaged).unwrap();
        let mut running = Vm::new(Machine::Microvm, path).start().unwrap();
        wait_for_line(&mut running, &["outpost: the image is damaged"]);
    }
}

#[test]
fn with_a_collector_that_refuses() {
    // "Disconnected" sends people to the firewall, when the collector has said what is wrong.
    let lab = Lab::of(Mode::Keyed);
    let mut vm = lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg);
    let mut config: Value = serde_json::from_str(&crate::lab::config(lab.port(), Mode::Clear, None)).unwrap();
    // Not ready, so that the console says how it is.
    config["http"] = json!({ "maintenance": true });
    vm.config = Some(lab.file("clear.json", &config.to_string()));
    let mut guest = Guest::boot(&vm);
    guest.wait_for_line(&["collector.lost", "reason=refused_key"]);
    guest.wait_for_line(&["not ready", "collector 10.0.2.2", "failed, refused_key)"]);
    let status: Value = serde_json::from_str(&guest.wait_ok("/status").body).unwrap();
    let check = status["checks"].as_array().unwrap().iter().find(|check| check["name"] == "collector").unwrap();
    assert_eq!(check["reason"], "disconnected, the collector requires a key");
}

#[test]
fn with_a_key_and_no_randomness() {
    // A session whose keys can be guessed is worse than none, and an agent that is just silent is taken for a cut cable.
    let lab = Lab::of(Mode::Keyed);
    let mut vm = lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg);
    vm.cpu = Some("max,-rdrand,-rdseed".to_owned());
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    guest.wait_for_line(&["boot.started", "entropy=weak"]);
    guest.wait_for_line(&["collector.lost", "reason=weak_entropy", "attempts=0"]);
    let status: Value = serde_json::from_str(&guest.wait_ok("/status").body).unwrap();
    let check = status["checks"].as_array().unwrap().iter().find(|check| check["name"] == "collector").unwrap();
    assert_eq!(check["status"], "warn");
    assert!(check["reason"].as_str().unwrap().starts_with("weak entropy"), "{check}");
    assert_eq!((&status["collector"]["last_end"], &status["log"]["delivered"]), (&"weak_entropy".into(), &0.into()));
    // What is to be done about it stands on the summary, too.
    assert!(guest.wait_ok("/").body.contains("RDRAND"));
    // Longer than the first attempts of a session take: there is none.
    sleep(Duration::from_secs(2));
    assert!(lab.stored().is_empty(), "records were sent all the same");
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
