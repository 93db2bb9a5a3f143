//! Keyed sessions with the collector as a real process: who has the key, who has not, and what either can do.

#[path = "../../tests/support/mod.rs"]
mod left_out;
mod support;

use outpost_wire::limits::FRAME_MAX;
use outpost_wire::noise::Key;
use outpost_wire::session::{Ack, Alive, Bye, ByeReason, Message};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Agent, Process, Said, body, directory, encode, hello, opening, query, refused, stored, verify};

const FRA1: &str = "11111111c0ffee0011111111c0ffee0011111111c0ffee0011111111c0ffee00";
const FRA2: &str = "22222222c0ffee0022222222c0ffee0022222222c0ffee0022222222c0ffee00";

fn key(hex: &str) -> Key {
    Key::from_hex(hex).unwrap()
}

fn key_file(store: &Path, mode: u32) -> String {
    let path = store.with_file_name("keys");
    std::fs::write(&path, format!("fra1 {FRA1}\nfra2 {FRA2}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

fn start(store: &Path, more: &[&str]) -> Process {
    let keys = key_file(store, 0o600);
    Process::start_with(store, &[&["--keys", &keys], more].concat())
}

/// What a collector answers to these bytes, until it closes: all of it, and how long that took.
fn answer(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut agent = Agent::raw(address, b"");
    let start = Instant::now();
    agent.stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    // An error is a reset: closed all the same.
    let _ = agent.stream.read_to_end(&mut all);
    (all, start.elapsed())
}

#[test]
fn with_the_key_a_session_is_like_any_other() {
    // Sealing must change nothing of what is stored, acknowledged and resumed.
    let (_directory, store) = directory();
    let mut collector = start(&store, &[]);
    let (mut agent, welcome) = Agent::open_keyed(collector.address, &key(FRA1), hello("fra1", 7, 1, 1));
    assert_eq!(welcome.current, 0);
    agent.send(1, 500);
    agent.expect_ack(500);
    let (mut other, _) = Agent::open_keyed(collector.address, &key(FRA2), hello("fra2", 8, 1, 1));
    other.send(1, 3);
    other.expect_ack(3);
    collector.kill();
    drop(agent);
    let collector = start(&store, &[]);
    let (mut agent, welcome) = Agent::open_keyed(collector.address, &key(FRA1), hello("fra1", 7, 501, 501));
    assert_eq!(welcome.current, 500);
    // One byte at a time.
    let bodies: Vec<_> = (501..=503).map(|seq| body(7, seq)).collect();
    for byte in agent.sealed(&support::data(0, 501, &bodies)) {
        agent.stream.write_all(&[byte]).unwrap();
    }
    agent.expect_ack(503);
    assert!(stored(&store, 7).into_iter().eq((1..=503).map(|seq| (seq, body(7, seq)))));
    assert_eq!(verify(&store).0, 0);
    collector.signal("-TERM");
    assert_eq!(agent.next(), Said::Bye(Bye { reason: ByeReason::Shutdown }), "sealed, too");
}

/// A Python that has `noiseprotocol`, as set-up installs it.
fn python() -> Option<std::path::PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let works = Command::new(&python).args(["-c", "import noise.connection"]).output();
    works.is_ok_and(|output| output.status.success()).then_some(python)
}

#[test]
fn a_stranger_with_the_specification_and_another_library_is_understood() {
    // Two ends written by one hand agree on their mistakes; this one is Python, on another implementation of Noise.
    let Some(python) = python() else {
        left_out::left_out(left_out::Why::Skipped, "keyed session from Python", "no noiseprotocol: scripts/setup test");
        return;
    };
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let (host, port) = (collector.address.ip().to_string(), collector.address.port().to_string());
    let agent = |key: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/keyed_agent.py");
        let output = Command::new(&python).arg(script).args([&host, &port, "fra1", key]).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(agent(FRA1), "welcome 0\nack 2\n");
    assert_eq!(agent(FRA1), "welcome 2\nack 4\n", "resumed");
    assert_eq!(agent(FRA2), "closed\n", "with another's key");
    assert_eq!(query::<i64>(&store, "SELECT count(*) FROM records WHERE event = 4 AND severity = 17"), 4);
    assert_eq!(verify(&store).0, 0);
}

#[test]
fn without_the_key_nobody_learns_or_changes_anything() {
    // A wrong key and an unknown name must look alike, or the port tells which agents there are.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let (_, wrong) = opening(&key(FRA2), "fra1");
    let (_, unknown) = opening(&key(FRA2), "fra3");
    let (mut slowest, mut fastest) = ([Duration::ZERO; 2], [Duration::MAX; 2]);
    for _ in 0..20 {
        for (case, bytes) in [&wrong, &unknown].into_iter().enumerate() {
            let (said, took) = answer(collector.address, bytes);
            assert_eq!(said, [0u8; 0], "case {case}");
            (slowest[case], fastest[case]) = (slowest[case].max(took), fastest[case].min(took));
        }
    }
    println!("closed after {fastest:?} at best, {slowest:?} at worst (wrong key, unknown name)");
    let [wrong_key, unknown_name] = fastest.map(|time| time.as_secs_f64());
    assert!(wrong_key < 5.0 * unknown_name && unknown_name < 5.0 * wrong_key, "{fastest:?}: another class of time");
    collector.err.wait_for("did not prove that it knows the key of fra1");
    collector.err.wait_for("did not prove that it knows the key of fra3");
    for impossible in [&b"OUTP\x01\x01\x00"[..], b"OUTP\x01\x01\xff", b"OUTP\x01\x01\x02\xff\xfe"] {
        let bytes = [impossible, &[0; 48]].concat();
        assert_eq!(answer(collector.address, &bytes).0, [0u8; 0]);
    }
    assert_eq!(query::<i64>(&store, "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM sessions)"), 0);
}

#[test]
fn a_recorded_opening_does_not_disturb_the_session_it_was_of() {
    // Whoever recorded a first message can send it again; it must neither replace a session nor store anything.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let (initiator, bytes) = opening(&key(FRA1), "fra1");
    let mut agent = Agent::raw(collector.address, &bytes);
    let mut answer = [0; 48];
    agent.stream.read_exact(&mut answer).unwrap();
    agent.channel = Some(initiator.finish(&answer).unwrap());
    agent.boot_id = 7;
    agent.say(Message::Hello(hello("fra1", 7, 1, 1)));
    assert!(matches!(agent.next(), Said::Welcome(_)));
    let recorded = agent.sealed(&support::data(0, 1, &[body(7, 1)]));
    agent.stream.write_all(&recorded).unwrap();
    agent.expect_ack(1);
    let mut replayed = Agent::raw(collector.address, &bytes);
    let mut other = [0; 48];
    replayed.stream.read_exact(&mut other).unwrap();
    assert_ne!(answer, other, "the collector's half is new each time");
    agent.send(2, 2);
    agent.expect_ack(2);
    replayed.stream.write_all(&recorded).unwrap();
    assert!(matches!(replayed.next_closed(), Said::Closed(_)));
    collector.err.wait_for("did not prove that it knows the key of fra1");
    agent.send(3, 3);
    agent.expect_ack(3);
    assert_eq!(stored(&store, 7).len(), 3);
    assert_eq!(query::<i64>(&store, "SELECT count(*) FROM oddities"), 0);
}

#[test]
fn a_frame_that_was_changed_or_left_out_ends_the_session_and_is_not_stored() {
    // On the way anything can happen to bytes; what is acknowledged must be what the agent sent.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    for (case, change) in [("changed", 0), ("one left out", 1), ("clear", 2), ("too long", 3)] {
        let (mut agent, _) = Agent::open_keyed(collector.address, &key(FRA1), hello("fra1", 7, 1, 1));
        let mut bytes = agent.sealed(&support::data(0, 1, &[body(7, 1)]));
        match change {
            0 => *bytes.last_mut().unwrap() ^= 1,
            1 => {
                let alive = agent.sealed(&encode(Message::Alive(Alive { next: 1 })));
                // The record was not sent: its place in the channel is empty.
                bytes = alive;
            }
            2 => bytes = support::data(0, 1, &[body(7, 1)]),
            _ => bytes = vec![0xff; FRAME_MAX],
        }
        agent.stream.write_all(&bytes).unwrap();
        assert!(matches!(agent.next(), Said::Closed(_)), "{case}");
        assert_eq!(stored(&store, 7), [], "{case}");
    }
}

#[test]
fn an_agent_cannot_speak_for_another() {
    // One stolen key must not write into, or acknowledge away, the records of the whole fleet.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let mut agent = Agent::prove(collector.address, &key(FRA1), "fra1");
    agent.say(Message::Hello(hello("fra2", 8, 1, 1)));
    assert_eq!(agent.next(), Said::Bye(Bye { reason: ByeReason::Protocol }));
    collector.err.wait_for("it has the key of fra1 and says that it is fra2");
    assert_eq!(answer(collector.address, &opening(&key(FRA1), "fra2").1).0, [0u8; 0]);
    assert_eq!(query::<i64>(&store, "SELECT count(*) FROM agents"), 0);
}

#[test]
fn a_handshake_cut_short_holds_its_place_for_a_bounded_time_only() {
    // Half an opening is not an error yet; the connection's end and the deadline are.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let (_, bytes) = opening(&key(FRA1), "fra1");
    for len in [1, 6, 7, 10, 11, 12, bytes.len() - 1] {
        let agent = Agent::raw(collector.address, &bytes[..len]);
        agent.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!({ agent }.next(), Said::Closed(true), "cut at {len}");
    }
    let mut agent = Agent::raw(collector.address, &bytes[..bytes.len() - 1]);
    let start = Instant::now();
    assert!(matches!(agent.next(), Said::Bye(_)));
    assert!(start.elapsed() < Duration::from_secs(15));
    collector.err.wait_for("no Hello came in time");
}

#[test]
fn clear_sessions_are_served_only_where_that_was_said() {
    // A fleet is moved to keys agent by agent; until it is, both must work, and after it only one.
    let (_directory, store) = directory();
    let mut collector = start(&store, &[]);
    let mut agent = Agent::greet(collector.address, hello("fra1", 7, 1, 1));
    assert_eq!(agent.next(), Said::Bye(Bye { reason: ByeReason::KeyRequired }));
    collector.err.wait_for("serves keyed ones only");
    collector.kill();
    let mut collector = start(&store, &["--allow-clear"]);
    let (mut agent, _) = Agent::open(collector.address, hello("fra3", 9, 1, 1));
    agent.send(1, 1);
    agent.expect_ack(1);
    let (mut agent, _) = Agent::open_keyed(collector.address, &key(FRA1), hello("fra1", 7, 1, 1));
    agent.send(1, 1);
    agent.expect_ack(1);
    collector.kill();
    // And a keyed agent at a collector without keys is told, as far as anyone can.
    let collector = Process::start(&store);
    answer(collector.address, &opening(&key(FRA1), "fra1").1);
    collector.err.wait_for("this collector has no keys");
}

#[test]
fn keys_open_the_port_to_other_machines_and_nothing_else_does() {
    // The first start of a fleet's collector: the refusal must name the way out, and the way out must work.
    let (_directory, store) = directory();
    let (code, text) = refused("0.0.0.0:0", &store);
    assert!(code == Some(1) && text.contains("--keys FILE"), "{text}");
    let keys = key_file(&store, 0o640);
    let run = |keys: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_outpost"))
            .args(["collect", "--listen", "192.0.2.1:7600", "--keys", keys, "--store"])
            .arg(&store)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&keys);
    assert!(code == Some(1) && text.contains("chmod 600"), "{text}");
    let (code, text) = run(&key_file(&store, 0o600));
    assert!(code == Some(1) && text.contains("is not an address of this machine"), "it came to listening: {text}");
}

#[test]
fn a_key_is_made_by_a_command_and_shown_nowhere_else() {
    // Logs, stores and error messages are read by many; a key in one of them is everybody's.
    let new = || {
        let output = Command::new(env!("CARGO_BIN_EXE_outpost")).args(["key", "new", "--agent", "fra1"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let text = new();
    let (hex, line) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(line, format!("fra1 {hex}"));
    assert_ne!(text, new());
    let (directory, store) = directory();
    let keys = key_file(&store, 0o600);
    std::fs::write(&keys, line).unwrap();
    let mut collector = Process::start_with(&store, &["--keys", &keys]);
    let (mut agent, _) = Agent::open_keyed(collector.address, &key(hex), hello("fra1", 7, 1, 1));
    agent.send(1, 3);
    agent.expect_ack(3);
    answer(collector.address, &opening(&key(FRA1), "fra1").1);
    collector.err.wait_for("did not prove");
    collector.signal("-TERM");
    collector.wait();
    let said = collector.out.all().concat() + &collector.err.all().concat();
    assert!(!said.contains(&hex[..16]), "{said}");
    let raw = (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<_>>();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let shown = bytes.windows(16).any(|part| part == &hex.as_bytes()[..16] || part == &raw[..16]);
        assert_eq!(shown, path.ends_with("keys"), "{}", path.display());
    }
}

#[test]
fn what_a_keyed_session_carries_cannot_be_read_on_the_way() {
    // Names and records are nobody else's business either.
    let (_directory, store) = directory();
    let collector = start(&store, &[]);
    let (mut agent, _) = Agent::open_keyed(collector.address, &key(FRA1), hello("fra1", 7, 1, 1));
    let clear = encode(Message::Ack(Ack { boot: 0, seq: 1 }));
    let sealed = agent.sealed(&clear);
    assert_eq!(sealed.len(), clear.len() + 18);
    assert!(!sealed.windows(4).any(|part| part == &clear[..4]));
}
