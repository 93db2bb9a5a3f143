//! Host names from a real dnsmasq, in a network namespace of its own: QEMU's user network leads the guest's 10.0.2.2 to the
//! loopback of the namespace, where dnsmasq may have port 53 and chrony port 123.

use crate::lab::{Chrony, Guest, Lab, PATIENCE, get};
use crate::namespace::in_a_namespace;
use outpost_qemu::{Accel, Machine, Nic, Vm};
use outpost_wire::{DnsFailure, Event, Ip4};
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// All that the guest asks for; every one is 10.0.2.2.
const NAMES: [&str; 3] = ["logs.lab.test", "syslog.lab.test", "ntp.lab.test"];

/// A dnsmasq that knows [`NAMES`] and nothing else; killed when it is dropped.
struct Dnsmasq(Child);

impl Dnsmasq {
    fn start() -> Dnsmasq {
        let records = NAMES.map(|name| format!("--host-record={name},10.0.2.2"));
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"])
            .args(["--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file="])
            .args(records)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Dnsmasq(child.unwrap())
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let (_, _) = (self.0.kill(), self.0.wait());
    }
}

/// Where a fleet finds its collector by name, the first outage of DNS must not be the end of the log.
#[test]
fn collector_time_server_and_syslog_are_names_and_dns_comes_and_goes() {
    in_a_namespace(
        "names::collector_time_server_and_syslog_are_names_and_dns_comes_and_goes",
        &["chronyd", "dnsmasq"],
        follow_dnsmasq,
    );
}

fn status(guest: &Guest) -> Value {
    serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap()
}

/// Waits until the first `count` names are in this state.
fn wait_for_names(guest: &Guest, count: usize, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = status(guest);
        let names = status["names"].as_array().unwrap();
        assert_eq!(names.len(), NAMES.len());
        if names.iter().take(count).all(|name| name["state"] == state) {
            return status;
        }
        assert!(Instant::now() < deadline, "not all are {state}: {}", status["names"]);
        thread::sleep(Duration::from_millis(200));
    }
}

fn follow_dnsmasq() {
    let lab = Lab::new();
    let _chrony = Chrony::start(&lab);
    let syslog = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = json!({
        "name": "lab",
        "network": { "static": { "address": "10.0.2.15/24", "gateway": "10.0.2.2", "dns": ["10.0.2.2"] } },
        "collector": { "address": format!("{}:{}", NAMES[0], lab.port()) },
        "sink": { "syslog": format!("{}:{}", NAMES[1], syslog.local_addr().unwrap().port()) },
        "time": { "servers": [NAMES[2]] },
    });
    // The first bytes of each connection to the syslog server; then it is closed.
    let (sender, connections) = channel();
    thread::spawn(move || {
        for stream in syslog.incoming().map_while(Result::ok) {
            let mut first = [0; 64];
            let said = (&stream).read(&mut first).unwrap_or(0);
            if sender.send(first[..said].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut vm = lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg);
    vm = Vm { config: Some(lab.file("names.json", &config.to_string())), ..vm };

    // Without DNS at its start it serves, and says what is missing.
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/readyz");
    guest.wait_for_line(&["dns.failed", NAMES[0], "reason=timeout", "kept=0.0.0.0"]);

    // With it, all three are found and used.
    let dnsmasq = Dnsmasq::start();
    let found = wait_for_names(&guest, NAMES.len(), "resolved");
    assert_eq!(found["names"][0]["addresses"], json!(["10.0.2.2"]));
    for event in lab.wait_for("dns.resolved", NAMES.len()) {
        let Event::DnsResolved(event) = event.event() else { panic!("{event:?}") };
        assert!(NAMES.contains(&event.name.as_str()) && event.address == Ip4([10, 0, 2, 2]), "{event:?}");
        assert_eq!((event.ttl_s, event.server), (30, Ip4([10, 0, 2, 2])), "TTL 0 has a floor");
    }
    lab.wait_for("clock.sync", 1);
    assert!(connections.recv_timeout(PATIENCE).unwrap().windows(4).any(|bytes| bytes == b" lab"));

    // Without it once more, the last addresses stay, marked: a connection that broke is opened again.
    drop(dnsmasq);
    let kept = wait_for_names(&guest, 1, "kept");
    assert_eq!(
        (&kept["names"][0]["reason"], &kept["names"][0]["addresses"]),
        (&json!("timeout"), &json!(["10.0.2.2"]))
    );
    assert_eq!(kept["collector"]["state"], "connected");
    while connections.try_recv().is_ok() {}
    connections.recv_timeout(PATIENCE).expect("the syslog server is called by its kept address");
    let failed = lab.wait_for("dns.failed", NAMES.len() + 1);
    let last = failed.last().unwrap();
    let Event::DnsFailed(event) = last.event() else { panic!("{last:?}") };
    assert_eq!((event.reason, event.kept), (DnsFailure::Timeout, Ip4([10, 0, 2, 2])));

    // And it comes back.
    let _dnsmasq = Dnsmasq::start();
    wait_for_names(&guest, 1, "resolved");
}
