//! `outpost logs` and `outpost explain` as a person or a pipeline runs them, on stores that the collector's own code
//! wrote.

#[path = "support/fill.rs"]
mod fill;

use fill::{Line, NOON, SECOND, boot, synchronise};
use outpost_wire::session::LossReason;
use outpost_wire::{
    DownReason, Event, HttpRequest, Intern, Ip4, Method, NameId, NetworkDown, NetworkUp, Text, TransactionBound,
};
use rusqlite::Connection;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TRACE: [u8; 16] = *b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36";
const TRACE_HEX: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FRA: u64 = 0xfa;
const AMS: u64 = 0xa5a5_0000_0000_0001;

fn request(status: u16) -> Event<'static> {
    Event::from(HttpRequest {
        method: Method::Get,
        route: NameId(1),
        status,
        client: Ip4([192, 0, 2, 9]),
        duration_us: 70,
    })
}

fn up() -> Event<'static> {
    Event::from(NetworkUp { address: Ip4([192, 0, 2, 1]), prefix: 24, gateway: Ip4([0; 4]) })
}

/// Two agents at the same time: fra1 without a clock and with two gaps, ams1 with one.
fn store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.db");
    let name = Event::from(Intern { id: NameId(1), text: Text::new("/livez") });
    let bound = Event::from(TransactionBound { trace_id: TRACE, parent_id: [7; 8], request_id: Text::new("order-66") });
    boot(
        &store,
        "fra1",
        FRA,
        &[
            Line::Record(0, None, up()),                                                     // 1
            Line::Record(0, None, name),                                                     // 2
            Line::Record(10, Some(7), bound),                                                // 3
            Line::Record(11, Some(7), request(200)),                                         // 4
            Line::Lost(20, 3, LossReason::Overflow),                                         // 5 to 7
            Line::Record(21, Some(7), request(503)),                                         // 8
            Line::Record(22, Some(8), request(200)),                                         // 9
            Line::Missing(2),                                                                // 10, 11
            Line::Record(30, None, Event::from(NetworkDown { reason: DownReason::NoLink })), // 12
            Line::Raw(31, 60_000, &[1, 0xff]),                                               // 13
        ],
    );
    // By its own clock this was two seconds before it was received: between fra1's 3 and 4.
    boot(&store, "ams1", AMS, &[Line::Record(12, Some(7), request(404))]);
    synchronise(&store, AMS, 3 * SECOND / 2, 2_500);
    (directory, store)
}

fn logs(store: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outpost")).arg("logs").arg(store).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The places that are shown: agent and seq, or the range of a gap.
fn places(store: &Path, arguments: &[&str]) -> Vec<String> {
    let output = logs(store, &[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| match line["seq"].as_u64() {
            Some(seq) => format!("{} {seq}", line["agent"].as_str().unwrap()),
            None => format!("{} {}-{}", line["event"].as_str().unwrap(), line["fields"]["from"], line["fields"]["to"]),
        })
        .collect()
}

/// Every seq must be there, gaps in their places, and the agents in one order of time.
#[test]
fn shows_everything_oldest_first_with_its_gaps() {
    let (_directory, store) = store();
    let all = [
        "fra1 1",
        "fra1 2",
        "fra1 3",
        "ams1 1",
        "fra1 4",
        "lost 5-7",
        "fra1 8",
        "fra1 9",
        "missing 10-11",
        "fra1 12",
        "fra1 13",
    ];
    assert_eq!(places(&store, &[]), all);
    let output = logs(&store, &[]);
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(
        lines[3],
        "2026-03-01T12:00:10.500Z ±2.5ms  ams1 #1 info   http.request txn=7 method=GET route=#1 status=404 client=192.0.2.9 duration_us=70"
    );
    assert_eq!(
        lines[4],
        "2026-03-01T12:00:11.000Z recv    fra1 #4 info   http.request txn=7 method=GET route=/livez status=200 client=192.0.2.9 duration_us=70"
    );
    assert_eq!(
        lines[5],
        "2026-03-01T12:00:20.000Z recv    fra1 ~~~ gap: 3 records, #5 to #7, declared lost (overflow)"
    );
    assert!(
        lines[8].ends_with("~~~ gap: 2 records, #10 to #11, UNACCOUNTED: neither stored nor declared lost"),
        "{}",
        lines[8]
    );
    assert!(lines[10].ends_with("#13 info   #60000 raw=01ff"), "{}", lines[10]);
}

/// A filter that shows too much buries the answer, and one that shows too little hides it.
#[test]
fn filters_choose() {
    let (_directory, store) = store();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--agent", "ams*"], &["ams1 1"]),
        (&["--agent", "ams"], &[]),
        (&["--boot", "A5A5"], &["ams1 1"]),
        (&["--event", "http.*"], &["ams1 1", "fra1 4", "lost 5-7", "fra1 8", "fra1 9", "missing 10-11"]),
        (&["--event", "network.up", "--event", "#60000"], &["fra1 1", "lost 5-7", "missing 10-11", "fra1 13"]),
        (&["--severity", "warn"], &["lost 5-7", "missing 10-11", "fra1 12"]),
        (&["--severity", "17", "--agent", "fra1", "--event", "network.*"], &["lost 5-7", "missing 10-11", "fra1 12"]),
        (
            &["--since", "2026-03-01T12:00:22Z", "--until", "2026-03-01T12:00:31Z"],
            &["fra1 9", "missing 10-11", "fra1 12"],
        ),
        (&["--until", "2026-03-01T12:00:10.500001Z", "--since", "2026-03-01T13:00:10.5+01:00"], &["ams1 1"]),
        (&["--since", "10m ago"], &[]),
        (&["--transaction", "8"], &["fra1 9"]),
        (&["--transaction", "7", "--agent", "ams1"], &["ams1 1"]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(places(&store, arguments), expected, "{arguments:?}");
    }
}

/// One request's story must be whole, whatever name it is asked by, with the gap that is inside it and no other.
#[test]
fn a_transaction_is_found_by_every_name_it_has() {
    let (_directory, store) = store();
    let story = ["fra1 3", "fra1 4", "lost 5-7", "fra1 8"];
    let traceparent = format!("00-{TRACE_HEX}-0707070707070707-01");
    for id in [TRACE_HEX, &TRACE_HEX.to_uppercase(), &traceparent, "order-66"] {
        assert_eq!(places(&store, &["--transaction", id]), story, "{id}");
    }
    // The number alone is one of each boot.
    assert_eq!(places(&store, &["--transaction", "7"]), ["fra1 3", "ams1 1", "fra1 4", "lost 5-7", "fra1 8"]);
    // What the forwarders call a transaction that was given no id.
    assert_eq!(places(&store, &["--transaction", &format!("{FRA:016x}{:016x}", 8)]), ["fra1 9"]);
    let absent = logs(&store, &["--transaction", "order-67"]);
    assert_eq!((absent.status.code(), absent.stdout.len()), (Some(1), 0));
    assert!(text(&absent.stderr).contains("belongs to transaction \"order-67\""), "{}", text(&absent.stderr));
}

/// Severity is an opinion: another one must change what is shown and what passes the filter, and a wrong map must not
/// pass for an empty one.
#[test]
fn severity_is_mapped_at_read_time() {
    let (directory, store) = store();
    let map = directory.path().join("map.json");
    std::fs::write(&map, r##"{"http.request": "error", "network.down": 5, "#60000": "warn"}"##).unwrap();
    let arguments = ["--severity", "warn", "--severity-map", map.to_str().unwrap()];
    let expected = ["ams1 1", "fra1 4", "lost 5-7", "fra1 8", "fra1 9", "missing 10-11", "fra1 13"];
    assert_eq!(places(&store, &arguments), expected);
    let output = logs(&store, &[&arguments[..], &["--format", "json", "--transaction", "8"]].concat());
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["severity"], &line["severity_number"]), (&"error".into(), &17.into()));
    for (wrong, part) in [
        (r#"{"http.requets": "warn"}"#, "no event is called \"http.requets\""),
        (r#"{"http.request": "loud"}"#, "http.request: \"loud\" is not a severity"),
        (r#"{"http.request": 25}"#, "http.request: 25 is not a severity"),
        ("[]", "is not a severity map"),
    ] {
        std::fs::write(&map, wrong).unwrap();
        let output = logs(&store, &arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

/// A spreadsheet and a script must find each value under its name.
#[test]
fn csv_and_json_have_every_column() {
    let (_directory, store) = store();
    let csv = logs(&store, &["--format", "csv", "--agent", "ams1"]);
    let header = "agent,boot,seq,mono_us,utc,utc_error_us,received_at,severity,event,transaction,fields";
    let row = r##"ams1,a5a5000000000001,1,1000000,2026-03-01T12:00:10.500000Z,2500,2026-03-01T12:00:12.000000Z,info,http.request,7,"{""method"":""GET"",""route"":""#1"",""status"":404,""client"":""192.0.2.9"",""duration_us"":70}""##;
    assert_eq!(text(&csv.stdout), format!("{header}\r\n{row}\r\n"));
    // A table without rows is a table all the same.
    assert_eq!(text(&logs(&store, &["--format", "csv", "--agent", "none"]).stdout), format!("{header}\r\n"));
    let json = logs(&store, &["--format", "json", "--agent", "ams1"]);
    let line: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&line["utc"], &line["utc_error_us"]), (&"2026-03-01T12:00:10.500000Z".into(), &2500.into()));
    let json = logs(&store, &["--format", "json", "--event", "network.up", "--until", "2026-03-01T12:00:01Z"]);
    let line: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&line["utc"], &line["received_at"]), (&Value::Null, &"2026-03-01T12:00:00.000000Z".into()));
}

/// `| head` and q in a pager must end it without a word; a file that is no store needs one.
#[test]
fn ends_quietly_for_a_pager_and_loudly_for_a_wrong_file() {
    let (directory, store) = store();
    let lines: Vec<_> = (0..20_000).map(|_| Line::Record(60, None, up())).collect();
    boot(&store, "many", 9, &lines);
    let command = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .args(["logs", "--store"])
        .arg(&store)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = command.unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("fra1 #1"), "{first}");
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));

    let other = directory.path().join("other");
    std::fs::File::create(&other).unwrap().write_all(b"not a database at all, only a text").unwrap();
    let output = logs(&other, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not a store"), "{}", text(&output.stderr));
}

/// What comes must be shown once, in order, soon; also what the collector itself finds.
#[test]
fn follow_shows_what_comes() {
    let (_directory, store) = store();
    let command = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .args(["logs", "--follow", "--format", "json", "--event", "http.request", "--event", "record.conflict"])
        .args(["--agent", "late", "--store"])
        .arg(&store)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = command.unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str::<Value>(&line).unwrap());
        }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let next = || receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
    // It does not matter whether this comes before or after the first look.
    let lines: Vec<_> = (0..2_500).map(|_| Line::Record(60, None, request(200))).collect();
    boot(&store, "late", 5, &lines);
    for seq in 1..=2_500 {
        assert_eq!(next()["seq"], seq);
    }
    let connection = Connection::open(&store).unwrap();
    let sql = "INSERT INTO oddities (boot, received_us, event, detail)
               SELECT id, ?1, 'record.conflict', '{\"seq\":4}' FROM boots WHERE boot_id = 5";
    connection.execute(sql, [NOON]).unwrap();
    let line = next();
    assert_eq!((&line["event"], &line["fields"]["seq"]), (&"record.conflict".into(), &4.into()));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Escapes in a pipe are rubbish in a file.
#[test]
fn no_colour_off_a_terminal() {
    let (_directory, store) = store();
    assert!(!text(&logs(&store, &[]).stdout).contains('\x1b'));
}

/// Whoever meets a word at night asks for it by whatever they see of it.
#[test]
fn explains_events_by_name_and_id() {
    let explain = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_outpost")).arg("explain").args(arguments).output().unwrap()
    };
    let by_name = explain(&["dhcp.timeout"]);
    let shown = text(&by_name.stdout);
    for part in [
        "event 7, since 0.1.0",
        "No DHCP server",
        "What to do: Check that a DHCP",
        "warn (13)",
        "vital",
        "waited_s",
        "seconds",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert_eq!(explain(&["7"]).stdout, by_name.stdout);
    assert_eq!(explain(&["#7"]).stdout, by_name.stdout);
    let all = explain(&[]);
    for spec in outpost_wire::CATALOGUE {
        assert!(text(&all.stdout).contains(&format!("{:>3}  {} ", spec.id, spec.name)), "{} is not listed", spec.name);
        assert!(explain(&[spec.name]).status.success());
    }
    let json: Value = serde_json::from_slice(&explain(&["--json"]).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), outpost_wire::CATALOGUE.len());
    assert!(text(&explain(&["record.conflict"]).stdout).contains("one seq; both are kept"));
    let unknown = explain(&["dhcp.timeuot"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(1), 0));
    assert!(text(&unknown.stderr).contains("dhcp.timeout"), "{}", text(&unknown.stderr));
}
