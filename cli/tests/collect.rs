//! The collector as a real process, spoken to over real sockets.

#[path = "../../tests/support/mod.rs"]
mod left_out;
mod support;

use left_out::{Why, left_out};
use outpost_cli::collect::limits::DiskKept;
use outpost_cli::collect::{Options, Output, Server};
use outpost_wire::session::{Alive, BootRange, Bye, ByeReason, Hello, LossReason, Lost, Message, Mode, preface};
use outpost_wire::{ClockSync, Event, Intern, Ip4, NameId, Text};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Agent, PATIENCE, Process, Said, body, data, directory, encode, execute, get, hello, query};
use support::{record_body, refused, stored, verify};

const BYE_PROTOCOL: Said = Said::Bye(Bye { reason: ByeReason::Protocol });
const BYE_STORAGE: Said = Said::Bye(Bye { reason: ByeReason::Storage });
const BYE_VERSION: Said = Said::Bye(Bye { reason: ByeReason::Version });

fn lost(from: u64, to: u64, reason: LossReason) -> Message<'static> {
    Message::Lost(Lost { boot: 0, from, to, reason })
}

#[test]
fn a_session_from_hello_to_an_orderly_end() {
    // The main path: what is sent is stored under its seq, acknowledged, shown, and accounted for.
    let (_directory, store) = directory();
    let mut collector = Process::start(&store);
    let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    assert_eq!((welcome.current, welcome.previous), (0, 0));
    let intern = Event::from(Intern { id: NameId(1), text: Text::new("/livez") });
    let mut bodies = vec![record_body(1, &intern)];
    bodies.extend((2..=200).map(|seq| body(7, seq)));
    agent.stream.write_all(&data(0, 1, &bodies)).unwrap();
    agent.expect_ack(200);
    assert_eq!(stored(&store, 7), (1..).zip(bodies).collect::<Vec<_>>());
    let json: serde_json::Value = serde_json::from_str(&collector.out.wait_for(r#""seq":200"#)).unwrap();
    assert_eq!(json["agent"], "fra1");
    assert_eq!(json["event"], "http.request");
    assert_eq!(json["fields"]["route"], "/livez");

    collector.signal("-TERM");
    assert_eq!(agent.next(), Said::Bye(Bye { reason: ByeReason::Shutdown }));
    assert_eq!(agent.next(), Said::Closed(true));
    drop(agent);
    assert_eq!(collector.wait().code(), Some(0));
    assert_eq!(verify(&store).0, 0);
    assert_eq!(query::<String>(&store, "SELECT ended FROM sessions"), "shutdown");
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_missing_and_nothing_is_there_twice() {
    // What every log pipeline that was tried got wrong: an acknowledgement is a promise that survives SIGKILL.
    let (_directory, store) = directory();
    let (boot_id, mut emitted, mut acked, mut random) = (9, 0, 0, 0x2545_f491_4f6c_dd1d_u64);
    for _ in 0..10 {
        let mut collector = Process::start(&store);
        let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", boot_id, 1, emitted + 1));
        assert!(welcome.current >= acked, "{acked} was acknowledged, and then only {} was there", welcome.current);
        // xorshift64: the moments differ between rounds and not between runs.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let delay = Duration::from_micros(random % 150_000);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            collector.kill();
        });
        let (mut sender, from) = (agent.sender(), welcome.current + 1);
        emitted = emitted.max(welcome.current + 20_000);
        let sender = std::thread::spawn(move || (0..2000).for_each(|i| sender.send(from + i * 10, from + i * 10 + 9)));
        acked = welcome.current;
        loop {
            match agent.next() {
                Said::Ack { boot: 0, seq } => acked = seq,
                Said::Closed(_) => break,
                other => panic!("{other:?}"),
            }
        }
        killer.join().unwrap();
        sender.join().unwrap();
        let found = stored(&store, boot_id).len() as u64;
        assert!(found >= acked, "{acked} were acknowledged, {found} are there");
    }
    assert!(acked > 100, "the collector was always killed before it did anything: {acked}");
    assert_eq!(verify(&store).0, 3, "what was emitted and not sent is an unknown tail");

    let collector = Process::start(&store);
    let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", boot_id, 1, emitted + 1));
    let mut sender = agent.sender();
    std::thread::spawn(move || sender.send(welcome.current + 1, emitted));
    agent.expect_ack(emitted);
    let found = stored(&store, boot_id);
    assert!(found.iter().cloned().eq((1..=emitted).map(|seq| (seq, body(boot_id, seq)))), "not the records sent");
    let (code, text) = verify(&store);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_gap_is_refused_and_never_acknowledged() {
    // An agent that skips a seq has lost a record without saying so: to store on would hide it.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 5);
    agent.expect_ack(5);
    agent.send(7, 8);
    assert_eq!(agent.next(), BYE_PROTOCOL);
    assert_eq!(agent.next(), Said::Closed(true));
    assert_eq!(stored(&store, 7).len(), 5);
    collector.err.wait_for("seq 7 came where 6 had to");
    // The same for a range of losses that does not join on.
    let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", 7, 1, 9));
    assert_eq!(welcome.current, 5);
    agent.say(lost(7, 8, LossReason::Overflow));
    assert_eq!(agent.next(), BYE_PROTOCOL);
    // Declared, it goes on.
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 9));
    agent.say(lost(6, 7, LossReason::Overflow));
    agent.send(8, 8);
    agent.expect_ack(8);
    let (code, text) = verify(&store);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("6 records up to seq 8, 2 declared lost"), "{text}");
}

#[test]
fn what_breaks_the_protocol_is_closed_with_one_clear_line() {
    // Whatever connects: it must not hang us, crash us, or be taken for an agent.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let greeting = [&preface(Mode::Clear)[..], &encode(Message::Hello(hello("fra1", 7, 1, 1)))].concat();
    let mut damaged = greeting.clone();
    damaged[12] ^= 0x10;
    let twice = Hello { previous: Some(BootRange { boot_id: 7, oldest: 1, next: 1 }), ..hello("fra1", 7, 1, 1) };
    let refused: [(&[u8], &[Said], &str); 6] = [
        (b"OUTP\x01\x01", &[BYE_VERSION], "keyed session"),
        (&damaged, &[BYE_PROTOCOL], "damaged on its way (CRC)"),
        (b"OUTP\x01\x00\xff\xff\x01", &[BYE_PROTOCOL], "length is zero or above"),
        (&[&b"OUTP\x01\x00"[..], &encode(Message::Alive(Alive { next: 1 }))].concat(), &[BYE_PROTOCOL], "not Hello"),
        (&[&b"OUTP\x01\x00"[..], &encode(Message::Hello(twice))].concat(), &[BYE_PROTOCOL], "one boot twice"),
        (&[&greeting[..], &data(0, 1, &[body(7, 1)])].concat(), &[BYE_PROTOCOL], "spoke before Welcome"),
    ];
    for (bytes, said, line) in refused {
        let mut client = Agent::raw(collector.address, bytes);
        for expected in said {
            assert_eq!(client.next(), *expected, "{line}");
        }
        assert_eq!(client.next(), Said::Closed(true), "{line}");
        collector.err.wait_for(line);
    }
    let refused_in_session: [(Vec<u8>, &str); 4] = [
        (data(1, 1, &[body(7, 1)]), "a boot that Hello did not name"),
        (data(0, 1, &[vec![1, 0, 0, 4]]), "the record with seq 1 cannot be read"),
        (encode(lost(1, u64::MAX, LossReason::Overflow)), "larger than the store can order"),
        (encode(Message::Hello(hello("fra1", 7, 1, 1))), "no place in an open session"),
    ];
    for (bytes, line) in refused_in_session {
        let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
        agent.stream.write_all(&bytes).unwrap();
        assert_eq!(agent.next(), BYE_PROTOCOL, "{line}");
        collector.err.wait_for(line);
    }
    assert_eq!(stored(&store, 7), []);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 1);
    agent.expect_ack(1);
}

#[test]
fn one_byte_at_a_time_is_a_session_like_any_other() {
    // TCP may cut anywhere; a decoder that wants whole frames per read works until it does not.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let mut agent = Agent::raw(collector.address, b"");
    let greeting = [&preface(Mode::Clear)[..], &encode(Message::Hello(hello("fra1", 7, 1, 4)))].concat();
    let trickle = |agent: &mut Agent, bytes: &[u8]| {
        for byte in bytes {
            agent.stream.write_all(&[*byte]).unwrap();
        }
    };
    trickle(&mut agent, &greeting);
    assert!(matches!(agent.next(), Said::Welcome(_)));
    trickle(&mut agent, &data(0, 1, &[body(7, 1), body(7, 2)]));
    trickle(&mut agent, &encode(lost(3, 3, LossReason::Torn)));
    agent.expect_ack(3);
}

#[test]
fn agents_at_the_same_time_do_not_mix() {
    // One transaction serves all sessions; each must be told of its own records only.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let names: Vec<String> = (0..40).map(|number| format!("agent-{number}")).collect();
    let mut agents: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, boot_id)| Agent::open(collector.address, hello(name, boot_id, 1, 1)).0)
        .collect();
    for round in 0..10 {
        for (agent, extra) in agents.iter_mut().zip(0..) {
            let first = round * (10 + extra) + 1;
            agent.send(first, first + 9 + extra);
        }
    }
    for (agent, extra) in agents.iter_mut().zip(0..) {
        agent.expect_ack(10 * (10 + extra));
        let boot_id = agent.boot_id;
        let expected = (1..=10 * (10 + extra)).map(|seq| (seq, body(boot_id, seq)));
        assert!(stored(&store, boot_id).into_iter().eq(expected), "boot {boot_id}");
    }
    assert_eq!(verify(&store).0, 0);
}

#[test]
fn the_boot_before_is_resumed_beside_the_current_one() {
    // What was salvaged after a reset belongs to its own boot, with its own cursor.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 3);
    agent.expect_ack(3);
    let previous = Some(BootRange { boot_id: 7, oldest: 2, next: 6 });
    let (mut agent, welcome) = Agent::open(collector.address, Hello { previous, ..hello("fra1", 8, 1, 2) });
    assert_eq!((welcome.current, welcome.previous), (0, 3));
    agent.stream.write_all(&data(1, 4, &[body(7, 4), body(7, 5)])).unwrap();
    assert_eq!(agent.next(), Said::Ack { boot: 1, seq: 5 });
    assert_eq!(verify(&store).0, 3, "the current boot has emitted a record that has not come");
    agent.send(1, 1);
    agent.expect_ack(1);
    assert_eq!((stored(&store, 7).len(), stored(&store, 8).len()), (5, 1));
    assert_eq!(verify(&store).0, 0);
}

#[test]
fn a_full_disk_stops_acknowledgements_and_mending_it_resumes_them() {
    // The agent must keep what we cannot: an Ack for a record that is not on the disk would erase it.
    let (_directory, store) = directory();
    // The file size limit makes real writes fail, as a full disk does; no root and no mount is needed.
    let collector = Process::start_after("trap '' XFSZ; ulimit -S -f 400", &store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    let mut sender = agent.sender();
    let sender = std::thread::spawn(move || (0..300).for_each(|i| sender.send(i * 100 + 1, i * 100 + 100)));
    let mut acked = 0;
    let end = loop {
        match agent.next() {
            Said::Ack { seq, .. } => acked = seq,
            other => break other,
        }
    };
    sender.join().unwrap();
    assert_eq!(end, BYE_STORAGE);
    assert!(acked < 30_000, "the disk was never full");
    collector.err.wait_for("the store failed");
    let limit = |bytes: &str| {
        let pid = collector.child.id().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, bytes]).status().unwrap().success());
    };
    // Now not even Hello fits.
    limit("--fsize=4096:unlimited");
    let mut again = Agent::greet(collector.address, hello("fra1", 7, 1, 30_001));
    assert_eq!(again.next(), BYE_STORAGE, "it serves, and says why it cannot store");
    assert_eq!(stored(&store, 7).len() as u64, acked, "what is stored is what was acknowledged");

    limit("--fsize=unlimited");
    let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", 7, 1, 30_001));
    assert_eq!(welcome.current, acked);
    let mut sender = agent.sender();
    std::thread::spawn(move || sender.send(acked + 1, 30_000));
    agent.expect_ack(30_000);
    collector.err.wait_for("the store works again");
    assert_eq!(verify(&store).0, 0);
}

#[test]
fn a_sync_that_fails_is_never_acknowledged() {
    // Durability is proven at the system call: what fsync refused may be gone with the power.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 1);
    agent.expect_ack(1);
    let pid = collector.child.id().to_string();
    let strace = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=fsync,fdatasync:error=EIO", "-p", &pid])
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut strace) = strace else {
        return left_out(Why::Skipped, "a sync that fails", "strace is not installed: apt-get install strace");
    };
    let traced = format!("/proc/{pid}/status");
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_to_string(&traced).unwrap().contains("TracerPid:\t0\n") {
        assert!(Instant::now() < deadline && strace.try_wait().unwrap().is_none(), "strace did not attach");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The threads are attached one after the other.
    std::thread::sleep(Duration::from_millis(200));
    agent.send(2, 2);
    assert_eq!(agent.next(), BYE_STORAGE);
    strace.kill().unwrap();
    strace.wait().unwrap();
    let (mut agent, welcome) = Agent::open(collector.address, hello("fra1", 7, 1, 3));
    assert_eq!(welcome.current, 1);
    agent.send(2, 2);
    agent.expect_ack(2);
    assert_eq!(stored(&store, 7).len(), 2);
}

#[test]
fn a_store_that_is_not_ours_is_left_as_it_is() {
    // A wrong --store must cost a sentence, not somebody's data.
    let refuse = |store: &std::path::Path, sentence: &str| {
        let before = std::fs::read(store).ok();
        let (code, text) = refused("127.0.0.1:0", store);
        assert!(code == Some(1) && text.contains(sentence), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert_eq!(before, std::fs::read(store).ok(), "{sentence}");
    };
    let (directory, store) = directory();
    drop(Process::start(&store));
    execute(&store, "PRAGMA user_version = 99");
    refuse(&store, "was written by a newer Outpost (schema 99;");
    let other = directory.path().join("other.db");
    execute(&other, "CREATE TABLE customers (name TEXT)");
    refuse(&other, "is the database of another program");
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database at all, but long enough to have a header\n".repeat(100)).unwrap();
    refuse(&text, "is not a store, or is damaged");
    refuse(&directory.path().join("nowhere/store.db"), "Check that it and its directory exist");
    for (store, sentence) in [(&store, "newer Outpost"), (&other, "another program"), (&text, "not a store")] {
        let (code, text) = verify(store);
        assert!(code == 2 && text.contains(sentence), "{text}");
    }
}

#[test]
fn an_address_that_cannot_be_used_costs_a_sentence_with_the_remedy() {
    // The two mistakes of a first start: a port that is taken, and an open port that anyone can acknowledge on.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let refuse = |listen: &str, sentence: &str| {
        let (code, text) = refused(listen, &store);
        assert!(code == Some(1) && text.contains(sentence), "{text}");
    };
    refuse(&collector.address.to_string(), "is taken by another program");
    refuse("0.0.0.0:0", "add --insecure");
    refuse("192.0.2.1:7600", "add --insecure");
}

#[test]
fn verify_finds_what_is_missing() {
    // A verifier that cannot fail proves nothing: rows are taken out behind its back.
    let (_directory, store) = directory();
    let mut collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.say(lost(1, 2, LossReason::Overflow));
    agent.send(3, 10);
    agent.expect_ack(10);
    assert_eq!(verify(&store).0, 0);
    agent.say(Message::Alive(Alive { next: 14 }));
    let deadline = Instant::now() + PATIENCE;
    while verify(&store).0 != 3 {
        assert!(Instant::now() < deadline, "Alive did not reach the store");
    }
    assert!(verify(&store).1.contains("unknown tail: seqs 11 to 13"), "{}", verify(&store).1);
    collector.kill();
    execute(&store, "DELETE FROM records WHERE seq IN (5, 6, 9)");
    let (code, text) = verify(&store);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("UNACCOUNTED: seqs 5 to 6") && text.contains("UNACCOUNTED: seqs 9 to 9"), "{text}");
    execute(&store, "DELETE FROM lost");
    assert!(verify(&store).1.contains("UNACCOUNTED: seqs 1 to 2"), "{}", verify(&store).1);
}

#[test]
fn a_record_costs_at_most_150_bytes_in_the_store() {
    // A year of one agent at 20 records/s must stay below 100 GB; with its index, as the file is on the disk.
    let (_directory, store) = directory();
    let mut collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", u64::MAX, 1, 1));
    let mut sender = agent.sender();
    std::thread::spawn(move || sender.send(1, 10_000));
    agent.expect_ack(10_000);
    collector.signal("-INT");
    assert_eq!(collector.wait().code(), Some(0));
    let per_record = std::fs::metadata(&store).unwrap().len() as f64 / 10_000.0;
    println!("{per_record:.1} bytes per record in the store");
    assert!(per_record <= 150.0, "{per_record}");
}

#[test]
fn what_retention_took_is_told_as_retired_and_verify_stays_clean() {
    // A gap that nobody can tell from a loss makes every later gap look harmless.
    let (_directory, store) = directory();
    let collector = Process::start_with(&store, &["--keep", "1s"]);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 100);
    agent.say(lost(101, 105, LossReason::Overflow));
    agent.expect_ack(105);
    let deadline = Instant::now() + PATIENCE;
    while query::<i64>(&store, "SELECT count(*) FROM records") > 0 {
        assert!(Instant::now() < deadline, "nothing was retired");
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.send(106, 106);
    agent.expect_ack(106);
    let (code, text) = verify(&store);
    assert!(code == 0 && text.contains("1 records up to seq 106, 5 declared lost, 100 retired"), "{text}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_outpost")).args(["logs", "--format", "json", "--store"]).arg(&store).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.contains(r#""event":"retired""#) && !text.contains(r#""event":"missing""#), "{text}");
    execute(&store, "DELETE FROM retired");
    assert_eq!(verify(&store).0, 1, "and without that it is a gap");
}

#[test]
fn every_record_gets_utc_also_those_before_the_first_sync() {
    // A boot's first records are what a postmortem is about, and the clock is always set after them.
    let (_directory, store) = directory();
    let collector = Process::start(&store);
    let (mut agent, _) = Agent::open(collector.address, hello("fra1", 7, 1, 1));
    agent.send(1, 1);
    agent.expect_ack(1);
    assert!(collector.out.wait_for(r#""seq":1,"#).contains(r#""utc":null,"utc_error_us":null"#));
    let sync = Event::from(ClockSync {
        unix_us: 1_700_000_000_000_000,
        error_us: 500,
        stratum: 2,
        server: Ip4([192, 0, 2, 7]),
        step_us: 0,
        backwards: false,
    });
    agent.stream.write_all(&data(0, 2, &[record_body(2, &sync), body(7, 3)])).unwrap();
    agent.expect_ack(3);
    // Records of these tests are a millisecond apart.
    let after = collector.out.wait_for(r#""seq":3,"#);
    assert!(after.contains(r#""utc":"2023-11-14T22:13:20.001000Z","utc_error_us":501"#), "{after}");
    let output =
        Command::new(env!("CARGO_BIN_EXE_outpost")).args(["logs", "--format", "json", "--store"]).arg(&store).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let first = text.lines().find(|line| line.contains(r#""seq":1,"#)).unwrap_or_default();
    assert!(first.contains(r#""utc":"2023-11-14T22:13:19.999000Z","utc_error_us":501"#), "{text}");
}

#[test]
fn its_own_health_and_metrics_are_served_and_nothing_else() {
    // The collector is one more thing that can be down: who watches it needs numbers, not its terminal.
    let (_directory, store) = directory();
    let collector = Process::start_with(&store, &["--http", "127.0.0.1:0"]);
    let line = collector.err.wait_for("its health and metrics");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let (mut agent, _) = Agent::open(collector.address, hello("fra\"1", 7, 1, 1));
    agent.send(1, 5);
    agent.expect_ack(5);
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    let (code, metrics) = get(&address, "/metrics");
    assert_eq!(code, 200);
    for line in [
        "outpost_collector_sessions 1",
        "outpost_collector_agents 1",
        "outpost_collector_agent_durable_seq{agent=\"fra\\\"1\"} 5",
        "outpost_collector_agent_silent{agent=\"fra\\\"1\"} 0",
        "outpost_collector_failing 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let disk = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("outpost_collector_disk_{name}_bytes ")));
        line.expect(name).parse().unwrap()
    };
    assert!(0.0 < disk("free") && disk("free") <= disk("size"));
    assert_eq!(get(&address, "/").0, 404);
    // A client that says nothing holds up the next for a bounded time, and no session at all.
    let _mute = std::net::TcpStream::connect(&address).unwrap();
    agent.send(6, 6);
    agent.expect_ack(6);
    assert_eq!(get(&address, "/healthz").0, 200);
}

#[test]
fn before_the_disk_is_full_nothing_more_is_acknowledged() {
    // A full disk takes down what else is on the machine; the agents have room for what we do not take.
    let (_directory, store) = directory();
    let mut options = Options::new("127.0.0.1:0".parse().unwrap(), store.clone());
    options.disk_kept = DiskKept { one_in: 1, at_most: u64::MAX };
    options.http = Some("127.0.0.1:0".parse().unwrap());
    let (server, output) = Server::start(options).unwrap();
    let mut agent = Agent::greet(server.local_address(), hello("fra1", 7, 1, 1));
    assert_eq!(agent.next(), BYE_STORAGE);
    // The agent is answered first, the operator after.
    let deadline = Instant::now() + PATIENCE;
    let next = || output.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    while !matches!(next().expect("what to do is told"), Output::Notice(line) if line.contains("make room on it")) {}
    let (code, text) = get(&server.http_address().unwrap().to_string(), "/healthz");
    assert!(code == 503 && text.contains("MB left"), "{text}");
    server.stop().unwrap();
    assert_eq!(query::<i64>(&store, "SELECT count(*) FROM boots"), 0);
}
