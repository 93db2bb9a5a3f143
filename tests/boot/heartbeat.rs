//! A job that calls home with a real curl is up, one that says it failed or stays silent is down, and its token is
//! nowhere.

use crate::lab::{Guest, Lab, OUTPOST, get};
use outpost_qemu::{Accel, Machine, Vm};
use serde_json::{Value, json};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any beat may be late here, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The status that curl is answered with.
fn curl(words: &[&str], url: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"]).args(words).arg(url);
    String::from_utf8(command.output().expect("curl").stdout).unwrap()
}

fn wait_for(guest: &Guest, state: &str, reason: Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status: Value = serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap();
        let target = &status["targets"][0];
        if target["state"] == state && target["reason"] == reason {
            return;
        }
        assert!(Instant::now() < deadline, "it is not {state} for {reason}: {target}");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_job_calls_home_with_curl() {
    // The backup that has not run for a month, and the monitoring that was green all the time.
    let told = Command::new(OUTPOST).arg("token").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    let hash = words.iter().find(|word| word.len() == 64).unwrap_or_else(|| panic!("{told}"));
    let token = words.iter().find(|word| word.len() == 40).unwrap_or_else(|| panic!("{told}"));

    let lab = Lab::new();
    let mut config: Value = serde_json::from_str(&lab.config(None)).unwrap();
    config["checks"] = json!([{ "name": "backup", "owner": "o", "impact": "no backup", "runbook": "backup",
        "heartbeat": { "token_sha256": hash, "period_s": 2, "grace_s": 1 } }]);
    let vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    let mut guest = Guest::boot(&Vm { config: Some(lab.file("beat.json", &config.to_string())), ..vm });
    guest.wait_ok("/readyz");
    // What asks without meaning it changes nothing.
    let (beat, bearer) = (guest.url(&format!("/beat/{token}")), format!("Authorization: Bearer {token}"));
    let wrong = guest.url(&format!("/beat/{}", "0".repeat(40)));
    assert_eq!([curl(&["-I"], &beat), curl(&["-X", "OPTIONS"], &beat), curl(&[], &wrong)], ["405", "200", "404"]);
    // It was silent from the boot on.
    wait_for(&guest, "down", json!("late"));
    assert_eq!(curl(&[], &beat), "200");
    wait_for(&guest, "up", json!("ok"));
    wait_for(&guest, "down", json!("late"));
    assert_eq!(curl(&["-d", "all is well", "-H", &bearer], &guest.url("/beat")), "200");
    wait_for(&guest, "up", json!("ok"));
    assert_eq!(curl(&["-d", ""], &format!("{beat}/fail")), "200");
    wait_for(&guest, "down", json!("reported"));

    lab.wait_for("target.down", 3);
    let shown = ["/", "/status", "/metrics", "/config", "/events?since=0&limit=1000", "/debug/net"];
    let shown: String = shown.map(|path| get(guest.http(), path).unwrap().body).concat();
    let everything = shown + &guest.running.serial().text();
    assert!(!everything.contains(&token[..16]), "the token is shown");
}
