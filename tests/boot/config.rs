//! The configuration comes from every place a host can put it, and what comes later counts.

use crate::lab::{Guest, Lab, get};
use outpost_qemu::{Accel, Machine, Vm};

#[test]
fn every_source_is_read_in_its_order() {
    // A setting that a deployment overrides and that stays as it was is found when it matters.
    let lab = Lab::new();
    for machine in Machine::ALL {
        let vm = lab.vm(machine, machine.nics()[0], Accel::Tcg);
        let vm = Vm {
            config_by_fw_cfg: Some(lab.file("fw_cfg.json", r#"{"name":"by-fw-cfg","http":{"maintenance":true}}"#)),
            command_line: "outpost.http.maintenance=false outpost.on_panic=stop".into(),
            ..vm
        };
        let mut guest = Guest::boot(&vm);
        guest.wait_ok("/readyz");
        let status = get(guest.http(), "/status").unwrap();
        assert!(status.body.contains(r#""name":"by-fw-cfg""#), "{machine}: {}", status.body);
        assert!(status.body.contains(&format!(r#""address":"10.0.2.2:{}""#, lab.port())), "{machine}: {}", status.body);
        let about = get(guest.http(), "/about").unwrap();
        assert!(about.body.contains(r#""config_source":"command_line""#), "{machine}: {}", about.body);
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused_where_everybody_looks() {
    // Whoever sees the host's process list would have the key.
    let lab = Lab::new();
    let vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    let vm = Vm { command_line: format!("outpost.collector.key={}", "5e".repeat(32)), ..vm };
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    guest.wait_for_line(&["config", "command_line", "/collector/key", "a secret is not taken from the command line"]);
    assert_eq!(get(guest.http(), "/readyz").unwrap().status, 503);
    assert!(!guest.running.serial().text().contains("5e5e"));
}
