//! Records go straight from the guest to a real rsyslog, next hop only: it may die at any moment, and nothing of the agent
//! waits for it, believes it, or says more than is known.

use crate::lab::{Guest, Lab, PATIENCE, get};
use crate::rsyslog::Rsyslog;
use crate::support::{Why, left_out};
use outpost_qemu::{Accel, Machine};
use outpost_wire::session::Mode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Records that the drill makes in a second.
const RATE: u64 = 50;

/// The seqs of the only boot that this rsyslog was told of, in the order of their first arrival: in records, or as skipped
/// because the collector had them when they could be sent.
fn seqs(rsyslog: &Rsyslog) -> Vec<u64> {
    let (mut seqs, mut known) = (Vec::new(), BTreeSet::new());
    for uid in rsyslog.uids() {
        let place = uid.rsplit('/').next().unwrap_or_default();
        let numbers = place.strip_prefix("skipped-").unwrap_or(place).split('-').map(|seq| seq.parse().ok());
        let Some(range) = numbers.collect::<Option<Vec<u64>>>() else { continue };
        let (Some(&from), Some(&to)) = (range.first(), range.last()) else { continue };
        seqs.extend((from..=to).filter(|seq| known.insert(*seq)));
    }
    seqs
}

fn wait_for(what: &str, rsyslog: &Rsyslog, done: impl Fn(&[u64]) -> bool) -> Vec<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seqs = seqs(rsyslog);
        if done(&seqs) {
            return seqs;
        }
        assert!(Instant::now() < deadline, "{what} did not happen, {} came: {}", seqs.len(), rsyslog.out());
        sleep(Duration::from_millis(50));
    }
}

fn status(guest: &Guest) -> Value {
    serde_json::from_str(&get(guest.http(), "/status").unwrap().body).unwrap()
}

#[test]
fn a_syslog_server_is_a_next_hop_and_no_more() {
    // Whoever reads "delivered" where nobody acknowledged anything finds the hole in the log after the incident.
    let Some(program) = Rsyslog::program() else {
        let name = "a_syslog_server_is_a_next_hop_and_no_more";
        return left_out(Why::Skipped, name, "rsyslogd is not installed: apt-get install rsyslog");
    };
    let lab = Lab::of(Mode::Keyed);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut rsyslog = Rsyslog::start(&program, lab.folder(), port);
    let mut config: Value = serde_json::from_str(&lab.config(Some(json!({ "records_per_s": RATE })))).unwrap();
    config["sink"] = json!({ "syslog": format!("10.0.2.2:{port}") });
    // Not ready, so that the console says how it is.
    config["http"] = json!({ "maintenance": true });
    let mut vm = lab.vm(Machine::Microvm, Machine::Microvm.nics()[0], Accel::Tcg);
    vm.config = Some(lab.file("sink.json", &config.to_string()));
    let mut guest = Guest::boot(&vm);
    guest.wait_ok("/livez");

    // From the first record on, each once, in order, and as RFC 5424 has it.
    let came = wait_for("a second's arrival", &rsyslog, |seqs| seqs.len() as u64 > RATE);
    assert!(came.iter().copied().eq(1..=came.len() as u64), "{came:?}");
    let out = rsyslog.out();
    let first = out.lines().next().unwrap();
    for part in [
        "daemon.info|lab|outpost|",
        "|boot.started|[timeQuality ",
        "/1\" seq=\"1\" mono_us=\"",
        "\"]|boot.started version=",
    ] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    assert!(out.contains("|http.request method=GET route=/livez"), "{out}");

    // It counts as sent and not as delivered, whatever the collector has.
    let before = status(&guest);
    let (log, sink) = (&before["log"], &before["sink"]);
    let number = |name: &str| log[name].as_u64().unwrap();
    assert_eq!((&sink["delivery"], &sink["state"]), (&json!("next hop only"), &json!("connected")), "{before}");
    assert_eq!(sink["syslog"], json!(format!("10.0.2.2:{port}")));
    assert!(number("sent_unacknowledged") > RATE, "{log}");
    assert_eq!(number("emitted"), number("delivered") + number("lost") + number("buffered"), "{log}");
    let summary = get(guest.http(), "/").unwrap().body;
    assert!(summary.contains("next hop only"), "{summary}");
    guest.wait_for_line(&["not ready:", "syslog at 10.0.2.2:", "next hop only"]);

    // It stops reading, dies, and is away: the agent serves, the collector gets everything, and a record says so.
    rsyslog.stop();
    sleep(Duration::from_secs(1));
    rsyslog.kill();
    lab.wait_for("sink.lost", 1);
    assert_eq!(get(guest.http(), "/livez").unwrap().status, 200);
    assert_ne!(status(&guest)["sink"]["state"], "connected");
    let last = |seqs: &[u64]| seqs.iter().copied().max().unwrap_or(0);
    let known = last(&seqs(&rsyslog));
    let known = known.max(lab.stored().iter().map(|record| record.seq.cast_unsigned()).max().unwrap_or(0));
    rsyslog.kill_and_restart();
    lab.wait_for("sink.connected", 2);
    let came = wait_for("the stream's going on", &rsyslog, |seqs| last(seqs) > known + RATE);
    // Order survives. What may be missing is what its kernel had when it died, and nothing of later.
    assert!(came.is_sorted(), "{came:?}");
    let gaps: Vec<_> = came.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(gaps.len() <= 1, "{gaps:?}");

    // The last record of the boot goes out before the machine is off.
    guest.power_down();
    let end = lab.records("shutdown")[0].seq.cast_unsigned();
    wait_for("the arrival of the last record", &rsyslog, |seqs| last(seqs) == end);
}
