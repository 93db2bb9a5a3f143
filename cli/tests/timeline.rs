//! `outpost timeline` on an incident whose every moment is known.

#[path = "support/fill.rs"]
mod fill;

use fill::{Line, boot, synchronise};
use outpost_wire::session::LossReason;
use outpost_wire::{
    BootStarted, CollectorConnected, CollectorLost, ConfigSource, DownReason, EntropySource, Event, HttpRequest, Ip4,
    Method, NameId, NetworkDown, NetworkUp, Panic, SessionEnd, Text,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn started() -> Event<'static> {
    Event::from(BootStarted {
        version: Text::new("0.1.0"),
        revision: Text::new("r"),
        machine: Text::new("m"),
        memory_bytes: 12 << 20,
        entropy: EntropySource::Cpu,
        config: ConfigSource::Default,
        boot_us: 9,
    })
}

fn up() -> Event<'static> {
    Event::from(NetworkUp { address: Ip4([192, 0, 2, 1]), prefix: 24, gateway: Ip4([0; 4]) })
}

fn down() -> Event<'static> {
    Event::from(NetworkDown { reason: DownReason::NoLink })
}

fn request() -> Event<'static> {
    let client = Ip4([192, 0, 2, 9]);
    Event::from(HttpRequest { method: Method::Get, route: NameId(1), status: 200, client, duration_us: 70 })
}

fn lost() -> Event<'static> {
    let (address, reason) = (Ip4([192, 0, 2, 2]), SessionEnd::Closed);
    Event::from(CollectorLost { address, port: 7600, reason, attempts: 1 })
}

/// fra1 loses its link for 3 s, then its collector, then panics and boots again; ams1 has no link from before on.
fn incident() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let panic = Event::from(Panic {
        message: Text::new("a|b `c` <d>\n"),
        location: Text::new("src/x.rs:1"),
        rip: 0,
        backtrace: [0; 32],
    });
    let connected =
        Event::from(CollectorConnected { address: Ip4([192, 0, 2, 2]), port: 7600, resume_seq: 8, keyed: false });
    boot(
        &store,
        "fra1",
        0xfa,
        &[
            Line::Record(0, None, started()),        // 1
            Line::Record(0, None, up()),             // 2
            Line::Record(5, Some(1), request()),     // 3
            Line::Lost(60, 2, LossReason::Overflow), // 4, 5
            Line::Record(61, None, down()),          // 6
            Line::Record(62, None, down()),          // 7
            Line::Record(70, None, lost()),          // 8
            Line::Record(71, None, up()),            // 9
            Line::Record(72, None, connected),       // 10
            Line::Record(80, None, panic),           // 11
        ],
    );
    synchronise(&store, 0xfa, 0, 1_500);
    boot(&store, "fra1", 0xfb, &[Line::Record(90, None, started()), Line::Record(91, None, request())]);
    synchronise(&store, 0xfb, 0, 2_000);
    boot(&store, "ams1", 0xa5, &[Line::Record(1, None, down()), Line::Record(200, None, up())]);
    (directory, store)
}

fn timeline(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outpost")).arg("timeline").arg(store).args(arguments).output().unwrap()
}

/// A postmortem that names the wrong first sign, or calls over what is not, sends people the wrong way.
#[test]
fn tells_detection_changes_recovery_and_gaps() {
    let (_directory, store) = incident();
    let stretch = ["--from", "2026-03-01T12:00:30Z", "--to", "2026-03-01T12:02:00Z"];
    let output = timeline(&store, &[&stretch[..], &["--json"]].concat());
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let place = |value: &Value| {
        format!("{} {} {}", value["agent"].as_str().unwrap(), value["event"].as_str().unwrap(), value["seq"])
    };
    assert_eq!(place(&told["detection"]), "fra1 network.down 6");
    assert_eq!(told["gap_before_detection"], true);
    let changes: Vec<_> = told["changes"].as_array().unwrap().iter().map(place).collect();
    assert_eq!(
        changes,
        [
            "fra1 lost null",
            "fra1 network.down 6",
            "fra1 network.down 7",
            "fra1 collector.lost 8",
            "fra1 network.up 9",
            "fra1 collector.connected 10",
            "fra1 panic 11",
            "fra1 boot.started 1",
        ]
    );
    let recovery: Vec<_> = told["recovery"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            format!(
                "{} {} {} {} {}",
                problem["agent"].as_str().unwrap(),
                problem["problem"].as_str().unwrap(),
                problem["lasted_us"],
                problem["lasted_error_us"],
                problem["began_before"]
            )
        })
        .collect();
    assert_eq!(
        recovery,
        [
            // Over only after the end of the stretch: not over in it.
            "ams1 network.down null null true",
            // Within a boot the monotonic clock says it exactly; a second sign of it is not a second problem.
            "fra1 network.down 3000000 0 false",
            "fra1 collector.lost 2000000 0 false",
            // Across boots it is UTC with both errors.
            "fra1 panic 10000000 3500 false",
        ]
    );
    assert_eq!(told["gaps"].as_array().unwrap().len(), 1);
    assert_eq!(told["others"]["http.request"], 1);
}

/// What people paste into a postmortem: each change in its row, gaps as gaps, nothing from outside as markup.
#[test]
fn markdown_can_be_pasted() {
    let (_directory, store) = incident();
    let output = timeline(&store, &["--from", "2026-03-01T12:00:30Z", "--to", "2026-03-01T12:02:00Z"]);
    let told = String::from_utf8(output.stdout).unwrap();
    for part in [
        "# Timeline, 2026-03-01T12:00:30Z to 2026-03-01T12:02:00Z\n",
        "2026-03-01T12:01:01.000Z ±1.5ms: **network.down** on fra1 (boot 00000000000000fa, #6). The network is not usable.",
        "Records of this agent are lost before it: the first sign may have been among them.",
        "Already so at the beginning: network.down on ams1 (boot 00000000000000a5, #1) since 2026-03-01T12:00:01.000Z recv.",
        "| 2026-03-01T12:01:00.000Z recv | fra1 | #4–#5 | warn | **gap** | 2 records, #4 to #5, declared lost (overflow) |\n",
        "| 2026-03-01T12:01:20.000Z ±1.5ms | fra1 | #11 | fatal | panic | message=\"a\\|b \\`c\\` \\<d\\>\\\\n\" location=src/x.rs:1 rip=0 ",
        "| network.down #6 | fra1 | 2026-03-01T12:01:01.000Z ±1.5ms | 2026-03-01T12:01:11.000Z ±1.5ms | network.up #9 | 3.000 s |\n",
        "| panic #11 | fra1 | 2026-03-01T12:01:20.000Z ±1.5ms | 2026-03-01T12:01:30.000Z ±2.0ms | boot.started #1 | 10.000 s ±3.5ms |\n",
        "| network.down #1 | ams1 | 2026-03-01T12:00:01.000Z recv | **not over** |  |  |\n",
        "* fra1 boot 00000000000000fa: 2 records, #4 to #5, declared lost (overflow)\n",
        "Not shown: http.request 1.\n",
    ] {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
}

/// A quiet time must read as one, and a wrong file as a mistake.
#[test]
fn a_quiet_time_and_a_wrong_file() {
    let (directory, store) = incident();
    let output = timeline(&store, &["--agent", "fra1", "--to", "2026-03-01T12:00:30Z"]);
    let told = String::from_utf8(output.stdout).unwrap();
    for part in
        ["No record says that something went wrong.", "There was nothing to recover from.", "None: every record"]
    {
        assert!(told.contains(part), "{part:?} is not in\n{told}");
    }
    let absent = timeline(&directory.path().join("absent.db"), &[]);
    assert_eq!((absent.status.code(), absent.stdout.len()), (Some(2), 0));
    assert!(!absent.stderr.is_empty());
}
