//! A machine that takes the place of another shows its days: out of the store of a real collector, by the content bundle,
//! into a cold boot whose clock a real chrony sets.

use crate::fill::{self, Line};
use crate::lab::{Chrony, Guest, Lab, OUTPOST, PATIENCE, get};
use crate::namespace::in_a_namespace;
use outpost_cli::history;
use outpost_qemu::{Accel, Machine, Nic, Vm};
use outpost_wire::{CheckDay, Event, HistoryKept, Intern, NameId, Text};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn another_machine_shows_the_days_that_the_collector_has() {
    // The old host burnt down, and the page says of the last 90 days that nothing is known.
    in_a_namespace(
        "history::another_machine_shows_the_days_that_the_collector_has",
        &["chronyd"],
        take_the_place_of_another,
    );
}

fn take_the_place_of_another() {
    let lab = Lab::new();
    let _chrony = Chrony::start(&lab);
    let store = lab.folder().join("store.db");
    let today = history::today();
    // Forty days of the shop, the fifth of them bad; a check that is no more; a day that somebody's clock made up.
    let line = |event| Line::Record(0, None, event);
    let name = |id, text| line(Event::from(Intern { id: NameId(id), text: Text::new(text) }));
    let day = |check, day, good, bad| line(Event::from(CheckDay { check: NameId(check), day, good, bad }));
    let mut lines = vec![name(1, "shop"), name(2, "gone"), line(Event::from(HistoryKept { days: 0 }))];
    lines.extend((1..=40).map(|back| day(1, today - back, 2_880, if back == 5 { 288 } else { 0 })));
    lines.extend([day(2, today - 1, 7, 0), day(1, today + 2, 1, 0)]);
    fill::boot(&store, "lab", 0x01d, &lines);

    let folder = lab.folder().join("content");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("contacts.md"), "# Who to call\n").unwrap();
    let bundle = lab.folder().join("content.bin");
    let mut build = Command::new(OUTPOST);
    build.args(["content", "build", "--json", "--store"]).arg(&store).arg("--out").arg(&bundle).arg(&folder);
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let told: Value = serde_json::from_slice(&built.stdout).unwrap();
    assert_eq!(told["history"], 2, "{told}");

    let check = |name: &str| {
        json!({"name": name, "owner": "o", "impact": "i", "runbook": "r", "interval_s": 1,
            "tcp": {"address": format!("10.0.2.2:{}", lab.port())}})
    };
    let mut config: Value = serde_json::from_str(&lab.config(None)).unwrap();
    config["time"] = json!({"servers": ["10.0.2.2"]});
    config["checks"] = json!([check("shop"), check("new")]);
    let vm = Vm {
        config: Some(lab.file("history.json", &config.to_string())),
        content: Some(bundle),
        ..lab.vm(Machine::Microvm, Nic::MmioV2, Accel::Tcg)
    };
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");
    let restored = lab.wait_for("history.restored", 1);
    let Event::HistoryRestored(event) = restored[0].event() else { panic!("{:?}", restored[0]) };
    assert_eq!(
        (event.days, event.left_out),
        (40, 1),
        "the host leaves out the future, the agent what it does not watch"
    );

    // Its own probes come to what was brought, and do not take its place.
    let deadline = Instant::now() + PATIENCE;
    let days = |guest: &Guest| {
        let status: Value = serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap();
        [0, 1].map(|number| status["targets"][number]["days"].clone())
    };
    while days(&guest).map(|days| days["with_data"].clone()) != [json!(41), json!(1)] {
        assert!(Instant::now() < deadline, "{:?}", days(&guest));
        thread::sleep(Duration::from_millis(100));
    }
    let [shop, _] = days(&guest);
    assert_eq!(shop["bad"], 288, "{shop}");
    assert!(shop["good"].as_u64().unwrap() > 40 * 2_880, "{shop}");
    let page = Command::new("curl").args(["-sf", "-H", "Accept: text/html"]).arg(guest.url("/")).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    // 40 days and this one; the fifth before today is worse than 5 % bad.
    assert!(page.contains("aria-label=\"41 days with data") && page.contains("<path d=\"M49 6h41\"/>"), "{page}");
    assert!(page.contains("<path class=\"r\" d=\"M84 6h1"), "{page}");

    // A reset keeps them in memory: nothing is restored a second time.
    guest.running.qmp().system_reset().unwrap();
    let again = lab.wait_for("history.restored", 2);
    let Event::HistoryRestored(event) = again[1].event() else { panic!("{:?}", again[1]) };
    assert_eq!((event.days, event.left_out), (0, 1));
    let kept = lab.wait_for("history.kept", 3);
    let Event::HistoryKept(event) = kept[2].event() else { panic!("{:?}", kept[2]) };
    assert_eq!(event.days, 42);
}
