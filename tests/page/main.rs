//! The status page as its readers have it: from booted guests, through a validator of HTML and through Chromium with
//! axe, the checker of WCAG rules, on a phone and on a desktop, in light and in dark.
//!
//! `check.mjs` does the looking and says what is wrong; here are the guests, one for each state a reader may meet, in
//! a network namespace of their own, so that nothing the page might ask for elsewhere could be answered.

#[path = "../support/events.rs"]
mod events;
#[path = "../support/image.rs"]
mod image;
#[allow(dead_code, reason = "the page needs a part of the boot tests' laboratory")]
#[path = "../boot/lab.rs"]
mod lab;
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../support/mod.rs"]
mod support;

use lab::{Chrony, Guest, Lab, PATIENCE, get};
use namespace::{beside, in_a_namespace};
use outpost_qemu::{Accel, Machine, Nic, Vm};
use outpost_wire::session::Mode;
use serde_json::{Value, json};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What nobody can read, or what a browser refuses, must not be what people get when everything else is down.
#[test]
fn readers_of_every_kind_can_read_it() {
    in_a_namespace(
        "page::readers_of_every_kind_can_read_it",
        &["chronyd", "chromium", "node", "target/node/installed"],
        read_pages,
    );
}

fn read_pages() {
    let lab = Lab::of(Mode::Keyed);
    let _chrony = Chrony::start(&lab);
    let mut healthy: Value = serde_json::from_str(&lab.config(None)).unwrap();
    healthy["time"] = json!({ "servers": ["10.0.2.2"] });
    healthy["contact"] =
        json!({ "name": "On-call <fra1> & \"night\"", "tel": "+49 30 000000", "mail": "oncall@example.org" });
    let mut maintenance = healthy.clone();
    maintenance["http"] = json!({ "maintenance": true });
    let mut wrong = healthy.clone();
    wrong["collector"]["address"] = "collector.example.org".into();

    // One that answers, one that does not, and one that nobody has looked at when the picture is taken.
    let mut targets = healthy.clone();
    let check = |name: &str, port: u16, interval_s: u16| {
        json!({ "name": name, "group": "Shop", "owner": "team-shop", "impact": "customers <cannot> pay",
                "runbook": "shop", "interval_s": interval_s, "timeout_s": 1,
                "tcp": { "address": format!("10.0.2.2:{port}") } })
    };
    let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = open.local_addr().unwrap().port();
    targets["checks"] = json!([check("shop", port, 1), check("search", 9, 1), check("archive", port, 3600)]);

    let boot = |name: &str, config: Option<&Value>| {
        let config = config.map(|config| lab.file(&format!("{name}.json"), &config.to_string()));
        Guest::boot(&Vm { config, ..lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg) })
    };
    let mut guests = [
        ("healthy", "lab: Ready\n", boot("healthy", Some(&healthy))),
        ("targets", "lab: 1 of 3 targets down\n", boot("targets", Some(&targets))),
        ("maintenance", "lab: In maintenance\n", boot("maintenance", Some(&maintenance))),
        ("invalid", "lab: Not ready\n", boot("invalid", Some(&wrong))),
        ("absent", "outpost: Ready, with warnings\n", boot("absent", None)),
    ];
    for (name, title, guest) in &mut guests {
        guest.wait_ok("/livez");
        // The first answer of NTP and of the collector may be on its way still.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = get(guest.http(), "/").unwrap();
            assert_eq!(text.status, 200, "{name}: the page is there, whatever it says");
            if text.body.starts_with(*title) {
                break;
            }
            assert!(Instant::now() < deadline, "{name}: {}", text.body);
            thread::sleep(Duration::from_millis(100));
        }
    }
    let mut look = Command::new("node");
    look.current_dir(beside("")).arg("tests/page/check.mjs");
    if let Some(folder) = std::env::var_os("OUTPOST_PICTURES") {
        look.arg("--pictures").arg(folder);
    }
    look.args(guests.iter().map(|(name, _, guest)| format!("{name}={}", guest.url("/"))));
    let seen = look.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    assert!(seen.status.success(), "{said}{complained}");
}
