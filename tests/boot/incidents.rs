//! A booted guest pulls the document of incidents from a real nginx, signed by the real command: it shows a good one, and
//! keeps it when another is put in its place.

use crate::lab::{Guest, Lab, PATIENCE, get};
use crate::support::{Why, left_out};
use crate::tls::delays;
use crate::watch::Nginx;
use outpost_qemu::{Accel, Machine};
use outpost_wire::{Event, IncidentRefusal};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Most microseconds of the guest's own time, each a thousand instructions, that /livez may take while a document is verified.
const LIVEZ_AT_MOST_US: u64 = 40_000;

/// Documents that are pulled meanwhile: at the start, and an interval later.
const PULLS: usize = 2;

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

#[test]
fn the_agent_answers_while_a_signature_is_checked() {
    // The check is done in one poll: it must be short enough that no load balancer takes the agent for dead meanwhile. QEMU
    // counts instructions, as for the handshakes of TLS.
    let Some(program) = Nginx::program() else {
        let why = "nginx is not installed: apt-get install nginx-light";
        return left_out(Why::Skipped, "the_agent_answers_while_a_signature_is_checked", why);
    };
    let lab = Lab::new();
    let folder = lab.folder().join("incidents");
    std::fs::create_dir(&folder).unwrap();
    let public = incident(&folder, &["keygen"]).trim().to_owned();
    incident(
        &folder,
        &["new", "i.json", "--id", "pay-1", "--title", "Payments fail", "--impact", "major", "--next-update", "30m"],
    );
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = lab.folder().join("pulls.log");
    let site = format!("root {}; access_log {};", folder.display(), log.display());
    let _nginx = Nginx::start(&program, lab.folder(), port, &site);
    let mut config: Value = serde_json::from_str(&lab.config(None)).unwrap();
    config["incidents"] =
        json!({"url": format!("http://10.0.2.2:{port}/i.json"), "public_key": public, "interval_s": 10});
    let mut vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    vm.config = Some(lab.file("incidents.json", &config.to_string()));
    let dump = lab.folder().join("frames.pcap");
    vm.extra = ["-icount", "shift=0", "-rtc", "clock=vm", "-object"].map(String::from).to_vec();
    vm.extra.push(format!("filter-dump,id=frames,netdev=net0,file={}", dump.display()));
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    let mut client = TcpStream::connect(guest.http()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let pulls = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    let mut after = 0;
    while after < 3 {
        after += usize::from(pulls() >= PULLS);
        for _ in 0..100 {
            client.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let (mut answer, mut part) = (Vec::new(), [0; 1024]);
            while !answer.ends_with(b"ok") {
                let count = client.read(&mut part).unwrap();
                assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
                answer.extend(&part[..count]);
            }
        }
        assert!(Instant::now() < deadline, "{} documents were pulled", pulls());
    }
    assert_eq!(wait_for(&guest, |incidents| incidents["revision"] == 1)["refusal"], Value::Null);
    guest.power_down();
    let mut delays = delays(&std::fs::read(&dump).unwrap());
    delays.sort_unstable();
    let (count, longest) = (delays.len(), *delays.last().unwrap());
    println!("/livez, {count} times while documents are pulled: median {} us, longest {longest} us", delays[count / 2]);
    assert!(longest <= LIVEZ_AT_MOST_US, "{longest} us");
    // Else no request met a check, and nothing was shown.
    assert!(longest >= 1000, "{longest} us");
}
