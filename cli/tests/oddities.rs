//! What a collector does with what should not be: one table, each row played to a real `outpost collect` over real
//! sockets.
//!
//! What always holds, whatever comes: no record that it had is changed or gone, what it did is told, and `outpost
//! verify` accounts for all of it.

mod support;

use outpost_wire::session::{Alive, Bye, ByeReason, CRC, Hello, LossReason, Lost, Message, Mode, Welcome, preface};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{Agent, Lines, PATIENCE, Process, Said, body, data, directory, encode, get, hello, query, raw_body};
use support::{stored, strings, verify};

/// One row of the table.
struct Oddity {
    /// What comes.
    what: &'static str,
    /// Makes it come, and sees what the agents are answered.
    script: fn(&mut Stage),
    /// What the store has after it: boots, and which records of each.
    stored: &'static [(u64, RangeInclusive<u64>)],
    /// The rows of `oddities`: events, and a part of the detail.
    oddities: &'static [(&'static str, &'static str)],
    /// Sessions that ended for this reason, by the counter of `/metrics`.
    ended: Option<(&'static str, u32)>,
    /// What the operator reads: a part of a line of the output, or of standard error.
    told: &'static str,
    /// The exit code of `outpost verify`, and a part of what it prints.
    verify: (i32, &'static str),
}

/// A collector and its store.
struct Stage {
    collector: Process,
    store: PathBuf,
}

impl Stage {
    fn start(store: PathBuf) -> Stage {
        Stage { collector: Process::start_with(&store, &["--http", "127.0.0.1:0"]), store }
    }

    fn open(&self, boot_id: u64, next: u64) -> Agent {
        Agent::open(self.collector.address, hello("fra1", boot_id, 1, next)).0
    }

    /// A boot of which records 1 to `to` are stored.
    fn open_with(&self, boot_id: u64, to: u64) -> Agent {
        let mut agent = self.open(boot_id, 1);
        agent.send(1, to);
        agent.expect_ack(to);
        agent
    }

    fn metrics(&self) -> String {
        let line = self.collector.err.wait_for("its health and metrics");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        get(address, "/metrics").1
    }
}

const TABLE: &[Oddity] = &[
    Oddity {
        what: "the same record again",
        script: |stage| {
            let mut again = stage.open(7, 1);
            stage.open_with(7, 3);
            again.send(1, 4);
            again.expect_ack(4);
        },
        stored: &[(7, 1..=4)],
        oddities: &[],
        ended: None,
        told: r#""seq":4"#,
        verify: (0, "4 records up to seq 4, 0 declared lost\nevery record is accounted for"),
    },
    Oddity {
        what: "another record with a seq that is taken: a copy of a running machine",
        script: |stage| {
            let mut copies = [stage.open(7, 1), stage.open(7, 1)];
            stage.open_with(7, 3);
            let other = raw_body(2, 4, &[1]);
            // Told once, however often it comes.
            for copy in &mut copies {
                copy.write(&data(0, 1, &[body(7, 1), other.clone(), body(7, 3), body(7, 4)]));
                copy.expect_ack(4);
            }
            assert_eq!(query::<Vec<u8>>(&stage.store, "SELECT body FROM conflicts WHERE seq = 2"), other);
        },
        stored: &[(7, 1..=4)],
        oddities: &[("record.conflict", r#""seq":2"#)],
        ended: None,
        told: "record.conflict",
        verify: (0, "4 records up to seq 4, 0 declared lost, 1 conflicts kept"),
    },
    Oddity {
        what: "a restart: a newer session of the same name, and the older one has ended without a word",
        script: |stage| {
            let older = stage.open_with(7, 3);
            let mut newer = stage.open_with(8, 1);
            std::thread::sleep(Duration::from_millis(1100));
            newer.send(2, 2);
            newer.expect_ack(2);
            drop(older);
        },
        stored: &[(7, 1..=3), (8, 1..=2)],
        oddities: &[],
        ended: Some(("closed", 2)),
        told: r#""boot":"0000000000000008""#,
        verify: (0, "every record is accounted for"),
    },
    Oddity {
        what: "two live sessions of one name: two machines from one configuration",
        script: |stage| {
            let mut first = stage.open(7, 1);
            let mut second = stage.open(8, 1);
            std::thread::sleep(Duration::from_millis(1100));
            second.send(1, 2);
            second.expect_ack(2);
            for seq in 1..=3 {
                first.send(seq, seq);
                first.expect_ack(seq);
            }
        },
        stored: &[(7, 1..=3), (8, 1..=2)],
        oddities: &[("agent.duplicate_name", r#""other_boot":"0000000000000008""#)],
        ended: None,
        told: "agent.duplicate_name",
        verify: (0, "every record is accounted for"),
    },
    Oddity {
        what: "a store behind the agent's oldest record: it was lost, or an old copy of it was put back",
        script: |stage| {
            stage.open_with(7, 10);
            stage.collector.kill();
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", stage.store.display()));
            }
            *stage = Stage::start(stage.store.clone());
            let (mut agent, welcome) = Agent::open(stage.collector.address, hello("fra1", 7, 11, 12));
            assert_eq!(welcome.current, 0);
            agent.say(Message::Lost(Lost { boot: 0, from: 1, to: 10, reason: LossReason::CollectorRolledBack }));
            agent.send(11, 11);
            agent.expect_ack(11);
            stage.collector.out.wait_for(r#""reason":"collector_rolled_back""#);
        },
        stored: &[(7, 11..=11)],
        oddities: &[("collector.rolled_back", r#""from":1,"to":10"#)],
        ended: None,
        told: "collector.rolled_back",
        verify: (0, "1 records up to seq 11, 10 declared lost"),
    },
    Oddity {
        what: "an agent behind the store: a machine that was set back to a snapshot",
        script: |stage| {
            stage.open_with(7, 10);
            // Were it told 10, it would free records 6 to 10 of its new life, which nobody has.
            let (mut restored, welcome) = Agent::open(stage.collector.address, hello("fra1", 7, 1, 6));
            assert_eq!(welcome.current, 5);
            restored.write(&data(0, 6, &[raw_body(6, 4, &[1])]));
            restored.expect_ack(6);
        },
        stored: &[(7, 1..=10)],
        oddities: &[("agent.rewound", r#""stored":10,"next":6"#), ("record.conflict", r#""seq":6"#)],
        ended: None,
        told: "agent.rewound",
        verify: (0, "10 records up to seq 10, 0 declared lost, 1 conflicts kept"),
    },
    Oddity {
        what: "a record that was declared lost",
        script: |stage| {
            let mut copy = stage.open(7, 1);
            let mut agent = stage.open(7, 1);
            agent.say(Message::Lost(Lost { boot: 0, from: 1, to: 3, reason: LossReason::Overflow }));
            agent.expect_ack(3);
            copy.send(1, 1);
            copy.expect_ack(1);
        },
        stored: &[(7, 1..=1)],
        oddities: &[("record.late", r#""seq":1"#)],
        ended: None,
        told: "record.late",
        verify: (0, "1 records up to seq 3, 2 declared lost"),
    },
    Oddity {
        what: "an event of a newer catalogue",
        script: |stage| {
            let mut agent = stage.open(NEWER, 1);
            agent.write(&data(0, 1, &[sent(NEWER, 1), sent(NEWER, 2)]));
            agent.expect_ack(2);
        },
        stored: &[(NEWER, 1..=2)],
        oddities: &[],
        ended: None,
        told: r##""event":"#60000","transaction":null,"fields":{"raw":"0102ff"}"##,
        verify: (0, "every record is accounted for"),
    },
    Oddity {
        what: "a catalogue, an image and severities that the collector has never heard of",
        script: |stage| {
            let unknown =
                Hello { catalogue: [0xee; 8], image_id: [0xee; 32], severities: [0xee; 8], ..hello("fra1", 7, 1, 1) };
            let mut agent = Agent::open(stage.collector.address, unknown).0;
            agent.send(1, 2);
            agent.expect_ack(2);
            assert_eq!(query::<Vec<u8>>(&stage.store, "SELECT catalogue FROM boots"), [0xee; 8]);
        },
        stored: &[(7, 1..=2)],
        oddities: &[],
        ended: None,
        told: r#""seq":2"#,
        verify: (0, "2 records up to seq 2, 0 declared lost"),
    },
    Oddity {
        what: "a Hello of an agent that does not know its last field yet (SPEC, section 4)",
        script: |stage| {
            let mut older = encode(Message::Hello(hello("fra1", 7, 1, 1)));
            older.truncate(older.len() - 4 - 8);
            let len = older.len() as u16 - 2;
            older[..2].copy_from_slice(&len.to_le_bytes());
            older.extend(CRC.checksum(&older).to_le_bytes());
            let mut agent = Agent::raw(stage.collector.address, &[&preface(Mode::Clear)[..], &older].concat());
            assert_eq!(agent.next(), Said::Welcome(Welcome { features: 0, current: 0, previous: 0 }));
            agent.boot_id = 7;
            agent.send(1, 1);
            agent.expect_ack(1);
        },
        stored: &[(7, 1..=1)],
        oddities: &[],
        ended: None,
        told: r#""seq":1"#,
        verify: (0, "every record is accounted for"),
    },
    Oddity {
        what: "seqs that were neither sent nor declared lost: a bug of the agent",
        script: |stage| {
            let mut agent = stage.open_with(7, 5);
            agent.send(7, 8);
            assert_eq!(agent.next(), Said::Bye(Bye { reason: ByeReason::Protocol }));
            assert_eq!(agent.next(), Said::Closed(true));
        },
        stored: &[(7, 1..=5)],
        oddities: &[],
        ended: Some(("gap", 1)),
        told: "seq 7 came where 6 had to",
        verify: (0, "5 records up to seq 5, 0 declared lost"),
    },
    Oddity {
        what: "what is not our protocol: a browser, TLS",
        script: |stage| {
            stage.open_with(7, 1);
            for stranger in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01"] {
                assert_eq!(Agent::raw(stage.collector.address, stranger).next(), Said::Closed(true), "without a byte");
            }
        },
        stored: &[(7, 1..=1)],
        oddities: &[],
        ended: Some(("not_ours", 2)),
        told: "not Outpost's log protocol",
        verify: (0, "1 records up to seq 1, 0 declared lost"),
    },
    Oddity {
        what: "another version of our protocol",
        script: |stage| {
            let mut newer = Agent::raw(stage.collector.address, b"OUTP\x02\x00");
            assert_eq!(newer.next(), Said::Bye(Bye { reason: ByeReason::Version }));
            assert_eq!(newer.next(), Said::Closed(true));
        },
        stored: &[],
        oddities: &[],
        ended: Some(("version", 1)),
        told: "speaks version 2 of the protocol, this collector 1: update the older one",
        verify: (0, "every record is accounted for"),
    },
    Oddity {
        what: "a machine that was cut off before its last records were sent",
        script: |stage| {
            let mut agent = stage.open_with(7, 3);
            agent.say(Message::Alive(Alive { next: 6 }));
            // In the order of the session: when this is answered, that was heard.
            agent.send(4, 4);
            agent.expect_ack(4);
        },
        stored: &[(7, 1..=4)],
        oddities: &[],
        ended: Some(("closed", 1)),
        told: r#""seq":4"#,
        verify: (3, "unknown tail: seqs 5 to 5 were emitted and have not arrived"),
    },
];

/// A boot whose records are all of an event that this collector does not know.
const NEWER: u64 = 60;

/// The record with this seq as its agent sends it.
fn sent(boot_id: u64, seq: u64) -> Vec<u8> {
    if boot_id == NEWER { raw_body(seq, 60_000, &[1, 2, 0xff]) } else { body(boot_id, seq) }
}

#[test]
fn what_should_not_be_is_stored_told_and_accounted_for() {
    // What a collector does not expect it would otherwise drop, mix up or believe, and nobody would know.
    std::thread::scope(|scope| TABLE.iter().for_each(|row| drop(scope.spawn(|| row.play()))));
}

impl Oddity {
    fn play(&self) {
        let what = self.what;
        let began = Instant::now();
        let (_directory, store) = directory();
        let mut stage = Stage::start(store.clone());
        (self.script)(&mut stage);
        let all = |lines: &Lines| lines.all().join("\n");
        let deadline = Instant::now() + PATIENCE;
        while !all(&stage.collector.out).contains(self.told) && !all(&stage.collector.err).contains(self.told) {
            assert!(Instant::now() < deadline, "{what}: {:?} was not told", self.told);
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some((reason, count)) = self.ended {
            let line = format!("outpost_collector_sessions_ended_total{{reason=\"{reason}\"}} {count}");
            while !stage.metrics().lines().any(|found| found == line) {
                assert!(Instant::now() < deadline, "{what}: {line} is not in\n{}", stage.metrics());
            }
        }
        stage.collector.signal("-TERM");
        assert_eq!(stage.collector.wait().code(), Some(0), "{what}");

        let boots: i64 = query(&store, "SELECT count(*) FROM boots");
        assert_eq!(boots, self.stored.len() as i64, "{what}: boots in the store");
        for (boot_id, seqs) in self.stored {
            let expected: Vec<_> = seqs.clone().map(|seq| (seq, sent(*boot_id, seq))).collect();
            assert_eq!(stored(&store, *boot_id), expected, "{what}: boot {boot_id}");
        }
        let oddities = strings(&store, "SELECT event || ' ' || detail FROM oddities ORDER BY id");
        let told =
            |(found, (event, detail)): (&String, &(&str, &str))| found.starts_with(event) && found.contains(detail);
        let as_expected = oddities.len() == self.oddities.len() && oddities.iter().zip(self.oddities).all(told);
        assert!(as_expected, "{what}: {oddities:?} instead of {:?}", self.oddities);
        let (code, text) = verify(&store);
        assert!(code == self.verify.0 && text.contains(self.verify.1), "{what}: {code}\n{text}");
        println!("{:5} ms: {what}", began.elapsed().as_millis());
    }
}
