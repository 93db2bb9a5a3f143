//! A booted guest pulls the document of incidents from a real nginx, signed by the real command: it shows a good one, and
//! keeps it when another is put in its place.

use crate::lab::{Guest, Lab, PATIENCE, get};
use crate::support::{Why, left_out};
use crate::watch::Nginx;
use outpost_qemu::{Accel, Machine};
use outpost_wire::{Event, IncidentRefusal};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn incident(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .arg("incident")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn wait_for(guest: &Guest, what: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status: Value = serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap();
        if what(&status["incidents"]) {
            return status["incidents"].clone();
        }
        assert!(Instant::now() < deadline, "{}", status["incidents"]);
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_signed_document_of_a_web_server_is_shown() {
    // The image's verifier beside the host's signer, a real server's heads, and the time it takes in the guest.
    let Some(program) = Nginx::program() else {
        let why = "nginx is not installed: apt-get install nginx-light";
        return left_out(Why::Skipped, "a_signed_document_of_a_web_server_is_shown", why);
    };
    let lab = Lab::new();
    let folder = lab.folder().join("incidents");
    std::fs::create_dir(&folder).unwrap();
    let public = incident(&folder, &["keygen"]).trim().to_owned();
    let new =
        ["new", "i.json", "--id", "pay-1", "--title", "Payments fail", "--impact", "major", "--next-update", "30m"];
    incident(&folder, &new);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _nginx = Nginx::start(&program, lab.folder(), port, &format!("root {};", folder.display()));
    let mut config: Value = serde_json::from_str(&lab.config(None)).unwrap();
    config["incidents"] =
        json!({"url": format!("http://10.0.2.2:{port}/i.json"), "public_key": public, "interval_s": 10});
    let mut vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    vm.config = Some(lab.file("incidents.json", &config.to_string()));
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/readyz");

    let shown = wait_for(&guest, |incidents| incidents["revision"] == 1);
    assert_eq!((&shown["open"][0]["id"], &shown["refusal"]), (&json!("pay-1"), &Value::Null));
    let page = get(guest.http(), "/").unwrap().body;
    assert!(page.contains("Payments fail") && page.contains("Next update by "), "{page}");

    // Somebody changes the file, without the key.
    let served = folder.join("i.json");
    let file = std::fs::read_to_string(&served).unwrap();
    std::fs::write(&served, file.replace("Payments fail", "Payments work")).unwrap();
    let kept = wait_for(&guest, |incidents| incidents["refusal"] == "signature");
    assert_eq!((&kept["revision"], &kept["open"][0]["title"]), (&json!(1), &json!("Payments fail")));
    std::fs::write(&served, file).unwrap();
    incident(&folder, &["resolve", "i.json", "pay-1"]);
    let over = wait_for(&guest, |incidents| incidents["revision"] == 2);
    assert_eq!((&over["open"], &over["failures"]), (&json!([]), &json!(0)));

    let refused = lab.wait_for("incidents.refused", 1);
    let Event::IncidentsRefused(refused) = refused[0].event() else { panic!("{refused:?}") };
    assert_eq!((refused.reason, refused.kept_revision), (IncidentRefusal::Signature, 1));
    assert_eq!(lab.wait_for("incident.changed", 2).len(), 2);
    guest.power_down();
}
