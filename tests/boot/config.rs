//! The configuration comes from every place a host can put it, and what comes later counts.

use crate::lab::{Guest, Lab, OUTPOST, Slot, get, image};
use outpost_qemu::{Accel, Forward, Machine, Network, Vm};
use serde_json::Value;
use std::process::Command;

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

/// A guest with something that is no configuration, and what the console must say about it.
struct Bad {
    what: &'static str,
    document: Vec<u8>,
    command_line: String,
    says: &'static [&'static str],
}

#[test]
fn whatever_is_handed_over_is_one_sentence_everywhere_and_stops_nothing() {
    // A wrong file beside the image must not be a machine that is silent, or one that looks well.
    let lab = Lab::new();
    let good = br#"{"name":"lab"}"#.to_vec();
    let mut huge = br#"{"name":"lab", "contact": {"name": ""#.to_vec();
    huge.resize(1 << 20, b'x');
    let secret = "5e".repeat(32);
    let table = [
        Bad {
            what: "1 MiB",
            document: huge,
            command_line: String::new(),
            says: &["the document is too long", "65536"],
        },
        Bad {
            what: "an image",
            document: std::fs::read(image()).unwrap(),
            command_line: String::new(),
            says: &["this is an ELF file, not text"],
        },
        Bad {
            what: "a secret",
            document: good,
            command_line: format!("outpost.collector.key={secret}"),
            says: &["command_line", "/collector/key", "a secret is not taken from the command line"],
        },
    ];
    // All boot at the same time.
    let guests: Vec<_> = table
        .iter()
        .map(|bad| {
            let path = lab.folder().join(bad.what);
            std::fs::write(&path, &bad.document).unwrap();
            let vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
            let command_line = bad.command_line.clone();
            (bad, path.clone(), Guest::boot(&Vm { config: Some(path), command_line, memory_mib: 16, ..vm }))
        })
        .collect();
    for (bad, path, mut guest) in guests {
        let what = bad.what;
        guest.wait_ok("/livez");
        guest.wait_for_line(&[&["not ready: ", "config ("], bad.says].concat());
        guest.wait_for_line(&["config.invalid"]);
        let ready = get(guest.http(), "/readyz").unwrap();
        assert!(ready.status == 503 && ready.body.contains("[-]config failed: invalid"), "{what}: {}", ready.body);
        // The host says the same, before there is a guest.
        let check = Command::new(OUTPOST)
            .args(["check", "--json", "--command-line", &bad.command_line])
            .arg(&path)
            .output()
            .unwrap();
        let host: Value = serde_json::from_slice(&check.stdout).unwrap();
        let guests: Value = serde_json::from_str(&get(guest.http(), "/config").unwrap().body).unwrap();
        assert_eq!(host["problem_count"], guests["problem_count"], "{what}: {host}");
        let texts = |problems: &Value, key: &str| -> Vec<Value> {
            problems["problems"].as_array().unwrap().iter().map(|problem| problem[key].clone()).collect()
        };
        assert_eq!(texts(&host, "text"), texts(&guests, "problem"), "{what}");
        assert_eq!(get(guest.http(), "/").unwrap().status, 200, "{what}");
        let everything = guest.running.serial().text() + &guests.to_string() + &ready.body;
        assert!(!everything.contains("5e5e"), "{what}: the secret is shown");
    }
}

#[test]
fn without_any_configuration_it_serves_and_says_how_to_give_one() {
    // The first boot of most people: it must be up, and tell the next step where they look.
    let vm = Vm { network: Network::User(vec![Forward::to(80)]), ..Vm::new(Machine::Microvm, image()) };
    let _slot = Slot::take();
    let mut guest = Guest::boot(&vm);
    assert_eq!(guest.wait_ok("/readyz").status, 200);
    guest.wait_for_line(&["boot.started", "config=default"]);
    guest.wait_for_line(&["dhcp.bound", "address=10.0.2.15"]);
    let how = ["outpost config init", "-initrd config.json", "--initramfs config.json", "/schema/config.json"];
    for (kind, accept) in [("text/plain", "*/*"), ("text/html", "text/html")] {
        let page =
            Command::new("curl").args(["-sSi", "-H", &format!("Accept: {accept}"), &guest.url("/")]).output().unwrap();
        let page = String::from_utf8(page.stdout).unwrap();
        assert!(page.contains(&format!("Content-Type: {kind}")), "{page}");
        how.iter().for_each(|words| assert!(page.contains(words), "{words} is not in {page}"));
    }
    let config: Value = serde_json::from_str(&get(guest.http(), "/config").unwrap().body).unwrap();
    assert_eq!((&config["source"], &config["problem_count"]), (&"default".into(), &0.into()));
}
