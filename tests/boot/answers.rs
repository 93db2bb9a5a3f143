//! Every answer of a booted guest against `schema/`, as curl gets it, and what `outpost support` and `outpost top`
//! make of them.

use crate::lab::{Guest, KEY, Lab, OUTPOST};
use crate::openapi::{Interface, Seen, documents};
use outpost_qemu::{Accel, Machine, Vm};
use outpost_wire::session::Mode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn a_guest_answers_as_its_schemas_say_and_gives_no_secret_to_support() {
    // The simulation has no boot phases, no real clock and no curl; a secret in a support file goes to strangers.
    let lab = Lab::of(Mode::Keyed);
    let machine = Machine::Microvm;
    let mut config: Value = serde_json::from_str(&lab.config(Some(json!({"exercise": true})))).unwrap();
    let check = |name: &str| json!({"name": name, "group": "g", "owner": "o", "impact": "i", "runbook": "r"});
    let (mut shop, mut backup) = (check("shop"), check("backup"));
    shop["tcp"] = json!({"address": "10.0.2.2:9"});
    backup["heartbeat"] = json!({"period_s": 60, "grace_s": 9, "token_sha256": "7e".repeat(32)});
    config["checks"] = json!([shop, backup]);
    let config = Some(lab.file("answers.json", &config.to_string()));
    let mut guest = Guest::boot(&Vm { config, ..lab.vm(machine, machine.nics()[0], Accel::Tcg) });
    guest.wait_ok("/readyz");
    lab.wait_for("boot.started", 1);
    ask_for_everything(&guest);
    let about: Value = serde_json::from_slice(&curl(&guest, "GET", "/about", &[]).2).unwrap();
    assert!(about["boot_phases_us"].as_array().is_some_and(|phases| phases.len() >= 3), "{about:#}");
    support(&lab, &guest);
    top(&guest);
}

/// Each path by each method, plain and with gzip.
fn ask_for_everything(guest: &Guest) {
    let interface = Interface::get();
    let mut targets: Vec<String> = Vec::new();
    for (path, item) in interface.paths() {
        let path = path.replace("{document}", "events.json").replace("{check}", "clock");
        let verbose = item["get"]["parameters"].to_string().contains("verbose");
        targets.extend(verbose.then(|| format!("{path}?verbose")));
        targets.push(path);
    }
    targets.extend(["/events?since=1&limit=1000", "/events?limit=x", "/nothing"].map(str::to_owned));
    for target in &targets {
        for (method, more) in
            [("GET", &[][..]), ("GET", &["-H", "Accept-Encoding: gzip"]), ("HEAD", &["-I"]), ("OPTIONS", &[])]
        {
            let (status, headers, body) = curl(guest, method, target, more);
            let seen = Seen { method, target, status, headers: &headers, body: &body };
            if let Err(why) = interface.judge(&seen) {
                panic!("{why}");
            }
        }
    }
    for (name, document) in documents() {
        let (status, _, body) = curl(guest, "GET", &format!("/schema/{name}"), &[]);
        let served: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{name} {status}: {error}"));
        assert_eq!(served, document, "{name} is served as it is in the checkout");
    }
}

/// Status, headers and body, as curl shows them.
fn curl(guest: &Guest, method: &str, target: &str, more: &[&str]) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20"]).args(more);
    if method == "OPTIONS" {
        command.args(["--request", method]);
    }
    let output = command.arg(guest.url(target)).output().expect("curl runs");
    assert!(output.status.success(), "{method} {target}: {}", String::from_utf8_lossy(&output.stderr));
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    (status, lines.filter_map(header).collect(), output.stdout[end + 4..].to_vec())
}

fn outpost(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(OUTPOST).args(arguments).current_dir(folder).output().expect("outpost runs")
}

fn support(lab: &Lab, guest: &Guest) {
    let (folder, url) = (lab.folder(), guest.url(""));
    let output = outpost(folder, &["support", &url, "--output", "support.tar", "--json", "--timeout", "20"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["missing"], &report["agent"]), (&serde_json::json!([]), &"lab".into()));

    let bytes = std::fs::read(folder.join("support.tar")).unwrap();
    assert_eq!(
        canaries().into_iter().find(|canary| has(&bytes, canary)),
        None,
        "the key of the collector is in the tar"
    );
    let files = unpack(&bytes);
    let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
    assert_eq!(sums.lines().count(), files.len() - 1);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let digest: String = Sha256::digest(&files[name]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, digest, "{name}");
    }
    let wanted =
        ["README.txt", "status.json", "about.json", "config.json", "events.ndjson", "metrics.txt", "debug/net.json"];
    for name in wanted.into_iter().chain(["health.json", "readyz-verbose.txt", "page.txt", "schema/openapi.json"]) {
        assert!(files.get(name).is_some_and(|file| !file.is_empty()), "{name} of {:?}", files.keys());
    }
    // A look that cannot find the key would find none.
    let config = String::from_utf8(files["config.json"].clone()).unwrap();
    assert!(config.contains("\"key\":\"(secret)\""), "{config}");
    assert!(canaries().into_iter().all(|canary| has(&[b"x", &canary[..], b"y"].concat(), &canary)));

    let again = outpost(folder, &["support", &url, "--output", "support.tar"]);
    assert_eq!(again.status.code(), Some(2), "an existing file is kept: {again:?}");
    let nobody = outpost(folder, &["support", "127.0.0.1:1", "--output", "nobody.tar"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert_eq!(nobody.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer") && said.contains("serial console"), "{said}");
    assert!(unpack(&std::fs::read(folder.join("nobody.tar")).unwrap()).contains_key("README.txt"));
}

fn unpack(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut file = Vec::new();
        entry.read_to_end(&mut file).unwrap();
        (path.strip_prefix("outpost-support/").expect("everything is in one folder").to_owned(), file)
    });
    entries.collect()
}

/// The key of the collector in every form that it could get out in.
fn canaries() -> Vec<Vec<u8>> {
    let raw: Vec<u8> = (0..KEY.len()).step_by(2).map(|at| u8::from_str_radix(&KEY[at..at + 2], 16).unwrap()).collect();
    let mut forms = vec![raw.clone(), KEY.into(), KEY.to_uppercase().into_bytes()];
    // In a longer text its base64 may begin at any of three places; what does not depend on the neighbours is looked for.
    for secret in [&raw[..], KEY.as_bytes()] {
        for skip in 0..3 {
            let whole = &secret[skip..secret.len() - (secret.len() - skip) % 3];
            forms.extend([base64(whole, b"+/"), base64(whole, b"-_")]);
        }
    }
    forms
}

/// RFC 4648, of a multiple of three bytes.
fn base64(bytes: &[u8], last_two: &[u8; 2]) -> Vec<u8> {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last_two).collect();
    let group = |chunk: &[u8]| {
        let number = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        [18, 12, 6, 0].map(|shift| letters[(number >> shift) as usize & 63])
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn top(guest: &Guest) {
    let folder = Path::new(".");
    let output = outpost(folder, &["top", &guest.url(""), "--once"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.starts_with("lab READY"), "{output:?}");
    assert!(text.contains("connected") && text.contains("since boot") && text.contains(" http.request"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    let output = outpost(folder, &["top", &guest.url(""), "--once", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["status"]["ready"], true);
    let nobody = outpost(folder, &["top", "127.0.0.1:1", "--once"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("does not answer"), "{nobody:?}");
}
