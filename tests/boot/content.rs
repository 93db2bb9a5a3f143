//! Runbooks and contacts that came along are there when nothing else is.

use crate::lab::{Guest, Lab, OUTPOST, Slot, get, image};
use outpost_qemu::{Accel, Forward, Machine, Network, Vm};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Seconds from a boot to the first target that is down, at most.
const PATIENCE_S: u32 = 30;

/// Makes a bundle of two runbooks and contacts in this folder, with the command; what it told.
pub fn build(folder: &Path, config: Option<&Path>) -> (PathBuf, Value) {
    fs::create_dir_all(folder.join("content/runbooks")).unwrap();
    let files = [
        ("content/contacts.md", "# Who to call\n\n* Ada, [+49 30 1234](tel:+49301234)\n"),
        (
            "content/runbooks/shop.md",
            "# The shop is down\n\n1. Restart `shop-db`.\n2. See [who to call](../contacts.md).\n",
        ),
        ("content/runbooks/target.down.md", "# A target is down\n\nAsk its owner.\n"),
    ];
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    let bundle = folder.join("content.bin");
    let mut command = Command::new(OUTPOST);
    command.args(["content", "build", "--json"]).arg(folder.join("content")).arg("--out").arg(&bundle);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    (bundle, serde_json::from_slice(&out.stdout).unwrap())
}

/// Every page of the bundle is served as it was written, and what is not in it is not there.
pub fn serves(guest: &mut Guest) {
    for (path, words) in [
        ("/runbook/shop", "<li>Restart <code>shop-db</code>.</li>"),
        ("/runbook/sh%6Fp", "href=\"/contacts\""),
        ("/runbook/target.down", "Ask its owner."),
        ("/runbook/", "href=\"/runbook/shop\">The shop is down</a>"),
        ("/runbook", "href=\"/runbook/target.down\""),
        ("/contacts", "href=\"tel:+49301234\""),
    ] {
        let answer = guest.wait_ok(path);
        assert!(answer.body.contains(words), "{path}: {}", answer.body);
    }
    for path in ["/runbook/db", "/contacts/", "/runbook/shop/"] {
        assert_eq!(get(guest.http(), path).unwrap().status, 404, "{path}");
    }
}

#[test]
fn runbooks_are_there_when_dns_ntp_gateway_and_collector_are_gone() {
    // The moment they are for: half the data centre is dark, and the wiki with the runbooks is in it.
    let _slot = Slot::take();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let check = |name: &str, runbook: &str| {
        serde_json::json!({"name": name, "owner": "o", "impact": "i", "runbook": runbook,
            "interval_s": 2, "timeout_s": 1, "fall": 1, "tcp": {"address": "10.0.2.2:9"}})
    };
    let document = serde_json::json!({
        "network": {"static": {"address": "10.0.2.15/24", "gateway": "10.0.2.99", "dns": ["10.0.2.98"]}},
        "time": {"servers": ["time.example.org"]},
        "collector": {"address": "collector.example.org:7600"},
        "checks": [check("shop", "shop"), check("db", "db")],
    });
    fs::write(&config, document.to_string()).unwrap();
    let (bundle, told) = build(folder.path(), None);
    let vm = Vm {
        accel: Accel::Tcg,
        config: Some(config.clone()),
        content: Some(bundle.clone()),
        network: Network::User(vec![Forward::to(80)]),
        ..Vm::new(Machine::Microvm, image())
    };
    let mut guest = Guest::boot(&vm);
    serves(&mut guest);
    guest.wait_for_line(&["content.loaded", "runbooks=2", "missing=1"]);
    let status: Value = serde_json::from_str(&guest.wait_ok("/status").body).unwrap();
    let served: Vec<_> = status["targets"].as_array().unwrap().iter().map(|t| t["runbook_served"].clone()).collect();
    assert_eq!(served, [true, false]);
    let about: Value = serde_json::from_str(&guest.wait_ok("/about").body).unwrap();
    assert_eq!((&about["content"]["sha256"], &about["content"]["bytes"]), (&told["sha256"], &told["bytes"]));
    crate::events::seen("content.loaded");
    // A record leads to the page of its event, and only where there is one.
    let mut downs = 0;
    for _ in 0..PATIENCE_S {
        let events = guest.wait_ok("/events?since=1&limit=1000").body;
        let records = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for record in records.filter(|record| record["event"].is_string()) {
            let is_down = record["event"] == "target.down";
            assert_eq!(
                record.get("runbook"),
                is_down.then(|| Value::from("/runbook/target.down")).as_ref(),
                "{record}"
            );
            downs += usize::from(is_down);
        }
        if downs > 0 {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(downs > 0, "no target.down within {PATIENCE_S} s");

    // The host says before the boot which check has none.
    let checked = Command::new(OUTPOST).arg("check").arg(&config).arg("--content").arg(&bundle).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.contains("/checks/1/runbook: \"db\" is not in") && !text.contains("\"shop\""), "{text}");
}

#[test]
fn one_file_can_be_configuration_and_content() {
    // Firecracker and Cloud Hypervisor hand over one file beside the kernel.
    let lab = Lab::new();
    let vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    let (bundle, told) = build(lab.folder(), vm.config.as_deref());
    assert_eq!(told["config"], true);
    let mut guest = Guest::boot(&Vm { config: Some(bundle), ..vm });
    serves(&mut guest);
    lab.wait_for("content.loaded", 1);
    assert!(guest.wait_ok("/about").body.contains(r#""config_source":"module""#));
}

#[test]
fn a_bundle_that_is_cut_is_refused_and_told_everywhere() {
    // Half a bundle must not be half of the runbooks.
    let lab = Lab::new();
    let (bundle, _) = build(lab.folder(), None);
    let whole = fs::read(&bundle).unwrap();
    fs::write(&bundle, &whole[..whole.len() - 1]).unwrap();
    let vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    let mut guest = Guest::boot(&Vm { content: Some(bundle.clone()), ..vm });
    guest.wait_ok("/readyz");
    let health = guest.wait_ok("/health").body;
    assert!(health.contains("the content bundle is refused"), "{health}");
    assert_eq!(get(guest.http(), "/contacts").unwrap().status, 404);
    assert!(guest.wait_ok("/about").body.contains(r#""problem":"truncated""#));
    lab.wait_for("content.refused", 1);
    let shown = Command::new(OUTPOST).args(["content", "show"]).arg(&bundle).output().unwrap();
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("truncated"));
}
